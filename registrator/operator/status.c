#include "operator/status.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "catalog/ready_rules.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* Without a value, the object's member stays unchanged. */
static void set_string(cJSON *object, const char *name, const char *value)
{
    if (!value)
        return;
    cJSON_DeleteItemFromObject(object, name);
    json_set_text(object, name, value);
}

static void add_reason(cJSON *object, Reason reason)
{
    json_set_text(object, "reason", reason_token(reason));
    json_set_text(object, "text", reason_to_string(reason));
    json_set_text(object, "remedy", reason_remedy(reason));
}

static RecordState entry_state(const PublisherEntry *entry)
{
    if (entry && entry_is_registered(entry))
        return RECORD_REGISTERED;
    if (entry && entry->holder)
        return RECORD_CONFLICT; /* also while the agent tries to register the key again */
    return entry && entry->state == ENTRY_REJECTED ? RECORD_REJECTED : RECORD_PENDING;
}

static const PublisherEntry *find_entry(const StatusSource *source, const Record *record)
{
    return source->publisher ? publisher_find(source->publisher, record->key) : NULL;
}

RecordState status_record_state(const StatusSource *source, const Record *record)
{
    return record->reason == REASON_NONE ? entry_state(find_entry(source, record)) : RECORD_UNREGISTERED;
}

const char *record_state_to_string(RecordState state)
{
    static const char *const names[RECORD_STATE_MAX_] = {
        [RECORD_REGISTERED] = "registered", [RECORD_PENDING] = "pending",           [RECORD_CONFLICT] = "conflict",
        [RECORD_REJECTED] = "rejected",     [RECORD_UNREGISTERED] = "unregistered",
    };

    return names[state];
}

static void add_rejected(cJSON *object, const char *why)
{
    CLEANUP_FREE char *text = why ? text_format("%s: %s", reason_to_string(REASON_REJECTED), why) : NULL;

    add_reason(object, REASON_REJECTED);
    set_string(object, "text", text);
}

/* Adds the party that a pending container waits for: etcd, Docker or the agent. */
static void add_pending(cJSON *object, const StatusSource *source)
{
    const Publisher *publisher = source->publisher;

    if (publisher && *publisher_why(publisher) != '\0') {
        add_reason(object, REASON_PENDING);
        set_string(object, "remedy", publisher_why(publisher));
    } else if (source->docker_why) {
        add_reason(object, REASON_LISTING);
        set_string(object, "remedy", source->docker_why);
    } else {
        add_reason(object, REASON_WRITING);
    }
}

/* Adds "restarted 7 times in 60 s, registered again at 12:01:30 if it still runs". */
static void add_crash_loop(cJSON *object, const CatalogEntry *entry)
{
    const CrashLoop *loop = &entry->crash_loop;
    bool has_health = entry->container->health != HEALTH_NONE;
    uint64_t now_us = clock_us(CLOCK_BOOTTIME), until_us = crash_loop_until_us(loop);
    time_t until = time(NULL) + (time_t)(until_us > now_us ? (until_us - now_us + 999999) / 1000000 : 0);
    struct tm local;
    CLEANUP_FREE char *text = NULL;
    char at[sizeof("00:00:00")];

    add_reason(object, REASON_CRASH_LOOP);
    if (!localtime_r(&until, &local) || strftime(at, sizeof(at), "%H:%M:%S", &local) == 0)
        return;
    text = text_format("%s %u times in %llu s, registered again at %s if it still %s",
                       has_health ? "became unhealthy or ended" : "restarted", loop->crashes,
                       (unsigned long long)((loop->up_us - loop->first_us) / 1000000), at,
                       has_health ? "is healthy" : "runs");
    set_string(object, "text", text);
}

/* Between two starts by Docker, or after the last one. */
static void add_ended(cJSON *object, const CatalogEntry *entry)
{
    bool has_health = entry->container->health != HEALTH_NONE;
    CLEANUP_FREE char *text =
        text_format("not running: it %s %u times within %d s of its start",
                    has_health ? "ended or became unhealthy" : "ended", entry->crash_loop.crashes, CRASH_WITHIN_S);

    add_reason(object, REASON_NOT_RUNNING);
    set_string(object, "text", text);
    set_string(object, "remedy",
               "Read the container's log. Docker starts the container again if its restart policy allows that.");
}

static unsigned long seconds_since(uint64_t since_us)
{
    uint64_t now_us = clock_us(CLOCK_BOOTTIME);

    return now_us > since_us ? (unsigned long)((now_us - since_us) / 1000000) : 0;
}

