#include "server.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

enum {
    SERVER_PRIORITY = SD_EVENT_PRIORITY_NORMAL + 10,
    ACCEPT_RETRY_US = 1000000, /* out of descriptors or memory */
};

struct Server {
    struct MHD_Daemon *daemon;
    sd_event_source *io, *timer;
    int fd; /* listens */
    sd_event_source *accept, *accept_retry;
    bool accept_failed; /* said so in the log */
    char *address; /* the unix socket's path, or what --listen says */
    bool is_file; /* to be removed */
    ServerHandler handler;
    void *userdata;
};

/* A request whose body is still arriving. */
typedef struct Upload {
    char *body;
    size_t size;
    bool too_large;
} Upload;

static enum MHD_Result send_reply(struct MHD_Connection *connection, ServerReply *reply)
{
    static char empty[] = "";
    char *body = reply->body ? reply->body : empty;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(body), body, reply->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    enum MHD_Result r;

    if (!response) {
        free(reply->body);
        return MHD_NO;
    }
    if (reply->content_type)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    r = MHD_queue_response(connection, reply->status, response);
    MHD_destroy_response(response);
    return r;
}

static int upload_append(Upload *upload, const char *data, size_t size)
{
    char *body;

    if (upload->size + size > SERVER_BODY_MAX) {
        upload->too_large = true;
        return 0;
    }
    body = realloc(upload->body, upload->size + size + 1);
    if (!body)
        return -ENOMEM;
    memcpy(body + upload->size, data, size);
    upload->body = body;
    upload->size += size;
    upload->body[upload->size] = '\0';
    return 0;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **context)
{
    Server *server = cls;
    Upload *upload = *context;
    ServerReply reply = { .status = MHD_HTTP_CONTENT_TOO_LARGE };
    const char *accept;

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
    accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    if (!upload->too_large)
        server->handler(server->userdata,
                        &(ServerRequest){ .method = method,
                                          .path = url,
                                          .accept = accept ? accept : "",
                                          .body = upload->body ? upload->body : "" },
                        &reply);
    return send_reply(connection, &reply);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    Upload *upload = *context;

    (void)cls;
    (void)connection;
    (void)code;
    if (upload)
        free(upload->body);
    free(upload);
    *context = NULL;
}

static bool server_is_full(const Server *server)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

    return info && info->num_connections >= SERVER_CONNECTIONS_MAX;
}

/* More clients than there are places wait in the kernel. */
static void server_listen(Server *server)
{
    bool waits = server_is_full(server) || sd_event_source_get_enabled(server->accept_retry, NULL) > 0;

    (void)sd_event_source_set_enabled(server->accept, waits ? SD_EVENT_OFF : SD_EVENT_ON);
}

static void server_turn(Server *server)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;

    (void)MHD_run(server->daemon);
    server_listen(server);
    if (MHD_get_timeout(server->daemon, &wait_ms) != MHD_YES) {
        (void)sd_event_source_set_enabled(server->timer, SD_EVENT_OFF);
        return;
    }
    (void)sd_event_source_set_time_relative(server->timer, (uint64_t)wait_ms * 1000);
    (void)sd_event_source_set_enabled(server->timer, SD_EVENT_ONESHOT);
}

/* Not left to libmicrohttpd: out of descriptors, it would try again without a pause, or never. */
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
        (void)MHD_add_connection(server->daemon, fd, (struct sockaddr *)&address, size); /* takes it, in any case */
        server_turn(server);
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        if (!server->accept_failed)
            log_warning_errno(errno, "Failed to take a connection at %s, trying again every second: %m",
                              server->address);
        server->accept_failed = true;
        (void)sd_event_source_set_time_relative(server->accept_retry, ACCEPT_RETRY_US);
        (void)sd_event_source_set_enabled(server->accept_retry, SD_EVENT_ONESHOT);
        server_listen(server);
    }
    return 0;
}

static int on_accept_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    server_listen(userdata);
    return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    (void)source;
    (void)fd;
    (void)revents;
    server_turn(userdata);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    server_turn(userdata);
    return 0;
}

