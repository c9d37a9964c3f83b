#include "refresh_pace.h"

enum {
    /* Refreshes go out in groups when there are more than one in 10 ms. */
    WAIT_MIN_US = 10000,
    /* However few the keys are: when many come, no more than a second's share of them are due at once. */
    WAIT_MAX_US = 1000000,
};

void refresh_pace_count(RefreshPace *pace, size_t n_keys, uint64_t interval_us, uint64_t now_us)
{
    double n = (double)n_keys;

    if (pace->counted_us > 0)
        pace->due += n * (double)(now_us - pace->counted_us) / (double)interval_us;
    if (pace->due > n)
        pace->due = n;
    pace->counted_us = now_us;
}

uint64_t refresh_pace_wait_us(size_t n_keys, uint64_t interval_us)
{
    uint64_t wait_us = n_keys > 0 ? interval_us / n_keys : interval_us;

    if (wait_us < WAIT_MIN_US)
        return WAIT_MIN_US;
    return wait_us > WAIT_MAX_US ? WAIT_MAX_US : wait_us;
}
