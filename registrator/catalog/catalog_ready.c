/* Which ports are ready. The catalog asks for a probe of each port that it would register, and this file handles the
 * answers. */
#include "catalog/catalog_private.h"
#include "catalog/ready_rules.h"

#include <errno.h>
#include <stdio.h>

/* The latency from Docker's event counts only if the port becomes ready within this time. A slower port says nothing
 * about the agent. */
enum { BOOT_US = 500000 };

/* 0, 1 (ready) or -ENOMEM. */
static int judge_tcp(Catalog *catalog, CatalogEntry *entry, const Record *record)
{
    const char *path, *bad = NULL;
    ReadyPort *port;
    ReadyRule rule = ready_rule(entry->container, catalog->rules, record->container_port, &path, &bad);

    if (bad && !entry->warned.label)
        catalog->sink.probed(catalog->sink.userdata, entry, CATALOG_LABEL, record->container_port, bad);
    entry->warned.label = entry->warned.label || bad;
    port = readiness_want(&catalog->probes, &entry->readiness, entry->id, record->container_port, catalog->now_us);
    if (!port)
        return -ENOMEM;
    if (!ready_is_ready(port) &&
        (rule == READY_RULE_NONE ||
         (!entry->has_started && catalog->sink.inherits(catalog->sink.userdata, record->key, record->value))))
        ready_move(&catalog->probes, port, READY_ADOPT, catalog->now_us);
    return ready_is_ready(port);
}

/* UDP and SCTP ports are ready when the first TCP port is ready; without a TCP port, at once. */
static void judge_others(Records *records)
{
    for (size_t i = 0; i < records->n_items; i++)
        if (records->items[i].reason == REASON_NONE && records->items[i].protocol != PROTOCOL_TCP)
            records->items[i].reason = REASON_NOT_LISTENING;
}

int catalog_judge_ready(Catalog *catalog, CatalogEntry *entry, Records *records)
{
    size_t n_waiting = catalog->probes.n_waiting;
    bool has_tcp = false, has_ready = false;
    int r = 0;

    readiness_start(&catalog->probes, &entry->readiness, entry->container->started_ns);
    for (size_t i = 0; i < records->n_items && r >= 0 && entry->container->health == HEALTH_NONE; i++) {
        Record *record = &records->items[i];

        if (record->reason != REASON_NONE || record->protocol != PROTOCOL_TCP)
            continue;
        r = judge_tcp(catalog, entry, record);
        has_tcp = true;
        has_ready = has_ready || r > 0;
        if (r == 0)
            record->reason = REASON_NOT_LISTENING;
    }
    /* An earlier run of the agent may have registered a later record of the same port. */
    for (size_t i = 0; i < records->n_items; i++) {
        Record *record = &records->items[i];
        const ReadyPort *port =
            record->reason == REASON_NOT_LISTENING ? readiness_find(&entry->readiness, record->container_port) : NULL;

        if (port && ready_is_ready(port))
            record->reason = REASON_NONE;
    }
    if (has_tcp && !has_ready)
        judge_others(records);
    if (r >= 0)
        readiness_sweep(&catalog->probes, &entry->readiness);
    if (catalog->probes.n_waiting > n_waiting)
        catalog->sink.due(catalog->sink.userdata);
    return r < 0 ? r : 0;
}

/* Is the health state still unknown after a start that an earlier run of the agent may have seen? */
static bool lacks_health(const CatalogEntry *entry)
{
    return entry->container && entry->container->health == HEALTH_STARTING && !entry->has_started;
}

int catalog_adopt_health(Catalog *catalog, CatalogEntry *entry)
{
    Records records;
    bool inherits = false;
    int r;

    if (!lacks_health(entry))
        return 0;
    entry->container->health = HEALTH_HEALTHY;
    r = records_from_container(&records, entry->container, catalog->rules);
    for (size_t i = 0; r >= 0 && i < records.n_items && !inherits; i++) {
        const Record *record = &records.items[i];

        inherits =
            record->reason == REASON_NONE && catalog->sink.inherits(catalog->sink.userdata, record->key, record->value);
    }
    if (!inherits)
        entry->container->health = HEALTH_STARTING;
    if (r >= 0)
        records_clear(&records);
    return r;
}

