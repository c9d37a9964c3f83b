#!/usr/bin/env bats
# The agent on etcd's v2 keys API: with etcd 0.4, 2.3 and 3.4 at the same time. Each has an agent of its own
# on its own host, and all of these agents are told of the same containers, those of h1.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

# How the functions of agent.bash look at keys.
# shellcheck disable=SC2034
KEYS=keys2
# Each test is a process of its own, and so is what it sets.
# shellcheck disable=SC2030,SC2031
ETCDS=(v04 v23 v34)
TTL_S=5
HEARTBEAT_S=1

setup_file() {
    local n=0 name
    export BATS_TEST_TIMEOUT=240
    # The agents are on other hosts than the Docker that they share, and reach no container.
    export REGISTRATOR_READY=none
    lab_up
    lab_host h1 192.0.2.11
    lab_host h2 192.0.2.12
    lab_dockerd h1
    lab_dockerd h2
    lab_image h1 app:1 app3:1
    lab_image h2 app:1
    for name in "${ETCDS[@]}"; do
        lab_host "$name" "192.0.2.2$((++n))"
        lab_host "second-$name" "192.0.2.3$n"
        ln -s "$LAB/h1/docker.sock" "$LAB/$name/docker.sock"
        ln -s "$LAB/h2/docker.sock" "$LAB/second-$name/docker.sock"
        lab_etcd "$name" "$name" "${name:1:1}.${name:2}"
    done
    on_each watch2_start "$LAB/events-@"
}

teardown_file() {
    lab_down
}

teardown() {
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all_of_each
    on_each end_agents @
    rm -f "$LAB"/*/agent.log
    clear_containers h1 h2
    on_each lab_alive etcd-@ || lab_etcd_start "${ETCDS[@]}"
    on_each etcd2 DELETE "/app?recursive=true" >/dev/null || true
}

# One after another, and the logs once.
tell_all_of_each() {
    local log name
    for log in "$LAB"/*/agent.log; do
        name=$(basename "$(dirname "$log")")
        [[ ! -s $log ]] || tail -n 30 "$log" | sed "s/^/$name: /"
    done
    for name in "${ETCDS[@]}"; do
        tail -n 30 "$LAB/events-$name" | grep -v /lab-mark | sed "s/^/events of $name: /"
    done
}

end_agents() {
    lab_agent_kill9 "$1"
    lab_agent_kill9 "second-$1"
}

# on_each COMMAND...: for each etcd in turn, with its name for each @: until it fails. Functions called so
# that do more than one thing must say themselves what is a failure.
on_each() {
    local -x ETCD EVENTS
    for ETCD in "${ETCDS[@]}"; do
        EVENTS=$LAB/events-$ETCD
        "${@//@/$ETCD}" || { echo "on $ETCD"; return 1; }
    done
}

# agents [ARGUMENTS...], second_agents: starts one at each etcd, for h1's or h2's containers.
agents() {
    on_each agent @ --node @ --etcd-api v2 --ttl "$TTL_S" --heartbeat "$HEARTBEAT_S" "$@"
}
second_agents() {
    on_each agent second-@ --node second-@ --etcd-api v2 --ttl "$TTL_S" --heartbeat "$HEARTBEAT_S"
}

# As in agent.bash, but that renewals wake the watchers of 0.4, which knows no other way: there, an event that
# repeats the last one of its key does not count.
events() {
    watch_events "$EVENTS" "/app/servers/$1" | sed 's# /app/servers/# #' |
        awk -v renewals="$ETCD" '{ if (renewals != "v04" || last[$2] != $0) print; last[$2] = $0 }'
}

# happened NAME EVENT...: to the key of h1's container NAME. = stands for the value that it has now.
happened() {
    local name=$1 value
    shift
    value=$(mapped "$ETCD" "$name")
    events_are "$name" "${@/=/$value}"
}

# started NAME...: h1's containers of these names run and have their keys, those of one image.
started() {
    local name
    for name in "$@"; do
        lab_docker h1 run -d -P --name "$name" app:1 >/dev/null
    done
    for name in "$@"; do
        wait_for 5 on_each has @ "$name"
    done
}

# refreshes: prints how often a key was renewed (or changed), as this etcd counts.
refreshes() {
    etcd_curl /v2/stats/store | jq .compareAndSwapSuccess
}
refreshes_reach() {
    (($(refreshes) >= $(<"$LAB/$ETCD/refreshes")))
}
note_refreshes() {
    echo $(($(refreshes) + $1)) >"$LAB/$ETCD/refreshes"
}

