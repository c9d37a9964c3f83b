#include "etcd/store_private.h"

#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

void *store_job_new(Store *store, StoreOperation operation, size_t size, StoreDoneFn done, StoreKeysFn keys_done,
                    void *userdata)
{
    StoreJob *job = calloc(1, size);

    if (!job)
        return NULL;
    job->store = store;
    job->operation = operation;
    job->done = done;
    job->keys_done = keys_done;
    job->userdata = userdata;
    TAILQ_INSERT_TAIL(&store->running, job, jobs);
    return job;
}

static void job_unlink(StoreJob *job)
{
    if (job->is_finished)
        TAILQ_REMOVE(&job->store->finished, job, jobs);
    else
        TAILQ_REMOVE(&job->store->running, job, jobs);
}

/* The job must be in no list. The store may have been freed before. */
static void job_destroy(StoreJob *job)
{
    etcd_request_free(job->request);
    if (job->clear)
        job->clear(job);
    store_keys_free(job->keys, job->n_keys);
    free(job->message);
    free(job);
}

StoreJob *store_job_free(StoreJob *job)
{
    if (!job)
        return NULL;
    job_unlink(job);
    job_destroy(job);
    return NULL;
}

void store_count(Store *store, StoreOperation operation, StoreStatus status)
{
    if (store->config.counters)
        store->config.counters->requests[operation][status]++;
}

const char *store_operation_to_string(StoreOperation operation)
{
    static const char *const names[STORE_OPERATION_MAX_] = {
        [STORE_OPERATION_OPEN] = "open",           [STORE_OPERATION_WRITE] = "write",
        [STORE_OPERATION_HEARTBEAT] = "heartbeat", [STORE_OPERATION_REFRESH] = "refresh",
        [STORE_OPERATION_RESYNC] = "resync",       [STORE_OPERATION_AUTH] = "auth",
    };

    return names[operation];
}

const char *store_status_to_string(StoreStatus status)
{
    static const char *const names[STORE_STATUS_MAX_] = {
        [STORE_OK] = "ok",
        [STORE_LEASE_LOST] = "lease_lost",
        [STORE_UNREACHABLE] = "unreachable",
        [STORE_REFUSED] = "refused",
    };

    return names[status];
}

/* A request is counted with its result, which is known when the job sends its next request or ends. */
static void count_answer(StoreJob *job, StoreStatus status)
{
    if (job->asked)
        store_count(job->store, job->operation, status);
    job->asked = false;
}

static void job_finish(StoreJob *job, StoreStatus status, char *message)
{
    Store *store = job->store;

    count_answer(job, status);
    job->request = etcd_request_free(job->request);
    job->status = status;
    job->message = message;
    job_unlink(job);
    job->is_finished = true;
    TAILQ_INSERT_TAIL(&store->finished, job, jobs);
    defer_arm(&store->defer);
}

void store_job_finish(StoreJob *job, StoreStatus status, const char *format, ...)
{
    char *message;
    va_list arguments;

    va_start(arguments, format);
    message = text_vformat(format, arguments);
    va_end(arguments);
    job_finish(job, status, message);
}

void store_job_finish_ok(StoreJob *job)
{
    job_finish(job, STORE_OK, NULL);
}

void store_job_finish_errno(StoreJob *job, int error)
{
    store_job_finish(job, STORE_UNREACHABLE, "could not ask etcd: %s", strerror(abs(error)));
}

void store_job_finish_memory(StoreJob *job)
{
    store_job_finish_errno(job, -ENOMEM);
}

static void on_etcd_done(void *userdata, const HttpResult *result)
{
    StoreJob *job = userdata;

    job->request = NULL;
    job->on_answer(job, result);
}

void store_job_request(StoreJob *job, const EtcdSpec *spec, StoreAnswerFn fn)
{
    count_answer(job, STORE_OK);
    job->on_answer = fn;
    int r = etcd_request(job->store->etcd, spec, on_etcd_done, job, &job->request);
    if (r < 0)
        store_job_finish_errno(job, r);
    else
        job->asked = true;
}

bool store_job_check_transport(StoreJob *job, const HttpResult *result)
{
    if (result->error == 0)
        return false;
    store_job_finish(job, STORE_UNREACHABLE, "etcd gave no answer (%s): %s", result->error_text,
                     result->error == -EMSGSIZE
                         ? "too many or too long keys are registered, see the largest with etcdctl get --prefix"
                     : result->error == -EPROTO
                         ? "check --etcd-ca, --etcd-cert and --etcd-key, and the server's certificate"
                         : "is it running, and is --etcd right?");
    return true;
}

uint64_t store_timeout_ms(const Store *store, uint64_t max)
{
    uint64_t share = (uint64_t)store->config.ttl_s * 1000 / 4;

    return share < max ? share : max;
}

/* Each turn handles one job, and reads nothing after the callback, which may free the store. */
void store_job_on_defer(void *userdata)
{
    Store *store = userdata;
    StoreJob *job = TAILQ_FIRST(&store->finished);

    if (!job)
        return;
    job_unlink(job);
    if (!TAILQ_EMPTY(&store->finished))
        defer_arm(&store->defer);
    const char *message = job->message ? job->message : job->status == STORE_OK ? "" : "out of memory";
    if (job->done)
        job->done(job->userdata, job->status, message);
    else
        job->keys_done(job->userdata, job->status, message, job->keys, job->n_keys);
    job_destroy(job);
}

void store_keys_free(StoreKey *keys, size_t n_keys)
{
    for (size_t i = 0; i < n_keys; i++) {
        free(keys[i].key);
        free(keys[i].value);
    }
    free(keys);
}

const char *store_excerpt(const char *body, char *buffer, size_t size)
{
    size_t n = 0;

    for (; *body && n + 1 < size; body++) {
        bool is_blank = (unsigned char)*body <= ' ' || *body == 0x7f;
        if (is_blank && (n == 0 || buffer[n - 1] == ' '))
            continue;
        buffer[n++] = is_blank ? ' ' : *body;
    }
    while (n > 0 && buffer[n - 1] == ' ')
        n--;
    buffer[n] = '\0';
    return buffer;
}
