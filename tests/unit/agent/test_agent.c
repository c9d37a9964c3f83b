/* The whole agent between a fake Docker, a fake etcd and a fake systemd. The peers turn on a loop of the test, the
 * agent on its own, and the test turns both in one thread. So nothing happens between two assertions. */
#include "agent/agent_private.h"

#include "base/exit_status.h"
#include "base/text.h"
#include "etcd/etcd3_lease.h"
#include "operator/state_file.h"
#include "unit/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <systemd/sd-id128.h>
#include <time.h>

#include <cmocka.h>

#include "unit/agent/fake_etcd3.h"
#include "unit/client.h"

#define ID_1 "1111111111111111111111111111111111111111111111111111111111111111"
#define ID_2 "2222222222222222222222222222222222222222222222222222222222222222"
#define KEY "/app/servers/web"
#define OLD_KEY "/app/servers/old"

enum { CONTAINERS_MAX = 4, ARGUMENTS_MAX = 24, TEXT_MAX = 16384, TURNS_MAX = 20000 };

typedef struct FakeContainer {
    const char *id, *name;
    unsigned port;
    unsigned n_failures; /* as many inspects fail first */
} FakeContainer;

typedef struct Rig {
    sd_event *event; /* the peers' */
    char directory[SCRATCH_MAX], config[96], docker_path[96], other_path[96], control[96], log[96], out[96];
    char arguments[ARGUMENTS_MAX][256], *argv[ARGUMENTS_MAX + 1];
    int argc, notify_fd, saved_out, saved_error;
    char notified[TEXT_MAX], read[TEXT_MAX];

    FakeServer *docker, *other_docker;
    FakeContainer containers[CONTAINERS_MAX];
    size_t n_containers;
    const char *engine;
    bool docker_fails, list_is_held;
    FakeConnection *stream, *held_list;
    unsigned n_lists;

    FakeEtcd3 etcd;
    Agent *agent;
} Rig;

/* Docker */

static void send_chunk(FakeConnection *connection, const char *text)
{
    char size[32];

    (void)snprintf(size, sizeof(size), "%zx\r\n", strlen(text));
    fake_print(connection, size);
    fake_print(connection, text);
    fake_print(connection, "\r\n");
}

static void answer_list(Rig *rig, FakeConnection *connection)
{
    char text[4096] = "[";

    for (size_t i = 0; i < rig->n_containers; i++)
        (void)snprintf(
            text + strlen(text), sizeof(text) - strlen(text),
            "%s{\"Id\":\"%s\",\"Names\":[\"/%s\"],\"State\":\"running\",\"Status\":\"Up 2 hours\",\"Ports\":[{"
            "\"IP\":\"0.0.0.0\",\"PrivatePort\":80,\"PublicPort\":%u,\"Type\":\"tcp\"}]}",
            i > 0 ? "," : "", rig->containers[i].id, rig->containers[i].name, rig->containers[i].port);
    strcat(text, "]");
    fake_answer(connection, "200 OK", "", text);
}

static void answer_inspect(Rig *rig, FakeConnection *connection, const char *id)
{
    for (size_t i = 0; i < rig->n_containers; i++) {
        FakeContainer *container = &rig->containers[i];
        CLEANUP_FREE char *text = NULL;

        if (strcmp(container->id, id) != 0)
            continue;
        if (container->n_failures > 0) {
            container->n_failures--;
            fake_answer(connection, "500 Internal Server Error", "", "{\"message\":\"busy\"}");
            return;
        }
        text = text_format("{\"Id\":\"%s\",\"Name\":\"/%s\",\"State\":{\"Status\":\"running\",\"Running\":true,"
                           "\"StartedAt\":\"2020-01-01T00:00:00Z\"},\"Config\":{\"Image\":\"app:1\",\"StopTimeout\":1},"
                           "\"HostConfig\":{\"NetworkMode\":\"bridge\"},\"NetworkSettings\":{\"Ports\":{\"80/tcp\":[{"
                           "\"HostIp\":\"0.0.0.0\",\"HostPort\":\"%u\"}]},\"Networks\":{}}}",
                           container->id, container->name, container->port);
        fake_answer(connection, "200 OK", "", text);
        return;
    }
    fake_answer(connection, "404 Not Found", "", "{\"message\":\"No such container\"}");
}

