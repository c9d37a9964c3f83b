#include "etcd/etcd2_call.h"

#include "base/text.h"

enum { TIMEOUT_MS_MAX = 3000 };

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
                         "(3.4 and 3.5; etcd 3.6 has no v2 API), or use --etcd-api=v3",
                         job->store->server_version, endpoint, excerpt);
    else if (result->status == 401 || result->status == 403)
        store_job_finish(job, STORE_REFUSED,
                         "etcd at %s refuses (%s): check --etcd-user, --etcd-password-file and the user's role",
                         endpoint, excerpt);
    else
        store_job_finish(job, STORE_REFUSED, "etcd at %s refuses (HTTP status %ld: %s)", endpoint, result->status,
                         excerpt);
}

static void on_step_answer(StoreJob *store_job, const HttpResult *result)
{
    Etcd2Job *job = (Etcd2Job *)store_job;
    CLEANUP_JSON cJSON *json = NULL;
    const char *message;

    if (store_job_check_transport(store_job, result))
        return;
    job->index = job->wants_index && result->status == 200 ? etcd2_find_index(result->body) : 0;
    job->wants_index = false;
    if (job->index > 0) {
        job->on_answer(job, ETCD2_OK, NULL);
        return;
    }
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
    default:
        if (!job->on_refusal || !job->on_refusal(job, error, message))
            finish_with_status(store_job, result, message);
        return;
    }
    job->on_answer(job, error, json);
}

void etcd2_call(Etcd2Job *job, const char *method, char *path, const char *body, Etcd2AnswerFn fn)
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
        store_job_finish_memory(&job->job);
        return;
    }
    job->on_answer = fn;
    store_job_request(&job->job, &spec, on_step_answer);
}
