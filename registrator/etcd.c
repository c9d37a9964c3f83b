#include "etcd.h"

#include "base64.h"
#include "text.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

enum {
    ENDPOINTS_MAX = 32,
    CONNECTIONS_MAX = 12, /* a store's writes (8 at most), a heartbeat, and some to spare */
    TIMEOUT_MS_DEFAULT = 3000,
    /* With others to turn to, a host that is down is given time for one lost SYN. */
    CONNECT_TIMEOUT_MS = 2000,
    BODY_MAX_DEFAULT = 4 * 1024 * 1024,
    ANSWER_KEPT_MAX = 16 * 1024, /* of a failure's body: it is for a log line */
    ERRORS_TEXT_MAX = 1024,
};

struct EtcdRequest {
    Etcd *etcd;
    LIST_ENTRY(EtcdRequest) requests;
    HttpRequest *http;
    char *method, *path, *body, *authorization;
    bool form;
    uint64_t timeout_ms;
    size_t body_max;
    EtcdDoneFn done;
    void *userdata;

    size_t first, endpoint; /* asked first, and now */
    uint32_t tried; /* a bit per endpoint */
    long failed_status; /* of the last whole answer that was a failure; 0: none came */
    char *failed_body;
    char errors[ERRORS_TEXT_MAX]; /* of all endpoints that gave no whole answer */

    bool *freed; /* set when freed from within done */
};

struct Etcd {
    Http *http;
    char **endpoints;
    size_t n_endpoints;
    size_t current; /* where the next request goes first */
    char *basic; /* value of the Authorization header for v2, or NULL */
    uint64_t requests_total;
    struct sockaddr_storage remote;
    LIST_HEAD(, EtcdRequest) requests;
};

/* An answer that another member may improve on. */
static bool answer_is_failure(const HttpResult *result)
{
    /* All of them come with code 14, and most with a 5xx; a streaming call's error has status 200. */
    static const char *const messages[] = {
        "etcdserver: no leader",
        "etcdserver: leader changed",
        "etcdserver: request timed out",
        "etcdserver: server stopped",
        "etcdserver: not capable",
        "etcdserver: rpc not supported for learner",
        "server is likely disconnected from quorum",
    };

    if (result->status >= 500)
        return true;
    /* Not in a good answer: there such text would be somebody's value. */
    if (result->status < 300 && strncmp(result->body, "{\"error\":", 9) != 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
        if (strstr(result->body, messages[i]))
            return true;
    }
    return false;
}

static void request_note_failure(EtcdRequest *request, const HttpResult *result)
{
    if (result->error == 0) {
        request->failed_status = result->status;
        free(request->failed_body);
        request->failed_body = strndup(result->body, ANSWER_KEPT_MAX);
        return;
    }
    size_t used = strlen(request->errors);
    snprintf(request->errors + used, sizeof(request->errors) - used, "%s%s", used > 0 ? "; " : "", result->error_text);
}

static bool request_choose_endpoint(EtcdRequest *request)
{
    const Etcd *etcd = request->etcd;

    for (size_t i = 0; i < etcd->n_endpoints; i++) {
        size_t endpoint = (etcd->current + i) % etcd->n_endpoints;
        if (request->tried & (uint32_t)1 << endpoint)
            continue;
        request->endpoint = endpoint;
        request->tried |= (uint32_t)1 << endpoint;
        return true;
    }
    return false;
}

static void request_report(EtcdRequest *request, const HttpResult *result)
{
    bool freed = false;

    request->freed = &freed;
    request->done(request->userdata, result);
    if (freed)
        return;
    request->freed = NULL;
    etcd_request_free(request);
}

static void request_report_failure(EtcdRequest *request, const HttpResult *last)
{
    HttpResult result = *last;

    if (request->failed_status != 0) {
        result.error = 0;
        result.error_text = "";
        result.status = request->failed_status;
        result.body = request->failed_body ? request->failed_body : "";
        result.body_size = strlen(result.body);
        result.header = NULL;
    } else
        result.error_text = request->errors;
    request_report(request, &result);
}

static int request_send(EtcdRequest *request);

static void on_http_done(void *userdata, const HttpResult *result)
{
    EtcdRequest *request = userdata;
    Etcd *etcd = request->etcd;

    request->http = NULL;
    if (result->error == 0 && result->remote.ss_family != AF_UNSPEC)
        etcd->remote = result->remote;
    /* A longer answer than was asked for comes from every endpoint. */
    if (result->error == -EMSGSIZE || (result->error == 0 && !answer_is_failure(result))) {
        /* A late answer from where others have left already is no reason to go back there. */
        if (request->endpoint != request->first)
            etcd->current = request->endpoint;
        request_report(request, result);
        return;
    }
    request_note_failure(request, result);
    if (request_choose_endpoint(request) && request_send(request) == 0)
        return;
    request_report_failure(request, result);
}

