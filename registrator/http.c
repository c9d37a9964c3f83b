#include "http.h"

#include "curl_loop.h"
#include "text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

enum {
    /* Of a stream that its reader has not yet seen; then the peer has to wait. */
    STREAM_BUFFER_MAX = 256 * 1024,
    ERROR_BODY_MAX = 64 * 1024, /* of a stream that was refused: it is for a log line */
    BODY_MAX_DEFAULT = 1024 * 1024,
    CURL_BUFFER = 16 * 1024, /* curl's own buffers, per transfer: its default would be 64 KiB */
    CONNECT_TIMEOUT_MS_DEFAULT = 5000,
    IDLE_HANDLES_MAX = 4, /* easy handles kept for reuse: a new one costs 20 KiB and their clearing */
    HEADER_VALUE_MAX = 1024,
    DNS_CACHE_S = 1,
    REDIRECTS_MAX = 3,
    ERROR_TEXT_MAX = CURL_ERROR_SIZE + 256,
};

typedef enum RequestState {
    REQUEST_RUNNING, /* in curl's multi handle */
    REQUEST_FINISHED, /* out of it; done is to be called */
} RequestState;

typedef struct Buffer {
    char *data; /* NUL-terminated if not NULL */
    size_t size, allocated;
} Buffer;

struct HttpRequest {
    Http *http;
    TAILQ_ENTRY(HttpRequest) requests, ready;
    bool is_ready; /* linked in http->ready */
    RequestState state;
    CURL *easy; /* NULL once finished */
    struct curl_slist *headers, *forgotten;
    char *origin; /* of the URL: scheme, host and port, for error texts */
    HttpDoneFn done;
    HttpDataFn on_data;
    void *userdata;

    Buffer body;
    size_t body_max; /* 0: no limit */
    size_t received;
    bool headers_seen; /* of the final answer */
    bool headers_told;
    bool streaming; /* a 2xx answer with on_data */
    bool paused;
    char *want_header, *header;

    int error; /* found by ourselves, before or besides curl's */
    int socket_errno; /* why there is no socket to connect with: curl does not keep it */
    long status;
    struct sockaddr_storage remote;
    uint16_t remote_port;
    char curl_error[CURL_ERROR_SIZE];
    char error_text[ERROR_TEXT_MAX];

    bool *freed; /* set when freed from within one of its own callbacks */
};

struct Http {
    CurlLoop *loop;
    sd_event_source *defer;
    TAILQ_HEAD(RequestList, HttpRequest) requests;
    TAILQ_HEAD(, HttpRequest) ready;
    CURL *idle[IDLE_HANDLES_MAX];
    size_t n_idle;
    char *unix_socket, *ca, *cert, *key, *user, *password;
};

/* Buffer */

static int buffer_append(Buffer *buffer, const char *data, size_t size)
{
    if (buffer->allocated - buffer->size <= size) {
        size_t wanted = (buffer->size + size + 1) * 3 / 2;
        if (wanted < 512)
            wanted = 512;
        char *larger = realloc(buffer->data, wanted);
        if (!larger)
            return -ENOMEM;
        buffer->data = larger;
        buffer->allocated = wanted;
    }
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
    return 0;
}

static void buffer_clear(Buffer *buffer)
{
    free(buffer->data);
    *buffer = (Buffer){ 0 };
}

/* Request: what curl's callbacks do. They only note and queue: no call into libcurl that changes
 * anything is allowed from there, and whoever uses this module must be free to make one. */

static void request_make_ready(HttpRequest *request)
{
    Http *http = request->http;

    if (request->is_ready)
        return;
    TAILQ_INSERT_TAIL(&http->ready, request, ready);
    request->is_ready = true;
    (void)sd_event_source_set_enabled(http->defer, SD_EVENT_ONESHOT);
}

static bool status_is_success(long status)
{
    return status >= 200 && status < 300;
}

static void request_headers_complete(HttpRequest *request)
{
    long status = 0;

    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    /* Before a success there may be others: a 1xx, a redirect. After it there are trailers at most. */
    if (request->headers_seen || !status_is_success(status))
        return;
    request->headers_seen = true;
    if (request->on_data) {
        request->streaming = true;
        /* Now, not with the first byte: Docker's event stream may stay silent for days. */
        request_make_ready(request);
    }
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
    free(request->header);
    request->header = strndup(line, size);
}

static size_t on_curl_header(char *line, size_t one, size_t size, void *userdata)
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
    return 0; /* less than was given: curl ends the transfer with CURLE_WRITE_ERROR */
}

