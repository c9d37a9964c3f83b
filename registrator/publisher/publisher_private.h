/* What the publisher's files share. session.c: whether etcd can be asked. batches.c: writes, and v2's refreshes.
 * key_life.c: the states of one key. key_facts.c: the wanted value, and the known state in etcd. */
#pragma once

#include "base/backoff.h"
#include "base/timer.h"
#include "publisher/publisher.h"

typedef struct Batch Batch;

TAILQ_HEAD(EntryQueue, PublisherEntry);

typedef enum SessionState {
    SESSION_CLOSED, /* waits for the backoff before the store is opened */
    SESSION_OPENING,
    SESSION_ONLINE,
    SESSION_SILENT, /* opened, but the last call got no answer, or writes fail; one call at a time tries again */
    /* opened, but etcd refused the last call; the store is opened again, because API and lease may have changed */
    SESSION_REFUSED,
    SESSION_STATE_MAX_,
} SessionState;

typedef struct Session {
    SessionState state;
    char *why; /* the last failure; "": no error */
    /* Counts the leases: rises whenever the keys may belong to another lease. Each call carries the generation at
     * its start. If a call has an older generation, the state of its keys is unknown. Without a lease the generation
     * never changes. */
    uint64_t generation;
    bool writes_failing; /* heartbeats succeed, but writes fail: etcd is full, or a permission is missing */
    bool refreshes_failing; /* v2: the last refreshes have failed */
    bool resync_wanted; /* a resync starts once etcd can be asked */
    uint64_t resync_since; /* the publisher's clock when the resync under way began; 0: no resync */
    uint64_t resync_generation;
    unsigned beats_to_resync; /* heartbeats until the resync after an outage; 0: no resync is due */
    /* Times on CLOCK_BOOTTIME, 0: never. */
    uint64_t answered_us; /* etcd's last good answer */
    uint64_t renewed_us; /* v3: when the last request that renewed the lease was sent */
    uint64_t beat_us, open_us; /* when the heartbeat under way was sent (0: no heartbeat), and the last opening */
    uint64_t beat_generation;
    Backoff backoff;
    Timer retry, heartbeat;
} Session;

struct Publisher {
    sd_event *event;
    Store *store;
    PublisherConfig config;
    PublisherHandlers handlers;
    void *userdata;

    Session session;
    bool held, keep_orphans;
    uint64_t clock; /* counts changes and questions, and so gives their order */
    PublisherEntry *entries;
    struct EntryQueue pending, registered; /* the oldest first */
    size_t n_registered;
    LIST_HEAD(, Batch) batches;
    unsigned n_writes, n_refreshes; /* batches under way */
    Timer flush;
    PublisherCounters counters;
};

/* publisher.c */

/* Writes the pending keys when the loop has nothing else to do. */
void publisher_wake(Publisher *publisher);
/* Calls the owner's idle() if no key is pending and no call is under way. */
void publisher_check_idle(const Publisher *publisher);

/* session.c */

extern const char publisher_no_memory[];

int session_begin(Publisher *publisher); /* adds the timers; the store opens with the loop's next turn */
void session_end(Publisher *publisher);
/* The store has been replaced: opens the new one. */
void session_restart(Publisher *publisher);
void session_set_heartbeat(Publisher *publisher); /* the interval may have changed */
bool session_is_open(const Publisher *publisher);
/* Was etcd silent for longer than the TTL? Without a lease, the keys have then expired. */
bool session_outlived_keys(const Publisher *publisher);
/* Called at the end of each call except the opening. generation: the session's generation when the call was made. */
void session_answered(Publisher *publisher, uint64_t generation, StoreStatus status, const char *message);
/* A call has failed and is made again. The lease and its keys may still exist. */
void session_fail(Publisher *publisher, StoreStatus status, const char *message);
/* Every key has expired. */
void session_lose_keys(Publisher *publisher, const char *message);

/* batches.c */

/* Writes the oldest pending keys. Returns false if no key is pending, or if the publisher may not write now. */
bool batches_write_next(Publisher *publisher);
/* v2: refreshes the key with the oldest refresh. Returns false if no key is refreshed, or in a dry run. */
bool batches_refresh_next(Publisher *publisher);
/* v2: refreshes keys from now on, at the pace of the store. */
void batches_start_refreshing(Publisher *publisher);
/* The store is being replaced. Ends the calls under way; their outcome is unknown. */
void batches_drop(Publisher *publisher);

/* key_life.c */

/* Events of a key. */
typedef enum KeyEvent {
    KEY_WISHED, /* the wanted value has changed, or the key is no longer wanted */
    KEY_REPEATED, /* the same value is wanted again */
    KEY_TAKEN, /* a call with the key is under way */
    KEY_ANSWERED, /* the call has ended, and its answer is noted */
    KEY_CONFLICTED, /* the call has ended: another owner has the key */
    KEY_CONTESTED, /* the call has ended: another owner has the key, and the next write takes the key over */
    KEY_REFUSED, /* the call has ended: etcd rejects the wanted value */
    KEY_UNDELETABLE, /* the call has ended: etcd rejects the deletion */
    KEY_FOUND, /* a resync has found the key under our lease */
    KEY_MISSING, /* a resync has not found the key */
    KEY_DUE, /* the time for another attempt has come; for an orphan, Docker's containers are now known */
    KEY_EXPIRED, /* the lease or the TTL has ended */
    KEY_MOVED, /* the store or the lease was replaced: the known facts belong to the old one */
    KEY_EVENT_MAX_,
} KeyEvent;

/* The one function that moves an entry's state, and the entry to the state's queue. The entry may be freed. */
void entry_move(Publisher *publisher, PublisherEntry *entry, KeyEvent event);
/* Is it pending, or is its write under way? */
bool entry_awaits_write(const PublisherEntry *entry);
/* Is a call under way? */
bool entry_is_busy(const PublisherEntry *entry);
StoreVerb entry_verb(const PublisherEntry *entry); /* the operation of the next write */
PublisherEntry *entry_find(const Publisher *publisher, const char *key);
PublisherEntry *entry_add(Publisher *publisher, const char *key); /* NULL: no memory */
void entry_remove(Publisher *publisher, PublisherEntry *entry);

/* key_facts.c */

/* Handles the result of one operation of a batch, and may set op's outcome. attempted: a value that may have been in
 * etcd before the operation; taken if the value may still be there. logged: one line for the whole batch is in the
 * log. The entry may be freed. */
void entry_answered(Publisher *publisher, PublisherEntry *entry, StoreOp *op, char **attempted, bool logged);
/* Logs one line for a batch that etcd rejects as a whole. */
void entries_log_rejected(const StoreOp *ops, size_t n);
/* Takes over a resync. keys: all keys under our lease at the publisher's clock `since`. other_lease: the keys may
 * still belong to another lease. 0, or -ENOMEM: some keys were not taken over. */
int entries_compare(Publisher *publisher, const StoreKey *keys, size_t n_keys, uint64_t since, bool other_lease);
/* For each entry of this state, the time for another attempt has come. denied: only for keys that etcd denied
 * because of a missing permission. */
void entries_due(Publisher *publisher, EntryState state, bool denied);
