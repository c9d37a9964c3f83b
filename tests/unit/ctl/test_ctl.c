/* The subcommands, each in a child process, between peers that the test plays: an agent, a Docker and an etcd that
 * answer from a script. */
#include "ctl/ctl.h"

#include "base/exit_status.h"
#include "base/text.h"
#include "unit/fake_http.h"
#include "unit/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#define ID_1 "1111111111111111111111111111111111111111111111111111111111111111"
#define ID_2 "2222222222222222222222222222222222222222222222222222222222222222"
#define GET_WEB "agent GET /containers/web", "200 OK"
#define CONTAINER(id, running, status)                                                                                 \
    "{\"Id\":\"" id "\",\"Name\":\"/web\",\"State\":{\"Status\":\"" status "\",\"Running\":" running                   \
    "},\"Config\":{},"                                                                                                 \
    "\"HostConfig\":{\"NetworkMode\":\"bridge\"},\"NetworkSettings\":{\"Ports\":{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\"," \
    "\"HostPort\":\"32768\"}]},\"Networks\":{}}}"
#define RECORD                                                  \
    "{\"port\":80,\"protocol\":\"tcp\",\"key\":\"/app/servers/" \
    "web\",\"value\":\"192.0.2.1:32768\",\"state\":\"registered\"}"
#define STATUS(etcd, containers)                                                                        \
    "{\"node\":\"host1\",\"address4\":\"192.0.2.1\",\"docker\":{\"url\":\"unix:///d\"},\"etcd\":{" etcd \
    "},\"rules\":{\"key\":\"/app/{service}/"                                                            \
    "{name}\",\"value\":\"{address}:{port}\",\"service\":\"servers\"},\"containers\":[" containers "]}"
#define WEB "{\"id\":\"" ID_1 "\",\"name\":\"web\",\"state\":\"registered\",\"records\":[" RECORD "]}"
#define TREE(value)                                                                                                  \
    "{\"action\":\"get\",\"node\":{\"key\":\"/app\",\"dir\":true,\"nodes\":[{\"key\":\"/app/servers\",\"dir\":true," \
    "\"nodes\":[{\"key\":\"/app/servers/web\",\"value\":\"" value                                                    \
    "\",\"ttl\":25,\"modifiedIndex\":7,\"createdIndex\":5}]}]}}"

enum { ANSWERS_MAX = 24, TEXT_MAX = 32768, NO_COMMAND = 99 };

/* The answers to requests that begin so. Each counts once, and the last one of a request again and again. */
typedef struct Answer {
    const char *request, *status, *body;
    bool used;
} Answer;

typedef struct Peer {
    struct Rig *rig;
    const char *name;
    FakeServer *server;
} Peer;

typedef struct Rig {
    sd_event *event;
    char directory[SCRATCH_MAX], out_path[96], error_path[96];
    Peer agent, docker, etcd;
    Answer answers[ANSWERS_MAX];
    size_t n_answers;
    char requests[TEXT_MAX], out[TEXT_MAX], error[TEXT_MAX];
} Rig;

static void on_request(FakeConnection *connection, const char *request)
{
    Peer *peer = connection->server->userdata;
    Rig *rig = peer->rig;
    size_t used = strlen(rig->requests), length = strcspn(request, "\r") - strlen(" HTTP/1.1");
    const char *body = strstr(request, "\r\n\r\n") + 4;
    char *line = rig->requests + used;
    Answer *last = NULL;

    (void)snprintf(line, sizeof(rig->requests) - used, "%s %.*s%s%s\n", peer->name, (int)length, request,
                   *body != '\0' ? " " : "", body);
    for (size_t i = 0; i < rig->n_answers; i++) {
        if (strncmp(line, rig->answers[i].request, strlen(rig->answers[i].request)) != 0)
            continue;
        last = &rig->answers[i];
        if (!last->used)
            break;
    }
    if (last)
        last->used = true;
    fake_answer(connection, last ? last->status : "404 Not Found", "",
                last ? last->body : "{\"error\":\"nobody expected this\",\"message\":\"no such container\"}");
}

