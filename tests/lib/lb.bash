# shellcheck shell=bash
# The load balancer's host of a lab (see lab.bash): the real HAProxy or nginx behind the real confd,
# with the files of etc/confd as they are but for where they write and how they reload.
#
#   lab_host lb 192.0.2.3; lb_setup lb haproxy; lb_haproxy lb; lb_confd lb -watch
#   wait_for 2 lb_servers_are lb web1 web2; lb_get lb /
#
# LB_CONFD (0.30, 0.16 or 0.6) and LB_API (v3 or v2) say which confd talks how to etcd. LB_HAPROXY=new takes the
# HAProxy of Debian's newest suite. LB_EDIT is a sed script
# for the template, for a test that wants another haproxy.cfg.

LB_CONFD=${LB_CONFD:-0.16}
LB_API=${LB_API:-v3}

# lb_setup HOST PAIR: makes HOST's confd directory with the resource and the template PAIR of etc/confd.
# confd calls etc/confd/load-balancer, which reloads with $LAB/HOST/reload.
lb_setup() {
    local host=$1 pair=$2 dir=$LAB/$1 program=${2%%-*} toml
    mkdir -p "$dir/confd/conf.d" "$dir/confd/templates" "$dir/nginx"
    rm -f "$dir"/confd/*/*
    : >"$dir/reloads"
    toml=$LAB_TOP/etc/confd/conf.d/$pair.toml
    sed -e "s#^dest = .*#dest = \"$(_lb_config "$host" "$program")\"#" \
        -e "s#/etc/confd/load-balancer#$dir/load-balancer#" "$toml" >"$dir/confd/conf.d/$pair.toml" || return
    (($(grep -c "\"$dir/" "$dir/confd/conf.d/$pair.toml") == 3)) ||
        _lab_fail "$toml has no dest, check_cmd or reload_cmd of the form that is replaced" || return
    # There is no syslog here. HAProxy logs requests to its own log.
    sed -e 's#log /dev/log local0#log stdout format raw local0#' -e "s# /run/haproxy/# $dir/#" -e "${LB_EDIT:-}" \
        "$LAB_TOP/etc/confd/templates/$pair.tmpl" >"$dir/confd/templates/$pair.tmpl" || return
    _lb_reload_script "$host" "$program" >"$dir/reload"
    _lb_wrapper "$host" >"$dir/load-balancer"
    chmod 755 "$dir/reload" "$dir/load-balancer"
    [[ $program != nginx ]] || _lb_nginx_main "$host"
}

# lb_syslog HOST: listens to what load-balancer logs; the log is $LAB/HOST/syslog.log.
lb_syslog() {
    lab_spawn "syslog-$1" "$LAB/$1/syslog.log" socat -u "UNIX-RECV:$LAB/$1/syslog" -
    wait_for "$LAB_PATIENCE" test -S "$LAB/$1/syslog"
}

# _lb_config HOST PROGRAM: prints the file that confd renders.
_lb_config() {
    case $2 in
    haproxy) echo "$LAB/$1/haproxy.cfg" ;;
    nginx) echo "$LAB/$1/nginx/conf.d/app.conf" ;;
    esac
}

# A reload is counted. It fails while there is a file "fail", and waits while there is a file "hold".
_lb_reload_script() {
    local dir=$LAB/$1
    printf '%s\n' '#!/bin/sh' "[ ! -e $dir/fail ] || { echo 'no reload today'; exit 1; }" \
        "while [ -e $dir/hold ]; do sleep 0.1; done" "date +%s.%N >>$dir/reloads"
    case $2 in
    haproxy) echo "kill -USR2 \$(cat $dir/haproxy.pid)" ;;
    nginx) echo "kill -HUP \$(cat $dir/nginx.pid)" ;;
    esac
}

# Nothing is reloaded while there is nothing to reload.
_lb_wrapper() {
    local dir=$LAB/$1
    cat <<WRAPPER
#!/bin/sh
[ "\$1" != reload ] || [ -s "$dir/\$2.pid" ] || exit 0
export LB_RUN=$dir/run LB_SYSLOG=$dir/syslog LB_HAPROXY_CONFIG=$dir/haproxy.cfg LB_HAPROXY_SOCKET=$dir/admin.sock
export LB_HAPROXY_STATE=$dir/servers.state LB_HAPROXY_RELOAD=$dir/reload
export LB_NGINX_CONFIG=$dir/nginx/conf.d/app.conf LB_NGINX_MAIN=$dir/nginx/nginx.conf LB_NGINX_RELOAD=$dir/reload
exec "$LAB_TOP/etc/confd/load-balancer" "\$@"
WRAPPER
}

# Debian's nginx.conf and its default site, the welcome page, with paths of the lab.
_lb_nginx_main() {
    local dir=$LAB/$1
    mkdir -p "$dir/nginx/conf.d" "$dir/nginx/log"
    cp -r /etc/nginx/sites-available /etc/nginx/sites-enabled /etc/nginx/mime.types "$dir/nginx/"
    sed -e "s#/etc/nginx/\(conf.d\|sites-enabled\|mime.types\)#$dir/nginx/\1#" -e "s#/run/nginx.pid#$dir/nginx.pid#" \
        -e "s#/var/log/nginx#$dir/nginx/log#" /etc/nginx/nginx.conf >"$dir/nginx/nginx.conf"
    grep -q "include $dir/nginx/conf.d/\*.conf;" "$dir/nginx/nginx.conf" ||
        _lab_fail "/etc/nginx/nginx.conf is not Debian's"
}

# _lb_confd_command HOST ARGUMENTS...: prints it, a word a line.
_lb_confd_command() {
    local host=$1 backend=etcd url
    shift
    [[ $LB_API == v2 || $LB_CONFD == 0.30 ]] || backend=etcdv3
    printf '%s\n' "$LAB_TOOLS/bin/confd-$LB_CONFD" -confdir "$LAB/$host/confd" -backend "$backend"
    for url in $(lab_etcd_urls | tr , ' '); do
        printf '%s\n' -node "$url"
    done
    (($# == 0)) || printf '%s\n' "$@"
}

# lb_render HOST [CONFD ARGUMENTS...]: runs confd once.
lb_render() {
    local command
    mapfile -t command < <(_lb_confd_command "$@" -onetime)
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
    local dir=$LAB/$1 command=(haproxy)
    [[ ${LB_HAPROXY:-} != new ]] || command=("$LAB_TOP/tests/lib/in_root" "$LAB_TOOLS/root-sid" haproxy)
    [[ -s $dir/haproxy.cfg ]] || lb_render "$1" || return
    rm -f "$dir/haproxy.pid"
    LAB_NETNS=$LAB_ID-$1 lab_spawn "haproxy-$1" "$dir/haproxy.log" \
        "${command[@]}" -W -f "$dir/haproxy.cfg" -p "$dir/haproxy.pid" -S "$dir/haproxy-master.sock" || return
    if ! wait_for "$LAB_PATIENCE" test -s "$dir/haproxy.pid" ||
        ! wait_for "$LAB_PATIENCE" lb_asks "$1" 'show info'; then
        tail -n 20 "$dir/haproxy.log" >&2
        return 1
    fi
}

# lb_asks HOST COMMAND: prints what HAProxy answers on its socket.
lb_asks() {
    echo "$2" | socat -t 5 - "UNIX-CONNECT:$LAB/$1/admin.sock"
}

# lb_server_is HOST NAME STATE: HAProxy has a server of this container, and the server is UP or DOWN. For wait_for.
lb_server_is() {
    local lines
    lines=$(lb_asks "$1" 'show stat' | cut -d , -f 2,18 | grep "^$2:") || return
    echo "$lines"
    [[ $lines == *,"$3"* && $lines != *$'\n'* ]]
}

lb_haproxy_stop() {
    lab_stop "haproxy-$1" "${2:-TERM}"
}

# lb_nginx HOST: starts nginx with Debian's nginx.conf. Has the configuration rendered first if there is none.
lb_nginx() {
    local dir=$LAB/$1
    [[ -s $dir/nginx/conf.d/app.conf ]] || lb_render "$1" || return
    rm -f "$dir/nginx.pid"
    LAB_NETNS=$LAB_ID-$1 lab_spawn "nginx-$1" "$dir/nginx.log" nginx -c "$dir/nginx/nginx.conf" -g 'daemon off;' || return
    wait_for "$LAB_PATIENCE" test -s "$dir/nginx.pid"
}

lb_nginx_stop() {
    lab_stop "nginx-$1" "${2:-TERM}"
}

# lb_reloads HOST: prints how often HAProxy or nginx was reloaded.
lb_reloads() {
    wc -l <"$LAB/$1/reloads"
}

# lb_servers HOST [BACKEND]: prints "CONTAINER ADDRESS:PORT" of the servers in haproxy.cfg, sorted. A server's name is
# CONTAINER:ADDRESS:PORT.
lb_servers() {
    awk -v wanted="${2:-}" '
        $1 == "backend" || $1 == "listen" { backend = $2 }
        $1 == "server" && (wanted == "" || backend == wanted) {
            to = ":" $3
            gsub(/[][]/, "", to)
            at = length($2) - length(to)
            if (at > 0 && substr($2, at + 1) == to)
                $2 = substr($2, 1, at)
            print $2, $3
        }
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

# lb_answers HOST N [CURL OPTIONS...]: prints who answered N requests, each once, sorted; fails if any failed. LB_PORT:
# at another port than 80.
lb_answers() {
    local host=$1 n=$2 i answers=''
    shift 2
    for ((i = 0; i < n; i++)); do
        answers+=$(lb_get "$host" "${LB_PORT:+:$LB_PORT}/" "$@") || return
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
