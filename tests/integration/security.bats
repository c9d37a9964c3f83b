#!/usr/bin/env bats
# What SECURITY.md tells operators to do, done as it stands there: the proxy in front of a real Docker, the roles in
# real etcds.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/lb
load ../lib/machine

AGENT=${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}
PAGE=$LAB_TOP/SECURITY.md
SOCKET=/run/docker-get/docker.sock

setup_file() {
    export BATS_TEST_TIMEOUT=240
}

setup() {
    lab_up
    lab_host etcd 192.0.2.2
    lab_host lb 192.0.2.3
    lab_host h1 192.0.2.11
    lab_dockerd h1
    lab_image h1 app:1
}

teardown() {
    if [[ -z $BATS_TEST_COMPLETED && -s ${LAB:-}/id ]]; then
        tail -n 40 "$LAB/h1/agent.log" 2>/dev/null
        machine_tell h1
    fi
    lab_down
}

# recipe TAG: the page's blocks "sh … TAG …", one after the other.
recipe() {
    awk -v tag="$1" '
        /^```sh / { show = (" " substr($0, 7) " ") ~ (" " tag " "); next }
        /^```/ { show = 0 }
        show' "$PAGE"
}

# ------------------------------------------------------------------------------ the proxy

# refused METHOD PATH [CURL OPTIONS...]: by the proxy, 403.
refused() {
    local method=$1 path=$2 status
    shift 2
    status=$(docker_get_status "$method" "$path" "$@")
    echo "$method $path: $status"
    [[ $status == 403 ]]
}

# docker_get_status METHOD PATH [CURL OPTIONS...]: what the proxy answers.
docker_get_status() {
    local method=$1 path=$2 pid
    shift 2
    pid=$(machine_in h1 systemctl show -P MainPID docker-get)
    curl -s -m 5 -o /dev/null -w '%{http_code}' -X "$method" "$@" \
        --unix-socket "/proc/$(machine_pid "$pid")/root$SOCKET" "http://docker$path"
}

# machine_pid PID: what this machine calls the process that h1's machine calls PID.
machine_pid() {
    local file
    for file in $(lab_docker h1 top machine -eo pid | tail -n +2); do
        [[ $(awk '/^NSpid:/ { print $NF }' "/proc/$file/status") != "$1" ]] || { echo "$file" && return; }
    done
}

registered_in_machine() {
    machine_in h1 /usr/local/bin/registrator status | grep "^$1  *registered"
}

