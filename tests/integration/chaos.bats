#!/usr/bin/env bats
# Everything fails at random, and nothing is lost or stale: a short run of tests/chaos, and its checker against small
# histories. tests/chaos/mutants/run, which takes some minutes more, shows that broken agents are caught. docs/chaos.md
# has what is checked.

bats_require_minimum_version 1.5.0
load ../lib/lab

setup_file() {
    export PATH=$PATH:/usr/local/go/bin CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOTOOLCHAIN=local
}

teardown() {
    [[ -z ${PROGRAM:-} ]] || kill "$PROGRAM" 2>/dev/null || true
}

@test "the checker finds each violated rule in a small history and no other, and a seed determines the plan" {
    cd "$LAB_TOP/tests/chaos"
    [[ -z $(gofmt -l .) ]]
    go vet .
    go test -count=1 .
}

@test "two rounds of chaos: no rule is violated" {
    run "$LAB_TOP/tests/chaos/run" --seed 5 --seconds 90
    echo "$output"
    [[ ${lines[-1]} == *" 4 quiet points "*", 0 violations" ]]
    ((status == 0))
}

@test "an interrupted run leaves no processes and files" {
    local history status=0
    LAB=$(mktemp -d "$LAB_TOP/build/lab.XXXXXX")
    export LAB CHAOS_BUILD=$BATS_TEST_TMPDIR
    history=$CHAOS_BUILD/seed-1/history.jsonl
    "$LAB_TOP/tests/chaos/run" --seed 1 --seconds 90 3>&- &
    PROGRAM=$!
    # In the middle of everything.
    wait_for 90 grep -qs '"kind":"fault"' "$history"
    kill "$PROGRAM"
    wait "$PROGRAM" || status=$?
    ((status == 143))
    [[ ! -e $LAB ]]
    run grep -lsF "$LAB/" /proc/[0-9]*/cmdline
    [[ -z $output ]]
}

# Whether each is caught, tests/chaos/mutants/run tells; here, that there is something to be caught.
@test "the patches that break the agent still apply" {
    local patch n=0
    for patch in "$LAB_TOP"/tests/chaos/mutants/*.patch; do
        patch -d "$LAB_TOP" -p1 --fuzz 3 --dry-run <"$patch"
        n=$((n + 1))
    done
    ((n == 5))
}
