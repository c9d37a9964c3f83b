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

# sanitized: goes to the build with AddressSanitizer and UndefinedBehaviorSanitizer.
sanitized() {
    configured sanitizers --enable-sanitizers CFLAGS='-O1 -g' &&
        make -j"$(nproc)" check-am TESTS=
}
