/* libcurl's multi interface on sd-event: its sockets and its timer. Knows nothing of HTTP. No call here blocks. */
#pragma once

#include "base/cleanup.h"

#include <curl/curl.h>
#include <systemd/sd-event.h>

typedef struct CurlLoop CurlLoop;

/* The transfer has ended. The loop calls this, never libcurl or curl_loop_add(). The callee may remove the handle. */
typedef void (*CurlLoopFn)(void *userdata, CURL *easy, CURLcode code);

/* max_connections: open at once; 0: no limit. 0 or a negative errno. */
int curl_loop_new(CurlLoop **ret, sd_event *event, unsigned max_connections, CurlLoopFn finished, void *userdata);
/* The caller must have removed all handles. Returns NULL. */
CurlLoop *curl_loop_free(CurlLoop *loop);
DEFINE_CLEANUP(CurlLoop, curl_loop_free)

/* 0 or -ENOMEM. */
int curl_loop_add(CurlLoop *loop, CURL *easy);
void curl_loop_remove(CurlLoop *loop, CURL *easy);
