/* The control socket's commands, on a catalog of the test's own. */
#include "control.h"

#include "client.h"
#include "log.h"
#include "metrics.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ID_1 "1111111111111111111111111111111111111111111111111111111111111111"

typedef struct Rig {
    sd_event *event;
    Template *key, *value, *service;
    Rules rules;
    Catalog *catalog;
    Control *control;
    const char *node, *docker_why;
    AgentCounters counters;
    size_t n_rendered;
    char directory[SCRATCH_MAX], path[SCRATCH_MAX + 32], drained[SCRATCH_MAX + 32], other_path[SCRATCH_MAX + 32],
        other_drained[SCRATCH_MAX + 32];
} Rig;

static void on_want(void *userdata, const CatalogEntry *entry, const char *key, const char *value)
{
    (void)userdata;
    (void)entry;
    (void)key;
    (void)value;
}

static void on_unwant(void *userdata, const CatalogEntry *entry, const char *key, const char *after)
{
    (void)userdata;
    (void)entry;
    (void)key;
    (void)after;
}

static void on_duplicate(void *userdata, const CatalogEntry *entry, const char *key)
{
    (void)userdata;
    (void)entry;
    (void)key;
}

static bool on_inspect(void *userdata, const char *id, uint64_t ticket)
{
    (void)userdata;
    (void)id;
    (void)ticket;
    return true;
}

static StatusSource source(void *userdata)
{
    Rig *rig = userdata;

    rig->n_rendered++;
    return (StatusSource){ .node = rig->node,
                           .docker_url = "unix:///d",
                           .docker_api = "1.41",
                           .docker_why = rig->docker_why,
                           .counters = &rig->counters,
                           .ttl_s = 30,
                           .host_drained = catalog_is_host_drained(rig->catalog),
                           .catalog = rig->catalog };
}

static Template *compiled(const char *text)
{
    Template *template = NULL;
    CLEANUP_FREE char *error = NULL;

    assert_int_equal(template_compile(&template, text, &error), 0);
    return template;
}

/* A list of one container, "web"; as after the start of an agent. */
static void new_catalog(Rig *rig)
{
    static const char listed[] =
        "{\"Id\":\"" ID_1 "\",\"Names\":[\"/web\"],\"State\":\"running\",\"Status\":\"Up 2 seconds\",\"Ports\":["
        "{\"IP\":\"0.0.0.0\",\"PrivatePort\":80,\"PublicPort\":32768,\"Type\":\"tcp\"}]}";
    CatalogSink sink = { .want = on_want, .unwant = on_unwant, .duplicate = on_duplicate, .inspect = on_inspect };
    Container *container = NULL;

    catalog_free(rig->catalog);
    assert_int_equal(catalog_new(&rig->catalog, &rig->rules, false, &sink), 0);
    assert_int_equal(container_from_list(&container, listed, strlen(listed), NULL), 0);
    catalog_list_begin(rig->catalog);
    catalog_listed(rig->catalog, container);
    catalog_list_end(rig->catalog, true);
}

static int open_control(Rig *rig, const char *listen)
{
    return control_new(&rig->control, rig->event, rig->path, listen, rig->catalog, source, rig);
}

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    log_set_level(-1);
    unsetenv("STATE_DIRECTORY");
    rig->node = "n";
    rig->key = compiled("/app/{service}/{name}");
    rig->value = compiled("{address}:{port}");
    rig->service = compiled("servers");
    rig->rules =
        (Rules){ .key = rig->key, .value = rig->value, .service = rig->service, .node = "n", .address4 = "192.0.2.1" };
    scratch_template(rig->directory);
    assert_non_null(mkdtemp(rig->directory));
    (void)snprintf(rig->path, sizeof(rig->path), "%s/socket", rig->directory);
    (void)snprintf(rig->drained, sizeof(rig->drained), "%s/drained", rig->directory);
    (void)snprintf(rig->other_path, sizeof(rig->other_path), "%s/o/socket", rig->directory);
    (void)snprintf(rig->other_drained, sizeof(rig->other_drained), "%s/o/drained", rig->directory);
    assert_true(sd_event_new(&rig->event) >= 0);
    new_catalog(rig);
    assert_int_equal(open_control(rig, NULL), 0);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;

    control_free(rig->control);
    catalog_free(rig->catalog);
    template_free(rig->key);
    template_free(rig->value);
    template_free(rig->service);
    sd_event_unref(rig->event);
    (void)unlink(rig->drained);
    (void)unlink(rig->other_drained);
    (void)snprintf(rig->path, sizeof(rig->path), "%s/o", rig->directory);
    (void)rmdir(rig->path);
    (void)rmdir(rig->directory);
    free(rig);
    return 0;
}

