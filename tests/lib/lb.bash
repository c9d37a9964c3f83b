# shellcheck shell=bash
# The load balancer's host of a lab (see lab.bash): the real HAProxy or nginx behind the real confd,
# with the files of etc/confd as they are but for where they write and how they reload.
#
#   lab_host lb 192.0.2.3; lb_setup lb haproxy; lb_haproxy lb; lb_confd lb -watch
#   wait_for 2 lb_servers_are lb web1 web2; lb_get lb /
#
# LB_CONFD (0.16 or 0.6) and LB_API (v3 or v2) say which confd talks how to etcd. LB_EDIT is a sed script
# for the template, for a test that wants another haproxy.cfg.

LB_CONFD=${LB_CONFD:-0.16}
LB_API=${LB_API:-v3}

# lb_setup HOST PAIR: makes HOST's confd directory with the resource and the template PAIR: haproxy,
# haproxy-services or nginx.
lb_setup() {
    local host=$1 pair=$2 dir=$LAB/$1 program=${2%%-*} toml
    mkdir -p "$dir/confd/conf.d" "$dir/confd/templates"
    rm -f "$dir"/confd/*/*
    : >"$dir/reloads"
    toml=$LAB_TOP/etc/confd/conf.d/$pair.toml
    # A reload is counted, and not tried while there is nobody to reload.
    sed -e "s#^dest = .*#dest = \"$dir/$program.cfg\"#" \
        -e "s#^reload_cmd = .*#reload_cmd = \"$dir/reload\"#" "$toml" >"$dir/confd/conf.d/$pair.toml" || return
    grep -q "^dest = \"$dir/" "$dir/confd/conf.d/$pair.toml" &&
        grep -q "^reload_cmd = \"$dir/" "$dir/confd/conf.d/$pair.toml" ||
        _lab_fail "$toml has no dest or reload_cmd of the form that is replaced" || return
    # There is no syslog here; what HAProxy logs of requests goes to its own log.
    sed -e 's#log /dev/log local0#log stdout format raw local0#' -e "${LB_EDIT:-}" \
        "$LAB_TOP/etc/confd/templates/$pair.tmpl" >"$dir/confd/templates/$pair.tmpl" || return
    case $program in
    haproxy) echo "kill -USR2 \$(cat $dir/haproxy.pid)" ;;
    nginx) echo "kill -HUP \$(cat $dir/nginx.pid)" ;;
    esac | sed "1i #!/bin/sh\n[ -s $dir/$program.pid ] || exit 0\ndate +%s.%N >>$dir/reloads" >"$dir/reload"
    chmod 755 "$dir/reload"
}

# _lb_confd_command HOST ARGUMENTS...: prints it, a word a line.
_lb_confd_command() {
    local host=$1 backend=etcd url
    shift
    [[ $LB_API == v2 ]] || backend=etcdv3
    printf '%s\n' "$LAB_TOOLS/bin/confd-$LB_CONFD" -confdir "$LAB/$host/confd" -backend "$backend"
    for url in $(lab_etcd_urls | tr , ' '); do
        printf '%s\n' -node "$url"
    done
    (($# == 0)) || printf '%s\n' "$@"
}

# lb_render HOST: runs confd once.
lb_render() {
    local command
    mapfile -t command < <(_lb_confd_command "$1" -onetime)
    lab_in "$1" "${command[@]}" >>"$LAB/$1/confd.log" 2>&1
}

# lb_confd HOST ARGUMENTS...: starts confd: -watch, or -interval SECONDS.
lb_confd() {
    local host=$1 command
    shift
    mapfile -t command < <(_lb_confd_command "$host" "$@")
    LAB_NETNS=$LAB_ID-$host lab_spawn "confd-$host" "$LAB/$host/confd.log" "${command[@]}"
}

# lb_confd_stop HOST [SIGNAL]
lb_confd_stop() {
    lab_stop "confd-$1" "${2:-TERM}"
}

# lb_haproxy HOST: starts HAProxy as Debian's unit does, as master and worker, and waits until it listens. Has
# the configuration rendered first if there is none.
lb_haproxy() {
    local dir=$LAB/$1
    [[ -s $dir/haproxy.cfg ]] || lb_render "$1" || return
    rm -f "$dir/haproxy.pid"
    LAB_NETNS=$LAB_ID-$1 lab_spawn "haproxy-$1" "$dir/haproxy.log" \
        haproxy -W -f "$dir/haproxy.cfg" -p "$dir/haproxy.pid" -S "$dir/haproxy-master.sock" || return
    if ! wait_for "$LAB_PATIENCE" test -s "$dir/haproxy.pid" ||
        ! wait_for "$LAB_PATIENCE" lab_in "$1" curl -sS -o /dev/null http://127.0.0.1/admin-status; then
        tail -n 20 "$dir/haproxy.log" >&2
        return 1
    fi
}

lb_haproxy_stop() {
    lab_stop "haproxy-$1" "${2:-TERM}"
}

# lb_nginx HOST: starts nginx with the rendered file in it.
lb_nginx() {
    local dir=$LAB/$1
    [[ -s $dir/nginx.cfg ]] || lb_render "$1" || return
    cat >"$dir/nginx.conf" <<NGINX
daemon off;
pid $dir/nginx.pid;
error_log $dir/nginx.log;
events { }
http { access_log off; include $dir/nginx.cfg; }
NGINX
    LAB_NETNS=$LAB_ID-$1 lab_spawn "nginx-$1" "$dir/nginx.log" nginx -c "$dir/nginx.conf" || return
    wait_for "$LAB_PATIENCE" test -s "$dir/nginx.pid"
}

# lb_reloads HOST: prints how often HAProxy or nginx was reloaded.
lb_reloads() {
    wc -l <"$LAB/$1/reloads"
}

# lb_servers HOST [BACKEND]: prints "NAME ADDRESS:PORT" of the servers in haproxy.cfg, sorted.
lb_servers() {
    awk -v wanted="${2:-}" '
        $1 == "backend" { backend = $2 }
        $1 == "server" && (wanted == "" || backend == wanted) { print $2, $3 }
    ' "$LAB/$1/haproxy.cfg" | sort
}

# lb_servers_are HOST NAME...: haproxy.cfg has these servers and no others. For wait_for.
lb_servers_are() {
    local host=$1
    shift
    diff -U 0 --label expected --label haproxy.cfg \
        <((($# == 0)) || printf '%s\n' "$@" | sort) <(lb_servers "$host" | cut -d ' ' -f 1)
}

# lb_get HOST PATH [CURL OPTIONS...]: a request from elsewhere through HOST's load balancer.
lb_get() {
    local host=$1 path=$2
    shift 2
    lab_in switch curl -sS -m 5 --fail "$@" "http://$(lab_address "$host")$path"
}

# lb_answers HOST N [CURL OPTIONS...]: prints who answered N requests, each once, sorted; fails if any failed.
lb_answers() {
    local host=$1 n=$2 i answers=''
    shift 2
    for ((i = 0; i < n; i++)); do
        answers+=$(lb_get "$host" / "$@") || return
        answers+=$'\n'
    done
    printf '%s' "$answers" | sort -u
}

# lb_all_answer HOST NAME...: exactly these answer. For wait_for.
lb_all_answer() {
    local host=$1
    shift
    diff -U 0 --label expected --label answers <(printf '%s\n' "$@" | sort) <(lb_answers "$host" $((2 * $# + 2)))
}

# lb_name HOST CONTAINER: has it answer its name (images app:*).
lb_name() {
    lab_docker "$1" exec "$2" sh -c "echo $2 >/www/index.html"
}

# lb_run HOST NAME [DOCKER RUN OPTIONS...]: a container of app:1 that answers its name.
lb_run() {
    local host=$1 name=$2
    shift 2
    lab_docker "$host" run -d -P --name "$name" "$@" app:1 >/dev/null && lb_name "$host" "$name"
}
