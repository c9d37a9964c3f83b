#include "settings.h"

#include "log.h"
#include "setting_value.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <ini.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef PKGSYSCONFDIR /* the build says where it installs */
#define PKGSYSCONFDIR "/etc/registrator"
#endif
#define SETTINGS_FILE PKGSYSCONFDIR "/registrator.conf"
#define VARIABLE_PREFIX "REGISTRATOR_"

enum {
    SHOWN_MAX = 200, /* bytes of a setting that an error repeats */
    PASSWORD_MAX = 1024, /* bytes of the password file */
};

#define FIELD(name) .offset = offsetof(Settings, name)

/* The one place that names options, file keys, variables, defaults and meanings. */
static const Option options[] = {
    { "config", .argument = "FILE", .shown = SETTINGS_FILE " if there", .meaning = "settings file" },
    { "docker", "docker", "url", "URL", "unix:///var/run/docker.sock",
      .shown = "$DOCKER_HOST, else unix:///var/run/docker.sock", .meaning = "Docker: unix:///PATH or tcp://HOST:PORT",
      .parse = setting_parse_docker_url, FIELD(docker_url) },
    { "docker-ca", "docker", "ca", "FILE", .meaning = "CA certificates to check Docker's with",
      .parse = setting_parse_file, FIELD(docker_ca) },
    { "docker-cert", "docker", "cert", "FILE", .meaning = "client certificate for Docker", .parse = setting_parse_file,
      FIELD(docker_cert) },
    { "docker-key", "docker", "key", "FILE", .meaning = "key of the client certificate for Docker",
      .parse = setting_parse_file, FIELD(docker_key) },
    { "docker-environment", "docker", "environment", "yes|no", "yes",
      .meaning = "read SERVICE_* from containers' environment (an inspect for each)", .parse = setting_parse_bool,
      FIELD(docker_environment) },
    { "etcd", "etcd", "endpoints", "URL[,URL...]", "http://127.0.0.1:2379", .meaning = "etcd, tried in turn",
      .parse = setting_parse_endpoints, FIELD(etcd_endpoints) },
    { "etcd-api", "etcd", "api", "auto|v3|v2|v2,v3", "auto",
      .meaning = "etcd's API, or both; auto: v3 where the server has it", .parse = setting_parse_etcd_api,
      FIELD(etcd_api) },
    { "etcd-nudge", "etcd", "nudge", "[=yes|no]", "no", .meaning = "v2: wake confd's watch once more after changes",
      .parse = setting_parse_bool, FIELD(etcd_nudge) },
    { "etcd-ca", "etcd", "ca", "FILE", .meaning = "CA certificates to check etcd's with", .parse = setting_parse_file,
      FIELD(etcd_ca) },
    { "etcd-cert", "etcd", "cert", "FILE", .meaning = "client certificate for etcd", .parse = setting_parse_file,
      FIELD(etcd_cert) },
    { "etcd-key", "etcd", "key", "FILE", .meaning = "key of the client certificate for etcd",
      .parse = setting_parse_file, FIELD(etcd_key) },
    { "etcd-user", "etcd", "user", "NAME", .meaning = "user name at etcd", .parse = setting_parse_text,
      FIELD(etcd_user) },
    { "etcd-password-file", "etcd", "password_file", "FILE", .meaning = "file that holds the user's password at etcd",
      .parse = setting_parse_file, FIELD(etcd_password_file) },
    { "key", "registry", "key", "TEMPLATE", "/app/{service}/{name}", .meaning = "key of a container",
      .parse = setting_parse_key, FIELD(key) },
    { "value", "registry", "value", "TEMPLATE", "{address}:{port}", .meaning = "value of the key",
      .parse = setting_parse_value, FIELD(value) },
    { "service", "registry", "service", "NAME", "servers", .meaning = "service of a container that names none",
      .parse = setting_parse_service, FIELD(service) },
    { "advertise", "registry", "advertise", "ADDR|IFACE", .shown = "found out",
      .meaning = "this host's address, or the interface that has it", .parse = setting_parse_advertise,
      FIELD(advertise) },
    { "node", "registry", "node", "NAME", .shown = "host name", .meaning = "this host's name",
      .parse = setting_parse_node, FIELD(node) },
    { "ttl", "registry", "ttl", "SECONDS", "30", .meaning = "keys of a dead host live so long, 5 or more",
      .parse = setting_parse_number, FIELD(ttl_s), .min = 5, .max = 86400 },
    { "heartbeat", "registry", "heartbeat", "SECONDS", .shown = "a third of the TTL",
      .meaning = "keys are renewed so often, half of the TTL at most", .parse = setting_parse_number,
      FIELD(heartbeat_s), .min = 1, .max = 43200 },
    { "resync", "docker", "resync", "SECONDS", "60", .meaning = "list the containers and compare so often, jittered",
      .parse = setting_parse_number, FIELD(docker_resync_s), .min = 1, .max = 86400 },
    { "docker-grace", "docker", "grace", "SECONDS", "300", .meaning = "keep keys so long while dockerd is away",
      .parse = setting_parse_number, FIELD(docker_grace_s), .min = 0, .max = 604800 },
    { "ports", "registry", "ports", "published|internal", "published",
      .meaning = "internal: container address and exposed port", .parse = setting_parse_choice, FIELD(ports) },
    { "explicit", "registry", "explicit", "[=yes|no]", "no", .meaning = "only containers that name a service",
      .parse = setting_parse_bool, FIELD(explicit_only) },
    { "on-conflict", "registry", "on_conflict", "wait|replace", "wait",
      .meaning = "what to do about a key that is somebody else's", .parse = setting_parse_choice, FIELD(on_conflict) },
    { "control", "agent", "control", "PATH", "/run/registrator/control.sock", .meaning = "socket of the subcommands",
      .parse = setting_parse_socket_path, FIELD(control) },
    { "listen", "agent", "listen", "ADDR:PORT", .shown = "off",
      .meaning = "/metrics, /healthz, /readyz, /status by HTTP", .parse = setting_parse_listen, FIELD(listen) },
    { "log-level", "agent", "log_level", "error|warning|notice|info|debug", "info", .meaning = "how much to log",
      .parse = setting_parse_log_level, FIELD(log_level) },
    { "log-format", "agent", "log_format", "plain|logfmt", "plain",
      .meaning = "how lines look that do not go to the journal", .parse = setting_parse_choice, FIELD(log_format) },
    { "dry-run", .meaning = "read everything, write nothing, print what it would do", .action = SETTINGS_DRY_RUN },
    { "check-config", .meaning = "check the settings and exit: 0, or 1 with file, line and reason",
      .action = SETTINGS_CHECK },
    { "help", .meaning = "print this and exit", .action = SETTINGS_HELP, .short_name = 'h' },
    { "version", .meaning = "print the version and exit", .action = SETTINGS_VERSION, .short_name = 'V' },
};

