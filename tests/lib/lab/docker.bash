# shellcheck shell=bash
# Docker engines of the lab's hosts: dockerd, the docker command, images, and the keys to expect of them. Part of lab.bash.

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
#   app3:1          the same, also on port 443; exposes 80, 443 and 9000/udp
#   app:ignoreterm  the same as app:1, but takes no notice of SIGTERM
#   app:slowterm    ends 2 s after SIGTERM
#   app:late        listens only 1.5 s after its start
#   app:health      healthy while there is a file /healthy (at the start there is none)
lab_image() {
    local host=$1 image options=()
    shift
    (($# > 0)) || set -- app:1 app3:1 app:ignoreterm app:slowterm app:late app:health
    _lab_image_tar || return
    for image in "$@"; do
        options=(-c 'EXPOSE 80' -c 'CMD ["/bin/serve", "exit 0"]')
        case $image in
        app:1) ;;
        app3:1) options+=(-c 'EXPOSE 443' -c 'EXPOSE 9000/udp' -c 'CMD ["/bin/serve", "exit 0", "443"]') ;;
        app:ignoreterm) options+=(-c 'CMD ["/bin/serve", ":"]') ;;
        app:slowterm) options+=(-c 'CMD ["/bin/serve", "sleep 2; exit 0"]') ;;
        app:late) options+=(-c 'CMD ["/bin/sh", "-c", "sleep 1.5; exec /bin/serve \"exit 0\""]') ;;
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
[ -z "$2" ] || httpd -p "$2" -h /www
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
