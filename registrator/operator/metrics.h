/* The agent's counters in Prometheus' text format. Pure: numbers in, text out. The number of series is bounded: no
 * metric has a label with values from containers. */
#pragma once

#include "docker/docker_event.h"
#include "publisher/publisher.h"
#include "operator/status.h"

#include <stdbool.h>

/* Owned by the agent, so that the counters outlive the objects that SIGHUP replaces. */
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
    size_t containers; /* running containers */
    LayoutRecords layouts[LAYOUTS_MAX]; /* the default layout first */
    size_t n_layouts;
    bool docker_up, etcd_up;
    AgentCounters counters;
    PublisherCounters publisher;
    unsigned ttl_s;
    double heartbeat_age_s, lease_left_s; /* negative: not known */
    double start_s; /* the start of the process in seconds since 1970; 0: not known */
    uint64_t resident_bytes; /* 0: not known */
} MetricsSource;

/* The text, malloc'd, in Prometheus' text format 0.0.4. NULL: no memory. */
char *metrics_render(const MetricsSource *source);
