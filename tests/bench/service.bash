# shellcheck shell=bash
# A service under load, for rolling and endurance: its servers, its load balancer, and how one of them is replaced. To
# be sourced after lab.bash and lb.bash, with BENCH, TOP, BUILD and AGENT set.

say() {
    echo "${0##*/}: $*" >&2
}

# build_traffic: the server and the client, and what fills the templates of the pages.
build_traffic() {
    local go
    go=$(command -v go || echo /usr/local/go/bin/go)
    mkdir -p "$BUILD/image"
    (cd "$BENCH/traffic" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOTOOLCHAIN=local "$go" build -o "$BUILD/image/traffic" .)
    (cd "$BENCH/measure" && GOFLAGS=-buildvcs=false GOTOOLCHAIN=local "$go" build -o "$BUILD/bench" .)
}

# traffic_image HOST TAG ARGUMENT...: makes the image traffic:TAG, which runs "traffic ARGUMENT...".
traffic_image() {
    local host=$1 tag=$2
    shift 2
    tar -C "$BUILD/image" -c . | lab_docker "$host" import -c "CMD $(printf '%s\n' /traffic "$@" | jq -R . | jq -cs .)" \
        -c 'EXPOSE 80' - "traffic:$tag" >/dev/null
}

# service_start HOST NAME TAG [OPTION...]
service_start() {
    local host=$1 name=$2 tag=$3
    shift 3
    lab_docker "$host" run -d -P --name "$name" "$@" "traffic:$tag" >/dev/null
}

# has_key NAME: for wait_for.
has_key() {
    keys3 /app/servers/ | grep "^/app/servers/$1 "
}

# serves PROGRAM NAME: the load balancer has the server, and its reload has ended. For wait_for.
serves() {
    case $1 in
    nginx) grep -q "# $2\$" "$LAB/lb/run/nginx/loaded" ;;
    *) lb_server_is lb "$2" UP ;;
    esac
}

# load_start OUT RATE KIND: from the host "client", until load_stop.
load_start() {
    LAB_NETNS=$LAB_ID-client lab_spawn load "$1" "$BUILD/image/traffic" load http://192.0.2.3/ "$2" "$3"
}
load_stop() {
    lab_stop load
}

# stop_by STOP HOST NAME DRAIN: "stop" is registrator stop; anything else is docker stop.
stop_by() {
    if [[ $1 == stop ]]; then
        DOCKER_HOST=unix://$LAB/$2/docker.sock lab_in "$2" "$AGENT" stop --drain "$4" \
            --control "$LAB/$2/control.sock" "$3" >/dev/null
    else
        lab_docker "$2" stop "$3" >/dev/null
    fi
}
