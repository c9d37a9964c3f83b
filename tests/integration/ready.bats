#!/usr/bin/env bats
# A port is registered when it first accepts a connection: servers that boot late, what labels say, and what the agent
# cannot reach. The firewall of the host plays a server that has stopped to listen, and a container's network that the host
# does not reach.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

ARGUMENTS=(--ttl 10 --heartbeat 1 --resync 3600 --node h1)

# Waits for a file before it serves.
LATE=(/bin/sh -c 'until test -e /go; do sleep 0.05; done; exec /bin/serve "exit 0"')

setup_file() {
    export BATS_TEST_TIMEOUT=240
    lab_up
    lab_host h1 192.0.2.11
    lab_host far 192.0.2.12
    lab_host etcd 192.0.2.2
    lab_dockerd h1
    lab_image h1 app:1 app3:1
    lab_etcd e1 etcd 3.4
    watch3_start "$LAB/events"
}

teardown_file() {
    lab_down
}

setup() {
    lab_attach
    agent h1 "${ARGUMENTS[@]}"
}

teardown() {
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all
    lab_agent_kill9 far
    firewall -F READY 2>/dev/null || true
    clear_containers h1
    clear_keys
}

# firewall ARGUMENTS...: iptables on the host. Rules of the chain READY are asked before all others.
firewall() {
    lab_in h1 iptables -w "$@"
}
# block ARGUMENTS...: what the host itself sends to a container's port 80.
block() {
    firewall -N READY 2>/dev/null && firewall -I OUTPUT -j READY
    firewall -A READY -p tcp -d 172.16.0.0/12 --dport 80 "$@"
}
# The containers' port 80 refuses the host's connections, as if nobody listened.
refuse() {
    block -j REJECT --reject-with tcp-reset
}
allow() {
    firewall -F READY
}

# run NAME OPTION|IMAGE|COMMAND...: docker run -d -P.
run_container() {
    local name=$1
    shift
    lab_docker h1 run -d -P --name "$name" "$@" >/dev/null
}

go() {
    lab_docker h1 exec "$1" /bin/touch /go
}

# waits NAME TEXT: status says of the container's port that it is not registered, because of the text.
waits() {
    wait_for 10 _waits "$@"
}
_waits() {
    lab_registrator h1 status | tee /dev/stderr | grep -E "^$1 +unregistered +80/tcp: $2, for [0-9]+ s$"
}

@test "a server that starts slowly is registered when it listens; status and explain give the reason until then" {
    run_container late app:1 "${LATE[@]}"
    waits late 'nothing listens yet'
    run lab_registrator h1 explain late
    [[ $output == *"SERVICE_READY=none"*"80/tcp: nothing listens yet, for "* ]]
    events_are late
    go late
    wait_for 5 has h1 late
    events_are late "PUT late $(mapped h1 late)"
    run lab_registrator h1 explain late
    [[ $output == *"late"*": registered"* && $output != *listens* ]]
}

@test "a container that ends before it listens is never registered" {
    run_container crash app:1 /bin/sh -c 'until test -e /go; do sleep 0.05; done; exit 1'
    waits crash 'nothing listens yet'
    go crash || true
    start h1 marker-of-crash app:1
    events_are crash
}

@test "each port is registered separately; UDP waits for the first TCP port, or is registered at once without one" {
    local late=(/bin/sh -c 'until test -e /go; do sleep 0.05; done; exec /bin/serve "exit 0" 443')
    run_container many -l SERVICE_PROTOCOL=any app3:1 "${late[@]}"
    waits many 'nothing listens yet'
    run_container dns -l SERVICE_PROTOCOL=udp app3:1 "${late[@]}"
    wait_for 5 eval 'keys3 | grep "/app/servers/dns "'
    events_are many
    lab_docker h1 exec -d many /bin/httpd -f -p 443
    wait_for 5 eval 'keys3 | grep "/app/servers/many-9000 "'
    wait_for 5 eval 'keys3 | grep "/app/servers/many-443 "'
    gone many-80
    lab_docker h1 exec -d many /bin/httpd -f -p 80
    wait_for 5 eval 'keys3 | grep "/app/servers/many-80 "'
}

@test "label none registers at once, http:/path after an answer of 2xx, and any other text is logged once" {
    run_container none -l SERVICE_READY=none app:1 "${LATE[@]}"
    wait_for 5 has h1 none
    run_container path -l SERVICE_80_READY=http:/healthy app:1
    waits path 'GET /healthy: no 2xx or 3xx yet'
    run_container wrong -l SERVICE_READY=https://example.org/ app:1
    wait_for 5 has h1 wrong
    said h1 "Container wrong, port 80: a label SERVICE_READY may be tcp, none or http:/path, not 'https://example.org/'" 1
    gone path
    lab_docker h1 exec path /bin/touch /www/healthy
    wait_for 5 has h1 path
}

@test "--ready none registers a container at its start" {
    agent h1 "${ARGUMENTS[@]}" --ready none
    run_container deaf app:1 "${LATE[@]}"
    wait_for 5 has h1 deaf
}

@test "with --network host the agent probes the host's port" {
    lab_docker h1 run -d --network host --name host app:1 "${LATE[@]}" >/dev/null
    waits host 'nothing listens yet'
    go host
    wait_for 5 eval 'keys3 | grep -xF "/app/servers/host 192.0.2.11:80"'
}

