#include "http/server_private.h"

#include "base/grow.h"
#include "base/log.h"
#include "base/timer.h"
#include "http/server_clients.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    SERVER_PRIORITY = SD_EVENT_PRIORITY_NORMAL + 10,
    ACCEPT_RETRY_US = 1000000, /* the wait when descriptors or memory run out */
    LIFETIME_US = SERVER_LIFETIME_S * 1000000,
    SHARED_AT_ONCE = 32 * 1024, /* bytes; libmicrohttpd has a buffer of this size for each client */
};

struct Server {
    struct MHD_Daemon *daemon;
    sd_event_source *io;
    Timer timer, deadline;
    ServerClients clients;
    sd_event *event; /* not a reference: the event sources hold the loop */
    int fd; /* the listening socket */
    sd_event_source *accept;
    Timer accept_retry;
    bool accept_failed; /* the log has the error already */
    char *address; /* the unix socket's path, or the value of --listen */
    bool is_file; /* address is a file, which server_free() removes */
    ServerHandler handler;
    void *userdata;
};

/* A request whose body is arriving. */
typedef struct Upload {
    Buffer body;
    bool too_large;
} Upload;

static ServerClient *client_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        connection ? MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT) : NULL;

    return info ? info->socket_context : NULL;
}

static ssize_t read_shared(void *userdata, uint64_t position, char *buffer, size_t size)
{
    const SharedText *shared = userdata;
    size_t left = shared->size - (size_t)position;
    size_t n = left < size ? left : size;

    memcpy(buffer, shared->text + position, n);
    return (ssize_t)n;
}

static void forget_shared(void *userdata)
{
    shared_text_unref(userdata);
}

/* Takes the body. NULL: no memory. */
static struct MHD_Response *make_response(ServerReply *reply)
{
    static char empty[] = "";
    char *body = reply->body ? reply->body : empty;
    struct MHD_Response *response;

    if (reply->shared)
        response = MHD_create_response_from_callback(reply->shared->size, SHARED_AT_ONCE, read_shared, reply->shared,
                                                     forget_shared);
    else
        response = MHD_create_response_from_buffer(strlen(body), body,
                                                   reply->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response) {
        free(reply->body);
        shared_text_unref(reply->shared);
    }
    return response;
}

/* last: the connection ends after this reply. */
static enum MHD_Result send_reply(struct MHD_Connection *connection, ServerReply *reply, bool last)
{
    /* Even if a page contains somebody's script, the page loads and sends nothing, and no other page can frame the
     * page. */
    static const struct {
        const char *name, *value;
    } headers[] = {
        { "Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
                                     "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" },
        { "X-Content-Type-Options", "nosniff" },
        { "Referrer-Policy", "no-referrer" },
        { "Cache-Control", "no-store" },
    };
    struct MHD_Response *response = make_response(reply);
    enum MHD_Result r;

    if (!response)
        return MHD_NO;
    if (reply->content_type)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
        (void)MHD_add_response_header(response, headers[i].name, headers[i].value);
    if (last)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    r = MHD_queue_response(connection, reply->status, response);
    MHD_destroy_response(response);
    return r;
}

static int upload_append(Upload *upload, const char *data, size_t size)
{
    upload->too_large = upload->too_large || upload->body.size + size > SERVER_BODY_MAX;
    return upload->too_large ? 0 : buffer_append(&upload->body, data, size);
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* The whole request has arrived. */
static enum MHD_Result answer(const Server *server, struct MHD_Connection *connection, const char *url,
                              const char *method, const Upload *upload)
{
    const ServerClient *client = client_of(connection);
    ServerReply reply = { .status = MHD_HTTP_CONTENT_TOO_LARGE };

    if (client && !server_client_may_ask(client, header(connection, MHD_HTTP_HEADER_HOST)))
        reply = (ServerReply){ .status = MHD_HTTP_MISDIRECTED_REQUEST,
                               .content_type = "text/plain",
                               .body = strdup("At a loopback address, ask for http://localhost or the address.\n") };
    else if (!upload->too_large)
        server->handler(
            server->userdata,
            &(ServerRequest){ .method = method, .path = url, .body = upload->body.data ? upload->body.data : "" },
            &reply);
    /* A connection is cut at its deadline. If half of its time has passed, the connection ends with this answer. */
    return send_reply(connection, &reply,
                      client && loop_now_us(server->event, CLOCK_MONOTONIC) - client->since_us > LIFETIME_US / 2);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **context)
{
    Upload *upload = *context;

    (void)version;
    if (!upload) {
        *context = calloc(1, sizeof(*upload));
        return *context ? MHD_YES : MHD_NO;
    }
    if (*size > 0) {
        int r = upload_append(upload, data, *size);

        *size = 0;
        return r < 0 ? MHD_NO : MHD_YES;
    }
    return answer(cls, connection, url, method, upload);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    Upload *upload = *context;

    (void)cls;
    (void)connection;
    (void)code;
    if (upload)
        buffer_clear(&upload->body);
    free(upload);
    *context = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    Server *server = cls;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        server_clients_remove(&server->clients, *context);
        *context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *context = info
                   ? server_clients_add(&server->clients, info->connect_fd, loop_now_us(server->event, CLOCK_MONOTONIC))
                   : NULL;
    if (info && !*context)
        (void)shutdown(info->connect_fd, SHUT_RDWR); /* without memory, the server could not end the connection later */
}

static void server_turn(Server *server)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    uint64_t now = loop_now_us(server->event, CLOCK_MONOTONIC), end;

    end = server_clients_end_old(&server->clients, now, LIFETIME_US);
    (void)MHD_run(server->daemon);
    if (end > 0)
        timer_arm(&server->deadline, end - now);
    else
        timer_disarm(&server->deadline);
    if (MHD_get_timeout(server->daemon, &wait_ms) == MHD_YES)
        timer_arm(&server->timer, (uint64_t)wait_ms * 1000);
    else
        timer_disarm(&server->timer);
}

