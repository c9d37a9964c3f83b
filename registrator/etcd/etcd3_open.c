#include "etcd/etcd3_call.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

enum { ATTEMPTS_MAX = 5 };

/* Opening: reads each lease that may hold keys of this host (timetolive), reads those keys (txn), chooses a lease
 * (etcd3_lease.h), renews or grants it, and moves the keys of the other leases to it. If etcd shows a change in
 * between, the opening begins again. */
typedef struct OpenJob {
    Etcd3Job call;
    Etcd3Lease leases[LEASES];
    size_t at; /* the index of the lease that is being read or left */
    size_t position, count; /* the keys of that lease that the present request names */
    LeaseChoice choice;
    unsigned attempts;
} OpenJob;

static void open_look(OpenJob *open);
static void open_read(OpenJob *open);
static void open_choose(OpenJob *open);
static void open_move(OpenJob *open);

static Store *open_store(OpenJob *open)
{
    return open->call.job.store;
}

static Etcd3Lease *open_target(OpenJob *open)
{
    return &open->leases[open->choice.slot];
}

static void open_clear_keys(OpenJob *open)
{
    for (size_t i = 0; i < LEASES; i++)
        etcd3_lease_clear_keys(&open->leases[i]);
}

static void clear_open(StoreJob *job)
{
    open_clear_keys((OpenJob *)job);
    etcd3_call_clear(job);
}

static void open_start(OpenJob *open)
{
    if (++open->attempts > ATTEMPTS_MAX) {
        store_job_finish(&open->call.job, STORE_UNREACHABLE,
                         "the leases of this host keep changing: does a second registrator run on this host?");
        return;
    }
    open_clear_keys(open);
    open->at = 0;
    open_look(open);
}

/* Reading the leases */

static void on_looked(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;

    if (etcd3_parse_time_to_live(json, &open->leases[open->at]) < 0) {
        etcd3_finish_nonsense(job);
        return;
    }
    open->at++;
    open_look(open);
}

static void open_look(OpenJob *open)
{
    if (open->at == LEASE_PREVIOUS && open->leases[LEASE_PREVIOUS].id == 0) {
        open->leases[LEASE_PREVIOUS].ttl_s = -1;
        open->at++;
    }
    if (open->at < LEASES) {
        etcd3_call(&open->call, "lease/timetolive", etcd3_build_time_to_live(open->leases[open->at].id), on_looked,
                   NULL);
        return;
    }
    open->at = open->position = 0;
    open_read(open);
}

/* Reading the keys */

static void on_read(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;

    if (etcd3_parse_ranges(json, open->leases[open->at].keys + open->position, open->count) < 0) {
        etcd3_finish_nonsense(job);
        return;
    }
    open->position += open->count;
    open_read(open);
}

static bool on_read_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    OpenJob *open = (OpenJob *)job;

    (void)code;
    if (!etcd3_learn_ops_max(job->job.store, message, open->count))
        return false;
    open_read(open);
    return true;
}

static void open_read(OpenJob *open)
{
    while (open->at < LEASES && open->position == open->leases[open->at].n_keys) {
        open->at++;
        open->position = 0;
    }
    if (open->at == LEASES) {
        open_choose(open);
        return;
    }
    Etcd3Lease *lease = &open->leases[open->at];
    open->count = etcd3_slice(open_store(open), open->position, lease->n_keys);
    etcd3_call(&open->call, "kv/txn", etcd3_build_ranges(lease->keys + open->position, open->count), on_read,
               on_read_error);
}

/* Choosing a lease */

/* Drops the keys that have left the lease, and notes whether another host has written one of the remaining keys. */
static void lease_sift(const Store *store, Etcd3Lease *lease)
{
    size_t kept = 0;

    lease->is_shared = false;
    for (size_t i = 0; i < lease->n_keys; i++) {
        Etcd3Key key = lease->keys[i];

        if (!key.value || key.lease != lease->id) {
            free(key.key);
            free(key.value);
            continue;
        }
        lease->is_shared = lease->is_shared || etcd3_writer(store, key.key, key.value) == STORE_WRITER_OTHER;
        lease->keys[kept++] = key;
    }
    lease->n_keys = kept;
}

/* Of a shared lease, only this host's keys count and move. A key without an address may be the other host's. */
static bool key_is_ours(OpenJob *open, const Etcd3Lease *lease, const Etcd3Key *key)
{
    return !lease->is_shared || etcd3_writer(open_store(open), key->key, key->value) == STORE_WRITER_THIS;
}

static void open_tell_clone(OpenJob *open)
{
    Etcd3 *etcd3 = open_store(open)->etcd3;

    if (etcd3->clone_logged || !(open->leases[LEASE_PLAIN_A].is_shared || open->leases[LEASE_PLAIN_B].is_shared))
        return;
    etcd3->clone_logged = true;
    log_warning("Another host has the same identity (a cloned machine image?), or this host's address has changed: "
                "leaving the keys of the other host alone, using another lease; give each clone its own machine ID "
                "and Docker engine ID");
}

