#!/usr/bin/env bats
# The control socket and its subcommands, on real Docker engines and a real etcd.

bats_require_minimum_version 1.8.0
load ../lib/lab

AGENT=${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}

setup_file() {
    export BATS_TEST_TIMEOUT=240
}

setup() {
    lab_up
    lab_host h1 192.0.2.11
    lab_etcd etcd h1 3.4
}

teardown() {
    if [[ -z $BATS_TEST_COMPLETED && -d ${LAB:-} ]]; then
        tail -n 30 "$LAB"/h?/agent.log 2>/dev/null
        true
    fi
    lab_down
}

docker_host() {
    lab_dockerd "$1"
    lab_image "$1"
}

agent() {
    lab_agent "$1" --node "$1" "${@:2}"
    wait_for 5 answers "$1"
}
answers() {
    lab_registrator "$1" status --json >"$LAB/status.json"
}

run_app() {
    lab_docker h1 run -d -P --name "$@" >/dev/null
}

# state NAME STATE [HOST]: what status says of a container. For wait_for.
state() {
    [[ $(lab_registrator "${3:-h1}" status --json | jq -r --arg name "$1" \
        '.containers[] | select(.name == $name) | .state') == "$2" ]]
}

# explains NAME TEXT REMEDY: both are in what explain says. For wait_for.
explains() {
    local text
    text=$(lab_registrator "${4:-h1}" explain "$1")
    [[ $text == *"$2"* && $text == *"To do: "*"$3"* ]] || {
        echo "$text"
        return 1
    }
}

key_is_there() {
    [[ $(keys3 "/app/servers/$1") == "/app/servers/$1 "* ]]
}

empty() {
    [[ -z $(keys3 /app/) ]]
}

@test "status prints a table of 80 columns: each container with its key and value, or the reason for none" {
    docker_host h1
    agent h1
    run_app web app:1
    run_app several app3:1
    run_app sick app:health
    run_app "a-name-that-is-much-longer-than-any-column-could-ever-be-$(printf 'x%.0s' {1..60})" app:1
    lab_docker h1 run -d --name closed app:1
    lab_docker h1 run -d -p 127.0.0.1:8080:80 --name local app:1
    wait_for 5 keys_are h1

    lab_registrator h1 status >"$LAB/table"
    cat "$LAB/table"
    grep -E '^web +registered +/app/servers/web = 192\.0\.2\.11:[0-9]+$' "$LAB/table"
    # The value is never cut off, the key at its beginning.
    grep -E '^several +registered +….*several-80 = 192\.0\.2\.11:[0-9]{5}$' "$LAB/table"
    grep -E '^ +registered +….*several-443 = 192\.0\.2\.11:[0-9]{5}$' "$LAB/table"
    grep -E '^ +unregistered +9000/udp: no label asks for UDP' "$LAB/table"
    grep -E '^a-name-that.*…  registered    ….*xxx = 192\.0\.2\.11:[0-9]{5}$' "$LAB/table"
    grep -E '^sick +unregistered +(waiting for its first health check|unhealthy)$' "$LAB/table"
    grep -E '^closed +unregistered +no published port' "$LAB/table"
    grep -E '^local +unregistered +.*loopback' "$LAB/table"
    grep '^Node: *h1$' "$LAB/table"
    grep '^Address: *192.0.2.11$' "$LAB/table"
    grep '^etcd: .*etcd v3 (3.4.*http://192.0.2.11:2379' "$LAB/table"
    # In characters, not bytes, and without colour where nobody sees it.
    [ "$(LC_ALL=C.UTF-8 wc -L <"$LAB/table")" -le 80 ]
    [[ $(<"$LAB/table") != *$'\033'* ]]
    # On a terminal there is colour.
    script -qec "$AGENT status --control $LAB/h1/control.sock" /dev/null >"$LAB/terminal" </dev/null
    [[ $(<"$LAB/terminal") == *$'\033[32mregistered'* ]]
}