# refreshed TIMES KEYS: waits until each etcd has seen so many more renewals of so many keys.
refreshed() {
    on_each note_refreshes $(($1 * $2))
    wait_for $(($1 * 2 + 10)) on_each refreshes_reach
}

# Every key has a TTL; there are some.
have_ttls() {
    etcd_curl '/v2/keys/app?recursive=true&quorum=true' -L | jq -e --argjson ttl "$TTL_S" '
        [.node | recurse(.nodes[]?) | select(.dir | not)]
        | length > 0 and all(.ttl >= 1 and .ttl <= $ttl + 1)'
}

# The key's directory is there, for ever.
has_directory() {
    etcd2 GET "$1" | jq -e '.node.dir and (.node | has("ttl") | not)'
}

# meta2 KEY: prints "CREATED-INDEX MODIFIED-INDEX TTL VALUE".
meta2() {
    etcd2 GET "$1" | jq -r '.node | "\(.createdIndex) \(.modifiedIndex) \(.ttl // "-") \(.value)"'
}
note_meta() {
    meta2 "$1" >"$LAB/$ETCD/meta"
}
meta_is_as_noted() {
    diff "$LAB/$ETCD/meta" <(meta2 "$1")
}

# milliseconds_between EVENT EVENT: from the first time that this was seen to the first of that after it.
milliseconds_between() {
    awk -v first="${1/ / /app/servers/} @" -v second="${2/ / /app/servers/} @" '
        !begin && index($0, first) == 1 { begin = $NF }
        begin && !end && index($0, second) == 1 { end = $NF }
        END { printf "%d\n", (end - begin) * 1000 }' "$EVENTS"
}

@test "v2: the directory exists from the start without a TTL, and each key in it has a TTL" {
    agents
    wait_for 5 on_each has_directory /app/servers
    [ -z "$(on_each keys2)" ]
    started plain
    lab_docker h1 run -d -P --name plain-many app3:1
    wait_for 5 on_each keys2_are @
    on_each have_ttls
    on_each said @ "Registering in etcd v2 ("

    lab_docker h1 restart plain
    wait_for 5 on_each has @ plain
    lab_docker h1 rename plain name-new
    wait_for 5 on_each keys2_are @
    wait_for 5 on_each happened name-new "PUT name-new ="
    lab_docker h1 stop name-new
    lab_docker h1 kill plain-many
    is_empty() { [[ -z $(keys2) ]]; }
    wait_for 5 on_each is_empty
    on_each has_directory /app/servers
}

@test "v2: a rename writes the new key before the old one is deleted; after a restart the key has the new port" {
    agents
    started rename-old
    lab_docker h1 rename rename-old rename-new
    wait_for 5 on_each gone rename-old
    renamed() {
        local value
        value=$(mapped "$ETCD" rename-new)
        events_are rename- "PUT rename-old $value" "PUT rename-new $value" "DELETE rename-old"
    }
    wait_for 5 on_each renamed

    started restart
    local name
    for name in "${ETCDS[@]}"; do
        mapped "$name" restart >"$LAB/$name/old"
    done
    lab_docker h1 restart restart
    wait_for 5 on_each has @ restart
    restarted() {
        happened restart "PUT restart $(<"$LAB/$ETCD/old")" "DELETE restart" "PUT restart ="
    }
    on_each restarted
}

@test "v2: a refresh wakes no watcher; older servers get a swap of the value for itself" {
    agents --resync 1
    started silent-1 silent-2
    refreshed 3 2
    # For 0.4 its renewals are left out, if nothing but the value itself was ever there.
    on_each happened silent-1 "PUT silent-1 ="
    on_each happened silent-2 "PUT silent-2 ="
    # It has had more of them than a change makes: no watcher was told, or (0.4) of all.
    [ "$(grep -h -c " /app/servers/silent-1 " "$LAB/events-v23" "$LAB/events-v34")" = $'1\n1' ]
    (($(grep -c "^PUT /app/servers/silent-1 $(mapped v04 silent-1) @" "$LAB/events-v04") > 3))
    on_each have_ttls
}

