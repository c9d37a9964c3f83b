#!/usr/bin/env bats
# The whole set-up: Docker hosts with agents, etcd, and a load balancer's host with the real confd and
# HAProxy and the files of etc/confd. pairs.bats has each pair with each confd.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/lb

TTL=5
AGENT=${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}

setup_file() {
    export BATS_TEST_TIMEOUT=240
}

teardown() {
    if [[ -z $BATS_TEST_COMPLETED && -d ${LAB:-} ]]; then
        tail -n 30 "$LAB"/h?/agent.log "$LAB"/lb/{confd,haproxy}.log 2>/dev/null
        true
    fi
    lab_down
}

# pipeline PAIR CONFD-ARGUMENTS...: etcd, two Docker hosts with agents, and the load balancer.
pipeline() {
    local pair=$1 host
    shift
    lab_up
    lab_host etcd 192.0.2.2
    lab_host lb 192.0.2.3
    lab_etcd etcd etcd 3.4
    for host in h1 h2; do
        lab_host "$host" "192.0.2.1${host#h}"
        lab_dockerd "$host"
        lab_image "$host" app:1
        agent "$host"
    done
    [[ $LB_API == v3 ]] || wait_for 5 etcd2 GET /app/servers
    lb_setup lb "$pair"
    lb_haproxy lb
    lb_confd lb "$@"
}

agent() {
    lab_agent "$1" --node "$1" --etcd-api "$LB_API" --ttl "$TTL" "${@:2}"
}

# load_start: a new connection per request, without pause; load_stop ends it, load_failures prints what
# failed and fails if anything did.
load_start() {
    lab_host client 192.0.2.4
    : >"$LAB/load"
    # shellcheck disable=SC2016     # for the inner shell
    LAB_NETNS=$LAB_ID-client lab_spawn load "$LAB/load" bash -c '
        while :; do
            curl -sS -m 5 --fail http://192.0.2.3/ 2>&1 || echo "FAILED $EPOCHREALTIME"
        done'
    wait_for 5 test -s "$LAB/load"
}
load_stop() {
    lab_stop_group load
}
load_failures() {
    ! grep -v -x -E 'web[0-9]+|hello' "$LAB/load"
}
load_count() {
    wc -l <"$LAB/load"
}

@test "the original set-up's unchanged template works as before" {
    pipeline haproxy -watch
    lb_confd_stop lb
    printf '%s\n' 'defaults' '  mode http' '  timeout connect 1s' '  timeout client 9s' '  timeout server 9s' \
        'listen frontend' '  bind :80' '  stats uri /admin-status' \
        '{{range gets "/app/servers/*"}}  server {{base .Key}} {{.Value}} check inter 5000 fall 1 rise 2' \
        '{{end}}' >"$LAB/lb/confd/templates/haproxy.tmpl"
    lb_run h1 web1
    lb_run h2 web2
    lb_confd lb -watch
    wait_for 5 lb_all_answer lb web1 web2
}

@test "the page /admin-status lists the containers in a browser, and refuses other hosts" {
    pipeline haproxy -watch
    lb_run h1 web1
    lb_run h2 web2
    wait_for 5 lb_servers_are lb web1 web2
    up() { lab_in lb curl -sS 'http://127.0.0.1/admin-status;csv' | grep -q "^servers,$1:.*,UP,"; }
    wait_for 5 up web1
    wait_for 5 up web2
    [ "$(lb_get lb /admin-status -o /dev/null -w '%{http_code}' --no-fail)" = 403 ]

    local browser
    browser=$(command -v chromium-headless-shell || command -v chromium) || skip "there is no Chromium"
    HOME=$LAB lab_in lb timeout 60 "$browser" --headless --no-sandbox --disable-gpu \
        --user-data-dir="$LAB/browser" --dump-dom http://127.0.0.1/admin-status >"$LAB/page" 2>"$LAB/browser.log"
    # What of the page is seen: no tags, no scripts.
    sed -e 's/<[^>]*>/\n/g' "$LAB/page" >"$LAB/text"
    grep -x "web1:$(lb_servers lb | sed -n 's/^web1 //p')" "$LAB/text"
    grep -x "web2:$(lb_servers lb | sed -n 's/^web2 //p')" "$LAB/text"
    grep -i 'statistics report' "$LAB/text"
    HOME=$LAB lab_in lb timeout 60 "$browser" --headless --no-sandbox --disable-gpu --window-size=1400,900 \
        --user-data-dir="$LAB/browser" --screenshot="$LAB/page.png" http://127.0.0.1/admin-status
    [[ $(head -c 8 "$LAB/page.png" | od -An -tx1) == ' 89 50 4e 47 0d 0a 1a 0a' ]]
}

@test "a host dies: its servers are removed when its keys have expired, and the others answer all the time" {
    pipeline haproxy -watch
    lb_run h1 web1
    lb_run h1 web3
    lb_run h2 web2
    lb_run h2 web4
    wait_for 5 lb_servers_are lb web1 web2 web3 web4
    wait_for 5 lb_all_answer lb web1 web2 web3 web4
    load_start
    lab_host_kill h1
    # How long a lease outlives its host is a test of its own: here confd and a reload take their time, too.
    wait_for $((TTL + 15)) lb_servers_are lb web2 web4
    wait_for 15 lb_all_answer lb web2 web4
    load_stop
    # HAProxy's retries and checks bridge the time until then; but the request that was being answered when
    # the power failed is lost.
    (($(load_failures | grep -c FAILED) <= 1))
    lab_host_boot h1
    lab_dockerd h1
    agent h1
    lab_docker h1 start web1
    wait_for 15 lb_all_answer lb web1 web2 web4
}

