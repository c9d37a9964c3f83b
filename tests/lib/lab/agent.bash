# shellcheck shell=bash
# The agent on a host of the lab, its subcommands, and what it tells systemd. Part of lab.bash.

# lab_agent HOST [ARGUMENTS...]: starts ${REGISTRATOR:-build/registrator} as the host's agent; its
# stderr is appended to $LAB/HOST/agent.log. Does not wait. LAB_AGENT_WRAPPER: a command to run
# it under, e.g. valgrind with its options. After lab_notify HOST it is told a NOTIFY_SOCKET.
# LAB_AGENT=-NAME, for this and the next three: another agent of the host, with its own control-NAME.sock and
# agent-NAME.log.
lab_agent() {
    local host=$1 dir=$LAB/$1 settings=()
    shift
    [[ ! -S $dir/notify.sock ]] || settings+=(NOTIFY_SOCKET="$dir/notify.sock")
    # shellcheck disable=SC2086     # a command with its options
    LAB_NETNS=$LAB_ID-$host lab_spawn "agent-$host${LAB_AGENT:-}" "$dir/agent${LAB_AGENT:-}.log" \
        env -u DOCKER_HOST -u JOURNAL_STREAM -u INVOCATION_ID "${settings[@]}" ${LAB_AGENT_WRAPPER:-} \
        "${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}" \
        --docker "unix://$dir/docker.sock" --etcd "$(lab_etcd_urls)" --control "$dir/control${LAB_AGENT:-}.sock" "$@"
}

# lab_agent_stop HOST [SIGNAL]: waits until it is gone. lab_agent_kill9 HOST.
lab_agent_stop() {
    lab_stop "agent-$1${LAB_AGENT:-}" "${2:-TERM}"
}
lab_agent_kill9() {
    lab_stop "agent-$1${LAB_AGENT:-}" KILL
}

# lab_registrator HOST SUBCOMMAND...: asks the host's agent, or Docker, or etcd.
lab_registrator() {
    local host=$1
    shift
    DOCKER_HOST="unix://$LAB/$host/docker.sock" REGISTRATOR_ETCD=$(lab_etcd_urls) lab_in "$host" \
        "${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}" "$@" \
        --control "$LAB/$host/control${LAB_AGENT:-}.sock"
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
