#!/usr/bin/env bats
# The agent and the clocks: the clock of the day is set, the machine sleeps. Neither may be done to the machine that
# tests, so that the agents find it in clocks of their own (tests/fake/clock.c); all else is real.

# shellcheck disable=SC2030,SC2031     # each test is a shell of its own
bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

DAY_MS=86400000

setup_file() {
    local n
    export BATS_TEST_TIMEOUT=240
    # The agents are on other hosts than the Docker that they share, and reach no container.
    export REGISTRATOR_READY=none
    lab_up
    gcc -std=gnu11 -D_GNU_SOURCE -O1 -shared -fPIC -o "$LAB/clock.so" "$LAB_TOP/tests/fake/clock.c"
    lab_host h1 192.0.2.11
    lab_host etcd 192.0.2.2
    lab_dockerd h1
    lab_image h1 app:1
    # An agent for each API, which are told of the same containers.
    for n in 2 3; do
        lab_host "a$n" "192.0.2.3$n"
        ln -s "$LAB/h1/docker.sock" "$LAB/a$n/docker.sock"
    done
    lab_etcd e1 etcd 3.4
    watch2_start "$LAB/events2"
    watch3_start "$LAB/events3"
}

teardown_file() {
    lab_down
}

teardown() {
    local host
    [[ -n $BATS_TEST_COMPLETED ]] || tell_both
    for host in a2 a3; do
        lab_agent_kill9 "$host"
    done
    lab_stop_group relay
    lab_stop fake-docker
    rm -f "$LAB"/a[23]/agent.log
    clear_containers h1
    clear_keys
    etcd2 DELETE "/app?recursive=true" >/dev/null || true
}

tell_both() {
    EVENTS=$LAB/events3 tell_all
    echo "events of v2:"
    tail -n 20 "$LAB/events2" | grep -v /lab-mark
}

# clock HOST STEP SLEPT: what its agent's clocks are off by, see tests/fake/clock.c.
clock() {
    echo "$2 $3" >"$LAB/$1/clock.new"
    mv "$LAB/$1/clock.new" "$LAB/$1/clock"
}

# clocked_agent HOST ARGUMENTS...
clocked_agent() {
    clock "$1" 0 0
    LAB_AGENT_WRAPPER=$(wrapper "$1") agent "$@"
}
wrapper() {
    echo "env LD_PRELOAD=$LAB/clock.so FAKE_CLOCK=$LAB/$1/clock"
}

# both_agents ARGUMENTS...
both_agents() {
    clocked_agent a3 --node a3 --etcd-api v3 "$@"
    clocked_agent a2 --node a2 --etcd-api v2 "$@"
}

# The functions of agent.bash, for the agent and the store of either API.
v3() {
    KEYS=keys3 EVENTS=$LAB/events3 "${@//@/a3}"
}
v2() {
    KEYS=keys2 EVENTS=$LAB/events2 "${@//@/a2}"
}
on_both() {
    v3 "$@" && v2 "$@"
}

# run_container NAME
run_container() {
    lab_docker h1 run -d -P --name "$1" app:1 >/dev/null
    wait_for 5 on_both has @ "$1"
}

# renewals HOST: prints how often its keys have been renewed: its lease, or the one key that there is with v2.
renewals() {
    if [[ $1 == a3 ]]; then
        grpc_calls LeaseKeepAlive
    else
        etcd_curl /v2/stats/store | jq .compareAndSwapSuccess
    fi
}
renewals_reach() {
    (($(renewals "$1") >= $2))
}
# renewed HOST TIMES: waits for as many.
renewed() {
    wait_for 20 renewals_reach "$1" $(($(renewals "$1") + $2))
}

# once HOST NAME: the key has had one event, its first.
once() {
    events_are "$2" "PUT $2 $(mapped "$1" "$2")"
}

@test "setting the wall clock a day ahead or back changes no heartbeat and no key" {
    local step name n=0
    both_agents --ttl 5 --heartbeat 1
    run_container stays
    for step in "$DAY_MS" "-$DAY_MS" 0; do
        name=comes-$((++n))
        lab_docker h1 create -P --name "$name" app:1
        on_both clock @ "$step" 0
        lab_docker h1 start "$name"
        wait_for 5 on_both has @ "$name"
        lab_docker h1 kill "$name"
        wait_for 5 on_both gone "$name"
        on_both renewed @ 2
        on_both is_ready @
    done
    on_both once @ stays
    not grep -E "warning|error" "$LAB"/a[23]/agent.log
}
is_ready() {
    curl -sS --fail-with-body --unix-socket "$LAB/$1/control.sock" http://agent/readyz
}

