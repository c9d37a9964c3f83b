#include "catalog/catalog_private.h"

#include "base/grow.h"

#include <errno.h>
#include <string.h>

int catalog_new(Catalog **ret, const Rules *rules, const CatalogSink *sink)
{
    Catalog *catalog = calloc(1, sizeof(*catalog));

    if (!catalog)
        return -ENOMEM;
    catalog->rules = rules;
    catalog->sink = *sink;
    questions_init(&catalog->questions);
    probes_init(&catalog->probes);
    SLIST_INIT(&catalog->newly_ready);
    SLIST_INIT(&catalog->delayed);
    catalog->next_delay_us = UINT64_MAX;
    SLIST_INIT(&catalog->dispossessed);
    catalog->next_limit_us = UINT64_MAX;
    if (claims_new(&catalog->claims) < 0) {
        free(catalog);
        return -ENOMEM;
    }
    *ret = catalog;
    return 0;
}

void catalog_ask(Catalog *catalog, CatalogEntry *entry)
{
    knowledge_move(&catalog->questions, &entry->knowledge, KNOWLEDGE_NEWS);
}

bool catalog_is_stopped(const CatalogEntry *entry)
{
    return entry->container && entry->container->state == CONTAINER_STOPPED;
}

CatalogEntry *catalog_find_entry(Catalog *catalog, const char *id)
{
    CatalogEntry *entry;

    HASH_FIND_STR(catalog->entries, id, entry);
    return entry;
}

static size_t find_drained(const Catalog *catalog, const char *id)
{
    for (size_t i = 0; i < catalog->n_drained; i++)
        if (strcmp(catalog->drained[i], id) == 0)
            return i;
    return SIZE_MAX;
}

static int remember_drain(Catalog *catalog, const char *id)
{
    if (find_drained(catalog, id) != SIZE_MAX)
        return 0;
    if (catalog->n_drained >= CATALOG_DRAINED_MAX)
        return -ENOBUFS;
    if (array_grow(&catalog->drained, catalog->n_drained, sizeof(char *)) < 0)
        return -ENOMEM;
    catalog->drained[catalog->n_drained] = strdup(id);
    if (!catalog->drained[catalog->n_drained])
        return -ENOMEM;
    catalog->n_drained++;
    return 0;
}

void catalog_forget_drain(Catalog *catalog, const char *id)
{
    size_t i = find_drained(catalog, id);

    if (i == SIZE_MAX)
        return;
    free(catalog->drained[i]);
    catalog->drained[i] = catalog->drained[--catalog->n_drained];
}

CatalogEntry *catalog_add_entry(Catalog *catalog, const char *id)
{
    CatalogEntry *entry;

    if (HASH_COUNT(catalog->entries) >= CATALOG_CONTAINERS_MAX) {
        catalog->n_left_out++;
        return NULL;
    }
    entry = calloc(1, sizeof(*entry));
    if (!entry)
        return NULL; /* the next list shows the container again */
    (void)snprintf(entry->id, sizeof(entry->id), "%s", id);
    if (find_drained(catalog, id) != SIZE_MAX)
        entry->drain = DRAIN_BY_OPERATOR;
    HASH_ADD_STR(catalog->entries, id, entry);
    if (entry->hh.tbl) {
        knowledge_init(&catalog->questions, &entry->knowledge, entry->id);
        return entry;
    }
    free(entry);
    return NULL;
}

static void count_container(Catalog *catalog, const CatalogEntry *entry, int change)
{
    if (catalog_is_stopped(entry))
        catalog->n_stopped += (size_t)change;
    else if (entry->container)
        catalog->n_running += (size_t)change;
}

void catalog_set_container(Catalog *catalog, CatalogEntry *entry, Container *container)
{
    count_container(catalog, entry, -1);
    container_free(entry->container);
    entry->container = container;
    count_container(catalog, entry, 1);
}

void catalog_set_state(Catalog *catalog, CatalogEntry *entry, ContainerState state)
{
    if (!entry->container)
        return;
    count_container(catalog, entry, -1);
    entry->container->state = state;
    count_container(catalog, entry, 1);
}

const StopRules *catalog_stop_rules(const Catalog *catalog, const CatalogEntry *entry, StopRules *ret)
{
    if (!entry->container || !entry->container->complete)
        return NULL;
    *ret = (StopRules){
        .signal = entry->container->stop_signal,
        .timeout_s = entry->container->stop_timeout_s,
        .limit_s = catalog->rules->stop_limit_s,
    };
    return ret;
}

void catalog_life_begin(Catalog *catalog, const CatalogEntry *entry)
{
    catalog->n_stopping -= entry->life.state == LIFE_STOPPING;
    catalog->stops_version += entry->life.state == LIFE_STOPPING;
}

void catalog_life_end(Catalog *catalog, const CatalogEntry *entry)
{
    const Life *life = &entry->life;

    catalog->n_stopping += life->state == LIFE_STOPPING;
    catalog->stops_version += life->state == LIFE_STOPPING;
    if (life->state == LIFE_STOPPING && life->until_us < catalog->next_limit_us)
        catalog->next_limit_us = life->until_us;
}