static int server_add_sources(Server *server, sd_event *event)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    sd_event_source **sources[] = { &server->io, &server->timer, &server->accept, &server->accept_retry };
    int r;

    if (!info)
        return -EIO;
    r = sd_event_add_io(event, &server->io, info->epoll_fd, EPOLLIN, on_io, server);
    if (r >= 0)
        r = sd_event_add_io(event, &server->accept, server->fd, EPOLLIN, on_accept, server);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &server->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, server);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &server->accept_retry, CLOCK_MONOTONIC, 0, 0, on_accept_retry, server);
    /* However many ask, Docker and etcd are served first. */
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(sources); i++)
        r = sd_event_source_set_priority(*sources[i], SERVER_PRIORITY);
    return r < 0 ? r : sd_event_source_set_enabled(server->accept_retry, SD_EVENT_OFF);
}

/* fd: taken. */
static int server_new(Server **ret, sd_event *event, int fd, const char *address, bool is_file, ServerHandler handler,
                      void *userdata)
{
    CLEANUP_CLOSE int owned = fd;
    CLEANUP(server_free_p) Server *server = calloc(1, sizeof(*server));
    int r;

    if (!server)
        return -ENOMEM;
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
                         /* libmicrohttpd's list */
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVER_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)SERVER_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384,
                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
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
    sd_event_source_disable_unref(server->timer);
    sd_event_source_disable_unref(server->accept);
    sd_event_source_disable_unref(server->accept_retry);
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    (void)close(server->fd);
    if (server->is_file && server->address)
        (void)unlink(server->address);
    free(server->address);
    free(server);
    return NULL;
}

/* A socket that nobody answers at was left by an agent that was killed. */
static int remove_dead_socket(const struct sockaddr_un *address)
{
    CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat status;

    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
        return -EADDRINUSE;
    /* What is no socket refuses as well: that file is somebody's. */
    if (errno != ECONNREFUSED || lstat(address->sun_path, &status) < 0)
        return 0;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    return unlink(address->sun_path) < 0 ? -errno : 0;
}

int server_new_unix(Server **ret, sd_event *event, const char *path, ServerHandler handler, void *userdata)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    CLEANUP_FREE char *copy = strdup(path);
    CLEANUP_CLOSE int fd = -1;
    int r, taken;

    if (!copy)
        return -ENOMEM;
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    (void)mkdir(dirname(copy), 0750); /* systemd made it already; what fails here shows at bind() */
    r = remove_dead_socket(&address);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* On the socket before it has a name: there is no moment at which others could connect. */
    if (fchmod(fd, 0660) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    if (chmod(path, 0660) < 0 || listen(fd, SERVER_CONNECTIONS_MAX) < 0) {
        r = -errno;
        (void)unlink(path);
        return r;
    }
    taken = fd;
    fd = -1;
    return server_new(ret, event, taken, path, true, handler, userdata);
}

/* text is cut in two at its last colon. */
static int resolve(char *text, struct addrinfo **ret)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV };
    char *port = strrchr(text, ':'), *host = text;
    size_t size;

    if (!port)
        return -EINVAL;
    *port++ = '\0';
    size = strlen(host);
    if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
        host[size - 1] = '\0';
        host++;
    }
    return getaddrinfo(*host != '\0' ? host : NULL, port, &hints, ret) == 0 ? 0 : -EINVAL;
}

int server_new_tcp(Server **ret, sd_event *event, const char *address, ServerHandler handler, void *userdata)
{
    CLEANUP_FREE char *text = strdup(address);
    CLEANUP_CLOSE int fd = -1;
    struct addrinfo *info = NULL;
    int r = text ? resolve(text, &info) : -ENOMEM, taken;

    if (r < 0)
        return r;
    fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
        bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, SERVER_CONNECTIONS_MAX) < 0)
        r = -errno;
    freeaddrinfo(info);
    if (r < 0)
        return r;
    taken = fd;
    fd = -1;
    return server_new(ret, event, taken, address, false, handler, userdata);
}