@test "no timer uses the wall clock, and all timers about TTLs use CLOCK_BOOTTIME" {
    both_agents
    run_container timed
    on_both clocks_are @ $'1\n7'
}
# clocks_are HOST NUMBERS: those of its timers, as the kernel numbers them: 0 the day's, 1 monotonic, 7 boottime.
clocks_are() {
    local pid
    pid=$(lab_pid "agent-$1")
    diff <(echo "$2") <(sed -n 's/^clockid: //p' "/proc/$pid/fdinfo/"* | sort -nu)
}

@test "the agent finds an etcd whose name has a new address, while the wall clock is a day back" {
    lab_host moves 192.0.2.41
    names 192.0.2.41
    # shellcheck disable=SC2016     # for the inner shell
    echo 'mount --bind "$1" /etc/hosts && shift && exec "$@"' >"$LAB/with-names"
    lab_etcd named moves 3.4
    echo "http://etcd.test:2379" >"$LAB/etcd/named/url"
    clock a3 0 0
    LAB_AGENT_WRAPPER="unshare --mount sh $LAB/with-names $LAB/names $(wrapper a3)" \
        ETCD=named agent a3 --node a3 --etcd-api v3 --ttl 5
    wait_for 5 said a3 "Registering in etcd"
    clock a3 "-$DAY_MS" 0
    lab_in moves ip address flush dev eth0
    lab_in moves ip address add 192.0.2.42/24 dev eth0
    names 192.0.2.42
    lab_docker h1 run -d -P --name named app:1
    wait_for 20 status_is a3 '.containers[0].state == "registered"'
}
# Written, not replaced: the agent looks at this very file.
names() {
    printf '%s\n' '127.0.0.1 localhost' "$1 etcd.test" >"$LAB/names"
}

# fall_asleep HOST: its agent, as when its machine is suspended. wake HOST
fall_asleep() {
    lab_signal "agent-$1" STOP
    now_ms >"$LAB/$1/asleep"
}
wake() {
    clock "$1" 0 $(($(now_ms) - $(<"$LAB/$1/asleep")))
    lab_signal "agent-$1" CONT
}
now_ms() {
    echo $((${EPOCHREALTIME/./} / 1000))
}

@test "after a sleep longer than the TTL, the agent notices the expiry at once and writes the keys" {
    both_agents --ttl 10 --heartbeat 5 --resync 3600
    run_container asleep
    renewed a2 1
    fall_asleep a2
    renewed a3 1
    fall_asleep a3
    wait_for 30 on_both gone asleep
    # By a clock that has stood still, the next heartbeat would come 5 s later.
    on_both wake @
    wait_for 3 on_both has @ asleep
    on_both said @ "TTL of 10 s ended" 1
}

fake() {
    curl -sS --fail-with-body --unix-socket "$LAB/fake/control" "http://fake$1"
}

@test "--docker-grace and --resync include the time that the host sleeps" {
    mkdir "$LAB/fake"
    lab_spawn relay "$LAB/relay.log" socat "UNIX-LISTEN:$LAB/a3/relay.sock,fork" "UNIX-CONNECT:$LAB/h1/docker.sock"
    lab_build_fake_docker "$LAB/fake/docker"
    lab_spawn fake-docker "$LAB/fake/log" "$LAB/fake/docker" --socket "$LAB/fake/docker.sock" \
        --control "$LAB/fake/control" --data "$LAB_TOP/tests/data/docker" --containers 2
    wait_for 10 fake /state
    clocked_agent a3 --node a3 --etcd-api v3 --ttl 60 --docker "unix://$LAB/a3/relay.sock" --docker-grace 6
    clocked_agent a2 --node a2 --etcd-api v2 --ttl 60 --docker "unix://$LAB/fake/docker.sock" --resync 6
    lab_docker h1 run -d -P --name lives-on app:1
    wait_for 5 v3 has @ lives-on
    wait_for 5 eval 'keys2 | grep /app/servers/web-00001'

    lab_stop_group relay KILL
    wait_for 5 said a3 "No events from Docker"
    on_both fall_asleep @
    fake "/do?verb=oops&name=web-00001"
    # Nothing can be seen of it.
    sleep 7
    # By a clock that has stood still, it would take 5 s more.
    on_both wake @
    wait_for 3 v3 gone lives-on
    wait_for 3 v2 gone web-00001
    said a3 "Docker has been away for 6 s"
}