static void answer(Rig *rig, const char *request, const char *status, const char *body)
{
    assert_true(rig->n_answers < ANSWERS_MAX);
    rig->answers[rig->n_answers++] = (Answer){ .request = request, .status = status, .body = body };
}

static void open_peer(Rig *rig, Peer *peer, const char *name, bool is_unix)
{
    CLEANUP_FREE char *path = text_format("%s/%s", rig->directory, name);

    peer->rig = rig;
    peer->name = name;
    peer->server = fake_new(rig->event, is_unix ? path : NULL, on_request, peer);
}

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    scratch_template(rig->directory);
    assert_non_null(mkdtemp(rig->directory));
    (void)snprintf(rig->out_path, sizeof(rig->out_path), "%s/out", rig->directory);
    (void)snprintf(rig->error_path, sizeof(rig->error_path), "%s/error", rig->directory);
    assert_true(sd_event_new(&rig->event) >= 0);
    open_peer(rig, &rig->agent, "agent", true);
    open_peer(rig, &rig->docker, "docker", true);
    open_peer(rig, &rig->etcd, "etcd", false);
    *state = rig;
    return 0;
}

static void close_peer(Peer *peer)
{
    fake_free(peer->server);
    peer->server = NULL;
}

static int teardown(void **state)
{
    Rig *rig = *state;
    CLEANUP_FREE char *remove = text_format("rm -rf '%s'", rig->directory);

    close_peer(&rig->agent);
    close_peer(&rig->docker);
    close_peer(&rig->etcd);
    sd_event_unref(rig->event);
    assert_int_equal(system(remove), 0);
    free(rig);
    return 0;
}

/* The child */

static void redirect(int fd, const char *path)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (file < 0 || dup2(file, fd) < 0)
        _exit(NO_COMMAND - 1);
}

static void run_child(Rig *rig, int argc, char **argv)
{
    CLEANUP_FREE char *docker = text_format("--docker=unix://%s/docker", rig->directory);
    CLEANUP_FREE char *control = text_format("--control=%s/agent", rig->directory);
    CLEANUP_FREE char *etcd = text_format("--etcd=%s", rig->etcd.server->url);
    char *all[32] = { "registrator", "--config=/dev/null", docker, control, etcd, "--etcd-api=v2", "--node=host1" };
    CLEANUP(settings_free_p) Settings *settings = NULL;
    CLEANUP_FREE char *error = NULL;
    SettingsAction action;
    int operand, n = 7;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails does not wait for its child */
    for (int i = 0; i < argc; i++)
        all[n++] = argv[i];
    if (settings_load(&settings, n, all, &action, &operand, &error) < 0) {
        fprintf(stderr, "%s\n", error);
        _exit(NO_COMMAND - 2);
    }
    int r = ctl_run(settings, n - operand, all + operand);
    (void)fflush(NULL);
    exit(r == -ENOENT ? NO_COMMAND : r);
}

static void read_text(const char *path, char text[static TEXT_MAX])
{
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    text[fread(text, 1, TEXT_MAX - 1, file)] = '\0';
    (void)fclose(file);
}

static int wait_for(Rig *rig, pid_t child)
{
    int status;

    while (waitpid(child, &status, WNOHANG) == 0)
        (void)sd_event_run(rig->event, 5000);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Returns the exit status. Words: separated by blanks. */
static int run(Rig *rig, const char *words)
{
    CLEANUP_FREE char *copy = strdup(words);
    char *argv[16], *rest = copy, *word;
    int argc = 0;

    while ((word = strsep(&rest, " ")))
        argv[argc++] = word;
    (void)fflush(NULL);
    *rig->requests = '\0';
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        redirect(STDOUT_FILENO, rig->out_path);
        redirect(STDERR_FILENO, rig->error_path);
        run_child(rig, argc, argv);
    }
    int status = wait_for(rig, child);
    read_text(rig->out_path, rig->out);
    read_text(rig->error_path, rig->error);
    return status;
}

