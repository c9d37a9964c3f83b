#include "status.h"

#include "json.h"
#include "utf8.h"

#include <string.h>

/* What is not UTF-8 would be no JSON, and terminals obey the control characters that JSON lets through. */
static void add_string(cJSON *object, const char *name, const char *value)
{
    cJSON *string = value ? cJSON_CreateString(value) : NULL;

    if (!string)
        return;
    utf8_make_printable(string->valuestring);
    json_set(object, name, string);
}

static void add_reason(cJSON *object, Reason reason)
{
    add_string(object, "reason", reason_token(reason));
    add_string(object, "text", reason_to_string(reason));
    add_string(object, "remedy", reason_remedy(reason));
}

static RecordState entry_state(const PublisherEntry *entry)
{
    if (entry && entry->state == ENTRY_SETTLED)
        return RECORD_REGISTERED;
    if (entry && entry->holder)
        return RECORD_CONFLICT; /* also while it is being asked for again */
    return entry && entry->state == ENTRY_REJECTED ? RECORD_REJECTED : RECORD_PENDING;
}

/* *ret_publisher: which has it not, of two the first; NULL: each that there is has it. */
static RecordState record_state(const StatusSource *source, const Record *record, Publisher **ret_publisher)
{
    Publisher *publisher;

    *ret_publisher = NULL;
    if (record->reason != REASON_NONE)
        return RECORD_OUT;
    for (size_t i = 0; source->publishers && (publisher = publishers_get(source->publishers, i)); i++) {
        RecordState state = entry_state(publisher_find(publisher, record->key));

        if (state == RECORD_REGISTERED)
            continue;
        *ret_publisher = publisher;
        return state;
    }
    return source->publishers ? RECORD_REGISTERED : RECORD_PENDING;
}

RecordState status_record_state(const StatusSource *source, const Record *record)
{
    Publisher *publisher;

    return record_state(source, record, &publisher);
}

const char *record_state_to_string(RecordState state)
{
    static const char *const names[RECORD_STATE_MAX_] = {
        [RECORD_REGISTERED] = "registered", [RECORD_PENDING] = "pending", [RECORD_CONFLICT] = "conflict",
        [RECORD_REJECTED] = "rejected",     [RECORD_OUT] = "out",
    };

    return names[state];
}

