/* Finds etcd's API, and passes each verb to the API's backend. */
#include "etcd/store_private.h"

#include "base/json.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>

/* ---- opening: finding the API ---- */

static bool parse_version(EtcdVersion *ret, const char *text)
{
    EtcdVersion version;

    if (!text || !version_parse(text, &version.major, &version.minor))
        return false;
    *ret = version;
    return true;
}

static bool is_at_least(const EtcdVersion *version, unsigned major, unsigned minor)
{
    return version->major > major || (version->major == major && version->minor >= minor);
}

/* A new cluster reports 3.0 until its leader has compared the members, for about 4 s. Members are upgraded by one
 * minor version at a time, so no other cluster with a member of 3.3 or newer reports 3.0. */
static bool is_undecided(const EtcdVersion *cluster, const EtcdVersion *server)
{
    return cluster->major == 3 && cluster->minor == 0 && is_at_least(server, 3, 3);
}

static bool store_read_version(Store *store, const HttpResult *result)
{
    CLEANUP_JSON cJSON *json = NULL;
    const char *server = NULL;

    /* etcd 0.4 answers with a line of text. */
    if (strncmp(result->body, "etcd ", 5) == 0)
        server = result->body + 5;
    else if (json_parse(&json, result->body, result->body_size) == 0) {
        server = json_string(json, "etcdserver");
        if (!server)
            server = json_string(json, "releaseVersion"); /* etcd 2.0 */
    }
    if (!server || !parse_version(&store->version, server))
        return false;
    store_excerpt(server, store->server_version, sizeof(store->server_version));
    /* During an upgrade, all members know only the cluster's version. Before an election, this version is
     * "not_decided". */
    EtcdVersion cluster;
    if (parse_version(&cluster, json_string(json, "etcdcluster")) && !is_undecided(&cluster, &store->version))
        store->version = cluster;
    return true;
}

static bool version_at_least(const Store *store, unsigned major, unsigned minor)
{
    return is_at_least(&store->version, major, minor);
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
    /* etcd 3.0 to 3.2 have neither nested transactions nor the comparison of leases. */
    bool has_v3 = version_at_least(store, 3, 3);
    if (store->config.api == STORE_V3 && !has_v3) {
        store_job_finish(job, STORE_REFUSED,
                         "etcd %s at %s is too old for --etcd-api=v3, which needs 3.3: upgrade it, or use v2",
                         store->server_version, etcd_endpoint(store->etcd));
        return;
    }
    if (store->config.api == STORE_AUTO)
        store->backend = has_v3 ? &etcd3_backend : &etcd2_backend;
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
    store_job_request(job, &spec, on_version);
    return 0;
}

/* ---- the other verbs ---- */

int store_apply(Store *store, StoreOp *ops, size_t n, StoreDoneFn done, void *userdata)
{
    for (size_t i = 0; i < n; i++) {
        ops[i].outcome = STORE_OP_FAILED;
        ops[i].wrote = false;
        ops[i].holder = NULL;
    }
    return store->backend->apply(store, ops, n, done, userdata);
}

int store_heartbeat(Store *store, StoreDoneFn done, void *userdata)
{
    return store->backend->heartbeat(store, done, userdata);
}

int store_resync(Store *store, StoreKnownFn known, StoreKeysFn done, void *userdata)
{
    return store->backend->resync(store, known, done, userdata);
}

/* ---- the store ---- */

static int store_copy_config(Store *store, const StoreConfig *config)
{
    store->config = *config;
    store->config.etcd = (EtcdConfig){ 0 };
    store->config.identity = store->config.layout = NULL;
    store->config.directories = calloc(config->n_directories + 1, sizeof(char *));
    if (!store->config.directories)
        return -ENOMEM;
    for (size_t i = 0; i < config->n_directories; i++)
        if (text_copy((char **)&store->config.directories[i], config->directories[i]) < 0)
            return -ENOMEM;
    if (text_copy((char **)&store->config.identity, config->identity ? config->identity : "") < 0 ||
        text_copy((char **)&store->config.layout, config->layout ? config->layout : "") < 0 ||
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
    r = defer_add(event, &store->defer, store_job_on_defer, store);
    if (r < 0)
        return r;
    r = etcd_new(&store->etcd, event, &config->etcd);
    if (r < 0)
        return r;
    store->backend = config->api == STORE_V2 ? &etcd2_backend : &etcd3_backend;
    r = etcd2_backend.attach(store);
    if (r < 0)
        return r;
    r = etcd3_backend.attach(store);
    if (r < 0)
        return r;
    store->config.previous = NULL;
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
    etcd3_backend.detach(store);
    etcd2_backend.detach(store);
    etcd_free(store->etcd);
    timer_clear(&store->defer);
    sd_event_unref(store->event);
    free((char *)store->config.identity);
    free((char *)store->config.layout);
    for (size_t i = 0; store->config.directories && i < store->config.n_directories; i++)
        free(store->config.directories[i]);
    free((char **)store->config.directories);
    free(store->user);
    text_free_secret(store->password);
    free(store->description);
    free(store);
    return NULL;
}

bool store_has_lease(const Store *store)
{
    return store->backend->has_lease(store);
}

int64_t store_lease(const Store *store)
{
    return store->backend->lease ? store->backend->lease(store) : 0;
}

Refresher *store_refresher(const Store *store)
{
    return store->backend->refresher ? store->backend->refresher(store) : NULL;
}

bool store_lease_changed(const Store *store)
{
    return store->backend->lease_changed(store);
}

unsigned store_batch_max(const Store *store)
{
    return store->backend->batch_max;
}

unsigned store_concurrency(const Store *store)
{
    return store->backend->concurrency;
}

static const char *why_this_api(const Store *store)
{
    if (store->config.api != STORE_AUTO)
        return "as set";
    return store->backend == &etcd3_backend ? "auto: it has v3" : "auto: too old for v3";
}

StoreApi store_api_from_name(const char *name)
{
    return strcmp(name, etcd2_backend.name) == 0 ? STORE_V2 : STORE_V3;
}

const char *store_name(const Store *store)
{
    return store->backend->name;
}

const char *store_describe(Store *store)
{
    TextStream stream;
    FILE *out = *store->server_version != '\0' ? text_stream_open(&stream) : NULL;

    if (!out)
        return etcd_endpoint(store->etcd);
    fprintf(out, "etcd %s (%s, %s) at %s", store->backend->name, store->server_version, why_this_api(store),
            etcd_endpoint(store->etcd));
    if (store->backend->describe)
        store->backend->describe(store, out);
    text_take(&store->description, text_stream_close(&stream, out));
    return store->description ? store->description : etcd_endpoint(store->etcd);
}

Etcd *store_etcd(Store *store)
{
    return store->etcd;
}
