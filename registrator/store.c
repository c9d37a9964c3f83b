#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "store_private.h"

#include "json.h"
#include "log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* Jobs */

void *store_job_new(Store *store, size_t size, StoreDoneFn done, StoreKeysFn keys_done, void *userdata)
{
    StoreJob *job = calloc(1, size);

    if (!job) {
        /* The verbs promise an answer, and without these few bytes there can be none: a fresh start,
         * with the keys kept alive by their TTL meanwhile, is the better way out. */
        log_error("Out of memory");
        abort();
    }
    job->store = store;
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

/* For a job that is in no list any more: looks at nothing of the store's. */
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

static void job_finish(StoreJob *job, StoreStatus status, char *message)
{
    Store *store = job->store;

    job->request = etcd_request_free(job->request);
    job->status = status;
    job->message = message;
    job_unlink(job);
    job->is_finished = true;
    TAILQ_INSERT_TAIL(&store->finished, job, jobs);
    (void)sd_event_source_set_enabled(store->defer, SD_EVENT_ONESHOT);
}

void store_job_finish(StoreJob *job, StoreStatus status, const char *format, ...)
{
    char *message;
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&message, format, arguments) < 0)
        message = NULL;
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

static void on_etcd_done(void *userdata, const HttpResult *result)
{
    StoreJob *job = userdata;

    job->request = NULL;
    job->on_answer(job, result);
}

void store_job_request(StoreJob *job, const EtcdSpec *spec, StoreAnswerFn fn)
{
    job->on_answer = fn;
    int r = etcd_request(job->store->etcd, spec, on_etcd_done, job, &job->request);
    if (r < 0)
        store_job_finish_errno(job, r);
}

bool store_job_check_transport(StoreJob *job, const HttpResult *result)
{
    if (result->error == 0)
        return false;
    store_job_finish(job, STORE_UNREACHABLE, "etcd gave no answer (%s): is it running, and is --etcd right?",
                     result->error_text);
    return true;
}