#define assert_has(text, part)                                         \
    do {                                                               \
        if (!strstr(text, part))                                       \
            fail_msg("'%s' is not in '%s'", (const char *)part, text); \
    } while (0)

/* Words */

static void bad_words_print_the_usage(void **state)
{
    static const struct {
        const char *words, *usage;
    } cases[] = {
        { "status web", "status [--control PATH] [--json | --watch | --etcd]" },
        { "status --json --etcd", "status [--control PATH] [--json | --watch | --etcd]" },
        { "status --etcd --watch", "status [--control PATH] [--json | --watch | --etcd]" },
        { "status --until-restart", "status [--control PATH] [--json | --watch | --etcd]" },
        { "explain", "explain [--control PATH] CONTAINER" },
        { "explain a b", "explain [--control PATH] CONTAINER" },
        { "explain --json a", "explain [--control PATH] CONTAINER" },
        { "history a b", "history [--control PATH] [--json] [CONTAINER]" },
        { "fleet --etcd", "fleet [--control PATH] [--json | --watch]" },
        { "drain --json", "drain [--control PATH] [--until-restart] [CONTAINER…]" },
        { "undrain --until-restart", "undrain [--control PATH] [CONTAINER…]" },
        { "stop", "stop [--control PATH] [--drain SECONDS] CONTAINER…" },
        { "stop --drain x web", "stop [--control PATH] [--drain SECONDS] CONTAINER…" },
        { "stop --drain 86401 web", "stop [--control PATH] [--drain SECONDS] CONTAINER…" },
        { "status --nonsense", "status [--control PATH] [--json | --watch | --etcd]" },
    };
    Rig *rig = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_FREE char *usage = text_format("Usage: registrator %s\n", cases[i].usage);

        assert_int_equal(run(rig, cases[i].words), EXIT_USAGE);
        assert_has(rig->error, usage);
        assert_string_equal(rig->out, "");
        assert_string_equal(rig->requests, "");
    }
}

static void an_unknown_command_is_left_to_the_caller(void **state)
{
    Rig *rig = *state;

    assert_int_equal(run(rig, "statu"), NO_COMMAND);
    assert_string_equal(rig->error, "");
}

static void help_names_the_command(void **state)
{
    Rig *rig = *state;

    assert_int_equal(run(rig, "explain --help"), EXIT_SUCCESS);
    assert_string_equal(rig->out,
                        "Usage: registrator explain [--control PATH] CONTAINER\n\n  show one container's keys, or "
                        "the reason for none and the remedy\n\nSee registrator-explain(1).\n");
    assert_int_equal(run(rig, "stop -h"), EXIT_SUCCESS);
    assert_has(rig->out, "deregister, wait (5 s), then docker stop");
    CLEANUP_FREE char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    ctl_print_help(out);
    (void)fclose(out);
    assert_has(text, "  drain [--until-restart] [CONTAINER…]\n      deregister containers, or the whole host\n");
    assert_has(text, "  fleet [--json | --watch]\n");
}

/* status */

static void status_prints_a_table_or_json(void **state)
{
    Rig *rig = *state;

    answer(rig, "agent GET /status", "200 OK", STATUS("\"store\":\"etcd v2\"", WEB));
    assert_int_equal(run(rig, "status"), EXIT_SUCCESS);
    assert_has(rig->out, "/app/servers/web");
    assert_has(rig->out, "192.0.2.1:32768");
    assert_string_equal(rig->requests, "agent GET /status\n");
    assert_int_equal(run(rig, "status --json --json"), EXIT_SUCCESS);
    assert_has(rig->out, "{\n\t\"node\":\t\"host1\",\n");
    assert_int_equal(run(rig, "status --watch"), EXIT_USAGE);
    assert_has(rig->error, "--watch needs a terminal");
}

