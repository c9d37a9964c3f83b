#include "ctl/ctl.h"

#include "ctl/ctl_call.h"
#include "ctl/ctl_drain.h"
#include "ctl/ctl_etcd.h"
#include "ctl/ctl_fleet.h"
#include "ctl/ctl_table.h"
#include "ctl/ctl_watch.h"
#include "base/exit_status.h"
#include "base/json.h"
#include "base/numbers.h"
#include "base/text.h"
#include "http/http.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>

enum {
    WATCH_S = 2,
    DRAIN_DEFAULT_S = 5, /* more than confd's interval of 1 s and HAProxy's reload together */
};

typedef struct Command {
    const char *name, *arguments, *description;
    int (*run)(const Settings *settings, const CtlOptions *options);
    int min_names, max_names;
    const char *options; /* letters of its options, see parse_options() */
} Command;

/* ---- commands ---- */

static void draw_status(void *userdata, FILE *out, unsigned columns)
{
    cJSON *status = ctl_call_agent(userdata, "/status", NULL, NULL);

    if (status)
        ctl_print_status_for(out, status, columns);
    cJSON_Delete(status);
}

static int run_status(const Settings *settings, const CtlOptions *options)
{
    CLEANUP_JSON cJSON *status = NULL;

    if (options->output == CTL_ETCD)
        return ctl_status_etcd(settings, options->control);
    if (options->output == CTL_WATCH)
        return ctl_watch(WATCH_S, draw_status, (void *)options->control);
    status = ctl_call_agent(options->control, "/status", NULL, NULL);
    if (!status)
        return EXIT_NOT_POSSIBLE;
    if (options->output == CTL_JSON)
        ctl_print_json(status);
    else
        ctl_print_status(stdout, status);
    return EXIT_SUCCESS;
}

/* The agent remembers only running containers. Docker knows the others. */
static int explain_unknown(const Settings *settings, const char *name)
{
    CLEANUP_JSON cJSON *json = NULL;
    const cJSON *state;
    int r = ctl_call_container(settings, name, "json", false, &json);

    if (r != EXIT_SUCCESS)
        return r;
    state = json_get(json, "State");
    if (!cJSON_IsTrue(json_get(state, "Running"))) {
        printf("%s: unregistered, not running (Docker says: %s)\nTo do: Start the container.\n", name,
               json_string(state, "Status"));
        return EXIT_SUCCESS;
    }
    fprintf(stderr, "registrator: %s runs, but the agent does not know it yet: does the agent use another Docker?\n",
            name);
    return EXIT_NOT_POSSIBLE;
}

static cJSON *get_history(const CtlOptions *options, const char *name)
{
    CLEANUP_FREE char *escaped = http_escape(name ? name : "", false);
    CLEANUP_FREE char *path = escaped ? text_format("/history%s%s", name ? "/" : "", escaped) : NULL;

    return path ? ctl_call_agent(options->control, path, NULL, NULL) : NULL;
}

static int run_history(const Settings *settings, const CtlOptions *options)
{
    const char *name = options->n_names > 0 ? options->names[0] : NULL;
    CLEANUP_JSON cJSON *history = get_history(options, name);
    const cJSON *events = json_get(history, "events");

    (void)settings;
    if (!history)
        return EXIT_NOT_POSSIBLE;
    if (options->output == CTL_JSON)
        ctl_print_json(history);
    else if (cJSON_GetArraySize(events) > 0)
        ctl_print_history(stdout, events, !name);
    else
        fprintf(stderr, "registrator: no key%s%s has changed since the agent started\n", name ? " of " : "",
                name ? name : "");
    return EXIT_SUCCESS;
}

/* The history may still have the keys of a removed container. */
static void print_past(const CtlOptions *options, const char *name)
{
    CLEANUP_JSON cJSON *history = get_history(options, name);
    const cJSON *events = json_get(history, "events");

    if (cJSON_GetArraySize(events) == 0)
        return;
    printf("\n");
    ctl_print_history(stdout, events, false);
}

static int run_explain(const Settings *settings, const CtlOptions *options)
{
    bool missing = false;
    CLEANUP_JSON cJSON *container = ctl_get_container(options->control, options->names[0], &missing);

    if (missing) {
        int r = explain_unknown(settings, options->names[0]);

        print_past(options, options->names[0]);
        return r;
    }
    if (!container)
        return EXIT_NOT_POSSIBLE;
    ctl_print_container(stdout, container);
    return EXIT_SUCCESS;
}

static const Command commands[] = {
    { "status", "[--json | --watch | --etcd]", "show each container's keys, or the reason for none", run_status, 0, 0,
      "jwe" },
    { "explain", "CONTAINER", "show one container's keys, or the reason for none and the remedy", run_explain, 1, 1,
      "" },
    { "history", "[--json] [CONTAINER]", "show the changes of keys, and their causes", run_history, 0, 1, "j" },
    { "fleet", "[--json | --watch]", "show the keys of all hosts, read from etcd alone", ctl_fleet, 0, 0, "jw" },
    { "drain", "[--until-restart] [CONTAINER…]", "deregister containers, or the whole host", ctl_drain, 0, INT_MAX,
      "u" },
    { "undrain", "[CONTAINER…]", "register containers, or those of the whole host, again", ctl_undrain, 0, INT_MAX,
      "" },
    { "stop", "[--drain SECONDS] CONTAINER…", "deregister, wait (5 s), then docker stop", ctl_stop, 1, INT_MAX, "d" },
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

/* Returns false if an earlier option has chosen another output. */
static bool set_output(CtlOptions *options, CtlOutput output)
{
    bool first = options->output == CTL_TABLE || options->output == output;

    options->output = output;
    return first;
}

static bool set_option(CtlOptions *options, int option)
{
    switch (option) {
    case 'c':
        options->control = optarg;
        return true;
    case 'h':
        options->help = true;
        return true;
    case 'j':
        return set_output(options, CTL_JSON);
    case 'w':
        return set_output(options, CTL_WATCH);
    case 'e':
        return set_output(options, CTL_ETCD);
    case 'u':
        options->until_restart = true;
        return true;
    default:
        return number_parse(optarg, 86400, &options->drain_s);
    }
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

    optind = 0; /* 0 makes GNU's getopt_long() forget the state of the earlier call on the whole command line */
    opterr = 1;
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) >= 0)
        if ((option != 'c' && option != 'h' && !strchr(command->options, option)) || !set_option(options, option))
            return false;
    options->names = argv + optind;
    options->n_names = argc - optind;
    if (options->help)
        return true;
    return options->n_names >= command->min_names && options->n_names <= command->max_names;
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
