#include "status.h"

#include <string.h>

static void add_string(cJSON *object, const char *name, const char *value)
{
    if (value)
        (void)cJSON_AddStringToObject(object, name, value);
}

static void add_reason(cJSON *object, Reason reason)
{
    add_string(object, "reason", reason_token(reason));
    add_string(object, "text", reason_to_string(reason));
    add_string(object, "remedy", reason_remedy(reason));
}

/* What becomes of a record that should be in etcd. */
static void add_published(cJSON *object, const StatusSource *source, const Record *record)
{
    const PublisherEntry *entry = source->publisher ? publisher_find(source->publisher, record->key) : NULL;

    if (entry && entry->state == ENTRY_SETTLED) {
        add_string(object, "state", "registered");
    } else if (entry && entry->state == ENTRY_HELD) {
        add_string(object, "state", "conflict");
        add_string(object, "reason", "conflict");
        add_string(object, "text", "the key is somebody else's");
        add_string(object, "holder", entry->holder);
        add_string(object, "remedy",
                   "stop or rename the container that has the key, on whichever host it is, or delete the key if "
                   "it was written by hand; registered here within one heartbeat of its going");
    } else if (entry && entry->state == ENTRY_REJECTED) {
        add_string(object, "state", "rejected");
        add_string(object, "reason", "rejected");
        add_string(object, "text", "etcd does not take the key");
        add_string(object, "remedy", "change --key or --value; the log has etcd's reason");
    } else {
        add_string(object, "state", "pending");
        add_string(object, "reason", "etcd_away");
        add_string(object, "text", "not written to etcd yet");
        add_string(object, "remedy", source->publisher ? publisher_why(source->publisher) : "");
    }
}

static cJSON *record_json(const StatusSource *source, const Record *record)
{
    cJSON *object = cJSON_CreateObject();

    (void)cJSON_AddNumberToObject(object, "port", record->container_port);
    add_string(object, "protocol", protocol_to_string(record->protocol));
    add_string(object, "key", record->key);
    add_string(object, "value", record->value);
    if (record->reason == REASON_NONE) {
        add_published(object, source, record);
    } else {
        add_string(object, "state", "out");
        add_reason(object, record->reason);
    }
    return object;
}

static const char *first_reason(const cJSON *records, const char **ret_text, const char **ret_remedy)
{
    const cJSON *record, *worst = NULL;

    cJSON_ArrayForEach (record, records) {
        const char *state = cJSON_GetStringValue(cJSON_GetObjectItem(record, "state"));

        if (state && strcmp(state, "registered") == 0)
            return "registered";
        if (state && (!worst || strcmp(state, "out") != 0))
            worst = record;
    }
    *ret_text = cJSON_GetStringValue(cJSON_GetObjectItem(worst, "text"));
    *ret_remedy = cJSON_GetStringValue(cJSON_GetObjectItem(worst, "remedy"));
    return worst ? cJSON_GetStringValue(cJSON_GetObjectItem(worst, "state")) : "out";
}

cJSON *status_container_json(const StatusSource *source, CatalogEntry *entry)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *records = cJSON_CreateArray();
    Reason reason = catalog_reason(source->catalog, entry);
    const char *state, *text = NULL, *remedy = NULL;

    for (size_t i = 0; i < entry->records.n_items; i++)
        (void)cJSON_AddItemToArray(records, record_json(source, &entry->records.items[i]));
    add_string(object, "id", entry->id);
    add_string(object, "name", entry->container ? entry->container->name : entry->id);
    add_string(object, "image", entry->container ? entry->container->image : NULL);
    if (!entry->container || (entry->dirty && entry->records.n_items == 0)) {
        add_string(object, "state", "pending");
        add_string(object, "text", "Docker is being asked about it");
    } else if (reason != REASON_NONE) {
        add_string(object, "state", "out");
        add_reason(object, reason);
    } else {
        state = first_reason(records, &text, &remedy);
        add_string(object, "state", state);
        add_string(object, "text", text);
        add_string(object, "remedy", remedy);
    }
    (void)cJSON_AddItemToObject(object, "records", records);
    return object;
}

bool status_is_published(const StatusSource *source, const CatalogEntry *entry)
{
    /* By owner and not by record: what was just withdrawn is no record any more. */
    return source->publisher && publisher_owns(source->publisher, entry->container ? entry->container->name : "");
}

static int compare_names(const void *a, const void *b)
{
    const CatalogEntry *const *x = a, *const *y = b;
    const char *name_x = (*x)->container ? (*x)->container->name : (*x)->id;
    const char *name_y = (*y)->container ? (*y)->container->name : (*y)->id;

    return strcmp(name_x, name_y);
}

static cJSON *containers_json(const StatusSource *source)
{
    size_t n = catalog_size(source->catalog), i = 0;
    CLEANUP_FREE CatalogEntry **sorted = calloc(n + 1, sizeof(CatalogEntry *));
    cJSON *array = cJSON_CreateArray();

    if (!sorted)
        return array;
    for (CatalogEntry *entry = catalog_first(source->catalog); entry && i < n; entry = entry->hh.next)
        sorted[i++] = entry;
    qsort(sorted, i, sizeof(CatalogEntry *), compare_names);
    for (size_t k = 0; k < i; k++)
        (void)cJSON_AddItemToArray(array, status_container_json(source, sorted[k]));
    return array;
}

static const char *publisher_state_text(const Publisher *publisher)
{
    if (!publisher)
        return "not opened";
    switch (publisher_state(publisher)) {
    case PUBLISHER_ONLINE:
        return "online";
    case PUBLISHER_DEGRADED:
        return "degraded";
    default:
        return "connecting";
    }
}

cJSON *status_json(const StatusSource *source)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *docker, *etcd;

    if (!object)
        return NULL;
    add_string(object, "version", PACKAGE_VERSION);
    add_string(object, "node", source->node);
    docker = cJSON_AddObjectToObject(object, "docker");
    add_string(docker, "url", source->docker_url);
    add_string(docker, "api", source->docker_api);
    (void)cJSON_AddBoolToObject(docker, "connected", !source->docker_why);
    add_string(docker, "why", source->docker_why);
    etcd = cJSON_AddObjectToObject(object, "etcd");
    add_string(etcd, "state", publisher_state_text(source->publisher));
    add_string(etcd, "why", source->publisher ? publisher_why(source->publisher) : "Docker has not been reached yet");
    if (source->publisher) {
        add_string(etcd, "store", store_describe(publisher_store(source->publisher)));
        (void)cJSON_AddBoolToObject(etcd, "idle", publisher_is_idle(source->publisher));
        (void)cJSON_AddNumberToObject(etcd, "keys", (double)publisher_settled(source->publisher));
    }
    add_string(object, "address4", source->address4);
    add_string(object, "address6", source->address6);
    (void)cJSON_AddBoolToObject(object, "drained", source->host_drained);
    (void)cJSON_AddItemToObject(object, "containers", containers_json(source));
    return object;
}
