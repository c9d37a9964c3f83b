#!/usr/bin/env bats
# Each pair of etc/confd, from docker run to the answer of a request: two Docker hosts with agents, and eight load
# balancers side by side, one for each confd, API and way of looking for changes.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/lb

# Host, confd, API, and the arguments of confd.
BALANCERS=("a 0.16 v3 -watch" "b 0.16 v3 -interval 1" "c 0.16 v2 -interval 1" "d 0.16 v2 -watch"
    "e 0.30 v3 -watch" "f 0.30 v3 -interval 1" "g 0.6 v2 -interval 1" "h 0.6 v2 -watch")

setup_file() {
    local host api i=20 balancer
    export BATS_TEST_TIMEOUT=240
    lab_up
    lab_host etcd 192.0.2.2
    lab_etcd etcd etcd 3.4
    for host in h1 h2; do
        lab_host "$host" "192.0.2.1${host#h}"
        lab_dockerd "$host"
        lab_image "$host" app:1
        for api in v2 v3; do
            LAB_AGENT=-$api lab_agent "$host" --node "$host" --etcd-api "$api" --etcd-nudge \
                --value '{address}:{port} {label:WEIGHT?100}'
        done
    done
    for balancer in "${BALANCERS[@]}"; do
        lab_host "${balancer%% *}" "192.0.2.$((++i))"
    done
    wait_for "$LAB_PATIENCE" etcd2 GET /app/servers
}

teardown_file() {
    lab_down
}

setup() {
    lab_attach
}

