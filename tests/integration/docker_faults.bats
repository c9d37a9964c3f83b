#!/usr/bin/env bats
# A Docker that is reached over TLS, that hangs, that is replaced by a newer one, and, with the fake engine, one that
# answers with what no real one would.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

TTL_S=5
NEW=(openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
TCP=tcp://192.0.2.11:2376

setup_file() {
    export BATS_TEST_TIMEOUT=240
    lab_up
    lab_host h1 192.0.2.11
    lab_host etcd 192.0.2.2
    lab_tls 192.0.2.11
    secured_dockerd
    lab_image h1 app:1
    lab_etcd e1 etcd 3.4
    watch3_start "$LAB/events"
}

teardown_file() {
    lab_down
}

teardown() {
    local file
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all
    lab_signal dockerd-h1 CONT 2>/dev/null || true
    lab_stop fake-docker
    for file in "$LAB"/pids/agent-*; do
        [[ ! -e $file ]] || lab_stop "$(basename "$file")" KILL
    done
    lab_alive dockerd-h1 || secured_dockerd
    clear_containers h1
    clear_keys
}

# ------------------------------------------------------------------------------------ TLS

secured_dockerd() {
    lab_dockerd h1 --live-restore --host "$TCP" --tlsverify --tlscacert "$LAB/tls/ca.pem" \
        --tlscert "$LAB/tls/server.pem" --tlskey "$LAB/tls/server.key"
}

# certify NAME DAYS: $LAB/tls/NAME.pem and .key, for h1's Docker or a client of it, from the CA there.
certify() {
    "${NEW[@]}" -subj "/CN=$1" -addext subjectAltName=IP:192.0.2.11 -keyout "$LAB/tls/$1.key" 2>/dev/null |
        openssl x509 -req -days "$2" -CA "$LAB/tls/ca.pem" -CAkey "$LAB/tls/ca.key" -CAcreateserial \
            -copy_extensions copy -out "$LAB/tls/$1.pem" 2>/dev/null
}

# secured [ARGUMENTS...]: h1's agent, with the client's files, over TCP.
secured() {
    agent h1 --node h1 --ttl "$TTL_S" --heartbeat 1 --docker "$TCP" --docker-ca "$LAB/tls/ca.pem" \
        --docker-cert "$LAB/tls/client.pem" --docker-key "$LAB/tls/client.key" "$@"
}

# ask SUBCOMMAND...: as an operator does on the host, with the agent's own settings for Docker.
ask() {
    REGISTRATOR_DOCKER=$TCP REGISTRATOR_DOCKER_CA=$LAB/tls/ca.pem REGISTRATOR_DOCKER_CERT=$LAB/tls/client.pem \
        REGISTRATOR_DOCKER_KEY=$LAB/tls/client.key lab_registrator h1 "$@"
}

# complains HOST TEXT: it is the only line that is no information, and the agent lives.
complains() {
    said "$1" "$2" 1 && said "$1" "warning: " 1 && ! grep "error: " "$LAB/$1/agent.log" && lab_alive "agent-$1"
}

@test "the agent, stop, explain and status --etcd use Docker over TLS" {
    lab_docker h1 run -d -P --name tls-two app:1
    lab_docker h1 stop tls-two
    secured --resync 3600
    start h1 tls-one app:1
    said h1 "Connected to Docker at $TCP" 1
    run ask explain tls-two
    [ "$output" = $'tls-two: unregistered, not running (Docker says: exited)\nTo do: Start the container.' ]
    run ask status --etcd
    [ "$output" = "Docker, agent and etcd agree: 1 keys of 1 containers." ]
    ask stop --drain 0 tls-one
    gone tls-one
    [ "$(lab_docker h1 inspect -f '{{.State.Status}}' tls-one)" = exited ]
    # Without the client's certificate there is no way.
    REGISTRATOR_DOCKER=$TCP REGISTRATOR_DOCKER_CA=$LAB/tls/ca.pem run lab_registrator h1 status --etcd
    echo "$output"
    [ "$status" -eq 2 ]
}

# client N [ARGUMENTS...]: an agent of another host for h1's Docker, with a key of its own for each container.
# Such a host reaches no container of h1's, and has another address than their ports.
client() {
    local host=x$1
    lab_host "$host" "192.0.2.2$1"
    shift
    lab_agent "$host" --node "$host" --ttl "$TTL_S" --key "/app/$host/{name}" --docker "$TCP" --ready none "$@"
}

# turned_away HOST TIMES: h1's Docker has ended as many handshakes of that host's.
turned_away() {
    (($(grep -cF "TLS handshake error from $(lab_address "$1"):" "$LAB/h1/dockerd.log") >= $2))
}

# let_in HOST NAME: its agent has registered h1's container.
let_in() {
    keys3 "/app/$1/" | grep -xF "/app/$1/$2 $(lab_address "$1"):$(mapped h1 "$2" | cut -d : -f 2)"
}

@test "Docker over TLS: each bad certificate causes one log line, and the agent recovers after the repair" {
    local hint="; check --docker-ca, --docker-cert and --docker-key" from="No answer to /_ping from Docker at $TCP:" n
    lab_docker h1 run -d -P --name kept-out app:1
    "${NEW[@]}" -x509 -days 2 -subj "/CN=another CA" -keyout "$LAB/another.key" -out "$LAB/another.pem" 2>/dev/null
    certify mine -1
    printf '[docker]\nca = %s\n' "$LAB/tls/ca.pem" >"$LAB/x2.conf"
    client 1 --docker-ca "$LAB/another.pem" --docker-cert "$LAB/tls/client.pem" --docker-key "$LAB/tls/client.key"
    client 2 --config "$LAB/x2.conf"
    client 3 --docker-ca "$LAB/tls/ca.pem" --docker-cert "$LAB/tls/mine.pem" --docker-key "$LAB/tls/mine.key"
    client 4
    for n in 1 2 3; do
        wait_for 10 turned_away "x$n" 4
        complains "x$n" "$from https://192.0.2.11:2376: "
        complains "x$n" "$hint"
    done
    complains x1 "SSL certificate problem: unable to get local issuer certificate"
    wait_for 10 complains x4 "$from HTTP status 400: Client sent an HTTP request to an HTTPS server.$hint"

    cp "$LAB/tls/ca.pem" "$LAB/another.pem"
    certify mine 2
    printf 'cert = %s\nkey = %s\n' "$LAB/tls/client.pem" "$LAB/tls/client.key" >>"$LAB/x2.conf"
    lab_signal agent-x2 HUP
    for n in 1 2 3; do
        wait_for 10 let_in "x$n" kept-out
        complains "x$n" "$hint"
    done
}

@test "Docker over TLS: new certificates in the same files need no restart and cause no etcd event" {
    local value pid why="SSL certificate problem: certificate has expired; check --docker-ca, --docker-cert and --docker-key"
    secured
    start h1 rotated app:1
    value=$(mapped h1 rotated)
    pid=$(lab_pid agent-h1)
    lab_dockerd_stop h1
    certify server -1
    secured_dockerd
    # Docker being away is said first, and once, and then what is to be done.
    wait_for 10 said h1 "$why" 1
    said h1 "warning: " 2
    status_is h1 '.docker.why | endswith("check --docker-ca, --docker-cert and --docker-key")'
    : >"$LAB/h1/dockerd.log"
    wait_for 10 turned_away h1 3
    said h1 "warning: " 2

    lab_dockerd_stop h1
    lab_tls 192.0.2.11
    secured_dockerd
    wait_for 10 said h1 "Connected to Docker at" 2
    start h1 rotated-too app:1
    [ "$(lab_pid agent-h1)" = "$pid" ]
    events_are rotated "PUT rotated $value" "PUT rotated-too $(mapped h1 rotated-too)"
}

# ------------------------------------------------------------------------- a real one that hangs

@test "while dockerd hangs, the keys stay and the agent answers; then ended containers are deregistered" {
    local pid
    lab_docker h1 run -d -P --name hung-early app:1
    lab_signal dockerd-h1 STOP
    agent h1 --node h1 --ttl "$TTL_S" --heartbeat 1 --resync 1
    wait_for 10 said h1 "No answer to /_ping from Docker at unix://$LAB/h1/docker.sock: " 1
    lab_signal dockerd-h1 CONT
    wait_for 10 has h1 hung-early
    start h1 hung-stays app:1
    start h1 hung-dies app:1
    pid=$(lab_docker h1 inspect -f '{{.State.Pid}}' hung-dies)
    lab_signal dockerd-h1 STOP
    kill -s KILL "$pid"
    # Of a list that gets no answer, nothing is to be seen.
    heartbeats $((TTL_S + 1))
    status_is h1 '.etcd.state == "online" and .etcd.keys == 3'
    lab_signal dockerd-h1 CONT
    wait_for 5 gone hung-dies
    heartbeats 2
    said h1 "warning: " 1
    events_are hung-stays "PUT hung-stays $(mapped h1 hung-stays)"
    events_are hung-early "PUT hung-early $(mapped h1 hung-early)"
}

@test "a container whose labels are too long for an event is registered and deregistered as fast as others" {
    local label options=()
    agent h1 --node h1 --ttl "$TTL_S" --heartbeat 1 --resync 3600
    wait_for 5 said h1 "Connected to Docker"
    # An argument has 128 KiB at most.
    for label in a b c d e; do
        options+=(--label "$label=$(head -c 100000 /dev/zero | tr '\0' x)")
    done
    start h1 lengthy "${options[@]}" app:1
    lab_docker h1 kill lengthy
    wait_for 5 gone lengthy
    said h1 "warning: Docker sent an event of more than 262144 bytes (are the labels of a container too long?): listing the containers instead" 1
    said h1 "warning: " 1
}

# --------------------------------------------------------------- what no real one says: the fake engine
#
# An engine and an agent for each fault, all at once. A line: on what, which kind (with its parameters), how many
# warnings are due (+: some), and what is said in them, or in the status, while it lasts. There are two warnings where
# two containers are inspected in vain, or where the connection is cut first, so that what is asked for at its
# beginning is asked for again.
FAULTS='
    ping      500                   1  No answer to /_ping from Docker at U: HTTP status 500: {"message":"fault that was asked for"}; trying again
    ping      garbage               1
    ping      truncate              1  No answer to /_ping from Docker at U: unix socket S: transfer closed with
    ping      close                 1  No answer to /_ping from Docker at U: unix socket S: Empty reply from server
    ping      slow&ms=400           1
    ping      stall                 1  No answer to /_ping from Docker at U: unix socket S: Operation timed out
    info      500                   1  No answer to /info from Docker at U: HTTP status 500: {"message":"fault that was asked for"}; trying again
    info      garbage               1  No answer to /info from Docker at U: its answer has no ID; trying again
    info      wrong                 1  No answer to /info from Docker at U: its answer has no ID; trying again
    info      types&member=ID       1  No answer to /info from Docker at U: its answer has no ID; trying again
    info      truncate              1  No answer to /info from Docker at U: unix socket S: transfer closed with
    info      close                 1  No answer to /info from Docker at U: unix socket S: Empty reply from server
    info      huge                  1  No answer to /info from Docker at U: unix socket S: the answer is too long
    subscribe 500                   1  No events from Docker at U: HTTP status 500: {"message":"fault that was asked for"}; trying again
    subscribe close                 1  No events from Docker at U: unix socket S: Empty reply from server
    subscribe stall                 1  No events from Docker at U: it does not answer; trying again
    subscribe wrong                 2  No more events from Docker at U: the stream ended
    subscribe garbage               +  No more events from Docker at U: the stream ended
    list      500                   1  No container list from Docker at U: HTTP status 500: {"message":"fault that was asked for"}; trying again
    list      garbage               1  No container list from Docker at U: the answer is not a whole list; trying again
    list      wrong                 1  No container list from Docker at U: the answer is not a whole list; trying again
    list      truncate              1  No container list from Docker at U: unix socket S: transfer closed with
    list      close                 1  No container list from Docker at U: unix socket S: Empty reply from server
    list      huge                  1  list has 1 entries of more than 4194304 bytes, ignoring them
    list      slow&ms=700           0
    list      drip&ms=1             0
    list      types&member=Id       1  entries that are no containers, ignoring them; the first: {
    list      types&member=Names    1  entries that are no containers, ignoring them; the first: {
    list      types&member=State    1  entries that are no containers, ignoring them; the first: {
    list      types&member=Status   1  entries that are no containers, ignoring them; the first: {
    list      types&member=Ports    1  entries that are no containers, ignoring them; the first: {
    list      types&member=Labels   1  entries that are no containers, ignoring them; the first: {
    inspect   500                   2  trying again until it succeeds: Remote I/O error
    inspect   garbage               2  trying again until it succeeds: Bad message
    inspect   wrong                 2  trying again until it succeeds: Bad message
    inspect   truncate              2  trying again until it succeeds: Connection reset by peer
    inspect   close                 2  trying again until it succeeds: Connection reset by peer
    inspect   huge                  2  trying again until it succeeds: Message too long
    inspect   slow&ms=700           0
    inspect   drip&ms=1             0
    inspect   types&member=Id       2  trying again until it succeeds: Bad message
    inspect   types&member=Name     2  trying again until it succeeds: Bad message
    inspect   types&member=State    2  trying again until it succeeds: Bad message
    inspect   types&member=Running  2  trying again until it succeeds: Bad message
    inspect   types&member=Config   2  trying again until it succeeds: Bad message
    inspect   types&member=NetworkSettings  2  trying again until it succeeds: Bad message
    inspect   types&member=Ports    2  trying again until it succeeds: Bad message
    inspect   types&member=Labels   2  trying again until it succeeds: Bad message
    inspect   types&member=Env      2  trying again until it succeeds: Bad message
    events    garbage               1  Docker sent a line that is no event, ignoring such lines: 
    events    wrong                 1  Docker sent a line that is no event, ignoring such lines: {"Type":7,
    events    cut                   +  No events from Docker at U: unix socket S: transfer closed with
    events    drop                  0
    events    stall                 0
    events    slow&ms=300           0
    events    split                 0
    events    twice                 0
    events    huge&bytes=300000     1  Docker sent an event of more than 262144 bytes
'

# fake PATH: tells the fake engines.
fake() {
    curl -sS --fail-with-body --unix-socket "$LAB/fake.control" "http://fake$1"
}

# fakes N [ARGUMENTS...]: as many engines, with four containers each, and an agent for each.
fakes() {
    local n sockets=()
    N=$1
    shift
    PATH+=:/usr/local/go/bin
    command -v go || skip "the fake Docker needs a Go compiler"
    [[ -x $LAB/fake-docker ]] || lab_build_fake_docker "$LAB/fake-docker"
    for ((n = 0; n < N; n++)); do
        mkdir -p "$LAB/f$n"
        rm -f "$LAB/f$n/agent.log"
        sockets+=(--socket "$LAB/f$n/docker.sock")
    done
    lab_spawn fake-docker "$LAB/fake.log" "$LAB/fake-docker" "${sockets[@]}" --control "$LAB/fake.control" \
        --data "$LAB_TOP/tests/data/docker" --containers 4 --names web-%d "$@"
    wait_for 10 fake /state >/dev/null
    for ((n = 0; n < N; n++)); do
        fake_agent "$n"
    done
    wait_for 20 fake_keys_are
}

# fake_agent N: that of engine N. All are in h1's network. The containers have no servers.
fake_agent() {
    LAB_NETNS=$LAB_ID-h1 lab_spawn "agent-f$1" "$LAB/f$1/agent.log" env -u JOURNAL_STREAM -u INVOCATION_ID \
        "${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}" --docker "unix://$LAB/f$1/docker.sock" \
        --etcd "$(lab_etcd_urls)" --control "$LAB/f$1/control.sock" --node "f$1" --key "/app/f$1/{name}" \
        --advertise "198.51.100.$1" --ttl 20 --heartbeat 2 --resync 1 --ready none
}

# fake_keys_are: those of all engines, with no other beside them.
fake_keys_are() {
    diff --label expected --label etcd -U 0 <(fake '/expected?prefix=/app/f%25e/&address=198.51.100.%25e' | sort) <(keys3)
}

# spoilt TIMES: each engine has spoilt as many answers. Sends each an event that changes nothing, a SIGHUP.
spoilt() {
    fake "/do?verb=kill&name=web-0&argument=1"
    fake /state | jq -r --argjson times "$1" 'select(.spoiled < $times) | "engine \(.engine) has spoilt \(.spoiled)"' | not grep .
}

fake_warnings() {
    grep '^warning: ' "$LAB/f$1/agent.log"
}

# fault_is_told N ON KIND WARNINGS TEXT: in as many lines of agent N's log.
fault_is_told() {
    local warnings text
    warnings=$(fake_warnings "$1" | wc -l)
    text=${5//at U:/at unix://$LAB/f$1/docker.sock:}
    text=${text//socket S:/socket $LAB/f$1/docker.sock:}
    echo "f$1, $2 $3: $warnings warnings in place of $4, '$text'"
    fake_warnings "$1" | cut -c 1-300
    [[ $4 == "$warnings" || $4 == + && $warnings -gt 0 ]] || return
    [[ -z $text ]] || fake_warnings "$1" | grep -F -e "$text" ||
        curl -sS --unix-socket "$LAB/f$1/control.sock" http://x/status | jq -r .docker.why | tee /dev/stderr | grep -F -e "$text"
}

@test "no bad answer of an engine loses or adds a key; the log has one line, and the agent recovers" {
    local n lines on kind warnings text
    mapfile -t lines < <(sed '/^ *$/d' <<<"$FAULTS")
    fakes "${#lines[@]}"
    for ((n = 0; n < N; n++)); do
        read -r on kind _ <<<"${lines[n]}"
        fake "/fault?engine=$n&count=-1&on=$on&kind=$kind"
        [[ $on != ping && $on != info && $on != subscribe ]] || fake "/fault?engine=$n&on=events&kind=cut"
    done
    fake "/do?verb=run&name=new"
    fake "/do?verb=rename&name=web-1&argument=other"
    fake "/do?verb=rm&name=web-2"
    wait_for 30 spoilt 2
    for ((n = 0; n < N; n++)); do
        read -r on kind warnings text <<<"${lines[n]}"
        wait_for 10 fault_is_told "$n" "$on" "$kind" "$warnings" "$text"
    done
    fake /clear
    # An inspect that has failed again and again is tried again after 30 s at the latest.
    wait_for 40 fake_keys_are
    # Two of each engine's are as they were all the time.
    watch_events "$LAB/events" /app/f | awk '$2 ~ /web-[03]$/' >"$LAB/untouched"
    [ "$(sort -u "$LAB/untouched" | wc -l)" -eq $((2 * N)) ]
    [ "$(wc -l <"$LAB/untouched")" -eq $((2 * N)) ]
    watch_events "$LAB/events" /app/f | not grep -vE '^(PUT|DELETE) /app/f[0-9]+/(web-[0-3]|new|other)( |$)'
}

@test "the agent uses the API of an upgraded engine, and reports an engine that is too old" {
    local why="No API that is new enough from Docker at unix://$LAB/f2/docker.sock: its newest is 1.21, which is too old"
    why+="; upgrade Docker to 20.10 or newer"
    fakes 3 --names api-%d
    # As Docker 29 has it, as one of the future may, and one of 2015.
    fake "/api?engine=0&version=1.52&min=1.44"
    fake "/api?engine=1&version=1.60&min=1.54"
    fake "/api?engine=2&version=1.21&min=1.12"
    wait_for 10 said f0 "Connected to Docker at unix://$LAB/f0/docker.sock (API 1.52)" 1
    wait_for 10 said f1 "Connected to Docker at unix://$LAB/f1/docker.sock (API newest)" 1
    wait_for 10 said f2 "$why" 1
    said f0 "HTTP status 400: {\"message\":\"client version 1.41 is too old. Minimum supported API version is 1.44" 1
    fake "/do?verb=run&name=new&engine=0"
    fake "/do?verb=run&name=new&engine=1"
    fake "/do?verb=rm&name=api-0&engine=0"
    wait_for 5 fake_keys_are
    # Nothing that has not changed is written, and an agent that begins then says it as clearly.
    [ "$(watch_events "$LAB/events" /app/f | grep -c '/api-[123]')" -eq 9 ]
    lab_stop agent-f2
    : >"$LAB/f2/agent.log"
    fake_agent 2
    wait_for 10 complains f2 "$why"
}

# More inspects than dockerd answers at once: there is no moment at which nothing is asked.
@test "during a constant change of containers, the agent deletes orphans and registers lasting containers" {
    local storm
    fakes 1 --names churn-%d
    lab_stop agent-f0 KILL
    fake "/do?verb=rm&name=churn-1"
    fake "/fault?count=-1&on=inspect&kind=slow&ms=100"
    fake "/storm?rate=120&seconds=40&kinds=short&open=8&keep=0" >/dev/null 3>&- &
    storm=$!
    fake_agent 0
    orphan_gone() { keys3 | not grep '^/app/f0/churn-1 '; }
    wait_for 20 orphan_gone
    fake "/do?verb=run&name=churn-new"
    new_comes() { keys3 | grep '^/app/f0/churn-new '; }
    wait_for 10 new_comes
    kill -0 "$storm"
    kill "$storm"
    fake /clear
    lab_stop fake-docker
}
