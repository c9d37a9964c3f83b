/* What the publisher's files share. session.c: can etcd be asked? batches.c: writes, and v2's refreshes.
 * key_life.c: the states of one key. key_facts.c: what is wanted, and what is known of etcd. */
#pragma once

#include "base/backoff.h"
#include "publisher/publisher.h"

#include <systemd/sd-event.h>

typedef struct Batch Batch;

TAILQ_HEAD(EntryQueue, PublisherEntry);

typedef enum SessionState {
    SESSION_CLOSED, /* the store must be opened; waits for the backoff */
    SESSION_OPENING,
    SESSION_ONLINE,
    SESSION_SILENT, /* opened, but the last call got no answer, or writes fail: one call after the other asks again */
    SESSION_REFUSED, /* opened, but etcd refused the last call: the store is opened again, for API and lease may differ */
    SESSION_STATE_MAX_,
} SessionState;

typedef struct Session {
    SessionState state;
    char *why; /* the last failure; "": all is well */
    /* Of the lease: counts up whenever the keys may hang on another one. Each call carries the number of its time. Of a
     * call with an older number, nobody knows what is left of its effects. Without a lease it never changes. */
    uint64_t generation;
    bool writes_failing; /* heartbeats may succeed while writes do not: etcd is full, or a permission is missing */
    bool refreshes_failing; /* v2: since the last attempt */
    bool resync_wanted; /* once etcd can be asked */
    uint64_t resync_since; /* the publisher's clock when the resync under way began; 0: none is under way */
    uint64_t resync_generation;
    unsigned beats_to_resync; /* heartbeats until the resync after an outage; 0: none is due */
    /* Times on CLOCK_BOOTTIME, 0: never. */
    uint64_t answered_us; /* etcd's last good answer */
    uint64_t renewed_us; /* v3: when the last request was sent that renewed the lease */
    uint64_t beat_us, open_us; /* when the heartbeat under way was sent (0: none is), and the last opening */
    uint64_t beat_generation;
    Backoff backoff;
    sd_event_source *retry, *heartbeat;
} Session;

struct Publisher {
    sd_event *event;
    Store *store;
    PublisherConfig config;
    PublisherHandlers handlers;
    void *userdata;

    Session session;
    bool held, keep_orphans;
    uint64_t clock; /* counts changes and questions: which came first */
    PublisherEntry *entries;
    struct EntryQueue pending, registered; /* the oldest first */
    size_t n_registered;
    LIST_HEAD(, Batch) batches;
    unsigned n_writes, n_refreshes; /* batches under way */
    sd_event_source *flush;
    PublisherCounters counters;
};

/* publisher.c */

/* What is pending is written when the loop has nothing else to do. */
void publisher_wake(Publisher *publisher);
/* Tells the owner if nothing is pending or under way. */
void publisher_check_idle(const Publisher *publisher);

/* session.c */

extern const char publisher_no_memory[];

int session_begin(Publisher *publisher); /* adds the timers: opens the store with the loop's next turn */
void session_end(Publisher *publisher);
/* Another store: opens it. */
void session_restart(Publisher *publisher);
void session_set_heartbeat(Publisher *publisher); /* the interval may have changed */
bool session_is_open(const Publisher *publisher);
/* Was etcd silent for longer than the TTL? Without a lease, this alone says that the keys have expired. */
bool session_outlived_keys(const Publisher *publisher);
/* The end of each call but the opening. generation: the session's when the call was made. */
void session_answered(Publisher *publisher, uint64_t generation, StoreStatus status, const char *message);
/* A call failed; it is made again. The lease may well be alive, and with it the keys. */
void session_fail(Publisher *publisher, StoreStatus status, const char *message);
/* Every key has expired. */
void session_lose_keys(Publisher *publisher, const char *message);

/* batches.c */

/* Writes the oldest pending keys. False: there are none, or not now. */
bool batches_write_next(Publisher *publisher);
/* v2: refreshes the key whose last refresh is the oldest. False: there is none, or this is a dry run. */
bool batches_refresh_next(Publisher *publisher);
/* v2: refreshes keys from now on, as the store paces it. */
void batches_start_refreshing(Publisher *publisher);
/* For a store that is no more: ends what is under way. Whether it happened is unknown. */
void batches_drop(Publisher *publisher);

/* key_life.c */

/* What happens to a key. */
typedef enum KeyEvent {
    KEY_WISHED, /* another value is wanted, or none */
    KEY_REPEATED, /* the same value is wanted again */
    KEY_TAKEN, /* a call takes the key to etcd */
    KEY_ANSWERED, /* the call has ended; what it says of etcd is noted */
    KEY_CONFLICTED, /* the call has ended: another owner has the key */
    KEY_CONTESTED, /* the same, and the next write takes the key over */
    KEY_REFUSED, /* the call has ended: etcd rejects what is wanted */
    KEY_UNDELETABLE, /* the call has ended: etcd rejects the deletion */
    KEY_FOUND, /* a resync has found the key under our lease */
    KEY_MISSING, /* a resync has not */
    KEY_DUE, /* the time for another attempt has come; for an orphan: its container would be known by now */
    KEY_EXPIRED, /* the lease or the TTL has ended */
    KEY_MOVED, /* another store or lease: what is known is of the old one */
    KEY_EVENT_MAX_,
} KeyEvent;

/* The one function that moves an entry's state, and the entry to the state's queue. The entry may be freed. */
void entry_move(Publisher *publisher, PublisherEntry *entry, KeyEvent event);
/* Is it pending, or is its write under way? */
bool entry_awaits_write(const PublisherEntry *entry);
/* Is a call under way? */
bool entry_is_busy(const PublisherEntry *entry);
StoreVerb entry_verb(const PublisherEntry *entry); /* of the next write */
PublisherEntry *entry_find(const Publisher *publisher, const char *key);
PublisherEntry *entry_add(Publisher *publisher, const char *key); /* NULL: no memory */
void entry_remove(Publisher *publisher, PublisherEntry *entry);

/* key_facts.c */

/* What became of one operation of a batch, which may set its outcome. attempted: may have been in etcd before it;
 * taken if it still may. logged: the log has one line for the whole batch. The entry may be freed. */
void entry_answered(Publisher *publisher, PublisherEntry *entry, StoreOp *op, char **attempted, bool logged);
/* One line for a batch that etcd rejects as a whole. */
void entries_log_rejected(const StoreOp *ops, size_t n);
/* Takes over what etcd has under our lease: keys is all that was there at the publisher's clock `since`. other_lease:
 * the keys may still hang on another one. -ENOMEM: not all was taken over. */
int entries_compare(Publisher *publisher, const StoreKey *keys, size_t n_keys, uint64_t since, bool other_lease);
/* The time for another attempt has come, for each entry of this state. denied: only for what etcd denied for want of a
 * permission. */
void entries_due(Publisher *publisher, EntryState state, bool denied);