enum { N_OPTIONS = ARRAY_SIZE(options), OPTION_FIRST = 256 /* above all short options */ };

typedef struct Loader {
    Settings *settings;
    SettingsAction action;
    int first_operand;
    const char *given[N_OPTIONS]; /* on the command line; of argv */
    char *origin[N_OPTIONS]; /* where the value in force comes from; NULL: the default */
    char *error;
} Loader;

static void loader_clear(Loader *loader)
{
    settings_free(loader->settings);
    for (size_t i = 0; i < N_OPTIONS; i++)
        free(loader->origin[i]);
    free(loader->error);
}

__attribute__((format(printf, 2, 3))) static int fail(Loader *loader, const char *format, ...)
{
    va_list arguments;
    char *error;

    va_start(arguments, format);
    int length = vasprintf(&error, format, arguments);
    va_end(arguments);
    if (length < 0)
        return -ENOMEM;
    for (char *p = error; *p; p++)
        if (iscntrl((unsigned char)*p))
            *p = '?';
    free(loader->error);
    loader->error = error;
    return -EINVAL;
}

static const Option *find_option(const char *name)
{
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    assert(false);
    return NULL;
}

static size_t option_index(const Option *option)
{
    return (size_t)(option - options);
}

static void *option_field(const Loader *loader, const Option *option)
{
    return (char *)loader->settings + option->offset;
}

