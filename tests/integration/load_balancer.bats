#!/usr/bin/env bats
# What a request sees of changes, faults and hostile keys: etc/confd's templates and its reload script with the
# real confd, HAProxy (Debian's and the newest) and nginx. The servers are small web servers, the keys written by hand.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/lb

setup_file() {
    local host
    export BATS_TEST_TIMEOUT=240
    lab_up
    lab_host etcd 192.0.2.2
    lab_etcd etcd etcd 3.4
    lab_host old 192.0.2.3
    lab_host new 192.0.2.4
    for host in s1 s2 s3; do
        lab_host "$host" "192.0.2.1${host#s}"
        mkdir -p "$LAB/$host/www"
        echo "$host" >"$LAB/$host/www/index.html"
        LAB_NETNS=$LAB_ID-$host lab_spawn "www-$host" "$LAB/$host/www.log" busybox httpd -f -p 80 -h "$LAB/$host/www"
    done
    # A dead host: nothing answers, and nobody says so.
    lab_host silent 192.0.2.99
    lab_in silent iptables -I INPUT -j DROP
}

teardown_file() {
    lab_down
}

setup() {
    lab_attach
    etcd3 kv/deleterange '{"key":"AA==","range_end":"AA=="}' >/dev/null
}

teardown() {
    local host
    for host in old new; do
        [[ -n $BATS_TEST_COMPLETED ]] || tail -n 15 "$LAB/$host/confd.log" "$LAB/$host/haproxy.log" 2>/dev/null
        lb_confd_stop "$host"
        kill_follower "$host" || true
        lb_haproxy_stop "$host"
        lb_nginx_stop "$host"
        lab_stop "syslog-$host"
        rm -rf "${LAB:?}/$host"
        mkdir "$LAB/$host"
    done
}

