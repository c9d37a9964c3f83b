/* The floor that the agent is held against: the least that can be done, with nothing checked, nothing parsed
 * that need not be (of an inspect it reads no more than its end), blocking calls and one kept-alive connection to etcd.
 *
 *   floor events SOCKET ADDRESS PORT NAME PREFIX    at the container's start inspects it and puts PREFIX/NAME, and
 *                                                   deletes the key at its kill or die
 *   floor cold SOCKET ADDRESS PORT PREFIX N         one list, read and not looked at, then N puts in transactions
 *                                                   of 125
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BATCH = 125 };

static int connect_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        err(1, "%s", path);
    return fd;
}

static int connect_tcp(const char *ip, const char *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (inet_pton(AF_INET, ip, &address.sin_addr) != 1)
        errx(1, "'%s' is no address", ip);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        err(1, "%s:%s", ip, port);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);

        if (n < 0)
            err(1, "write");
        data += n;
        size -= (size_t)n;
    }
}

static size_t base64(char *out, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t size = strlen(text), n = 0;

    for (size_t i = 0; i < size; i += 3) {
        unsigned a = (unsigned char)text[i];
        unsigned b = i + 1 < size ? (unsigned char)text[i + 1] : 0;
        unsigned c = i + 2 < size ? (unsigned char)text[i + 2] : 0;

        out[n++] = digits[a >> 2];
        out[n++] = digits[(a & 3) << 4 | b >> 4];
        out[n++] = digits[(b & 15) << 2 | c >> 6];
        out[n++] = digits[c & 63];
        if (i + 1 >= size)
            out[n - 2] = '=';
        if (i + 2 >= size)
            out[n - 1] = '=';
    }
    out[n] = '\0';
    return n;
}

/* Sends a request in one write and reads the answer: headers and as many bytes as they say. */
static void ask(int fd, const char *method, const char *path, const char *body)
{
    static char buffer[65536];
    char *begin, *length;
    size_t size = 0;
    int n = snprintf(buffer, sizeof(buffer), "%s %s HTTP/1.1\r\nHost: floor\r\nContent-Length: %zu\r\n\r\n%s", method,
                     path, strlen(body), body);

    send_all(fd, buffer, (size_t)n);
    for (;;) {
        ssize_t got = read(fd, buffer + size, sizeof(buffer) - size - 1);

        if (got <= 0)
            errx(1, "%s: the connection was closed", path);
        size += (size_t)got;
        buffer[size] = '\0';
        begin = strstr(buffer, "\r\n\r\n");
        if (!begin)
            continue;
        if (strncmp(buffer, "HTTP/1.1 200", 12) != 0)
            errx(1, "%s: %s", path, buffer);
        length = strcasestr(buffer, "\r\nContent-Length: ");
        if (length && length < begin ? size >= (size_t)(begin + 4 - buffer) + strtoul(length + 18, NULL, 10)
                                     : strcmp(buffer + size - 5, "0\r\n\r\n") == 0)
            return;
    }
}

static void watch_events(int docker, int questions, int etcd, const char *name, const char *prefix)
{
    static char buffer[65536];
    char wanted[128], inspect[128], key[256], encoded[512], put[1024], delete[1024];
    size_t size = 0;
    bool there = false;

    snprintf(buffer, sizeof(buffer),
             "GET /events?filters=%%7B%%22type%%22%%3A%%5B%%22container%%22%%5D%%2C%%22event%%22%%3A%%5B%%22start%%22"
             "%%2C%%22kill%%22%%2C%%22die%%22%%5D%%7D HTTP/1.1\r\nHost: docker\r\n\r\n");
    send_all(docker, buffer, strlen(buffer));
    snprintf(wanted, sizeof(wanted), "\"name\":\"%s\"", name);
    snprintf(inspect, sizeof(inspect), "/containers/%s/json", name);
    snprintf(key, sizeof(key), "%s/%s", prefix, name);
    base64(encoded, key);
    /* A value of the agent's length, 192.0.2.11:32768. */
    snprintf(put, sizeof(put), "{\"key\":\"%s\",\"value\":\"MTkyLjAuMi4xMTozMjc2OA==\"}", encoded);
    snprintf(delete, sizeof(delete), "{\"key\":\"%s\"}", encoded);

    for (;;) {
        ssize_t n = read(docker, buffer + size, sizeof(buffer) - size - 1);
        char *line = buffer, *end;

        if (n <= 0)
            errx(1, "no more events");
        size += (size_t)n;
        buffer[size] = '\0';
        while ((end = strchr(line, '\n'))) {
            *end = '\0';
            bool start = strstr(line, "\"Action\":\"start\"");

            if (strstr(line, wanted) && start != there) {
                if (start)
                    ask(questions, "GET", inspect, "");
                ask(etcd, "POST", start ? "/v3/kv/put" : "/v3/kv/deleterange", start ? put : delete);
                there = start;
            }
            line = end + 1;
        }
        size -= (size_t)(line - buffer);
        memmove(buffer, line, size);
    }
}

static void cold(int docker, int etcd, const char *prefix, int n)
{
    static const char list[] = "GET /containers/json HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n";
    static char answer[65536], body[60000];
    char key[256], value[64], key64[512], value64[128];

    send_all(docker, list, strlen(list));
    while (read(docker, answer, sizeof(answer)) > 0)
        ;
    for (int i = 0; i < n;) {
        size_t size = (size_t)sprintf(body, "{\"success\":[");

        for (int j = 0; j < BATCH && i < n; i++, j++) {
            snprintf(key, sizeof(key), "%s/web-%05d", prefix, i);
            snprintf(value, sizeof(value), "192.0.2.12:%d", 32768 + i);
            base64(key64, key);
            base64(value64, value);
            size += (size_t)snprintf(body + size, sizeof(body) - size,
                                     "%s{\"request_put\":{\"key\":\"%s\",\"value\":\"%s\"}}", j > 0 ? "," : "", key64,
                                     value64);
        }
        snprintf(body + size, sizeof(body) - size, "]}");
        ask(etcd, "POST", "/v3/kv/txn", body);
    }
}

int main(int argc, char **argv)
{
    if (argc != 7)
        errx(1, "usage: see the head of floor.c");
    int docker = connect_unix(argv[2]);
    int etcd = connect_tcp(argv[3], argv[4]);

    if (strcmp(argv[1], "events") == 0)
        watch_events(docker, connect_unix(argv[2]), etcd, argv[5], argv[6]);
    else
        cold(docker, etcd, argv[5], atoi(argv[6]));
    return 0;
}
