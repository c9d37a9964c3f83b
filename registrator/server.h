/* A small HTTP server on the agent's own loop (libmicrohttpd polled by sd-event): a slow or silent client costs a
 * connection for some seconds, never the agent's time. */
#pragma once

#include "cleanup.h"

#include <systemd/sd-event.h>

typedef struct Server Server;

typedef struct ServerRequest {
    const char *method; /* "GET" */
    const char *path; /* "/status", percent-decoded */
    const char *accept; /* the Accept header or "" */
    const char *body; /* of a POST, "" if none */
} ServerRequest;

typedef struct ServerReply {
    unsigned status; /* HTTP's */
    const char *content_type;
    char *body; /* malloc'd, NUL-terminated; taken */
} ServerReply;

typedef void (*ServerHandler)(void *userdata, const ServerRequest *request, ServerReply *reply);

enum {
    SERVER_CONNECTIONS_MAX = 16, /* more have to wait: this is for an operator and a scraper */
    SERVER_BODY_MAX = 64 * 1024, /* bytes of a request's body */
    SERVER_TIMEOUT_S = 10, /* for a client that says nothing */
};

/* Listens at a unix socket that its owner and group may use; a dead one of the same path is replaced. 0;
 * -EADDRINUSE: another program answers there. The file goes with server_free(). */
int server_new_unix(Server **ret, sd_event *event, const char *path, ServerHandler handler, void *userdata);
/* address: "127.0.0.1:9182", "[::1]:9182", ":9182". */
int server_new_tcp(Server **ret, sd_event *event, const char *address, ServerHandler handler, void *userdata);
Server *server_free(Server *server);
DEFINE_CLEANUP(Server, server_free)
