#!/usr/bin/env bats
# What dies, hangs, is cut off or in the way: Docker, etcd, the network, hosts, agents, and other
# people's keys. Real ones, all of them.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

TTL_S=5

setup_file() {
    export BATS_TEST_TIMEOUT=240
    lab_up
    lab_host h1 192.0.2.11
    lab_host h2 192.0.2.12
    lab_host etcd 192.0.2.2
    lab_dockerd h1 --live-restore
    lab_dockerd h2
    lab_image h1 app:1
    lab_image h2 app:1
    lab_etcd e1 etcd 3.4
    watch3_start "$LAB/events"
    lab_notify h1
}

teardown_file() {
    lab_down
}

setup() {
    : >"$LAB/h1/notify"
}

teardown() {
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all
    lab_signal agent-h1 CONT 2>/dev/null || true
    lab_signal agent-h2 CONT 2>/dev/null || true
    lab_stop_group relay KILL
    lab_agent_stop h1
    lab_agent_stop h2
    lab_mend h1
    lab_mend h2
    lab_alive etcd-e1 || lab_etcd_start e1
    lab_alive dockerd-h1 || lab_dockerd h1 --live-restore
    lab_alive dockerd-h2 || lab_dockerd h2
    clear_containers h1 h2
    clear_keys
}

# agent_of HOST [ARGUMENTS...]: with a heartbeat of a second.
agent_of() {
    local host=$1
    shift
    agent "$host" --node "$host" --ttl "$TTL_S" --heartbeat 1 "$@"
}

# told TEXT [TIMES]: systemd was told so by h1's agent, in some messages or in just so many.
told() {
    local n
    n=$(grep -cF -e "$1" "$LAB/h1/notify")
    cat "$LAB/h1/notify"
    ((n == ${2:-n} && n > 0))
}

@test "started before Docker and etcd, the agent is ready, reports what is missing, and registers later" {
    local why
    lab_docker h1 run -d -P --name early app:1
    lab_dockerd_stop h1
    lab_etcd_stop e1
    agent_of h1
    wait_for 5 told READY=1
    wait_for 5 told "STATUS=Docker is away: "
    why="No answer to /_ping from Docker at unix://$LAB/h1/docker.sock: "
    why+="unix socket $LAB/h1/docker.sock: No such file or directory; is the Docker engine running, and is --docker right?"
    [[ -S $LAB/h1/docker.sock ]] || said h1 "$why" 1
    lab_dockerd h1 --live-restore
    wait_for 10 told "STATUS=etcd is away: "
    said h1 "etcd gave no answer (http://192.0.2.2:2379: Connection refused): is it running, and is --etcd right?" 1
    lab_etcd_start e1
    wait_for 10 has h1 early
    wait_for 5 told "STATUS=1 keys of 1 running containers in etcd v3 (3.4"
    told READY=1 1
    said h1 "warning: " 2
}

@test "the keys are right after etcd stops for a moment, and for longer than the TTL" {
    local away value
    agent_of h1
    start h1 outage-stays app:1
    for away in 0 $((TTL_S + 1)); do
        start h1 "outage-goes-$away" app:1
        value=$(mapped h1 "outage-goes-$away")
        : >"$LAB/h1/agent.log"
        lab_etcd_stop e1
        lab_docker h1 rm -f "outage-goes-$away"
        lab_docker h1 run -d -P --name "outage-comes-$away" app:1
        wait_for 5 said h1 "etcd gave no answer" 1
        status_is h1 '.etcd.state == "degraded"'
        # Nothing can be seen of a TTL that passes while etcd is away.
        sleep "$away"
        said h1 "etcd gave no answer" 1
        lab_etcd_start e1
        wait_for 10 keys_are h1
        # Removals and puts go apart while writes fail, and either may be the first that succeeds.
        events_are "outage-goes-$away" "PUT outage-goes-$away $value" "DELETE outage-goes-$away"
        events_are "outage-comes-$away" "PUT outage-comes-$away $(mapped h1 "outage-comes-$away")"
    done
    # A lease begins anew when etcd does: nothing has expired.
    events_are outage-stays "PUT outage-stays $(mapped h1 outage-stays)"
}

