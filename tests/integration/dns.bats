#!/usr/bin/env bats
# Name servers that take questions and never answer.

bats_require_minimum_version 1.8.0
load ../lib/one_host

setup_file() {
    local n
    export BATS_TEST_TIMEOUT=240
    one_host_up app:1
    # The resolver asks each of them twice, for 5 s: 30 s for one name.
    : >"$LAB/resolv.conf"
    for n in 3 4 5; do
        ip -n "$LAB_ID-etcd" address add "192.0.2.$n/24" dev eth0
        echo "nameserver 192.0.2.$n" >>"$LAB/resolv.conf"
    done
    LAB_NETNS=$LAB_ID-etcd lab_spawn silent-dns "$LAB/dns.log" socat -u UDP-RECV:53 /dev/null
    # Its own mounts, so that only the agent has these name servers.
    printf '#!/bin/sh\nmount --bind "%s" /etc/resolv.conf && exec "$@"\n' "$LAB/resolv.conf" >"$LAB/with-resolver"
    chmod +x "$LAB/with-resolver"
}

teardown_file() {
    lab_down
}

setup() {
    lab_attach
    export LAB_AGENT_WRAPPER="unshare --mount $LAB/with-resolver"
}

teardown() {
    one_host_clear
}

# knows NAME: the agent answers, and knows that container.
knows() {
    timeout 10 "${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}" status --json \
        --control "$LAB/h1/control.sock" | jq -e --arg name "$1" 'any(.containers[]; .name == $name)'
}

# gave_up N: the agent answers, and counts so many requests to etcd without an answer.
gave_up() {
    curl -sS --max-time 10 --unix-socket "$LAB/h1/control.sock" http://x/metrics | awk -v n="$1" '
        $1 == "registrator_etcd_requests_total{operation=\"open\",outcome=\"unreachable\"}" { seen = $2 }
        END { exit seen < n }'
}

@test "with silent name servers, the agent answers and follows Docker's events during and after each timeout" {
    local n
    lab_agent h1 --etcd http://etcd.example:2379
    for n in 1 2 3; do
        wait_for 20 gave_up "$n"
        start "web$n" -P
        wait_for 10 knows "web$n"
    done
}

@test "with silent name servers, the agent uses an endpoint that is an address, and the keys stay" {
    start web -p 8001:80
    agent --etcd http://etcd.example:2379,http://192.0.2.2:2379
    keys_become "/app/servers/web 192.0.2.11:8001"
    start other -p 8002:80
    keys_become "/app/servers/other 192.0.2.11:8002" "/app/servers/web 192.0.2.11:8001"
}

@test "with silent name servers, SIGTERM ends the agent at once" {
    lab_agent h1 --etcd http://etcd.example:2379
    wait_for 20 gave_up 1
    lab_signal agent-h1 TERM
    wait_for 10 not lab_alive agent-h1
}
