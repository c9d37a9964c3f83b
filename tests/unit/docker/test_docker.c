/* The Docker client against a fake engine: an HTTP server on a unix socket in the test's own loop, which says what
 * an engine said when it was recorded, or what none should. */
#include "docker/docker.h"

#include "unit/fake_http.h"
#include "base/log.h"
#include "unit/scratch.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define ID_1 "1111111111111111111111111111111111111111111111111111111111111111"
#define ID_2 "2222222222222222222222222222222222222222222222222222222222222222"

enum { HELD_MAX = 32, TOLD_MAX = 128, QUESTIONS_MAX = 64 };

typedef struct Told {
    char id[65];
    uint64_t ticket;
    bool has_container;
    int error;
} Told;

typedef struct Rig {
    sd_event *event;
    char directory[SCRATCH_MAX], path[SCRATCH_MAX + 32], url[SCRATCH_MAX + 40];
    FakeServer *server;
    Docker *docker;
    DockerConfig config;
    LabelFilter labels;

    /* What the engine says */
    const char *ping_status, *ping_headers;
    const char *refused_prefix; /* paths that begin so are answered with 400 */
    const char *list; /* body */
    const char *list_status;
    bool list_is_cut_off; /* the connection ends before the body does */
    bool is_podman;
    bool stream_is_held, list_is_held, inspects_are_held;
    FakeConnection *stream, *held_list, *held[HELD_MAX];
    char held_ids[HELD_MAX][65];
    size_t n_held;
    char requests[4096]; /* the paths, each with a space after it */
    const char *system_time; /* of /info */
    char subscription[1024]; /* the last one's path */

    /* What the handlers were told */
    char told[4096];
    size_t n_connected, n_lost, n_lists_begun, n_lists_whole, n_lists_cut, n_listed, n_events;
    DockerEvent last_event;
    char why[512];
    DockerQuestion questions[QUESTIONS_MAX]; /* that a free slot is given */
    size_t n_questions;
    DockerQuestion early[QUESTIONS_MAX]; /* that a free slot for containers about to start is given, the last first */
    size_t n_early;
    Told inspected[TOLD_MAX];
    size_t n_inspected;
} Rig;

/* The engine */

static bool is_open(Rig *rig, const FakeConnection *wanted)
{
    FakeConnection *connection;

    LIST_FOREACH (connection, &rig->server->connections, connections)
        if (connection == wanted)
            return true;
    return false;
}

static void send_chunk(FakeConnection *connection, const char *text)
{
    char size[32];

    (void)snprintf(size, sizeof(size), "%zx\r\n", strlen(text));
    fake_print(connection, size);
    fake_print(connection, text);
    fake_print(connection, "\r\n");
}

static char *make_inspect(const char *id)
{
    char *body = NULL;

    assert_true(asprintf(&body,
                         "{\"Id\":\"%s\",\"Name\":\"/web\",\"State\":{\"Status\":\"running\",\"Running\":true},"
                         "\"Config\":{\"Image\":\"app:1\"},\"HostConfig\":{\"NetworkMode\":\"default\"},"
                         "\"NetworkSettings\":{\"Ports\":{},\"Networks\":{}}}",
                         id) > 0);
    return body;
}

static void answer_inspect(FakeConnection *connection, const char *id)
{
    CLEANUP_FREE char *body = make_inspect(id);

    /* The first digit says what is wrong with it. */
    switch (id[0]) {
    case '4':
        fake_answer(connection, "404 Not Found", "", "{\"message\":\"No such container\"}");
        break;
    case '5':
        fake_answer(connection, "500 Internal Server Error", "", "{\"message\":\"dead\"}");
        break;
    case '6':
        fake_answer(connection, "200 OK", "", "{\"Id\":\"short\"}");
        break;
    case '7':
        body[strlen("{\"Id\":\"")] = '1'; /* another one's */
        fake_answer(connection, "200 OK", "", body);
        break;
    case '8':
        fake_answer(connection, "200 OK", "", "");
        break;
    default:
        fake_answer(connection, "200 OK", "", body);
    }
}

static void answer_list(Rig *rig, FakeConnection *connection)
{
    char head[128];

    if (!rig->list_is_cut_off) {
        fake_answer(connection, rig->list_status, "", rig->list);
        return;
    }
    (void)snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nTransfer-Encoding: chunked\r\n\r\n", rig->list_status);
    fake_print(connection, head);
    send_chunk(connection, rig->list);
    (void)shutdown(connection->fd, SHUT_WR);
}

