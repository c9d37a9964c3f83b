/* One call to v3's gateway: path, token, errors. */
#include "etcd/etcd3_call.h"

#include "base/text.h"

#include <errno.h>
#include <string.h>

enum {
    /* The list of the keys under a lease comes in one answer. A host's keys have at most 8 MiB, and base64 adds a
     * third. Values are read in slices, which become smaller if an answer is too long. */
    ANSWER_MAX = 16 * 1024 * 1024,
};

static const char answer_too_long[] = "answer too long";

int etcd3_attach(Store *store)
{
    const Store *previous = store->config.previous;
    Etcd3 *etcd3 = calloc(1, sizeof(*etcd3));

    if (!etcd3)
        return -ENOMEM;
    TAILQ_INIT(&etcd3->waiting);
    /* A store that has never been opened passes on the lease of the store before it. */
    if (previous)
        etcd3->previous_lease = previous->etcd3->lease != 0 ? previous->etcd3->lease : previous->etcd3->previous_lease;
    store->etcd3 = etcd3;
    return 0;
}

static void etcd3_drop_token(Etcd3 *etcd3)
{
    text_free_secret(TAKE_PTR(etcd3->token));
    etcd3->token_known = false;
}

void etcd3_detach(Store *store)
{
    Etcd3 *etcd3 = store->etcd3;

    if (!etcd3)
        return;
    etcd_request_free(etcd3->token_request);
    etcd3_drop_token(etcd3);
    free(etcd3);
}

/* Errors as sentences. */

StoreStatus etcd3_judge(GrpcCode code, const char *message)
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

void etcd3_finish_code(StoreJob *job, GrpcCode code, const char *message)
{
    const char *endpoint = etcd_endpoint(job->store->etcd);
    StoreStatus status = etcd3_judge(code, message);
    char excerpt[256];

    if (status == STORE_LEASE_LOST) {
        job->store->etcd3->lease_ended = true;
        store_job_finish(job, status, "The keys' TTL of %u s ended in etcd (was this agent, or etcd, away for longer?)",
                         job->store->config.ttl_s);
        return;
    }
    store_job_finish(job, status, "etcd at %s %s (%s)%s", endpoint,
                     status == STORE_UNREACHABLE ? "cannot serve now" : "refuses",
                     store_excerpt(message, excerpt, sizeof(excerpt)), remedy_for(code, message));
}

/* Finishes the job after an answer that is not the API's. */
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
    else if (result->status == 400 && strstr(result->body, "CommonName"))
        store_job_finish(job, STORE_REFUSED,
                         "etcd at %s has users, and then refuses its JSON gateway to a client certificate with a "
                         "common name: set --etcd-cert to a certificate without one (no CN in its subject)",
                         endpoint);
    else
        store_job_finish(job, STORE_REFUSED, "%s does not answer like etcd's v3 API (HTTP status %ld: %s)", endpoint,
                         result->status, excerpt);
}

void etcd3_finish_nonsense(Etcd3Job *job)
{
    store_job_finish(&job->job, STORE_REFUSED, "etcd at %s gave an answer to %s that makes no sense",
                     etcd_endpoint(job->job.store->etcd), job->call);
}

void etcd3_finish_clone(Etcd3Job *job)
{
    job->job.store->etcd3->is_shared = true;
    store_job_finish(&job->job, STORE_LEASE_LOST,
                     "Another host writes keys under the same lease (a cloned machine image?): taking another lease");
}

/* Calls, with a token if the settings name a user. */

static bool version_is_33(const Store *store)
{
    return store->version.major == 3 && store->version.minor <= 3;
}

/* 3.3 has another prefix, and other paths for two of the lease's calls. 3.4 still answers all of them. */
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

/* Returns true if the call is sent again with a new token. */
static bool call_renew_token(Etcd3Job *job, GrpcCode code, const char *message)
{
    Store *store = job->job.store;
    Etcd3 *etcd3 = store->etcd3;

    if (!store->user || job->token_renewed || !token_is_wrong(code, message))
        return false;
    job->token_renewed = true;
    /* Another call may have dropped the token already. */
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

    if (result->error == -EMSGSIZE && job->on_error && job->on_error(job, GRPC_RESOURCE_EXHAUSTED, answer_too_long))
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
        /* 3.6 gives this answer if it does not have the call. */
        if (code == GRPC_NOT_FOUND && strcmp(message, "Not Found") == 0)
            finish_with_status(store_job, result);
        else
            etcd3_finish_code(store_job, code, message);
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
        store_job_finish_memory(&job->job);
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

void etcd3_call(Etcd3Job *job, const char *call, char *body, Etcd3AnswerFn on_answer, Etcd3ErrorFn on_error)
{
    text_take(&job->body, body);
    job->call = call;
    job->on_answer = on_answer;
    job->on_error = on_error;
    job->token_renewed = false;
    if (body)
        call_send(job);
    else
        store_job_finish_memory(&job->job);
}

/* The store asks for one token, for all calls that wait. */

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
    /* If etcd needs no user, the agent continues without a token. */
    if (token || strstr(message, "authentication is not enabled")) {
        store_count(store, STORE_OPERATION_AUTH, STORE_OK);
        token_set(store, token);
        return;
    }
    store_count(store, STORE_OPERATION_AUTH,
                result->error != 0      ? STORE_UNREACHABLE
                : code != GRPC_OK       ? etcd3_judge(code, message)
                : result->status >= 500 ? STORE_UNREACHABLE
                                        : STORE_REFUSED);
    while ((job = pop_waiting(store->etcd3))) {
        if (store_job_check_transport(&job->job, result))
            continue;
        if (code != GRPC_OK)
            etcd3_finish_code(&job->job, code, message);
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
        EtcdSpec spec = { .method = "POST", .path = path, .body = body };
        r = etcd_request(store->etcd, &spec, on_token, store, &etcd3->token_request);
    }
    text_free_secret(body);
    if (r == 0)
        return;
    while ((job = pop_waiting(etcd3)))
        store_job_finish_errno(&job->job, r);
}

void etcd3_call_clear(StoreJob *job)
{
    call_stop_waiting((Etcd3Job *)job);
    free(((Etcd3Job *)job)->body);
}

/* Shared by the verbs. */

StoreWriter etcd3_writer(const Store *store, const char *key, const char *value)
{
    return store->config.writer ? store->config.writer(store->config.userdata, key, value) : STORE_WRITER_UNKNOWN;
}

size_t etcd3_ops_max(const Store *store)
{
    size_t learnt = store->etcd3->ops_max;

    return learnt > 0 ? learnt : ETCD3_OPS_MAX;
}

bool etcd3_learn_ops_max(Store *store, const char *message, size_t count)
{
    bool too_many = strstr(message, "too many operations") || strcmp(message, answer_too_long) == 0;

    if (!too_many || count < 2)
        return false;
    store->etcd3->ops_max = count / 2;
    return true;
}

size_t etcd3_slice(const Store *store, size_t position, size_t n)
{
    size_t max = etcd3_ops_max(store);

    return n - position < max ? n - position : max;
}

bool etcd3_lease_is_gone(GrpcCode code, const char *message)
{
    return code == GRPC_NOT_FOUND && strstr(message, "lease not found");
}
