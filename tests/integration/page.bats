#!/usr/bin/env bats
# The web page of a host, in a real browser: hostile texts, a thousand containers, a narrow screen.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/lb

setup_file() {
    export BATS_TEST_TIMEOUT=240
}

setup() {
    BROWSER=$(command -v chromium-headless-shell || command -v chromium) || skip "there is no Chromium"
    lab_up
    lab_host h1 192.0.2.11
    lab_etcd etcd h1 3.4
}

teardown() {
    if [[ -z $BATS_TEST_COMPLETED && -d ${LAB:-} ]]; then
        tail -n 30 "$LAB"/h?/agent.log "$LAB/browser.log" 2>/dev/null
        true
    fi
    lab_down
}

# browse OPTION...: the browser at PAGE, whose clock runs on for 12 s: the page refreshes itself twice.
browse() {
    HOME=$LAB lab_in h1 timeout 60 "$BROWSER" --headless --no-sandbox --disable-gpu --user-data-dir="$LAB/browser" \
        --virtual-time-budget=12000 "$@" "${PAGE:-http://127.0.0.1:9100/}" 2>"$LAB/browser.log"
}

# The rows of the table as the browser has them: cells with " | " in between.
rows() {
    grep -o '<tr><td.*</tr>' "$LAB/dom" | sed -e 's#</td><td[^>]*># | #g' -e 's/<[^>]*>//g'
}

# fleet_is TEXT: the page of all hosts has it, as it comes.
fleet_is() {
    lab_in h1 curl -sS http://127.0.0.1:9100/fleet | tee "$LAB/html" | grep -qF -e "$1"
}

# haproxy_is_up SERVER...: by HAProxy's own checks.
haproxy_is_up() {
    lab_in h1 curl -sS 'http://127.0.0.1/admin-status;csv' | cut -d , -f 2,18 | sed -n 's/:.*,UP$//p' | sort |
        diff - <(printf '%s\n' "$@" | sort)
}

# small FILE: a picture, not too large for the tree.
small() {
    [[ $(head -c 8 "$1" | od -An -tx1) == ' 89 50 4e 47 0d 0a 1a 0a' && $(stat -c %s "$1") -lt 150000 ]]
}

registered() {
    [[ $(lab_registrator h1 status --json | jq '[.containers[] | select(.state == "registered")] | length') -eq $1 ]]
}

@test "page: every container with state, reason and remedy; texts of other people run no script" {
    lab_dockerd h1
    lab_image h1
    lab_agent h1 --node h1 --listen 127.0.0.1:9100 --value '{address}:{port} {label:NOTE?none}'
    # shellcheck disable=SC2016     # an attack
    local evil='"></td><script>document.title="owned"</script><img src=x onerror=document.title=1>'
    put3 /app/servers/theirs "$evil"
    lab_docker h1 run -d -P --name web app:1
    lab_docker h1 run -d -P --name theirs app:1
    lab_docker h1 run -d --name closed app:1
    wait_for 5 registered 1
    wait_for 5 eval 'lab_registrator h1 explain theirs | grep "belongs to another"'
    wait_for 5 eval 'lab_registrator h1 explain closed | grep "no published port"'
    browse --dump-dom >"$LAB/dom"
    rows | tee "$LAB/rows"
    grep -E "^web \| registered \| /app/servers/web = 192\.0\.2\.11:[0-9]+ none \| $" "$LAB/rows"
    grep -E '^closed \| unregistered \| no published port \| Publish a port' "$LAB/rows"
    grep -E '^theirs \| conflict \| .*another owner: .*&lt;script&gt;' "$LAB/rows"
    grep '<title>h1: registrator</title>' "$LAB/dom"
    [ "$(grep -c '<script' "$LAB/dom")" -eq 1 ]
    [ "$(grep -c '<img' "$LAB/dom")" -eq 0 ]
    # The script ran: the filter is there, and the refreshed page is no old one.
    grep '<p><input id="filter"' "$LAB/dom"
    grep '<p id="age" class="rejected"></p>' "$LAB/dom"
    # The same without JavaScript: all of it is in the page as it comes. It may load nothing from elsewhere.
    lab_in h1 curl -sS -D "$LAB/headers" http://127.0.0.1:9100/ >"$LAB/html"
    grep -i "^content-security-policy: default-src 'none';" "$LAB/headers"
    grep '<tr><td>web</td>' "$LAB/html"
    run ! grep -E '(src|href)="(https?:)?//' "$LAB/html"
    run ! grep -iE '<[^>]* on[a-z]+=' "$LAB/html"
    [ "$(lab_in h1 curl -sS -o /dev/null -w '%{http_code}' -X POST http://127.0.0.1:9100/)" = 405 ]

    browse --window-size=1200,600 --screenshot="$LAB/wide.png"
    browse --window-size=360,800 --screenshot="$LAB/narrow.png"
    for picture in wide narrow; do
        small "$LAB/$picture.png"
    done
    [[ -z ${PICTURES:-} ]] || cp "$LAB/wide.png" "$LAB/narrow.png" "$PICTURES/"
}

