# shellcheck shell=bash
# Conditions to wait for, and processes: started detached, and signalled by number and start time. Part of lab.bash.

# wait_for SECONDS COMMAND...: until COMMAND succeeds, tried every 0.05 s or as often as half of the time allows. On
# failure, after three times SECONDS, prints what was waited for and what COMMAND printed last.
wait_for() {
    local limit=$1 start=${EPOCHREALTIME/[.,]/} begin now nap limit_us output
    shift
    # Three times what is usual: a machine may be that slow, and only a test that fails waits so long.
    limit_us=$(awk -v s="$limit" 'BEGIN { printf "%d", s * 3e6 }')
    while begin=${EPOCHREALTIME/[.,]/} && ! output=$("$@" 2>&1); do
        now=${EPOCHREALTIME/[.,]/}
        if ((now - start > limit_us)); then
            printf 'waited %s s for: %s\nit says: %s\n' "$limit" "$*" "$output" >&2
            return 1
        fi
        # As long as the command took: on a slow machine, those that wait would else keep both cores busy.
        nap=$((now - begin < 50000 ? 50000 : now - begin > 500000 ? 500000 : now - begin))
        printf -v nap '0.%06d' "$nap"
        _lab_nap "$nap"
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

# socket_listens PATH: a server accepts connections at this Unix socket. The file is there a moment earlier.
socket_listens() {
    socat -u OPEN:/dev/null "UNIX-CONNECT:$1"
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