static void says_why_the_agent_does_not_answer(void **state)
{
    Rig *rig = *state;

    answer(rig, "agent GET /status", "500 Internal Server Error", "{\"error\":\"no\\u001b memory\"}");
    answer(rig, "agent GET /status", "500 Internal Server Error", "plain");
    answer(rig, "agent GET /status", "500 Internal Server Error", "");
    assert_int_equal(run(rig, "status"), EXIT_NOT_POSSIBLE);
    assert_has(rig->error, "registrator: no");
    assert_null(strchr(rig->error, '\033'));
    assert_int_equal(run(rig, "status"), EXIT_NOT_POSSIBLE);
    assert_string_equal(rig->error, "registrator: plain\n");
    assert_int_equal(run(rig, "status --json"), EXIT_NOT_POSSIBLE);
    assert_string_equal(rig->error, "registrator: no answer\n");
    close_peer(&rig->agent);
    assert_int_equal(run(rig, "status"), EXIT_NOT_POSSIBLE);
    CLEANUP_FREE char *expected = text_format("registrator: no answer from the agent's control socket %s/agent: No "
                                              "such file or directory; is it running, with this path?\n",
                                              rig->directory);
    assert_string_equal(rig->error, expected);
    assert_int_equal(run(rig, "history"), EXIT_NOT_POSSIBLE);
    assert_int_equal(run(rig, "explain web"), EXIT_NOT_POSSIBLE);
    assert_int_equal(run(rig, "drain web"), EXIT_NOT_POSSIBLE);
    assert_int_equal(run(rig, "undrain"), EXIT_NOT_POSSIBLE);
    assert_int_equal(run(rig, "status --control /nosuch"), EXIT_NOT_POSSIBLE);
    assert_has(rig->error, "control socket /nosuch: ");
}

/* explain and history */

static void explain_prints_the_container(void **state)
{
    Rig *rig = *state;

    answer(rig, GET_WEB, WEB);
    assert_int_equal(run(rig, "explain web"), EXIT_SUCCESS);
    assert_has(rig->out, "web (111111111111): registered\n");
    assert_has(rig->out, "/app/servers/web");
    assert_int_equal(run(rig, "explain a/b"), EXIT_NOT_POSSIBLE);
    assert_string_equal(rig->requests, "agent GET /containers/a%2Fb\ndocker GET /containers/a%2Fb/json\nagent GET "
                                       "/history/a%2Fb\n");
}

static void explain_asks_docker_for_the_others(void **state)
{
    Rig *rig = *state;

    answer(rig, "docker GET /containers/web/json", "200 OK", CONTAINER(ID_1, "false", "exited"));
    answer(rig, "docker GET /containers/web/json", "200 OK", CONTAINER(ID_1, "true", "running"));
    answer(rig, "docker GET /containers/web/json", "200 OK", "{\"Id\":1}");
    answer(rig, "docker GET /containers/web/json", "404 Not Found", "{\"message\":\"No such container: web\"}");
    answer(rig, "agent GET /history/web", "200 OK",
           "{\"events\":[{\"time\":\"2026-01-01T00:00:00Z\",\"container\":\"web\",\"text\":\"deregistered\"}]}");
    answer(rig, "agent GET /history/web", "200 OK", "{\"events\":[]}");
    assert_int_equal(run(rig, "explain web"), EXIT_SUCCESS);
    assert_has(rig->out, "web: unregistered, not running (Docker says: exited)\nTo do: Start the container.\n\n");
    assert_has(rig->out, "2026-01-01T00:00:00Z  deregistered");
    assert_int_equal(run(rig, "explain web"), EXIT_NOT_POSSIBLE);
    assert_string_equal(rig->error, "registrator: web runs, but the agent does not know it yet: does the agent use "
                                    "another Docker?\n");
    assert_string_equal(rig->out, "");
    assert_int_equal(run(rig, "explain web"), EXIT_NOT_POSSIBLE);
    assert_has(rig->error, "/docker does not answer like Docker\n");
    assert_int_equal(run(rig, "explain web"), EXIT_NOT_POSSIBLE);
    assert_string_equal(rig->error, "registrator: No such container: web\n");
    close_peer(&rig->docker);
    assert_int_equal(run(rig, "explain web"), EXIT_NOT_POSSIBLE);
    assert_has(rig->error, "registrator: no answer from Docker: ");
}

