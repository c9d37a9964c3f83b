#!/usr/bin/env bats
# Which etcd, and which of its APIs: every version, several endpoints, clusters that lose members. Every agent
# here has a host of its own and is told of the same containers, those of h1.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

VERSIONS=(0.4 2.3 3.3 3.4 3.5 3.6)
MEMBERS=(n1 n2 n3)
# An endpoint that is silent costs 3 s, and there is to be time left.
TTL_S=10

setup_file() {
    local version n=0
    export BATS_TEST_TIMEOUT=240
    # The agents are on other hosts than the Docker that they share, and reach no container.
    export REGISTRATOR_READY=none
    lab_up
    lab_host h1 192.0.2.11
    lab_dockerd h1
    lab_image h1 app:1
    for version in "${VERSIONS[@]}"; do
        agent_host "$(host_of "$version")" "192.0.2.2$((++n))"
    done
    agent_host a2 192.0.2.31
    agent_host a3 192.0.2.32
    for n in 1 2 3; do
        lab_host "n$n" "192.0.2.4$n"
    done
}

teardown_file() {
    lab_down
}

teardown() {
    local file
    [[ -n $BATS_TEST_COMPLETED ]] || EVENTS=$LAB/events3 tell_all
    for file in "$LAB"/pids/{agent,etcd,watch}-*; do
        [[ ! -e $file ]] || lab_stop_group "$(basename "$file")" KILL
    done
    rm -rf "$LAB"/etcd/* "$LAB"/*/{agent.log,notify} "$LAB"/events*
    clear_containers h1
}

# agent_host NAME ADDRESS: a host with an agent for h1's containers, and somebody who listens to it.
agent_host() {
    lab_host "$1" "$2"
    ln -s "$LAB/h1/docker.sock" "$LAB/$1/docker.sock"
    lab_notify "$1"
}

host_of() {
    echo "v${1/./}"
}

# has_key KEYS HOST NAME: as agent.bash's has, in the v2 or v3 store (keys2, keys3).
has_key() {
    local -x KEYS=$1
    has "$2" "$3"
}

told() {
    grep -F -e "$2" "$LAB/$1/notify" || { cat "$LAB/$1/notify"; return 1; }
}

# chosen HOST API: the log and STATUS say so, with the reason.
chosen() {
    said "$1" "Registering in etcd $2" && told "$1" "STATUS=1 keys of 1 running containers in etcd $2"
}

@test "auto chooses v3 if the server has v3, otherwise v2; the log and STATUS name the API and the reason" {
    local version host keys other
    local -A expected=(
        [0.4]="v2 (0.4.6, auto: too old for v3) at http://"
        [2.3]="v2 (2.3.8, auto: too old for v3) at http://"
        [3.3]="v3 (3.3.27, auto: it has v3) at http://"
        [3.4]="v3 (3.4.23, auto: it has v3) at http://"
        [3.5]="v3 (3.5."
        [3.6]="v3 (3.6."
    )
    lab_docker h1 run -d -P --name auto app:1
    for version in "${VERSIONS[@]}"; do
        host=$(host_of "$version")
        lab_etcd "$host" "$host" "$version"
        ETCD=$host agent "$host"
    done
    for version in "${VERSIONS[@]}"; do
        host=$(host_of "$version") keys=keys3 other=keys2
        [[ $version == 3.* ]] || keys=keys2
        ETCD=$host wait_for 10 has_key "$keys" "$host" auto
        wait_for 5 chosen "$host" "${expected[$version]}"
        # And not in the other of the two stores.
        [[ $version != 3.[345] ]] || [ -z "$(ETCD=$host "$other")" ]
        [ "$(grep -c "warning: " "$LAB/$host/agent.log")" -eq 0 ]
    done

    # Another API: --etcd-api; another etcd, without v2: what that one has.
    ETCD=v34 agent v34 --etcd-api v2
    ETCD=v34 wait_for 10 has_key keys2 v34 auto
    wait_for 5 chosen v34 "v2 (3.4.23, as set) at http://"
    : >"$LAB/v23/agent.log"
    lab_etcd_stop v23
    lab_etcd upgraded v23 3.6
    ETCD=upgraded wait_for 10 has_key keys3 v23 auto
    wait_for 5 chosen v23 "v3 (3.6."
}

# refused HOST TEXT: the only warning, and what systemd is told, too; the agent lives.
refused() {
    said "$1" "warning: $2" 1 && told "$1" "STATUS=etcd is away: $2" && told "$1" READY=1
}

