#!/usr/bin/env bats
# The units, under a real systemd: a machine that is a container, with the Docker engine of its host. Its
# docker.service is a stand-in that, as the real one, stops the containers when it is stopped.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/machine

AGENT=${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}

setup_file() {
    export BATS_TEST_TIMEOUT=240
}

setup() {
    machine_skip_without_image
    lab_up
    lab_host etcd 192.0.2.2
    lab_etcd etcd etcd 3.4
    lab_host h1 192.0.2.11
    lab_dockerd h1
    lab_image h1 app:1
    machine_image
    machine_start h1
    wait_for 30 machine_is_up
    lab_docker h1 run -d -P --name web1 app:1
    lab_docker h1 run -d -P --name web2 app:1
    wait_for 10 keys_are h1
}

teardown() {
    if [[ -z $BATS_TEST_COMPLETED && -s ${LAB:-}/id ]]; then
        machine_tell h1
    fi
    lab_down
}

# What `make install` installs, on top of a Debian, with the settings that an operator would make.
machine_image() {
    local root=$LAB/machine units=$LAB/machine/etc/systemd/system
    machine_unpack "$root"
    make -s -C "$(dirname "$(dirname "$AGENT")")" DESTDIR="$root" install >"$LAB/install.log" 2>&1
    mkdir -p "$units/multi-user.target.wants"
    sed -i -e '/^\[etcd\]/a endpoints = http://192.0.2.2:2379' -e '/^\[registry\]/a ttl = 10' \
        "$root/usr/local/etc/registrator/registrator.conf"
    cat >"$units/docker.service" <<'UNIT'
[Unit]
Description=Stand-in for Docker
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/usr/bin/docker stop -t 3 web1 web2
[Install]
WantedBy=multi-user.target
UNIT
    ln -s ../docker.service "$units/multi-user.target.wants/docker.service"
    ln -s /usr/local/lib/systemd/system/registrator.service "$units/multi-user.target.wants/registrator.service"
    machine_import h1 "$root"
    rm -rf "$root"
}

machine() {
    machine_in h1 "$@"
}

machine_is_up() {
    machine systemctl is-active registrator.service registrator-shutdown.service docker.service
}

machine_is_down() {
    [[ $(lab_docker h1 inspect -f '{{.State.Running}}' machine) == false ]]
}

record() {
    watch3_start "$LAB/watch"
    lab_spawn events "$LAB/events" env DOCKER_HOST="unix://$LAB/h1/docker.sock" docker events --filter event=kill \
        --since "$(date +%s)" --format '{{.TimeNano}} {{.Actor.Attributes.name}}'
}

# Each key went before its container was signalled, by a second at least.
keys_went_first() {
    local name deregistered stopped
    watch_sync "$LAB/watch"
    for name in web1 web2; do
        deregistered=$(awk -v key="/app/servers/$name" '$1 == "DELETE" && $2 == key { print $NF }' "$LAB/watch")
        stopped=$(awk -v name="$name" '$2 == name { printf "%.3f", $1 / 1e9; exit }' "$LAB/events")
        echo "$name: deregistered $deregistered, stopped $stopped"
        awk -v a="$deregistered" -v b="$stopped" 'BEGIN { exit !(a > 0 && b - a > 1) }' </dev/null
    done
}

@test "restart, reload, stop and start of the unit change no key; the unit's sandbox holds" {
    record
    machine systemctl restart registrator
    machine systemctl reload registrator
    machine systemctl stop registrator
    machine systemctl is-active registrator-shutdown
    machine systemctl start registrator
    machine systemctl kill -s KILL registrator
    wait_for 10 machine_is_up
    sleep 3
    [ -z "$(watch_events "$LAB/watch")" ]

    # Not root, ready only when its keys stand, and what it tells systemd is for people.
    [ "$(machine stat -c '%U %G %a' /run/registrator/control.sock)" = "registrator registrator 660" ]
    local pid
    pid=$(machine systemctl show -P MainPID registrator)
    [ "$(machine stat -c %U "/proc/$pid")" = registrator ]
    machine grep -x 'CapEff:.0*' "/proc/$pid/status"
    machine grep -x 'NoNewPrivs:.1' "/proc/$pid/status"
    machine grep -x 'Seccomp:.2' "/proc/$pid/status"
    run machine systemctl show -P StatusText registrator
    [[ $output == *"2 keys of 3 running containers"* ]]
    machine /usr/local/bin/registrator status | grep 'web1 *registered'
}

main_pid() {
    local pid
    pid=$(machine systemctl show -P MainPID registrator)
    [[ $pid != 0 && $pid != "${1:-0}" ]] && echo "$pid"
}

