/* What the two halves of Http share: http.c, the life of a request, and http_setup.c, how its handle is set up. */
#pragma once

#include "base/grow.h"
#include "http/curl_loop.h"
#include "http/http.h"

#include <sys/queue.h>

enum {
    IDLE_HANDLES_MAX = 4, /* easy handles kept for reuse: a new one costs 20 KiB and their clearing */
    ERROR_TEXT_MAX = CURL_ERROR_SIZE + 256,
};

typedef enum RequestState {
    REQUEST_RUNNING, /* in curl's multi handle */
    REQUEST_FINISHED, /* out of it; done is to be called */
} RequestState;

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
    bool headers_seen; /* of the final answer, a 2xx */
    bool headers_delivered;
    bool paused;
    char *want_header, *header, *redirect;

    int error; /* found by ourselves, before or besides curl's */
    int socket_errno; /* why there is no socket to connect with: curl does not keep it */
    long status;
    struct sockaddr_storage remote;
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

/* Takes an easy handle and sets it up for spec. 0 or a negative errno: -EINVAL: spec is not to be sent. */
int http_request_set_up(HttpRequest *request, const HttpSpec *spec);

/* libcurl's callbacks: they note what has come. */
size_t http_request_take_header(char *line, size_t one, size_t size, void *userdata);
size_t http_request_take_body(char *data, size_t one, size_t size, void *userdata);