@test "status --json has the same content as the table" {
    docker_host h1
    agent h1
    run_app web app:1
    lab_docker h1 run -d --name closed app:1
    wait_for 5 keys_are h1
    wait_for 5 state closed unregistered
    lab_registrator h1 status --json | jq -e '
        .node == "h1" and .drained == false and .docker.connected == true and .etcd.state == "online"
        and .etcd.keys == 1 and .address4 == "192.0.2.11"
        and ([.containers[].name] == ["closed", "web"])
        and (.containers[1] | .state == "registered" and (.id | length) == 64
            and (.records[0] | .key == "/app/servers/web" and .port == 80 and .protocol == "tcp"
                and (.value | test("^192.0.2.11:[0-9]+$"))))
        and (.containers[0] | .state == "unregistered" and .reason == "no-port" and (.remedy | length) > 10)'
}

@test "status prints 1,000 containers within a second, one line of 80 columns each" {
    command -v go || skip "the fake Docker needs a Go compiler"
    lab_build_fake_docker "$LAB/fake-docker"
    LAB_NETNS=$LAB_ID-h1 lab_spawn fake-docker "$LAB/fake.log" "$LAB/fake-docker" --socket "$LAB/h1/docker.sock" \
        --data "$LAB_TOP/tests/data/docker" --containers 1000
    wait_for 10 socket_listens "$LAB/h1/docker.sock"
    # The fake engine's containers have no servers.
    agent h1 --ready none
    thousand() { [[ $(lab_registrator h1 status | grep -c ' registered ') -eq 1000 ]]; }
    wait_for 20 thousand
    local start=${EPOCHREALTIME/./}
    lab_registrator h1 status >"$LAB/table"
    ((${EPOCHREALTIME/./} - start < 1000000))
    [ "$(LC_ALL=C.UTF-8 wc -L <"$LAB/table")" -le 80 ]
}

@test "explain: no published port, bound to loopback, UDP, ignored, not named" {
    docker_host h1
    agent h1
    lab_docker h1 run -d --name closed app:1
    lab_docker h1 run -d -p 127.0.0.1:8080:80 --name local app:1
    lab_docker h1 run -d -p 9000:9000/udp --name datagrams app3:1
    run_app ignored --label SERVICE_IGNORE=yes app:1
    run_app web app:1
    wait_for 5 explains closed "no published port" "docker run -P"
    wait_for 5 explains local "bound to loopback only" "docker run -p"
    wait_for 5 explains datagrams "UDP" "SERVICE_<port>_PROTOCOL"
    wait_for 5 explains ignored "ignored by SERVICE_IGNORE" "without SERVICE_IGNORE"
    wait_for 5 state web registered
    run lab_registrator h1 explain web
    [[ $output == *"web ("*"): registered"*"/app/servers/web = 192.0.2.11:"* && $output != *"To do"* ]]
    # By ID and by its beginning, too.
    run lab_registrator h1 explain "$(lab_docker h1 inspect -f '{{.Id}}' web | cut -c 1-12)"
    [[ $output == "web ("* ]]

    lab_agent_stop h1
    agent h1 --explicit
    run_app named --label SERVICE_NAME=shop app:1
    wait_for 5 explains web "names no service" "SERVICE_NAME"
    wait_for 5 state named registered
}

@test "explain: not running, paused, health starting, unhealthy" {
    docker_host h1
    agent h1
    run_app web app:1
    run_app sick app:health
    wait_for 5 state web registered
    lab_docker h1 pause web
    wait_for 5 explains web "paused" "Unpause"
    lab_docker h1 unpause web
    wait_for 5 state web registered
    lab_docker h1 stop web
    wait_for 5 explains web "not running" "Start the container"
    # It never was healthy: there is no file /healthy.
    wait_for 5 explains sick "unhealthy" "health check"
    lab_docker h1 exec sick touch /healthy
    wait_for 5 state sick registered
    lab_docker h1 exec sick rm /healthy
    wait_for 5 explains sick "unhealthy" "health check"
    run_app slow --health-interval 60s app:health
    wait_for 5 explains slow "waiting for its first health check" "Wait until"
}

