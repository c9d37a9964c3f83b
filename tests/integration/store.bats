#!/usr/bin/env bats
# The store, verb by verb, with every etcd that it claims to know.

bats_require_minimum_version 1.8.0
load ../lib/lab

setup_file() {
    export BATS_TEST_TIMEOUT=240
    lab_up
    for n in 2 3 4; do
        lab_host "etcd$n" "192.0.2.$n"
    done
}

teardown_file() {
    lab_down
}

teardown() {
    local n
    for n in 2 3 4; do
        lab_etcd_stop "etcd$n"
    done
    rm -rf "$LAB"/etcd/*
}

# Of the build that REGISTRATOR is of: with the sanitizers, or as it is shipped.
live() {
    local program=${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}
    lab_in etcd2 "${LIVE_STORE:-${program%/registrator/registrator}/tests/unit/live_store}" "$@"
}

# one VERSION API [MORE...]: one member, and nothing else.
one() {
    local version=$1
    shift
    lab_etcd etcd2 etcd2 "$version"
    live http://192.0.2.2:2379 "$@"
}

# auth: the user agent may write below /app/.
auth() {
    local prefix end
    prefix=$(printf /app/ | base64)
    end=$(printf /app0 | base64)
    etcd3 auth/user/add '{"name":"root","password":"root"}'
    etcd3 auth/role/add '{"name":"root"}'
    etcd3 auth/user/grant '{"user":"root","role":"root"}'
    etcd3 auth/role/add '{"name":"app"}'
    etcd3 auth/role/grant \
        '{"name":"app","perm":{"permType":"READWRITE","key":"'"$prefix"'","range_end":"'"$end"'"}}'
    etcd3 auth/user/add '{"name":"agent","password":"secret"}'
    etcd3 auth/user/grant '{"user":"agent","role":"app"}'
    etcd3 auth/enable '{}'
}

@test "etcd 0.4, v2" {
    one 0.4 v2
}

@test "etcd 2.3, v2 chosen by auto" {
    one 2.3 auto
}

@test "etcd 3.3, v3 chosen by auto" {
    one 3.3 auto
}

@test "etcd 3.3, v2" {
    one 3.3 v2
}

@test "etcd 3.4, v3" {
    one 3.4 v3
}

@test "etcd 3.4, v3, with a --max-txn-ops of 8" {
    lab_etcd etcd2 etcd2 3.4 --max-txn-ops 8
    live http://192.0.2.2:2379 v3
}

@test "etcd 3.4, v2" {
    one 3.4 v2
}

@test "etcd 3.5, v3" {
    one 3.5 v3
}

@test "etcd 3.5, v2" {
    one 3.5 v2
}

@test "etcd 3.6, v3" {
    one 3.6 v3
}

@test "etcd 3.6 without v2: the message names the missing API" {
    run one 3.6 v2
    [ "$status" -eq 1 ]
    [[ $output == *"does not serve the v2 API"* ]]
}

@test "etcd 2.3 without v3: the message names the missing API" {
    run one 2.3 v3
    [ "$status" -eq 1 ]
    [[ $output == *"2.3.8"*"needs 3.3"* ]]
}

@test "a user with a role for one prefix, and tokens that are lost when etcd restarts" {
    local version
    for version in 3.3 3.4 3.5 3.6; do
        lab_etcd etcd2 etcd2 "$version"
        auth
        run live http://192.0.2.2:2379 v3 agent wrong
        [[ $status -eq 1 && $output == *"check --etcd-user and --etcd-password-file"* ]]
        LIVE_RESTART="bash -c '. $LAB_LIB && LAB=$LAB lab_attach && lab_etcd_stop etcd2 && lab_etcd_start etcd2'" \
            live http://192.0.2.2:2379 v3 agent secret
        lab_etcd_stop etcd2
        rm -rf "$LAB"/etcd/*
    done
}

@test "a user's settings work with an etcd without authentication" {
    one 3.4 v3 agent secret
}

@test "TLS with client certificates" {
    local tls
    lab_tls 192.0.2.2
    read -ra tls < <(lab_tls_etcd)
    lab_etcd etcd2 etcd2 3.4 "${tls[@]}"
    LIVE_CA=$LAB/tls/ca.pem LIVE_CERT=$LAB/tls/client.pem LIVE_KEY=$LAB/tls/client.key \
        live https://192.0.2.2:2379 v3
    # The server's name counts, and so does who signed it.
    run live https://192.0.2.2:2379 v3
    [[ $status -eq 1 && $output == *"certificate"* ]]
    LIVE_CA=$LAB/tls/ca.pem run live https://192.0.2.2:2379 v3
    [ "$status" -eq 1 ]
    run live http://192.0.2.2:2379 v3
    [[ $status -eq 1 && $output == *"http"* ]]
}

@test "a cluster, v3" {
    lab_etcd_cluster etcd2 etcd3 etcd4 3.4
    live "$(lab_etcd_urls)" v3
}

@test "a cluster of 0.4, whose followers redirect writes to the leader" {
    lab_etcd_cluster etcd2 etcd3 etcd4 0.4
    live "$(lab_etcd_urls)" v2
    # From its other end: at least one of them is a follower.
    live http://192.0.2.4:2379 v2
}
