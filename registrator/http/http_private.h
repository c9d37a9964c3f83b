/* What http.c and http_setup.c share. http.c: the life of a request. http_setup.c: the set-up of a request's handle. */
#pragma once

#include "base/grow.h"
#include "base/timer.h"
#include "http/curl_loop.h"
#include "http/http.h"

#include <sys/queue.h>

enum {
    IDLE_HANDLES_MAX = 4, /* easy handles that are kept for reuse: a new one takes 20 KiB, which must be zeroed */
    ERROR_TEXT_MAX = CURL_ERROR_SIZE + 256,
};

typedef enum RequestState {
    REQUEST_RUNNING, /* in curl's multi handle */
    REQUEST_FINISHED, /* removed from curl; done must be called */
} RequestState;

struct HttpRequest {
    Http *http;
    TAILQ_ENTRY(HttpRequest) requests, ready;
    bool is_ready; /* http->ready has the request */
    RequestState state;
    CURL *easy; /* NULL: finished */
    struct curl_slist *headers, *forgotten;
    char *origin; /* scheme, host and port of the URL, for error texts */
    HttpDoneFn done;
    HttpDataFn on_data;
    void *userdata;

    Buffer body;
    size_t body_max; /* 0: no limit */
    size_t received;
    bool headers_seen; /* of the final answer, with a 2xx status */
    bool headers_delivered;
    bool paused;
    char *want_header, *header, *redirect;

    int error; /* an error that the agent found, in addition to curl's */
    int socket_errno; /* why no socket could be opened, because curl does not keep this error */
    long status;
    struct sockaddr_storage remote;
    char curl_error[CURL_ERROR_SIZE];
    char error_text[ERROR_TEXT_MAX];

    bool *freed; /* set if a callback of the request frees the request */
};

struct Http {
    CurlLoop *loop;
    Timer defer;
    TAILQ_HEAD(RequestList, HttpRequest) requests;
    TAILQ_HEAD(, HttpRequest) ready;
    CURL *idle[IDLE_HANDLES_MAX];
    size_t n_idle;
    char *unix_socket, *ca, *cert, *key, *user, *password;
};

/* Takes an easy handle and sets it up for spec. 0 or a negative errno; -EINVAL: spec must not be sent. */
int http_request_set_up(HttpRequest *request, const HttpSpec *spec);

/* libcurl's callbacks. They store the received bytes. */
size_t http_request_take_header(char *line, size_t one, size_t size, void *userdata);
size_t http_request_take_body(char *data, size_t one, size_t size, void *userdata);
