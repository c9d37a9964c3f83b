/* Which keys this host should have. The catalog keeps each container, the events and answers about the container,
 * and their order, and derives the keys. Pure: the caller passes the time as an argument, and the catalog calls the
 * sink for each effect. */
#pragma once

#include "base/cleanup.h"
#include "docker/container.h"
#include "docker/docker_event.h"
#include "catalog/crash_loop.h"
#include "catalog/knowledge.h"
#include "catalog/life.h"
#include "catalog/readiness.h"
#include "catalog/record.h"

#include <uthash.h>

typedef struct Catalog Catalog;

typedef enum Drain {
    DRAIN_NONE,
    DRAIN_UNTIL_DEATH, /* the operator stops the container: the drain ends when the container starts again */
    DRAIN_BY_OPERATOR, /* until the operator undrains the container */
} Drain;

enum {
    CATALOG_DRAINED_MAX = 1024, /* containers that the operator has drained */
    CATALOG_CONTAINERS_MAX = 16384, /* containers known at once; see catalog_left_out() */
};

typedef struct CatalogEntry {
    char id[65];
    Container *container; /* NULL: only events are known so far */
    Records records; /* with the reasons that the catalog adds */
    Knowledge knowledge;
    uint64_t event_ns; /* Docker's time of the event that the next change of keys comes from; 0: no such event */
    /* Docker's time of the event that announced a start, until an answer shows that start; 0: no start is expected */
    int64_t expected_ns;
    uint64_t rules_version; /* the catalog's version at the last inspect of the container */
    Life life;
    CrashLoop crash_loop;
    bool is_delayed; /* the catalog's list `delayed` holds the entry */
    SLIST_ENTRY(CatalogEntry) delayed;
    Readiness readiness;
    bool has_started; /* the agent saw the present start, so no earlier run can have registered the container */
    bool is_newly_ready; /* the catalog's list `newly_ready` holds the entry */
    SLIST_ENTRY(CatalogEntry) newly_ready;
    bool is_dispossessed; /* the catalog's list `dispossessed` holds the entry */
    SLIST_ENTRY(CatalogEntry) dispossessed;
    struct {
        bool limit; /* a limit leaves out a part of the container */
        bool label; /* the container has a label with an unknown value */
    } warned; /* the warnings that the sink has received */
    Drain drain;
    UT_hash_handle hh;
} CatalogEntry;

typedef enum CatalogProbed {
    CATALOG_NOT_LISTENING, /* no connection accepted for READY_WARN_S */
    CATALOG_ASSUMED, /* no probe got an answer within the time limit, so the port is registered */
    CATALOG_LABEL, /* SERVICE_READY has an unknown value */
} CatalogProbed;

typedef struct CatalogSink {
    /* The key should have the value from now on. The catalog calls this again only if the value changes. For want
     * and unwant, entry->event_ns is Docker's time of the event that caused the change. */
    void (*want)(void *userdata, const CatalogEntry *entry, const char *key, const char *value);
    /* The key should no longer exist. after: a key of the same container that replaces this key and should exist
     * first, or NULL. */
    void (*unwant)(void *userdata, const CatalogEntry *entry, const char *key, const char *after);
    /* An older container of this host has the key, so this container waits. Called once until that changes. */
    void (*duplicate)(void *userdata, const CatalogEntry *entry, const char *key);
    /* A limit leaves out a part of the container; `what` names the part. Called once until nothing is left out. */
    void (*left_out)(void *userdata, const CatalogEntry *entry, const char *what);
    /* The container still runs after its stop limit. From now on the agent registers the container again if the
     * container is ready. */
    void (*outlived)(void *userdata, const CatalogEntry *entry);
    /* Does etcd hold this key with this value, registered by an earlier run of the agent? */
    bool (*inherits)(void *userdata, const char *key, const char *value);
    /* A probe can be taken, or a delay ends earlier than all delays before: the time for catalog_next_probe() and
     * catalog_expire() has come. due and probed may be NULL if the caller needs neither probes nor crash-loop
     * delays. */
    void (*due)(void *userdata);
    /* An event of a probed port, for the log. value: the label's value. */
    void (*probed)(void *userdata, const CatalogEntry *entry, CatalogProbed what, uint16_t port, const char *value);
    void *userdata;
} CatalogSink;

/* An inspect that a free slot can make. The caller passes the answer to catalog_inspected() or
 * catalog_inspect_failed(). */
typedef struct CatalogQuestion {
    char id[65];
    uint64_t ticket;
} CatalogQuestion;

typedef enum CatalogInspected {
    CATALOG_STALE, /* dropped: an event came after the question, or the answer to an early question shows no start */
    CATALOG_SAME, /* the wanted keys and values have not changed */
    CATALOG_CHANGED,
    CATALOG_DRIFTED, /* the keys changed because of a list, without an event that announced the change */
} CatalogInspected;

/* rules: not copied, see catalog_set_rules(). 0 or -ENOMEM. */
int catalog_new(Catalog **ret, const Rules *rules, const CatalogSink *sink);
Catalog *catalog_free(Catalog *catalog); /* does not call the sink */
DEFINE_CLEANUP(Catalog, catalog_free)

/* Evaluates every container by the changed rules. inspect: the new rules need labels or variables that the agent has
 * not kept. Each container then keeps its keys until an inspect has been answered. */
void catalog_set_rules(Catalog *catalog, const Rules *rules, bool inspect);

void catalog_event(Catalog *catalog, const DockerEvent *event, uint64_t now_us);

