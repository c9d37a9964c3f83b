#!/usr/bin/env bats
# Two agents on one host, each with its own control socket: one writes etcd's v2 API, the other etcd's v3 API. On a real
# dockerd and etcd, with the real confd; and the migration from v2 to v3, as docs/operations.md describes it.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent
load ../lib/lb

setup_file() {
    export BATS_TEST_TIMEOUT=240
    lab_up
    lab_host h1 192.0.2.11
    lab_host etcd 192.0.2.2
    lab_host lb 192.0.2.3
    lab_dockerd h1
    lab_image h1 app:1 app3:1 app:ignoreterm
    lab_etcd e1 etcd 3.4
}

setup() {
    lab_attach
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || tail -n 40 "$LAB/h1/agent.log" "$LAB/h1/agent-v3.log"
    lab_agent_kill9 h1
    v3 lab_agent_kill9 h1
    clear_containers h1
    clear_keys
    etcd_curl '/v2/keys/app?recursive=true' -X DELETE >/dev/null
    watch_stop "$LAB/v2"
    watch_stop "$LAB/v3"
}

teardown_file() {
    lab_down
}

# v3 COMMAND...: of the agent that writes the v3 API.
v3() {
    LAB_AGENT=-v3 "$@"
}
# api WORD: the setting of the first agent, which writes the v2 API at first; and reload, while it runs.
api() {
    printf '[etcd]\napi = %s\n' "$1" >"$LAB/h1/conf"
}
reload() {
    local n
    n=$(grep -c 'Settings read again' "$LAB/h1/agent.log" || true)
    api "$1"
    lab_signal agent-h1 HUP
    wait_for 5 said h1 'Settings read again' $((n + 1))
}
agent_v2() {
    api v2
    agent h1 --config "$LAB/h1/conf" --node h1 "$@"
}
agent_v3() {
    v3 lab_agent h1 --node h1 --etcd-api v3 "$@"
}
both_are() {
    keys_are h1 && keys2_are h1
}
none2() {
    [[ -z $(keys2) ]]
}
none3() {
    [[ -z $(keys3) ]]
}
# is_fresh2 NAME: its TTL of 10 s was renewed just now.
is_fresh2() {
    (($(etcd2 GET "/app/servers/$1" | jq .node.ttl) > 8))
}
# no_delete FILE: the recorder has seen none. no_event FILE KEY: nothing of the key since it began.
no_delete() {
    ! watch_events "$1" | grep DELETE
}
no_event() {
    ! watch_events "$1" | grep -F "/app/servers/$2"
}

@test "two agents: each API has all keys, which follow Docker" {
    agent_v2
    agent_v3
    lab_docker h1 run -d -P --name web app:1
    lab_docker h1 run -d -P --name several app3:1
    wait_for 10 both_are
    [ "$(keys2 | wc -l)" -eq 3 ]
    lab_docker h1 rename web shop
    wait_for 5 both_are
    lab_docker h1 rm -f several
    wait_for 5 both_are
    status_is h1 '.etcd.state == "online" and .etcd.keys == 1 and .etcd.idle and .etcd.why == ""
        and (.etcd.store | test("^etcd v2 ")) and .containers[0].state == "registered"'
    v3 status_is h1 '.etcd.keys == 1 and (.etcd.store | test("^etcd v3 ")) and .containers[0].state == "registered"'
    # The stop signal deregisters the container in both.
    lab_registrator h1 stop --drain 0 shop
    wait_for 5 none2
    wait_for 5 none3
}

@test "v2: a second layout has its directory and keys; it and a restart cause no event for other keys" {
    layout() {
        printf '[etcd]\napi = v2\n[layout %s]\nkey = /app/%s/{name}\nvalue = {service}\n' "$1" "$1" >"$LAB/h1/conf"
    }
    keys2_become() {
        wait_for 10 eval "[[ \$(keys2) == '$1' ]]"
    }
    local value
    layout dns
    agent h1 --config "$LAB/h1/conf" --node h1
    # confd finds the directory before there is a key.
    wait_for 10 etcd2 GET /app/dns
    lab_docker h1 run -d -P --name web app:1
    value=$(mapped h1 web)
    keys2_become "/app/dns/web servers"$'\n'"/app/servers/web $value"
    watch2_start "$LAB/v2"
    lab_agent_kill9 h1
    agent h1 --config "$LAB/h1/conf" --node h1
    wait_for 10 lab_registrator h1 status --etcd
    layout web
    lab_signal agent-h1 HUP
    keys2_become "/app/servers/web $value"$'\n'"/app/web/web servers"
    diff <(watch_events "$LAB/v2" | grep -v ^MKDIR | sort) - <<EVENTS
DELETE /app/dns/web
PUT /app/web/web servers
EVENTS
}

