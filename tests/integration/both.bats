#!/usr/bin/env bats
# --etcd-api v2,v3: both of etcd's APIs are written, on a real dockerd and etcd, with the real confd; and the migration
# from v2 to v3 that it is for, as docs/operations.md tells it.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent
load ../lib/lb

setup_file() {
    export BATS_TEST_TIMEOUT=180
    lab_up
    lab_host h1 192.0.2.11
    lab_host etcd 192.0.2.2
    lab_host lb 192.0.2.3
    lab_dockerd h1
    lab_image h1 app:1 app3:1
    lab_etcd e1 etcd 3.4
}

setup() {
    lab_attach
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || tail -n 40 "$LAB/h1/agent.log"
    lab_agent_kill9 h1
    clear_containers h1
    clear_keys
    etcd_curl '/v2/keys/app?recursive=true' -X DELETE >/dev/null
    watch_stop "$LAB/v2"
    watch_stop "$LAB/v3"
}

teardown_file() {
    lab_down
}

# api WORD: the agent's setting; and reload, for one that runs.
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
# From the file, for reload to have something to change.
agent_both() {
    api "$1"
    agent h1 --config "$LAB/h1/conf" --node h1 "${@:2}"
}
both_are() {
    keys_are h1 && keys2_are h1
}
keys_are_in() {
    ETCD=$1 keys_are h1
}
none2() {
    [[ -z $(keys2) ]]
}
none3() {
    [[ -z $(keys3) ]]
}
gone2() {
    [[ $(keys2) != *"/app/servers/$1 "* ]]
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

@test "both: each key stands in both APIs, and follows Docker in both" {
    agent_both v2,v3
    lab_docker h1 run -d -P --name web app:1
    lab_docker h1 run -d -P --name several app3:1
    wait_for 10 both_are
    [ "$(keys2 | wc -l)" -eq 3 ]
    lab_docker h1 rename web shop
    wait_for 5 both_are
    lab_docker h1 rm -f several
    wait_for 5 both_are
    status_is h1 '.etcd.state == "online" and .etcd.keys == 1 and .etcd.idle and .etcd.why == ""
        and (.etcd.store | test("^etcd v3 .*; etcd v2 ")) and .containers[0].state == "registered"'
    said h1 'Registered: /app/servers/shop = ' 2
    grep -F 'Registered: /app/servers/shop = ' "$LAB/h1/agent.log" | grep -F ' (v2)'
    grep -F 'Registered: /app/servers/shop = ' "$LAB/h1/agent.log" | grep -F ' (v3)'
    run lab_registrator h1 explain shop
    [[ $output == "shop ("*"registered"* ]]
    # v3,v2 is the same.
    agent_both v3,v2
    wait_for 10 status_is h1 '.etcd.store | test("^etcd v3 .*; etcd v2 ")'
}

@test "both: stop and drain wait until both are rid of the keys" {
    agent_both v2,v3
    lab_docker h1 run -d -P --name web1 app:1
    lab_docker h1 run -d -P --name web2 app:1
    wait_for 10 both_are
    lab_registrator h1 stop --drain 0 web1
    [[ $(keys2) != *web1* && $(keys3) != *web1* ]]
    both_are
    lab_registrator h1 drain
    none2
    none3
    lab_registrator h1 undrain
    wait_for 5 both_are
}

@test "both: what cannot be withdrawn from one of them is not stopped" {
    agent_both v2,v3
    lab_docker h1 run -d -P --name web app:1
    wait_for 10 both_are
    # No word of the deletion reaches etcd's v2 API.
    lab_in etcd iptables -A INPUT -p tcp -m string --algo bm --string 'DELETE /v2/' -j DROP
    run lab_registrator h1 stop --drain 0 web
    lab_in etcd iptables -F INPUT
    echo "$output"
    [ "$status" -eq 2 ]
    [[ $output == *"the key of web is still in etcd"* ]]
    [[ $(keys3) != *web* && $(keys2) == *web* ]]
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' web)" = true ]
    lab_registrator h1 stop --drain 0 web
    none2
}

@test "both: what is held by another in one API is registered in the other, and status says in which" {
    put2 /app/servers/web 203.0.113.9:1
    agent_both v2,v3
    lab_docker h1 run -d -P --name web app:1
    wait_for 10 keys_are h1
    wait_for 5 status_is h1 '.containers[0] | .state == "conflict"
        and (.records[0] | .api == "v2" and .holder == "203.0.113.9:1")'
    run lab_registrator h1 explain web
    [[ $output == *"/app/servers/web is held with value 203.0.113.9:1 in etcd v2"* ]]
    grep -F "Key /app/servers/web is somebody else's" "$LAB/h1/agent.log" | grep -F ' (v2)'
    # Its own it withdraws, the other's it does not.
    lab_registrator h1 stop --drain 0 web
    [ "$(keys2)" = "/app/servers/web 203.0.113.9:1" ]
    [ -z "$(keys3)" ]
}

@test "both: ready when one is published and the other cannot be; status says why" {
    local notify=$LAB/h1/notify
    lab_etcd v3only lb 3.4 --enable-v2=false
    lab_notify h1
    api v2,v3
    lab_docker h1 run -d -P --name web app:1
    ETCD=v3only agent h1 --config "$LAB/h1/conf" --node h1
    wait_for 10 grep READY=1 "$notify"
    wait_for 5 keys_are_in v3only
    wait_for 5 grep -E 'STATUS=etcd is away: .*--enable-v2.* \(v2\)' "$notify"
    status_is h1 '.etcd.state != "online" and (.etcd.why | test("does not serve the v2 API.*\\(v2\\)$"))
        and (.containers[0] | .state == "pending" and .records[0].api == "v2" and (.records[0].remedy | test("enable-v2")))'
    # It says so once.
    said h1 'does not serve the v2 API' 1
    lab_agent_stop h1
    lab_etcd_stop v3only
    lab_stop notify-h1
    rm -f "$LAB/h1/notify.sock"
}

@test "both: a lost lease is written again; a killed agent's return and the heartbeats touch neither" {
    local lease
    agent_both v2,v3 --ttl 6 --heartbeat 2
    lab_docker h1 run -d -P --name web app:1
    wait_for 10 both_are
    watch2_start "$LAB/v2"
    watch3_start "$LAB/v3"
    lab_agent_kill9 h1
    agent_both v2,v3 --ttl 6 --heartbeat 2
    wait_for 10 status_is h1 '.etcd.idle and .etcd.keys == 1 and .containers[0].state == "registered"'
    heartbeats 2
    both_are
    no_event "$LAB/v2" web
    no_event "$LAB/v3" web
    read -r _ _ lease <<<"$(meta3 /app/servers/web)"
    revoke3 "$lease"
    wait_for 10 said h1 'time to live of 6 s ended in etcd'
    wait_for 10 both_are
    no_event "$LAB/v2" web
}

@test "both: a dry run says of each API what it would do" {
    lab_docker h1 run -d -P --name web app:1
    agent_both v2
    wait_for 10 keys2_are h1
    run lab_in h1 "$REGISTRATOR" --dry-run --etcd-api v2,v3 --docker "unix://$LAB/h1/docker.sock" \
        --etcd "$(lab_etcd_urls)" --log-level error
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(sort <<<"$output")" = "$(printf '%s\n' "keep /app/servers/web $(mapped h1 web) (v2)" \
        "put /app/servers/web $(mapped h1 web) (v3)")" ]
    [ -z "$(keys3)" ]
}

@test "both: from v2 to v3 without a moment in which a confd of either kind finds nothing" {
    agent_both v2 --ttl 5
    lab_docker h1 run -d -P --name web1 app:1
    lab_docker h1 run -d -P --name web2 app:1
    wait_for 10 keys2_are h1
    LB_API=v2 lb_setup lb haproxy
    LB_API=v2 lb_render lb
    lb_servers_are lb web1 web2
    watch2_start "$LAB/v2"
    watch3_start "$LAB/v3"

    # The agents write both: the v2 keys are not touched.
    reload v2,v3
    wait_for 5 both_are
    no_event "$LAB/v2" web
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

    # The agents write v3 alone: of v3 nothing is touched, the v2 keys go with their TTL, and the log says so.
    reload v3
    said h1 "No longer written: etcd v2"
    said h1 "; the 3 keys there go when their time to live of 5 s has passed"
    [ "$(keys2 | wc -l)" -eq 3 ]
    wait_for 15 none2
    keys_are h1
    no_delete "$LAB/v3"
    lb_servers_are lb web1 web2 web3
    lab_docker h1 rm -f web2
    wait_for 5 lb_servers_are lb web1 web3
    lb_confd_stop lb
    status_is h1 '.etcd.store | test("^etcd v3 [^;]*$")'
}

@test "both: an operator who went on too early goes back, and nobody sees it" {
    agent_both v2,v3 --ttl 10
    lab_docker h1 run -d -P --name web app:1
    wait_for 10 both_are
    watch2_start "$LAB/v2"
    watch3_start "$LAB/v3"
    reload v3
    reload v2,v3
    wait_for 5 status_is h1 '.etcd.idle and .etcd.keys == 1 and .containers[0].state == "registered" and .etcd.why == ""'
    # Refreshed again: it is there when what it had left is over.
    wait_for 20 is_fresh2 web
    no_event "$LAB/v2" web
    no_event "$LAB/v3" web
    # To v2 alone, and what Docker does meanwhile.
    reload v2
    said h1 "No longer written: etcd v3"
    lab_docker h1 rm -f web
    wait_for 5 gone2 web
    lab_docker h1 run -d -P --name other app:1
    wait_for 5 keys2_are h1
    wait_for 25 none3
}
