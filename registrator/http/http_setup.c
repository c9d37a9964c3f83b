#include "http/http_private.h"

#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

enum {
    CURL_BUFFER = 16 * 1024, /* bytes of curl's buffers, per transfer; curl's default is 64 KiB */
    CONNECT_TIMEOUT_MS_DEFAULT = 5000,
    DNS_CACHE_S = 1,
};

#define SETOPT(option, value) (failed |= (unsigned)curl_easy_setopt(easy, option, value))

/* Runs before the request is sent. Without a subjectAltName, libcurl accepts a certificate's common name as the
 * host's name, which RFC 9525 forbids. A reused connection shows no certificates. */
static int on_curl_connected(void *userdata, char *remote, char *local, int remote_port, int local_port)
{
    HttpRequest *request = userdata;
    struct curl_certinfo *certificates = NULL;

    (void)remote;
    (void)local;
    (void)remote_port;
    (void)local_port;
    /* Other TLS libraries do not show a certificate's extensions. */
    const char *backend = curl_version_info(CURLVERSION_NOW)->ssl_version;
    if (!backend || strncmp(backend, "OpenSSL/", strlen("OpenSSL/")) != 0)
        return CURL_PREREQFUNC_OK;
    curl_easy_getinfo(request->easy, CURLINFO_CERTINFO, &certificates);
    if (!certificates || certificates->num_of_certs <= 0)
        return CURL_PREREQFUNC_OK;
    for (struct curl_slist *line = certificates->certinfo[0]; line; line = line->next)
        if (strncasecmp(line->data, "X509v3 Subject Alternative Name:", strlen("X509v3 Subject Alternative Name:")) ==
            0)
            return CURL_PREREQFUNC_OK;
    request->error = -EPROTO;
    return CURL_PREREQFUNC_ABORT;
}

