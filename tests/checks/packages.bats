#!/usr/bin/env bats
# The packages, made from a tarball of the tree: what is in them, and what becomes of a Debian with a real systemd
# when the .deb is installed, upgraded, removed and purged. The tests of the machine build on each other.

bats_require_minimum_version 1.8.0
load ../lib/lab
load ../lib/machine

REGISTRATOR=${REGISTRATOR:-$LAB_TOP/build/registrator/registrator/registrator}

setup_file() {
    TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    WORK=$TOP/build/packages
    COMPLETION=$TOP/etc/completion/registrator
    CONF=/etc/registrator/registrator.conf
    export TOP WORK COMPLETION CONF BATS_TEST_TIMEOUT=300
    # Whatever the tools leave behind, they leave it here.
    rm -rf "$WORK"
    mkdir -p "$WORK"/{tmp,home,rpm}
    export TMPDIR=$WORK/tmp
    build >"$WORK/build.log" 2>&1 || {
        tail -n 40 "$WORK/build.log"
        return 1
    }
    machine_up
}

teardown_file() {
    lab_down
}

teardown() {
    [[ -n $BATS_TEST_COMPLETED || $BATS_TEST_DESCRIPTION != machine:* || ! -s ${LAB:-}/id ]] || machine_tell h1
}

# A tarball and what it unpacks to, what `make install` installs, and the .deb.
build() (
    # The unit tests have run already.
    export DEB_BUILD_OPTIONS=nocheck HOME=$WORK/home
    cd "$(dirname "$(dirname "$REGISTRATOR")")" &&
        rm -f registrator-*.tar.xz &&
        make dist &&
        mv registrator-*.tar.xz "$WORK/" &&
        make install DESTDIR="$WORK/installed" prefix=/usr sysconfdir=/etc &&
        cd "$WORK" &&
        tar -xf registrator-*.tar.xz &&
        cd registrator-*/ &&
        dpkg-buildpackage -us -uc
)

deb() {
    echo "$WORK"/registrator_*_*.deb
}

version_of() {
    sed -n "$2" "$TOP/$1" | head -n 1
}

# what_is_installed: what `make install` installs, and what else packages are expected to have.
what_is_installed() {
    {
        (cd "$WORK/installed" && find . -type f -o -type l)
        (cd "$TOP" && find etc/confd etc/grafana etc/prometheus -type f) | sed 's#^etc/#./usr/share/doc/registrator/examples/#'
        printf '%s\n' "$@"
    } | grep -v '/doc/registrator/LICENSE$' | names
}

# Packages compress, and Debian still has units in /lib.
names() {
    sed -e 's#^\./#/#' -e 's#\.gz$##' -e 's#^/lib/#/usr/lib/#' | sort
}

@test "the packages are of the version that configure.ac has" {
    version=$(version_of configure.ac 's/^AC_INIT(\[registrator\], \[\(.*\)\])$/\1/p')
    [ -n "$version" ]
    [ "$(version_of debian/changelog 's/^registrator (\(.*\)) .*/\1/p')" = "$version" ]
    [ "$(version_of registrator.spec 's/^Version: *//p')" = "$version" ]
    [ "$(version_of NEWS.md 's/^## //p')" = "$version" ]
}

@test "debian/README.source names every file that a packager must fill in" {
    local file n=0
    cd "$TOP"
    while read -r file; do
        echo "$file"
        grep -qE "^    $file +[^ ]" debian/README.source
        n=$((n + 1))
    done < <(grep -rlE 'example\.org|The registrator developers' debian registrator.spec | grep -v README.source)
    [ "$n" -ge 4 ]
}

# Older releases of lintian ask for an init script. The agent relies on systemd: a watchdog, a sandbox, and at a
# shutdown the keys are deleted before the containers stop. Newer releases do not know the tag, so no override names it.
@test "lintian reports nothing, not even information" {
    run lintian --suppress-tags package-supports-alternative-init-but-no-init.d-script --allow-root --display-info --pedantic --fail-on none "$WORK"/registrator_*.changes
    echo "$output"
    [ "$status" -eq 0 ]
    [ -z "$output" ]
}

@test "the .deb has what make install installs, and its examples, changelog and copyright" {
    diff <(what_is_installed /usr/share/doc/registrator/{changelog,copyright}) \
        <(dpkg-deb --fsys-tarfile "$(deb)" | tar -t | grep -v '/$' | names)
    [ "$(dpkg-deb -I "$(deb)" conffiles)" = "$CONF" ]
}

