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
typedef struct AuditJob {
    Etcd3Job call;
    StoreKnownFn known;
    Etcd3Lease lease;
    size_t n_changed; /* changed keys come first in lease.keys, once the revisions have been read */
    size_t position, count;
    bool values; /* the second pass, which reads values */
} AuditJob;

static void audit_read(AuditJob *audit);

static void clear_audit(StoreJob *job)
{
    etcd3_lease_clear_keys(&((AuditJob *)job)->lease);
    etcd3_call_clear(job);
}

static void audit_sort(AuditJob *audit)
{
    Etcd3Lease *lease = &audit->lease;

    for (size_t i = 0; i < lease->n_keys; i++) {
        Etcd3Key key = lease->keys[i];

        if (key.revision > 0 && key.lease == lease->id &&
            audit->known(audit->call.job.userdata, key.key) == key.revision)
            continue;
        lease->keys[i] = lease->keys[audit->n_changed];
        lease->keys[audit->n_changed++] = key;
    }
}

static void on_audit_read(Etcd3Job *job, const cJSON *json)
{
    AuditJob *audit = (AuditJob *)job;

    for (size_t i = 0; i < audit->count; i++) {
        Etcd3Key *key = &audit->lease.keys[audit->position + i];

        free(key->value); /* of the first pass, and empty */
        key->value = NULL;
    }
    if (etcd3_parse_ranges(json, audit->lease.keys + audit->position, audit->count) < 0) {
        etcd3_finish_nonsense(job);
        return;
    }
    audit->position += audit->count;
    audit_read(audit);
}

static bool on_audit_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    AuditJob *audit = (AuditJob *)job;

    (void)code;
    if (!etcd3_learn_ops_max(job->job.store, message, audit->count))
        return false;
    audit_read(audit);
    return true;
}

static bool audit_finds_clone(const AuditJob *audit)
{
    const Store *store = audit->call.job.store;

    for (size_t i = 0; i < audit->n_changed; i++) {
        const Etcd3Key *key = &audit->lease.keys[i];
        if (key->value && key->lease == audit->lease.id &&
            etcd3_writer(store, key->key, key->value) == STORE_WRITER_OTHER)
            return true;
    }
    return false;
}

static void audit_finish(AuditJob *audit)
{
    StoreJob *job = &audit->call.job;

    if (audit_finds_clone(audit)) {
        etcd3_finish_clone(&audit->call);
        return;
    }
    job->store->etcd3->audited = audit->n_changed == 0 ? audit->lease.revision : 0;
    job->keys = calloc(audit->lease.n_keys > 0 ? audit->lease.n_keys : 1, sizeof(*job->keys));
    if (!job->keys) {
        etcd3_finish_memory(&audit->call);
        return;
    }
    for (size_t i = 0; i < audit->lease.n_keys; i++) {
        Etcd3Key *key = &audit->lease.keys[i];
        bool changed = i < audit->n_changed;
        /* Drops a key that is absent now, or that another owner has. */
        if (changed && (!key->value || key->lease != audit->lease.id))
            continue;
        job->keys[job->n_keys++] =
            (StoreKey){ TAKE_PTR(key->key), changed ? TAKE_PTR(key->value) : NULL, key->revision };
    }
    store_job_finish_ok(job);
}

static void audit_read(AuditJob *audit)
{
    size_t n = audit->values ? audit->n_changed : audit->lease.n_keys;
    const Etcd3Key *keys;

    if (audit->position == n && !audit->values) {
        audit_sort(audit);
        audit->values = true;
        audit->position = 0;
        audit_read(audit);
        return;
    }
    if (audit->position == n) {
        audit_finish(audit);
        return;
    }
    keys = &audit->lease.keys[audit->position];
    audit->count = etcd3_slice(audit->call.job.store, audit->position, n);
    etcd3_call(&audit->call, "kv/txn",
               audit->values ? etcd3_build_ranges(keys, audit->count)
                             : etcd3_build_ranges_without_values(keys, audit->count),
               on_audit_read, on_audit_error);
}

static bool audit_needs_no_read(AuditJob *audit)
{
    Etcd3Lease *lease = &audit->lease;
    void *userdata = audit->call.job.userdata;

    if (lease->revision == 0 || lease->revision != audit->call.job.store->etcd3->audited)
        return false;
    for (size_t i = 0; i < lease->n_keys; i++)
        if (audit->known(userdata, lease->keys[i].key) == 0)
            return false;
    for (size_t i = 0; i < lease->n_keys; i++)
        lease->keys[i].revision = audit->known(userdata, lease->keys[i].key);
    return true;
}

static void on_audited(Etcd3Job *job, const cJSON *json)
{
    AuditJob *audit = (AuditJob *)job;

    if (etcd3_parse_time_to_live(json, &audit->lease) < 0) {
        etcd3_finish_nonsense(job);
        return;
    }
    if (!etcd3_lease_exists(&audit->lease)) {
        etcd3_finish_code(&job->job, GRPC_NOT_FOUND, "requested lease not found");
        return;
    }
    if (audit_needs_no_read(audit))
        audit->position = audit->lease.n_keys;
    audit_read(audit);
}

static int etcd3_audit(Store *store, StoreKnownFn known, StoreKeysFn done, void *userdata)
{
    AuditJob *audit = store_job_new(store, STORE_OPERATION_AUDIT, sizeof(*audit), NULL, done, userdata);

    if (!audit)
        return -ENOMEM;
    audit->call.job.clear = clear_audit;
    audit->known = known;
    audit->lease.id = store->etcd3->lease;
    if (audit->lease.id == 0)
        finish_unopened(&audit->call.job);
    else
        etcd3_call(&audit->call, "lease/timetolive", etcd3_build_time_to_live(audit->lease.id), on_audited, NULL);
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
    .audit = etcd3_audit,
    .has_lease = etcd3_has_lease,
    .lease = etcd3_lease,
    .lease_changed = etcd3_lease_changed,
    .describe = etcd3_describe,
};
