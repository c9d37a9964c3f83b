/* A plain HTTP client for servers that turn on the test's own loop. */
#pragma once

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include <unistd.h>

enum { CLIENT_ANSWER_MAX = 65536, CLIENT_TURNS_MAX = 5000 };

static inline int client_connect_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static inline bool client_send(int fd, const char *text)
{
    return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

static inline bool client_is_whole(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n"), *length = strcasestr(answer, "Content-Length:");

    return end && length && strlen(end + 4) >= strtoul(length + strlen("Content-Length:"), NULL, 10);
}

/* Turns the loop until an answer is there as a whole, or the peer has closed; malloc'd. */
static inline char *client_read(sd_event *event, int fd)
{
    char *answer = calloc(1, CLIENT_ANSWER_MAX);
    size_t size = 0;

    for (int turn = 0; answer && turn < CLIENT_TURNS_MAX && !client_is_whole(answer); turn++) {
        ssize_t n = recv(fd, answer + size, CLIENT_ANSWER_MAX - 1 - size, MSG_DONTWAIT);
        if (n > 0)
            size += (size_t)n;
        else if (n == 0 || errno != EAGAIN || sd_event_run(event, 10000) < 0)
            break;
    }
    return answer;
}
