/* The HTTP server: whose socket it is, and what clients can do that mean no good. */
#include "http/server.h"

#include "unit/client.h"
#include "unit/scratch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <cmocka.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

typedef struct Rig {
    sd_event *event;
    Server *server;
    char directory[SCRATCH_MAX], path[SCRATCH_MAX + 32];
    size_t n_requests;
    SharedText *shared; /* the answer, if any */
    char told[256]; /* method, path and body of the last one */
} Rig;

static void on_request(void *userdata, const ServerRequest *request, ServerReply *reply)
{
    Rig *rig = userdata;

    rig->n_requests++;
    (void)snprintf(rig->told, sizeof(rig->told), "%s %s %.100s", request->method, request->path, request->body);
    reply->status = 200;
    reply->content_type = "text/plain";
    if (rig->shared)
        reply->shared = shared_text_ref(rig->shared);
    else
        reply->body = strdup("hello");
}

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    scratch_template(rig->directory);
    assert_non_null(mkdtemp(rig->directory));
    (void)snprintf(rig->path, sizeof(rig->path), "%s/socket", rig->directory);
    assert_true(sd_event_new(&rig->event) >= 0);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;

    server_free(rig->server);
    sd_event_unref(rig->event);
    (void)unlink(rig->path);
    (void)rmdir(rig->directory);
    free(rig);
    return 0;
}

static int open_server(Rig *rig)
{
    return server_new_unix(&rig->server, rig->event, rig->path, on_request, rig);
}

static void assert_answer(Rig *rig, int fd, const char *expected)
{
    CLEANUP_FREE char *answer = client_read(rig->event, fd);

    assert_non_null(answer);
    if (!strstr(answer, expected))
        fail_msg("'%s' is not in '%s'", expected, answer);
}

static void assert_served(Rig *rig)
{
    CLEANUP_CLOSE int fd = client_connect_unix(rig->path);

    assert_true(fd >= 0);
    assert_true(client_send(fd, GET("/x")));
    assert_answer(rig, fd, "hello");
}

/* A text of more than one block, read by two clients. */
static void shared_text_is_sent_whole_and_given_back(void **state)
{
    enum { SIZE = 50000 };
    Rig *rig = *state;
    char *text = calloc(1, SIZE + 1);
    CLEANUP(shared_text_unref_p) SharedText *shared = NULL;
    int fds[2];

    assert_non_null(text);
    memset(text, 'x', SIZE - 4);
    memcpy(text + SIZE - 4, "last", 4);
    shared = rig->shared = shared_text_new(text);
    assert_non_null(shared);
    assert_int_equal(open_server(rig), 0);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = client_connect_unix(rig->path);
        assert_true(client_send(fds[i], GET("/x")));
    }
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        CLEANUP_FREE char *answer = client_read(rig->event, fds[i]);

        assert_non_null(answer);
        assert_non_null(strstr(answer, "Content-Length: 50000\r\n"));
        assert_string_equal(strstr(answer, "\r\n\r\n") + 4, text);
        close(fds[i]);
    }
    rig->server = server_free(rig->server);
    assert_int_equal(shared->n_owners, 1);
}

/* The socket's file */

static void socket_is_its_owners_and_groups_and_goes_with_the_server(void **state)
{
    Rig *rig = *state;
    mode_t mask = umask(0);
    struct stat status;

    assert_int_equal(open_server(rig), 0);
    umask(mask);
    assert_int_equal(stat(rig->path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 07777, 0660);
    assert_served(rig);
    assert_string_equal(rig->told, "GET /x ");
    rig->server = server_free(rig->server);
    assert_int_equal(stat(rig->path, &status), -1);
}

static void dead_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    Rig *rig = *state;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    Server *other = NULL;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", rig->path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    close(fd); /* as kill -9 does */
    assert_int_equal(open_server(rig), 0);
    assert_int_equal(server_new_unix(&other, rig->event, rig->path, on_request, rig), -EADDRINUSE);
    assert_null(other);
    assert_served(rig);
}

