#!/usr/bin/env bats
# What must not bring the agent down: memory that runs out, and answers that nobody would give.

bats_require_minimum_version 1.5.0

load ../lib/build

@test "no failing allocation causes a crash, a leak or a hang" {
    sanitized
    # Of each unit test ten, always the same ones; tests/alloc/run alone tries them all.
    "$TOP/tests/alloc/run" "$WORK/sanitizers" 10
}

@test "the fuzzers find nothing in five seconds for each target" {
    "$TOP/tests/fuzz/run" 5
}