@test "a host cut off for longer than the TTL loses its keys, and then registers its present containers" {
    agent_of h1
    start h1 cut-stays app:1
    start h1 cut-goes app:1
    lab_cut h1
    lab_docker h1 rm -f cut-goes
    lab_docker h1 run -d -P --name cut-comes app:1
    wait_for $((TTL_S + 3)) gone cut-stays
    wait_for 5 gone cut-goes
    lab_mend h1
    wait_for 10 keys_are h1
    has h1 cut-stays
    has h1 cut-comes
    # The first request may have been the write, and not the heartbeat.
    [ "$(events cut-goes | grep -c ^PUT)" -eq 1 ]
}

@test "a write abandoned while the host was cut off is not carried out later" {
    local before
    agent_of h1 --ttl 30 --heartbeat 5
    start h1 blink-stays app:1
    # The next heartbeat is far off: it is the write that gets no answer.
    heartbeats 1
    lab_cut h1
    lab_docker h1 run -d -P --name blink-goes app:1
    wait_for 10 said h1 "etcd gave no answer"
    lab_docker h1 rm -f blink-goes
    lab_mend h1
    wait_for 10 said h1 "Registering in" 2
    wait_for 5 keys_are h1
    before=$(events blink-)
    # By then TCP has sent it again, if it still does.
    heartbeats 2
    diff <(echo "$before") <(events blink-)
}

@test "containers are deregistered after --docker-grace without dockerd, and registered after its return" {
    local value begin
    agent_of h1 --docker-grace 2
    start h1 grace app:1
    value=$(mapped h1 grace)
    begin=${EPOCHREALTIME/./}
    lab_dockerd_stop h1
    wait_for 5 told "STATUS=Docker is away: "
    wait_for 10 gone grace
    (($(event_ms "DELETE grace") - begin / 1000 >= 2000))
    said h1 "Docker has been away for 2 s (--docker-grace)" 1
    wait_for 5 status_is h1 '.containers[0].reason == "docker-away"'
    lab_dockerd h1 --live-restore
    wait_for 10 has h1 grace
    events_are grace "PUT grace $value" "DELETE grace" "PUT grace $value"
}

@test "if dockerd ends with its containers, their keys are deleted at once, and written when they start" {
    local value
    agent_of h2
    start h2 along --restart always app:1
    value=$(mapped h2 along)
    lab_dockerd_stop h2
    wait_for 5 gone along
    lab_dockerd h2
    wait_for 10 has h2 along
    events_are along "PUT along $value" "DELETE along" "PUT along $(mapped h2 along)"
}

# relay: a way to h1's Docker at tcp://127.0.0.1:2375 that can be disturbed.
relay() {
    LAB_NETNS=$LAB_ID-h1 lab_spawn relay "$LAB/relay.log" \
        socat TCP-LISTEN:2375,bind=127.0.0.1,fork,reuseaddr "UNIX-CONNECT:$LAB/h1/docker.sock"
}

# The agent's first connection is the one that has become its stream of events; lists and inspects
# have others.
relay_signal_stream() {
    kill -s "$1" "$(pgrep -o -P "$(lab_pid relay)")"
}

@test "the resync finds changes that a hanging event stream has not announced, and opens a new stream" {
    local old
    relay
    agent_of h1 --docker tcp://127.0.0.1:2375 --resync 2
    start h1 relay-goes app:1
    start h1 relay-moves app:1
    old=$(mapped h1 relay-moves)
    relay_signal_stream STOP
    lab_docker h1 rm -f relay-goes
    lab_docker h1 restart relay-moves
    lab_docker h1 run -d -P --name relay-comes app:1
    [ "$(mapped h1 relay-moves)" != "$old" ]
    wait_for 10 keys_are h1
    wait_for 5 said h1 "connecting to Docker again"
    wait_for 5 said h1 "Connected to Docker" 2
    start h1 relay-after app:1
    relay_signal_stream KILL
    # The same by a connection that breaks.
    lab_stop_group relay
    wait_for 5 said h1 "http://127.0.0.1:2375: "
    lab_docker h1 rm -f relay-comes
    lab_docker h1 restart relay-moves
    lab_docker h1 pause relay-after
    relay
    wait_for 10 keys_are h1
}

