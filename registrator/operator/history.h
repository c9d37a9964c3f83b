/* The events of the containers' keys, as the log has them. Bounded, in memory, lost when the agent ends. */
#pragma once

#include "base/cleanup.h"
#include "catalog/catalog.h"

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

typedef struct History History;

enum {
    HISTORY_MAX = 2048, /* events of all containers; a new event replaces the oldest one */
    /* events of one container, so that a container with many events leaves room for others */
    HISTORY_CONTAINER_MAX = 10,
    HISTORY_TEXT_MAX = 512, /* bytes of an event's text; a longer one ends in "…" */
};

typedef struct HistoryEvent {
    uint64_t time_us; /* CLOCK_REALTIME */
    const char *container, *id; /* the container's name and ID; NULL: the container is not known */
    const char *event; /* "registered", … or NULL */
    const char *key, *text;
    const char *why; /* the reason; NULL: no reason */
} HistoryEvent;

/* Watches the log (log_set_key_watcher()). catalog: gives the reason for which a key was deregistered. NULL: no
 * memory. */
History *history_new(Catalog *catalog);
History *history_free(History *history);
DEFINE_CLEANUP(History, history_free)

/* Copies the event. Without memory, drops the event. */
void history_add(History *history, const HistoryEvent *event);

/* Returns an array of events, the oldest first. container: the name, the ID, or a prefix of the ID of 4 digits or
 * more; NULL: all events. A name that two containers have used gives the events of both. NULL: no memory. */
cJSON *history_json(const History *history, const char *container);
