#include "ctl.h"

#include "ctl_call.h"
#include "ctl_etcd.h"
#include "ctl_table.h"
#include "ctl_watch.h"
#include "exit_status.h"
#include "http.h"
#include "json.h"
#include "numbers.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

enum {
    INSPECT_TIMEOUT_S = 30,
    STOP_TIMEOUT_S = 3600, /* a container may ask for a long goodbye; docker stop waits as long */
    WITHDRAW_TIMEOUT_S = 15, /* an etcd member that hangs costs 3 s, then the next one is asked */
    DRAIN_DEFAULT_S = 5, /* confd at 1 s intervals and HAProxy's reload, with room */
};

typedef struct CtlOptions {
    const char *control;
    bool json, watch, etcd, help;
    bool until_restart;
    unsigned drain_s;
    char *const *names;
    int n_names;
} CtlOptions;

typedef struct Command {
    const char *name, *arguments, *description;
    int (*run)(const Settings *settings, const CtlOptions *options);
    bool needs_name, takes_names;
} Command;

static cJSON *get_container(const CtlOptions *options, const char *name, bool *ret_missing)
{
    CLEANUP_FREE char *escaped = http_escape(name, false);
    CLEANUP_FREE char *path = NULL;

    if (!escaped || asprintf(&path, "/containers/%s", escaped) < 0) {
        path = NULL;
        return NULL;
    }
    return ctl_call_agent(options->control, path, NULL, ret_missing);
}

/* Commands. */

static int run_status(const Settings *settings, const CtlOptions *options)
{
    cJSON *status;

    if (options->etcd)
        return ctl_status_etcd(settings, options->control);
    if (options->watch)
        return ctl_watch(options->control);
    status = ctl_call_agent(options->control, "/status", NULL, NULL);
    if (!status)
        return EXIT_NOT_POSSIBLE;
    if (options->json) {
        char *text = cJSON_Print(status);

        printf("%s\n", text ? text : "");
        free(text);
    } else {
        ctl_print_status(stdout, status);
    }
    cJSON_Delete(status);
    return EXIT_SUCCESS;
}

/* The agent remembers only containers that run: of the others Docker knows. */
static int explain_unknown(const Settings *settings, const char *name)
{
    CLEANUP_FREE char *escaped = http_escape(name, false);
    CLEANUP_FREE char *path = NULL;
    const cJSON *state;
    const char *status;
    cJSON *json;
    CtlReply reply;
    int r = EXIT_SUCCESS;

    if (!escaped || asprintf(&path, "/containers/%s/json", escaped) < 0) {
        path = NULL;
        return EXIT_NOT_POSSIBLE;
    }
    if (ctl_call_docker(settings, settings->docker_url, path, NULL, INSPECT_TIMEOUT_S, &reply) != 0)
        return EXIT_NOT_POSSIBLE;
    json = cJSON_Parse(reply.body ? reply.body : "");
    state = cJSON_GetObjectItemCaseSensitive(json, "State");
    status = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(state, "Status"));
    if (reply.status != 200 || !status) {
        ctl_print_error(&reply, "message");
        r = EXIT_NOT_POSSIBLE;
    } else if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(state, "Running"))) {
        fprintf(stderr, "registrator: %s runs, but the agent has not heard of it yet; does it use another Docker?\n",
                name);
        r = EXIT_NOT_POSSIBLE;
    } else {
        printf("%s: out, not running (Docker says: %s)\nTo do: Start the container.\n", name, status);
    }
    cJSON_Delete(json);
    ctl_reply_clear(&reply);
    return r;
}

static int run_explain(const Settings *settings, const CtlOptions *options)
{
    bool missing = false;
    cJSON *container = get_container(options, options->names[0], &missing);

    if (missing)
        return explain_unknown(settings, options->names[0]);
    if (!container)
        return EXIT_NOT_POSSIBLE;
    ctl_print_container(stdout, container);
    cJSON_Delete(container);
    return EXIT_SUCCESS;
}

