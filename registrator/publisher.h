/* Makes etcd hold the keys that are wanted, and no others of ours: level-triggered, batched, one operation in
 * flight per key. Knows nothing of containers. */
#pragma once

#include "cleanup.h"
#include "store.h"

#include <sys/queue.h>
#include <uthash.h>

typedef struct Publisher Publisher;

typedef enum EntryState {
    ENTRY_IDLE, /* nothing is to be done: new, or an orphan that is kept */
    ENTRY_PENDING, /* to be written or deleted */
    ENTRY_BUSY, /* the operation is under way */
    ENTRY_SETTLED, /* etcd holds what is wanted */
    ENTRY_HELD, /* somebody else's; tried again at each heartbeat */
    ENTRY_REJECTED, /* etcd will not take it */
} EntryState;

typedef struct PublisherEntry {
    char *key;
    char *owner; /* whose key it is: for the log; NULL: found in etcd, nobody's */
    char *wanted; /* NULL: to be deleted */
    char *published; /* ours in etcd, as far as known; NULL: none */
    char *attempted; /* may be in etcd: a write whose answer never came */
    char *holder; /* ENTRY_HELD: the value that is there instead */
    char *after; /* deletion: this key is to be there first */
    uint64_t revision; /* ENTRY_HELD: the holder's */
    uint64_t touched; /* the publisher's clock at the last change of what is wanted or known */
    EntryState state;
    bool orphan; /* found under our lease, wanted by nobody, kept for now */
    bool replace; /* the next write may take it from its holder; once a heartbeat */
    UT_hash_handle hh;
    TAILQ_ENTRY(PublisherEntry) queue; /* PENDING: of writes; SETTLED: of the v2 refreshes */
} PublisherEntry;

typedef enum PublisherState {
    PUBLISHER_CLOSED, /* waits for the backoff */
    PUBLISHER_OPENING,
    PUBLISHER_ONLINE,
    PUBLISHER_DEGRADED, /* opened, but the last call got no answer: trying again */
} PublisherState;

typedef struct PublisherCounters {
    uint64_t puts, deletes, conflicts, lease_losses, drift, failures;
} PublisherCounters;

typedef struct PublisherConfig {
    unsigned heartbeat_s, ttl_s;
    bool replace; /* take over keys that are somebody else's */
    bool dry_run; /* write nothing, report through planned() */
} PublisherConfig;

typedef struct PublisherHandlers {
    /* Every change of publisher_state(), and every new failure. why: one line, "" when all is well. */
    void (*state_changed)(void *userdata, PublisherState state, const char *why);
    /* The lease was lost; nothing is written until publisher_release(). */
    void (*lease_lost)(void *userdata);
    void (*heartbeat)(void *userdata); /* a heartbeat is about to be sent */
    /* dry run: what would be done, "put", "replace", "keep", "held", "delete". */
    void (*planned)(void *userdata, const char *what, const char *key, const char *value, const char *holder);
    void (*idle)(void *userdata); /* nothing is pending or under way any more */
} PublisherHandlers;

/* store: taken. Opens it with the loop's next turn. */
int publisher_new(Publisher **ret, sd_event *event, Store *store, const PublisherConfig *config,
                  const PublisherHandlers *handlers, void *userdata);
/* Keys stay in etcd until their TTL ends. */
Publisher *publisher_free(Publisher *publisher);
DEFINE_CLEANUP(Publisher, publisher_free)

/* The settings changed. store: taken, takes the place of the present one and is opened; what is known of the
 * keys stays known. NULL: the present one goes on. */
void publisher_reconfigure(Publisher *publisher, Store *store, const PublisherConfig *config);

/* 0 or -ENOMEM. owner: a name for the log. */
int publisher_want(Publisher *publisher, const char *key, const char *value, const char *owner);
/* after: a key that takes this one's place and is to be there first, or NULL. */
void publisher_unwant(Publisher *publisher, const char *key, const char *after);

/* Nothing is written while held: for when what is wanted may be out of date. */
void publisher_hold(Publisher *publisher);
void publisher_release(Publisher *publisher);
/* Keys found under our lease that nobody wants are kept until this is called once: at start, Docker has to be
 * heard first. */
void publisher_drop_orphans(Publisher *publisher);

/* v3: compares with what etcd has under the lease, soon. */
void publisher_audit(Publisher *publisher);

PublisherState publisher_state(const Publisher *publisher);
bool publisher_is_idle(const Publisher *publisher);
const PublisherEntry *publisher_find(const Publisher *publisher, const char *key);
/* Is any key of this owner in etcd, or on its way there or out? */
bool publisher_owns(const Publisher *publisher, const char *owner);
size_t publisher_settled(const Publisher *publisher); /* keys of ours in etcd */
const PublisherCounters *publisher_counters(const Publisher *publisher);
uint64_t publisher_heartbeat_age_us(const Publisher *publisher); /* since etcd last answered well; UINT64_MAX: not yet */
const char *publisher_why(const Publisher *publisher); /* the last failure, "" if all is well */
Store *publisher_store(Publisher *publisher);