static void hold_inspect(Rig *rig, FakeConnection *connection, const char *id)
{
    assert_true(rig->n_held < HELD_MAX);
    rig->held[rig->n_held] = connection;
    memcpy(rig->held_ids[rig->n_held++], id, 65);
}

static void answer_info(Rig *rig, FakeConnection *connection)
{
    char body[256];

    (void)snprintf(body, sizeof(body), "{\"ID\":\"EN:GI:NE\",\"SystemTime\":\"%s\"%s}", rig->system_time,
                   rig->is_podman ? ",\"BuildahVersion\":\"1.28\"" : "");
    fake_answer(connection, "200 OK", "", body);
}

static void on_request(FakeConnection *connection, const char *request)
{
    Rig *rig = connection->server->userdata;
    char path[1024] = "", id[65] = "";
    size_t used = strlen(rig->requests);

    assert_int_equal(sscanf(request, "GET %1023s", path), 1);
    (void)snprintf(rig->requests + used, sizeof(rig->requests) - used, "%.*s ", (int)strcspn(path, "?"), path);
    const char *bare = path[1] == 'v' ? strchr(path + 1, '/') : path;
    if (rig->refused_prefix && strncmp(path, rig->refused_prefix, strlen(rig->refused_prefix)) == 0) {
        fake_answer(connection, "400 Bad Request", "", "{\"message\":\"client version is too old\"}");
    } else if (strcmp(bare, "/_ping") == 0) {
        fake_answer(connection, rig->ping_status, rig->ping_headers, "OK");
    } else if (strcmp(bare, "/info") == 0) {
        answer_info(rig, connection);
    } else if (strncmp(bare, "/events?", 8) == 0) {
        rig->stream = connection;
        (void)snprintf(rig->subscription, sizeof(rig->subscription), "%s", bare);
        if (!rig->stream_is_held)
            fake_print(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    } else if (strcmp(bare, "/containers/json") == 0) {
        if (rig->list_is_held)
            rig->held_list = connection;
        else
            answer_list(rig, connection);
    } else {
        assert_int_equal(sscanf(bare, "/containers/%64[0-9a-f]/json", id), 1);
        if (rig->inspects_are_held)
            hold_inspect(rig, connection, id);
        else
            answer_inspect(connection, id);
    }
}

/* Handlers */

static void tell(Rig *rig, const char *text)
{
    size_t used = strlen(rig->told);

    (void)snprintf(rig->told + used, sizeof(rig->told) - used, "%s ", text);
}

static void on_connected(void *userdata, const char *engine_id)
{
    Rig *rig = userdata;

    assert_string_equal(engine_id, rig->is_podman ? "" : "EN:GI:NE");
    assert_true(docker_connected(rig->docker));
    rig->n_connected++;
    tell(rig, "connected");
}

static void on_list_begin(void *userdata)
{
    Rig *rig = userdata;

    rig->n_lists_begun++;
    tell(rig, "begin");
}

static void on_listed(void *userdata, Container *container)
{
    Rig *rig = userdata;

    assert_non_null(container);
    container_free(container);
    rig->n_listed++;
    tell(rig, "listed");
}

static void on_list_end(void *userdata, bool complete)
{
    Rig *rig = userdata;

    *(complete ? &rig->n_lists_whole : &rig->n_lists_cut) += 1;
    tell(rig, complete ? "whole" : "cut");
}

static void on_event(void *userdata, const DockerEvent *event)
{
    Rig *rig = userdata;

    rig->n_events++;
    rig->last_event = *event;
    tell(rig, docker_action_to_string(event->action));
}

static bool on_next_inspect(void *userdata, bool early, DockerQuestion *ret)
{
    Rig *rig = userdata;

    if (early && rig->n_early > 0) {
        *ret = rig->early[--rig->n_early];
        return true;
    }
    if (early || rig->n_questions == 0)
        return false;
    *ret = rig->questions[0];
    memmove(&rig->questions[0], &rig->questions[1], --rig->n_questions * sizeof(rig->questions[0]));
    return true;
}

static void inspect(Rig *rig, const char *id, uint64_t ticket)
{
    DockerQuestion *question = &rig->questions[rig->n_questions++];

    assert_true(rig->n_questions <= QUESTIONS_MAX);
    question->ticket = ticket;
    memcpy(question->id, id, sizeof(question->id));
    docker_pull(rig->docker);
}

static void on_inspected(void *userdata, const char *id, uint64_t ticket, Container *container, int error)
{
    Rig *rig = userdata;
    Told *told = &rig->inspected[rig->n_inspected++];

    assert_true(rig->n_inspected <= TOLD_MAX);
    assert_int_equal(error == 0, container != NULL);
    *told = (Told){ .ticket = ticket, .has_container = container, .error = error };
    memcpy(told->id, id, sizeof(told->id));
    container_free(container);
}

static void on_lost(void *userdata, const char *why)
{
    Rig *rig = userdata;

    assert_false(docker_connected(rig->docker));
    rig->n_lost++;
    (void)snprintf(rig->why, sizeof(rig->why), "%s", why);
    tell(rig, "lost");
}

static const DockerHandlers handlers = { .connected = on_connected,
                                         .list_begin = on_list_begin,
                                         .listed = on_listed,
                                         .list_end = on_list_end,
                                         .event = on_event,
                                         .next_inspect = on_next_inspect,
                                         .inspected = on_inspected,
                                         .lost = on_lost };

/* Rig */

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    log_set_level(-1);
    scratch_template(rig->directory);
    assert_non_null(mkdtemp(rig->directory));
    (void)snprintf(rig->path, sizeof(rig->path), "%s/docker.sock", rig->directory);
    (void)snprintf(rig->url, sizeof(rig->url), "unix://%s", rig->path);
    assert_true(sd_event_new(&rig->event) >= 0);
    rig->config = (DockerConfig){ .url = rig->url, .resync_s = 3600 };
    rig->ping_status = rig->list_status = "200 OK";
    rig->system_time = "2020-04-18T18:17:00.5Z"; /* s 1587233820, before the events below */
    rig->ping_headers = "Api-Version: 1.41\r\n";
    rig->list = "[]";
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;

    docker_free(rig->docker);
    fake_free(rig->server);
    sd_event_unref(rig->event);
    (void)rmdir(rig->directory);
    free(rig);
    return 0;
}

