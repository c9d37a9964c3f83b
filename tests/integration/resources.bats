#!/usr/bin/env bats
# The agent short of something: of file descriptors, of room on the disk; and with more to do than it ever will have:
# 10,000 containers, 500 events a second, a day's events at a stretch. What no real engine does in a minute, the fake
# one does (tests/fake/docker).

# shellcheck disable=SC2030,SC2031     # each test is a shell of its own
bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

setup_file() {
    export BATS_TEST_TIMEOUT=120
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

@test "out of file descriptors: keys live on, it waits quietly, says so once, and all is well when there are more" {
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

@test "a full disk: a drain says that it cannot be kept, and nothing else suffers" {
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
    [[ $status -eq 2 && $output == *"done, but not saved: a restart of the agent will undo it"* ]]
    wait_for 5 gone disk-
    run lab_registrator h1 undrain disk-kept
    [[ $status -eq 2 && $output == *"done, but not saved: a restart of the agent will undo it"* ]]
    start h1 disk-comes app:1
    not grep disk-comes "$LAB/h1/agent.log"
    heartbeats 2
    # What was kept before is whole.
    id=$(lab_docker h1 inspect -f '{{.Id}}' disk-kept)
    [ "$(cat "$LAB/h1/small/drained")" = "$id" ]
    [ "$(find "$LAB/h1/small" -type f | wc -l)" -eq 2 ]

    : >"$LAB/h1/agent.log"
    lab_registrator h1 drain disk-lost
    full_disk_agent
    wait_for 5 has h1 disk-kept
    wait_for 5 has h1 disk-comes
    run lab_registrator h1 explain disk-lost
    [[ $output == *"drained, held by the operator"* ]]
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

@test "10,000 containers: registered, listed again, kept over a restart, and 9,000 of them vanish" {
    local before
    # A shell cannot follow what comes from here on.
    watch_stop "$LAB/events"
    engine --containers 10000
    agent fake --ttl 30 --resync 3
    wait_for 60 fake_keys_are_right
    before=$(revision)
    lists 2
    # 16 MiB on amd64.
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
    wait_for 20 rss_is_below 12288
}

# storm RATE SECONDS: of all that happens in real engines; when it is over the keys are right, and no event was lost.
storm() {
    fake "/storm?rate=$1&seconds=$2&kinds=short,exec,health,kick&open=20"
    wait_for 5 fake_keys_are_right
    [ "$(fake /state | jq .dropped)" -eq 0 ]
}

@test "500 events a second, 200 containers: the keys are right at the end, and no more memory is held" {
    engine --containers 200
    # Events alone are at work here.
    agent fake --ttl 10 --resync 3600
    wait_for 20 fake_keys_are_right
    storm 500 10
    rss_is_below 8192
}

# A heartbeat and a list each second or two are there as well; a day has an event a second, which is a lot.
@test "a day's worth of events, 86,400, as fast as they come: no more memory, no more descriptors" {
    local rss fds
    engine --containers 200
    agent fake --ttl 10 --heartbeat 1 --resync 2
    wait_for 20 fake_keys_are_right
    storm 4800 5
    lists 2
    rss=$(rss_kib fake) fds=$(fds fake)
    storm 4800 18
    lists 2
    echo "# after 24,000 events $rss KiB, after 86,400 more $(rss_kib fake) KiB" >&3
    (($(rss_kib fake) < rss + 256))
    (($(fds fake) <= fds + 2))
}