static size_t on_curl_body(char *data, size_t one, size_t size, void *userdata)
{
    HttpRequest *request = userdata;
    size_t max = request->body_max;

    (void)one;
    if (request->on_data && !request->streaming)
        max = ERROR_BODY_MAX;
    if (max > 0 && size > max - request->received)
        return request_refuse_data(request, -EMSGSIZE);
    if (request->streaming && request->body.size > 0 && request->body.size + size > STREAM_BUFFER_MAX) {
        request->paused = true;
        return CURL_WRITEFUNC_PAUSE; /* the same bytes come again */
    }
    if (buffer_append(&request->body, data, size) < 0)
        return request_refuse_data(request, -ENOMEM);
    request->received += size;
    if (request->streaming)
        request_make_ready(request);
    return size;
}

/* Request: its end */

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
    case CURLE_TOO_MANY_REDIRECTS:
        return -ELOOP;
    default:
        return -EIO;
    }
}

static void request_describe_error(HttpRequest *request, CURLcode code, long os_errno)
{
    const char *what = request->curl_error;

    if (code == CURLE_WRITE_ERROR || code == CURLE_OK)
        what = request->error == -EMSGSIZE ? "the answer is too long" : strerror(-request->error);
    else if (code == CURLE_COULDNT_CONNECT && os_errno > 0)
        what = strerror((int)os_errno);
    else if (!*what)
        what = curl_easy_strerror(code);

    /* curl names the made-up host of the URL, never the socket. */
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
    } else
        return;
    request->remote_port = (uint16_t)port;
}

/* Takes the transfer out of curl. The easy handle keeps no connection (the multi handle does), so it
 * can serve any other request. */
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
    if (request->error == 0)
        request->error = error_from_curl(code, os_errno);
    /* With TLS 1.3 a server that does not take our certificate says so, or only hangs up, when it should answer. */
    if (request->error == -ECONNRESET && request->status == 0 &&
        strncmp(request->origin, "https:", strlen("https:")) == 0)
        request->error = -EPROTO;
    if (request->error < 0)
        request_describe_error(request, code, os_errno);
    request_detach(request);
    request->state = REQUEST_FINISHED;
    request_make_ready(request);
}

/* Request: what its owner is told. True: it is gone. */

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
    if (!request->headers_told) {
        request->headers_told = true;
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
        /* May deliver what was held back at once, and says so if that was refused. */
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
        .remote = request->remote,
        .remote_port = request->remote_port,
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
    if (request->streaming && request_tell_stream(request))
        return;
    /* Telling may have ended it, or curl_easy_pause() have brought more for the next turn. */
    if (request->state != REQUEST_FINISHED)
        return;
    if (request->is_ready && request->body.size == 0) {
        TAILQ_REMOVE(&request->http->ready, request, ready);
        request->is_ready = false;
    }
    if (!request->is_ready)
        request_tell_done(request);
}

/* One request a turn: between two of them the loop serves everybody else, and a callback may free the
 * Http, as nothing is looked at after it. */
