/* v3's verbs. etcd3_apply() writes keys. */
#include "etcd/etcd3_call.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    APPLY_BYTES_MAX = 1024 * 1024, /* bytes of one transaction; etcd's limit is 1.5 MiB */
    HEARTBEAT_TIMEOUT_MS_MAX = 5000,
    /* Transactions for one slice. After so many, another writer changes the keys each time, and the slice waits for
     * the next batch. */
    ROUNDS_MAX = 8,
};

/* Applying writes in slices of as many operations as etcd accepts at once. A transaction writes a slice only if each
 * key is as known. Otherwise the answer shows all keys of the slice, and the next transaction uses these facts. If
 * etcd refuses a slice because of one key, smaller slices find the key, so that one bad key stops no other key. */

typedef struct ApplyJob {
    Etcd3Job call;
    StoreOp *ops;
    size_t n;
    StoreOp *slice[STORE_BATCH_MAX]; /* operations without an outcome */
    size_t count, slice_max;
    unsigned rounds; /* transactions of this slice without any outcome */
    bool clone;
} ApplyJob;

static void apply_next(ApplyJob *apply);

/* The store writes nothing without a lease. */
static void finish_unopened(StoreJob *job)
{
    store_job_finish(job, STORE_UNREACHABLE, "etcd has not been asked for the lease yet");
}

static bool slice_has_outcome(const ApplyJob *apply)
{
    for (size_t i = 0; i < apply->count; i++)
        if (apply->slice[i]->outcome != STORE_OP_FAILED)
            return true;
    return false;
}

static void on_applied(Etcd3Job *job, const cJSON *json)
{
    ApplyJob *apply = (ApplyJob *)job;
    const Store *store = job->job.store;
    bool clone;
    Etcd3Ours ours = {
        .lease = store->etcd3->lease,
        .others = store->etcd3->others,
        .n_others = store->config.read_only ? LEASES : 0,
        .writer = store->config.writer,
        .userdata = store->config.userdata,
    };

    if (etcd3_parse_apply(json, apply->slice, apply->count, &ours, &clone) < 0) {
        etcd3_finish_nonsense(job);
        return;
    }
    apply->clone |= clone;
    apply->rounds = slice_has_outcome(apply) ? 0 : apply->rounds + 1;
    apply->slice_max *= 2;
    apply_next(apply);
}

static bool error_is_of_one_key(GrpcCode code, const char *message)
{
    return code == GRPC_PERMISSION_DENIED || code == GRPC_RESOURCE_EXHAUSTED || strstr(message, "request is too large");
}

static bool on_apply_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    ApplyJob *apply = (ApplyJob *)job;

    if (code != GRPC_RESOURCE_EXHAUSTED && etcd3_learn_ops_max(job->job.store, message, apply->count)) {
        apply_next(apply);
        return true;
    }
    if (!error_is_of_one_key(code, message) || etcd3_judge(code, message) != STORE_REFUSED ||
        strstr(message, "database space exceeded"))
        return false;
    if (apply->count > 1) {
        apply->slice_max = apply->count / 2;
    } else {
        apply->slice[0]->outcome = STORE_OP_REJECTED;
        apply->slice[0]->holder = strdup(message);
    }
    apply_next(apply);
    return true;
}

static void apply_fill_slice(ApplyJob *apply)
{
    size_t max = etcd3_ops_max(apply->call.job.store), bytes = 0, compares = 0;

    if (apply->slice_max > max)
        apply->slice_max = max;
    apply->count = 0;
    for (size_t i = 0; i < apply->n && apply->count < apply->slice_max; i++) {
        StoreOp *op = &apply->ops[i];

        if (op->outcome != STORE_OP_FAILED)
            continue;
        bytes += etcd3_op_size(op);
        compares += etcd3_op_compares(op);
        if (apply->count > 0 && (bytes > APPLY_BYTES_MAX || compares > max))
            break;
        apply->slice[apply->count++] = op;
    }
}

static void apply_next(ApplyJob *apply)
{
    Store *store = apply->call.job.store;

    apply_fill_slice(apply);
    if (apply->clone && (apply->count == 0 || apply->rounds == ROUNDS_MAX)) {
        etcd3_finish_clone(&apply->call);
        return;
    }
    if (apply->count == 0 || apply->rounds == ROUNDS_MAX) {
        store_job_finish_ok(&apply->call.job);
        return;
    }
    etcd3_call(&apply->call, "kv/txn", etcd3_build_apply(apply->slice, apply->count, store->etcd3->lease), on_applied,
               on_apply_error);
}

