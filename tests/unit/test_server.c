/* The HTTP server: whose socket it is, and what clients can do that mean no good. */
#include "server.h"

#include "client.h"
#include "scratch.h"

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
    char told[256]; /* method, path and body of the last one */
} Rig;

static void on_request(void *userdata, const ServerRequest *request, ServerReply *reply)
{
    Rig *rig = userdata;

    rig->n_requests++;
    (void)snprintf(rig->told, sizeof(rig->told), "%s %s %.100s", request->method, request->path, request->body);
    reply->status = 200;
    reply->content_type = "text/plain";
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

static void silent_clients_keep_nobody_waiting(void **state)
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

static void more_clients_than_places_wait_for_one(void **state)
{
    Rig *rig = *state;
    int crowd[SERVER_CONNECTIONS_MAX];
    CLEANUP_CLOSE int late = -1;

    assert_int_equal(open_server(rig), 0);
    for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
        crowd[i] = client_connect_unix(rig->path);
        assert_true(client_send(crowd[i], GET("/x")));
        assert_answer(rig, crowd[i], "hello"); /* and kept alive */
    }
    late = client_connect_unix(rig->path);
    assert_true(client_send(late, GET("/late")));
    for (int i = 0; i < 20; i++)
        assert_true(sd_event_run(rig->event, 1000) >= 0);
    assert_string_equal(rig->told, "GET /x ");
    close(crowd[0]);
    assert_answer(rig, late, "hello");
    assert_string_equal(rig->told, "GET /late ");
    for (size_t i = 1; i < ARRAY_SIZE(crowd); i++)
        close(crowd[i]);
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
        TEST(socket_is_its_owners_and_groups_and_goes_with_the_server),
        TEST(dead_socket_is_replaced_and_a_live_one_is_not),
        TEST(file_that_is_no_socket_stays),
        TEST(directory_is_made_but_no_tree),
        TEST(both_families_are_listened_at),
        TEST(silent_clients_keep_nobody_waiting),
        TEST(more_clients_than_places_wait_for_one),
        TEST(long_bodies_are_refused),
        TEST(others_on_the_loop_go_first),
    };

    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
