/* Makes etcd hold the wanted keys, and no other keys of this agent. The publisher compares the wanted state with the
 * known state, writes in batches, and has at most one call under way per key. Knows nothing of containers. */
#pragma once

#include "base/cleanup.h"
#include "base/histogram.h"
#include "etcd/store.h"

#include <sys/queue.h>
#include <uthash.h>

typedef struct Publisher Publisher;

/* The life of one key. key_life.c has the transitions. */
typedef enum EntryState {
    ENTRY_NEW,
    ENTRY_ORPHAN, /* found under our lease, wanted by no container, kept until Docker's containers are known */
    ENTRY_PENDING, /* waits to be written or deleted */
    ENTRY_WRITING, /* a write or a deletion is under way */
    ENTRY_REGISTERED, /* etcd holds the wanted value */
    ENTRY_REFRESHING, /* etcd holds the wanted value, and v2's refresh is under way */
    ENTRY_CONFLICT, /* another owner has the key; the agent tries again at each heartbeat */
    ENTRY_TAKEOVER, /* another owner has the key, and the next write, which is pending, may take the key over */
    /* etcd rejects the key, its value or its deletion; tried again at each resync, or at each heartbeat if a
     * permission is missing */
    ENTRY_REJECTED,
    ENTRY_UNDO, /* etcd rejects the wanted value; the older value in etcd waits to be deleted */
    ENTRY_UNDOING, /* the deletion of the older value is under way */
    ENTRY_GONE, /* neither wanted nor in etcd: the entry is freed at once, so no entry has this state */
    ENTRY_STATE_MAX_ = ENTRY_GONE,
} EntryState;

/* A wanted key, or a key that the agent may have written to etcd. */
typedef struct PublisherEntry {
    char *key;
    char *owner; /* the container's name, for the log; NULL: the key was found in etcd and has no container */
    char *owner_id; /* the container's ID */
    char *wanted; /* the wanted value; NULL: not wanted */
    char *published; /* our value in etcd, as far as known; NULL: none */
    char *attempted; /* a written value whose outcome is unknown: it may be in etcd */
    char *holder; /* another owner's value, while etcd holds it */
    char *reason; /* why etcd rejects the key, in etcd's words; kept so that each reason is logged once */
    char *after; /* of a deletion: this key must exist in etcd first */
    uint64_t known; /* the mod revision (v2: modifiedIndex) of our key, as last written or read; 0: not known */
    uint64_t revision; /* the mod revision of the holder's key */
    /* the time of Docker's event that caused the wish, until etcd holds the wanted state: see publisher_want() */
    uint64_t event_ns;
    uint64_t touched; /* the publisher's clock at the last change of the wanted value or the known facts */
    uint64_t seen; /* the publisher's clock when a resync last found the key under our lease */
    EntryState state;
    UT_hash_handle hh;
    TAILQ_ENTRY(PublisherEntry) queue; /* of the keys that wait for a call, or of the keys that are refreshed */
} PublisherEntry;

typedef enum PublisherState {
    PUBLISHER_CLOSED, /* waits for the backoff */
    PUBLISHER_OPENING,
    PUBLISHER_ONLINE,
    PUBLISHER_DEGRADED, /* opened, but the last call failed; the agent tries again */
} PublisherState;

typedef struct PublisherCounters {
    uint64_t puts, deletes, conflicts, lease_losses, drift, failures;
    /* The time from Docker's event to etcd's answer. Samples that are negative or longer than an hour are left out,
     * because a clock differs or was set. */
    Histogram put_latency, delete_latency;
} PublisherCounters;

typedef struct PublisherConfig {
    unsigned heartbeat_s, ttl_s;
    bool replace; /* take over keys of other owners */
    bool dry_run; /* write nothing, report through planned() */
} PublisherConfig;

