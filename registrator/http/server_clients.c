#include "http/server_clients.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

typedef union Address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
} Address;

void server_clients_init(ServerClients *clients)
{
    TAILQ_INIT(&clients->queue);
    clients->n = 0;
}

/* An IPv6 client can use a whole /64, so the prefix names the peer. */
static void name_peer(int fd, unsigned char peer[static PEER_SIZE])
{
    Address address = { 0 };
    socklen_t size = sizeof(address);
    struct ucred user;
    socklen_t user_size = sizeof(user);

    memset(peer, 0, PEER_SIZE);
    if (getpeername(fd, &address.any, &size) < 0)
        return;
    if (address.any.sa_family == AF_INET)
        memcpy(peer, &address.in.sin_addr, sizeof(address.in.sin_addr));
    else if (address.any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address.in6.sin6_addr))
        memcpy(peer, address.in6.sin6_addr.s6_addr + 12, 4);
    else if (address.any.sa_family == AF_INET6)
        memcpy(peer, address.in6.sin6_addr.s6_addr, PEER_SIZE);
    else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &user_size) == 0)
        memcpy(peer, &user.uid, sizeof(user.uid));
}

static bool is_at_loopback(int fd)
{
    Address address = { 0 };
    socklen_t size = sizeof(address);

    if (getsockname(fd, &address.any, &size) < 0)
        return false;
    if (address.any.sa_family == AF_INET)
        return ntohl(address.in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (address.any.sa_family != AF_INET6)
        return false;
    return IN6_IS_ADDR_LOOPBACK(&address.in6.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&address.in6.sin6_addr) && address.in6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

ServerClient *server_clients_add(ServerClients *clients, int fd, uint64_t now_us)
{
    ServerClient *client = calloc(1, sizeof(*client));

    if (!client)
        return NULL;
    client->fd = fd;
    client->since_us = now_us;
    name_peer(fd, client->peer);
    client->at_loopback = is_at_loopback(fd);
    TAILQ_INSERT_TAIL(&clients->queue, client, queue);
    clients->n++;
    return client;
}

void server_clients_remove(ServerClients *clients, ServerClient *client)
{
    if (!client)
        return;
    TAILQ_REMOVE(&clients->queue, client, queue);
    if (!client->ending)
        clients->n--;
    free(client);
}

/* libmicrohttpd then notices the end of the connection, whatever it waits for. */
static void end(ServerClients *clients, ServerClient *client)
{
    (void)shutdown(client->fd, SHUT_RDWR);
    client->ending = true;
    clients->n--;
}

static size_t count_peer(const ServerClients *clients, const ServerClient *like)
{
    const ServerClient *client;
    size_t n = 0;

    TAILQ_FOREACH (client, &clients->queue, queue)
        if (!client->ending && memcmp(client->peer, like->peer, PEER_SIZE) == 0)
            n++;
    return n;
}

/* Takes quadratic time in the number of places, which is small. */
void server_clients_make_room(ServerClients *clients, size_t max)
{
    while (clients->n >= max) {
        ServerClient *client, *found = NULL;
        size_t most = 0;

        TAILQ_FOREACH (client, &clients->queue, queue) {
            size_t n = client->ending ? 0 : count_peer(clients, client);

            if (n > most) {
                most = n;
                found = client;
            }
        }
        if (!found)
            return;
        end(clients, found);
    }
}

uint64_t server_clients_end_old(ServerClients *clients, uint64_t now_us, uint64_t lifetime_us)
{
    ServerClient *client;

    TAILQ_FOREACH (client, &clients->queue, queue) {
        if (client->ending)
            continue;
        if (client->since_us + lifetime_us > now_us)
            return client->since_us + lifetime_us;
        end(clients, client);
    }
    return 0;
}

/* Accepts "192.0.2.1:80", "[2001:db8::1]:80", or a name without a dot: an attacker can only control names in a
 * domain. */
static bool is_address_or_short_name(const char *host)
{
    char name[INET6_ADDRSTRLEN];
    unsigned char address[sizeof(struct in6_addr)];
    bool bracketed = *host == '[';
    size_t size = strcspn(host + bracketed, bracketed ? "]" : ":");
    const char *rest = host + bracketed + size;

    if (bracketed && *rest++ != ']')
        return false;
    if (size >= sizeof(name) || (*rest != '\0' && *rest != ':'))
        return false;
    memcpy(name, host + bracketed, size);
    name[size] = '\0';
    if (bracketed)
        return inet_pton(AF_INET6, name, address) == 1;
    return inet_pton(AF_INET, name, address) == 1 || !strchr(name, '.');
}

bool server_client_may_ask(const ServerClient *client, const char *host)
{
    return !client->at_loopback || !host || is_address_or_short_name(host);
}
