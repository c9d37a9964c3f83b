#!/usr/bin/env bats
# The agent as a container, from the tree's own Dockerfile.

bats_require_minimum_version 1.8.0
load ../lib/one_host

SOCKET_GROUP=4711

setup_file() {
    export BATS_TEST_TIMEOUT=120
    one_host_up app:1
    chgrp "$SOCKET_GROUP" "$LAB/h1/docker.sock"
    chmod 660 "$LAB/h1/docker.sock"
    mkdir -p "$LAB/context"
    cp "$LAB_TOP"/{Dockerfile,.dockerignore} "$LAB/context"
    "$LAB_TOP/docker/stage" "$REGISTRATOR" "$LAB/context/build/image"
    DOCKER_BUILDKIT=0 lab_docker h1 build -q -t registrator "$LAB/context"
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

@test "the image is smaller than 15 MiB, and holds nothing but what the agent needs" {
    local size
    size=$(lab_docker h1 image inspect -f '{{.Size}}' registrator)
    echo "$size bytes"
    ((size < 15 * 1024 * 1024))
    lab_docker h1 create --name registrator registrator >/dev/null
    lab_docker h1 export registrator | tar -t | grep -v '/$' >"$LAB/files"
    run ! grep -vE '^(usr/bin/registrator|(usr/)?lib(64)?/.*\.so[.0-9]*|\.dockerenv|dev/console|etc/(hosts|hostname|mtab|resolv\.conf))$' "$LAB/files"
    grep -x usr/bin/registrator "$LAB/files"
    [ "$(lab_docker h1 image inspect -f '{{.Config.User}}' registrator)" = 65534:65534 ]
}

@test "it registers the others at the host's address, and not itself; nobody's user, with the socket's group" {
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

@test "with exposed ports it still does not register itself" {
    agent_container --expose 80 --expose 9100 -- --listen 127.0.0.1:9100
    start web -p 8001:80
    keys_become "/app/servers/web 192.0.2.11:8001"
    [ "$(reason_inside registrator)" = ignored ]
    # The HTTP server is there, without the library for a TLS of its own.
    lab_in h1 curl -sS -m 5 --fail http://127.0.0.1:9100/status >/dev/null
}

@test "stopped and started, and replaced: no key is touched" {
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

@test "without the socket's group it says what is missing" {
    lab_docker h1 run -d --name registrator --network host -v "$LAB/h1/docker.sock:/var/run/docker.sock" \
        registrator --etcd "$(lab_etcd_urls)" >/dev/null
    wait_for 10 logs_say 'Permission denied'
    logs_say /var/run/docker.sock
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' registrator)" = true ]
}
logs_say() {
    lab_docker h1 logs registrator 2>&1 | grep -F "$1"
}

@test "etcd found by name" {
    agent_container --add-host etcd.example:192.0.2.2 -- --etcd http://etcd.example:2379
    start web -p 8001:80
    keys_become "/app/servers/web 192.0.2.11:8001"
}

@test "TLS to etcd, with a client certificate" {
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