@test "the links between the installed pages have targets, and dpkg compresses no page" {
    local page link n=0
    dpkg-deb -x "$(deb)" "$WORK/unpacked"
    while read -r page; do
        while read -r link; do
            echo "$page: $link"
            [ -e "$(dirname "$page")/${link%%#*}" ]
            n=$((n + 1))
        done < <(grep -oE '\]\([^)#]+' "$page" | sed 's/^](//' | grep -v '^https\{0,1\}://')
    done < <(find "$WORK/unpacked/usr/share/doc/registrator" -name '*.md')
    [ "$n" -gt 20 ]
}

@test "rpmbuild makes an .rpm of the tarball with the same files" {
    cd "$WORK/rpm"
    # Nothing but the name of each macro of Fedora's that the scripts are made of.
    local macros=() name
    for name in post preun postun_with_restart; do
        macros+=(-D "systemd_$name() echo $name %{*}")
    done
    # Without the names of BuildRequires: they are Fedora's.
    HOME=$WORK/home rpmbuild -tb --nodeps --nocheck -D "_topdir $PWD" -D "_tmppath $TMPDIR" -D "_dbpath $PWD/db" \
        "${macros[@]}" "$WORK"/registrator-*.tar.xz >"$WORK/rpm.log" 2>&1 || {
        tail -n 40 "$WORK/rpm.log"
        false
    }
    package=$(echo RPMS/*/registrator-*.rpm)
    diff <(what_is_installed "/usr/share/licenses/$(basename "$WORK"/registrator-*/)/LICENSE") \
        <(rpm -D "_dbpath $PWD/db" -qp --qf '[%{FILEMODES:perms} %{FILENAMES}\n]' "$package" |
            sed -n 's/^[-l][^ ]* //p' | grep -v /.build-id/ | names)
    [ "$(rpm -D "_dbpath $PWD/db" -qpc "$package")" = "$CONF" ]
    rpm -D "_dbpath $PWD/db" -qp --scripts "$package" | tee "$WORK/rpm.scripts"
    grep -x 'echo post registrator.service' "$WORK/rpm.scripts"
    grep -x 'echo preun registrator-shutdown.service registrator.service' "$WORK/rpm.scripts"
    grep -x 'echo postun_with_restart registrator.service' "$WORK/rpm.scripts"
}

@test "shellcheck reports nothing for the packages' scripts and the completion" {
    cd "$TOP"
    shellcheck -S style debian/registrator.p* "$COMPLETION"
}

# ------------------------------------------------------------------------------------ completion

# completes WORD…: what TAB offers behind these words, the last being what is begun; words as readline splits them.
completes() {
    (
        # shellcheck source=/dev/null
        . "$COMPLETION"
        # shellcheck disable=SC2034     # bash's own
        COMP_WORDS=("$REGISTRATOR" "$@") COMP_CWORD=$#
        "$(complete -p registrator | sed 's/.* -F \([^ ]*\) .*/\1/')" "$REGISTRATOR" "${!#}" "${*: -2:1}"
        printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' '
    )
}

# help_of REGEXP: the names in --help.
help_of() {
    "$REGISTRATOR" --help | grep -oP "$1" | sort | paste -sd ' '
}

@test "completion: commands, options and values are those of --help" {
    commands=$(help_of '^  \K[a-z]+')
    options=$(help_of '^  (-., )?\K--[a-z-]+')
    [[ $commands == *explain* && $options == *--etcd-api* ]]
    [ "$(completes '')" = "$commands" ]
    [ "$(completes --)" = "$options" ]
    [ "$(completes --log-level debug --ttl 9 '')" = "$commands" ]
    [ "$(completes un)" = undrain ]
    [ "$(completes --etcd-a)" = --etcd-api ]
    [ "$(completes --etcd-api '')" = "auto v2 v3" ]
    [ "$(completes --etcd-api = v)" = "v2 v3" ]
    [ "$(completes --explicit = '=')" = "no yes" ]
    [ "$(completes --explicit '')" = "$commands" ]
    [ -z "$(completes --ttl '')" ]
    [ "$(completes stop --)" = "--control --drain" ]
    [ -z "$(completes stop --drain '')" ]
    cd "$TOP"
    [ "$(completes --config etc/regi)" = etc/registrator.conf ]
}