@test "without the requested API, one line has the remedy, and the right API then works" {
    local host
    lab_docker h1 run -d -P --name wrong app:1
    lab_etcd v23 v23 2.3
    lab_etcd v36 v36 3.6
    lab_etcd v34 v34 3.4 --enable-v2=false
    ETCD=v23 agent v23 --etcd-api v3
    ETCD=v36 agent v36 --etcd-api v2
    ETCD=v34 agent v34 --etcd-api v2
    wait_for 5 refused v23 "etcd 2.3.8 at http://$(lab_address v23):2379 is too old for --etcd-api=v3, which needs 3.3: upgrade it, or use v2"
    wait_for 5 refused v36 "etcd 3.6."
    said v36 "does not serve the v2 API (HTTP status 404: 404 page not found): start it with --enable-v2 (3.4 and 3.5; etcd 3.6 has no v2 API), or use --etcd-api=v3" 1
    wait_for 5 refused v34 "etcd 3.4.23 at http://$(lab_address v34):2379 does not serve the v2 API"

    for host in v23 v36 v34; do
        lab_etcd_stop "$host"
    done
    lab_etcd right-v23 v23 3.4
    lab_etcd right-v36 v36 3.5
    lab_etcd right-v34 v34 3.4
    ETCD=right-v23 wait_for 10 has_key keys3 v23 wrong
    ETCD=right-v36 wait_for 10 has_key keys2 v36 wrong
    ETCD=right-v34 wait_for 10 has_key keys2 v34 wrong
    for host in v23 v36 v34; do
        wait_for 5 told "$host" "STATUS=1 keys of 1 running containers in etcd v"
        # However often it tried, and although etcd was away in between.
        [ "$(grep -c "warning: " "$LAB/$host/agent.log")" -eq 1 ]
    done
}

# two_agents NAMES: one on v3, one on v2, with these etcds as endpoints, in this order.
two_agents() {
    ETCD=$1 agent a3 --node a3 --ttl "$TTL_S" --heartbeat 1 --etcd-api v3
    ETCD=$1 agent a2 --node a2 --ttl "$TTL_S" --heartbeat 1 --etcd-api v2
}

# expiry3 KEY, expiry2 KEY: prints when it will expire, in milliseconds since 1970, to a second.
expiry3() {
    local lease ttl
    read -r _ _ lease < <(meta3 "$1") || return
    ttl=$(etcd3 lease/timetolive "{\"ID\":\"$lease\"}" | jq -r '.TTL // 0')
    echo $((${EPOCHREALTIME/./} / 1000 + ttl * 1000))
}
expiry2() {
    local ttl
    ttl=$(etcd2 GET "$1?quorum=true" | jq -r '.node.ttl // 0') || return
    echo $((${EPOCHREALTIME/./} / 1000 + ttl * 1000))
}

# renewed SINCE NAME [API]: the key was renewed more than a second after SINCE (milliseconds).
renewed() {
    local since=$1 name=$2 api=${3:-}
    [[ $api == 2 ]] || (($(expiry3 "/app/servers/$name") > since + TTL_S * 1000 + 2000)) || return
    [[ $api == 3 ]] || (($(expiry2 "/app/servers/$name") > since + TTL_S * 1000 + 2000))
}

now_ms() {
    echo $((${EPOCHREALTIME/./} / 1000))
}

# undisturbed NAME: its keys in both stores have had one event, their first.
undisturbed() {
    EVENTS=$LAB/events3 events_are "$1" "PUT $1 $(mapped a3 "$1")" &&
        EVENTS=$LAB/events2 events_are "$1" "PUT $1 $(mapped a2 "$1")"
}

in_both() {
    has_key keys3 a3 "$1" && has_key keys2 a2 "$1"
}
in_none() {
    [[ -z $(keys3 "/app/servers/$1") ]] && KEYS=keys2 gone "$1"
}

@test "among endpoints that refuse, hang or are cut off, the agent finds and keeps the working one" {
    local since
    lab_host dead 192.0.2.51
    lab_host silent 192.0.2.52
    lab_host cut 192.0.2.53
    lab_etcd n1 n1 3.4
    lab_etcd_define dead dead 3.4
    lab_etcd silent silent 3.4
    lab_etcd_define cut cut 3.4
    lab_signal etcd-silent STOP
    lab_cut cut
    watch3_start "$LAB/events3"
    watch2_start "$LAB/events2"
    lab_docker h1 run -d -P --name found app:1
    two_agents "dead silent cut n1"
    wait_for 20 in_both found
    said a3 "Registering in etcd v3 (3.4.23, as set) at http://$(lab_address n1):2379" 1
    said a2 "Registering in etcd v2 (3.4.23, as set) at http://$(lab_address n1):2379" 1
    since=$(now_ms)
    # Quicker than any silence lasts: the others are not asked again.
    lab_docker h1 run -d -P --name next app:1
    wait_for 2 in_both next
    wait_for "$TTL_S" renewed "$since" found
    undisturbed found
    [ "$(cat "$LAB"/a[23]/agent.log | grep -c "warning: ")" -eq 0 ]
}

