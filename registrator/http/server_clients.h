/* The clients that are connected to a server: how long each client may stay, and which client must leave if no place
 * is free. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum { PEER_SIZE = 8 };

typedef struct ServerClient {
    TAILQ_ENTRY(ServerClient) queue;
    int fd; /* owned by libmicrohttpd */
    uint64_t since_us;
    unsigned char peer[PEER_SIZE]; /* the peer: the IP address, or the user at a unix socket */
    bool at_loopback; /* connected by TCP to one of this host's loopback addresses */
    bool ending; /* shut down; libmicrohttpd is about to end the connection */
} ServerClient;

typedef struct ServerClients {
    TAILQ_HEAD(ClientQueue, ServerClient) queue; /* the oldest first */
    size_t n; /* without the clients that are ending */
} ServerClients;

void server_clients_init(ServerClients *clients);
/* NULL: no memory. */
ServerClient *server_clients_add(ServerClients *clients, int fd, uint64_t now_us);
/* Frees client. */
void server_clients_remove(ServerClients *clients, ServerClient *client);
/* Ends the oldest client of the peer with the most clients, until a place is free. So a peer that fills the server
 * only loses its own places. */
void server_clients_make_room(ServerClients *clients, size_t max);
/* Ends the clients that are older than lifetime_us. Returns the time when the next client reaches this age; 0: no
 * client. */
uint64_t server_clients_end_old(ServerClients *clients, uint64_t now_us, uint64_t lifetime_us);

/* May the client send a request with this Host header? NULL: without the header. By DNS rebinding, an attacker's
 * name can lead a browser to a loopback address. The browser then sends this name. */
bool server_client_may_ask(const ServerClient *client, const char *host);