static void file_that_is_no_socket_stays(void **state)
{
    Rig *rig = *state;
    CLEANUP_CLOSE int fd = open(rig->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    struct stat status;

    assert_int_equal(write(fd, "precious", 8), 8);
    assert_int_equal(open_server(rig), -EEXIST);
    assert_null(rig->server);
    assert_int_equal(stat(rig->path, &status), 0);
    assert_int_equal(status.st_size, 8);
    assert_int_equal(unlink(rig->path), 0);
    assert_int_equal(mkdir(rig->path, 0700), 0);
    assert_int_equal(open_server(rig), -EEXIST);
    assert_int_equal(rmdir(rig->path), 0);
}

static void directory_is_made_but_no_tree(void **state)
{
    Rig *rig = *state;

    (void)snprintf(rig->path, sizeof(rig->path), "%s/a/b/socket", rig->directory);
    assert_int_equal(open_server(rig), -ENOENT);
    (void)snprintf(rig->path, sizeof(rig->path), "%s/a/socket", rig->directory);
    assert_int_equal(open_server(rig), 0);
    assert_served(rig);
    rig->server = server_free(rig->server);
    (void)snprintf(rig->path, sizeof(rig->path), "%s/a", rig->directory);
    assert_int_equal(rmdir(rig->path), 0);
}

static void both_families_are_listened_at(void **state)
{
    Rig *rig = *state;
    static const char *const addresses[] = { "127.0.0.1:0", "[::1]:0" };

    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
        assert_int_equal(server_new_tcp(&rig->server, rig->event, addresses[i], on_request, rig), 0);
        rig->server = server_free(rig->server);
    }
    assert_int_equal(server_new_tcp(&rig->server, rig->event, "192.0.2.77:9", on_request, rig), -EADDRNOTAVAIL);
    assert_int_equal(server_new_tcp(&rig->server, rig->event, "nonsense", on_request, rig), -EINVAL);
}

/* Clients */

static void silent_clients_delay_no_other(void **state)
{
    Rig *rig = *state;
    int silent[SERVER_CONNECTIONS_MAX - 1];

    assert_int_equal(open_server(rig), 0);
    for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
        silent[i] = client_connect_unix(rig->path);
        assert_true(silent[i] >= 0);
        assert_true(client_send(silent[i], i % 2 == 0 ? "GET /slow HTTP/1.1\r\nHo"
                                                      : "POST /x HTTP/1.1\r\nHost: x\r\n"
                                                        "Content-Length: 100\r\n\r\nhalf"));
    }
    assert_served(rig);
    assert_int_equal(rig->n_requests, 1);
    for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
        close(silent[i]);
    assert_served(rig);
}

static int connect_tcp(const char *from, const char *to, uint16_t port)
{
    struct sockaddr_in source = { .sin_family = AF_INET }, target = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(inet_pton(AF_INET, from, &source.sin_addr), 1);
    assert_int_equal(inet_pton(AF_INET, to, &target.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&source, sizeof(source)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&target, sizeof(target)), 0);
    return fd;
}

/* A port that nobody had a moment ago. */
static uint16_t open_tcp_server(Rig *rig)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof(address);
    char text[32];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    (void)snprintf(text, sizeof(text), "0.0.0.0:%u", ntohs(address.sin_port));
    assert_int_equal(server_new_tcp(&rig->server, rig->event, text, on_request, rig), 0);
    return ntohs(address.sin_port);
}

static void turn(Rig *rig, int n)
{
    for (int i = 0; i < n; i++)
        assert_true(sd_event_run(rig->event, 1000) >= 0);
}

static bool is_cut(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);

    return n == 0 || (n < 0 && errno != EAGAIN);
}

/* As many as there are places, and none of them says more than half a request. */
static void many_connections_of_one_client_exclude_no_other(void **state)
{
    Rig *rig = *state;
    int crowd[SERVER_CONNECTIONS_MAX];
    uint16_t port = open_tcp_server(rig);
    CLEANUP_CLOSE int modest = connect_tcp("127.0.0.3", "127.0.0.1", port);
    size_t n_cut = 0;

    assert_true(client_send(modest, "GET /slow HTTP/1.1\r\nHo"));
    turn(rig, 3);
    for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
        crowd[i] = connect_tcp("127.0.0.2", "127.0.0.1", port);
        assert_true(client_send(crowd[i], "GET /slow HTTP/1.1\r\nHo"));
        turn(rig, 3);
    }
    for (size_t round = 1; round <= 5; round++) {
        CLEANUP_CLOSE int other = connect_tcp("127.0.0.4", "127.0.0.1", port);
        CLEANUP_CLOSE int again = connect_tcp("127.0.0.2", "127.0.0.1", port);

        assert_true(client_send(other, GET("/x")));
        assert_answer(rig, other, "hello");
        assert_true(client_send(again, GET("/x")));
        assert_answer(rig, again, "hello");
    }
    /* The crowd made the room, its oldest first. */
    assert_false(is_cut(modest));
    assert_true(is_cut(crowd[0]));
    assert_false(is_cut(crowd[ARRAY_SIZE(crowd) - 1]));
    for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
        n_cut += is_cut(crowd[i]);
        close(crowd[i]);
    }
    assert_in_range(n_cut, 2, ARRAY_SIZE(crowd) - 1);
    assert_true(client_send(modest, "st: x\r\n\r\n"));
    assert_answer(rig, modest, "hello");
}