@test "explain names the other owner of a key in conflict, with the value" {
    lab_host h2 192.0.2.12
    docker_host h1
    docker_host h2
    agent h1
    agent h2
    put3 /app/servers/byhand 203.0.113.9:80
    run_app web app:1
    run_app byhand app:1
    wait_for 5 key_is_there web
    lab_docker h2 run -d -P --name web app:1
    wait_for 5 explains web "/app/servers/web belongs to another owner, with value $(keys3 /app/servers/web | cut -d ' ' -f 2)" \
        "Stop or rename the container that has the key" h2
    wait_for 5 explains byhand "another owner, with value 203.0.113.9:80" "delete the key if it was written by hand"
}

@test "explain: etcd is away" {
    docker_host h1
    agent h1 --ttl 30
    lab_etcd_stop etcd
    run_app web app:1
    wait_for 5 explains web "not written to etcd yet" "192.0.2.11:2379"
    lab_registrator h1 status | grep -q '^etcd: .*192.0.2.11:2379'
    lab_etcd_start etcd
    wait_for 15 state web registered
}

@test "drain and undrain change only the named container; explain says that an operator drained it" {
    docker_host h1
    agent h1
    run_app web1 app:1
    run_app web2 app:1
    wait_for 5 keys_are h1
    watch3_start "$LAB/watch"
    lab_registrator h1 drain web1
    wait_for 5 not key_is_there web1
    explains web1 "drained by the operator" "registrator undrain CONTAINER"
    key_is_there web2
    # Held, not only taken out: its restart does not bring it back, nor does the agent's.
    lab_docker h1 restart -t 1 web1
    lab_agent_stop h1
    agent h1
    lab_agent_kill9 h1
    agent h1
    wait_for 5 state web2 registered
    run ! key_is_there web1
    lab_registrator h1 undrain web1
    wait_for 5 key_is_there web1
    [[ $(watch_events "$LAB/watch" | cut -d ' ' -f 1,2) == $'DELETE /app/servers/web1\nPUT /app/servers/web1' ]]
}

@test "a restarted agent remembers drain, but not drain --until-restart" {
    docker_host h1
    agent h1
    run_app web1 app:1
    run_app web2 app:1
    wait_for 5 keys_are h1
    lab_registrator h1 drain --until-restart
    # It returns when it is done.
    empty
    lab_agent_stop h1
    agent h1
    wait_for 5 keys_are h1
    lab_registrator h1 drain web1
    lab_registrator h1 drain --until-restart
    lab_agent_stop h1
    agent h1
    wait_for 5 key_is_there web2
    run ! key_is_there web1
    lab_registrator h1 drain
    lab_registrator h1 drain --until-restart
    lab_agent_stop h1
    agent h1
    wait_for 5 state web2 unregistered
    empty
}

@test "a drained host has no keys until undrain, also after restarts of the agent and Docker" {
    docker_host h1
    agent h1
    run_app web1 app:1
    run_app web2 app:1
    wait_for 5 keys_are h1
    lab_registrator h1 drain
    wait_for 5 empty
    lab_registrator h1 status | grep '^Node: .*drained'
    [ "$(grep -c "This host is drained; 'registrator undrain'" "$LAB/h1/agent.log")" -eq 1 ]
    explains web1 "this host is drained by the operator" "registrator undrain."
    watch3_start "$LAB/watch"
    lab_agent_stop h1
    agent h1
    run_app web3 app:1
    wait_for 5 state web3 unregistered
    lab_agent_kill9 h1
    agent h1
    lab_dockerd_stop h1
    lab_dockerd h1
    lab_docker h1 start web1
    wait_for 10 explains web1 "drained" "registrator undrain"
    [ -z "$(watch_events "$LAB/watch")" ]
    lab_registrator h1 undrain
    wait_for 5 key_is_there web1
    [[ $(lab_registrator h1 status) != *drained* ]]
    [ "$(grep -c "This host is not drained any more" "$LAB/h1/agent.log")" -eq 1 ]
}