@test "completion: the names of containers come from the agent that the line names" {
    [ -z "$(completes explain '' 2>&1)" ]
    # What an agent could say at worst.
    # shellcheck disable=SC2016     # this is what nobody is to run
    printf '{"containers":[{"id":"1","name":"web1"},{"id":"2","name":"web2"},{"id":"3","name":"$(touch %s)"}]}' \
        "$WORK/expanded" >"$WORK/status.json"
    # shellcheck disable=SC2016     # for socat's shell
    printf 'HTTP/1.1 200 OK\r\nContent-Length: %s\r\nConnection: close\r\n\r\n' "$(wc -c <"$WORK/status.json")" |
        cat - "$WORK/status.json" >"$WORK/answer"
    LAB_SOCKET=$LAB/fake.sock
    lab_spawn fake "$WORK/fake.log" socat "UNIX-LISTEN:$LAB_SOCKET,fork" SYSTEM:"cat $WORK/answer"
    wait_for 5 socket_listens "$LAB_SOCKET"
    [ "$(completes --control "$LAB_SOCKET" explain '')" = "web1 web2" ]
    [ "$(completes --control = "$LAB_SOCKET" explain web2)" = "web2" ]
    [ "$(completes stop --control "$LAB_SOCKET" --drain 3 web1 w)" = "web1 web2" ]
    [ "$(completes --control "$LAB_SOCKET" drain web)" = "web1 web2" ]
    [ "$(completes --control "$LAB_SOCKET" undrain web)" = "web1 web2" ]
    [ -z "$(completes --control "$LAB_SOCKET" explain web1 '')" ]
    [ -z "$(completes --control "$LAB_SOCKET" status '')" ]
    [ ! -e "$WORK/expanded" ]
    lab_stop fake
}

@test "completion: bash loads the installed completion at TAB" {
    dir=$(pkg-config --variable=completionsdir bash-completion)
    [ -s "$WORK/installed$dir/registrator" ]
    mkdir -p "$WORK/bin"
    # The real one's help, and proof of what the line became.
    cat >"$WORK/bin/registrator" <<SCRIPT
#!/bin/sh
[ "\$1" != --help ] || exec '$REGISTRATOR' --help
echo "\$*" >'$WORK/ran'
SCRIPT
    chmod +x "$WORK/bin/registrator"
    printf '%s\n' '. /usr/share/bash-completion/bash_completion' PS1=ready: HISTFILE= >"$WORK/bashrc"
    mkfifo "$WORK/keys"
    XDG_DATA_DIRS=$WORK/installed/usr/share PATH=$WORK/bin:$PATH timeout 60 \
        script -qc "bash --rcfile $WORK/bashrc -i" "$WORK/typescript" <"$WORK/keys" >"$WORK/tab.log" 2>&1 3>&- &
    exec {keys}>"$WORK/keys"
    wait_for 10 grep -q ready: "$WORK/tab.log"
    printf 'registrator undr\t\n' >&"$keys"
    wait_for 10 grep -x 'undrain *' "$WORK/ran"
    printf 'exit\n' >&"$keys"
    wait $!
    exec {keys}>&-
}

# --------------------------------------------------------------------------------------- machine

machine() {
    machine_in h1 "$@"
}

# Everything but the agent: an etcd, a Docker host with two containers, and the machine.
machine_up() {
    lab_up
    [[ -s $LAB_TOOLS/machine.tar ]] || return 0
    lab_host etcd 192.0.2.2
    lab_etcd etcd etcd 3.4
    lab_host h1 192.0.2.11
    lab_dockerd h1
    lab_image h1 app:1
    machine_unpack "$LAB/disk"
    cp "$(deb)" "$LAB/disk/srv/registrator.deb"
    # The same again, but for the version.
    dpkg-deb -R "$(deb)" "$WORK/newer"
    sed -i 's/^Version: .*/&+newer/' "$WORK/newer/DEBIAN/control"
    dpkg-deb --root-owner-group -b "$WORK/newer" "$LAB/disk/srv/newer.deb" >"$WORK/newer.log"
    machine_import h1 "$LAB/disk"
    rm -rf "$LAB/disk"
    machine_start h1
    lab_docker h1 run -d -P --name web1 app:1
    lab_docker h1 run -d -P --name web2 app:1
}

# What there is on the machine's disk, but for what dpkg, systemd and libc note down about all packages alike.
machine_files() {
    machine find / -xdev -mindepth 1 -not -path '/var/lib/dpkg/*' -not -path '/var/log/*' -not -path '/var/cache/*' \
        -not -path '/tmp/*' -not -path '/var/tmp/*' | sort
}

# units_are STATE: both are. systemctl itself is content with one.
units_are() {
    [[ $(machine systemctl is-active registrator.service registrator-shutdown.service | sort -u) == "$1" ]]
}

