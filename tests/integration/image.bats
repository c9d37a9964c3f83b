#!/usr/bin/env bats
# The agent as a container, from the tree's own Dockerfile.

bats_require_minimum_version 1.8.0
load ../lib/one_host

SOCKET_GROUP=4711

setup_file() {
    export BATS_TEST_TIMEOUT=300
    [ -d "$LAB_TOOLS/root-build-trixie" ] || skip "there is no build/tools/root-build-trixie: run tests/setup"
    one_host_up app:1
    chgrp "$SOCKET_GROUP" "$LAB/h1/docker.sock"
    chmod 660 "$LAB/h1/docker.sock"
    # The base image has the packages, as a Docker host of the lab cannot fetch them.
    tar -C "$LAB_TOOLS/root-build-trixie" -c --exclude=./usr/share/doc --exclude=./usr/share/locale \
        --exclude=./usr/share/man --exclude=./usr/lib/llvm* . | lab_docker h1 import - debian:trixie-slim >/dev/null
    DOCKER_BUILDKIT=0 lab_docker h1 build --network none -t registrator "$LAB_TOP" >"$LAB/build.log" 2>&1 || {
        tail -n 40 "$LAB/build.log"
        return 1
    }
}

teardown_file() {
    lab_down
}

setup() {
    lab_attach
}

teardown() {
    [[ -n $BATS_TEST_COMPLETED ]] || lab_docker h1 logs registrator
    watch_stop "$LAB/events"
    lab_etcd_stop tls KILL
    one_host_clear
}

# agent_container [OPTION...] -- [ARGUMENT...]: docker run as the Dockerfile says.
agent_container() {
    local options=()
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    lab_docker h1 run -d --name registrator --network host -v "$LAB/h1/docker.sock:/var/run/docker.sock" \
        --group-add "$SOCKET_GROUP" "${options[@]}" registrator --etcd "$(lab_etcd_urls)" --ttl 10 "${@:2}" >/dev/null
}

# inside COMMAND...: the subcommands, from inside.
inside() {
    lab_docker h1 exec registrator registrator "$@"
}

# reason_inside NAME: as why, of the agent in the container.
reason_inside() {
    inside status --json | jq -r --arg name "$1" '.containers[] | select(.name == $name) | .reason'
}

@test "the image is smaller than 17 MiB, and has only the files that the agent needs" {
    local size
    size=$(lab_docker h1 image inspect -f '{{.Size}}' registrator)
    echo "$size bytes"
    ((size < 17 * 1024 * 1024))
    lab_docker h1 create --name registrator registrator >/dev/null
    lab_docker h1 export registrator | tar -t | grep -v '/$' >"$LAB/files"
    run ! grep -vE '^(usr/bin/registrator|(usr/)?lib(64)?/.*\.so[.0-9]*|\.dockerenv|dev/console|etc/(hosts|hostname|mtab|resolv\.conf))$' "$LAB/files"
    grep -x usr/bin/registrator "$LAB/files"
    [ "$(lab_docker h1 image inspect -f '{{.Config.User}}' registrator)" = 65534:65534 ]
}

@test "the agent in a container registers other containers at the host's address, as an unprivileged user" {
    start before -p 8001:80
    agent_container --
    start after -p 8002:80
    keys_become "/app/servers/after 192.0.2.11:8002" "/app/servers/before 192.0.2.11:8001"
    [ "$(reason_inside registrator)" = ignored ]
    local pid
    pid=$(lab_docker h1 inspect -f '{{.State.Pid}}' registrator)
    grep -E "^Uid:\s+65534\s+65534\s+65534\s" "/proc/$pid/status"
    grep -E "^Groups:.*\b$SOCKET_GROUP\b" "/proc/$pid/status"
    lab_docker h1 logs registrator 2>&1 | grep -F 'Advertising 192.0.2.11 (source address of the route to 192.0.2.2)'
}

