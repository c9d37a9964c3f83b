# shellcheck shell=bash
# etcd servers of the lab's hosts: single ones, clusters, TLS. Part of lab.bash.

# lab_etcd NAME HOST VERSION [ARGUMENTS...]: starts an etcd on HOST's address, port 2379, and
# waits until it answers. VERSION: 0.4, 2.3, 3.3, 3.4, 3.5 or 3.6. With a --cert-file among the
# arguments it speaks TLS (see lab_tls). The first one made is where keys3 and its kin look and
# what agents are given; ETCD=NAME in the environment names another.
lab_etcd() {
    lab_etcd_define "$@" && lab_etcd_start "$1"
}

# lab_etcd_define NAME HOST VERSION [ARGUMENTS...]: the same without starting it.
lab_etcd_define() {
    local name=$1 host=$2 version=$3 dir=$LAB/etcd/$1 address scheme=http
    shift 3
    address=$(lab_address "$host") || return
    [[ " $*" != *" "-?(-)cert-file* ]] || scheme=https
    mkdir -p "$dir"
    echo "$host" >"$dir/host"
    echo "$version" >"$dir/version"
    echo "$scheme://$address:2379" >"$dir/url"
    case $version in
    0.4)
        set -- -name "$name" -data-dir "$dir/data" -addr "$address:2379" -bind-addr 0.0.0.0:2379 \
            -peer-addr "$address:7001" -peer-bind-addr 0.0.0.0:7001 "$@"
        ;;
    *)
        set -- --name "$name" --data-dir "$dir/data" \
            --listen-client-urls "$scheme://0.0.0.0:2379" --advertise-client-urls "$scheme://$address:2379" \
            --listen-peer-urls "http://$address:2380" --initial-advertise-peer-urls "http://$address:2380" \
            --initial-cluster "${LAB_ETCD_CLUSTER:-$name=http://$address:2380}" "$@"
        ;;
    esac
    case $version in
    3.4 | 3.5) set -- --enable-v2 "$@" ;;
    esac
    printf '%s\0' "$LAB_TOOLS/bin/etcd-$version" "$@" >"$dir/command"
    [[ -e $LAB/etcd/default ]] || echo "$name" >"$LAB/etcd/default"
}

# lab_etcd_start NAME...: starts them as they were defined, with the data they have, and waits until
# they answer. Members of a cluster all at once: the first answers only when there is a second.
lab_etcd_start() {
    local name command
    for name in "$@"; do
        mapfile -d '' -t command <"$LAB/etcd/$name/command"
        LAB_NETNS=$LAB_ID-$(<"$LAB/etcd/$name/host") \
            lab_spawn "etcd-$name" "$LAB/etcd/$name/log" "${command[@]}" || return
    done
    for name in "$@"; do
        wait_for "$LAB_PATIENCE" lab_etcd_answers "$name" || {
            tail -n 20 "$LAB/etcd/$name/log" >&2
            return 1
        }
    done
}

# lab_etcd_stop NAME [SIGNAL]
lab_etcd_stop() {
    lab_stop "etcd-$1" "${2:-TERM}"
}

# lab_etcd_answers NAME: reads are served as a majority agrees, which takes a leader.
lab_etcd_answers() {
    local answer
    if [[ $(<"$LAB/etcd/$1/version") == [02].* ]]; then
        answer=$(ETCD=$1 etcd_curl '/v2/keys/lab-no-such-key?quorum=true' -L)
        [[ $answer == *'"errorCode":100,'* ]]
    else
        # With auth on, a refusal is as good an answer.
        answer=$(ETCD=$1 etcd_curl "$(ETCD=$1 etcd_v3)/kv/range" -d '{"key":"AA=="}')
        [[ $answer == *'"header"'* || $answer == *'user name is empty'* ]]
    fi || {
        echo "$answer"
        return 1
    }
}

# lab_etcd_cluster HOST1 HOST2 HOST3 [VERSION [ARGUMENTS...]]: three members, each named as its
# host; agents are given all three.
lab_etcd_cluster() {
    local host first=$1 hosts=("$1" "$2" "$3") version=${4:-3.4} LAB_ETCD_CLUSTER=''
    shift $(($# < 4 ? $# : 4))
    for host in "${hosts[@]}"; do
        LAB_ETCD_CLUSTER+=${LAB_ETCD_CLUSTER:+,}$host=http://$(lab_address "$host"):2380
    done
    for host in "${hosts[@]}"; do
        case $version:$host in
        0.4:"$first") lab_etcd "$host" "$host" "$version" "$@" ;;
        # etcd 0.4 joins members to one that runs.
        0.4:*) lab_etcd "$host" "$host" "$version" -peers "$(lab_address "$first"):7001" "$@" ;;
        *) lab_etcd_define "$host" "$host" "$version" --initial-cluster-token "$LAB_ID" "$@" ;;
        esac || return
    done
    [[ $version == 0.4 ]] || lab_etcd_start "${hosts[@]}" || return
    printf '%s\n' "${hosts[@]}" >"$LAB/etcd/default"
}

# lab_etcd_urls: prints what an agent should be given: the URLs of the default etcds, by commas.
lab_etcd_urls() {
    local name urls=''
    for name in ${ETCD:-$(<"$LAB/etcd/default")}; do
        urls+=${urls:+,}$(<"$LAB/etcd/$name/url")
    done
    echo "$urls"
}

# lab_tls ADDRESS...: makes $LAB/tls/{ca,server,client}.pem and .key; the server's is for the
# addresses. `lab_etcd e1 h1 3.4 $(lab_tls_etcd)` then wants client certificates.
lab_tls() {
    local dir=$LAB/tls who names=''
    local new=(openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
    mkdir -p "$dir"
    "${new[@]}" -x509 -days 2 -subj "/CN=lab CA" -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null || return
    for who in 127.0.0.1 "$@"; do
        names+=${names:+,}IP:$who
    done
    for who in server client; do
        "${new[@]}" -subj "/CN=$who" -addext "subjectAltName=$names" -keyout "$dir/$who.key" 2>/dev/null |
            openssl x509 -req -days 2 -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial \
                -copy_extensions copy -out "$dir/$who.pem" 2>/dev/null || return
    done
}

# lab_tls_etcd: prints etcd's options for it (2.3 and later).
lab_tls_etcd() {
    echo "--cert-file $LAB/tls/server.pem --key-file $LAB/tls/server.key" \
        "--client-cert-auth --trusted-ca-file $LAB/tls/ca.pem"
}
