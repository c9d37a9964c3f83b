#include "etcd3_call.h"

#include <errno.h>
#include <string.h>

enum {
    APPLY_BYTES_MAX = 1024 * 1024, /* of one transaction; etcd's limit is 1.5 MiB */
    HEARTBEAT_TIMEOUT_MS_MAX = 5000,
};

/* Applying: in slices, as many operations as etcd takes at once. If it refuses a slice for one of its keys,
 * smaller ones find out which, so that one bad key stops no other. */

typedef struct ApplyJob {
    Etcd3Job call;
    StoreOp *ops;
    size_t n, position, count;
    size_t slice_max;
    size_t n_rejected;
    bool plain; /* the request under way is a plain one */
    bool not_plain; /* this slice was tried so in vain */
} ApplyJob;

static void apply_next(ApplyJob *apply);

static void on_applied(Etcd3Job *job, const cJSON *json)
{
    ApplyJob *apply = (ApplyJob *)job;
    const Store *store = job->job.store;
    size_t n_others = store->config.read_only ? ETCD3_CANDIDATES : 0;

    if (apply->plain && !etcd3_parse_plain(json, apply->ops + apply->position, apply->count)) {
        apply->not_plain = true;
        apply_next(apply);
        return;
    }
    if (!apply->plain && etcd3_parse_apply(json, apply->ops + apply->position, apply->count, store->etcd3->lease,
                                           store->etcd3->others, n_others) < 0) {
        etcd3_finish_nonsense(job);
        return;
    }
    for (size_t i = 0; i < apply->count; i++)
        store->etcd3->has_written |= apply->ops[apply->position + i].wrote;
    apply->position += apply->count;
    apply->not_plain = false;
    apply->slice_max = apply->slice_max * 2 < ETCD3_OPS_MAX ? apply->slice_max * 2 : ETCD3_OPS_MAX;
    apply_next(apply);
}

static bool error_is_of_one_key(GrpcCode code, const char *message)
{
    return code == GRPC_PERMISSION_DENIED || code == GRPC_RESOURCE_EXHAUSTED ||
           strstr(message, "request is too large") || strstr(message, "too many operations");
}

static bool on_apply_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    ApplyJob *apply = (ApplyJob *)job;
    StoreOp *op = &apply->ops[apply->position];

    if (!error_is_of_one_key(code, message) || etcd3_judge(code, message) != STORE_REFUSED ||
        strstr(message, "database space exceeded"))
        return false;
    if (apply->count > 1) {
        apply->slice_max = apply->count / 2;
        apply_next(apply);
        return true;
    }
    /* All of them, down to the last, and none before: this is not about a key. */
    if (apply->n_rejected + 1 == apply->n && code == GRPC_PERMISSION_DENIED && !job->job.store->etcd3->has_written)
        return false;
    op->outcome = STORE_OP_REJECTED;
    op->holder = strdup(message);
    apply->n_rejected++;
    apply->position++;
    apply_next(apply);
    return true;
}

static void apply_next(ApplyJob *apply)
{
    Store *store = apply->call.job.store;
    size_t bytes = 0, count = 0;
    char *body;

    if (apply->position == apply->n) {
        store_job_finish_ok(&apply->call.job);
        return;
    }
    while (apply->position + count < apply->n && count < apply->slice_max) {
        bytes += etcd3_op_size(&apply->ops[apply->position + count]);
        if (count > 0 && bytes > APPLY_BYTES_MAX)
            break;
        count++;
    }
    apply->count = count;
    apply->plain = !apply->not_plain && etcd3_is_plain(apply->ops + apply->position, count);
    if (apply->plain)
        body = etcd3_build_plain(apply->ops + apply->position, count, store->etcd3->lease);
    else
        body = etcd3_build_apply(apply->ops + apply->position, count, store->etcd3->lease, store->user != NULL);
    etcd3_call(&apply->call, "kv/txn", body, on_applied, on_apply_error);
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
    apply_next(apply);
    return 0;
}

/* Heartbeat and revocation */

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
    etcd3_call(job, "lease/keepalive", etcd3_build_lease(store->etcd3->lease), on_heartbeat, NULL);
    return 0;
}

static void on_revoked(Etcd3Job *job, const cJSON *json)
{
    (void)json;
    store_job_finish_ok(&job->job);
}

