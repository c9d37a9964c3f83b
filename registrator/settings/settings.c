#include "settings/settings_private.h"

#include "base/log.h"
#include "base/text.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

enum {
    SHOWN_MAX = 200, /* bytes of a setting's text that an error shows */
    OPTION_FIRST = 256, /* first result of getopt_long() for a long option: above all characters */
};

static void loader_clear(Loader *loader)
{
    settings_free(loader->settings);
    for (size_t i = 0; i < n_options; i++)
        free(loader->origin[i]);
    for (size_t i = 0; i < n_options; i++)
        free(loader->given[i]);
    for (size_t i = 0; i < LAYOUTS_MAX; i++)
        free(loader->layout_origin[i]);
    free(loader->error);
}

int loader_fail(Loader *loader, const char *format, ...)
{
    va_list arguments;
    char *error;

    va_start(arguments, format);
    error = text_vformat(format, arguments);
    va_end(arguments);
    if (!error)
        return -ENOMEM;
    for (char *p = error; *p; p++)
        if (iscntrl((unsigned char)*p))
            *p = '?';
    text_take(&loader->error, error);
    return -EINVAL;
}

int loader_gather(char **gathered, const Option *option, const char *text)
{
    char *list;

    if (!option->is_list || !*gathered || **gathered == '\0')
        return text_replace(gathered, text);
    list = text_format("%s,%s", *gathered, text);
    if (!list)
        return -ENOMEM;
    text_take(gathered, list);
    return 0;
}

void *loader_field(const Loader *loader, const Option *option)
{
    return (char *)loader->settings + option->offset;
}

static void unset(const Option *option, void *field)
{
    if (option->parse == setting_parse_number) {
        *(unsigned *)field = 0;
        return;
    }
    if (option->parse == setting_parse_only) {
        *(LabelMatch **)field = label_matches_free(*(LabelMatch **)field);
        return;
    }
    text_take(field, NULL);
}

static int check_text(const char *text, char **ret_reason)
{
    if (strlen(text) > SETTING_TEXT_MAX)
        return setting_refuse(ret_reason, "must not be longer than %d bytes", SETTING_TEXT_MAX);
    for (const char *p = text; *p; p++)
        if (iscntrl((unsigned char)*p))
            return setting_refuse(ret_reason, "must not have control characters or line breaks");
    return 0;
}

/* An error must not show the password of a URL like "http://me:secret@host". In a malformed URL too, the text before
 * the last @ may be a password. */
static char *text_for_error(const Option *option, const char *text)
{
    bool is_url = option->parse == setting_parse_endpoints || option->parse == setting_parse_docker_url;
    const char *at = is_url ? strrchr(text, '@') : NULL;
    const char *scheme = at ? strstr(text, "://") : NULL;

    if (!at)
        return strndup(text, SHOWN_MAX);
    int length = scheme && scheme < at ? (int)(scheme - text) + (int)strlen("://") : 0;
    return text_format("%.*s***%.*s", length < SHOWN_MAX ? length : 0, text, SHOWN_MAX, at);
}

int loader_parse(Loader *loader, const Option *option, const char *text, void *field, const char *origin)
{
    CLEANUP_FREE char *reason = NULL;
    int r = check_text(text, &reason);

    if (r >= 0)
        r = option->parse(option, text, field, &reason);
    if (r != -EINVAL)
        return r;
    CLEANUP_FREE char *shown = text_for_error(option, text);
    return shown ? loader_fail(loader, "%s: '%s': %s", origin, shown, reason) : -ENOMEM;
}

int loader_set(Loader *loader, const Option *option, const char *text, const char *origin)
{
    if (*text || option->fallback) {
        int r = loader_parse(loader, option, text, loader_field(loader, option), origin);
        if (r < 0)
            return r;
    } else {
        unset(option, loader_field(loader, option));
    }
    return text_replace(&loader->origin[option_index(option)], origin);
}

static int set_defaults(Loader *loader)
{
    (void)snprintf(loader->settings->layouts[0].name, sizeof(loader->settings->layouts[0].name), LAYOUT_DEFAULT);
    loader->settings->n_layouts = 1;
    for (size_t i = 0; i < n_options; i++) {
        if (!options[i].fallback)
            continue;
        int r = loader_parse(loader, &options[i], options[i].fallback, loader_field(loader, &options[i]), "default");
        assert(r != -EINVAL);
        if (r < 0)
            return r;
    }
    return 0;
}

static const char *variable_value(const char *name)
{
    const char *value = getenv(name);

    /* An empty variable counts as unset: unit files and compose files can empty a variable, but not unset it. */
    return value && *value ? value : NULL;
}