static void docker_answer(FakeConnection *connection, const char *request)
{
    Rig *rig = connection->server->userdata;
    char path[1024] = "", id[65] = "", info[256];

    assert_int_equal(sscanf(request, "GET %1023s", path), 1);
    const char *bare = path[1] == 'v' ? strchr(path + 1, '/') : path;
    if (rig->docker_fails) {
        fake_answer(connection, "500 Internal Server Error", "", "{\"message\":\"dead\"}");
    } else if (strcmp(bare, "/_ping") == 0) {
        fake_answer(connection, "200 OK", "Api-Version: 1.41\r\n", "OK");
    } else if (strcmp(bare, "/info") == 0) {
        (void)snprintf(info, sizeof(info), "{\"ID\":\"%s\",\"SystemTime\":\"2026-01-01T00:00:00Z\"}", rig->engine);
        fake_answer(connection, "200 OK", "", info);
    } else if (strncmp(bare, "/events?", 8) == 0) {
        rig->stream = connection;
        fake_print(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    } else if (strcmp(bare, "/containers/json") == 0) {
        rig->n_lists++;
        if (rig->list_is_held)
            rig->held_list = connection;
        else
            answer_list(rig, connection);
    } else {
        assert_int_equal(sscanf(bare, "/containers/%64[0-9a-f]/json", id), 1);
        answer_inspect(rig, connection, id);
    }
}

static void add_container(Rig *rig, const char *id, const char *name, unsigned port)
{
    assert_true(rig->n_containers < CONTAINERS_MAX);
    rig->containers[rig->n_containers++] = (FakeContainer){ .id = id, .name = name, .port = port };
}

/* An event of now, by the engine's clock. */
static void send_event(Rig *rig, const char *action, const char *id)
{
    CLEANUP_FREE char *text =
        text_format("{\"Type\":\"container\",\"Action\":\"%s\",\"Actor\":{\"ID\":\"%s\",\"Attributes\":{\"signal\":"
                    "\"15\"}},\"timeNano\":1798761600000000000}\n",
                    action, id);

    send_chunk(rig->stream, text);
}

static void lose_docker(Rig *rig)
{
    fake_close(rig->stream);
    rig->stream = NULL;
}

/* What the agent printed, logged and told systemd */

static void read_notifications(Rig *rig)
{
    char message[1024];
    ssize_t n;

    while ((n = recv(rig->notify_fd, message, sizeof(message) - 1, MSG_DONTWAIT)) >= 0) {
        size_t used = strlen(rig->notified);

        message[n] = '\0';
        (void)snprintf(rig->notified + used, sizeof(rig->notified) - used, "%s\n", message);
    }
}

static bool was_notified(Rig *rig, const char *text)
{
    read_notifications(rig);
    return strstr(rig->notified, text);
}

static unsigned count(const char *text, const char *part)
{
    unsigned n = 0;

    for (const char *p = text; (p = strstr(p, part)); p++)
        n++;
    return n;
}

static const char *read_text(Rig *rig, const char *path)
{
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    size_t n = fread(rig->read, 1, sizeof(rig->read) - 1, file);
    rig->read[n] = '\0';
    (void)fclose(file);
    return rig->read;
}

static bool was_logged(Rig *rig, const char *text)
{
    (void)fflush(stderr);
    return strstr(read_text(rig, rig->log), text);
}

/* The loops */

static bool is_finished(Rig *rig)
{
    return sd_event_get_state(rig->agent->event) == SD_EVENT_FINISHED;
}

static bool turn(Rig *rig, uint64_t wait_us)
{
    bool busy = false;

    while (sd_event_run(rig->event, 0) > 0)
        busy = true;
    if (!is_finished(rig))
        busy = sd_event_run(rig->agent->event, busy ? 0 : wait_us) > 0 || busy;
    read_notifications(rig);
    return busy;
}

#define UNTIL(rig, condition)                              \
    do {                                                   \
        unsigned turns = 0;                                \
        while (!(condition)) {                             \
            if (turns++ == TURNS_MAX)                      \
                fail_msg("does not come: %s", #condition); \
            (void)turn(rig, 1000);                         \
        }                                                  \
    } while (0)

/* Until neither side has work at hand. */
static void drain(Rig *rig)
{
    for (unsigned idle = 0; idle < 20;)
        idle = turn(rig, 1000) ? 0 : idle + 1;
}

static const char *value_of(Rig *rig, const char *key)
{
    const FakeKey *found = etcd3_key(&rig->etcd, key);

    return found ? found->value : "";
}

static bool has(Rig *rig, const char *key, const char *value)
{
    return strcmp(value_of(rig, key), value) == 0;
}

/* The agent */

static void add_argument(Rig *rig, const char *format, const char *text)
{
    assert_true(rig->argc < ARGUMENTS_MAX);
    (void)snprintf(rig->arguments[rig->argc], sizeof(rig->arguments[0]), format, text);
    rig->argv[rig->argc] = rig->arguments[rig->argc];
    rig->argc++;
}

static void write_config(Rig *rig, const char *text)
{
    FILE *file = fopen(rig->config, "w");

    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int redirect(int fd, const char *path)
{
    int saved = dup(fd), file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    assert_true(saved >= 0 && file >= 0);
    assert_true(dup2(file, fd) >= 0);
    close(file);
    return saved;
}

static void start(Rig *rig, bool dry_run)
{
    Settings *settings;
    SettingsAction action;
    CLEANUP_FREE char *error = NULL;
    int operand;

    if (settings_load(&settings, rig->argc, rig->argv, &action, &operand, &error) < 0)
        fail_msg("%s", error);
    assert_int_equal(agent_new(&rig->agent, settings, rig->argc, rig->argv, dry_run), 0);
    agent_update_status(rig->agent);
}

static void start_ready(Rig *rig)
{
    add_container(rig, ID_1, "web", 32768);
    start(rig, false);
    UNTIL(rig, was_notified(rig, "READY=1"));
}

static void listen_to_agent(Rig *rig)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", rig->directory);
    rig->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(rig->notify_fd >= 0);
    assert_int_equal(bind(rig->notify_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
}

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    scratch_template(rig->directory);
    assert_non_null(mkdtemp(rig->directory));
    (void)snprintf(rig->config, sizeof(rig->config), "%s/conf", rig->directory);
    (void)snprintf(rig->docker_path, sizeof(rig->docker_path), "%s/docker", rig->directory);
    (void)snprintf(rig->other_path, sizeof(rig->other_path), "%s/other", rig->directory);
    (void)snprintf(rig->control, sizeof(rig->control), "%s/control", rig->directory);
    (void)snprintf(rig->log, sizeof(rig->log), "%s/log", rig->directory);
    (void)snprintf(rig->out, sizeof(rig->out), "%s/out", rig->directory);
    assert_true(sd_event_new(&rig->event) >= 0);
    rig->engine = "EN:GI:NE";
    rig->docker = fake_new(rig->event, rig->docker_path, docker_answer, rig);
    rig->other_docker = fake_new(rig->event, rig->other_path, docker_answer, rig);
    rig->etcd.revision = 100;
    rig->etcd.server = fake_new(rig->event, NULL, etcd3_answer, &rig->etcd);
    listen_to_agent(rig);
    write_config(rig, "");
    add_argument(rig, "%s", "registrator");
    add_argument(rig, "--config=%s", rig->config);
    add_argument(rig, "--etcd=%s", rig->etcd.server->url);
    add_argument(rig, "--node=%s", "host1");
    add_argument(rig, "--ready=%s", "none");
    (void)unsetenv("STATE_DIRECTORY");
    (void)unsetenv("WATCHDOG_USEC");
    CLEANUP_FREE char *docker = text_format("unix://%s", rig->docker_path);
    assert_non_null(docker);
    assert_int_equal(setenv("REGISTRATOR_DOCKER", docker, 1), 0);
    assert_int_equal(setenv("REGISTRATOR_CONTROL", rig->control, 1), 0);
    assert_int_equal(setenv("REGISTRATOR_ADVERTISE", "192.0.2.1", 1), 0);
    rig->saved_out = redirect(STDOUT_FILENO, rig->out);
    rig->saved_error = redirect(STDERR_FILENO, rig->log);
    log_set_level(LOG_DEBUG);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;

    (void)fflush(stdout);
    (void)fflush(stderr);
    (void)dup2(rig->saved_out, STDOUT_FILENO);
    (void)dup2(rig->saved_error, STDERR_FILENO);
    close(rig->saved_out);
    close(rig->saved_error);
    agent_free(rig->agent);
    fake_free(rig->docker);
    fake_free(rig->other_docker);
    fake_free(rig->etcd.server);
    sd_event_unref(rig->event);
    close(rig->notify_fd);
    CLEANUP_FREE char *remove = text_format("rm -rf '%s'", rig->directory);
    assert_int_equal(system(remove), 0);
    free(rig);
    return 0;
}

/* The lease that an earlier run of the same agent had, by the agent's documented identity. */
static int64_t lease_of_engine(const char *engine)
{
    char machine[SD_ID128_STRING_MAX] = "";
    sd_id128_t id;

    if (sd_id128_get_machine(&id) >= 0)
        (void)sd_id128_to_string(id, machine);
    CLEANUP_FREE char *identity = text_format("%s|%s|host1", engine, machine);
    return etcd3_lease_id(LEASE_PLAIN_A, identity, "/app/", "192.0.2.1");
}

static int64_t inherit(Rig *rig, const char *key, const char *value)
{
    int64_t lease = lease_of_engine(rig->engine);

    etcd3_grant(&rig->etcd, lease, 30);
    etcd3_put(&rig->etcd, key, value, lease);
    return lease;
}

/* Start */

static void registers_then_is_ready(void **state)
{
    Rig *rig = *state;

    add_container(rig, ID_1, "web", 32768);
    rig->list_is_held = true;
    start(rig, false);
    CLEANUP_FREE char *connecting = text_format("STATUS=Connecting to Docker at unix://%s\n", rig->docker_path);
    assert_true(was_notified(rig, connecting));
    UNTIL(rig, rig->held_list);
    drain(rig);
    assert_false(was_notified(rig, "READY=1"));
    assert_int_equal(rig->agent->counters.docker_connects, 1);

    rig->list_is_held = false;
    rig->etcd.held_call = "txn";
    answer_list(rig, rig->held_list);
    UNTIL(rig, rig->etcd.held);
    drain(rig);
    assert_false(was_notified(rig, "READY=1")); /* the key is not written yet */
    assert_null(etcd3_key(&rig->etcd, KEY));
    etcd3_resume(&rig->etcd);
    UNTIL(rig, was_notified(rig, "READY=1"));
    assert_string_equal(value_of(rig, KEY), "192.0.2.1:32768");
    assert_int_equal(etcd3_key(&rig->etcd, KEY)->lease, lease_of_engine("EN:GI:NE"));
    CLEANUP_FREE char *status = text_format(
        "STATUS=1 keys of 1 running containers in etcd v3 (3.4.0, auto: it has v3) at %s", rig->etcd.server->url);
    assert_true(was_notified(rig, status));
    CLEANUP_FREE char *connected = text_format("Connected to Docker at unix://%s (API 1.41)", rig->docker_path);
    assert_true(was_logged(rig, connected));
    assert_true(was_logged(rig, "Registering in etcd v3"));
    drain(rig);
    assert_int_equal(count(rig->notified, "READY=1"), 1);
}

static void is_ready_while_docker_is_away(void **state)
{
    Rig *rig = *state;

    rig->docker_fails = true;
    start(rig, false);
    UNTIL(rig, was_notified(rig, "READY=1"));
    assert_non_null(strstr(rig->notified, "STATUS=Docker is away: "));
    assert_int_equal(rig->agent->counters.docker_connects, 0);
    assert_int_equal(rig->etcd.n_calls, 0);
}

static void is_ready_while_etcd_is_away(void **state)
{
    Rig *rig = *state;

    rig->etcd.is_away = true;
    add_container(rig, ID_1, "web", 32768);
    start(rig, false);
    UNTIL(rig, was_notified(rig, "READY=1"));
    assert_non_null(strstr(rig->notified, "STATUS=etcd is away: etcd at http://"));
    UNTIL(rig, rig->etcd.n_calls >= 3);
    drain(rig);
    assert_true(rig->agent->etcd_lost);
    rig->etcd.is_away = false;
    UNTIL(rig, has(rig, KEY, "192.0.2.1:32768"));
    assert_false(rig->agent->etcd_lost);
    UNTIL(rig, was_notified(rig, "STATUS=1 keys of 1 running containers"));
    assert_int_equal(count(rig->notified, "READY=1"), 1);
}

static void says_that_no_address_is_there(void **state)
{
    Rig *rig = *state;

    assert_int_equal(setenv("REGISTRATOR_ADVERTISE", "nosuch0", 1), 0);
    start_ready(rig);
    UNTIL(rig, was_notified(rig, "STATUS=No address to advertise: set --advertise"));
    assert_int_equal(rig->etcd.n_keys, 0);
}

/* Orphans */

static void an_orphan_is_dropped_once_docker_is_known(void **state)
{
    Rig *rig = *state;

    inherit(rig, OLD_KEY, "192.0.2.1:1");
    inherit(rig, KEY, "192.0.2.1:32768");
    int64_t revision = etcd3_key(&rig->etcd, KEY)->revision;
    add_container(rig, ID_1, "web", 32768);
    rig->list_is_held = true;
    start(rig, false);
    UNTIL(rig, rig->agent->publisher && publisher_state(rig->agent->publisher) == PUBLISHER_ONLINE);
    drain(rig);
    assert_false(rig->agent->orphans_dropped);
    assert_string_equal(value_of(rig, OLD_KEY), "192.0.2.1:1");
    answer_list(rig, rig->held_list);
    UNTIL(rig, !etcd3_key(&rig->etcd, OLD_KEY));
    assert_true(rig->agent->orphans_dropped);
    UNTIL(rig, was_notified(rig, "READY=1"));
    /* The key of a running container was not written again. */
    assert_int_equal(etcd3_key(&rig->etcd, KEY)->revision, revision);
}

static void an_orphan_is_dropped_only_online(void **state)
{
    Rig *rig = *state;

    inherit(rig, OLD_KEY, "192.0.2.1:1");
    add_container(rig, ID_1, "web", 32768);
    rig->etcd.held_call = "timetolive";
    start(rig, false);
    UNTIL(rig, rig->etcd.held && tracker_state(rig->agent->tracker) == TRACKER_FOLLOWING);
    drain(rig);
    assert_true(tracker_knows_orphans(rig->agent->tracker, true, agent_boottime_us(rig->agent)));
    agent_check_orphans(rig->agent);
    assert_false(rig->agent->orphans_dropped);
    assert_false(was_notified(rig, "READY=1"));
    etcd3_resume(&rig->etcd);
    UNTIL(rig, !etcd3_key(&rig->etcd, OLD_KEY));
    assert_true(rig->agent->orphans_dropped);
}

/* A clone of this host has the same lease. */
static void the_keys_of_another_host_stay(void **state)
{
    Rig *rig = *state;

    inherit(rig, OLD_KEY, "192.0.2.9:1");
    start_ready(rig);
    assert_string_equal(value_of(rig, OLD_KEY), "192.0.2.9:1");
    assert_string_equal(value_of(rig, KEY), "192.0.2.1:32768");
    assert_true(etcd3_key(&rig->etcd, KEY)->lease != lease_of_engine("EN:GI:NE"));
    assert_true(was_logged(rig, "Another host has the same identity"));
}

/* Docker's events */

static void follows_events(void **state)
{
    Rig *rig = *state;

    start_ready(rig);
    add_container(rig, ID_2, "db", 32769);
    send_event(rig, "start", ID_2);
    UNTIL(rig, has(rig, "/app/servers/db", "192.0.2.1:32769"));
    assert_int_equal(rig->agent->counters.docker_events[ACTION_START], 1);
    UNTIL(rig, was_notified(rig, "STATUS=2 keys of 2 running containers"));
    send_event(rig, "die", ID_2);
    UNTIL(rig, !etcd3_key(&rig->etcd, "/app/servers/db"));
    assert_string_equal(value_of(rig, KEY), "192.0.2.1:32768");
    UNTIL(rig, was_notified(rig, "STATUS=1 keys of 1 running containers in etcd v3 (3.4.0, auto: it has v3)"));
    assert_int_equal(rig->agent->counters.docker_events[ACTION_DIE], 1);
    assert_int_equal(rig->agent->counters.docker_events[ACTION_KILL], 0);
}

static char *state_path(Rig *rig)
{
    char *path = state_file_path(rig->control);

    assert_non_null(path);
    return path;
}

static void saves_stops(void **state)
{
    Rig *rig = *state;

    start_ready(rig);
    CLEANUP_FREE char *path = state_path(rig);
    assert_int_equal(rig->agent->saved_stops, catalog_stops_version(rig->agent->catalog));
    send_event(rig, "kill", ID_1);
    UNTIL(rig, rig->agent->counters.docker_events[ACTION_KILL] == 1);
    assert_true(access(path, F_OK) < 0); /* soon, not at once */
    UNTIL(rig, !etcd3_key(&rig->etcd, KEY));
    UNTIL(rig, access(path, F_OK) == 0);
    assert_non_null(strstr(read_text(rig, path), ID_1));
    assert_int_equal(rig->agent->saved_stops, catalog_stops_version(rig->agent->catalog));
}

static void saves_stops_at_the_end(void **state)
{
    Rig *rig = *state;

    start_ready(rig);
    CLEANUP_FREE char *path = state_path(rig);
    send_event(rig, "kill", ID_1);
    UNTIL(rig, rig->agent->counters.docker_events[ACTION_KILL] == 1);
    assert_true(access(path, F_OK) < 0);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    UNTIL(rig, is_finished(rig));
    assert_non_null(strstr(read_text(rig, path), ID_1));
}

static void a_container_that_outlives_its_stop_is_registered_again(void **state)
{
    Rig *rig = *state;

    add_argument(rig, "--stop-limit=%s", "1");
    add_argument(rig, "--heartbeat=%s", "1");
    start_ready(rig);
    send_event(rig, "kill", ID_1);
    UNTIL(rig, !etcd3_key(&rig->etcd, KEY));
    UNTIL(rig, has(rig, KEY, "192.0.2.1:32768"));
    assert_true(was_logged(rig, "Container web still runs 1 s after its stop signal (--stop-limit)"));
}

static void a_failed_inspect_is_repeated(void **state)
{
    Rig *rig = *state;

    add_container(rig, ID_1, "web", 32768);
    rig->containers[0].n_failures = 1;
    start(rig, false);
    UNTIL(rig, has(rig, KEY, "192.0.2.1:32768"));
    assert_true(was_logged(rig, "Failed to inspect container 111111111111"));
}

static void two_containers_of_one_key(void **state)
{
    Rig *rig = *state;

    add_container(rig, ID_1, "web", 32768);
    add_container(rig, ID_2, "web", 32769);
    add_argument(rig, "--heartbeat=%s", "1");
    start(rig, false);
    UNTIL(rig, was_logged(rig, "already belongs to another container of this host: waiting until it is gone"));
    UNTIL(rig, etcd3_key(&rig->etcd, KEY));
    bool web = has(rig, KEY, "192.0.2.1:32768");
    send_event(rig, "die", web ? ID_1 : ID_2);
    send_event(rig, "destroy", web ? ID_1 : ID_2);
    UNTIL(rig, has(rig, KEY, web ? "192.0.2.1:32769" : "192.0.2.1:32768"));
}

/* Losses */

static void the_same_engine_keeps_the_store(void **state)
{
    Rig *rig = *state;

    start_ready(rig);
    const Store *store = publisher_store(rig->agent->publisher);
    lose_docker(rig);
    UNTIL(rig, was_notified(rig, "STATUS=Docker is away: "));
    UNTIL(rig, rig->n_lists == 2);
    UNTIL(rig, rig->agent->counters.docker_connects == 2);
    assert_ptr_equal(publisher_store(rig->agent->publisher), store);
    assert_string_equal(value_of(rig, KEY), "192.0.2.1:32768");
}

static void another_engine_has_another_lease(void **state)
{
    Rig *rig = *state;

    start_ready(rig);
    rig->engine = "OTHER";
    lose_docker(rig);
    UNTIL(rig, etcd3_key(&rig->etcd, KEY) && etcd3_key(&rig->etcd, KEY)->lease == lease_of_engine("OTHER"));
    assert_string_equal(value_of(rig, KEY), "192.0.2.1:32768");
    assert_string_equal(rig->agent->engine_id, "OTHER");
}

static void a_lost_lease_asks_docker_before_it_writes(void **state)
{
    Rig *rig = *state;

    add_argument(rig, "--heartbeat=%s", "1");
    add_argument(rig, "--ttl=%s", "5");
    start_ready(rig);
    assert_int_equal(etcd3_lease(&rig->etcd, lease_of_engine("EN:GI:NE"))->ttl_s, 5);
    rig->list_is_held = true;
    etcd3_end_lease(&rig->etcd, lease_of_engine("EN:GI:NE"));
    UNTIL(rig, rig->held_list);
    assert_int_equal(rig->n_lists, 2);
    drain(rig);
    assert_null(etcd3_key(&rig->etcd, KEY));
    rig->list_is_held = false;
    answer_list(rig, rig->held_list);
    UNTIL(rig, has(rig, KEY, "192.0.2.1:32768"));
    assert_true(was_logged(rig, "The keys' TTL of 5 s ended in etcd"));
}

/* Dry runs */

static const char *dry_run(Rig *rig, int *ret_status)
{
    start(rig, true);
    UNTIL(rig, is_finished(rig));
    assert_int_equal(sd_event_get_exit_code(rig->agent->event, ret_status), 0);
    assert_int_equal(rig->etcd.n_puts, 0);
    assert_true(access(rig->control, F_OK) < 0);
    assert_false(was_notified(rig, "READY=1"));
    (void)fflush(stdout);
    return read_text(rig, rig->out);
}

static void a_dry_run_prints_and_ends(void **state)
{
    Rig *rig = *state;
    int status;

    add_container(rig, ID_1, "web", 32768);
    add_container(rig, ID_2, "db", 32769);
    inherit(rig, OLD_KEY, "192.0.2.1:1");
    etcd3_put(&rig->etcd, "/app/servers/db", "198.51.100.1:1\n2", 0);
    const char *text = dry_run(rig, &status);
    assert_int_equal(status, EXIT_SUCCESS);
    assert_non_null(strstr(text, " " KEY " 192.0.2.1:32768\n"));
    assert_non_null(strstr(text, " " OLD_KEY "\n"));
    assert_non_null(strstr(text, " /app/servers/db 192.0.2.1:32769 (there now: 198.51.100.1:1"));
    assert_int_equal(count(text, "\n"), 3);
    assert_int_equal(rig->etcd.n_keys, 2);
}

static void a_dry_run_without_docker_fails(void **state)
{
    Rig *rig = *state;
    int status;

    rig->docker_fails = true;
    assert_string_equal(dry_run(rig, &status), "");
    assert_int_equal(status, EXIT_NOT_POSSIBLE);
}

static void a_dry_run_without_etcd_fails(void **state)
{
    Rig *rig = *state;
    int status;

    rig->etcd.is_away = true;
    assert_string_equal(dry_run(rig, &status), "");
    assert_int_equal(status, EXIT_NOT_POSSIBLE);
    assert_true(was_logged(rig, "cannot serve now"));
}

/* Signals */

static void ends_at(Rig *rig, int signal, const char *logged)
{
    int status = -1;

    start_ready(rig);
    assert_int_equal(kill(getpid(), signal), 0);
    UNTIL(rig, is_finished(rig));
    assert_int_equal(sd_event_get_exit_code(rig->agent->event, &status), 0);
    assert_int_equal(status, EXIT_SUCCESS);
    assert_true(was_notified(rig, "STOPPING=1"));
    assert_true(was_logged(rig, logged));
    assert_string_equal(value_of(rig, KEY), "192.0.2.1:32768");
}

static void sigterm_ends_it_and_the_keys_stay(void **state)
{
    ends_at(*state, SIGTERM, "Got Terminated, ending; the keys stay in etcd for up to 30 s");
}

static void sigint_ends_it_and_the_keys_stay(void **state)
{
    ends_at(*state, SIGINT, "Got Interrupt, ending; the keys stay in etcd for up to 30 s");
}

static void reload(Rig *rig, const char *config, const char *logged)
{
    assert_false(was_logged(rig, logged));
    write_config(rig, config);
    assert_int_equal(kill(getpid(), SIGHUP), 0);
    UNTIL(rig, was_logged(rig, logged));
}

static void bad_settings_change_nothing(void **state)
{
    Rig *rig = *state;

    start_ready(rig);
    const Settings *settings = rig->agent->settings;
    *rig->notified = '\0';
    reload(rig, "[registry]\nttl = 1\n", "Settings not read again, the old ones stay: ");
    assert_ptr_equal(rig->agent->settings, settings);
    assert_int_equal(rig->agent->settings->ttl_s, 30);
    assert_true(was_notified(rig, "RELOADING=1\nMONOTONIC_USEC="));
    assert_true(strstr(rig->notified, "READY=1") > strstr(rig->notified, "RELOADING=1"));
    assert_false(was_logged(rig, "Settings read again"));
    assert_false(is_finished(rig));
}

static void before_it_is_ready_a_reload_is_not_announced(void **state)
{
    Rig *rig = *state;

    rig->list_is_held = true;
    start(rig, false);
    UNTIL(rig, rig->held_list);
    reload(rig, "", "Settings read again");
    assert_false(was_notified(rig, "RELOADING=1"));
    assert_false(was_notified(rig, "READY=1"));
}

static void new_settings_of_one_part_leave_the_others(void **state)
{
    Rig *rig = *state;

    start_ready(rig);
    const Docker *docker = rig->agent->docker;
    const Store *store = publisher_store(rig->agent->publisher);
    assert_int_equal(unsetenv("REGISTRATOR_ADVERTISE"), 0);
    *rig->notified = '\0';
    reload(rig, "[registry]\nadvertise = 192.0.2.2\n[agent]\nlog_format = logfmt\n", "Settings read again");
    UNTIL(rig, has(rig, KEY, "192.0.2.2:32768"));
    assert_ptr_equal(rig->agent->docker, docker);
    assert_ptr_equal(publisher_store(rig->agent->publisher), store);
    assert_int_equal(rig->agent->counters.docker_connects, 1);
    assert_true(was_notified(rig, "RELOADING=1"));
    assert_int_equal(count(rig->notified, "READY=1"), 1);
    log_set_format(LOG_FORMAT_PLAIN);
}

static void a_new_key_template_moves_the_keys(void **state)
{
    Rig *rig = *state;

    start_ready(rig);
    reload(rig, "[registry]\nkey = /new/{name}\nttl = 60\n", "Settings read again");
    UNTIL(rig, has(rig, "/new/web", "192.0.2.1:32768") && !etcd3_key(&rig->etcd, KEY));
    assert_int_equal(etcd3_lease(&rig->etcd, etcd3_key(&rig->etcd, "/new/web")->lease)->ttl_s, 60);
}

static void another_docker_gets_the_questions(void **state)
{
    Rig *rig = *state;

    start_ready(rig);
    const Store *store = publisher_store(rig->agent->publisher);
    assert_int_equal(unsetenv("REGISTRATOR_DOCKER"), 0);
    CLEANUP_FREE char *config = text_format("[docker]\nurl = unix://%s\n", rig->other_path);
    reload(rig, config, "Settings read again");
    UNTIL(rig, rig->other_docker->requests > 0 && rig->agent->counters.docker_connects == 2);
    UNTIL(rig, rig->n_lists == 2);
    assert_ptr_equal(publisher_store(rig->agent->publisher), store);
    assert_string_equal(value_of(rig, KEY), "192.0.2.1:32768");
}

static void the_control_socket_moves(void **state)
{
    Rig *rig = *state;

    start_ready(rig);
    assert_int_equal(access(rig->control, F_OK), 0);
    assert_int_equal(unsetenv("REGISTRATOR_CONTROL"), 0);
    CLEANUP_FREE char *config = text_format("[agent]\ncontrol = %s/moved\n", rig->directory);
    CLEANUP_FREE char *moved = text_format("%s/moved", rig->directory);
    reload(rig, config, "Settings read again");
    assert_int_equal(access(moved, F_OK), 0);
    assert_true(access(rig->control, F_OK) < 0);
}

static void the_other_api_is_written(void **state)
{
    Rig *rig = *state;

    start_ready(rig);
    reload(rig, "[etcd]\napi = v2\n", "Settings read again");
    assert_true(was_logged(rig, "No longer written: etcd v3 (3.4.0"));
    assert_true(was_logged(rig, "the keys there expire when their TTL of 30 s ends"));
    UNTIL(rig, rig->etcd.n_v2 >= 2);
    UNTIL(rig, was_notified(rig, "containers in etcd v2 (3.4.0, as set)"));
    assert_non_null(strstr(rig->etcd.v2, "PUT /v2/keys/app/servers dir=true&prevExist=false\n"));
    UNTIL(rig, strstr(rig->etcd.v2, "PUT /v2/keys/app/servers/web ttl=30&"));
}

static void a_drained_host_is_named_in_the_status(void **state)
{
    Rig *rig = *state;

    start_ready(rig);
    catalog_set_host_drained(rig->agent->catalog, true);
    UNTIL(rig, !etcd3_key(&rig->etcd, KEY));
    agent_update_status(rig->agent);
    assert_true(was_notified(rig, "; the host is drained"));
    assert_false(was_notified(rig, "STATUS=1 keys of 1 running containers; the host"));
}

/* Another owner's key */

static void another_owners_key_stays(void **state)
{
    Rig *rig = *state;

    etcd3_put(&rig->etcd, KEY, "theirs", 0);
    start_ready(rig);
    assert_string_equal(value_of(rig, KEY), "theirs");
    assert_true(was_notified(rig, "STATUS=0 keys of 1 running containers"));
}

static void another_owners_key_is_replaced_if_set(void **state)
{
    Rig *rig = *state;

    etcd3_put(&rig->etcd, KEY, "theirs", 0);
    add_argument(rig, "--on-conflict=%s", "replace");
    start_ready(rig);
    assert_string_equal(value_of(rig, KEY), "192.0.2.1:32768");
}

/* The operator */

static char *ask(Rig *rig, const char *path)
{
    CLEANUP_FREE char *request = text_format("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    char *text = calloc(1, CLIENT_ANSWER_MAX);
    int fd = client_connect_unix(rig->control);
    size_t size = 0;

    assert_non_null(text);
    assert_true(fd >= 0 && client_send(fd, request));
    while (!client_is_whole(text)) {
        ssize_t n = recv(fd, text + size, CLIENT_ANSWER_MAX - 1 - size, MSG_DONTWAIT);

        size += n > 0 ? (size_t)n : 0;
        (void)turn(rig, 1000);
    }
    close(fd);
    return text;
}

static void the_operator_sees_the_agents_state(void **state)
{
    Rig *rig = *state;

    rig->list_is_held = true;
    add_container(rig, ID_1, "web", 32768);
    start(rig, false);
    CLEANUP_FREE char *early = ask(rig, "/status");
    assert_non_null(strstr(early, "\"why\":\"connecting\""));
    UNTIL(rig, rig->held_list);
    answer_list(rig, rig->held_list);
    UNTIL(rig, was_notified(rig, "READY=1"));
    CLEANUP_FREE char *text = ask(rig, "/status");
    assert_null(strstr(text, "\"connecting\""));
    assert_non_null(strstr(text, "\"node\":\"host1\""));
    assert_non_null(strstr(text, "\"address4\":\"192.0.2.1\""));
    assert_non_null(strstr(text, rig->docker_path));
    assert_non_null(strstr(text, "\"1.41\""));
    assert_non_null(strstr(text, "\"key\":\"" KEY "\""));
}

#define TEST(function)                                                                           \
    {                                                                                            \
        .name = #function, .test_func = function, .setup_func = setup, .teardown_func = teardown \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(registers_then_is_ready),
        TEST(is_ready_while_docker_is_away),
        TEST(is_ready_while_etcd_is_away),
        TEST(says_that_no_address_is_there),
        TEST(an_orphan_is_dropped_once_docker_is_known),
        TEST(an_orphan_is_dropped_only_online),
        TEST(the_keys_of_another_host_stay),
        TEST(follows_events),
        TEST(saves_stops),
        TEST(saves_stops_at_the_end),
        TEST(a_container_that_outlives_its_stop_is_registered_again),
        TEST(a_failed_inspect_is_repeated),
        TEST(two_containers_of_one_key),
        TEST(the_same_engine_keeps_the_store),
        TEST(another_engine_has_another_lease),
        TEST(a_lost_lease_asks_docker_before_it_writes),
        TEST(a_dry_run_prints_and_ends),
        TEST(a_dry_run_without_docker_fails),
        TEST(a_dry_run_without_etcd_fails),
        TEST(sigterm_ends_it_and_the_keys_stay),
        TEST(sigint_ends_it_and_the_keys_stay),
        TEST(bad_settings_change_nothing),
        TEST(before_it_is_ready_a_reload_is_not_announced),
        TEST(new_settings_of_one_part_leave_the_others),
        TEST(a_new_key_template_moves_the_keys),
        TEST(another_docker_gets_the_questions),
        TEST(the_control_socket_moves),
        TEST(the_other_api_is_written),
        TEST(a_drained_host_is_named_in_the_status),
        TEST(another_owners_key_stays),
        TEST(another_owners_key_is_replaced_if_set),
        TEST(the_operator_sees_the_agents_state),
    };

    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}
