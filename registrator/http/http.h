/* HTTP: libcurl's multi interface on sd-event. There is one Http for each peer (Docker, etcd). No call blocks. The
 * loop calls the callbacks, never libcurl or http_request(). A callback may start and free requests, including its
 * own. */
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
    const char *ca, *cert, *key; /* TLS files; NULL: the system's CAs, and no client certificate */
    const char *user, *password; /* for basic authentication, or NULL */
    unsigned max_connections; /* open at once; a unix socket's backlog overflows at 50 (measured) */
} HttpConfig;

typedef struct HttpResult {
    int error; /* 0: the whole answer has come; else a negative errno */
    const char *error_text; /* names the socket's path or the URL's host; "": no error */
    long status; /* the HTTP status */
    const char *body; /* NUL-terminated; "" if the request had on_data */
    size_t body_size;
    const char *header; /* the value of the header want_header, or NULL */
    const char *redirect; /* the URL that a 3xx answer leads to, or NULL; the agent follows no redirect */
    struct sockaddr_storage remote; /* the peer's address; ss_family 0 (AF_UNSPEC): not known */
} HttpResult;

/* The answer is complete, or the request has failed. The result is valid during the call. The request is freed after
 * the call. */
typedef void (*HttpDoneFn)(void *userdata, const HttpResult *result);
/* Takes a piece of the body of a 2xx answer. A negative return value ends the request with this error. size 0: the
 * headers have come, and the body follows. */
typedef int (*HttpDataFn)(void *userdata, const char *data, size_t size);

typedef struct HttpSpec {
    const char *method; /* "GET", … */
    const char *url;
    const char *body; /* copied; NULL: none */
    const char *content_type; /* of body */
    const char *authorization; /* the header's value, or NULL */
    const char *want_header; /* the name of an answer's header for HttpResult.header, or NULL */
    uint64_t timeout_ms; /* for the whole request; 0: no limit, for a stream */
    uint64_t connect_timeout_ms; /* 0: 5000 */
    /* bytes; a longer answer ends with -EMSGSIZE; 0: 1 MiB. With on_data, of the whole body; 0: no limit */
    size_t body_max;
    HttpDataFn on_data; /* NULL: HttpResult.body has the body */
} HttpSpec;

/* Copies config. 0 or a negative errno. */
int http_new(Http **ret, sd_event *event, const HttpConfig *config);
/* Ends every request without a call of done. Returns NULL. */
Http *http_free(Http *http);
DEFINE_CLEANUP(Http, http_free)

/* Copies the needed parts of spec. Calls done exactly once, unless the request is freed first. 0 or a negative
 * errno. */
int http_request(Http *http, const HttpSpec *spec, HttpDoneFn done, void *userdata, HttpRequest **ret);
/* Cancels a running request without a call of done. Returns NULL. */
HttpRequest *http_request_free(HttpRequest *request);
DEFINE_CLEANUP(HttpRequest, http_request_free)

/* "http://host:2379", always with the port and without path, user and password. Compare it without regard to case.
 * malloc'd; NULL: no URL with a host, or no memory. */
char *http_origin(const char *url);

/* Percent-encodes everything except unreserved characters and, with keep_slash, slashes. malloc'd; NULL: no memory. */
char *http_escape(const char *text, bool keep_slash);
