#include "etcd3_call.h"

#include "log.h"

#include <errno.h>
#include <string.h>

enum { OPEN_ATTEMPTS_MAX = 5 };

/* Opening. Four IDs belong to this host: one pair derived from what identifies it, and one that counts
 * its address in, for when another host has the same identity. Each is a pair so that keys can move from
 * a lease of one TTL to a lease of another without ever being without one. */

typedef struct OpenJob {
    Etcd3Job call;
    Etcd3Lease leases[ETCD3_CANDIDATES]; /* plain A and B, with address A and B, the previous one */
    bool foreign[ETCD3_CANDIDATES]; /* holds a value that is not of this host */
    size_t at; /* the lease at hand, */
    size_t position, count; /* and which of its keys are in the request */
    size_t target; /* the lease that is to be ours */
    unsigned attempts;
    bool again; /* after the moves: the target has the wrong TTL as well, but is the only one left now */
} OpenJob;

static void open_look(OpenJob *open);
static void open_read(OpenJob *open);
static void open_choose(OpenJob *open);
static void open_move(OpenJob *open);

static void clear_open(StoreJob *job)
{
    OpenJob *open = (OpenJob *)job;

    for (size_t i = 0; i < ETCD3_CANDIDATES; i++)
        etcd3_lease_clear_keys(&open->leases[i]);
    etcd3_call_clear(job);
}

static Store *open_store(OpenJob *open)
{
    return open->call.job.store;
}

/* Something changed under our hands: look at it anew. */
static void open_start(OpenJob *open)
{
    if (++open->attempts > OPEN_ATTEMPTS_MAX) {
        store_job_finish(&open->call.job, STORE_UNREACHABLE,
                         "the leases of this host keep changing while they are looked at: is a second registrator "
                         "running on it?");
        return;
    }
    for (size_t i = 0; i < ETCD3_CANDIDATES; i++)
        etcd3_lease_clear_keys(&open->leases[i]);
    open->at = 0;
    open->again = false;
    open_look(open);
}

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
    if (open->at == ETCD3_PREVIOUS && open->leases[ETCD3_PREVIOUS].id == 0) {
        open->leases[ETCD3_PREVIOUS].ttl_s = -1;
        open->at++;
    }
    if (open->at < ETCD3_CANDIDATES) {
        etcd3_call(&open->call, "lease/timetolive", etcd3_build_time_to_live(open->leases[open->at].id), on_looked,
                   NULL);
        return;
    }
    open->at = open->position = 0;
    open_read(open);
}

static void on_read(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;
    Etcd3Lease *lease = &open->leases[open->at];

    if (etcd3_parse_ranges(json, lease->keys + open->position, open->count) < 0) {
        etcd3_finish_nonsense(job);
        return;
    }
    open->position += open->count;
    open_read(open);
}

static void open_read(OpenJob *open)
{
    while (open->at < ETCD3_CANDIDATES && open->position == open->leases[open->at].n_keys) {
        open->at++;
        open->position = 0;
    }
    if (open->at == ETCD3_CANDIDATES) {
        open_choose(open);
        return;
    }
    Etcd3Lease *lease = &open->leases[open->at];
    open->count = etcd3_slice(open->position, lease->n_keys);
    etcd3_call(&open->call, "kv/txn", etcd3_build_ranges(lease->keys + open->position, open->count), on_read, NULL);
}

/* Keeps of the list what still hangs on the lease. True: all of it is of this host. */
static bool lease_sift(const Store *store, Etcd3Lease *lease)
{
    bool own = true;
    size_t kept = 0;

    for (size_t i = 0; i < lease->n_keys; i++) {
        Etcd3Key key = lease->keys[i];
        if (!key.value || key.lease != lease->id) {
            free(key.key);
            free(key.value);
            continue;
        }
        own = own && etcd3_value_is_own(store, key.value);
        lease->keys[kept++] = key;
    }
    lease->n_keys = kept;
    return own;
}

static void open_tell_clone(OpenJob *open)
{
    Etcd3 *etcd3 = open_store(open)->etcd3;

    if (etcd3->clone_told || !(open->foreign[0] || open->foreign[1]))
        return;
    etcd3->clone_told = true;
    log_warning("Another host has the same identity (a cloned machine image?), or this host's address has changed: "
                "its keys are left alone, and a lease of this host's own is used; give clones a machine ID and a "
                "Docker engine ID of their own");
}

static bool lease_fits(const OpenJob *open, size_t i)
{
    const Etcd3Lease *lease = &open->leases[i];

    return etcd3_lease_exists(lease) && lease->granted_ttl_s == (int64_t)open->call.job.store->config.ttl_s;
}