static void history_prints_the_events(void **state)
{
    Rig *rig = *state;

    answer(rig, "agent GET /history/web", "200 OK", "{\"events\":[]}");
    answer(rig, "agent GET /history\n", "200 OK",
           "{\"events\":[{\"time\":\"T1\",\"container\":\"web\",\"text\":\"registered\"}]}");
    answer(rig, "agent GET /history\n", "200 OK",
           "{\"events\":[{\"time\":\"T1\",\"container\":\"web\",\"text\":\"registered\"}]}");
    answer(rig, "agent GET /history\n", "200 OK", "{\"events\":[]}");
    assert_int_equal(run(rig, "history web"), EXIT_SUCCESS);
    assert_string_equal(rig->error, "registrator: no key of web has changed since the agent started\n");
    assert_int_equal(run(rig, "history"), EXIT_SUCCESS);
    assert_string_equal(rig->out, "T1  web  registered\n");
    assert_int_equal(run(rig, "history --json"), EXIT_SUCCESS);
    assert_has(rig->out, "\"text\":\t\"registered\"");
    assert_int_equal(run(rig, "history"), EXIT_SUCCESS);
    assert_string_equal(rig->error, "registrator: no key has changed since the agent started\n");
    assert_string_equal(rig->out, "");
}

/* drain and undrain */

static void drain_waits_for_the_keys(void **state)
{
    Rig *rig = *state;

    answer(rig, "agent POST /drain", "200 OK", "{\"ids\":[\"" ID_1 "\"]}");
    answer(rig, "agent GET /containers/" ID_1, "200 OK", "{\"registered\":true}");
    answer(rig, "agent GET /containers/" ID_1, "200 OK", "{}");
    answer(rig, "agent GET /containers/" ID_1, "200 OK", "{\"registered\":false}");
    assert_int_equal(run(rig, "drain --until-restart web"), EXIT_SUCCESS);
    assert_string_equal(rig->requests, "agent POST /drain {\"containers\":[\"web\"],\"until_death\":true}\n"
                                       "agent GET /containers/" ID_1 "\nagent GET /containers/" ID_1
                                       "\nagent GET /containers/" ID_1 "\n");
    assert_string_equal(rig->error, "");
    assert_int_equal(run(rig, "drain web db"), EXIT_NOT_POSSIBLE);
    assert_has(rig->requests, "agent POST /drain {\"containers\":[\"web\",\"db\"]}\n");
    assert_has(rig->error, "the agent's answer names no container");
}

static void drain_of_the_host_waits_for_all_keys(void **state)
{
    Rig *rig = *state;

    answer(rig, "agent POST /drain", "200 OK", "{}");
    answer(rig, "agent GET /status", "200 OK", "{\"etcd\":{\"known\":false,\"idle\":true,\"keys\":0}}");
    answer(rig, "agent GET /status", "200 OK", "{\"etcd\":{\"known\":true,\"idle\":false,\"keys\":0}}");
    answer(rig, "agent GET /status", "200 OK", "{\"etcd\":{\"known\":true,\"idle\":true,\"keys\":1}}");
    answer(rig, "agent GET /status", "200 OK", "{\"etcd\":{\"known\":true,\"idle\":true,\"keys\":0}}");
    assert_int_equal(run(rig, "drain"), EXIT_SUCCESS);
    assert_string_equal(rig->requests, "agent POST /drain {\"host\":true}\nagent GET /status\nagent GET /status\n"
                                       "agent GET /status\nagent GET /status\n");
}

