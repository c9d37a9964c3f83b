#include "http/http_private.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

enum {
    /* bytes of a stream that its owner has not taken yet; beyond them, the peer must wait */
    STREAM_BUFFER_MAX = 256 * 1024,
    ERROR_BODY_MAX = 64 * 1024, /* bytes of the answer that refuses a stream, for a log line */
    BODY_MAX_DEFAULT = 1024 * 1024,
    HEADER_VALUE_MAX = 1024,
};

/* curl's callbacks. They only store data and queue requests: a callback must not call libcurl, but the owners of
 * requests do. */

static void request_make_ready(HttpRequest *request)
{
    Http *http = request->http;

    if (request->is_ready)
        return;
    TAILQ_INSERT_TAIL(&http->ready, request, ready);
    request->is_ready = true;
    defer_arm(&http->defer);
}

static bool status_is_success(long status)
{
    return status >= 200 && status < 300;
}

/* Is it a 2xx answer that the owner gets in pieces? */
static bool is_stream(const HttpRequest *request)
{
    return request->headers_seen && request->on_data;
}

static void request_headers_complete(HttpRequest *request)
{
    long status = 0;

    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    /* The server may have refused the certificate of this connection, and the file may have a newer one. */
    if (request->http->cert && (status == 400 || status == 401 || status == 403))
        (void)curl_easy_setopt(request->easy, CURLOPT_FORBID_REUSE, 1L);
    /* Headers of other answers (1xx, a redirect) may come before the headers of a success, and trailers after them. */
    if (request->headers_seen || !status_is_success(status))
        return;
    request->headers_seen = true;
    /* Tell the owner now, not with the first byte: Docker may send no event for days. */
    if (is_stream(request))
        request_make_ready(request);
}

static void request_keep_header(HttpRequest *request, const char *line, size_t size)
{
    size_t name = strlen(request->want_header);

    if (size <= name || line[name] != ':' || strncasecmp(line, request->want_header, name) != 0)
        return;
    line += name + 1;
    size -= name + 1;
    while (size > 0 && (*line == ' ' || *line == '\t')) {
        line++;
        size--;
    }
    while (size > 0 && strchr(" \t\r\n", line[size - 1]))
        size--;
    if (size > HEADER_VALUE_MAX)
        return;
    text_take(&request->header, strndup(line, size));
}

size_t http_request_take_header(char *line, size_t one, size_t size, void *userdata)
{
    HttpRequest *request = userdata;

    (void)one;
    if (size == 0 || line[0] == '\r' || line[0] == '\n')
        request_headers_complete(request);
    else if (request->want_header && !request->headers_seen)
        request_keep_header(request, line, size);
    return size;
}

static size_t request_refuse_data(HttpRequest *request, int error)
{
    request->error = error;
    return 0; /* fewer bytes than given: curl ends the transfer with CURLE_WRITE_ERROR */
}

size_t http_request_take_body(char *data, size_t one, size_t size, void *userdata)
{
    HttpRequest *request = userdata;
    size_t max = request->body_max;

    (void)one;
    if (request->on_data && !is_stream(request))
        max = ERROR_BODY_MAX;
    if (max > 0 && size > max - request->received)
        return request_refuse_data(request, -EMSGSIZE);
    if (is_stream(request) && request->body.size > 0 && request->body.size + size > STREAM_BUFFER_MAX) {
        request->paused = true;
        return CURL_WRITEFUNC_PAUSE; /* curl delivers the same bytes again */
    }
    if (buffer_append(&request->body, data, size) < 0)
        return request_refuse_data(request, -ENOMEM);
    request->received += size;
    if (is_stream(request))
        request_make_ready(request);
    return size;
}

/* The end of a request. */

static int error_from_curl(CURLcode code, long os_errno)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_COULDNT_CONNECT:
        return os_errno > 0 ? (int)-os_errno : -ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return -ECONNRESET;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        return -EPROTO;
    case CURLE_URL_MALFORMAT:
        return -EINVAL;
    case CURLE_UNSUPPORTED_PROTOCOL:
        return -EPROTONOSUPPORT;
    case CURLE_WEIRD_SERVER_REPLY:
        return -EBADMSG;
    default:
        return -EIO;
    }
}

