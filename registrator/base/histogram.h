/* Durations, counted in Prometheus' buckets. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_BOUNDS = 13 };

/* The inclusive upper ends, ascending. An agent without load registers a key within some ten milliseconds. The upper
 * buckets are for queues and outages. */
extern const uint64_t histogram_bounds_us[HISTOGRAM_BOUNDS];

typedef struct Histogram {
    /* each bucket's own count, not cumulative; the last bucket is for all longer durations */
    uint64_t buckets[HISTOGRAM_BOUNDS + 1];
    uint64_t sum_us;
} Histogram;

void histogram_observe(Histogram *histogram, uint64_t us);
uint64_t histogram_count(const Histogram *histogram);
