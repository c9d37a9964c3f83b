#!/usr/bin/env bats
# The agent short of something: of file descriptors, of room on the disk; and with more to do than it ever will have:
# 10,000 containers, 500 events a second, a day's events at a stretch. What no real engine does in a minute, the fake
# one does (tests/fake/docker).

# shellcheck disable=SC2030,SC2031     # each test is a shell of its own
bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

setup_file() {
    export BATS_TEST_TIMEOUT=240
    # The fake engine's containers have no servers, except where a test starts one.
    export REGISTRATOR_READY=none
    lab_up
    lab_build_fake_docker "$LAB/fake-docker"
    lab_host h1 192.0.2.11
    lab_host fake 192.0.2.12
    lab_host etcd 192.0.2.2
    lab_dockerd h1 --live-restore
    lab_image h1 app:1
    lab_etcd e1 etcd 3.4
    watch3_start "$LAB/events"
}

teardown_file() {
    lab_down
}

teardown() {
    local host
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all
    for host in h1 fake; do
        lab_agent_kill9 "$host"
        rm -f "$LAB/$host/agent.log"
    done
    lab_in fake iptables -w -F INPUT
    lab_stop fake-docker
    lab_alive dockerd-h1 || lab_dockerd h1 --live-restore
    clear_containers h1
    clear_keys
}

# cpu_ticks HOST: prints the time that its agent has computed for, in 1/100 s.
cpu_ticks() {
    awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$(lab_pid "agent-$1")/stat"
}

# rss_kib HOST: prints how much memory of its own the agent holds. fds HOST: how many descriptors.
rss_kib() {
    awk '/^RssAnon:/ { print $2 }' "/proc/$(lab_pid "agent-$1")/status"
}
fds() {
    find "/proc/$(lab_pid "agent-$1")/fd" -type l | wc -l
}

revision() {
    etcd3 kv/range '{"key":"AA=="}' | jq -r .header.revision
}

@test "without free file descriptors the keys stay, the log has one line, and the agent recovers" {
    local pid free=0 ticks i asking=()
    agent h1 --ttl 5 --heartbeat 1 --resync 5
    start h1 fd-stays app:1
    pid=$(lab_pid agent-h1)
    while [[ -e /proc/$pid/fd/$free ]]; do
        free=$((free + 1))
    done
    prlimit --pid "$pid" --nofile="$free:"
    ticks=$(cpu_ticks h1)
    for i in 1 2 3; do
        curl -sS --fail -m 60 --unix-socket "$LAB/h1/control.sock" http://agent/status >"$LAB/answer-$i" 3>&- &
        asking+=($!)
    done
    # For longer than the TTL.
    heartbeats 6
    echo "$(($(cpu_ticks h1) - ticks)) ticks"
    (($(cpu_ticks h1) - ticks < 100))
    said h1 "Failed to take a connection at $LAB/h1/control.sock" 1

    # Connections that end, and are to be made anew.
    lab_dockerd_stop h1
    lab_dockerd h1 --live-restore
    lab_docker h1 run -d -P --name fd-comes app:1
    (($(cpu_ticks h1) - ticks < 200))
    prlimit --pid "$pid" --nofile=1024:
    for i in "${asking[@]}"; do
        wait "$i"
    done
    wait_for 10 keys_are h1
    status_is h1 '.docker.connected and .etcd.state == "online"'
    events_are fd-stays "PUT fd-stays $(mapped h1 fd-stays)"
    (($(grep -c "Too many open files" "$LAB/h1/agent.log") < 10))
    [ "$(lab_pid agent-h1)" = "$pid" ]
}

@test "with a full disk, drain reports that it cannot be stored, and everything else works" {
    local id
    mkdir "$LAB/h1/small"
    mount -t tmpfs -o size=64k tmpfs "$LAB/h1/small"
    ln -s small/agent.log "$LAB/h1/agent.log"
    full_disk_agent() { LAB_AGENT_WRAPPER="env STATE_DIRECTORY=$LAB/h1/small" agent h1 --ttl 5 --heartbeat 1; }
    full_disk_agent
    start h1 disk-kept app:1
    start h1 disk-lost app:1
    lab_registrator h1 drain disk-kept
    yes "the disk is full" >>"$LAB/h1/agent.log" 2>/dev/null || true

    run lab_registrator h1 drain disk-lost
    echo "$output"
    [[ $status -eq 2 && $output == *"done, but not saved: a restart of the agent will undo this"* ]]
    wait_for 5 gone disk-
    run lab_registrator h1 undrain disk-kept
    [[ $status -eq 2 && $output == *"done, but not saved: a restart of the agent will undo this"* ]]
    start h1 disk-comes app:1
    not grep disk-comes "$LAB/h1/agent.log"
    heartbeats 2
    # What was kept before is whole.
    id=$(lab_docker h1 inspect -f '{{.Id}}' disk-kept)
    [ "$(cat "$LAB"/h1/small/*.state)" = "drained $id" ]
    [ "$(find "$LAB/h1/small" -type f | wc -l)" -eq 2 ]

    : >"$LAB/h1/agent.log"
    lab_registrator h1 drain disk-lost
    full_disk_agent
    wait_for 5 has h1 disk-kept
    wait_for 5 has h1 disk-comes
    run lab_registrator h1 explain disk-lost
    [[ $output == *"drained by the operator"* ]]
    gone disk-lost
    umount -l "$LAB/h1/small"
}

