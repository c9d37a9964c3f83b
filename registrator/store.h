/* Where keys live: etcd's v3 or v2 API behind one set of verbs. All calls are asynchronous; each done is
 * called exactly once, never from within the call itself, and not after store_free(). A call that returns
 * -ENOMEM, the only error there is, was not made: its done is not called. The store keeps no list of keys:
 * that is the publisher's. */
#pragma once

#include "cleanup.h"
#include "etcd.h"

typedef struct Store Store;

typedef enum StoreApi { STORE_AUTO, STORE_V3, STORE_V2 } StoreApi;

typedef enum StoreStatus {
    STORE_OK,
    STORE_LEASE_LOST, /* v3: open again, then write every key again */
    STORE_UNREACHABLE, /* no answer, no leader, 5xx: try again later; outcome of writes unknown */
    STORE_REFUSED, /* etcd answered, and will answer so again: permission, wrong API, malformed */
    STORE_STATUS_MAX_,
} StoreStatus;

/* Requests to etcd, by what they were for and how they ended. */
typedef enum StoreOperation {
    STORE_OPERATION_OPEN, /* which API, which lease, what hangs on it */
    STORE_OPERATION_WRITE, /* puts and deletes; v3: many in one transaction */
    STORE_OPERATION_HEARTBEAT, /* v3: of the lease */
    STORE_OPERATION_REFRESH, /* v2: of a key */
    STORE_OPERATION_AUDIT, /* v3 */
    STORE_OPERATION_AUTH, /* v3: for a token */
    STORE_OPERATION_MAX_,
} StoreOperation;

typedef struct StoreCounters {
    uint64_t requests[STORE_OPERATION_MAX_][STORE_STATUS_MAX_];
} StoreCounters;

const char *store_operation_to_string(StoreOperation operation); /* "open", "write", … */
const char *store_status_to_string(StoreStatus status); /* "ok", "lease_lost", … */

typedef enum StoreVerb {
    /* Makes key hold value with our TTL. Absent: created. Ours: changed if the value differs, untouched
     * if not. Somebody else's: untouched, outcome HELD. v3: ours means under our lease. v2: ours means
     * that it has a TTL and holds value, previous or attempted. */
    STORE_ENSURE,
    /* As ENSURE, but a key that is somebody else's is taken over, if its revision still is
     * op->revision (from an earlier HELD). */
    STORE_REPLACE,
    /* Deletes key if it is ours (as above). Absent, or somebody else's: DONE, nothing deleted. */
    STORE_REMOVE,
    /* v2 only: renews the TTL of a key that holds value, without waking a watcher where the server can.
     * Gone: LOST. Somebody else's value: HELD. */
    STORE_REFRESH,
    /* Writes nothing: DONE: ENSURE would find key as wanted. LOST: absent, would be created. CHANGED: ours,
     * would be changed. HELD: somebody else's. */
    STORE_PEEK,
} StoreVerb;

typedef enum StoreOutcome {
    STORE_OP_FAILED, /* unknown: ask again. What an op has until something better is known */
    STORE_OP_DONE,
    STORE_OP_CHANGED,
    STORE_OP_HELD,
    STORE_OP_LOST,
    STORE_OP_REJECTED, /* etcd will never take this key or value (too large, …) */
} StoreOutcome;

/* Strings going in belong to the caller and must live until done; holder is malloc'd for the caller. */
typedef struct StoreOp {
    StoreVerb verb;
    const char *key;
    const char *value; /* wanted; REMOVE: NULL */
    const char *previous; /* v2: what etcd is known to hold of ours, or NULL */
    const char *attempted; /* v2: what etcd may hold of ours after a write of unknown outcome, or NULL */
    uint64_t revision; /* REPLACE: of the key that may be replaced; HELD: of the holder */
    StoreOutcome outcome;
    bool wrote; /* etcd's data were changed: a watcher was woken */
    char *holder; /* HELD: the value that is there instead (its first 4 KiB); REJECTED: why */
} StoreOp;

typedef struct StoreKey {
    char *key;
    char *value;
} StoreKey;

typedef struct StoreConfig {
    EtcdConfig etcd;
    StoreApi api;
    unsigned ttl_s;
    const char *identity; /* what identifies this host, any text; the lease's ID is derived from it, */
    const char *layout; /* from the key template's literal prefix, */
    /* and, if another host has the same identity, from the advertised address: asked for when etcd has
     * answered, since the route to it may be what decides. NULL: there is none. */
    const char *(*address)(void *userdata);
    int64_t previous_lease; /* v3: of an earlier store of this very agent: its keys move to the new one; 0: none */
    const char *directory; /* v2: made at start without a TTL, so that confd finds it; NULL: none */
    bool nudge; /* v2: wake confd once more after changes, see nudge.h */
    bool read_only; /* dry run: no lease is granted, no directory made */
    /* v3: does a value found under our lease carry an address of this host? false: another host has the
     * same identity (a cloned machine image); its lease is left alone and another ID is derived. NULL: not
     * to be asked, as when values carry no address. */
    bool (*is_own_value)(void *userdata, const char *value);
    void *userdata;
    StoreCounters *counters; /* counted up; the caller's, so that they outlive the store; NULL: nobody counts */
} StoreConfig;

enum { STORE_BATCH_MAX = 128 }; /* etcd's --max-txn-ops default */

/* message: for a log line, what failed and what to do about it; "" with STORE_OK. */
typedef void (*StoreDoneFn)(void *userdata, StoreStatus status, const char *message);
/* keys: those found under our lease (v2: none are known), owned by the store, valid during the call. */
typedef void (*StoreKeysFn)(void *userdata, StoreStatus status, const char *message, const StoreKey *keys,
                            size_t n_keys);

/* Copies config. No request is made yet. */
int store_new(Store **ret, sd_event *event, const StoreConfig *config);
Store *store_free(Store *store);
DEFINE_CLEANUP(Store, store_free)

/* Finds the API (first time and after each failure), v3: finds, takes over or grants the lease (moving keys
 * from a lease of another TTL), v2: makes the directory. Must succeed before the other verbs. */
int store_open(Store *store, StoreKeysFn done, void *userdata);

/* n: 1 to store_batch_max(); distinct keys. ops must live until done. status is of the whole batch; each
 * op's outcome is its own. */
int store_apply(Store *store, StoreOp *ops, size_t n, StoreDoneFn done, void *userdata);

/* v3 only (store_has_lease()): one keepalive. */
int store_heartbeat(Store *store, StoreDoneFn done, void *userdata);

/* v3 only: which keys hang on our lease now. Values are filled in only for keys that is_known() does not
 * know; others have value NULL. STORE_LEASE_LOST also when a clone's keys are found under it. */
int store_audit(Store *store, bool (*is_known)(void *userdata, const char *key), StoreKeysFn done, void *userdata);

/* v3: gives the lease back, deleting every key under it. v2: done at once, STORE_OK. */
int store_revoke(Store *store, StoreDoneFn done, void *userdata);

bool store_has_lease(const Store *store); /* v3, after a successful open */
unsigned store_batch_max(const Store *store); /* operations in one store_apply(): 124, v2: 1 */
unsigned store_concurrency(const Store *store); /* store_apply() calls worth having in flight: 4, v2: 8 */
/* "etcd v3 (3.4.23, auto: it has v3) at http://192.0.2.2:2379, lease 1a2b…": for the log and sd_notify. Valid until
 * the next call. */
const char *store_describe(Store *store);
int64_t store_lease(const Store *store); /* v3: the lease's ID; 0: none */
Etcd *store_etcd(Store *store);