static int on_defer(sd_event_source *source, void *userdata)
{
    Http *http = userdata;
    HttpRequest *request = TAILQ_FIRST(&http->ready);

    (void)source;
    if (!request)
        return 0;
    TAILQ_REMOVE(&http->ready, request, ready);
    request->is_ready = false;
    if (!TAILQ_EMPTY(&http->ready))
        (void)sd_event_source_set_enabled(http->defer, SD_EVENT_ONESHOT);
    request_dispatch(request);
    return 0;
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
    r = sd_event_add_defer(event, &http->defer, on_defer, http);
    if (r < 0)
        return r;
    r = sd_event_source_set_enabled(http->defer, SD_EVENT_OFF);
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
    sd_event_source_disable_unref(http->defer);
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

/* Request: how it is set up */

#define SETOPT(option, value) (failed |= (unsigned)curl_easy_setopt(easy, option, value))

static int request_set_peer(HttpRequest *request)
{
    const Http *http = request->http;
    CURL *easy = request->easy;
    unsigned failed = 0;

    if (http->unix_socket)
        SETOPT(CURLOPT_UNIX_SOCKET_PATH, http->unix_socket);
    /* An agent's traffic to its own cluster has no business on a proxy that some profile script set. */
    SETOPT(CURLOPT_PROXY, "");
    SETOPT(CURLOPT_NOPROXY, "*");
    /* A peer that comes back under another address is to be found at once. Only new connections ask. */
    SETOPT(CURLOPT_DNS_CACHE_TIMEOUT, (long)DNS_CACHE_S);
    SETOPT(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SETOPT(CURLOPT_SSL_VERIFYPEER, 1L);
    SETOPT(CURLOPT_SSL_VERIFYHOST, 2L);
    if (http->ca) {
        SETOPT(CURLOPT_CAINFO, http->ca);
        SETOPT(CURLOPT_CAPATH, NULL); /* else the system's CAs would count as well */
    }
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Else a CA file that was replaced would be seen a day later. */
    SETOPT(CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
    /* A resumed session goes by the certificates of its beginning, which may have been replaced since. */
    SETOPT(CURLOPT_SSL_SESSIONID_CACHE, 0L);
    if (http->cert)
        SETOPT(CURLOPT_SSLCERT, http->cert);
    if (http->key)
        SETOPT(CURLOPT_SSLKEY, http->key);
    if (http->user) {
        SETOPT(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SETOPT(CURLOPT_USERNAME, http->user);
        SETOPT(CURLOPT_PASSWORD, http->password ? http->password : "");
    }
    return failed ? -ENOMEM : 0;
}

/* What was given up must not arrive later: a closed socket goes on sending what the peer has not acknowledged, for
 * minutes, and etcd then carries out a write that is out of date. With this, closing it drops that. */
static curl_socket_t on_curl_open(void *userdata, curlsocktype purpose, struct curl_sockaddr *address)
{
    HttpRequest *request = userdata;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

    (void)purpose;
    request->socket_errno = fd < 0 ? errno : 0;
    if (fd < 0)
        return CURL_SOCKET_BAD;
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
    return fd;
}

static int request_set_behaviour(HttpRequest *request, const HttpSpec *spec)
{
    CURL *easy = request->easy;
    unsigned failed = 0;
    uint64_t connect_timeout_ms = spec->connect_timeout_ms ? spec->connect_timeout_ms : CONNECT_TIMEOUT_MS_DEFAULT;

    SETOPT(CURLOPT_NOSIGNAL, 1L);
    SETOPT(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
#if LIBCURL_VERSION_NUM >= 0x075500
    SETOPT(CURLOPT_PROTOCOLS_STR, "http,https");
    SETOPT(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else /* Ubuntu 22.04 has 7.81 */
    SETOPT(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
    SETOPT(CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    SETOPT(CURLOPT_USERAGENT, "registrator/" PACKAGE_VERSION);
    /* Refused by a used handle that still has its buffer, which then is of this size already. */
    (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)CURL_BUFFER);
    SETOPT(CURLOPT_UPLOAD_BUFFERSIZE, (long)CURL_BUFFER);
    /* A peer that vanished without a word must not leave a stream open for ever. */
    SETOPT(CURLOPT_TCP_KEEPALIVE, 1L);
    SETOPT(CURLOPT_TCP_KEEPIDLE, 30L);
    SETOPT(CURLOPT_TCP_KEEPINTVL, 10L);
    SETOPT(CURLOPT_OPENSOCKETFUNCTION, on_curl_open);
    SETOPT(CURLOPT_OPENSOCKETDATA, request);
    SETOPT(CURLOPT_CONNECTTIMEOUT_MS, (long)connect_timeout_ms);
    SETOPT(CURLOPT_TIMEOUT_MS, (long)spec->timeout_ms);
    if (spec->follow_redirects) {
        SETOPT(CURLOPT_FOLLOWLOCATION, 1L);
        SETOPT(CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
        SETOPT(CURLOPT_POSTREDIR, (long)CURL_REDIR_POST_ALL);
    }
    SETOPT(CURLOPT_ERRORBUFFER, request->curl_error);
    SETOPT(CURLOPT_PRIVATE, request);
    SETOPT(CURLOPT_WRITEFUNCTION, on_curl_body);
    SETOPT(CURLOPT_WRITEDATA, request);
    SETOPT(CURLOPT_HEADERFUNCTION, on_curl_header);
    SETOPT(CURLOPT_HEADERDATA, request);
    return failed ? -ENOMEM : 0;
}

static int request_add_header(HttpRequest *request, const char *name, const char *value)
{
    CLEANUP_FREE char *line = NULL;

    /* A line break in a value would let its author write headers. */
    if (strpbrk(value, "\r\n"))
        return -EINVAL;
    if (asprintf(&line, "%s: %s", name, value) < 0) {
        line = NULL;
        return -ENOMEM;
    }
    struct curl_slist *longer = curl_slist_append(request->headers, line);
    if (!longer)
        return -ENOMEM;
    request->headers = longer;
    return 0;
}

static int request_set_headers(HttpRequest *request, const HttpSpec *spec)
{
    int r = 0;

    if (spec->body && spec->content_type)
        r = request_add_header(request, "Content-Type", spec->content_type);
    if (r == 0 && spec->authorization)
        r = request_add_header(request, "Authorization", spec->authorization);
    if (r < 0)
        return r;
    if (spec->body) {
        /* No value: curl leaves it out. Waiting for a "100 Continue" would cost a second with a peer
         * that sends none. */
        struct curl_slist *longer = curl_slist_append(request->headers, "Expect:");
        if (!longer)
            return -ENOMEM;
        request->headers = longer;
    }
    if (request->headers && curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers) != CURLE_OK)
        return -ENOMEM;
    return 0;
}

static int request_set_message(HttpRequest *request, const HttpSpec *spec)
{
    CURL *easy = request->easy;
    unsigned failed = 0;

    SETOPT(CURLOPT_URL, spec->url);
    if (spec->body) {
        SETOPT(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(spec->body));
        SETOPT(CURLOPT_COPYPOSTFIELDS, spec->body);
    } else if (strcmp(spec->method, "POST") == 0 || strcmp(spec->method, "PUT") == 0) {
        SETOPT(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
        SETOPT(CURLOPT_POSTFIELDS, "");
    } else if (strcmp(spec->method, "HEAD") == 0)
        SETOPT(CURLOPT_NOBODY, 1L);
    else
        SETOPT(CURLOPT_HTTPGET, 1L);
    /* Also for POST: a custom method is what survives a redirect. */
    SETOPT(CURLOPT_CUSTOMREQUEST, spec->method);
    if (failed)
        return -ENOMEM;
    return request_set_headers(request, spec);
}

#undef SETOPT

/* "http://user:secret@host:1/path" → "http://host:1": passwords stay out of the log. */
static char *origin_of(const char *url)
{
    const char *authority = strstr(url, "://");
    char *origin;

    if (!authority)
        return strdup(url);
    authority += 3;
    size_t length = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', length);
    const char *host = at ? at + 1 : authority;
    if (asprintf(&origin, "%.*s%.*s", (int)(authority - url), url, (int)(authority + length - host), host) < 0)
        return NULL;
    return origin;
}

/* libcurl takes the age of an address that it has looked up from the clock of the day: were that set back, it would
 * keep it for as long. So every new connection looks it up. */
static int request_forget_address(HttpRequest *request)
{
    const char *scheme = request->origin, *end = strstr(scheme, "://");
    const char *host = end ? end + 3 : scheme;
    const char *port = strchr(host, ':') ? "" : strncmp(scheme, "https:", 6) == 0 ? ":443" : ":80";
    CLEANUP_FREE char *line = NULL;

    if (asprintf(&line, "-%s%s", host, port) < 0) {
        line = NULL;
        return -ENOMEM;
    }
    request->forgotten = curl_slist_append(NULL, line);
    if (!request->forgotten || curl_easy_setopt(request->easy, CURLOPT_RESOLVE, request->forgotten) != CURLE_OK)
        return -ENOMEM;
    return 0;
}

static int request_set_up(HttpRequest *request, const HttpSpec *spec)
{
    Http *http = request->http;
    int r;

    request->easy = http->n_idle > 0 ? http->idle[--http->n_idle] : curl_easy_init();
    if (!request->easy)
        return -ENOMEM;
    request->origin = origin_of(spec->url);
    if (!request->origin || text_copy(&request->want_header, spec->want_header) < 0)
        return -ENOMEM;
    r = request_set_peer(request);
    if (r < 0)
        return r;
    r = http->unix_socket ? 0 : request_forget_address(request);
    if (r < 0)
        return r;
    r = request_set_behaviour(request, spec);
    if (r < 0)
        return r;
    return request_set_message(request, spec);
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

    int r = request_set_up(request, spec);
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
    free(request);
    return NULL;
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

char *http_escape(const char *text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    char *escaped = malloc(strlen(text) * 3 + 1);
    char *out = escaped;

    if (!escaped)
        return NULL;
    for (const char *c = text; *c; c++) {
        if (is_unreserved(*c) || (keep_slash && *c == '/')) {
            *out++ = *c;
            continue;
        }
        *out++ = '%';
        *out++ = digits[(unsigned char)*c >> 4];
        *out++ = digits[(unsigned char)*c & 15];
    }
    *out = '\0';
    return escaped;
}