@test "v2: after an agent's restart, running containers have no event, and changed ones have the right keys" {
    agents
    started again-stays again-goes
    on_each lab_agent_kill9 @
    lab_docker h1 rm -f again-goes
    lab_docker h1 run -d -P --name again-comes app:1
    agents
    wait_for 5 on_each has @ again-comes
    refreshed 2 2
    on_each happened again-stays "PUT again-stays ="
    on_each lab_agent_stop @
    agents
    refreshed 2 2
    on_each happened again-stays "PUT again-stays ="
    on_each happened again-comes "PUT again-comes ="
    # Without a lease nobody knows whose it was, but it has its TTL.
    wait_for $((TTL_S + 3)) on_each gone again-goes
    on_each keys2_are @
}

@test "v2: a killed agent's keys expire within the TTL and 2 s, and the directory stays" {
    local killed
    agents
    started dead-1 dead-2
    refreshed 1 2
    killed=${EPOCHREALTIME/./}
    on_each lab_agent_kill9 @
    wait_for $((TTL_S + 5)) on_each gone dead-
    died_in_time() {
        happened dead-2 "PUT dead-2 =" "DELETE dead-2" &&
            (($(event_ms "DELETE dead-1") < killed / 1000 + (TTL_S + 2) * 1000)) &&
            (($(event_ms "DELETE dead-2") < killed / 1000 + (TTL_S + 2) * 1000))
    }
    wait_for 5 on_each died_in_time
    on_each has_directory /app/servers
}

@test "v2: the same name on two hosts: the second registers within a heartbeat after the first key is gone" {
    agents
    second_agents
    started same
    lab_docker h2 run -d -P --name same app:1
    second_waits() {
        said "second-$ETCD" "Key /app/servers/same belongs to another owner, with value '$(mapped "$ETCD" same)': waiting" 1
    }
    wait_for 5 on_each second_waits
    refreshed 3 1
    on_each happened same "PUT same ="
    on_each second_waits
    on_each status_is second-@ '.containers[0].state == "conflict"'

    on_each note_mapped same
    lab_docker h1 stop same
    took_over() {
        local first second
        first=$(<"$LAB/$ETCD/mapped") second=$(mapped "second-$ETCD" same)
        events_are same "PUT same $first" "DELETE same" "PUT same $second" || return
        # A heartbeat and a second.
        (($(milliseconds_between "DELETE same" "PUT same $second") <= (HEARTBEAT_S + 1) * 1000))
    }
    wait_for 10 on_each took_over
    # And now the other way round: the first dies without a word.
    lab_docker h1 start same
    wait_for 5 on_each said @ "Key /app/servers/same belongs to another owner" 1
    on_each lab_agent_kill9 second-@
    wait_for $((TTL_S + 4)) on_each has @ same
}

note_mapped() {
    mapped "$ETCD" "$1" >"$LAB/$ETCD/mapped"
}

write_hand() {
    put2 /app/servers/hand "$(lab_address "$ETCD"):8081" && note_meta /app/servers/hand
}

@test "v2: the agent never changes a key without a TTL, even one with the wanted value" {
    on_each write_hand
    agents --resync 1
    lab_docker h1 run -d -p 8081:80 --name hand app:1
    is_held() { said "$ETCD" "Key /app/servers/hand belongs to another owner, with value '$(lab_address "$ETCD"):8081': waiting" 1; }
    wait_for 5 on_each is_held
    lab_docker h1 restart hand
    lab_docker h1 rename hand hand-other
    wait_for 5 on_each has @ hand-other
    lab_docker h1 rename hand-other hand
    wait_for 5 on_each gone hand-other
    on_each end_agents @
    agents --resync 1
    wait_for 5 on_each is_held
    started marker-of-hand
    refreshed 3 1
    on_each is_held
    lab_docker h1 rm -f hand
    wait_for 5 on_each status_is @ '[.containers[].name] == ["marker-of-hand"]'
    on_each lab_agent_stop @
    on_each meta_is_as_noted /app/servers/hand
}

@test "v2: the next refresh restores a deleted key, and leaves an overwritten key alone" {
    agents
    started tampered
    on_each del2 /app/servers/tampered
    wait_for 5 on_each happened tampered "PUT tampered =" "DELETE tampered" "PUT tampered ="
    back_in_time() {
        (($(milliseconds_between "DELETE tampered" "PUT tampered $(mapped "$ETCD" tampered)") <= 2000))
    }
    on_each back_in_time
    on_each have_ttls

    # With a TTL, it could be another agent's.
    on_each put2 /app/servers/tampered mine 60
    wait_for 5 on_each said @ "Key /app/servers/tampered belongs to another owner, with value 'mine': waiting" 1
    on_each status_is @ '.containers[0].state == "conflict" and .containers[0].records[0].holder == "mine"'
    started marker-of-tampered
    refreshed 2 1
    on_each said @ "Key /app/servers/tampered belongs to another owner" 1
    on_each put2 /app/servers/tampered "still mine"
    on_each note_meta /app/servers/tampered
    wait_for 5 on_each said @ "Key /app/servers/tampered belongs to another owner, with value 'still mine'" 1
    lab_docker h1 stop tampered
    wait_for 5 on_each status_is @ '.containers[] | select(.name == "tampered") | .state == "unregistered"'
    refreshed 1 1
    on_each meta_is_as_noted /app/servers/tampered
}

