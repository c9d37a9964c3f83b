/* A small HTTP server on the agent's loop: sd-event polls libmicrohttpd. A slow client neither stops the loop nor
 * blocks other clients. Its connection ends at the deadline, or when a peer with fewer connections needs the place. */
#pragma once

#include "base/cleanup.h"
#include "base/shared_text.h"

#include <systemd/sd-event.h>

typedef struct Server Server;

typedef struct ServerRequest {
    const char *method; /* "GET" */
    const char *path; /* "/status", with percent-encoding removed */
    const char *body; /* the body of a POST, or "" */
} ServerRequest;

typedef struct ServerReply {
    unsigned status; /* the HTTP status */
    const char *content_type;
    char *body; /* malloc'd, NUL-terminated; the server takes it */
    SharedText *shared; /* replaces body, and is not copied for each client; the server takes the reference */
} ServerReply;

typedef void (*ServerHandler)(void *userdata, const ServerRequest *request, ServerReply *reply);

enum {
    SERVER_CONNECTIONS_MAX = 16, /* for a further connection, see server_clients_make_room() */
    SERVER_BODY_MAX = 64 * 1024, /* bytes of a request's body */
    SERVER_LIFETIME_S = 10, /* the most for a connection, from accept() on */
};

/* Listens at a unix socket, which its owner and group may use. Replaces a dead socket of the same path.
 * server_free() removes the file. 0; -EADDRINUSE: another program answers at the socket; or another negative errno. */
int server_new_unix(Server **ret, sd_event *event, const char *path, ServerHandler handler, void *userdata);
/* address: "127.0.0.1:9182", "[::1]:9182" or ":9182". 0 or a negative errno. */
int server_new_tcp(Server **ret, sd_event *event, const char *address, ServerHandler handler, void *userdata);
Server *server_free(Server *server);
DEFINE_CLEANUP(Server, server_free)
