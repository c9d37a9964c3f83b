/* Probes against sockets of the test itself: what each peer does, and which addresses are tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probe/probe.h"
#include "unit/fake_http.h"

enum { QUESTIONS_MAX = 128 };

typedef struct Rig {
    sd_event *event;
    Prober *prober;
    FakeServer *server;
    ProbeQuestion questions[QUESTIONS_MAX]; /* not taken yet, from `next` on */
    size_t n_questions, next;
    unsigned n_open, n_open_max, n_answered;
    ProbeOutcome outcome; /* of the last answer */
    uint64_t ticket;
    uint64_t due_us;
} Rig;

static bool on_next(void *userdata, uint64_t now_us, ProbeQuestion *ret, uint64_t *ret_due_us)
{
    Rig *rig = userdata;

    *ret_due_us = rig->due_us;
    if (rig->next == rig->n_questions || now_us < rig->due_us)
        return false;
    *ret = rig->questions[rig->next++];
    rig->n_open++;
    if (rig->n_open > rig->n_open_max)
        rig->n_open_max = rig->n_open;
    return true;
}

static void on_answered(void *userdata, const ProbeQuestion *question, ProbeOutcome outcome)
{
    Rig *rig = userdata;

    rig->n_open--;
    rig->n_answered++;
    rig->outcome = outcome;
    rig->ticket = question->ticket;
}

/* What the server does is in the path. */
static void serve(FakeConnection *connection, const char *request)
{
    if (strstr(request, "GET /ok ")) {
        char *host = strcasestr(request, "\r\nHost: ");

        assert_non_null(host);
        assert_int_equal(strncmp(host + strlen("\r\nHost: "), connection->server->url + strlen("http://"),
                                 strlen(connection->server->url) - strlen("http://")),
                         0);
        fake_answer(connection, "200 OK", "", "hello");
    } else if (strstr(request, "GET /endless ")) {
        fake_print(connection, "HTTP/1.1 200 OK\r\n\r\nfor ever");
    } else if (strstr(request, "GET /redirect ")) {
        fake_answer(connection, "302 There", "Location: /fail\r\n", "");
    } else if (strstr(request, "GET /long ")) {
        char body[64 * 1024];

        memset(body, 'x', sizeof(body) - 1);
        body[sizeof(body) - 1] = '\0';
        fake_answer(connection, "302 There", "Location: /fail\r\n", body);
    } else if (strstr(request, "GET /garbage ")) {
        fake_print(connection, "what?\r\n\r\n");
    } else if (strstr(request, "GET /close ")) {
        fake_close(connection);
    } else if (!strstr(request, "GET /silent ")) {
        fake_answer(connection, "503 Not yet", "", "booting");
    }
}

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    assert_true(sd_event_new(&rig->event) >= 0);
    rig->server = fake_new(rig->event, NULL, serve, rig);
    assert_int_equal(prober_new(&rig->prober, rig->event, on_next, on_answered, rig), 0);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;

    prober_free(rig->prober);
    fake_free(rig->server);
    sd_event_unref(rig->event);
    free(rig);
    return 0;
}

static uint16_t server_port(const Rig *rig)
{
    return (uint16_t)atoi(strrchr(rig->server->url, ':') + 1);
}

static ProbeTarget at(const char *address, uint16_t port)
{
    ProbeTarget target = { .port = port };

    (void)snprintf(target.address, sizeof(target.address), "%s", address);
    return target;
}

