#!/usr/bin/env bats
# Proves that the lab works and leaves nothing behind.

bats_require_minimum_version 1.8.0
load lab

setup_file() {
    export BATS_TEST_TIMEOUT=120
}

teardown() {
    lab_down
}

# What of a lab could be left: prints it.
remains() {
    ip netns list | grep -F "$1-"
    find /sys/fs/cgroup -name "$1-*"
    # Looked at again afterwards, as the first grep finds itself; it has closed its output a moment before it ends.
    local files file
    mapfile -t files < <(grep -lsF "$2/" /proc/[0-9]*/cmdline)
    wait "$!" || true
    for file in "${files[@]}"; do
        grep -saF "$2/" "$file"
    done
    grep -F "$2/" /proc/self/mountinfo
    ls -d "$2" 2>/dev/null
    true
}

@test "wait_for's error names the condition" {
    wait_for 1 true
    run wait_for 0.2 echo-and-fail-no-such-command
    [ "$status" -eq 1 ]
    [[ $output == *"waited 0.2 s for: echo-and-fail"*"not found"* ]]
}

@test "another host reaches a container through its mapped port" {
    lab_up
    lab_host h1 192.0.2.11
    lab_host lb 192.0.2.3
    lab_dockerd h1
    lab_image h1 app:1 app3:1
    lab_docker h1 run -d -P --name web app:1
    lab_docker h1 run -d -P --name many app3:1

    run docker_expect h1
    [ "${#lines[@]}" -eq 3 ]
    [[ ${lines[0]} =~ ^/app/servers/many-443\ 192\.0\.2\.11:[0-9]+$ ]]
    [[ ${lines[1]} =~ ^/app/servers/many-80\ 192\.0\.2\.11:[0-9]+$ ]]
    [[ ${lines[2]} =~ ^/app/servers/web\ 192\.0\.2\.11:[0-9]+$ ]]

    local get=(lab_in lb curl -sS -m 1 "http://${lines[2]#* }/")
    wait_for 5 "${get[@]}"
    lab_cut h1
    run "${get[@]}"
    [ "$status" -ne 0 ]
    lab_mend h1
    wait_for 5 "${get[@]}"
}

@test "images end as specified" {
    lab_up
    lab_host h1 192.0.2.11
    lab_dockerd h1
    lab_image h1
    lab_docker h1 run -d -P --name quick app:1
    lab_docker h1 run -d -P --name slow app:slowterm
    lab_docker h1 run -d -P --name deaf app:ignoreterm
    lab_docker h1 run -d -P --name sick app:health
    wait_for 5 [ "$(docker_expect h1 | wc -l)" -eq 3 ]
    lab_docker h1 exec sick touch /healthy
    health() { [[ $(lab_docker h1 inspect -f '{{.State.Health.Status}}' sick) == healthy ]]; }
    wait_for 5 health

    exit_code() { lab_docker h1 inspect -f '{{.State.ExitCode}}' "$1"; }
    local start=${EPOCHREALTIME/./}
    lab_docker h1 stop -t 20 quick
    ((${EPOCHREALTIME/./} - start < 1500000))
    [ "$(exit_code quick)" -eq 0 ]
    start=${EPOCHREALTIME/./}
    lab_docker h1 stop -t 20 slow
    ((${EPOCHREALTIME/./} - start > 1900000))
    [ "$(exit_code slow)" -eq 0 ]
    lab_docker h1 stop -t 1 deaf
    [ "$(exit_code deaf)" -eq 137 ]
}

@test "containers outlive dockerd with live-restore, and a host can be killed" {
    lab_up
    lab_host h1 192.0.2.11
    lab_dockerd h1 --live-restore
    lab_image h1 app:1
    lab_docker h1 run -d -P --name web app:1
    local before
    before=$(docker_expect h1)
    for signal in TERM KILL; do
        lab_dockerd_stop h1 "$signal"
        wait_for 5 lab_in h1 curl -sS -m 1 "http://$(lab_docker_address)/"
        lab_dockerd h1 --live-restore
        [ "$(docker_expect h1)" = "$before" ]
    done

    lab_host_kill h1
    [ -z "$(_lab_host_pids h1)" ]
    lab_host_boot h1
    lab_dockerd h1
    [ -z "$(docker_expect h1)" ]
    lab_docker h1 start web
    [ "$(docker_expect h1 | wc -l)" -eq 1 ]
}

# The container's own address: without dockerd its port's proxy is gone.
lab_docker_address() {
    echo 172.17.0.2
}