@test "stop deregisters containers, waits, then stops them; a container that starts again is registered" {
    docker_host h1
    agent h1
    run_app web1 app:1
    run_app web2 app:1
    wait_for 5 keys_are h1
    watch3_start "$LAB/watch"
    lab_spawn events "$LAB/events" env DOCKER_HOST="unix://$LAB/h1/docker.sock" docker events --filter event=kill \
        --since "$(date +%s)" --format '{{.TimeNano}} {{.Actor.Attributes.name}}'
    run lab_registrator h1 stop --drain 2 web1 web2
    [ "$status" -eq 0 ]
    [ "$output" = $'web1\nweb2' ]
    [ -z "$(lab_docker h1 ps -q)" ]
    watch_sync "$LAB/watch"
    local name deregistered stopped
    for name in web1 web2; do
        deregistered=$(awk -v key="/app/servers/$name" '$1 == "DELETE" && $2 == key { print $NF }' "$LAB/watch")
        stopped=$(awk -v name="$name" '$2 == name { printf "%.3f", $1 / 1e9; exit }' "$LAB/events")
        awk -v a="$deregistered" -v b="$stopped" 'BEGIN { exit !(a > 0 && b - a > 1.8) }' </dev/null
    done
    lab_docker h1 start web1
    wait_for 5 state web1 registered
    # Meanwhile explain says what is going on.
    lab_spawn stop "$LAB/stop.log" "$AGENT" --docker "unix://$LAB/h1/docker.sock" stop --drain 3 web1 \
        --control "$LAB/h1/control.sock"
    wait_for 2 explains web1 "draining, about to be stopped" "run registrator undrain CONTAINER"
    wait_for 10 not lab_alive stop
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' web1)" = false ]
    # Nothing to wait for where nothing is published.
    lab_docker h1 run -d --name closed app:1
    local start=${EPOCHREALTIME/./}
    wait_for 5 state closed unregistered
    lab_registrator h1 stop --drain 0 closed
    ((${EPOCHREALTIME/./} - start < 3000000))
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' closed)" = false ]
    # Stopped already: done, and it is no less back when it starts.
    run lab_registrator h1 stop --drain 0 web2
    [ "$status" -eq 0 ]
    lab_docker h1 start web2
    wait_for 5 state web2 registered
}

@test "impossible commands end with status 2 and a message, unknown commands with status 1" {
    docker_host h1
    agent h1
    run_app web app:1
    wait_for 5 state web registered
    run lab_registrator h1 explain nosuch
    [ "$status" -eq 2 ]
    [[ $output == *"o such container"*nosuch* ]]
    run lab_registrator h1 stop web nosuch
    [ "$status" -eq 2 ]
    # All or nothing.
    state web registered
    run lab_registrator h1 drain web nosuch
    [ "$status" -eq 2 ]
    state web registered
    run lab_registrator h1 stop --drain -1 web
    [ "$status" -eq 1 ]
    run lab_registrator h1 explain
    [ "$status" -eq 1 ]
    run lab_registrator h1 status web
    [ "$status" -eq 1 ]
    run lab_registrator h1 nosuch
    [ "$status" -eq 1 ]
    run "$AGENT" status --control "$LAB/nosuch.sock"
    [ "$status" -eq 2 ]
    [[ $output == *"is it running"* ]]
    # etcd cannot be asked to let go of the key: it is not stopped in the dark.
    lab_etcd_stop etcd
    BATS_TEST_TIMEOUT='' run lab_registrator h1 stop --drain 0 web
    [ "$status" -eq 2 ]
    [[ $output == *"still in etcd"* ]]
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' web)" = true ]
}