/* Kept-alive ones, which have had their answers, go as well. */
static void many_connections_of_one_user_exclude_no_other(void **state)
{
    Rig *rig = *state;
    int crowd[SERVER_CONNECTIONS_MAX];

    assert_int_equal(open_server(rig), 0);
    for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
        crowd[i] = client_connect_unix(rig->path);
        assert_true(client_send(crowd[i], GET("/x")));
        assert_answer(rig, crowd[i], "hello");
    }
    assert_served(rig);
    assert_true(is_cut(crowd[0]));
    for (size_t i = 0; i < ARRAY_SIZE(crowd); i++)
        close(crowd[i]);
}

/* A page of a stranger whose name leads here reads nothing. */
static void stranger_name_is_not_served_at_loopback(void **state)
{
    Rig *rig = *state;
    uint16_t port = open_tcp_server(rig);
    static const struct {
        const char *host, *answer;
    } cases[] = {
        { "evil.example:9182", "HTTP/1.1 421 " },
        { "127.0.0.1.evil.example", "HTTP/1.1 421 " },
        { "[::1].evil.example", "HTTP/1.1 421 " },
        { "localhost.evil.example", "HTTP/1.1 421 " },
        { "[evil]", "HTTP/1.1 421 " },
        { "127.0.0.1:9182", "HTTP/1.1 200 " },
        { "192.0.2.1", "HTTP/1.1 200 " },
        { "[::1]:9182", "HTTP/1.1 200 " },
        { "LocalHost:9182", "HTTP/1.1 200 " },
        { "com.", "HTTP/1.1 421 " },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_CLOSE int fd = connect_tcp("127.0.0.1", "127.0.0.1", port);
        char request[128];

        (void)snprintf(request, sizeof(request), "GET /status HTTP/1.1\r\nHost: %s\r\n\r\n", cases[i].host);
        assert_true(client_send(fd, request));
        assert_answer(rig, fd, cases[i].answer);
    }
    assert_int_equal(rig->n_requests, 4);
}

static void long_bodies_are_refused(void **state)
{
    Rig *rig = *state;
    CLEANUP_CLOSE int fd = -1;
    CLEANUP_FREE char *body = calloc(1, SERVER_BODY_MAX + 2);
    char head[128];

    assert_int_equal(open_server(rig), 0);
    for (size_t size = SERVER_BODY_MAX; size <= SERVER_BODY_MAX + 1; size++) {
        if (fd >= 0)
            close(fd);
        fd = client_connect_unix(rig->path);
        memset(body, 'x', size);
        (void)snprintf(head, sizeof(head), "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", size);
        assert_true(client_send(fd, head));
        for (size_t sent = 0; sent < size;) {
            ssize_t n = send(fd, body + sent, size - sent, MSG_NOSIGNAL);
            if (n > 0)
                sent += (size_t)n;
            else
                assert_true(sd_event_run(rig->event, 1000) >= 0);
        }
        assert_answer(rig, fd, size <= SERVER_BODY_MAX ? "hello" : "HTTP/1.1 413 ");
    }
    assert_int_equal(rig->n_requests, 1);
}

static int on_other(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    uint64_t value;
    size_t *n_other = userdata;

    (void)source;
    (void)revents;
    assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
    ++*n_other;
    return 0;
}

/* Docker's and etcd's answers go first, whoever asks. */
static void others_on_the_loop_go_first(void **state)
{
    Rig *rig = *state;
    CLEANUP_CLOSE int fd = -1;
    CLEANUP_CLOSE int other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sd_event_source *source = NULL;
    size_t n_other = 0;
    uint64_t one = 1;

    assert_int_equal(open_server(rig), 0);
    assert_true(sd_event_add_io(rig->event, &source, other, EPOLLIN, on_other, &n_other) >= 0);
    for (size_t round = 1; round <= 50; round++) {
        fd = client_connect_unix(rig->path);
        assert_true(client_send(fd, GET("/x")));
        assert_int_equal(write(other, &one, sizeof(one)), sizeof(one));
        while (rig->n_requests < round) {
            assert_true(sd_event_run(rig->event, 10000000) > 0);
            assert_int_equal(n_other, round);
        }
        assert_answer(rig, fd, "hello");
        close(fd);
        fd = -1;
    }
    sd_event_source_unref(source);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(shared_text_is_sent_whole_and_given_back),
        TEST(socket_is_its_owners_and_groups_and_goes_with_the_server),
        TEST(dead_socket_is_replaced_and_a_live_one_is_not),
        TEST(file_that_is_no_socket_stays),
        TEST(directory_is_made_but_no_tree),
        TEST(both_families_are_listened_at),
        TEST(silent_clients_delay_no_other),
        TEST(many_connections_of_one_client_exclude_no_other),
        TEST(many_connections_of_one_user_exclude_no_other),
        TEST(stranger_name_is_not_served_at_loopback),
        TEST(long_bodies_are_refused),
        TEST(others_on_the_loop_go_first),
    };

    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