static cJSON *record_json(const StatusSource *source, const Record *record)
{
    cJSON *object = cJSON_CreateObject();
    Publisher *publisher;
    RecordState state = record_state(source, record, &publisher);

    (void)cJSON_AddNumberToObject(object, "port", record->container_port);
    add_string(object, "protocol", protocol_to_string(record->protocol));
    add_string(object, "key", record->key);
    add_string(object, "value", record->value);
    add_string(object, "state", record_state_to_string(state));
    if (publisher && publishers_get(source->publishers, 1))
        add_string(object, "api", publishers_api(source->publishers, publisher));
    switch (state) {
    case RECORD_CONFLICT:
        add_string(object, "reason", "conflict");
        add_string(object, "text", "the key is somebody else's");
        add_string(object, "holder", publisher_find(publisher, record->key)->holder);
        add_string(object, "remedy",
                   "stop or rename the container that has the key, on whichever host it is, or delete the key if "
                   "it was written by hand; registered here within one heartbeat of its going");
        break;
    case RECORD_REJECTED:
        add_string(object, "reason", "rejected");
        add_string(object, "text", "etcd does not take the key");
        add_string(object, "remedy", "change --key or --value; the log has etcd's reason");
        break;
    case RECORD_PENDING:
        add_string(object, "reason", "etcd-away");
        add_string(object, "text", "not written to etcd yet");
        add_string(object, "remedy", publisher ? publisher_why(publisher) : "");
        break;
    case RECORD_OUT:
        add_reason(object, record->reason);
        break;
    default:
        break;
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
        json_append(records, record_json(source, &entry->records.items[i]));
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
    json_set(object, "records", records);
    return object;
}

bool status_is_published(const StatusSource *source, const CatalogEntry *entry)
{
    /* By owner and not by record: what was just withdrawn is no record any more. */
    return source->publishers && publishers_own(source->publishers, entry->id);
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
        json_append(array, status_container_json(source, sorted[k]));
    return array;
}

static const char *publisher_state_text(const Publisher *publisher)
{
    switch (publisher_state(publisher)) {
    case PUBLISHER_ONLINE:
        return "online";
    case PUBLISHER_DEGRADED:
        return "degraded";
    default:
        return "connecting";
    }
}

/* Of two, that of the one that is not well. */
static const char *publishers_state_text(const Publishers *publishers)
{
    Publisher *publisher = publishers_get(publishers, 0), *second = publishers_get(publishers, 1);

    if (second && publisher_state(publisher) == PUBLISHER_ONLINE)
        publisher = second;
    return publisher_state_text(publisher);
}

static cJSON *etcd_json(Publishers *publishers)
{
    cJSON *object = cJSON_CreateObject();

    if (!publishers) {
        add_string(object, "state", "not opened");
        add_string(object, "why", "Docker has not been reached yet");
        return object;
    }
    add_string(object, "state", publishers_state_text(publishers));
    add_string(object, "why", publishers_why(publishers));
    add_string(object, "store", publishers_describe(publishers));
    (void)cJSON_AddBoolToObject(object, "idle", publishers_are_idle(publishers));
    (void)cJSON_AddNumberToObject(object, "keys", (double)publishers_settled(publishers));
    return object;
}

/* By which a subcommand can tell what Docker's containers come to. */
static cJSON *rules_json(const Rules *rules)
{
    cJSON *object = cJSON_CreateObject();

    add_string(object, "key", template_text(rules->key));
    add_string(object, "value", template_text(rules->value));
    add_string(object, "service", template_text(rules->service));
    (void)cJSON_AddBoolToObject(object, "internal", rules->ports == PORTS_INTERNAL);
    (void)cJSON_AddBoolToObject(object, "explicit", rules->explicit_only);
    (void)cJSON_AddBoolToObject(object, "environment", !rules->labels.labels_only);
    return object;
}

static cJSON *look_json(const Look *look, const char *api)
{
    cJSON *object = cJSON_CreateObject(), *keys = cJSON_AddArrayToObject(object, "keys");
    const LookKey *key;
    size_t n = look_keys(look, &key);

    add_string(object, "api", api);
    add_string(object, "why", look_why(look));
    for (; n > 0; n--, key++) {
        cJSON *json = cJSON_CreateObject();

        add_string(json, "key", key->key);
        add_string(json, "value", key->held);
        (void)cJSON_AddBoolToObject(json, "ours", key->ours);
        json_append(keys, json);
    }
    return object;
}

cJSON *status_etcd_json(const StatusSource *source)
{
    cJSON *object = cJSON_CreateObject(), *apis = cJSON_AddArrayToObject(object, "apis");
    Publisher *publisher;
    bool done = source->publishers;

    for (size_t i = 0; source->publishers && (publisher = publishers_get(source->publishers, i)); i++) {
        const Look *look = publishers_looked(source->publishers, i);
        const char *api = store_has_lease(publisher_store(publisher)) ? "v3" : "v2";

        done = done && look && look_is_done(look);
        if (look)
            json_append(apis, look_json(look, api));
    }
    (void)cJSON_AddBoolToObject(object, "done", done);
    return object;
}

cJSON *status_json(const StatusSource *source)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *docker;

    if (!object)
        return NULL;
    add_string(object, "version", PACKAGE_VERSION);
    add_string(object, "node", source->node);
    docker = cJSON_AddObjectToObject(object, "docker");
    add_string(docker, "url", source->docker_url);
    add_string(docker, "api", source->docker_api);
    (void)cJSON_AddBoolToObject(docker, "connected", !source->docker_why);
    add_string(docker, "why", source->docker_why);
    json_set(object, "etcd", etcd_json(source->publishers));
    if (source->rules)
        json_set(object, "rules", rules_json(source->rules));
    add_string(object, "address4", source->address4);
    add_string(object, "address6", source->address6);
    (void)cJSON_AddBoolToObject(object, "drained", source->host_drained);
    json_set(object, "containers", containers_json(source));
    return object;
}