# By number of the process: it was started again.
agent_pid() {
    machine systemctl show -P MainPID registrator.service
}

shutdown_unit_since() {
    machine systemctl show -P ActiveEnterTimestampMonotonic registrator-shutdown.service
}

@test "machine: installed before Docker's package, the agent runs, is enabled, and has its user" {
    machine_skip_without_image
    wait_for 30 machine systemctl is-active multi-user.target
    # As it is where there is no Docker's package yet.
    machine rm /usr/local/lib/sysusers.d/docker.conf
    machine groupdel docker
    machine_files >"$WORK/files.before"
    machine dpkg -i /srv/registrator.deb
    machine systemctl is-enabled registrator.service
    units_are active
    [ "$(machine stat -c %U "/proc/$(agent_pid)")" = registrator ]

    # Docker comes, the operator says where etcd is: a TTL that explains nothing of what follows.
    machine groupmod -g "$(stat -c %g "$LAB/h1/docker.sock")" docker
    machine sed -i -e '/^\[etcd\]/a endpoints = http://192.0.2.2:2379' -e '/^\[registry\]/a ttl = 600' "$CONF"
    machine systemctl restart registrator.service
    wait_for 10 keys_are h1
    machine registrator status | grep 'web1 *registered'
}

@test "machine: the installed completion asks the agent for its containers" {
    machine_skip_without_image
    # shellcheck disable=SC2016     # for the machine's shell
    run machine bash -c '. /usr/share/bash-completion/completions/registrator
        COMP_WORDS=(registrator stop web) COMP_CWORD=2
        _registrator registrator web stop
        echo "${COMPREPLY[@]}"'
    [ "$output" = "web1 web2" ]
}

@test "machine: the agent runs after a reboot" {
    machine_skip_without_image
    machine systemctl reboot || true
    wait_for 60 machine_is_down
    [ -z "$(keys3 /app/)" ]
    lab_docker h1 start machine
    wait_for 30 machine systemctl is-active registrator.service
    wait_for 10 keys_are h1
}

machine_is_down() {
    [[ $(lab_docker h1 inspect -f '{{.State.Running}}' machine) == false ]]
}

@test "machine: an upgrade starts the new agent, changes no key and keeps the settings" {
    machine_skip_without_image
    wait_for 30 machine systemctl is-active multi-user.target
    before=$(agent_pid) since=$(shutdown_unit_since)
    watch3_start "$LAB/watch"
    machine dpkg -i /srv/newer.deb
    machine dpkg -s registrator | grep '^Version: .*+newer$'
    units_are active
    [ "$(agent_pid)" != "$before" ]
    # Not this one: it would have taken the keys out, and they would be in again by now.
    [ "$(shutdown_unit_since)" = "$since" ]
    [ -z "$(watch_events "$LAB/watch")" ]
    keys_are h1
    machine grep -x 'endpoints = http://192.0.2.2:2379' "$CONF"

    # What the operator has turned off stays off.
    machine systemctl disable --now registrator.service
    machine dpkg -i /srv/registrator.deb
    run machine systemctl is-enabled registrator.service
    [ "$output" = disabled ]
    run machine systemctl is-active registrator.service
    [ "$output" = inactive ]
    [ -z "$(watch_events "$LAB/watch")" ]
    watch_stop "$LAB/watch"
    machine systemctl enable --now registrator.service
    keys_are h1
}

@test "machine: removal deletes the keys; another installation finds the settings and writes the keys" {
    machine_skip_without_image
    machine registrator drain web1
    machine dpkg -r registrator
    [ -z "$(keys3 /app/)" ]
    units_are inactive
    run machine systemctl list-units --failed --plain --no-legend 'registrator*'
    [ -z "$output" ]
    machine test -s "$CONF"
    run ! machine test -e /usr/bin/registrator

    machine dpkg -i /srv/registrator.deb
    units_are active
    wait_for 10 machine registrator explain web1
    machine registrator explain web1 | grep drained
    machine registrator undrain web1
    wait_for 10 keys_are h1
}

@test "machine: a purge leaves nothing" {
    machine_skip_without_image
    machine dpkg -P registrator
    [ -z "$(keys3 /app/)" ]
    run ! machine getent passwd registrator
    run ! machine getent group registrator
    run machine find /run -name '*registrator*'
    [ -z "$output" ]
    run machine systemctl list-units --all --plain --no-legend 'registrator*'
    [ -z "$output" ]
    machine_files | diff "$WORK/files.before" -
}
