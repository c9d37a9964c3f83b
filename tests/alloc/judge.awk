# Reads what a test said while one allocation failed (fail_alloc.c); prints what is wrong, nothing if all is well.

/^fail_alloc: this one fails/ { in_failure = 1; next }
/^fail_alloc: of the same call:/ { same_call[$NF] = 1; next }
/ERROR: AddressSanitizer|runtime error:/ {
    if (!error) {
        error = $0
        in_error = 1
    }
}
/^Direct leak/ { leak = $0; leaked_by = "" }
/^Indirect leak/ { leak = "" }
/^0x[0-9a-f]+ \(/ && leak && ($1 in same_call) { leaks[leak " " leaked_by] = 1 }

# The first frame of a stack that is the project's.
/^ *#[0-9]+ / {
    if (!match($0, /(registrator|tests\/unit)\/[a-z0-9_\/]+\.[ch]:[0-9]+/))
        next
    frame = substr($0, RSTART, RLENGTH)
    if (in_failure && failure_at == "")
        failure_at = frame
    if (in_error && error_at == "")
        error_at = frame
    if (leak && leaked_by == "")
        leaked_by = frame
}
/^$/ { in_failure = in_error = 0 }
/^\[==========\] .*run\.$/ { ended = 1 }

END {
    # The test itself may trip over what it did not get.
    if (error && error_at !~ /^tests/)
        print "without memory at " failure_at ": " error " " error_at
    else if (!error && !ended)
        print "without memory at " failure_at ": the program ended early, or hung"
    for (text in leaks)
        print "without memory at " failure_at ": " text
}