/* How good a candidate is for a target, 0 being of no use. */
static unsigned candidate_rank(const OpenJob *open, size_t i)
{
    const Etcd3Lease *lease = &open->leases[i];

    if (open->foreign[i])
        return 0;
    if (lease_fits(open, i))
        return lease->n_keys > 0 ? 5 : 4;
    if (!etcd3_lease_exists(lease))
        return 3;
    return lease->n_keys == 0 ? 2 : 1;
}

static bool open_prefers_address(const OpenJob *open)
{
    if (open->foreign[0] || open->foreign[1])
        return true;
    /* The clone is gone, but our keys hang where they were put because of it. */
    for (size_t i = 2; i < ETCD3_DERIVED; i++) {
        if (!open->foreign[i] && open->leases[i].n_keys > 0)
            return true;
    }
    return false;
}

static void open_finish(OpenJob *open)
{
    Store *store = open_store(open);
    StoreJob *job = &open->call.job;
    size_t n = 0;

    for (size_t i = 0; i < ETCD3_CANDIDATES; i++)
        n += open->leases[i].n_keys;
    job->keys = calloc(n > 0 ? n : 1, sizeof(*job->keys));
    if (!job->keys) {
        etcd3_finish_memory(&open->call);
        return;
    }
    for (size_t i = 0; i < ETCD3_CANDIDATES; i++) {
        for (size_t j = 0; j < open->leases[i].n_keys; j++) {
            Etcd3Key *key = &open->leases[i].keys[j];
            if (open->foreign[i] && !etcd3_value_is_own(store, key->value))
                continue;
            job->keys[job->n_keys++] = (StoreKey){ TAKE_PTR(key->key), TAKE_PTR(key->value) };
        }
    }
    store->etcd3->lease = open->leases[open->target].id;
    store->opened = true;
    store_job_finish_ok(job);
}

static void open_only_look(OpenJob *open)
{
    Etcd3 *etcd3 = open_store(open)->etcd3;

    for (size_t i = 0; i < ETCD3_CANDIDATES; i++)
        etcd3->others[i] = open->foreign[i] ? 0 : open->leases[i].id;
    open_finish(open);
}

/* The lease was found: is it alive? It is to stay so while the keys of the other ones move to it. */
static void on_adopted(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;

    if (etcd3_parse_ttl(json) <= 0) {
        open_start(open);
        return;
    }
    open->at = open->position = 0;
    open_move(open);
}

static void open_adopt(OpenJob *open)
{
    etcd3_call(&open->call, "lease/keepalive", etcd3_build_lease(open->leases[open->target].id), on_adopted, NULL);
}

static void on_short_ttl_dropped(Etcd3Job *job, const cJSON *json)
{
    (void)json;
    open_adopt((OpenJob *)job);
}

/* etcd raises a TTL that is shorter than its elections take. The lease that we have may be one of those: then
 * it is as good as the new one, and its keys need not move. */
static bool open_prefer_raised(OpenJob *open, int64_t granted_ttl_s)
{
    size_t fresh = open->target;

    if (granted_ttl_s == (int64_t)open_store(open)->config.ttl_s)
        return false;
    for (size_t i = 0; i < ETCD3_CANDIDATES; i++) {
        const Etcd3Lease *lease = &open->leases[i];
        if (i == fresh || i / 2 != fresh / 2 || open->foreign[i] || lease->n_keys == 0 ||
            lease->granted_ttl_s != granted_ttl_s)
            continue;
        open->target = i;
        etcd3_call(&open->call, "lease/revoke", etcd3_build_lease(open->leases[fresh].id), on_short_ttl_dropped, NULL);
        return true;
    }
    return false;
}

static void on_granted(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;

    if (open_prefer_raised(open, etcd3_parse_ttl(json)))
        return;
    open->at = open->position = 0;
    open_move(open);
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
    etcd3_call(&open->call, "lease/grant",
               etcd3_build_grant(open->leases[open->target].id, open_store(open)->config.ttl_s), on_granted,
               on_grant_error);
}

static void on_emptied(Etcd3Job *job, const cJSON *json)
{
    (void)json;
    open_grant((OpenJob *)job);
}

static bool on_emptied_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    if (!etcd3_lease_is_gone(code, message))
        return false;
    open_grant((OpenJob *)job);
    return true;
}