@test "fleet page: the keys of all hosts, with a filter; texts of other people run no script" {
    local lease n
    lab_dockerd h1
    lab_image h1 app:1
    lab_agent h1 --node h1 --listen 127.0.0.1:9100
    lab_docker h1 run -d -P --name web app:1
    lab_docker h1 run -d -P --name web2 app:1
    lab_docker h1 run -d -P --name cart --label SERVICE_NAME=shop app:1
    wait_for 5 registered 3
    # HAProxy's page, with the servers that confd takes from the keys; a copy that does not load itself again.
    lb_setup h1 haproxy-services
    lb_haproxy h1
    wait_for 10 haproxy_is_up web web2 cart
    lab_in h1 curl -sS http://127.0.0.1/admin-status | sed 's/<meta http-equiv="refresh"[^>]*>//' >"$LAB/haproxy.html"
    PAGE=file://$LAB/haproxy.html browse --window-size=1280,575 --screenshot="$LAB/haproxy.png"
    small "$LAB/haproxy.png"
    lease=$(lease3 600)
    for n in 1 2 3; do
        put3 "/app/shop/cart-$n" "192.0.2.12:3276$n" "$lease"
    done
    put3 /app/servers/by-hand 203.0.113.9:80
    # The first page says that etcd is being asked, and comes again.
    lab_in h1 curl -sS http://127.0.0.1:9100/fleet | grep -F '<meta http-equiv="refresh" content="1">'
    wait_for 10 fleet_is '<td>cart-1</td>'
    PAGE=http://127.0.0.1:9100/fleet browse --window-size=1000,510 --screenshot="$LAB/fleet.png"
    small "$LAB/fleet.png"
    # shellcheck disable=SC2016     # an attack
    put3 "/app/servers/\"></td><script>document.title=1</script>" '"></td><img src=x onerror=document.title=1>'
    wait_for 20 fleet_is '&lt;script&gt;'
    # All of it is there without JavaScript, and nothing comes from elsewhere.
    run ! grep -E '(src|href)="(https?:)?//' "$LAB/html"
    run ! grep -iE '<[^>]* on[a-z]+=' "$LAB/html"
    PAGE=http://127.0.0.1:9100/fleet browse --dump-dom >"$LAB/dom"
    rows | tee "$LAB/rows"
    grep -E '^servers \| web \| 192\.0\.2\.11:[0-9]+ \| 192\.0\.2\.11 \| [0-9]+ writes \| [0-9]+ s \| $' "$LAB/rows"
    grep -E '^shop \| cart-1 \| 192\.0\.2\.12:32761 \| 192\.0\.2\.12 \| [0-9]+ writes \| [0-9]+ s \| $' "$LAB/rows"
    grep -E '^ \| /app/servers/"&gt;.*&lt;script&gt;.* \| none \| no TTL, not by the key template' "$LAB/rows"
    grep '<title>All hosts: registrator</title>' "$LAB/dom"
    [ "$(grep -c '<script' "$LAB/dom")" -eq 1 ]
    [ "$(grep -c '<img' "$LAB/dom")" -eq 0 ]
    grep '<p><input id="filter"' "$LAB/dom"
    grep '<p id="age" class="rejected"></p>' "$LAB/dom"
    # The filter comes from the address, too, and stays when the page refreshes itself.
    PAGE=http://127.0.0.1:9100/fleet#Cart-2 browse --dump-dom >"$LAB/dom"
    [ "$(grep -o '<tr hidden=""' "$LAB/dom" | wc -l)" -eq 7 ]
    grep -E '<tr><td>shop</td><td>cart-2</td>' "$LAB/dom"
    PAGE=http://127.0.0.1:9100/fleet browse --window-size=360,800 --screenshot="$LAB/fleet-narrow.png"
    small "$LAB/fleet-narrow.png"
    [[ -z ${PICTURES:-} ]] || cp "$LAB/fleet.png" "$LAB/fleet-narrow.png" "$LAB/haproxy.png" "$PICTURES/"
    # Without etcd, the page says so.
    lab_etcd_stop etcd
    wait_for 30 fleet_is '<dd>etcd gave no answer'
}

@test "page and fleet page show 1,000 containers" {
    command -v go || skip "the fake Docker needs a Go compiler"
    lab_build_fake_docker "$LAB/fake-docker"
    LAB_NETNS=$LAB_ID-h1 lab_spawn fake-docker "$LAB/fake.log" "$LAB/fake-docker" --socket "$LAB/h1/docker.sock" \
        --data "$LAB_TOP/tests/data/docker" --containers 1000
    wait_for 10 socket_listens "$LAB/h1/docker.sock"
    # The fake engine's containers have no servers.
    lab_agent h1 --node h1 --listen 127.0.0.1:9100 --ready none
    wait_for 60 registered 1000
    browse --dump-dom >"$LAB/dom"
    [ "$(rows | grep -c ' | registered | ')" -eq 1000 ]
    grep '<p id="age" class="rejected"></p>' "$LAB/dom"
    wait_for 10 fleet_is '<dd>1000, '
    PAGE=http://127.0.0.1:9100/fleet browse --dump-dom >"$LAB/dom"
    [ "$(rows | grep -c ' s | ')" -eq 1000 ]
    grep '<p id="age" class="rejected"></p>' "$LAB/dom"
}
