#!/usr/bin/env bats
# registrator status --etcd, status --watch and fleet, on a real dockerd and etcd.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

setup_file() {
    export BATS_TEST_TIMEOUT=240
    lab_up
    lab_host h1 192.0.2.11
    lab_host etcd 192.0.2.2
    lab_dockerd h1
    lab_image h1 app:1 app3:1
    lab_etcd e1 etcd 3.4
}

setup() {
    lab_attach
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || tail -n 40 "$LAB/h1/agent.log"
    lab_stop watch
    ! lab_alive agent-h1 || lab_signal agent-h1 CONT
    lab_agent_kill9 h1
    lab_dockerd_is_up || lab_dockerd h1
    clear_containers h1
    clear_keys
    etcd_curl '/v2/keys/app?recursive=true' -X DELETE >/dev/null
}

teardown_file() {
    lab_down
}

lab_dockerd_is_up() {
    lab_alive dockerd-h1
}

# slow_agent API: one that finds by itself no difference in the time of a test.
slow_agent() {
    agent h1 --node h1 --ttl 600 --heartbeat 300 --resync 600 --etcd-api "$1"
}

# agree N M: that many keys of that many containers.
agree() {
    run lab_registrator h1 status --etcd
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = "Docker, agent and etcd agree: $1 keys of $2 containers." ]
}

# differ BLOCK [N]: exits 3, and says this of the keys, N of which differ.
differ() {
    run lab_registrator h1 status --etcd
    echo "$output"
    [ "$status" -eq 3 ]
    [ "$output" = "$1"$'\n'"Docker, agent and etcd differ in ${2:-1 of 1 keys}." ]
}

# block KEY NAME DOCKER AGENT [ETCD...]: as it is printed; ETCD begins with the API.
block() {
    local key=$1 name=$2 docker=$3 agent=$4 etcd
    shift 4
    printf '%s%s\n  Docker:  %s\n  agent:   %s' "$key" "${name:+, container $name}" "$docker" "$agent"
    for etcd in "$@"; do
        printf '\n  etcd %s: %s' "${etcd%% *}" "${etcd#* }"
    done
}

@test "status --etcd reports no difference with v3 and with v2" {
    local api
    lab_docker h1 run -d -P --name web app:1
    lab_docker h1 run -d -P --name several --env SERVICE_NAME=shop app3:1
    lab_docker h1 run -d --name closed app:1
    for api in v2 v3; do
        slow_agent "$api"
        wait_for 10 status_is h1 '.etcd.idle and .etcd.keys == 3'
        agree 3 3
    done
    # What is held out on purpose is no difference.
    lab_registrator h1 drain web
    agree 2 3
    lab_registrator h1 drain
    agree 0 3
    lab_registrator h1 undrain
    lab_registrator h1 undrain web
    lab_docker h1 pause web
    agree 2 3
    lab_docker h1 unpause web
    agree 3 3
}

@test "status --etcd shows a key that an operator deleted or changed" {
    local value api n
    lab_docker h1 run -d -P --name web app:1
    value=$(mapped h1 web)
    for n in 2 3; do
        api=v$n
        slow_agent "$api"
        KEYS=keys$n wait_for 10 has h1 web
        wait_for 10 agree 1 1
        "put$n" /app/servers/web 203.0.113.9:1
        differ "$(block /app/servers/web web "$value" "$value (registered)" "$api 203.0.113.9:1 (of another owner)")"
        # Nothing was changed by looking.
        [ "$("keys$n")" = "/app/servers/web 203.0.113.9:1" ]
        "del$n" /app/servers/web
        differ "$(block /app/servers/web web "$value" "$value (registered)" "$api no key of this host")"
    done
}

@test "status --etcd shows an orphan" {
    local lease
    lab_docker h1 run -d -P --name web app:1
    slow_agent v3
    wait_for 10 has h1 web
    read -r _ _ lease <<<"$(meta3 /app/servers/web)"
    # With this host's address, or it were a clone's.
    put3 /app/servers/stranger 192.0.2.11:1 "$lease"
    # Another's key is nobody's business here.
    put3 /app/servers/other 203.0.113.9:2
    differ "$(block /app/servers/stranger "" "no such key" "no such key" "v3 192.0.2.11:1")" "1 of 2 keys"
    # The whole lease is gone.
    revoke3 "$lease"
    value=$(mapped h1 web)
    differ "$(block /app/servers/web web "$value" "$value (registered)" "v3 no key of this host")"
}