/* For errors that show only when settings are looked at together. */
static const char *origin_of(const Loader *loader, const char *name)
{
    const char *origin = loader->origin[option_index(find_option(name))];

    return origin ? origin : name;
}

static void unset(const Option *option, void *field)
{
    if (option->parse == setting_parse_number) {
        *(unsigned *)field = 0;
        return;
    }
    char **string = field;
    free(*string);
    *string = NULL;
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

static int parse_option(Loader *loader, const Option *option, const char *text, const char *origin)
{
    CLEANUP_FREE char *reason = NULL;
    int r = check_text(text, &reason);

    if (r >= 0)
        r = option->parse(option, text, option_field(loader, option), &reason);
    if (r == -EINVAL)
        return fail(loader, "%s: '%.*s': %s", origin, SHOWN_MAX, text, reason);
    return r;
}

static int set_option(Loader *loader, const Option *option, const char *text, const char *origin)
{
    if (*text || option->fallback) {
        int r = parse_option(loader, option, text, origin);
        if (r < 0)
            return r;
    } else {
        unset(option, option_field(loader, option));
    }
    return setting_replace_string(&loader->origin[option_index(option)], origin);
}

static int set_defaults(Loader *loader)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        if (!options[i].fallback)
            continue;
        int r = parse_option(loader, &options[i], options[i].fallback, "default");
        assert(r != -EINVAL);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Settings file. libinih reads it a line at a time through file_read_line(), for it would itself
 * cut lines that do not fit its buffer (200 bytes unless compiled otherwise). */
typedef struct File {
    Loader *loader;
    const char *path;
    FILE *stream;
    unsigned line; /* being read */
    bool continued; /* the line before ended in a backslash, */
    bool continues; /* and so does this one */
    char *section, *key, *value; /* read, to be applied when the next line does not continue it */
    unsigned key_line;
    unsigned seen[N_OPTIONS]; /* line that set the option */
    int error;
} File;

static void file_forget_key(File *file)
{
    free(file->section);
    free(file->key);
    free(file->value);
    file->section = file->key = file->value = NULL;
}

static void file_clear(File *file)
{
    fclose_p(&file->stream);
    file_forget_key(file);
}

static const Option *find_key(const char *section, const char *key)
{
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (options[i].section && strcmp(options[i].section, section) == 0 && strcmp(options[i].key, key) == 0)
            return &options[i];
    return NULL;
}

static int file_set_key(File *file)
{
    const Option *option = find_key(file->section, file->key);
    CLEANUP_FREE char *origin = NULL;

    int length = asprintf(&origin, "%s:%u: [%s] %s", file->path, file->key_line, file->section, file->key);
    if (length < 0) {
        origin = NULL; /* asprintf() may have left it undefined */
        return -ENOMEM;
    }
    if (!option)
        return fail(file->loader, "%s: there is no such setting", origin);

    unsigned *seen = &file->seen[option_index(option)];
    if (*seen)
        return fail(file->loader, "%s: set already in line %u", origin, *seen);
    *seen = file->key_line;
    return set_option(file->loader, option, file->value, origin);
}

static int file_apply(File *file)
{
    if (!file->key)
        return 0;
    int r = file_set_key(file);
    file_forget_key(file);
    return r;
}

/* libinih would ignore what follows the bracket. */
static bool section_has_tail(const char *line)
{
    const char *end = *line == '[' ? strchr(line, ']') : NULL;

    return end && !strchr(";#", end[1 + strspn(end + 1, " \t")]);
}

/* An ini_reader: like fgets(), but a line that is too long is an error, indentation has no
 * meaning, and a backslash at the end continues the line. libinih takes an indented line for the
 * continuation of the one before. */
static char *file_read_line(char *buffer, int size, void *userdata)
{
    File *file = userdata;

    file->continued = file->continues;
    if (!file->continued)
        file->error = file_apply(file);
    if (file->error < 0 || !fgets(buffer, size, file->stream))
        return NULL;
    file->line++;

    size_t length = strlen(buffer);
    if ((length == 0 || buffer[length - 1] != '\n') && !feof(file->stream)) {
        file->error = fail(file->loader,
                           "%s:%u: longer than %d bytes (end it in a backslash and go on in the "
                           "next line), or not a text",
                           file->path, file->line, size - 2);
        return NULL;
    }

    char *text = setting_trim(buffer);
    length = strlen(text);
    if (section_has_tail(text)) {
        file->error = fail(file->loader, "%s:%u: text after [section]", file->path, file->line);
        return NULL;
    }
    file->continues = length > 0 && text[length - 1] == '\\' && !strchr("#;", *text);
    if (file->continues)
        text[--length] = '\0';
    memmove(buffer + file->continued, text, length + 1);
    if (file->continued)
        *buffer = ' ';
    return buffer;
}

/* An ini_handler: 1: go on. */
static int file_take_key(void *userdata, const char *section, const char *key, const char *value)
{
    File *file = userdata;
    char *text = NULL;

    if (file->key) {
        if (asprintf(&text, "%s%s", file->value, value) < 0) {
            file->error = -ENOMEM;
            return 0;
        }
        free(file->value);
        file->value = text;
        return 1;
    }
    file->section = strdup(section);
    file->key = strdup(key);
    file->value = strdup(value);
    file->key_line = file->line;
    if (!file->section || !file->key || !file->value) {
        file_forget_key(file);
        file->error = -ENOMEM;
    }
    return file->error == 0;
}

static int file_parse(File *file)
{
    int line = ini_parse_stream(file_read_line, file, file_take_key, file);

    if (file->error == -ENOMEM || line == -2)
        return -ENOMEM;
    if (ferror(file->stream))
        return fail(file->loader, "%s: %m", file->path);
    /* It reads on after a line that it does not understand: this one comes before any other
     * error. */
    if (line > 0)
        return fail(file->loader, "%s:%d: neither [section] nor key = value", file->path, line);
    return file->error < 0 ? file->error : file_apply(file);
}

static int read_file(Loader *loader)
{
    const char *given = loader->given[option_index(find_option("config"))];
    const char *variable = getenv(VARIABLE_PREFIX "CONFIG");

    if (!given && variable && *variable)
        given = variable;
    CLEANUP(file_clear) File file = { .loader = loader, .path = given ? given : SETTINGS_FILE };
    file.stream = fopen(file.path, "re");
    if (!file.stream && !given && errno == ENOENT)
        return 0;
    if (!file.stream)
        return fail(loader, "%s: cannot read the settings: %m", file.path);
    return file_parse(&file);
}

/* "REGISTRATOR_ETCD_API", by the option's name or by the file's section and key. */
static void variable_name(char ret[SETTING_VARIABLE_MAX], const Option *option, bool by_key)
{
    if (by_key && option->section)
        snprintf(ret, SETTING_VARIABLE_MAX, "%s%s_%s", VARIABLE_PREFIX, option->section, option->key);
    else
        snprintf(ret, SETTING_VARIABLE_MAX, "%s%s", VARIABLE_PREFIX, option->name);
    for (char *p = ret; *p; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
}

static const char *variable_value(const char *name)
{
    const char *value = getenv(name);

    /* Unit files and compose files cannot unset a variable, but empty it. */
    return value && *value ? value : NULL;
}

static int set_environment(Loader *loader)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        char name[SETTING_VARIABLE_MAX], key_name[SETTING_VARIABLE_MAX];

        if (!options[i].parse)
            continue;
        variable_name(name, &options[i], false);
        variable_name(key_name, &options[i], true);
        const char *value = variable_value(name), *key_value = variable_value(key_name);
        if (value && key_value && strcmp(value, key_value) != 0)
            return fail(loader, "%s and %s are one setting, but differ", name, key_name);
        if (!value && !key_value)
            continue;
        int r = set_option(loader, &options[i], value ? value : key_value, value ? name : key_name);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool is_variable(const char *name, size_t length)
{
    for (size_t i = 0; i < N_OPTIONS; i++)
        for (int by_key = 0; by_key < 2; by_key++) {
            char known[SETTING_VARIABLE_MAX];
            variable_name(known, &options[i], by_key);
            if (strlen(known) == length && strncmp(known, name, length) == 0)
                return true;
        }
    return false;
}

/* Who sets REGISTRATOR_DRY_RUN is not to find that the agent has written. */
static int check_actions(Loader *loader)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        char name[SETTING_VARIABLE_MAX];

        if (options[i].action != SETTINGS_DRY_RUN && options[i].action != SETTINGS_CHECK)
            continue;
        variable_name(name, &options[i], false);
        if (variable_value(name))
            return fail(loader, "%s: this is an option of the command line alone, --%s", name, options[i].name);
    }
    return 0;
}