static void request_describe_error(HttpRequest *request, CURLcode code, long os_errno)
{
    const char *what = request->curl_error;

    if (code == CURLE_ABORTED_BY_CALLBACK)
        what = "the server's certificate has no subjectAltName, its common name does not count";
    else if (code == CURLE_WRITE_ERROR || code == CURLE_OK)
        what = request->error == -EMSGSIZE ? "the answer is too long" : strerror(-request->error);
    else if (code == CURLE_COULDNT_CONNECT && os_errno > 0)
        what = strerror((int)os_errno);
    else if (!*what)
        what = curl_easy_strerror(code);

    /* curl's error text names the URL's placeholder host, never the socket. */
    if (request->http->unix_socket)
        snprintf(request->error_text, sizeof(request->error_text), "unix socket %s: %s", request->http->unix_socket,
                 what);
    else
        snprintf(request->error_text, sizeof(request->error_text), "%s: %s", request->origin, what);
}

static void request_read_remote(HttpRequest *request)
{
    const char *text = NULL;
    long port = 0;
    struct sockaddr_in *in4 = (struct sockaddr_in *)&request->remote;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&request->remote;

    if (request->http->unix_socket)
        return;
    curl_easy_getinfo(request->easy, CURLINFO_PRIMARY_IP, &text);
    curl_easy_getinfo(request->easy, CURLINFO_PRIMARY_PORT, &port);
    if (!text || port <= 0 || port > UINT16_MAX)
        return;
    if (inet_pton(AF_INET, text, &in4->sin_addr) == 1) {
        in4->sin_family = AF_INET;
        in4->sin_port = htons((uint16_t)port);
    } else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
    }
}

static void request_keep_redirect(HttpRequest *request)
{
    const char *url = NULL;

    curl_easy_getinfo(request->easy, CURLINFO_REDIRECT_URL, &url);
    request->redirect = url ? strdup(url) : NULL;
}

/* Removes the transfer from curl. The easy handle has no connection, because the multi handle keeps them, so any
 * other request can reuse the easy handle. */
static void request_detach(HttpRequest *request)
{
    Http *http = request->http;

    if (!request->easy)
        return;
    curl_loop_remove(http->loop, request->easy);
    if (http->n_idle < IDLE_HANDLES_MAX) {
        curl_easy_reset(request->easy);
        http->idle[http->n_idle++] = request->easy;
    } else
        curl_easy_cleanup(request->easy);
    request->easy = NULL;
}

static void request_finish(HttpRequest *request, CURLcode code)
{
    long os_errno = 0;

    curl_easy_getinfo(request->easy, CURLINFO_OS_ERRNO, &os_errno);
    if (os_errno == 0)
        os_errno = request->socket_errno;
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &request->status);
    request_read_remote(request);
    request_keep_redirect(request);
    if (request->error == 0)
        request->error = error_from_curl(code, os_errno);
    /* With TLS 1.3, a server that refuses the agent's certificate may end the connection without an answer. */
    if (request->error == -ECONNRESET && request->status == 0 &&
        strncmp(request->origin, "https:", strlen("https:")) == 0)
        request->error = -EPROTO;
    if (request->error < 0)
        request_describe_error(request, code, os_errno);
    request_detach(request);
    request->state = REQUEST_FINISHED;
    request_make_ready(request);
}

/* The calls to the owner. Each returns true if the owner has freed the request. */

static bool request_tell_data(HttpRequest *request, const char *data, size_t size)
{
    bool freed = false;

    request->freed = &freed;
    int r = request->on_data(request->userdata, data, size);
    if (freed)
        return true;
    request->freed = NULL;
    if (r >= 0)
        return false;
    request->error = r;
    if (request->state == REQUEST_RUNNING)
        request_finish(request, CURLE_WRITE_ERROR);
    else
        request_describe_error(request, CURLE_WRITE_ERROR, 0);
    return false;
}

static bool request_tell_stream(HttpRequest *request)
{
    if (!request->headers_delivered) {
        request->headers_delivered = true;
        if (request_tell_data(request, "", 0))
            return true;
    }
    if (request->body.size > 0 && (request->state == REQUEST_RUNNING || request->error == 0)) {
        if (request_tell_data(request, request->body.data, request->body.size))
            return true;
    }
    request->body.size = 0;
    if (request->paused && request->state == REQUEST_RUNNING) {
        request->paused = false;
        /* curl may deliver the held bytes during this call. It returns an error if take_body() has refused them. */
        CURLcode code = curl_easy_pause(request->easy, CURLPAUSE_CONT);
        if (code != CURLE_OK)
            request_finish(request, code);
    }
    return false;
}

static void request_tell_done(HttpRequest *request)
{
    bool freed = false;
    HttpResult result = {
        .error = request->error,
        .error_text = request->error < 0 ? request->error_text : "",
        .status = request->status,
        .body = request->body.size > 0 ? request->body.data : "",
        .body_size = request->body.size,
        .header = request->header,
        .redirect = request->redirect,
        .remote = request->remote,
    };

    request->freed = &freed;
    request->done(request->userdata, &result);
    if (freed)
        return;
    request->freed = NULL;
    http_request_free(request);
}

