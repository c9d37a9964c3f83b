/* make_records() decides whether a container is registered. The records become wishes: the keys that the publisher
 * should write, and the keys that it should delete. */
#include "catalog/catalog_private.h"

#include <errno.h>
#include <string.h>

/* Reasons that the container's facts do not show. They come before the reasons of the container. */
static Reason own_reason(const Catalog *catalog, const CatalogEntry *entry)
{
    if (catalog_is_stopped(entry))
        return REASON_NOT_RUNNING;
    if (entry->knowledge.away)
        return REASON_DOCKER_AWAY;
    if (life_is_stopping(&entry->life))
        return REASON_STOPPING;
    if (entry->drain != DRAIN_NONE)
        return entry->drain == DRAIN_BY_OPERATOR ? REASON_DRAINED : REASON_DRAINING;
    if (catalog->host_drained)
        return REASON_HOST_DRAINED;
    return catalog_is_delayed(catalog, entry) ? REASON_CRASH_LOOP : REASON_NONE;
}

Reason catalog_reason(const Catalog *catalog, const CatalogEntry *entry)
{
    Reason reason = own_reason(catalog, entry);

    return reason != REASON_NONE ? reason : entry->records.reason;
}

static void dispossess(Catalog *catalog, const char *id)
{
    CatalogEntry *entry = catalog_find_entry(catalog, id);

    if (!entry || entry->is_dispossessed)
        return;
    entry->is_dispossessed = true;
    SLIST_INSERT_HEAD(&catalog->dispossessed, entry, dispossessed);
}

/* Returns 0 or -ENOMEM. Sets record->reason if the container cannot have the key. */
static int claim_record(Catalog *catalog, const Claimant *claimant, Record *record, size_t free_bytes)
{
    char previous[sizeof(claimant->id)];
    int r;

    if (record->reason != REASON_NONE)
        return 0;
    if (strlen(record->key) + strlen(record->value) > free_bytes) {
        record->reason = REASON_HOST_LIMIT;
        return 0;
    }
    r = claims_take(catalog->claims, record->key, claimant, previous);
    if (r == CLAIM_WAITS)
        record->reason = REASON_DUPLICATE;
    if (r == CLAIM_TAKEN_OVER)
        dispossess(catalog, previous);
    return r < 0 ? r : 0;
}

/* Claims the keys of all records. With -ENOMEM, the container keeps only keys that it had before. */
static int claim_keys(Catalog *catalog, CatalogEntry *entry, Records *records)
{
    size_t free_bytes = RECORDS_HOST_MAX - (catalog->bytes - entry->records.bytes);
    Claimant claimant = { .created_ns = entry->container ? entry->container->created_ns : 0 };

    (void)snprintf(claimant.id, sizeof(claimant.id), "%s", entry->id);
    records->bytes = 0;
    for (size_t i = 0; i < records->n_items; i++) {
        Record *record = &records->items[i];
        int r = claim_record(catalog, &claimant, record, free_bytes - records->bytes);

        if (r >= 0 && record->reason == REASON_NONE)
            records->bytes += strlen(record->key) + strlen(record->value);
        if (r >= 0)
            continue;
        while (i-- > 0)
            if (records->items[i].reason == REASON_NONE &&
                !records_find(&entry->records, REASON_NONE, records->items[i].key))
                claims_release(catalog->claims, records->items[i].key, entry->id);
        return r;
    }
    return 0;
}

/* Derives the records from the container's facts and the catalog's own reasons. 0 or -ENOMEM. */
static int make_records(Catalog *catalog, CatalogEntry *entry, Records *ret)
{
    Reason reason;
    int r;

    *ret = (Records){ .reason = REASON_NONE };
    if (!entry->container || catalog_is_stopped(entry))
        readiness_clear(&catalog->probes, &entry->readiness);
    /* A list entry lacks the environment, the stop signal and more, so records come from inspects only. */
    if (!entry->container || !entry->container->complete)
        return 0;
    r = catalog_adopt_health(catalog, entry);
    if (r >= 0)
        r = records_from_container(ret, entry->container, catalog->rules);
    if (r < 0)
        return r;
    reason = own_reason(catalog, entry);
    if (reason == REASON_NONE)
        reason = ret->reason;
    ret->reason = reason;
    for (size_t i = 0; i < ret->n_items; i++) {
        Record *record = &ret->items[i];

        if (record->reason == REASON_NONE)
            record->reason = reason;
    }
    r = catalog_judge_ready(catalog, entry, ret);
    if (reason == REASON_CRASH_LOOP)
        catalog_wait_for_delay(catalog, entry);
    if (r >= 0)
        r = claim_keys(catalog, entry, ret);
    if (r < 0)
        records_clear(ret);
    return r;
}

/* Do the present rules need labels that the agent has not kept? Then the container keeps its keys until the inspect
 * that the new rules caused. All reasons to deregister the container still count. */
static bool keeps_records(const Catalog *catalog, const CatalogEntry *entry)
{
    const Container *container = entry->container;

    return container && container->complete && entry->rules_version != catalog->rules_version &&
           own_reason(catalog, entry) == REASON_NONE && container->state == CONTAINER_RUNNING &&
           (container->health == HEALTH_NONE || container->health == HEALTH_HEALTHY);
}

bool catalog_is_kept_back(const CatalogEntry *entry)
{
    for (size_t i = 0; i < entry->records.n_items; i++)
        if (entry->records.items[i].reason == REASON_DUPLICATE || entry->records.items[i].reason == REASON_HOST_LIMIT)
            return true;
    return false;
}

static bool is_bound(Reason reason)
{
    return reason == REASON_METADATA_SIZE || reason == REASON_TOO_LONG || reason == REASON_CONTAINER_LIMIT ||
           reason == REASON_HOST_LIMIT;
}

