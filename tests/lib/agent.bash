# shellcheck shell=bash
# What the tests of the agent have in common; to be loaded after lab.bash. They call their recorder's
# file $LAB/events, and their containers by names that no other test of the file uses, so that each
# finds its own events in it. KEYS=keys2 looks into the v2 store; EVENTS names another recorder's file.

# agent HOST [ARGUMENTS...]: starts the host's agent anew, with an empty log.
agent() {
    lab_agent_stop "$1"
    : >"$LAB/$1/agent.log"
    lab_agent "$@"
}

# said HOST TEXT [TIMES]: its log has TEXT in some lines, or in just so many.
said() {
    local n
    n=$(grep -cF -e "$2" "$LAB/$1/agent.log")
    echo "'$2' was said $n times"
    ((n == ${3:-n} && n > 0))
}

# start HOST NAME IMAGE|OPTION...: docker run -d -P, and waits for its key.
start() {
    local host=$1 name=$2
    shift 2
    lab_docker "$host" run -d -P --name "$name" "$@" >/dev/null
    wait_for 5 has "$host" "$name"
}

# mapped HOST NAME: prints ADDRESS:PORT that its port 80 is reached at.
mapped() {
    local port
    port=$(lab_docker "$1" port "$2" 80/tcp | head -n 1)
    [[ -n $port ]] && echo "$(lab_address "$1"):${port##*:}"
}

# inspects HOST NAME: prints how many times an agent with --log-level debug has inspected the container.
inspects() {
    local id
    id=$(lab_docker "$1" inspect -f '{{.Id}}' "$2")
    grep -cF "Docker: inspect ${id::12}" "$LAB/$1/agent.log"
}

# has HOST NAME: the key is there and has the right value. gone NAME: there is no such key; gone
# NAME- ending in a dash: none that begins so.
has() {
    "${KEYS:-keys3}" | grep -xF "/app/servers/$2 $(mapped "$1" "$2")"
}
gone() {
    local key="/app/servers/$1"
    [[ $key == *- ]] || key+=' '
    ! "${KEYS:-keys3}" | grep -F "$key"
}

# events PREFIX: prints the events of the keys /app/servers/PREFIX…, without that path.
# events_are PREFIX EVENT...: these, and no others; else prints the difference.
events() {
    watch_events "${EVENTS:-$LAB/events}" "/app/servers/$1" | sed 's# /app/servers/# #'
}
events_are() {
    local prefix=$1
    shift
    diff --label expected --label events -U 9 <((($# == 0)) || printf '%s\n' "$@") <(events "$prefix")
}

# event_ms EVENT: prints when the recorder last saw it, in milliseconds since 1970; nothing if never.
event_ms() {
    grep -F "${1/ / /app/servers/}" "${EVENTS:-$LAB/events}" | awk 'END { if (NR > 0) printf "%.0f\n", $NF * 1000 }'
}

# docker_event_ms HOST NAME ACTION: prints when Docker says that it last happened.
docker_event_ms() {
    lab_docker_get "$1" /events -G -d since=0 -d until="$EPOCHREALTIME" \
        --data-urlencode "filters={\"container\":[\"$2\"],\"event\":[\"$3\"]}" |
        jq -s 'last.timeNano / 1000000 | floor'
}

# grpc_calls METHOD: prints how many calls of it etcd has seen. grpc_calls_but METHOD: how many of
# all others. What we ask of /metrics is none.
grpc_calls() {
    _grpc_calls "$1" 1
}
grpc_calls_but() {
    _grpc_calls "$1" 0
}
_grpc_calls() {
    etcd_curl /metrics | awk -v method="grpc_method=\"$1\"" -v is="$2" '
        /^grpc_server_started_total/ && (index($0, method) > 0) == is { n += $2 } END { print n + 0 }'
}

# heartbeats N: waits for as many.
heartbeats() {
    wait_for $(($1 * 2 + 10)) _grpc_calls_reach LeaseKeepAlive $(($(grpc_calls LeaseKeepAlive) + $1))
}
_grpc_calls_reach() {
    (($(grpc_calls "$1") >= $2))
}

# status_is HOST JQ-CONDITION: of what `registrator status --json` prints.
status_is() {
    lab_registrator "$1" status --json | tee /dev/stderr | jq -e "$2" >/dev/null
}

# clear_containers HOST...: removes all. clear_keys: removes all of /app/, whosever it is.
clear_containers() {
    local host ids
    for host in "$@"; do
        mapfile -t ids < <(lab_docker "$host" ps -aq)
        ((${#ids[@]} == 0)) || lab_docker "$host" rm -f "${ids[@]}" >/dev/null
    done
}
clear_keys() {
    etcd3 kv/deleterange "{\"key\":\"$(_b64 /app/)\",\"range_end\":\"$(_range_end /app/)\"}" >/dev/null
}

# tell_all: prints what helps to see why a test failed.
tell_all() {
    local host
    for host in $(lab_hosts); do
        [[ ! -s $LAB/$host/agent.log ]] || sed "s/^/$host: /" "$LAB/$host/agent.log"
    done
    echo "events:"
    tail -n 40 "${EVENTS:-$LAB/events}" | grep -v /lab-mark
}