/* One job a turn, and nothing is looked at after its callback, which may free the store. */
static int on_defer(sd_event_source *source, void *userdata)
{
    Store *store = userdata;
    StoreJob *job = TAILQ_FIRST(&store->finished);

    (void)source;
    if (!job)
        return 0;
    job_unlink(job);
    if (!TAILQ_EMPTY(&store->finished))
        (void)sd_event_source_set_enabled(store->defer, SD_EVENT_ONESHOT);
    const char *message = job->message ? job->message : "";
    if (job->done)
        job->done(job->userdata, job->status, message);
    else
        job->keys_done(job->userdata, job->status, message, job->keys, job->n_keys);
    job_destroy(job);
    return 0;
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

/* Opening: which API */

static bool parse_version(EtcdVersion *ret, const char *text)
{
    EtcdVersion version;

    if (!text || sscanf(text, "%u.%u", &version.major, &version.minor) != 2)
        return false;
    *ret = version;
    return true;
}

static bool store_read_version(Store *store, const HttpResult *result)
{
    CLEANUP_JSON cJSON *json = NULL;
    const char *server = NULL;

    /* etcd 0.4 answers with a bare line. */
    if (strncmp(result->body, "etcd ", 5) == 0)
        server = result->body + 5;
    else if (json_parse(&json, result->body, result->body_size) == 0) {
        server = json_string(json, "etcdserver");
        if (!server)
            server = json_string(json, "releaseVersion"); /* 2.0 */
    }
    if (!server || !parse_version(&store->version, server))
        return false;
    store_excerpt(server, store->server_version, sizeof(store->server_version));
    /* While a cluster is upgraded, only what its oldest member knows works with all of them. Before there is
     * a leader it is "not_decided". */
    (void)parse_version(&store->version, json_string(json, "etcdcluster"));
    return true;
}

static bool version_at_least(const Store *store, unsigned major, unsigned minor)
{
    const EtcdVersion *version = &store->version;

    return version->major > major || (version->major == major && version->minor >= minor);
}

static void on_version(StoreJob *job, const HttpResult *result)
{
    Store *store = job->store;
    char excerpt[128];

    if (store_job_check_transport(job, result))
        return;
    if (result->status >= 500) {
        store_job_finish(job, STORE_UNREACHABLE, "etcd at %s cannot serve now (HTTP status %ld: %s)",
                         etcd_endpoint(store->etcd), result->status,
                         store_excerpt(result->body, excerpt, sizeof(excerpt)));
        return;
    }
    if (result->status != 200 || !store_read_version(store, result)) {
        store_job_finish(job, STORE_REFUSED,
                         "%s does not answer like etcd (HTTP status %ld: %s): check the URL, http or https, "
                         "and the client port",
                         etcd_endpoint(store->etcd), result->status,
                         store_excerpt(result->body, excerpt, sizeof(excerpt)));
        return;
    }
    /* 3.0 to 3.2 have neither nested transactions nor the comparison of leases. */
    bool has_v3 = version_at_least(store, 3, 3);
    if (store->config.api == STORE_V3 && !has_v3) {
        store_job_finish(job, STORE_REFUSED,
                         "etcd %s at %s is too old for --etcd-api=v3, which needs 3.3: upgrade it, or use v2",
                         store->server_version, etcd_endpoint(store->etcd));
        return;
    }
    store->backend = has_v3 && store->config.api != STORE_V2 ? &etcd3_backend : &etcd2_backend;
    StoreKeysFn done = job->keys_done;
    void *userdata = job->userdata;
    store_job_free(job);
    store->backend->open(store, done, userdata);
}

void store_open(Store *store, StoreKeysFn done, void *userdata)
{
    StoreJob *job = store_job_new(store, sizeof(*job), NULL, done, userdata);
    EtcdSpec spec = {.method = "GET", .path = "/version", .body_max = 4096};

    store->opened = false;
    store_job_request(job, &spec, on_version);
}

/* The other verbs */

static bool store_is_open(Store *store, StoreDoneFn done, StoreKeysFn keys_done, void *userdata)
{
    if (store->backend)
        return true;
    StoreJob *job = store_job_new(store, sizeof(*job), done, keys_done, userdata);
    store_job_finish(job, STORE_UNREACHABLE, "etcd has not been asked for its version yet");
    return false;
}

void store_apply(Store *store, StoreOp *ops, size_t n, StoreDoneFn done, void *userdata)
{
    for (size_t i = 0; i < n; i++) {
        ops[i].outcome = STORE_OP_FAILED;
        ops[i].wrote = false;
        ops[i].holder = NULL;
    }
    if (store_is_open(store, done, NULL, userdata))
        store->backend->apply(store, ops, n, done, userdata);
}

void store_heartbeat(Store *store, StoreDoneFn done, void *userdata)
{
    if (store_is_open(store, done, NULL, userdata))
        store->backend->heartbeat(store, done, userdata);
}

void store_audit(Store *store, bool (*is_known)(void *userdata, const char *key), StoreKeysFn done, void *userdata)
{
    if (store_is_open(store, NULL, done, userdata))
        store->backend->audit(store, is_known, done, userdata);
}

void store_revoke(Store *store, StoreDoneFn done, void *userdata)
{
    if (store_is_open(store, done, NULL, userdata))
        store->backend->revoke(store, done, userdata);
}

/* Store */

static int copy_text(char **ret, const char *text)
{
    char *copy = NULL;

    if (text) {
        copy = strdup(text);
        if (!copy)
            return -ENOMEM;
    }
    *ret = copy;
    return 0;
}

static int store_copy_config(Store *store, const StoreConfig *config)
{
    store->config = *config;
    store->config.etcd = (EtcdConfig){0};
    store->config.identity = store->config.layout = store->config.directory = NULL;
    if (copy_text((char **)&store->config.identity, config->identity ? config->identity : "") < 0 ||
        copy_text((char **)&store->config.layout, config->layout ? config->layout : "") < 0 ||
        copy_text((char **)&store->config.directory, config->directory) < 0 ||
        copy_text(&store->user, config->etcd.user) < 0 ||
        copy_text(&store->password, config->etcd.password) < 0)
        return -ENOMEM;
    return 0;
}

int store_new(Store **ret, sd_event *event, const StoreConfig *config)
{
    CLEANUP(store_free_p) Store *store = calloc(1, sizeof(*store));
    if (!store)
        return -ENOMEM;
    TAILQ_INIT(&store->running);
    TAILQ_INIT(&store->finished);
    store->event = sd_event_ref(event);

    int r = store_copy_config(store, config);
    if (r < 0)
        return r;
    r = sd_event_add_defer(event, &store->defer, on_defer, store);
    if (r < 0)
        return r;
    r = sd_event_source_set_enabled(store->defer, SD_EVENT_OFF);
    if (r < 0)
        return r;
    r = etcd_new(&store->etcd, event, &config->etcd);
    if (r < 0)
        return r;
    r = etcd3_new(&store->etcd3);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(store);
    return 0;
}

Store *store_free(Store *store)
{
    StoreJob *job;

    if (!store)
        return NULL;
    while ((job = TAILQ_FIRST(&store->running)) || (job = TAILQ_FIRST(&store->finished)))
        store_job_free(job);
    etcd3_free(store->etcd3);
    etcd_free(store->etcd);
    sd_event_source_disable_unref(store->defer);
    sd_event_unref(store->event);
    free((char *)store->config.identity);
    free((char *)store->config.layout);
    free((char *)store->config.directory);
    free(store->user);
    if (store->password)
        explicit_bzero(store->password, strlen(store->password));
    free(store->password);
    free(store->description);
    free(store);
    return NULL;
}

bool store_has_lease(const Store *store)
{
    return store->backend && store->backend->has_lease;
}

unsigned store_batch_max(const Store *store)
{
    return store->backend ? store->backend->batch_max : 1;
}

unsigned store_concurrency(const Store *store)
{
    return store->backend ? store->backend->concurrency : 1;
}

const char *store_describe(Store *store)
{
    CLEANUP_FREE char *lease = NULL;
    char *text;

    if (!store->backend)
        return etcd_endpoint(store->etcd);
    if (store_has_lease(store) && asprintf(&lease, ", lease %" PRIx64, (uint64_t)etcd3_lease(store->etcd3)) < 0)
        lease = NULL;
    if (asprintf(&text, "etcd %s (%s) at %s%s", store->backend->name, store->server_version,
                 etcd_endpoint(store->etcd), lease ? lease : "") < 0)
        return etcd_endpoint(store->etcd);
    free(store->description);
    store->description = text;
    return text;
}

int64_t store_lease(const Store *store)
{
    return store_has_lease(store) ? etcd3_lease(store->etcd3) : 0;
}

Etcd *store_etcd(Store *store)
{
    return store->etcd;
}
