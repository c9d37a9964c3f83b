# shellcheck shell=bash
# What run and fleet have in common. To be sourced after lab.bash, with BENCH, TOP, BUILD, LOAD and REGISTRATOR set.

say() {
    echo "bench: $*" >&2
}

build() {
    local go
    go=$(command -v go || echo /usr/local/go/bin/go)
    mkdir -p "$BUILD"
    cc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$BUILD/floor" "$BENCH/floor.c"
    (cd "$BENCH/measure" && GOFLAGS=-buildvcs=false GOTOOLCHAIN=local "$go" build -o "$BUILD/bench" .)
    lab_build_fake_docker "$BUILD/fake-docker"
}

machine() {
    echo "machine.cores $(nproc)"
    echo "machine.cpu $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)"
    echo "machine.memory_gib $(awk '$1 == "MemTotal:" { printf "%.0f", $2 / 1048576 }' /proc/meminfo)"
    echo "machine.kernel $(uname -r | grep -o '^[0-9]*\.[0-9]*')"
    echo "machine.system $(sed -n 's/^PRETTY_NAME="\(.*\)"$/\1/p' /etc/os-release)"
    echo "machine.filesystem $(stat -f -c %T "$LAB")"
    echo "machine.docker $(dockerd --version | grep -o '[0-9][0-9.]*' | head -n 1)"
    echo "machine.etcd $(etcd_curl /version | jq -r .etcdserver)"
    echo "machine.curl $(curl --version | awk 'NR == 1 { print $2 }')"
    echo "machine.agent $("$REGISTRATOR" --version | awk 'NR == 1 { print $2 }')"
    echo "machine.load $LOAD"
    echo "machine.date $(date -u +%Y-%m-%d)"
}

etcd_url() {
    cat "$LAB/etcd/e1/url"
}

# Two programs write docs/capacity.md: fleet the page, capacity its section between these lines.
SECTION_BEGIN='<!-- Written by tests/bench/capacity: begin -->'
SECTION_END='<!-- Written by tests/bench/capacity: end -->'

# section PAGE: prints the section. insert_section PAGE FILE: puts FILE in its place.
section() {
    awk -v begin="$SECTION_BEGIN" -v end="$SECTION_END" '$0 == end { on = 0 } on { print } $0 == begin { on = 1 }' "$1"
}
insert_section() {
    awk -v begin="$SECTION_BEGIN" -v end="$SECTION_END" -v file="$2" '
        $0 == end { on = 0 }
        !on { print }
        $0 == begin { on = 1; while ((getline line <file) > 0) print line }' "$1" >"$1.new"
    mv "$1.new" "$1"
}