/* Does it begin like one of ours, "REGISTRATOR_ETCD_"? */
static bool is_in_section(const char *name, size_t length)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        char known[SETTING_VARIABLE_MAX];
        if (!options[i].section)
            continue;
        variable_name(known, &options[i], true);
        size_t begin = strlen(VARIABLE_PREFIX) + strlen(options[i].section) + 1;
        if (length >= begin && strncmp(known, name, begin) == 0)
            return true;
    }
    return false;
}

/* A misspelt variable should not go unnoticed, but others set some of this prefix too: Docker's
 * links and Kubernetes make REGISTRATOR_PORT and REGISTRATOR_SERVICE_HOST of a service's name. */
static int check_environment(Loader *loader)
{
    for (char **p = environ; p && *p; p++) {
        size_t length = strcspn(*p, "=");

        if (strncmp(*p, VARIABLE_PREFIX, strlen(VARIABLE_PREFIX)) != 0 || is_variable(*p, length))
            continue;
        if (is_in_section(*p, length))
            return fail(loader, "%.*s: there is no such setting", (int)length, *p);
        log_warning("Variable %.*s is not a setting, ignoring", (int)length, *p);
    }
    return check_actions(loader);
}

static int set_command_line(Loader *loader)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        char origin[SETTING_VARIABLE_MAX];

        if (!options[i].parse || !loader->given[i])
            continue;
        snprintf(origin, sizeof(origin), "--%s", options[i].name);
        int r = set_option(loader, &options[i], loader->given[i], origin);
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