typedef struct PublisherHandlers {
    /* Called at every change of publisher_state() except to PUBLISHER_OPENING, and at every failure. why: one line,
     * "" without an error. */
    void (*state_changed)(void *userdata, PublisherState state, const char *why);
    /* Every key has expired. The publisher writes the keys again once the store is open. The owner may call
     * publisher_hold(). */
    void (*lease_lost)(void *userdata);
    void (*heartbeat)(void *userdata); /* a heartbeat is about to be sent */
    /* Dry run: what the agent would do: "register", "replace", "keep", "conflict" or "deregister". */
    void (*planned)(void *userdata, const char *what, const char *key, const char *value, const char *holder);
    void (*idle)(void *userdata); /* no key is pending, and no call is under way */
} PublisherHandlers;

/* store: taken on success. The store opens with the loop's next turn. The publisher is held at first: no key is
 * wanted before Docker's first list, and a held publisher sends the first writes in few batches. 0 or a negative
 * errno. */
int publisher_new(Publisher **ret, sd_event *event, Store *store, const PublisherConfig *config,
                  const PublisherHandlers *handlers, void *userdata);
/* Keys stay in etcd until their TTL ends. */
Publisher *publisher_free(Publisher *publisher);
DEFINE_CLEANUP(Publisher, publisher_free)

/* The settings have changed. store: taken; it replaces the present store and is opened, and the known facts of the
 * keys stay known. NULL: the present store stays. */
void publisher_reconfigure(Publisher *publisher, Store *store, const PublisherConfig *config);

/* Returns 0 or -ENOMEM (nothing has changed). owner: the container's name, for the log. owner_id: for
 * publisher_owns(). event_ns: the time of Docker's event, by Docker's clock (CLOCK_REALTIME if Docker runs on this
 * host); 0: no event. The last wish for a key counts. */
int publisher_want(Publisher *publisher, const char *key, const char *value, const char *owner, const char *owner_id,
                   uint64_t event_ns);
/* after: a key that replaces this key and must exist first, or NULL. */
void publisher_unwant(Publisher *publisher, const char *key, const char *after, uint64_t event_ns);

/* A held publisher writes nothing, because the wanted keys may be out of date. */
void publisher_hold(Publisher *publisher);
void publisher_release(Publisher *publisher);
/* Orphans are kept until the first call: at start, Docker's containers must be known first. */
void publisher_drop_orphans(Publisher *publisher);

/* Soon compares the known facts with the keys under the lease (v3), and tries again the keys that etcd rejected (v2
 * and v3). */
void publisher_resync(Publisher *publisher);

PublisherState publisher_state(const Publisher *publisher);
bool publisher_is_idle(const Publisher *publisher);
const PublisherEntry *publisher_find(const Publisher *publisher, const char *key);
/* Does etcd hold the key with this value, written by an earlier run of the agent, and has no container wanted the
 * key since? */
bool publisher_inherits(const Publisher *publisher, const char *key, const char *value);
/* Is any key of this owner in etcd, or being written or deleted? */
bool publisher_owns(const Publisher *publisher, const char *owner_id);
bool entry_is_registered(const PublisherEntry *entry);
size_t publisher_registered(const Publisher *publisher); /* our keys in etcd */
/* Does the publisher know all of its keys in etcd, without an orphan and without a key whose deletion etcd rejects?
 * If not, "no key" means "unknown". */
bool publisher_knows(const Publisher *publisher);
const PublisherCounters *publisher_counters(const Publisher *publisher);
/* v3: the time since the lease was last renewed; v2: the time since etcd's last good answer. UINT64_MAX: not yet. */
uint64_t publisher_heartbeat_age_us(const Publisher *publisher);
/* v2 has no heartbeat while no key must be refreshed. */
bool publisher_has_heartbeat(const Publisher *publisher);
bool publisher_has_lease(const Publisher *publisher); /* v3, opened */
const char *publisher_why(const Publisher *publisher); /* the last failure, "" without an error */
Store *publisher_store(Publisher *publisher);
