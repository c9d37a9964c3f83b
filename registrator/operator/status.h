/* The agent's state as JSON: for the subcommands, and over HTTP. */
#pragma once

#include "catalog/catalog.h"
#include "publisher/publisher.h"
#include "settings/settings.h"

#include <cjson/cJSON.h>

/* The state of one port of a container. */
typedef enum RecordState {
    RECORD_REGISTERED,
    RECORD_PENDING,
    RECORD_CONFLICT,
    RECORD_REJECTED,
    RECORD_UNREGISTERED, /* the port should not be registered; record->reason is the reason */
    RECORD_STATE_MAX_,
} RecordState;

typedef struct AgentCounters AgentCounters; /* metrics.h */

typedef struct StatusSource {
    const char *node;
    const char *docker_url, *docker_api, *docker_why; /* docker_why NULL: connected */
    const Settings *settings; /* NULL: the status has no settings */
    const Rules *rules; /* with the advertised address. NULL: the status has no rules */
    const char *address4, *address6; /* NULL: no such address */
    bool host_drained;
    Catalog *catalog;
    Publisher *publisher; /* NULL: the agent has not reached Docker yet */
    const AgentCounters *counters;
    unsigned ttl_s;
} StatusSource;

/* The whole status, containers sorted by name. NULL: no memory. */
cJSON *status_json(const StatusSource *source);
/* One container. NULL: no memory. */
cJSON *status_container_json(const StatusSource *source, CatalogEntry *entry);
RecordState status_record_state(const StatusSource *source, const Record *record);
const char *record_state_to_string(RecordState state); /* "registered", … */
/* Does etcd hold a key of the container, or is a key being written or deleted? */
typedef enum Published {
    PUBLISHED_UNKNOWN, /* the agent has not asked etcd yet */
    PUBLISHED_NO,
    PUBLISHED_YES,
} Published;
Published status_published(const StatusSource *source, const CatalogEntry *entry);