@test "status --etcd shows a container that the agent does not know, and a conflict" {
    local value
    lab_docker h1 run -d -P --name web app:1
    lab_docker h1 run -d -P --name taken app:1
    put3 /app/servers/taken 203.0.113.9:1
    slow_agent v3
    wait_for 10 has h1 web
    value=$(mapped h1 taken)
    wait_for 5 status_is h1 '[.containers[].state] == ["conflict", "registered"]'
    differ "$(block /app/servers/taken taken "$value" "$value (conflict)" "v3 203.0.113.9:1 (of another owner)")" "1 of 2 keys"
    del3 /app/servers/taken
    lab_docker h1 rm -f taken
    wait_for 5 agree 1 1

    # An engine that says nothing of what it does: the agent's connection goes through a socket of ours, which
    # stands still. What it says itself, it says to others.
    lab_agent_stop h1
    mkdir "$LAB/h1/proxy"
    lab_spawn proxy "$LAB/h1/proxy/log" socat "UNIX-LISTEN:$LAB/h1/proxy/docker.sock,fork" \
        "UNIX-CONNECT:$LAB/h1/docker.sock"
    wait_for 5 socket_listens "$LAB/h1/proxy/docker.sock"
    agent h1 --node h1 --ttl 600 --heartbeat 300 --resync 600 --etcd-api v3 --docker "unix://$LAB/h1/proxy/docker.sock"
    wait_for 10 agree 1 1
    # The stream's end of it alone: what is asked anew gets its answer.
    for pid in $(pgrep -P "$(lab_pid proxy)"); do
        kill -STOP "$pid"
    done
    lab_docker h1 run -d -P --name unseen app:1
    lab_docker h1 rm -f web
    value=$(keys3 | sed 's/.* //')
    run lab_registrator h1 status --etcd
    echo "$output"
    [ "$status" -eq 3 ]
    [ "$output" = "$(block /app/servers/unseen unseen "$(mapped h1 unseen)" "does not know the container" "v3 no key of this host"
        echo
        block /app/servers/web web "does not run" "$value (registered)" "v3 $value"
        echo
        echo "Docker, agent and etcd differ in 2 of 2 keys.")" ]
    lab_stop_group proxy KILL
}

@test "status --etcd names a part that does not answer, and ends with status 2" {
    lab_docker h1 run -d -P --name web app:1
    slow_agent v3
    wait_for 10 has h1 web
    lab_signal agent-h1 STOP
    run lab_registrator h1 status --etcd
    [ "$status" -eq 2 ]
    [[ $output == "registrator: no answer from the agent's control socket $LAB/h1/control.sock: "*"timed out"* ]]
    lab_signal agent-h1 CONT
    lab_etcd_stop e1
    run lab_registrator h1 status --etcd
    echo "$output"
    [ "$status" -eq 2 ]
    [[ $output == "registrator: etcd gave no answer ("*"is it running"* ]]
    lab_etcd_start e1
    wait_for 10 agree 1 1
    lab_dockerd_stop h1 KILL
    run lab_registrator h1 status --etcd
    echo "$output"
    [ "$status" -eq 2 ]
    [[ $output == "registrator: no answer from Docker: "* ]]
    lab_dockerd h1
    lab_agent_stop h1
    run lab_registrator h1 status --etcd
    [ "$status" -eq 2 ]
    [[ $output == *"is it running"* ]]
    run lab_registrator h1 status --etcd --json
    [ "$status" -eq 1 ]
    [[ $output == "Usage: registrator status "* ]]
}

# fleet [OPTION...]: where no agent runs.
fleet() {
    lab_in etcd "${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}" --etcd "$(lab_etcd_urls)" "$@"
}