/* A port that is bound, but nobody listens at; *ret_fd keeps it. */
static uint16_t closed_port(int *ret_fd)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(in);

    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(*ret_fd >= 0);
    assert_int_equal(bind(*ret_fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(getsockname(*ret_fd, (struct sockaddr *)&in, &size), 0);
    return ntohs(in.sin_port);
}

static void wait_for_answers(Rig *rig, unsigned n)
{
    while (rig->n_answered < n)
        assert_true(sd_event_run(rig->event, 30 * UINT64_C(1000000)) > 0);
}

static ProbeOutcome ask(Rig *rig, ProbeTarget target, ProbeTarget other, bool other_if_refused, const char *path)
{
    ProbeQuestion *question = &rig->questions[rig->n_questions++];
    unsigned answered = rig->n_answered;

    *question = (ProbeQuestion){
        .target = target, .other = other, .other_if_refused = other_if_refused, .ticket = rig->n_questions
    };
    (void)snprintf(question->path, sizeof(question->path), "%s", path);
    prober_pull(rig->prober);
    assert_int_equal(rig->n_answered, answered); /* never from within the call */
    wait_for_answers(rig, answered + 1);
    assert_int_equal(rig->ticket, rig->n_questions);
    return rig->outcome;
}

static const ProbeTarget nowhere = { .port = 0 };
/* No host has a route to it. */
#define UNREACHABLE at("255.255.255.255", 80)

static void an_open_port(void **state)
{
    Rig *rig = *state;

    assert_int_equal(ask(rig, at("127.0.0.1", server_port(rig)), nowhere, false, ""), PROBE_OPEN);
}

static void a_closed_port_and_only_that(void **state)
{
    Rig *rig = *state;
    int fd;
    uint16_t port = closed_port(&fd);

    /* The published address accepts connections although the container does not. */
    assert_int_equal(ask(rig, at("127.0.0.1", port), at("127.0.0.1", server_port(rig)), false, ""), PROBE_REFUSED);
    assert_int_equal(rig->server->accepted, 0);
    close(fd);
}

static void either_address_of_the_host(void **state)
{
    Rig *rig = *state;
    int fd;
    uint16_t port = closed_port(&fd);

    assert_int_equal(ask(rig, at("127.0.0.1", port), at("127.0.0.1", server_port(rig)), true, ""), PROBE_OPEN);
    assert_int_equal(ask(rig, at("127.0.0.1", port), at("127.0.0.1", port), true, ""), PROBE_REFUSED);
    assert_int_equal(ask(rig, at("127.0.0.1", port), UNREACHABLE, true, ""), PROBE_REFUSED);
    close(fd);
}

static void unreachable_then_the_published_address(void **state)
{
    Rig *rig = *state;
    int fd;
    uint16_t port = closed_port(&fd);

    assert_int_equal(ask(rig, UNREACHABLE, at("127.0.0.1", server_port(rig)), false, ""), PROBE_OPEN);
    assert_int_equal(ask(rig, UNREACHABLE, at("127.0.0.1", port), false, ""), PROBE_REFUSED);
    assert_int_equal(ask(rig, UNREACHABLE, UNREACHABLE, false, ""), PROBE_SILENT);
    assert_int_equal(ask(rig, UNREACHABLE, nowhere, false, ""), PROBE_SILENT);
    assert_int_equal(ask(rig, nowhere, at("127.0.0.1", server_port(rig)), false, ""), PROBE_OPEN);
    assert_int_equal(ask(rig, UNREACHABLE, at("127.0.0.1", server_port(rig)), false, "/ok"), PROBE_OPEN);
    assert_int_equal(ask(rig, UNREACHABLE, UNREACHABLE, false, "/ok"), PROBE_SILENT);
    close(fd);
}

/* A listener whose queue is full takes no further connection, and says nothing. */
static void silence_ends(void **state)
{
    Rig *rig = *state;
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(in);
    int fds[8], fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], (struct sockaddr *)&in, sizeof(in));
    }
    assert_int_equal(ask(rig, at("127.0.0.1", ntohs(in.sin_port)), nowhere, false, ""), PROBE_SILENT);
    assert_int_equal(ask(rig, at("127.0.0.1", ntohs(in.sin_port)), nowhere, false, "/ok"), PROBE_SILENT);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);
    close(fd);
}

static void each_answer_of_a_server_has_its_outcome(void **state)
{
    static const struct {
        const char *path;
        ProbeOutcome outcome;
    } answers[] = {
        { "/ok", PROBE_OPEN },       { "/endless", PROBE_OPEN },   { "/redirect", PROBE_OPEN },
        { "/long", PROBE_OPEN },     { "/fail", PROBE_REFUSED },   { "/garbage", PROBE_REFUSED },
        { "/close", PROBE_REFUSED }, { "/silent", PROBE_REFUSED },
    };
    Rig *rig = *state;

    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        assert_int_equal(ask(rig, at("127.0.0.1", server_port(rig)), nowhere, false, answers[i].path),
                         answers[i].outcome);
        assert_int_equal(rig->server->requests, i + 1); /* no redirect was followed */
    }
}

static void no_more_than_64_at_once(void **state)
{
    Rig *rig = *state;

    for (; rig->n_questions < QUESTIONS_MAX; rig->n_questions++)
        rig->questions[rig->n_questions].target = at("127.0.0.1", server_port(rig));
    prober_pull(rig->prober);
    wait_for_answers(rig, QUESTIONS_MAX);
    assert_int_equal(rig->n_open_max, PROBES_AT_ONCE);
}

static void a_probe_waits_for_its_time(void **state)
{
    Rig *rig = *state;
    uint64_t now_us;

    assert_true(sd_event_now(rig->event, CLOCK_BOOTTIME, &now_us) >= 0);
    rig->due_us = now_us + 20000;
    (void)ask(rig, at("127.0.0.1", server_port(rig)), nowhere, false, "");
    assert_true(sd_event_now(rig->event, CLOCK_BOOTTIME, &now_us) >= 0);
    assert_true(now_us >= rig->due_us);
}

/* The rest of a probe that is under way when its prober goes is nobody's. */
static void freed_while_probing(void **state)
{
    Rig *rig = *state;

    rig->questions[0].target = rig->questions[1].target = at("127.0.0.1", server_port(rig));
    (void)snprintf(rig->questions[1].path, sizeof(rig->questions[1].path), "/silent");
    rig->n_questions = 2;
    prober_pull(rig->prober);
    while (rig->next < 2)
        assert_true(sd_event_run(rig->event, 30 * UINT64_C(1000000)) > 0);
    rig->prober = prober_free(rig->prober);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_open_port),
        TEST(a_closed_port_and_only_that),
        TEST(either_address_of_the_host),
        TEST(unreachable_then_the_published_address),
        TEST(silence_ends),
        TEST(each_answer_of_a_server_has_its_outcome),
        TEST(no_more_than_64_at_once),
        TEST(a_probe_waits_for_its_time),
        TEST(freed_while_probing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
