#!/usr/bin/env bats
# /metrics, /readyz and what goes with them: read by curl, by promtool and by a real Prometheus.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

TTL_S=5
PAGES=http://127.0.0.1:9100

setup_file() {
    export BATS_TEST_TIMEOUT=240
    lab_up
    lab_host h1 192.0.2.11
    lab_host etcd 192.0.2.2
    lab_dockerd h1 --live-restore
    lab_image h1 app:1
    lab_etcd e1 etcd 3.4
}

teardown_file() {
    lab_down
}

setup() {
    lab_attach
    # shellcheck disable=SC2034     # tell_all's
    EVENTS=/dev/null
}

teardown() {
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all
    lab_stop prometheus KILL
    lab_stop_group clients KILL
    lab_agent_stop h1
    lab_alive etcd-e1 || lab_etcd_start e1
    lab_alive dockerd-h1 || lab_dockerd h1 --live-restore
    clear_containers h1
    clear_keys
}

agent_with_pages() {
    agent h1 --node h1 --ttl "$TTL_S" --heartbeat 1 --listen 127.0.0.1:9100 "$@"
    wait_for 10 ready
}

# page PATH [CURL-OPTIONS...]
page() {
    local path=$1
    shift
    lab_in h1 curl -sS --max-time 5 "$@" "$PAGES$path"
}

ready() {
    [[ $(page /readyz -w ' %{http_code}') == "ok"$'\n'" 200" ]]
}

# not_ready TEXT: and that is why.
not_ready() {
    page /readyz -w ' %{http_code}' | tee /dev/stderr | tr '\n' ' ' | grep -F -- "$1" | grep -q ' 503$'
}

# metric SERIES: its value.
metric() {
    page /metrics | awk -v series="$1" 'index($0, series " ") == 1 { print $NF; n++ } END { exit n != 1 }'
}

# metric_is SERIES VALUE
metric_is() {
    local value
    value=$(metric "$1")
    echo "$1 is $value"
    [[ $value == "$2" ]]
}

metric_reaches() {
    awk -v a="$(metric "$1")" -v b="$2" 'BEGIN { exit !(a >= b) }' </dev/null
}

# metric_names: the families that the agent tells, as samples are called.
metric_names() {
    page /metrics | sed -n 's/^# TYPE \([^ ]*\) .*/\1/p'
}

start_prometheus() {
    rm -rf "$LAB/prometheus"
    cat >"$LAB/prometheus.yml" <<YML
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: registrator
    static_configs:
      - targets: ["127.0.0.1:9100"]
  - job_name: containers
    http_sd_configs:
      - url: http://127.0.0.1:9100/sd
        refresh_interval: 1s
    relabel_configs:
      - source_labels: [__meta_registrator_metrics]
        regex: "true"
        action: keep
YML
    LAB_NETNS=$LAB_ID-h1 lab_spawn prometheus "$LAB/prometheus.log" prometheus --config.file="$LAB/prometheus.yml" \
        --storage.tsdb.path="$LAB/prometheus" --web.listen-address=127.0.0.1:9090
    wait_for "$LAB_PATIENCE" lab_in h1 curl -fsS http://127.0.0.1:9090/-/ready
}

prometheus_get() {
    lab_in h1 curl -sS --max-time 5 -G "http://127.0.0.1:9090/api/v1/$1" "${@:2}"
}

# query_is EXPRESSION VALUE: one series, which has it.
query_is() {
    prometheus_get query --data-urlencode "query=$1" | tee /dev/stderr |
        jq -e --arg value "$2" '.data.result | length == 1 and .[0].value[1] == $value' >/dev/null
}

@test "metrics: promtool reports no error" {
    agent_with_pages
    start h1 lint app:1
    page /metrics >"$LAB/metrics"
    run promtool check metrics <"$LAB/metrics"
    echo "$output"
    [[ $status -eq 0 && -z $output ]]
    [ "$(page /metrics -o /dev/null -w '%{content_type}')" = "text/plain; version=0.0.4; charset=utf-8" ]
    # The control socket has them too.
    lab_in h1 curl -sS --unix-socket "$LAB/h1/control.sock" http://x/metrics | grep -q '^registrator_containers 1$'
}

# targets: what /sd says, a line a target.
targets() {
    page /sd | jq -r '.[] | "\(.targets | join(" ")) \(.labels | to_entries | map("\(.key)=\(.value)") | sort | join(" "))"' | sort
}

targets_are() {
    diff -U 9 - <(targets)
}

