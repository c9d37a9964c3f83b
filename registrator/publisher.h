/* Makes etcd hold the keys that are wanted, and no others of ours: level-triggered, batched, one operation in
 * flight per key. Knows nothing of containers. */
#pragma once

#include "cleanup.h"
#include "histogram.h"
#include "look.h"
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
    ENTRY_REJECTED, /* etcd will not take it; tried again at each audit */
} EntryState;

typedef struct PublisherEntry {
    char *key;
    char *owner; /* whose key it is: for the log; NULL: found in etcd, nobody's */
    char *owner_id; /* the same, for ever: names change */
    char *wanted; /* NULL: to be deleted */
    char *published; /* ours in etcd, as far as known; NULL: none */
    char *attempted; /* may be in etcd: a write whose answer never came */
    char *holder; /* ENTRY_HELD: the value that is there instead */
    char *reason; /* ENTRY_REJECTED: why, in etcd's words */
    char *after; /* deletion: this key is to be there first */
    uint64_t revision; /* ENTRY_HELD: the holder's */
    uint64_t event_ns; /* of Docker's event that the wish comes from, until it is fulfilled: see publisher_want() */
    uint64_t touched; /* the publisher's clock at the last change of what is wanted or known */
    uint64_t seen; /* and when it was last among what etcd has under our lease */
    EntryState state;
    bool orphan; /* found under our lease, wanted by nobody, kept for now */
    bool replace; /* the next write may take it from its holder; once a heartbeat */
    bool refreshing; /* ENTRY_SETTLED: a refresh is under way */
    bool rejected; /* etcd will not take what is wanted: what is there is to be deleted */
    bool doubted; /* etcd may yet carry out a write that was given up, hours later if a member was suspended: audits
                   * look at the value */
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
    /* From Docker's event to etcd's answer. Samples that are negative, or longer than an hour, say that the clocks
     * differ or were set, and are left out. */
    Histogram put_latency, delete_latency;
} PublisherCounters;

typedef struct PublisherConfig {
    unsigned heartbeat_s, ttl_s;
    bool replace; /* take over keys that are somebody else's */
    bool dry_run; /* write nothing, report through planned() */
    const char *where; /* for the log, after what is told of a key: " (v2)"; NULL: nothing; not copied */
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

/* store: taken, unless this fails. Opens it with the loop's next turn. Held at first: what is wanted is not known
 * before the first list, and is to go out as few batches. */
int publisher_new(Publisher **ret, sd_event *event, Store *store, const PublisherConfig *config,
                  const PublisherHandlers *handlers, void *userdata);
/* Keys stay in etcd until their TTL ends. */
Publisher *publisher_free(Publisher *publisher);
DEFINE_CLEANUP(Publisher, publisher_free)

/* The settings changed. store: taken, takes the place of the present one and is opened; what is known of the
 * keys stays known. NULL: the present one goes on. */
void publisher_reconfigure(Publisher *publisher, Store *store, const PublisherConfig *config);

/* 0, or -ENOMEM: nothing has changed. owner: a name for the log; owner_id: what publisher_owns() knows it by.
 * event_ns: when it happened, by Docker's clock (CLOCK_REALTIME, if Docker is on this host); 0: not because of an
 * event. Of several wishes for a key, the last one's is what counts. */
int publisher_want(Publisher *publisher, const char *key, const char *value, const char *owner, const char *owner_id,
                   uint64_t event_ns);
/* after: a key that takes this one's place and is to be there first, or NULL. */
void publisher_unwant(Publisher *publisher, const char *key, const char *after, uint64_t event_ns);

/* Wants all that the other does. -ENOMEM. */
int publisher_copy_wishes(Publisher *publisher, const Publisher *other);

/* Nothing is written while held: for when what is wanted may be out of date. */
void publisher_hold(Publisher *publisher);
void publisher_release(Publisher *publisher);
/* Keys found under our lease that nobody wants are kept until this is called once: at start, Docker has to be
 * heard first. */
void publisher_drop_orphans(Publisher *publisher);

/* v3: compares with what etcd has under the lease, soon. Both: tries again what etcd would not take. */
void publisher_audit(Publisher *publisher);

/* All that is wanted, or was written and is not wanted any more. -ENOMEM. */
int publisher_add_to_look(const Publisher *publisher, Look *look);

PublisherState publisher_state(const Publisher *publisher);
bool publisher_is_idle(const Publisher *publisher);
const PublisherEntry *publisher_find(const Publisher *publisher, const char *key);
/* Is any key of this owner in etcd, or on its way there or out? */
bool publisher_owns(const Publisher *publisher, const char *owner_id);
size_t publisher_settled(const Publisher *publisher); /* keys of ours in etcd */
const PublisherCounters *publisher_counters(const Publisher *publisher);
/* v3: since the lease was last renewed; v2: since etcd last answered well. UINT64_MAX: not yet. */
uint64_t publisher_heartbeat_age_us(const Publisher *publisher);
/* Has it a heartbeat? v2 has none while there is no key to refresh. */
bool publisher_has_heartbeat(const Publisher *publisher);
bool publisher_has_lease(const Publisher *publisher); /* v3, opened */
const char *publisher_why(const Publisher *publisher); /* the last failure, "" if all is well */
Store *publisher_store(Publisher *publisher);