static void open_engine(Rig *rig)
{
    rig->server = fake_new(rig->event, rig->path, on_request, rig);
}

static void open_docker(Rig *rig)
{
    assert_int_equal(docker_new(&rig->docker, rig->event, &rig->config, &rig->labels, &handlers, rig), 0);
}

/* Until it is so: each turn waits for something to happen, and there is an end to it. */
#define DRIVE(rig, condition)                                      \
    do {                                                           \
        for (int turn_ = 0; turn_ < 5000 && !(condition); turn_++) \
            assert_true(sd_event_run((rig)->event, 10000) >= 0);   \
        assert_true(condition);                                    \
    } while (0)

/* What is on its way arrives: as often as nothing happened at all. */
static void drain(Rig *rig)
{
    for (int quiet = 0; quiet < 20;)
        quiet = sd_event_run(rig->event, 1000) > 0 ? 0 : quiet + 1;
}

static void start(Rig *rig)
{
    open_engine(rig);
    open_docker(rig);
    DRIVE(rig, rig->n_lists_whole == 1);
}

static char *read_data(const char *name)
{
    const char *srcdir = getenv("srcdir");
    CLEANUP_FREE char *path = NULL;
    char *text = NULL;
    size_t allocated = 0;

    assert_true(asprintf(&path, "%s/tests/data/docker/%s", srcdir ? srcdir : ".", name) > 0);
    CLEANUP(fclose_p) FILE *file = fopen(path, "re");
    if (!file)
        fail_msg("cannot open %s", path);
    assert_true(getdelim(&text, &allocated, '\0', file) > 0);
    return text;
}

/* Handshake */

static void subscribes_first_and_lists_second(void **state)
{
    Rig *rig = *state;

    open_engine(rig);
    open_docker(rig);
    assert_false(docker_connected(rig->docker));
    DRIVE(rig, rig->n_lists_whole == 1);
    assert_string_equal(rig->requests, "/_ping /v1.41/info /v1.41/events /v1.41/containers/json ");
    assert_string_equal(rig->told, "connected begin whole ");
    assert_string_equal(docker_api_version(rig->docker), "1.41");
    assert_string_equal(docker_url(rig->docker), rig->url);
}

static void newer_engine_is_asked_for_the_newest_known(void **state)
{
    Rig *rig = *state;

    rig->ping_headers = "Api-Version: 1.60\r\n";
    start(rig);
    assert_string_equal(docker_api_version(rig->docker), "1.52");
    assert_non_null(strstr(rig->requests, "/v1.52/containers/json"));
}

static void no_version_header_means_no_version(void **state)
{
    Rig *rig = *state;

    rig->ping_headers = "";
    start(rig);
    assert_string_equal(rig->requests, "/_ping /info /events /containers/json ");
}

