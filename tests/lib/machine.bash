# shellcheck shell=bash
# Machines: a Debian with a real systemd, booted as a container of a lab's Docker host, in that host's network and
# with that host's Docker engine for its own. Needs tests/setup's build/tools/machine.tar.
#
#   lab_up; lab_host h1 192.0.2.11; lab_dockerd h1
#   machine_unpack "$LAB/disk"; …what else is to be on its disk…; machine_import h1 "$LAB/disk"
#   machine_start h1
#   machine_in h1 systemctl is-system-running

# machine_skip_without_image: for setup().
machine_skip_without_image() {
    [ -s "$LAB_TOOLS/machine.tar" ] || skip "there is no build/tools/machine.tar: run tests/setup"
}

# machine_unpack DIRECTORY: what a machine's disk holds.
machine_unpack() {
    mkdir -p "$1"
    tar -C "$1" -xf "$LAB_TOOLS/machine.tar"
}

# machine_import HOST DIRECTORY: makes the machine's disk of it. The group docker is that of HOST's socket.
machine_import() {
    local host=$1 root=$2
    mkdir -p "$root/usr/local/lib/sysusers.d"
    # The group that Docker's package makes.
    echo "g docker $(stat -c %g "$LAB/$host/docker.sock")" >"$root/usr/local/lib/sysusers.d/docker.conf"
    tar -C "$root" -c . | lab_docker "$host" import - machine:1 >/dev/null
}

# machine_start HOST: boots it, as the container "machine", and waits until systemd answers.
machine_start() {
    # cgroup v2 as a whole, or of v1 the hierarchy that is systemd's own: in the rest it would leave directories.
    local host=$1 cgroup=/sys/fs/cgroup
    [[ -e $cgroup/cgroup.controllers ]] || cgroup=/sys/fs/cgroup/systemd
    lab_docker "$host" run -d --name machine --network host --hostname "$host" --stop-signal SIGRTMIN+3 \
        --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
        --tmpfs /run --tmpfs /run/lock -v "$cgroup:$cgroup:rw" -v "$LAB/$host/docker.sock:/run/docker.sock" \
        -v "$(command -v docker):/usr/bin/docker:ro" -e container=docker machine:1 /lib/systemd/systemd >/dev/null &&
        wait_for "$LAB_PATIENCE" machine_in "$host" test -S /run/systemd/private
}

# machine_in HOST COMMAND...
machine_in() {
    local host=$1
    shift
    lab_docker "$host" exec -i machine "$@" </dev/null
}

# machine_shell HOST: a script from stdin.
machine_shell() {
    lab_docker "$1" exec -i machine bash -euo pipefail -s
}

# machine_put HOST FILE [MODE]: from stdin.
machine_put() {
    # shellcheck disable=SC2016     # for the machine's shell
    lab_docker "$1" exec -i machine sh -c 'mkdir -p "$(dirname "$0")" && cat >"$0" && chmod "$1" "$0"' "$2" "${3:-644}"
}

machine_tell() {
    lab_docker "$1" exec machine journalctl -b --no-pager 2>/dev/null </dev/null | tail -n 60
    lab_docker "$1" logs machine 2>&1 | tail -n 40
}
