#include "store_private.h"

#include "json.h"
#include "log.h"
#include "numbers.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* Opening: which API */

static bool parse_version(EtcdVersion *ret, const char *text)
{
    EtcdVersion version;

    if (!text || !version_parse(text, &version.major, &version.minor))
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
    int r = store->backend->open(store, job->keys_done, job->userdata);
    if (r < 0) {
        store_job_finish_errno(job, r);
        return;
    }
    store_count(store, STORE_OPERATION_OPEN, STORE_OK);
    store_job_free(job);
}

int store_open(Store *store, StoreKeysFn done, void *userdata)
{
    StoreJob *job = store_job_new(store, STORE_OPERATION_OPEN, sizeof(*job), NULL, done, userdata);
    EtcdSpec spec = { .method = "GET", .path = "/version", .body_max = 4096 };

    if (!job)
        return -ENOMEM;
    store->opened = false;
    store_job_request(job, &spec, on_version);
    return 0;
}

/* The other verbs */

static int store_not_open(Store *store, StoreDoneFn done, StoreKeysFn keys_done, void *userdata)
{
    StoreJob *job = store_job_new(store, STORE_OPERATION_WRITE, sizeof(*job), done, keys_done, userdata);

    if (!job)
        return -ENOMEM;
    store_job_finish(job, STORE_UNREACHABLE, "etcd has not been asked for its version yet");
    return 0;
}

int store_apply(Store *store, StoreOp *ops, size_t n, StoreDoneFn done, void *userdata)
{
    for (size_t i = 0; i < n; i++) {
        ops[i].outcome = STORE_OP_FAILED;
        ops[i].wrote = false;
        ops[i].holder = NULL;
    }
    if (!store->backend)
        return store_not_open(store, done, NULL, userdata);
    return store->backend->apply(store, ops, n, done, userdata);
}

int store_heartbeat(Store *store, StoreDoneFn done, void *userdata)
{
    if (!store->backend)
        return store_not_open(store, done, NULL, userdata);
    return store->backend->heartbeat(store, done, userdata);
}

int store_audit(Store *store, bool (*is_known)(void *userdata, const char *key), StoreKeysFn done, void *userdata)
{
    if (!store->backend)
        return store_not_open(store, NULL, done, userdata);
    return store->backend->audit(store, is_known, done, userdata);
}

int store_revoke(Store *store, StoreDoneFn done, void *userdata)
{
    if (!store->backend)
        return store_not_open(store, done, NULL, userdata);
    return store->backend->revoke(store, done, userdata);
}

/* Store */

static int store_copy_config(Store *store, const StoreConfig *config)
{
    store->config = *config;
    store->config.etcd = (EtcdConfig){ 0 };
    store->config.identity = store->config.layout = store->config.directory = NULL;
    if (text_copy((char **)&store->config.identity, config->identity ? config->identity : "") < 0 ||
        text_copy((char **)&store->config.layout, config->layout ? config->layout : "") < 0 ||
        text_copy((char **)&store->config.directory, config->directory) < 0 ||
        text_copy(&store->user, config->etcd.user) < 0 || text_copy(&store->password, config->etcd.password) < 0)
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
    r = sd_event_add_defer(event, &store->defer, store_job_on_defer, store);
    if (r < 0)
        return r;
    r = sd_event_source_set_enabled(store->defer, SD_EVENT_OFF);
    if (r < 0)
        return r;
    r = etcd_new(&store->etcd, event, &config->etcd);
    if (r < 0)
        return r;
    if (config->nudge && !config->read_only)
        r = nudge_new(&store->nudge, event, store->etcd);
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
    nudge_free(store->nudge);
    etcd_free(store->etcd);
    sd_event_source_disable_unref(store->defer);
    sd_event_unref(store->event);
    free((char *)store->config.identity);
    free((char *)store->config.layout);
    free((char *)store->config.directory);
    free(store->user);
    text_free_secret(store->password);
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

static const char *why_this_api(const Store *store)
{
    if (store->config.api != STORE_AUTO)
        return "as set";
    return store_has_lease(store) ? "auto: it has v3" : "auto: too old for v3";
}

const char *store_describe(Store *store)
{
    CLEANUP_FREE char *lease = NULL;
    char *text;

    if (!store->backend)
        return etcd_endpoint(store->etcd);
    if (store_has_lease(store) && asprintf(&lease, ", lease %" PRIx64, (uint64_t)etcd3_lease(store->etcd3)) < 0)
        lease = NULL;
    if (asprintf(&text, "etcd %s (%s, %s) at %s%s", store->backend->name, store->server_version, why_this_api(store),
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