/* How getopt_long() refused argv[index]. */
static int fail_usage(Loader *loader, int result, char **argv, int index)
{
    if (optopt >= OPTION_FIRST)
        return fail(loader, "--%s: %s", options[optopt - OPTION_FIRST].name,
                    result == ':' ? "needs a value" : "takes no value");
    if (optopt != 0)
        return fail(loader, "-%c: there is no such option", optopt);

    const char *given = argv[index];
    size_t length = strcspn(given, "="), matches = 0;
    for (size_t i = 0; i < N_OPTIONS && length > 2; i++)
        matches += strncmp(options[i].name, given + 2, length - 2) == 0;
    return fail(loader, "%.*s: %s", (int)length, given,
                matches > 1 ? "could be several options" : "there is no such option");
}

static int read_command_line(Loader *loader, int argc, char **argv)
{
    struct option table[N_OPTIONS + 1] = { 0 };
    int result;

    for (int i = 0; i < N_OPTIONS; i++)
        table[i] = (struct option){ options[i].name, argument_kind(&options[i]), NULL, OPTION_FIRST + i };

    optind = 0; /* GNU: begin anew, whatever an earlier call has left behind */
    opterr = 0;
    /* "+": what follows the first operand belongs to the subcommand. */
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
            loader->given[i] = optarg ? optarg : "yes";
        else
            loader->action = options[i].action;
        if (loader->action == SETTINGS_HELP || loader->action == SETTINGS_VERSION)
            break;
    }
    loader->first_operand = optind;
    return 0;
}

