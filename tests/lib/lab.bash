# shellcheck shell=bash
# The lab: Docker hosts, etcd servers and agents on one machine, all of them real.
#
# Every host is a network namespace on a switch (a bridge in a namespace of its own), with its
# own dockerd. Everything the lab has lives below $LAB and is ended by lab_down, after a failure
# too. Functions are called one after another, from one shell or from several that share $LAB.
# Needs root. None of them waits without a limit; a failure is told on stderr.
#
#   lab_trap; lab_up                   # in bats: teardown() { lab_down; }
#   lab_host h1 192.0.2.11; lab_dockerd h1; lab_image h1
#   lab_host etcd 192.0.2.2; lab_etcd e1 etcd 3.4; lab_agent h1 --ttl 5
#   lab_docker h1 run -d -P --name web app:1
#   wait_for 2 keys_are h1

LAB_LIB=${BASH_SOURCE[0]}
LAB_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LAB_TOOLS=${TOOLS:-$LAB_TOP/build/tools}

# What a slow machine may take for what should be instant. A test's own limits are tighter.
LAB_PATIENCE=${LAB_PATIENCE:-30}

# ------------------------------------------------------------------------------- conditions

# wait_for SECONDS COMMAND...: until COMMAND succeeds, tried every 0.05 s. On failure prints what
# was waited for and what COMMAND printed last.
wait_for() {
    local limit=$1 start=${EPOCHREALTIME/[.,]/} limit_us output
    shift
    limit_us=$(awk -v s="$limit" 'BEGIN { printf "%d", s * 1e6 }')
    while ! output=$("$@" 2>&1); do
        if ((${EPOCHREALTIME/[.,]/} - start > limit_us)); then
            printf 'waited %s s for: %s\nit says: %s\n' "$limit" "$*" "$output" >&2
            return 1
        fi
        _lab_nap 0.05
    done
}

# A sleep that forks nothing: a read that finds nothing to read.
_lab_nap() {
    if [[ -z ${_LAB_NAP_FD:-} || ! -e /proc/self/fd/$_LAB_NAP_FD ]]; then
        exec {_LAB_NAP_FD}<> <(:)
    fi
    read -r -t "$1" -u "$_LAB_NAP_FD" || true
}

# not COMMAND...: for wait_for.
not() {
    ! "$@"
}

_lab_fail() {
    echo "lab: $*" >&2
    return 1
}

# -------------------------------------------------------------------------------- processes
#
# $LAB/pids/NAME holds "PID START-TIME" of a process we started. The start time makes sure that
# a signal never meets another process that was given the same number.

# Prints the start time of PID; fails if there is none or only a zombie.
_lab_start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The second field, the name, may hold anything: count from behind its parenthesis.
    read -ra stat <<<"${stat##*) }"
    [[ ${stat[0]} != [ZX] ]] && echo "${stat[19]}"
}

# lab_spawn NAME LOG COMMAND...: starts COMMAND in the background, detached, its output appended
# to LOG. In namespace $LAB_NETNS if that is set.
lab_spawn() {
    local name=$1 log=$2 file=$LAB/pids/$1
    shift 2
    if lab_alive "$name"; then
        _lab_fail "'$name' runs already"
        return
    fi
    rm -f "$file"
    # bats waits until everyone has closed its descriptor 3.
    # shellcheck disable=SC2016     # for the inner shell
    (
        exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- </dev/null >>"$log" 2>&1
        exec ${LAB_NETNS:+nsenter --net="/run/netns/$LAB_NETNS"} setsid --fork \
            sh -c 'echo $$ >"$0.new" && mv "$0.new" "$0" && exec "$@"' "$file" "$@"
    )
    wait_for "$LAB_PATIENCE" test -s "$file"
    echo "$(<"$file") $(_lab_start_time "$(<"$file")")" >"$file"
}

