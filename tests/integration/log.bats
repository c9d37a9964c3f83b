#!/usr/bin/env bats
# What the agent says in its log, and how much of it: plain, as logfmt, and in a real journal.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent
load ../lib/machine

AGENT=${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}

setup_file() {
    export BATS_TEST_TIMEOUT=240
}

setup() {
    # shellcheck disable=SC2034     # tell_all's
    EVENTS=/dev/null
    lab_up
    lab_host etcd 192.0.2.2
    lab_host h1 192.0.2.11
    lab_dockerd h1 --live-restore
    lab_image h1 app:1
    lab_etcd e1 etcd 3.4
}

teardown() {
    [[ -n $BATS_TEST_COMPLETED || ! -s ${LAB:-}/id ]] || {
        tell_all
        [[ ! -e $LAB/machine.started ]] || machine_tell h1
    }
    lab_down
}

lines() {
    wc -l <"$LAB/h1/agent.log"
}

# counts SERIES N: it has come to N.
counts() {
    lab_in h1 curl -sS http://127.0.0.1:9100/metrics | awk -v name="$1" -v n="$2" '
        $1 == name { reached = $2 >= n }
        END { exit !reached }'
}

failures_reach() {
    counts registrator_failures_total "$1"
}

tries_reach() {
    (($(wc -l <"$LAB/tries") >= $1))
}

@test "an idle agent logs nothing: no lists and no heartbeats" {
    local before
    agent h1 --ttl 5 --heartbeat 1 --resync 1 --listen 127.0.0.1:9100
    start h1 web app:1
    before=$(lines)
    # Each list is followed by an audit.
    wait_for 20 counts 'registrator_etcd_requests_total{operation="resync",outcome="ok"}' 4
    wait_for 20 counts 'registrator_etcd_requests_total{operation="heartbeat",outcome="ok"}' 3
    [ "$(lines)" -eq "$before" ]
}

@test "an outage of etcd causes two log lines, independent of the number of retries" {
    local before tries
    agent h1 --ttl 5 --heartbeat 1 --listen 127.0.0.1:9100
    start h1 web app:1
    before=$(lines)
    lab_etcd_stop e1
    wait_for 10 failures_reach 3
    # A change that cannot be told is no line either.
    lab_docker h1 run -d -P --name late app:1 >/dev/null
    [ "$(lines)" -eq $((before + 1)) ]
    said h1 "warning: etcd gave no answer" 1
    tries=20
    wait_for 60 failures_reach "$tries"
    [ "$(lines)" -eq $((before + 1)) ]
    lab_etcd_start e1
    wait_for 10 has h1 late
    wait_for 5 said h1 "Key /app/servers/late registered" 1
    # It is back, and what changed meanwhile: of the lease, which may have ended, nothing or one more.
    [ "$(lines)" -eq $((before + 3)) ]
    said h1 "Registering in etcd" 2
}

@test "a start without etcd causes one log line, independent of the number of retries" {
    local before
    lab_etcd_stop e1
    agent h1 --ttl 5 --heartbeat 1 --listen 127.0.0.1:9100
    wait_for 10 failures_reach 2
    before=$(lines)
    wait_for 60 failures_reach 12
    [ "$(lines)" -eq "$before" ]
    said h1 "warning: etcd gave no answer" 1
}

# Nobody answers, and each of the agent's tries leaves a line in "tries".
@test "an outage of Docker causes two log lines, independent of the number of retries" {
    local before
    agent h1 --ttl 5
    start h1 web app:1
    before=$(lines)
    lab_dockerd_stop h1
    wait_for 5 said h1 "from Docker at unix://" 1
    rm -f "$LAB/h1/docker.sock"
    : >"$LAB/tries"
    lab_spawn refuser "$LAB/refuser.log" socat "UNIX-LISTEN:$LAB/h1/docker.sock,fork" "SYSTEM:echo try >>'$LAB/tries'"
    wait_for 60 tries_reach 10
    said h1 "from Docker at unix://" 1
    lab_stop refuser
    rm -f "$LAB/h1/docker.sock"
    lab_dockerd h1 --live-restore
    wait_for 10 said h1 "Connected to Docker" 2
    [ "$(lines)" -eq $((before + 2)) ]
}

