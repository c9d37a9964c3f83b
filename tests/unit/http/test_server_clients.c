/* A server's clients: deadlines, and places. */
#include "http/server_clients.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

enum { N_MAX = 8, SECOND = 1000000 };

typedef struct Rig {
    ServerClients clients;
    ServerClient *client[N_MAX];
    int peer_fd[N_MAX];
    size_t n;
} Rig;

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    server_clients_init(&rig->clients);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;

    for (size_t i = 0; i < rig->n; i++) {
        close(rig->client[i]->fd);
        close(rig->peer_fd[i]);
        server_clients_remove(&rig->clients, rig->client[i]);
    }
    assert_int_equal(rig->clients.n, 0);
    free(rig);
    return 0;
}

static ServerClient *add(Rig *rig, unsigned char peer, uint64_t now_us)
{
    int fds[2];
    ServerClient *client;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    client = server_clients_add(&rig->clients, fds[0], now_us);
    assert_non_null(client);
    client->peer[0] = peer;
    rig->client[rig->n] = client;
    rig->peer_fd[rig->n++] = fds[1];
    return client;
}

static bool is_cut(const Rig *rig, size_t i)
{
    char byte;

    return recv(rig->peer_fd[i], &byte, 1, MSG_DONTWAIT) == 0;
}

/* One byte now and then does not help: only the time since accept() counts. */
static void client_ends_at_its_deadline(void **state)
{
    Rig *rig = *state;

    assert_int_equal(server_clients_end_old(&rig->clients, 0, 10 * SECOND), 0);
    (void)add(rig, 1, 5 * SECOND);
    (void)add(rig, 1, 7 * SECOND);
    assert_int_equal(server_clients_end_old(&rig->clients, 14 * SECOND, 10 * SECOND), 15 * SECOND);
    assert_false(is_cut(rig, 0));
    assert_int_equal(server_clients_end_old(&rig->clients, 15 * SECOND, 10 * SECOND), 17 * SECOND);
    assert_true(is_cut(rig, 0));
    assert_false(is_cut(rig, 1));
    assert_int_equal(rig->clients.n, 1);
    assert_int_equal(server_clients_end_old(&rig->clients, 99 * SECOND, 10 * SECOND), 0);
    assert_true(is_cut(rig, 1));
    assert_int_equal(rig->clients.n, 0);
}

static void peer_with_the_most_connections_loses_its_oldest(void **state)
{
    Rig *rig = *state;
    static const unsigned char peers[] = { 1, 2, 2, 3, 2 };

    for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
        (void)add(rig, peers[i], i);
    server_clients_make_room(&rig->clients, 6);
    assert_int_equal(rig->clients.n, 5);
    server_clients_make_room(&rig->clients, 5);
    assert_int_equal(rig->clients.n, 4);
    assert_true(is_cut(rig, 1));
    server_clients_make_room(&rig->clients, 4);
    assert_true(is_cut(rig, 2));
    /* All have one: the oldest. */
    server_clients_make_room(&rig->clients, 3);
    assert_true(is_cut(rig, 0));
    assert_false(is_cut(rig, 3));
    assert_false(is_cut(rig, 4));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(client_ends_at_its_deadline),
        TEST(peer_with_the_most_connections_loses_its_oldest),
    };

    return cmocka_run_group_tests_name("server clients", tests, NULL, NULL);
}
