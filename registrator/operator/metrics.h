/* What the agent counts, as Prometheus reads it. Pure: numbers in, text out. No metric has a label whose values come
 * from containers, so that their number is bounded. */
#pragma once

#include "docker/docker_event.h"
#include "publisher/publisher.h"
#include "operator/status.h"

#include <stdbool.h>

/* Kept by the agent, so that they outlive the objects that SIGHUP replaces. */
typedef struct AgentCounters {
    uint64_t docker_events[ACTION_MAX_];
    uint64_t docker_connects;
    StoreCounters store;
} AgentCounters;

typedef struct LayoutRecords {
    char layout[LAYOUT_NAME_MAX + 1];
    size_t records[RECORD_STATE_MAX_];
} LayoutRecords;

typedef struct MetricsSource {
    const char *version;
    size_t containers; /* that run */
    LayoutRecords layouts[LAYOUTS_MAX]; /* the default one first */
    size_t n_layouts;
    bool docker_up, etcd_up;
    AgentCounters counters;
    PublisherCounters publisher;
    unsigned ttl_s;
    double heartbeat_age_s, lease_left_s; /* negative: there is none */
    double start_s; /* of the process, since 1970; 0: not known */
    uint64_t resident_bytes; /* 0: not known */
} MetricsSource;

/* In Prometheus' text format 0.0.4. malloc'd; NULL: no memory. */
char *metrics_render(const MetricsSource *source);
