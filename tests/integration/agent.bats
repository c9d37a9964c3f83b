#!/usr/bin/env bats
# The agent with a real dockerd and a real etcd: whatever happens to containers, their keys follow.
# Only events are at work here: the resync, which would hide one that is lost, comes too late.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

ARGUMENTS=(--ttl 10 --heartbeat 1 --resync 3600 --node h1)

setup_file() {
    export BATS_TEST_TIMEOUT=240
    lab_up
    lab_host h1 192.0.2.11
    lab_host etcd 192.0.2.2
    slow_runtime
    dockerd
    lab_image h1
    lab_etcd e1 etcd 3.4
    watch3_start "$LAB/events"
}

dockerd() {
    lab_dockerd h1 --live-restore --add-runtime "slow=$LAB/slow"
}

# slow_runtime: makes a runtime whose containers start when there is $LAB/go.
slow_runtime() {
    cat >"$LAB/slow" <<END
#!/bin/sh
case " \$* " in
*" start "*) until [ -e "$LAB/go" ]; do sleep 0.1; done ;;
esac
exec runc "\$@"
END
    chmod +x "$LAB/slow"
}

teardown_file() {
    lab_down
}

setup() {
    lab_alive dockerd-h1 || dockerd
    agent h1 "${ARGUMENTS[@]}"
}

teardown() {
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all
    clear_containers h1
    clear_keys
}

@test "docker run -d -P makes exactly one key of the default layout, which expires with the host" {
    start h1 plain app:1
    [ "$(keys3)" = "/app/servers/plain $(mapped h1 plain)" ]
    [[ $(mapped h1 plain) =~ ^192\.0\.2\.11:[0-9]+$ ]]
    local lease
    read -r _ _ lease < <(meta3 /app/servers/plain)
    ((lease > 0))
    [[ $(leases3) == "$lease 10 1" ]]
}

@test "each published TCP port has a key; unpublished, loopback and UDP ports have none" {
    start h1 bound -p 192.0.2.11::80 app:1
    lab_docker h1 run -d --name bound-not app:1
    lab_docker h1 run -d --name bound-loopback -p 127.0.0.1::80 app:1
    lab_docker h1 run -d -P --name bound-many app3:1
    wait_for 5 keys_are h1
    [ "$(keys3 | cut -d ' ' -f 1)" = $'/app/servers/bound\n/app/servers/bound-many-443\n/app/servers/bound-many-80' ]
    run lab_registrator h1 explain bound-loopback
    [[ $output == *loopback* ]]
}

@test "docker stop deregisters a container that still runs" {
    start h1 slow app:slowterm
    local value
    value=$(mapped h1 slow)
    lab_docker h1 stop -t 20 slow
    wait_for 5 events_are slow "PUT slow $value" "DELETE slow"
    # It takes 2 s to end.
    (($(event_ms "DELETE slow") + 1000 < $(docker_event_ms h1 slow die)))
}

@test "a signal that is not the stop signal changes no key" {
    start h1 hup app:1
    lab_docker h1 kill -s HUP hup
    # Events come in order: when this one has its key, the signal's has been seen.
    start h1 marker-of-hup app:1
    has h1 hup
    events_are hup "PUT hup $(mapped h1 hup)"
}

