#include "operator/sd.h"

#include "base/json.h"
#include "base/numbers.h"
#include "base/text.h"
#include "catalog/candidate.h"

#include <string.h>

/* The layout that made the key. */
static const Layout *layout_of(const Rules *rules, const Record *record)
{
    for (size_t i = 0; i < rules->n_layouts; i++)
        if (strcmp(rules->layouts[i].name, record->layout) == 0)
            return &rules->layouts[i];
    return NULL;
}

/* Adds the service that the key was made with. */
static void add_service(cJSON *labels, const Rules *rules, const Record *record)
{
    const Layout *layout = layout_of(rules, record);
    TemplateMatch match;
    CLEANUP_FREE char *service = NULL;

    if (!layout || !template_match(layout->key, record->key, &match) || !match.fields[FIELD_SERVICE].begin)
        return;
    service = strndup(match.fields[FIELD_SERVICE].begin, match.fields[FIELD_SERVICE].length);
    json_set_text(labels, "service", service);
}

static void add_target(cJSON *array, const StatusSource *source, const Container *container, const Record *record,
                       const Candidate *candidate, bool named)
{
    cJSON *object = cJSON_CreateObject(), *targets = cJSON_AddArrayToObject(object, "targets");
    cJSON *labels = cJSON_AddObjectToObject(object, "labels");
    const char *path = container_metadata(container, "SERVICE_METRICS_PATH");
    CLEANUP_FREE char *target = text_format(strchr(candidate->address, ':') ? "[%s]:%u" : "%s:%u", candidate->address,
                                            (unsigned)candidate->host_port);

    json_append(targets, cJSON_CreateString(target ? target : ""));
    add_service(labels, source->rules, record);
    json_set_text(labels, "container", container->name);
    json_set_text(labels, "host", source->node);
    json_set_text(labels, "__meta_registrator_metrics", named ? "true" : "false");
    if (path && path[0] == '/' && strlen(path) <= CONTAINER_METADATA_VALUE_MAX)
        json_set_text(labels, "__metrics_path__", path);
    json_append(array, object);
}

/* Can other hosts reach the port? The port may be reachable although its metadata keep it out of etcd. */
static bool is_reachable(const Candidate *candidate)
{
    return candidate->address && candidate->port->protocol == PROTOCOL_TCP &&
           (candidate->reason == REASON_NONE || candidate->reason == REASON_PORT_IGNORED ||
            candidate->reason == REASON_NOT_NAMED || candidate->reason == REASON_ONE_OFF);
}

static void add_metrics_port(cJSON *array, const StatusSource *source, const Container *container, const Record *record,
                             const Candidate *candidates, size_t n, unsigned port)
{
    for (size_t i = 0; i < n; i++) {
        if (candidates[i].port->container_port != port || !is_reachable(&candidates[i]))
            continue;
        add_target(array, source, container, record, &candidates[i], true);
        return;
    }
}

static bool is_registered(const StatusSource *source, const Record *record)
{
    return record->key && status_record_state(source, record) == RECORD_REGISTERED;
}

static const Record *find_any_registered(const StatusSource *source, const Records *records)
{
    for (size_t i = 0; i < records->n_items; i++)
        if (is_registered(source, &records->items[i]))
            return &records->items[i];
    return NULL;
}

/* Compares by container port and protocol, as candidates and records are sorted. */
static int compare_port(const Record *record, const Port *port)
{
    int r = numbers_compare(record->container_port, port->container_port);

    return r != 0 ? r : numbers_compare(record->protocol, port->protocol);
}

/* *at: the index of the first record that may belong to this port; the function moves it on. */
static const Record *find_registered(const StatusSource *source, const Records *records, size_t *at, const Port *port)
{
    while (*at < records->n_items && compare_port(&records->items[*at], port) < 0)
        (*at)++;
    for (size_t i = *at; i < records->n_items && compare_port(&records->items[i], port) == 0; i++)
        if (is_registered(source, &records->items[i]))
            return &records->items[i];
    return NULL;
}

static void add_container(cJSON *array, const StatusSource *source, const CatalogEntry *entry)
{
    const Container *container = entry->container;
    const Record *record = container ? find_any_registered(source, &entry->records) : NULL;
    CLEANUP_FREE Candidate *candidates = record ? calloc(container->n_ports + 1, sizeof(*candidates)) : NULL;
    const char *text;
    unsigned port = 0;
    size_t n, at = 0;

    if (!candidates)
        return;
    n = candidates_find(candidates, container, source->rules);
    text = container_metadata(container, "SERVICE_METRICS_PORT");
    if (text && number_parse(text, UINT16_MAX, &port) && port > 0) {
        add_metrics_port(array, source, container, record, candidates, n, port);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        record = candidates[i].first && candidates[i].port->protocol == PROTOCOL_TCP
                     ? find_registered(source, &entry->records, &at, candidates[i].port)
                     : NULL;
        if (record)
            add_target(array, source, container, record, &candidates[i], false);
    }
}

cJSON *sd_json(const StatusSource *source)
{
    cJSON *array = cJSON_CreateArray();

    if (!source->rules)
        return array;
    for (const CatalogEntry *entry = catalog_first(source->catalog); entry; entry = entry->hh.next)
        add_container(array, source, entry);
    return array;
}