/* Returns the answer, or NULL: failed, and said so. */
static cJSON *post_names(const CtlOptions *options, const char *path, bool until_death)
{
    cJSON *request = cJSON_CreateObject(), *reply;
    char *body;

    if (options->n_names > 0)
        json_set(request, "containers", cJSON_CreateStringArray((const char *const *)options->names, options->n_names));
    else
        (void)cJSON_AddTrueToObject(request, "host");
    if (until_death)
        (void)cJSON_AddTrueToObject(request, "until_death");
    body = cJSON_PrintUnformatted(request);
    cJSON_Delete(request);
    reply = body ? ctl_call_agent(options->control, path, body, NULL) : NULL;
    free(body);
    return reply;
}

/* 1: etcd has none of the container's keys any more (id NULL: none of the host's); 0: it still may; negative: not
 * to be found out, and said so. */
static int is_withdrawn(const CtlOptions *options, const char *id)
{
    cJSON *json = id ? get_container(options, id, NULL) : ctl_call_agent(options->control, "/status", NULL, NULL);
    const cJSON *etcd = cJSON_GetObjectItemCaseSensitive(json, "etcd");
    int r = -EIO;

    if (json && id)
        r = !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "published"));
    else if (json)
        r = !cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(etcd, "idle")) &&
            !(cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(etcd, "keys")) > 0);
    cJSON_Delete(json);
    return r;
}

static int wait_withdrawn(const CtlOptions *options, const char *id, const char *name)
{
    const unsigned step_ms = 50;

    for (unsigned waited_ms = 0; waited_ms < WITHDRAW_TIMEOUT_S * 1000; waited_ms += step_ms) {
        int r = is_withdrawn(options, id);

        if (r != 0)
            return r > 0 ? EXIT_SUCCESS : EXIT_NOT_POSSIBLE;
        ctl_sleep_ms(step_ms);
    }
    fprintf(stderr,
            "registrator: %s%s is still in etcd after %d s; see 'registrator status'. What cannot be deleted goes "
            "when its TTL has passed, once the agent has ended\n",
            id ? "the key of " : "this host", id ? name : "", WITHDRAW_TIMEOUT_S);
    return EXIT_NOT_POSSIBLE;
}

static int wait_all_withdrawn(const CtlOptions *options, const cJSON *ids)
{
    int r = EXIT_SUCCESS;

    for (int i = 0; i < options->n_names && r == EXIT_SUCCESS; i++) {
        const char *id = cJSON_GetStringValue(cJSON_GetArrayItem(ids, i));

        r = id ? wait_withdrawn(options, id, options->names[i]) : EXIT_NOT_POSSIBLE;
    }
    return r;
}

static int run_drain(const Settings *settings, const CtlOptions *options)
{
    cJSON *drained = post_names(options, "/drain", options->until_restart);
    int r = EXIT_NOT_POSSIBLE;

    (void)settings;
    if (drained && options->n_names == 0)
        r = wait_withdrawn(options, NULL, NULL);
    else if (drained)
        r = wait_all_withdrawn(options, cJSON_GetObjectItemCaseSensitive(drained, "ids"));
    cJSON_Delete(drained);
    return r;
}

static int run_undrain(const Settings *settings, const CtlOptions *options)
{
    cJSON *reply = post_names(options, "/undrain", false);
    int r = reply ? EXIT_SUCCESS : EXIT_NOT_POSSIBLE;

    (void)settings;
    cJSON_Delete(reply);
    return r;
}

static int docker_stop(const Settings *settings, const char *url, const char *id)
{
    CLEANUP_FREE char *path = NULL;
    CtlReply reply;
    int r = EXIT_SUCCESS;

    if (asprintf(&path, "/containers/%s/stop", id) < 0) {
        path = NULL;
        return EXIT_NOT_POSSIBLE;
    }
    if (ctl_call_docker(settings, url, path, "", STOP_TIMEOUT_S, &reply) != 0)
        return EXIT_NOT_POSSIBLE;
    /* 304: stopped already. */
    if (reply.status != 204 && reply.status != 304) {
        ctl_print_error(&reply, "message");
        r = EXIT_NOT_POSSIBLE;
    }
    ctl_reply_clear(&reply);
    return r;
}