@test "two agents: each remembers its own drains, and both remember a stop in progress" {
    local id
    agent_v2
    agent_v3
    lab_docker h1 run -d -P --name web1 app:1
    lab_docker h1 run -d -P --name web2 app:1
    id=$(lab_docker h1 run -d -P --name stubborn app:ignoreterm)
    wait_for 10 both_are
    lab_registrator h1 drain web1
    v3 lab_registrator h1 drain web2
    lab_docker h1 stop -t 120 stubborn >/dev/null 3>&- &
    remembered() {
        grep -q "^stopping $id" "$LAB/h1/control.sock.state" && grep -q "^stopping $id" "$LAB/h1/control-v3.sock.state"
    }
    wait_for 5 remembered
    lab_agent_kill9 h1
    v3 lab_agent_kill9 h1
    agent_v2
    agent_v3
    wait_for 10 status_is h1 '[.containers[].state] == ["unregistered", "unregistered", "registered"] and .etcd.idle'
    v3 wait_for 10 status_is h1 '[.containers[].state] == ["unregistered", "registered", "unregistered"] and .etcd.idle'
    [ "$(keys2)" = "/app/servers/web2 $(mapped h1 web2)" ]
    [ "$(keys3)" = "/app/servers/web1 $(mapped h1 web1)" ]
    lab_docker h1 rm -f stubborn
    lab_registrator h1 undrain web1
    v3 lab_registrator h1 undrain web2
    wait_for 5 both_are
}

@test "stop does not stop a container that cannot be deregistered" {
    local v2
    agent_v2
    lab_docker h1 run -d -P --name web app:1
    wait_for 10 keys2_are h1
    # No word of the deletion reaches etcd's v2 API.
    lab_in etcd iptables -A INPUT -p tcp -m string --algo bm --string 'DELETE /v2/' -j DROP
    run lab_registrator h1 stop --drain 0 web
    # Once the way is free, the agent deletes the key at once.
    v2=$(keys2)
    lab_in etcd iptables -F INPUT
    echo "$output"
    [ "$status" -eq 2 ]
    [[ $output == *"the key of web is still in etcd"* ]]
    [[ $v2 == *web* ]]
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' web)" = true ]
    lab_registrator h1 stop --drain 0 web
    none2
}

@test "two agents: during a migration from v2 to v3, each confd finds the keys at all times" {
    agent_v2 --ttl 5
    lab_docker h1 run -d -P --name web1 app:1
    lab_docker h1 run -d -P --name web2 app:1
    wait_for 10 keys2_are h1
    LB_API=v2 lb_setup lb haproxy
    LB_API=v2 lb_render lb
    lb_servers_are lb web1 web2
    watch2_start "$LAB/v2"
    watch3_start "$LAB/v3"

    # A second agent writes v3: the v2 keys are not touched.
    agent_v3 --ttl 5
    wait_for 10 both_are
    # What happens meanwhile is seen by confds of both kinds.
    lab_docker h1 run -d -P --name web3 app:1
    wait_for 5 both_are
    LB_API=v2 lb_render lb
    lb_servers_are lb web1 web2 web3
    # The load balancer goes over.
    LB_API=v3 lb_render lb
    lb_servers_are lb web1 web2 web3
    [ ! -s "$LAB/lb/reloads" ]
    LB_API=v3 lb_confd lb -watch
    no_event "$LAB/v2" web1

    # The first agent goes over to v3, and the second one ends: no v3 key is touched. The v2 keys expire.
    reload v3
    said h1 "No longer written: etcd v2"
    said h1 "; the keys there expire when their TTL of 5 s ends"
    [ "$(keys2 | wc -l)" -eq 3 ]
    wait_for 10 status_is h1 '.etcd.idle and .etcd.keys == 3'
    v3 lab_agent_stop h1
    wait_for 15 none2
    keys_are h1
    no_delete "$LAB/v3"
    [ "$(watch_events "$LAB/v3" | wc -l)" -eq 3 ]
    lb_servers_are lb web1 web2 web3
    lab_docker h1 rm -f web2
    wait_for 5 lb_servers_are lb web1 web3
    lb_confd_stop lb
    status_is h1 '.etcd.store | test("^etcd v3 ")'
}

@test "two agents: an operator can undo a migration that began too early without an effect on consumers" {
    agent_v2 --ttl 10
    agent_v3 --ttl 10
    lab_docker h1 run -d -P --name web app:1
    wait_for 10 both_are
    watch2_start "$LAB/v2"
    watch3_start "$LAB/v3"
    reload v3
    reload v2
    wait_for 5 status_is h1 '.etcd.idle and .etcd.keys == 1 and .containers[0].state == "registered" and .etcd.why == ""'
    # Refreshed again: it is there when what it had left is over.
    wait_for 20 is_fresh2 web
    no_event "$LAB/v2" web
    no_event "$LAB/v3" web
    said h1 "No longer written: etcd v3"
}