@test "etcd v3: the helpers that read, write and record" {
    local version
    for version in 3.3 3.4 3.5 3.6; do
        [ -x "$LAB_TOOLS/bin/etcd-$version" ] || continue
        unset LAB
        lab_up
        lab_host etcd 192.0.2.2
        lab_etcd e1 etcd "$version"
        watch3_start "$LAB/events"
        put3 /app/servers/a 192.0.2.11:1
        put3 /app/servers/b 192.0.2.11:2 "$(lease3 60)"
        put3 /other x
        [ "$(keys3)" = $'/app/servers/a 192.0.2.11:1\n/app/servers/b 192.0.2.11:2' ]
        [[ $(meta3 /app/servers/a) =~ ^[0-9]+\ [0-9]+\ 0$ ]]
        [[ $(meta3 /app/servers/b) =~ ^[0-9]+\ [0-9]+\ [1-9][0-9]+$ ]]
        # With TERM, 3.5 and later wait 7 s for the watcher.
        lab_etcd_stop e1 KILL
        lab_etcd_start e1
        del3 /app/servers/a
        run watch_events "$LAB/events"
        [ "$output" = $'PUT /app/servers/a 192.0.2.11:1\nPUT /app/servers/b 192.0.2.11:2\nDELETE /app/servers/a' ]
        watch_stop "$LAB/events"
        lab_down
    done
}

@test "etcd v2: the helpers that read, write and record" {
    local version
    for version in 0.4 2.3 3.4 3.5; do
        [ -x "$LAB_TOOLS/bin/etcd-$version" ] || continue
        unset LAB
        lab_up
        lab_host etcd 192.0.2.2
        lab_etcd e1 etcd "$version"
        [ -z "$(keys2)" ]
        watch2_start "$LAB/events"
        etcd2 PUT /app/servers -d dir=true
        put2 /app/servers/a 192.0.2.11:1
        put2 /app/servers/b '192.0.2.11:2 &=' 60
        [ "$(keys2)" = $'/app/servers/a 192.0.2.11:1\n/app/servers/b 192.0.2.11:2 &=' ]
        del2 /app/servers/a
        run watch_events "$LAB/events"
        [ "$output" = "MKDIR /app/servers
PUT /app/servers/a 192.0.2.11:1
PUT /app/servers/b 192.0.2.11:2 &=
DELETE /app/servers/a" ]
        watch_stop "$LAB/events"
        lab_down
    done
}

@test "an etcd cluster works after it loses a member; TLS" {
    lab_up
    lab_host n1 192.0.2.21
    lab_host n2 192.0.2.22
    lab_host n3 192.0.2.23
    lab_etcd_cluster n1 n2 n3
    [ "$(lab_etcd_urls)" = http://192.0.2.21:2379,http://192.0.2.22:2379,http://192.0.2.23:2379 ]
    put3 /app/servers/a 1
    lab_host_kill n1
    wait_for 20 env_etcd n2 put3 /app/servers/a 2
    [ "$(ETCD=n3 keys3)" = "/app/servers/a 2" ]

    lab_host tls 192.0.2.24
    lab_tls 192.0.2.24
    # shellcheck disable=SC2046     # options
    lab_etcd t1 tls 3.4 $(lab_tls_etcd)
    ETCD=t1 put3 /app/servers/tls 1
    [ "$(ETCD=t1 keys3)" = "/app/servers/tls 1" ]
    [ "$(ETCD=t1 lab_etcd_urls)" = https://192.0.2.24:2379 ]
}

env_etcd() {
    local -x ETCD=$1
    shift
    "$@"
}

@test "a NOTIFY_SOCKET for the agent" {
    lab_up
    lab_host h1 192.0.2.11
    lab_host etcd 192.0.2.2
    lab_etcd e1 etcd 3.4
    lab_notify h1
    # shellcheck disable=SC2016     # for the shell that plays the agent
    printf '#!/bin/sh\nprintf "READY=1\\nSTATUS=%%s" "$*" | socat -u - "UNIX-SENDTO:$NOTIFY_SOCKET"\nexec sleep 100\n' >"$LAB/agent"
    chmod +x "$LAB/agent"
    REGISTRATOR=$LAB/agent lab_agent h1 --ttl 5
    wait_for 5 grep -q "READY=1 STATUS=--docker unix://$LAB/h1/docker.sock --etcd http://192.0.2.2:2379 .* --ttl 5" "$LAB/h1/notify"
    lab_agent_stop h1
    run -1 lab_alive agent-h1
}

@test "each lab leaves nothing after its end" {
    local id lab round
    for round in 1 2; do
        unset LAB
        lab_up
        id=$LAB_ID lab=$LAB
        lab_host h1 192.0.2.11
        lab_dockerd h1
        lab_image h1 app:1
        lab_docker h1 run -d -P --name web app:1
        lab_etcd e1 h1 3.4
        watch3_start "$LAB/events"
        [ -n "$(remains "$id" "$lab")" ]
        # Once as usual, once from under a dockerd that can clean up nothing.
        [ "$round" -eq 1 ] || lab_dockerd_stop h1 KILL
        lab_down
        run remains "$id" "$lab"
        echo "left: $output"
        [ "$output" = "" ]
        lab_down
    done
}
