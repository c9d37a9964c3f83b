/* What the agent knows, as JSON: for the subcommands, and over HTTP. */
#pragma once

#include "catalog.h"
#include "publishers.h"

#include <cjson/cJSON.h>

/* What became of one port of a container. */
typedef enum RecordState {
    RECORD_REGISTERED,
    RECORD_PENDING,
    RECORD_CONFLICT,
    RECORD_REJECTED,
    RECORD_OUT, /* not to be registered; record->reason says why */
    RECORD_STATE_MAX_,
} RecordState;

typedef struct AgentCounters AgentCounters; /* metrics.h */

typedef struct StatusSource {
    const char *node;
    const char *docker_url, *docker_api, *docker_why; /* why: NULL: connected */
    const Rules *rules; /* NULL: not to be told; the address is among them */
    const char *address4, *address6; /* NULL: none */
    bool host_drained;
    Catalog *catalog;
    Publishers *publishers; /* NULL: Docker was never reached */
    const AgentCounters *counters;
    unsigned ttl_s;
} StatusSource;

/* The whole, its containers sorted by name. NULL: no memory. */
cJSON *status_json(const StatusSource *source);
/* What the last look into etcd has found. NULL: no memory. */
cJSON *status_etcd_json(const StatusSource *source);
/* One container. */
cJSON *status_container_json(const StatusSource *source, CatalogEntry *entry);
RecordState status_record_state(const StatusSource *source, const Record *record);
const char *record_state_to_string(RecordState state); /* "registered", … */
/* Is any key of the container still in etcd, or on its way there or out? */
bool status_is_published(const StatusSource *source, const CatalogEntry *entry);
