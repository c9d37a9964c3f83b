#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "store_private.h"

#include "etcd3_message.h"
#include "log.h"

#include <inttypes.h>
#include <string.h>

typedef struct Etcd3Job Etcd3Job;

enum {
    APPLY_BYTES_MAX = 1024 * 1024, /* of one transaction; etcd's limit is 1.5 MiB */
    /* A list of keys, or the values of others in place of ours (1.5 MiB each in base64, at worst). */
    ANSWER_MAX = 8 * 1024 * 1024,
    OPEN_ATTEMPTS_MAX = 5,
    HEARTBEAT_TIMEOUT_MS_MAX = 5000,
    N_DERIVED = 4,
    PREVIOUS = N_DERIVED, /* the lease of an earlier store of this agent */
    N_CANDIDATES,
};

struct Etcd3 {
    int64_t lease;
    /* read_only: what stays where it was found, and counts as ours. */
    int64_t others[N_CANDIDATES];
    bool clone_told;

    /* The token that stands for the user. */
    char *token; /* NULL: none, or none is wanted */
    bool token_known; /* whether there is need to ask */
    unsigned token_generation; /* of how many */
    EtcdRequest *token_request;
    TAILQ_HEAD(, Etcd3Job) waiting; /* for the token */
};

/* json: the whole answer, an object. */
typedef void (*Etcd3AnswerFn)(Etcd3Job *job, const cJSON *json);
/* An error that etcd answered with. False: not this one's, the job is to end with it. */
typedef bool (*Etcd3ErrorFn)(Etcd3Job *job, GrpcCode code, const char *message);

struct Etcd3Job {
    StoreJob job;
    const char *call; /* "lease/grant" */
    char *body;
    uint64_t timeout_ms;
    Etcd3AnswerFn on_answer;
    Etcd3ErrorFn on_error; /* or NULL */
    bool waits_for_token; /* linked in the list of those */
    TAILQ_ENTRY(Etcd3Job) waiting;
    bool token_renewed; /* once a call is enough */
    unsigned token_generation; /* that it was sent with */
};

int etcd3_new(Etcd3 **ret)
{
    Etcd3 *etcd3 = calloc(1, sizeof(*etcd3));

    if (!etcd3)
        return -ENOMEM;
    TAILQ_INIT(&etcd3->waiting);
    *ret = etcd3;
    return 0;
}

static void etcd3_drop_token(Etcd3 *etcd3)
{
    if (etcd3->token)
        explicit_bzero(etcd3->token, strlen(etcd3->token));
    free(etcd3->token);
    etcd3->token = NULL;
    etcd3->token_known = false;
}

Etcd3 *etcd3_free(Etcd3 *etcd3)
{
    if (!etcd3)
        return NULL;
    etcd_request_free(etcd3->token_request);
    etcd3_drop_token(etcd3);
    free(etcd3);
    return NULL;
}

int64_t etcd3_lease(const Etcd3 *etcd3)
{
    return etcd3->lease;
}

/* Errors, as sentences */

static StoreStatus judge_code(GrpcCode code, const char *message)
{
    if (strstr(message, "requested lease not found"))
        return STORE_LEASE_LOST;
    switch (code) {
    case GRPC_DEADLINE_EXCEEDED:
    case GRPC_UNAVAILABLE:
        return STORE_UNREACHABLE;
    case GRPC_RESOURCE_EXHAUSTED:
        return strstr(message, "too many requests") ? STORE_UNREACHABLE : STORE_REFUSED;
    default:
        return STORE_REFUSED;
    }
}

static const char *remedy_for(GrpcCode code, const char *message)
{
    if (code == GRPC_PERMISSION_DENIED)
        return ": grant the user's role readwrite on the keys' prefix";
    if (code == GRPC_UNAUTHENTICATED || strstr(message, "authentication failed"))
        return ": check --etcd-user and --etcd-password-file";
    if (strstr(message, "user name is empty"))
        return ": it wants a user, set --etcd-user and --etcd-password-file";
    if (strstr(message, "database space exceeded"))
        return ": compact and defragment it, then disarm its alarm";
    if (code == GRPC_UNAVAILABLE || code == GRPC_DEADLINE_EXCEEDED)
        return ": see that a majority of its members runs";
    return "";
}

