/* The store: etcd's v3 or v2 API behind one set of verbs. All calls are asynchronous. Each done is called exactly once,
 * never from within the call itself, and not after store_free(). The only error of a call is -ENOMEM. After -ENOMEM, no
 * request was sent, and done is not called. The store keeps no list of keys, because the publisher has this list. */
#pragma once

#include "base/cleanup.h"
#include "etcd/etcd.h"
#include "etcd/refresher.h"

typedef struct Store Store;

typedef enum StoreApi { STORE_AUTO, STORE_V3, STORE_V2 } StoreApi;

typedef enum StoreStatus {
    STORE_OK,
    STORE_LEASE_LOST, /* v3: the caller must open the store again, then write every key again */
    STORE_UNREACHABLE, /* no answer, no leader, or 5xx: the caller tries again; the outcome of writes is unknown */
    STORE_REFUSED, /* etcd would give the same answer again: permission, wrong API, malformed request */
    STORE_STATUS_MAX_,
} StoreStatus;

/* The purposes of requests to etcd, for the metrics. */
typedef enum StoreOperation {
    STORE_OPERATION_OPEN, /* finds the API, the lease and its keys */
    STORE_OPERATION_WRITE, /* puts and deletes; v3: many in one transaction */
    STORE_OPERATION_HEARTBEAT, /* v3: renews the lease */
    STORE_OPERATION_REFRESH, /* v2: renews the TTL of a key */
    STORE_OPERATION_RESYNC, /* v3: lists the keys of the lease */
    STORE_OPERATION_AUTH, /* v3: gets a token */
    STORE_OPERATION_MAX_,
} StoreOperation;

typedef struct StoreCounters {
    uint64_t requests[STORE_OPERATION_MAX_][STORE_STATUS_MAX_];
} StoreCounters;

const char *store_operation_to_string(StoreOperation operation); /* "open", "write", … */
const char *store_status_to_string(StoreStatus status); /* "ok", "lease_lost", … */

typedef enum StoreVerb {
    /* Registers the key with the value and our TTL. Creates an absent key. Changes our key if its value differs.
     * Another owner's key stays, and the outcome is CONFLICT. v3: a key is ours if its mod revision is `known`, or if
     * it is under our lease and its value is value, previous, attempted or another value of this host. v2: a key is
     * ours if it has a TTL, and its value is value, previous or attempted. */
    STORE_ENSURE,
    /* Like ENSURE, but takes over another owner's key if its revision is still op->revision (from an earlier
     * CONFLICT). */
    STORE_REPLACE,
    /* Deletes the key if it is ours (see ENSURE). If the key is absent or another owner's, deletes nothing. The outcome
     * is DONE in each case. */
    STORE_REMOVE,
    /* v2 only: renews the TTL of a key with this value. From etcd 2.3 on, no watcher wakes. Outcome LOST: the key is
     * absent. CONFLICT: the key has another value. */
    STORE_REFRESH,
    /* Writes nothing. The outcome tells what ENSURE would do. DONE: nothing, the key is as wanted. LOST: create the
     * absent key. CHANGED: change our key. CONFLICT: nothing, the key is another owner's. */
    STORE_PEEK,
} StoreVerb;

typedef enum StoreOutcome {
    STORE_OP_FAILED, /* the outcome is unknown, and the caller asks again; each op begins with this */
    STORE_OP_DONE,
    STORE_OP_CHANGED,
    STORE_OP_CONFLICT,
    STORE_OP_LOST,
    STORE_OP_REJECTED, /* etcd refuses this key or value (too large, …) */
} StoreOutcome;

/* One operation. The caller owns the strings, which must live until done. holder is malloc'd for the caller. */
typedef struct StoreOp {
    StoreVerb verb;
    const char *key;
    const char *value; /* the wanted value; REMOVE: NULL */
    const char *previous; /* our value that etcd is known to have, or NULL */
    const char *attempted; /* our value that etcd may have, after a write of unknown outcome, or NULL */
    uint64_t known; /* mod revision (v2: modifiedIndex) of our key, 0: not known; done updates it */
    uint64_t revision; /* REPLACE: revision of the key to replace; CONFLICT: revision of the other owner's key */
    StoreOutcome outcome;
    bool wrote; /* the operation changed etcd's data, which wakes watchers */
    char *holder; /* CONFLICT: the other owner's value (first 4 KiB); REJECTED: the reason */
} StoreOp;

typedef struct StoreKey {
    char *key;
    char *value;
    uint64_t revision; /* v3: the key's mod revision */
} StoreKey;

