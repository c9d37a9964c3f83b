/* The sockets of a server: unix and TCP. */
#include "http/server_private.h"

#include <errno.h>
#include <libgen.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A killed agent leaves its socket file, at which no process answers. */
static int remove_dead_socket(const struct sockaddr_un *address)
{
    CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat status;

    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
        return -EADDRINUSE;
    /* connect() to a file that is not a socket also fails. Such a file belongs to another program. */
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
    (void)mkdir(dirname(copy), 0750); /* usually systemd has created the directory; bind() reports an error */
    r = remove_dead_socket(&address);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* Before bind() gives the socket a name, so that no other user can connect in between. */
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

/* Cuts text in two at its last colon. */
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