static void nonsense_version_header_means_no_version(void **state)
{
    Rig *rig = *state;

    rig->ping_headers = "Api-Version: 1.99999999999/../../x\r\n";
    start(rig);
    assert_string_equal(rig->requests, "/_ping /info /events /containers/json ");
}

static void engine_of_the_future_decides_itself(void **state)
{
    Rig *rig = *state;

    rig->ping_headers = "Api-Version: 1.99\r\n";
    rig->refused_prefix = "/v1.52/";
    start(rig);
    assert_string_equal(rig->requests, "/_ping /v1.52/info /info /events /containers/json ");
    assert_int_equal(rig->n_lost, 0);
}

static void engine_that_refuses_is_asked_again(void **state)
{
    Rig *rig = *state;

    rig->ping_status = "503 Service Unavailable";
    open_engine(rig);
    open_docker(rig);
    DRIVE(rig, rig->server->requests >= 3);
    assert_int_equal(rig->n_lost, 1);
    assert_non_null(strstr(rig->why, "503"));
    assert_non_null(strstr(rig->why, rig->url));
    rig->ping_status = "200 OK";
    DRIVE(rig, rig->n_lists_whole == 1);
    assert_int_equal(rig->n_connected, 1);
}

static void a_missing_socket_is_logged_once(void **state)
{
    Rig *rig = *state;

    open_docker(rig);
    DRIVE(rig, rig->n_lost > 0);
    assert_non_null(strstr(rig->why, rig->path));
    assert_non_null(strstr(rig->why, "No such file"));
    assert_non_null(strstr(rig->why, "--docker"));
    for (int i = 0; i < 60; i++)
        assert_true(sd_event_run(rig->event, 10000) >= 0);
    assert_int_equal(rig->n_lost, 1);
    open_engine(rig);
    DRIVE(rig, rig->n_lists_whole == 1);
    /* The next loss is news again. */
    fake_free(rig->server);
    rig->server = NULL;
    DRIVE(rig, rig->n_lost == 2);
    assert_string_equal(rig->told, "lost connected begin whole lost ");
}

static void an_engine_that_forbids_has_its_own_error(void **state)
{
    Rig *rig = *state;

    rig->ping_status = "403 Forbidden";
    open_engine(rig);
    open_docker(rig);
    DRIVE(rig, rig->n_lost == 1);
    assert_non_null(strstr(rig->why, "must allow GET of"));
}

static void stream_that_never_begins_is_a_failure(void **state)
{
    Rig *rig = *state;

    rig->stream_is_held = true;
    open_engine(rig);
    open_docker(rig);
    DRIVE(rig, rig->n_lost == 1);
    assert_int_equal(rig->n_connected, 0);
    assert_non_null(strstr(rig->why, "does not answer"));
    rig->stream_is_held = false;
    DRIVE(rig, rig->n_lists_whole == 1);
}

static void bad_urls_are_refused(void **state)
{
    Rig *rig = *state;

    rig->config.url = "ftp://host";
    assert_int_equal(docker_new(&rig->docker, rig->event, &rig->config, &rig->labels, &handlers, rig), -EINVAL);
    assert_null(rig->docker);
}

/* Events */

#define EVENT(action, id)                                                                             \
    "{\"Type\":\"container\",\"Action\":\"" action "\",\"Actor\":{\"ID\":\"" id "\",\"Attributes\":{" \
    "\"signal\":\"15\"}},\"timeNano\":1587233840345201553}\n"

static void chunk_is_no_event(void **state)
{
    Rig *rig = *state;
    static const char first[] = EVENT("start", ID_1), second[] = EVENT("kill", ID_2);

    start(rig);
    CLEANUP_FREE char *part = strndup(first, 40);
    send_chunk(rig->stream, part);
    drain(rig);
    assert_int_equal(rig->n_events, 0);
    CLEANUP_FREE char *rest = NULL;
    assert_true(asprintf(&rest, "%s%s%s", first + 40, second, EVENT("die", ID_2)) > 0);
    send_chunk(rig->stream, rest);
    DRIVE(rig, rig->n_events == 3);
    assert_string_equal(rig->told, "connected begin whole start kill die ");
    assert_string_equal(rig->last_event.id, ID_2);
}

