#include "etcd/etcd2_call.h"

#include "base/log.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    /* Requests of one operation. After so many, another owner writes the key again and again, and the operation
     * fails. */
    STEPS_MAX = 8,
    HOLDER_MAX = 4096, /* bytes kept of another owner's value */
};

static void step_put(Etcd2Job *job, const Etcd2Put *put, Etcd2AnswerFn fn)
{
    CLEANUP_FREE char *body = etcd2_build_form(put);

    if (!body)
        store_job_finish_memory(&job->job);
    else
        etcd2_call(job, "PUT", etcd2_build_path(job->op->key, NULL), body, fn);
}

/* ---- operations: their ends ---- */

static void op_end(Etcd2Job *job, StoreOutcome outcome)
{
    job->op->outcome = outcome;
    store_job_finish_ok(&job->job);
}

static void op_wrote(Etcd2Job *job)
{
    job->op->wrote = true;
    nudge_after(job->job.store->etcd2->nudge, job->op->key);
    op_end(job, STORE_OP_DONE);
}

static void op_end_with_text(Etcd2Job *job, StoreOutcome outcome, const char *text, uint64_t revision)
{
    StoreOp *op = job->op;

    op->holder = strndup(text, strnlen(text, HOLDER_MAX));
    if (!op->holder) {
        store_job_finish_memory(&job->job);
        return;
    }
    op->revision = revision;
    op_end(job, outcome);
}

static void op_reject(Etcd2Job *job, const char *reason)
{
    op_end_with_text(job, STORE_OP_REJECTED, reason, 0);
}

/* A refresh is no such write: an etcd that cannot read its users gives the same error, and the key must stay. */
static bool op_writes(const StoreOp *op)
{
    return op->verb == STORE_ENSURE || op->verb == STORE_REPLACE || op->verb == STORE_REMOVE;
}

static bool on_refusal(Etcd2Job *job, Etcd2Error error, const char *message)
{
    if (error == ETCD2_UNAUTHORIZED && op_writes(job->op))
        op_reject(job, "permission denied, or a wrong password");
    else if (error == ETCD2_ROOT_READ_ONLY || error == ETCD2_INVALID_FIELD)
        op_reject(job, message);
    else
        return false;
    return true;
}

/* A parent of the key is a key of another owner, who may delete it: a conflict. */
static void op_blocked(Etcd2Job *job)
{
    op_end_with_text(job, STORE_OP_CONFLICT, "(one of its directories is a key)", 0);
}

static void op_conflict_with_directory(Etcd2Job *job)
{
    op_end_with_text(job, STORE_OP_CONFLICT, "(directory)", 0);
}

/* ---- operations: their steps ---- */

static void op_put(Etcd2Job *job, const char *from);
static void op_delete(Etcd2Job *job, const char *value, uint64_t index);
static void op_look(Etcd2Job *job);

/* Stores the revision that the answer shows. */
static void op_learn(Etcd2Job *job, const cJSON *json)
{
    Etcd2Node node;

    if (job->index > 0)
        job->op->known = job->index;
    else
        job->op->known = etcd2_parse_node(json, &node) == 0 ? node.revision : 0;
}

/* Handles the errors that mean the same after every write. Returns true for such an error. */
static bool op_common_error(Etcd2Job *job, Etcd2Error error)
{
    if (job->op->verb == STORE_REMOVE && (error == ETCD2_NOT_FILE || error == ETCD2_NOT_DIR))
        op_end(job, STORE_OP_DONE);
    else if (error == ETCD2_NOT_FILE)
        op_conflict_with_directory(job);
    else if (error == ETCD2_NOT_DIR)
        op_blocked(job);
    else
        return false;
    return true;
}

static void on_written(Etcd2Job *job, Etcd2Error error, const cJSON *json)
{
    if (op_common_error(job, error))
        return;
    if (error == ETCD2_OK) {
        op_learn(job, json);
        op_wrote(job);
    } else if (error == ETCD2_KEY_NOT_FOUND)
        op_put(job, NULL);
    else
        op_look(job);
}

static void on_refreshed(Etcd2Job *job, Etcd2Error error, const cJSON *json)
{
    if (op_common_error(job, error))
        return;
    if (error == ETCD2_OK) {
        op_learn(job, json);
        op_end(job, STORE_OP_DONE);
    } else if (error != ETCD2_KEY_NOT_FOUND)
        op_look(job);
    else if (job->op->verb == STORE_REFRESH)
        op_end(job, STORE_OP_LOST);
    else
        op_put(job, NULL);
}

