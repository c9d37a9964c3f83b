/* The control socket's commands, on a catalog of the test's own. */
#include "operator/control.h"

#include "unit/catalog/rules.h"
#include "unit/client.h"
#include "base/log.h"
#include "operator/metrics.h"
#include "unit/scratch.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#define ID_1 "1111111111111111111111111111111111111111111111111111111111111111"

typedef struct Rig {
    sd_event *event;
    Layout layout;
    Rules rules;
    Catalog *catalog;
    Control *control;
    Settings *settings;
    const char *node, *docker_why;
    AgentCounters counters;
    size_t n_rendered;
    char directory[SCRATCH_MAX], path[SCRATCH_MAX + 32], state[SCRATCH_MAX + 32], other_path[SCRATCH_MAX + 32],
        other_state[SCRATCH_MAX + 32];
} Rig;

static StatusSource source(void *userdata)
{
    Rig *rig = userdata;

    rig->n_rendered++;
    return (StatusSource){ .node = rig->node,
                           .rules = &rig->rules,
                           .docker_url = "unix:///d",
                           .docker_api = "1.41",
                           .docker_why = rig->docker_why,
                           .settings = rig->settings,
                           .counters = &rig->counters,
                           .ttl_s = 30,
                           .host_drained = catalog_is_host_drained(rig->catalog),
                           .catalog = rig->catalog };
}

/* A list of one container, "web", and its inspect. */
static void list_web(Rig *rig, const char *started, uint64_t now_us)
{
    static const char listed[] =
        "{\"Id\":\"" ID_1 "\",\"Names\":[\"/web\"],\"State\":\"running\",\"Status\":\"Up 2 seconds\"}";
    char inspected[512];
    CatalogQuestion question;
    Container *container = NULL;

    (void)snprintf(inspected, sizeof(inspected),
                   "{\"Id\":\"" ID_1 "\",\"Name\":\"/web\",\"State\":{\"Running\":true,\"StartedAt\":\"%s\"},"
                   "\"Config\":{\"Image\":\"app:1\"},"
                   "\"NetworkSettings\":{\"Ports\":{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"32768\"}]}}}",
                   started);
    assert_int_equal(container_from_list(&container, listed, strlen(listed), NULL), 0);
    catalog_list_begin(rig->catalog);
    catalog_listed(rig->catalog, container);
    catalog_list_end(rig->catalog, true);
    assert_true(catalog_next_question(rig->catalog, false, &question));
    assert_int_equal(container_from_inspect(&container, inspected, strlen(inspected), NULL), 0);
    (void)catalog_inspected(rig->catalog, question.id, question.ticket, container, now_us);
}

static void empty_catalog(Rig *rig)
{
    CatalogSink sink = sink_build(NULL);

    catalog_free(rig->catalog);
    assert_int_equal(catalog_new(&rig->catalog, &rig->rules, &sink), 0);
}

