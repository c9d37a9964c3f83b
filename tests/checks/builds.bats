#!/usr/bin/env bats
# Builds other than this machine's own: other compilers, other flags, missing libraries, other Debian releases.

bats_require_minimum_version 1.8.0

load ../lib/build

# built NAME [CONFIGURE ARGUMENT…]: the program and the library, with warnings as errors.
built() {
    configured "$@"
    nice make -j"$(nproc)" registrator/registrator
}

@test "a build with clang has no warning" {
    built clang CC=clang-14 CFLAGS=-O1
}

@test "a build with -O3 and link-time optimisation has no warning" {
    built lto CFLAGS='-O3 -flto=2'
}

@test "a distribution's own _FORTIFY_SOURCE stays as it is" {
    configured fortify CPPFLAGS=-D_FORTIFY_SOURCE=1
    run ! grep -e '-D_FORTIFY_SOURCE=2' Makefile
    make registrator/base/text.o
    configured fortify-none CFLAGS=-O0
    run ! grep -e '-D_FORTIFY_SOURCE' Makefile
    configured fortify-ours CFLAGS=-O2
    grep -e '-D_FORTIFY_SOURCE=2' Makefile
}

# pkg_config NAME TEXT: a pkg-config for which TEXT is a case of its arguments.
pkg_config() {
    printf '%s\n' '#!/bin/sh' "case \"\$*\" in $2 esac" "exec pkg-config \"\$@\"" >"$BATS_TEST_TMPDIR/$1"
    chmod +x "$BATS_TEST_TMPDIR/$1"
    echo "$BATS_TEST_TMPDIR/$1"
}

# configure_says PKG-CONFIG: what configure prints.
configure_says() {
    mkdir -p "$BATS_TEST_TMPDIR/configure"
    cd "$BATS_TEST_TMPDIR/configure" || return
    PKG_CONFIG=$1 "$SOURCE/configure" 2>&1
}

@test "configure: a library that is too old is reported with both versions, a missing one with its packages" {
    # shellcheck disable=SC2016     # for the script
    run configure_says "$(pkg_config old '*--modversion*libcurl*) echo 7.60.0; exit ;; *"libcurl >= "*) exit 1 ;;')"
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *'libcurl is too old: version 7.60.0 is installed, 7.68 or newer is needed'* ]]
    run configure_says "$(pkg_config none '*libcjson*) exit 1 ;;')"
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *'libcjson not found: install libcjson-dev (Debian) or cjson-devel (Fedora), version 1.7.13 or newer'* ]]
}

@test "without cmocka, configure warns, and make check reports the unit tests as skipped" {
    run configure_says "$(pkg_config bare '*cmocka*) exit 1 ;;')"
    [ "$status" -eq 0 ]
    [[ $output == *'WARNING: cmocka not found: make check skips the unit tests'* ]]
    cd "$BATS_TEST_TMPDIR/configure"
    run make check TESTS=tests/unit/without_cmocka check_PROGRAMS=
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *'# SKIP:  1'* && $output == *'cmocka was not found, so the unit tests did not run'* ]]
}

@test "without pkg-config's macros, autoreconf names the package" {
    cp -r "$TOP"/{configure.ac,Makefile.am,registrator,tests} "$BATS_TEST_TMPDIR/"
    cd "$BATS_TEST_TMPDIR"
    mkdir empty
    # Where aclocal looks for the macros of other packages.
    ACLOCAL='aclocal --system-acdir=empty' run autoreconf -i
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *'pkg-config is missing: install pkg-config (Debian) or pkgconf-pkg-config (Fedora)'* ]]
}

# Builds the package, warnings being errors, which runs the unit tests; then installs, removes and purges it. An
# empty list of changed files after the purge is that of packages.bats.
package_in() {
    # shellcheck disable=SC2016     # for the inner shell
    in_debian "$1" '
        # configure reads its options from the environment, too.
        export enable_werror=yes
        autoreconf -fi
        dpkg-buildpackage -us -uc -b
        ls tests/unit/*/*.trs | wc -l
        grep -h "^:test-result: " tests/unit/*/*.trs | sort | uniq -c | sort -rn | head -n 3
        lintian --allow-root --display-info --pedantic --fail-on error,warning ../*.changes
        dpkg -i ../registrator_*.deb
        registrator --version
        registrator --help >/dev/null
        dpkg -P registrator
        [ ! -e /usr/bin/registrator ] && [ ! -e /etc/registrator/registrator.conf ]
    '
}

@test "Debian 13: the package builds, passes its tests and lintian, is installed, and is purged" {
    package_in root-build-trixie
}

@test "the newest Debian: the package builds, passes its tests and lintian, is installed, and is purged" {
    package_in root-build-sid
}

@test "Debian 13 on i386: no warning, and the unit tests pass" {
    in_debian root-build-i386 'autoreconf -fi; ./configure --enable-werror; make -j2 check'
}

# 64 bits, but another alignment, a char without sign, and the memory order of Arm.
@test "arm64: cross-built without a warning, and the unit tests pass under qemu" {
    # shellcheck disable=SC2016     # for the inner shell
    in_debian root-build-arm64 '
        autoreconf -fi
        ./configure --host=aarch64-linux-gnu --enable-werror
        make -j2 check LOG_COMPILER=qemu-aarch64
        qemu-aarch64 registrator/registrator --version
    '
}
