#!/usr/bin/env bats
# ./quickstart as a newcomer runs it, from a tree as it is cloned. In a network of its own, with
# Docker engines of its own: the machine's are left alone.

load ../lib/lab

setup_file() {
    lab_up
    lab_host h1 192.0.2.11
    lab_dockerd h1
    lab_image h1 app:1
    lab_docker h1 run -d -P --name other app:1
    mkdir "$LAB/tree"
    tar -C "$LAB_TOP" -c --exclude=./build --exclude=./.git --exclude=./autom4te.cache --exclude=./configure \
        --exclude=./config.status --exclude=./Makefile --exclude=./Makefile.in . | tar -C "$LAB/tree" -x
}

teardown_file() {
    lab_down
}

setup() {
    lab_attach
}

teardown() {
    quickstart --stop
}

# quickstart [ARGUMENTS...]: on h1, as typed in the tree. Bounded: it says that none of its steps hangs.
quickstart() {
    (
        cd "$LAB/tree" || exit
        DOCKER_HOST="unix://$LAB/h1/docker.sock" lab_in h1 timeout -k 10 240 ./quickstart "$@" 3>&- 4>&-
    )
}

key() {
    lab_in h1 env ETCDCTL_API=3 etcdctl --endpoints http://127.0.0.1:2379 get --print-value-only "/app/servers/$1"
}

key_is_gone() {
    [[ -z $(key "$1") ]]
}

port() {
    lab_docker h1 port "$1" 80/tcp | sed -n '1s/.*://p'
}

@test "quickstart: a clean tree becomes keys in etcd, and the end removes all of it" {
    local before
    before=$(lab_docker h1 images -q | sort; lab_docker h1 ps -aq | sort)

    run quickstart
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(key quickstart-web1)" = "192.0.2.11:$(port quickstart-web1)" ]
    [ "$(key quickstart-web2)" = "192.0.2.11:$(port quickstart-web2)" ]
    [[ $output == *"/app/servers/quickstart-web1"*"192.0.2.11:$(port quickstart-web1)"* ]]
    lab_in h1 curl -sS -m 5 "http://$(key quickstart-web2)/" | grep Hello

    run quickstart --stop
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(lab_docker h1 images -q | sort; lab_docker h1 ps -aq | sort)" = "$before" ]
    run grep -lsF "$LAB/tree/build" /proc/[0-9]*/cmdline
    [ -z "$output" ]
    run lab_in h1 curl -sS -m 5 http://127.0.0.1:2379/version
    [ "$status" -eq 7 ]
    [ ! -e "$LAB/tree/build/quickstart/run" ]

    run quickstart --stop
    [ "$status" -eq 0 ]
    [[ $output == *"Nothing of quickstart runs"* ]]
}

@test "quickstart: a second run starts the parts that have ended" {
    quickstart
    lab_docker h1 stop quickstart-web1
    wait_for 5 key_is_gone quickstart-web1
    lab_docker h1 rm -f quickstart-web2

    run quickstart
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"The agent runs already"*"docker start quickstart-web1"*"docker run -d -P --name quickstart-web2"* ]]
    [ "$(key quickstart-web1)" = "192.0.2.11:$(port quickstart-web1)" ]
    [ "$(key quickstart-web2)" = "192.0.2.11:$(port quickstart-web2)" ]
}

@test "quickstart: the commands that it suggests work" {
    local commands output
    output=$(quickstart)
    # The command alone: what it is for stands behind it.
    commands=$(sed -n -e 's/^  \(export REGISTRATOR_CONTROL=[^ ]*\).*/\1/p' -e 's/^  \(.* status\)\( .*\)\?$/\1/p' \
        -e 's/^  \(docker run .* --name web3 [^ ]*\).*/\1/p' <<<"$output")
    [ "$(wc -l <<<"$commands")" -eq 3 ]
    run lab_in h1 env DOCKER_HOST="unix://$LAB/h1/docker.sock" sh -ec "cd '$LAB/tree'; $commands"
    echo "$commands: $output"
    [ "$status" -eq 0 ]
    [[ $output == *"quickstart-web1"*"registered"*"/app/servers/quickstart-web1 = 192.0.2.11:"* ]]
    [ "$(key web3)" = "192.0.2.11:$(port web3)" ]
    run quickstart --stop
    echo "$output"
    [[ $output == *"Removing the container web3"*"Removed the image"* ]]
    [ -z "$(lab_docker h1 ps -aq --filter name=web3)" ]
}

@test "quickstart: it uses a running etcd, and leaves it running" {
    lab_etcd e1 h1 3.4
    run quickstart
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"An etcd answers at http://127.0.0.1:2379 already"* ]]
    [ "$(key quickstart-web1)" = "192.0.2.11:$(port quickstart-web1)" ]

    quickstart --stop
    [ -z "$(keys3 /app/servers/quickstart)" ]
    lab_etcd_answers e1
    lab_etcd_stop e1
}

@test "quickstart: without an address, the message has the setting" {
    ip -n "$LAB_ID-h1" route delete default
    run quickstart
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"Found no address"*"ADVERTISE="* ]]

    ADVERTISE=192.0.2.11 run quickstart
    echo "$output"
    ip -n "$LAB_ID-h1" route add default via 192.0.2.1
    [ "$status" -eq 0 ]
    [ "$(key quickstart-web1)" = "192.0.2.11:$(port quickstart-web1)" ]
}

@test "quickstart: the message names a program at etcd's port that is no etcd" {
    lab_spawn web "$LAB/web.log" nsenter --net="/run/netns/$LAB_ID-h1" \
        busybox httpd -f -p 127.0.0.1:2379 -h "$LAB/tree"
    wait_for 5 lab_in h1 curl -sS -o /dev/null http://127.0.0.1:2379/
    run quickstart
    echo "$output"
    lab_stop web KILL
    [ "$status" -eq 1 ]
    [[ $output == *"not an etcd"*"127.0.0.1:2379"* ]]
}

@test "quickstart: without a Docker engine, it starts one, and ends it" {
    lab_host h2 192.0.2.12
    # The engine's usual places, empty and of this test alone.
    # shellcheck disable=SC2016     # for the inner shell
    run timeout -k 10 240 nsenter --net="/run/netns/$LAB_ID-h2" unshare --mount sh -euc '
        cd "$0"
        mount -t tmpfs tmpfs /run
        mount -t tmpfs tmpfs /var/lib/docker
        if [ -d /etc/docker ]; then mount -t tmpfs tmpfs /etc/docker; fi
        ./quickstart
        docker ps --format "{{.Names}}" | sort | tr "\n" " "
        ./quickstart --stop
        docker info || echo "the engine is gone"
    ' "$LAB/tree" 3>&- 4>&-
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"Starting Docker"*"192.0.2.12:"*"quickstart-web1 quickstart-web2"*"the engine is gone"* ]]
}

@test "quickstart: the message names DOCKER_HOST's engine if this does not answer" {
    cd "$LAB/tree"
    DOCKER_HOST=unix:///run/no-such.sock run lab_in h1 ./quickstart
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"unix:///run/no-such.sock"* ]]
}

@test "quickstart: --help, and unknown options" {
    run quickstart --help
    [ "$status" -eq 0 ]
    [[ $output == "usage: ./quickstart"*"--stop"*"ADVERTISE"* ]]
    run quickstart --start
    [ "$status" -eq 1 ]
    [[ $output == *"--start"* ]]
}