static void bad_lines_cost_only_themselves(void **state)
{
    Rig *rig = *state;
    CLEANUP_FREE char *long_line = malloc(300001);

    start(rig);
    memset(long_line, 'x', 300000);
    long_line[299999] = '\n';
    long_line[300000] = '\0';
    send_chunk(rig->stream, "garbage\n\n{}\n");
    send_chunk(rig->stream, EVENT("exec_start: /bin/true", ID_1));
    send_chunk(rig->stream, long_line);
    send_chunk(rig->stream, EVENT("start", ID_1));
    DRIVE(rig, rig->n_events == 1);
    assert_int_equal(rig->n_lost, 0);
    assert_int_equal(rig->last_event.action, ACTION_START);
}

static void end_of_the_stream_is_a_new_beginning(void **state)
{
    Rig *rig = *state;

    start(rig);
    send_chunk(rig->stream, "{\"Type\":\"conta");
    fake_print(rig->stream, "0\r\n\r\n");
    DRIVE(rig, rig->n_lists_whole == 2);
    assert_string_equal(rig->told, "connected begin whole lost connected begin whole ");
    assert_non_null(strstr(rig->why, "the stream ended"));
    /* The half event of the old stream is forgotten. */
    send_chunk(rig->stream, EVENT("start", ID_1));
    DRIVE(rig, rig->n_events == 1);
}

#define EVENT_AT(action, time)                                                                             \
    "{\"Type\":\"container\",\"Action\":\"" action "\",\"Actor\":{\"ID\":\"" ID_1 "\",\"Attributes\":{}}," \
    "\"timeNano\":" time "}\n"

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* What happened while nobody listened is told by since=. */
static void subscription_asks_for_the_events_since_the_last_one(void **state)
{
    Rig *rig = *state;

    start(rig);
    assert_true(begins(rig->subscription, "/events?since=1587233220.500000000&filters="));
    send_chunk(rig->stream, EVENT_AT("start", "1587233825000000000"));
    DRIVE(rig, rig->n_events == 1);
    assert_int_equal(rig->last_event.age_us, 0);
    assert_in_range(rig->last_event.time_ns, 1587233825000000000 - 256, 1587233825000000000 + 256);
    rig->system_time = "2020-04-18T20:17:10+02:00";
    fake_print(rig->stream, "0\r\n\r\n");
    DRIVE(rig, rig->n_lists_whole == 2);
    assert_true(begins(rig->subscription, "/events?since=1587233825.000000000&filters="));
    /* The last one comes again; the next one is old. */
    send_chunk(rig->stream, EVENT_AT("start", "1587233825000000000") EVENT_AT("die", "1587233826000000000"));
    DRIVE(rig, rig->n_events == 2);
    assert_int_equal(rig->last_event.action, ACTION_DIE);
    assert_true(rig->last_event.age_us >= 4000000);
    /* The engine's clock is set back: an event of now is no old one. */
    send_chunk(rig->stream, EVENT_AT("start", "1587233831000000000") EVENT_AT("kill", "1587230000000000000"));
    DRIVE(rig, rig->n_events == 4);
    assert_int_equal(rig->last_event.action, ACTION_KILL);
    assert_int_equal(rig->last_event.age_us, 0);
    /* After an hour without events, the oldest that can matter. */
    rig->system_time = "2020-04-18T19:17:10Z";
    fake_print(rig->stream, "0\r\n\r\n");
    DRIVE(rig, rig->n_lists_whole == 3);
    assert_true(begins(rig->subscription, "/events?since=1587236830.000000000&filters="));
    /* A clock that was set back. */
    rig->system_time = "2020-04-18T17:17:10Z";
    fake_print(rig->stream, "0\r\n\r\n");
    DRIVE(rig, rig->n_lists_whole == 4);
    assert_true(begins(rig->subscription, "/events?since=1587229630.000000000&filters="));
}

/* Podman would read all of its journal. */
static void podman_is_not_asked_for_old_events(void **state)
{
    Rig *rig = *state;

    rig->is_podman = true;
    start(rig);
    assert_true(begins(rig->subscription, "/events?filters="));
}

static void reconnect_drops_the_stream(void **state)
{
    Rig *rig = *state;

    start(rig);
    rig->inspects_are_held = true;
    inspect(rig, ID_1, 1);
    DRIVE(rig, rig->n_held == 1);
    const FakeConnection *old = rig->stream;
    docker_reconnect(rig->docker);
    docker_reconnect(rig->docker);
    DRIVE(rig, rig->n_lists_whole == 2);
    drain(rig);
    assert_false(rig->stream != old && is_open(rig, old));
    assert_string_equal(rig->told, "connected begin whole connected begin whole ");
    assert_int_equal(rig->n_inspected, 0);
    assert_int_equal(rig->n_lost, 0);
}