/* Adds the port that a probe waits for, and since when. */
static void add_not_listening(cJSON *object, const StatusSource *source, const CatalogEntry *entry,
                              const Record *record)
{
    const ReadyPort *port = readiness_find(&entry->readiness, record->container_port);
    const char *path = "", *bad = NULL;
    CLEANUP_FREE char *text = NULL;

    add_reason(object, REASON_NOT_LISTENING);
    if (record->protocol != PROTOCOL_TCP) {
        set_string(object, "text", "waits for the container's TCP ports");
        return;
    }
    if (!port)
        return;
    if (source->rules)
        (void)ready_rule(entry->container, source->rules, record->container_port, &path, &bad);
    if (port->answered && port->last == PROBE_SILENT)
        text = text_format("no probe gets an answer yet, for %lu s", seconds_since(port->since_us));
    else if (*path != '\0')
        text = text_format("GET %s: no 2xx or 3xx yet, for %lu s", path, seconds_since(port->since_us));
    else
        text = text_format("%s, for %lu s", reason_to_string(REASON_NOT_LISTENING), seconds_since(port->since_us));
    set_string(object, "text", text);
}

static void add_assumed(cJSON *object, const CatalogEntry *entry, const Record *record)
{
    const ReadyPort *port =
        record->protocol == PROTOCOL_TCP ? readiness_find(&entry->readiness, record->container_port) : NULL;

    if (port && port->state == READY_ASSUMED)
        json_set_text(object, "note",
                      "no probe got an answer: the agent assumes that the port is ready (--ready-timeout)");
}

static cJSON *record_json(const StatusSource *source, const CatalogEntry *entry, const Record *record)
{
    cJSON *object = cJSON_CreateObject();
    RecordState state = status_record_state(source, record);

    (void)cJSON_AddNumberToObject(object, "port", record->container_port);
    json_set_text(object, "protocol", protocol_to_string(record->protocol));
    json_set_text(object, "layout", record->layout);
    json_set_text(object, "key", record->key);
    json_set_text(object, "value", record->value);
    json_set_text(object, "state", record_state_to_string(state));
    switch (state) {
    case RECORD_CONFLICT:
        add_reason(object, REASON_CONFLICT);
        json_set_text(object, "holder", find_entry(source, record)->holder);
        break;
    case RECORD_REJECTED:
        add_rejected(object, find_entry(source, record)->reason);
        break;
    case RECORD_PENDING:
        add_pending(object, source);
        break;
    case RECORD_UNREGISTERED:
        if (record->reason == REASON_NOT_LISTENING)
            add_not_listening(object, source, entry, record);
        else
            add_reason(object, record->reason);
        break;
    default:
        add_assumed(object, entry, record);
        break;
    }
    return object;
}

static const char *first_reason(const cJSON *records, const char **ret_text, const char **ret_remedy)
{
    const cJSON *record, *worst = NULL;

    cJSON_ArrayForEach (record, records) {
        const char *state = json_string(record, "state");

        if (state && strcmp(state, "registered") == 0)
            return "registered";
        if (state && (!worst || strcmp(state, "unregistered") != 0))
            worst = record;
    }
    *ret_text = json_string(worst, "text");
    *ret_remedy = json_string(worst, "remedy");
    return worst ? json_string(worst, "state") : "unregistered";
}

cJSON *status_container_json(const StatusSource *source, CatalogEntry *entry)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *records = cJSON_CreateArray();
    Reason reason = catalog_reason(source->catalog, entry);
    char left_out[CONTAINER_LEFT_OUT_SIZE];
    const char *state, *text = NULL, *remedy = NULL;

    for (size_t i = 0; i < entry->records.n_items; i++)
        json_append(records, record_json(source, entry, &entry->records.items[i]));
    json_set_text(object, "id", entry->id);
    json_set_text(object, "name", entry->container ? entry->container->name : entry->id);
    json_set_text(object, "image", entry->container ? entry->container->image : NULL);
    if (!entry->container || (knowledge_is_open(&entry->knowledge) && entry->records.n_items == 0)) {
        json_set_text(object, "state", "pending");
        json_set_text(object, "text", "the agent is asking Docker about this container");
    } else if (reason != REASON_NONE) {
        json_set_text(object, "state", "unregistered");
        if (reason == REASON_CRASH_LOOP)
            add_crash_loop(object, entry);
        else if (reason == REASON_NOT_RUNNING && entry->crash_loop.crashes > 1)
            add_ended(object, entry);
        else
            add_reason(object, reason);
    } else {
        state = first_reason(records, &text, &remedy);
        json_set_text(object, "state", state);
        json_set_text(object, "text", text);
        json_set_text(object, "remedy", remedy);
    }
    if (entry->container && container_left_out(entry->container, left_out, sizeof(left_out)))
        json_set_text(object, "left_out", left_out);
    json_set(object, "records", records);
    return object;
}