@test "the agent probes the published address if the host does not reach the container's address" {
    block -m conntrack ! --ctstate DNAT -j DROP
    run_container far app:1 "${LATE[@]}"
    waits far 'nothing listens yet'
    go far
    wait_for 10 has h1 far
    [ "$(grep -c 'no probe got an answer' "$LAB/h1/agent.log")" -eq 0 ]
}

@test "with a Docker of another host, the agent probes the published address, not the container's" {
    lab_agent_stop h1
    LAB_NETNS=$LAB_ID-h1 lab_spawn docker-tcp "$LAB/docker-tcp.log" \
        socat TCP-LISTEN:2375,fork,reuseaddr "UNIX-CONNECT:$LAB/h1/docker.sock"
    lab_in far ip route add local 172.16.0.0/12 dev lo
    LAB_NETNS=$LAB_ID-far lab_spawn other-server "$LAB/other-server.log" \
        socat TCP-LISTEN:80,fork,reuseaddr SYSTEM:true
    wait_for 5 lab_in far socat /dev/null TCP:172.17.0.2:80
    wait_for 5 lab_in far socat /dev/null TCP:192.0.2.11:2375
    agent far "${ARGUMENTS[@]}" --docker tcp://192.0.2.11:2375 --advertise 192.0.2.11
    run_container remote app:1 "${LATE[@]}"
    wait_for 10 eval 'lab_registrator far status | grep -E "^remote +unregistered +80/tcp: nothing listens yet"'
    events_are remote
    go remote
    wait_for 5 has h1 remote
    lab_stop other-server
    lab_stop docker-tcp
}

@test "a port that no probe reaches is registered after --ready-timeout; log and explain give the reason" {
    agent h1 "${ARGUMENTS[@]}" --ready-timeout 4
    block -j DROP
    run_container dark app:1
    waits dark 'no probe gets an answer yet'
    wait_for 15 has h1 dark
    said h1 "Container dark, port 80/tcp: no probe got an answer for 4 s (--ready-timeout); the port is registered without an answer" 1
    run lab_registrator h1 explain dark
    [[ $output == *"no probe got an answer: the agent assumes that the port is ready (--ready-timeout)"* ]]
}

@test "pause, drain and rename cause no second probe of a registered port, and a restart causes one" {
    start h1 once app:1
    refuse
    lab_docker h1 pause once
    wait_for 5 gone once
    lab_docker h1 unpause once
    wait_for 5 has h1 once
    lab_registrator h1 drain once
    wait_for 5 gone once
    lab_registrator h1 undrain once
    wait_for 5 has h1 once
    lab_docker h1 rename once once-more
    wait_for 5 has h1 once-more
    lab_docker h1 restart once-more
    waits once-more 'nothing listens yet'
    gone once
    allow
    wait_for 5 has h1 once-more
}

# restarted NAME N: by Docker, so often at least.
restarted() {
    (($(lab_docker h1 inspect -f '{{.RestartCount}}' "$1") >= $2))
}

# explains NAME REGEXP
explains() {
    lab_registrator h1 explain "$1" | tee /dev/stderr | grep -qE "$2"
}

# more_events NAME N: its key has had more than so many.
more_events() {
    (($(events "$1" | wc -l) > $2))
}

@test "a container that crashes repeatedly is registered after 1 s, then 2 s, then 4 s" {
    local value puts
    lab_docker h1 run -d -p 18080:80 --restart always --name loop app:1 /bin/sh -c 'httpd -p 80; exec sleep 1.5' >/dev/null
    wait_for 20 status_is h1 '[.containers[] | select(.name == "loop") | .reason] == ["crash-loop"]'
    # Runs of 1.5 s: after its second crash it has to run for longer than it does.
    wait_for 30 restarted loop 4
    wait_for 30 explains loop 'restarted [2-9] times in [0-9]+ s, registered again at [0-9:]{8} if it still runs'
    wait_for 30 explains loop "not running: it ended [2-9] times within 60 s of its start"
    puts=$(events loop | grep -c PUT)
    echo "$puts registrations"
    ((puts <= 2))
    # A stop and a start by the operator end the wait.
    lab_docker h1 stop loop
    value=$(events loop | wc -l)
    lab_docker h1 start loop
    wait_for 5 more_events loop "$value"
}

@test "after a kill and a start, the agent keeps the key of a port that accepts no connection at that moment" {
    start h1 kept app:1
    local value
    value=$(mapped h1 kept)
    refuse
    lab_agent_kill9 h1
    agent h1 "${ARGUMENTS[@]}"
    start h1 marker-of-kept -l SERVICE_READY=none app:1
    events_are kept "PUT kept $value"
    # The store is found later than the containers.
    lab_agent_kill9 h1
    lab_etcd_stop e1
    agent h1 "${ARGUMENTS[@]}"
    waits kept 'nothing listens yet'
    lab_etcd_start e1
    wait_for 10 status_is h1 '[.containers[] | select(.name == "kept") | .state] == ["registered"]'
    lab_docker h1 rm -f marker-of-kept
    wait_for 5 gone marker-of-kept
    events_are kept "PUT kept $value"
}
