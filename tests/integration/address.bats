#!/usr/bin/env bats
# The address that a host advertises: found out, told, and followed when it changes.

bats_require_minimum_version 1.8.0
load ../lib/one_host

setup_file() {
    export BATS_TEST_TIMEOUT=240
    one_host_up app:1
    # A second uplink, to another network of the same switch; etcd is in both.
    ip -n "$LAB_ID-switch" link add name h1b type veth peer name eth1 netns "$LAB_ID-h1"
    ip -n "$LAB_ID-switch" link set dev h1b master br0 up
    on_h1 link set dev eth1 up
    on_h1 address add 198.51.100.11/24 dev eth1
    ip -n "$LAB_ID-etcd" address add 198.51.100.2/24 dev eth0
}

teardown_file() {
    lab_down
}

setup() {
    lab_attach
    watch3_start "$LAB/events"
}

teardown() {
    watch_stop "$LAB/events"
    lab_etcd_stop local KILL
    rm -rf "$LAB/etcd/local"
    on_h1 address flush dev eth0
    on_h1 address flush dev eth1
    on_h1 address add 192.0.2.11/24 dev eth0
    on_h1 address add 198.51.100.11/24 dev eth1
    on_h1 route replace default via 192.0.2.1
    one_host_clear
}

on_h1() {
    ip -n "$LAB_ID-h1" "$@"
}

# said TEXT: in the agent's log.
said() {
    grep -F -e "$1" "$LAB/h1/agent.log"
}

# local_etcd: an etcd on the agent's own host, at all of its addresses; ETCD=local names it.
local_etcd() {
    lab_etcd local h1 3.4
}

# ------------------------------------------------------------------------------ finding it

@test "of several uplinks, the agent chooses the one towards etcd, and logs the choice" {
    start web -p 8001:80
    agent
    keys_become "/app/servers/web 192.0.2.11:8001"
    said 'Advertising 192.0.2.11 (source address of the route to 192.0.2.2)'
    agent_again --etcd http://198.51.100.2:2379
    keys_become "/app/servers/web 198.51.100.11:8001"
    said 'Advertising 198.51.100.11 (source address of the route to 198.51.100.2)'
}

@test "with etcd on the same host, the default route decides" {
    local_etcd
    start web -p 8001:80
    agent --etcd http://127.0.0.1:2379
    ETCD=local keys_become "/app/servers/web 192.0.2.11:8001"
    said 'Advertising 192.0.2.11 (source address of the default route, eth0)'
    on_h1 route replace default via 198.51.100.1
    agent_again --etcd http://127.0.0.1:2379
    ETCD=local keys_become "/app/servers/web 198.51.100.11:8001"
    said 'Advertising 198.51.100.11 (source address of the default route, eth1)'
}

@test "the agent never chooses an address of Docker's bridges, even if the route to etcd uses one" {
    local_etcd
    lab_docker h1 network create --subnet 172.30.0.0/16 own >/dev/null
    start web -p 8001:80 --network own
    start other -p 8002:80
    local gateway
    for gateway in 172.17.0.1 172.30.0.1; do
        agent_again --etcd "http://$gateway:2379"
        ETCD=local keys_become "/app/servers/other 192.0.2.11:8002" "/app/servers/web 192.0.2.11:8001"
        said 'source address of the default route, eth0'
    done
    # Not even when there is nothing else.
    on_h1 route delete default
    agent_again --etcd http://172.17.0.1:2379
    why_becomes no-address web 80/tcp
    said 'Found no address to advertise'
    ETCD=local keys_are_not_of_docker
}
keys_are_not_of_docker() {
    ! all_keys | grep -E ' (172\.|127\.)'
}

@test "an interface in the settings decides, also if the route to etcd uses another one" {
    start web -p 8001:80
    agent --advertise eth1
    keys_become "/app/servers/web 198.51.100.11:8001"
    said 'Advertising 198.51.100.11 (interface eth1)'
}

@test "without an address, status reports this, and the agent uses a new one within a heartbeat" {
    start web -p 8001:80
    agent --advertise eth2 --heartbeat 1
    why_becomes no-address web 80/tcp
    said 'Found no address to advertise (eth2)'
    keys_become
    ip -n "$LAB_ID-switch" link add name h1c type veth peer name eth2 netns "$LAB_ID-h1"
    on_h1 link set dev eth2 up
    on_h1 address add 203.0.113.11/24 dev eth2
    wait_for 3 _keys_are_now "/app/servers/web 203.0.113.11:8001"
    on_h1 link delete dev eth2
}

# ----------------------------------------------------------------------------- following it

