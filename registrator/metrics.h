/* What the agent counts, as Prometheus reads it. Pure: numbers in, text out. No metric has a label whose values come
 * from outside, so that their number is bounded. */
#pragma once

#include "docker_event.h"
#include "publisher.h"
#include "status.h"

#include <stdbool.h>

/* Kept by the agent, so that they outlive the objects that SIGHUP replaces. */
typedef struct AgentCounters {
    uint64_t docker_events[ACTION_MAX_];
    uint64_t docker_connects;
    StoreCounters store;
} AgentCounters;

typedef struct MetricsSource {
    const char *version;
    size_t containers; /* that run */
    size_t records[RECORD_STATE_MAX_];
    bool docker_up, etcd_up;
    AgentCounters counters;
    PublisherCounters publisher;
    unsigned ttl_s;
    double heartbeat_age_s, lease_left_s; /* negative: there is none */
    double start_s; /* of the process, since 1970; 0: not known */
    uint64_t resident_bytes; /* 0: not known */
} MetricsSource;

typedef enum MetricsFormat {
    METRICS_TEXT, /* Prometheus' text format 0.0.4 */
    METRICS_OPENMETRICS, /* OpenMetrics 1.0.0 */
} MetricsFormat;

/* What an Accept header asks for. "": the text format. */
MetricsFormat metrics_format(const char *accept);
const char *metrics_content_type(MetricsFormat format);

/* malloc'd; NULL: no memory. */
char *metrics_render(const MetricsSource *source, MetricsFormat format);