@test "after SIGSTOP for longer than the TTL, the keys are right, and no ended container is registered" {
    # h1's agent does not even hear then what happened meanwhile.
    relay
    agent_of h1 --docker tcp://127.0.0.1:2375 --resync 3600
    agent_of h2
    local host
    for host in h1 h2; do
        start "$host" "frozen-stays-$host" app:1
        start "$host" "frozen-goes-$host" app:1
        lab_signal "agent-$host" STOP
    done
    relay_signal_stream STOP
    for host in h1 h2; do
        lab_docker "$host" rm -f "frozen-goes-$host"
        lab_docker "$host" run -d -P --name "frozen-comes-$host" app:1
    done
    wait_for $((TTL_S + 3)) gone frozen-
    lab_signal agent-h1 CONT
    lab_signal agent-h2 CONT
    wait_for 10 keys_are h1 h2
    heartbeats 2
    keys_are h1 h2
    for host in h1 h2; do
        said "$host" "TTL of $TTL_S s ended" 1
        [ "$(events "frozen-goes-$host" | cut -d ' ' -f 1)" = $'PUT\nDELETE' ]
    done
}

@test "the keys of a killed agent and of a host without power expire within the TTL and 2 s" {
    local killed
    agent_of h1
    agent_of h2
    start h1 dead-agent app:1
    start h2 dead-host app:1
    # A heartbeat of just now: the longest that they can live.
    heartbeats 2
    killed=${EPOCHREALTIME/./}
    lab_agent_kill9 h1
    lab_host_kill h2
    wait_for $((TTL_S + 5)) gone dead-
    wait_for 5 events_are dead-agent "PUT dead-agent $(mapped h1 dead-agent)" "DELETE dead-agent"
    (($(event_ms "DELETE dead-agent") < killed / 1000 + (TTL_S + 2) * 1000))
    (($(event_ms "DELETE dead-host") < killed / 1000 + (TTL_S + 2) * 1000))
    lab_host_boot h2
}

@test "the same name on two hosts: the second registers within a heartbeat after the first key is gone" {
    local first second
    agent_of h1
    agent_of h2
    start h1 same app:1
    lab_docker h2 run -d -P --name same app:1
    first=$(mapped h1 same) second=$(mapped h2 same)
    wait_for 5 said h2 "Key /app/servers/same belongs to another owner, with value '$first': waiting until it is gone" 1
    heartbeats 4
    events_are same "PUT same $first"
    said h2 "belongs to another owner" 1
    run lab_registrator h2 status
    [[ $output == *"same"*"conflict"* ]]
    run lab_registrator h2 explain same
    [[ $output == *"$first"* ]]
    status_is h1 '.containers[0].state == "registered"'

    lab_docker h1 stop same
    wait_for 10 events_are same "PUT same $first" "DELETE same" "PUT same $second"
    (($(event_ms "PUT same $second") - $(event_ms "DELETE same") <= 2000))
    status_is h2 '.containers[0].state == "registered"'
    # And now the other way round.
    lab_docker h1 start same
    wait_for 5 said h1 "Key /app/servers/same belongs to another owner, with value '$second'"
    lab_docker h2 rm -f same
    wait_for 5 has h1 same
}

@test "the agent and its containers never change a key that an operator wrote" {
    local before
    put3 /app/servers/hand "written by hand"
    before=$(meta3 /app/servers/hand)
    agent_of h1 --resync 1
    lab_docker h1 run -d -P --name hand app:1
    wait_for 5 said h1 "Key /app/servers/hand belongs to another owner, with value 'written by hand'"
    lab_docker h1 restart hand
    lab_docker h1 rename hand hand-other
    wait_for 5 has h1 hand-other
    lab_docker h1 rename hand-other hand
    wait_for 5 gone hand-other
    lab_agent_kill9 h1
    agent_of h1 --resync 1
    wait_for 5 said h1 "belongs to another owner" 1
    heartbeats 2
    lab_docker h1 stop hand
    lab_docker h1 start hand
    wait_for 5 status_is h1 '.containers[0].state == "conflict"'
    lab_docker h1 kill hand
    wait_for 5 status_is h1 '.containers | all(.state == "unregistered")'
    lab_agent_stop h1
    [ -n "$before" ]
    [ "$(meta3 /app/servers/hand)" = "$before" ]
}

