#!/usr/bin/env bats
# The dashboard and the alerts before a real Prometheus with the scrape jobs of etc/prometheus, which reads two agents. Grafana
# itself is not here: what each panel asks is asked of Prometheus, and drawn by tests/lib/draw_dashboard. PICTURES=DIRECTORY
# takes two minutes longer, and leaves the picture of docs/monitoring.md there.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

DASHBOARD=$LAB_TOP/etc/grafana/registrator.json
RULES=$LAB_TOP/etc/prometheus/registrator.rules.yml

setup_file() {
    export BATS_TEST_TIMEOUT=420
    [[ -z ${PICTURES:-} ]] || BATS_TEST_TIMEOUT=1500
}

setup() {
    local host
    lab_up
    # The addresses of etc/prometheus/registrator.yml.
    lab_host h1 192.0.2.11
    lab_host h2 192.0.2.12
    lab_host etcd 192.0.2.2
    lab_host monitor 192.0.2.3
    lab_etcd e1 etcd 3.4
    for host in h1 h2; do
        lab_dockerd "$host" --live-restore
        lab_image "$host" app:1
        agent "$host" --node "$host" --ttl 5 --listen "$(lab_address "$host"):9100"
    done
}

teardown() {
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all
    lab_down
}

start_prometheus() {
    local dir=$LAB/prometheus
    mkdir -p "$dir"
    cp "$LAB_TOP"/etc/prometheus/*.yml "$dir/"
    { printf 'global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n'; cat "$LAB_TOP/etc/prometheus/registrator.yml"; } \
        >"$dir/prometheus.yml"
    promtool check config "$dir/prometheus.yml"
    LAB_NETNS=$LAB_ID-monitor lab_spawn prometheus "$LAB/prometheus.log" prometheus --config.file="$dir/prometheus.yml" \
        --storage.tsdb.path="$dir/data" --web.listen-address=127.0.0.1:9090
    wait_for "$LAB_PATIENCE" lab_in monitor curl -fsS http://127.0.0.1:9090/-/ready
}

prometheus_get() {
    lab_in monitor curl -sS --max-time 5 -G "http://127.0.0.1:9090/api/v1/$1" "${@:2}"
}

# has_data EXPRESSION: Prometheus answers with a number at least.
has_data() {
    prometheus_get query --data-urlencode "query=$1" | tee /dev/stderr |
        jq -e '[.data.result[].value[1] | select(. != "NaN")] | length > 0' >/dev/null
}

both_are_scraped() {
    prometheus_get query --data-urlencode 'query=sum(up{job="registrator"})' | jq -e '.data.result[0].value[1] == "2"'
}

# round N: a container comes on each host, and the one before goes.
round() {
    local host
    for host in h1 h2; do
        lab_docker "$host" run -d -P --name "$host-$1" app:1 >/dev/null
    done
    for host in h1 h2; do
        wait_for "$LAB_PATIENCE" has "$host" "$host-$1"
        (($1 < 4)) || lab_docker "$host" stop -t 1 "$host-$(($1 - 3))" >/dev/null
    done
}

# trouble N: what a picture of two minutes should show.
trouble() {
    case $1 in
    5)
        put3 /app/servers/by-hand 192.0.2.99:80
        lab_docker h1 run -d -P --name by-hand app:1 >/dev/null
        ;;
    7) lab_docker h2 pause h2-6 >/dev/null ;;
    9) lab_etcd_stop e1 && lab_etcd_start e1 ;;
    11)
        lab_dockerd_stop h2
        lab_dockerd h2 --live-restore
        wait_for 20 status_is h2 .docker.connected
        ;;
    esac
}

# shellcheck disable=SC2016     # Grafana's variables
expressions() {
    jq -r '.panels[].targets[].expr' "$DASHBOARD" |
        sed -e 's/\$__rate_interval/15s/g' -e 's/\$job/registrator/g' -e 's/\$instance/.*/g'
    # Of an alert, what it compares: while nothing is wrong, the comparison has no answer.
    sed -n 's/^ *expr: \(.*\) [=>]\{1,2\} .*/\1/p' "$RULES"
}

@test "dashboard and alerts: each query has an answer of a real Prometheus; the picture shows them" {
    local expression n=0 i from rounds=4 picture=$LAB/monitoring.png
    command -v gnuplot || skip "there is no gnuplot"
    start_prometheus
    wait_for 20 both_are_scraped
    from=$EPOCHSECONDS
    [[ -z ${PICTURES:-} ]] || rounds=12
    for ((i = 1; i <= rounds; i++)); do
        round "$i"
        [[ -z ${PICTURES:-} ]] || { trouble "$i"; sleep 6; }
    done
    while read -r expression; do
        echo "$expression"
        wait_for 15 has_data "$expression"
        n=$((n + 1))
    done < <(expressions)
    [ "$n" -eq "$(($(jq '[.panels[].targets[]] | length' "$DASHBOARD") + $(grep -c 'alert:' "$RULES")))" ]
    # Prometheus itself evaluates the alerts, and finds no error in them.
    prometheus_get rules | jq -e '[.data.groups[].rules[]] | length > 5 and all(.health == "ok")'

    mkdir -p "$LAB/answers"
    lab_in monitor "$LAB_TOP/tests/lib/draw_dashboard" "$DASHBOARD" http://127.0.0.1:9090 "$from" "$EPOCHSECONDS" "$LAB/answers" \
        >"$picture"
    [[ $(head -c 8 "$picture" | od -An -tx1) == ' 89 50 4e 47 0d 0a 1a 0a' && $(stat -c %s "$picture") -lt 200000 ]]
    [[ -z ${PICTURES:-} ]] || cp "$picture" "$PICTURES/"
}

@test "a query without an answer draws no picture" {
    command -v gnuplot || skip "there is no gnuplot"
    start_prometheus
    wait_for 20 both_are_scraped
    jq '.panels |= [.[0]] | .panels[0].targets[0].expr = "no_such_metric"' "$DASHBOARD" >"$LAB/dashboard.json"
    mkdir -p "$LAB/answers"
    run lab_in monitor "$LAB_TOP/tests/lib/draw_dashboard" "$LAB/dashboard.json" http://127.0.0.1:9090 "$((EPOCHSECONDS - 5))" \
        "$EPOCHSECONDS" "$LAB/answers"
    echo "$output"
    [[ $status -eq 1 && $output == "panel 1, query A has no answer: no_such_metric" ]]
}