static void undrain_does_not_wait(void **state)
{
    Rig *rig = *state;

    answer(rig, "agent POST /undrain {\"containers\":[\"web\"]}", "200 OK", "{\"ids\":[]}");
    answer(rig, "agent POST /undrain", "404 Not Found", "{\"error\":\"no container is named x\"}");
    assert_int_equal(run(rig, "undrain web"), EXIT_SUCCESS);
    assert_string_equal(rig->requests, "agent POST /undrain {\"containers\":[\"web\"]}\n");
    assert_int_equal(run(rig, "undrain x"), EXIT_NOT_POSSIBLE);
    assert_string_equal(rig->error, "registrator: no container is named x\n");
}

/* stop */

static void stop_deregisters_first(void **state)
{
    Rig *rig = *state;

    answer(rig, "docker GET /containers/web/json", "200 OK", CONTAINER(ID_1, "true", "running"));
    answer(rig, "docker GET /containers/old/json", "200 OK", CONTAINER(ID_2, "false", "exited"));
    answer(rig, "agent GET /containers/" ID_1, "200 OK", "{\"registered\":true}");
    answer(rig, "agent GET /containers/" ID_1, "200 OK", "{\"registered\":false}");
    answer(rig, "agent POST /drain", "200 OK", "{\"ids\":[]}");
    answer(rig, "docker POST /containers/" ID_1 "/stop", "204 No Content", "");
    answer(rig, "docker POST /containers/" ID_2 "/stop", "304 Not Modified", "");
    assert_int_equal(run(rig, "stop --drain 0 web old"), EXIT_SUCCESS);
    assert_string_equal(rig->out, "web\nold\n");
    assert_string_equal(rig->requests, "docker GET /containers/web/json\nagent GET /containers/" ID_1
                                       "\ndocker GET /containers/old/json\n"
                                       "agent POST /drain {\"containers\":[\"" ID_1 "\"],\"until_death\":true}\n"
                                       "agent GET /containers/" ID_1 "\ndocker POST /containers/" ID_1
                                       "/stop\ndocker POST /containers/" ID_2 "/stop\n");
    answer(rig, "docker POST /containers/" ID_1 "/stop", "500 Internal Server Error", "{\"message\":\"dead\"}");
    assert_int_equal(run(rig, "stop --drain=0 web old"), EXIT_NOT_POSSIBLE);
    assert_string_equal(rig->out, "old\n");
    assert_string_equal(rig->error, "registrator: dead\n");
    /* Nothing to drain. */
    assert_int_equal(run(rig, "stop --drain=0 old"), EXIT_SUCCESS);
    assert_string_equal(rig->requests, "docker GET /containers/old/json\ndocker POST /containers/" ID_2 "/stop\n");
}

static void stop_stops_nothing_that_the_agent_does_not_know(void **state)
{
    Rig *rig = *state;

    answer(rig, "docker GET /containers/web/json", "200 OK", CONTAINER(ID_1, "true", "running"));
    answer(rig, "docker GET /containers/bad/json", "200 OK", CONTAINER("short", "true", "running"));
    assert_int_equal(run(rig, "stop --drain=0 web"), EXIT_NOT_POSSIBLE);
    assert_has(rig->error, "registrator: the agent does not know web, which runs on the Docker at unix://");
    assert_has(rig->error, "registrator: nothing was stopped\n");
    assert_string_equal(rig->out, "");
    assert_null(strstr(rig->requests, "POST"));
    assert_int_equal(run(rig, "stop --drain=0 bad"), EXIT_NOT_POSSIBLE);
    assert_has(rig->error, "does not answer like Docker\nregistrator: nothing was stopped\n");
    assert_int_equal(run(rig, "stop --drain=0 nosuch"), EXIT_NOT_POSSIBLE);
    assert_string_equal(rig->error, "registrator: no such container\nregistrator: nothing was stopped\n");
}

/* fleet and status --etcd */

