#include "etcd/etcd.h"

#include "base/base64.h"
#include "base/text.h"
#include "etcd/redirect.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

enum {
    ENDPOINTS_MAX = 32,
    CONNECTIONS_MAX = 12, /* a store's writes (8 at most), a heartbeat, and a few more */
    TIMEOUT_MS_DEFAULT = 3000,
    /* If there are other endpoints, a connect may lose one SYN, which the kernel repeats after 1 s. */
    CONNECT_TIMEOUT_MS = 2000,
    BODY_MAX_DEFAULT = 4 * 1024 * 1024,
    ANSWER_KEPT_MAX = 16 * 1024, /* bytes kept of a failure's body, for a log line */
    ERRORS_TEXT_MAX = 1024,
    REDIRECTS_MAX = 3,
};

typedef enum RequestStep {
    REQUEST_ASKS, /* asks an endpoint */
    REQUEST_ASKS_MEMBERS, /* asks the same endpoint for the cluster's members, before following a redirect */
    REQUEST_FOLLOWS, /* asks the member that the redirect names */
} RequestStep;

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

    size_t first, endpoint; /* the first endpoint asked, and the present one */
    uint32_t tried; /* one bit for each endpoint */
    RequestStep step;
    char *target; /* the origin of the last redirect, or NULL */
    unsigned redirects;
    long failed_status; /* status of the last whole answer that was a failure; 0: none */
    char *failed_body;
    char errors[ERRORS_TEXT_MAX]; /* the errors of all endpoints without a whole answer */

    bool *freed; /* etcd_request_free() sets it, if done frees the request */
};

struct Etcd {
    Http *http;
    char **endpoints;
    size_t n_endpoints;
    size_t current; /* the endpoint that the next request tries first */
    char *leader; /* target of the last redirect that only the cluster's list of members allows, or NULL */
    char *basic; /* value of v2's Authorization header, or NULL */
    struct sockaddr_storage remote;
    LIST_HEAD(, EtcdRequest) requests;
};

