#!/usr/bin/env bats
# The folders of the sources, from left to right. A folder includes only itself and folders to its right; the
# folders of one entry never include each other. This is the only place that states the order; docs/architecture.md draws it.

bats_require_minimum_version 1.5.0

ORDER=(main agent "operator ctl" "fleet publisher" settings catalog "docker etcd probe" http base)

# wrong_includes TREE: prints each include below TREE/registrator that goes against the order.
wrong_includes() {
    local i folder
    cd "$1/registrator" || return
    for ((i = 0; i < ${#ORDER[@]}; i++)); do
        for folder in ${ORDER[i]}; do
            echo "rank $folder $i"
        done
    done >"$BATS_TEST_TMPDIR/ranks"
    grep -rHoE '^ *# *include "[^"]*"' --include='*.[ch]' . | sed 's|^\./||; s|: *# *include "|: |; s|"$||' |
        awk -v ranks="$BATS_TEST_TMPDIR/ranks" '
            BEGIN { while ((getline line < ranks) > 0) { split(line, f, " "); rank[f[2]] = f[3] } }
            {
                file = $1; sub(/:$/, "", file)
                from = file ~ /\// ? file : "main/"; sub(/\/.*/, "", from)
                to = $2; if (!sub(/\/.*/, "", to)) to = "(no folder)"
                private = $2 ~ /_private\.h$/
                if (!(from in rank) || !(to in rank) || (from != to && (rank[from] >= rank[to] || private)))
                    print file " includes " $2
            }'
}

@test "includes: each folder includes only folders to its right" {
    run wrong_includes "$BATS_TEST_DIRNAME/../.."
    echo "$output"
    [[ $status -eq 0 && -z $output ]]
}

@test "includes: the check finds an include to the left, one beside, one without a folder, and a private header" {
    local tree=$BATS_TEST_TMPDIR/tree
    mkdir -p "$tree"/registrator/{catalog,docker,etcd}
    echo '#include "agent/agent.h"' >"$tree/registrator/catalog/left.c"
    echo '#include "etcd/store.h"' >"$tree/registrator/docker/beside.c"
    echo '#include "text.h"' >"$tree/registrator/docker/bare.c"
    echo '#include "docker/docker_private.h"' >"$tree/registrator/catalog/private.c"
    printf '#include "base/text.h"\n#include "etcd/store_private.h"\n#include <string.h>\n' >"$tree/registrator/etcd/right.c"
    run wrong_includes "$tree"
    echo "$output"
    [ "${#lines[@]}" -eq 4 ]
    for file in catalog/left.c docker/beside.c docker/bare.c catalog/private.c; do
        [[ $output == *"$file includes "* ]]
    done
}

# rows_differ TREE: compares the sources below TREE/registrator with the rows of the table in TREE/docs/coverage.md.
rows_differ() {
    local named
    # shellcheck disable=SC2016     # the page's backticks
    diff --label sources --label docs/coverage.md -U 0 <(cd "$1/registrator" && find . -name '*.c' | sed 's|^\./||' | sort) \
        <(sed -n '/coverage: begin/,/coverage: end/s/^| `\([^`]*\.c\)` | .* | .* |$/\1/p' "$1/docs/coverage.md" | sort)
    # The page's text names no source that is gone.
    # shellcheck disable=SC2016
    while read -r named; do
        [[ -e $1/registrator/$named ]] || echo "docs/coverage.md names $named"
    done < <(sed '/coverage: begin/,/coverage: end/d' "$1/docs/coverage.md" | grep -oE '`[a-z0-9_/]+\.c`' | tr -d '`')
}

# Without a new run of tests/coverage, the row of a new source says "not measured" twice.
@test "coverage: docs/coverage.md has a row for each source, and for no other" {
    run rows_differ "$BATS_TEST_DIRNAME/../.."
    echo "$output"
    [[ -z $output ]]
}

@test "coverage: the check finds a source without a row, a row without a source, and a name of the text without a source" {
    local tree=$BATS_TEST_TMPDIR/tree
    mkdir -p "$tree"/{docs,registrator/base}
    touch "$tree/registrator/main.c" "$tree/registrator/base/new.c"
    # shellcheck disable=SC2016     # the page's backticks
    printf '%s\n' '<!-- tests/coverage: begin -->' '| `main.c` | 1.0 % of 2 | - |' '| `base/old.c` | 1.0 % of 2 | - |' \
        '<!-- tests/coverage: end -->' '| `base/gone.c`, `main.c` | why |' >"$tree/docs/coverage.md"
    run rows_differ "$tree"
    echo "$output"
    [[ $(grep -c '^[-+]base' <<<"$output") -eq 2 && $output == *$'\n-base/new.c\n'* && $output == *$'\n+base/old.c\n'* ]]
    [[ ${lines[-1]} == "docs/coverage.md names base/gone.c" ]]
}