@test "/sd: Prometheus scrapes the registered containers at the port and path of their labels" {
    local port web
    agent_with_pages
    start h1 plain app:1
    # The port with the numbers is none of the service's.
    lab_docker h1 run -d -P --name web --expose 81 --label SERVICE_NAME=shop --label SERVICE_81_IGNORE=yes \
        --label SERVICE_METRICS_PORT=81 --label SERVICE_METRICS_PATH=/numbers app:1
    lab_docker h1 run -d --name closed --label SERVICE_METRICS_PORT=80 app:1
    lab_docker h1 exec -d web sh -c 'echo "shop_orders 7" >/www/numbers; httpd -p 81 -h /www'
    wait_for 5 eval 'keys3 | grep "^/app/shop/web "'
    port=$(lab_docker h1 port web 81/tcp | head -n 1)
    web="192.0.2.11:${port##*:} __meta_registrator_metrics=true __metrics_path__=/numbers container=web host=h1 service=shop"
    wait_for 5 targets_are <<EOF
$(sort <<<"$(mapped h1 plain) __meta_registrator_metrics=false container=plain host=h1 service=servers
$web")
EOF
    [ "$(page /sd -o /dev/null -w '%{content_type}')" = application/json ]
    start_prometheus
    wait_for 20 query_is 'shop_orders{service="shop",container="web",host="h1",job="containers"}' 7
    query_is 'count(up{job="containers"})' 1
    # What is not registered is no target.
    lab_registrator h1 drain plain web
    wait_for 5 targets_are </dev/null
}

@test "metrics: Prometheus reads the right numbers" {
    agent_with_pages
    start h1 one app:1
    start h1 two app:1
    lab_docker h1 run -d --name out app:1
    wait_for 5 metric_is registrator_containers 3
    start_prometheus
    wait_for 10 query_is 'up{job="registrator"}' 1
    wait_for 5 query_is registrator_containers 3
    wait_for 5 query_is 'registrator_records{state="registered"}' 2
    wait_for 5 query_is registrator_docker_up 1
    wait_for 5 query_is registrator_etcd_up 1
    wait_for 5 query_is 'registrator_ttl_seconds' "$TTL_S"
    wait_for 5 query_is 'registrator_docker_events_total{action="start"}' 3
    wait_for 5 query_is 'registrator_change_latency_seconds_count{change="register"}' 2
    # The newest event is some milliseconds old when etcd has the key; the clocks are one.
    wait_for 5 query_is 'registrator_change_latency_seconds_bucket{change="register",le="1.0"}' 2
    wait_for 5 query_is 'registrator_heartbeat_age_seconds < bool 3' 1
    wait_for 5 query_is "registrator_lease_left_seconds > bool 1" 1
    wait_for 5 query_is 'registrator_lease_left_seconds <= bool registrator_ttl_seconds' 1
    wait_for 5 query_is 'process_resident_memory_bytes > bool 1e6' 1
    wait_for 5 query_is '(time() - process_start_time_seconds) < bool 120' 1
    wait_for 5 query_is '(time() - process_start_time_seconds) > bool 0' 1
    wait_for 5 query_is "registrator_build_info{version=\"$("${REGISTRATOR:-registrator}" --version | awk 'NR == 1 { print $2 }')\"}" 1
    prometheus_get targets/metadata -d metric=registrator_build_info | jq -e '.data[0].type == "gauge"'
}

@test "metrics: counters count events, and SIGHUP does not reset them" {
    local events puts
    agent_with_pages
    start h1 moves app:1
    metric_is 'registrator_docker_events_total{action="start"}' 1
    metric_is registrator_puts_total 1
    metric_is registrator_deletes_total 0
    metric_is 'registrator_change_latency_seconds_count{change="deregister"}' 0
    lab_docker h1 stop -t 3 moves
    wait_for 5 metric_is registrator_deletes_total 1
    metric_is 'registrator_change_latency_seconds_count{change="deregister"}' 1
    metric_is 'registrator_docker_events_total{action="kill"}' 1
    wait_for 5 metric_is 'registrator_docker_events_total{action="die"}' 1
    metric_is registrator_containers 0
    wait_for 5 metric_reaches 'registrator_etcd_requests_total{operation="heartbeat",outcome="ok"}' 2
    metric_reaches 'registrator_etcd_requests_total{operation="write",outcome="ok"}' 2
    metric_is 'registrator_etcd_requests_total{operation="write",outcome="unreachable"}' 0

    # Somebody else's key.
    put3 /app/servers/theirs 192.0.2.99:1
    lab_docker h1 run -d -P --name theirs app:1
    wait_for 5 metric_is registrator_conflicts_total 1
    metric_is 'registrator_records{state="conflict"}' 1

    # Another TTL is another store.
    events=$(metric 'registrator_docker_events_total{action="start"}')
    puts=$(metric registrator_puts_total)
    lab_agent_stop h1
    printf '[registry]\nttl = 5\nheartbeat = 1\n[agent]\nlisten = 127.0.0.1:9100\n' >"$LAB/h1/conf"
    agent h1 --config "$LAB/h1/conf"
    wait_for 10 ready
    metric_is registrator_puts_total 0
    start h1 before app:1
    puts=$(metric registrator_puts_total)
    events=$(metric 'registrator_docker_events_total{action="start"}')
    [[ $puts -ge 1 && $events -ge 1 ]]
    sed -i -e 's/^ttl.*/ttl = 9/' "$LAB/h1/conf"
    printf '[docker]\nresync = 30\n' >>"$LAB/h1/conf"
    lab_signal agent-h1 HUP
    wait_for 5 said h1 "Settings read again" 1
    wait_for 5 metric_is registrator_ttl_seconds 9
    wait_for 5 ready
    metric_is 'registrator_docker_events_total{action="start"}' "$events"
    metric_reaches registrator_puts_total "$puts"
    metric_reaches registrator_docker_reconnects_total 1

    # Docker away and back.
    lab_dockerd_stop h1
    wait_for 5 metric_is registrator_docker_up 0
    lab_dockerd h1 --live-restore
    wait_for 10 metric_is registrator_docker_up 1
    metric_reaches registrator_docker_reconnects_total 2

    # etcd away and back.
    lab_etcd_stop e1
    wait_for 5 metric_is registrator_etcd_up 0
    metric_reaches registrator_failures_total 1
    wait_for 5 metric_reaches 'registrator_etcd_requests_total{operation="heartbeat",outcome="unreachable"}' 1
    lab_etcd_start e1
    wait_for 10 metric_is registrator_etcd_up 1
}

@test "metrics: a key deleted in etcd counts as drift, and a revoked lease as a lease loss" {
    agent_with_pages --resync 1
    start h1 drifts app:1
    metric_is registrator_drift_total 0
    del3 /app/servers/drifts
    wait_for 10 metric_is registrator_drift_total 1
    wait_for 5 has h1 drifts
    metric_is registrator_lease_losses_total 0
    revoke3 "$(leases3 | awk '$3 == 1 { print $1 }')"
    wait_for 10 metric_is registrator_lease_losses_total 1
    page /metrics | grep -E '^registrator_etcd_requests_total\{operation="(heartbeat|resync|write)",outcome="lease_lost"\} [1-9]'
    wait_for 5 has h1 drifts
}

@test "readyz: ready while events arrive and the heartbeat is younger than the TTL, otherwise a reason" {
    agent_with_pages
    start h1 ready app:1
    [ "$(page /healthz)" = ok ]
    lab_dockerd_stop h1
    wait_for 5 not_ready "Docker is away: "
    [ "$(page /healthz)" = ok ]
    lab_dockerd h1 --live-restore
    wait_for 10 ready
    lab_etcd_stop e1
    # Not yet: within the TTL the keys are there, if etcd is.
    wait_for 5 metric_is registrator_etcd_up 0
    ready
    wait_for $((TTL_S + 3)) not_ready "the last heartbeat is "
    lab_etcd_start e1
    wait_for 10 ready
    [ "$(page /readyz -o /dev/null -w '%{http_code}' -X POST)" = 405 ]
    [ "$(page /metrics -o /dev/null -w '%{http_code}' -X POST)" = 405 ]
}

@test "readyz: with v2 and without keys, the agent is ready without a heartbeat" {
    agent_with_pages --etcd-api v2
    wait_for 5 metric_is registrator_etcd_up 1
    run metric registrator_heartbeat_age_seconds
    [ "$status" -eq 1 ]
    # Longer than the TTL, in which nothing happens that could be waited for.
    sleep $((TTL_S + 1))
    ready
    KEYS=keys2 start h1 refreshed app:1
    wait_for 5 metric_reaches 'registrator_etcd_requests_total{operation="refresh",outcome="ok"}' 2
    metric_reaches registrator_heartbeat_age_seconds 0
    run metric registrator_lease_left_seconds
    [ "$status" -eq 1 ]
    ready
}

# clients N COMMANDS: as many at once, each with a connection as descriptor fd, and its number as i.
clients() {
    cat >"$LAB/clients" <<CLIENTS
hang() {
    echo "\$1"
    while exec {fd}<>/dev/tcp/127.0.0.1/9100; do
        $2
        exec {fd}>&-
    done
}
for i in {1..$1}; do
    hang "\$i" &
done
wait
CLIENTS
    : >"$LAB/clients.log"
    LAB_NETNS=$LAB_ID-h1 lab_spawn clients "$LAB/clients.log" bash "$LAB/clients"
}

# Half of them say nothing, half begin a request and never end it; who is sent away comes back.
@test "hundreds of clients that send no whole request delay no container and no other client" {
    local i
    agent_with_pages
    start h1 before app:1
    # shellcheck disable=SC2016     # the clients'
    clients 300 '((i % 2)) || printf "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: " >&"$fd"
        cat <&"$fd" >/dev/null
        sleep 1'
    wait_for 30 clients_are_there
    for i in 1 2 3; do
        lab_docker h1 run -d -P --name "among-$i" app:1 >/dev/null
        wait_for 3 has h1 "among-$i"
        lab_docker h1 rm -f "among-$i" >/dev/null
        wait_for 3 gone "among-$i"
        ready
    done
    # They were there all the time.
    lab_alive clients
    wait_for 15 metric_reaches 'registrator_change_latency_seconds_bucket{change="register",le="1.0"}' 4
    lab_stop_group clients KILL
}

@test "a client that sends single bytes is disconnected at its deadline" {
    agent_with_pages
    # shellcheck disable=SC2016     # the clients'
    clients 8 'printf "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: " >&"$fd"
        while printf x >&"$fd"; do sleep 0.5; done
        exec sleep 90'
    established() { [[ $(ss_established) -eq $1 ]]; }
    wait_for 10 established 8
    ready
    wait_for 30 established 0
    lab_alive clients
}

clients_are_there() {
    (($(grep -c ^ "$LAB/clients.log") == 300 && $(ss_established) >= 12))
}

# Of the server's side.
ss_established() {
    lab_in h1 ss -Htn state established 'sport = :9100' | wc -l
}

@test "alerts and dashboard are well formed, and use only metrics of the agent" {
    local name n=0 dashboard=$LAB_TOP/etc/grafana/registrator.json
    promtool check rules "$LAB_TOP/etc/prometheus/registrator.rules.yml"
    promtool check config "$LAB_TOP/etc/prometheus/registrator.yml"
    promtool test rules "$LAB_TOP/tests/data/prometheus/rules_test.yml"
    # Each alert is in the test of the rules.
    while read -r name; do
        grep -q "alertname=\"$name\"" "$LAB_TOP/tests/data/prometheus/rules_test.yml"
    done < <(sed -n 's/.*alert: //p' "$LAB_TOP/etc/prometheus/registrator.rules.yml")
    jq -e '.panels | length > 5 and all(.targets | length > 0)' "$dashboard"
    [ "$(jq '[.panels[].id] | length - (unique | length)' "$dashboard")" -eq 0 ]

    agent_with_pages
    start h1 used app:1
    metric_names >"$LAB/names"
    while read -r name; do
        echo "$name"
        grep -qxF -e "$name" -e "${name%_bucket}" "$LAB/names"
        n=$((n + 1))
    done < <({ jq -r '.panels[].targets[].expr' "$dashboard"; sed -n 's/ *expr: //p' "$LAB_TOP/etc/prometheus/registrator.rules.yml"; } |
        grep -oE '\b(registrator|process)_[a-z_]+' | sort -u)
    [ "$n" -gt 15 ]
}

@test "registrator(8) lists exactly the metrics of the agent" {
    agent_with_pages
    start h1 listed app:1
    mandoc -T ascii -O width=1000 "$LAB_TOP/man/registrator.8" | col -bx >"$LAB/page"
    diff <(metric_names | sort) \
        <(sed -n '/^METRICS/,/^ENVIRONMENT/s/^     \([a-z]*_[a-z_, ]*\).*/\1/p' "$LAB/page" | tr -s ', ' '\n' | grep . | sort)
    # And each of their labels' names.
    diff <(page /metrics | sed -n 's/^\([a-z_]*\){\(.*\)} .*/\2/p' | grep -oE '[a-z]+=' | tr -d = | grep -vx le | sort -u) \
        <(sed -n '/^METRICS/,/^ENVIRONMENT/s/^     [a-z_]*{\(.*\)}$/\1/p' "$LAB/page" | tr -s ', ' '\n' | grep . | sort -u)
}