static void free_entry(Catalog *catalog, CatalogEntry *entry)
{
    HASH_DEL(catalog->entries, entry);
    knowledge_remove(&catalog->questions, &entry->knowledge);
    catalog_life_begin(catalog, entry);
    catalog_set_container(catalog, entry, NULL);
    catalog->n_kept_back -= catalog_is_kept_back(entry);
    catalog->bytes -= entry->records.bytes;
    records_clear(&entry->records);
    readiness_clear(&catalog->probes, &entry->readiness);
    catalog_end_delay(catalog, entry);
    if (entry->is_newly_ready)
        SLIST_REMOVE(&catalog->newly_ready, entry, CatalogEntry, newly_ready);
    free(entry);
}

void catalog_remove_entry(Catalog *catalog, CatalogEntry *entry)
{
    char id[sizeof(entry->id)];

    memcpy(id, entry->id, sizeof(id));
    catalog_set_container(catalog, entry, NULL);
    (void)catalog_evaluate(catalog, entry);
    free_entry(catalog, entry);
    if (claims_forget(catalog->claims, id))
        catalog_evaluate_waiting(catalog);
}

Catalog *catalog_free(Catalog *catalog)
{
    if (!catalog)
        return NULL;
    while (catalog->entries)
        free_entry(catalog, catalog->entries);
    claims_free(catalog->claims);
    for (size_t i = 0; i < catalog->n_drained; i++)
        free(catalog->drained[i]);
    free(catalog->drained);
    free(catalog);
    return NULL;
}

void catalog_set_rules(Catalog *catalog, const Rules *rules, bool inspect)
{
    catalog->rules = rules;
    if (!inspect) {
        catalog_evaluate_all(catalog);
        return;
    }
    catalog->rules_version++;
    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next) {
        knowledge_touch(&catalog->questions, &entry->knowledge);
        catalog_ask(catalog, entry);
    }
}

/* The operator's drains, and Docker's absence. */

void catalog_set_docker_away(Catalog *catalog, bool away)
{
    if (catalog->docker_away == away)
        return;
    catalog->docker_away = away;
    /* When Docker is back, its list shows which containers run on unchanged. The other containers may have died, so
     * their state is unknown until they are inspected. */
    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next)
        entry->knowledge.away = away || (entry->knowledge.away && knowledge_is_open(&entry->knowledge));
    catalog_evaluate_all(catalog);
}

int catalog_drain(Catalog *catalog, const char *id, Drain drain)
{
    CatalogEntry *entry = catalog_find_entry(catalog, id);

    if (drain == DRAIN_BY_OPERATOR) {
        int r = remember_drain(catalog, id);

        if (r < 0)
            return r;
    } else {
        catalog_forget_drain(catalog, id);
    }
    if (entry) {
        entry->drain = drain;
        catalog_life_begin(catalog, entry);
        if (drain == DRAIN_NONE)
            (void)life_move(&entry->life,
                            LIFE_RETURN); /* the operator can also undrain a container that outlives its stop */
        catalog_life_end(catalog, entry);
        (void)catalog_evaluate(catalog, entry);
    }
    return 0;
}

size_t catalog_drained(const Catalog *catalog, char *const **ret_ids)
{
    *ret_ids = catalog->drained;
    return catalog->n_drained;
}

static CatalogEntry *find_or_add(Catalog *catalog, const char *id)
{
    CatalogEntry *entry = catalog_find_entry(catalog, id);

    return entry ? entry : catalog_add_entry(catalog, id);
}

int catalog_resume_stop(Catalog *catalog, const char *id, int64_t started_ns, uint64_t signalled_us)
{
    CatalogEntry *entry = find_or_add(catalog, id);

    if (!entry)
        return -ENOMEM;
    if (!entry->container)
        life_resume_stop(&entry->life, started_ns, signalled_us);
    return 0;
}

int catalog_resume_return(Catalog *catalog, const char *id, int64_t returned_ns)
{
    CatalogEntry *entry = find_or_add(catalog, id);

    if (!entry)
        return -ENOMEM;
    if (!entry->container)
        entry->life.returned_ns = returned_ns;
    return 0;
}

uint64_t catalog_stops_version(const Catalog *catalog)
{
    return catalog->stops_version;
}

bool catalog_is_host_drained(const Catalog *catalog)
{
    return catalog->host_drained;
}

void catalog_set_host_drained(Catalog *catalog, bool drained)
{
    catalog->host_drained = drained;
    catalog_evaluate_all(catalog);
}

/* Lookups. */

CatalogEntry *catalog_first(Catalog *catalog)
{
    return catalog->entries;
}

size_t catalog_size(const Catalog *catalog)
{
    return HASH_COUNT(catalog->entries);
}

size_t catalog_running(const Catalog *catalog)
{
    return catalog->n_running;
}

CatalogEntry *catalog_find(Catalog *catalog, const char *name_or_id)
{
    CatalogEntry *by_id = catalog_find_entry(catalog, name_or_id), *by_prefix = NULL;
    size_t size = strlen(name_or_id);
    bool unique = true;

    if (by_id)
        return by_id;
    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next) {
        if (entry->container && strcmp(entry->container->name, name_or_id) == 0)
            return entry;
        if (size >= 4 && strncmp(entry->id, name_or_id, size) == 0) {
            unique = unique && !by_prefix;
            by_prefix = entry;
        }
    }
    return unique ? by_prefix : NULL;
}