teardown() {
    local balancer host ids
    for balancer in "${BALANCERS[@]}"; do
        host=${balancer%% *}
        if [[ -z $BATS_TEST_COMPLETED ]]; then
            tail -n 8 "$LAB/$host/confd.log" "$LAB/$host/haproxy.log" "$LAB/$host/nginx/log/error.log" 2>/dev/null
        fi
        lb_confd_stop "$host"
        lb_haproxy_stop "$host"
        lb_nginx_stop "$host"
        rm -rf "${LAB:?}/$host"
        mkdir "$LAB/$host"
    done
    for host in h1 h2; do
        mapfile -t ids < <(lab_docker "$host" ps -aq)
        ((${#ids[@]} == 0)) || lab_docker "$host" rm -f "${ids[@]}" >/dev/null
    done
}

# balance PAIR: starts all load balancers.
balance() {
    local pair=$1 balancer host confd api arguments
    for balancer in "${BALANCERS[@]}"; do
        read -r host confd api arguments <<<"$balancer"
        read -ra arguments <<<"$arguments"
        LB_CONFD=$confd LB_API=$api lb_setup "$host" "$pair"
        LB_CONFD=$confd LB_API=$api lb_confd "$host" "${arguments[@]}"
    done
    for balancer in "${BALANCERS[@]}"; do
        host=${balancer%% *}
        wait_for "$LAB_PATIENCE" test -s "$(_lb_config "$host" "${pair%%-*}")"
        "lb_${pair%%-*}" "$host"
    done
}

# all_answer NAME... [-- CURL OPTIONS...]: on each load balancer, these containers answer, and no others.
all_answer() {
    local balancer names=()
    while (($# > 0)) && [[ $1 != -- ]]; do
        names+=("$1")
        shift
    done
    for balancer in "${BALANCERS[@]}"; do
        wait_for "$LAB_PATIENCE" one_answers "${balancer%% *}" "${names[*]}" "${@:2}" || {
            echo "on the load balancer: $balancer"
            return 1
        }
    done
}
one_answers() {
    local host=$1 names
    read -ra names <<<"$2"
    diff --label expected --label answers -U 9 <(printf '%s\n' "${names[@]}" | sort) \
        <(lb_answers "$host" $((2 * ${#names[@]} + 2)) "${@:3}")
}

# all_say STATUS [CURL OPTIONS...]: each load balancer answers with this status.
all_say() {
    local balancer
    for balancer in "${BALANCERS[@]}"; do
        wait_for "$LAB_PATIENCE" one_says "${balancer%% *}" "$@" || {
            echo "on the load balancer: $balancer"
            return 1
        }
    done
}
one_says() {
    local status
    status=$(lb_get "$1" / -o /dev/null -w '%{http_code}' --no-fail "${@:3}" || true)
    echo "$status"
    [[ $status == "$2" ]]
}

# A container on each host comes, answers, and goes. Their names are words and dots that mean something elsewhere.
comes_and_goes() {
    local nobody=$1
    lb_run h1 server
    lb_run h2 a..b_-
    all_answer server a..b_-
    lab_docker h1 stop server >/dev/null
    all_answer a..b_-
    lab_docker h2 rm -f a..b_- >/dev/null
    all_say "$nobody"
}

# Three services, of which two have names that no host name has.
services_are_apart() {
    lb_run h1 web1
    lb_run h2 shop1 --label SERVICE_NAME=shop
    lb_run h1 shop2 --label SERVICE_NAME=shop
    lb_run h1 big1 --label SERVICE_NAME=Big
    lb_run h2 dot1 --label SERVICE_NAME=my.shop
    # Spelt like the host name, "shop" keeps the requests.
    lb_run h2 thief --label SERVICE_NAME=SHOP
    all_answer shop1 shop2 -- -H 'Host: shop.example.com'
    all_answer shop1 shop2 -- -H 'Host: SHOP:8080'
    all_answer big1 -- -H 'Host: big.example.com'
    all_answer dot1 -- -H 'Host: my-shop.example.com'
    all_answer web1 -- -H 'Host: servers'
    all_say 404 -H 'Host: www.example.com'
    all_say 404 -H 'Host: my.shop.example.com'
    # A service without containers is a service that nobody knows.
    lab_docker h1 stop big1 >/dev/null
    all_say 404 -H 'Host: big.example.com'
    all_answer shop1 shop2 -- -H 'Host: shop.example.com'
}

@test "haproxy: a container on each host is added, answers, and is removed" {
    balance haproxy
    comes_and_goes 503
}

@test "haproxy-services: each service has its host names, also with capitals and dots" {
    balance haproxy-services
    services_are_apart
}

@test "haproxy-hosts: keys that an operator wrote have their own layout" {
    local to name
    lb_run h1 shop
    lb_run h2 api
    for name in shop/h1/- api/h2/api; do
        to=$(lab_docker "$(cut -d / -f 2 <<<"$name")" port "${name%%/*}" 80/tcp | sed -n '1s/.*://p')
        to=$(lab_address "$(cut -d / -f 2 <<<"$name")"):$to
        put3 "/app/shop.example.com/${name##*/}/-/${name%%/*}" "$to"
        put2 "/app/shop.example.com/${name##*/}/-/${name%%/*}" "$to"
    done
    balance haproxy-hosts
    all_answer shop -- -H 'Host: shop.example.com'
    all_say 404 -H 'Host: www.example.com'
    for name in "${BALANCERS[@]}"; do
        wait_for "$LAB_PATIENCE" lb_server_is "${name%% *}" api UP
    done
    etcd3 kv/deleterange "{\"key\":\"$(_b64 /app/shop.example.com)\",\"range_end\":\"$(_range_end /app/shop.example.com)\"}" >/dev/null
    etcd_curl '/v2/keys/app/shop.example.com?recursive=true' -X DELETE >/dev/null
}

@test "haproxy-tcp: a service chooses one of the open ports" {
    balance haproxy-tcp
    lb_run h1 db1 --label SERVICE_NAME=tcp-5432
    lb_run h2 db2 --label SERVICE_NAME=tcp-5432
    lb_run h2 cache --label SERVICE_NAME=tcp-6379
    lb_run h2 web
    lb_run h2 ssh --label SERVICE_NAME=tcp-22
    LB_PORT=5432 all_answer db1 db2
    LB_PORT=6379 all_answer cache
    lab_docker h1 stop db1 >/dev/null
    LB_PORT=5432 all_answer db2
    run grep -lE ':22$|server (web|ssh):' "$LAB"/?/haproxy.cfg
    [ -z "$output" ]
}

@test "nginx: a container on each host is added, answers, and is removed, beside Debian's default site" {
    balance nginx
    comes_and_goes 502
    # The welcome page does not come back.
    all_say 502 -H 'Host: example.com'
}

@test "nginx-services: each service has its host names, also with capitals and dots" {
    balance nginx-services
    services_are_apart
}