static int stop_all(const Settings *settings, const CtlOptions *options, const cJSON *drained)
{
    const cJSON *ids = cJSON_GetObjectItemCaseSensitive(drained, "ids");
    const char *url = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(drained, "docker"));
    int r;

    if (!url || cJSON_GetArraySize(ids) != options->n_names) {
        fprintf(stderr, "registrator: the agent does not say what it drained: is it of another version?\n");
        return EXIT_NOT_POSSIBLE;
    }
    r = wait_all_withdrawn(options, ids);
    if (r != EXIT_SUCCESS) {
        fprintf(stderr, "registrator: nothing was stopped\n");
        return r;
    }
    ctl_sleep_ms((uint64_t)options->drain_s * 1000);
    for (int i = 0; i < options->n_names; i++) {
        int stopped = docker_stop(settings, url, cJSON_GetArrayItem(ids, i)->valuestring);

        if (stopped == EXIT_SUCCESS)
            printf("%s\n", options->names[i]);
        else
            r = stopped;
    }
    return r;
}

static int run_stop(const Settings *settings, const CtlOptions *options)
{
    cJSON *drained = post_names(options, "/drain", true);
    int r = drained ? stop_all(settings, options, drained) : EXIT_NOT_POSSIBLE;

    cJSON_Delete(drained);
    return r;
}

static const Command commands[] = {
    { "status", "[--json | --watch | --etcd]", "what is registered, and what is not and why", run_status, false,
      false },
    { "explain", "CONTAINER", "why a container is registered or not, and what to do", run_explain, true, true },
    { "drain", "[--until-restart] [CONTAINER…]", "take containers, or the whole host, out of etcd", run_drain, false,
      true },
    { "undrain", "[CONTAINER…]", "let them back in", run_undrain, false, true },
    { "stop", "[--drain SECONDS] CONTAINER…", "take out, wait (5 s), then docker stop", run_stop, true, true },
};

void ctl_print_help(FILE *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        fprintf(out, "  %s %s\n      %s\n", commands[i].name, commands[i].arguments, commands[i].description);
}

static void print_usage(FILE *out, const Command *command)
{
    fprintf(out, "Usage: registrator %s [--control PATH] %s\n", command->name, command->arguments);
}

static int usage_error(const Command *command)
{
    print_usage(stderr, command);
    return EXIT_USAGE;
}

static int print_command_help(const Command *command)
{
    print_usage(stdout, command);
    printf("\n  %s\n\nSee registrator-%s(1).\n", command->description, command->name);
    return EXIT_SUCCESS;
}

static bool parse_seconds(const char *text, unsigned *ret)
{
    return number_parse(text, 86400, ret);
}

static bool parse_options(const Command *command, int argc, char **argv, CtlOptions *options)
{
    static const struct option long_options[] = {
        { "json", no_argument, NULL, 'j' },        { "watch", no_argument, NULL, 'w' },
        { "etcd", no_argument, NULL, 'e' },        { "control", required_argument, NULL, 'c' },
        { "drain", required_argument, NULL, 'd' }, { "until-restart", no_argument, NULL, 'u' },
        { "help", no_argument, NULL, 'h' },        { NULL, 0, NULL, 0 },
    };
    int option;

    optind = 0; /* getopt was used before, on the whole command line */
    opterr = 1;
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) >= 0) {
        if (option == 'c')
            options->control = optarg;
        else if (option == 'h')
            options->help = true;
        else if (option == 'j' && command->run == run_status)
            options->json = true;
        else if (option == 'w' && command->run == run_status)
            options->watch = true;
        else if (option == 'e' && command->run == run_status)
            options->etcd = true;
        else if (option == 'u' && command->run == run_drain)
            options->until_restart = true;
        else if (option != 'd' || command->run != run_stop || !parse_seconds(optarg, &options->drain_s))
            return false;
    }
    options->names = argv + optind;
    options->n_names = argc - optind;
    if (options->help)
        return true;
    if (options->json + options->watch + options->etcd > 1)
        return false;
    if (command->needs_name && options->n_names == 0)
        return false;
    if (command->run == run_explain && options->n_names != 1)
        return false;
    return command->takes_names || options->n_names == 0;
}

int ctl_run(const Settings *settings, int argc, char **argv)
{
    CtlOptions options = { .control = settings->control, .drain_s = DRAIN_DEFAULT_S };

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(argv[0], commands[i].name) != 0)
            continue;
        if (!parse_options(&commands[i], argc, argv, &options))
            return usage_error(&commands[i]);
        if (options.help)
            return print_command_help(&commands[i]);
        return commands[i].run(settings, &options);
    }
    return -ENOENT;
}
