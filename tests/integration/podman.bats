#!/usr/bin/env bats
# Podman's Docker-compatible socket in Docker's place, with a real Podman: what works as with Docker, and what
# docs/operations.md says of the rest.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

ARGUMENTS=(--ttl 5 --heartbeat 1 --resync 3600 --node p1)

setup_file() {
    export BATS_TEST_TIMEOUT=240
    command -v podman >/dev/null || return 0
    lab_up
    lab_host p1 192.0.2.11
    lab_host etcd 192.0.2.2
    podman_settings
    podman_places
    podman_service
    podman_image app:1 -c 'EXPOSE 80' -c 'CMD ["/bin/serve", "exit 0"]'
    podman_image side:1 -c 'CMD ["/bin/busybox", "sleep", "1000"]'
    podman_image app:slowterm -c 'EXPOSE 80' -c 'CMD ["/bin/serve", "sleep 2; exit 0"]'
    lab_etcd e1 etcd 3.4
    watch3_start "$LAB/events"
}

teardown_file() {
    local made=()
    [[ -z ${LAB:-} ]] || mapfile -t made <"$LAB/p1/made"
    lab_down
    ((${#made[@]} == 0)) || rmdir "${made[@]}"
}

setup() {
    command -v podman >/dev/null || skip "there is no podman: see tests/setup"
    lab_alive podman || podman_service
    agent p1 "${ARGUMENTS[@]}"
}

teardown() {
    [[ -n ${LAB:-} ]] || return 0
    [[ -n $BATS_TEST_COMPLETED ]] || { tell_all && tail -n 20 "$LAB/p1/podman.log"; }
    clear_containers p1
    clear_keys
}

# ---------------------------------------------------------------------------------- Podman in the lab

# All of its own, and nothing of it outside of $LAB.
podman_settings() {
    local dir=$LAB/p1
    mkdir -p "$dir/home/.config/containers" "$dir/tmp"
    cat >"$dir/containers.conf" <<CONF
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "runc"
static_dir = "$dir/root/libpod"
tmp_dir = "$dir/tmp/libpod"
volume_path = "$dir/root/volumes"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[network]
network_backend = "netavark"
network_config_dir = "$dir/networks"
CONF
    printf '[storage]\ndriver = "vfs"\nrunroot = "%s/run"\ngraphroot = "%s/root"\n' "$dir" "$dir" >"$dir/storage.conf"
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$dir/home/.config/containers/policy.json"
    : >"$dir/made"
}

# What Podman keeps at fixed places stands in a mount namespace of its own, which outlives its service as its
# containers do.
podman_places() {
    local place
    for place in /var/lib/containers /var/cache/containers; do
        [[ -d $place ]] || { mkdir "$place" && echo "$place" >>"$LAB/p1/made"; }
    done
    # shellcheck disable=SC2016     # for the inner shell
    lab_spawn places "$LAB/p1/podman.log" unshare --mount sh -c '
        for dir in /run /var/lib/containers /var/cache/containers; do
            mount -t tmpfs none "$dir" || exit
        done
        : >"$0"
        exec sleep infinity' "$LAB/p1/mounted"
    wait_for "$LAB_PATIENCE" test -e "$LAB/p1/mounted"
}

# podman_service: its API at p1's docker.sock.
podman_service() {
    local dir=$LAB/p1
    rm -f "$dir/docker.sock"
    LAB_NETNS=$LAB_ID-p1 lab_spawn podman "$dir/podman.log" env HOME="$dir/home" TMPDIR="$dir/tmp" \
        CONTAINERS_CONF="$dir/containers.conf" CONTAINERS_STORAGE_CONF="$dir/storage.conf" \
        nsenter --mount="/proc/$(lab_pid places)/ns/mnt" podman system service --time=0 "unix://$dir/docker.sock"
    wait_for "$LAB_PATIENCE" _lab_dockerd_answers p1
}

podman_image() {
    local name=$1
    shift
    _lab_image_tar
    lab_docker p1 import "$@" - "$name" <"$LAB/image.tar" >/dev/null
}

# pod NAME IMAGE|OPTION...: as start() does, in a cgroup by which the lab finds it.
pod() {
    local name=$1
    shift
    start p1 "$name" --cgroup-parent "/$LAB_ID-p1" "$@"
}

# end HOST NAME: the container ends by itself, perhaps before the command that tells it so.
end() {
    lab_docker "$1" exec "$2" touch /end || true
}

# ended_ms NAME: prints when it ended, in milliseconds since 1970.
ended_ms() {
    date -d "$(lab_docker p1 inspect -f '{{.State.FinishedAt}}' "$1")" +%s%3N
}

# check NAME: one run of its health check, for which Podman has systemd's timers where there is a systemd.
check() {
    lab_docker_get p1 "/v4.0.0/libpod/containers/$1/healthcheck" | jq -r .Status
}

# ------------------------------------------------------------------------------------------ the tests

@test "Podman: a container is registered at its start, and deregistered after stop, kill, exit or removal" {
    local value
    [[ $(lab_docker_get p1 /_ping -D - -o /dev/null) == *"Libpod-Api-Version"* ]]
    pod plain app:1
    value=$(mapped p1 plain)
    lab_docker p1 stop plain
    wait_for 5 events_are plain "PUT plain $value" "DELETE plain"
    lab_docker p1 start plain
    wait_for 5 has p1 plain
    lab_docker p1 restart plain
    wait_for 5 has p1 plain
    lab_docker p1 kill -s HUP plain
    lab_docker p1 kill plain
    wait_for 5 gone plain
    pod ends -l SERVICE_READY=none app:1 sh -c 'while [ ! -e /end ]; do sleep 0.1; done'
    end p1 ends
    wait_for 5 gone ends
    pod removed app:1
    lab_docker p1 rm -f removed
    wait_for 5 gone removed
    # What Podman removes it cannot be asked about; its last event has said all.
    grep -E '^(warning|error):' "$LAB/p1/agent.log" | not grep -v 'Failed to inspect container '
}

@test "Podman: docker stop announces only the end; registrator stop deregisters first" {
    pod slow --stop-timeout 5 app:slowterm
    lab_docker p1 stop slow
    wait_for 5 gone slow
    (($(event_ms "DELETE slow") >= $(ended_ms slow)))
    lab_docker p1 start slow
    wait_for 5 has p1 slow
    lab_registrator p1 stop --drain 0 slow
    gone slow
    (($(event_ms "DELETE slow") < $(ended_ms slow) - 1000))
    run lab_registrator p1 explain slow
    [[ $output == *"not running"* ]]
}

@test "Podman: pause deregisters, rename renames the key, and a restart by policy registers again" {
    local value
    pod paused --restart always app:1 sh -c 'httpd -p 80; while [ ! -e /end ]; do sleep 0.1; done; rm /end'
    value=$(mapped p1 paused)
    lab_docker p1 pause paused
    wait_for 5 gone paused
    lab_docker p1 unpause paused
    wait_for 5 has p1 paused
    lab_docker p1 rename paused paused-not
    wait_for 5 has p1 paused-not
    wait_for 5 gone paused
    events_are paused "PUT paused $value" "DELETE paused" "PUT paused $value" "PUT paused-not $value" "DELETE paused"
    end p1 paused-not
    wait_for 10 eval 'events paused | tail -n 2 | cut -d " " -f 1 | tr "\n" " " | grep -x "DELETE PUT "'
    has p1 paused-not
}

@test "Podman: a container with a health check is registered while healthy, one check after Podman's state" {
    lab_docker p1 run -d -P --name checked --cgroup-parent "/$LAB_ID-p1" \
        --health-cmd 'test -e /healthy' --health-interval 1h --health-retries 1 app:1
    wait_for 5 status_is p1 '.containers[0].text == "waiting for its first health check"'
    check checked
    check checked
    wait_for 5 status_is p1 '.containers[0].text == "unhealthy"'
    lab_docker p1 exec checked touch /healthy
    check checked
    check checked
    wait_for 5 has p1 checked
    lab_docker p1 exec checked rm /healthy
    check checked
    check checked
    wait_for 5 gone checked
    # Its list says nothing of health: that is no change.
    : >"$LAB/p1/agent.log"
    lab_docker p1 exec checked touch /healthy
    check checked
    check checked
    agent p1 "${ARGUMENTS[@]}" --resync 1
    wait_for 5 has p1 checked
    heartbeats 4
    not grep -F "no event announced the change" "$LAB/p1/agent.log"
}

@test "Podman: connected and disconnected networks" {
    agent p1 "${ARGUMENTS[@]}" --ports internal
    lab_docker p1 network create front
    lab_docker p1 network create back
    lab_docker p1 run -d --name joined --network front --cgroup-parent "/$LAB_ID-p1" app:1
    inner() {
        keys3 | grep -xF "/app/servers/joined $(lab_docker p1 inspect joined |
            jq -r --arg network "$1" '.[0].NetworkSettings.Networks[$network].IPAddress'):80"
    }
    wait_for 5 inner front
    lab_docker p1 network connect back joined
    lab_docker p1 network disconnect front joined
    wait_for 5 inner back
    lab_docker p1 rm -f joined
    lab_docker p1 network rm front back
}

# podman_here ARGUMENTS...: Podman's own command line, as Docker's API makes no pods.
podman_here() {
    local dir=$LAB/p1
    env HOME="$dir/home" TMPDIR="$dir/tmp" CONTAINERS_CONF="$dir/containers.conf" \
        CONTAINERS_STORAGE_CONF="$dir/storage.conf" \
        nsenter --net="/run/netns/$LAB_ID-p1" --mount="/proc/$(lab_pid places)/ns/mnt" podman "$@"
}

@test "Podman: a pod's ports belong to the containers that expose or name the ports, never to the infra container" {
    local infra
    podman_here pod create --name shop -p 8080:80 -p 9090:9090 --cgroup-parent "/$LAB_ID-p1" \
        --infra-image app:1 --infra-command "/bin/busybox sleep 1000" >/dev/null
    podman_here run -d --pod shop --name front app:1 >/dev/null
    podman_here run -d --pod shop --name side side:1 >/dev/null
    wait_for 10 eval 'keys3 | grep -xF "/app/servers/front 192.0.2.11:8080"'
    infra=$(lab_docker p1 ps --format '{{.Names}}' | grep -- '-infra$')
    wait_for 5 status_is p1 ".containers[] | select(.name == \"$infra\") | .reason == \"pod-infra\""
    wait_for 5 status_is p1 '.containers[] | select(.name == "side") | .reason == "pod-port"'
    run lab_registrator p1 explain side
    [[ $output == *"label SERVICE_<port>_NAME"* ]]
    # As explain says.
    podman_here rm -f side >/dev/null
    podman_here run -d --pod shop --name side -l SERVICE_9090_NAME=servers -l SERVICE_READY=none side:1 >/dev/null
    wait_for 10 eval 'keys3 | grep -xF "/app/servers/side 192.0.2.11:9090"'
    podman_here stop front
    wait_for 10 gone front
    keys3 | grep -xF "/app/servers/side 192.0.2.11:9090"
    podman_here start front
    wait_for 10 eval 'keys3 | grep -xF "/app/servers/front 192.0.2.11:8080"'
    not grep -F infra <(keys3)
    podman_here pod rm -f shop
}

@test "Podman: restarts of its service and of the agent delete only the keys of ended containers" {
    local value pid
    pod service-stays app:1
    pod service-dies app:1
    value=$(mapped p1 service-stays)
    pid=$(lab_docker p1 inspect -f '{{.State.Pid}}' service-dies)
    lab_stop podman
    wait_for 5 status_is p1 '.docker.connected == false'
    kill -s KILL "$pid"
    podman_service
    wait_for 5 gone service-dies
    # Podman's own ID is another each time it is asked.
    lab_agent_kill9 p1
    agent p1 "${ARGUMENTS[@]}"
    wait_for 5 status_is p1 '.etcd.state == "online" and .etcd.keys == 1'
    heartbeats 7
    events_are service-stays "PUT service-stays $value"
    run lab_registrator p1 status --etcd
    [ "$output" = "Docker, agent and etcd agree: 1 keys of 1 containers." ]
}

# quadlet_command: the words of the command that Podman's generator makes of systemd/registrator.container, one a line.
quadlet_command() {
    mkdir -p "$LAB/quadlet"
    cp "$LAB_TOP/systemd/registrator.container" "$LAB/quadlet/"
    "$LAB_TOP/tests/lib/in_root" "$LAB_TOOLS/root-sid" \
        env QUADLET_UNIT_DIRS="$LAB/quadlet" /usr/libexec/podman/quadlet -dryrun >"$LAB/quadlet/unit"
    sed -n 's/^ExecStart=//p' "$LAB/quadlet/unit" | tr ' ' '\n'
}

# The generator is that of a newer Podman. Its command runs with this machine's Podman, less the options that need a
# systemd.
@test "Podman: the quadlet is valid; its container registers other containers and answers the subcommands" {
    local command
    [ -x "$LAB_TOOLS/root-sid/usr/libexec/podman/quadlet" ] || skip "there is no podman in build/tools/root-sid"
    pod web app:1
    lab_agent_stop p1
    clear_keys
    "$LAB_TOP/docker/stage" "${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}" "$LAB/stage"
    tar -C "$LAB/stage" -c . | lab_docker p1 import -c 'ENTRYPOINT ["/usr/bin/registrator"]' -c 'USER 65534:65534' \
        -c 'ENV STATE_DIRECTORY=/var/lib/registrator' - localhost/registrator >/dev/null
    rm -rf "$LAB/stage"
    mapfile -t command < <(quadlet_command | sed -e '/^--sdnotify=/d' -e "s#^--cgroups=split#--cgroup-parent=/$LAB_ID-p1#" \
        -e "s#^/run/podman/podman.sock:#$LAB/p1/docker.sock:#")
    printf '%s\n' "${command[@]}"
    [ "${command[0]}" = /usr/bin/podman ]
    # As systemd's podman.socket makes it.
    chmod 660 "$LAB/p1/docker.sock"
    podman_here "${command[@]:1}"
    wait_for 10 has p1 web || { podman_here logs registrator; false; }
    podman_here exec registrator registrator drain web
    gone web
    # Drains outlive the container, which systemd makes anew at each start.
    podman_here "${command[@]:1}"
    wait_for 10 eval 'podman_here exec registrator registrator explain web | grep drained'
    podman_here rm -f registrator >/dev/null
    podman_here volume rm registrator >/dev/null
}
