#!/usr/bin/env bats
# All that `docker run` can say of ports and networks, on a real dockerd: which keys come of it,
# with which names and values, and what status says where there is none.

bats_require_minimum_version 1.8.0
load ../lib/one_host

setup_file() {
    export BATS_TEST_TIMEOUT=240
    one_host_up
    # A second address, and IPv6, for bindings to one address.
    ip -n "$LAB_ID-h1" address add 192.0.2.12/24 dev eth0
    ip -n "$LAB_ID-h1" address add 2001:db8::11/64 dev eth0 nodad
}

teardown_file() {
    lab_down
}

setup() {
    lab_attach
}

teardown() {
    one_host_clear
}

# ------------------------------------------------------------------------------- bindings

@test "ports published with -p HOST:CONTAINER and -P" {
    agent
    start fixed -p 8080:80
    start mapped -P
    keys_become "/app/servers/fixed 192.0.2.11:8080" \
        "/app/servers/mapped 192.0.2.11:$(port mapped 80/tcp)"
}

@test "a loopback binding has no key, and status gives the reason" {
    agent
    start local -p 127.0.0.1:8081:80
    start local6 -p '[::1]:8081:80'
    start other -p 127.1.2.3::80
    start both -p 127.0.0.1:8082:80 -p 8083:80
    keys_become "/app/servers/both 192.0.2.11:8083"
    local name
    for name in local local6 other; do
        why_becomes loopback "$name" 80/tcp
    done
    run lab_registrator h1 status
    [[ $output =~ local\ +unregistered\ +80/tcp:\ bound\ to\ loopback\ only ]]
    run lab_registrator h1 explain local
    [[ $output == *loopback*"docker run -p"* ]]
}

@test "a binding to one address is advertised as that address" {
    agent --advertise 192.0.2.11
    start web -p 192.0.2.12:8084:80
    start web6 -p '[2001:db8::11]:8085:80'
    # Bound to any address is better than bound to one: it is there for all.
    start any -p 192.0.2.12:8086:80 -p 8087:80
    keys_become "/app/servers/any 192.0.2.11:8087" "/app/servers/web 192.0.2.12:8084" \
        "/app/servers/web6 [2001:db8::11]:8085"
}

@test "ranges of ports" {
    # Nobody listens at these ports.
    agent --ready none
    start range -p 7000-7002:7000-7002
    start one -p 7100-7110:80
    keys_become "/app/servers/one 192.0.2.11:$(port one 80/tcp)" \
        "/app/servers/range-7000 192.0.2.11:7000" "/app/servers/range-7001 192.0.2.11:7001" \
        "/app/servers/range-7002 192.0.2.11:7002"
    (($(port one 80/tcp) >= 7100 && $(port one 80/tcp) <= 7110))
}

@test "of several bindings of one port, the lowest host port is registered, or each if the key has the port" {
    start web -p 8089:80 -p 8088:80 -p 127.0.0.1:8087:80 -p 192.0.2.12:8086:80
    agent
    keys_become "/app/servers/web 192.0.2.11:8088"
    agent_again --key '/app/{service}/{name}:{address}:{port}'
    keys_become "/app/servers/web:192.0.2.11:8088 192.0.2.11:8088" \
        "/app/servers/web:192.0.2.11:8089 192.0.2.11:8089" \
        "/app/servers/web:192.0.2.12:8086 192.0.2.12:8086"
}

@test "0.0.0.0 and :: are one binding" {
    start web -p 8090:80
    # That is what Docker made of it.
    [ "$(lab_docker h1 port web 80/tcp)" = $'0.0.0.0:8090\n[::]:8090' ]
    agent --key '/app/{service}/{name}-{port}-{address}'
    keys_become "/app/servers/web-8090-192.0.2.11 192.0.2.11:8090"
}

@test "UDP needs a label, and its key ends with -udp beside TCP of the same number" {
    # Nobody listens at these ports.
    agent --ready none
    start dns -p 5301:53 -p 5302:53/udp
    keys_become "/app/servers/dns 192.0.2.11:5301"
    why_becomes udp dns 53/udp
    start asked -p 5303:53 -p 5304:53/udp -l SERVICE_53_PROTOCOL=tcp,udp
    start only -p 5305:53 -p 5306:53/udp -l SERVICE_PROTOCOL=udp
    start lone -p 5307:53/udp -e SERVICE_53_PROTOCOL=any
    start two -p 5308:53/udp -p 5309:80 -l SERVICE_PROTOCOL=any
    keys_become "/app/servers/dns 192.0.2.11:5301" \
        "/app/servers/asked-53 192.0.2.11:5303" "/app/servers/asked-53-udp 192.0.2.11:5304" \
        "/app/servers/only 192.0.2.11:5306" "/app/servers/lone 192.0.2.11:5307" \
        "/app/servers/two-53 192.0.2.11:5308" "/app/servers/two-80 192.0.2.11:5309"
    why_becomes port-ignored only 53/tcp
}