static bool on_revoke_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    if (!etcd3_lease_is_gone(code, message))
        return false;
    store_job_finish_ok(&job->job);
    return true;
}

static int etcd3_revoke(Store *store, StoreDoneFn done, void *userdata)
{
    Etcd3Job *job = store_job_new(store, STORE_OPERATION_WRITE, sizeof(*job), done, NULL, userdata);

    if (!job)
        return -ENOMEM;
    job->job.clear = etcd3_call_clear;
    etcd3_call(job, "lease/revoke", etcd3_build_lease(store->etcd3->lease), on_revoked, on_revoke_error);
    return 0;
}

/* Audit */

typedef struct AuditJob {
    Etcd3Job call;
    bool (*is_known)(void *userdata, const char *key);
    Etcd3Lease lease;
    size_t n_unknown; /* they come first in lease.keys */
    size_t position, count;
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
        if (audit->is_known(audit->call.job.userdata, lease->keys[i].key))
            continue;
        Etcd3Key key = lease->keys[i];
        lease->keys[i] = lease->keys[audit->n_unknown];
        lease->keys[audit->n_unknown++] = key;
    }
}

static void on_audit_read(Etcd3Job *job, const cJSON *json)
{
    AuditJob *audit = (AuditJob *)job;

    if (etcd3_parse_ranges(json, audit->lease.keys + audit->position, audit->count) < 0) {
        etcd3_finish_nonsense(job);
        return;
    }
    audit->position += audit->count;
    audit_read(audit);
}

static bool audit_finds_clone(const AuditJob *audit)
{
    const Store *store = audit->call.job.store;

    for (size_t i = 0; i < audit->n_unknown; i++) {
        const Etcd3Key *key = &audit->lease.keys[i];
        if (key->value && key->lease == audit->lease.id && !etcd3_value_is_own(store, key->value))
            return true;
    }
    return false;
}

static void audit_finish(AuditJob *audit)
{
    StoreJob *job = &audit->call.job;

    if (audit_finds_clone(audit)) {
        store_job_finish(job, STORE_LEASE_LOST,
                         "another host uses the same lease (a cloned machine image?): taking one of our own");
        return;
    }
    job->keys = calloc(audit->lease.n_keys > 0 ? audit->lease.n_keys : 1, sizeof(*job->keys));
    if (!job->keys) {
        etcd3_finish_memory(&audit->call);
        return;
    }
    for (size_t i = 0; i < audit->lease.n_keys; i++) {
        Etcd3Key *key = &audit->lease.keys[i];
        /* Gone, or somebody else's by now. */
        if (i < audit->n_unknown && (!key->value || key->lease != audit->lease.id))
            continue;
        job->keys[job->n_keys++] = (StoreKey){ TAKE_PTR(key->key), TAKE_PTR(key->value) };
    }
    store_job_finish_ok(job);
}

static void audit_read(AuditJob *audit)
{
    if (audit->position == audit->n_unknown) {
        audit_finish(audit);
        return;
    }
    audit->count = etcd3_slice(audit->position, audit->n_unknown);
    etcd3_call(&audit->call, "kv/txn", etcd3_build_ranges(audit->lease.keys + audit->position, audit->count),
               on_audit_read, NULL);
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
    audit_sort(audit);
    audit_read(audit);
}

static int etcd3_audit(Store *store, bool (*is_known)(void *userdata, const char *key), StoreKeysFn done,
                       void *userdata)
{
    AuditJob *audit = store_job_new(store, STORE_OPERATION_AUDIT, sizeof(*audit), NULL, done, userdata);

    if (!audit)
        return -ENOMEM;
    audit->call.job.clear = clear_audit;
    audit->is_known = is_known;
    audit->lease.id = store->etcd3->lease;
    etcd3_call(&audit->call, "lease/timetolive", etcd3_build_time_to_live(audit->lease.id), on_audited, NULL);
    return 0;
}

const StoreBackend etcd3_backend = {
    .name = "v3",
    .has_lease = true,
    .batch_max = ETCD3_OPS_MAX,
    .concurrency = 4,
    .open = etcd3_open,
    .apply = etcd3_apply,
    .heartbeat = etcd3_heartbeat,
    .audit = etcd3_audit,
    .revoke = etcd3_revoke,
};
