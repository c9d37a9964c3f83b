/* What this host should publish: containers, what events and answers said of them and in which order, and the
 * keys that follow. Pure: time comes as an argument, effects go out through the sink. */
#pragma once

#include "cleanup.h"
#include "container.h"
#include "docker_event.h"
#include "record.h"

#include <uthash.h>

typedef struct Catalog Catalog;

typedef enum Drain {
    DRAIN_NONE,
    DRAIN_UNTIL_DEATH, /* being stopped by the operator: when it starts again it is back */
    DRAIN_HELD, /* until undrained */
} Drain;

enum { CATALOG_HELD_MAX = 1024 }; /* containers that are held at once */

typedef struct CatalogEntry {
    char id[65];
    Container *container; /* NULL: nothing but events known yet */
    Records records; /* with the catalog's own reasons filled in */
    uint64_t changed; /* the catalog's clock at the last event about it */
    uint64_t event_ns; /* Docker's time of that event, until what it changes is known; 0: none is waited for */
    uint64_t asked; /* the clock when the inspect was asked for that is under way; 0: none is */
    bool dirty; /* what is known is out of date: to be inspected */
    bool listed; /* by the list under way */
    bool by_list; /* dirty because of a list, not of an event */
    bool unheard; /* published because of a list, before any event told of it */
    bool later; /* dirty, but nothing waits for its answer */
    bool failed; /* the last question about it got no good answer */
    bool away; /* not seen since Docker was away for too long */
    bool survived; /* its stop timeout has passed; the answer to the question about it ends the stopping */
    uint64_t stopping_until_us; /* 0: not stopping; UINT64_MAX: until it dies */
    uint64_t signals; /* sent while it was not known which one stops it: bit n - 1 for signal n */
    uint64_t signalled_us; /* the last of them */
    Drain drain;
    UT_hash_handle hh;
} CatalogEntry;

typedef struct CatalogSink {
    /* key should hold value from now on. Called again only if the value changes. entry->event_ns says when, by
     * Docker, what led to this happened; also in unwant. */
    void (*want)(void *userdata, const CatalogEntry *entry, const char *key, const char *value);
    /* key should be no more. after: a key of the same container that takes its place and should be there
     * first, or NULL. */
    void (*unwant)(void *userdata, const CatalogEntry *entry, const char *key, const char *after);
    /* The key is another container's of this host, which came first: this one waits. Once, until that changes. */
    void (*duplicate)(void *userdata, const CatalogEntry *entry, const char *key);
    /* The container is to be inspected; the answer goes to catalog_inspected() with this ticket. Returns
     * false if it cannot be asked for now. */
    bool (*inspect)(void *userdata, const char *id, uint64_t ticket);
    void *userdata;
} CatalogSink;

typedef enum CatalogInspected {
    CATALOG_STALE, /* an event came after the question: dropped, asked again */
    CATALOG_SAME, /* nothing of what is wanted changed */
    CATALOG_CHANGED,
    CATALOG_DRIFTED, /* changed, and no event had said so: only the list did */
} CatalogInspected;

/* rules: kept by reference, see catalog_set_rules(). environment: SERVICE_* variables count, so that nothing is
 * published from a list entry alone. */
int catalog_new(Catalog **ret, const Rules *rules, bool environment, const CatalogSink *sink);
Catalog *catalog_free(Catalog *catalog); /* the sink is not called */
DEFINE_CLEANUP(Catalog, catalog_free)

/* The rules (or what they point at) have changed: every container is looked at again. inspect: metadata that was
 * not kept is needed now, so each one as soon as Docker has told it; until then its keys stay as they are. */
void catalog_set_rules(Catalog *catalog, const Rules *rules, bool environment, bool inspect);

void catalog_event(Catalog *catalog, const DockerEvent *event, uint64_t now_us);

/* container: taken; NULL: there is none of this ID. */
CatalogInspected catalog_inspected(Catalog *catalog, const char *id, uint64_t ticket, Container *container);
/* The question was not answered; it stays dirty. True: this is news. */
bool catalog_inspect_failed(Catalog *catalog, const char *id, uint64_t ticket);
/* Questions under way will not be answered (the connection is gone). */
void catalog_forget_questions(Catalog *catalog);
/* Asks again for what is dirty and not asked for. */
void catalog_ask(Catalog *catalog);

void catalog_list_begin(Catalog *catalog);
void catalog_listed(Catalog *catalog, Container *container); /* takes it */
/* complete: what was not listed is asked for, and what is not there any more forgotten. */
void catalog_list_end(Catalog *catalog, bool complete);

/* Containers whose stop timeout has passed are looked at again. Returns when to call again, at the latest: the next
 * such moment or before it, 0: there is none; events and answers change it. */
uint64_t catalog_expire(Catalog *catalog, uint64_t now_us);

/* Docker has been away for too long: nothing is published until the next list. */
void catalog_set_docker_away(Catalog *catalog, bool away);
/* Takes a container out, or lets it back in. DRAIN_HELD is remembered by ID: it may be said of a container that
 * is not known yet, and outlives its restarts. -ENOBUFS: too many are held; -ENOMEM. */
int catalog_drain(Catalog *catalog, const char *id, Drain drain);
/* The IDs that are held; owned by the catalog, valid until the next call to it. */
size_t catalog_held(const Catalog *catalog, char *const **ret_ids);
bool catalog_is_host_drained(const Catalog *catalog);
void catalog_set_host_drained(Catalog *catalog, bool drained);

/* By ID, by unique prefix of it of 4 digits or more, or by name. NULL: none, or not unique. */
CatalogEntry *catalog_find(Catalog *catalog, const char *name_or_id);
CatalogEntry *catalog_first(Catalog *catalog); /* the rest by entry->hh.next */
size_t catalog_size(const Catalog *catalog);
size_t catalog_running(const Catalog *catalog);
size_t catalog_unanswered(const Catalog *catalog); /* dirty, or never inspected */
/* The same without those whose answer nothing should wait for: the last question failed (maybe for ever), or it
 * stands as listed, which without the environment is all but how it wants to be stopped. */
size_t catalog_waiting(const Catalog *catalog);
/* The container as a whole: records.reason, and the catalog's own. */
Reason catalog_reason(const Catalog *catalog, const CatalogEntry *entry);
