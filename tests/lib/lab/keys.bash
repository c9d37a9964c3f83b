# shellcheck shell=bash
# What etcd holds: keys and leases of the v3 API, keys of the v2 API, and calls that change them. Part of lab.bash.
#
# All of them ask the first default etcd, or the one in $ETCD, from that etcd's own host: a cut
# cable of another host does not matter to them.

_etcd_name() {
    local name=${ETCD:-}
    [[ -n $name ]] || read -r name <"$LAB/etcd/default"
    echo "$name"
}

# etcd_curl PATH [CURL OPTIONS...]: prints the answer, whatever its status.
etcd_curl() {
    local path=$1 dir tls=()
    dir=$LAB/etcd/$(_etcd_name)
    shift
    [[ $(<"$dir/url") != https:* ]] ||
        tls=(--cacert "$LAB/tls/ca.pem" --cert "$LAB/tls/client.pem" --key "$LAB/tls/client.key")
    lab_in "$(<"$dir/host")" curl -sS -m "$LAB_PATIENCE" "${tls[@]}" "$@" "$(<"$dir/url")$path"
}

# etcd_v3: prints the path of the v3 gateway.
etcd_v3() {
    case $(<"$LAB/etcd/$(_etcd_name)/version") in
    3.3) echo /v3beta ;;
    *) echo /v3 ;;
    esac
}

# etcd3 CALL JSON [CURL OPTIONS...]: `etcd3 lease/leases '{}'`; prints the answer; fails if that is
# an error. ETCD_TOKEN is sent if set.
etcd3() {
    local call=$1 json=$2 answer
    shift 2
    answer=$(etcd_curl "$(etcd_v3)/$call" ${ETCD_TOKEN:+-H "Authorization: $ETCD_TOKEN"} "$@" -d "$json") || return
    echo "$answer"
    [[ $answer != '{"error"'* && $answer != '{"code"'* ]]
}

_b64() {
    printf '%s' "$1" | base64 -w 0
}

# The end of the range of all keys with a prefix: the prefix with its last byte one higher.
_range_end() {
    local last
    printf -v last '\\x%x' $(($(printf '%d' "'${1: -1}") + 1))
    printf '%s%b' "${1%?}" "$last" | base64 -w 0
}

# keys3 [PREFIX]: prints "KEY VALUE" a line, sorted.
keys3() {
    local prefix=${1:-/app/}
    etcd3 kv/range "{\"key\":\"$(_b64 "$prefix")\",\"range_end\":\"$(_range_end "$prefix")\"}" |
        jq -r '.kvs[]? | "\(.key | @base64d) \(.value // "" | @base64d)"' | sort
}

# meta3 KEY: prints "CREATE-REVISION MOD-REVISION LEASE" (0: none); nothing if there is no such key.
meta3() {
    etcd3 kv/range "{\"key\":\"$(_b64 "$1")\"}" |
        jq -r '.kvs[]? | "\(.create_revision) \(.mod_revision) \(.lease // 0)"'
}

# put3 KEY VALUE [LEASE], del3 KEY, lease3 TTL (prints the lease), revoke3 LEASE
put3() {
    etcd3 kv/put "{\"key\":\"$(_b64 "$1")\",\"value\":\"$(_b64 "$2")\",\"lease\":\"${3:-0}\"}" >/dev/null
}
del3() {
    etcd3 kv/deleterange "{\"key\":\"$(_b64 "$1")\"}" >/dev/null
}
lease3() {
    etcd3 lease/grant "{\"TTL\":\"$1\"}" | jq -r .ID
}
revoke3() {
    etcd3 lease/revoke "{\"ID\":\"$1\"}" >/dev/null
}

# leases3: prints "LEASE GRANTED-TTL KEYS" a line, KEYS being how many hang on it (3.4 and later).
leases3() {
    local lease
    for lease in $(etcd3 lease/leases '{}' | jq -r '.leases[]?.ID'); do
        etcd3 lease/timetolive "{\"ID\":\"$lease\",\"keys\":true}" |
            jq -r '"\(.ID) \(.grantedTTL // 0) \(.keys // [] | length)"'
    done
}

# keys2 [DIRECTORY]: as keys3, from the v2 store. Directories are not printed.
keys2() {
    # -L: a follower of etcd 0.4 sends everybody who asks for a quorum to the leader.
    etcd_curl "/v2/keys${1:-/app}?recursive=true&quorum=true" -L |
        jq -r '.node // empty | recurse(.nodes[]?) | select(.dir | not) | "\(.key) \(.value)"' | sort
}

# etcd2 METHOD KEY [CURL OPTIONS...]: prints the answer; fails if that is an error.
etcd2() {
    local method=$1 key=$2 answer
    shift 2
    # -L as in keys2.
    answer=$(etcd_curl "/v2/keys$key" -L -X "$method" "$@") || return
    echo "$answer"
    [[ $answer != *'"errorCode"'* ]]
}

# put2 KEY VALUE [TTL], del2 KEY
put2() {
    etcd2 PUT "$1" --data-urlencode "value=$2" ${3:+-d "ttl=$3"} >/dev/null
}
del2() {
    etcd2 DELETE "$1" >/dev/null
}

# keys_are HOST...: keys3 shows what docker_expect does for these hosts together, no more, no less.
# Prints the difference. For wait_for. keys2_are: the same for the v2 store.
keys_are() {
    _lab_keys_are keys3 "$@"
}
keys2_are() {
    _lab_keys_are keys2 "$@"
}
_lab_keys_are() {
    local keys=$1 host
    shift
    diff --label expected --label etcd -U 0 \
        <(for host in "$@"; do docker_expect "$host"; done | sort) <("$keys")
}
