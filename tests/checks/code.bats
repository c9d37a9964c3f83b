#!/usr/bin/env bats
# What can be said of the code without running the agent: format, analysis, sanitizers, packaging.

bats_require_minimum_version 1.5.0

load ../lib/build

@test "the sources are formatted as .clang-format says" {
    cd "$TOP"
    mapfile -t sources < <(find registrator tests -name '*.[ch]' | sort)
    ((${#sources[@]} > 100))
    clang-format-14 --dry-run --Werror "${sources[@]}"
}

@test "shellcheck reports nothing for the scripts" {
    cd "$TOP"
    mapfile -t scripts < <(grep -rlE '^#!.*(bash|bats|/sh$)' --exclude-dir=build --exclude-dir=.git . | sort)
    ((${#scripts[@]} > 5))
    shellcheck -x -S style "${scripts[@]}"
}

@test "the text speaks of this project alone: no paths of a machine, no host names of registries" {
    cd "$TOP"
    run grep -rnIE '(^|[^a-z])/(work|root|home)/[a-z]|proxy\.golang|deb\.debian\.org' \
        --exclude-dir=build --exclude-dir=.git --exclude=code.bats .
    [[ -z $output ]] || {
        echo "$output"
        return 1
    }
}

# gcc 12 does not know that asprintf() fills in what it is given, and takes what is in a hash table, or in a
# struct that a callback is given, for lost. AddressSanitizer and valgrind see both, below.
@test "gcc -fanalyzer finds nothing" {
    configured analyzer CFLAGS='-O1 -g -fanalyzer -Wno-analyzer-use-of-uninitialized-value -Wno-analyzer-malloc-leak'
    make -j"$(nproc)" libregistrator.a
}

@test "clang-tidy finds nothing" {
    cd "$SOURCE"
    # shellcheck disable=SC2046     # words are what is wanted
    clang-tidy-14 --quiet --warnings-as-errors='*' registrator/main.c registrator/*/*.c -- -std=gnu11 -D_GNU_SOURCE \
        -DPACKAGE_VERSION='"0"' -DHOME_PAGE='""' -DPKGSYSCONFDIR='"/etc/registrator"' -Iregistrator \
        $(pkg-config --cflags libcurl libcjson libsystemd libmicrohttpd)
}

@test "unit tests under AddressSanitizer and UndefinedBehaviorSanitizer" {
    sanitized
    make check-am || {
        grep -hE '^not ok|ERROR|runtime error' tests/unit/*/*.log
        return 1
    }
}

@test "unit tests under valgrind" {
    cd "$TOP/build/registrator"
    for program in tests/unit/*/test_*; do
        [[ -x $program && $program != *.* ]] || continue
        srcdir=$SOURCE valgrind --quiet --error-exitcode=99 --leak-check=full "$program" >"$WORK/valgrind.log" 2>&1 || {
            echo "$program:"
            tail -n 40 "$WORK/valgrind.log"
            return 1
        }
    done
}

@test "the program is hardened: PIE, RELRO, BIND_NOW, stack protector, no executable stack" {
    program=$TOP/build/registrator/registrator/registrator
    readelf -h "$program" | grep -q 'DYN (Position-Independent'
    readelf -lW "$program" | grep -q GNU_RELRO
    readelf -dW "$program" | grep -q 'BIND_NOW\|Flags: NOW'
    readelf -sW "$program" | grep -q __stack_chk_fail
    readelf -lW "$program" | awk '/GNU_STACK/ && /RWE/ { bad = 1 } END { exit bad }'
}

@test "make distcheck" {
    configured distcheck
    make distcheck DISTCHECK_CONFIGURE_FLAGS=--enable-werror AM_COLOR_TESTS=no
}

@test "make install puts each file where it belongs" {
    configured install --prefix=/usr --sysconfdir=/etc
    make -j"$(nproc)"
    rm -rf "$WORK/destdir"
    make install DESTDIR="$WORK/destdir"
    cd "$WORK/destdir"
    test -x usr/bin/registrator
    test -s usr/lib/systemd/system/registrator.service
    test -s usr/lib/sysusers.d/registrator.conf
    test -s etc/registrator/registrator.conf
    test -s usr/share/man/man8/registrator.8
    test -s usr/share/man/man5/registrator.conf.5
    test -s usr/share/man/man1/registrator-undrain.1
    grep -q '^ExecStart=/usr/bin/registrator$' usr/lib/systemd/system/registrator.service
}
