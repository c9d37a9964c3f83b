# shellcheck shell=bash
# A lab for files whose tests can share it: the Docker host h1 (192.0.2.11) and an etcd 3.4, made
# once a file; each test has containers, keys and an agent of its own.
#
#   load ../lib/one_host
#   setup_file() { one_host_up; }
#   setup() { lab_attach; }
#   teardown() { one_host_clear; }
#   teardown_file() { lab_down; }

# shellcheck disable=SC1091     # it is checked by itself
. "$(dirname "${BASH_SOURCE[0]}")/lab.bash"

# one_host_up [IMAGE...]
one_host_up() {
    lab_up
    lab_host h1 192.0.2.11
    lab_host etcd 192.0.2.2
    lab_dockerd h1
    (($# > 0)) || set -- app:1 app3:1
    lab_image h1 "$@"
    lab_etcd e1 etcd 3.4
}

one_host_clear() {
    local containers
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || tail -n 40 "$LAB/h1/agent.log" 2>/dev/null
    lab_agent_kill9 h1
    mapfile -t containers < <(lab_docker h1 ps -aq)
    ((${#containers[@]} == 0)) || lab_docker h1 rm -f "${containers[@]}" >/dev/null
    lab_docker h1 network prune -f >/dev/null
    etcd3 kv/deleterange '{"key":"AA==","range_end":"AA=="}' >/dev/null
    rm -f "$LAB/h1/agent.log"
}

# agent ARGUMENTS...: starts h1's agent and waits until its first list is published or hindered.
agent() {
    lab_agent h1 --ttl 5 "$@"
    wait_for "$LAB_PATIENCE" agent_has_listed
}
agent_has_listed() {
    local status
    status=$(lab_registrator h1 status --json) || { echo "$status"; return 1; }
    jq -e '(.docker.connected and .etcd.state == "online") or .etcd.why != ""' <<<"$status"
}

# agent_again ARGUMENTS...: ends it and starts another, with other settings.
agent_again() {
    lab_agent_stop h1
    agent "$@"
}

# start NAME [OPTIONS... [-- IMAGE]]: docker run -d of app:1, or of IMAGE.
start() {
    local name=$1 options=() image=app:1
    shift
    while (($# > 0)); do
        if [[ $1 == -- ]]; then
            image=$2
            break
        fi
        options+=("$1")
        shift
    done
    lab_docker h1 run -d --name "$name" "${options[@]}" "$image" >/dev/null
}

# port NAME PORT/PROTOCOL: prints the host's port that is mapped to it.
port() {
    lab_docker h1 port "$1" "$2" | sed -n '1s/.*://p'
}

# address NAME NETWORK: the container's own address in it.
address() {
    lab_docker h1 inspect "$1" | jq -r --arg network "$2" '.[0].NetworkSettings.Networks[$network].IPAddress'
}

# all_keys: as keys3, of whatever prefix; but for the recorders' mark.
all_keys() {
    etcd3 kv/range '{"key":"AA==","range_end":"AA=="}' |
        jq -r '.kvs[]? | "\(.key | @base64d) \(.value // "" | @base64d)"' | grep -v '^/lab-mark ' | sort
}

# keys_become "KEY VALUE"...: within a few seconds these are all the keys in etcd, with none beside
# them. Where that may have been so before already, nothing_under_way is to be called first.
keys_become() {
    wait_for 10 _keys_are_now "$@"
}
_keys_are_now() {
    diff --label expected --label etcd -U 0 <(printf '%s\n' "$@" | sed '/^$/d' | sort) <(all_keys)
}

# why NAME [PORT/PROTOCOL]: prints the reason why the container, or its port, is not registered;
# "registered" if it is.
why() {
    lab_registrator h1 status --json | jq -r --arg name "$1" --arg port "${2:-}" '
        .containers[] | select(.name == $name)
        | if $port == "" then . else .records[] | select("\(.port)/\(.protocol)" == $port) end
        | .reason // .state'
}
# why_becomes REASON NAME [PORT/PROTOCOL]
why_becomes() {
    local reason=$1
    shift
    wait_for 10 _why_is "$reason" "$@"
}
_why_is() {
    local reason=$1 now
    shift
    now=$(why "$@")
    echo "$now"
    [[ $now == "$reason" ]]
}

# nothing_under_way: what Docker has said before the call, the agent has acted on: a container that
# comes and goes later has come and gone.
nothing_under_way() {
    start canary -P
    wait_for 10 eval 'all_keys | grep -w canary'
    lab_docker h1 rm -f canary
    wait_for 10 not eval 'all_keys | grep -w canary'
}
