/* A store, and the etcd behind it: in memory, with a lease for v3 and a TTL per key for v2. Its answers come when the
 * test says so, and fail as the test says. The clock is a fake as well, which stands still until the test moves it. */
#pragma once

#include "etcd/store.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define MS UINT64_C(1000)
#define SECOND UINT64_C(1000000)

/* The clock, for the publisher and for libsystemd. */

static uint64_t fake_now_us = 1000000 * SECOND;

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    (void)clock;
    *ret =
        (struct timespec){ .tv_sec = (time_t)(fake_now_us / SECOND), .tv_nsec = (long)(fake_now_us % SECOND * 1000) };
    return 0;
}

/* etcd */

enum { KEYS_MAX = 4096, JOBS_MAX = 64 };

typedef struct FakeKey {
    char key[48], value[48];
    bool ours; /* v3: under our lease; v2: as the test made it or the store wrote it */
    uint64_t expires_us; /* 0: never, or with the lease */
    uint64_t revision;
} FakeKey;

typedef struct FakeEtcd {
    FakeKey keys[KEYS_MAX];
    size_t n_keys;
    uint64_t revision;
    bool has_lease; /* v3 */
    bool rejects; /* keys and values with that word in them */
    bool rejects_deletions; /* all */
    const char *reject_reason; /* NULL: "too large" */
    uint64_t lease_expires_us; /* 0: there is none */
    size_t n_writes; /* watch events */
    char last_writes[512]; /* "+key -key ", since the test cleared it */
} FakeEtcd;

typedef enum Failure {
    ANSWER, /* none */
    LOSE_BEFORE, /* nothing happened, and no answer */
    LOSE_AFTER, /* it happened, and no answer */
    REFUSE, /* nothing happened, and etcd says so */
    UNCLEAR, /* an answer that tells nothing of the operations */
} Failure;

typedef enum JobKind { JOB_OPEN, JOB_APPLY, JOB_HEARTBEAT, JOB_RESYNC } JobKind;

typedef struct Job {
    JobKind kind;
    StoreOp *ops;
    size_t n;
    StoreDoneFn done;
    StoreKeysFn keys_done;
    StoreKnownFn known;
    void *userdata;
    /* When etcd has done it and the answer is still on its way */
    bool is_done;
    Failure failure;
    StoreStatus status;
    StoreKey *keys;
    size_t n_keys;
} Job;

struct Store {
    FakeEtcd *etcd;
    Refresher *refresher; /* a real one */
    bool has_lease, opened, lease_changed;
    unsigned ttl_s, batch_max, concurrency;
    bool no_memory; /* the next call fails */
    Job jobs[JOBS_MAX];
    size_t n_jobs;
    size_t n_opens, n_applies, n_heartbeats, n_resyncs, n_replaces, n_refreshes, most_at_once, most_refreshes;
};

static inline FakeKey *etcd_find(FakeEtcd *etcd, const char *key)
{
    for (size_t i = 0; i < etcd->n_keys; i++)
        if (strcmp(etcd->keys[i].key, key) == 0)
            return &etcd->keys[i];
    return NULL;
}

static inline FakeKey *etcd_get(FakeEtcd *etcd, const char *key)
{
    FakeKey *found = etcd_find(etcd, key);

    assert_non_null(found);
    return found;
}

static inline void etcd_note(FakeEtcd *etcd, char sign, const char *key)
{
    size_t used = strlen(etcd->last_writes);

    (void)snprintf(etcd->last_writes + used, sizeof(etcd->last_writes) - used, "%c%s ", sign, key);
    etcd->n_writes++;
}

static inline void etcd_put(FakeEtcd *etcd, const char *key, const char *value, bool ours, uint64_t expires_us)
{
    FakeKey *found = etcd_find(etcd, key);

    if (!found) {
        assert_true(etcd->n_keys < KEYS_MAX);
        found = &etcd->keys[etcd->n_keys++];
        (void)snprintf(found->key, sizeof(found->key), "%s", key);
    }
    (void)snprintf(found->value, sizeof(found->value), "%s", value);
    found->ours = ours;
    found->expires_us = expires_us;
    found->revision = ++etcd->revision;
    etcd_note(etcd, '+', key);
}

static inline void etcd_delete(FakeEtcd *etcd, const char *key)
{
    FakeKey *found = etcd_find(etcd, key);

    assert_non_null(found);
    etcd_note(etcd, '-', key);
    *found = etcd->keys[--etcd->n_keys];
}

static inline void etcd_pass_time(FakeEtcd *etcd)
{
    bool lease_over = etcd->lease_expires_us > 0 && etcd->lease_expires_us <= fake_now_us;

    if (lease_over)
        etcd->lease_expires_us = 0;
    for (size_t i = etcd->n_keys; i-- > 0;) {
        FakeKey *key = &etcd->keys[i];
        char name[sizeof(key->key)];

        if ((key->expires_us == 0 || key->expires_us > fake_now_us) && !(lease_over && key->ours))
            continue;
        memcpy(name, key->key, sizeof(name));
        etcd_delete(etcd, name);
    }
}