static void request_dispatch(HttpRequest *request)
{
    if (is_stream(request) && request_tell_stream(request))
        return;
    /* The owner may have ended the request, and curl_easy_pause() may have delivered more bytes. */
    if (request->state != REQUEST_FINISHED)
        return;
    if (request->is_ready && request->body.size == 0) {
        TAILQ_REMOVE(&request->http->ready, request, ready);
        request->is_ready = false;
    }
    if (!request->is_ready)
        request_tell_done(request);
}

/* Handles one request in each turn of the loop, so that other sources get their turn. The callback may free the
 * Http, so no code uses it after the callback. */
static void on_defer(void *userdata)
{
    Http *http = userdata;
    HttpRequest *request = TAILQ_FIRST(&http->ready);

    if (!request)
        return;
    TAILQ_REMOVE(&http->ready, request, ready);
    request->is_ready = false;
    if (!TAILQ_EMPTY(&http->ready))
        defer_arm(&http->defer);
    request_dispatch(request);
}

static void on_transfer_finished(void *userdata, CURL *easy, CURLcode code)
{
    HttpRequest *request = NULL;

    (void)userdata;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &request);
    request_finish(request, code);
}

/* Http */

static int http_copy_config(Http *http, const HttpConfig *config)
{
    if (text_copy(&http->unix_socket, config->unix_socket) < 0 || text_copy(&http->ca, config->ca) < 0 ||
        text_copy(&http->cert, config->cert) < 0 || text_copy(&http->key, config->key) < 0 ||
        text_copy(&http->user, config->user) < 0 || text_copy(&http->password, config->password) < 0)
        return -ENOMEM;
    return 0;
}

int http_new(Http **ret, sd_event *event, const HttpConfig *config)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    CLEANUP(http_free_p) Http *http = calloc(1, sizeof(*http));
    if (!http) {
        curl_global_cleanup();
        return -ENOMEM;
    }
    TAILQ_INIT(&http->requests);
    TAILQ_INIT(&http->ready);

    int r = http_copy_config(http, config);
    if (r < 0)
        return r;
    r = defer_add(event, &http->defer, on_defer, http);
    if (r < 0)
        return r;
    r = curl_loop_new(&http->loop, event, config->max_connections, on_transfer_finished, http);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(http);
    return 0;
}

Http *http_free(Http *http)
{
    HttpRequest *request;

    if (!http)
        return NULL;
    while ((request = TAILQ_FIRST(&http->requests)))
        http_request_free(request);
    while (http->n_idle > 0)
        curl_easy_cleanup(http->idle[--http->n_idle]);
    curl_loop_free(http->loop);
    timer_clear(&http->defer);
    free(http->unix_socket);
    free(http->ca);
    free(http->cert);
    free(http->key);
    free(http->user);
    text_free_secret(http->password);
    free(http);
    curl_global_cleanup();
    return NULL;
}

int http_request(Http *http, const HttpSpec *spec, HttpDoneFn done, void *userdata, HttpRequest **ret)
{
    CLEANUP(http_request_free_p) HttpRequest *request = calloc(1, sizeof(*request));
    if (!request)
        return -ENOMEM;
    request->http = http;
    request->done = done;
    request->on_data = spec->on_data;
    request->userdata = userdata;
    request->body_max = spec->body_max;
    if (request->body_max == 0 && !spec->on_data)
        request->body_max = BODY_MAX_DEFAULT;
    TAILQ_INSERT_TAIL(&http->requests, request, requests);

    int r = http_request_set_up(request, spec);
    if (r < 0)
        return r;
    r = curl_loop_add(http->loop, request->easy);
    if (r < 0)
        return r;

    if (ret)
        *ret = request;
    (void)TAKE_PTR(request);
    return 0;
}

HttpRequest *http_request_free(HttpRequest *request)
{
    if (!request)
        return NULL;
    if (request->freed)
        *request->freed = true;
    request_detach(request);
    if (request->is_ready)
        TAILQ_REMOVE(&request->http->ready, request, ready);
    TAILQ_REMOVE(&request->http->requests, request, requests);
    curl_slist_free_all(request->headers);
    curl_slist_free_all(request->forgotten);
    buffer_clear(&request->body);
    free(request->origin);
    free(request->want_header);
    free(request->header);
    free(request->redirect);
    free(request);
    return NULL;
}