/* Could another member give a better answer? */
static bool answer_is_failure(const HttpResult *result)
{
    /* All these errors have code 14, and most have status 5xx. A streaming call's error has status 200. */
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
    /* In a good answer, the same text would be a key's value. */
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
        text_take(&request->failed_body, strndup(result->body, ANSWER_KEPT_MAX));
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
        request->step = REQUEST_ASKS;
        request->redirects = 0;
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

static void request_fail(EtcdRequest *request, const HttpResult *result)
{
    request_note_failure(request, result);
    if (!request_choose_endpoint(request) || request_send(request) < 0)
        request_report_failure(request, result);
}

static void request_go(EtcdRequest *request, RequestStep step)
{
    request->step = step;
    int r = request_send(request);
    if (r < 0)
        request_fail(request, &(HttpResult){ .error = r, .error_text = strerror(-r), .body = "" });
}

static void request_refuse_redirect(EtcdRequest *request, const char *to, const char *why)
{
    char text[ERRORS_TEXT_MAX];

    (void)snprintf(text, sizeof(text), "%s sends writers to %.256s, %s", request->etcd->endpoints[request->endpoint],
                   to, why);
    request_fail(request, &(HttpResult){ .error = -EPERM, .error_text = text, .body = "" });
}

static bool is_endpoint(const Etcd *etcd, const char *origin)
{
    for (size_t i = 0; i < etcd->n_endpoints; i++)
        if (redirect_is_listed(etcd->endpoints[i], origin))
            return true;
    return false;
}

/* In a cluster of etcd 0.4, a follower redirects writes to the leader. */
static void request_redirect(EtcdRequest *request, const char *url)
{
    const Etcd *etcd = request->etcd;
    char *origin = http_origin(url);

    text_take(&request->target, origin);
    if (!origin)
        request_refuse_redirect(request, url, "which is no URL of a server");
    else if (redirect_is_weaker(etcd->endpoints[request->endpoint], origin))
        request_refuse_redirect(request, origin, "which is not https");
    else if (++request->redirects > REDIRECTS_MAX)
        request_refuse_redirect(request, origin, "one redirect too many");
    else
        request_go(request, is_endpoint(etcd, origin) || text_same(etcd->leader, origin) ? REQUEST_FOLLOWS
                                                                                         : REQUEST_ASKS_MEMBERS);
}

static void request_take_members(EtcdRequest *request, const HttpResult *result)
{
    Etcd *etcd = request->etcd;

    if (result->error != 0) {
        request_fail(request, result);
    } else if (result->status != 200 || !redirect_is_listed(result->body, request->target)) {
        request_refuse_redirect(request, request->target,
                                "which is neither in --etcd nor in the cluster's own list of members");
    } else {
        /* Without memory, the next request asks for the members again. */
        text_take(&etcd->leader, strdup(request->target));
        request_go(request, REQUEST_FOLLOWS);
    }
}

static void on_http_done(void *userdata, const HttpResult *result)
{
    EtcdRequest *request = userdata;
    Etcd *etcd = request->etcd;

    request->http = NULL;
    if (result->error == 0 && result->remote.ss_family != AF_UNSPEC)
        etcd->remote = result->remote;
    if (request->step == REQUEST_ASKS_MEMBERS) {
        request_take_members(request, result);
        return;
    }
    if (result->error == 0 && result->redirect && request->form) {
        request_redirect(request, result->redirect);
        return;
    }
    /* Every endpoint would send the same answer that is too long. */
    if (result->error == -EMSGSIZE || (result->error == 0 && !answer_is_failure(result))) {
        /* Other requests may have left this endpoint already. A late answer must not lead back to it. */
        if (request->endpoint != request->first)
            etcd->current = request->endpoint;
        request_report(request, result);
        return;
    }
    request_fail(request, result);
}

static int request_send(EtcdRequest *request)
{
    Etcd *etcd = request->etcd;
    bool members = request->step == REQUEST_ASKS_MEMBERS;
    const char *origin = request->step == REQUEST_FOLLOWS ? request->target : etcd->endpoints[request->endpoint];
    CLEANUP_FREE char *url = text_format("%s%s", origin, members ? "/v2/machines" : request->path);

    if (!url)
        return -ENOMEM;
    uint64_t timeout_ms = request->timeout_ms;
    HttpSpec spec = {
        .method = members ? "GET" : request->method,
        .url = url,
        .body = members ? NULL : request->body,
        .content_type = request->form ? "application/x-www-form-urlencoded" : "application/json",
        .authorization = request->authorization,
        .timeout_ms = timeout_ms,
        .connect_timeout_ms =
            etcd->n_endpoints > 1 && timeout_ms > CONNECT_TIMEOUT_MS ? CONNECT_TIMEOUT_MS : timeout_ms,
        .body_max = request->body_max,
    };
    /* Only v2 takes a password with each request. v3 would read the header as a token. */
    if (!spec.authorization && request->form)
        spec.authorization = etcd->basic;
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
    text_free_secret(request->body); /* the body of an authentication has the password */
    text_free_secret(request->authorization);
    free(request->failed_body);
    free(request->target);
    free(request);
    return NULL;
}

static int etcd_make_basic(Etcd *etcd, const char *user, const char *password)
{
    CLEANUP_FREE char *pair = NULL;
    size_t size;

    if (!user)
        return 0;
    pair = text_format("%s:%s", user, password ? password : "");
    if (!pair)
        return -ENOMEM;
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
    free(etcd->leader);
    text_free_secret(etcd->basic);
    free(etcd);
    return NULL;
}

const char *etcd_endpoint(const Etcd *etcd)
{
    return etcd->endpoints[etcd->current];
}

bool etcd_remote(const Etcd *etcd, struct sockaddr_storage *ret)
{
    if (etcd->remote.ss_family == AF_UNSPEC)
        return false;
    *ret = etcd->remote;
    return true;
}
