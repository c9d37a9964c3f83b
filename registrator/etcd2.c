#include "store_private.h"

#include "etcd2_message.h"
#include "text.h"

#include <errno.h>
#include <string.h>

enum {
    /* Requests that one operation may take before it is left for the next time: somebody else is writing
     * the key again and again. */
    STEPS_MAX = 8,
    HOLDER_MAX = 4096, /* bytes kept of somebody else's value */
    TIMEOUT_MS_MAX = 3000,
};

/* One operation after the other: each step is a request, and its answer decides upon the next one. */
typedef struct Etcd2Job Etcd2Job;
typedef void (*Etcd2AnswerFn)(Etcd2Job *job, Etcd2Error error, const cJSON *json);

struct Etcd2Job {
    StoreJob job;
    Etcd2AnswerFn on_answer;
    StoreOp *ops;
    size_t n, position;
    unsigned steps;
    bool tried_attempted; /* REMOVE */
};

/* Requests */

static void finish_with_memory(Etcd2Job *job)
{
    store_job_finish_errno(&job->job, -ENOMEM);
}

static void finish_with_status(StoreJob *job, const HttpResult *result, const char *message)
{
    const char *endpoint = etcd_endpoint(job->store->etcd);
    char excerpt[256];

    store_excerpt(*message ? message : result->body, excerpt, sizeof(excerpt));
    if (result->status >= 500)
        store_job_finish(job, STORE_UNREACHABLE,
                         "etcd at %s cannot serve now (HTTP status %ld: %s): see that a majority of its members runs",
                         endpoint, result->status, excerpt);
    else if (result->status == 404)
        store_job_finish(job, STORE_REFUSED,
                         "etcd %s at %s does not serve the v2 API (HTTP status 404: %s): start it with --enable-v2 "
                         "(3.4 and 3.5; 3.6 has it no more), or use --etcd-api=v3",
                         job->store->server_version, endpoint, excerpt);
    else if (result->status == 401 || result->status == 403)
        store_job_finish(job, STORE_REFUSED,
                         "etcd at %s refuses (%s): check --etcd-user, --etcd-password-file and the user's role",
                         endpoint, excerpt);
    else
        store_job_finish(job, STORE_REFUSED, "etcd at %s refuses (HTTP status %ld: %s)", endpoint, result->status,
                         excerpt);
}

static void op_reject(Etcd2Job *job, const char *reason);

static void on_step_answer(StoreJob *store_job, const HttpResult *result)
{
    Etcd2Job *job = (Etcd2Job *)store_job;
    CLEANUP_JSON cJSON *json = NULL;
    const char *message;

    if (store_job_check_transport(store_job, result))
        return;
    (void)json_parse(&json, result->body, result->body_size);
    Etcd2Error error = etcd2_parse_error(json, result->status, &message);
    switch (error) {
    case ETCD2_OK:
        if (!cJSON_IsObject(json)) {
            store_job_finish(store_job, STORE_REFUSED, "%s does not answer like etcd's v2 API",
                             etcd_endpoint(store_job->store->etcd));
            return;
        }
        break;
    case ETCD2_KEY_NOT_FOUND:
    case ETCD2_TEST_FAILED:
    case ETCD2_NOT_FILE:
    case ETCD2_NOT_DIR:
    case ETCD2_NODE_EXIST:
        break;
    case ETCD2_ROOT_READ_ONLY:
    case ETCD2_INVALID_FIELD:
        if (job->ops) {
            op_reject(job, message);
            return;
        }
        finish_with_status(store_job, result, message);
        return;
    default:
        finish_with_status(store_job, result, message);
        return;
    }
    job->on_answer(job, error, json);
}