@test "docker kill, docker rm -f and an exit deregister a container" {
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

@test "a container that runs out of memory is deregistered" {
    [[ $(lab_docker h1 info -f '{{.MemoryLimit}}') == true ]] || skip "no limit of memory on this machine"
    start h1 oom -m 16m -l SERVICE_READY=none app:1 /bin/sh -c 'until test -e /go; do sleep 0.1; done; exec /bin/busybox tail /dev/zero'
    lab_docker h1 exec oom touch /go
    wait_for 10 gone oom
    # Docker does not always hear why the kernel has killed it.
    [ "$(lab_docker h1 inspect -f '{{.State.ExitCode}}' oom)" -eq 137 ]
}

@test "a paused container is deregistered, and registered again when unpaused" {
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

@test "a rename writes the new key before the agent deletes the old one" {
    start h1 name-old app:1
    local value
    value=$(mapped h1 name-old)
    lab_docker h1 rename name-old name-new
    wait_for 5 events_are name- "PUT name-old $value" "PUT name-new $value" "DELETE name-old"
    keys_are h1
}

@test "a container that restarts with another port has a key with the new port" {
    start h1 restart app:1
    local old
    old=$(mapped h1 restart)
    lab_docker h1 restart restart
    wait_for 5 has h1 restart
    [ "$(mapped h1 restart)" != "$old" ]
    events_are restart "PUT restart $old" "DELETE restart" "PUT restart $(mapped h1 restart)"
}

@test "a start costs one inspect, which is sent when the network is connected" {
    local old
    agent h1 "${ARGUMENTS[@]}" --log-level debug
    wait_for 5 said h1 "Connected to Docker"
    start h1 early app:1
    old=$(mapped h1 early)
    [ "$(inspects h1 early)" -eq 1 ]
    said h1 ", which is about to start" 1
    lab_docker h1 restart -t 0 early
    wait_for 5 has h1 early
    [ "$(inspects h1 early)" -eq 2 ]
    said h1 ", which is about to start" 2
    events_are early "PUT early $old" "DELETE early" "PUT early $(mapped h1 early)"
}

@test "containers whose start hangs are registered when they run, and delay no other container" {
    local i started=()
    agent h1 "${ARGUMENTS[@]}" --log-level debug
    wait_for 5 said h1 "Connected to Docker"
    # One more than there are slots for such inspects.
    for i in {1..9}; do
        lab_docker h1 create -P --name "hangs-$i" --runtime slow app:1
        lab_docker h1 start "hangs-$i" 3>&- &
        started+=($!)
    done
    wait_for 20 said h1 ", which is about to start" 8
    start h1 hangs-not app:1
    events_are hangs "PUT hangs-not $(mapped h1 hangs-not)"
    touch "$LAB/go"
    wait_for 20 keys_are h1
    wait "${started[@]}"
    rm "$LAB/go"
}

@test "a restart by policy deregisters and registers the container" {
    start h1 policy --restart always app:1
    local old
    old=$(mapped h1 policy)
    lab_docker h1 exec policy kill -s TERM 1 || true
    restarted() { [[ $(events policy) == "PUT policy $old"$'\nDELETE policy\nPUT policy '* ]]; }
    wait_for 10 restarted
    wait_for 5 has h1 policy
}

# Docker does not tell how long a stop may take: docker stop -t overrules the container's own timeout.
@test "a container that drains for longer than its stop timeout stays deregistered until it ends" {
    start h1 drains --stop-timeout 1 app:ignoreterm
    local value
    value=$(mapped h1 drains)
    lab_docker h1 stop -t 6 drains
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' drains)" = false ]
    start h1 marker-of-drains app:1
    events_are drains "PUT drains $value" "DELETE drains"
}

@test "a container that still runs after --stop-limit is registered again; undrain registers it at once" {
    agent h1 "${ARGUMENTS[@]}" --stop-limit 2
    start h1 deaf --stop-timeout 1 app:ignoreterm
    local value
    value=$(mapped h1 deaf)
    lab_docker h1 kill -s TERM deaf
    wait_for 10 events_are deaf "PUT deaf $value" "DELETE deaf" "PUT deaf $value"
    (($(event_ms "PUT deaf") - $(event_ms "DELETE deaf") >= 2000))
    said h1 "Container deaf still runs 2 s after its stop signal (--stop-limit)" 1
    agent h1 "${ARGUMENTS[@]}"
    lab_docker h1 kill -s TERM deaf
    wait_for 5 gone deaf
    lab_registrator h1 undrain deaf
    wait_for 5 has h1 deaf
}

# Kept stopped, the agent hears of neither the death nor the start: Docker drops what it does not read, but replays it.
# A container on a fixed port looks the same in each list.
@test "a stop ends with the restart, if no event has announced the death and the start" {
    start h1 unheard -p 18080:80 app:ignoreterm
    lab_docker h1 kill -s TERM unheard
    wait_for 5 gone unheard
    lab_agent_kill9 h1
    lab_docker h1 restart -t 0 unheard
    lab_agent h1 "${ARGUMENTS[@]}"
    wait_for 5 has h1 unheard
}

@test "the older of two containers owns their common key, also after restarts of the container and the agent" {
    local value
    lab_docker h1 run -d --name twin -p 18081:80 -p 18082:443 app:1 >/dev/null
    wait_for 5 twin_is 18081
    lab_docker h1 run -d --name twin-80 -p 18083:80 app:1 >/dev/null
    wait_for 5 status_is h1 '[.containers[] | select(.name == "twin-80") | .records[0].reason] == ["duplicate"]'
    lab_agent_kill9 h1
    lab_agent h1 "${ARGUMENTS[@]}"
    wait_for 5 status_is h1 '[.containers[] | select(.name == "twin-80") | .records[0].reason] == ["duplicate"]'
    twin_is 18081
    lab_docker h1 restart -t 1 twin
    wait_for 5 twin_is 18081
    events twin-80 | not grep -F :18083
    # Once the older one is gone, the younger one has the key.
    lab_docker h1 rm -f twin
    wait_for 5 twin_is 18083
}
twin_is() {
    keys3 | grep -xF "/app/servers/twin-80 $(lab_address h1):$1"
}

@test "the container's own stop signal deregisters it" {
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

@test "the unpause that docker stop causes does not register the container" {
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

@test "a container with a health check is registered only while healthy" {
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

@test "containers that run for 20 ms leave no keys" {
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

@test "the key follows connected and disconnected networks" {
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

@test "after 4 jobs start and end 30 containers at random, the keys match docker ps" {
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

@test "an idle agent causes no etcd event in 3 heartbeats and their resyncs" {
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

@test "an idle agent sends one request to etcd for each heartbeat" {
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

@test "after an agent's restart, running containers have no event, and changed ones have the right keys" {
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

@test "a restarted agent knows a stop in progress, also one that began while the agent was down" {
    local restart away
    start h1 stop-restart app:ignoreterm
    start h1 stop-away app:ignoreterm
    restart=$(mapped h1 stop-restart)
    away=$(mapped h1 stop-away)
    lab_docker h1 stop -t 8 stop-restart >/dev/null 3>&- &
    wait_for 5 events_are stop-restart "PUT stop-restart $restart" "DELETE stop-restart"
    lab_agent_kill9 h1
    lab_docker h1 stop -t 8 stop-away >/dev/null 3>&- &
    killed() { [[ -n $(docker_event_ms h1 stop-away kill) ]]; }
    wait_for 5 killed
    lab_agent h1 "${ARGUMENTS[@]}"
    wait_for 5 events_are stop-away "PUT stop-away $away" "DELETE stop-away"
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' stop-away)" = true ]
    both_ended() { [ "$(lab_docker h1 inspect -f '{{.State.Running}}' stop-restart stop-away | sort -u)" = false ]; }
    wait_for 15 both_ended
    start h1 marker-of-stops app:1
    events_are stop-restart "PUT stop-restart $restart" "DELETE stop-restart"
    events_are stop-away "PUT stop-away $away" "DELETE stop-away"
}

# dockerd keeps its last 256 events, of whatever kind.
@test "a restarted agent knows a stop whose events Docker no longer has" {
    local value id i
    start h1 stop-old app:ignoreterm
    id=$(lab_docker h1 inspect -f '{{.Id}}' stop-old)
    value=$(mapped h1 stop-old)
    lab_docker h1 stop -t 60 stop-old >/dev/null 3>&- &
    wait_for 5 events_are stop-old "PUT stop-old $value" "DELETE stop-old"
    remembered() { grep -q '^stopping ' "$LAB/h1/control.sock.state"; }
    wait_for 5 remembered
    lab_agent_kill9 h1
    for ((i = 0; i < 260; i++)); do
        printf 'url = "http://docker/containers/%s/rename?name=stop-old-%d"\nrequest = POST\n' "$id" $((i % 2))
    done | lab_in h1 curl --fail -sS --unix-socket "$LAB/h1/docker.sock" -K -
    not docker_event_ms h1 stop-old kill # jq finds none
    lab_agent h1 "${ARGUMENTS[@]}"
    start h1 marker-of-old app:1
    lab_docker h1 rm -f stop-old-1 >/dev/null
    events_are stop-old "PUT stop-old $value" "DELETE stop-old"
}

# The labels that the new key needs were not read under the old rules.
@test "new rules with another label and address: no key has a wrong value, and the old key stays until the new one exists" {
    local value
    printf '[registry]\nkey = /app/servers/{name}\n' >"$LAB/h1/rules.conf"
    agent h1 "${ARGUMENTS[@]}" --config "$LAB/h1/rules.conf"
    start h1 ruled -l x=blue app:1
    value=$(mapped h1 ruled)
    lab_in h1 ip address add 192.0.2.13/24 dev eth0
    printf '[registry]\nkey = /app/{label:x}/{name}\nadvertise = 192.0.2.13\n' >"$LAB/h1/rules.conf"
    lab_signal agent-h1 HUP
    # shellcheck disable=SC2016     # for eval
    wait_for 5 eval 'keys3 /app/ | grep -xF "/app/blue/ruled 192.0.2.13:${value##*:}"'
    wait_for 5 gone ruled
    lab_in h1 ip address del 192.0.2.13/24 dev eth0
    # Another layout has another lease: the key moves there first, as it is.
    diff <(watch_events "$LAB/events" /app/ | grep -w ruled | uniq) - <<EVENTS
PUT /app/servers/ruled $value
PUT /app/blue/ruled 192.0.2.13:${value##*:}
DELETE /app/servers/ruled
EVENTS
}

@test "SIGHUP without a change causes no etcd event" {
    start h1 reload app:1
    lab_signal agent-h1 HUP
    wait_for 5 said h1 "Settings read again" 1
    heartbeats 2
    events_are reload "PUT reload $(mapped h1 reload)"
    settled 1
}

@test "a restart of dockerd with live-restore deletes only the keys of ended containers" {
    local signal value pid health
    start h1 live-stays app:1
    start h1 live-dies app:1
    # Its checks fail while dockerd ends: many must fail before Docker says "unhealthy".
    lab_docker h1 run -d -P --health-retries 1000 --name live-health app:health
    lab_docker h1 exec live-health touch /healthy
    wait_for 5 has h1 live-health
    health=$(mapped h1 live-health)
    value=$(mapped h1 live-stays)
    pid=$(lab_docker h1 inspect -f '{{.State.Pid}}' live-dies)
    for signal in TERM KILL; do
        : >"$LAB/h1/agent.log"
        lab_dockerd_stop h1 "$signal"
        wait_for 5 status_is h1 '.docker.connected == false'
        heartbeats 2
        [ "$signal" = TERM ] || kill -s KILL "$pid"
        dockerd
        wait_for 10 said h1 "Connected to Docker"
        [ "$signal" = KILL ] || heartbeats 2
        [ "$(keys3 /app/servers/live-stays)" = "/app/servers/live-stays $value" ]
        [ "$signal" = TERM ] || wait_for 5 gone live-dies
        # Said once, however often it tried.
        said h1 "from Docker at unix://" 1
    done
    events_are live-health "PUT live-health $health"
    events_are live-stays "PUT live-stays $value"
    [ "$(events live-dies | wc -l)" -eq 2 ]
}
