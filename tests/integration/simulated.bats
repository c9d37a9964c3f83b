#!/usr/bin/env bats
# The simulated hosts of tests/bench/hosts, with which tests/bench/capacity measures, ask etcd what the agent asks: the same
# requests with the same headers and bodies, lease IDs included. Both are recorded on their way to an etcd of their own.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

setup_file() {
    export BATS_TEST_TIMEOUT=240
    # The fake engine's containers have no servers.
    export REGISTRATOR_READY=none
    lab_up
    lab_build_fake_docker "$LAB/fake-docker"
    (cd "$LAB_TOP/tests/bench/hosts" &&
        GOFLAGS=-buildvcs=false GOTOOLCHAIN=local PATH=$PATH:/usr/local/go/bin go build -o "$LAB/simulator" .)
    lab_host fake 192.0.2.12
    lab_host etcd 192.0.2.2
    lab_etcd e1 etcd 3.4
}

teardown_file() {
    lab_down
}

# recorder NAME: passes on what it hears at fake's port 2379, and records it as $LAB/NAME.json.
recorder() {
    lab_stop recorder
    LAB_NETNS=$LAB_ID-fake lab_spawn recorder "$LAB/recorder.log" "$LAB/simulator" record --listen 192.0.2.12:2379 \
        --etcd "$(<"$LAB/etcd/e1/url")" --out "$LAB/$1.json"
    wait_for 30 lab_in fake curl -sS -o "$LAB/version" http://192.0.2.12:2379/version || { cat "$LAB/recorder.log"; return 1; }
    : >"$LAB/$1.json"
}

recorded() {
    grep -cF "$2" "$LAB/$1.json"
}

# recorded_at_least NAME TEXT N
recorded_at_least() {
    (($(recorded "$1" "$2") >= $3))
}

keys_in_etcd() {
    [[ $(etcd3 kv/range '{"key":"AA==","range_end":"AA==","count_only":true}' | jq -r '.count // 0') == "$1" ]]
}

revoke() {
    etcd3 lease/leases '{}' | jq -r '.leases[].ID' | while read -r id; do
        etcd3 lease/revoke "{\"ID\":\"$id\"}" >/dev/null
    done
}

# a_life NAME START STOP CHANGE: what both go through. START, STOP and CHANGE are functions: the program starts, it ends, its
# first container stops or starts.
a_life() {
    local name=$1 start=$2 stop=$3 change=$4
    recorder "$name-first"
    "$start"
    wait_for 30 keys_in_etcd 3
    # Two resyncs: after the first one, nothing has changed.
    wait_for 30 recorded_at_least "$name-first" lease/timetolive 7
    "$change"
    wait_for 30 keys_in_etcd 2
    "$change"
    wait_for 30 keys_in_etcd 3
    # The lease ends.
    recorder "$name-lost"
    revoke
    wait_for 30 recorded_at_least "$name-lost" lease/grant 1
    wait_for 30 keys_in_etcd 3
    # Whichever question found that the lease had ended: both are asked again.
    wait_for 30 recorded_at_least "$name-lost" lease/keepalive 3
    wait_for 30 recorded_at_least "$name-lost" lease/timetolive 3
    "$stop"
    # A restart finds the lease and its keys.
    recorder "$name-again"
    "$start"
    wait_for 30 recorded_at_least "$name-again" lease/keepalive 2
    # And two resyncs.
    wait_for 30 recorded_at_least "$name-again" lease/timetolive 6
    "$stop"
    revoke
    lab_stop recorder
}

agent_starts() {
    lab_spawn agent "$LAB/agent.log" nsenter --net="/run/netns/$LAB_ID-fake" "$REGISTRATOR" --config /dev/null \
        --docker "unix://$LAB/docker.sock" --etcd http://192.0.2.12:2379 --node host0000 --advertise 198.19.0.1 \
        --control "$LAB/control.sock" --ttl 20 --heartbeat 1 --resync 2
}
agent_stops() {
    lab_stop agent
}
agent_changes() {
    local verb=stop
    keys_in_etcd 3 || verb=start
    fake "/do?engine=0&verb=$verb&name=host0000-web-00" >/dev/null
}

simulated_starts() {
    LAB_NETNS=$LAB_ID-fake lab_spawn simulated "$LAB/simulated.log" "$LAB/simulator" one --etcd http://192.0.2.12:2379 --ttl 20 \
        --heartbeat 1s --resync 2s --keys "$LAB/expected" --address 198.19.0.1 \
        --identity "$(curl -sS --unix-socket "$LAB/docker.sock" http://fake/info | jq -r .ID)|$(</etc/machine-id)|host0000"
}
simulated_stops() {
    lab_stop simulated
}
simulated_changes() {
    lab_signal simulated USR1
}

fake() {
    curl -sS --fail-with-body --unix-socket "$LAB/fake" "http://fake$1"
}

# opening NAME PART: its first requests in their order, but for transactions: the version, the leases, and the one that it takes.
opening() {
    "$LAB/simulator" shapes "$LAB/$1-$2.json" | grep -vF kv/txn | head -n 6
}

@test "the simulated hosts' Go code is formatted and has no faults that vet knows" {
    cd "$LAB_TOP/tests/bench/hosts"
    export PATH=$PATH:/usr/local/go/bin GOFLAGS=-buildvcs=false GOTOOLCHAIN=local
    [[ -z $(gofmt -l .) ]]
    go vet .
}

@test "a simulated host sends the requests of the agent: at its start, at rest, after a change, a lost lease and a restart" {
    local part
    lab_spawn fake-docker "$LAB/fake.log" "$LAB/fake-docker" --socket "$LAB/docker.sock" --control "$LAB/fake" \
        --data "$LAB_TOP/tests/data/docker" --names 'host%e-web-%02d' --containers 3
    wait_for 30 fake '/state?engine=0'
    fake '/expected?engine=0&address=198.19.0.1' >"$LAB/expected"
    (($(wc -l <"$LAB/expected") == 3))
    a_life agent agent_starts agent_stops agent_changes
    a_life simulated simulated_starts simulated_stops simulated_changes
    for part in first lost again; do
        "$LAB/simulator" shapes "$LAB/agent-$part.json" | sort >"$LAB/agent"
        "$LAB/simulator" shapes "$LAB/simulated-$part.json" | sort >"$LAB/simulated"
        diff -u "$LAB/agent" "$LAB/simulated"
    done
    for part in first again; do
        diff -u <(opening agent "$part") <(opening simulated "$part")
    done
}