# The agent has fewer rights than the caller: it must not say what is stopped, and where.
@test "stop resolves the names at the caller's own Docker, not at the agent" {
    docker_host h1
    lab_host h2 192.0.2.12
    docker_host h2
    agent h1
    run_app web app:1
    lab_docker h2 run -d -P --name web app:1
    wait_for 5 state web registered
    # Another Docker than the agent's.
    run "$AGENT" --docker "unix://$LAB/h2/docker.sock" stop --drain 0 web --control "$LAB/h1/control.sock"
    [ "$status" -eq 2 ]
    [[ $output == *"the agent does not know web, which runs on the Docker at unix://$LAB/h2/docker.sock"* ]]
    run "$AGENT" --docker unix:///nowhere stop --drain 0 web --control "$LAB/h1/control.sock"
    [ "$status" -eq 2 ]
    state web registered
    [ "$(lab_docker h2 inspect -f '{{.State.Running}}' web)" = true ]

    # An agent that was taken over: all of its answers are this one.
    local body='{"docker":"unix://'$LAB'/evil.sock","ids":["../build?remote=http://evil"],"registered":false,
        "etcd":{"known":true,"idle":true,"keys":0}}'
    printf 'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' ${#body} "$body" >"$LAB/answer"
    lab_spawn evil-agent "$LAB/evil-agent.log" socat "UNIX-LISTEN:$LAB/evil-agent.sock,fork" "SYSTEM:cat $LAB/answer"
    lab_spawn evil-docker "$LAB/evil-docker.log" socat "UNIX-LISTEN:$LAB/evil.sock,fork" \
        "SYSTEM:cat >>$LAB/evil-docker.asked"
    wait_for 5 socket_listens "$LAB/evil-agent.sock"
    wait_for 5 socket_listens "$LAB/evil.sock"
    lab_spawn events "$LAB/events" env DOCKER_HOST="unix://$LAB/h1/docker.sock" docker events --since "$(date +%s)" \
        --filter type=container --filter type=image --filter type=builder --format '{{.Action}} {{.Actor.Attributes.name}}'
    run "$AGENT" --docker "unix://$LAB/h1/docker.sock" stop --drain 0 web --control "$LAB/evil-agent.sock"
    echo "$output"
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' web)" = false ]
    wait_for 5 grep '^stop web' "$LAB/events"
    [ "$(grep -cvE '^(kill|die|stop) web$' "$LAB/events")" -eq 0 ]
    run "$AGENT" --docker "unix://$LAB/h1/docker.sock" drain web --control "$LAB/evil-agent.sock"
    [ "$status" -eq 2 ]
    run "$AGENT" --docker "unix://$LAB/h1/docker.sock" status --etcd --control "$LAB/evil-agent.sock"
    [ "$status" -eq 2 ]
    [ ! -s "$LAB/evil-docker.asked" ]
}

@test "drain of a host fails if the agent could not ask etcd" {
    docker_host h1
    agent h1 --ttl 60
    run_app web app:1
    wait_for 5 key_is_there web
    # Docker is away when the agent starts: the agent does not know which lease its host has.
    lab_agent_kill9 h1
    lab_dockerd_stop h1
    agent h1 --ttl 60
    run lab_registrator h1 drain
    echo "$output"
    [ "$status" -eq 2 ]
    [[ $output == *"could not ask etcd"* ]]
    key_is_there web
    # Docker returns, and the drain is carried out.
    lab_dockerd h1
    wait_for 15 empty
    lab_registrator h1 drain

    # The host is drained already, and etcd hangs.
    lab_agent_stop h1
    lab_signal etcd-etcd STOP
    agent h1 --ttl 60
    run lab_registrator h1 drain
    lab_signal etcd-etcd CONT
    echo "$output"
    [ "$status" -eq 2 ]
    wait_for 15 eval 'lab_registrator h1 status --json | jq -e .etcd.known'
    lab_registrator h1 drain
}

@test "explain shows etcd's reason for a rejected key" {
    docker_host h1
    lab_etcd_stop etcd
    lab_etcd etcd h1 3.4 --max-request-bytes 1500
    agent h1 --value '{address}:{port} {label:BIG?none}'
    run_app small app:1
    run_app big --label "BIG=$(printf 'x%.0s' {1..3000})" app:1
    wait_for 5 state small registered
    wait_for 5 state big rejected
    explains big "request is too large" "Change --key or --value"
}

