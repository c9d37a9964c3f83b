#!/usr/bin/env bats
# An etcd that wants TLS, certificates, users: what it takes to be let in, what is said when it is not enough, and that
# the agent needs no restart when it is put right.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/agent

TTL_S=5
NEW=(openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)

setup_file() {
    local n
    export BATS_TEST_TIMEOUT=240
    # The agents are on other hosts than the Docker that they share, and reach no container.
    export REGISTRATOR_READY=none
    lab_up
    lab_host h1 192.0.2.11
    lab_dockerd h1
    lab_image h1 app:1
    for n in 2 3 4; do
        agent_host "a$n" "192.0.2.3$n"
        lab_host "e$n" "192.0.2.4$n"
    done
}

teardown_file() {
    lab_down
}

teardown() {
    local file
    [[ -n $BATS_TEST_COMPLETED ]] || tell_all
    for file in "$LAB"/pids/{agent,etcd,watch,other}-*; do
        [[ ! -e $file ]] || lab_stop_group "$(basename "$file")" KILL
    done
    rm -rf "$LAB"/etcd/* "$LAB"/tls* "$LAB"/a[234]/agent.log "$LAB"/events*
    clear_containers h1
}

agent_host() {
    lab_host "$1" "$2"
    ln -s "$LAB/h1/docker.sock" "$LAB/$1/docker.sock"
}

# secured HOST ETCD [ARGUMENTS...]: an agent with the client's files.
secured() {
    local host=$1 etcd=$2
    shift 2
    ETCD=$etcd agent "$host" --node "$host" --ttl "$TTL_S" --heartbeat 1 \
        --etcd-ca "$LAB/tls/ca.pem" --etcd-cert "$LAB/tls/client.pem" --etcd-key "$LAB/tls/client.key" "$@"
}

# certify NAME SUBJECT-ALTERNATIVE-NAMES [DAYS]: $LAB/tls/NAME.pem and .key, from the CA there.
certify() {
    "${NEW[@]}" -subj "/CN=$1" -addext "subjectAltName=$2" -keyout "$LAB/tls/$1.key" 2>/dev/null |
        openssl x509 -req -days "${3:-2}" -CA "$LAB/tls/ca.pem" -CAkey "$LAB/tls/ca.key" -CAcreateserial \
            -copy_extensions copy -out "$LAB/tls/$1.pem" 2>/dev/null
}

# complains HOST TEXT: it is the only line that is no information, and the agent lives.
complains() {
    said "$1" "$2" 1 && said "$1" "warning: " 1 && ! grep "error: " "$LAB/$1/agent.log" && lab_alive "agent-$1"
}

# requests HOST OPERATION OUTCOME: how many the agent counts.
requests() {
    lab_in "$1" curl -sS --unix-socket "$LAB/$1/control.sock" http://x/metrics |
        awk -v series="registrator_etcd_requests_total{operation=\"$2\",outcome=\"$3\"}" '$1 == series { print $2 }'
}
requests_reach() {
    (($(requests "$1" "$2" "$3") >= $4))
}

# etcd_with HOST NAME: an etcd with that certificate, whatever a client thinks of it.
etcd_with() {
    local command
    lab_etcd_define "$1" "$1" 3.5 --cert-file "$LAB/tls/$2.pem" --key-file "$LAB/tls/$2.key" \
        --client-cert-auth --trusted-ca-file "$LAB/tls/ca.pem"
    mapfile -d '' -t command <"$LAB/etcd/$1/command"
    LAB_NETNS=$LAB_ID-$1 lab_spawn "etcd-$1" "$LAB/etcd/$1/log" "${command[@]}"
    wait_for "$LAB_PATIENCE" grep -q "serving client traffic" "$LAB/etcd/$1/log"
}

@test "a server's certificate of another CA, another host or an earlier time: one line each, and the agent recovers" {
    local ca="check --etcd-ca, --etcd-cert and --etcd-key, and the server's certificate" n
    lab_tls 192.0.2.41
    certify wrong-ca IP:127.0.0.1,IP:192.0.2.42
    certify expired IP:127.0.0.1,IP:192.0.2.43 -1
    certify elsewhere IP:127.0.0.1,IP:192.0.2.99,DNS:etcd.example
    etcd_with e2 wrong-ca
    etcd_with e3 expired
    etcd_with e4 elsewhere
    "${NEW[@]}" -x509 -days 2 -subj "/CN=another CA" -keyout "$LAB/another.key" -out "$LAB/another.pem" 2>/dev/null
    lab_docker h1 run -d -P --name kept-out app:1
    secured a2 e2 --etcd-ca "$LAB/another.pem"
    secured a3 e3
    secured a4 e4
    wait_for 10 complains a2 "warning: etcd gave no answer (https://192.0.2.42:2379: SSL certificate problem: unable to get local issuer certificate): $ca"
    wait_for 10 complains a3 "warning: etcd gave no answer (https://192.0.2.43:2379: SSL certificate problem: certificate has expired): $ca"
    wait_for 10 complains a4 "warning: etcd gave no answer (https://192.0.2.44:2379: SSL: no alternative certificate subject name matches target host name '192.0.2.44'): $ca"
    for n in 2 3 4; do
        wait_for 20 requests_reach "a$n" open unreachable 5
        complains "a$n" "warning: "
    done

    cp "$LAB/tls/ca.pem" "$LAB/another.pem"
    certify expired IP:127.0.0.1,IP:192.0.2.43
    certify elsewhere IP:127.0.0.1,IP:192.0.2.44
    for n in 2 3 4; do
        ETCD=e$n wait_for 10 has "a$n" kept-out
        complains "a$n" "warning: "
    done
}

@test "a server's certificate that names its host only in the common name is refused" {
    lab_tls 192.0.2.42
    "${NEW[@]}" -subj "/CN=192.0.2.42" -keyout "$LAB/tls/common.key" 2>/dev/null |
        openssl x509 -req -days 2 -CA "$LAB/tls/ca.pem" -CAkey "$LAB/tls/ca.key" -CAcreateserial \
            -out "$LAB/tls/common.pem" 2>/dev/null
    etcd_with e2 common
    lab_docker h1 run -d -P --name common app:1
    secured a2 e2
    wait_for 10 complains a2 "certificate has no subjectAltName"
    certify common IP:127.0.0.1,IP:192.0.2.42
    ETCD=e2 wait_for 20 has a2 common
}

@test "a client certificate that is missing or of another CA: one line each, and the agent recovers" {
    local ca="check --etcd-ca, --etcd-cert and --etcd-key, and the server's certificate" n
    lab_tls 192.0.2.42
    # shellcheck disable=SC2046     # words are what is wanted
    lab_etcd e2 e2 3.5 $(lab_tls_etcd)
    cp "$LAB/tls/client.key" "$LAB/tls/mine.key"
    openssl req -x509 -new -days 2 -subj "/CN=mine" -key "$LAB/tls/mine.key" -out "$LAB/tls/mine.pem"
    lab_docker h1 run -d -P --name unknown app:1
    ETCD=e2 agent a2 --node a2 --ttl "$TTL_S" --heartbeat 1 --etcd-ca "$LAB/tls/ca.pem"
    secured a3 e2 --etcd-cert "$LAB/tls/mine.pem" --etcd-key "$LAB/tls/mine.key"
    for n in 2 3; do
        wait_for 20 requests_reach "a$n" open unreachable 5
        complains "a$n" "$ca"
    done
    cp "$LAB/tls/client.pem" "$LAB/tls/mine.pem"
    ETCD=e2 wait_for 10 has a3 unknown
    complains a3 "$ca"
}

@test "the agent refuses a server with TLS 1.1, and accepts TLS 1.2" {
    lab_tls 192.0.2.42
    local -x OPENSSL_CONF=$LAB/openssl.cnf
    # All that the library would forbid by itself is allowed here: it is the agent that refuses.
    printf '%s\n' 'openssl_conf = conf' '[conf]' 'ssl_conf = ssl' '[ssl]' 'system_default = all' \
        '[all]' 'MinProtocol = TLSv1' 'CipherString = DEFAULT@SECLEVEL=0' >"$OPENSSL_CONF"
    LAB_NETNS=$LAB_ID-e2 lab_spawn other-tls "$LAB/other.log" openssl s_server -quiet -www -tls1_1 \
        -accept 2379 -cert "$LAB/tls/server.pem" -key "$LAB/tls/server.key"
    local curl=(lab_in e2 curl -sS --cacert "$LAB/tls/ca.pem" https://192.0.2.42:2379/version)
    wait_for 10 "${curl[@]}" --tlsv1.0 -o /dev/null
    run "${curl[@]}" --tlsv1.2
    [ "$status" -eq 35 ]

    # shellcheck disable=SC2046     # words are what is wanted
    lab_etcd_define e2 e2 3.5 --tls-max-version TLS1.2 $(lab_tls_etcd)
    lab_docker h1 run -d -P --name old-tls app:1
    secured a2 e2
    wait_for 10 complains a2 "protocol version): check --etcd-ca, --etcd-cert and --etcd-key, and the server's certificate"
    lab_stop other-tls
    lab_etcd_start e2
    ETCD=e2 wait_for 10 has a2 old-tls
}

# in_both NAME: a3's key in the v3 store, a2's in that of v2.
in_both() {
    has a3 "$1" && KEYS=keys2 has a2 "$1"
}

@test "a new CA and new certificates in the same files need no restart and cause no etcd event" {
    local pids
    lab_tls 192.0.2.43
    # shellcheck disable=SC2046     # words are what is wanted
    lab_etcd e3 e3 3.4 $(lab_tls_etcd)
    watch3_start "$LAB/events"
    secured a3 e3
    secured a2 e3 --etcd-api v2
    lab_docker h1 run -d -P --name stays app:1
    wait_for 10 in_both stays
    pids="$(lab_pid agent-a2) $(lab_pid agent-a3)"

    cp -r "$LAB/tls" "$LAB/tls-old"
    lab_etcd_stop e3
    lab_tls 192.0.2.43
    lab_etcd_start e3
    run lab_in e3 curl -sS --cacert "$LAB/tls/ca.pem" --cert "$LAB/tls-old/client.pem" \
        --key "$LAB/tls-old/client.key" https://192.0.2.43:2379/health
    [ "$status" -ne 0 ]
    lab_docker h1 run -d -P --name after app:1
    wait_for 10 in_both after
    in_both stays
    [ "$(lab_pid agent-a2) $(lab_pid agent-a3)" = "$pids" ]
    EVENTS=$LAB/events events_are stays "PUT stays $(mapped a3 stays)"
}

# users ETCD PASSWORD: root, and an agent that may write below /app/.
users() {
    local -x ETCD=$1
    etcd3 auth/user/add '{"name":"root","password":"root"}'
    etcd3 auth/role/add '{"name":"root"}'
    etcd3 auth/user/grant '{"user":"root","role":"root"}'
    etcd3 auth/role/add '{"name":"app"}'
    etcd3 auth/role/grant "{\"name\":\"app\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"$(_b64 /app/)\",\"range_end\":\"$(_range_end /app/)\"}}"
    etcd3 auth/user/add "{\"name\":\"agent\",\"password\":\"$2\"}"
    etcd3 auth/user/grant '{"user":"agent","role":"app"}'
    etcd3 auth/enable '{}'
}
# as USER PASSWORD COMMAND...: with a token of that user's.
as() {
    local -x ETCD_TOKEN
    ETCD_TOKEN=$(ETCD_TOKEN='' etcd3 auth/authenticate "{\"name\":\"$1\",\"password\":\"$2\"}" | jq -r .token)
    "${@:3}"
}

# stays' key is as it was written first.
unchanged() {
    local create mod
    read -r create mod _ < <(ETCD=$etcd as root root meta3 /app/servers/stays)
    [[ -n $create && $create == "$mod" ]]
}

@test "the agent renews simple tokens and JWTs before they expire; SIGHUP reads a changed password" {
    local host etcd name
    openssl genrsa -out "$LAB/jwt.key" 2048 2>/dev/null
    openssl rsa -in "$LAB/jwt.key" -pubout -out "$LAB/jwt.pub" 2>/dev/null
    lab_etcd e2 e2 3.5 --auth-token-ttl 1
    lab_etcd e3 e3 3.6 --auth-token "jwt,pub-key=$LAB/jwt.pub,priv-key=$LAB/jwt.key,sign-method=RS256,ttl=2s"
    echo secret >"$LAB/password"
    chmod 600 "$LAB/password"
    lab_docker h1 run -d -P --name stays app:1
    for etcd in e2 e3; do
        users "$etcd" secret
        host=a${etcd#e}
        ETCD=$etcd agent "$host" --node "$host" --ttl 8 --heartbeat 2 --etcd-user agent --etcd-password-file "$LAB/password"
    done
    # No token outlives two heartbeats, which do without one.
    for name in stays later latest; do
        [[ $name == stays ]] || lab_docker h1 run -d -P --name "$name" app:1
        for etcd in e2 e3; do
            host=a${etcd#e}
            ETCD=$etcd wait_for 10 as root root has "$host" "$name"
            wait_for 20 requests_reach "$host" heartbeat ok $(($(requests "$host" heartbeat ok) + 2))
        done
    done
    for etcd in e2 e3; do
        host=a${etcd#e}
        requests_reach "$host" auth ok 3
        unchanged
        # The user of the agent reads the fleet, with the leases' TTL.
        [ "$(lab_in "$host" "${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}" \
            --etcd "$(ETCD=$etcd lab_etcd_urls)" --etcd-user agent --etcd-password-file "$LAB/password" fleet --json |
            jq -c '[.keys[] | select(.ttl > 0) | .container]')" = '["later","latest","stays"]' ]
        not grep -E "^(warning|error):" "$LAB/$host/agent.log"
    done

    for etcd in e2 e3; do
        ETCD=$etcd as root root etcd3 auth/user/changepw '{"name":"agent","password":"other"}'
    done
    lab_docker h1 run -d -P --name last app:1
    for host in a2 a3; do
        wait_for 20 complains "$host" "check --etcd-user and --etcd-password-file"
    done
    echo other >"$LAB/password"
    for etcd in e2 e3; do
        lab_signal "agent-a${etcd#e}" HUP
        ETCD=$etcd wait_for 15 as root root has "a${etcd#e}" last
        unchanged
    done
}

@test "with users, a client certificate with a common name is an error with a remedy, and one without is accepted" {
    local n version=(- - 3.4 3.5 3.6) remedy
    remedy="refuses its JSON gateway to a client certificate with a common name: set --etcd-cert to a certificate without one (no CN in its subject)"
    lab_tls 192.0.2.42 192.0.2.43 192.0.2.44
    cp "$LAB/tls/client.pem" "$LAB/tls/mine.pem"
    cp "$LAB/tls/client.key" "$LAB/tls/mine.key"
    # The lab itself has to get in, too: its own certificate has no CN.
    "${NEW[@]}" -subj "/O=registrator" -keyout "$LAB/tls/client.key" 2>/dev/null |
        openssl x509 -req -days 2 -CA "$LAB/tls/ca.pem" -CAkey "$LAB/tls/ca.key" -CAcreateserial \
            -out "$LAB/tls/client.pem" 2>/dev/null
    echo secret >"$LAB/password"
    chmod 600 "$LAB/password"
    for n in 2 3 4; do
        # shellcheck disable=SC2046     # words are what is wanted
        lab_etcd "e$n" "e$n" "${version[n]}" $(lab_tls_etcd)
        users "e$n" secret
        secured "a$n" "e$n" --etcd-cert "$LAB/tls/mine.pem" --etcd-key "$LAB/tls/mine.key" \
            --etcd-user agent --etcd-password-file "$LAB/password"
    done
    lab_docker h1 run -d -P --name hardened app:1
    for n in 2 3 4; do
        wait_for 20 complains "a$n" "$remedy"
        wait_for 20 requests_reach "a$n" auth refused 2
    done
    cp "$LAB/tls/client.key" "$LAB/tls/mine.key"
    cp "$LAB/tls/client.pem" "$LAB/tls/mine.pem"
    for n in 2 3 4; do
        ETCD=e$n wait_for 20 as root root has "a$n" hardened
        complains "a$n" "$remedy"
    done
}
