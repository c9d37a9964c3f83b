#!/usr/bin/env bats
# What must not bring the agent down: memory that runs out, and answers that nobody would give.

bats_require_minimum_version 1.5.0

load ../lib/build

@test "an allocation that fails is no crash, no leak and no hang, wherever it is" {
    sanitized
    # Of each unit test ten, always the same ones; tests/alloc/run alone tries them all.
    "$TOP/tests/alloc/run" "$WORK/sanitizers" 10
}

@test "the fuzzer finds nothing in five seconds a target" {
    "$TOP/tests/fuzz/run" 5
}