# lab_pid NAME: prints the pid; fails if it does not run (any more).
lab_pid() {
    local pid start
    [[ -s $LAB/pids/$1 ]] || return 1
    read -r pid start <"$LAB/pids/$1"
    [[ -n $start && $(_lab_start_time "$pid") == "$start" ]] && echo "$pid"
}

lab_alive() {
    lab_pid "$1" >/dev/null
}

# lab_signal NAME SIGNAL
lab_signal() {
    local pid
    pid=$(lab_pid "$1") || _lab_fail "'$1' does not run" || return
    kill -s "$2" "$pid"
}

# lab_stop NAME [SIGNAL [SECONDS]]: signals it (TERM) and waits until it is gone; no error if it
# was. What does not go within SECONDS is killed, and that is an error.
lab_stop() {
    local pid
    pid=$(lab_pid "$1") || return 0
    kill -s "${2:-TERM}" "$pid" 2>/dev/null || true
    if ! wait_for "${3:-$LAB_PATIENCE}" not lab_alive "$1"; then
        kill -s KILL "$pid"
        wait_for "$LAB_PATIENCE" not lab_alive "$1"
        _lab_fail "'$1' did not end on SIG${2:-TERM}"
        return
    fi
    rm -f "$LAB/pids/$1"
}

# lab_stop_group NAME [SIGNAL]: the same for a pipeline: all that it started is signalled.
lab_stop_group() {
    local pid
    if pid=$(lab_pid "$1"); then
        kill -s "${2:-TERM}" -- "-$pid" 2>/dev/null || true
    fi
    lab_stop "$1" "${2:-TERM}"
}

# ------------------------------------------------------------------------- the lab and hosts

