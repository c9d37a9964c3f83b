#!/usr/bin/env bats
# The agent with a real dockerd and a real etcd: whatever happens to containers, their keys follow.
# Only events are at work here: the resync, which would hide one that is lost, comes too late.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

ARGUMENTS=(--ttl 10 --heartbeat 1 --resync 3600 --node h1)

setup_file() {
    export BATS_TEST_TIMEOUT=90
    lab_up
    lab_host h1 192.0.2.11
    lab_host etcd 192.0.2.2
    lab_dockerd h1 --live-restore
    lab_image h1
    lab_etcd e1 etcd 3.4
    watch3_start "$LAB/events"
}

teardown_file() {
    lab_down
}

setup() {
    lab_alive dockerd-h1 || lab_dockerd h1 --live-restore
    agent h1 "${ARGUMENTS[@]}"
}

teardown() {
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all
    clear_containers h1
    clear_keys
}

@test "docker run -d -P makes just one key, of the default layout, that ends with the host" {
    start h1 plain app:1
    [ "$(keys3)" = "/app/servers/plain $(mapped h1 plain)" ]
    [[ $(mapped h1 plain) =~ ^192\.0\.2\.11:[0-9]+$ ]]
    local lease
    read -r _ _ lease < <(meta3 /app/servers/plain)
    ((lease > 0))
    [[ $(leases3) == "$lease 10 1" ]]
}

@test "several published ports have a key each; unpublished ones, loopback and UDP none" {
    start h1 bound -p 192.0.2.11::80 app:1
    lab_docker h1 run -d --name bound-not app:1
    lab_docker h1 run -d --name bound-loopback -p 127.0.0.1::80 app:1
    lab_docker h1 run -d -P --name bound-many app3:1
    wait_for 5 keys_are h1
    [ "$(keys3 | cut -d ' ' -f 1)" = $'/app/servers/bound\n/app/servers/bound-many-443\n/app/servers/bound-many-80' ]
    run lab_registrator h1 explain bound-loopback
    [[ $output == *loopback* ]]
}

@test "docker stop takes the key out while the container still runs" {
    start h1 slow app:slowterm
    local value
    value=$(mapped h1 slow)
    lab_docker h1 stop -t 20 slow
    wait_for 5 events_are slow "PUT slow $value" "DELETE slow"
    # It takes 2 s to end.
    (($(event_ms "DELETE slow") + 1000 < $(docker_event_ms h1 slow die)))
}

@test "a signal that is not its stop signal changes nothing" {
    start h1 hup app:1
    lab_docker h1 kill -s HUP hup
    # Events come in order: when this one has its key, the signal's has been seen.
    start h1 marker-of-hup app:1
    has h1 hup
    events_are hup "PUT hup $(mapped h1 hup)"
}

@test "docker kill, docker rm -f, its own end: the key goes" {
    local name value
    local -A values
    for name in end-kill end-rm end-own; do
        start h1 "$name" app:1
        values[$name]=$(mapped h1 "$name")
    done
    lab_docker h1 kill end-kill
    lab_docker h1 rm -f end-rm
    # The exec dies with it.
    lab_docker h1 exec end-own kill -s TERM 1 || true
    wait_for 5 gone end-
    for name in "${!values[@]}"; do
        wait_for 5 events_are "$name" "PUT $name ${values[$name]}" "DELETE $name"
    done
}

@test "a container that runs out of memory is out" {
    [[ $(lab_docker h1 info -f '{{.MemoryLimit}}') == true ]] || skip "no limit of memory on this machine"
    start h1 oom -m 16m app:1 /bin/sh -c 'until test -e /go; do sleep 0.1; done; exec /bin/busybox tail /dev/zero'
    lab_docker h1 exec oom touch /go
    wait_for 10 gone oom
    # Docker does not always hear why the kernel has killed it.
    [ "$(lab_docker h1 inspect -f '{{.State.ExitCode}}' oom)" -eq 137 ]
}

@test "paused it is out, unpaused it is in" {
    start h1 pause app:1
    local value
    value=$(mapped h1 pause)
    lab_docker h1 pause pause
    wait_for 5 gone pause
    run lab_registrator h1 explain pause
    [[ $output == *paused* ]]
    lab_docker h1 unpause pause
    wait_for 5 has h1 pause
    events_are pause "PUT pause $value" "DELETE pause" "PUT pause $value"
}

@test "renamed, the new key is there before the old one goes" {
    start h1 name-old app:1
    local value
    value=$(mapped h1 name-old)
    lab_docker h1 rename name-old name-new
    wait_for 5 events_are name- "PUT name-old $value" "PUT name-new $value" "DELETE name-old"
    keys_are h1
}