/* As after the start of an agent. */
static void new_catalog(Rig *rig)
{
    empty_catalog(rig);
    list_web(rig, "2026-11-27T10:00:00Z", 0);
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
    unsetenv("RUNTIME_DIRECTORY");
    rig->node = "n";
    rig->rules = rules_build(&rig->layout);
    scratch_template(rig->directory);
    assert_non_null(mkdtemp(rig->directory));
    (void)snprintf(rig->path, sizeof(rig->path), "%s/socket", rig->directory);
    (void)snprintf(rig->state, sizeof(rig->state), "%s/socket.state", rig->directory);
    (void)snprintf(rig->other_path, sizeof(rig->other_path), "%s/o/socket", rig->directory);
    (void)snprintf(rig->other_state, sizeof(rig->other_state), "%s/o/socket.state", rig->directory);
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
    layout_clear(&rig->layout);
    sd_event_unref(rig->event);
    (void)unlink(rig->state);
    (void)unlink(rig->other_state);
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

static void drained_containers_stay_drained_over_a_restart(void **state)
{
    Rig *rig = *state;

    expect(rig, "POST", "/drain", "{\"containers\":[\"web\"]}", "{\"ids\":[\"" ID_1 "\"]}");
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
    assert_false(exists(rig->state));
    restart(rig);
    assert_int_equal(reason_of(rig), REASON_NONE);
}

/* Only events tell of a stop: an agent that starts while it is under way must know of it. */
static void a_stop_is_remembered_for_its_start(void **state)
{
    Rig *rig = *state;
    DockerEvent kill = { .action = ACTION_KILL, .id = ID_1, .signal = SIGTERM };
    uint64_t now_us = 1000000000, version = catalog_stops_version(rig->catalog);

    catalog_event(rig->catalog, &kill, now_us);
    assert_int_equal(reason_of(rig), REASON_STOPPING);
    assert_int_not_equal(catalog_stops_version(rig->catalog), version);
    assert_int_equal(control_save(rig->control, false), 0);
    assert_true(exists(rig->state));
    rig->control = control_free(rig->control);

    empty_catalog(rig);
    assert_int_equal(open_control(rig, NULL), 0);
    list_web(rig, "2026-11-27T10:00:00Z", now_us + 1000000);
    assert_int_equal(reason_of(rig), REASON_STOPPING);
    rig->control = control_free(rig->control);

    empty_catalog(rig);
    assert_int_equal(open_control(rig, NULL), 0);
    list_web(rig, "2026-11-27T10:00:05Z", now_us + 1000000); /* it has started again since */
    assert_int_equal(reason_of(rig), REASON_NONE);
    assert_int_equal(control_save(rig->control, false), 0);
    assert_false(exists(rig->state));
}

/* The agent may write the file, end again, or get half a list, before Docker has shown the container. */
static void a_stop_outlives_events_before_the_first_inspect(void **state)
{
    Rig *rig = *state;
    DockerEvent kill = { .action = ACTION_KILL, .id = ID_1, .signal = SIGTERM };
    uint64_t now_us = 1000000000;

    catalog_event(rig->catalog, &kill, now_us);
    assert_int_equal(control_save(rig->control, false), 0);
    rig->control = control_free(rig->control);

    empty_catalog(rig);
    assert_int_equal(open_control(rig, NULL), 0);
    assert_int_equal(control_save(rig->control, false), 0);
    rig->control = control_free(rig->control);

    empty_catalog(rig);
    assert_int_equal(open_control(rig, NULL), 0);
    catalog_list_begin(rig->catalog);
    catalog_list_end(rig->catalog, false);
    list_web(rig, "2026-11-27T10:00:00Z", now_us + 1000000);
    assert_int_equal(reason_of(rig), REASON_STOPPING);
}

/* Docker repeats the stop signal to an agent that starts again. */
static void an_undone_stop_stays_undone_over_a_restart(void **state)
{
    Rig *rig = *state;
    uint64_t now_us = 1000000000, second_ns = 1000000000;
    DockerEvent kill = { .action = ACTION_KILL, .id = ID_1, .signal = SIGTERM, .time_ns = 1795773601 * second_ns };

    catalog_event(rig->catalog, &kill, now_us);
    assert_int_equal(reason_of(rig), REASON_STOPPING);
    expect(rig, "POST", "/undrain", "{\"containers\":[\"web\"]}", "200 OK");
    assert_int_equal(reason_of(rig), REASON_NONE);
    for (int i = 0; i < 2; i++) {
        rig->control = control_free(rig->control);
        empty_catalog(rig);
        assert_int_equal(open_control(rig, NULL), 0);
        kill.age_us = 2000000;
        catalog_event(rig->catalog, &kill, now_us);
        list_web(rig, "2026-11-27T10:00:00Z", now_us + 1000000);
        assert_int_equal(reason_of(rig), REASON_NONE);
        assert_int_equal(control_save(rig->control, false), 0);
    }
    kill.time_ns += second_ns;
    catalog_event(rig->catalog, &kill, now_us + 2000000);
    assert_int_equal(reason_of(rig), REASON_STOPPING);
}

static void containers_drained_until_restart_are_not_remembered(void **state)
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
    assert_false(exists(rig->state));
}

static void broken_state_file_is_ignored(void **state)
{
    Rig *rig = *state;
    FILE *file = fopen(rig->state, "we");

    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), 0600), 0);
    fprintf(file,
            "nonsense\n\ndrained ../../etc/passwd\n%.*s\ndrained " ID_1 "\nlater " ID_1 " host\nstopping " ID_1
            "\nstopping " ID_1 " -5 1\nstopping " ID_1 " 1 99999999999999999999\nstopping " ID_1
            " 1 1 1\nreturned " ID_1 "\nreturned " ID_1 " -1\nreturned " ID_1 " 1 1\nreturned x 1\ndrained hos",
            300, "x");
    for (int i = 0; i < 5000; i++)
        fprintf(file, "0123456789");
    assert_int_equal(fclose(file), 0);
    restart(rig);
    assert_int_equal(reason_of(rig), REASON_DRAINED);
    assert_false(catalog_is_host_drained(rig->catalog));
}