static int request_set_peer(HttpRequest *request)
{
    const Http *http = request->http;
    CURL *easy = request->easy;
    unsigned failed = 0;

    if (http->unix_socket)
        SETOPT(CURLOPT_UNIX_SOCKET_PATH, http->unix_socket);
    /* The agent's requests to its own cluster must not use a proxy of the environment. */
    SETOPT(CURLOPT_PROXY, "");
    SETOPT(CURLOPT_NOPROXY, "*");
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Otherwise, freeing a transfer waits until getaddrinfo() returns: 30 s and longer with three silent name
     * servers. */
    SETOPT(CURLOPT_QUICK_EXIT, 1L);
#endif
    /* A peer may return at another address. Only new connections look up addresses. */
    SETOPT(CURLOPT_DNS_CACHE_TIMEOUT, (long)DNS_CACHE_S);
    SETOPT(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SETOPT(CURLOPT_SSL_VERIFYPEER, 1L);
    SETOPT(CURLOPT_SSL_VERIFYHOST, 2L);
    SETOPT(CURLOPT_CERTINFO, 1L);
    SETOPT(CURLOPT_PREREQFUNCTION, on_curl_connected);
    SETOPT(CURLOPT_PREREQDATA, request);
    if (http->ca) {
        SETOPT(CURLOPT_CAINFO, http->ca);
        SETOPT(CURLOPT_CAPATH, NULL); /* otherwise the system's CAs would count as well */
    }
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Otherwise libcurl would read a new CA file a day later. */
    SETOPT(CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
    /* A resumed session would use the old certificates, although the files may have changed. */
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

/* A freed request must not arrive later. For minutes, a closed socket continues to send the bytes that the peer has
 * not acknowledged, so etcd could carry out a write that is out of date. With SO_LINGER 0, close() drops these
 * bytes. */
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
#else /* for Ubuntu 22.04, which has 7.81 */
    SETOPT(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    SETOPT(CURLOPT_USERAGENT, "registrator/" PACKAGE_VERSION);
    /* A used handle refuses this call, because its buffer has this size already. */
    (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)CURL_BUFFER);
    SETOPT(CURLOPT_UPLOAD_BUFFERSIZE, (long)CURL_BUFFER);
    /* The stream ends if the peer vanishes. */
    SETOPT(CURLOPT_TCP_KEEPALIVE, 1L);
    SETOPT(CURLOPT_TCP_KEEPIDLE, 30L);
    SETOPT(CURLOPT_TCP_KEEPINTVL, 10L);
    SETOPT(CURLOPT_OPENSOCKETFUNCTION, on_curl_open);
    SETOPT(CURLOPT_OPENSOCKETDATA, request);
    SETOPT(CURLOPT_CONNECTTIMEOUT_MS, (long)connect_timeout_ms);
    SETOPT(CURLOPT_TIMEOUT_MS, (long)spec->timeout_ms);
    SETOPT(CURLOPT_ERRORBUFFER, request->curl_error);
    SETOPT(CURLOPT_PRIVATE, request);
    SETOPT(CURLOPT_WRITEFUNCTION, http_request_take_body);
    SETOPT(CURLOPT_WRITEDATA, request);
    SETOPT(CURLOPT_HEADERFUNCTION, http_request_take_header);
    SETOPT(CURLOPT_HEADERDATA, request);
    return failed ? -ENOMEM : 0;
}

static int request_add_header(HttpRequest *request, const char *name, const char *value)
{
    CLEANUP_FREE char *line = text_format("%s: %s", name, value);

    /* With a line break in a value, the value's author could add headers. */
    if (strpbrk(value, "\r\n"))
        return -EINVAL;
    struct curl_slist *longer = line ? curl_slist_append(request->headers, line) : NULL;
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
        /* Without a value, curl leaves the header out. Otherwise, curl waits a second for "100 Continue" from a peer
         * that does not send it. */
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
    SETOPT(CURLOPT_CUSTOMREQUEST, spec->method);
    if (failed)
        return -ENOMEM;
    return request_set_headers(request, spec);
}

#undef SETOPT

typedef struct UrlParts {
    char *scheme, *host, *port; /* port: set even if the URL names none */
} UrlParts;

static void url_parts_clear(UrlParts *parts)
{
    curl_free(parts->scheme);
    curl_free(parts->host);
    curl_free(parts->port);
}

/* Parts that the URL lacks stay NULL. 0 or -ENOMEM. */
static int url_parts_read(UrlParts *ret, const char *text)
{
    CURLU *url = curl_url();
    CURLUcode code = url ? curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) : CURLUE_OUT_OF_MEMORY;

    if (code == CURLUE_OK) {
        (void)curl_url_get(url, CURLUPART_SCHEME, &ret->scheme, 0);
        (void)curl_url_get(url, CURLUPART_HOST, &ret->host, 0);
        (void)curl_url_get(url, CURLUPART_PORT, &ret->port, CURLU_DEFAULT_PORT);
    }
    curl_url_cleanup(url);
    return code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : 0;
}

/* libcurl measures the age of a cached address with CLOCK_REALTIME. If that clock is set back, libcurl keeps the
 * address for longer. So every new connection looks up the address. */
static int request_forget_address(HttpRequest *request, const char *host, const char *port)
{
    CLEANUP_FREE char *line = text_format("-%s:%s", host, port);

    request->forgotten = line ? curl_slist_append(NULL, line) : NULL;
    if (!request->forgotten || curl_easy_setopt(request->easy, CURLOPT_RESOLVE, request->forgotten) != CURLE_OK)
        return -ENOMEM;
    return 0;
}

/* "http://user:secret@host:1/path" → "http://host:1", so that no password gets into the log. */
static int request_set_origin(HttpRequest *request, const char *text)
{
    CLEANUP(url_parts_clear) UrlParts parts = { 0 };
    int r = url_parts_read(&parts, text);

    if (r < 0)
        return r;
    if (!parts.scheme || !parts.host || !parts.port)
        return text_copy(&request->origin, "a URL without a host"); /* libcurl refuses such a URL */
    request->origin = text_format("%s://%s:%s", parts.scheme, parts.host, parts.port);
    if (!request->origin)
        return -ENOMEM;
    return request->http->unix_socket ? 0 : request_forget_address(request, parts.host, parts.port);
}

int http_request_set_up(HttpRequest *request, const HttpSpec *spec)
{
    Http *http = request->http;
    int r;

    request->easy = http->n_idle > 0 ? http->idle[--http->n_idle] : curl_easy_init();
    if (!request->easy)
        return -ENOMEM;
    if (text_copy(&request->want_header, spec->want_header) < 0)
        return -ENOMEM;
    r = request_set_origin(request, spec->url);
    if (r < 0)
        return r;
    r = request_set_peer(request);
    if (r < 0)
        return r;
    r = request_set_behaviour(request, spec);
    if (r < 0)
        return r;
    return request_set_message(request, spec);
}

char *http_origin(const char *text)
{
    CLEANUP(url_parts_clear) UrlParts parts = { 0 };

    if (url_parts_read(&parts, text) < 0 || !parts.scheme || !parts.host || !parts.port)
        return NULL;
    return text_format("%s://%s:%s", parts.scheme, parts.host, parts.port);
}

static void curl_free_p(char **text)
{
    curl_free(*text);
}

char *http_escape(const char *text, bool keep_slash)
{
    CLEANUP(curl_free_p) char *escaped = *text ? curl_easy_escape(NULL, text, 0) : strdup("");
    char *slash = escaped;

    /* This "%2F" is an encoded slash: an encoded per cent sign is "%25". */
    while (keep_slash && slash && (slash = strstr(slash, "%2F"))) {
        *slash++ = '/';
        memmove(slash, slash + 2, strlen(slash + 2) + 1);
    }
    return escaped ? strdup(escaped) : NULL;
}