@test "fleet with v3 lists the keys of all hosts with host, age, TTL and anomalies, without an agent" {
    local lease i
    lab_docker h1 run -d -P --name web app:1
    lab_docker h1 run -d -P --name api --env SERVICE_NAME=shop app:1
    agent h1 --node h1
    wait_for 10 status_is h1 '.etcd.idle and .etcd.keys == 2'
    # Another host, whose second key is bound to another address; a key of a person; keys of other programs.
    lease=$(lease3 600)
    put3 /app/servers/one 192.0.2.12:80 "$lease"
    put3 /app/servers/two 192.0.2.99:81 "$lease"
    put3 /app/servers/three 192.0.2.12:82 "$lease"
    put3 /app/servers/by-hand 192.0.2.12:80
    put3 /app/weights/web/$'\e[31m' $'<b>"\n' "$lease"
    put3 /apples/servers/no 192.0.2.12:80
    fleet fleet --json | tee "$LAB/fleet.json"
    jq -r '.keys[] | "\(.service)|\(.container)|\(.address)|\(.host)|\(.ttl // "none")|\(.anomalies | join(","))"' \
        "$LAB/fleet.json" | sed -E 's/\|(5[89][0-9]|600)\|/|600|/; s/\|(2[0-9]|30)\|/|30|/' >"$LAB/fleet.rows"
    diff -U 9 - "$LAB/fleet.rows" <<EOF
servers|by-hand|192.0.2.12:80|192.0.2.12|none|no-ttl,same-address
servers|one|192.0.2.12:80|192.0.2.12|600|same-address
servers|three|192.0.2.12:82|192.0.2.12|600|
servers|two|192.0.2.99:81|192.0.2.12|600|
servers|web|$(mapped h1 web)|192.0.2.11|30|
shop|api|$(mapped h1 api)|192.0.2.11|30|
||<b>"?|192.0.2.12|600|other-key,other-value
EOF
    # The age is what etcd counts: its writes.
    [ "$(jq '.keys[] | select(.container == "by-hand") | .age_writes' "$LAB/fleet.json")" = 2 ]
    [ "$(jq -r '.keys[] | select(.container == "one") | .lease' "$LAB/fleet.json")" = "$(printf %x "$lease")" ]
    # A table without control characters, and nothing was written.
    fleet fleet | tee "$LAB/fleet.table"
    grep -E '^servers  web +192\.0\.2\.11:[0-9]+ +192\.0\.2\.11 +[0-9]+ writes +[0-9]+ s$' "$LAB/fleet.table"
    grep -E '^servers  by-hand  .* 2 writes +none +no TTL, same address as another key$' "$LAB/fleet.table"
    [ "$(tail -n 1 "$LAB/fleet.table")" = "7 keys, 3 with an anomaly" ]
    run ! grep -P '[\x00-\x08\x0b-\x1f]' "$LAB/fleet.table"
    [ "$(keys3 /app/ | grep -c ^/app/)" = 7 ]
    # By another template, {node} names the host.
    put3 /app/servers/h7/x 192.0.2.17:80 "$lease"
    [ "$(fleet --key '/app/{service}/{node}/{name}' fleet --json |
        jq '.keys[] | select(.container == "x") | .host == "h7" and .service == "servers"')" = true ]
}

@test "fleet works with v2, with more keys than one request takes, without keys, and reports a missing etcd" {
    local i
    lab_docker h1 run -d -P --name web app:1
    slow_agent v2
    wait_for 10 status_is h1 '.etcd.idle and .etcd.keys == 1'
    put2 /app/servers/by-hand 203.0.113.9:80
    fleet --etcd-api v2 fleet --json | tee "$LAB/fleet.json"
    [ "$(jq --arg web "$(mapped h1 web)" '[.keys[] | [.container, .address, .host, .anomalies, .ttl > 500, has("age_writes")]] ==
        [["by-hand", "203.0.113.9:80", "203.0.113.9", ["no-ttl"], false, false],
         ["web", $web, "192.0.2.11", [], true, false]]' "$LAB/fleet.json")" = true ]
    # 2,500 keys in v3's store, put 100 at a time.
    for i in {0..24}; do
        etcd3 kv/txn "$(jq -nc --argjson i "$i" '{success: [range(100) |
            {request_put: {key: ("/app/many/k\($i * 100 + .)" | @base64), value: ("192.0.2.50:\($i * 100 + .)" | @base64)}}]}')" >/dev/null
    done
    [ "$(fleet fleet --json | jq '(.keys | length) == 2500 and .left_out == 0 and .anomalies == 2500 and
        ([.keys[].container] | unique | length) == 2500')" = true ]
    clear_keys
    [ "$(fleet fleet | tail -n 1)" = "0 keys, 0 with an anomaly" ]
    run fleet --etcd http://127.0.0.1:9 fleet
    echo "$output"
    [ "$status" -eq 2 ]
    [[ $output == "registrator: etcd gave no answer ("* ]]
    run fleet fleet web
    [ "$status" -eq 1 ]
    [ "$output" = "Usage: registrator fleet [--control PATH] [--json | --watch]" ]
}