@test "SCTP follows the rules of UDP" {
    if ! start probe -p 5310:53/sctp; then
        lab_docker h1 rm -f probe >/dev/null
        skip "this kernel has no SCTP"
    fi
    start asked -p 5311:53/sctp -p 5312:53 -l SERVICE_53_PROTOCOL=any
    agent
    keys_become "/app/servers/asked-53 192.0.2.11:5312" "/app/servers/asked-53-sctp 192.0.2.11:5311"
    why_becomes udp probe 53/sctp
}

# ------------------------------------------------------------------------- several ports

@test "keys of several ports have the port's number; the only port left of three has the plain name" {
    agent
    start many -P -- app3:1
    start one -P -l SERVICE_443_IGNORE=yes -- app3:1
    start none -P -l SERVICE_80_IGNORE=1 -e SERVICE_443_IGNORE=true -- app3:1
    keys_become "/app/servers/many-80 192.0.2.11:$(port many 80/tcp)" \
        "/app/servers/many-443 192.0.2.11:$(port many 443/tcp)" \
        "/app/servers/one 192.0.2.11:$(port one 80/tcp)"
    why_becomes udp one 9000/udp
    why_becomes port-ignored one 443/tcp
    why_becomes port-ignored none 443/tcp
}

# ------------------------------------------------------------------------------------ IPv6

@test "an IPv6 binding waits for an IPv6 address, and its value has brackets" {
    agent --advertise 192.0.2.11
    start v6 -p '[::]:8091:80'
    start v4 -p 0.0.0.0:8092:80
    keys_become "/app/servers/v4 192.0.2.11:8092"
    why_becomes no-address v6 80/tcp
    agent_again --advertise 2001:db8:0::0011
    keys_become "/app/servers/v6 [2001:db8::11]:8091"
    why_becomes no-address v4 80/tcp
    # An interface has both.
    agent_again --advertise eth0
    keys_become "/app/servers/v4 192.0.2.11:8092" "/app/servers/v6 [2001:db8::11]:8091"
}

@test "confd's template and HAProxy accept IPv6 addresses" {
    agent --advertise 2001:db8::11
    start web -p 8093:80
    keys_become "/app/servers/web [2001:db8::11]:8093"
    local dir=$LAB/confd
    mkdir -p "$dir"/{conf.d,templates}
    # Rendered for a file of ours, and nobody is told.
    sed -e "s#^dest = .*#dest = \"$dir/haproxy.cfg\"#" -e '/^reload_cmd/d' -e '/^check_cmd/d' \
        "$LAB_TOP/etc/confd/conf.d/haproxy.toml" >"$dir/conf.d/haproxy.toml"
    cp "$LAB_TOP/etc/confd/templates/haproxy.tmpl" "$dir/templates/"
    lab_in h1 "$LAB_TOOLS/bin/confd-0.16" -onetime -backend etcdv3 -node "$(lab_etcd_urls)" -confdir "$dir"
    grep -xF '    server web:2001:db8::11:8093 [2001:db8::11]:8093 check' "$dir/haproxy.cfg"
    haproxy -c -q -f "$dir/haproxy.cfg"
}

# -------------------------------------------------------------------------------- networks

@test "user-defined and several networks give one key with the host's address and port" {
    agent
    lab_docker h1 network create one >/dev/null
    lab_docker h1 network create two >/dev/null
    start user --network one -p 8094:80
    start several --network one -P
    lab_docker h1 network connect two several
    keys_become "/app/servers/user 192.0.2.11:8094" \
        "/app/servers/several 192.0.2.11:$(port several 80/tcp)"
}

@test "--network host registers the exposed ports at the host's address" {
    agent
    start bare --network host -- app3:1
    keys_become "/app/servers/bare-80 192.0.2.11:80" "/app/servers/bare-443 192.0.2.11:443"
    lab_in h1 curl -sS -m 5 http://192.0.2.11:80/
}

@test "containers with --network none or container:x have no ports of their own" {
    agent
    start web -p 8095:80
    start none --network none -- app3:1
    # Its own server would find the port taken.
    lab_docker h1 run -d --name joined --network container:web app3:1 /bin/sleep 1000 >/dev/null
    start unpublished -- app3:1
    keys_become "/app/servers/web 192.0.2.11:8095"
    why_becomes no-network none
    why_becomes shared-network joined
    why_becomes no-port unpublished
}

@test "--ports internal registers the container's address and exposed port, and follows network changes" {
    agent --ports internal
    lab_docker h1 network create aaa >/dev/null
    lab_docker h1 network create home >/dev/null
    start plain -- app3:1
    start published -p 127.0.0.1:8096:80
    start user --network home
    local home other others
    others=("/app/servers/plain-80 $(address plain bridge):80" "/app/servers/plain-443 $(address plain bridge):443"
        "/app/servers/published $(address published bridge):80")
    home=$(address user home)
    keys_become "${others[@]}" "/app/servers/user $home:80"
    # The network that it was started in comes first, whatever else it is in.
    lab_docker h1 network connect aaa user
    other=$(address user aaa)
    nothing_under_way
    keys_become "${others[@]}" "/app/servers/user $home:80"
    lab_docker h1 network disconnect home user
    keys_become "${others[@]}" "/app/servers/user $other:80"
    lab_docker h1 network disconnect aaa user
    keys_become "${others[@]}"
    why_becomes no-address user 80/tcp
    lab_docker h1 network connect aaa user
    keys_become "${others[@]}" "/app/servers/user $(address user aaa):80"
    lab_in h1 curl -sS -m 5 "http://$(address user aaa):80/"
}

