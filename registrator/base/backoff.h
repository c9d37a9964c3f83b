/* Waiting times between tries: exponential with full jitter, so that many agents return to one peer at different times. */
#pragma once

#include <stdint.h>

typedef struct Backoff {
    uint64_t base_ms; /* upper end of the first wait */
    uint64_t cap_ms; /* upper end of every later one */
    unsigned attempts; /* since the last success */
} Backoff;

/* Uniform in [base/4, min(cap, base * 2^attempts)]; counts the attempt. The lower end keeps a wait of nothing,
 * which full jitter allows, from becoming a busy loop. */
uint64_t backoff_next_us(Backoff *backoff);
void backoff_reset(Backoff *backoff);

/* Uniform in [around * (1 - part), around * (1 + part)]. */
uint64_t jitter_us(uint64_t around_us, double part);