/* Takes the oldest question about a running container, for a free slot. early: the oldest question about a container
 * that is about to start; dockerd may leave such an inspect open until the start is complete. At most one question
 * about each container is open. Returns false if no question is due. New questions come from events, answers, lists,
 * new rules, catalog_retry() and catalog_expire(). */
bool catalog_next_question(Catalog *catalog, bool early, CatalogQuestion *ret);
/* container: owned by the catalog from now on; NULL: Docker has no container with this ID. */
CatalogInspected catalog_inspected(Catalog *catalog, const char *id, uint64_t ticket, Container *container,
                                   uint64_t now_us);
/* The inspect failed. catalog_retry() makes the question due again. Returns true if the previous question had not
 * failed. */
bool catalog_inspect_failed(Catalog *catalog, const char *id, uint64_t ticket);
void catalog_retry(Catalog *catalog);
/* The connection has ended. The open questions get no answer and become due again. */
void catalog_lose_questions(Catalog *catalog);

/* Takes the oldest probe that is due, for a free slot. The caller passes the answer to catalog_probed(). If no probe
 * is due, returns false, and *ret_due_us is the time of the next one, or 0 if no probe waits. */
bool catalog_next_probe(Catalog *catalog, uint64_t now_us, ProbeQuestion *ret, uint64_t *ret_due_us);
/* Returns true if catalog_want_ready() has a key to want, or if catalog_awaits_answers() may have become false. */
bool catalog_probed(Catalog *catalog, const ProbeQuestion *question, ProbeOutcome outcome, uint64_t now_us);
/* Wants the keys of the ports that have become ready. */
void catalog_want_ready(Catalog *catalog);
/* Is there a port that no probe has answered for yet, or a ready port whose key catalog_want_ready() must still
 * want? */
bool catalog_awaits_answers(const Catalog *catalog);
/* The sink's inherits() may now return true for other keys than before. */
void catalog_adopt(Catalog *catalog);

void catalog_list_begin(Catalog *catalog);
/* Takes the container. A list entry only shows whether the container must be inspected. */
void catalog_listed(Catalog *catalog, Container *container);
/* complete: asks about the containers that the list did not show, and forgets the containers that have ended. */
void catalog_list_end(Catalog *catalog, bool complete);
/* The number of containers beyond CATALOG_CONTAINERS_MAX since the last list began. */
size_t catalog_left_out(const Catalog *catalog);

/* Evaluates the containers whose stop limit or crash-loop delay has ended, and asks again about containers with
 * pending ports. Returns the time of the next call (CLOCK_BOOTTIME), at the latest; 0: never. Events and answers
 * change this time. */
uint64_t catalog_expire(Catalog *catalog, uint64_t now_us);

/* Docker has been away for longer than --docker-grace. The catalog wants no key until the next list. */
void catalog_set_docker_away(Catalog *catalog, bool away);
/* Drains or undrains a container. The catalog remembers DRAIN_BY_OPERATOR by ID: the container may still be unknown,
 * and the drain outlives restarts. -ENOBUFS: more than CATALOG_DRAINED_MAX; -ENOMEM. */
int catalog_drain(Catalog *catalog, const char *id, Drain drain);
/* The IDs of the containers that the operator has drained. The catalog owns them; valid until the next call to the
 * catalog. */
size_t catalog_drained(const Catalog *catalog, char *const **ret_ids);
/* A stop was in progress when an earlier agent ended. The container has not been inspected yet. The stop goes on if
 * the container still runs since started_ns (since 1970). signalled_us: CLOCK_BOOTTIME. -ENOMEM: no memory, or too
 * many containers. */
int catalog_resume_stop(Catalog *catalog, const char *id, int64_t started_ns, uint64_t signalled_us);
/* The operator undrained the container during a stop, while an earlier agent ran. The container has not been
 * inspected yet. Docker repeats the event of the stop signal, but only a signal after returned_ns (Docker's clock)
 * counts. -ENOMEM: no memory, or too many containers. */
int catalog_resume_return(Catalog *catalog, const char *id, int64_t returned_ns);
/* Changes whenever a stop begins or ends, because the arguments of catalog_resume_stop() then change as well. */
uint64_t catalog_stops_version(const Catalog *catalog);
bool catalog_is_host_drained(const Catalog *catalog);
void catalog_set_host_drained(Catalog *catalog, bool drained);

/* Finds a container by ID, by a unique prefix of the ID of 4 digits or more, or by name. NULL: none, or not unique. */
CatalogEntry *catalog_find(Catalog *catalog, const char *name_or_id);
CatalogEntry *catalog_first(Catalog *catalog); /* entry->hh.next is the next entry */
size_t catalog_size(const Catalog *catalog);
size_t catalog_running(const Catalog *catalog);
size_t catalog_unanswered(const Catalog *catalog); /* questions that are due, open or failed */
size_t catalog_failed(const Catalog *catalog); /* questions that wait for catalog_retry() */
/* Marks the questions that are due now, for the next two functions. */
uint64_t catalog_mark(const Catalog *catalog);
/* Has each question that was due at the mark been answered, or failed once? */
bool catalog_is_inspected(const Catalog *catalog, uint64_t mark);
/* Has each question that was due at the mark been answered? */
bool catalog_is_known(const Catalog *catalog, uint64_t mark);
/* The reason for the whole container: records.reason, or a reason that the catalog adds. */
Reason catalog_reason(const Catalog *catalog, const CatalogEntry *entry);