# lab_up: makes $LAB (unless it is set: there) and the switch. Sets and exports LAB, LAB_ID.
lab_up() {
    if [[ -z ${LAB:-} ]]; then
        mkdir -p "$LAB_TOP/build"
        LAB=$(mktemp -d "$LAB_TOP/build/lab.XXXXXX")
    fi
    export LAB
    # A socket's path has 107 characters at most, and containerd puts some of its own below.
    if ((${#LAB} > 50)); then
        _lab_fail "'$LAB' is too long for the sockets below it: set LAB to something shorter"
        return
    fi
    mkdir -p "$LAB"/{pids,hosts,etcd}
    # Unique, so that labs at the same time do not meet in the names that all share.
    LAB_ID=rg$(mktemp -u XXXXXX)
    export LAB_ID
    echo "$LAB_ID" >"$LAB/id"
    # The switch has a namespace of its own: in the root one, br_netfilter may send its frames
    # through the FORWARD chain that a dockerd has set to DROP.
    ip netns add "$LAB_ID-switch"
    ip -n "$LAB_ID-switch" link set lo up
    ip -n "$LAB_ID-switch" link add name br0 type bridge
    ip -n "$LAB_ID-switch" address add 192.0.2.1/24 dev br0
    ip -n "$LAB_ID-switch" link set br0 up
}

# lab_attach: for a shell that was given LAB, of a lab that is up.
lab_attach() {
    [[ -s ${LAB:-}/id ]] || _lab_fail "no lab in '${LAB:-}'" || return
    LAB_ID=$(<"$LAB/id")
    export LAB LAB_ID
}

# lab_host NAME ADDRESS: a host on the switch; ADDRESS from 192.0.2.0/24 (.1 is the switch).
lab_host() {
    local name=$1 address=$2 ns=$LAB_ID-$1
    [[ $name =~ ^[a-z][a-z0-9-]{0,13}$ ]] || _lab_fail "bad host name '$name'" || return
    mkdir -p "$LAB/hosts" "$LAB/$name"
    ip netns add "$ns"
    ip -n "$LAB_ID-switch" link add name "$name" type veth peer name eth0 netns "$ns"
    ip -n "$LAB_ID-switch" link set dev "$name" master br0 up
    ip -n "$ns" link set dev lo up
    ip -n "$ns" address add "$address/24" dev eth0
    ip -n "$ns" link set dev eth0 up
    ip -n "$ns" route add default via 192.0.2.1
    echo "$address" >"$LAB/hosts/$name"
}

# lab_hosts: prints the names of the hosts.
lab_hosts() {
    local host
    for host in "$LAB"/hosts/*; do
        [[ ! -e $host ]] || echo "${host##*/}"
    done
}

# lab_address HOST: prints its address.
lab_address() {
    cat "$LAB/hosts/$1"
}

# lab_in HOST COMMAND...: runs it in the host's network. nsenter, because `ip netns exec` would
# mount another /sys, without the cgroups.
lab_in() {
    local ns=$LAB_ID-$1
    shift
    nsenter --net="/run/netns/$ns" "$@"
}

# lab_cut HOST: packets to and from it vanish, nobody is told: its interface stays up, but the
# switch knows it no more. lab_mend HOST: as before.
lab_cut() {
    ip -n "$LAB_ID-switch" link set dev "$1" nomaster
}
lab_mend() {
    ip -n "$LAB_ID-switch" link set dev "$1" master br0
}

# Pids of all that belongs to HOST: what runs in its network, in its containers, or was started
# with a path of its dockerd (containerd and its shims).
_lab_host_pids() {
    local host=$1 file
    {
        ip netns pids "$LAB_ID-$host" 2>/dev/null
        find /sys/fs/cgroup -path "*/$LAB_ID-$host/*" -name cgroup.procs -exec cat {} + 2>/dev/null
        _lab_docker_pids_of_path "$LAB/$host/exec/"
        for file in "dockerd-$host" "agent-$host"; do
            lab_pid "$file"
        done
    } | sort -un
}

# Pids of Docker's programs that have the path in their arguments.
_lab_docker_pids_of_path() {
    local pid
    for pid in $(grep -lsFe "$1" /proc/[0-9]*/cmdline | tr -dc '0-9\n'); do
        case $(cat "/proc/$pid/comm" 2>/dev/null) in
        dockerd | containerd* | runc*) echo "$pid" ;;
        esac
    done
}

_lab_host_is_empty() {
    local pid
    for pid in $(_lab_host_pids "$1"); do
        ! _lab_start_time "$pid" >/dev/null || return 1
    done
}

# lab_host_kill HOST: the power fails: everything in it dies without a word to anybody; its cable
# is dead first, so that nobody sees a socket close. After lab_host_boot HOST dockerd, etcd and
# agent can be started as before.
lab_host_kill() {
    lab_cut "$1" && _lab_host_end "$1"
}
lab_host_boot() {
    lab_mend "$1"
}

# With cgroups of the first kind SIGKILL does not reach what is paused.
_lab_thaw() {
    find /sys/fs/cgroup -path "*/$LAB_ID-$1/*" -name freezer.state \
        -exec sh -c 'for file; do echo THAWED >"$file"; done' _ {} + 2>/dev/null || true
}

_lab_host_end() {
    local host=$1 pid try
    for try in {1..100}; do
        _lab_thaw "$host"
        for pid in $(_lab_host_pids "$host"); do
            kill -s KILL "$pid" 2>/dev/null || true
        done
        # Again until there is none: a process can have forked meanwhile.
        if _lab_host_is_empty "$host"; then
            _lab_docker_debris "$host"
            return 0
        fi
        _lab_nap 0.05
    done
    _lab_fail "host '$host' does not die ($try tries): $(_lab_host_pids "$host" | tr '\n' ' ')"
}

# lab_down: ends and removes everything; may be called again, and after a lab_up that failed.
# Fails if something is left.
lab_down() {
    [[ -n ${LAB:-} && -s $LAB/id ]] || return 0
    LAB_ID=$(<"$LAB/id")
    # As a condition, so that no failure inside ends a caller that has set -e half way.
    _lab_end_all || _lab_fail "not everything of '$LAB' could be removed"
}

# lab_trap: for scripts (bats has teardown): lab_down at their end, whatever ends them. The signals
# have traps of their own, because bash may die in an EXIT trap that a signal brought about.
lab_trap() {
    # A second signal must not end it half way.
    trap "trap '' HUP INT TERM; lab_down" EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

_lab_end_all() {
    local file ns pid left=0
    for file in "$LAB"/hosts/*; do
        [[ ! -e $file ]] || _lab_host_end "${file##*/}" || left=1
    done
    for file in "$LAB"/pids/*; do
        [[ ! -e $file ]] || lab_stop_group "${file##*/}" KILL || left=1
    done
    # A host that was only half made is not in hosts/.
    for ns in $(ip netns list | awk -v id="$LAB_ID-" 'index($1, id) == 1 { print $1 }'); do
        for pid in $(ip netns pids "$ns"); do
            kill -s KILL "$pid" 2>/dev/null
        done
        ip netns delete "$ns" || left=1
    done
    _lab_unmount "$LAB/"
    find /sys/fs/cgroup -depth -type d -path "*/$LAB_ID-*" -exec rmdir {} + 2>/dev/null
    rm -rf "$LAB" || left=1
    return "$left"
}