/* Names the limit that leaves out a part of the container; NULL: no limit does. */
static const char *find_bound(const CatalogEntry *entry, char *buffer, size_t size)
{
    if (entry->container && container_left_out(entry->container, buffer, size))
        return buffer;
    if (is_bound(entry->records.reason))
        return reason_to_string(entry->records.reason);
    for (size_t i = 0; i < entry->records.n_items; i++)
        if (is_bound(entry->records.items[i].reason))
            return reason_to_string(entry->records.items[i].reason);
    return NULL;
}

static void tell_bound(const Catalog *catalog, CatalogEntry *entry)
{
    char buffer[CONTAINER_LEFT_OUT_SIZE];
    const char *what = find_bound(entry, buffer, sizeof(buffer));

    if (what && !entry->warned.limit)
        catalog->sink.left_out(catalog->sink.userdata, entry, what);
    entry->warned.limit = what;
}

static bool want_records(Catalog *catalog, CatalogEntry *entry, const Records *old, const char **ret_successor)
{
    const Records *new = &entry->records;
    bool changed = false;

    for (size_t i = 0; i < new->n_items; i++) {
        const Record *record = &new->items[i], *before;

        if (record->reason == REASON_DUPLICATE && !records_find(old, REASON_DUPLICATE, record->key))
            catalog->sink.duplicate(catalog->sink.userdata, entry, record->key);
        if (record->reason != REASON_NONE)
            continue;
        before = records_find(old, REASON_NONE, record->key);
        if (!before)
            *ret_successor = record->key;
        if (before && strcmp(before->value, record->value) == 0)
            continue;
        catalog->sink.want(catalog->sink.userdata, entry, record->key, record->value);
        changed = true;
    }
    return changed;
}

/* A stopping container may be restarting, so its claims stay for CLAIM_RESERVED_US. With a layout whose keys lack
 * the container's name, several containers share a key on purpose, so the next container takes the key at once. */
static bool drop_claim(Catalog *catalog, const CatalogEntry *entry, const Record *record)
{
    bool may_restart = catalog_is_stopped(entry) || life_is_stopping(&entry->life);

    if (may_restart && record->names_container) {
        claims_reserve(catalog->claims, record->key, entry->id, catalog->now_us + CLAIM_RESERVED_US);
        return false;
    }
    claims_release(catalog->claims, record->key, entry->id);
    return true;
}

static bool unwant_records(Catalog *catalog, CatalogEntry *entry, const Records *old, const char *successor,
                           bool *ret_released)
{
    bool changed = false;

    for (size_t i = 0; i < old->n_items; i++) {
        const Record *record = &old->items[i];

        if (record->key && record->reason == REASON_STOPPING && catalog_is_stopped(entry))
            (void)drop_claim(catalog, entry, record); /* the reservation counts again from the death on */
        if (record->reason != REASON_NONE || records_find(&entry->records, REASON_NONE, record->key))
            continue;
        changed = true;
        /* An older container has taken the key, and its wish has replaced this one. */
        if (!claims_owns(catalog->claims, record->key, entry->id))
            continue;
        catalog->sink.unwant(catalog->sink.userdata, entry, record->key, successor);
        if (drop_claim(catalog, entry, record))
            *ret_released = true;
    }
    return changed;
}

static bool evaluate_one(Catalog *catalog, CatalogEntry *entry, bool *ret_released)
{
    Records old = entry->records, new;
    const char *successor = NULL;
    bool changed;

    if (keeps_records(catalog, entry))
        return false;
    if (make_records(catalog, entry, &new) < 0) {
        /* Without memory, the keys stay unchanged until the next answer. */
        knowledge_move(&catalog->questions, &entry->knowledge, KNOWLEDGE_FAILURE);
        return false;
    }
    catalog->n_kept_back -= catalog_is_kept_back(entry);
    entry->records = new;
    catalog->bytes += new.bytes - old.bytes;
    *ret_released = *ret_released || new.bytes < old.bytes;
    catalog->n_kept_back += catalog_is_kept_back(entry);
    changed = want_records(catalog, entry, &old, &successor);
    changed = unwant_records(catalog, entry, &old, successor, ret_released) || changed;
    records_clear(&old);
    tell_bound(catalog, entry);
    if (!knowledge_is_open(&entry->knowledge) && !catalog_is_unprobed(entry))
        entry->event_ns = 0; /* later changes have another cause */
    return changed;
}

static void evaluate_dispossessed(Catalog *catalog, bool *ret_released)
{
    CatalogEntry *entry;

    while ((entry = SLIST_FIRST(&catalog->dispossessed))) {
        SLIST_REMOVE_HEAD(&catalog->dispossessed, dispossessed);
        entry->is_dispossessed = false;
        (void)evaluate_one(catalog, entry, ret_released);
    }
}

void catalog_evaluate_waiting(Catalog *catalog)
{
    bool released = true;

    while (released && catalog->n_kept_back > 0) {
        released = false;
        for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next)
            if (catalog_is_kept_back(entry))
                (void)evaluate_one(catalog, entry, &released);
        evaluate_dispossessed(catalog, &released);
    }
}

bool catalog_evaluate(Catalog *catalog, CatalogEntry *entry)
{
    bool released = false;
    bool changed = evaluate_one(catalog, entry, &released);

    evaluate_dispossessed(catalog, &released);
    if (released)
        catalog_evaluate_waiting(catalog);
    return changed;
}

void catalog_evaluate_all(Catalog *catalog)
{
    bool released = false;

    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next)
        (void)evaluate_one(catalog, entry, &released);
    evaluate_dispossessed(catalog, &released);
    if (released)
        catalog_evaluate_waiting(catalog);
}