has_failed() {
    [[ $(machine systemctl show -P SubState registrator) == failed ]]
}

@test "systemd restarts a killed agent each time, but not an agent with bad settings" {
    local pid=0 i
    # systemd's own limit is five.
    for ((i = 0; i < 7; i++)); do
        wait_for 10 main_pid "$pid"
        pid=$(main_pid "$pid")
        machine kill -9 "$pid"
    done
    wait_for 10 machine_is_up
    machine sed -i 's/^ttl = .*/ttl = forever/' /usr/local/etc/registrator/registrator.conf
    machine systemctl restart registrator || true
    wait_for 10 has_failed
    machine journalctl -u registrator --no-pager | grep 'registrator.conf:[0-9]*: .*ttl'
}

# "systemd-analyze security" counts in tenths: 13 is 1.3.
@test "systemd-analyze rates the units' exposure at most 1.3, as SECURITY.md says" {
    machine systemd-analyze security --no-pager --threshold=13 registrator.service
    machine systemd-analyze security --no-pager --threshold=13 registrator-shutdown.service
}

@test "a host removed by the steps in docs/operations.md leaves no keys, and registers none" {
    local command
    while read -r command; do
        # shellcheck disable=SC2086     # its words
        machine env PATH="/usr/local/bin:$PATH" $command
    done < <(sed -n '/^## Decommission a host/,/^## Change/s/^    //p' "$LAB_TOP/docs/operations.md")
    [ -z "$(keys3 /app/)" ]
    run machine systemctl is-active registrator registrator-shutdown
    [ "$(sort -u <<<"$output")" = inactive ]
    run machine systemctl is-enabled registrator
    [ "$output" = disabled ]
    # The lease is no key, and ends with its TTL.
    wait_for 15 no_lease
}

@test "the shutdown unit finds a socket that a drop-in has moved, and shows a failed drain" {
    machine mkdir -p /etc/systemd/system/registrator.service.d
    machine sh -c 'printf "[Service]\nEnvironment=REGISTRATOR_CONTROL=/run/registrator/elsewhere.sock\n" \
        >/etc/systemd/system/registrator.service.d/control.conf'
    machine systemctl daemon-reload
    machine systemctl restart registrator
    wait_for 10 keys_are h1
    # As at a shutdown.
    machine systemctl stop registrator-shutdown
    [ -z "$(keys3 /app/)" ]
    machine systemctl start registrator-shutdown
    machine systemctl restart registrator
    wait_for 10 keys_are h1

    lab_signal etcd-etcd STOP
    machine systemctl stop registrator-shutdown || true
    run machine systemctl is-failed registrator-shutdown
    lab_signal etcd-etcd CONT
    [ "$output" = failed ]
    machine journalctl -u registrator-shutdown --no-pager | grep 'still in etcd'

    # Without an agent there is nothing to drain, and no failure.
    machine systemctl stop registrator
    machine systemctl start registrator-shutdown
    machine systemctl stop registrator-shutdown
    run machine systemctl is-failed registrator-shutdown
    [ "$output" = inactive ]
}

@test "systemctl poweroff: the agent deregisters the containers before they stop" {
    record
    machine systemctl poweroff || true
    wait_for 60 machine_is_down
    keys_went_first
    [ "$(lab_docker h1 ps -q | wc -l)" -eq 0 ]
}

@test "systemctl reboot: as poweroff; then the containers are registered again, except the drained ones" {
    machine /usr/local/bin/registrator drain web1
    run keys3 /app/
    [[ ${#lines[@]} -eq 1 && $output == "/app/servers/web2 "* ]]
    machine /usr/local/bin/registrator undrain web1
    wait_for 5 keys_are h1
    record
    machine systemctl reboot || true
    wait_for 60 machine_is_down
    keys_went_first
    lab_docker h1 start machine web1 web2
    wait_for 30 machine_is_up
    wait_for 10 keys_are h1

    # The operator's drain outlives a reboot.
    machine /usr/local/bin/registrator drain
    [ -z "$(keys3 /app/)" ]
    machine systemctl reboot || true
    wait_for 60 machine_is_down
    lab_docker h1 start machine web1 web2
    wait_for 30 machine_is_up
    wait_for 10 drained
    [ -z "$(keys3 /app/)" ]
    machine /usr/local/bin/registrator undrain
    wait_for 5 keys_are h1
}

no_lease() {
    [[ -z $(leases3) ]]
}

drained() {
    machine /usr/local/bin/registrator explain web1 | grep drained
}