@test "v2: after etcd stops for longer than the TTL, every key is written at once" {
    local name
    agents
    started outage-1 outage-2 outage-goes
    for name in "${ETCDS[@]}"; do
        : >"$LAB/$name/agent.log"
        # It may miss something.
        watch_stop "$LAB/events-$name"
        lab_etcd_stop "$name"
    done
    lab_docker h1 rm -f outage-goes
    lab_docker h1 run -d -P --name outage-comes app:1
    wait_for 10 on_each said @ "etcd gave no answer" 1
    # Nothing can be seen of a TTL that passes while etcd is away.
    sleep $((TTL_S + 1))
    on_each said @ "etcd gave no answer" 1
    for name in "${ETCDS[@]}"; do
        lab_etcd_start "$name"
        # A retry comes within 1.5 s.
        ETCD=$name wait_for 3 keys2_are "$name"
    done
    on_each watch2_start "$LAB/events-@"
    refreshed 2 3
    on_each keys2_are @
    on_each have_ttls
}

@test "v2: after SIGSTOP for longer than the TTL, the keys are right, and no ended container is registered" {
    agents
    started frozen-stays frozen-goes
    on_each note_mapped frozen-goes
    on_each lab_signal agent-@ STOP
    lab_docker h1 rm -f frozen-goes
    lab_docker h1 run -d -P --name frozen-comes app:1
    wait_for $((TTL_S + 3)) on_each gone frozen-stays
    wait_for 5 on_each gone frozen-goes
    on_each lab_signal agent-@ CONT
    wait_for 5 on_each keys2_are @
    refreshed 2 2
    on_each keys2_are @
    dead_stayed_dead() {
        events_are frozen-goes "PUT frozen-goes $(<"$LAB/$ETCD/mapped")" "DELETE frozen-goes"
    }
    on_each dead_stayed_dead
    on_each said @ "TTL of $TTL_S s ended" 1
}

@test "v2: --on-conflict replace takes the key over and owns it" {
    on_each put2 /app/servers/replace "written by hand"
    agents --on-conflict replace
    started replace
    on_each said @ "Key /app/servers/replace belongs to another owner, with value 'written by hand': replacing it" 1
    on_each have_ttls
    on_each note_mapped replace
    lab_docker h1 stop replace
    was_replaced() {
        events_are replace "PUT replace written by hand" "PUT replace $(<"$LAB/$ETCD/mapped")" "DELETE replace"
    }
    wait_for 5 on_each was_replaced
}

# settings LINE...: writes the file that all the agents read. reload TIMES: until they have, for the given time.
settings() {
    printf '%s\n' "[registry]" "ttl = $TTL_S" "heartbeat = $HEARTBEAT_S" "$@" >"$LAB/registrator.conf"
}
reload() {
    on_each lab_signal agent-@ HUP
    wait_for 5 on_each said @ "Settings read again" "$1"
}

@test "v2: SIGHUP swaps a changed value, and writes a changed key before deleting the old one" {
    settings
    on_each agent @ --node @ --etcd-api v2 --config "$LAB/registrator.conf"
    started moved
    reload 1
    refreshed 2 1
    on_each happened moved "PUT moved ="

    settings "value = {name}/{address}:{port}"
    reload 2
    wait_for 5 on_each happened moved "PUT moved =" "PUT moved moved/="
    settings "value = {name}/{address}:{port}" "advertise = 198.51.100.7"
    reload 3
    readdressed() {
        local value
        value=$(mapped "$ETCD" moved)
        events_are moved "PUT moved $value" "PUT moved moved/$value" "PUT moved moved/198.51.100.7:${value##*:}"
    }
    wait_for 5 on_each readdressed
    refreshed 2 1
    on_each readdressed
    on_each have_ttls

    settings "key = /app/other/{name}"
    reload 4
    has_moved() { [[ $(keys2) == "/app/other/moved $(mapped "$ETCD" moved)" ]]; }
    wait_for 5 on_each has_moved
    on_each has_directory /app/other
    refreshed 2 1
    on_each has_moved
}

