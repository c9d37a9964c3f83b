/* How long something took, counted in buckets as Prometheus has them. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_BOUNDS = 13 };

/* Upper ends, inclusive, ascending. An agent at rest publishes within some ten milliseconds; the upper ones are for
 * queues and outages. */
extern const uint64_t histogram_bounds_us[HISTOGRAM_BOUNDS];

typedef struct Histogram {
    uint64_t buckets[HISTOGRAM_BOUNDS + 1]; /* each by itself, not cumulated; the last is for what is above all */
    uint64_t sum_us;
} Histogram;

void histogram_observe(Histogram *histogram, uint64_t us);
uint64_t histogram_count(const Histogram *histogram);