static int etcd3_apply(Store *store, StoreOp *ops, size_t n, StoreDoneFn done, void *userdata)
{
    ApplyJob *apply = store_job_new(store, STORE_OPERATION_WRITE, sizeof(*apply), done, NULL, userdata);

    if (!apply)
        return -ENOMEM;
    apply->call.job.clear = etcd3_call_clear;
    apply->ops = ops;
    apply->n = n;
    apply->slice_max = ETCD3_OPS_MAX;
    if (store->etcd3->lease == 0)
        finish_unopened(&apply->call.job);
    else
        apply_next(apply);
    return 0;
}

/* Heartbeat */

static void on_heartbeat(Etcd3Job *job, const cJSON *json)
{
    if (etcd3_parse_ttl(json) > 0)
        store_job_finish_ok(&job->job);
    else
        etcd3_finish_code(&job->job, GRPC_NOT_FOUND, "requested lease not found");
}

static int etcd3_heartbeat(Store *store, StoreDoneFn done, void *userdata)
{
    Etcd3Job *job = store_job_new(store, STORE_OPERATION_HEARTBEAT, sizeof(*job), done, NULL, userdata);

    if (!job)
        return -ENOMEM;
    job->job.clear = etcd3_call_clear;
    job->timeout_ms = store_timeout_ms(store, HEARTBEAT_TIMEOUT_MS_MAX);
    if (store->etcd3->lease == 0)
        finish_unopened(&job->job);
    else
        etcd3_call(job, "lease/keepalive", etcd3_build_lease(store->etcd3->lease), on_heartbeat, NULL);
    return 0;
}

/* Resync */

/* Reads the keys under the lease, then their mod revisions, then the values of the keys with an unknown mod
 * revision. If etcd's data has not changed since a resync that found each key as known, the first answer is
 * sufficient. */
typedef struct ResyncJob {
    Etcd3Job call;
    StoreKnownFn known;
    Etcd3Lease lease;
    size_t n_changed; /* changed keys come first in lease.keys, once the revisions have been read */
    size_t position, count;
    bool values; /* the second pass, which reads values */
} ResyncJob;

static void resync_read(ResyncJob *resync);

static void clear_resync(StoreJob *job)
{
    etcd3_lease_clear_keys(&((ResyncJob *)job)->lease);
    etcd3_call_clear(job);
}

static void resync_sort(ResyncJob *resync)
{
    Etcd3Lease *lease = &resync->lease;

    for (size_t i = 0; i < lease->n_keys; i++) {
        Etcd3Key key = lease->keys[i];

        if (key.revision > 0 && key.lease == lease->id &&
            resync->known(resync->call.job.userdata, key.key) == key.revision)
            continue;
        lease->keys[i] = lease->keys[resync->n_changed];
        lease->keys[resync->n_changed++] = key;
    }
}

static void on_resync_read(Etcd3Job *job, const cJSON *json)
{
    ResyncJob *resync = (ResyncJob *)job;

    for (size_t i = 0; i < resync->count; i++) {
        Etcd3Key *key = &resync->lease.keys[resync->position + i];

        free(key->value); /* of the first pass, and empty */
        key->value = NULL;
    }
    if (etcd3_parse_ranges(json, resync->lease.keys + resync->position, resync->count) < 0) {
        etcd3_finish_nonsense(job);
        return;
    }
    resync->position += resync->count;
    resync_read(resync);
}

static bool on_resync_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    ResyncJob *resync = (ResyncJob *)job;

    (void)code;
    if (!etcd3_learn_ops_max(job->job.store, message, resync->count))
        return false;
    resync_read(resync);
    return true;
}

static bool resync_finds_clone(const ResyncJob *resync)
{
    const Store *store = resync->call.job.store;

    for (size_t i = 0; i < resync->n_changed; i++) {
        const Etcd3Key *key = &resync->lease.keys[i];
        if (key->value && key->lease == resync->lease.id &&
            etcd3_writer(store, key->key, key->value) == STORE_WRITER_OTHER)
            return true;
    }
    return false;
}

