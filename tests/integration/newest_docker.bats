#!/usr/bin/env bats
# The newest Docker engine that tests/setup has: the one of Debian is upgraded to it in place, and what agent.bats shows
# of that is shown of this one, in short.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

NEWEST=$LAB_TOOLS/bin/dockerd-29
PROXY=$LAB_TOOLS/bin/docker-proxy-29
ARGUMENTS=(--ttl 5 --heartbeat 1 --resync 3600 --node h1)

setup_file() {
    export BATS_TEST_TIMEOUT=240
    [[ -x $NEWEST ]] || return 0
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
    [[ -x $NEWEST ]] || skip "there is no build/tools/bin/dockerd-29: see what tests/setup says"
    [[ $BATS_TEST_NUMBER -eq 1 ]] || lab_alive dockerd-h1 || newest
    agent h1 "${ARGUMENTS[@]}"
}

teardown() {
    [[ -n ${LAB:-} ]] || return 0
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all
    clear_containers h1
    clear_keys
}

# newest: starts it where the other was. The runc of Debian 12 knows no time namespaces.
newest() {
    LAB_DOCKERD=$NEWEST lab_dockerd h1 --live-restore --userland-proxy-path "$PROXY" --feature time-namespaces=false
}

# end HOST NAME: the container ends by itself, perhaps before the command that tells it so.
end() {
    lab_docker "$1" exec "$2" touch /end || true
}

# engine_says STATUS NAME: of the container's health check.
engine_says() {
    [[ $(lab_docker h1 inspect -f '{{.State.Health.Status}}' "$2") == "$1" ]]
}

# api: prints the newest that the engine has, and the oldest.
api() {
    lab_docker_get h1 /version | jq -r '"\(.ApiVersion) \(.MinAPIVersion)"'
}