static void finish_with_code(StoreJob *job, GrpcCode code, const char *message)
{
    const char *endpoint = etcd_endpoint(job->store->etcd);
    StoreStatus status = judge_code(code, message);
    char excerpt[256];

    if (status == STORE_LEASE_LOST) {
        store_job_finish(job, status, "the lease is gone: it ran out or was revoked");
        return;
    }
    store_job_finish(job, status, "etcd at %s %s (%s)%s", endpoint,
                     status == STORE_UNREACHABLE ? "cannot serve now" : "refuses",
                     store_excerpt(message, excerpt, sizeof(excerpt)), remedy_for(code, message));
}

/* An answer that is not the API's. */
static void finish_with_status(StoreJob *job, const HttpResult *result)
{
    const char *endpoint = etcd_endpoint(job->store->etcd);
    char excerpt[256];

    store_excerpt(result->body, excerpt, sizeof(excerpt));
    if (result->status >= 500)
        store_job_finish(job, STORE_UNREACHABLE, "etcd at %s cannot serve now (HTTP status %ld: %s)", endpoint,
                         result->status, excerpt);
    else if (result->status == 404)
        store_job_finish(job, STORE_REFUSED,
                         "etcd at %s does not have the v3 JSON gateway (HTTP status 404: %s): do not run it with "
                         "--enable-grpc-gateway=false, or use --etcd-api=v2",
                         endpoint, excerpt);
    else
        store_job_finish(job, STORE_REFUSED, "%s does not answer like etcd's v3 API (HTTP status %ld: %s)", endpoint,
                         result->status, excerpt);
}

static void finish_with_memory(Etcd3Job *job)
{
    store_job_finish_errno(&job->job, -ENOMEM);
}

static void finish_with_nonsense(Etcd3Job *job)
{
    store_job_finish(&job->job, STORE_REFUSED, "etcd at %s gave an answer to %s that makes no sense",
                     etcd_endpoint(job->job.store->etcd), job->call);
}

/* Calls, with a token where there is a user */

static bool version_is_33(const Store *store)
{
    return store->version.major == 3 && store->version.minor <= 3;
}

