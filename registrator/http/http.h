/* HTTP by libcurl's multi interface on sd-event. There is one Http for each peer (Docker, etcd). No call blocks. Callbacks
 * come neither from within libcurl nor from within http_request(): they may start and free requests, also their own. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

typedef struct Http Http;
typedef struct HttpRequest HttpRequest;

typedef struct HttpConfig {
    const char *unix_socket; /* NULL: TCP */
    const char *ca, *cert, *key; /* TLS files, NULL: the system's CAs, no client certificate */
    const char *user, *password; /* basic authentication, or NULL */
    unsigned max_connections; /* at once; a unix socket's backlog overflows at 50 (measured) */
} HttpConfig;

typedef struct HttpResult {
    int error; /* 0: a whole answer came; else negative errno */
    const char *error_text; /* with the socket's path or the URL's host; "": no error */
    long status; /* HTTP's */
    const char *body; /* NUL-terminated; "" when the request had on_data */
    size_t body_size;
    const char *header; /* value of the header that the request asked for, or NULL */
    const char *redirect; /* the URL that a 3xx answer leads to, or NULL; no redirect is followed */
    struct sockaddr_storage remote; /* the peer's address; ss_family 0 (AF_UNSPEC) if none */
} HttpResult;

/* The answer is complete, or failed. The result lives during the call. The request is freed after it. */
typedef void (*HttpDoneFn)(void *userdata, const HttpResult *result);
/* A piece of the body of a 2xx answer. A negative return ends the request with that error. size 0: the headers have come,
 * and the body follows. */
typedef int (*HttpDataFn)(void *userdata, const char *data, size_t size);

typedef struct HttpSpec {
    const char *method; /* "GET", … */
    const char *url;
    const char *body; /* copied; NULL: none */
    const char *content_type; /* of body */
    const char *authorization; /* value of the header, or NULL */
    const char *want_header; /* name of an answer's header for HttpResult.header, or NULL */
    uint64_t timeout_ms; /* of the whole request; 0: none (a stream) */
    uint64_t connect_timeout_ms; /* 0: 5 s */
    size_t body_max; /* bytes; a longer answer ends with -EMSGSIZE; 0: 1 MiB. With on_data: of the whole, 0: no limit */
    HttpDataFn on_data; /* NULL: the body is collected */
} HttpSpec;

/* Copies config. */
int http_new(Http **ret, sd_event *event, const HttpConfig *config);
/* Ends every request: done is not called. Returns NULL. */
Http *http_free(Http *http);
DEFINE_CLEANUP(Http, http_free)

/* Copies what it needs of spec. done is called exactly once unless the request is freed before. */
int http_request(Http *http, const HttpSpec *spec, HttpDoneFn done, void *userdata, HttpRequest **ret);
/* Cancels if still running: done is not called. Returns NULL. */
HttpRequest *http_request_free(HttpRequest *request);
DEFINE_CLEANUP(HttpRequest, http_request_free)

/* "http://host:2379", always with the port, for a comparison that ignores case; a path, a user and a password are left
 * out. NULL: no URL with a host, or no memory. */
char *http_origin(const char *url);

/* Percent-encodes everything but unreserved characters; slashes stay when keep_slash. NULL: no memory. */
char *http_escape(const char *text, bool keep_slash);
