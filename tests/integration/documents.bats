#!/usr/bin/env bats
# Holds --help, the table of docs/settings.mds, etc/registrator.conf, the manual and the build against each
# other. --help is printed from the program's own table of settings.

bats_require_minimum_version 1.5.0

TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
REGISTRATOR=${REGISTRATOR:-$TOP/build/registrator/registrator}

# The manual as text without line breaks inside of paragraphs.
page() {
    mandoc -T ascii -O width=1000 "$TOP/man/$1" | col -bx
}

# "--option ARGUMENT<TAB>default" a line. Where the settings file is, is up to configure.
help_options() {
    "$REGISTRATOR" --help | awk '
        function out() { if (option != "") printf "%s\t%s\n", option, fallback }
        /^  (-[A-Za-z], )?--/ { out(); sub(/^  (-[A-Za-z], )?/, ""); option = $0; fallback = "" }
        /^      \(default: .*\)$/ { fallback = $0; sub(/^      \(default: /, "", fallback); sub(/\)$/, "", fallback) }
        END { out() }' | sed 's|\t/[^\t]*/registrator/registrator.conf|\t/etc/registrator/registrator.conf|'
}

# The table of docs/settings.md: "option<TAB>file key<TAB>default" a line.
readme_options() {
    sed -n 's/\\|/\x01/g; /^| `--/p' "$TOP/docs/settings.md" | tr -d '`' |
        awk -F ' *[|] *' -v OFS='\t' 'NF == 6 { print $2, $3, $4 }' | tr '\001' '|'
}

# etc/registrator.conf: "section.key<TAB>value" a line, commented out as they are.
file_settings() {
    sed -n 's/^\[\(.*\)\]$/@ \1/p; s/^#\([a-z_]*\) =/= \1\t/p' "$TOP/etc/registrator.conf" |
        awk '/^@/ { section = $2; next } { sub(/^= /, ""); sub(/\t /, "\t"); print section "." $0 }'
}

# commands: "name arguments" a line.
help_commands() {
    "$REGISTRATOR" --help | sed -n 's/^  \([a-z].*\)$/\1/p'
}

@test "documents: the table of docs/settings.md has the options and defaults of --help" {
    [ "$(help_options | wc -l)" -gt 20 ]
    diff <(help_options) <(readme_options | cut -f 1,3)
}

@test "documents: etc/registrator.conf has the keys of the table of docs/settings.md, and no others" {
    diff <(readme_options | cut -f 2 | grep . | sort) <(file_settings | cut -f 1 | sort)
}

# The program names both variables of a setting when they differ.
@test "documents: each option of the table of docs/settings.md is the setting of its file key" {
    local option key default name key_name n=0
    while IFS=$'\t' read -r option key default; do
        option=${option#--}
        name=REGISTRATOR_$(tr '[:lower:]-' '[:upper:]_' <<<"${option%%[^a-z-]*}")
        key_name=REGISTRATOR_$(tr '[:lower:].' '[:upper:]_' <<<"$key")
        [[ $name != "$key_name" ]] || continue
        run env -i "$name=1" "$key_name=2" "$REGISTRATOR" --config /dev/null --check-config
        echo "$option $key: $output"
        [ "$status" -eq 1 ]
        [[ $output == *"$name and $key_name are one setting"* ]]
        n=$((n + 1))
    done < <(readme_options | awk -F '\t' '$2 != ""')
    [ "$n" -gt 15 ]
}

@test "documents: the commented settings in etc/registrator.conf are the defaults" {
    local key value default n=0
    while IFS=$'\t' read -r key value; do
        [[ -n $value ]] || continue
        default=$(readme_options | awk -F '\t' -v key="$key" '$2 == key { print $3 }')
        echo "$key = $value; default: $default"
        [[ $default == "$value" || $default == *", else $value" ]]
        n=$((n + 1))
    done < <(file_settings)
    [ "$n" -gt 10 ]
}

@test "documents: etc/registrator.conf is valid, as it is and with its defaults uncommented" {
    run env -i "$REGISTRATOR" --config "$TOP/etc/registrator.conf" --check-config
    echo "$output"
    [ "$status" -eq 0 ]
    sed 's/^#\([a-z_]* = \)/\1/' "$TOP/etc/registrator.conf" >"$BATS_TEST_TMPDIR/conf"
    run env -i "$REGISTRATOR" --config "$BATS_TEST_TMPDIR/conf" --check-config
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "documents: --check-config reports file and line of an unknown setting" {
    printf '[etcd]\napi = v3\nno_such_key = 1\n' >"$BATS_TEST_TMPDIR/conf"
    run env -i "$REGISTRATOR" --config "$BATS_TEST_TMPDIR/conf" --check-config
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"$BATS_TEST_TMPDIR/conf:3"* ]]
}

