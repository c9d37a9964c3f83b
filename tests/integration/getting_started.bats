#!/usr/bin/env bats
# docs/getting-started.md, command by command, each on its host: machines with a real systemd. A block of the page
# is marked "sh" and the hosts that it is run on; a block "text" behind it is what it prints.
#
# In the place of what cannot be had here:
# - docker1's and docker2's packages: dockerd and compiler are those of this machine, which has the packages;
# - the build runs here, once, and installs into the disk that both are booted from;
# - confd is not downloaded, but taken from build/tools, and so its checksum is another;
# - the image "nginx" is app:1, which answers HTTP as well.
# In what is printed, ports, IDs, leases and times count as equal, and so do etcd's versions. The container that a
# machine itself is, is left out.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/machine

PAGE=$LAB_TOP/docs/getting-started.md
SOURCE=/usr/local/src/registrator
declare -gA ADDRESSES=([front]=192.0.2.2 [docker1]=192.0.2.11 [docker2]=192.0.2.12)

setup_file() {
    export BATS_TEST_TIMEOUT=600
}

setup() {
    machine_skip_without_image
    lab_up
}

teardown() {
    local host
    if [[ -z $BATS_TEST_COMPLETED && -s ${LAB:-}/id ]]; then
        for host in "${!ADDRESSES[@]}"; do
            echo "--- $host"
            machine_tell "$host"
        done
    fi
    lab_down
}

# The page's blocks as files: N.sh with N.hosts, and N.text if it is told what is printed. Prints how many.
blocks() {
    awk -v to="$1" '
        !inside && /^```sh [a-z]/ { n++; file = to "/" n ".sh"; inside = 1
            print substr($0, 7) >(to "/" n ".hosts"); next }
        !inside && /^```text$/ { file = to "/" n ".text"; inside = 1; next }
        !inside && /^```/ { print "a block of another kind: " $0 >"/dev/stderr"; exit 1 }
        inside && /^```$/ { inside = 0; close(file); next }
        inside { print >file }
        END { print n }' "$PAGE"
}

# What differs from run to run.
normalise() {
    sed -E -e '/^machine /d' -e 's/^([A-Z]+) +(STATE) +/\1  \2  /' -e 's/:[0-9]{4,5}( check)?( |$)/:PORT\1\2/g' \
        -e 's/\([0-9a-f]{12}\)/(ID)/' -e 's/lease [0-9a-f]+…?/lease ID/' -e 's/took = .*/took = TIME/' -e 's/^[0-9-]+T[0-9:.]+Z /TIME /' \
        -e 's/\(3\.[0-9.]+,/(VERSION,/'
}

packages_are_here() {
    local package
    for package in $(tr -d '\\\n' <"$1" | sed 's/^apt-get install -y//'); do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" | grep -x installed
    done
}

build() {
    local tree=$LAB/source
    mkdir -p "$tree"
    tar -C "$LAB_TOP" -c --exclude=./build --exclude=./.git . | tar -x -C "$tree"
    (cd "$tree" && DESTDIR=$LAB/installed bash -euo pipefail -s) <"$1" >"$LAB/build.log" 2>&1 || {
        tail -n 40 "$LAB/build.log"
        return 1
    }
    [ -x "$LAB/installed/usr/bin/registrator" ]
}

# boot HOST: a Debian, on Docker hosts with what the build has installed; the checkout beside it.
boot() {
    local host=$1 disk=$LAB/disk
    rm -rf "$disk"
    machine_unpack "$disk"
    [[ $host == front ]] || cp -a "$LAB/installed/." "$disk/"
    mkdir -p "$disk$SOURCE"
    cp -a "$LAB_TOP/etc" "$disk$SOURCE/"
    machine_import "$host" "$disk"
    rm -rf "$disk"
    machine_start "$host"
}

# run_on HOST SCRIPT
run_on() {
    local host=$1 script=$2
    if [[ $host == anywhere ]]; then
        lab_in switch bash -euo pipefail "$script"
        return
    fi
    sed -e 's#^curl -fLo /usr/local/bin/confd https://.*#cp /usr/local/lib/confd /usr/local/bin/confd#' \
        -e 's#^echo .*sha256sum -c$#true#' "$script" |
        { echo "cd $SOURCE"; cat; } | machine_shell "$host"
}

prints() {
    local expected=$1
    shift
    diff -U 100 --label page --label printed <(normalise <"$expected") <(run_on "$@" 2>&1 | normalise)
}

@test "the steps of docs/getting-started.md have the results that the page shows" {
    local host n i hosts script built=
    for host in "${!ADDRESSES[@]}"; do
        grep -q "^| \`$host\` | ${ADDRESSES[$host]} |" "$PAGE"
        lab_host "$host" "${ADDRESSES[$host]}"
        lab_dockerd "$host"
    done
    for host in docker1 docker2; do
        lab_image "$host" app:1
        lab_docker "$host" tag app:1 nginx
    done

    n=$(blocks "$LAB")
    [ "$n" -gt 12 ]
    for ((i = 1; i <= n; i++)); do
        script=$LAB/$i.sh
        read -ra hosts <"$LAB/$i.hosts"
        echo "--- ${hosts[*]}:"
        cat "$script"
        if grep -q '^apt-get install -y docker.io ' "$script"; then
            packages_are_here "$script"
            continue
        elif grep -q '^make install$' "$script"; then
            build "$script"
            for host in "${!ADDRESSES[@]}"; do
                boot "$host"
            done
            machine_put front /usr/local/lib/confd 755 <"$LAB_TOOLS/bin/confd-0.16"
            built=yes
            continue
        fi
        [ "$built" ]
        for host in "${hosts[@]}"; do
            if [[ -e $LAB/$i.text ]]; then
                # It is shown as it is in the end, a moment after the command before it.
                wait_for 15 prints "$LAB/$i.text" "$host" "$script"
            else
                run_on "$host" "$script"
            fi
        done
    done
}
