/* What the agent knows, as JSON: for the subcommands, and over HTTP. */
#pragma once

#include "catalog.h"
#include "publisher.h"

#include <cjson/cJSON.h>

typedef struct StatusSource {
    const char *node;
    const char *docker_url, *docker_api, *docker_why; /* why: NULL: connected */
    const char *address4, *address6; /* NULL: none */
    bool host_drained;
    Catalog *catalog;
    Publisher *publisher; /* NULL: Docker was never reached */
} StatusSource;

/* The whole, its containers sorted by name. NULL: no memory. */
cJSON *status_json(const StatusSource *source);
/* One container. */
cJSON *status_container_json(const StatusSource *source, CatalogEntry *entry);
/* Is any key of the container still in etcd, or on its way there or out? */
bool status_is_published(const StatusSource *source, const CatalogEntry *entry);