# It takes the connection, tells events, and has no list: what a proxy with half of the rights does.
@test "an engine that gives no list causes one log line, independent of the number of retries" {
    agent h1 --ttl 5
    start h1 web app:1
    lab_dockerd_stop h1
    wait_for 5 said h1 "from Docker at unix://" 1
    rm -f "$LAB/h1/docker.sock"
    : >"$LAB/tries"
    cat >"$LAB/half" <<'HALF'
read -r _ path _
while read -r line && [[ $line != $'\r' ]]; do :; done
case $path in
*/containers/json)
    printf 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
    echo try >>"$1"
    ;;
*/events*)
    printf 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
    exec sleep 60
    ;;
*) printf 'HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{"ID":"TEST"}' ;;
esac
HALF
    lab_spawn half "$LAB/half.log" socat "UNIX-LISTEN:$LAB/h1/docker.sock,fork" "EXEC:bash $LAB/half $LAB/tries"
    wait_for 60 tries_reach 8
    said h1 "from Docker at unix://" 1
    status_is h1 '.docker.why | startswith("No container list from Docker at")'
    said h1 "Connected to Docker" 1
    lab_stop_group half KILL
    rm -f "$LAB/h1/docker.sock"
}

@test "logfmt: every line is a list of names and values" {
    agent h1 --ttl 5 --log-format logfmt --log-level debug
    start h1 web app:1
    lab_docker h1 stop -t 1 web
    wait_for 5 gone web
    grep -E '^level=info msg="Key /app/servers/web registered: 192.0.2.11:[0-9]+" event="registered" container="web" id="[0-9a-f]{64}" key="/app/servers/web"$' \
        "$LAB/h1/agent.log"
    grep -E '^level=info msg="Key /app/servers/web deregistered" event="deregistered" container="web" ' "$LAB/h1/agent.log"
    run grep -vE '^level=(error|warning|notice|info|debug)( [a-z]+="([^"\\]|\\.)*")+$' "$LAB/h1/agent.log"
    echo "$output"
    [ "$status" -eq 1 ]
}

# The user that etcd knows, with v3 for a token, with v2 in each request.
@test "the log contains no secret at any level, including debug" {
    local api secret=vErySecret-7f3a token
    etcd3 auth/user/add '{"name":"root","password":"root"}'
    etcd3 auth/role/add '{"name":"root"}'
    etcd3 auth/user/grant '{"user":"root","role":"root"}'
    etcd3 auth/role/add '{"name":"app"}'
    etcd3 auth/role/grant "{\"name\":\"app\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"$(_b64 /app/)\",\"range_end\":\"$(_range_end /app/)\"}}"
    etcd3 auth/user/add "{\"name\":\"agent\",\"password\":\"$secret\"}"
    etcd3 auth/user/grant '{"user":"agent","role":"app"}'
    etcd3 auth/enable '{}'
    token=$(etcd3 auth/authenticate '{"name":"root","password":"root"}' | jq -r .token)
    (umask 077 && echo "$secret" >"$LAB/password")
    for api in v3 v2; do
        agent h1 --ttl 5 --heartbeat 1 --etcd-api "$api" --log-level debug --etcd-user agent \
            --etcd-password-file "$LAB/password"
        # v2 has users of its own, and none here.
        if [[ $api == v3 ]]; then
            ETCD_TOKEN=$token start h1 secret app:1
            lab_in h1 curl -sS --unix-socket "$LAB/h1/control.sock" http://x/metrics |
                grep -E '^registrator_etcd_requests_total\{operation="auth",outcome="ok"\} [1-9]'
        else
            KEYS=keys2 wait_for 5 has h1 secret
        fi
        lab_signal agent-h1 HUP
        wait_for 5 said h1 "Settings read again"
        lab_etcd_stop e1
        wait_for 5 said h1 "etcd gave no answer"
        lab_etcd_start e1
        wait_for 10 said h1 "Registering in etcd" 2
        run grep -F -e "$secret" -e "$(printf %s "agent:$secret" | base64)" -e "$(printf %s "$secret" | base64)" \
            "$LAB/h1/agent.log"
        echo "$output"
        [ "$status" -eq 1 ]
        # A token is a name and a number: "XyzAbc….12".
        run grep -E '[A-Za-z]{16}\.[0-9]+' "$LAB/h1/agent.log"
        echo "$output"
        [ "$status" -eq 1 ]
        tr '\0' '\n' <"/proc/$(lab_pid agent-h1)/cmdline" | not grep -F "$secret"
    done
}