@test "--on-conflict replace takes the key over and owns it" {
    local value
    put3 /app/servers/replace "written by hand"
    agent_of h1 --on-conflict replace
    start h1 replace app:1
    value=$(mapped h1 replace)
    said h1 "Key /app/servers/replace belongs to another owner, with value 'written by hand': replacing it" 1
    lab_docker h1 stop replace
    wait_for 5 events_are replace "PUT replace written by hand" "PUT replace $value" "DELETE replace"
}

@test "the resync restores a deleted key, and leaves an overwritten key alone and reports it" {
    local value before
    agent_of h1 --resync 2
    start h1 tampered app:1
    value=$(mapped h1 tampered)
    del3 /app/servers/tampered
    wait_for 5 events_are tampered "PUT tampered $value" "DELETE tampered" "PUT tampered $value"
    put3 /app/servers/tampered mine
    wait_for 5 said h1 "Key /app/servers/tampered belongs to another owner, with value 'mine'" 1
    status_is h1 '.containers[0].state == "conflict" and .containers[0].records[0].holder == "mine"'
    before=$(meta3 /app/servers/tampered)
    heartbeats 3
    lab_docker h1 stop tampered
    wait_for 5 status_is h1 '.containers | all(.state == "unregistered")'
    [ "$(meta3 /app/servers/tampered)" = "$before" ]
    [ "$(keys3)" = "/app/servers/tampered mine" ]
}

@test "two hosts with the same machine image both have their keys, and the log reports the clone" {
    # Each lab host has the machine's IDs, as clones do; only --node tells them apart elsewhere.
    [ "$(lab_docker h1 info -f '{{.ID}}')" = "$(lab_docker h2 info -f '{{.ID}}')" ]
    agent_of h1 --node golden --resync 2
    start h1 golden-1 app:1
    lab_docker h2 run -d -P --name golden-2 app:1
    agent_of h2 --node golden --resync 2
    wait_for 10 keys_are h1 h2
    said h2 "cloned machine image" 1
    heartbeats 4
    events_are golden- "PUT golden-1 $(mapped h1 golden-1)" "PUT golden-2 $(mapped h2 golden-2)"
    # Both started again find their own.
    lab_agent_kill9 h1
    lab_agent_kill9 h2
    agent_of h2 --node golden --resync 2
    agent_of h1 --node golden --resync 2
    heartbeats 6
    events_are golden- "PUT golden-1 $(mapped h1 golden-1)" "PUT golden-2 $(mapped h2 golden-2)"
    # Without each other's keys.
    lab_docker h1 rm -f golden-1
    wait_for 5 gone golden-1
    has h2 golden-2
}

@test "two hosts with the same machine image start together without keys" {
    agent_of h1 --node golden --resync 2
    agent_of h2 --node golden --resync 2
    heartbeats 2
    lab_docker h1 run -d -P --name together-1 app:1
    lab_docker h2 run -d -P --name together-2 app:1
    wait_for 10 keys_are h1 h2
    heartbeats 8
    keys_are h1 h2
    lab_agent_kill9 h2
    wait_for $((TTL_S + 3)) gone together-2
    has h1 together-1
}

@test "two hosts with the same machine image and container name leave each other's key alone" {
    local owner=h1 other=h2
    agent_of h1 --node golden --resync 2
    agent_of h2 --node golden --resync 2
    heartbeats 2
    lab_docker h1 run -d -P --name twin app:1 &
    lab_docker h2 run -d -P --name twin app:1
    wait $!
    wait_for 10 conflict_is_told twin
    heartbeats 8
    has h1 twin || owner=h2 other=h1
    has "$owner" twin
    # Deregistering the one that waits deletes nothing.
    lab_docker "$other" rm -f twin
    heartbeats 2
    has "$owner" twin
    events_are twin "PUT twin $(mapped "$owner" twin)"
}

conflict_is_told() {
    said h1 "Key /app/servers/$1 belongs to another owner" || said h2 "Key /app/servers/$1 belongs to another owner"
}