bool catalog_is_unprobed(const CatalogEntry *entry)
{
    for (size_t i = 0; i < entry->readiness.n_ports; i++)
        if (!ready_is_ready(entry->readiness.ports[i]))
            return true;
    return false;
}

bool catalog_next_probe(Catalog *catalog, uint64_t now_us, ProbeQuestion *ret, uint64_t *ret_due_us)
{
    ReadyPort *port = probes_take(&catalog->probes, now_us);
    const CatalogEntry *entry;

    if (!port) {
        *ret_due_us = probes_due_us(&catalog->probes);
        return false;
    }
    entry = catalog_find_entry(catalog, port->id);
    *ret = (ProbeQuestion){ .container_port = port->port, .ticket = port->ticket };
    (void)snprintf(ret->id, sizeof(ret->id), "%s", port->id);
    ready_targets(ret, entry->container, catalog->rules, port->port);
    return true;
}

static void want_later(Catalog *catalog, CatalogEntry *entry)
{
    if (entry->is_newly_ready)
        return;
    entry->is_newly_ready = true;
    SLIST_INSERT_HEAD(&catalog->newly_ready, entry, newly_ready);
}

static void judge_answer(Catalog *catalog, CatalogEntry *entry, ReadyPort *port, ProbeOutcome outcome, uint64_t now_us)
{
    if (ready_answer(&catalog->probes, port, outcome, (uint64_t)catalog->rules->ready_timeout_s * 1000000, now_us)) {
        if (port->state == READY_ASSUMED)
            catalog->sink.probed(catalog->sink.userdata, entry, CATALOG_ASSUMED, port->port, NULL);
        want_later(catalog, entry);
        return;
    }
    if (now_us - port->since_us >= BOOT_US && !knowledge_is_open(&entry->knowledge))
        entry->event_ns = 0;
    if (now_us - port->since_us < (uint64_t)READY_WARN_S * 1000000 || port->warned)
        return;
    port->warned = true;
    catalog->sink.probed(catalog->sink.userdata, entry, CATALOG_NOT_LISTENING, port->port, NULL);
}

bool catalog_probed(Catalog *catalog, const ProbeQuestion *question, ProbeOutcome outcome, uint64_t now_us)
{
    CatalogEntry *entry = catalog_find_entry(catalog, question->id);
    ReadyPort *port = entry ? readiness_find(&entry->readiness, question->container_port) : NULL;
    size_t n_unanswered = catalog->probes.n_unanswered;

    if (entry)
        readiness_end_probe(&catalog->probes, &entry->readiness);
    /* Drops the answer if it belongs to another start, or if the port is no longer wanted. */
    if (port && port->state == READY_ASKED && port->ticket == question->ticket)
        judge_answer(catalog, entry, port, outcome, now_us);
    return !SLIST_EMPTY(&catalog->newly_ready) || catalog->probes.n_unanswered < n_unanswered;
}

void catalog_want_ready(Catalog *catalog)
{
    CatalogEntry *entry;

    while ((entry = SLIST_FIRST(&catalog->newly_ready))) {
        SLIST_REMOVE_HEAD(&catalog->newly_ready, newly_ready);
        entry->is_newly_ready = false;
        (void)catalog_evaluate(catalog, entry);
    }
}

bool catalog_awaits_answers(const Catalog *catalog)
{
    return catalog->probes.n_unanswered > 0 || !SLIST_EMPTY(&catalog->newly_ready);
}

void catalog_adopt(Catalog *catalog)
{
    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next)
        if (catalog_is_unprobed(entry) || lacks_health(entry))
            (void)catalog_evaluate(catalog, entry);
}
