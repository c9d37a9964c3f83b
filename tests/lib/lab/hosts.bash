# shellcheck shell=bash
# The lab itself and its hosts: the switch, namespaces, cut cables, and the end of all of it. Part of lab.bash.

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