@test "restarted onto another port, it has the new one" {
    start h1 restart app:1
    local old
    old=$(mapped h1 restart)
    lab_docker h1 restart restart
    wait_for 5 has h1 restart
    [ "$(mapped h1 restart)" != "$old" ]
    events_are restart "PUT restart $old" "DELETE restart" "PUT restart $(mapped h1 restart)"
}

@test "restarted by its policy, it is out and in again" {
    start h1 policy --restart always app:1
    local old
    old=$(mapped h1 policy)
    lab_docker h1 exec policy kill -s TERM 1 || true
    restarted() { [[ $(events policy) == "PUT policy $old"$'\nDELETE policy\nPUT policy '* ]]; }
    wait_for 10 restarted
    wait_for 5 has h1 policy
}

@test "what survives its stop signal comes back" {
    start h1 deaf --stop-timeout 1 app:ignoreterm
    local value
    value=$(mapped h1 deaf)
    lab_docker h1 kill -s TERM deaf
    wait_for 5 events_are deaf "PUT deaf $value" "DELETE deaf"
    wait_for 10 events_are deaf "PUT deaf $value" "DELETE deaf" "PUT deaf $value"
    # Not before Docker would have killed it.
    (($(event_ms "PUT deaf") - $(event_ms "DELETE deaf") >= 1000))
}

@test "a container's own stop signal is the one that counts" {
    start h1 quit --stop-signal SIGQUIT --stop-timeout 60 app:ignoreterm
    local value
    value=$(mapped h1 quit)
    lab_docker h1 kill -s TERM quit
    start h1 marker-of-quit app:1
    events_are quit "PUT quit $value"
    lab_docker h1 kill -s QUIT quit
    wait_for 5 events_are quit "PUT quit $value" "DELETE quit"
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' quit)" = true ]
}

@test "docker stop of a paused container: its unpause is no return" {
    start h1 unpause app:ignoreterm
    local value
    value=$(mapped h1 unpause)
    lab_docker h1 pause unpause
    wait_for 5 gone unpause
    lab_docker h1 stop -t 1 unpause
    [[ -n $(docker_event_ms h1 unpause unpause) ]]
    start h1 marker-of-unpause app:1
    events_are unpause "PUT unpause $value" "DELETE unpause"
}

@test "with a health check it is in only while healthy" {
    lab_docker h1 run -d -P --name health --health-cmd 'test -e /healthy' --health-interval 1s \
        --health-retries 1 app:1
    explains() { lab_registrator h1 explain health | grep -F "$1"; }
    wait_for 5 explains health
    events_are health
    local value
    value=$(mapped h1 health)
    lab_docker h1 exec health touch /healthy
    wait_for 10 has h1 health
    lab_docker h1 exec health rm /healthy
    wait_for 10 gone health
    wait_for 5 explains unhealthy
    lab_docker h1 exec health touch /healthy
    wait_for 10 has h1 health
    events_are health "PUT health $value" "DELETE health" "PUT health $value"
}

@test "containers that live 20 ms leave nothing behind" {
    local job n jobs=()
    for job in {1..4}; do
        for n in {1..5}; do
            lab_docker h1 run -P --rm --name "short-$job-$n" app:1 /bin/sleep 0.02
        done 3>&- &
        jobs+=($!)
    done
    # By number: bats has a child of its own, which counts the time.
    wait "${jobs[@]}"
    start h1 marker-of-short app:1
    keys_are h1
    # As many came as went.
    [ "$(events short- | grep -c ^PUT)" -eq "$(events short- | grep -c ^DELETE)" ]
    status_is h1 '[.containers[].name] == ["marker-of-short"]'
}

@test "networks come and go, and the key is as Docker says" {
    start h1 net app:1
    local value
    value=$(mapped h1 net)
    lab_docker h1 network create other
    lab_docker h1 network connect other net
    lab_docker h1 network disconnect other net
    start h1 marker-of-net app:1
    events_are net "PUT net $value"
    # The ports of the last network that had any go with it.
    lab_docker h1 network disconnect bridge net
    wait_for 5 keys_are h1
    lab_docker h1 network connect other net
    wait_for 5 keys_are h1
    lab_docker h1 network disconnect -f other net
    lab_docker h1 network rm other
}

# One of four: starts its share of 30 containers, and in between does something to one that it has.
churn() {
    local job=$1 n name names=()
    RANDOM=$2
    for ((n = job; n < 30; n += 4)); do
        lab_docker h1 run -d -P --name "random-$n" app:1
        names+=("random-$n")
        name=${names[RANDOM % ${#names[@]}]}
        case $((RANDOM % 8)) in
        0 | 1) lab_docker h1 rm -f "$name" ;;
        2) lab_docker h1 stop "$name" ;;
        3) lab_docker h1 kill "$name" ;;
        4) lab_docker h1 restart "$name" ;;
        5) lab_docker h1 pause "$name" ;;
        6) lab_docker h1 pause "$name" && lab_docker h1 unpause "$name" ;;
        7) lab_docker h1 rename "$name" "$name-renamed" && lab_docker h1 rename "$name-renamed" "$name" ;;
        # What was removed or stopped before cannot be stopped again.
        esac || true
    done
}

