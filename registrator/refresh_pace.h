/* v2: when to refresh how many keys: each once an interval, spread evenly over it. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct RefreshPace {
    double due; /* refreshes that are due and not under way */
    uint64_t counted_us; /* up to when they are counted; 0: nothing is yet */
} RefreshPace;

/* Counts what has come due since the last call, by the time that has passed: after a suspension or an outage more
 * are due at once, but never more than there are keys. */
void refresh_pace_count(RefreshPace *pace, size_t n_keys, uint64_t interval_us, uint64_t now_us);
/* Until the next count. */
uint64_t refresh_pace_wait_us(size_t n_keys, uint64_t interval_us);