/* path: taken, NULL without memory. body: of a PUT. */
static void step(Etcd2Job *job, const char *method, char *path, const char *body, Etcd2AnswerFn fn)
{
    CLEANUP_FREE char *owned = path;
    EtcdSpec spec = {
        .method = method,
        .path = path,
        .body = body,
        .form = true,
        .timeout_ms = store_timeout_ms(job->job.store, TIMEOUT_MS_MAX),
    };

    if (!path) {
        finish_with_memory(job);
        return;
    }
    job->on_answer = fn;
    store_job_request(&job->job, &spec, on_step_answer);
}

static void step_put(Etcd2Job *job, const Etcd2Put *put, Etcd2AnswerFn fn)
{
    CLEANUP_FREE char *body = etcd2_build_form(put);

    if (!body)
        finish_with_memory(job);
    else
        step(job, "PUT", etcd2_build_path(job->ops[job->position].key, NULL), body, fn);
}

/* Operations: their ends */

static void op_start(Etcd2Job *job);

static void op_end(Etcd2Job *job, StoreOutcome outcome)
{
    job->ops[job->position++].outcome = outcome;
    op_start(job);
}

static void op_wrote(Etcd2Job *job)
{
    job->ops[job->position].wrote = true;
    nudge_after(job->job.store->nudge, job->ops[job->position].key);
    op_end(job, STORE_OP_DONE);
}

static void op_end_with_text(Etcd2Job *job, StoreOutcome outcome, const char *text, uint64_t revision)
{
    StoreOp *op = &job->ops[job->position];

    op->holder = strndup(text, HOLDER_MAX);
    if (!op->holder) {
        finish_with_memory(job);
        return;
    }
    op->revision = revision;
    op_end(job, outcome);
}

static void op_reject(Etcd2Job *job, const char *reason)
{
    op_end_with_text(job, STORE_OP_REJECTED, reason, 0);
}

/* A parent of the key is a key itself. It is somebody's, and may go: that is a conflict like any other. */
static void op_blocked(Etcd2Job *job)
{
    op_end_with_text(job, STORE_OP_HELD, "(one of its directories is a key)", 0);
}

static void op_held_by_directory(Etcd2Job *job)
{
    op_end_with_text(job, STORE_OP_HELD, "(directory)", 0);
}

/* Operations: their steps */

static void op_create(Etcd2Job *job);
static void op_look(Etcd2Job *job);

/* The errors that mean the same after every write. True: it was one of them. */
static bool op_common_error(Etcd2Job *job, Etcd2Error error)
{
    if (error == ETCD2_NOT_FILE)
        op_held_by_directory(job);
    else if (error == ETCD2_NOT_DIR)
        op_blocked(job);
    else
        return false;
    return true;
}

static void on_written(Etcd2Job *job, Etcd2Error error, const cJSON *json)
{
    (void)json;
    if (op_common_error(job, error))
        return;
    if (error == ETCD2_OK)
        op_wrote(job);
    else if (error == ETCD2_KEY_NOT_FOUND)
        op_create(job);
    else
        op_look(job);
}

static void on_refreshed(Etcd2Job *job, Etcd2Error error, const cJSON *json)
{
    (void)json;
    if (op_common_error(job, error))
        return;
    if (error == ETCD2_OK)
        op_end(job, STORE_OP_DONE);
    else if (error != ETCD2_KEY_NOT_FOUND)
        op_look(job);
    else if (job->ops[job->position].verb == STORE_REFRESH)
        op_end(job, STORE_OP_LOST);
    else
        op_create(job);
}

static void op_create(Etcd2Job *job)
{
    Etcd2Put put = {
        .value = job->ops[job->position].value,
        .ttl_s = job->job.store->config.ttl_s,
        .prev_absent = true,
    };

    if (++job->steps > STEPS_MAX)
        op_end(job, STORE_OP_FAILED);
    else
        step_put(job, &put, on_written);
}

static void op_change(Etcd2Job *job, const char *from)
{
    Etcd2Put put = {
        .value = job->ops[job->position].value,
        .ttl_s = job->job.store->config.ttl_s,
        .prev_value = from,
    };

    if (++job->steps > STEPS_MAX)
        op_end(job, STORE_OP_FAILED);
    else
        step_put(job, &put, on_written);
}