@test "systemd gets ready once, then watchdog, reloading and stopping; SIGTERM keeps the keys" {
    local -x LAB_AGENT_WRAPPER="env WATCHDOG_USEC=1000000"
    agent_of h1 --ttl 60
    start h1 notify app:1
    wait_for 5 told READY=1
    wait_for 5 told "STATUS=1 keys of 1 running containers"
    wait_for 5 watchdog_pings 3
    lab_signal agent-h1 HUP
    wait_for 5 told "RELOADING=1 MONOTONIC_USEC=" 1
    wait_for 5 told READY=1 2
    lab_agent_stop h1
    wait_for 5 told STOPPING=1 1
    has h1 notify
    events_are notify "PUT notify $(mapped h1 notify)"
}

watchdog_pings() {
    (($(grep -c WATCHDOG=1 "$LAB/h1/notify") >= $1))
}

# settings LINE...: writes the file that h1's agent reads.
settings() {
    printf '%s\n' "[registry]" "$@" >"$LAB/h1/registrator.conf"
}

# reload [TIMES]: until it has read them, for the given time.
reload() {
    lab_signal agent-h1 HUP
    wait_for 5 said h1 "Settings read again" "${1:-1}"
}

@test "SIGHUP with another template, prefix, address or TTL moves the keys at once without a gap" {
    local value other lease
    settings "ttl = 10" "heartbeat = 1"
    agent h1 --node h1 --config "$LAB/h1/registrator.conf"
    start h1 moved app:1
    value=$(mapped h1 moved)

    settings "ttl = 10" "heartbeat = 1" "key = /app/{service}/{name}-of-{node}"
    reload 1
    wait_for 5 events_are moved "PUT moved $value" "PUT moved-of-h1 $value" "DELETE moved"

    settings "ttl = 10" "heartbeat = 1" "key = /app/sub/{service}/{name}"
    reload 2
    # The move onto the new prefix' lease may write the old key once more.
    moved_on() {
        diff <(printf '%s\n' "PUT /app/sub/servers/moved $value" "DELETE /app/servers/moved-of-h1") \
            <(watch_events "$LAB/events" | grep moved | awk '!seen[$0]++' | tail -n +4)
    }
    wait_for 5 moved_on

    settings "ttl = 10" "heartbeat = 1"
    reload 3
    wait_for 5 has h1 moved
    wait_for 5 gone moved-of-h1

    # What follows must not delete anything.
    other=198.51.100.7:${value##*:}
    settings "ttl = 10" "heartbeat = 1" "advertise = 198.51.100.7"
    reload 4
    wait_for 5 events_end "PUT moved $other"
    settings "ttl = 20" "heartbeat = 1" "advertise = 198.51.100.7"
    reload 5
    wait_for 5 granted_ttl 20
    heartbeats 2
    [ "$(keys3)" = "/app/servers/moved $other" ]
    [ "$(events moved | awk -v value="$other" '$3 == value { found = 1 } found' | grep -c DELETE)" -eq 0 ]
    # The old leases hold nothing any more.
    read -r _ _ lease < <(meta3 /app/servers/moved)
    [ "$(leases3 | awk '$3 > 0 { print $1 }')" = "$lease" ]
}

events_end() {
    [[ $(events '' | tail -n 1) == "$1" ]]
}

granted_ttl() {
    local lease
    read -r _ _ lease < <(meta3 /app/servers/moved)
    leases3 | grep "^$lease $1 "
}

@test "SIGHUP with bad settings keeps the old settings, and logs the line and the reason once" {
    settings "ttl = 10"
    agent h1 --node h1 --config "$LAB/h1/registrator.conf"
    start h1 kept app:1
    : >"$LAB/h1/agent.log"
    settings "key = /app/{service}/{name}-other" "ttl = 3"
    lab_signal agent-h1 HUP
    wait_for 5 said h1 "error: Settings not read again, the old ones stay: $LAB/h1/registrator.conf:3: [registry] ttl: '3': must be" 1
    start h1 kept-too app:1
    [ "$(wc -l <"$LAB/h1/agent.log")" -eq 2 ]
    has h1 kept
}