# engine ARGUMENTS...: a fake one, with labels and variables as many as containers of Compose and the like have.
engine() {
    lab_spawn fake-docker "$LAB/fake.log" "$LAB/fake-docker" --socket "$LAB/fake/docker.sock" \
        --control "$LAB/fake/control" --data "$LAB_TOP/tests/data/docker" --labels 16 --env 16 "$@"
    wait_for 20 fake /state
}
fake() {
    curl -sS --fail-with-body --unix-socket "$LAB/fake/control" "http://fake$1"
}
# Prints the beginning of the difference.
fake_keys_are_right() {
    diff --label expected --label etcd -U 0 \
        <(fake "/expected?address=$(lab_address fake)" | sort) <(keys3) >"$LAB/difference" ||
        { head -n 20 "$LAB/difference"; return 1; }
}

# lists N: waits until the agent has listed as often again.
lists() {
    wait_for $(($1 * 5 + 10)) lists_reach $(($(fake /state | jq .requests.list) + $1))
}
lists_reach() {
    (($(fake /state | jq .requests.list) >= $1))
}

rss_is_below() {
    echo "RssAnon $(rss_kib fake) KiB"
    (($(rss_kib fake) < $1))
}

@test "10,000 containers are registered, listed again, kept over a restart, and 9,000 are then removed" {
    local before
    # A shell cannot follow what comes from here on.
    watch_stop "$LAB/events"
    engine --containers 10000
    agent fake --ttl 30 --resync 3
    wait_for 60 fake_keys_are_right
    before=$(revision)
    lists 2
    # 23 MiB on amd64.
    rss_is_below 32768
    echo "# 10,000 containers: $(rss_kib fake) KiB" >&3
    lab_agent_kill9 fake
    agent fake --ttl 30 --resync 3
    lists 2
    [ "$(revision)" -eq "$before" ]
    fake "/do?verb=oops&name=web-05000"
    wait_for 10 fake_keys_are_right
    fake "/count?n=1000"
    wait_for 20 fake_keys_are_right
    # Each of those that are left may keep a page or two of the many that 10,000 have taken: of 22.5 MiB, 17 MiB stay.
    wait_for 20 rss_is_below 20480
}

# not_listening N: status says of so many containers that nothing listens.
not_listening() {
    local n
    n=$(lab_registrator fake status | grep -c 'nothing listens yet')
    echo "$n"
    ((n == $1))
}
# ready_key NAME: its key is there.
ready_key() {
    keys3 | grep "^/app/servers/$1 "
}

@test "10,000 containers whose servers do not listen yet: events, heartbeats and a server that listens do not wait" {
    local address calls
    watch_stop "$LAB/events"
    lab_in fake ip route add local 198.18.0.0/15 dev lo
    lab_in fake iptables -w -A INPUT -p tcp -d 198.18.0.0/15 --dport 80 -j REJECT --reject-with tcp-reset
    LAB_NETNS=$LAB_ID-fake engine --containers 10000 --serve 0.0.0.0:80
    REGISTRATOR_READY=tcp agent fake --ttl 10 --heartbeat 1 --resync 3600
    wait_for 120 not_listening 10000
    [ -z "$(keys3)" ]
    calls=$(grpc_calls LeaseKeepAlive)
    fake "/do?verb=rm&name=web-00007"
    wait_for 20 not_listening 9999
    address=$(curl -sS --unix-socket "$LAB/fake/docker.sock" http://docker/containers/web-00005/json |
        jq -r .NetworkSettings.Networks.bridge.IPAddress)
    lab_in fake iptables -w -I INPUT -d "$address" -j ACCEPT
    wait_for 20 ready_key web-00005
    heartbeats 3
    (($(grpc_calls LeaseKeepAlive) >= calls + 3))
    lab_in fake iptables -w -F INPUT
    wait_for 120 fake_keys_are_right
    echo "# 10,000 probed containers: $(rss_kib fake) KiB" >&3
    lab_in fake ip route del local 198.18.0.0/15 dev lo
}

# storm RATE SECONDS: of all that happens in real engines; when it is over the keys are right.
# A container whose health has changed again and again is in a crash loop: its key is late by up to 60 s.
storm() {
    fake "/storm?rate=$1&seconds=$2&kinds=short,exec,health,kick&open=20"
    wait_for 70 fake_keys_are_right
}

@test "after 500 events a second for 200 containers, the keys are right and the memory has not grown" {
    engine --containers 200
    # Events alone are at work here.
    agent fake --ttl 10 --resync 3600
    wait_for 20 fake_keys_are_right
    storm 500 10
    [ "$(fake /state | jq .dropped)" -eq 0 ]
    rss_is_below 8192
}

# A heartbeat and a list each second or two are there as well; a day has an event a second, which is a lot.
#
# On a busy machine the engine drops some of so many events, as dockerd does: the lists make up for these.
#
# The first storm fills the history: its 2,048 events take 0.7 MiB, and 100,000 events of Docker fill it. After this, the
# agent held 1.72 to 1.77 MiB in use for 180,000 events more, and its RssAnon moved by up to 284 KiB: malloc's pages.
# A leak of malloc's smallest piece, 16 bytes, for each event would be 1,350 KiB; with its header, 2,700 KiB.
@test "after 86,400 events, one day's number, memory and descriptors have not grown" {
    local rss fds after
    engine --containers 200
    agent fake --ttl 10 --heartbeat 1 --resync 2
    wait_for 20 fake_keys_are_right
    storm 4800 25
    lists 2
    rss=$(rss_kib fake) fds=$(fds fake)
    storm 4800 18
    lists 2
    after=$(rss_kib fake)
    echo "RssAnon: $rss KiB, after 86,400 more events $after KiB"
    echo "# RssAnon: $rss KiB, after 86,400 more events $after KiB" >&3
    ((after < rss + 768))
    (($(fds fake) <= fds + 2))
}
