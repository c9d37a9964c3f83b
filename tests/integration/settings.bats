#!/usr/bin/env bats
# Settings, the address that is advertised, and what a user is told when something is not right.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

AGENT=${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}

setup_file() {
    export BATS_TEST_TIMEOUT=240
    lab_up
    lab_host h1 192.0.2.11
    lab_host etcd 192.0.2.2
    lab_dockerd h1 --live-restore
    lab_image h1 app:1 app3:1
    lab_etcd e1 etcd 3.4
    watch3_start "$LAB/events"
}

teardown_file() {
    lab_down
}

teardown() {
    local host
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all
    for host in $(lab_hosts); do
        lab_agent_stop "$host"
    done
    clear_containers h1
    clear_keys
}

# agent_of HOST [ARGUMENTS...]
agent_of() {
    agent "$1" --node "$1" --ttl 10 --heartbeat 1 --config /dev/null "${@:2}"
}

# foreground HOST ARGUMENTS...: runs the program there, its streams apart: $output, $stderr.
foreground() {
    run --separate-stderr lab_in "$1" env -u DOCKER_HOST "$AGENT" --docker "unix://$LAB/$1/docker.sock" \
        --etcd "$(lab_etcd_urls)" --control "$LAB/$1/control.sock" --node "$1" "${@:2}"
    # For when the test fails.
    printf '%s\n' "exit status $status" "$output" "$stderr"
}

dry_run() {
    foreground h1 --dry-run "$@"
    [ "$status" -eq 0 ]
}

# check_file TEXT: what --check-config says of a file with this text.
check_file() {
    printf '%b' "$1" >"$LAB/bad.conf"
    run --separate-stderr "$AGENT" --config "$LAB/bad.conf" --check-config
}

@test "--help names every setting of the file, --version the version" {
    local key
    run --separate-stderr "$AGENT" --help
    [ "$status" -eq 0 ]
    [ -z "$stderr" ]
    [[ $output == *"status [--json"*"--config FILE"*"--dry-run"*"Exit status: 0 no error; 1 error in the settings or the command line; 2 "* ]]
    for key in docker etcd key value service advertise node ttl heartbeat resync docker-grace ports explicit only \
        on-conflict control listen log-level; do
        [[ $output == *$'\n'"  --$key"* ]]
    done
    run --separate-stderr "$AGENT" --version
    [ "$status" -eq 0 ]
    [[ ${lines[0]} =~ ^registrator\ [0-9]+\.[0-9]+ ]]
    # Without an address from the packager it is a page of "make install".
    [[ ${lines[1]} == 'Home page: '*/registrator/README.md ]]
}

@test "--check-config accepts the installed file" {
    run --separate-stderr "$AGENT" --config "$LAB_TOP/etc/registrator.conf" --check-config
    [ "$status" -eq 0 ]
    [ -z "$stderr" ]
}