static char *ask_at(Rig *rig, int fd, const char *method, const char *path, const char *body)
{
    CLEANUP_CLOSE int owned = fd;
    char request[512];

    assert_true(fd >= 0);
    (void)snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", method, path,
                   strlen(body), body);
    assert_true(client_send(owned, request));
    return client_read(rig->event, owned);
}

static void expect(Rig *rig, const char *method, const char *path, const char *body, const char *expected)
{
    CLEANUP_FREE char *answer = ask_at(rig, client_connect_unix(rig->path), method, path, body);

    assert_non_null(answer);
    if (!strstr(answer, expected))
        fail_msg("'%s' is not in '%s'", expected, answer);
}

static Reason reason_of(Rig *rig)
{
    CatalogEntry *entry = catalog_find(rig->catalog, "web");

    assert_non_null(entry);
    return catalog_reason(rig->catalog, entry);
}

static void restart(Rig *rig)
{
    rig->control = control_free(rig->control);
    new_catalog(rig);
    assert_int_equal(open_control(rig, NULL), 0);
}

static bool exists(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0;
}

static void what_is_drained_stays_so_over_a_restart(void **state)
{
    Rig *rig = *state;

    expect(rig, "POST", "/drain", "{\"containers\":[\"web\"]}", "{\"ids\":[\"" ID_1 "\"],\"docker\":\"unix:///d\"}");
    assert_int_equal(reason_of(rig), REASON_DRAINED);
    restart(rig);
    assert_int_equal(reason_of(rig), REASON_DRAINED);
    expect(rig, "POST", "/drain", "{\"host\":true}", "200 OK");
    restart(rig);
    assert_true(catalog_is_host_drained(rig->catalog));
    assert_int_equal(reason_of(rig), REASON_DRAINED);
    expect(rig, "POST", "/undrain", "{\"containers\":[\"1111\"]}", "200 OK");
    restart(rig);
    assert_int_equal(reason_of(rig), REASON_HOST_DRAINED);
    expect(rig, "POST", "/undrain", "{\"host\":true}", "200 OK");
    assert_int_equal(reason_of(rig), REASON_NONE);
    assert_false(exists(rig->drained));
    restart(rig);
    assert_int_equal(reason_of(rig), REASON_NONE);
}

static void what_is_drained_for_a_while_is_not(void **state)
{
    Rig *rig = *state;

    expect(rig, "POST", "/drain", "{\"containers\":[\"web\"],\"until_death\":true}", "200 OK");
    assert_int_equal(reason_of(rig), REASON_DRAINING);
    expect(rig, "POST", "/drain", "{\"host\":true,\"until_death\":true}", "200 OK");
    assert_true(catalog_is_host_drained(rig->catalog));
    restart(rig);
    assert_int_equal(reason_of(rig), REASON_NONE);
    /* A host that was drained for good shuts down: it stays drained. */
    expect(rig, "POST", "/drain", "{\"host\":true}", "200 OK");
    expect(rig, "POST", "/drain", "{\"host\":true,\"until_death\":true}", "200 OK");
    restart(rig);
    assert_int_equal(reason_of(rig), REASON_HOST_DRAINED);
}

static void nothing_is_drained_by_mistake(void **state)
{
    Rig *rig = *state;
    static const char *const bad[] = { "",
                                       "{}",
                                       "[]",
                                       "{\"containers\":[]}",
                                       "{\"containers\":{}}",
                                       "{\"containers\":[\"web\"],\"host\":true}",
                                       "{\"host\":1}",
                                       "{\"host\":true" };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        expect(rig, "POST", "/drain", bad[i], "HTTP/1.1 400 ");
    /* All or none. */
    expect(rig, "POST", "/drain", "{\"containers\":[\"web\",\"nobody\"]}", "HTTP/1.1 404 ");
    expect(rig, "POST", "/drain", "{\"containers\":[\"web\",7]}", "HTTP/1.1 404 ");
    expect(rig, "DELETE", "/drain", "", "HTTP/1.1 405 ");
    assert_int_equal(reason_of(rig), REASON_NONE);
    assert_false(exists(rig->drained));
}

static void broken_drained_file_harms_nothing(void **state)
{
    Rig *rig = *state;
    FILE *file = fopen(rig->drained, "we");

    assert_non_null(file);
    fprintf(file, "nonsense\n\n../../etc/passwd\n%.*s\n" ID_1 "\nhos", 300, "x");
    for (int i = 0; i < 5000; i++)
        fprintf(file, "0123456789");
    assert_int_equal(fclose(file), 0);
    restart(rig);
    assert_int_equal(reason_of(rig), REASON_DRAINED);
    assert_false(catalog_is_host_drained(rig->catalog));
}