/* 3.3 has another prefix, and two of the lease's calls elsewhere. 3.4 still answers all of them. */
static int build_path(const Store *store, const char *call, char *buffer, size_t size)
{
    const char *prefix = "/v3/";

    if (version_is_33(store)) {
        bool moved = strcmp(call, "lease/timetolive") == 0 || strcmp(call, "lease/revoke") == 0;
        prefix = moved ? "/v3beta/kv/" : "/v3beta/";
    }
    int n = snprintf(buffer, size, "%s%s", prefix, call);
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static void call_send(Etcd3Job *job);
static void call_wait_for_token(Etcd3Job *job);
static void token_ask(Store *store);

static bool token_is_wrong(GrpcCode code, const char *message)
{
    return code == GRPC_UNAUTHENTICATED || strstr(message, "user name is empty") ||
           strstr(message, "revision of auth store is old") || strstr(message, "revision in header is old");
}

/* True: the call goes out again, with a new token. */
static bool call_renew_token(Etcd3Job *job, GrpcCode code, const char *message)
{
    Store *store = job->job.store;
    Etcd3 *etcd3 = store->etcd3;

    if (!store->user || job->token_renewed || !token_is_wrong(code, message))
        return false;
    job->token_renewed = true;
    /* Another call may have noticed before. */
    if (job->token_generation == etcd3->token_generation)
        etcd3_drop_token(etcd3);
    call_send(job);
    return true;
}

static void on_call_answer(StoreJob *store_job, const HttpResult *result)
{
    Etcd3Job *job = (Etcd3Job *)store_job;
    CLEANUP_JSON cJSON *json = NULL;
    const char *message;

    if (result->error == -EMSGSIZE && job->on_error && job->on_error(job, GRPC_RESOURCE_EXHAUSTED, "answer too long"))
        return;
    if (store_job_check_transport(store_job, result))
        return;
    if (json_parse(&json, result->body, result->body_size) < 0 || !cJSON_IsObject(json)) {
        finish_with_status(store_job, result);
        return;
    }
    GrpcCode code = etcd3_parse_error(json, &message);
    if (code != GRPC_OK) {
        if (call_renew_token(job, code, message) || (job->on_error && job->on_error(job, code, message)))
            return;
        /* 3.6 answers so where there is no such call. */
        if (code == GRPC_NOT_FOUND && strcmp(message, "Not Found") == 0)
            finish_with_status(store_job, result);
        else
            finish_with_code(store_job, code, message);
        return;
    }
    if (result->status != 200)
        finish_with_status(store_job, result);
    else
        job->on_answer(job, json);
}

static void call_send(Etcd3Job *job)
{
    Store *store = job->job.store;
    Etcd3 *etcd3 = store->etcd3;
    char path[64];

    if (store->user && !etcd3->token_known) {
        call_wait_for_token(job);
        token_ask(store);
        return;
    }
    job->token_generation = etcd3->token_generation;
    if (build_path(store, job->call, path, sizeof(path)) < 0) {
        finish_with_memory(job);
        return;
    }
    EtcdSpec spec = {
        .method = "POST",
        .path = path,
        .body = job->body,
        .authorization = etcd3->token,
        .timeout_ms = job->timeout_ms,
        .body_max = ANSWER_MAX,
    };
    store_job_request(&job->job, &spec, on_call_answer);
}

/* body: taken; NULL: there was no memory for it. */
static void call_start(Etcd3Job *job, const char *call, char *body, Etcd3AnswerFn on_answer, Etcd3ErrorFn on_error)
{
    free(job->body);
    job->body = body;
    job->call = call;
    job->on_answer = on_answer;
    job->on_error = on_error;
    job->token_renewed = false;
    if (body)
        call_send(job);
    else
        finish_with_memory(job);
}

/* The token is asked for once, however many calls wait for it. */

static void call_wait_for_token(Etcd3Job *job)
{
    if (job->waits_for_token)
        return;
    TAILQ_INSERT_TAIL(&job->job.store->etcd3->waiting, job, waiting);
    job->waits_for_token = true;
}

static void call_stop_waiting(Etcd3Job *job)
{
    if (!job->waits_for_token)
        return;
    TAILQ_REMOVE(&job->job.store->etcd3->waiting, job, waiting);
    job->waits_for_token = false;
}

static Etcd3Job *pop_waiting(Etcd3 *etcd3)
{
    Etcd3Job *job = TAILQ_FIRST(&etcd3->waiting);

    if (job)
        call_stop_waiting(job);
    return job;
}

static void token_set(Store *store, const char *token)
{
    Etcd3 *etcd3 = store->etcd3;
    Etcd3Job *job;

    etcd3_drop_token(etcd3);
    etcd3->token = token ? strdup(token) : NULL;
    etcd3->token_known = true;
    etcd3->token_generation++;
    while ((job = pop_waiting(etcd3)))
        call_send(job);
}

static void on_token(void *userdata, const HttpResult *result)
{
    Store *store = userdata;
    CLEANUP_JSON cJSON *json = NULL;
    const char *message = "";
    Etcd3Job *job;

    store->etcd3->token_request = NULL;
    if (result->error == 0)
        (void)json_parse(&json, result->body, result->body_size);
    GrpcCode code = etcd3_parse_error(json, &message);
    const char *token = json_string(json, "token");
    /* A user that etcd does not ask for is no reason to stop. */
    if (token || strstr(message, "authentication is not enabled")) {
        token_set(store, token);
        return;
    }
    while ((job = pop_waiting(store->etcd3))) {
        if (store_job_check_transport(&job->job, result))
            continue;
        if (code != GRPC_OK)
            finish_with_code(&job->job, code, message);
        else
            finish_with_status(&job->job, result);
    }
}

static void token_ask(Store *store)
{
    Etcd3 *etcd3 = store->etcd3;
    char path[64];
    Etcd3Job *job;

    if (etcd3->token_request)
        return;
    char *body = etcd3_build_authenticate(store->user, store->password ? store->password : "");
    int r = body ? build_path(store, "auth/authenticate", path, sizeof(path)) : -ENOMEM;
    if (r == 0) {
        EtcdSpec spec = {.method = "POST", .path = path, .body = body};
        r = etcd_request(store->etcd, &spec, on_token, store, &etcd3->token_request);
    }
    if (body)
        explicit_bzero(body, strlen(body));
    free(body);
    if (r == 0)
        return;
    while ((job = pop_waiting(etcd3)))
        store_job_finish_errno(&job->job, r);
}

static void clear_call(StoreJob *job)
{
    call_stop_waiting((Etcd3Job *)job);
    free(((Etcd3Job *)job)->body);
}

/* Opening. Four IDs belong to this host: one pair derived from what identifies it, and one that counts
 * its address in, for when another host has the same identity. Each is a pair so that keys can move from
 * a lease of one TTL to a lease of another without ever being without one. */

typedef struct OpenJob {
    Etcd3Job call;
    Etcd3Lease leases[N_CANDIDATES]; /* plain A and B, with address A and B, the previous one */
    bool foreign[N_CANDIDATES]; /* holds a value that is not of this host */
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

    for (size_t i = 0; i < N_CANDIDATES; i++)
        etcd3_lease_clear_keys(&open->leases[i]);
    clear_call(job);
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
    for (size_t i = 0; i < N_CANDIDATES; i++)
        etcd3_lease_clear_keys(&open->leases[i]);
    open->at = 0;
    open->again = false;
    open_look(open);
}

static void on_looked(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;

    if (etcd3_parse_time_to_live(json, &open->leases[open->at]) < 0) {
        finish_with_nonsense(job);
        return;
    }
    open->at++;
    open_look(open);
}

static void open_look(OpenJob *open)
{
    if (open->at == PREVIOUS && open->leases[PREVIOUS].id == 0) {
        open->leases[PREVIOUS].ttl_s = -1;
        open->at++;
    }
    if (open->at < N_CANDIDATES) {
        call_start(&open->call, "lease/timetolive", etcd3_build_time_to_live(open->leases[open->at].id), on_looked,
                   NULL);
        return;
    }
    open->at = open->position = 0;
    open_read(open);
}

static size_t slice_of(size_t position, size_t n)
{
    return n - position < ETCD3_OPS_MAX ? n - position : ETCD3_OPS_MAX;
}

static void on_read(Etcd3Job *job, const cJSON *json)
{
    OpenJob *open = (OpenJob *)job;
    Etcd3Lease *lease = &open->leases[open->at];

    if (etcd3_parse_ranges(json, lease->keys + open->position, open->count) < 0) {
        finish_with_nonsense(job);
        return;
    }
    open->position += open->count;
    open_read(open);
}

static void open_read(OpenJob *open)
{
    while (open->at < N_CANDIDATES && open->position == open->leases[open->at].n_keys) {
        open->at++;
        open->position = 0;
    }
    if (open->at == N_CANDIDATES) {
        open_choose(open);
        return;
    }
    Etcd3Lease *lease = &open->leases[open->at];
    open->count = slice_of(open->position, lease->n_keys);
    call_start(&open->call, "kv/txn", etcd3_build_ranges(lease->keys + open->position, open->count), on_read, NULL);
}

static bool value_is_own(const Store *store, const char *value)
{
    return !store->config.is_own_value || store->config.is_own_value(store->config.userdata, value);
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
        own = own && value_is_own(store, key.value);
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

static bool lease_exists(const Etcd3Lease *lease)
{
    return lease->ttl_s >= 0;
}

static bool lease_fits(const OpenJob *open, size_t i)
{
    const Etcd3Lease *lease = &open->leases[i];

    return lease_exists(lease) && lease->granted_ttl_s == (int64_t)open->call.job.store->config.ttl_s;
}

/* How good a candidate is for a target, 0 being of no use. */
static unsigned candidate_rank(const OpenJob *open, size_t i)
{
    const Etcd3Lease *lease = &open->leases[i];

    if (open->foreign[i])
        return 0;
    if (lease_fits(open, i))
        return lease->n_keys > 0 ? 5 : 4;
    if (!lease_exists(lease))
        return 3;
    return lease->n_keys == 0 ? 2 : 1;
}

static bool open_prefers_address(const OpenJob *open)
{
    if (open->foreign[0] || open->foreign[1])
        return true;
    /* The clone is gone, but our keys hang where they were put because of it. */
    for (size_t i = 2; i < N_DERIVED; i++) {
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

    for (size_t i = 0; i < N_CANDIDATES; i++)
        n += open->leases[i].n_keys;
    job->keys = calloc(n > 0 ? n : 1, sizeof(*job->keys));
    if (!job->keys) {
        finish_with_memory(&open->call);
        return;
    }
    for (size_t i = 0; i < N_CANDIDATES; i++) {
        for (size_t j = 0; j < open->leases[i].n_keys; j++) {
            Etcd3Key *key = &open->leases[i].keys[j];
            if (open->foreign[i] && !value_is_own(store, key->value))
                continue;
            job->keys[job->n_keys++] = (StoreKey){TAKE_PTR(key->key), TAKE_PTR(key->value)};
        }
    }
    store->etcd3->lease = open->leases[open->target].id;
    store->opened = true;
    store_job_finish_ok(job);
}

static void open_only_look(OpenJob *open)
{
    Etcd3 *etcd3 = open_store(open)->etcd3;

    for (size_t i = 0; i < N_CANDIDATES; i++)
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
    call_start(&open->call, "lease/keepalive", etcd3_build_lease(open->leases[open->target].id), on_adopted, NULL);
}

static bool lease_is_gone(Etcd3Job *job, GrpcCode code, const char *message)
{
    (void)job;
    return code == GRPC_NOT_FOUND && strstr(message, "lease not found");
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
    for (size_t i = 0; i < N_CANDIDATES; i++) {
        const Etcd3Lease *lease = &open->leases[i];
        if (i == fresh || i / 2 != fresh / 2 || open->foreign[i] || lease->n_keys == 0 ||
            lease->granted_ttl_s != granted_ttl_s)
            continue;
        open->target = i;
        call_start(&open->call, "lease/revoke", etcd3_build_lease(open->leases[fresh].id), on_short_ttl_dropped, NULL);
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
    call_start(&open->call, "lease/grant",
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
    if (!lease_is_gone(job, code, message))
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
        call_start(&open->call, "lease/revoke", etcd3_build_lease(open->leases[open->target].id), on_emptied,
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

    for (size_t i = 0; i < N_CANDIDATES; i++)
        open->foreign[i] = !lease_sift(store, &open->leases[i]);
    /* Known to be this agent's, even if the address has changed along with the settings. */
    open->foreign[PREVIOUS] = false;
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
        finish_with_nonsense(job);
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
    if (!lease_is_gone(job, code, message))
        return false;
    on_left(job, NULL);
    return true;
}

static bool on_move_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    if (!lease_is_gone(job, code, message))
        return false;
    open_start((OpenJob *)job);
    return true;
}

/* Of a lease that is shared with a clone, only what is of this host moves. */
static bool key_moves(const OpenJob *open, size_t i, const Etcd3Key *key)
{
    return !open->foreign[i] || value_is_own(open->call.job.store, key->value);
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
        call_start(&open->call, "lease/revoke", etcd3_build_lease(lease->id), on_left, on_left_error);
}

static void open_move(OpenJob *open)
{
    if (open->at == open->target) {
        open->at++;
        open->position = 0;
    }
    if (open->at >= N_CANDIDATES) {
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
    call_start(&open->call, "kv/txn",
               etcd3_build_move(open->leases[open->at].keys + open->position, open->count,
                                open->leases[open->target].id),
               on_moved, on_move_error);
}

static void etcd3_open(Store *store, StoreKeysFn done, void *userdata)
{
    OpenJob *open = store_job_new(store, sizeof(*open), NULL, done, userdata);
    const StoreConfig *config = &store->config;
    const char *address = config->address ? config->address(config->userdata) : "";

    open->call.job.clear = clear_open;
    open->leases[PREVIOUS].id = config->previous_lease;
    for (size_t i = 0; i < N_DERIVED; i++) {
        Etcd3Lease *lease = &open->leases[i];

        lease->id = etcd3_lease_id(config->identity, config->layout, i < 2 ? NULL : address,
                                   i % 2 == 0 ? LEASE_A : LEASE_B);
        if (lease->id == config->previous_lease)
            open->leases[PREVIOUS].id = 0;
    }
    open_start(open);
}

/* Applying: in slices, as many operations as etcd takes at once. If it refuses a slice for one of its keys,
 * smaller ones find out which, so that one bad key stops no other. */

typedef struct ApplyJob {
    Etcd3Job call;
    StoreOp *ops;
    size_t n, position, count;
    size_t slice_max;
    size_t n_rejected;
} ApplyJob;

static void apply_next(ApplyJob *apply);

static void on_applied(Etcd3Job *job, const cJSON *json)
{
    ApplyJob *apply = (ApplyJob *)job;
    const Store *store = job->job.store;
    size_t n_others = store->config.read_only ? N_CANDIDATES : 0;

    if (etcd3_parse_apply(json, apply->ops + apply->position, apply->count, store->etcd3->lease,
                          store->etcd3->others, n_others) < 0) {
        finish_with_nonsense(job);
        return;
    }
    apply->position += apply->count;
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

    if (!error_is_of_one_key(code, message) || judge_code(code, message) != STORE_REFUSED ||
        strstr(message, "database space exceeded"))
        return false;
    if (apply->count > 1) {
        apply->slice_max = apply->count / 2;
        apply_next(apply);
        return true;
    }
    /* All of them, down to the last: this is not about a key. */
    if (apply->n_rejected + 1 == apply->n && code == GRPC_PERMISSION_DENIED)
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
    call_start(&apply->call, "kv/txn",
               etcd3_build_apply(apply->ops + apply->position, count, store->etcd3->lease, store->user != NULL), on_applied,
               on_apply_error);
}

static void etcd3_apply(Store *store, StoreOp *ops, size_t n, StoreDoneFn done, void *userdata)
{
    ApplyJob *apply = store_job_new(store, sizeof(*apply), done, NULL, userdata);

    apply->call.job.clear = clear_call;
    apply->ops = ops;
    apply->n = n;
    apply->slice_max = ETCD3_OPS_MAX;
    apply_next(apply);
}

/* Heartbeat and revocation */

static void on_heartbeat(Etcd3Job *job, const cJSON *json)
{
    if (etcd3_parse_ttl(json) > 0)
        store_job_finish_ok(&job->job);
    else
        finish_with_code(&job->job, GRPC_NOT_FOUND, "requested lease not found");
}

static void etcd3_heartbeat(Store *store, StoreDoneFn done, void *userdata)
{
    Etcd3Job *job = store_job_new(store, sizeof(*job), done, NULL, userdata);

    job->job.clear = clear_call;
    /* A silent member must not use up the time in which another one could be asked. */
    job->timeout_ms = store->config.ttl_s * 1000 / 4;
    if (job->timeout_ms > HEARTBEAT_TIMEOUT_MS_MAX)
        job->timeout_ms = HEARTBEAT_TIMEOUT_MS_MAX;
    call_start(job, "lease/keepalive", etcd3_build_lease(store->etcd3->lease), on_heartbeat, NULL);
}

static void on_revoked(Etcd3Job *job, const cJSON *json)
{
    (void)json;
    store_job_finish_ok(&job->job);
}

static bool on_revoke_error(Etcd3Job *job, GrpcCode code, const char *message)
{
    if (!lease_is_gone(job, code, message))
        return false;
    store_job_finish_ok(&job->job);
    return true;
}

static void etcd3_revoke(Store *store, StoreDoneFn done, void *userdata)
{
    Etcd3Job *job = store_job_new(store, sizeof(*job), done, NULL, userdata);

    job->job.clear = clear_call;
    call_start(job, "lease/revoke", etcd3_build_lease(store->etcd3->lease), on_revoked, on_revoke_error);
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
    clear_call(job);
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
        finish_with_nonsense(job);
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
        if (key->value && key->lease == audit->lease.id && !value_is_own(store, key->value))
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
        finish_with_memory(&audit->call);
        return;
    }
    for (size_t i = 0; i < audit->lease.n_keys; i++) {
        Etcd3Key *key = &audit->lease.keys[i];
        /* Gone, or somebody else's by now. */
        if (i < audit->n_unknown && (!key->value || key->lease != audit->lease.id))
            continue;
        job->keys[job->n_keys++] = (StoreKey){TAKE_PTR(key->key), TAKE_PTR(key->value)};
    }
    store_job_finish_ok(job);
}

static void audit_read(AuditJob *audit)
{
    if (audit->position == audit->n_unknown) {
        audit_finish(audit);
        return;
    }
    audit->count = slice_of(audit->position, audit->n_unknown);
    call_start(&audit->call, "kv/txn", etcd3_build_ranges(audit->lease.keys + audit->position, audit->count),
               on_audit_read, NULL);
}

static void on_audited(Etcd3Job *job, const cJSON *json)
{
    AuditJob *audit = (AuditJob *)job;

    if (etcd3_parse_time_to_live(json, &audit->lease) < 0) {
        finish_with_nonsense(job);
        return;
    }
    if (!lease_exists(&audit->lease)) {
        finish_with_code(&job->job, GRPC_NOT_FOUND, "requested lease not found");
        return;
    }
    audit_sort(audit);
    audit_read(audit);
}

static void etcd3_audit(Store *store, bool (*is_known)(void *userdata, const char *key), StoreKeysFn done,
                        void *userdata)
{
    AuditJob *audit = store_job_new(store, sizeof(*audit), NULL, done, userdata);

    audit->call.job.clear = clear_audit;
    audit->is_known = is_known;
    audit->lease.id = store->etcd3->lease;
    call_start(&audit->call, "lease/timetolive", etcd3_build_time_to_live(audit->lease.id), on_audited, NULL);
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