@test "--check-config reports bad settings with file, line and reason" {
    local text line expected n=0
    while IFS='|' read -r text line expected; do
        check_file "$text"
        echo "$text: exit status $status: $stderr (expected: $line $expected)"
        [ "$status" -eq 1 ]
        [ -z "$output" ]
        [[ $stderr == "error: $LAB/bad.conf:$line: "*"$expected"* ]]
        [[ $stderr != *$'\n'* ]]
        n=$((n + 1))
    done <<'TABLE'
[registry]\nttl = 3\n|2|[registry] ttl: '3': must be a whole number from 5 to 86400
[registry]\nttl = ten\n|2|[registry] ttl: 'ten': must be a whole number
[registry]\n\nkey = {service}/{name}\n|3|[registry] key: '{service}/{name}': must begin with text
[layout dns]\nvalue = x\n|1|[layout dns]: needs a key
[layout dns]\nkey = /app/{service}/{name}\n|2|another layout has the same key template
[registry]\nkey = /app/{service}\n|2|must contain {name} or {id}
[registry]\nkey = /app/{nome}\n|2|{nome}
[registry]\nvalue = {address\n|2|[registry] value: '{address'
[registry]\ncolour = red\n|2|[registry] colour: there is no such setting
[nonsense]\nttl = 10\n|2|[nonsense] ttl: there is no such setting
[registry]\nttl = 10\nttl = 20\n|3|[registry] ttl: set already in line 2
[registry]\nttl = 10\nheartbeat = 6\n|3|[registry] heartbeat: 6 s is more than half of the TTL (10 s)
[registry]\nexplicit = maybe\n|2|'maybe': must be yes or no
[registry]\nonly = a,,b\n|2|[registry] only: 'a,,b': must be LABEL or LABEL=VALUE
[registry]\nadvertise = 0.0.0.0\n|2|must be an address that others can reach
[registry]\non_conflict = fight\n|2|must be one of wait|replace
[registry] ttl = 4\n|1|text after [section]
ttl = 10\n|1|there is no such setting
just words\n|1|neither [section] nor key = value
[etcd]\nendpoints = ftp://192.0.2.2\n|2|must be http://HOST:PORT or https://HOST:PORT
[etcd]\napi = v4\n|2|must be one of auto|v3|v2
[etcd]\nendpoints = https://192.0.2.2\nca = /no/such.pem\n|3|[etcd] ca: cannot read /no/such.pem: No such file or directory
[etcd]\nuser = me\n|2|[etcd] user: needs --etcd-password-file too
[docker]\nurl = /var/run/docker.sock\n|2|must be unix:///PATH or tcp://HOST:PORT
[docker]\ncert = /dev/null\n|2|[docker] cert: needs --docker-key too
[agent]\ncontrol = control.sock\n|2|must be an absolute path
[agent]\nlisten = 9100\n|2|must be ADDRESS:PORT
TABLE
    ((n == 27))
    run "$AGENT" --config "$LAB/none.conf" --check-config
    [ "$status" -eq 1 ]
    [ "$output" = "error: $LAB/none.conf: cannot read the settings: No such file or directory" ]
    # The agent itself ends the same way, and at once.
    printf '[registry]\nttl = 3\n' >"$LAB/bad.conf"
    foreground h1 --config "$LAB/bad.conf"
    [ "$status" -eq 1 ]
    [[ $stderr == "error: $LAB/bad.conf:2: [registry] ttl: '3': must be"* ]]
}

@test "the command line overrides the environment, the file and the defaults, in this order" {
    local key=/app/servers/order
    lab_docker h1 run -d -P --name order app:1
    local value
    value=$(mapped h1 order)
    # services FILE-ENVIRONMENT-LINE…: which one wins.
    dry_run --config /dev/null
    [ "$output" = "register $key $value" ]
    printf '[registry]\nservice = file\n' >"$LAB/order.conf"
    dry_run --config "$LAB/order.conf"
    [ "$output" = "register /app/file/order $value" ]
    REGISTRATOR_CONFIG=$LAB/order.conf dry_run
    [ "$output" = "register /app/file/order $value" ]
    REGISTRATOR_SERVICE=environment dry_run --config "$LAB/order.conf"
    [ "$output" = "register /app/environment/order $value" ]
    REGISTRATOR_REGISTRY_SERVICE=environment dry_run --config "$LAB/order.conf"
    [ "$output" = "register /app/environment/order $value" ]
    REGISTRATOR_SERVICE=environment dry_run --config "$LAB/order.conf" --service line
    [ "$output" = "register /app/line/order $value" ]
    # A bad value is told by where it stands.
    REGISTRATOR_TTL=3 foreground h1 --check-config --config "$LAB/order.conf"
    [ "$status" -eq 1 ]
    [[ $stderr == "error: REGISTRATOR_TTL: '3': must be"* ]]
}

@test "DOCKER_HOST is the default of --docker" {
    lab_docker h1 run -d -P --name host app:1
    DOCKER_HOST=unix://$LAB/h1/docker.sock run --separate-stderr lab_in h1 \
        "$AGENT" --config /dev/null --node h1 --etcd "$(lab_etcd_urls)" --dry-run
    echo "$stderr"
    [ "$status" -eq 0 ]
    [ "$output" = "register /app/servers/host $(mapped h1 host)" ]
}

@test "templates, labels and variables of containers determine the keys" {
    local value ip
    lab_docker h1 run -d -P --name meta app:1
    lab_docker h1 run -d -P --name meta-label -l SERVICE_NAME=shop -l SERVICE_TAGS=a,b app:1
    lab_docker h1 run -d -P --name meta-variable -e SERVICE_NAME=shop app:1
    lab_docker h1 run -d -P --name meta-ignored -l SERVICE_IGNORE=true app:1
    lab_docker h1 run -d -P --name meta-port -l SERVICE_443_IGNORE=1 app3:1
    # Whatever a stranger writes into it, no key leaves the prefix.
    lab_docker h1 run -d -P --name meta-evil -l SERVICE_NAME=../../etc app:1
    dry_run --config /dev/null
    planned() { grep -xF "register $1" <<<"$output"; }
    planned "/app/servers/meta $(mapped h1 meta)"
    planned "/app/shop/meta-label $(mapped h1 meta-label)"
    planned "/app/shop/meta-variable $(mapped h1 meta-variable)"
    planned "/app/servers/meta-port $(mapped h1 meta-port)"
    planned "/app/.._.._etc/meta-evil $(mapped h1 meta-evil)"
    [[ $output != *meta-ignored* ]]

    dry_run --config /dev/null --explicit
    [[ $output == *meta-label* && $output == *meta-variable* && $output != *"/meta "* ]]
    value='{"a":"{address}","p":{port},"c":{container_port},"n":"{node}","i":"{image}","t":{label:SERVICE_TAGS|json}}'
    dry_run --config /dev/null --service all --value "$value"
    value=$(mapped h1 meta-label)
    planned "/app/shop/meta-label {\"a\":\"192.0.2.11\",\"p\":${value##*:},\"c\":80,\"n\":\"h1\",\"i\":\"app\",\"t\":\"a,b\"}"
    dry_run --config /dev/null --ports internal
    ip=$(lab_docker h1 inspect -f '{{.NetworkSettings.IPAddress}}' meta)
    planned "/app/servers/meta $ip:80"
}

revision() {
    etcd3 kv/range "{\"key\":\"$(_b64 /)\"}" | jq -r .header.revision
}

@test "--dry-run prints what the agent would do, and writes nothing" {
    local before leases
    put3 /app/servers/dry-held "written by hand"
    agent_of h1
    start h1 dry-kept app:1
    start h1 dry-gone app:1
    lab_agent_stop h1
    lab_docker h1 rm -f dry-gone
    lab_docker h1 run -d -P --name dry-new app:1
    lab_docker h1 run -d -P --name dry-held app:1
    before=$(revision) leases=$(leases3)
    dry_run --config /dev/null --ttl 10
    # What is right already is no line.
    diff - <(sort <<<"$output") <<EXPECTED
conflict /app/servers/dry-held $(mapped h1 dry-held) (there now: written by hand)
deregister /app/servers/dry-gone
register /app/servers/dry-new $(mapped h1 dry-new)
EXPECTED
    [ "$(revision)" = "$before" ]
    [ "$(leases3)" = "$leases" ]
    [ -z "$(find "$LAB/h1" -name "*.state")" ]
}

@test "--dry-run without Docker or etcd prints the error and ends with status 2" {
    foreground h1 --config /dev/null --dry-run --docker "unix://$LAB/none.sock"
    [ "$status" -eq 2 ]
    [[ $stderr == *"$LAB/none.sock: No such file or directory; is the Docker engine running"* ]]
    foreground h1 --config /dev/null --dry-run --etcd http://192.0.2.2:2399
    [ "$status" -eq 2 ]
    [[ $stderr == *"etcd gave no answer (http://192.0.2.2:2399: Connection refused)"* ]]
}

@test "unknown commands and options, and a command without an agent, are errors" {
    foreground h1 frobnicate
    [ "$status" -eq 1 ]
    [ "$stderr" = "error: There is no command 'frobnicate'; see registrator --help" ]
    foreground h1 --frobnicate
    [ "$status" -eq 1 ]
    [ "$stderr" = "error: --frobnicate: there is no such option" ]
    foreground h1 --ttl
    [ "$status" -eq 1 ]
    [ "$stderr" = "error: --ttl: needs a value" ]
    foreground h1 status
    [ "$status" -eq 2 ]
    [[ $stderr == *"$LAB/h1/control.sock: "*"; is it running, with this path?" ]]
    [ -z "$output" ]
}

@test "SIGTERM and SIGINT end the agent with status 0" {
    local signal pid
    for signal in TERM INT; do
        : >"$LAB/h1/agent.log"
        # Not by lab_agent, which is not told how it ends.
        nsenter --net="/run/netns/$LAB_ID-h1" "$AGENT" --config /dev/null --docker "unix://$LAB/h1/docker.sock" \
            --etcd "$(lab_etcd_urls)" --control "$LAB/h1/control.sock" --node h1 2>"$LAB/h1/agent.log" 3>&- &
        pid=$!
        wait_for 10 said h1 "Registering in etcd"
        kill -s "$signal" "$pid"
        wait "$pid"
        said h1 "ending; the keys stay in etcd for up to 30 s" 1
    done
}

@test "the agent uses Docker over TCP" {
    LAB_NETNS=$LAB_ID-h1 lab_spawn relay-docker "$LAB/relay.log" \
        socat TCP-LISTEN:2375,bind=127.0.0.1,fork,reuseaddr "UNIX-CONNECT:$LAB/h1/docker.sock"
    agent_of h1 --docker tcp://127.0.0.1:2375
    start h1 tcp app:1
    said h1 "Connected to Docker at tcp://127.0.0.1:2375 (API 1." 1
    lab_stop_group relay-docker
    wait_for 5 said h1 "from Docker at tcp://127.0.0.1:2375: http://127.0.0.1:2375: " 1
}

@test "the address comes from the route to etcd, from the setting, or from an interface and its changes" {
    lab_docker h1 run -d -P --name address app:1
    local port
    port=$(mapped h1 address)
    port=${port##*:}
    dry_run --config /dev/null
    [ "$output" = "register /app/servers/address 192.0.2.11:$port" ]
    [[ $stderr == *"Advertising 192.0.2.11 (source address of the route to 192.0.2.2)"* ]]
    dry_run --config /dev/null --advertise 203.0.113.5
    [ "$output" = "register /app/servers/address 203.0.113.5:$port" ]

    lab_in h1 ip link add name lan7 type bridge
    lab_in h1 ip address add 198.51.100.9/24 dev lan7
    lab_in h1 ip link set lan7 up
    agent_of h1 --advertise lan7
    wait_for 5 events_are address "PUT address 198.51.100.9:$port"
    # It has none for a moment: no reason to take any key away.
    lab_in h1 ip address del 198.51.100.9/24 dev lan7
    heartbeats 3
    lab_in h1 ip address add 198.51.100.10/24 dev lan7
    wait_for 5 events_are address "PUT address 198.51.100.9:$port" "PUT address 198.51.100.10:$port"
    lab_in h1 ip link del lan7
}

@test "an agent without an address logs this, and registers when the host gets an address" {
    lab_host bare 192.0.2.13
    lab_dockerd bare
    lab_image bare app:1
    lab_docker bare run -d -P --name bare app:1
    # It reaches etcd at 127.0.0.1, by a way that needs no address.
    LAB_NETNS=$LAB_ID-etcd lab_spawn relay-etcd "$LAB/relay.log" \
        socat "UNIX-LISTEN:$LAB/relay,fork" TCP:192.0.2.2:2379
    LAB_NETNS=$LAB_ID-bare lab_spawn relay-bare "$LAB/relay.log" \
        socat TCP-LISTEN:2379,bind=127.0.0.1,fork,reuseaddr "UNIX-CONNECT:$LAB/relay"
    lab_in bare ip address flush dev eth0

    agent_of bare --etcd http://127.0.0.1:2379
    wait_for 5 said bare "set --advertise to this host's address or interface"
    wait_for 5 said bare "Registering in etcd"
    run lab_registrator bare explain bare
    [[ $output == *"no address"* ]]
    heartbeats 2
    [ -z "$(keys3)" ]
    said bare "set --advertise" 1

    lab_in bare ip address add 192.0.2.13/24 dev eth0
    lab_in bare ip route add default via 192.0.2.1
    wait_for 5 has bare bare
    said bare "Advertising 192.0.2.13 (source address of the default route, eth0)" 1
}

# lives HOST: its agent runs, and has had the time to try a few times more.
lives() {
    sleep 1
    lab_alive "agent-$1"
}

@test "if Docker's socket is missing or forbidden, one line has the remedy, and the agent then continues" {
    local unprivileged=(setpriv --reuid=65534 --regid=65534 --clear-groups) socket=$LAB/h1/docker.sock
    lab_docker h1 run -d -P --name socket app:1
    agent_of h1 --docker "unix://$LAB/h1/other.sock"
    wait_for 5 said h1 "warning: No answer to /_ping from Docker at unix://$LAB/h1/other.sock: unix socket $LAB/h1/other.sock: No such file or directory; is the Docker engine running, and is --docker right?" 1
    lives h1
    [ "$(wc -l <"$LAB/h1/agent.log")" -eq 1 ]
    ln "$socket" "$LAB/h1/other.sock"
    wait_for 5 has h1 socket

    chmod 755 "$LAB" "$LAB/h1"
    "${unprivileged[@]}" test -x "$AGENT" -a -e "$socket" || skip "nobody may not reach $AGENT and $socket"
    LAB_AGENT_WRAPPER=${unprivileged[*]} agent_of h1
    wait_for 5 said h1 "warning: No answer to /_ping from Docker at unix://$socket: unix socket $socket: Permission denied; run the agent as root or in the group of the socket (usually docker)" 1
    said h1 "warning: Failed to make the control socket $LAB/h1/control.sock, going on without" 1
    lives h1
    [ "$(wc -l <"$LAB/h1/agent.log")" -eq 2 ]
    # In the group it needs no other right.
    lab_docker h1 rm -f socket
    lab_docker h1 run -d -P --name socket-group app:1
    LAB_AGENT_WRAPPER="setpriv --reuid=65534 --regid=65534 --groups=$(stat -c %g "$socket") --bounding-set=-all" agent_of h1
    wait_for 5 has h1 socket-group
}

# refused TEXT [ARGUMENTS...]: the agent says TEXT in one warning, however often it tries.
refused() {
    local text=$1
    shift
    agent_of h1 --log-level debug "$@"
    tried() { (($(grep -cF -e "debug: $text" "$LAB/h1/agent.log") >= 2)); }
    wait_for 10 tried
    said h1 "warning: $text" 1
    [ "$(grep -c ^warning: "$LAB/h1/agent.log")" -eq 1 ]
    run ! grep -q ^error: "$LAB/h1/agent.log"
    lab_alive agent-h1
}

@test "if etcd refuses, is too old, or is no etcd, one line has the remedy, and the agent then continues" {
    lab_docker h1 run -d -P --name refused app:1
    refused "etcd gave no answer (http://192.0.2.2:2399: Connection refused): is it running, and is --etcd right?" \
        --etcd http://192.0.2.2:2399
    status_is h1 '.etcd.state == "connecting" and .containers[0].state == "pending"'

    lab_host old 192.0.2.3
    ETCD=e2 lab_etcd e2 old 2.3
    refused "etcd 2.3.8 at http://192.0.2.3:2379 is too old for --etcd-api=v3, which needs 3.3: upgrade it, or use v2" \
        --etcd http://192.0.2.3:2379 --etcd-api v3
    # The port of etcd's peers, and a web server.
    refused "etcd at http://192.0.2.2:2380 does not have the v3 JSON gateway (HTTP status 404: 404 page not found): " \
        --etcd http://192.0.2.2:2380
    refused "http://$(mapped h1 refused) does not answer like etcd (HTTP status 404: " --etcd "http://$(mapped h1 refused)"
    # With another one that is well, it is used.
    agent_of h1 --etcd "http://192.0.2.2:2399,$(lab_etcd_urls)"
    wait_for 5 has h1 refused
}

@test "a second agent on the host reports that the control socket is in use" {
    agent_of h1
    wait_for 5 said h1 "Registering in etcd"
    lab_host second 192.0.2.14
    agent second --node second --config /dev/null --docker "unix://$LAB/h1/docker.sock" \
        --control "$LAB/h1/control.sock"
    wait_for 5 said second "warning: Another agent uses the control socket $LAB/h1/control.sock" 1
    wait_for 5 said second "Registering in etcd"
    status_is h1 '.node == "h1"'
}