static void play_etcd(Rig *rig, const char *tree)
{
    answer(rig, "etcd GET /version", "200 OK", "{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
    answer(rig, "etcd GET /v2/keys/registrator", "404 Not Found", "{\"errorCode\":100,\"message\":\"Key not found\"}");
    answer(rig, "etcd GET /v2/keys/app", "200 OK", tree);
}

static void fleet_prints_the_keys_of_etcd(void **state)
{
    Rig *rig = *state;

    play_etcd(rig, TREE("192.0.2.1:32768"));
    assert_int_equal(run(rig, "fleet"), EXIT_SUCCESS);
    assert_has(rig->out, "SERVICE  CONTAINER  ADDRESS");
    assert_has(rig->out, "servers  web        192.0.2.1:32768");
    assert_has(rig->out, "\n1 key, ");
    assert_null(strstr(rig->out, " \n"));
    assert_int_equal(run(rig, "fleet --json"), EXIT_SUCCESS);
    assert_has(rig->out, "\"/app/servers/web\"");
    assert_int_equal(run(rig, "fleet --watch"), EXIT_USAGE);
    close_peer(&rig->etcd);
    open_peer(rig, &rig->etcd, "other", false);
    assert_int_equal(run(rig, "fleet"), EXIT_NOT_POSSIBLE);
    assert_has(rig->error, "registrator: ");
    assert_string_equal(rig->out, "");
}

static void fleet_needs_the_password(void **state)
{
    Rig *rig = *state;

    play_etcd(rig, TREE("192.0.2.1:32768"));
    assert_int_equal(run(rig, "--etcd-user=me --etcd-password-file=/nosuch fleet"), EXIT_NOT_POSSIBLE);
    assert_has(rig->error, "/nosuch");
    assert_string_equal(rig->out, "");
    assert_string_equal(rig->requests, "");
}

static void play_all(Rig *rig, const char *status, const char *tree)
{
    answer(rig, "agent GET /status", "200 OK", status);
    answer(rig, "docker GET /containers/json", "200 OK", "[{\"Id\":\"" ID_1 "\"}]");
    answer(rig, "docker GET /containers/" ID_1 "/json", "200 OK", CONTAINER(ID_1, "true", "running"));
    play_etcd(rig, tree);
}

static void status_etcd_compares_the_three(void **state)
{
    Rig *rig = *state;

    play_all(rig, STATUS("\"api\":\"v2\"", WEB), TREE("192.0.2.1:32768"));
    assert_int_equal(run(rig, "status --etcd"), EXIT_SUCCESS);
    assert_string_equal(rig->out, "Docker, agent and etcd agree: 1 keys of 1 containers.\n");
    assert_string_equal(rig->error, "");
}

static void status_etcd_tells_a_difference(void **state)
{
    Rig *rig = *state;

    play_all(rig, STATUS("\"api\":\"v2\"", WEB), TREE("192.0.2.1:9"));
    assert_int_equal(run(rig, "status --etcd"), EXIT_DIFFERENT);
    assert_has(rig->out, "/app/servers/web");
    assert_has(rig->out, "192.0.2.1:9");
    assert_has(rig->out, "Docker, agent and etcd differ in 1 of 1 keys.\n");
    unsigned tries = 0;
    for (const char *p = rig->requests; (p = strstr(p, "agent GET /status")); p++)
        tries++;
    assert_int_equal(tries, 3);
}

static void status_etcd_says_why_it_cannot_compare(void **state)
{
    static const struct {
        const char *request, *status, *body, *error;
    } cases[] = {
        { "agent GET /status", "200 OK", "{\"node\":\"host1\"}",
          "registrator: the agent's answer has no rules: does the agent have another version?\n" },
        { "agent GET /status", "200 OK", STATUS("\"why\":\"refused\"", WEB),
          "registrator: the agent has not reached etcd yet: refused\n" },
        { "docker GET /containers/json", "500 Internal Server Error", "{\"message\":\"dead\"}", "registrator: dead\n" },
        { "docker GET /containers/json", "200 OK", "{}", "/docker does not answer like Docker\n" },
        { "docker GET /containers/json", "200 OK", "[{\"Id\":\"x\"}]", "/docker does not answer like Docker\n" },
    };
    Rig *rig = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        rig->n_answers = 0;
        answer(rig, cases[i].request, cases[i].status, cases[i].body);
        rig->answers[0].used = false;
        play_all(rig, STATUS("\"api\":\"v2\"", WEB), TREE("192.0.2.1:32768"));
        assert_int_equal(run(rig, "status --etcd"), EXIT_NOT_POSSIBLE);
        assert_has(rig->error, cases[i].error);
        assert_string_equal(rig->out, "");
    }
}