/* Lists */

static void recorded_list_is_read(void **state)
{
    Rig *rig = *state;
    CLEANUP_FREE char *text = read_data("list.json");
    cJSON *json = cJSON_Parse(text);
    int n = cJSON_GetArraySize(json);

    cJSON_Delete(json);
    assert_true(n > 5);
    rig->list = text;
    start(rig);
    assert_int_equal(rig->n_listed, n);
}

static void resync_lists_again(void **state)
{
    Rig *rig = *state;

    rig->config.resync_s = 1;
    start(rig);
    DRIVE(rig, rig->n_lists_whole == 3);
    assert_int_equal(rig->n_connected, 1);
}

static void one_list_at_a_time(void **state)
{
    Rig *rig = *state;

    start(rig);
    rig->list_is_held = true;
    docker_list(rig->docker);
    docker_list(rig->docker);
    DRIVE(rig, rig->held_list);
    docker_list(rig->docker);
    drain(rig);
    assert_int_equal(rig->n_lists_begun, 2);
    /* Events come through meanwhile. */
    send_chunk(rig->stream, EVENT("start", ID_1));
    DRIVE(rig, rig->n_events == 1);
    answer_list(rig, rig->held_list);
    DRIVE(rig, rig->n_lists_whole == 2);
}

static void expect_cut_list(Rig *rig)
{
    open_engine(rig);
    open_docker(rig);
    DRIVE(rig, rig->n_lists_cut == 1);
    assert_int_equal(rig->n_lists_whole, 0);
}

static void expect_return(Rig *rig)
{
    DRIVE(rig, rig->n_lost == 1);
    rig->list = "[]";
    rig->list_status = "200 OK";
    rig->list_is_cut_off = false;
    DRIVE(rig, rig->n_lists_whole == 1);
    assert_true(rig->n_connected >= 2);
}

#define LISTED "{\"Id\":\"" ID_1 "\",\"Names\":[\"/web\"],\"State\":\"running\",\"Status\":\"Up 2 seconds\"}"

static void list_whose_connection_ends_is_not_whole(void **state)
{
    Rig *rig = *state;

    rig->list = "[" LISTED;
    rig->list_is_cut_off = true;
    expect_cut_list(rig);
    expect_return(rig);
}

static void list_that_was_not_given_is_not_whole(void **state)
{
    Rig *rig = *state;

    rig->list = "{\"message\":\"layer does not exist\"}";
    rig->list_status = "500 Internal Server Error";
    expect_cut_list(rig);
    expect_return(rig);
    assert_non_null(strstr(rig->why, "layer does not exist"));
}

static void list_that_is_no_list_is_not_whole(void **state)
{
    Rig *rig = *state;

    rig->list = "{\"message\":\"moved\"}";
    expect_cut_list(rig);
    assert_int_equal(rig->n_listed, 0);
    expect_return(rig);
}

static void list_without_an_end_is_not_whole(void **state)
{
    Rig *rig = *state;

    rig->list = "[" LISTED ",";
    expect_cut_list(rig);
    assert_int_equal(rig->n_listed, 1);
    expect_return(rig);
    assert_non_null(strstr(rig->why, "not a whole list"));
}

static void overlong_entry_costs_only_itself(void **state)
{
    Rig *rig = *state;
    size_t size = 5000000;
    CLEANUP_FREE char *list = malloc(size + sizeof(LISTED) + 32);

    (void)sprintf(list, "[{\"x\":\"");
    memset(list + 7, 'x', size);
    (void)sprintf(list + 7 + size, "\"},%s]", LISTED);
    rig->list = list;
    start(rig);
    assert_int_equal(rig->n_listed, 1);
    assert_int_equal(rig->n_lost, 0);
}

/* As "docker run -p 10000-20000:10000-20000" makes one. */
static void entry_of_ten_thousand_ports_is_read(void **state)
{
    Rig *rig = *state;
    CLEANUP_FREE char *list = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&list, &size);

    assert_non_null(stream);
    fprintf(stream, "[{\"Id\":\"" ID_1 "\",\"Names\":[\"/sip\"],\"State\":\"running\",\"Ports\":[");
    for (unsigned port = 10000; port <= 20000; port++)
        fprintf(stream,
                "%s{\"IP\":\"0.0.0.0\",\"PrivatePort\":%u,\"PublicPort\":%u,\"Type\":\"udp\"},"
                "{\"IP\":\"::\",\"PrivatePort\":%u,\"PublicPort\":%u,\"Type\":\"udp\"}",
                port > 10000 ? "," : "", port, port, port, port);
    fprintf(stream, "]}]");
    assert_int_equal(fclose(stream), 0);
    rig->list = list;
    start(rig);
    assert_int_equal(rig->n_listed, 1);
}

