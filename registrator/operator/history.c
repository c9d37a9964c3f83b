#include "operator/history.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

typedef struct Entry {
    TAILQ_ENTRY(Entry) queue;
    HistoryEvent event; /* the entry owns the strings */
} Entry;

struct History {
    TAILQ_HEAD(EntryQueue, Entry) queue; /* the oldest first */
    size_t n;
    Catalog *catalog;
};

static void entry_free(Entry *entry)
{
    free((char *)entry->event.container);
    free((char *)entry->event.id);
    free((char *)entry->event.event);
    free((char *)entry->event.key);
    free((char *)entry->event.text);
    free((char *)entry->event.why);
    free(entry);
}

static void drop(History *history, Entry *entry)
{
    TAILQ_REMOVE(&history->queue, entry, queue);
    history->n--;
    entry_free(entry);
}

History *history_free(History *history)
{
    if (!history)
        return NULL;
    log_end_key_watcher(history);
    while (!TAILQ_EMPTY(&history->queue))
        drop(history, TAILQ_FIRST(&history->queue));
    free(history);
    return NULL;
}

static bool copy(const char **ret, const char *text)
{
    bool is_cut = text && strlen(text) > HISTORY_TEXT_MAX;
    char *result = text ? text_format("%.*s%s", HISTORY_TEXT_MAX, text, is_cut ? "…" : "") : NULL;

    if (result)
        utf8_make_printable(result); /* the cut may have split a character */
    *ret = result;
    return result || !text;
}

static Entry *entry_new(const HistoryEvent *event)
{
    Entry *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return NULL;
    entry->event.time_us = event->time_us;
    if (copy(&entry->event.container, event->container) && copy(&entry->event.id, event->id) &&
        copy(&entry->event.event, event->event) && copy(&entry->event.key, event->key) &&
        copy(&entry->event.text, event->text) && copy(&entry->event.why, event->why))
        return entry;
    entry_free(entry);
    return NULL;
}

/* Removes the container's oldest event if the container has too many. */
static void bound_container(History *history, const char *id)
{
    Entry *entry, *oldest = NULL;
    size_t n = 0;

    TAILQ_FOREACH (entry, &history->queue, queue) {
        if (!text_same(entry->event.id, id))
            continue;
        if (!oldest)
            oldest = entry;
        n++;
    }
    if (n > HISTORY_CONTAINER_MAX)
        drop(history, oldest);
}

void history_add(History *history, const HistoryEvent *event)
{
    Entry *entry = entry_new(event);

    if (!entry)
        return;
    TAILQ_INSERT_TAIL(&history->queue, entry, queue);
    history->n++;
    if (event->id)
        bound_container(history, event->id);
    if (history->n > HISTORY_MAX)
        drop(history, TAILQ_FIRST(&history->queue));
}

/* The reason, if the catalog still knows the container. */
static const char *why_deregistered(Catalog *catalog, const char *id, const char *key)
{
    CatalogEntry *entry = id ? catalog_find(catalog, id) : NULL;
    Reason reason;

    if (!entry)
        return id ? "the container is gone" : NULL;
    reason = catalog_reason(catalog, entry);
    for (size_t i = 0; i < entry->records.n_items && reason == REASON_NONE; i++)
        if (text_same(entry->records.items[i].key, key))
            reason = entry->records.items[i].reason;
    return reason != REASON_NONE ? reason_to_string(reason) : NULL;
}

static void on_key_line(void *userdata, LogEvent event, const char *container, const char *id, const char *key,
                        const char *line)
{
    History *history = userdata;

    history_add(
        history,
        &(HistoryEvent){ .time_us = clock_us(CLOCK_REALTIME),
                         .container = container,
                         .id = id,
                         .event = log_event_name(event),
                         .key = key,
                         .text = line,
                         .why = event == LOG_EVENT_DEREGISTERED ? why_deregistered(history->catalog, id, key) : NULL });
}

History *history_new(Catalog *catalog)
{
    History *history = calloc(1, sizeof(*history));

    if (!history)
        return NULL;
    TAILQ_INIT(&history->queue);
    history->catalog = catalog;
    log_set_key_watcher(on_key_line, history);
    return history;
}

/* "2026-11-27T18:20:01.123Z" */
static void add_time(cJSON *object, uint64_t time_us)
{
    time_t seconds = (time_t)(time_us / 1000000);
    char day[32], text[48];
    struct tm tm;

    if (!gmtime_r(&seconds, &tm) || strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        return;
    (void)snprintf(text, sizeof(text), "%s.%03" PRIu64 "Z", day, time_us / 1000 % 1000);
    json_set_text(object, "time", text);
}

static cJSON *event_json(const HistoryEvent *event)
{
    cJSON *object = cJSON_CreateObject();

    add_time(object, event->time_us);
    json_set_text(object, "container", event->container);
    json_set_text(object, "id", event->id);
    json_set_text(object, "event", event->event);
    json_set_text(object, "key", event->key);
    json_set_text(object, "text", event->text);
    json_set_text(object, "why", event->why);
    return object;
}

static bool is_of(const HistoryEvent *event, const char *container)
{
    size_t size = strlen(container);

    return text_same(event->container, container) ||
           (event->id && size >= 4 && strncmp(event->id, container, size) == 0);
}

cJSON *history_json(const History *history, const char *container)
{
    cJSON *array = cJSON_CreateArray();
    const Entry *entry;

    TAILQ_FOREACH (entry, &history->queue, queue)
        if (!container || is_of(&entry->event, container))
            json_append(array, event_json(&entry->event));
    return array;
}