@test "a changed address reaches the keys within a heartbeat: one PUT for each key, no DELETE" {
    start one -p 8001:80
    start two -p 8002:80
    # Bound to one address: that one, whatever the interface has.
    start fixed -p 192.0.2.11:8003:80
    agent --advertise eth1 --heartbeat 2
    local fixed="/app/servers/fixed 192.0.2.11:8003"
    keys_become "/app/servers/one 198.51.100.11:8001" "/app/servers/two 198.51.100.11:8002" "$fixed"
    watch_sync "$LAB/events"
    cp "$LAB/events" "$LAB/events.before"
    on_h1 address del 198.51.100.11/24 dev eth1
    on_h1 address add 198.51.100.12/24 dev eth1
    wait_for 3 _keys_are_now "/app/servers/one 198.51.100.12:8001" "/app/servers/two 198.51.100.12:8002" "$fixed"
    said 'Advertising 198.51.100.12 (interface eth1)'
    watch_sync "$LAB/events"
    run events_since "$LAB/events.before"
    [ "$output" = $'PUT /app/servers/one 198.51.100.12:8001\nPUT /app/servers/two 198.51.100.12:8002' ]
    # The same keys: not deleted and made anew.
    [ "$(meta3 /app/servers/one | cut -d ' ' -f 1)" != "$(meta3 /app/servers/one | cut -d ' ' -f 2)" ]
}
# events_since FILE: of our keys, sorted.
events_since() {
    watch_events "$LAB/events" | tail -n +$(($(awk 'index($2, "/app/") == 1' "$1" | wc -l) + 1)) | sort
}

@test "an address that is missing for a moment deregisters no container" {
    start web -p 8001:80
    agent --advertise eth1 --heartbeat 1
    keys_become "/app/servers/web 198.51.100.11:8001"
    cp "$LAB/events" "$LAB/events.before"
    on_h1 address flush dev eth1
    sleep 3
    on_h1 address add 198.51.100.11/24 dev eth1
    sleep 2
    watch_sync "$LAB/events"
    [ -z "$(events_since "$LAB/events.before")" ]
    keys_become "/app/servers/web 198.51.100.11:8001"
}

@test "the agent follows a change of the address that it reaches etcd from" {
    start web -p 8001:80
    agent --heartbeat 1
    keys_become "/app/servers/web 192.0.2.11:8001"
    cp "$LAB/events" "$LAB/events.before"
    # As a DHCP client does: what was there is taken away.
    on_h1 address flush dev eth0
    on_h1 address add 192.0.2.31/24 dev eth0
    on_h1 route replace default via 192.0.2.1
    # Its connection is dead without a word: that has to be noticed first.
    wait_for 15 _keys_are_now "/app/servers/web 192.0.2.31:8001"
    watch_sync "$LAB/events"
    [ "$(events_since "$LAB/events.before")" = "PUT /app/servers/web 192.0.2.31:8001" ]
}

@test "a reload with another address in the settings changes the keys" {
    start web -p 8001:80
    printf '[registry]\nadvertise = 192.0.2.50\nttl = 5\n' >"$LAB/registrator.conf"
    lab_agent h1 --config "$LAB/registrator.conf"
    wait_for 10 _keys_are_now "/app/servers/web 192.0.2.50:8001"
    said 'Advertising 192.0.2.50 (as set)'
    sed -i 's/192.0.2.50/192.0.2.51/' "$LAB/registrator.conf"
    cp "$LAB/events" "$LAB/events.before"
    lab_signal agent-h1 HUP
    wait_for 5 _keys_are_now "/app/servers/web 192.0.2.51:8001"
    watch_sync "$LAB/events"
    [ "$(events_since "$LAB/events.before")" = "PUT /app/servers/web 192.0.2.51:8001" ]
}

@test "if the interface is missing at the start, keys of an earlier run stay for the grace period only" {
    start web -p 8001:80
    agent --advertise eth1 --heartbeat 1
    keys_become "/app/servers/web 198.51.100.11:8001"
    cp "$LAB/events" "$LAB/events.before"
    agent_again --advertise eth9 --heartbeat 1 --docker-grace 60
    wait_for 5 said 'Found no address to advertise (eth9)'
    # Longer than its TTL: it is renewed.
    sleep 7
    on_h1 link add eth9 type veth peer name eth9peer
    on_h1 address add 198.51.100.11/24 dev eth9
    on_h1 link set dev eth9 up
    wait_for 5 said 'Advertising 198.51.100.11 (interface eth9)'
    watch_sync "$LAB/events"
    [ -z "$(events_since "$LAB/events.before")" ]
    on_h1 link del eth9
    agent_again --advertise eth9 --heartbeat 1 --docker-grace 2
    wait_for 10 said 'Key /app/servers/web deregistered'
    keys_become
    run "${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}" --advertise eth9 --check-config
    [ "$status" -eq 0 ]
    [[ $output == *"there is no interface eth9 here now"* ]]
}