/* A container that was removed after the list is no difference. */
static void status_etcd_skips_a_removed_container(void **state)
{
    Rig *rig = *state;

    answer(rig, "docker GET /containers/json", "200 OK", "[{\"Id\":\"" ID_1 "\"},{\"Id\":\"" ID_2 "\"}]");
    play_all(rig, STATUS("\"api\":\"v2\"", WEB), TREE("192.0.2.1:32768"));
    assert_int_equal(run(rig, "status --etcd"), EXIT_SUCCESS);
    assert_string_equal(rig->out, "Docker, agent and etcd agree: 1 keys of 1 containers.\n");
}

/* --watch on a terminal */

static void watch_draws_until_a_signal(void **state)
{
    Rig *rig = *state;
    char *words[] = { "status", "--watch" };
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    size_t size = 0;

    answer(rig, "agent GET /status", "200 OK", STATUS("\"store\":\"etcd v2\"", WEB));
    if (terminal < 0)
        skip(); /* a root without /dev/pts, as where packages are built */
    assert_int_equal(grantpt(terminal), 0);
    assert_int_equal(unlockpt(terminal), 0);
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        redirect(STDOUT_FILENO, ptsname(terminal));
        run_child(rig, 2, words);
    }
    while (!strstr(rig->out, "\033[J")) {
        ssize_t n = read(terminal, rig->out + size, TEXT_MAX - 1 - size);
        size += n > 0 ? (size_t)n : 0;
        assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
        (void)sd_event_run(rig->event, 5000);
    }
    assert_int_equal(strncmp(rig->out, "\033[?1049h\033[?7l\033[?25l\033[H", 21), 0);
    assert_has(rig->out, "192.0.2.1:32768");
    assert_int_equal(kill(child, SIGTERM), 0);
    assert_int_equal(wait_for(rig, child), EXIT_SUCCESS);
    ssize_t n = read(terminal, rig->out + size, TEXT_MAX - 1 - size);
    assert_true(n > 0);
    assert_has(rig->out, "\033[?25h\033[?7h\033[?1049l");
    close(terminal);
}

#define TEST(function)                                                                           \
    {                                                                                            \
        .name = #function, .test_func = function, .setup_func = setup, .teardown_func = teardown \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_words_print_the_usage),
        TEST(an_unknown_command_is_left_to_the_caller),
        TEST(help_names_the_command),
        TEST(status_prints_a_table_or_json),
        TEST(says_why_the_agent_does_not_answer),
        TEST(explain_prints_the_container),
        TEST(explain_asks_docker_for_the_others),
        TEST(history_prints_the_events),
        TEST(drain_waits_for_the_keys),
        TEST(drain_of_the_host_waits_for_all_keys),
        TEST(undrain_does_not_wait),
        TEST(stop_deregisters_first),
        TEST(stop_stops_nothing_that_the_agent_does_not_know),
        TEST(fleet_prints_the_keys_of_etcd),
        TEST(fleet_needs_the_password),
        TEST(status_etcd_compares_the_three),
        TEST(status_etcd_tells_a_difference),
        TEST(status_etcd_says_why_it_cannot_compare),
        TEST(status_etcd_skips_a_removed_container),
        TEST(watch_draws_until_a_signal),
    };

    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("ctl", tests, NULL, NULL);
}