@test "documents: registrator(8) has the options of --help, and no others" {
    diff <(help_options | cut -f 1 | sort) \
        <(page registrator.8 | sed -n '/^OPTIONS/,/^SUBCOMMANDS/s/^ *\(-[a-zA-Z], \)\{0,1\}\(--.*\)$/\2/p' | sort)
}

@test "documents: registrator.conf(5) has every setting, in its section, with option and default" {
    local option key default text n=0
    page registrator.conf.5 >"$BATS_TEST_TMPDIR/page"
    while IFS=$'\t' read -r option key default; do
        text=$(sed -n "/^$(tr '[:lower:]' '[:upper:]' <<<"${key%%.*}")\$/,/^[A-Z]/p" "$BATS_TEST_TMPDIR/page" |
            awk -v head="     ${key#*.} ($option)" '$0 == head { show = 1; next } /^     [a-z]/ { show = 0 } show')
        grep -qxF "     ${key#*.} ($option)" "$BATS_TEST_TMPDIR/page"
        if file_settings | grep -qP "^\Q$key\E\t."; then
            echo "$key: $default: $text"
            [[ $text == *"Default: $default."* ]]
            n=$((n + 1))
        fi
    done < <(readme_options | awk -F '\t' '$2 != ""')
    [ "$n" -gt 10 ]
    # And no others.
    diff <(readme_options | cut -f 2 | grep . | sed 's/.*\.//' | sort) \
        <(sed -n 's/^     \([a-z_]*\) (--.*)$/\1/p' "$BATS_TEST_TMPDIR/page" | sort)
}

@test "documents: manual and docs/settings.md have the commands of --help" {
    local commands
    commands=$(help_commands | cut -d ' ' -f 1 | sort)
    echo "$commands"
    [ "$(wc -l <<<"$commands")" -ge 5 ]
    diff <(echo "$commands") \
        <(page registrator.8 | sed -n '/^SYNOPSIS/,/^DESCRIPTION/s/^ *registrator \([a-z][a-z]*\).*/\1/p' | sort)
    diff <(echo "$commands") \
        <(page registrator.8 | sed -n '/^SUBCOMMANDS/,/^SIGNALS/s/^     \([a-z]\{1,\}\)\( \[.*\| [a-z]*\)\{0,1\}$/\1/p' | sort)
    diff <(echo "$commands") <(sed -n 's/^| `registrator \([a-z][a-z]*\).*/\1/p' "$TOP/docs/settings.md" | sort)
}