@test "two containers with the same name on two hosts: the first is registered, the second when the first ends" {
    pipeline haproxy -watch
    lb_run h1 web
    wait_for 5 lb_servers_are lb web
    local first
    first=$(lb_servers lb)
    lab_docker h2 run -d -P --name web app:1
    lab_docker h2 exec web sh -c 'echo second >/www/index.html'
    lb_run h2 web2
    wait_for 5 lb_servers_are lb web web2
    [[ $(lb_servers lb) == *"$first"* ]]
    wait_for 5 lb_all_answer lb web web2
    lab_registrator h2 explain web | grep -q "another owner, with value ${first#* }"
    # The loser's end takes nothing from the winner.
    lab_docker h2 restart -t 1 web
    sleep 1
    [[ $(lb_servers lb) == *"$first"* ]]
    lab_docker h1 stop web
    wait_for $((TTL + 15)) lb_all_answer lb second web2
}

@test "restarts of confd and HAProxy lose no server" {
    pipeline haproxy -watch
    lb_run h1 web1
    wait_for 5 lb_all_answer lb web1
    lb_confd_stop lb KILL
    lb_run h2 web2
    sleep 1
    lb_confd lb -watch
    wait_for 5 lb_all_answer lb web1 web2
    lb_haproxy_stop lb KILL
    lab_docker h1 stop web1
    wait_for 5 lb_servers_are lb web2
    lb_haproxy lb
    wait_for 5 lb_all_answer lb web2
    lb_run h1 web3
    wait_for 5 lb_all_answer lb web2 web3
}

@test "an upgrade of the agents under load fails no request and causes no reload of HAProxy" {
    pipeline haproxy -watch
    lb_run h1 web1
    lb_run h2 web2
    wait_for 5 lb_all_answer lb web1 web2
    local reloads signal new=$LAB/registrator-new
    reloads=$(lb_reloads lb)
    # shellcheck disable=SC2119
    watch3_start "$LAB/watch"
    load_start
    cp "$AGENT" "$new"
    for signal in TERM KILL; do
        for host in h1 h2; do
            lab_agent_stop "$host" "$signal"
            REGISTRATOR=$new agent "$host"
            sleep 1
        done
    done
    # Long enough for a key to expire that nobody renews.
    sleep $((TTL + 2))
    load_stop
    load_failures
    (($(load_count) > 100))
    [ "$(lb_reloads lb)" -eq "$reloads" ]
    [ -z "$(watch_events "$LAB/watch")" ]
    # And it is the new one that works.
    lb_run h1 web3
    wait_for 5 lb_all_answer lb web1 web2 web3
}

# Starts two containers, the second while confd still reloads after the first.
two_in_one_reload() {
    : >"$LAB/lb/hold"
    lab_docker h1 run -d -P --name web1 app:1
    wait_for 10 lb_servers_are lb web1
    lab_docker h2 run -d -P --name web2 app:1
    wait_for 10 keys2_are h1 h2
    rm "$LAB/lb/hold"
}

@test "confd on v2 misses a write during its reload, and a write to a sibling key wakes confd" {
    LB_API=v2
    pipeline haproxy -watch
    two_in_one_reload
    # For ever, but that cannot be waited for.
    sleep 4
    lb_servers_are lb web1
    etcd2 PUT /app/servers.nudge -d value=1 -d ttl=1
    wait_for 10 lb_servers_are lb web1 web2
}

@test "the expiry of a sibling key wakes confd on v2 too" {
    LB_API=v2
    pipeline haproxy -watch
    two_in_one_reload
    etcd2 PUT /app/servers.nudge -d value=1 -d ttl=2
    wait_for 10 lb_servers_are lb web1 web2
    # In between, the nudge itself was rendered as nothing.
    [[ $(<"$LAB/lb/haproxy.cfg") != *nudge* ]]
}

@test "with --etcd-nudge the agent wakes confd on v2, and confd sees every write" {
    "$AGENT" --help | grep -q -e --etcd-nudge || skip "this agent has no --etcd-nudge"
    LB_API=v2
    pipeline haproxy -watch
    lab_agent_stop h2
    agent h2 --etcd-nudge
    # As slow as a reload of many thousand lines is. The agent wakes confd for a few seconds after a change.
    echo 'sleep 1.5' >>"$LAB/lb/reload"
    lab_docker h1 run -d -P --name web1 app:1
    wait_for 10 lb_servers_are lb web1
    lab_docker h2 run -d -P --name web2 app:1
    wait_for 10 keys2_are h1 h2
    wait_for 10 lb_servers_are lb web1 web2
    # The nudge is no server, has an end, and comes only after a change.
    [[ $(<"$LAB/lb/haproxy.cfg") != *nudge* ]]
    # shellcheck disable=SC2317
    gone() { [[ $(keys2 /app) != *nudge* ]]; }
    wait_for 10 gone
    # shellcheck disable=SC2119
    watch2_start "$LAB/watch"
    sleep 3
    run grep -c '^PUT /app/' "$LAB/watch"
    [ "$output" = 0 ]
}
