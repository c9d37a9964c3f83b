/* The clients that are connected to a server: how long each may stay, and who goes when there is no place left. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum { PEER_SIZE = 8 };

typedef struct ServerClient {
    TAILQ_ENTRY(ServerClient) queue;
    int fd; /* libmicrohttpd's */
    uint64_t since_us;
    unsigned char peer[PEER_SIZE]; /* who is there: the address, or the user at a unix socket */
    bool at_loopback; /* by TCP, at one of this host's loopback addresses */
    bool ending; /* shut down; libmicrohttpd will notice */
} ServerClient;

typedef struct ServerClients {
    TAILQ_HEAD(ClientQueue, ServerClient) queue; /* the oldest first */
    size_t n; /* without those that are ending */
} ServerClients;

void server_clients_init(ServerClients *clients);
/* NULL: no memory. */
ServerClient *server_clients_add(ServerClients *clients, int fd, uint64_t now_us);
/* Frees. */
void server_clients_remove(ServerClients *clients, ServerClient *client);
/* Ends the oldest client of the peer that has the most, until there is a place: a peer that fills the server takes
 * places from itself alone. */
void server_clients_make_room(ServerClients *clients, size_t max);
/* Ends the clients that have been there for longer than lifetime_us. Returns when the next one will have, 0: none. */
uint64_t server_clients_end_old(ServerClients *clients, uint64_t now_us, uint64_t lifetime_us);

/* May the client ask for this host, NULL: names none? A browser that a stranger's name has led to a loopback address
 * (DNS rebinding) asks for that name. */
bool server_client_may_ask(const ServerClient *client, const char *host);
