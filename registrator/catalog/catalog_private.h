/* What the catalog's own files share: catalog.c (containers and the operator), catalog_event.c (what Docker announces),
 * catalog_answer.c (what Docker answers), catalog_ready.c (which ports are ready) and catalog_wishes.c (the keys that follow). */
#pragma once

/* uthash would end the process where memory is short. With this, it skips the item, and hh.tbl stays NULL. */
#define HASH_NONFATAL_OOM 1

#include "catalog/catalog.h"
#include "catalog/claims.h"

#include <sys/queue.h>

struct Catalog {
    const Rules *rules;
    CatalogSink sink;
    CatalogEntry *entries;
    Claims *claims;
    SLIST_HEAD(, CatalogEntry) dispossessed; /* an older container has taken over a key of theirs */
    SLIST_HEAD(, CatalogEntry) delayed; /* they wait for the end of a crash loop's delay */
    uint64_t next_delay_us; /* no such delay ends before this */
    SLIST_HEAD(, CatalogEntry) settled; /* a port of theirs has become ready */
    Questions questions;
    Probes probes;
    uint64_t now_us; /* CLOCK_BOOTTIME, as last told */
    uint64_t list_begin; /* the clock when the list under way was asked for; 0: none is */
    uint64_t rules_version; /* counts the changes of what is read of a container */
    size_t n_left_out; /* containers that CATALOG_CONTAINERS_MAX left out since the last list began */
    /* Of the entries, so that what comes with each event need not look at all of them. */
    size_t n_stopped, n_running, n_kept_back, n_stopping;
    size_t bytes; /* of all keys and values that are wanted: RECORDS_HOST_MAX at most */
    uint64_t stops_version; /* counts the changes of stops in progress */
    uint64_t next_limit_us; /* no stop limit passes before this */
    bool docker_away, host_drained;
    char **drained; /* IDs of containers that the operator has drained */
    size_t n_drained;
};

/* catalog.c */
CatalogEntry *catalog_find_entry(Catalog *catalog, const char *id);
CatalogEntry *catalog_add_entry(Catalog *catalog,
                                const char *id); /* NULL: no room, or no memory: a later list brings it */
void catalog_remove_entry(Catalog *catalog, CatalogEntry *entry);
void catalog_set_container(Catalog *catalog, CatalogEntry *entry, Container *container); /* takes it */
void catalog_set_state(Catalog *catalog, CatalogEntry *entry, ContainerState state);
bool catalog_is_stopped(const CatalogEntry *entry);
void catalog_forget_drain(Catalog *catalog, const char *id);
void catalog_ask(Catalog *catalog, CatalogEntry *entry); /* because of an event that only an inspect can explain */

/* Before and after each change of entry->life. */
void catalog_life_begin(Catalog *catalog, const CatalogEntry *entry);
void catalog_life_end(Catalog *catalog, const CatalogEntry *entry);
/* How the container wants to be stopped; NULL: not inspected yet. */
const StopRules *catalog_stop_rules(const Catalog *catalog, const CatalogEntry *entry, StopRules *ret);

/* catalog_event.c: there is no such container any more. */
void catalog_forget_entry(Catalog *catalog, CatalogEntry *entry);
/* The container has started. */
void catalog_begin_life(Catalog *catalog, CatalogEntry *entry);

/* catalog_wishes.c: compares what the entry's facts come to with its keys, and tells the sink. True: something changed. */
bool catalog_evaluate(Catalog *catalog, CatalogEntry *entry);
void catalog_evaluate_all(Catalog *catalog);
/* Those that wait for a key or bytes of another container: they may be free now. */
void catalog_evaluate_waiting(Catalog *catalog);
/* Does one of its keys wait for another container to leave a key, or bytes? */
bool catalog_is_kept_back(const CatalogEntry *entry);

/* catalog_delay.c: what made the container come up, or go down. */
void catalog_crash(Catalog *catalog, CatalogEntry *entry, CrashInput input);
/* Is the container not registered yet, because it has crashed before? */
bool catalog_is_delayed(const Catalog *catalog, const CatalogEntry *entry);
/* It is looked at again when its delay ends. */
void catalog_wait_for_delay(Catalog *catalog, CatalogEntry *entry);
void catalog_end_delay(Catalog *catalog, CatalogEntry *entry);
/* Looks at those whose delay has ended. Returns when the next one ends; 0: there is none. */
uint64_t catalog_expire_delays(Catalog *catalog, uint64_t now_us);

/* catalog_ready.c: gives the records whose ports are not ready that reason. 0 or -ENOMEM. */
int catalog_judge_ready(Catalog *catalog, CatalogEntry *entry, Records *records);
/* dockerd 25 and newer: after a restart with live-restore, the health is "starting" until the next check, although the
 * container never stopped. It counts as healthy if an earlier run of the agent has registered a key of it. 0 or -ENOMEM. */
int catalog_adopt_health(Catalog *catalog, CatalogEntry *entry);
/* Is a port of it about to be probed, so that its key comes of the same event? */
bool catalog_is_unprobed(const CatalogEntry *entry);
