/* libcurl's multi interface on sd-event: its sockets and its timer. Knows nothing of HTTP. No call here blocks. */
#pragma once

#include "base/cleanup.h"

#include <curl/curl.h>
#include <systemd/sd-event.h>

typedef struct CurlLoop CurlLoop;

/* The transfer has ended. Not called from within libcurl, nor from within curl_loop_add(); may remove the handle. */
typedef void (*CurlLoopFn)(void *userdata, CURL *easy, CURLcode code);

/* max_connections: at once; 0: no limit. */
int curl_loop_new(CurlLoop **ret, sd_event *event, unsigned max_connections, CurlLoopFn finished, void *userdata);
/* All handles must have been removed. Returns NULL. */
CurlLoop *curl_loop_free(CurlLoop *loop);
DEFINE_CLEANUP(CurlLoop, curl_loop_free)

/* -ENOMEM. */
int curl_loop_add(CurlLoop *loop, CURL *easy);
void curl_loop_remove(CurlLoop *loop, CURL *easy);
