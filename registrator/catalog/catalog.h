/* What this host should publish: containers, what events and answers said of them and in which order, and the
 * keys that follow. Pure: time comes as an argument, effects go out through the sink. */
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
    DRAIN_UNTIL_DEATH, /* being stopped by the operator: when it starts again it is back */
    DRAIN_BY_OPERATOR, /* until undrained */
} Drain;

enum {
    CATALOG_DRAINED_MAX = 1024, /* containers that the operator has drained */
    CATALOG_CONTAINERS_MAX = 16384, /* known at once; see catalog_left_out() */
};

typedef struct CatalogEntry {
    char id[65];
    Container *container; /* NULL: nothing but events known yet */
    Records records; /* with the catalog's own reasons filled in */
    Knowledge knowledge;
    uint64_t event_ns; /* Docker's time of that event, until what it changes is known; 0: none is waited for */
    int64_t
        expected_ns; /* Docker's time of the event that announced a start, until the start is known; 0: none is expected */
    uint64_t rules_version; /* the catalog's, when the container was inspected last */
    Life life;
    CrashLoop crash_loop;
    bool is_delayed; /* in the catalog's list of those that are not registered because of it */
    SLIST_ENTRY(CatalogEntry) delayed;
    Readiness readiness;
    bool has_started; /* the agent saw its present start: no earlier run can have registered it */
    bool is_settled; /* in the catalog's list of those with a port that has become ready */
    SLIST_ENTRY(CatalogEntry) settled;
    bool is_dispossessed; /* in the catalog's list of those whose key an older container has taken over */
    SLIST_ENTRY(CatalogEntry) dispossessed;
    struct {
        bool limit; /* a bound leaves out a part of the container */
        bool label; /* the container has a label without a meaning */
    } warned; /* warnings that the sink has got */
    Drain drain;
    UT_hash_handle hh;
} CatalogEntry;

typedef enum CatalogProbed {
    CATALOG_NOT_LISTENING, /* for READY_WARN_S */
    CATALOG_ASSUMED, /* no probe could tell within the time limit: the port is registered */
    CATALOG_LABEL, /* SERVICE_READY has a value that means nothing */
} CatalogProbed;

typedef struct CatalogSink {
    /* key should hold value from now on. Called again only if the value changes. entry->event_ns says when, by
     * Docker, what led to this happened; also in unwant. */
    void (*want)(void *userdata, const CatalogEntry *entry, const char *key, const char *value);
    /* key should be no more. after: a key of the same container that takes its place and should be there
     * first, or NULL. */
    void (*unwant)(void *userdata, const CatalogEntry *entry, const char *key, const char *after);
    /* The key is another container's of this host, which came first: this one waits. Once, until that changes. */
    void (*duplicate)(void *userdata, const CatalogEntry *entry, const char *key);
    /* A bound leaves something of the container out; what says which. Once, until nothing is left out. */
    void (*left_out)(void *userdata, const CatalogEntry *entry, const char *what);
    /* The container runs on after its stop limit: from now on it is registered again, if it is ready. */
    void (*outlived)(void *userdata, const CatalogEntry *entry);
    /* Does etcd hold this key with this value, registered by an earlier run of the agent? */
    bool (*inherits)(void *userdata, const char *key, const char *value);
    /* This and the next may be NULL where nothing is probed and nothing crashes. There is a probe to take, or a delay ends earlier than any before: time for catalog_next_probe() and catalog_expire(). */
    void (*due)(void *userdata);
    /* What the log says of a port that is probed. value: of the label. */
    void (*probed)(void *userdata, const CatalogEntry *entry, CatalogProbed what, uint16_t port, const char *value);
    void *userdata;
} CatalogSink;

/* An inspect that a free slot can make. The answer goes to catalog_inspected() or catalog_inspect_failed(). */
typedef struct CatalogQuestion {
    char id[65];
    uint64_t ticket;
} CatalogQuestion;

typedef enum CatalogInspected {
    CATALOG_STALE, /* an event came after the question, or the answer to an early one shows no start: dropped */
    CATALOG_SAME, /* nothing of what is wanted changed */
    CATALOG_CHANGED,
    CATALOG_DRIFTED, /* changed, and no event had said so: only the list did */
} CatalogInspected;

/* rules: kept by reference, see catalog_set_rules(). */
int catalog_new(Catalog **ret, const Rules *rules, const CatalogSink *sink);
Catalog *catalog_free(Catalog *catalog); /* the sink is not called */
DEFINE_CLEANUP(Catalog, catalog_free)

/* Evaluates every container by the changed rules. inspect: the new rules need labels or variables that the agent has
 * not kept. Each container is then inspected first, and keeps its keys until its answer. */
void catalog_set_rules(Catalog *catalog, const Rules *rules, bool inspect);

void catalog_event(Catalog *catalog, const DockerEvent *event, uint64_t now_us);

/* The oldest question about a living container; early: about one that is about to start, whose inspect dockerd may leave
 * open until then. At most one question about each container is open. False: there is none for now. New questions come from events, answers, lists, new rules, catalog_retry() and catalog_expire(). */