Published status_published(const StatusSource *source, const CatalogEntry *entry)
{
    /* By owner, because a key that is being deleted belongs to no record. */
    if (source->publisher && publisher_owns(source->publisher, entry->id))
        return PUBLISHED_YES;
    return source->publisher && publisher_knows(source->publisher) ? PUBLISHED_NO : PUBLISHED_UNKNOWN;
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

/* Adds the facts by which a subcommand recognises this agent's keys in etcd. */
static void add_api(cJSON *object, const Store *store)
{
    char lease[32];

    json_set_text(object, "api", store_name(store));
    (void)snprintf(lease, sizeof(lease), "%" PRIx64, (uint64_t)store_lease(store));
    if (store_lease(store) != 0)
        json_set_text(object, "lease", lease);
}

static cJSON *etcd_json(Publisher *publisher)
{
    cJSON *object = cJSON_CreateObject();

    if (!publisher) {
        json_set_text(object, "state", "not opened");
        json_set_text(object, "why", "Docker has not been reached yet");
        return object;
    }
    json_set_text(object, "state", publisher_state_text(publisher));
    json_set_text(object, "why", publisher_why(publisher));
    json_set_text(object, "store", store_describe(publisher_store(publisher)));
    add_api(object, publisher_store(publisher));
    (void)cJSON_AddBoolToObject(object, "known", publisher_knows(publisher));
    (void)cJSON_AddBoolToObject(object, "idle", publisher_is_idle(publisher));
    (void)cJSON_AddNumberToObject(object, "keys", (double)publisher_registered(publisher));
    return object;
}

/* The text of the setting; NULL: not set. */
static char *only_text(const LabelMatch *only)
{
    char *text = NULL;
    size_t size;
    FILE *out = only ? open_memstream(&text, &size) : NULL;

    if (!out)
        return NULL;
    for (const LabelMatch *match = only; match->label; match++)
        fprintf(out, "%s%s%s%s", match == only ? "" : ",", match->label, match->value ? "=" : "",
                match->value ? match->value : "");
    (void)fclose(out);
    return text;
}

static void add_layout(cJSON *object, const Layout *layout)
{
    json_set_text(object, "key", template_text(layout->key));
    json_set_text(object, "value", template_text(layout->value));
    json_set_text(object, "service", template_text(layout->service));
}

/* Adds the rules, so that a subcommand can derive the records of Docker's containers. */
static cJSON *rules_json(const Rules *rules)
{
    cJSON *object = cJSON_CreateObject();
    CLEANUP_FREE char *only = only_text(rules->only);

    cJSON *layouts = cJSON_CreateArray();

    add_layout(object, &rules->layouts[0]);
    for (size_t i = 1; i < rules->n_layouts; i++) {
        cJSON *layout = cJSON_CreateObject();

        json_set_text(layout, "name", rules->layouts[i].name);
        add_layout(layout, &rules->layouts[i]);
        json_append(layouts, layout);
    }
    json_set(object, "layouts", layouts);
    (void)cJSON_AddBoolToObject(object, "internal", rules->ports == PORTS_INTERNAL);
    (void)cJSON_AddBoolToObject(object, "explicit", rules->explicit_only);
    json_set_text(object, "only", only);
    return object;
}

cJSON *status_json(const StatusSource *source)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *docker;

    if (!object)
        return NULL;
    json_set_text(object, "version", PACKAGE_VERSION);
    json_set_text(object, "node", source->node);
    docker = cJSON_AddObjectToObject(object, "docker");
    json_set_text(docker, "url", source->docker_url);
    json_set_text(docker, "api", source->docker_api);
    (void)cJSON_AddBoolToObject(docker, "connected", !source->docker_why);
    json_set_text(docker, "why", source->docker_why);
    json_set(object, "etcd", etcd_json(source->publisher));
    if (source->rules)
        json_set(object, "rules", rules_json(source->rules));
    json_set_text(object, "address4", source->address4);
    json_set_text(object, "address6", source->address6);
    (void)cJSON_AddBoolToObject(object, "drained", source->host_drained);
    json_set(object, "containers", containers_json(source));
    return object;
}
