#include "settings/settings_private.h"

#include <assert.h>
#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define FIELD(name) .offset = offsetof(Settings, name)

/* This table alone defines options, file keys, variables, defaults and meanings. */
const Option options[] = {
    { "config", .argument = "FILE", .shown = SETTINGS_FILE " if there", .meaning = "settings file" },
    { "docker", "docker", "url", "URL", "unix:///var/run/docker.sock",
      .shown = "$DOCKER_HOST, else unix:///var/run/docker.sock", .meaning = "Docker: unix:///PATH or tcp://HOST:PORT",
      .parse = setting_parse_docker_url, FIELD(docker_url) },
    { "docker-ca", "docker", "ca", "FILE", .meaning = "CA certificates that verify Docker's certificate",
      .parse = setting_parse_file, FIELD(docker_ca) },
    { "docker-cert", "docker", "cert", "FILE", .meaning = "client certificate for Docker", .parse = setting_parse_file,
      FIELD(docker_cert) },
    { "docker-key", "docker", "key", "FILE", .meaning = "key of the client certificate for Docker",
      .parse = setting_parse_file, FIELD(docker_key) },
    { "etcd", "etcd", "endpoints", "URL[,URL...]", "http://127.0.0.1:2379",
      .meaning = "endpoints of etcd, tried in turn", .parse = setting_parse_endpoints, FIELD(etcd_endpoints) },
    { "etcd-api", "etcd", "api", "auto|v3|v2", "auto", .meaning = "API of etcd; auto: v3 if the server has v3",
      .parse = setting_parse_etcd_api, FIELD(etcd_api) },
    { "etcd-nudge", "etcd", "nudge", "[=yes|no]", "no",
      .meaning = "v2: wake confd's -watch a second time after changes", .parse = setting_parse_bool,
      FIELD(etcd_nudge) },
    { "etcd-ca", "etcd", "ca", "FILE", .meaning = "CA certificates that verify etcd's certificate",
      .parse = setting_parse_file, FIELD(etcd_ca) },
    { "etcd-cert", "etcd", "cert", "FILE", .meaning = "client certificate for etcd", .parse = setting_parse_file,
      FIELD(etcd_cert) },
    { "etcd-key", "etcd", "key", "FILE", .meaning = "key of the client certificate for etcd",
      .parse = setting_parse_file, FIELD(etcd_key) },
    { "etcd-user", "etcd", "user", "NAME", .meaning = "user at etcd", .parse = setting_parse_text, FIELD(etcd_user) },
    { "etcd-password-file", "etcd", "password_file", "FILE", .meaning = "file with the password of the etcd user",
      .parse = setting_parse_file, FIELD(etcd_password_file) },
    { "key", "registry", "key", "TEMPLATE", "/app/{service}/{name}", .meaning = "template of a container's key",
      .parse = setting_parse_key, FIELD(layouts[0].key) },
    { "value", "registry", "value", "TEMPLATE", "{address}:{port}", .meaning = "template of the key's value",
      .parse = setting_parse_value, FIELD(layouts[0].value) },
    { "service", "registry", "service", "NAME", "servers", .meaning = "service of a container that names none",
      .parse = setting_parse_service, FIELD(layouts[0].service) },
    { "advertise", "registry", "advertise", "ADDR|IFACE", .shown = "address of the route to etcd",
      .meaning = "this host's address, or the interface that has it", .parse = setting_parse_advertise,
      FIELD(advertise) },
    { "node", "registry", "node", "NAME", .shown = "host name", .meaning = "this host's name",
      .parse = setting_parse_node, FIELD(node) },
    { "ttl", "registry", "ttl", "SECONDS", "30",
      .meaning = "the keys expire this long after the last heartbeat, 5 or more", .parse = setting_parse_number,
      FIELD(ttl_s), .min = 5, .max = 86400 },
    { "heartbeat", "registry", "heartbeat", "SECONDS", .shown = "a third of the TTL",
      .meaning = "time between two heartbeats, half of the TTL at most", .parse = setting_parse_number,
      FIELD(heartbeat_s), .min = 1, .max = 43200 },
    { "resync", "docker", "resync", "SECONDS", "60", .meaning = "time between two resyncs, jittered",
      .parse = setting_parse_number, FIELD(docker_resync_s), .min = 1, .max = 86400 },
    { "docker-grace", "docker", "grace", "SECONDS", "300", .meaning = "how long to keep the keys while dockerd is away",
      .parse = setting_parse_number, FIELD(docker_grace_s), .min = 0, .max = 604800 },
    { "stop-limit", "registry", "stop_limit", "SECONDS", "600",
      .meaning = "register a container again if it still runs so long after its stop signal",
      .parse = setting_parse_number, FIELD(stop_limit_s), .min = 1, .max = 604800 },
    { "ports", "registry", "ports", "published|internal", "published",
      .meaning = "internal: the container's own address and exposed port", .parse = setting_parse_choice,
      FIELD(ports) },
    { "explicit", "registry", "explicit", "[=yes|no]", "no", .meaning = "register only containers that name a service",
      .parse = setting_parse_bool, FIELD(explicit_only) },
    { "only", "registry", "only", "LABEL[=VALUE]", .shown = "all", .is_list = true,
      .meaning = "register only containers with this label; repeatable: with one of these", .parse = setting_parse_only,
      FIELD(only) },
    { "ready", "registry", "ready", "tcp|none", "tcp", .meaning = "tcp: register a port when it accepts a connection",
      .parse = setting_parse_choice, FIELD(ready) },
    { "ready-timeout", "registry", "ready_timeout", "SECONDS", "10",
      .meaning = "register a port after this time if no probe reaches the port", .parse = setting_parse_number,
      FIELD(ready_timeout_s), .min = 1, .max = 86400 },
    { "on-conflict", "registry", "on_conflict", "wait|replace", "wait",
      .meaning = "wait for a key of another owner to vanish, or replace the key", .parse = setting_parse_choice,
      FIELD(on_conflict) },
    { "control", "agent", "control", "PATH", "/run/registrator/control.sock", .meaning = "socket of the subcommands",
      .parse = setting_parse_socket_path, FIELD(control) },
    { "listen", "agent", "listen", "ADDR:PORT", .shown = "off",
      .meaning = "serve web pages, /metrics, /readyz, /status and /sd over HTTP", .parse = setting_parse_listen,
      FIELD(listen) },
    { "log-level", "agent", "log_level", "error|warning|notice|info|debug", "info", .meaning = "how much to log",
      .parse = setting_parse_log_level, FIELD(log_level) },
    { "log-format", "agent", "log_format", "plain|logfmt", "plain",
      .meaning = "format of the log lines outside the journal", .parse = setting_parse_choice, FIELD(log_format) },
    { "dry-run", .meaning = "read everything, write nothing, print what the agent would do",
      .action = SETTINGS_DRY_RUN },
    { "check-config", .meaning = "check the settings and exit: 0, or 1 with file, line and reason",
      .action = SETTINGS_CHECK },
    { "help", .meaning = "print this and exit", .action = SETTINGS_HELP, .short_name = 'h' },
    { "version", .meaning = "print the version and exit", .action = SETTINGS_VERSION, .short_name = 'V' },
};

const size_t n_options = ARRAY_SIZE(options);
static_assert(ARRAY_SIZE(options) <= OPTIONS_MAX, "a Loader has room for all options");

const Option *option_find(const char *name)
{
    for (size_t i = 0; i < n_options; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    assert(false);
    return NULL;
}

size_t option_index(const Option *option)
{
    return (size_t)(option - options);
}

void option_variable(char ret[SETTING_VARIABLE_MAX], const Option *option, bool by_key)
{
    if (by_key && option->section)
        snprintf(ret, SETTING_VARIABLE_MAX, "%s%s_%s", VARIABLE_PREFIX, option->section, option->key);
    else
        snprintf(ret, SETTING_VARIABLE_MAX, "%s%s", VARIABLE_PREFIX, option->name);
    for (char *p = ret; *p; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
}

static const char *shown_default(const Option *option)
{
    if (option->shown)
        return option->shown;
    return option->fallback ? option->fallback : "";
}

void settings_print_options(FILE *out)
{
    for (size_t i = 0; i < n_options; i++) {
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