static bool can_refresh(const Store *store)
{
    const EtcdVersion *version = &store->version;

    return version->major > 2 || (version->major == 2 && version->minor >= 3);
}

static void op_refresh(Etcd2Job *job)
{
    const Store *store = job->job.store;
    const char *value = job->ops[job->position].value;
    /* Before 2.3 etcd does not know "refresh", and takes the missing value for an empty one. */
    Etcd2Put put = {
        .value = can_refresh(store) ? NULL : value,
        .ttl_s = store->config.ttl_s,
        .prev_value = value,
    };

    if (++job->steps > STEPS_MAX)
        op_end(job, STORE_OP_FAILED);
    else
        step_put(job, &put, on_refreshed);
}

static void op_decide(Etcd2Job *job, const Etcd2Node *node)
{
    const StoreOp *op = &job->ops[job->position];

    if (node->is_directory) {
        op_held_by_directory(job);
        return;
    }
    bool wanted = text_same(node->value, op->value);
    bool known = text_same(node->value, op->previous) || text_same(node->value, op->attempted);
    /* We write no key without a TTL: one that has none is somebody else's, whatever it holds. */
    if (!node->has_ttl || (!wanted && !known) || (op->verb == STORE_REFRESH && !wanted))
        op_end_with_text(job, STORE_OP_HELD, node->value, node->revision);
    else if (op->verb == STORE_PEEK)
        op_end(job, wanted ? STORE_OP_DONE : STORE_OP_CHANGED);
    else if (wanted)
        op_refresh(job);
    else
        op_change(job, node->value);
}

static void on_looked(Etcd2Job *job, Etcd2Error error, const cJSON *json)
{
    const StoreOp *op = &job->ops[job->position];
    Etcd2Node node;

    if (op_common_error(job, error))
        return;
    if (error == ETCD2_KEY_NOT_FOUND && (op->verb == STORE_PEEK || op->verb == STORE_REFRESH))
        op_end(job, STORE_OP_LOST);
    else if (error == ETCD2_KEY_NOT_FOUND)
        op_create(job);
    else if (etcd2_parse_node(json, &node) < 0)
        op_end(job, STORE_OP_FAILED);
    else
        op_decide(job, &node);
}

static void op_look(Etcd2Job *job)
{
    if (++job->steps > STEPS_MAX)
        op_end(job, STORE_OP_FAILED);
    else
        /* From the leader: a follower may not know yet what made us look. */
        step(job, "GET", etcd2_build_path(job->ops[job->position].key, "quorum=true&consistent=true"), NULL, on_looked);
}

static void op_ensure(Etcd2Job *job)
{
    const StoreOp *op = &job->ops[job->position];

    if (!op->previous)
        op_create(job);
    else if (text_same(op->previous, op->value))
        op_refresh(job);
    else
        op_change(job, op->previous);
}

static void op_replace(Etcd2Job *job)
{
    const StoreOp *op = &job->ops[job->position];
    Etcd2Put put = {
        .value = op->value,
        .ttl_s = job->job.store->config.ttl_s,
        .prev_index = op->revision,
    };

    if (op->revision == 0)
        op_ensure(job);
    else
        step_put(job, &put, on_written);
}

static void op_delete(Etcd2Job *job, const char *value);

static void on_deleted(Etcd2Job *job, Etcd2Error error, const cJSON *json)
{
    const StoreOp *op = &job->ops[job->position];

    (void)json;
    if (error == ETCD2_OK)
        op_wrote(job);
    else if (error == ETCD2_TEST_FAILED && op->attempted && !job->tried_attempted) {
        job->tried_attempted = true;
        op_delete(job, op->attempted);
    } else
        op_end(job, STORE_OP_DONE); /* absent, a directory, or somebody else's */
}