# journal_has ID-NAME FIELD=VALUE...: an entry of that MESSAGE_ID has these.
journal_has() {
    local id
    id=$(sed -n "s/.*\[LOG_EVENT_$1\] = .*\"\([0-9a-f]\{32\}\)\".*/\1/p" "$LAB_TOP/registrator/base/log.c")
    shift
    machine_in h1 journalctl -o json "MESSAGE_ID=$id" "$@" | jq -se --arg id "$id" 'length > 0 and
        all(.MESSAGE_ID == $id and ._SYSTEMD_UNIT == "registrator.service" and (.PRIORITY | tonumber) <= 6)'
}

machine_runs_agent() {
    machine_in h1 systemctl is-active registrator.service
}

@test "journal: each event has its MESSAGE_ID and its fields" {
    local root=$LAB/machine id
    machine_skip_without_image
    machine_unpack "$root"
    make -s -C "$(dirname "$(dirname "$AGENT")")" DESTDIR="$root" install >"$LAB/install.log" 2>&1
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -s /usr/local/lib/systemd/system/registrator.service "$root/etc/systemd/system/multi-user.target.wants/"
    sed -i -e '/^\[etcd\]/a endpoints = http://192.0.2.2:2379' -e '/^\[registry\]/a ttl = 5' \
        "$root/usr/local/etc/registrator/registrator.conf"
    machine_import h1 "$root"
    rm -rf "$root"
    machine_start h1
    touch "$LAB/machine.started"
    wait_for 30 machine_runs_agent

    start h1 web app:1
    id=$(lab_docker h1 inspect -f '{{.Id}}' web)
    wait_for 5 journal_has REGISTERED CONTAINER_NAME=web "CONTAINER_ID=$id" REGISTRATOR_KEY=/app/servers/web PRIORITY=6
    put3 /app/servers/theirs 192.0.2.99:1
    id=$(lab_docker h1 run -d -P --name theirs app:1)
    wait_for 5 journal_has CONFLICT CONTAINER_NAME=theirs "CONTAINER_ID=$id" REGISTRATOR_KEY=/app/servers/theirs PRIORITY=4
    id=$(lab_docker h1 inspect -f '{{.Id}}' web)
    lab_docker h1 stop -t 1 web
    wait_for 5 journal_has DEREGISTERED CONTAINER_NAME=web "CONTAINER_ID=$id" REGISTRATOR_KEY=/app/servers/web PRIORITY=6
    revoke3 "$(leases3 | awk '{ print $1 }')"
    wait_for 15 journal_has LEASE_LOST PRIORITY=4
    lab_etcd_stop e1
    wait_for 10 journal_has ETCD_LOST PRIORITY=4
    lab_etcd_start e1
    # The machine is a container of it, and lives on.
    lab_dockerd_stop h1
    lab_dockerd h1 --live-restore
    wait_for 10 journal_has DOCKER_LOST PRIORITY=4
    # No line of the agent's is without its identifier.
    [ "$(machine_in h1 journalctl -o json _SYSTEMD_UNIT=registrator.service _TRANSPORT=journal | jq -r .SYSLOG_IDENTIFIER | sort -u)" = registrator ]
}

@test "the agent continues if nothing reads its log" {
    printf '#!/bin/bash\nexec env --default-signal=PIPE "$@" 2> >(exec true)\n' >"$LAB/unread"
    chmod +x "$LAB/unread"
    LAB_AGENT_WRAPPER=$LAB/unread lab_agent h1 --log-level debug
    lab_docker h1 run -d -P --name unread app:1
    wait_for 10 status_knows unread
    lab_alive agent-h1
}
status_knows() {
    lab_registrator h1 status --json | jq -e --arg name "$1" 'any(.containers[]; .name == $name)'
}