member_is_leader() {
    etcd3 maintenance/status '{}' | jq -e '.leader == .header.member_id' >/dev/null
}
leader() {
    local ETCD
    for ETCD in "${MEMBERS[@]}"; do
        ! member_is_leader || { echo "$ETCD"; return; }
    done
    return 1
}
transfer_to() {
    local id
    id=$(ETCD=$1 etcd3 maintenance/status '{}' | jq -r .header.member_id)
    ETCD=$(leader) etcd3 maintenance/transfer-leadership "{\"targetID\":\"$id\"}"
    ETCD=$1 wait_for 5 member_is_leader
}

@test "no key changes or expires if the member in use dies, hangs or is cut off, or the leader changes" {
    local since
    lab_etcd_cluster "${MEMBERS[@]}" 3.4
    # The last one is watched, and spared until the end.
    local -x ETCD=n3
    watch3_start "$LAB/events3"
    watch2_start "$LAB/events2"
    # With the leader, too, the one in use is lost.
    transfer_to n1
    lab_docker h1 run -d -P --name member app:1
    two_agents "n1 n2 n3"
    wait_for 10 in_both member

    lab_etcd_stop n1 KILL
    since=$(now_ms)
    # A new leader takes a second or two.
    lab_docker h1 run -d -P --name meanwhile app:1
    wait_for 10 in_both meanwhile
    wait_for "$TTL_S" renewed "$since" member
    undisturbed member
    lab_etcd_start n1

    transfer_to n2
    lab_signal etcd-n2 STOP
    since=$(now_ms)
    wait_for "$TTL_S" renewed "$since" member
    undisturbed member
    lab_signal etcd-n2 CONT
    ETCD=n2 wait_for 10 lab_etcd_answers n2

    transfer_to n1
    transfer_to n3
    since=$(now_ms)
    wait_for "$TTL_S" renewed "$since" member
    undisturbed member
    undisturbed meanwhile

    lab_cut n3
    since=$(now_ms)
    ETCD=n1 wait_for 15 renewed "$since" member
    lab_mend n3
    wait_for 10 lab_etcd_answers n3
    undisturbed member
    lab_docker h1 rm -f member
    wait_for 10 in_none member
}

raft_state() {
    etcd_curl /v2/stats/self | jq -r .state
}
is_leader() {
    [[ $(raft_state) == leader ]]
}
is_follower() {
    [[ $(raft_state) == follower ]]
}

# A leader among the members that run.
a_leader() {
    local ETCD
    for ETCD in "${MEMBERS[@]}"; do
        if lab_alive "etcd-$ETCD" && is_leader; then
            echo "$ETCD"
            return
        fi
    done
    return 1
}

@test "a cluster of etcd 0.4: a follower redirects the agent to the present leader" {
    local leader follower since other
    lab_etcd_cluster "${MEMBERS[@]}" 0.4
    leader=$(a_leader)
    for follower in "${MEMBERS[@]}"; do
        [[ $follower == "$leader" ]] || break
    done
    ETCD=$follower wait_for 10 is_follower
    local -x ETCD=$follower
    lab_docker h1 run -d -P --name redirect app:1
    agent a2 --node a2 --ttl "$TTL_S" --heartbeat 1
    wait_for 10 has_key keys2 a2 redirect
    said a2 "Registering in etcd v2 (0.4.6, auto: too old for v3) at http://$(lab_address "$follower"):2379" 1
    since=$(now_ms)
    wait_for "$TTL_S" renewed "$since" redirect 2

    # All of them, the leader first, and that dies.
    ETCD="$leader $follower" agent a3 --node a3 --ttl "$TTL_S" --heartbeat 1 --key '/app/servers/{name}-3'
    wait_for 10 redirected_3
    lab_etcd_stop "$leader" KILL
    since=$(now_ms)
    wait_for 10 a_leader
    wait_for "$TTL_S" renewed "$since" redirect 2
    wait_for "$TTL_S" renewed "$since" redirect-3 2
    redirected_3
    for other in redirect redirect-3; do
        [ "$(etcd2 GET "/app/servers/$other" | jq -r '.node.value')" != "" ]
    done
    lab_docker h1 stop redirect
    wait_for 10 no_key_2
}

redirected_3() {
    keys2 | grep -xF "/app/servers/redirect-3 $(mapped a3 redirect)"
}
no_key_2() {
    [[ -z $(keys2) ]]
}
