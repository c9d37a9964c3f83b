#!/usr/bin/env bats
# A cluster of three members whose member in use fails in every way that one can, and one that fails as a whole. Both
# APIs, with the shortest time to live there is: the tightest that a way out can be needed in.

# shellcheck disable=SC2030,SC2031     # each test is a shell of its own
bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

MEMBERS=(n1 n2 n3)
TTL_S=5

setup_file() {
    local n
    export BATS_TEST_TIMEOUT=240
    # The agents are on other hosts than the Docker that they share, and reach no container.
    export REGISTRATOR_READY=none
    lab_up
    lab_host h1 192.0.2.11
    lab_dockerd h1
    lab_image h1 app:1
    for n in 2 3; do
        lab_host "a$n" "192.0.2.3$n"
        ln -s "$LAB/h1/docker.sock" "$LAB/a$n/docker.sock"
    done
    for n in 1 2 3; do
        lab_host "n$n" "192.0.2.4$n"
    done
}

teardown_file() {
    lab_down
}

teardown() {
    local file n
    [[ -n $BATS_TEST_COMPLETED ]] || EVENTS=$LAB/events3 tell_all
    for file in "$LAB"/pids/{agent,etcd,watch,slow}-*; do
        [[ ! -e $file ]] || lab_stop_group "$(basename "$file")" KILL
    done
    for n in "${MEMBERS[@]}"; do
        lab_mend "$n"
        lab_in "$n" iptables -F
    done
    rm -rf "$LAB"/etcd/* "$LAB"/a[23]/agent.log "$LAB"/events*
    clear_containers h1
}

# two_agents NAMES: one on v3, one on v2, with these etcds as endpoints, in this order.
two_agents() {
    ETCD=$1 agent a3 --node a3 --ttl "$TTL_S" --etcd-api v3
    ETCD=$1 agent a2 --node a2 --ttl "$TTL_S" --etcd-api v2
}

# cluster [NAMES]: members, recorders, agents with these endpoints, and a key in both stores. The last member is the
# one that is looked at. The first is in use and leads.
cluster() {
    lab_etcd_cluster "${MEMBERS[@]}" 3.5
    export ETCD=n3
    watch3_start "$LAB/events3"
    watch2_start "$LAB/events2"
    lead n1
    two_agents "${1:-n1 n2 n3}"
    run_container stays
    wait_for 10 keys_right stays
}

# run_container NAME: $LAB/ports/NAME then tells where it is reached.
run_container() {
    lab_docker h1 run -d -P --name "$1" app:1
    mkdir -p "$LAB/ports"
    mapped h1 "$1" | sed 's/.*://' >"$LAB/ports/$1"
}

value3() {
    echo "$(lab_address a3):$(<"$LAB/ports/$1")"
}
value2() {
    echo "$(lab_address a2):$(<"$LAB/ports/$1")"
}

# keys_right NAME...: both stores have the keys of these, rightly, and no others.
v3_right() {
    diff <(for name in "$@"; do echo "/app/servers/$name $(value3 "$name")"; done | sort) <(keys3)
}
keys_right() {
    v3_right "$@" && diff <(for name in "$@"; do echo "/app/servers/$name $(value2 "$name")"; done | sort) <(keys2)
}

# undisturbed NAME: its keys in both stores have had one event, their first.
undisturbed() {
    EVENTS=$LAB/events3 events_are "$1" "PUT $1 $(value3 "$1")" &&
        EVENTS=$LAB/events2 events_are "$1" "PUT $1 $(value2 "$1")"
}

member_id() {
    ETCD=$1 etcd3 maintenance/status '{}' | jq -r .header.member_id
}
leads() {
    ETCD=$1 etcd3 maintenance/status '{}' | jq -e '.leader == .header.member_id' >/dev/null
}
# Another election may come in between.
lead() {
    wait_for 20 _lead "$1" "$(member_id "$1")"
}
_lead() {
    local member
    ! leads "$1" || return 0
    for member in "${MEMBERS[@]}"; do
        ETCD=$member etcd3 maintenance/transfer-leadership "{\"targetID\":\"$2\"}"
    done
    leads "$1"
}

now_ms() {
    echo $((${EPOCHREALTIME/./} / 1000))
}

# outlived3 SINCE (milliseconds since 1970): the key was renewed when what it had then was used up. outlived SINCE:
# in both stores.
outlived3() {
    local lease ttl
    read -r _ _ lease < <(meta3 /app/servers/stays) || return
    ttl=$(etcd3 lease/timetolive "{\"ID\":\"$lease\"}" | jq -r '.TTL // 0')
    (($(now_ms) + ttl * 1000 > $1 + TTL_S * 2000))
}
outlived() {
    local ttl
    outlived3 "$1" || return
    ttl=$(etcd2 GET '/app/servers/stays?quorum=true' | jq -r '.node.ttl // 0') || return
    (($(now_ms) + ttl * 1000 > $1 + TTL_S * 2000))
}

# goes_on SINCE: the fault that began then does not matter, to what is there and to what changes.
goes_on() {
    run_container meanwhile
    wait_for 15 keys_right stays meanwhile
    wait_for 30 outlived "$1"
    undisturbed stays
    undisturbed meanwhile
    ! grep -F " s ended in etcd" "$LAB"/a[23]/agent.log
}

@test "the member in use, which is the leader, dies" {
    local since
    cluster
    lab_etcd_stop n1 KILL
    since=$(now_ms)
    goes_on "$since"
}

# It is not resumed: a leader that is may revoke leases that live, until it hears that it does not lead any more (etcd
# issue 15247; 3.5.21 asks only if its own clock has not ticked lately, and it has).
@test "the member in use, which is the leader, hangs" {
    local since
    cluster
    lab_signal etcd-n1 STOP
    since=$(now_ms)
    goes_on "$since"
}

@test "the member in use, a follower, hangs; after it continues, no abandoned write is carried out" {
    local since
    cluster
    lead n2
    lab_signal etcd-n1 STOP
    since=$(now_ms)
    goes_on "$since"
    lab_signal etcd-n1 CONT
    wait_for 20 lab_etcd_answers n1
    undisturbed stays
    undisturbed meanwhile
}

# apart MEMBER: the others do not hear it any more, everybody else does.
apart() {
    lab_in "$1" iptables -w -A INPUT -p tcp -m multiport --ports 2380 -j DROP
    lab_in "$1" iptables -w -A OUTPUT -p tcp -m multiport --ports 2380 -j DROP
}

@test "the member in use, which is the leader, loses the other members, but not the agent" {
    local since
    cluster
    apart n1
    since=$(now_ms)
    goes_on "$since"
    lab_in n1 iptables -F
    wait_for 20 lab_etcd_answers n1
    undisturbed stays
    undisturbed meanwhile
}

@test "the member in use loses its leader" {
    local since
    cluster
    lead n2
    lab_etcd_stop n2 KILL
    since=$(now_ms)
    goes_on "$since"
}

@test "the member in use becomes slow: 2 s for each request" {
    local since
    mkdir -p "$LAB/etcd/slow"
    echo "http://$(lab_address n1):2479" >"$LAB/etcd/slow/url"
    echo 0 >"$LAB/slow-for"
    LAB_NETNS=$LAB_ID-n1 lab_spawn slow-way "$LAB/slow.log" \
        perl "$LAB_TOP/tests/fake/slow" "$LAB/slow-for" 0.0.0.0:2479 "$(lab_address n1):2379"
    cluster "slow n2 n3"
    said a3 "at $(<"$LAB/etcd/slow/url"), lease" 1
    said a2 "at $(<"$LAB/etcd/slow/url")" 1
    echo 2 >"$LAB/slow-for"
    since=$(now_ms)
    goes_on "$since"
}

# move_host HOST ADDRESS
move_host() {
    local old
    old=$(lab_address "$1")
    lab_in "$1" ip address del "$old/24" dev eth0
    lab_in "$1" ip address add "$2/24" dev eth0
    lab_in "$1" ip route replace default via 192.0.2.1
    echo "$2" >"$LAB/hosts/$1"
    sed -i "s/${old//./\\.}/$2/g" "$LAB/etcd/$1/command" "$LAB/etcd/$1/url"
}

@test "the agent finds a member whose name has a new address when the other member dies" {
    local since id
    printf '%s\n' '127.0.0.1 localhost' "$(lab_address n1) etcd.test" >"$LAB/names"
    # shellcheck disable=SC2016     # for the inner shell
    echo 'mount --bind "$1" /etc/hosts && shift && exec "$@"' >"$LAB/with-names"
    mkdir -p "$LAB/etcd/named"
    echo "http://etcd.test:2379" >"$LAB/etcd/named/url"
    LAB_AGENT_WRAPPER="unshare --mount sh $LAB/with-names $LAB/names" cluster "named n2"
    said a3 "at http://etcd.test:2379" 1

    id=$(member_id n1)
    lab_etcd_stop n1
    move_host n1 192.0.2.49
    # Written, not replaced: the agents look at this very file.
    printf '%s\n' '127.0.0.1 localhost' "192.0.2.49 etcd.test" >"$LAB/names"
    etcd3 cluster/member/update "{\"ID\":\"$id\",\"peerURLs\":[\"http://192.0.2.49:2380\"]}"
    lab_etcd_start n1
    since=$(now_ms)
    wait_for 30 outlived "$since"
    undisturbed stays

    # n3 is none that the agents know.
    lab_etcd_stop n2 KILL
    since=$(now_ms)
    goes_on "$since"
    move_host n1 192.0.2.41
}

# Until both agents have noticed, and then for longer than the TTL.
gone_for_long() {
    wait_for 10 said a3 "warning: etcd "
    wait_for 10 said a2 "warning: etcd "
    # Nothing can be seen of a TTL that passes while etcd is away.
    sleep $((TTL_S + 1))
}

v3_undisturbed() {
    EVENTS=$LAB/events3 events_are "$1" "PUT $1 $(value3 "$1")"
}

@test "after no majority, a dead and an unreachable cluster, all keys are right within 2 s" {
    local way
    cluster
    for way in majority dead cut; do
        run_container "$way-goes"
        wait_for 10 keys_right stays "$way-goes"
        : >"$LAB/a2/agent.log"
        : >"$LAB/a3/agent.log"
        case $way in
        majority) lab_etcd_stop n2 KILL && lab_etcd_stop n3 KILL ;;
        dead) lab_etcd_stop n1 KILL && lab_etcd_stop n2 KILL && lab_etcd_stop n3 KILL ;;
        cut) lab_cut n1 && lab_cut n2 && lab_cut n3 ;;
        esac
        lab_docker h1 rm -f "$way-goes"
        run_container "$way-comes"
        gone_for_long
        case $way in
        majority) lab_etcd_start n2 n3 ;;
        dead) lab_etcd_start n1 n2 n3 ;;
        cut) lab_mend n1 && lab_mend n2 && lab_mend n3 ;;
        esac
        wait_for 20 lab_etcd_answers n1
        wait_for 20 lab_etcd_answers n2
        wait_for 20 lab_etcd_answers n3
        # And as much again for a machine that has other suites to run.
        wait_for 4 keys_right stays "$way-comes"
        # Once each, however long it was.
        said a3 "warning: " 1
        # The new leader lets the leases begin anew.
        v3_undisturbed stays
        lab_docker h1 rm -f "$way-comes"
        wait_for 10 keys_right stays
    done
}

fill() {
    local value
    value=$(head -c 60000 /dev/zero | tr '\0' x)
    ! put3 /filler "$value" || return
    etcd3 maintenance/alarm '{"action":"GET"}' | grep NOSPACE
}
empty() {
    local member revision
    revision=$(etcd3 kv/range '{"key":"AA=="}' | jq -r .header.revision)
    etcd3 kv/compaction "{\"revision\":\"$revision\",\"physical\":true}"
    for member in "${MEMBERS[@]}"; do
        ETCD=$member etcd3 maintenance/defragment '{}'
    done
    for member in $(etcd3 maintenance/alarm '{"action":"GET"}' | jq -r '.alarms[].memberID'); do
        etcd3 maintenance/alarm "{\"action\":\"DEACTIVATE\",\"alarm\":\"NOSPACE\",\"memberID\":\"$member\"}"
    done
}

@test "with a full etcd, keys stay, deletes work, and new keys wait until there is space" {
    local since
    lab_etcd_cluster "${MEMBERS[@]}" 3.5 --quota-backend-bytes $((1024 * 1024))
    local -x ETCD=n3
    watch3_start "$LAB/events3"
    ETCD="n1 n2 n3" agent a3 --node a3 --ttl "$TTL_S"
    run_container stays
    run_container goes
    wait_for 10 v3_right stays goes
    wait_for 30 fill
    run_container comes
    wait_for 10 said a3 "(etcdserver: mvcc: database space exceeded): compact and defragment it, then disarm its alarm" 1
    since=$(now_ms)
    lab_docker h1 rm -f goes
    wait_for 10 v3_right stays
    wait_for 30 outlived3 "$since"
    empty
    wait_for 10 v3_right stays comes
    v3_undisturbed stays
    v3_undisturbed comes
}

@test "compaction and defragmentation change nothing; after a restored backup, the agent corrects the keys" {
    local revision
    lab_etcd n1 n1 3.5
    local -x ETCD=n1
    watch3_start "$LAB/events3"
    agent a3 --node a3 --ttl "$TTL_S"
    run_container stays
    run_container goes
    wait_for 10 v3_right stays goes
    revision=$(etcd3 kv/range '{"key":"AA=="}' | jq -r .header.revision)
    etcd3 kv/compaction "{\"revision\":\"$revision\",\"physical\":true}"
    etcd3 maintenance/defragment '{}'
    lab_docker h1 rename stays remains
    mv "$LAB/ports/stays" "$LAB/ports/remains"
    wait_for 10 v3_right remains goes
    lab_docker h1 rename remains stays
    mv "$LAB/ports/remains" "$LAB/ports/stays"
    wait_for 10 v3_right stays goes
    EVENTS=$LAB/events3 events_are goes "PUT goes $(value3 goes)"

    lab_etcd_stop n1
    cp -r "$LAB/etcd/n1/data" "$LAB/etcd/backup"
    lab_etcd_start n1
    lab_docker h1 rm -f goes
    run_container comes
    wait_for 10 v3_right stays comes
    lab_etcd_stop n1
    wait_for 10 said a3 "etcd gave no answer"
    rm -r "$LAB/etcd/n1/data"
    mv "$LAB/etcd/backup" "$LAB/etcd/n1/data"
    lab_etcd_start n1
    wait_for 10 v3_right stays comes
}

@test "etcd 0.4: an agent with only a follower as endpoint writes to the leader in the cluster's list" {
    lab_etcd_cluster "${MEMBERS[@]}" 0.4
    local -x ETCD=n2 KEYS=keys2
    run lab_in n2 curl -sS -o /dev/null -w '%{http_code} %{redirect_url}' -X PUT -d value=1 http://192.0.2.42:2379/v2/keys/probe
    [ "$output" = "307 http://192.0.2.41:2379/v2/keys/probe" ]
    agent a2 --node a2 --ttl "$TTL_S" --etcd-api v2
    lab_docker h1 run -d -P --name follower app:1
    wait_for 10 has a2 follower
    not grep -E "^(warning|error):" "$LAB/a2/agent.log"
}