/* What has a default that is no constant. */
static int complete(Loader *loader, bool agent)
{
    Settings *settings = loader->settings;
    const Option *docker = find_option("docker");
    const char *docker_host = getenv("DOCKER_HOST");
    int r = 0;

    if (!loader->origin[option_index(docker)] && docker_host && *docker_host)
        r = set_option(loader, docker, docker_host, "DOCKER_HOST");
    /* The docker command takes what we do not, ssh:// for one; an operator who has it set can still ask the agent. */
    if (r == -EINVAL && !agent)
        r = 0;
    if (r >= 0 && !settings->node) {
        char name[HOST_NAME_MAX + 1] = "";
        if (gethostname(name, sizeof(name)) < 0 || !*name)
            return fail(loader, "host name: cannot find it out, set it with --node");
        name[HOST_NAME_MAX] = '\0';
        r = set_option(loader, find_option("node"), name, "host name (set another with --node)");
    }
    if (settings->heartbeat_s == 0)
        settings->heartbeat_s = settings->ttl_s / 3;
    return r;
}

static int check_pair(Loader *loader, const char *name, const char *value, const char *other_name, const char *other)
{
    if (value && !other)
        return fail(loader, "%s: needs --%s too", origin_of(loader, name), other_name);
    if (other && !value)
        return fail(loader, "%s: needs --%s too", origin_of(loader, other_name), name);
    return 0;
}

/* A certificate that is not used would make believe that the connection is safe. */
static int check_etcd_tls(Loader *loader)
{
    const Settings *settings = loader->settings;
    const char *name = settings->etcd_ca ? "etcd-ca" : "etcd-cert";

    if (!settings->etcd_ca && !settings->etcd_cert)
        return 0;
    for (char **p = settings->etcd_endpoints; *p; p++)
        if (!setting_has_scheme(*p, "https://"))
            return fail(loader, "%s: needs endpoints with https://, not %s", origin_of(loader, name), *p);
    return 0;
}

static int check_together(Loader *loader)
{
    const Settings *s = loader->settings;
    int r = check_pair(loader, "docker-cert", s->docker_cert, "docker-key", s->docker_key);

    if (r >= 0)
        r = check_pair(loader, "etcd-cert", s->etcd_cert, "etcd-key", s->etcd_key);
    if (r >= 0)
        r = check_pair(loader, "etcd-user", s->etcd_user, "etcd-password-file", s->etcd_password_file);
    if (r >= 0)
        r = check_etcd_tls(loader);
    if (r >= 0 && s->heartbeat_s > s->ttl_s / 2)
        r = fail(loader, "%s: %u s is more than half of the TTL (%u s): keys would expire when one is lost",
                 origin_of(loader, "heartbeat"), s->heartbeat_s, s->ttl_s);
    return r;
}

static int check_readable(const char *path)
{
    struct stat status;
    /* Not to wait for the writer of a pipe. */
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &status) < 0)
        return -errno;
    return S_ISDIR(status.st_mode) ? -EISDIR : 0;
}

static int check_files(Loader *loader)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        if (options[i].parse != setting_parse_file)
            continue;
        const char *path = *(char **)option_field(loader, &options[i]);
        int r = path ? check_readable(path) : 0;
        if (r < 0)
            return fail(loader, "%s: cannot read %s: %s", loader->origin[i], path, strerror(-r));
    }
    return 0;
}

/* The password is the file's first line. A file that others can read is refused: what stands in it is no
 * secret any more. */
static int read_password(Loader *loader)
{
    Settings *settings = loader->settings;
    const char *path = settings->etcd_password_file;
    struct stat status;
    CLEANUP_FREE char *line = NULL;
    size_t allocated = 0;

    if (!path)
        return 0;
    FILE *file CLEANUP(fclose_p) = fopen(path, "re");
    if (!file || fstat(fileno(file), &status) < 0)
        return fail(loader, "etcd-password-file: cannot read %s: %s", path, strerror(errno));
    if ((status.st_mode & (S_IRWXG | S_IRWXO) & ~(mode_t)S_IRGRP) != 0)
        return fail(loader, "etcd-password-file: others than its owner and group can use %s: chmod o= it, g=r at most",
                    path);
    if (status.st_size > PASSWORD_MAX)
        return fail(loader, "etcd-password-file: %s is longer than %d bytes", path, PASSWORD_MAX);
    if (getline(&line, &allocated, file) > 0)
        line[strcspn(line, "\r\n")] = '\0';
    else if (line)
        *line = '\0'; /* getline() leaves it as it was allocated */
    if (!line || *line == '\0')
        return fail(loader, "etcd-password-file: %s is empty", path);
    settings->etcd_password = TAKE_PTR(line);
    return 0;
}