# Unmounts all that is mounted below a path.
_lab_unmount() {
    local point
    awk -v below="$1" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
        while read -r point; do
            umount -l "$point" 2>/dev/null || true
        done
}

# ------------------------------------------------------------------------------------ Docker

# lab_build_fake_docker FILE: builds tests/fake/docker into FILE.
lab_build_fake_docker() {
    (cd "$LAB_TOP/tests/fake/docker" &&
        GOFLAGS=-buildvcs=false GOTOOLCHAIN=local PATH=$PATH:/usr/local/go/bin go build -o "$1" .)
}

# lab_dockerd HOST [ARGUMENTS...]: starts the host's dockerd and waits until it answers. Started
# again, it has what it had before. LAB_DOCKERD: another program than the machine's dockerd.
lab_dockerd() {
    local host=$1 dir=$LAB/$1 containerd
    shift
    # The machine's own settings are not ours.
    echo '{}' >"$dir/daemon.json"
    # dockerd refuses to start where its pid file names a living process, and starts no containerd
    # where that one's does. Any process will do, a zombie too, so take away what is out of date.
    rm -f "$dir/dockerd.pid"
    containerd=$(cat "$dir/exec/containerd/containerd.pid" 2>/dev/null || true)
    if ! grep -qsF "$dir/exec/" "/proc/$containerd/cmdline"; then
        rm -f "$dir/exec/containerd/containerd.pid"
    fi
    # vfs needs nothing of the kernel and leaves no mounts; our image is one file. A cgroup of
    # our own tells whose containers' processes are. containerd writes to TMPDIR what its threads do when
    # dockerd asks for it.
    mkdir -p "$dir/tmp"
    TMPDIR=$dir/tmp LAB_NETNS=$LAB_ID-$host lab_spawn "dockerd-$host" "$dir/dockerd.log" \
        "${LAB_DOCKERD:-dockerd}" --config-file "$dir/daemon.json" --host "unix://$dir/docker.sock" \
        --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/dockerd.pid" \
        --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs \
        --cgroup-parent "/$LAB_ID-$host" "$@"
    wait_for "$LAB_PATIENCE" _lab_dockerd_answers "$host" || {
        tail -n 20 "$dir/dockerd.log" >&2
        return 1
    }
}

_lab_dockerd_answers() {
    [[ $(lab_docker_get "$1" /_ping) == OK ]]
}

# lab_docker_get HOST PATH [CURL OPTIONS...]: asks its API; prints the answer.
lab_docker_get() {
    local host=$1 path=$2
    shift 2
    curl -sS --fail-with-body -m "$LAB_PATIENCE" --unix-socket "$LAB/$host/docker.sock" "$@" "http://docker$path"
}