@test "history shows the changes of keys with their causes, also for removed containers; explain ends with them" {
    docker_host h1
    agent h1 --log-level error
    run_app web app:1
    run_app other app:1
    wait_for 5 state web registered
    wait_for 5 state other registered
    local mapped id time='^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z  '
    mapped=$(keys3 /app/servers/web | cut -d ' ' -f 2)
    id=$(lab_docker h1 inspect -f '{{.Id}}' web)
    lab_registrator h1 explain web | tail -n 1 | grep -E "${time}Key /app/servers/web registered: $mapped\$"
    lab_docker h1 pause web
    wait_for 5 not key_is_there web
    lab_docker h1 unpause web
    wait_for 5 key_is_there web
    lab_registrator h1 drain web
    lab_docker h1 rm -f web
    wait_for 5 not state web unregistered

    lab_registrator h1 history web | tee "$LAB/history"
    [ "$(sed -E "s/$time//" "$LAB/history")" = "Key /app/servers/web registered: $mapped
Key /app/servers/web deregistered (paused)
Key /app/servers/web registered: $mapped
Key /app/servers/web deregistered ($(lab_registrator h1 history --json web | jq -r '.events[-1].why'))" ]
    lab_registrator h1 history --json "${id:0:12}" | jq -e --arg id "$id" '.events | length == 4
        and all(.container == "web" and .id == $id and .key == "/app/servers/web")
        and (.[3] | .event == "deregistered" and (.why | test("drained")))'
    run lab_registrator h1 explain web
    [ "$status" -eq 2 ]
    [[ $output == *"(paused)"* ]]
    # All of them, with their names; the other one has its own.
    lab_registrator h1 history | grep -E "${time}other  Key /app/servers/other registered"
    [ "$(lab_registrator h1 history | grep -c Z)" -eq 5 ]
    run lab_registrator h1 history nosuch
    [ "$status" -eq 0 ]
    [[ $output == *"no key of nosuch has changed"* ]]
}

@test "only root and the agent's group can use the socket" {
    docker_host h1
    # As the unit has it: a group of its own, and a directory for the socket.
    chmod 755 "$LAB" "$LAB/h1"
    cp "$AGENT" "$LAB/registrator"
    mkdir -m 750 "$LAB/h1/run"
    chgrp 4242 "$LAB/h1/run"
    chgrp 4242 "$LAB/h1/docker.sock"
    chown 4243 "$LAB/h1/run"
    LAB_AGENT_WRAPPER="setpriv --reuid 4243 --regid 4242 --clear-groups" REGISTRATOR=$LAB/registrator \
        lab_agent h1 --node h1 --control "$LAB/h1/run/control.sock"
    wait_for 5 socket_listens "$LAB/h1/run/control.sock"
    [ "$(stat -c '%a %u %g' "$LAB/h1/run/control.sock")" = "660 4243 4242" ]
    as() { setpriv --reuid "$1" --regid "$2" --clear-groups "$LAB/registrator" status --control "$LAB/h1/run/control.sock"; }
    as 0 0
    as 5000 4242
    run as 5000 5000
    [ "$status" -eq 2 ]
    [[ $output == *"Permission denied"* ]]
    # Nor where its directory lets everybody through.
    chmod 755 "$LAB/h1/run"
    run as 5000 5000
    [ "$status" -eq 2 ]
    [[ $output == *"Permission denied; be root or a member of the socket's group"* ]]
}

@test "garbage on the socket does not disturb the agent" {
    docker_host h1
    agent h1
    local socket=$LAB/h1/control.sock
    ask() { curl -sS -m 5 --unix-socket "$socket" -o /dev/null -w '%{http_code}' "$@" || true; }
    [ "$(ask http://x/nosuch)" = 404 ]
    [ "$(ask http://x/containers/)" = 404 ]
    [ "$(ask -X POST -d '{' http://x/drain)" = 400 ]
    [ "$(ask -X POST -d '[]' http://x/drain)" = 400 ]
    [ "$(ask -X POST -d '"text"' http://x/drain)" = 400 ]
    [ "$(ask -X POST -d '{"containers":"web"}' http://x/drain)" = 400 ]
    [ "$(ask -X POST -d '{"containers":[1]}' http://x/drain)" = 404 ]
    [ "$(ask -X POST -d '{"container":["web"]}' http://x/drain)" = 400 ]
    [ "$(ask -X POST -d '{"containers":[]}' http://x/drain)" = 400 ]
    [ "$(ask -X POST -d '' http://x/drain)" = 400 ]
    [ "$(ask -X DELETE http://x/status)" = 405 ]
    head -c 3000000 /dev/zero >"$LAB/zeros"
    [ "$(ask -X POST --data-binary "@$LAB/zeros" http://x/drain)" = 413 ]
    head -c 100000 /dev/urandom | socat -t 1 - "UNIX-CONNECT:$socket" >/dev/null 2>&1 || true
    # None of these drained the host.
    lab_registrator h1 status --json | jq -e '.drained == false'
}
