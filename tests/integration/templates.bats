#!/usr/bin/env bats
# What containers say in labels and environment, the templates that it goes into, and the programs
# that read what comes out. And that nothing which strangers write can do harm.

bats_require_minimum_version 1.8.0
load ../lib/one_host
load ../lib/lb

setup_file() {
    export BATS_TEST_TIMEOUT=240
    one_host_up
}

teardown_file() {
    lab_down
}

setup() {
    lab_attach
}

teardown() {
    for name in dns traefik; do
        lab_stop "$name" KILL
    done
    one_host_clear
}

# ------------------------------------------------------------------------------- metadata

@test "SERVICE_NAME as label or variable: the label wins, and an empty name counts as none" {
    agent
    start label -p 8001:80 -l SERVICE_NAME=shop
    start variable -p 8002:80 -e SERVICE_NAME=shop
    start both -p 8003:80 -l SERVICE_NAME=shop -e SERVICE_NAME=other
    start empty -p 8004:80 -l SERVICE_NAME=
    start empty-label -p 8005:80 -l SERVICE_NAME= -e SERVICE_NAME=shop
    keys_become "/app/shop/label 192.0.2.11:8001" "/app/shop/variable 192.0.2.11:8002" \
        "/app/shop/both 192.0.2.11:8003" "/app/servers/empty 192.0.2.11:8004" \
        "/app/servers/empty-label 192.0.2.11:8005"
}

@test "SERVICE_<port>_NAME overrides SERVICE_NAME, as label or variable" {
    # Nobody listens at port 443.
    agent --ready none
    start web -p 8001:80 -p 8002:443 -e SERVICE_80_NAME=http -l SERVICE_NAME=shop
    keys_become "/app/http/web-80 192.0.2.11:8001" "/app/shop/web-443 192.0.2.11:8002"
}

@test "labels and variables of the image can be overridden" {
    lab_docker h1 import -c 'EXPOSE 80' -c 'CMD ["/bin/serve", "exit 0"]' -c 'LABEL SERVICE_NAME=image' \
        -c 'ENV SERVICE_80_IGNORE=yes' "$LAB/image.tar" app:named >/dev/null
    agent
    start own -P -- app:named
    start replaced -p 8001:80 -l SERVICE_NAME=mine -e SERVICE_80_IGNORE=no -- app:named
    keys_become "/app/mine/replaced 192.0.2.11:8001"
    why_becomes port-ignored own 80/tcp
}

@test "SERVICE_IGNORE excludes a container, except with false, no or 0" {
    local value n=8000 expected=()
    agent
    for value in true yes 1 2 x nope; do
        start "out-$value" -p $((++n)):80 -l "SERVICE_IGNORE=$value"
    done
    for value in false no 0 FALSE No ''; do
        start "in-$value." -p $((++n)):80 -e "SERVICE_IGNORE=$value"
        expected+=("/app/servers/in-$value. 192.0.2.11:$n")
    done
    keys_become "${expected[@]}"
    for value in true yes 1 2 x nope; do
        why_becomes ignored "out-$value"
    done
    run lab_registrator h1 status
    [[ $output =~ out-x\ +unregistered\ +"ignored by SERVICE_IGNORE" ]]
}

@test "--explicit registers only containers that name a service" {
    # Nobody listens at port 443.
    agent --explicit --ready none
    start plain -p 8001:80
    start named -p 8002:80 -e SERVICE_NAME=shop
    start port -p 8003:80 -p 8004:443 -l SERVICE_443_NAME=tls
    keys_become "/app/shop/named 192.0.2.11:8002" "/app/tls/port 192.0.2.11:8004"
    why_becomes not-named plain
    why_becomes not-named port 80/tcp
}

@test "--only registers containers with one of the labels, also after SIGHUP; status --etcd agrees" {
    printf '[registry]\nonly = tier=web, public\n' >"$LAB/registrator.conf"
    agent --config "$LAB/registrator.conf"
    start plain -p 8001:80 -l SERVICE_NAME=shop
    start web -p 8002:80 -l tier=web
    start database -p 8003:80 -l tier=data
    start open -p 8004:80 -l public=
    keys_become "/app/servers/web 192.0.2.11:8002" "/app/servers/open 192.0.2.11:8004"
    why_becomes not-selected plain
    why_becomes not-selected database
    run lab_registrator h1 explain database
    [[ $output == *"unregistered, has no label that --only names"*"To do: Start the container with a label that --only names"* ]]
    wait_for 10 lab_registrator h1 status --etcd

    printf '[registry]\nonly = tier=data\nonly = tier=web\n' >"$LAB/registrator.conf"
    lab_signal agent-h1 HUP
    keys_become "/app/servers/web 192.0.2.11:8002" "/app/servers/database 192.0.2.11:8003"
    # A label that no setting named before.
    printf '[registry]\nonly = SERVICE_NAME\n' >"$LAB/registrator.conf"
    lab_signal agent-h1 HUP
    keys_become "/app/shop/plain 192.0.2.11:8001"
}