# balance PAIR [HOST...]: starts confd and HAProxy, or nginx, on "old" and on "new", or on one of them.
balance() {
    local pair=$1 host
    shift
    (($# > 0)) || set -- old new
    [[ $* != *new* || -e $LAB_TOOLS/root-sid/usr/sbin/haproxy ]] || skip "there is no build/tools/root-sid: run tests/setup"
    for host; do
        lb_setup "$host" "$pair"
        LB_HAPROXY=$host "lb_${pair%%-*}" "$host"
        lb_confd "$host" -watch
    done
}

# both COMMAND...: on both hosts, which take the place of the word HOST.
both() {
    local host
    for host in old new; do
        "${@/#HOST/$host}" || return
    done
}

# requests HOST N: N requests, each of which has to be answered.
requests() {
    local i host
    for ((i = 0; i < $2; i++)); do
        lb_get "$1" / >/dev/null || return
    done
}

# reload_by_key HOST: a change that brings a reload.
reload_by_key() {
    local before
    before=$(lb_reloads "$1")
    put3 /app/servers/changing "192.0.2.1$((++reloads % 2 + 2)):80"
    wait_for "$LAB_PATIENCE" more_reloads "$1" "$before"
    both wait_for "$LAB_PATIENCE" is_loaded HOST
}
is_loaded() {
    lb_servers "$1" | grep -xF "changing 192.0.2.1$((reloads % 2 + 2)):80" &&
        cmp "$LAB/$1/haproxy.cfg" "$LAB/$1/run/haproxy/loaded"
}
more_reloads() {
    (($(lb_reloads "$1") > $2))
}

# served_at_first HOST N: a live server has answered N requests at the first try. A worker that ends may log late.
served_at_first() {
    local n
    n=$(grep -cE 'servers/(live|changing):.* [0-9]+/[0-9]+/[0-9]+/[0-9]+/0 ' "$LAB/$1/haproxy.log")
    echo "$1: $n"
    ((n >= $2))
}

@test "a dead server stays dead over reloads, and a new server gets no request before its first check" {
    local i host
    put3 /app/servers/live 192.0.2.11:80
    put3 /app/servers/dead 192.0.2.99:80
    balance haproxy
    both wait_for "$LAB_PATIENCE" lb_server_is HOST dead DOWN
    for host in old new; do
        : >"$LAB/$host/haproxy.log"
    done
    for ((i = 0; i < 4; i++)); do
        reload_by_key old
        both requests HOST 10
        put3 "/app/servers/stillborn$i" "192.0.2.99:$((8000 + i))"
        both requests HOST 10
        both lb_server_is HOST dead DOWN
    done
    both wait_for "$LAB_PATIENCE" lb_server_is HOST stillborn3 DOWN
    # The log has each request with its server: none of them went to a dead one, not even for a try.
    for host in old new; do
        wait_for "$LAB_PATIENCE" served_at_first "$host" 80
        run grep -E '(GET|POST) ' "$LAB/$host/haproxy.log"
        [[ $output != *servers/dead* && $output != *servers/stillborn* && $output != *' 503 '* ]]
    done
    # A server that comes back gets requests again.
    both lb_server_is HOST live UP
}

@test "a new server gets requests at once if its backend has no other live server" {
    put3 /app/servers/web 192.0.2.99:80
    balance haproxy
    both wait_for "$LAB_PATIENCE" lb_server_is HOST web DOWN
    # The container has come back at another address. HAProxy cannot do better than to try.
    put3 /app/servers/web 192.0.2.11:80
    both wait_for "$LAB_PATIENCE" lb_servers_are HOST web
    both wait_for "$LAB_PATIENCE" lb_all_answer HOST s1
    not grep -h 'web:192.0.2.11' "$LAB"/{old,new}/servers.state
}

@test "a key that an operator wrote may name a host, resolvable or not" {
    put3 /app/servers/live 192.0.2.11:80
    put3 /app/servers/unknown nobody.internal:80
    put3 /app/servers/hand s2.internal:80
    put3 /skydns/internal/s2 '{"host":"192.0.2.12"}'
    printf '%s\n' 'internal {' '    etcd {' '        path /skydns' '        endpoint http://192.0.2.2:2379' '    }' '}' \
        >"$LAB/Corefile"
    LAB_NETNS=$LAB_ID-etcd lab_spawn dns "$LAB/dns.log" "$LAB_TOOLS/bin/coredns" -conf "$LAB/Corefile"
    LB_EDIT='s/parse-resolv-conf/nameserver lab 192.0.2.2:53/' balance haproxy
    both wait_for "$LAB_PATIENCE" lb_all_answer HOST s1 s2
    # Without name servers, reloads go on as before.
    lab_stop dns
    put3 /app/servers/web 192.0.2.13:80
    both wait_for "$LAB_PATIENCE" lb_server_is HOST web UP
}

@test "the number of old workers is bounded, independent of their clients" {
    local i host
    put3 /app/servers/live 192.0.2.11:80
    LB_EDIT='s/mworker-max-reloads 25/mworker-max-reloads 3/; s/timeout http-request 10s/timeout http-request 5m/' \
        balance haproxy
    for ((i = 0; i < 7; i++)); do
        # A client that never ends its request keeps its worker.
        for host in old new; do
            # shellcheck disable=SC2016     # for the inner shell
            LAB_NETNS=$LAB_ID-switch lab_spawn "stream-$host-$i" /dev/null \
                bash -c 'exec 5<>"/dev/tcp/$0/80"; printf "GET / HTTP/1.1\r\nX: " >&5; sleep 100' "$(lab_address "$host")"
            wait_for "$LAB_PATIENCE" has_connections "$host"
        done
        reload_by_key old
    done
    both wait_for "$LAB_PATIENCE" workers_at_most HOST 5
    for ((i = 0; i < 7; i++)); do
        lab_stop_group "stream-old-$i"
        lab_stop_group "stream-new-$i"
    done
}
has_connections() {
    local n
    n=$(lb_asks "$1" 'show stat' | sed -n 's/^http,FRONTEND,[^,]*,[^,]*,\([0-9]*\),.*/\1/p')
    echo "$n connections"
    ((n > 0))
}
workers_at_most() {
    local n
    n=$(pgrep -c -P "$(<"$LAB/$1/haproxy.pid")")
    echo "$n workers"
    ((n <= $2))
}

@test "a single change is reloaded at once, and many changes go into few reloads" {
    local i before names=(live)
    put3 /app/servers/live 192.0.2.11:80
    balance haproxy old
    before=$(lb_reloads old)
    for ((i = 0; i < 30; i++)); do
        put3 "/app/servers/web$i" 192.0.2.12:80
        names+=("web$i")
    done
    wait_for "$LAB_PATIENCE" lb_servers_are old "${names[@]}"
    wait_for "$LAB_PATIENCE" lb_server_is old web29 UP
    # The first at once, and one for each second that the 30 took.
    awk 'NR > 1 && $1 - last < 0.9 { print last, $1; bad = 1 } { last = $1 } END { exit bad }' "$LAB/old/reloads"
    (($(lb_reloads old) - before < 30))
    wait_for "$LAB_PATIENCE" cmp "$LAB/old/haproxy.cfg" "$LAB/old/run/haproxy/loaded"
}

@test "a reload that fails is repeated, and the log has the reason" {
    put3 /app/servers/live 192.0.2.11:80
    balance haproxy old
    lb_syslog old
    touch "$LAB/old/fail"
    put3 /app/servers/web 192.0.2.12:80
    wait_for "$LAB_PATIENCE" grep 'The reload of haproxy failed: no reload today' "$LAB/old/syslog.log"
    wait_for "$LAB_PATIENCE" grep 'no reload today' "$LAB/old/confd.log"
    not lb_server_is old web UP
    rm "$LAB/old/fail"
    wait_for "$LAB_PATIENCE" lb_server_is old web UP
}

@test "the timer's command repeats a reload that a restart of confd has ended" {
    put3 /app/servers/live 192.0.2.11:80
    balance haproxy old
    touch "$LAB/old/fail"
    put3 /app/servers/web 192.0.2.12:80
    wait_for "$LAB_PATIENCE" grep 'no reload today' "$LAB/old/confd.log"
    # What waits to repeat the reload ends with confd's unit.
    lb_confd_stop old
    wait_for "$LAB_PATIENCE" kill_follower old
    run lab_in old "$LAB/old/load-balancer" repeat haproxy
    [ "$status" -ne 0 ]
    rm "$LAB/old/fail"
    lab_in old "$LAB/old/load-balancer" repeat haproxy
    wait_for "$LAB_PATIENCE" lb_server_is old web UP
    # There is nothing left to do.
    local before
    before=$(lb_reloads old)
    lab_in old "$LAB/old/load-balancer" repeat haproxy
    [ "$(lb_reloads old)" -eq "$before" ]
}

kill_follower() {
    local pid
    for pid in $(pgrep -f "load-balancer follow haproxy"); do
        if grep -qz "LB_RUN=$LAB/$1/run" "/proc/$pid/environ" 2>/dev/null; then
            kill "$pid"
            wait_for "$LAB_PATIENCE" flock -n "$LAB/$1/run/haproxy/lock" true
            return
        fi
    done
    return 1
}

@test "confd -onetime finds a change that confd -watch forgets while etcd hangs" {
    put3 /app/servers/live 192.0.2.11:80
    balance haproxy old
    touch "$LAB/old/hold"
    put3 /app/servers/first 192.0.2.12:80
    wait_for "$LAB_PATIENCE" lb_servers_are old live first
    # confd hears of this change, but is busy with the first.
    put3 /app/servers/second 192.0.2.13:80
    lab_signal etcd-etcd STOP
    rm "$LAB/old/hold"
    wait_for "$LAB_PATIENCE" grep -E 'ERROR.*(deadline|timed out)' "$LAB/old/confd.log"
    lab_signal etcd-etcd CONT
    wait_for "$LAB_PATIENCE" lab_etcd_answers etcd
    if lb_servers_are old live first; then
        echo "confd has forgotten the change"
    fi
    lb_render old
    wait_for "$LAB_PATIENCE" lb_server_is old second UP
}

# ------------------------------------------------------------------------------ hostile keys

# hostile: puts some 400 keys below /app, by hand: each ASCII character in a name, an address, a port and a service,
# and what has a meaning for etcd, confd, Go's templates, HAProxy or nginx.
hostile() {
    local i c n=0 key value puts=()
    local -A keys=()
    for ((i = 1; i < 128; i++)); do
        printf -v c '%b' "\\x$(printf %x "$i")"
        keys["/app/servers/name${c}x"]=192.0.2.13:80
        keys["/app/servers/address$i"]="192.0.2.13${c}:80"
        keys["/app/servers/port$i"]="192.0.2.13:8${c}0"
        keys["/app/service${c}x/web"]=192.0.2.13:80
    done
    while IFS= read -r value; do
        printf -v value '%b' "$value"
        keys["/app/servers/value$((++n))"]=$value
        keys["/app/$value/value"]=192.0.2.13:80
        keys["/app/servers/$value"]=192.0.2.13:80
    done <<'VALUES'
web.internal:80
192.0.2.13
192.0.2.13:
:80
:
80
192.0.2.13:0
192.0.2.13:00080
192.0.2.13:65536
192.0.2.13:99999999999999999999
192.0.2.13:-1
192.0.2.13:80-90
192.0.2.13:80 weight
192.0.2.13:80 -1
192.0.2.13:80 257
192.0.2.13:80 0
192.0.2.13:80 1 1
192.0.2.13:80 check
192.0.2.13:80 1;}server{stub_status;add_header
192.0.2.13:80;}
999.999.999.999:80
1.2.3:80
1.2.3.4.5:80
a..b:80
.:80
_http._tcp.example.com:80
[2001:db8::5]:80
[2001:db8::5]
[::]:80
[]:80
[1:2]:80
[1::2::3]:80
[:::]:80
[:1:2:3:4:5:6:7]:80
[1:2:3:4:5:6:7:8:9]:80
[12345::]:80
[g::1]:80
[[::1]:80
[::1]]:80
[::ffff:192.0.2.13]:80
unix@/run/x:80
fd@0:80
abns@x:80
ipv4@192.0.2.13:80
/run/haproxy/admin.sock
{{.Value}}
${HOME}:80
%[src]:80
\n    server evil 192.0.2.13:80
\r\n
#
"
'
\\
//
/../..
*
[a-z
?
-f
-m
\xff\xfe:80
\xe2\x80\xa8:80
\xf0\x9f\x98\x80:80
VALUES
    printf -v c 'long%.0s' {1..2000}
    keys["/app/servers/long"]=$c
    keys["/app/servers/$c"]=192.0.2.13:80
    keys["/app/$c/web"]=192.0.2.13:80
    printf -v c '1%.0s' {1..70}
    keys["/app/servers/ones"]=192.0.2.13:$c
    keys["/app/ones$c/web"]=192.0.2.13:80
    for key in "${!keys[@]}"; do
        puts+=("{\"requestPut\":{\"key\":\"$(_b64 "$key")\",\"value\":\"$(_b64 "${keys[$key]}")\"}}")
    done
    ((${#puts[@]} > 500))
    for ((i = 0; i < ${#puts[@]}; i += 100)); do
        (IFS=, && echo "{\"success\":[${puts[*]:i:100}]}") >"$LAB/puts"
        etcd3 kv/txn "@$LAB/puts" >/dev/null
    done
}

# survives PAIR [HEADER]: hostile keys are there, and a good change arrives.
survives() {
    local pair=$1 service
    shift
    put3 /app/servers/live 192.0.2.11:80
    hostile
    balance "$pair" old
    lb_syslog old
    [[ $pair == nginx* ]] || balance "$pair" new
    for service in servers shop tcp-5432 shop.example.com/-/-; do
        put3 "/app/$service/good" 192.0.2.12:80
        put3 "/app/$service/bad" 192.0.2.12:80:80
    done
    wait_for "$LAB_PATIENCE" answers_too old s2 "$@"
    [[ $pair == nginx* ]] || wait_for "$LAB_PATIENCE" answers_too new s2 "$@"
    # The log has the key whose value is bad, and confd has no error.
    wait_for "$LAB_PATIENCE" grep -E 'Skipped.*\bbad\b.*192.0.2.12:80:80' "$LAB/old/syslog.log"
    not grep -hs ERROR "$LAB"/{old,new}/confd.log
    # Nobody got in by the back door.
    not grep -hsE '^ *(server evil|stub_status)' "$LAB"/*/haproxy.cfg "$LAB"/*/nginx/conf.d/app.conf
}
answers_too() {
    lb_answers "$1" 20 "${@:3}" | grep -x "$2"
}

@test "hostile keys and values: haproxy" {
    survives haproxy
}

@test "hostile keys and values: haproxy-services" {
    survives haproxy-services -H 'Host: shop.example.com'
}

@test "hostile keys and values: haproxy-hosts" {
    local i key puts=()
    for ((i = 1; i < 128; i++)); do
        printf -v key '%b' "/app/shop.example.com/p\\x$(printf %x "$i")p/-/web"
        puts+=("{\"requestPut\":{\"key\":\"$(_b64 "$key")\",\"value\":\"$(_b64 192.0.2.13:80)\"}}")
        printf -v key '%b' "/app/shop.example.com/c/c\\x$(printf %x "$i")c/web"
        puts+=("{\"requestPut\":{\"key\":\"$(_b64 "$key")\",\"value\":\"$(_b64 192.0.2.13:80)\"}}")
        if ((${#puts[@]} > 100 || i == 127)); then
            etcd3 kv/txn "$(IFS=, && echo "{\"success\":[${puts[*]}]}")" >/dev/null
            puts=()
        fi
    done
    survives haproxy-hosts -H 'Host: shop.example.com'
}

@test "hostile keys and values: haproxy-tcp" {
    put3 /app/tcp-5432/db 192.0.2.12:80
    LB_PORT=5432 survives haproxy-tcp
}

@test "hostile keys and values: nginx" {
    survives nginx
}

@test "hostile keys and values: nginx-services" {
    survives nginx-services -H 'Host: shop.example.com'
}

@test "a file that HAProxy refuses: the log has the reason, with each confd" {
    local confd api
    put3 /app/servers/live 192.0.2.11:80
    lb_syslog old
    for confd in 0.6 0.16 0.30; do
        api=v3
        [[ $confd != 0.6 ]] || api=v2
        LB_EDIT='s/{{template "server" .}}/    server {{base .Key}} {{.Value}} check/' LB_CONFD=$confd LB_API=$api lb_setup old haproxy
        put3 /app/servers/hand "192.0.2.12:7000${confd#0.}"
        put2 /app/servers/hand "192.0.2.12:7000${confd#0.}"
        LB_CONFD=$confd LB_API=$api lb_render old || true
        wait_for "$LAB_PATIENCE" grep "haproxy refuses the new configuration.*invalid port '7000${confd#0.}'" "$LAB/old/syslog.log"
        [ "$confd" = 0.6 ] || grep "ERROR.*invalid port '7000${confd#0.}'" "$LAB/old/confd.log"
    done
}

@test "a file that nginx refuses: the log has the reason" {
    put3 /app/servers/live 192.0.2.11:80
    lb_syslog old
    LB_EDIT='s/{{template "server" .}}/    server {{.Value}};/' lb_setup old nginx
    put3 /app/servers/hand web.internal:80
    not lb_render old
    wait_for "$LAB_PATIENCE" grep 'nginx refuses the new configuration.*host not found in upstream "web.internal:80"' "$LAB/old/syslog.log"
    grep 'ERROR.*host not found in upstream' "$LAB/old/confd.log"
}

@test "the templates use only functions of confd 0.6.2 and Go 1.2, and their common parts are the same" {
    local file program
    for file in "$LAB_TOP"/etc/confd/templates/*.tmpl; do
        # Go 1.6 trims, Go 1.11 assigns, Go 1.18 breaks.
        run grep -nE '\{\{-|-\}\}|\{\{ *\$[a-z]+ = |\{\{ *(break|continue|block)|toLower|toUpper|replace|contains|trimSuffix' "$file"
        echo "$file: $output"
        [ "$status" -eq 1 ]
    done
    for program in haproxy nginx; do
        for file in "$LAB_TOP"/etc/confd/templates/"$program"*.tmpl; do
            sed -n '/^{{\/\* The rest is the same/,$p' "$file" | cksum
        done | sort -u >"$LAB/common"
        [ "$(wc -l <"$LAB/common")" -eq 1 ]
    done
}

# ------------------------------------------------------------------------------------ others

@test "a weight of 3 in 100 sends few requests to a canary, in HAProxy and nginx" {
    put3 /app/servers/live "192.0.2.11:80 97"
    put3 /app/servers/canary "192.0.2.12:80 3"
    balance haproxy old
    balance nginx new
    wait_for "$LAB_PATIENCE" lb_server_is old canary UP
    both few_of_100 HOST
}
few_of_100() {
    local i canary=0
    for ((i = 0; i < 100; i++)); do
        [[ $(lb_get "$1" /) != s2 ]] || canary=$((canary + 1))
    done
    echo "$1: $canary of 100"
    ((canary >= 1 && canary <= 10))
}

@test "the backend lines of docs/load-balancer.md give HTTP checks, lasting sessions and TLS" {
    local host cookie
    put3 /app/servers/one 192.0.2.11:80
    put3 /app/servers/two 192.0.2.12:80
    mkdir -p "$LAB/certs"
    lab_tls 192.0.2.3 192.0.2.4
    cat "$LAB/tls/server.pem" "$LAB/tls/server.key" >"$LAB/certs/lb.pem"
    line_of_page 'option httpchk GET /health'
    line_of_page 'cookie SERVER insert indirect nocache'
    line_of_page ' cookie {{base .Key}}'
    line_of_page 'bind :443 ssl crt /etc/haproxy/certs/ alpn h2,http/1.1'
    touch "$LAB"/s{1,2,3}/www/health
    LB_EDIT="s#^    balance .*#&\n    option httpchk GET /health\n    cookie SERVER insert indirect nocache#
        s#check{{end}}{{end}}#check cookie {{base .Key}}{{end}}{{end}}#
        s#^    bind :80#&\n    bind :443 ssl crt $LAB/certs/ alpn h2,http/1.1#" balance haproxy
    for host in old new; do
        wait_for "$LAB_PATIENCE" lb_server_is "$host" one UP
        wait_for "$LAB_PATIENCE" lb_server_is "$host" two UP
        cookie=$(lb_get "$host" / -c "$LAB/cookies" -o /dev/null -w '%{http_code}')
        [ "$cookie" = 200 ]
        [ "$(lb_answers "$host" 8 -b "$LAB/cookies" | wc -l)" -eq 1 ]
        [ "$(lab_in switch curl -sS -m 5 --cacert "$LAB/tls/ca.pem" -o /dev/null -w '%{http_version}' "https://$(lab_address "$host")/")" = 2 ]
    done
    # The server of the session is replaced: the session goes to another server, and no request fails.
    cookie=$(awk '$6 == "SERVER" { print $7 }' "$LAB/cookies")
    del3 "/app/servers/$cookie"
    put3 /app/servers/three 192.0.2.13:80
    for ((i = 0; i < 40; i++)); do
        lb_get new / -b "$LAB/cookies" -c "$LAB/cookies" >/dev/null
    done
    wait_for "$LAB_PATIENCE" lb_server_is new three UP
    [ "$(lb_answers new 8 -b "$LAB/cookies" | wc -l)" -eq 1 ]
    # A server whose check by HTTP fails gets nothing.
    rm "$LAB/s3/www/health"
    wait_for "$LAB_PATIENCE" lb_server_is new three DOWN
}
line_of_page() {
    grep -F "\`$1\`" "$LAB_TOP/docs/load-balancer.md"
}

@test "the lines of docs/load-balancer.md give HTTP/2 to the servers, as gRPC needs" {
    put3 /app/servers/h2 192.0.2.11:81
    line_of_page ' proto h2'
    cat >"$LAB/h2.conf" <<NGINX
pid $LAB/h2.pid;
error_log $LAB/h2.log;
events { }
http { access_log off; server { listen 81 http2; location / { return 200 "\$server_protocol\\n"; } } }
NGINX
    LAB_NETNS=$LAB_ID-s1 lab_spawn h2 "$LAB/h2.log" nginx -c "$LAB/h2.conf" -g 'daemon off;'
    LB_EDIT='s#check{{end}}{{end}}#check proto h2{{end}}{{end}}#' balance haproxy
    both wait_for "$LAB_PATIENCE" answers_h2 HOST
    lab_stop h2
}
answers_h2() {
    [[ $(lb_get "$1" / --http2-prior-knowledge -w '%{http_version}') == $'HTTP/2.0\n2' ]]
}

@test "the status page in a browser shows each of 40 servers with container and address" {
    local i browser
    browser=$(command -v chromium-headless-shell || command -v chromium) || skip "there is no Chromium"
    for ((i = 1; i <= 40; i++)); do
        put3 "/app/servers/shop-web-$i" "192.0.2.1$((i % 3 + 1)):80 $i"
    done
    balance haproxy
    both wait_for "$LAB_PATIENCE" lb_server_is HOST shop-web-40 UP
    for host in old new; do
        HOME=$LAB lab_in "$host" timeout 60 "$browser" --headless --no-sandbox --disable-gpu \
            --user-data-dir="$LAB/browser" --dump-dom http://127.0.0.1/admin-status >"$LAB/page" 2>"$LAB/browser.log"
        # What of the page is seen: no tags, no scripts.
        sed -e 's/<[^>]*>/\n/g' "$LAB/page" >"$LAB/text"
        for ((i = 1; i <= 40; i++)); do
            grep -xF "shop-web-$i:192.0.2.1$((i % 3 + 1)):80" "$LAB/text"
        done
        HOME=$LAB lab_in "$host" timeout 60 "$browser" --headless --no-sandbox --disable-gpu --window-size=1400,1200 \
            --user-data-dir="$LAB/browser" --screenshot="$LAB/page-$host.png" http://127.0.0.1/admin-status
        [[ $(head -c 8 "$LAB/page-$host.png" | od -An -tx1) == ' 89 50 4e 47 0d 0a 1a 0a' ]]
        [[ -z ${KEEP_SCREENSHOTS:-} ]] || cp "$LAB/page-$host.png" "$KEEP_SCREENSHOTS/"
    done
}

@test "haproxy-hosts: containers name their host names, paths and checks" {
    local settings
    settings=$(sed -n 's#^key = \(/app/{label:SERVICE_HOST?-}.*\)#\1#p' "$LAB_TOP/docs/load-balancer.md")
    "${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}" --check-config --config /dev/null --key "$settings"
    touch "$LAB/s3/www/health"
    put3 /app/shop.example.com/-/-/shop 192.0.2.11:80
    put3 /app/shop.example.com/api/health/api 192.0.2.13:80
    put3 /app/Blog.example.com/-/-/blog 192.0.2.12:80
    put3 /app/-/-/-/nowhere 192.0.2.12:80
    balance haproxy-hosts
    both wait_for "$LAB_PATIENCE" lb_server_is HOST api UP
    for host in old new; do
        mkdir -p "$LAB"/s{1,3}/www/{api,apis}
        touch "$LAB"/s{1,3}/www/{api,apis}/index.html
        [ "$(lb_get "$host" / -H 'Host: shop.example.com')" = s1 ]
        [ "$(lb_get "$host" / -H 'Host: blog.example.com:80')" = s2 ]
        lb_get "$host" /api/ -H 'Host: SHOP.example.com'
        lb_get "$host" /apis/ -H 'Host: shop.example.com'
        [ "$(lb_get "$host" / -o /dev/null -w '%{http_code}' --no-fail -H 'Host: www.example.com')" = 404 ]
        [ "$(lb_get "$host" / -o /dev/null -w '%{http_code}' --no-fail)" = 404 ]
        wait_for "$LAB_PATIENCE" grep -E 'shop.example.com:api/api:.* "GET /api/ ' "$LAB/$host/haproxy.log"
        wait_for "$LAB_PATIENCE" grep -E 'shop.example.com:-/shop:.* "GET /apis/ ' "$LAB/$host/haproxy.log"
    done
    rm "$LAB/s3/www/health"
    both wait_for "$LAB_PATIENCE" lb_server_is HOST api DOWN
}
