/* What the files of the catalog share. catalog.c: containers and the operator. catalog_event.c: Docker's events.
 * catalog_answer.c: Docker's answers. catalog_delay.c: crash loops. catalog_ready.c: which ports are ready.
 * catalog_wishes.c: the wanted keys. */
#pragma once

/* With HASH_NONFATAL_OOM, uthash skips the item when memory runs out, and hh.tbl stays NULL. The default ends the
 * process. */
#define HASH_NONFATAL_OOM 1

#include "catalog/catalog.h"
#include "catalog/claims.h"

#include <sys/queue.h>

struct Catalog {
    const Rules *rules;
    CatalogSink sink;
    CatalogEntry *entries;
    Claims *claims;
    SLIST_HEAD(, CatalogEntry) dispossessed; /* an older container has taken over one of their keys */
    SLIST_HEAD(, CatalogEntry) delayed; /* containers in a crash loop, until their delay ends */
    uint64_t next_delay_us; /* no delay ends before this time */
    SLIST_HEAD(, CatalogEntry) newly_ready; /* a port of theirs has become ready */
    Questions questions;
    Probes probes;
    uint64_t now_us; /* CLOCK_BOOTTIME, as the caller last passed it */
    uint64_t list_begin; /* the clock when the list under way began; 0: no list is under way */
    uint64_t rules_version; /* counts the changes of the labels and variables that the agent keeps */
    size_t n_left_out; /* containers that CATALOG_CONTAINERS_MAX has left out since the last list began */
    /* Counts of entries, so that the work for one event does not grow with the number of containers. */
    size_t n_stopped, n_running, n_kept_back, n_stopping;
    size_t bytes; /* of all wanted keys and values: RECORDS_HOST_MAX at most */
    uint64_t stops_version; /* counts the changes of stops in progress */
    uint64_t next_limit_us; /* no stop limit passes before this time */
    bool docker_away, host_drained;
    char **drained; /* IDs of the containers that the operator has drained */
    size_t n_drained;
};

/* catalog.c */
CatalogEntry *catalog_find_entry(Catalog *catalog, const char *id);
/* NULL: no room, or no memory. A later list shows the container again. */
CatalogEntry *catalog_add_entry(Catalog *catalog, const char *id);
void catalog_remove_entry(Catalog *catalog, CatalogEntry *entry);
void catalog_set_container(Catalog *catalog, CatalogEntry *entry, Container *container); /* takes container */
void catalog_set_state(Catalog *catalog, CatalogEntry *entry, ContainerState state);
bool catalog_is_stopped(const CatalogEntry *entry);
void catalog_forget_drain(Catalog *catalog, const char *id);
void catalog_ask(Catalog *catalog, CatalogEntry *entry); /* after an event that only an inspect can explain */

/* Call them before and after each change of entry->life. */
void catalog_life_begin(Catalog *catalog, const CatalogEntry *entry);
void catalog_life_end(Catalog *catalog, const CatalogEntry *entry);
/* How the container wants to be stopped; NULL: the container has not been inspected yet. */
const StopRules *catalog_stop_rules(const Catalog *catalog, const CatalogEntry *entry, StopRules *ret);

/* catalog_event.c. Docker has removed the container. */
void catalog_forget_entry(Catalog *catalog, CatalogEntry *entry);
/* The container has started. */
void catalog_begin_life(Catalog *catalog, CatalogEntry *entry);

/* catalog_wishes.c. Derives the entry's records from its facts, compares them with the wanted keys, and calls the
 * sink. Returns true if a key or value changed. */
bool catalog_evaluate(Catalog *catalog, CatalogEntry *entry);
void catalog_evaluate_all(Catalog *catalog);
/* Evaluates the containers that wait for another container's key or bytes. */
void catalog_evaluate_waiting(Catalog *catalog);
/* Does one of the entry's keys wait until another container frees a key, or bytes? */
bool catalog_is_kept_back(const CatalogEntry *entry);

/* catalog_delay.c. The container has started or ended, or its health has changed. */
void catalog_crash(Catalog *catalog, CatalogEntry *entry, CrashInput input);
/* Does the crash-loop delay keep the container from being registered? */
bool catalog_is_delayed(const Catalog *catalog, const CatalogEntry *entry);
/* The container is evaluated again when its delay ends. */
void catalog_wait_for_delay(Catalog *catalog, CatalogEntry *entry);
void catalog_end_delay(Catalog *catalog, CatalogEntry *entry);
/* Evaluates the containers whose delay has ended. Returns the time when the next delay ends (CLOCK_BOOTTIME); 0: no
 * delay is running. */
uint64_t catalog_expire_delays(Catalog *catalog, uint64_t now_us);

/* catalog_ready.c. Sets the reason of each record whose port is not ready. 0 or -ENOMEM. */
int catalog_judge_ready(Catalog *catalog, CatalogEntry *entry, Records *records);
/* dockerd 25 and newer: after a restart with live-restore, the health is "starting" until the next check, although
 * the container never stopped. Such a container counts as healthy if an earlier run of the agent has registered one
 * of its keys. 0 or -ENOMEM. */
int catalog_adopt_health(Catalog *catalog, CatalogEntry *entry);
/* Does a port of the container wait for its first probe? The key then results from the same event. */
bool catalog_is_unprobed(const CatalogEntry *entry);