static int load_settings(Loader *loader, bool agent)
{
    loader->settings = calloc(1, sizeof(Settings));
    if (!loader->settings)
        return -ENOMEM;

    int r = set_defaults(loader);
    if (r >= 0)
        r = read_file(loader);
    if (r >= 0)
        r = set_environment(loader);
    if (r >= 0)
        r = set_command_line(loader);
    if (r >= 0)
        r = complete(loader, agent);
    if (r >= 0)
        r = check_together(loader);
    /* Subcommands need no more than the control socket's path, and may be run by users who cannot
     * read the agent's keys. */
    if (r >= 0 && agent)
        r = check_environment(loader);
    if (r >= 0 && agent)
        r = check_files(loader);
    if (r >= 0 && agent)
        r = read_password(loader);
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
    if (settings->etcd_password)
        explicit_bzero(settings->etcd_password, strlen(settings->etcd_password));
    free(settings->etcd_password);
    template_free(settings->key);
    template_free(settings->value);
    template_free(settings->service);
    free(settings->advertise);
    free(settings->node);
    free(settings->control);
    free(settings->listen);
    free(settings);
    return NULL;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_texts(char *const *a, char *const *b)
{
    for (; *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return *a == *b;
}

static bool same_template(const Template *a, const Template *b)
{
    return strcmp(template_text(a), template_text(b)) == 0;
}

bool settings_same_docker(const Settings *a, const Settings *b)
{
    return !a->docker_ca && !b->docker_ca && !a->docker_cert && !b->docker_cert &&
           same_text(a->docker_url, b->docker_url) && a->docker_resync_s == b->docker_resync_s;
}

/* The templates and the ports say which addresses its values show, and in which directory they stand. */
bool settings_same_store(const Settings *a, const Settings *b)
{
    return !a->etcd_ca && !b->etcd_ca && !a->etcd_cert && !b->etcd_cert &&
           same_texts(a->etcd_endpoints, b->etcd_endpoints) && a->etcd_api == b->etcd_api &&
           same_text(a->etcd_user, b->etcd_user) && same_text(a->etcd_password, b->etcd_password) &&
           a->etcd_nudge == b->etcd_nudge && a->ttl_s == b->ttl_s && strcmp(a->node, b->node) == 0 &&
           a->ports == b->ports && same_template(a->key, b->key) && same_template(a->value, b->value) &&
           same_template(a->service, b->service);
}

bool settings_same_metadata(const Settings *a, const Settings *b)
{
    return a->docker_environment == b->docker_environment && same_template(a->key, b->key) &&
           same_template(a->value, b->value) && same_template(a->service, b->service);
}

static const char *shown_default(const Option *option)
{
    if (option->shown)
        return option->shown;
    return option->fallback ? option->fallback : "";
}

void settings_print_options(FILE *out)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const Option *option = &options[i];
        const char *argument = option->argument ? option->argument : "";
        const char *space = *argument && *argument != '[' ? " " : "";

        fputs("  ", out);
        if (option->short_name)
            fprintf(out, "-%c, ", option->short_name);
        fprintf(out, "--%s%s%s\n      %s\n", option->name, space, argument, option->meaning);
        if (*shown_default(option))
            fprintf(out, "      (default: %s)\n", shown_default(option));
    }
}

void settings_print_table(FILE *out)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const Option *option = &options[i];
        bool settable = option->parse || option->argument;
        char variable[SETTING_VARIABLE_MAX];

        variable_name(variable, option, false);
        fprintf(out, "--%s\t%s%s%s\t%s\t%s\t%s\n", option->name, option->section ? option->section : "",
                option->section ? "." : "", option->section ? option->key : "", settable ? variable : "",
                shown_default(option), option->meaning);
    }
}