static void resync_finish(ResyncJob *resync)
{
    StoreJob *job = &resync->call.job;

    if (resync_finds_clone(resync)) {
        etcd3_finish_clone(&resync->call);
        return;
    }
    job->store->etcd3->resynced = resync->n_changed == 0 ? resync->lease.revision : 0;
    job->keys = calloc(resync->lease.n_keys > 0 ? resync->lease.n_keys : 1, sizeof(*job->keys));
    if (!job->keys) {
        store_job_finish_memory(&resync->call.job);
        return;
    }
    for (size_t i = 0; i < resync->lease.n_keys; i++) {
        Etcd3Key *key = &resync->lease.keys[i];
        bool changed = i < resync->n_changed;
        /* Drops a key that is absent now, or that another owner has. */
        if (changed && (!key->value || key->lease != resync->lease.id))
            continue;
        job->keys[job->n_keys++] =
            (StoreKey){ TAKE_PTR(key->key), changed ? TAKE_PTR(key->value) : NULL, key->revision };
    }
    store_job_finish_ok(job);
}

static void resync_read(ResyncJob *resync)
{
    size_t n = resync->values ? resync->n_changed : resync->lease.n_keys;
    const Etcd3Key *keys;

    if (resync->position == n && !resync->values) {
        resync_sort(resync);
        resync->values = true;
        resync->position = 0;
        resync_read(resync);
        return;
    }
    if (resync->position == n) {
        resync_finish(resync);
        return;
    }
    keys = &resync->lease.keys[resync->position];
    resync->count = etcd3_slice(resync->call.job.store, resync->position, n);
    etcd3_call(&resync->call, "kv/txn",
               resync->values ? etcd3_build_ranges(keys, resync->count)
                              : etcd3_build_ranges_without_values(keys, resync->count),
               on_resync_read, on_resync_error);
}

static bool resync_needs_no_read(ResyncJob *resync)
{
    Etcd3Lease *lease = &resync->lease;
    void *userdata = resync->call.job.userdata;

    if (lease->revision == 0 || lease->revision != resync->call.job.store->etcd3->resynced)
        return false;
    for (size_t i = 0; i < lease->n_keys; i++)
        if (resync->known(userdata, lease->keys[i].key) == 0)
            return false;
    for (size_t i = 0; i < lease->n_keys; i++)
        lease->keys[i].revision = resync->known(userdata, lease->keys[i].key);
    return true;
}

static void on_resync_listed(Etcd3Job *job, const cJSON *json)
{
    ResyncJob *resync = (ResyncJob *)job;

    if (etcd3_parse_time_to_live(json, &resync->lease) < 0) {
        etcd3_finish_nonsense(job);
        return;
    }
    if (!etcd3_lease_exists(&resync->lease)) {
        etcd3_finish_code(&job->job, GRPC_NOT_FOUND, "requested lease not found");
        return;
    }
    if (resync_needs_no_read(resync))
        resync->position = resync->lease.n_keys;
    resync_read(resync);
}

static int etcd3_resync(Store *store, StoreKnownFn known, StoreKeysFn done, void *userdata)
{
    ResyncJob *resync = store_job_new(store, STORE_OPERATION_RESYNC, sizeof(*resync), NULL, done, userdata);

    if (!resync)
        return -ENOMEM;
    resync->call.job.clear = clear_resync;
    resync->known = known;
    resync->lease.id = store->etcd3->lease;
    if (resync->lease.id == 0)
        finish_unopened(&resync->call.job);
    else
        etcd3_call(&resync->call, "lease/timetolive", etcd3_build_time_to_live(resync->lease.id), on_resync_listed,
                   NULL);
    return 0;
}

static bool etcd3_has_lease(const Store *store)
{
    return store->etcd3->lease != 0;
}

static int64_t etcd3_lease(const Store *store)
{
    return store->etcd3->lease;
}

static bool etcd3_lease_changed(const Store *store)
{
    const Etcd3 *etcd3 = store->etcd3;

    return etcd3->lease_before != 0 && etcd3->lease_before != etcd3->lease;
}

static void etcd3_describe(const Store *store, FILE *out)
{
    if (etcd3_has_lease(store))
        fprintf(out, ", lease %" PRIx64, (uint64_t)store->etcd3->lease);
}

const StoreBackend etcd3_backend = {
    .name = "v3",
    .batch_max = ETCD3_OPS_MAX,
    .concurrency = 4,
    .attach = etcd3_attach,
    .detach = etcd3_detach,
    .open = etcd3_open,
    .apply = etcd3_apply,
    .heartbeat = etcd3_heartbeat,
    .resync = etcd3_resync,
    .has_lease = etcd3_has_lease,
    .lease = etcd3_lease,
    .lease_changed = etcd3_lease_changed,
    .describe = etcd3_describe,
};