@test "--ports internal registers --network host at the host's address, and not none or container:x" {
    agent --ports internal
    start bare --network host
    start none --network none
    lab_docker h1 run -d --name joined --network container:none app3:1 /bin/sleep 1000 >/dev/null
    keys_become "/app/servers/bare 192.0.2.11:80"
    why_becomes no-network none
    why_becomes shared-network joined
}

# Each remedy that explain names is carried out, and works.
@test "-p on an --internal network registers nothing until a bridge network is connected too" {
    agent
    lab_docker h1 network create --internal inner >/dev/null
    start web -p 8097:80 --network inner
    why_becomes not-published web
    run lab_registrator h1 explain web
    [[ $output == *"Connect the container also to a bridge network"* ]]
    lab_docker h1 network connect bridge web
    keys_become "/app/servers/web 192.0.2.11:8097"
    lab_docker h1 rm -f web >/dev/null
    lab_docker h1 network rm inner >/dev/null
}

@test "--network container:x: the ports belong to the container that owns the network" {
    agent
    start owner
    lab_docker h1 run -d --name joined --network container:owner app3:1 /bin/sleep 1000 >/dev/null
    why_becomes shared-network joined
    run lab_registrator h1 explain joined
    [[ $output == *"Publish the port on the container whose network"* ]]
    lab_docker h1 rm -f joined owner >/dev/null
    start owner -p 8097:80
    lab_docker h1 run -d --name joined --network container:owner app3:1 /bin/sleep 1000 >/dev/null
    keys_become "/app/servers/owner 192.0.2.11:8097"
}

@test "--ports internal without an exposed port: the remedy is --expose" {
    # Nobody listens at these ports.
    agent --ports internal --ready none
    lab_docker h1 import - bare:1 <"$LAB/image.tar" >/dev/null
    lab_docker h1 run -d --name web bare:1 /bin/sleep 1000 >/dev/null
    why_becomes no-exposed-port web
    lab_docker h1 rm -f web >/dev/null
    lab_docker h1 run -d --name web --expose 80 bare:1 /bin/sleep 1000 >/dev/null
    keys_become "/app/servers/web $(lab_docker h1 inspect -f '{{.NetworkSettings.IPAddress}}' web):80"
}

@test "a binding to a link-local address has no key" {
    agent
    ip -n "$LAB_ID-h1" address add 169.254.7.7/16 dev eth0
    start local -p 169.254.7.7:8098:80
    why_becomes unreachable local 80/tcp
    run lab_registrator h1 explain local
    [[ $output == *"Publish the port without an address"* ]]
    lab_docker h1 rm -f local >/dev/null
    start local -p 8098:80
    keys_become "/app/servers/local 192.0.2.11:8098"
    ip -n "$LAB_ID-h1" address del 169.254.7.7/16 dev eth0
}

@test "a swarm service published by the ingress network: the remedy is mode=host" {
    lab_docker h1 swarm init --advertise-addr 192.0.2.11 >/dev/null || skip "no swarm mode here"
    agent
    lab_docker h1 service create --detach --no-resolve-image --name shop --publish 8099:80 app3:1 >/dev/null
    reason_of_the_task() {
        lab_registrator h1 status --json | jq -r '.containers[] | select(.name | startswith("shop.")) |
            .reason // .records[0].reason' | grep -x "$1"
    }
    wait_for 30 reason_of_the_task ingress-network
    # The address in the ingress network is no other host's to use.
    agent_again --ports internal
    wait_for 30 reason_of_the_task ingress-network
    lab_docker h1 service rm shop >/dev/null
    agent_again
    lab_docker h1 service create --detach --no-resolve-image --name shop --publish mode=host,published=8099,target=80 app3:1 >/dev/null
    wait_for 30 eval 'keys3 | grep -E "^/app/servers/shop\.1\.[a-z0-9]+ 192\.0\.2\.11:8099$"'
    lab_docker h1 service rm shop >/dev/null
    lab_docker h1 swarm leave --force >/dev/null
}

@test "a swarm service's host-mode port is registered" {
    agent --service '{label:com.docker.swarm.service.name?servers}'
    lab_docker h1 swarm init --advertise-addr 192.0.2.11 >/dev/null || skip "no swarm mode here"
    lab_docker h1 service create --detach --no-resolve-image --name shop \
        --publish mode=host,target=80,published=8097 app:1 >/dev/null
    wait_for 60 task_runs
    local name
    name=$(lab_docker h1 ps --format '{{.Names}}')
    keys_become "/app/shop/$name 192.0.2.11:8097"
    lab_docker h1 service rm shop >/dev/null
    keys_become
    lab_docker h1 swarm leave --force >/dev/null
}
task_runs() {
    [[ $(lab_docker h1 ps --format '{{.Names}}') == shop.1.* ]]
}