/* Which host wrote a key, by the addresses that the key and its value carry. */
typedef enum StoreWriter {
    STORE_WRITER_UNKNOWN, /* no address in the key and the value */
    STORE_WRITER_THIS,
    STORE_WRITER_OTHER,
} StoreWriter;

typedef struct StoreConfig {
    EtcdConfig etcd;
    StoreApi api;
    unsigned ttl_s;
    /* The store derives the lease's ID from identity and layout. */
    const char *identity; /* any text that identifies this host */
    const char *layout; /* the key template's literal prefix */
    /* Returns the advertised address; NULL: not known. The lease's ID depends on the address too if another host has
     * the same identity. The store asks after etcd has answered, because the route to etcd may decide the address. */
    const char *(*address)(void *userdata);
    /* An earlier store of this agent, whose keys move to the new lease; NULL: none. Only store_new() reads it. */
    const Store *previous;
    /* v2: store_open() makes these without a TTL, so that confd finds them. Each begins with a slash. */
    char *const *directories;
    size_t n_directories;
    bool nudge; /* v2: wakes confd once more after changes, see nudge.h */
    bool read_only; /* dry run: the store grants no lease and makes no directory */
    /* v3: returns which host wrote a key under our lease. After STORE_WRITER_OTHER, the store leaves this lease alone
     * and derives another ID, because another host has the same identity (a cloned machine image). NULL: values contain
     * no address. */
    StoreWriter (*writer)(void *userdata, const char *key, const char *value);
    void *userdata;
    StoreCounters *counters; /* belong to the caller, because they outlive the store; NULL: no counters */
} StoreConfig;

enum { STORE_BATCH_MAX = 128 }; /* default of etcd's --max-txn-ops */

/* message is for a log line: the error and the remedy, or "" with STORE_OK. */
typedef void (*StoreDoneFn)(void *userdata, StoreStatus status, const char *message);
/* keys are the keys under our lease (v2: none). The store owns them, and they are valid during the call. */
typedef void (*StoreKeysFn)(void *userdata, StoreStatus status, const char *message, const StoreKey *keys,
                            size_t n_keys);

/* Makes a store. Copies config, and sends no request. Returns 0 or a negative errno. */
int store_new(Store **ret, sd_event *event, const StoreConfig *config);
Store *store_free(Store *store);
DEFINE_CLEANUP(Store, store_free)

/* Must succeed before the other verbs. Finds the API, the first time and after each failure. v3: finds, takes over or
 * grants the lease, and moves keys from a lease with another TTL. v2: makes the directories. */
int store_open(Store *store, StoreKeysFn done, void *userdata);

/* Carries out n operations, 1 to store_batch_max(), on distinct keys. ops must live until done. done's status is for
 * the whole batch. Each op has its own outcome. */
int store_apply(Store *store, StoreOp *ops, size_t n, StoreDoneFn done, void *userdata);

/* Sends one keepalive. Only with store_has_lease(). */
int store_heartbeat(Store *store, StoreDoneFn done, void *userdata);

/* Returns the known mod revision of our key, or 0 if it is not known. */
typedef uint64_t (*StoreKnownFn)(void *userdata, const char *key);

/* Lists the keys under our lease. Only with store_has_lease(). A key whose mod revision is known() has the value NULL,
 * and every other key has its value. The status is STORE_LEASE_LOST also if a cloned host's keys are under the
 * lease. */
int store_resync(Store *store, StoreKnownFn known, StoreKeysFn done, void *userdata);

/* Are all keys under one lease? Otherwise STORE_REFRESH renews each key. False until the first successful open. */
bool store_has_lease(const Store *store);
int64_t store_lease(const Store *store); /* 0: no lease */
/* Returns the pace of the refreshes, whose handlers call store_apply() with STORE_REFRESH. Returns NULL with a lease,
 * because a lease needs no refreshes. */
Refresher *store_refresher(const Store *store);
/* Did the last open take another lease than the one before? */
bool store_lease_changed(const Store *store);
unsigned store_batch_max(const Store *store); /* operations in one store_apply(): v3: 126, v2: 1 */
unsigned store_concurrency(const Store *store); /* store_apply() calls at once: v3: 4, v2: 8 */
/* The inverse of store_name(). */
StoreApi store_api_from_name(const char *name);
const char *store_name(const Store *store); /* "v3", "v2" */
/* Describes the store for the log and sd_notify: "etcd v3 (3.4.23, auto: it has v3) at http://192.0.2.2:2379, lease
 * 1a2b…". The text is valid until the next call. */
const char *store_describe(Store *store);
Etcd *store_etcd(Store *store);