@test "the agent in a container with exposed ports does not register itself" {
    agent_container --expose 80 --expose 9100 -- --listen 127.0.0.1:9100
    start web -p 8001:80
    keys_become "/app/servers/web 192.0.2.11:8001"
    [ "$(reason_inside registrator)" = ignored ]
    # The HTTP server is there, without the library for a TLS of its own.
    lab_in h1 curl -sS -m 5 --fail http://127.0.0.1:9100/status >/dev/null
}

@test "stop, start and replacement of the agent's container change no key" {
    start web -p 8001:80
    agent_container --
    keys_become "/app/servers/web 192.0.2.11:8001"
    watch3_start "$LAB/events"
    lab_docker h1 restart registrator
    wait_for 10 inside status
    lab_docker h1 rm -f registrator
    agent_container --
    wait_for 10 registers web
    watch_sync "$LAB/events"
    [ -z "$(watch_events "$LAB/events")" ]
}
registers() {
    [[ $(inside status --json | jq -r --arg name "$1" '.containers[] | select(.name == $name) | .state') == registered ]]
}

@test "without the socket's group, the message names the missing group" {
    lab_docker h1 run -d --name registrator --network host -v "$LAB/h1/docker.sock:/var/run/docker.sock" \
        registrator --etcd "$(lab_etcd_urls)" >/dev/null
    wait_for 10 logs_say 'Permission denied'
    logs_say /var/run/docker.sock
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' registrator)" = true ]
}
logs_say() {
    lab_docker h1 logs registrator 2>&1 | grep -F "$1"
}

@test "the agent in a container finds etcd by name" {
    agent_container --add-host etcd.example:192.0.2.2 -- --etcd http://etcd.example:2379
    start web -p 8001:80
    keys_become "/app/servers/web 192.0.2.11:8001"
}

@test "the agent in a container uses TLS to etcd with a client certificate" {
    lab_host tls 192.0.2.3
    lab_tls 192.0.2.3
    # shellcheck disable=SC2046     # options
    lab_etcd tls tls 3.4 $(lab_tls_etcd)
    chown 65534 "$LAB/tls/client.key"
    agent_container -v "$LAB/tls:/tls:ro" -- \
        --etcd https://192.0.2.3:2379 --etcd-ca /tls/ca.pem --etcd-cert /tls/client.pem --etcd-key /tls/client.key
    start web -p 8001:80
    ETCD=tls keys_become "/app/servers/web 192.0.2.11:8001"
}

@test "a drain outlives the agent's container, because the volume has it" {
    start web -p 8001:80
    agent_container -v drains:/var/lib/registrator --
    keys_become "/app/servers/web 192.0.2.11:8001"
    inside drain web
    keys_become
    lab_docker h1 rm -f registrator
    agent_container -v drains:/var/lib/registrator --
    wait_for 10 explains web drained
    keys_become
    inside undrain web
    keys_become "/app/servers/web 192.0.2.11:8001"
}
explains() {
    inside explain "$1" | grep -F "$2"
}

@test "the agent's container is healthy while the agent answers, otherwise unhealthy" {
    agent_container --health-interval 1s --health-timeout 2s --health-retries 1 --health-start-period 0s --
    wait_for 30 health_is healthy
    lab_docker h1 kill -s STOP registrator
    wait_for 30 health_is unhealthy
    lab_docker h1 kill -s CONT registrator
    wait_for 30 health_is healthy
}
health_is() {
    [[ $(lab_docker h1 inspect -f '{{.State.Health.Status}}' registrator) == "$1" ]]
}

# commands_of FILE: its lines that build the image and run the agent, with the lab's socket of Docker.
commands_of() {
    awk '{ code = sub(/^(#   |    )/, "") }
        code && /^docker build -t registrator / { show = 1 }
        !code { show = 0 }
        show' "$1" | sed "s# /var/run/docker.sock# $LAB/h1/docker.sock#g"
}