/* One file "drained" for the directory, an ID or "host" on each line. */
static void drains_of_version_0_1_0_are_taken_over(void **state)
{
    Rig *rig = *state;
    char old[SCRATCH_MAX + 32];
    FILE *file;

    (void)snprintf(old, sizeof(old), "%s/drained", rig->directory);
    file = fopen(old, "we");
    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), 0600), 0);
    fprintf(file, "host\n" ID_1 "\n");
    assert_int_equal(fclose(file), 0);
    for (int i = 0; i < 2; i++) {
        restart(rig);
        assert_int_equal(reason_of(rig), REASON_DRAINED);
        assert_true(catalog_is_host_drained(rig->catalog));
        assert_false(exists(old));
    }
}

static void agents_in_one_directory_share_nothing(void **state)
{
    Rig *rig = *state, other = *rig;

    other.catalog = NULL;
    other.control = NULL;
    new_catalog(&other);
    (void)snprintf(other.path, sizeof(other.path), "%s/second", rig->directory);
    assert_int_equal(open_control(&other, NULL), 0);
    expect(rig, "POST", "/drain", "{\"host\":true}", "200 OK");
    restart(&other);
    assert_false(catalog_is_host_drained(other.catalog));
    other.control = control_free(other.control);
    /* One that finds the first one's socket in use leaves the first one's file alone. */
    memcpy(other.path, rig->path, sizeof(other.path));
    restart(&other);
    assert_false(catalog_is_host_drained(other.catalog));
    assert_int_equal(control_save(other.control, true), 0);
    control_free(other.control);
    catalog_free(other.catalog);
    restart(rig);
    assert_true(catalog_is_host_drained(rig->catalog));
}

static void shutdown_unit_finds_the_socket(void **state)
{
    Rig *rig = *state;
    char link[SCRATCH_MAX + 32], path[SCRATCH_MAX + 32];

    assert_int_equal(setenv("RUNTIME_DIRECTORY", rig->directory, 1), 0);
    (void)snprintf(link, sizeof(link), "%s/agent.sock", rig->directory);
    assert_int_equal(symlink("/nowhere", link), 0); /* left by an agent that was killed */
    restart(rig);
    memcpy(path, rig->path, sizeof(path));
    memcpy(rig->path, link, sizeof(link));
    expect(rig, "GET", "/healthz", "", "200 OK");
    assert_int_equal(control_move(rig->control, rig->other_path, NULL), 0);
    expect(rig, "GET", "/healthz", "", "200 OK");
    /* A socket of this name needs no link. */
    assert_int_equal(control_move(rig->control, link, NULL), 0);
    expect(rig, "GET", "/healthz", "", "200 OK");
    assert_int_equal(control_move(rig->control, path, NULL), 0);
    expect(rig, "GET", "/healthz", "", "200 OK");
    rig->control = control_free(rig->control);
    assert_false(exists(link));
}

/* Settings read anew: the host that is shutting down is not drained for good by it. */
static void a_moved_state_file_keeps_drained_containers(void **state)
{
    Rig *rig = *state;
    char old_path[64];

    memcpy(old_path, rig->path, sizeof(old_path));
    expect(rig, "POST", "/drain", "{\"containers\":[\"web\"]}", "200 OK");
    expect(rig, "POST", "/drain", "{\"host\":true,\"until_death\":true}", "200 OK");
    assert_int_equal(control_move(rig->control, rig->other_path, NULL), 0);
    assert_false(exists(old_path));
    assert_false(exists(rig->state));
    assert_true(exists(rig->other_state));
    memcpy(rig->path, rig->other_path, sizeof(rig->path));
    expect(rig, "GET", "/status", "", "\"drained\":true");
    restart(rig);
    assert_int_equal(reason_of(rig), REASON_DRAINED);
    assert_false(catalog_is_host_drained(rig->catalog));
    assert_int_equal(control_move(rig->control, old_path, NULL), 0);
}

static void names_with_control_characters_are_printed_safely(void **state)
{
    Rig *rig = *state;

    rig->node = "n\xc2\x9b"
                "31m\x9b\033";
    expect(rig, "GET", "/status", "", "\"node\":\"n??31m??\"");
}