@test "after 30 containers, started and ended at random by 4 jobs at once, the keys are docker ps" {
    local job jobs=() seed=${TEST_SEED:-4711}
    echo "TEST_SEED=$seed"
    for job in 0 1 2 3; do
        churn "$job" $((seed + job)) >/dev/null 3>&- &
        jobs+=($!)
    done
    wait "${jobs[@]}"
    wait_for 5 keys_are h1
    (($(keys3 | wc -l) > 5))
    heartbeats 1
    keys_are h1

    # All at once: a cold start takes one transaction.
    lab_agent_stop h1
    revoke3 "$(leases3 | cut -d ' ' -f 1)"
    [ -z "$(keys3)" ]
    local before
    before=$(grpc_calls Txn)
    lab_agent h1 "${ARGUMENTS[@]}"
    wait_for 5 keys_are h1
    (($(grpc_calls Txn) - before <= 2))
}

@test "steady state is silent: no event in 3 heartbeats, nor in the resyncs and audits meanwhile" {
    agent h1 "${ARGUMENTS[@]}" --resync 1
    start h1 steady-1 app:1
    start h1 steady-2 app:1
    local before audits
    before=$(events '')
    audits=$(grpc_calls LeaseTimeToLive)
    heartbeats 3
    wait_for 5 _grpc_calls_reach LeaseTimeToLive $((audits + 2))
    [ "$(events '')" = "$before" ]
}

@test "steady state costs one request to etcd a heartbeat" {
    start h1 cheap-1 app:1
    start h1 cheap-2 app:1
    heartbeats 1
    local others begin
    others=$(grpc_calls_but LeaseKeepAlive) begin=${EPOCHREALTIME/./}
    heartbeats 3
    # The first of them may have come at once.
    ((${EPOCHREALTIME/./} - begin >= 1900000))
    [ "$(grpc_calls_but LeaseKeepAlive)" -eq "$others" ]
}

settled() {
    status_is h1 ".etcd.state == \"online\" and .etcd.keys == $1"
}

@test "killed or ended and started again: what runs on has no event, what changed meanwhile is right" {
    start h1 again-stays app:1
    start h1 again-goes app:1
    local before value
    before=$(meta3 /app/servers/again-stays)
    value=$(mapped h1 again-stays)
    lab_agent_kill9 h1
    lab_agent h1 "${ARGUMENTS[@]}"
    wait_for 5 settled 2
    heartbeats 2
    lab_agent_stop h1
    [ -n "$before" ]
    [ "$(meta3 /app/servers/again-stays)" = "$before" ]
    lab_agent h1 "${ARGUMENTS[@]}"
    wait_for 5 settled 2
    heartbeats 2
    [ "$(events again- | wc -l)" -eq 2 ]

    lab_agent_kill9 h1
    lab_docker h1 rm -f again-goes
    lab_docker h1 run -d -P --name again-comes app:1
    lab_agent h1 "${ARGUMENTS[@]}"
    wait_for 5 keys_are h1
    wait_for 5 settled 2
    events_are again-stays "PUT again-stays $value"
    [ "$(meta3 /app/servers/again-stays)" = "$before" ]
}

@test "SIGHUP without a change makes no event" {
    start h1 reload app:1
    lab_signal agent-h1 HUP
    wait_for 5 said h1 "Settings read again" 1
    heartbeats 2
    events_are reload "PUT reload $(mapped h1 reload)"
    settled 1
}

@test "dockerd restarted with live-restore makes no event; what died meanwhile is out" {
    local signal value pid
    start h1 live-stays app:1
    start h1 live-dies app:1
    value=$(mapped h1 live-stays)
    pid=$(lab_docker h1 inspect -f '{{.State.Pid}}' live-dies)
    for signal in TERM KILL; do
        : >"$LAB/h1/agent.log"
        lab_dockerd_stop h1 "$signal"
        wait_for 5 status_is h1 '.docker.connected == false'
        heartbeats 2
        [ "$signal" = TERM ] || kill -s KILL "$pid"
        lab_dockerd h1 --live-restore
        wait_for 10 said h1 "Connected to Docker"
        [ "$signal" = KILL ] || heartbeats 2
        [ "$(keys3 /app/servers/live-stays)" = "/app/servers/live-stays $value" ]
        [ "$signal" = TERM ] || wait_for 5 gone live-dies
        # Said once, however often it tried.
        said h1 "from Docker at unix://" 1
    done
    events_are live-stays "PUT live-stays $value"
    [ "$(events live-dies | wc -l)" -eq 2 ]
}
