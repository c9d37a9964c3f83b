/* What happened to the containers' keys, as the log tells it: bounded, in memory, gone when the agent ends. */
#pragma once

#include "base/cleanup.h"
#include "catalog/catalog.h"

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

typedef struct History History;

enum {
    HISTORY_MAX = 2048, /* events of all containers; the oldest goes first */
    HISTORY_CONTAINER_MAX = 10, /* events of one container: one that comes and goes leaves the others theirs */
    HISTORY_TEXT_MAX = 512, /* bytes of an event's text; a longer one ends in "…" */
};

typedef struct HistoryEvent {
    uint64_t time_us; /* CLOCK_REALTIME */
    const char *container, *id; /* its name and ID; NULL: of no container that is known */
    const char *event; /* "registered", … or NULL */
    const char *key, *text;
    const char *why; /* NULL: nothing to tell */
} HistoryEvent;

/* Watches the log (log_set_key_watcher()). catalog: says why a key was deregistered. NULL: no memory. */
History *history_new(Catalog *catalog);
History *history_free(History *history);
DEFINE_CLEANUP(History, history_free)

/* Copies the event. Without memory, the event is left out. */
void history_add(History *history, const HistoryEvent *event);

/* An array, the oldest event first: of the container with this name, this ID, or this beginning of an ID of 4 digits
 * or more; NULL: of all. Container names that were used twice have the events of both. NULL: no memory. */
cJSON *history_json(const History *history, const char *container);