/* The agent calls accept(), not libmicrohttpd: without free descriptors, libmicrohttpd would try again without a
 * pause, or never. */
static int on_accept(sd_event_source *source, int listening, uint32_t revents, void *userdata)
{
    Server *server = userdata;
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    int fd = accept4(listening, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)source;
    (void)revents;
    if (fd >= 0) {
        server->accept_failed = false;
        server_clients_make_room(&server->clients, SERVER_CONNECTIONS_MAX);
        (void)MHD_run(server->daemon); /* ends the connections that server_clients_make_room() chose */
        (void)MHD_add_connection(server->daemon, fd, (struct sockaddr *)&address, size); /* takes fd, also on failure */
        server_turn(server);
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        if (!server->accept_failed)
            log_warning_errno(errno, "Failed to take a connection at %s, trying again every second: %m",
                              server->address);
        server->accept_failed = true;
        timer_arm(&server->accept_retry, ACCEPT_RETRY_US);
        (void)sd_event_source_set_enabled(server->accept, SD_EVENT_OFF);
    }
    return 0;
}

static void on_accept_retry(void *userdata)
{
    Server *server = userdata;

    (void)sd_event_source_set_enabled(server->accept, SD_EVENT_ON);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    (void)source;
    (void)fd;
    (void)revents;
    server_turn(userdata);
    return 0;
}

static void on_timer(void *userdata)
{
    server_turn(userdata);
}

static int server_add_sources(Server *server, sd_event *event)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    sd_event_source **sources[] = { &server->io, &server->timer.source, &server->deadline.source, &server->accept,
                                    &server->accept_retry.source };
    int r;

    if (!info)
        return -EIO;
    r = sd_event_add_io(event, &server->io, info->epoll_fd, EPOLLIN, on_io, server);
    if (r >= 0)
        r = sd_event_add_io(event, &server->accept, server->fd, EPOLLIN, on_accept, server);
    if (r >= 0)
        r = timer_add(event, &server->timer, CLOCK_MONOTONIC, 1000, on_timer, server);
    if (r >= 0)
        r = timer_add(event, &server->deadline, CLOCK_MONOTONIC, 1000, on_timer, server);
    if (r >= 0)
        r = timer_add(event, &server->accept_retry, CLOCK_MONOTONIC, 0, on_accept_retry, server);
    /* The sources of Docker and etcd come first, whatever the number of clients. */
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(sources); i++)
        r = sd_event_source_set_priority(*sources[i], SERVER_PRIORITY);
    return r;
}

int server_new(Server **ret, sd_event *event, int fd, const char *address, bool is_file, ServerHandler handler,
               void *userdata)
{
    CLEANUP_CLOSE int owned = fd;
    CLEANUP(server_free_p) Server *server = calloc(1, sizeof(*server));
    int r;

    if (!server)
        return -ENOMEM;
    server_clients_init(&server->clients);
    server->event = event;
    server->fd = owned;
    owned = -1;
    server->is_file = is_file;
    server->handler = handler;
    server->userdata = userdata;
    server->address = strdup(address);
    if (!server->address)
        return -ENOMEM;
    server->daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request, server,
                         /* leaves room for connections that are ending */
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVER_CONNECTIONS_MAX * 2,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
                         NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_END);
    if (!server->daemon)
        return -EIO;
    r = server_add_sources(server, event);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(server);
    return 0;
}

Server *server_free(Server *server)
{
    if (!server)
        return NULL;
    sd_event_source_disable_unref(server->io);
    timer_clear(&server->timer);
    timer_clear(&server->deadline);
    sd_event_source_disable_unref(server->accept);
    timer_clear(&server->accept_retry);
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    (void)close(server->fd);
    if (server->is_file && server->address)
        (void)unlink(server->address);
    free(server->address);
    free(server);
    return NULL;
}