/* The store */

bool store_has_lease(const Store *store)
{
    return store->opened && store->has_lease;
}

bool store_lease_changed(const Store *store)
{
    return store->lease_changed;
}

Refresher *store_refresher(const Store *store)
{
    return store->has_lease ? NULL : store->refresher;
}

unsigned store_batch_max(const Store *store)
{
    return store->batch_max;
}

unsigned store_concurrency(const Store *store)
{
    return store->concurrency;
}

static inline Job *store_add(Store *store, JobKind kind, void *userdata)
{
    size_t n = 0;

    assert_true(store->n_jobs < JOBS_MAX);
    store->jobs[store->n_jobs] = (Job){ .kind = kind, .userdata = userdata };
    for (size_t i = 0; i < store->n_jobs; i++)
        n += store->jobs[i].kind == JOB_APPLY;
    if (kind == JOB_APPLY && n + 1 > store->most_at_once)
        store->most_at_once = n + 1;
    return &store->jobs[store->n_jobs++];
}

static inline bool store_lacks_memory(Store *store)
{
    bool lacks = store->no_memory;

    store->no_memory = false;
    return lacks;
}

int store_open(Store *store, StoreKeysFn done, void *userdata)
{
    if (store_lacks_memory(store))
        return -ENOMEM;
    store_add(store, JOB_OPEN, userdata)->keys_done = done;
    store->n_opens++;
    return 0;
}

int store_apply(Store *store, StoreOp *ops, size_t n, StoreDoneFn done, void *userdata)
{
    if (store_lacks_memory(store))
        return -ENOMEM;
    Job *job = store_add(store, JOB_APPLY, userdata);

    assert_true(store->opened);
    assert_in_range(n, 1, store->batch_max);
    job->ops = ops;
    job->n = n;
    job->done = done;
    store->n_applies++;
    for (size_t i = 0; i < n; i++) {
        ops[i].outcome = STORE_OP_FAILED;
        ops[i].wrote = false;
        ops[i].holder = NULL;
        store->n_replaces += ops[i].verb == STORE_REPLACE;
        store->n_refreshes += ops[i].verb == STORE_REFRESH;
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(ops[i].key, ops[k].key);
        for (size_t k = 0; k + 1 < store->n_jobs; k++)
            for (size_t l = 0; l < store->jobs[k].n; l++)
                assert_string_not_equal(ops[i].key, store->jobs[k].ops[l].key); /* one under way per key */
    }
    return 0;
}

int store_heartbeat(Store *store, StoreDoneFn done, void *userdata)
{
    if (store_lacks_memory(store))
        return -ENOMEM;
    assert_true(store_has_lease(store));
    store_add(store, JOB_HEARTBEAT, userdata)->done = done;
    store->n_heartbeats++;
    return 0;
}

int store_resync(Store *store, StoreKnownFn known, StoreKeysFn done, void *userdata)
{
    if (store_lacks_memory(store))
        return -ENOMEM;
    Job *job = store_add(store, JOB_RESYNC, userdata);

    assert_true(store_has_lease(store));
    job->known = known;
    job->keys_done = done;
    store->n_resyncs++;
    return 0;
}

static inline void job_clear(Job *job)
{
    for (size_t i = 0; i < job->n_keys; i++) {
        free(job->keys[i].key);
        free(job->keys[i].value);
    }
    free(job->keys);
}

Store *store_free(Store *store)
{
    if (!store)
        return NULL;
    for (size_t i = 0; i < store->n_jobs; i++) {
        for (size_t k = 0; k < store->jobs[i].n; k++)
            free(store->jobs[i].ops[k].holder);
        for (size_t k = 0; k < store->jobs[i].n; k++)
            store->jobs[i].ops[k].holder = NULL;
        job_clear(&store->jobs[i]);
    }
    refresher_free(store->refresher);
    free(store);
    return NULL;
}

static inline Store *fake_store_new(sd_event *event, FakeEtcd *etcd, unsigned ttl_s)
{
    Store *store = calloc(1, sizeof(*store));

    assert_non_null(store);
    assert_int_equal(refresher_new(&store->refresher, event), 0);
    store->etcd = etcd;
    store->has_lease = etcd->has_lease;
    store->ttl_s = ttl_s;
    store->batch_max = etcd->has_lease ? STORE_BATCH_MAX : 1;
    store->concurrency = etcd->has_lease ? 4 : 8;
    return store;
}

/* What etcd does with the jobs. */

static inline bool is(const char *a, const char *b)
{
    return b && strcmp(a, b) == 0;
}

static inline bool op_is_ours(const Store *store, const StoreOp *op, const FakeKey *key)
{
    if (store->has_lease)
        return key->ours;
    return key->expires_us > 0 &&
           (is(key->value, op->value) || is(key->value, op->previous) || is(key->value, op->attempted));
}

