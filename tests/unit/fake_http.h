/* A scripted HTTP server on the loop of the test itself: what the peer does, and when, is the test's to
 * say, and no test waits for a clock. */
#pragma once

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include <unistd.h>

typedef struct FakeServer FakeServer;
typedef struct FakeConnection FakeConnection;

/* request: head and body. */
typedef void (*FakeAnswerFn)(FakeConnection *connection, const char *request);

struct FakeConnection {
    FakeServer *server;
    LIST_ENTRY(FakeConnection) connections;
    int fd;
    sd_event_source *source;
    char *in, *out;
    size_t in_size, out_size;
    bool close_after;
};

struct FakeServer {
    sd_event *event;
    sd_event_source *source;
    int fd;
    FakeAnswerFn answer;
    void *userdata;
    char url[128];
    char socket_path[100];
    unsigned accepted, open, open_max, requests;
    unsigned resets; /* connections that the peer ended by a reset */
    FakeConnection *last; /* whose request came last */
    LIST_HEAD(, FakeConnection) connections;
};

static inline void fake_close(FakeConnection *connection)
{
    if (connection->server->last == connection)
        connection->server->last = NULL;
    connection->server->open--;
    LIST_REMOVE(connection, connections);
    sd_event_source_disable_unref(connection->source);
    close(connection->fd);
    free(connection->in);
    free(connection->out);
    free(connection);
}

static inline void fake_flush(FakeConnection *connection)
{
    while (connection->out_size > 0) {
        ssize_t n = send(connection->fd, connection->out, connection->out_size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            break;
        connection->out_size -= (size_t)n;
        memmove(connection->out, connection->out + n, connection->out_size);
    }
    sd_event_source_set_io_events(connection->source, EPOLLIN | (connection->out_size > 0 ? EPOLLOUT : 0));
}

static inline void fake_send(FakeConnection *connection, const char *data, size_t size)
{
    if (size == 0)
        return;
    connection->out = realloc(connection->out, connection->out_size + size);
    assert(connection->out);
    memcpy(connection->out + connection->out_size, data, size);
    connection->out_size += size;
    fake_flush(connection);
}

static inline void fake_print(FakeConnection *connection, const char *text)
{
    fake_send(connection, text, strlen(text));
}

/* A whole answer. */
static inline void fake_answer(FakeConnection *connection, const char *status, const char *headers, const char *body)
{
    char head[1024];

    snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status, strlen(body), headers);
    fake_print(connection, head);
    fake_print(connection, body);
}

static inline bool fake_request_is_whole(FakeConnection *connection, size_t *ret_size)
{
    char *end = strstr(connection->in, "\r\n\r\n");
    size_t body = 0;

    if (!end)
        return false;
    char *length = strcasestr(connection->in, "\r\nContent-Length:");
    if (length && length < end)
        body = strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
    *ret_size = (size_t)(end + 4 - connection->in) + body;
    return connection->in_size >= *ret_size;
}

static inline int fake_on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    FakeConnection *connection = userdata;
    FakeServer *server = connection->server;
    char buffer[16384];
    size_t size;

    (void)source;
    if (events & EPOLLOUT)
        fake_flush(connection);
    if (connection->close_after && connection->out_size == 0) {
        fake_close(connection);
        return 0;
    }
    if (!(events & (EPOLLIN | EPOLLHUP)))
        return 0;
    ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0) {
        server->resets += n < 0 && errno == ECONNRESET;
        fake_close(connection);
        return 0;
    }
    connection->in = realloc(connection->in, connection->in_size + (size_t)n + 1);
    assert(connection->in);
    memcpy(connection->in + connection->in_size, buffer, (size_t)n);
    connection->in_size += (size_t)n;
    connection->in[connection->in_size] = '\0';
    if (!fake_request_is_whole(connection, &size))
        return 0;
    char *request = strndup(connection->in, size);
    connection->in_size = 0;
    server->requests++;
    server->last = connection;
    server->answer(connection, request);
    free(request);
    return 0;
}

static inline int fake_on_accept(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    FakeServer *server = userdata;
    FakeConnection *connection = calloc(1, sizeof(*connection));

    (void)source;
    (void)events;
    assert(connection);
    connection->server = server;
    connection->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert(connection->fd >= 0);
    /* With Nagle's algorithm, the body of each answer would wait 40 ms for the acknowledgement of its head. */
    (void)setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    LIST_INSERT_HEAD(&server->connections, connection, connections);
    sd_event_add_io(server->event, &connection->source, connection->fd, EPOLLIN, fake_on_io, connection);
    server->accepted++;
    server->open++;
    if (server->open > server->open_max)
        server->open_max = server->open;
    return 0;
}

/* socket_path: NULL: a free port of the loopback. */
static inline FakeServer *fake_new(sd_event *event, const char *socket_path, FakeAnswerFn answer, void *userdata)
{
    FakeServer *server = calloc(1, sizeof(*server));
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    socklen_t length = sizeof(in);

    assert(server);
    server->event = event;
    server->answer = answer;
    server->userdata = userdata;
    LIST_INIT(&server->connections);
    server->fd = socket(socket_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert(server->fd >= 0);
    if (socket_path) {
        snprintf(un.sun_path, sizeof(un.sun_path), "%s", socket_path);
        snprintf(server->socket_path, sizeof(server->socket_path), "%s", socket_path);
        unlink(socket_path);
        assert(bind(server->fd, (struct sockaddr *)&un, sizeof(un)) == 0);
        snprintf(server->url, sizeof(server->url), "http://localhost");
    } else {
        assert(bind(server->fd, (struct sockaddr *)&in, sizeof(in)) == 0);
        assert(getsockname(server->fd, (struct sockaddr *)&in, &length) == 0);
        snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%u", ntohs(in.sin_port));
    }
    assert(listen(server->fd, 64) == 0);
    sd_event_add_io(event, &server->source, server->fd, EPOLLIN, fake_on_accept, server);
    return server;
}

static inline void fake_free(FakeServer *server)
{
    FakeConnection *connection;

    if (!server)
        return;
    while ((connection = LIST_FIRST(&server->connections)))
        fake_close(connection);
    sd_event_source_disable_unref(server->source);
    close(server->fd);
    if (*server->socket_path)
        unlink(server->socket_path);
    free(server);
}