@test "v2: SIGHUP applies another TTL at once" {
    TTL_S=60
    settings
    on_each agent @ --node @ --etcd-api v2 --config "$LAB/registrator.conf"
    started longer
    local ttl=60
    TTL_S=5
    settings
    reload 1
    wait_for 5 on_each have_ttls
    TTL_S=$ttl
    on_each happened longer "PUT longer ="
}

@test "v2: with --etcd-nudge, one write beside the directory follows a change, and none without it" {
    agents
    started nudge-none
    refreshed 3 1
    nudged() { (($(watch_events "$EVENTS" /app/servers.nudge | grep -c "^PUT") == $1)); }
    on_each nudged 0
    agents --etcd-nudge
    wait_for 5 on_each said @ "Registering in etcd"
    lab_docker h1 run -d -P --name nudge-one app:1
    wait_for 5 on_each nudged 1
    lab_docker h1 rm -f nudge-one
    wait_for 5 on_each nudged 2
    is_mortal() { etcd2 GET /app/servers.nudge | jq -e '.node.ttl > 0'; }
    on_each is_mortal
    # Renewals are no changes.
    refreshed 3 1
    on_each nudged 2
}

# fake PATH: tells the fake Docker.
fake() {
    curl -sS --fail-with-body --unix-socket "$LAB/fake/control" "http://fake$1"
}

fake_keys_are() {
    # A few lines of the difference will do.
    diff --label expected --label etcd -U 0 <(fake "/expected?address=$(lab_address "fake-$1")" | sort) <(keys2) >"$LAB/fake/difference" ||
        { head -n 20 "$LAB/fake/difference"; return 1; }
}

seen() {
    grep -F "$1" "$EVENTS"
}

sample() {
    echo "$EPOCHREALTIME $(refreshes)" >>"$LAB/$ETCD/samples"
}

# In no half of a second more than 4 times what each key's one renewal in a heartbeat of 4 s makes.
samples_are_even() {
    awk -v keys=1000 -v heartbeat=4 '
        NR == 1 { begin = time = $1; first = last = $2 }
        $1 - time < 0.5 { next }
        { rate = ($2 - last) / ($1 - time); time = $1; last = $2 }
        rate > most { most = rate }
        END {
            mean = (last - first) / (time - begin)
            printf "renewals a second: mean %d, most %d\n", mean, most
            exit !(mean > keys / heartbeat / 2 && most < keys / heartbeat * 4)
        }' "$LAB/$ETCD/samples"
}

@test "v2, fake Docker: a change of one of 1,000 keys precedes the refreshes, which are spread" {
    local ETCDS=(v23 v34) name n=0 end
    mkdir "$LAB/fake"
    lab_build_fake_docker "$LAB/fake/docker"
    lab_spawn fake-docker "$LAB/fake/log" "$LAB/fake/docker" --socket "$LAB/fake/docker.sock" \
        --control "$LAB/fake/control" --data "$LAB_TOP/tests/data/docker" --containers 1000
    wait_for 10 fake /state
    for name in "${ETCDS[@]}"; do
        lab_host "fake-$name" "192.0.2.4${name:1:1}"
        ln -s "$LAB/fake/docker.sock" "$LAB/fake-$name/docker.sock"
    done
    on_each agent fake-@ --node fake-@ --etcd-api v2 --ttl 20 --heartbeat 4
    wait_for 20 on_each fake_keys_are @

    # Two heartbeats long, from the very beginning on.
    end=$((SECONDS + 9))
    while ((SECONDS < end)); do
        fake "/do?verb=run&name=change-$((++n))" >/dev/null
        wait_for 2 on_each seen "PUT /app/servers/change-$n "
        fake "/do?verb=stop&name=change-$n" >/dev/null
        wait_for 2 on_each seen "DELETE /app/servers/change-$n "
        on_each sample
    done
    on_each fake_keys_are @
    on_each samples_are_even
    # Each was written once, and none was lost on the way.
    each_once() { [ "$(watch_events "$EVENTS" | grep -c " /app/servers/web-")" -eq 1000 ]; }
    on_each each_once
    on_each lab_agent_stop fake-@
    lab_stop fake-docker
}
