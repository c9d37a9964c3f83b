/* Crash loops: containers that end or become unhealthy again and again. The agent registers such a container only
 * after the container has run for a while. */
#include "catalog/catalog_private.h"

void catalog_crash(Catalog *catalog, CatalogEntry *entry, CrashInput input)
{
    crash_loop_move(&entry->crash_loop, input, catalog->now_us);
}

bool catalog_is_delayed(const Catalog *catalog, const CatalogEntry *entry)
{
    return crash_loop_until_us(&entry->crash_loop) > catalog->now_us;
}

void catalog_wait_for_delay(Catalog *catalog, CatalogEntry *entry)
{
    uint64_t until_us = crash_loop_until_us(&entry->crash_loop);

    if (until_us < catalog->next_delay_us) {
        catalog->next_delay_us = until_us;
        if (catalog->sink.due)
            catalog->sink.due(catalog->sink.userdata);
    }
    if (entry->is_delayed)
        return;
    entry->is_delayed = true;
    SLIST_INSERT_HEAD(&catalog->delayed, entry, delayed);
}

void catalog_end_delay(Catalog *catalog, CatalogEntry *entry)
{
    if (entry->is_delayed)
        SLIST_REMOVE(&catalog->delayed, entry, CatalogEntry, delayed);
    entry->is_delayed = false;
}

/* catalog_evaluate() puts the containers that are still delayed back into the list. */
static void look_again(Catalog *catalog)
{
    SLIST_HEAD(, CatalogEntry) waiting;
    CatalogEntry *entry;

    SLIST_FIRST(&waiting) = SLIST_FIRST(&catalog->delayed);
    SLIST_INIT(&catalog->delayed);
    catalog->next_delay_us = UINT64_MAX;
    while ((entry = SLIST_FIRST(&waiting))) {
        SLIST_REMOVE_HEAD(&waiting, delayed);
        entry->is_delayed = false;
        (void)catalog_evaluate(catalog, entry);
    }
}

uint64_t catalog_expire_delays(Catalog *catalog, uint64_t now_us)
{
    if (catalog->next_delay_us <= now_us)
        look_again(catalog);
    return catalog->next_delay_us < UINT64_MAX ? catalog->next_delay_us : 0;
}