@test "an upgrade from Debian's Docker to the newest with live-restore changes no key, and events work after it" {
    local value newest oldest
    start h1 upgraded app:1
    value=$(mapped h1 upgraded)
    # As docs/operations.md has it: the newest does not know where this one keeps its ID.
    printf %s "$(lab_docker h1 info -f '{{.ID}}')" >"$LAB/h1/data/engine-id"
    lab_dockerd_stop h1
    wait_for 5 status_is h1 '.docker.connected == false'
    heartbeats 2
    newest
    wait_for 10 said h1 "Connected to Docker at unix://$LAB/h1/docker.sock (API 1.52)" 1
    read -r newest oldest < <(api)
    echo "the newest engine has API $newest, down to $oldest"
    ((${newest#1.} >= 52))
    start h1 upgraded-new app:1
    heartbeats 2
    [ "$(mapped h1 upgraded)" = "$value" ]
    events_are upgraded "PUT upgraded $value" "PUT upgraded-new $(mapped h1 upgraded-new)"
    said h1 "warning: " 1
    run lab_registrator h1 status --etcd
    [ "$output" = "Docker, agent and etcd agree: 2 keys of 2 containers." ]
}

@test "the newest: with another engine ID, the agent writes the same keys again without deleting them" {
    local value
    start h1 identity app:1
    value=$(mapped h1 identity)
    lab_dockerd_stop h1
    rm "$LAB/h1/data/engine-id"
    newest
    wait_for 10 events_are identity "PUT identity $value" "PUT identity $value"
    heartbeats 7
    events_are identity "PUT identity $value" "PUT identity $value"
}

@test "the newest: docker stop deregisters a container that still runs; a restarted container is registered again" {
    local value
    start h1 stopped app:slowterm
    value=$(mapped h1 stopped)
    lab_docker h1 stop stopped
    events_are stopped "PUT stopped $value" "DELETE stopped"
    (($(event_ms "DELETE stopped") < $(docker_event_ms h1 stopped die) - 1000))
    lab_docker h1 start stopped
    wait_for 5 has h1 stopped
    lab_docker h1 restart -t 5 stopped
    wait_for 5 has h1 stopped
    lab_registrator h1 stop --drain 0 stopped
    gone stopped
    run lab_registrator h1 explain stopped
    [[ $output == *"not running"* ]]
}

# This dockerd often answers before the start of the container has begun, or answers the inspect of the last start only
# now. The agent then asks again, at the start.
@test "the newest: a start costs one inspect at the connect event, and at most two more" {
    local all
    agent h1 "${ARGUMENTS[@]}" --log-level debug
    wait_for 5 said h1 "Connected to Docker"
    start h1 early app:1
    all=$(inspects h1 early)
    for _ in {1..6}; do
        lab_docker h1 restart -t 0 early
        wait_for 5 has h1 early
    done
    (($(early_inspects) > 0))
    (($(inspects h1 early) <= all + 18))
}
early_inspects() {
    grep -cF ", which is about to start" "$LAB/h1/agent.log" || true
}

# The event of docker stop -s INT is the one of docker kill -s INT, which may ask for a reload.
@test "the newest: after a signal that is not its stop signal, a container is deregistered when it ends" {
    local value
    start h1 interrupted app:ignoreterm
    value=$(mapped h1 interrupted)
    lab_in h1 curl --fail -sS --unix-socket "$LAB/h1/docker.sock" -X POST "http://docker/containers/interrupted/stop?signal=INT"
    wait_for 5 events_are interrupted "PUT interrupted $value" "DELETE interrupted"
    (($(event_ms "DELETE interrupted") >= $(docker_event_ms h1 interrupted kill)))
}

@test "the newest: rename, pause, kill, exit and removal of a container" {
    local value
    start h1 named app:1
    value=$(mapped h1 named)
    lab_docker h1 rename named named-anew
    wait_for 5 events_are named "PUT named $value" "PUT named-anew $value" "DELETE named"
    lab_docker h1 pause named-anew
    wait_for 5 gone named-anew
    lab_docker h1 unpause named-anew
    wait_for 5 has h1 named-anew
    lab_docker h1 kill -s HUP named-anew
    lab_docker h1 kill named-anew
    wait_for 5 gone named-anew
    start h1 named-ends app:1 sh -c 'httpd -p 80; while [ ! -e /end ]; do sleep 0.1; done'
    end h1 named-ends
    wait_for 5 gone named-ends
    start h1 named-removed app:1
    lab_docker h1 rm -f named-removed
    wait_for 5 gone named-removed
}

@test "the newest: a container with a health check is registered only while healthy" {
    lab_docker h1 run -d -P --name healthy app:health
    wait_for 5 status_is h1 '.containers[0].text == "waiting for its first health check" or .containers[0].text == "unhealthy"'
    lab_docker h1 exec healthy touch /healthy
    wait_for 5 has h1 healthy
    lab_docker h1 exec healthy rm /healthy
    wait_for 5 gone healthy
}

@test "the newest: connected and disconnected networks" {
    agent h1 "${ARGUMENTS[@]}" --ports internal
    lab_docker h1 network create front
    lab_docker h1 run -d --name joined --network front app:1
    inner() {
        keys3 | grep -xF "/app/servers/joined $(lab_docker h1 inspect joined |
            jq -r --arg network "$1" '.[0].NetworkSettings.Networks[$network].IPAddress'):80"
    }
    wait_for 5 inner front
    lab_docker h1 network connect bridge joined
    lab_docker h1 network disconnect front joined
    wait_for 5 inner bridge
    lab_docker h1 network rm front
}

@test "the newest: after a kill and restart with live-restore, only the keys of ended containers are deleted" {
    local value pid health
    start h1 live-stays app:1
    # After the restart the engine says "health: starting" for a while, although the container never stopped.
    lab_docker h1 run -d -P --name live-health app:health
    lab_docker h1 exec live-health touch /healthy
    wait_for 5 has h1 live-health
    health=$(mapped h1 live-health)
    start h1 live-dies app:1
    value=$(mapped h1 live-stays)
    pid=$(lab_docker h1 inspect -f '{{.State.Pid}}' live-dies)
    lab_dockerd_stop h1 KILL
    wait_for 5 status_is h1 '.docker.connected == false'
    kill -s KILL "$pid"
    newest
    wait_for 5 gone live-dies
    heartbeats 2
    events_are live-health "PUT live-health $health"
    events_are live-stays "PUT live-stays $value"
    said h1 "warning: " 1
}

@test "the newest: an agent that starts while the engine says \"starting\" keeps the key of a healthy container" {
    local value
    lab_docker h1 run -d -P --name live-starting --health-interval 10s app:health
    lab_docker h1 exec live-starting touch /healthy
    wait_for 15 has h1 live-starting
    value=$(mapped h1 live-starting)
    lab_agent_stop h1
    lab_dockerd_stop h1 KILL
    newest
    engine_says starting live-starting
    agent h1 "${ARGUMENTS[@]}"
    # The first check after the restart of the engine.
    wait_for 15 engine_says healthy live-starting
    heartbeats 2
    events_are live-starting "PUT live-starting $value"
}

@test "the newest: if its minimum API is above the agent's, the agent sends requests without a version" {
    local value
    start h1 minimum app:1
    value=$(mapped h1 minimum)
    lab_dockerd_stop h1
    DOCKER_MIN_API_VERSION=1.54 newest
    [[ $(api) == *" 1.54" ]]
    wait_for 10 said h1 "Connected to Docker at unix://$LAB/h1/docker.sock (API newest)" 1
    run lab_registrator h1 status --etcd
    [ "$output" = "Docker, agent and etcd agree: 1 keys of 1 containers." ]
    lab_registrator h1 stop --drain 0 minimum
    gone minimum
    events_are minimum "PUT minimum $value" "DELETE minimum"
    # For the docker command of this machine.
    lab_dockerd_stop h1
    newest
}