static void metrics_and_readiness_are_served(void **state)
{
    Rig *rig = *state;

    rig->counters.docker_events[ACTION_DIE] = 12;
    expect(rig, "GET", "/metrics", "", "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    expect(rig, "GET", "/metrics", "", "\nregistrator_docker_events_total{action=\"die\"} 12\n");
    expect(rig, "GET", "/metrics", "", "\nregistrator_containers 1\n");
    expect(rig, "GET", "/metrics", "", "\nregistrator_records{state=\"pending\"} 1\n");
    expect(rig, "GET", "/healthz", "", "HTTP/1.1 200 ");
    expect(rig, "GET", "/readyz", "", "HTTP/1.1 503 ");
    expect(rig, "GET", "/readyz", "", "the agent has not reached etcd yet");
    rig->docker_why = "no such socket";
    expect(rig, "GET", "/readyz", "", "Docker is away: no such socket\n");
    expect(rig, "GET", "/metrics", "", "\nregistrator_docker_up 0\n");
    expect(rig, "POST", "/metrics", "", "HTTP/1.1 404 ");
}

/* For a whole second, in which each of the two clocks that tell it goes on to its next second. */
static void process_start_does_not_change(void **state)
{
    Rig *rig = *state;
    CLEANUP_FREE char *first = NULL;
    time_t begin = time(NULL);

    do {
        char *answer = ask_at(rig, client_connect_unix(rig->path), "GET", "/metrics", "");
        char *line = strstr(answer, "\nprocess_start_time_seconds ");

        assert_non_null(line);
        line = strndup(line + 1, strcspn(line + 1, "\n"));
        free(answer);
        if (first)
            assert_string_equal(line, first);
        else
            first = strdup(line);
        free(line);
    } while (time(NULL) - begin < 2);
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

static void other_clients_change_nothing_and_cost_little(void **state)
{
    Rig *rig = *state;
    unsigned port = free_port();
    char listen[32];

    (void)snprintf(listen, sizeof(listen), "127.0.0.1:%u", port);
    assert_int_equal(control_move(rig->control, rig->path, listen), 0);
    CLEANUP_FREE char *refused = ask_at(rig, connect_tcp(port), "POST", "/drain", "{\"host\":true}");
    assert_non_null(strstr(refused, "HTTP/1.1 405 "));
    assert_false(catalog_is_host_drained(rig->catalog));
    rig->n_rendered = 0;
    for (int i = 0; i < 20; i++) {
        CLEANUP_FREE char *status = ask_at(rig, connect_tcp(port), "GET", "/status", "");
        assert_non_null(strstr(status, "\"name\":\"web\""));
    }
    assert_in_range(rig->n_rendered, 1, 10); /* not for each of them */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* Settings whose etcd is not there. */
static Settings *settings_without_etcd(void)
{
    static char program[] = "registrator", etcd[] = "--etcd=http://127.0.0.1:9", config[] = "--config=/dev/null";
    char *arguments[] = { program, config, etcd, NULL };
    CLEANUP_FREE char *error = NULL;
    SettingsAction action;
    Settings *settings = NULL;
    int operand;

    if (settings_load(&settings, 3, arguments, &action, &operand, &error) < 0)
        fail_msg("%s", error);
    return settings;
}

static bool fleet_says(Rig *rig, const char *expected)
{
    CLEANUP_FREE char *answer = ask_at(rig, client_connect_unix(rig->path), "GET", "/fleet", "");

    return answer && strstr(answer, expected);
}

static void fleet_page_asks_etcd_and_keeps_the_answer(void **state)
{
    Rig *rig = *state;
    int turns = 0;

    expect(rig, "GET", "/fleet", "", "503 Service Unavailable"); /* no settings to ask with */
    rig->settings = settings_without_etcd();
    expect(rig, "GET", "/fleet", "", "<dd>The agent is asking etcd.</dd>");
    while (!fleet_says(rig, "<dd>etcd gave no answer (") && turns++ < 1000)
        assert_true(sd_event_run(rig->event, 10000) >= 0);
    assert_true(turns < 1000);
    expect(rig, "GET", "/fleet", "", "<dd>etcd gave no answer ("); /* the same page */
    /* Other settings: nothing of the old ones is left, neither the page nor a read that is under way. */
    control_forget(rig->control);
    expect(rig, "GET", "/fleet", "", "<dd>The agent is asking etcd.</dd>");
    control_forget(rig->control);
    rig->settings = settings_free(rig->settings);
    assert_true(sd_event_run(rig->event, 0) >= 0);
    expect(rig, "GET", "/sd", "", "\r\n\r\n[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fleet_page_asks_etcd_and_keeps_the_answer, setup, teardown),
        TEST(drained_containers_stay_drained_over_a_restart),
        TEST(a_stop_is_remembered_for_its_start),
        TEST(a_stop_outlives_events_before_the_first_inspect),
        TEST(an_undone_stop_stays_undone_over_a_restart),
        TEST(containers_drained_until_restart_are_not_remembered),
        TEST(nothing_is_drained_by_mistake),
        TEST(broken_state_file_is_ignored),
        TEST(drains_of_version_0_1_0_are_taken_over),
        TEST(agents_in_one_directory_share_nothing),
        TEST(shutdown_unit_finds_the_socket),
        TEST(a_moved_state_file_keeps_drained_containers),
        TEST(names_with_control_characters_are_printed_safely),
        TEST(metrics_and_readiness_are_served),
        TEST(process_start_does_not_change),
        TEST(other_clients_change_nothing_and_cost_little),
    };

    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