static void open_take_target(OpenJob *open)
{
    switch (candidate_rank(open, open->target)) {
    case 5:
    case 4:
        open_adopt(open);
        break;
    case 3:
        open_grant(open);
        break;
    case 2: /* of another TTL, and empty */
        etcd3_call(&open->call, "lease/revoke", etcd3_build_lease(open->leases[open->target].id), on_emptied,
                   on_emptied_error);
        break;
    default: /* both of the pair are of another TTL: join them, and the one that becomes free will do */
        open->again = true;
        open_adopt(open);
    }
}

static void open_choose(OpenJob *open)
{
    Store *store = open_store(open);

    for (size_t i = 0; i < ETCD3_CANDIDATES; i++)
        open->foreign[i] = !lease_sift(store, &open->leases[i]);
    /* Known to be this agent's, even if the address has changed along with the settings. */
    open->foreign[ETCD3_PREVIOUS] = false;
    open_tell_clone(open);

    size_t first = open_prefers_address(open) ? 2 : 0;
    open->target = candidate_rank(open, first + 1) > candidate_rank(open, first) ? first + 1 : first;
    if (store->config.read_only)
        open_only_look(open);
    else if (open->foreign[open->target])
        store_job_finish(&open->call.job, STORE_REFUSED,
                         "another host has this one's identity and its advertised address: give one of them another "
                         "machine ID, or set --advertise");
    else
        open_take_target(open);
}

/* Moves, lease by lease */

static void on_moved(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;
    Etcd3Lease *lease = &open->leases[open->at];
    int64_t to = open->leases[open->target].id;

    if (etcd3_parse_move(json, lease->keys + open->position, open->count, to) < 0) {
        etcd3_finish_nonsense(job);
        return;
    }
    for (size_t i = 0; i < open->count; i++) {
        if (lease->keys[open->position + i].lease != to) {
            open_start(open);
            return;
        }
    }
    open->position += open->count;
    open_move(open);
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

static bool on_move_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    if (!etcd3_lease_is_gone(code, message))
        return false;
    open_start((OpenJob *)job);
    return true;
}

/* Of a lease that is shared with a clone, only what is of this host moves. */
static bool key_moves(const OpenJob *open, size_t i, const Etcd3Key *key)
{
    return !open->foreign[i] || etcd3_value_is_own(open->call.job.store, key->value);
}

static void open_skip_unmoved(OpenJob *open)
{
    const Etcd3Lease *lease = &open->leases[open->at];

    while (open->position < lease->n_keys && !key_moves(open, open->at, &lease->keys[open->position]))
        open->position++;
    open->count = 0;
    while (open->count < ETCD3_OPS_MAX && open->position + open->count < lease->n_keys &&
           key_moves(open, open->at, &lease->keys[open->position + open->count]))
        open->count++;
}

static void open_leave_lease(OpenJob *open)
{
    Etcd3Lease *lease = &open->leases[open->at];

    /* One that others use, or that never had a key of ours, is left to its TTL. */
    if (open->foreign[open->at] || lease->n_keys == 0)
        on_left(&open->call, NULL);
    else
        etcd3_call(&open->call, "lease/revoke", etcd3_build_lease(lease->id), on_left, on_left_error);
}

static void open_move(OpenJob *open)
{
    if (open->at == open->target) {
        open->at++;
        open->position = 0;
    }
    if (open->at >= ETCD3_CANDIDATES) {
        if (open->again)
            open_start(open);
        else
            open_finish(open);
        return;
    }
    open_skip_unmoved(open);
    if (open->count == 0) {
        open_leave_lease(open);
        return;
    }
    etcd3_call(
        &open->call, "kv/txn",
        etcd3_build_move(open->leases[open->at].keys + open->position, open->count, open->leases[open->target].id),
        on_moved, on_move_error);
}

int etcd3_open(Store *store, StoreKeysFn done, void *userdata)
{
    OpenJob *open = store_job_new(store, STORE_OPERATION_OPEN, sizeof(*open), NULL, done, userdata);
    const StoreConfig *config = &store->config;
    const char *address = config->address ? config->address(config->userdata) : "";

    if (!open)
        return -ENOMEM;
    open->call.job.clear = clear_open;
    open->leases[ETCD3_PREVIOUS].id = config->previous_lease;
    for (size_t i = 0; i < ETCD3_DERIVED; i++) {
        Etcd3Lease *lease = &open->leases[i];

        lease->id =
            etcd3_lease_id(config->identity, config->layout, i < 2 ? NULL : address, i % 2 == 0 ? LEASE_A : LEASE_B);
        if (lease->id == config->previous_lease)
            open->leases[ETCD3_PREVIOUS].id = 0;
    }
    open_start(open);
    return 0;
}