# lab_dockerd_stop HOST [SIGNAL]: ends dockerd (TERM); with TERM, its containers too unless it has
# --live-restore; with KILL, containers and containerd live on.
lab_dockerd_stop() {
    lab_stop "dockerd-$1" "${2:-TERM}" 60
}

# lab_docker HOST ARGUMENTS...: the docker command. An image that it does not have
# is an error, not a pull.
lab_docker() {
    local host=$1 command=$2
    shift 2
    # There is nowhere to pull from; finding that out takes docker 10 s or more.
    [[ $command != run && $command != create ]] || set -- --pull never "$@"
    env -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY -u DOCKER_CERT_PATH DOCKER_HOST="unix://$LAB/$host/docker.sock" \
        DOCKER_CONFIG="$LAB/docker-config" HOME="$LAB" docker "$command" "$@"
}

# What dockerd and containerd leave behind when they are killed.
_lab_docker_debris() {
    local dir=$LAB/$1 address
    # Shims' sockets are outside of the exec-root; each bundle says where.
    find "$dir/exec" -path '*/io.containerd.runtime.v2.task/*' -name address -type f 2>/dev/null |
        while read -r address; do
            address=$(<"$address")
            address=${address#unix://}
            [[ $address != /run/containerd/s/* ]] || rm -f "$address"
        done
    _lab_unmount "$dir/"
    rm -f "$dir"/{dockerd.pid,docker.sock}
    rm -rf "$dir/exec"
}

# lab_image HOST [NAME:TAG...]: imports the images of the tests, all of them if none is named:
#   app:1           HTTP on port 80, ends at once on SIGTERM
#   app3:1          the same; exposes 80, 443 and 9000/udp
#   app:ignoreterm  the same as app:1, but takes no notice of SIGTERM
#   app:slowterm    ends 2 s after SIGTERM
#   app:health      healthy while there is a file /healthy (at the start there is none)
lab_image() {
    local host=$1 image options=()
    shift
    (($# > 0)) || set -- app:1 app3:1 app:ignoreterm app:slowterm app:health
    _lab_image_tar || return
    for image in "$@"; do
        options=(-c 'EXPOSE 80' -c 'CMD ["/bin/serve", "exit 0"]')
        case $image in
        app:1) ;;
        app3:1) options+=(-c 'EXPOSE 443' -c 'EXPOSE 9000/udp') ;;
        app:ignoreterm) options+=(-c 'CMD ["/bin/serve", ":"]') ;;
        app:slowterm) options+=(-c 'CMD ["/bin/serve", "sleep 2; exit 0"]') ;;
        app:health)
            options+=(-c 'HEALTHCHECK --interval=200ms --timeout=5s --retries=1 CMD ["/bin/test", "-e", "/healthy"]')
            ;;
        *) _lab_fail "there is no image '$image'" || return ;;
        esac
        # Each imports the whole: two at once only compete for the disk.
        lab_docker "$host" import "${options[@]}" "$LAB/image.tar" "$image" >/dev/null || return
    done
}

_lab_image_tar() {
    local root=$LAB/image
    [[ ! -s $LAB/image.tar ]] || return 0
    mkdir -p "$root"/{bin,www,tmp,etc}
    cp /bin/busybox "$root/bin/busybox"
    for applet in sh httpd sleep test touch rm cat echo kill nc wget; do
        ln -s busybox "$root/bin/$applet"
    done
    echo hello >"$root/www/index.html"
    echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
    # A process 1 without a handler never gets SIGTERM, and busybox's httpd has none: a shell is
    # process 1, and does on SIGTERM what it is told.
    cat >"$root/bin/serve" <<'SERVE'
#!/bin/sh
trap "$1" TERM
httpd -f -p 80 -h /www &
while kill -0 $!; do wait $!; done
SERVE
    chmod 755 "$root/bin/serve"
    tar -C "$root" --owner=0 --group=0 -cf "$LAB/image.tar.new" . && mv "$LAB/image.tar.new" "$LAB/image.tar"
}

# docker_expect HOST [ADDRESS]: prints the keys that its containers should have, as keys3 does, by
# what docker says, in the default layout: one TCP port, /app/servers/NAME; several,
# NAME-CONTAINERPORT each; what is bound to loopback, paused or not healthy is out. Knows no labels.
docker_expect() {
    local host=$1 address=${2:-}
    [[ -n $address ]] || address=$(lab_address "$host")
    lab_docker_get "$host" /containers/json | jq -r --arg address "$address" '
        .[]
        | select(.State == "running" and (.Status | test("\\((unhealthy|health: starting|Paused)\\)") | not))
        | (.Names[] | select(test("^/[^/]+$")) | .[1:]) as $name
        # 0.0.0.0 and :: are one binding.
        | [.Ports[]? | select(.PublicPort and .Type == "tcp")
            | {inner: .PrivatePort, outer: .PublicPort,
               address: (if .IP == "0.0.0.0" or .IP == "::" then $address else .IP end)}
            | select(.address | test("^127\\.|^::1$") | not)]
        | unique as $ports
        | ($ports | map(.inner) | unique | length) as $count
        | $ports[]
        | "/app/servers/\($name)\(if $count > 1 then "-\(.inner)" else "" end) \(.address):\(.outer)"
    ' | sort
}

# -------------------------------------------------------------------------------------- etcd

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

# ------------------------------------------------------------------------- what stands in etcd
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

# ---------------------------------------------------------------------------------- recorders
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

# --------------------------------------------------------------------------------- the agent

# lab_agent HOST [ARGUMENTS...]: starts ${REGISTRATOR:-build/registrator} as the host's agent; its
# stderr is appended to $LAB/HOST/agent.log. Does not wait. LAB_AGENT_WRAPPER: a command to run
# it under, e.g. valgrind with its options. After lab_notify HOST it is told a NOTIFY_SOCKET.
lab_agent() {
    local host=$1 dir=$LAB/$1 settings=()
    shift
    [[ ! -S $dir/notify.sock ]] || settings+=(NOTIFY_SOCKET="$dir/notify.sock")
    # shellcheck disable=SC2086     # a command with its options
    LAB_NETNS=$LAB_ID-$host lab_spawn "agent-$host" "$dir/agent.log" \
        env -u DOCKER_HOST -u JOURNAL_STREAM -u INVOCATION_ID "${settings[@]}" ${LAB_AGENT_WRAPPER:-} \
        "${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}" \
        --docker "unix://$dir/docker.sock" --etcd "$(lab_etcd_urls)" --control "$dir/control.sock" "$@"
}

# lab_agent_stop HOST [SIGNAL]: waits until it is gone. lab_agent_kill9 HOST.
lab_agent_stop() {
    lab_stop "agent-$1" "${2:-TERM}"
}
lab_agent_kill9() {
    lab_stop "agent-$1" KILL
}

# lab_registrator HOST SUBCOMMAND...: asks the host's agent.
lab_registrator() {
    local host=$1
    shift
    DOCKER_HOST="unix://$LAB/$host/docker.sock" lab_in "$host" \
        "${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}" "$@" --control "$LAB/$host/control.sock"
}

# lab_notify HOST: listens as systemd would; what the agent says goes to $LAB/HOST/notify, a line
# a message (its own newlines as blanks). To be called before lab_agent.
lab_notify() {
    local dir=$LAB/$1
    # shellcheck disable=SC2016     # for socat's shell
    lab_spawn "notify-$1" "$dir/notify.log" socat -u "UNIX-RECVFROM:$dir/notify.sock,fork" \
        SYSTEM:'echo "$(tr "\\n" " ")" >>"'"$dir/notify"'"'
    wait_for "$LAB_PATIENCE" test -S "$dir/notify.sock"
}