@test "SECURITY.md's proxy lets the agent's requests pass, and no others" {
    local root=$LAB/machine id pid
    machine_skip_without_image
    lab_etcd e1 etcd 3.4
    machine_unpack "$root"
    make -s -C "$(dirname "$(dirname "$AGENT")")" DESTDIR="$root" install >"$LAB/install.log" 2>&1
    # Where the page has the usual place, this build has its own.
    mkdir -p "$root/etc/registrator"
    mv "$root/usr/local/etc/registrator/registrator.conf" "$root/etc/registrator/"
    rmdir "$root/usr/local/etc/registrator"
    ln -s /etc/registrator "$root/usr/local/etc/registrator"
    sed -i '/^\[etcd\]/a endpoints = http://192.0.2.2:2379' "$root/etc/registrator/registrator.conf"
    machine_import h1 "$root"
    machine_start h1
    lab_docker h1 run -d -P --name web1 app:1
    machine_in h1 systemctl start registrator
    wait_for 10 registered_in_machine web1

    recipe proxy | machine_shell h1
    wait_for 10 registered_in_machine web1
    machine_in h1 /usr/local/bin/registrator status | grep "^Docker:  *unix://$SOCKET\$"
    # It is what the socket's group is about that the agent has lost.
    pid=$(machine_in h1 systemctl show -P MainPID registrator)
    machine_in h1 grep '^Groups:' "/proc/$pid/status" | grep -vw "$(stat -c %g "$LAB/h1/docker.sock")"
    # Lists, inspects and events come through.
    lab_docker h1 run -d -P --name web2 -e SERVICE_NAME=shop app:1
    wait_for 5 eval 'keys3 | grep "^/app/shop/web2 192.0.2.11:"'
    lab_docker h1 stop web2
    wait_for 5 not eval 'keys3 | grep web2'
    machine_in h1 /usr/local/bin/registrator explain web2 | grep 'not running'

    id=$(lab_docker h1 inspect -f '{{.Id}}' web1)
    [ "$(docker_get_status GET /_ping)" = 200 ]
    [ "$(docker_get_status GET "/v1.41/containers/$id/json")" = 200 ]
    refused POST "/v1.41/containers/$id/stop"
    refused POST /v1.41/containers/create
    refused POST "/v1.41/containers/$id/json"
    refused DELETE "/v1.41/containers/$id"
    refused PUT "/v1.41/containers/$id/archive?path=/"
    refused GET "/v1.41/containers/$id/archive?path=/etc"
    refused GET "/v1.41/containers/$id/attach/ws"
    refused GET "/v1.41/containers/$id/logs?stdout=1"
    refused GET /v1.41/images/json
    refused GET /v1.41/secrets
    refused GET "/v1.41/containers/x/../../images/json" --path-as-is
    refused GET "/v1.41/containers/x%2f..%2f..%2fimages/json"
    refused GET "//v1.41/containers/json" --path-as-is
    refused GET /_ping -H 'Connection: Upgrade' -H 'Upgrade: h2c'

    # What the page says of "registrator stop".
    run machine_in h1 /usr/local/bin/registrator stop --drain 0 web1
    echo "$output"
    [ "$status" -eq 2 ]
    [[ $output == *"403"* ]]
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' web1)" = true ]
    machine_in h1 /usr/local/bin/registrator --docker unix:///run/docker.sock stop --drain 0 web1
    [ "$(lab_docker h1 inspect -f '{{.State.Running}}' web1)" = false ]
    lab_docker h1 start web1
    wait_for 10 registered_in_machine web1
}

# ------------------------------------------------------------------------------- the roles