static void open_finish(OpenJob *open)
{
    Etcd3 *etcd3 = open_store(open)->etcd3;
    StoreJob *job = &open->call.job;
    int64_t lease = open_target(open)->id;
    size_t n = 0;

    for (size_t i = 0; i < LEASES; i++)
        n += open->leases[i].n_keys;
    job->keys = calloc(n > 0 ? n : 1, sizeof(*job->keys));
    if (!job->keys) {
        store_job_finish_memory(&open->call.job);
        return;
    }
    for (size_t i = 0; i < LEASES; i++) {
        for (size_t j = 0; j < open->leases[i].n_keys; j++) {
            Etcd3Key *key = &open->leases[i].keys[j];

            if (!key_is_ours(open, &open->leases[i], key))
                continue;
            job->keys[job->n_keys++] = (StoreKey){ TAKE_PTR(key->key), TAKE_PTR(key->value), key->revision };
        }
    }
    etcd3->lease_before = etcd3->lease;
    etcd3->lease = lease;
    store_job_finish_ok(job);
}

/* A dry run moves no key: the keys under each lease of this host count as the host's own. */
static void open_only_look(OpenJob *open)
{
    Etcd3 *etcd3 = open_store(open)->etcd3;

    for (size_t i = 0; i < LEASES; i++)
        etcd3->others[i] = open->leases[i].is_shared ? 0 : open->leases[i].id;
    open_finish(open);
}

/* Taking the lease */

static void open_begin_moves(OpenJob *open)
{
    open->at = open->position = 0;
    open_move(open);
}

static void on_kept(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;

    if (etcd3_parse_ttl(json) <= 0)
        open_start(open);
    else
        open_begin_moves(open);
}

/* The lease must not expire while keys move to it. */
static void open_keep(OpenJob *open)
{
    etcd3_call(&open->call, "lease/keepalive", etcd3_build_lease(open_target(open)->id), on_kept, NULL);
}

static void on_raised_revoked(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;

    (void)json;
    open->choice.slot ^= 1;
    open_keep(open);
}

/* etcd raises a TTL that is shorter than its elections. If it has raised the TTL of the pair's other lease to the
 * same number, the other lease stays, and its keys do not move. */
static bool open_prefers_raised(OpenJob *open, int64_t granted_ttl_s)
{
    const Etcd3Lease *other = &open->leases[open->choice.slot ^ 1];

    return !other->is_shared && other->n_keys > 0 && other->granted_ttl_s == granted_ttl_s;
}

static void on_granted(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;

    if (open_prefers_raised(open, etcd3_parse_ttl(json)))
        etcd3_call(job, "lease/revoke", etcd3_build_lease(open_target(open)->id), on_raised_revoked, NULL);
    else
        open_begin_moves(open);
}

static bool on_grant_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    if (code != GRPC_FAILED_PRECONDITION || !strstr(message, "lease already exists"))
        return false;
    open_start((OpenJob *)job);
    return true;
}

static void open_grant(OpenJob *open)
{
    etcd3_call(&open->call, "lease/grant", etcd3_build_grant(open_target(open)->id, open_store(open)->config.ttl_s),
               on_granted, on_grant_error);
}

static void on_old_revoked(Etcd3Job *job, const cJSON *json)
{
    (void)json;
    open_grant((OpenJob *)job);
}

static bool on_old_revoke_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    if (!etcd3_lease_is_gone(code, message))
        return false;
    open_grant((OpenJob *)job);
    return true;
}

static void open_take_lease(OpenJob *open)
{
    switch (open->choice.action) {
    case LEASE_KEEP:
    case LEASE_KEEP_TO_FREE_OTHER:
        open_keep(open);
        break;
    case LEASE_GRANT:
        open_grant(open);
        break;
    case LEASE_REPLACE:
        etcd3_call(&open->call, "lease/revoke", etcd3_build_lease(open_target(open)->id), on_old_revoked,
                   on_old_revoke_error);
        break;
    case LEASE_REFUSE:
        store_job_finish(&open->call.job, STORE_REFUSED,
                         "another host has this one's identity and its advertised address: give one of them another "
                         "machine ID, or set --advertise");
        break;
    }
}

static void open_choose(OpenJob *open)
{
    Store *store = open_store(open);

    for (size_t i = 0; i < LEASES; i++)
        lease_sift(store, &open->leases[i]);
    if (store->etcd3->is_shared)
        open->leases[LEASE_PLAIN_A].is_shared = open->leases[LEASE_PLAIN_B].is_shared = true;
    /* LEASE_PREVIOUS is this agent's own lease, even if the address has changed together with the settings. */
    open->leases[LEASE_PREVIOUS].is_shared = false;
    open_tell_clone(open);
    open->choice = etcd3_lease_choose(open->leases, (int64_t)store->config.ttl_s);
    if (store->config.read_only)
        open_only_look(open);
    else
        open_take_lease(open);
}

