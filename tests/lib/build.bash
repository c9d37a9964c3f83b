# shellcheck shell=bash
# Builds of their own for the checks, below build/checks, from the copy of the sources that tests/run has made.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SOURCE=$TOP/build/source
WORK=$TOP/build/checks
mkdir -p "$WORK"

# configured NAME OPTION…: goes to a build directory of its own, configured once for each Makefile.am.
configured() {
    local dir=$WORK/$1
    shift
    [[ $dir/Makefile -nt $SOURCE/configure && $dir/Makefile -nt $SOURCE/Makefile.in ]] || rm -rf "$dir"
    mkdir -p "$dir"
    cd "$dir" || return
    [[ -e Makefile ]] || "$SOURCE/configure" --enable-werror "$@"
}

# sanitized: goes to the build with AddressSanitizer and UndefinedBehaviorSanitizer. One caller builds at a time.
sanitized() {
    local lock
    exec {lock}>"$WORK/sanitizers.lock"
    flock "$lock" || return
    configured sanitizers --enable-sanitizers CFLAGS='-O1 -g' || return
    make -j"$(nproc)" check-am TESTS= || return
    exec {lock}>&-
}

# in_debian ROOT SCRIPT: runs SCRIPT in a copy of the sources, as root, in the Debian that tests/setup has made as
# build/tools/ROOT. Skips the test if it is not there. The script may change files: they are gone afterwards.
in_debian() {
    local root=${TOOLS:-$TOP/build/tools}/$1 over=$WORK/$1
    [[ -d $root ]] || skip "there is no build/tools/$1: tests/setup could not make it"
    rm -rf "$over"
    mkdir -p "$over"/{files,work,view}
    mkdir -p "$over/files/srv"
    cp -r "$SOURCE" "$over/files/srv/source"
    # shellcheck disable=SC2016     # for the inner shell
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        unshare --mount --pid --fork --kill-child sh -euc '
            mount -t overlay overlay -o "lowerdir=$0,upperdir=$1/files,workdir=$1/work" "$1/view"
            mount -t proc proc "$1/view/proc"
            for device in null zero random urandom full tty; do
                [ -c "$1/view/dev/$device" ] || touch "$1/view/dev/$device"
                mount --bind "/dev/$device" "$1/view/dev/$device"
            done
            exec chroot "$1/view" bash -euo pipefail -c "cd /srv/source; $2"
        ' "$(realpath "$root")" "$over" "$2"
    rm -rf "$over"
}
