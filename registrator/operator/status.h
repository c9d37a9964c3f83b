/* What the agent knows, as JSON: for the subcommands, and over HTTP. */
#pragma once

#include "catalog/catalog.h"
#include "publisher/publisher.h"
#include "settings/settings.h"

#include <cjson/cJSON.h>

/* What became of one port of a container. */
typedef enum RecordState {
    RECORD_REGISTERED,
    RECORD_PENDING,
    RECORD_CONFLICT,
    RECORD_REJECTED,
    RECORD_UNREGISTERED, /* not to be registered; record->reason says why */
    RECORD_STATE_MAX_,
} RecordState;

typedef struct AgentCounters AgentCounters; /* metrics.h */

typedef struct StatusSource {
    const char *node;
    const char *docker_url, *docker_api, *docker_why; /* why: NULL: connected */
    const Settings *settings; /* NULL: the status leaves them out */
    const Rules *rules; /* NULL: the status leaves them out. They have the address */
    const char *address4, *address6; /* NULL: none */
    bool host_drained;
    Catalog *catalog;
    Publisher *publisher; /* NULL: Docker was never reached */
    const AgentCounters *counters;
    unsigned ttl_s;
} StatusSource;

/* The whole, its containers sorted by name. NULL: no memory. */
cJSON *status_json(const StatusSource *source);
/* One container. */
cJSON *status_container_json(const StatusSource *source, CatalogEntry *entry);
RecordState status_record_state(const StatusSource *source, const Record *record);
const char *record_state_to_string(RecordState state); /* "registered", … */
/* Has etcd any key of the container, or is one being written or deleted? */
typedef enum Published {
    PUBLISHED_UNKNOWN, /* etcd has not been asked yet */
    PUBLISHED_NO,
    PUBLISHED_YES,
} Published;
Published status_published(const StatusSource *source, const CatalogEntry *entry);