/* Moving the keys, lease by lease */

static void on_moved(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;
    Etcd3Key *keys = open->leases[open->at].keys + open->position;
    int64_t to = open_target(open)->id;

    if (etcd3_parse_move(json, keys, open->count, to) < 0) {
        etcd3_finish_nonsense(job);
        return;
    }
    for (size_t i = 0; i < open->count; i++) {
        if (keys[i].lease != to) { /* the key has changed since it was read */
            open_start(open);
            return;
        }
    }
    open->position += open->count;
    open_move(open);
}

static bool on_move_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    OpenJob *open = (OpenJob *)job;

    if (etcd3_learn_ops_max(job->job.store, message, open->count))
        open_move(open);
    else if (etcd3_lease_is_gone(code, message))
        open_start(open);
    else
        return false;
    return true;
}

static void on_left(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;

    (void)json;
    open->at++;
    open->position = 0;
    open_move(open);
}

static bool on_left_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    if (!etcd3_lease_is_gone(code, message))
        return false;
    on_left(job, NULL);
    return true;
}

/* If other hosts use the lease, or if it had no key of ours, the lease stays until its TTL ends. */
static void open_leave_lease(OpenJob *open)
{
    const Etcd3Lease *lease = &open->leases[open->at];

    if (lease->is_shared || lease->n_keys == 0)
        on_left(&open->call, NULL);
    else
        etcd3_call(&open->call, "lease/revoke", etcd3_build_lease(lease->id), on_left, on_left_error);
}

/* Finds the next of our keys in a row, at most one request's worth. */
static void open_find_keys(OpenJob *open)
{
    const Etcd3Lease *lease = &open->leases[open->at];
    size_t max = etcd3_ops_max(open_store(open));

    while (open->position < lease->n_keys && !key_is_ours(open, lease, &lease->keys[open->position]))
        open->position++;
    open->count = 0;
    while (open->count < max && open->position + open->count < lease->n_keys &&
           key_is_ours(open, lease, &lease->keys[open->position + open->count]))
        open->count++;
}

static void open_move(OpenJob *open)
{
    if (open->at == open->choice.slot) {
        open->at++;
        open->position = 0;
    }
    if (open->at >= LEASES) {
        if (open->choice.action == LEASE_KEEP_TO_FREE_OTHER)
            open_start(open);
        else
            open_finish(open);
        return;
    }
    open_find_keys(open);
    if (open->count == 0)
        open_leave_lease(open);
    else
        etcd3_call(&open->call, "kv/txn",
                   etcd3_build_move(open->leases[open->at].keys + open->position, open->count, open_target(open)->id),
                   on_moved, on_move_error);
}

/* After etcd has lost its data, all agents open at the same time. If the lease has ended, and if no other lease has
 * had keys of this host since the last opening, a grant is sufficient. */
static bool open_grants_again(OpenJob *open)
{
    const Etcd3 *etcd3 = open_store(open)->etcd3;

    if (!etcd3->lease_ended || open_store(open)->config.read_only)
        return false;
    for (LeaseSlot slot = etcd3->is_shared ? LEASE_ADDRESS_A : LEASE_PLAIN_A; slot < LEASES_DERIVED; slot++) {
        if (open->leases[slot].id != etcd3->lease)
            continue;
        open->choice = (LeaseChoice){ slot, LEASE_GRANT };
        return true;
    }
    return false;
}

static void on_granted_again(Etcd3Job *job, const cJSON *json)
{
    (void)json;
    open_finish((OpenJob *)job);
}

int etcd3_open(Store *store, StoreKeysFn done, void *userdata)
{
    OpenJob *open = store_job_new(store, STORE_OPERATION_OPEN, sizeof(*open), NULL, done, userdata);
    const StoreConfig *config = &store->config;
    Etcd3 *etcd3 = store->etcd3;
    const char *address = config->address ? config->address(config->userdata) : "";

    if (!open)
        return -ENOMEM;
    open->call.job.clear = clear_open;
    etcd3->ops_max = 0;
    etcd3->resynced = 0;
    open->leases[LEASE_PREVIOUS].id = etcd3->previous_lease;
    for (LeaseSlot slot = 0; slot < LEASES_DERIVED; slot++) {
        open->leases[slot].id = etcd3_lease_id(slot, config->identity, config->layout, address);
        if (open->leases[slot].id == etcd3->previous_lease)
            open->leases[LEASE_PREVIOUS].id = 0;
    }
    if (open_grants_again(open))
        etcd3_call(&open->call, "lease/grant", etcd3_build_grant(open_target(open)->id, config->ttl_s),
                   on_granted_again, on_grant_error);
    else
        open_start(open);
    etcd3->lease_ended = false;
    return 0;
}