# allow VERSION: an etcd with users of API, as the page makes them.
allow() {
    lab_etcd e1 etcd "$1"
    # 2.3 finds out a moment after its start that it can.
    [[ $API != v2 ]] || wait_for 10 etcd_curl /v2/auth/enable --fail
    mkdir -p "$LAB/secrets"
    recipe "etcd-$API" | (cd "$LAB/secrets" &&
        ETCDCTL_ENDPOINTS=http://192.0.2.2:2379 lab_in etcd bash -euo pipefail -s)
}

# etcdctl ARGUMENTS...: of the API that API names.
etcdctl() {
    ETCDCTL_API=${API#v} lab_in etcd /usr/bin/etcdctl --endpoints http://192.0.2.2:2379 "$@"
}

# etcd_as USER ARGUMENTS...: with the page's user and password.
etcd_as() {
    local user=$1 option=--user
    shift
    [[ $API == v3 ]] || option=--username
    etcdctl "$option" "$user:$(<"$LAB/secrets/$user.password")" "$@"
}

may_not() {
    local answer
    ! answer=$(etcd_as "$@" 2>&1) || return
    echo "$*: $answer"
    [[ $answer == *"ermission denied"* || $answer == *"nsufficient credentials"* ]]
}

# agent_as USER PREFIX ARGUMENTS...
agent_as() {
    lab_agent h1 --etcd-api "$API" --ttl 5 --heartbeat 1 --etcd-user "$1" --etcd-password-file "$LAB/secrets/$1.password" \
        --key "$2/{service}/{name}" "${@:3}"
}

holds() {
    etcd_as confd get "$1" | grep '^192.0.2.11:'
}

# agent_does_all: registers, renews, moves, deregisters, finds again.
agent_does_all() {
    agent_as registrator /app --node h1
    lab_docker h1 run -d -P --name web1 app:1
    wait_for 10 holds /app/servers/web1
    # Beyond the TTL. Nothing tells of what did not expire.
    sleep 7
    holds /app/servers/web1
    lab_docker h1 rename web1 web2
    wait_for 5 holds /app/servers/web2
    wait_for 5 not holds /app/servers/web1
    lab_agent_kill9 h1
    agent_as registrator /app --node h1 --etcd-nudge=yes
    wait_for 10 eval 'lab_registrator h1 status | grep "web2 *registered"'
    lab_docker h1 rm -f web2
    wait_for 5 not holds /app/servers/web2
    lab_agent_stop h1
    ! grep -E '^(warning|error):' "$LAB/h1/agent.log"
}

says() {
    grep -F "$1" "$LAB/h1/agent.log"
}

# confd_reads VERSION...: with the page's user, each confd renders each pair of etc/confd, and sees the changes.
confd_reads() {
    local confd pair user watch
    user=(-basic-auth -username confd -password "$(<"$LAB/secrets/confd.password")")
    lab_docker h1 run -d -P --name web1 app:1
    lab_docker h1 run -d -P --name db1 -l SERVICE_NAME=tcp-5432 app:1
    agent_as registrator /app --node h1
    wait_for 10 holds /app/servers/web1
    wait_for 10 holds /app/tcp-5432/db1
    for confd in "$@"; do
        for pair in haproxy haproxy-services haproxy-hosts haproxy-tcp nginx nginx-services; do
            echo "confd $confd, $pair"
            LB_API=$API LB_CONFD=$confd lb_setup lb "$pair"
            rm -f "$LAB/lb/haproxy.cfg" "$LAB/lb/nginx/conf.d/app.conf"
            LB_API=$API LB_CONFD=$confd lb_render lb "${user[@]}" || {
                tail -n 3 "$LAB/lb/confd.log"
                return 1
            }
            # That pair has keys of another form; confd fails if it may not read them.
            [[ $pair == haproxy-hosts ]] || grep -E '192\.0\.2\.11:[0-9]' "$(_lb_config lb "${pair%%-*}")"
        done
        # Without -basic-auth, the user counts for nothing.
        ! LB_API=$API LB_CONFD=$confd lb_render lb "${user[@]:1}" || return
        tail -n 3 "$LAB/lb/confd.log" | grep -iE 'user name is empty|requires user authentication|insufficient credentials'
    done
    # And it sees changes; with v2, it would miss some if it watched.
    watch=(-watch)
    [[ $API == v3 ]] || watch=(-interval 1)
    LB_API=$API LB_CONFD=${*: -1} lb_setup lb haproxy-services
    LB_API=$API LB_CONFD=${*: -1} lb_confd lb "${user[@]}" "${watch[@]}"
    wait_for 10 eval 'lb_servers lb | grep web1'
    lab_docker h1 rm -f web1
    wait_for 10 not eval 'lb_servers lb | grep web1'
    lb_confd_stop lb
    lab_docker h1 rm -f db1
    lab_agent_stop h1
}

@test "SECURITY.md's role for v3 is sufficient for the agent, and allows nothing else" {
    local version
    API=v3
    for version in 3.4 3.6; do
        allow "$version"
        agent_does_all
        confd_reads 0.16 0.30
        may_not registrator put /other/key x
        may_not registrator get / --prefix
        may_not registrator user list
        may_not confd put /app/servers/web1 x
        may_not confd get / --prefix
        : >"$LAB/h1/agent.log"
        lab_docker h1 run -d -P --name web1 app:1
        agent_as registrator /other
        wait_for 10 says "grant the user's role readwrite on the key's prefix"
        lab_agent_stop h1
        lab_docker h1 rm -f web1
        lab_etcd_stop e1
        rm -rf "$LAB"/etcd/* "$LAB/secrets"
        : >"$LAB/h1/agent.log"
    done
}

@test "SECURITY.md's role for v2 is sufficient for the agent, and allows nothing else" {
    local version
    API=v2
    for version in 2.3 3.4; do
        allow "$version"
        agent_does_all
        confd_reads 0.16
        may_not registrator set /other/key x
        may_not registrator ls /
        may_not confd set /app/servers/web1 x
        run etcdctl get /app/servers/web1
        [[ $status -ne 0 && $output == *"nsufficient credentials"* ]]
        : >"$LAB/h1/agent.log"
        agent_as registrator /other
        wait_for 10 says "check --etcd-user, --etcd-password-file and the user's role"
        lab_agent_stop h1
        lab_etcd_stop e1
        rm -rf "$LAB"/etcd/* "$LAB/secrets"
        : >"$LAB/h1/agent.log"
    done
}