@test "documents: each command has its page, with the arguments of --help, and its --help names it" {
    local name arguments page n=0
    while read -r name arguments; do
        page=registrator-${name#un}.1 # drain and undrain share one
        # What --help has in capitals, the page has in italics.
        arguments=$(tr '[:upper:]' '[:lower:]' <<<"$arguments" | sed 's/…/ .../')
        echo "$page: registrator $name [--control path]${arguments:+ $arguments}"
        page "$page" | sed -n '/^SYNOPSIS/,/^DESCRIPTION/s/^ *//p' | sed 's/…/.../' |
            grep -qxF "registrator $name [--control path]${arguments:+ $arguments}"
        "$REGISTRATOR" "$name" --help | grep -qF "See registrator-$name(1)."
        n=$((n + 1))
    done < <(help_commands)
    [ "$n" -ge 5 ]
}

@test "documents: the manual's MESSAGE_IDs are the program's" {
    diff <(sed -n 's/.*\[LOG_EVENT_.*"\([0-9a-f]\{32\}\)".*/\1/p' "$TOP/registrator/base/log.c" | sort) \
        <(grep -oE '\b[0-9a-f]{32}\b' "$TOP/man/registrator.8" | sort -u)
}

@test "documents: the manual's examples of settings are valid" {
    local n=0 file
    touch "$BATS_TEST_TMPDIR/ca.pem" "$BATS_TEST_TMPDIR/client.pem" "$BATS_TEST_TMPDIR/client.key"
    page registrator.conf.5 | sed -n '/^EXAMPLES/,/^SEE ALSO/s/^           //p' |
        sed "s|/etc/registrator/\(.*\.\)|$BATS_TEST_TMPDIR/\1|" |
        awk -v prefix="$BATS_TEST_TMPDIR/example." '/^\[/ { n++ } { print >(prefix n) }'
    for file in "$BATS_TEST_TMPDIR"/example.*; do
        run env -i "$REGISTRATOR" --config "$file" --check-config
        cat "$file"
        echo "$output"
        [ "$status" -eq 0 ]
        n=$((n + 1))
    done
    [ "$n" -eq 5 ]
}

@test "documents: the manual is well formed" {
    local file
    for file in "$TOP"/man/*.[1-9]; do
        run mandoc -T lint -W warning "$file"
        echo "$output"
        [ -z "$output" ]
        run --separate-stderr env MANWIDTH=80 man --warnings -l "$file"
        # shellcheck disable=SC2154     # set by run
        echo "$stderr"
        [ -z "$stderr" ]
    done
}

@test "documents: docs/packages.md and ./quickstart name the packages that configure asks for" {
    local debian fedora n=0
    while read -r debian fedora; do
        echo "$debian $fedora"
        grep -qw -- "$debian" "$TOP/docs/packages.md"
        grep -qw -- "$fedora" "$TOP/docs/packages.md"
        # Only the unit tests need cmocka.
        [ "$debian" = libcmocka-dev ] || grep -qw -- "need $debian" "$TOP/quickstart"
        n=$((n + 1))
    done < <(sed -n 's/^REGISTRATOR_LIBRARY(.*, \[\([a-z0-9-]*\)\], \[\([a-z0-9-]*\)\])$/\1 \2/p
                     s/.*install \([a-z-]*\) (Debian) or \([a-z-]*\) (Fedora)\(\])\)*$/\1 \2/p' "$TOP/configure.ac")
    [ "$n" -ge 6 ]
}

@test "documents: the files that the README names exist" {
    local file n=0
    # shellcheck disable=SC2016     # they are Markdown's
    for file in $(grep -oE '`\.?/?[A-Za-z0-9/._-]+`|^    \./[a-z/]+' "$TOP/README.md" | tr -d '` ' | grep -E '\.(h|md|conf|8)$|LICENSE|^\./'); do
        [[ $file != ./configure && $file != registrator.conf && $file != /* ]] || continue
        echo "$file"
        [ -e "$TOP/$file" ]
        n=$((n + 1))
    done
    [ "$n" -ge 3 ]
}

# markdown_files: those of the tree, without what is built.
markdown_files() {
    find "$TOP" -name '*.md' -not -path "$TOP/build/*" -not -path "$TOP/.git/*"
}

# anchors FILE: of its headings, as Git hosts make them.
anchors() {
    sed -n 's/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed -e 's/[^a-z0-9 _-]//g' -e 's/ /-/g'
}

@test "documents: links between the pages have targets" {
    local file link target n=0 bad=0
    while read -r file; do
        while read -r link; do
            target=$file
            [[ $link == '#'* ]] || target=$(dirname "$file")/${link%%#*}
            if [[ ! -e $target ]] || { [[ $link == *'#'* ]] && ! anchors "$target" | grep -qxF -- "${link#*#}"; }; then
                echo "${file#"$TOP"/}: $link"
                bad=1
            fi
            n=$((n + 1))
        done < <(grep -oE '\]\([^)]+\)' "$file" | sed 's/^](//; s/)$//' | grep -v '^https\{0,1\}://')
    done < <(markdown_files)
    [ "$n" -gt 20 ]
    [ "$bad" -eq 0 ]
}

# commands_shown: each "registrator ..." in code of the pages, without what follows a "#", "|" or ";".
commands_shown() {
    perl -ne 'while (/`([^`]+)`/g) { print "$1\n" } print "$1\n" if /^    (?:[#\$] )?(registrator .*)/' \
        "$TOP"/README.md "$TOP"/docs/*.md "$TOP"/SECURITY.md | grep '^registrator ' | sed 's/ *[#|;].*//' | sort -u
}

@test "documents: each command and option that the pages show exists" {
    local line word n=0
    {
        help_options | cut -f 1 | sed 's/[ =[].*//'
        help_commands | grep -oE -- '--[a-z-]+'
    } | sort -u >"$BATS_TEST_TMPDIR/options"
    while read -r line; do
        echo "$line"
        while read -r word; do
            grep -qxF -- "$word" "$BATS_TEST_TMPDIR/options"
        done < <(grep -oE -- '--[a-z][a-z-]*' <<<"$line")
        # A word that does not follow an option is a command.
        word=$(sed -n 's/^registrator \([a-z][a-z]*\).*/\1/p' <<<"$line")
        [[ -z $word ]] || help_commands | grep -q "^$word\b"
        n=$((n + 1))
    done < <(commands_shown)
    [ "$n" -gt 20 ]
}

@test "documents: docs/monitoring.md explains every alert, and no other" {
    diff <(sed -n 's/.*- alert: //p' "$TOP/etc/prometheus/registrator.rules.yml" | sort) \
        <(sed -n 's/^| .\(Registrator[A-Za-z]*\). |.*/\1/p' "$TOP/docs/monitoring.md" | sort)
}

@test "documents: make install has every page of docs" {
    local page n=0
    for page in "$TOP"/docs/*.md; do
        echo "$page"
        grep -qwF "docs/${page##*/}" "$TOP/Makefile.am"
        n=$((n + 1))
    done
    [ "$n" -gt 15 ]
}