# screen ROWS COLUMNS FILE: what a terminal of that size would show of what was written to it.
screen() {
    perl -CSD -Mutf8 - "$@" <<'PERL'
my ($rows, $columns, $file) = @ARGV;
open(my $in, '<:encoding(UTF-8)', $file) or die;
local $/;
$_ = <$in>;
my ($alternate, $wrap, $cursor, $r, $c) = (0, 1, 1, 0, 0);
my @lines = (' ' x $columns) x $rows;
while (length) {
    if (s/^\e\[\?(\d+)([hl])//) {
        $alternate = $2 eq 'h' if $1 == 1049;
        $wrap = $2 eq 'h' if $1 == 7;
        $cursor = $2 eq 'h' if $1 == 25;
    } elsif (s/^\e\[H//) { $r = $c = 0 }
    elsif (s/^\e\[K//) { substr($lines[$r], $c) = ' ' x ($columns - $c) }
    elsif (s/^\e\[J//) {
        substr($lines[$r], $c) = ' ' x ($columns - $c);
        $lines[$_] = ' ' x $columns for $r + 1 .. $rows - 1;
    } elsif (s/^\e\[\d*m//) { }
    elsif (s/^\r//) { $c = 0 }
    elsif (s/^\n//) { if (++$r == $rows) { print "SCROLLED\n"; $r-- } }
    elsif (s/^([^\e])//) {
        print "WRAPPED\n" if $c == $columns && $wrap;
        $c = $columns - 1 if $c == $columns;
        substr($lines[$r], $c++, 1) = $1;
    } else { die "what is this: " . substr($_, 0, 20) }
}
s/ +$// for @lines;
print "$_\n" for @lines;
printf "alternate %d, wrap %d, cursor %d\n", $alternate, $wrap, $cursor;
PERL
}

# shows ROWS COLUMNS PATTERN: for wait_for.
shows() {
    screen "$1" "$2" "$LAB/terminal" | tee /dev/stderr | grep -E "$3"
}

# watch ROWS COLUMNS [COMMAND]: on a terminal of its own. The program's number goes to $LAB/watch.pid.
watch() {
    rm -f "$LAB/terminal" "$LAB/watch.pid" "$LAB/watch.status"
    lab_spawn watch "$LAB/terminal" script -qefc "stty rows $1 cols $2; tty >'$LAB/watch.tty'
        sh -c 'echo \$\$ >$LAB/watch.pid; exec ${3:-$REGISTRATOR status --watch --control $LAB/h1/control.sock}'
        echo \$? >'$LAB/watch.status'" /dev/null
    wait_for 10 test -s "$LAB/watch.pid"
}

@test "status --watch follows changes, fits the window and its new size, and restores the terminal after Ctrl-C" {
    local i
    slow_agent v3
    for i in 1 2 3 4 5 6 7 8; do
        lab_docker h1 run -d -P --name "web$i" app:1
    done
    wait_for 10 keys_are h1
    watch 10 70
    wait_for 10 shows 10 70 '^web3 +registered +/app/servers/web3 = 192\.0\.2\.11:'
    # 14 lines, of which 9 and the rest's number find room.
    shows 10 70 '^… and 5 more$'
    run ! shows 10 70 'SCROLLED|WRAPPED'
    shows 10 70 '^alternate 1, wrap 0, cursor 0$'
    lab_docker h1 rm -f web1
    wait_for 10 shows 10 70 '^… and 4 more$'
    # Taller, and so narrow that the terminal cuts the lines.
    stty -F "$(<"$LAB/watch.tty")" rows 30 cols 40
    wait_for 10 shows 30 40 '^web8 +registered +…pp/ser'
    run ! shows 30 40 'SCROLLED|WRAPPED|more'
    # The agent goes and comes.
    lab_agent_stop h1
    wait_for 10 shows 30 200 '^registrator: no answer from the agent.s control socket'
    slow_agent v3
    wait_for 10 shows 30 40 '^web8 +registered'
    kill -INT "$(<"$LAB/watch.pid")"
    wait_for 10 test -s "$LAB/watch.status"
    [ "$(<"$LAB/watch.status")" = 0 ]
    shows 30 40 '^alternate 0, wrap 1, cursor 1$'
}

@test "fleet --watch follows etcd without an agent" {
    put3 /app/servers/one 192.0.2.12:80
    watch 10 90 "nsenter --net=/run/netns/$LAB_ID-h1 $REGISTRATOR --etcd $(lab_etcd_urls) fleet --watch"
    wait_for 10 shows 10 90 '^servers  one +192\.0\.2\.12:80 +192\.0\.2\.12 +[0-9]+ writes? +none +no TTL$'
    put3 /app/servers/two 192.0.2.12:81
    wait_for 15 shows 10 90 '^servers  two '
    shows 10 90 '^2 keys, 2 with an anomaly$'
    kill -INT "$(<"$LAB/watch.pid")"
    wait_for 10 test -s "$LAB/watch.status"
    [ "$(<"$LAB/watch.status")" = 0 ]
}

@test "status --watch without a terminal is an error with a message" {
    slow_agent v3
    run lab_registrator h1 status --watch
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == "registrator: --watch needs a terminal as standard output"* ]]
}
