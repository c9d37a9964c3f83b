#!/usr/bin/env bats
# docs/roll-out.md as one sequence: its settings, and its commands in their order, on two Docker hosts that serve already, a
# cluster of three etcds and a load balancer with confd and HAProxy.
#
# What stands for the rest: a package is the program that is tested, "systemctl" starts and ends the agent (packages.bats and
# shutdown.bats have the real ones). 30 hosts are two.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent
load ../lib/lb

PAGE=$LAB_TOP/docs/roll-out.md
AGENT=${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}

setup_file() {
    export BATS_TEST_TIMEOUT=600
}

setup() {
    local host
    lab_up
    for host in etcd1:2 etcd2:3 etcd3:4 lb:5 h1:11 h2:12; do
        lab_host "${host%:*}" "192.0.2.${host#*:}"
    done
    lab_etcd_cluster etcd1 etcd2 etcd3
    for host in h1 h2; do
        lab_dockerd "$host"
        lab_image "$host" app:1
        # In service already: one that is to be registered later, and one that names no service.
        lb_run "$host" "shop-$host" --label SERVICE_NAME=servers
        lb_run "$host" "other-$host"
    done
}

teardown() {
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all
    lab_down
}

# commands STEP: the commands of the page's section "## STEP. …", one a line.
commands() {
    sed -n "/^## $1\. /,/^## /s/^    //p" "$PAGE"
}

# on HOST COMMAND: a command of the page. Prints what it prints.
on() {
    local host=$1 arguments
    case $2 in
    "apt-get install ./registrator_"*.deb) "$AGENT" --version >/dev/null ;;
    "systemctl stop registrator" | "systemctl disable --now registrator registrator-shutdown") lab_agent_stop "$host" ;;
    "systemctl enable --now registrator")
        LAB_NETNS=$LAB_ID-$host lab_spawn "agent-$host" "$LAB/$host/agent.log" env -u JOURNAL_STREAM -u INVOCATION_ID \
            "${ENVIRONMENT[@]}" "DOCKER_HOST=unix://$LAB/$host/docker.sock" "REGISTRATOR_CONTROL=$LAB/$host/control.sock" "$AGENT"
        wait_for "$LAB_PATIENCE" status_is "$host" '.docker.connected and .etcd.state == "online"'
        ;;
    "registrator "*)
        read -ra arguments <<<"${2#registrator }"
        env "${ENVIRONMENT[@]}" "DOCKER_HOST=unix://$LAB/$host/docker.sock" "REGISTRATOR_CONTROL=$LAB/$host/control.sock" \
            nsenter --net="/run/netns/$LAB_ID-$host" "$AGENT" "${arguments[@]}"
        ;;
    *) _lab_fail "the page has a command that this test does not know: $2" ;;
    esac
}

# step STEP HOST: runs the commands of a section. What they print is in $LAB/printed.
step() {
    local command
    : >"$LAB/printed"
    [[ -n $(commands "$1") ]]
    while read -r command; do
        echo "$2: $command"
        on "$2" "$command" </dev/null >>"$LAB/printed" || return
    done < <(commands "$1")
    cat "$LAB/printed"
}

keys_are_of() {
    diff <(printf '/app/servers/%s\n' "$@" | sort) <(keys3 | cut -d ' ' -f 1)
}

@test "docs/roll-out.md: look first, a canary, a load balancer, all hosts, upgrade, roll back" {
    local host
    # 2. The settings of the page, whose endpoints are the cluster's.
    awk '/^```ini$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$PAGE" >"$LAB/registrator.conf"
    grep -xF "endpoints = $(lab_etcd_urls)" "$LAB/registrator.conf"
    ENVIRONMENT=("REGISTRATOR_CONFIG=$LAB/registrator.conf")

    # 3. The dry run names the chosen container alone, and writes nothing.
    step 3 h1
    grep -E "^register /app/servers/shop-h1 $(mapped h1 shop-h1)\$" "$LAB/printed"
    run ! grep -E '^register .*other-h1' "$LAB/printed"
    [ -z "$(keys3)" ]

    # 4. The canary: on this host only, and Docker, agent and etcd do not differ.
    watch3_start "$LAB/events"
    step 4 h1
    wait_for 10 has h1 shop-h1
    wait_for 15 on h1 'registrator status --etcd'
    keys_are_of shop-h1

    # 5. One load balancer, whose rendered file can be compared before HAProxy has it.
    lb_setup lb haproxy
    lb_render lb
    lb_servers_are lb shop-h1
    lb_haproxy lb
    lb_confd lb -watch
    wait_for 10 lb_all_answer lb shop-h1

    # 6. The other hosts, each checked, then the keys of all hosts.
    on h2 'systemctl enable --now registrator'
    wait_for 10 has h2 shop-h2
    wait_for 15 on h2 'registrator status --etcd'
    [[ $(commands 6) == $'registrator status --etcd\nregistrator fleet' ]]
    on h1 'registrator fleet' >"$LAB/fleet"
    cat "$LAB/fleet"
    for host in h1 h2; do
        grep -E "^servers +shop-$host +$(mapped "$host" "shop-$host") " "$LAB/fleet"
    done
    [ "$(grep -c '192\.0\.2\.' "$LAB/fleet")" -eq 2 ]
    keys_are_of shop-h1 shop-h2
    wait_for 10 lb_all_answer lb shop-h1 shop-h2

    # Upgrade: one host, then the others. No key changes.
    for host in h1 h2; do
        on "$host" 'systemctl stop registrator'
        on "$host" 'systemctl enable --now registrator'
        wait_for 15 on "$host" 'registrator status --etcd'
    done
    events_are shop "PUT shop-h1 $(mapped h1 shop-h1)" "PUT shop-h2 $(mapped h2 shop-h2)"

    # Roll back: the page's words after step 4, on one host and then on the other. The containers run on.
    grep -qF "| 4 | \`registrator drain\`, then \`systemctl disable --now registrator registrator-shutdown\`" "$PAGE"
    on h2 'registrator drain'
    keys_are_of shop-h1
    wait_for 10 lb_all_answer lb shop-h1
    on h2 'systemctl disable --now registrator registrator-shutdown'
    on h1 'registrator drain'
    on h1 'systemctl disable --now registrator registrator-shutdown'
    [ -z "$(keys3)" ]
    for host in h1 h2; do
        [ "$(lab_docker "$host" ps -q | wc -l)" -eq 2 ]
    done
}