static int set_environment(Loader *loader)
{
    for (size_t i = 0; i < n_options; i++) {
        char name[SETTING_VARIABLE_MAX], key_name[SETTING_VARIABLE_MAX];

        if (!options[i].parse)
            continue;
        option_variable(name, &options[i], false);
        option_variable(key_name, &options[i], true);
        const char *value = variable_value(name), *key_value = variable_value(key_name);
        if (value && key_value && strcmp(value, key_value) != 0)
            return loader_fail(loader, "%s and %s are one setting, but differ", name, key_name);
        if (!value && !key_value)
            continue;
        int r = loader_set(loader, &options[i], value ? value : key_value, value ? name : key_name);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool is_variable(const char *name, size_t length)
{
    for (size_t i = 0; i < n_options; i++)
        for (int by_key = 0; by_key < 2; by_key++) {
            char known[SETTING_VARIABLE_MAX];
            option_variable(known, &options[i], by_key);
            if (strlen(known) == length && strncmp(known, name, length) == 0)
                return true;
        }
    return false;
}

/* The agent refuses to start with REGISTRATOR_DRY_RUN: a user who sets this variable expects that the agent writes
 * nothing. */
static int check_actions(Loader *loader)
{
    for (size_t i = 0; i < n_options; i++) {
        char name[SETTING_VARIABLE_MAX];

        if (options[i].action != SETTINGS_DRY_RUN && options[i].action != SETTINGS_CHECK)
            continue;
        option_variable(name, &options[i], false);
        if (variable_value(name))
            return loader_fail(loader, "%s: only the command line has this option, --%s", name, options[i].name);
    }
    return 0;
}

/* Does the name begin with a section of the settings, like "REGISTRATOR_ETCD_"? */
static bool is_in_section(const char *name, size_t length)
{
    for (size_t i = 0; i < n_options; i++) {
        char known[SETTING_VARIABLE_MAX];
        if (!options[i].section)
            continue;
        option_variable(known, &options[i], true);
        size_t begin = strlen(VARIABLE_PREFIX) + strlen(options[i].section) + 1;
        if (length >= begin && strncmp(known, name, begin) == 0)
            return true;
    }
    return false;
}

/* Docker's links and Kubernetes set variables for each service. A service "registrator-etcd" has REGISTRATOR_ETCD_PORT,
 * REGISTRATOR_ETCD_PORT_2379_TCP_ADDR and REGISTRATOR_ETCD_SERVICE_HOST. */
static bool is_of_service(const char *variable, size_t length)
{
    CLEANUP_FREE char *name = strndup(variable, length);
    const char *value = variable + length + (variable[length] == '=');

    return name && (strstr(name, "_PORT_") || strstr(name, "_ENV_") || text_ends_with(name, "_SERVICE_HOST") ||
                    text_ends_with(name, "_SERVICE_PORT") || (text_ends_with(name, "_PORT") && strstr(value, "://")) ||
                    (text_ends_with(name, "_NAME") && *value == '/'));
}

/* A misspelt variable must cause an error, but other programs set variables with the same prefix. */
static int check_environment(Loader *loader)
{
    for (char **p = environ; p && *p; p++) {
        size_t length = strcspn(*p, "=");

        if (strncmp(*p, VARIABLE_PREFIX, strlen(VARIABLE_PREFIX)) != 0 || is_variable(*p, length))
            continue;
        if (is_in_section(*p, length) && !is_of_service(*p, length))
            return loader_fail(loader, "%.*s: there is no such setting", (int)length, *p);
        log_warning("Variable %.*s is not a setting, ignoring", (int)length, *p);
    }
    return check_actions(loader);
}

static int set_command_line(Loader *loader)
{
    for (size_t i = 0; i < n_options; i++) {
        char origin[SETTING_VARIABLE_MAX];

        if (!options[i].parse || !loader->given[i])
            continue;
        snprintf(origin, sizeof(origin), "--%s", options[i].name);
        int r = loader_set(loader, &options[i], loader->given[i], origin);
        if (r < 0)
            return r;
    }
    return 0;
}

static int argument_kind(const Option *option)
{
    if (!option->argument)
        return no_argument;
    return *option->argument == '[' ? optional_argument : required_argument;
}

/* Explains why getopt_long() refused argv[index]. */
static int fail_usage(Loader *loader, int result, char **argv, int index)
{
    if (optopt >= OPTION_FIRST)
        return loader_fail(loader, "--%s: %s", options[optopt - OPTION_FIRST].name,
                           result == ':' ? "needs a value" : "takes no value");
    if (optopt != 0)
        return loader_fail(loader, "-%c: there is no such option", optopt);

    const char *given = argv[index];
    size_t length = strcspn(given, "="), matches = 0;
    for (size_t i = 0; i < n_options && length > 2; i++)
        matches += strncmp(options[i].name, given + 2, length - 2) == 0;
    return loader_fail(loader, "%.*s: %s", (int)length, given,
                       matches > 1 ? "is the beginning of several options" : "there is no such option");
}

static int read_command_line(Loader *loader, int argc, char **argv)
{
    struct option table[OPTIONS_MAX + 1] = { 0 };
    int result;

    for (size_t i = 0; i < n_options; i++)
        table[i] = (struct option){ options[i].name, argument_kind(&options[i]), NULL, OPTION_FIRST + (int)i };

    optind = 0; /* 0 makes GNU's getopt_long() forget the state of an earlier call */
    opterr = 0;
    /* "+" ends the options at the first operand: the rest belongs to the subcommand. */
    while ((result = getopt_long(argc, argv, "+:hV", table, NULL)) != -1) {
        if (result == '?' || result == ':')
            return fail_usage(loader, result, argv, optind - 1);

        size_t i = 0;
        if (result >= OPTION_FIRST)
            i = (size_t)(result - OPTION_FIRST);
        else
            while (options[i].short_name != result)
                i++;
        if (options[i].argument)
            result = loader_gather(&loader->given[i], &options[i], optarg ? optarg : "yes");
        else
            loader->action = options[i].action;
        if (result == -ENOMEM)
            return result;
        if (loader->action == SETTINGS_HELP || loader->action == SETTINGS_VERSION)
            break;
    }
    loader->first_operand = optind;
    return 0;
}

static int load_settings(Loader *loader, bool agent)
{
    loader->settings = calloc(1, sizeof(Settings));
    if (!loader->settings)
        return -ENOMEM;

    int r = set_defaults(loader);
    if (r >= 0)
        r = settings_read_file(loader);
    if (r >= 0)
        r = set_environment(loader);
    if (r >= 0)
        r = set_command_line(loader);
    if (r >= 0)
        r = settings_complete(loader, agent);
    if (r >= 0)
        r = settings_check_together(loader);
    /* A subcommand needs only the path of the control socket. Its user may have no right to read the agent's key
     * files. */
    if (r >= 0 && agent)
        r = check_environment(loader);
    if (r >= 0 && agent)
        r = settings_check_files(loader);
    return r;
}

int settings_load(Settings **ret, int argc, char **argv, SettingsAction *ret_action, int *ret_first_operand,
                  char **ret_error)
{
    CLEANUP(loader_clear) Loader loader = { .action = SETTINGS_RUN };
    int r = read_command_line(&loader, argc, argv);

    if (r >= 0 && loader.action != SETTINGS_HELP && loader.action != SETTINGS_VERSION)
        r = load_settings(&loader, loader.first_operand >= argc);
    if (r < 0) {
        *ret_error = TAKE_PTR(loader.error);
        return r;
    }
    *ret = TAKE_PTR(loader.settings);
    *ret_action = loader.action;
    *ret_first_operand = loader.first_operand;
    return 0;
}

Settings *settings_free(Settings *settings)
{
    if (!settings)
        return NULL;
    free(settings->docker_url);
    free(settings->docker_ca);
    free(settings->docker_cert);
    free(settings->docker_key);
    setting_strings_free(settings->etcd_endpoints);
    free(settings->etcd_ca);
    free(settings->etcd_cert);
    free(settings->etcd_key);
    free(settings->etcd_user);
    free(settings->etcd_password_file);
    text_free_secret(settings->etcd_password);
    for (size_t i = 0; i < settings->n_layouts; i++)
        layout_clear(&settings->layouts[i]);
    label_matches_free(settings->only);
    free(settings->advertise);
    free(settings->node);
    free(settings->control);
    free(settings->listen);
    free(settings);
    return NULL;
}

static bool same_texts(char *const *a, char *const *b)
{
    for (; *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return *a == *b;
}

bool settings_same_docker(const Settings *a, const Settings *b)
{
    return !a->docker_ca && !b->docker_ca && !a->docker_cert && !b->docker_cert &&
           text_same(a->docker_url, b->docker_url) && a->docker_resync_s == b->docker_resync_s;
}

/* The store depends on the templates and the ports: they decide which addresses the values contain, and which
 * directories v2 needs. */
bool settings_same_store(const Settings *a, const Settings *b)
{
    return !a->etcd_ca && !b->etcd_ca && !a->etcd_cert && !b->etcd_cert &&
           same_texts(a->etcd_endpoints, b->etcd_endpoints) && a->etcd_api == b->etcd_api &&
           text_same(a->etcd_user, b->etcd_user) && text_same(a->etcd_password, b->etcd_password) &&
           a->etcd_nudge == b->etcd_nudge && a->ttl_s == b->ttl_s && strcmp(a->node, b->node) == 0 &&
           a->ports == b->ports && layouts_are_same(a, b);
}

static bool same_matches(const LabelMatch *a, const LabelMatch *b)
{
    if (!a || !b)
        return a == b;
    for (; a->label && b->label; a++, b++)
        if (strcmp(a->label, b->label) != 0 || !text_same(a->value, b->value))
            return false;
    return a->label == b->label;
}

bool settings_same_metadata(const Settings *a, const Settings *b)
{
    return same_matches(a->only, b->only) && layouts_are_same(a, b);
}

EtcdConfig settings_etcd(const Settings *settings)
{
    return (EtcdConfig){
        .endpoints = settings->etcd_endpoints,
        .n_endpoints = setting_strings_count(settings->etcd_endpoints),
        .ca = settings->etcd_ca,
        .cert = settings->etcd_cert,
        .key = settings->etcd_key,
        .user = settings->etcd_user,
        .password = settings->etcd_password,
    };
}