@test "the commands in the README and in the Dockerfile build the image and run the agent" {
    local file
    start web -p 8001:80
    for file in README.md Dockerfile; do
        commands_of "$LAB_TOP/$file" | tee "$LAB/commands"
        grep -F 'docker run -d --name registrator' "$LAB/commands"
        lab_in h1 env -C "$LAB_TOP" DOCKER_HOST="unix://$LAB/h1/docker.sock" DOCKER_BUILDKIT=0 bash -eu "$LAB/commands"
        keys_become "/app/servers/web 192.0.2.11:8001"
        wait_for 10 registers web
        lab_docker h1 rm -f registrator
        etcd3 kv/deleterange '{"key":"AA==","range_end":"AA=="}' >/dev/null
    done
    lab_docker h1 volume rm registrator
}

# base_image NAME: from the files in $LAB/base, which it removes.
base_image() {
    tar -C "$LAB/base" -c . | lab_docker h1 import - "$1" >/dev/null
    rm -rf "$LAB/base"
}

# The images that compose.yaml would pull, with what it would install in them. From here on debian:trixie-slim is
# another one: this is for the last test.
load_balancer_bases() {
    [ -d "$LAB_TOOLS/root-sid" ] || skip "there is no build/tools/root-sid: run tests/setup"
    install -D "$LAB_TOOLS/bin/etcd-3.5" "$LAB/base/usr/local/bin/etcd"
    base_image "$(sed -n 's/^    image: \(.*etcd.*\)/\1/p' "$LAB_TOP/compose.yaml")"
    install -D /bin/busybox "$LAB/base/bin/sh"
    install -D "$LAB_TOOLS/bin/confd-0.30" "$LAB/base/usr/local/bin/confd"
    base_image golang:1.26
    tar -C "$LAB_TOOLS/root-sid" -c --exclude=./usr/share/doc --exclude=./usr/share/locale --exclude=./usr/share/man \
        --exclude=./usr/bin/podman* --exclude=./usr/libexec/podman . | lab_docker h1 import - debian:trixie-slim >/dev/null
}

compose() {
    DOCKER_GROUP=$SOCKET_GROUP DOCKER_SOCKET=$LAB/h1/docker.sock DOCKER_HOST=unix://$LAB/h1/docker.sock HOME=$LAB \
        docker-compose -p lab -f "$LAB_TOP/compose.yaml" "$@"
}
# answer NAME...: exactly these containers answer through HAProxy.
answer() {
    diff -U 0 --label expected --label answers <(printf '%s\n' "$@") <(
        for ((i = 0; i < 6; i++)); do
            lab_in switch curl -sS -m 5 --fail http://192.0.2.11/ || echo failed
        done | sort -u
    )
}
run_web() {
    lab_docker h1 run -d -P --name "$1" app:1 && lab_docker h1 exec "$1" sh -c "echo $1 >/www/index.html"
}

@test "compose.yaml: HAProxy reaches containers of docker run -P; a drain outlives the agent's containers" {
    command -v docker-compose >/dev/null || skip "there is no docker-compose"
    load_balancer_bases
    run_web web1
    compose up -d >"$LAB/compose.log" 2>&1 || { cat "$LAB/compose.log"; false; }
    wait_for 30 answer web1
    run_web web2
    wait_for 20 answer web1 web2
    # None of its own parts is registered.
    [ "$(inside status --json | jq -r '.containers[] | select(.state == "registered") | .name' | sort | tr '\n' ' ')" = "web1 web2 " ]
    [ "$(inside status --json | jq -r '.containers[] | select(.reason == "ignored") | .name' | grep -c .)" = 4 ]
    inside drain web1
    wait_for 20 answer web2
    compose up -d --force-recreate registrator
    wait_for 10 explains web1 drained
    wait_for 30 health_is healthy
    answer web2
    inside undrain web1
    wait_for 20 answer web1 web2
    lab_docker h1 stop web2
    wait_for 20 answer web1
    compose down -v -t 1
}