@test "documents: the README has at most 120 lines" {
    [ "$(wc -l <"$TOP/README.md")" -le 120 ]
}

@test "documents: docs/architecture.md names exactly the source files" {
    local file name n=0
    # shellcheck disable=SC2016     # they are Markdown's
    grep -oE '`[A-Za-z0-9_./-]+`' "$TOP/docs/architecture.md" | tr -d '`' | sort -u >"$BATS_TEST_TMPDIR/named"
    while read -r name; do
        [[ $name == */* || $name == *.[ch] || $name == *.bats ]] || continue
        [[ $name != /* ]] || continue
        echo "$name"
        [ -e "$TOP/$name" ] || [ -e "$TOP/registrator/$name" ] || [ -n "$(find "$TOP/registrator" -name "$(basename "$name")")" ] || [ -e "$TOP/tests/integration/$name" ]
        n=$((n + 1))
    done <"$BATS_TEST_TMPDIR/named"
    [ "$n" -gt 40 ]
    for file in "$TOP"/registrator/*.c "$TOP"/registrator/*/*.c; do
        echo "$file"
        grep -qE "^(.*/)?$(basename "$file")$" "$BATS_TEST_TMPDIR/named"
    done
}

@test "documents: docs/troubleshooting.md quotes the program's messages" {
    run perl "$TOP/tests/lib/said.pl" "$TOP/docs/troubleshooting.md" "$TOP"/registrator/*.c "$TOP"/registrator/*/*.[ch]
    echo "$output"
    [[ $status -eq 0 && ${#lines[@]} -eq 1 && $output -gt 60 ]]
}

@test "documents: docs/troubleshooting.md has every reason that explain gives" {
    local reason n=0
    while read -r reason; do
        [[ $reason != registered ]] || continue
        echo "$reason"
        grep -qF "| \`$reason\` |" "$TOP/docs/troubleshooting.md"
        n=$((n + 1))
    done < <({
        sed 's/\\$//' "$TOP/registrator/catalog/reason.h" | tr -s '\n ' ' ' |
            grep -oE 'REASON_OF_[A-Z]+, "[^"]+"' | sed 's/^[^"]*"//'
        grep -oE 'add_string\(object, "text", "[^"]+"' "$TOP/registrator/operator/status.c" | sed 's/.*, "//'
    } | tr -d '"')
    [ "$n" -gt 20 ]
}