@test "containers of docker compose run are registered only if they name a service" {
    agent
    start task -p 8001:80 -l com.docker.compose.oneoff=True
    start named -p 8002:80 -l com.docker.compose.oneoff=True -l SERVICE_NAME=shop
    start service -p 8003:80 -l com.docker.compose.oneoff=False
    keys_become "/app/shop/named 192.0.2.11:8002" "/app/servers/service 192.0.2.11:8003"
    why_becomes one-off task
    run lab_registrator h1 explain task
    [[ $output == *"unregistered, one-off container of docker compose run"*"SERVICE_NAME"* ]]
}

@test "a service template without fallback registers no container for which it is empty" {
    agent --service '{label:com.docker.compose.service}'
    start plain -p 8001:80
    start composed -p 8002:80 -l com.docker.compose.service=front
    start named -p 8003:80 -l com.docker.compose.service=front -l SERVICE_NAME=shop
    keys_become "/app/front/composed 192.0.2.11:8002" "/app/shop/named 192.0.2.11:8003"
    why_becomes not-named plain 80/tcp
}

@test "an error in a template ends the agent at once, and the message names its place" {
    local case template column
    for case in '/app/{service}/{nmae} 17' '/app/{service}/{name 16' '/app/{service}/{label:}/{name} 23' \
        '/app/{name|upper} 12'; do
        template=${case% *}
        column=${case##* }
        run lab_in h1 "$REGISTRATOR" --check-config --config /dev/null --key "$template"
        echo "$output"
        [ "$status" -eq 1 ]
        [[ $output == *"--key: '$template': "*" at column $column"* ]]
    done
}

# --------------------------------------------------------------------------- the examples

# example HEADING [LANGUAGE]: prints the first code of that language below that heading of the manual.
example() {
    awk -v heading="### $1" -v wanted="\`\`\`${2:-}" '
        /^### / { here = $0 == heading }
        /^```/ { fence = fence ? "" : $0; done += printed; printed = 0; next }
        here && fence == wanted && !done { print; printed = 1 }
    ' "$LAB_TOP/docs/templates.md"
}

# agent_like HEADING [ARGUMENTS...]: with the settings of that example.
agent_like() {
    example "$1" ini >"$LAB/registrator.conf"
    grep -q '^\[registry\]$' "$LAB/registrator.conf"
    shift
    agent --config "$LAB/registrator.conf" "$@"
}

@test "example: the original layout" {
    agent_like 'The original layout'
    start web -P
    keys_become "$(docker_expect h1)"
    keys_are h1
}

@test "example: Compose projects" {
    agent_like 'Compose projects'
    start shop-frontend-1 -p 8001:80 -l com.docker.compose.project=shop -l com.docker.compose.service=frontend
    start plain -p 8002:80
    keys_become "/app/frontend/shop-frontend-1 192.0.2.11:8001" "/app/other/plain 192.0.2.11:8002"
}

@test "example: the layout of gliderlabs/registrator" {
    agent_like 'The layout of gliderlabs/registrator' --node h1
    start web -p 8001:80
    start named -p 8002:80 -e SERVICE_NAME=db
    keys_become "/services/app/h1:web:80 192.0.2.11:8001" "/services/db/h1:named:80 192.0.2.11:8002"
}

@test "example: SkyDNS and CoreDNS, answered by a CoreDNS" {
    agent_like 'SkyDNS and CoreDNS'
    start web -p 8001:80
    start one -p 8002:80 -l SERVICE_NAME=shop
    start two -p 8003:80 -l SERVICE_NAME=shop
    keys_become '/skydns/local/cluster/servers/web {"host":"192.0.2.11","port":8001}' \
        '/skydns/local/cluster/shop/one {"host":"192.0.2.11","port":8002}' \
        '/skydns/local/cluster/shop/two {"host":"192.0.2.11","port":8003}'
    example 'SkyDNS and CoreDNS' >"$LAB/Corefile"
    LAB_NETNS=$LAB_ID-etcd lab_spawn dns "$LAB/dns.log" "$LAB_TOOLS/bin/coredns" -conf "$LAB/Corefile"
    wait_for 10 dns_says a web.servers.cluster.local 'Address: 192.0.2.11'
    dns_says srv shop.cluster.local 'service = 10 50 8002 one.shop.cluster.local'
    dns_says srv shop.cluster.local 'service = 10 50 8003 two.shop.cluster.local'
    lab_docker h1 rm -f two
    wait_for 5 not dns_says srv shop.cluster.local 8003
    dns_says srv shop.cluster.local 8002
}
# dns_says TYPE NAME TEXT
dns_says() {
    lab_in etcd busybox nslookup -type="$1" "$2" 127.0.0.1 | grep -F "$3"
}

@test "example: SkyDNS and CoreDNS, with an IPv6 address" {
    agent_like 'SkyDNS and CoreDNS' --advertise 2001:db8::5
    start web -p 8001:80
    keys_become '/skydns/local/cluster/servers/web {"host":"2001:db8::5","port":8001}'
    example 'SkyDNS and CoreDNS' >"$LAB/Corefile"
    LAB_NETNS=$LAB_ID-etcd lab_spawn dns "$LAB/dns.log" "$LAB_TOOLS/bin/coredns" -conf "$LAB/Corefile"
    wait_for 10 dns_says aaaa web.servers.cluster.local 2001:db8::5
}

@test "example: Traefik, as its own etcd provider reads it" {
    agent_like Traefik --node h1
    start web -p 8001:80 -l SERVICE_NAME=shop
    start other -p 8002:80 -l SERVICE_NAME=shop
    start plain -p 8003:80
    keys_become 'traefik/http/services/servers/loadBalancer/servers/h1-plain/url http://192.0.2.11:8003' \
        'traefik/http/services/shop/loadBalancer/servers/h1-other/url http://192.0.2.11:8002' \
        'traefik/http/services/shop/loadBalancer/servers/h1-web/url http://192.0.2.11:8001'
    LAB_NETNS=$LAB_ID-etcd lab_spawn traefik "$LAB/traefik.log" "$LAB_TOOLS/bin/traefik" 192.0.2.2:2379
    wait_for 10 traefik_routes_to shop http://192.0.2.11:8001 http://192.0.2.11:8002
    traefik_routes_to servers http://192.0.2.11:8003
    lab_docker h1 rm -f web
    wait_for 5 traefik_routes_to shop http://192.0.2.11:8002
}
# traefik_routes_to SERVICE URL...: by the last configuration that it took.
traefik_routes_to() {
    local service=$1
    shift
    diff <(printf '%s\n' "$@") <(grep '^{"http"' "$LAB/traefik.log" | tail -n 1 |
        jq -r --arg service "$service" '.http.services[$service].loadBalancer.servers[].url' | sort)
}

# layouts_example: docs/layouts.md's settings.
layouts_example() {
    awk '/^```ini$/ && !done { inside = 1; next } /^```$/ && inside { done = 1; inside = 0 } inside' \
        "$LAB_TOP/docs/layouts.md"
}
# layouts_of NAME PORT SERVICE: the keys of container NAME in the example's layouts.
layouts_of() {
    printf '%s\n' "/app/$3/$1 192.0.2.11:$2" "/skydns/local/cluster/$3/$1 {\"host\":\"192.0.2.11\",\"port\":$2}" \
        "traefik/http/services/$3/loadBalancer/servers/h1-$1/url http://192.0.2.11:$2" \
        "traefik/http/routers/h1-$1/rule Host(\`$3.example.com\`)" "traefik/http/routers/h1-$1/service $3"
}
# layouts_are "NAME PORT SERVICE"...: all keys are those of these containers.
layouts_are() {
    local container
    # shellcheck disable=SC2086     # three words
    diff <(for container in "$@"; do layouts_of $container; done | sort) <(all_keys)
}
# traefik_rule_is ROUTER TEXT: in the last configuration that it took.
traefik_rule_is() {
    [[ $(grep '^{"http"' "$LAB/traefik.log" | tail -n 1 |
        jq -r --arg router "$1" '.http.routers[$router] | "\(.rule) \(.service)"') == "$2" ]]
}
# leases: of all keys, each once.
leases() {
    etcd3 kv/range '{"key":"AA==","range_end":"AA=="}' |
        jq -r '.kvs[] | select((.key | @base64d) != "/lab-mark") | .lease' | sort -u
}
# events_of WORD: what the recorder saw of keys with this word.
events_of() {
    watch_sync "$LAB/events"
    sed 's/ @[0-9]* [0-9.]*$//' "$LAB/events" | grep -w "$1" | sort
}
# settings_without SECTION: reads the settings again without this section of the example.
settings_without() {
    sed -i "/^\\[$1\\]/,/^\$/d" "$LAB/registrator.conf"
}

@test "docs/layouts.md: one agent feeds HAProxy's confd, CoreDNS and Traefik at once, under one lease" {
    lab_host lb 192.0.2.3
    layouts_example >"$LAB/registrator.conf"
    agent --config "$LAB/registrator.conf" --node h1
    start web -p 8001:80
    start shop -p 8002:80 -l SERVICE_NAME=shop
    wait_for 10 layouts_are "web 8001 servers" "shop 8002 shop"
    (($(leases | wc -l) == 1))

    example 'SkyDNS and CoreDNS' >"$LAB/Corefile"
    LAB_NETNS=$LAB_ID-etcd lab_spawn dns "$LAB/dns.log" "$LAB_TOOLS/bin/coredns" -conf "$LAB/Corefile"
    LAB_NETNS=$LAB_ID-etcd lab_spawn traefik "$LAB/traefik.log" "$LAB_TOOLS/bin/traefik" 192.0.2.2:2379
    lb_setup lb haproxy
    lb_haproxy lb
    lb_confd lb -watch
    wait_for 10 lb_servers_are lb web
    wait_for 10 lb_get lb /
    wait_for 10 dns_says srv shop.cluster.local 'service = 10 100 8002 shop.shop.cluster.local'
    wait_for 10 traefik_routes_to shop http://192.0.2.11:8002
    # shellcheck disable=SC2016     # Traefik's rule
    wait_for 10 traefik_rule_is h1-shop 'Host(`shop.example.com`) shop'

    # Each record says which layout it is of.
    run lab_registrator h1 explain shop
    [[ $output == *$'registered: /app/shop/shop = 192.0.2.11:8002\n'* ]]
    [[ $output == *'registered: [dns] /skydns/local/cluster/shop/shop = {"host":"192.0.2.11","port":8002}'* ]]
    [ "$(lab_registrator h1 status --json | jq -r '[.containers[0].records[].layout] | join(" ")')" = \
        "default dns traefik-server traefik-rule traefik-service" ]
    # The fleet knows each key by its layout, and finds the port in each of them to be one.
    [ "$(lab_registrator h1 --config "$LAB/registrator.conf" fleet --json |
        jq -r '"\(.anomalies) " + ([.keys[].layout] | unique | join(" "))')" = \
        "0 default dns traefik-rule traefik-server traefik-service" ]
    wait_for 10 lab_registrator h1 status --etcd
    lab_docker h1 rm -f web
    wait_for 10 layouts_are "shop 8002 shop"
    lb_confd_stop lb
    lb_haproxy_stop lb
}

@test "SIGHUP and restarts add and remove layouts without an event for keys of other layouts" {
    layouts_example >"$LAB/registrator.conf"
    agent --config "$LAB/registrator.conf" --node h1
    start shop -p 8002:80 -l SERVICE_NAME=shop
    wait_for 10 layouts_are "shop 8002 shop"
    watch3_start "$LAB/events"
    lab_agent_kill9 h1
    agent --config "$LAB/registrator.conf" --node h1
    wait_for 10 lab_registrator h1 status --etcd

    settings_without 'layout dns'
    printf '\n[layout old]\nkey = old/{name}\nvalue = {service}\n' >>"$LAB/registrator.conf"
    lab_signal agent-h1 HUP
    wait_for 10 eval 'all_keys | grep -x "old/shop shop"'
    wait_for 10 not eval 'all_keys | grep /skydns'
    wait_for 10 lab_registrator h1 status --etcd
    # A layout that the settings lose while no agent runs.
    lab_agent_kill9 h1
    settings_without 'layout old'
    agent --config "$LAB/registrator.conf" --node h1
    wait_for 10 not eval 'all_keys | grep ^old/'
    diff <(events_of shop) - <<EVENTS
DELETE /skydns/local/cluster/shop/shop
DELETE old/shop
PUT old/shop shop
EVENTS
    (($(all_keys | wc -l) == 4))
    watch3_stop "$LAB/events"
}

@test "status, explain, metrics and status --etcd name the layout of a conflict" {
    printf '[agent]\nlisten = 127.0.0.1:9100\n[layout dns]\nkey = dns/{name}\n' >"$LAB/registrator.conf"
    put3 dns/web theirs
    agent --config "$LAB/registrator.conf"
    start web -p 8001:80
    says_so() {
        lab_registrator h1 explain web | grep -F "conflict: [dns] dns/web belongs to another owner, with value theirs"
    }
    wait_for 10 says_so
    [ "$(lab_registrator h1 status --json | jq -r '.containers[].records[] | "\(.layout) \(.state)"')" = \
        $'default registered\ndns conflict' ]
    run lab_registrator h1 status --etcd
    [ "$status" -eq 3 ]
    [[ $output == *"dns/web, container web, layout dns"*"Docker, agent and etcd differ in 1 of 2 keys."* ]]
    lab_in h1 curl -fsS http://127.0.0.1:9100/metrics >"$LAB/metrics"
    grep -x 'registrator_records{state="registered"} 1' "$LAB/metrics"
    grep -x 'registrator_records{layout="dns",state="conflict"} 1' "$LAB/metrics"
    lab_in h1 curl -fsS http://127.0.0.1:9100/ | grep -F '[dns] dns/web'
    del3 dns/web
    keys_become "/app/servers/web 192.0.2.11:8001" "dns/web 192.0.2.11:8001"
}

@test "example: JSON with metadata" {
    agent_like 'JSON with metadata' --node h1
    local id key value
    start web -p 8001:80
    start tagged -p 8002:80 -l $'SERVICE_TAGS=a "b"\\\nc\tü'
    wait_for 10 keys_of /instances/ 2
    while read -r key value; do
        id=$(jq -r .name <<<"$value")
        [[ $key == "/instances/servers/$(lab_docker h1 inspect -f '{{.Id}}' "$id" | cut -c 1-12)-80" ]]
        jq -e '.node == "h1" and .image == "app"' <<<"$value"
    done < <(all_keys)
    [ "$(all_keys | cut -d ' ' -f 2- | jq -r 'select(.name == "web") | "\(.url) \(.tags)"')" = 'http://192.0.2.11:8001 null' ]
    [ "$(all_keys | cut -d ' ' -f 2- | jq -r 'select(.name == "tagged").tags')" = $'a "b"\\\nc\tü' ]
}
# keys_of PREFIX N
keys_of() {
    local n
    all_keys
    n=$(all_keys | grep -c "^$1")
    ((n == $2))
}

# -------------------------------------------------------------------------------- safety

# Values that try to get out of where they are put; one a line, as JSON, since Docker's command takes
# neither NUL nor bytes that are no text.
hostile() {
    cat <<'JSON'
"../../../other/key"
".."
"."
"/"
"//etc//passwd"
"a/b"
"a b"
" "
"x\n    server evil 192.0.2.99:80"
"x\r\nx"
"x\tx"
"\u0000"
"a\u0000b"
"\"quoted\" 'and' `so`"
"back\\slash"
"#comment"
"$(reboot) ${HOME} %[src]"
"{name}"
"{{.Value}}"
"\u0085\u2028\u2029"
"\u001b[31mred\u007f"
"\u202eevil"
"ünï cödé \ud83d\ude00"
"*?[a-z]"
"192.0.2.99:80 check # "
JSON
    # What is not UTF-8: Docker makes U+FFFD of it, or refuses it.
    printf '"\xff\xfe\xc3"\n'
    printf '"%s"\n' "$(printf 'long%.0s' {1..480})"
}

# create NAME LABELS: with docker's API; LABELS is JSON. Then starts it.
create() {
    lab_docker_get h1 "/containers/create?name=$1" -H 'Content-Type: application/json' --data-binary @- >/dev/null <<JSON
{"Image": "app:1", "Labels": $2, "HostConfig": {"PublishAllPorts": true}}
JSON
    lab_docker h1 start "$1" >/dev/null
}

@test "hostile labels make no key outside of the prefix, and no line of their own in haproxy.cfg" {
    local n=0 text
    while IFS= read -r text; do
        create "web$((++n))" "{\"SERVICE_NAME\": $text, \"zone\": $text, \"SERVICE_TAGS\": $text}"
    done < <(hostile)
    ((n > 20))
    # Each goes into the service, once more into the middle of the key, and into the value.
    agent --key '/app/{service}/x{label:zone}/{name}' --value '{address}:{port} weight {label:weight?1} id-x{label:SERVICE_TAGS}'
    wait_for 20 keys_of /app/ "$n"
    # What comes of each is one key of four parts, and a value of one line and four words.
    run all_keys
    echo "$output"
    [ "${#lines[@]}" -eq "$n" ]
    local line word='[A-Za-z0-9._:-]'
    for line in "${lines[@]}"; do
        [[ $line =~ ^/app/$word+/x$word*/web[0-9]+\ 192\.0\.2\.11:[0-9]+\ weight\ 1\ id-x([^ ]*)$ ]]
        [[ ${BASH_REMATCH[1]} != *[[:cntrl:]\"\'\`\\\#\$]* ]]
        [[ ${line%% *}/ != */./* && ${line%% *}/ != */../* ]]
    done
    # Nobody in haproxy.cfg but they.
    printf '%s\n' 'defaults' '  mode http' '  timeout connect 1s' '  timeout client 1s' '  timeout server 1s' \
        'frontend all' '  bind 127.0.0.1:8080' '  default_backend app' 'backend app' >"$LAB/haproxy.cfg"
    all_keys | sed -E 's#^.*/([^/ ]+) ([^ ]+ weight 1) (.*)$#  server \1 \2 cookie \3#' >>"$LAB/haproxy.cfg"
    haproxy -c -q -f "$LAB/haproxy.cfg"
    # Each container has the port that Docker says.
    for line in "${lines[@]}"; do
        text=${line#*/web}
        [[ $line == *"/web${text%% *} 192.0.2.11:$(port "web${text%% *}" 80/tcp) weight"* ]]
    done
    # Nor does status let them through to the terminal.
    run lab_registrator h1 status
    [ "$status" -eq 0 ]
    [[ $output != *[$'\e\x7f\r\t']* ]]
    lab_registrator h1 status --json | jq -e .
}

@test "hostile labels in a service template make no key outside of the prefix" {
    local n=0 text
    while IFS= read -r text; do
        create "web$((++n))" "{\"com.docker.compose.service\": $text}"
    done < <(hostile)
    agent --service '{label:com.docker.compose.service?none}'
    wait_for 20 keys_of /app/ "$n"
    run all_keys
    echo "$output"
    local line
    for line in "${lines[@]}"; do
        [[ $line =~ ^/app/[A-Za-z0-9._:-]+/web[0-9]+\ 192\.0\.2\.11:[0-9]+$ ]]
        [[ ${line%% *}/ != */./* && ${line%% *}/ != */../* ]]
    done
}

@test "a text over 4 KiB is not registered, and the agent reports this" {
    local text
    text=$(printf 'x%.0s' {1..4090})
    create fits "{\"SERVICE_NAME\": \"${text:0:4000}\"}"
    create long "{\"SERVICE_NAME\": \"$text\"}"
    create longer "{\"SERVICE_NAME\": \"$text$text\"}"
    agent
    keys_become "/app/${text:0:4000}/fits 192.0.2.11:$(port fits 80/tcp)"
    why_becomes too-long long 80/tcp
    why_becomes too-long longer 80/tcp
}

@test "of two containers with the same key, the second waits, reports this, and takes over" {
    agent --key '/app/{service}-{name}'
    start cc -p 8001:80 -l SERVICE_NAME=a-b
    keys_become "/app/a-b-cc 192.0.2.11:8001"
    start b-cc -p 8002:80 -l SERVICE_NAME=a
    why_becomes duplicate b-cc 80/tcp
    [ "$(why cc 80/tcp)" = registered ]
    keys_become "/app/a-b-cc 192.0.2.11:8001"
    run lab_registrator h1 explain b-cc
    [[ $output == *"taken by another container"*"Rename"* ]]
    run lab_registrator h1 status --json
    jq -e '.containers[] | select(.name == "b-cc").records[0].key == "/app/a-b-cc"' <<<"$output"
    lab_docker h1 rm -f cc
    keys_become "/app/a-b-cc 192.0.2.11:8002"
}