/* Changes the key from the value `from`; NULL: creates the key. */
static void op_put(Etcd2Job *job, const char *from)
{
    Etcd2Put put = {
        .value = job->op->value,
        .ttl_s = job->job.store->config.ttl_s,
        .prev_absent = !from,
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
    const char *value = job->op->value;
    /* etcd before 2.3 ignores "refresh", and reads a missing value as an empty one. */
    Etcd2Put put = {
        .value = can_refresh(store) ? NULL : value,
        .ttl_s = store->config.ttl_s,
        .prev_value = value,
    };

    if (++job->steps > STEPS_MAX)
        op_end(job, STORE_OP_FAILED);
    else {
        job->wants_index = true;
        step_put(job, &put, on_refreshed);
    }
}

static void op_decide(Etcd2Job *job, const Etcd2Node *node)
{
    const StoreOp *op = job->op;
    bool removed = op->verb == STORE_REMOVE;

    if (node->is_directory && !removed) {
        op_conflict_with_directory(job);
        return;
    }
    bool wanted = text_same(node->value, op->value);
    bool known = text_same(node->value, op->previous) || text_same(node->value, op->attempted);
    /* A key without a TTL is another owner's, because the agent writes each key with a TTL. */
    if (removed && (node->is_directory || !node->has_ttl || !known))
        op_end(job, STORE_OP_DONE);
    else if (!node->has_ttl || (!wanted && !known) || (op->verb == STORE_REFRESH && !wanted))
        op_end_with_text(job, STORE_OP_CONFLICT, node->value, node->revision);
    else if (op->verb == STORE_REMOVE)
        op_delete(job, node->value, node->revision);
    else if (op->verb == STORE_PEEK)
        op_end(job, wanted ? STORE_OP_DONE : STORE_OP_CHANGED);
    else if (wanted)
        op_refresh(job);
    else
        op_put(job, node->value);
}

static void on_looked(Etcd2Job *job, Etcd2Error error, const cJSON *json)
{
    const StoreOp *op = job->op;
    Etcd2Node node;

    if (op_common_error(job, error))
        return;
    if (error == ETCD2_KEY_NOT_FOUND && op->verb == STORE_REMOVE)
        op_end(job, STORE_OP_DONE);
    else if (error == ETCD2_KEY_NOT_FOUND && (op->verb == STORE_PEEK || op->verb == STORE_REFRESH))
        op_end(job, STORE_OP_LOST);
    else if (error == ETCD2_KEY_NOT_FOUND)
        op_put(job, NULL);
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
        /* The leader must answer, because a follower may not have the latest change yet. */
        etcd2_call(job, "GET", etcd2_build_path(job->op->key, "quorum=true&consistent=true"), NULL, on_looked);
}

static void op_ensure(Etcd2Job *job)
{
    const StoreOp *op = job->op;

    if (op->previous && text_same(op->previous, op->value))
        op_refresh(job);
    else
        op_put(job, op->previous);
}

static void op_replace(Etcd2Job *job)
{
    const StoreOp *op = job->op;
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

static void on_deleted(Etcd2Job *job, Etcd2Error error, const cJSON *json)
{
    (void)json;
    job->op->known = 0;
    if (error == ETCD2_OK)
        op_wrote(job);
    else if (error == ETCD2_TEST_FAILED)
        op_look(job); /* another value, or a newer index from a refresh without an answer */
    else
        op_end(job, STORE_OP_DONE); /* the key is absent, or a directory */
}

/* The index ensures that a late delete does not delete a newer key with the same value. */
static void op_delete(Etcd2Job *job, const char *value, uint64_t index)
{
    if (++job->steps > STEPS_MAX)
        op_end(job, STORE_OP_FAILED);
    else
        etcd2_call(job, "DELETE", etcd2_build_delete_path(job->op->key, value, index), NULL, on_deleted);
}

static void op_remove(Etcd2Job *job)
{
    const StoreOp *op = job->op;

    if (op->previous && op->known > 0)
        op_delete(job, op->previous, op->known);
    else if (op->previous || op->attempted)
        op_look(job);
    else
        op_end(job, STORE_OP_DONE);
}

/* The settings cannot check this, because the server may decide the API. */
static void op_refuse_name(Etcd2Job *job)
{
    static const char why[] = "etcd's v2 API has only keys that begin with a slash";

    if (op_writes(job->op))
        op_reject(job, why);
    else
        op_end_with_text(job, STORE_OP_CONFLICT, why, 0);
}

static void op_start(Etcd2Job *job)
{
    if (*job->op->key != '/') {
        op_refuse_name(job);
        return;
    }
    switch (job->op->verb) {
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
    StoreOperation operation = ops->verb == STORE_REFRESH ? STORE_OPERATION_REFRESH : STORE_OPERATION_WRITE;
    Etcd2Job *job = store_job_new(store, operation, sizeof(*job), done, NULL, userdata);

    assert(n == 1);
    (void)n;
    if (!job)
        return -ENOMEM;
    job->on_refusal = on_refusal;
    job->op = ops;
    op_start(job);
    return 0;
}

/* ---- opening: the directories, so that confd can read them before the first key ---- */

static void open_next(Etcd2Job *job);

static size_t directories_to_make(const Store *store)
{
    return store->config.read_only ? 0 : store->config.n_directories;
}

/* A missing directory concerns only its own keys. Each of these keys becomes a conflict or is rejected. */
static void open_skip(Etcd2Job *job, const char *why)
{
    const Store *store = job->job.store;

    log_warning("etcd at %s cannot make the directory %s: %s", etcd_endpoint(store->etcd),
                store->config.directories[job->steps], why);
}

static void on_opened(Etcd2Job *job, Etcd2Error error, const cJSON *json)
{
    (void)json;
    if (error == ETCD2_NOT_DIR && job->steps < directories_to_make(job->job.store))
        open_skip(job, "a key is in the way, delete it or change the key template");
    job->steps++;
    open_next(job);
}

/* A refusal of the first directory may mean a wrong password, and ends the opening. */
static bool on_open_refusal(Etcd2Job *job, Etcd2Error error, const char *message)
{
    (void)message;
    if (error != ETCD2_UNAUTHORIZED || job->steps == 0 || job->steps >= directories_to_make(job->job.store))
        return false;
    open_skip(job, "permission denied, check the user's role");
    job->steps++;
    open_next(job);
    return true;
}

static void open_next(Etcd2Job *job)
{
    Store *store = job->job.store;

    if (job->steps < directories_to_make(store)) {
        etcd2_call(job, "PUT", etcd2_build_path(store->config.directories[job->steps], NULL),
                   "dir=true&prevExist=false", on_opened);
    } else if (job->steps == 0) {
        /* Any answer of the API shows that the server has v2. */
        etcd2_call(job, "GET", etcd2_build_path("/registrator", NULL), NULL, on_opened);
    } else {
        store_job_finish_ok(&job->job);
    }
}

static int etcd2_open(Store *store, StoreKeysFn done, void *userdata)
{
    Etcd2Job *job = store_job_new(store, STORE_OPERATION_OPEN, sizeof(*job), NULL, done, userdata);

    if (!job)
        return -ENOMEM;
    job->on_refusal = on_open_refusal;
    open_next(job);
    return 0;
}

/* ---- the backend ---- */

static int etcd2_attach(Store *store)
{
    const StoreConfig *config = &store->config;
    int r;

    store->etcd2 = calloc(1, sizeof(*store->etcd2));
    if (!store->etcd2)
        return -ENOMEM;
    r = refresher_new(&store->etcd2->refresher, store->event);
    if (r < 0 || !config->nudge || config->read_only)
        return r;
    return nudge_new(&store->etcd2->nudge, store->event, store->etcd);
}

static void etcd2_detach(Store *store)
{
    if (!store->etcd2)
        return;
    nudge_free(store->etcd2->nudge);
    refresher_free(store->etcd2->refresher);
    free(store->etcd2);
}

static bool etcd2_has_lease(const Store *store)
{
    (void)store;
    return false;
}

static Refresher *etcd2_refresher(const Store *store)
{
    return store->etcd2->refresher;
}

const StoreBackend etcd2_backend = {
    .name = "v2",
    .batch_max = 1,
    .concurrency = 8,
    .attach = etcd2_attach,
    .detach = etcd2_detach,
    .open = etcd2_open,
    .apply = etcd2_apply,
    .has_lease = etcd2_has_lease,
    .refresher = etcd2_refresher,
    .lease_changed = etcd2_has_lease,
};