static void op_delete(Etcd2Job *job, const char *value)
{
    step(job, "DELETE", etcd2_build_delete_path(job->ops[job->position].key, value), NULL, on_deleted);
}

static void op_remove(Etcd2Job *job)
{
    const StoreOp *op = &job->ops[job->position];

    job->tried_attempted = !op->previous;
    if (op->previous || op->attempted)
        op_delete(job, op->previous ? op->previous : op->attempted);
    else
        op_end(job, STORE_OP_DONE);
}

static void op_start(Etcd2Job *job)
{
    if (job->position == job->n) {
        store_job_finish_ok(&job->job);
        return;
    }
    job->steps = 0;
    switch (job->ops[job->position].verb) {
    case STORE_ENSURE:
        op_ensure(job);
        break;
    case STORE_REPLACE:
        op_replace(job);
        break;
    case STORE_REMOVE:
        op_remove(job);
        break;
    case STORE_REFRESH:
        op_refresh(job);
        break;
    case STORE_PEEK:
        op_look(job);
        break;
    }
}

static int etcd2_apply(Store *store, StoreOp *ops, size_t n, StoreDoneFn done, void *userdata)
{
    StoreOperation operation = ops[0].verb == STORE_REFRESH ? STORE_OPERATION_REFRESH : STORE_OPERATION_WRITE;
    Etcd2Job *job = store_job_new(store, operation, sizeof(*job), done, NULL, userdata);

    if (!job)
        return -ENOMEM;
    job->ops = ops;
    job->n = n;
    op_start(job);
    return 0;
}

/* Opening: the directory, without a TTL, so that confd can read it before there is a first key */

static void on_opened(Etcd2Job *job, Etcd2Error error, const cJSON *json)
{
    Store *store = job->job.store;

    (void)json;
    if (error == ETCD2_NOT_DIR) {
        store_job_finish(&job->job, STORE_REFUSED,
                         "etcd at %s cannot make the directory %s: a key is in the way, delete it or change --key",
                         etcd_endpoint(store->etcd), store->config.directory ? store->config.directory : "/");
        return;
    }
    store->opened = true;
    store_job_finish_ok(&job->job);
}

static int etcd2_open(Store *store, StoreKeysFn done, void *userdata)
{
    Etcd2Job *job = store_job_new(store, STORE_OPERATION_OPEN, sizeof(*job), NULL, done, userdata);
    const char *directory = store->config.directory;

    if (!job)
        return -ENOMEM;
    if (directory && !store->config.read_only && strspn(directory, "/") < strlen(directory))
        step(job, "PUT", etcd2_build_path(directory, NULL), "dir=true&prevExist=false", on_opened);
    else
        /* Whatever the answer is: the question is whether there is a v2 API. */
        step(job, "GET", etcd2_build_path("/registrator", NULL), NULL, on_opened);
    return 0;
}

/* Nothing to do */

static int etcd2_nothing(Store *store, StoreDoneFn done, void *userdata)
{
    StoreJob *job = store_job_new(store, STORE_OPERATION_HEARTBEAT, sizeof(*job), done, NULL, userdata);

    if (!job)
        return -ENOMEM;
    store_job_finish_ok(job);
    return 0;
}

static int etcd2_audit(Store *store, bool (*is_known)(void *userdata, const char *key), StoreKeysFn done,
                       void *userdata)
{
    StoreJob *job = store_job_new(store, STORE_OPERATION_AUDIT, sizeof(*job), NULL, done, userdata);

    (void)is_known;
    if (!job)
        return -ENOMEM;
    store_job_finish_ok(job);
    return 0;
}

const StoreBackend etcd2_backend = {
    .name = "v2",
    .batch_max = 1,
    .concurrency = 8,
    .open = etcd2_open,
    .apply = etcd2_apply,
    .heartbeat = etcd2_nothing,
    .audit = etcd2_audit,
    .revoke = etcd2_nothing,
};