static void entry_that_is_no_container_is_passed_over(void **state)
{
    Rig *rig = *state;

    rig->list = "[{\"Id\":\"short\"}," LISTED ",{}]";
    start(rig);
    assert_int_equal(rig->n_listed, 1);
}

/* Inspects */

static void make_id(char ret[65], char first, unsigned number)
{
    (void)snprintf(ret, 65, "%c%063x", first, number);
}

static void few_inspects_at_once_and_all_answered(void **state)
{
    Rig *rig = *state;
    char id[65];

    start(rig);
    rig->inspects_are_held = true;
    for (unsigned i = 0; i < 10; i++) {
        make_id(id, '1', i);
        inspect(rig, id, 100 + i);
    }
    DRIVE(rig, rig->n_held == 4);
    assert_int_equal(rig->n_questions, 6);
    while (rig->n_inspected < 10) {
        size_t before = rig->n_inspected;

        DRIVE(rig, rig->n_held > 0);
        FakeConnection *connection = rig->held[--rig->n_held];
        answer_inspect(connection, rig->held_ids[rig->n_held]);
        DRIVE(rig, rig->n_inspected == before + 1);
    }
    for (size_t i = 0; i < 10; i++) {
        assert_true(rig->inspected[i].has_container);
        make_id(id, '1', (unsigned)(rig->inspected[i].ticket - 100));
        assert_string_equal(rig->inspected[i].id, id);
    }
}

static void expect(Rig *rig, unsigned number)
{
    DockerQuestion *question = &rig->early[rig->n_early++];

    question->ticket = number;
    make_id(question->id, '1', number);
    docker_pull(rig->docker);
}

/* dockerd answers them when the start is complete, which may take minutes. */
static void early_inspects_have_slots_of_their_own(void **state)
{
    Rig *rig = *state;
    char id[65];

    start(rig);
    rig->inspects_are_held = true;
    for (unsigned i = 0; i < 10; i++)
        expect(rig, i);
    DRIVE(rig, rig->n_held == 8);
    drain(rig);
    assert_int_equal(rig->n_early, 2);
    for (unsigned i = 20; i < 25; i++) {
        make_id(id, '1', i);
        inspect(rig, id, i);
    }
    DRIVE(rig, rig->n_held == 12);
    assert_int_equal(rig->n_questions, 1);
    answer_inspect(rig->held[0], rig->held_ids[0]);
    DRIVE(rig, rig->n_inspected == 1);
    DRIVE(rig, rig->n_held == 13);
    assert_int_equal(rig->n_early, 1);
    /* Early ones that take long are not replaced; others are. */
    DRIVE(rig, rig->n_questions == 0);
    drain(rig);
    assert_int_equal(rig->n_early, 1);
    DRIVE(rig, rig->n_held == 14);
    for (size_t i = 1; i < 14; i++)
        answer_inspect(rig->held[i], rig->held_ids[i]);
    rig->inspects_are_held = false;
    DRIVE(rig, rig->n_inspected == 15);
}

/* Four that hang keep no fifth waiting for as long as they take. */
static void hanging_inspects_give_up_their_slots(void **state)
{
    Rig *rig = *state;
    char id[65];

    start(rig);
    rig->inspects_are_held = true;
    for (unsigned i = 0; i < 20; i++) {
        make_id(id, '1', i);
        inspect(rig, id, i);
    }
    DRIVE(rig, rig->n_held == 16);
    drain(rig);
    assert_int_equal(rig->n_questions, 4);
    assert_int_equal(rig->n_inspected, 0);
    /* Once they are answered, slots are free again for the rest. */
    for (size_t i = 0; i < 16; i++)
        answer_inspect(rig->held[i], rig->held_ids[i]);
    rig->inspects_are_held = false;
    DRIVE(rig, rig->n_inspected == 20);
}

/* The first hangs a little earlier than the next three, and each gives up its slot when its own time has come. */
static void inspects_hang_one_after_the_other(void **state)
{
    Rig *rig = *state;
    char id[65];

    start(rig);
    rig->inspects_are_held = true;
    for (unsigned i = 0; i < 8; i++) {
        make_id(id, '1', i);
        inspect(rig, id, i);
        if (i == 0)
            drain(rig);
    }
    DRIVE(rig, rig->n_held == 8);
    assert_int_equal(rig->n_inspected, 0);
    for (size_t i = 0; i < 8; i++)
        answer_inspect(rig->held[i], rig->held_ids[i]);
    DRIVE(rig, rig->n_inspected == 8);
}