bool catalog_next_question(Catalog *catalog, bool early, CatalogQuestion *ret);
/* container: taken; NULL: Docker has no container of this ID. */
CatalogInspected catalog_inspected(Catalog *catalog, const char *id, uint64_t ticket, Container *container,
                                   uint64_t now_us);
/* The question got no good answer. catalog_retry() makes it due again. Returns true if the question had not failed
 * before. */
bool catalog_inspect_failed(Catalog *catalog, const char *id, uint64_t ticket);
void catalog_retry(Catalog *catalog);
/* The connection is gone: the open questions will get no answer and are due again. */
void catalog_lose_questions(Catalog *catalog);

/* Takes the oldest probe that is due, for a free slot. Its answer goes to catalog_probed(). If no probe is due, returns
 * false, and *ret_due_us is the time of the next one, or 0 if no probe waits. */
bool catalog_next_probe(Catalog *catalog, uint64_t now_us, ProbeQuestion *ret, uint64_t *ret_due_us);
/* Returns true if the answer changed something: catalog_settle() has a key to want, or catalog_awaits_answers() may have
 * ended. */
bool catalog_probed(Catalog *catalog, const ProbeQuestion *question, ProbeOutcome outcome, uint64_t now_us);
/* Wants the keys of the ports that have become ready. */
void catalog_settle(Catalog *catalog);
/* Is there a port without an answer to any probe, or an answer whose key catalog_settle() has yet to want? */
bool catalog_awaits_answers(const Catalog *catalog);
/* The sink may inherit other keys than before. */
void catalog_adopt(Catalog *catalog);

void catalog_list_begin(Catalog *catalog);
void catalog_listed(Catalog *catalog, Container *container); /* takes it; only says which containers to inspect */
/* complete: asks about the containers that the list did not show, and forgets those that have ended. */
void catalog_list_end(Catalog *catalog, bool complete);
/* Containers beyond CATALOG_CONTAINERS_MAX, since the last list began. */
size_t catalog_left_out(const Catalog *catalog);

/* Containers whose stop timeout has passed, or whose ports were pending, are looked at again. Returns when to call again, at the latest: the next
 * such moment or before it, 0: there is none; events and answers change it. */
uint64_t catalog_expire(Catalog *catalog, uint64_t now_us);

/* Docker has been away for too long: nothing is published until the next list. */
void catalog_set_docker_away(Catalog *catalog, bool away);
/* Takes a container out, or lets it back in. DRAIN_BY_OPERATOR is remembered by ID: it may be said of a container that
 * is not known yet, and outlives its restarts. -ENOBUFS: too many are held; -ENOMEM. */
int catalog_drain(Catalog *catalog, const char *id, Drain drain);
/* The IDs that the operator has drained; owned by the catalog, valid until the next call to it. */
size_t catalog_drained(const Catalog *catalog, char *const **ret_ids);
/* Of a container that has not been inspected yet: a stop was in progress when an earlier agent ended. It goes on if the
 * container still runs since started_ns. signalled_us: CLOCK_BOOTTIME. -ENOMEM, also if there is no room. */
int catalog_resume_stop(Catalog *catalog, const char *id, int64_t started_ns, uint64_t signalled_us);
/* Of a container that has not been inspected yet: the operator took it back in the middle of a stop, while an earlier
 * agent ran. Docker's events repeat the stop signal, which counts only if it came after returned_ns, by Docker's clock.
 * -ENOMEM, also if there is no room. */
int catalog_resume_return(Catalog *catalog, const char *id, int64_t returned_ns);
/* Another number whenever a stop begins or ends: what catalog_resume_stop() will need has changed. */
uint64_t catalog_stops_version(const Catalog *catalog);
bool catalog_is_host_drained(const Catalog *catalog);
void catalog_set_host_drained(Catalog *catalog, bool drained);

/* By ID, by unique prefix of it of 4 digits or more, or by name. NULL: none, or not unique. */
CatalogEntry *catalog_find(Catalog *catalog, const char *name_or_id);
CatalogEntry *catalog_first(Catalog *catalog); /* the rest by entry->hh.next */
size_t catalog_size(const Catalog *catalog);
size_t catalog_running(const Catalog *catalog);
size_t catalog_unanswered(const Catalog *catalog); /* questions that are due, open or failed */
size_t catalog_failed(const Catalog *catalog); /* those that wait for catalog_retry() */
/* Returns a mark of the questions that are due now, for the next two functions. */
uint64_t catalog_mark(const Catalog *catalog);
/* Has each question that was due at the mark been answered, or failed once? */
bool catalog_is_inspected(const Catalog *catalog, uint64_t mark);
/* Has each question that was due at the mark been answered? */
bool catalog_is_known(const Catalog *catalog, uint64_t mark);
/* The container as a whole: records.reason, and the catalog's own. */
Reason catalog_reason(const Catalog *catalog, const CatalogEntry *entry);
