/* Makes etcd hold the keys that are wanted, and no others of ours: level-triggered, in batches, one call under way per
 * key. Knows nothing of containers. */
#pragma once

#include "base/cleanup.h"
#include "base/histogram.h"
#include "etcd/store.h"

#include <sys/queue.h>
#include <uthash.h>

typedef struct Publisher Publisher;

/* The life of one key. key_life.c has the ways from state to state. */
typedef enum EntryState {
    ENTRY_NEW,
    ENTRY_ORPHAN, /* found under our lease, wanted by nobody, kept until Docker's containers are known */
    ENTRY_PENDING, /* waits to be written or deleted */
    ENTRY_WRITING, /* that call is under way */
    ENTRY_REGISTERED, /* etcd holds what is wanted */
    ENTRY_REFRESHING, /* the same, and v2's refresh is under way */
    ENTRY_CONFLICT, /* another owner has the key; tried again at each heartbeat */
    ENTRY_TAKEOVER, /* the same, but the next write may take the key over: waits for it */
    ENTRY_REJECTED, /* etcd refuses the key, its value or its deletion; tried again at each resync, for want of a
                     * permission at each heartbeat */
    ENTRY_UNDO, /* etcd refuses the wanted value: the older value that is there waits to be deleted */
    ENTRY_UNDOING, /* that call is under way */
    ENTRY_GONE, /* neither wanted nor there: no entry has this state, it is freed */
    ENTRY_STATE_MAX_ = ENTRY_GONE,
} EntryState;

/* A key that is wanted, or may be in etcd because of us. */
typedef struct PublisherEntry {
    char *key;
    char *owner; /* the container's name, for the log; NULL: found in etcd, no container's */
    char *owner_id; /* the container's ID */
    char *wanted; /* NULL: not wanted */
    char *published; /* our value in etcd, as far as known; NULL: none */
    char *attempted; /* may be in etcd: a write whose outcome is unknown */
    char *holder; /* another owner's value, while that is there instead */
    char *reason; /* why etcd rejects the key, in etcd's words; kept to log each reason once */
    char *after; /* deletion: this key must be there first */
    uint64_t known; /* the mod revision (v2: modifiedIndex) of our key, as last written or read; 0: none is known */
    uint64_t revision; /* the holder's */
    uint64_t event_ns; /* of Docker's event that the wish comes from, until it is fulfilled: see publisher_want() */
    uint64_t touched; /* the publisher's clock at the last change of what is wanted or known */
    uint64_t seen; /* and when a resync last found the key under our lease */
    EntryState state;
    UT_hash_handle hh;
    TAILQ_ENTRY(PublisherEntry) queue; /* of what waits for a call, or of what is refreshed */
} PublisherEntry;

typedef enum PublisherState {
    PUBLISHER_CLOSED, /* waits for the backoff */
    PUBLISHER_OPENING,
    PUBLISHER_ONLINE,
    PUBLISHER_DEGRADED, /* opened, but the last call failed: trying again */
} PublisherState;

typedef struct PublisherCounters {
    uint64_t puts, deletes, conflicts, lease_losses, drift, failures;
    /* From Docker's event to etcd's answer. Samples that are negative, or longer than an hour, are left out: the clocks
     * differ or were set. */
    Histogram put_latency, delete_latency;
} PublisherCounters;

typedef struct PublisherConfig {
    unsigned heartbeat_s, ttl_s;
    bool replace; /* take over keys of other owners */
    bool dry_run; /* write nothing, report through planned() */
} PublisherConfig;

typedef struct PublisherHandlers {
    /* Every change of publisher_state() but to PUBLISHER_OPENING, and every failure. why: one line, "" when all is well. */
    void (*state_changed)(void *userdata, PublisherState state, const char *why);
    /* Every key has expired, and is written again once the store is open. The owner may call publisher_hold(). */
    void (*lease_lost)(void *userdata);
    void (*heartbeat)(void *userdata); /* a heartbeat is about to be sent */
    /* dry run: what would be done, "register", "replace", "keep", "conflict", "deregister". */
    void (*planned)(void *userdata, const char *what, const char *key, const char *value, const char *holder);
    void (*idle)(void *userdata); /* nothing is pending or under way any more */
} PublisherHandlers;

/* store: taken, unless this fails. Opens it with the loop's next turn. Held at first: nothing is wanted before the first
 * list, and the first writes go out in few batches. */
int publisher_new(Publisher **ret, sd_event *event, Store *store, const PublisherConfig *config,
                  const PublisherHandlers *handlers, void *userdata);
/* Keys stay in etcd until their TTL ends. */
Publisher *publisher_free(Publisher *publisher);
DEFINE_CLEANUP(Publisher, publisher_free)

/* The settings changed. store: taken, replaces the present one and is opened; what is known of the keys stays known.
 * NULL: the present one stays. */
void publisher_reconfigure(Publisher *publisher, Store *store, const PublisherConfig *config);

/* 0, or -ENOMEM: nothing has changed. owner: a name for the log. owner_id: for publisher_owns(). event_ns: when Docker's
 * event happened, by Docker's clock (CLOCK_REALTIME, if Docker is on this host); 0: no event. Of several wishes for a key,
 * the last one counts. */
int publisher_want(Publisher *publisher, const char *key, const char *value, const char *owner, const char *owner_id,
                   uint64_t event_ns);
/* after: a key that takes this one's place and must be there first, or NULL. */
void publisher_unwant(Publisher *publisher, const char *key, const char *after, uint64_t event_ns);

/* While held, nothing is written: what is wanted may be out of date. */
void publisher_hold(Publisher *publisher);
void publisher_release(Publisher *publisher);
/* Orphans are kept until this is called once: at start, Docker's containers must be known first. */
void publisher_drop_orphans(Publisher *publisher);

/* v3: compares with what etcd has under the lease, soon. Both APIs: tries again what etcd rejected. */
void publisher_resync(Publisher *publisher);

PublisherState publisher_state(const Publisher *publisher);
bool publisher_is_idle(const Publisher *publisher);
const PublisherEntry *publisher_find(const Publisher *publisher, const char *key);
/* Does etcd hold the key with this value as ours, written by an earlier run of the agent and not wanted since? */
bool publisher_inherits(const Publisher *publisher, const char *key, const char *value);
/* Is any key of this owner in etcd, or being written or deleted? */
bool publisher_owns(const Publisher *publisher, const char *owner_id);
bool entry_is_registered(const PublisherEntry *entry);
size_t publisher_registered(const Publisher *publisher); /* keys of ours in etcd */
/* Is it known which keys in etcd are ours, and is none of them kept as an orphan or because etcd refuses to delete it? If
 * not, "no key" means "unknown". */
bool publisher_knows(const Publisher *publisher);
const PublisherCounters *publisher_counters(const Publisher *publisher);
/* v3: since the lease was last renewed; v2: since etcd last answered well. UINT64_MAX: not yet. */
uint64_t publisher_heartbeat_age_us(const Publisher *publisher);
/* Has it a heartbeat? v2 has none while there is no key to refresh. */
bool publisher_has_heartbeat(const Publisher *publisher);
bool publisher_has_lease(const Publisher *publisher); /* v3, opened */
const char *publisher_why(const Publisher *publisher); /* the last failure, "" if all is well */
Store *publisher_store(Publisher *publisher);