/* Settings read anew: the host that is shutting down is not drained for good by it. */
static void move_takes_along_what_is_drained(void **state)
{
    Rig *rig = *state;
    char old_path[64];

    memcpy(old_path, rig->path, sizeof(old_path));
    expect(rig, "POST", "/drain", "{\"containers\":[\"web\"]}", "200 OK");
    expect(rig, "POST", "/drain", "{\"host\":true,\"until_death\":true}", "200 OK");
    assert_int_equal(control_move(rig->control, rig->other_path, NULL), 0);
    assert_false(exists(old_path));
    memcpy(rig->path, rig->other_path, sizeof(rig->path));
    expect(rig, "GET", "/status", "", "\"drained\":true");
    restart(rig);
    assert_int_equal(reason_of(rig), REASON_DRAINED);
    assert_false(catalog_is_host_drained(rig->catalog));
    assert_int_equal(control_move(rig->control, old_path, NULL), 0);
}

static void names_that_harm_a_terminal_are_told_without_it(void **state)
{
    Rig *rig = *state;

    rig->node = "n\xc2\x9b"
                "31m\x9b\033";
    expect(rig, "GET", "/status", "", "\"node\":\"n??31m??\"");
}

static void metrics_and_readiness_are_told(void **state)
{
    Rig *rig = *state;

    rig->counters.docker_events[ACTION_DIE] = 12;
    expect(rig, "GET", "/metrics", "", "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    expect(rig, "GET", "/metrics", "", "\nregistrator_docker_events_total{action=\"die\"} 12\n");
    expect(rig, "GET", "/metrics", "", "\nregistrator_containers 1\n");
    expect(rig, "GET", "/metrics", "", "\nregistrator_records{state=\"pending\"} 1\n");
    expect(rig, "GET", "/healthz", "", "HTTP/1.1 200 ");
    expect(rig, "GET", "/readyz", "", "HTTP/1.1 503 ");
    expect(rig, "GET", "/readyz", "", "etcd has not been opened");
    rig->docker_why = "no such socket";
    expect(rig, "GET", "/readyz", "", "Docker is away: no such socket\n");
    expect(rig, "GET", "/metrics", "", "\nregistrator_docker_up 0\n");
    expect(rig, "POST", "/metrics", "", "HTTP/1.1 404 ");
}

static void without_etcd_there_is_nothing_to_look_into(void **state)
{
    Rig *rig = *state;

    expect(rig, "POST", "/etcd", "", "HTTP/1.1 503 ");
    expect(rig, "POST", "/etcd", "", "Docker has not been reached yet");
    expect(rig, "GET", "/etcd", "", "\"done\":false");
}

static int connect_tcp(unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* A port that nobody had a moment ago. */
static unsigned free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof(address);
    CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

static void strangers_change_nothing_and_cost_little(void **state)
{
    Rig *rig = *state;
    unsigned port = free_port();
    char listen[32];

    (void)snprintf(listen, sizeof(listen), "127.0.0.1:%u", port);
    assert_int_equal(control_move(rig->control, rig->path, listen), 0);
    CLEANUP_FREE char *refused = ask_at(rig, connect_tcp(port), "POST", "/drain", "{\"host\":true}");
    assert_non_null(strstr(refused, "HTTP/1.1 405 "));
    assert_false(catalog_is_host_drained(rig->catalog));
    CLEANUP_FREE char *look = ask_at(rig, connect_tcp(port), "POST", "/etcd", "");
    assert_non_null(strstr(look, "HTTP/1.1 405 "));
    CLEANUP_FREE char *looked = ask_at(rig, connect_tcp(port), "GET", "/etcd", "");
    assert_non_null(strstr(looked, "HTTP/1.1 404 "));
    rig->n_rendered = 0;
    for (int i = 0; i < 20; i++) {
        CLEANUP_FREE char *status = ask_at(rig, connect_tcp(port), "GET", "/status", "");
        assert_non_null(strstr(status, "\"name\":\"web\""));
    }
    assert_in_range(rig->n_rendered, 1, 10); /* not for each of them */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_drained_stays_so_over_a_restart),
        TEST(what_is_drained_for_a_while_is_not),
        TEST(nothing_is_drained_by_mistake),
        TEST(broken_drained_file_harms_nothing),
        TEST(move_takes_along_what_is_drained),
        TEST(names_that_harm_a_terminal_are_told_without_it),
        TEST(without_etcd_there_is_nothing_to_look_into),
        TEST(metrics_and_readiness_are_told),
        TEST(strangers_change_nothing_and_cost_little),
    };

    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
