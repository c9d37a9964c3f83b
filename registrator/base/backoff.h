/* Waiting times between attempts: exponential with full jitter, so that many agents return to a peer at different
 * times. */
#pragma once

#include <stdint.h>

typedef struct Backoff {
    uint64_t base_ms; /* the upper end of the first wait */
    uint64_t cap_ms; /* the upper end of all waits */
    unsigned attempts; /* attempts since the last success */
} Backoff;

/* Returns a random wait from base/4 to min(cap, base * 2^attempts), and counts the attempt. The lower end prevents a
 * busy loop, because full jitter allows a wait of 0. */
uint64_t backoff_next_us(Backoff *backoff);
void backoff_reset(Backoff *backoff);

/* Returns a random time from around * (1 - part) to around * (1 + part). */
uint64_t jitter_us(uint64_t around_us, double part);