static void bad_answers_to_inspects_have_their_own_errors(void **state)
{
    Rig *rig = *state;
    static const struct {
        char first;
        int error;
    } cases[] = { { '1', 0 },        { '4', -ENOENT },  { '5', -EREMOTEIO },
                  { '6', -EBADMSG }, { '7', -EBADMSG }, { '8', -EBADMSG } };
    char id[65];

    start(rig);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        make_id(id, cases[i].first, (unsigned)i);
        inspect(rig, id, i);
        DRIVE(rig, rig->n_inspected == i + 1);
        assert_string_equal(rig->inspected[i].id, id);
        assert_int_equal(rig->inspected[i].ticket, i);
        assert_int_equal(rig->inspected[i].error, cases[i].error);
    }
    assert_int_equal(rig->n_lost, 0);
}

static void pending_inspects_end_with_the_stream(void **state)
{
    Rig *rig = *state;
    char id[65];

    start(rig);
    rig->inspects_are_held = true;
    for (unsigned i = 0; i < 6; i++) {
        make_id(id, '1', i);
        inspect(rig, id, i);
    }
    DRIVE(rig, rig->n_held == 4);
    fake_print(rig->stream, "0\r\n\r\n");
    DRIVE(rig, rig->n_lost == 1);
    rig->n_questions = 0;
    rig->inspects_are_held = false;
    DRIVE(rig, rig->n_lists_whole == 2);
    drain(rig);
    assert_int_equal(rig->n_inspected, 0);
    inspect(rig, ID_1, 10);
    DRIVE(rig, rig->n_inspected == 1);
    assert_int_equal(rig->inspected[0].ticket, 10);
}

/* The destructor, at every step of the way. */
static void freed_at_any_time(void **state)
{
    Rig *rig = *state;

    open_engine(rig);
    rig->list = "[" LISTED "]";
    for (int turns = 0; turns < 60; turns++) {
        open_docker(rig);
        for (int i = 0; i < turns; i++) {
            assert_true(sd_event_run(rig->event, 1000) >= 0);
            if (docker_connected(rig->docker) && i % 3 == 0)
                inspect(rig, ID_1, 1);
        }
        rig->docker = docker_free(rig->docker);
        rig->requests[0] = rig->told[0] = '\0';
        rig->n_inspected = 0;
        drain(rig);
    }
    assert_true(rig->n_lists_whole > 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(subscribes_first_and_lists_second),
        TEST(newer_engine_is_asked_for_the_newest_known),
        TEST(no_version_header_means_no_version),
        TEST(nonsense_version_header_means_no_version),
        TEST(engine_of_the_future_decides_itself),
        TEST(engine_that_refuses_is_asked_again),
        TEST(a_missing_socket_is_logged_once),
        TEST(an_engine_that_forbids_has_its_own_error),
        TEST(stream_that_never_begins_is_a_failure),
        TEST(bad_urls_are_refused),
        TEST(chunk_is_no_event),
        TEST(bad_lines_cost_only_themselves),
        TEST(end_of_the_stream_is_a_new_beginning),
        TEST(subscription_asks_for_the_events_since_the_last_one),
        TEST(podman_is_not_asked_for_old_events),
        TEST(reconnect_drops_the_stream),
        TEST(recorded_list_is_read),
        TEST(resync_lists_again),
        TEST(one_list_at_a_time),
        TEST(list_whose_connection_ends_is_not_whole),
        TEST(list_that_was_not_given_is_not_whole),
        TEST(list_that_is_no_list_is_not_whole),
        TEST(list_without_an_end_is_not_whole),
        TEST(overlong_entry_costs_only_itself),
        TEST(entry_of_ten_thousand_ports_is_read),
        TEST(entry_that_is_no_container_is_passed_over),
        TEST(few_inspects_at_once_and_all_answered),
        TEST(early_inspects_have_slots_of_their_own),
        TEST(hanging_inspects_give_up_their_slots),
        TEST(inspects_hang_one_after_the_other),
        TEST(bad_answers_to_inspects_have_their_own_errors),
        TEST(pending_inspects_end_with_the_stream),
        TEST(freed_at_any_time),
    };

    return cmocka_run_group_tests_name("docker", tests, NULL, NULL);
}