static int request_send(EtcdRequest *request)
{
    Etcd *etcd = request->etcd;
    CLEANUP_FREE char *url = NULL;

    if (asprintf(&url, "%s%s", etcd->endpoints[request->endpoint], request->path) < 0) {
        url = NULL;
        return -ENOMEM;
    }
    uint64_t timeout_ms = request->timeout_ms;
    HttpSpec spec = {
        .method = request->method,
        .url = url,
        .body = request->body,
        .content_type = request->form ? "application/x-www-form-urlencoded" : "application/json",
        .authorization = request->authorization,
        .timeout_ms = timeout_ms,
        .connect_timeout_ms =
            etcd->n_endpoints > 1 && timeout_ms > CONNECT_TIMEOUT_MS ? CONNECT_TIMEOUT_MS : timeout_ms,
        .body_max = request->body_max,
        /* A follower of a 0.4 cluster sends writers to the leader. */
        .follow_redirects = request->form,
    };
    /* Only v2 takes a password with each request: v3 would take the header for a token. */
    if (!spec.authorization && request->form)
        spec.authorization = etcd->basic;
    etcd->requests_total++;
    return http_request(etcd->http, &spec, on_http_done, request, &request->http);
}

static int request_copy_spec(EtcdRequest *request, const EtcdSpec *spec)
{
    request->form = spec->form;
    request->timeout_ms = spec->timeout_ms ? spec->timeout_ms : TIMEOUT_MS_DEFAULT;
    request->body_max = spec->body_max ? spec->body_max : BODY_MAX_DEFAULT;
    if (text_copy(&request->method, spec->method) < 0 || text_copy(&request->path, spec->path) < 0 ||
        text_copy(&request->body, spec->body) < 0 || text_copy(&request->authorization, spec->authorization) < 0)
        return -ENOMEM;
    return 0;
}

int etcd_request(Etcd *etcd, const EtcdSpec *spec, EtcdDoneFn done, void *userdata, EtcdRequest **ret)
{
    CLEANUP(etcd_request_free_p) EtcdRequest *request = calloc(1, sizeof(*request));
    if (!request)
        return -ENOMEM;
    request->etcd = etcd;
    request->done = done;
    request->userdata = userdata;
    LIST_INSERT_HEAD(&etcd->requests, request, requests);

    int r = request_copy_spec(request, spec);
    if (r < 0)
        return r;
    request_choose_endpoint(request);
    request->first = request->endpoint;
    r = request_send(request);
    if (r < 0)
        return r;
    if (ret)
        *ret = request;
    (void)TAKE_PTR(request);
    return 0;
}

EtcdRequest *etcd_request_free(EtcdRequest *request)
{
    if (!request)
        return NULL;
    if (request->freed)
        *request->freed = true;
    http_request_free(request->http);
    LIST_REMOVE(request, requests);
    free(request->method);
    free(request->path);
    text_free_secret(request->body); /* may be a password's */
    text_free_secret(request->authorization);
    free(request->failed_body);
    free(request);
    return NULL;
}

static int etcd_make_basic(Etcd *etcd, const char *user, const char *password)
{
    CLEANUP_FREE char *pair = NULL;
    size_t size;

    if (!user)
        return 0;
    if (asprintf(&pair, "%s:%s", user, password ? password : "") < 0) {
        pair = NULL;
        return -ENOMEM;
    }
    FILE *out = open_memstream(&etcd->basic, &size);
    if (!out)
        return -ENOMEM;
    fputs("Basic ", out);
    base64_write(out, pair, strlen(pair));
    explicit_bzero(pair, strlen(pair));
    return fclose(out) == 0 ? 0 : -ENOMEM;
}

static int etcd_copy_endpoints(Etcd *etcd, const EtcdConfig *config)
{
    if (config->n_endpoints == 0 || config->n_endpoints > ENDPOINTS_MAX)
        return -EINVAL;
    etcd->endpoints = calloc(config->n_endpoints, sizeof(*etcd->endpoints));
    if (!etcd->endpoints)
        return -ENOMEM;
    for (size_t i = 0; i < config->n_endpoints; i++) {
        if (text_copy(&etcd->endpoints[i], config->endpoints[i]) < 0)
            return -ENOMEM;
        etcd->n_endpoints++;
    }
    return 0;
}

int etcd_new(Etcd **ret, sd_event *event, const EtcdConfig *config)
{
    CLEANUP(etcd_free_p) Etcd *etcd = calloc(1, sizeof(*etcd));
    if (!etcd)
        return -ENOMEM;
    LIST_INIT(&etcd->requests);
    HttpConfig http_config = {
        .ca = config->ca,
        .cert = config->cert,
        .key = config->key,
        .max_connections = CONNECTIONS_MAX,
    };
    int r = http_new(&etcd->http, event, &http_config);
    if (r < 0)
        return r;
    r = etcd_copy_endpoints(etcd, config);
    if (r < 0)
        return r;
    r = etcd_make_basic(etcd, config->user, config->password);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(etcd);
    return 0;
}

Etcd *etcd_free(Etcd *etcd)
{
    EtcdRequest *request;

    if (!etcd)
        return NULL;
    while ((request = LIST_FIRST(&etcd->requests)))
        etcd_request_free(request);
    http_free(etcd->http);
    for (size_t i = 0; i < etcd->n_endpoints; i++)
        free(etcd->endpoints[i]);
    free(etcd->endpoints);
    text_free_secret(etcd->basic);
    free(etcd);
    return NULL;
}

const char *etcd_endpoint(const Etcd *etcd)
{
    return etcd->endpoints[etcd->current];
}

uint64_t etcd_requests_total(const Etcd *etcd)
{
    return etcd->requests_total;
}

bool etcd_remote(const Etcd *etcd, struct sockaddr_storage *ret)
{
    if (etcd->remote.ss_family == AF_UNSPEC)
        return false;
    *ret = etcd->remote;
    return true;
}
