# shellcheck shell=bash
# Recorders: they write each event of etcd to a file. Part of lab.bash.
#
# A recorder watches all of etcd and writes a line per event to FILE:
#   PUT KEY VALUE @REVISION TIME
#   DELETE KEY @REVISION TIME       (an expired key, too)
#   MKDIR KEY @REVISION TIME        (v2 only)

# watch3_start FILE, watch2_start FILE: when they return, no event is missed any more. The v3 one
# survives a restart of etcd and then goes on where it was, and so does the v2 one with etcd 0.4; else that
# may miss something then.
watch3_start() {
    _lab_watch_start 3 "$1"
}
watch2_start() {
    _lab_watch_start 2 "$1"
}

# watch_stop FILE (also watch3_stop, watch2_stop): FILE stays.
watch_stop() {
    lab_stop_group "$(_lab_watch_name "$1")"
}
watch3_stop() { watch_stop "$1"; }
watch2_stop() { watch_stop "$1"; }

# watch_sync FILE: returns when FILE has all that happened before the call.
watch_sync() {
    wait_for "$LAB_PATIENCE" _lab_watch_mark "$1" "mark-$EPOCHREALTIME"
}

# watch_events FILE [PREFIX]: synchronises a running recorder, then prints the events of the keys
# with that prefix (/app/), without revision and time.
watch_events() {
    ! lab_alive "$(_lab_watch_name "$1")" || watch_sync "$1" || return
    awk -v prefix="${2:-/app/}" '
        index($2, prefix) == 1 { sub(/ @[0-9]+ [0-9.]+$/, ""); print }' "$1"
}

_lab_watch_name() {
    echo "watch-$(basename "$1")"
}

_lab_watch_start() {
    local api=$1 file=$2
    : >"$file"
    echo "$api" >"$file.api"
    # shellcheck disable=SC2016     # for the inner shell
    ETCD=$(_etcd_name) LAB=$LAB LAB_ID=$LAB_ID lab_spawn "$(_lab_watch_name "$file")" "$file.log" \
        bash -c '. "$0"; _lab_watch"$1" "$2"' "$LAB_LIB" "$api" "$file" || return
    watch_sync "$file"
}

# A mark of our own, outside of what the tests look at, tells how far the recorder has come. Put
# again and again, as the first ones may come before it watches.
_lab_watch_mark() {
    if [[ $(<"$1.api") == 3 ]]; then
        put3 "/lab-mark" "$2"
    else
        put2 "/lab-mark" "$2"
    fi && _lab_nap 0.02 && grep -qF "PUT /lab-mark $2 " "$1"
}

# Event streams are endless, and there may be no newline behind an event: one is added to each piece
# that ends as an event does. Blanks between tokens are none of JSON's business.
_lab_lines() {
    perl -e 'while (sysread(STDIN, $_, 65536)) { $_ .= "\n" if /\}$/; syswrite(STDOUT, $_); }'
}

# shellcheck disable=SC2317,SC2016     # called from _lab_watch_start; jq's variables
_lab_watch3() {
    local file=$1 next request
    while :; do
        # Behind the last that was seen; if there is none, from now on.
        next=$(sed -n 's/.* @\([0-9]*\) [0-9.]*$/\1/p' "$file" | tail -n 1)
        request="{\"create_request\":{\"key\":\"AA==\",\"range_end\":\"AA==\",\"start_revision\":\"$((${next:--1} + 1))\"}}"
        # No limit in time for this one.
        etcd_curl "$(etcd_v3)/watch" -N -m 0 ${ETCD_TOKEN:+-H "Authorization: $ETCD_TOKEN"} -d "$request" |
            jq --unbuffered -r '
                (now * 1000 | floor / 1000) as $now
                | .result.events[]?
                | (.kv.key | @base64d) as $key
                | if .type == "DELETE" then "DELETE \($key) @\(.kv.mod_revision) \($now)"
                  else "PUT \($key) \(.kv.value // "" | @base64d) @\(.kv.mod_revision) \($now)" end
            ' >>"$file"
        sleep 0.1
    done
}

# shellcheck disable=SC2317,SC2016
_lab_watch2() {
    local file=$1
    if [[ $(<"$LAB/etcd/$(_etcd_name)/version") == 0.4 ]]; then
        _lab_watch2_by_index "$file"
        return
    fi
    while :; do
        etcd_curl '/v2/keys/?wait=true&recursive=true&stream=true' -N -m 0 | _lab_lines | _lab_watch2_tell >>"$file"
        sleep 0.1
    done
}

# One question per event: a stream of 0.4 ends without a word when two come at once, and slowly as this is,
# it remembers the last 1,000.
# shellcheck disable=SC2317
_lab_watch2_by_index() {
    local file=$1 next='' last
    until [[ -n $next ]]; do
        next=$(etcd_curl /v2/keys/ -o "$file.body" -D - | sed -n 's/^X-Etcd-Index: *\([0-9]*\).*/\1/Ip')
    done
    while :; do
        if etcd_curl "/v2/keys/?wait=true&recursive=true&waitIndex=$((next + 1))" -m 0 | _lab_watch2_tell >"$file.event"; then
            cat "$file.event" >>"$file"
            last=$(sed -n 's/.* @\([0-9]*\) [0-9.]*$/\1/p' "$file.event")
        fi
        if [[ -s $file.event && -n $last ]]; then
            next=$last
        else
            sleep 0.1
        fi
    done
}

# shellcheck disable=SC2317,SC2016
_lab_watch2_tell() {
    jq --unbuffered -r '
        (now * 1000 | floor / 1000) as $now
        | .action as $action | .node // empty
        | .modifiedIndex as $index
        | if $action == "delete" or $action == "compareAndDelete" or $action == "expire" then "DELETE \(.key)"
          elif .dir then "MKDIR \(.key)"
          else "PUT \(.key) \(.value)" end
        | "\(.) @\($index) \($now)"
    '
}