static inline void op_write(Store *store, StoreOp *op)
{
    uint64_t expires_us = store->has_lease ? 0 : fake_now_us + store->ttl_s * SECOND;
    FakeKey *key = etcd_find(store->etcd, op->key);

    op->outcome = STORE_OP_DONE;
    if (key && key->ours && is(key->value, op->value)) {
        key->expires_us = expires_us;
        op->known = key->revision;
        return;
    }
    op->wrote = true;
    etcd_put(store->etcd, op->key, op->value, true, expires_us);
    op->known = store->etcd->revision;
}

static inline void op_hold(StoreOp *op, const FakeKey *key)
{
    op->outcome = STORE_OP_CONFLICT;
    op->holder = strdup(key->value);
    assert_non_null(op->holder);
    op->revision = key->revision;
}

static inline void op_do(Store *store, StoreOp *op)
{
    FakeKey *key = etcd_find(store->etcd, op->key);

    op->outcome = STORE_OP_DONE;
    switch (op->verb) {
    case STORE_ENSURE:
    case STORE_REPLACE:
        if (store->etcd->rejects && (strstr(op->key, "reject") || strstr(op->value, "reject"))) {
            op->outcome = STORE_OP_REJECTED;
            op->holder = strdup(store->etcd->reject_reason ? store->etcd->reject_reason : "too large");
        } else if (!key || op_is_ours(store, op, key) || (op->verb == STORE_REPLACE && key->revision == op->revision))
            op_write(store, op);
        else
            op_hold(op, key);
        break;
    case STORE_REMOVE:
        if (store->etcd->rejects_deletions) {
            op->outcome = STORE_OP_REJECTED;
            op->holder = strdup(store->etcd->reject_reason);
            break;
        }
        if (!key || !op_is_ours(store, op, key))
            break;
        op->wrote = true;
        op->known = 0;
        etcd_delete(store->etcd, op->key);
        break;
    case STORE_REFRESH:
        assert_false(store->has_lease);
        if (!key)
            op->outcome = STORE_OP_LOST;
        else if (!is(key->value, op->value))
            op_hold(op, key);
        else
            key->expires_us = fake_now_us + store->ttl_s * SECOND;
        break;
    case STORE_PEEK:
        if (!key)
            op->outcome = STORE_OP_LOST;
        else if (!op_is_ours(store, op, key))
            op_hold(op, key);
        else if (!is(key->value, op->value))
            op->outcome = STORE_OP_CHANGED;
        break;
    }
}

static inline void job_take_keys(Store *store, Job *job)
{
    FakeEtcd *etcd = store->etcd;

    job->keys = calloc(etcd->n_keys + 1, sizeof(*job->keys));
    assert_non_null(job->keys);
    for (size_t i = 0; i < etcd->n_keys && store->has_lease; i++) {
        FakeKey *key = &etcd->keys[i];
        bool known = job->known && job->known(job->userdata, key->key) == key->revision;

        if (!key->ours)
            continue;
        job->keys[job->n_keys].key = strdup(key->key);
        job->keys[job->n_keys].revision = key->revision;
        job->keys[job->n_keys++].value = known ? NULL : strdup(key->value);
    }
}

/* Happens in etcd; the answer is then on its way. */
static inline void job_do(Store *store, Job *job, Failure failure)
{
    FakeEtcd *etcd = store->etcd;

    etcd_pass_time(etcd);
    job->is_done = true;
    job->failure = failure;
    job->status = failure == REFUSE                                 ? STORE_REFUSED
                  : failure == LOSE_BEFORE || failure == LOSE_AFTER ? STORE_UNREACHABLE
                                                                    : STORE_OK;
    if (failure == LOSE_BEFORE || failure == REFUSE || failure == UNCLEAR)
        return;
    if (job->kind == JOB_OPEN && store->has_lease)
        etcd->lease_expires_us = fake_now_us + store->ttl_s * SECOND;
    else if (store->has_lease && etcd->lease_expires_us == 0) {
        job->status = failure == ANSWER ? STORE_LEASE_LOST : job->status;
        return;
    }
    if (job->kind == JOB_OPEN || job->kind == JOB_RESYNC)
        job_take_keys(store, job);
    if (job->kind == JOB_HEARTBEAT)
        etcd->lease_expires_us = fake_now_us + store->ttl_s * SECOND;
    for (size_t i = 0; i < job->n; i++)
        op_do(store, &job->ops[i]);
    for (size_t i = 0; i < job->n && failure == LOSE_AFTER; i++) {
        free(job->ops[i].holder);
        job->ops[i].holder = NULL;
        job->ops[i].outcome = STORE_OP_FAILED;
    }
}

static inline void job_answer(Store *store, size_t position)
{
    Job job = store->jobs[position];
    const char *message = job.status == STORE_OK ? "" : job.status == STORE_REFUSED ? "refused" : "no answer";

    memmove(&store->jobs[position], &store->jobs[position + 1], (--store->n_jobs - position) * sizeof(*store->jobs));
    if (job.kind == JOB_OPEN)
        store->opened = job.status == STORE_OK || store->opened;
    if (job.keys_done)
        job.keys_done(job.userdata, job.status, message, job.status == STORE_OK ? job.keys : NULL,
                      job.status == STORE_OK ? job.n_keys : 0);
    else
        job.done(job.userdata, job.status, message);
    job_clear(&job);
}
