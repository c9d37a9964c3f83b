/* A small HTTP server on the agent's loop: sd-event polls libmicrohttpd. A slow client neither stops the loop nor keeps
 * other clients out. Its connection ends at the deadline, or when a peer with fewer connections needs the place. */
#pragma once

#include "base/cleanup.h"
#include "base/shared_text.h"

#include <systemd/sd-event.h>

typedef struct Server Server;

typedef struct ServerRequest {
    const char *method; /* "GET" */
    const char *path; /* "/status", percent-decoded */
    const char *body; /* of a POST, "" if none */
} ServerRequest;

typedef struct ServerReply {
    unsigned status; /* HTTP's */
    const char *content_type;
    char *body; /* malloc'd, NUL-terminated; taken */
    SharedText *shared; /* instead of body: not copied for each client. The reference is taken */
} ServerReply;

typedef void (*ServerHandler)(void *userdata, const ServerRequest *request, ServerReply *reply);

enum {
    SERVER_CONNECTIONS_MAX = 16, /* of a new one too many, see server_clients_make_room() */
    SERVER_BODY_MAX = 64 * 1024, /* bytes of a request's body */
    SERVER_LIFETIME_S = 10, /* of a connection, from accept() on, whatever the client does */
};

/* Listens at a unix socket that its owner and group may use; a dead one of the same path is replaced. 0;
 * -EADDRINUSE: another program answers there. The file goes with server_free(). */
int server_new_unix(Server **ret, sd_event *event, const char *path, ServerHandler handler, void *userdata);
/* address: "127.0.0.1:9182", "[::1]:9182", ":9182". */
int server_new_tcp(Server **ret, sd_event *event, const char *address, ServerHandler handler, void *userdata);
Server *server_free(Server *server);
DEFINE_CLEANUP(Server, server_free)
