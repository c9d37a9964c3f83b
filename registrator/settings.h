/* Settings: one table serves the command line, the environment, the file, the defaults, --help
 * and the manual. Command line beats environment beats file beats default. */
#pragma once

#include "cleanup.h"
#include "log.h"
#include "record.h"

#include <stdbool.h>
#include <stdio.h>

/* Which of etcd's APIs are written. */
typedef enum EtcdApis { ETCD_AUTO, ETCD_V3, ETCD_V2, ETCD_V2_AND_V3 } EtcdApis;

typedef enum OnConflict { ON_CONFLICT_WAIT, ON_CONFLICT_REPLACE } OnConflict;

typedef struct Settings {
    char *docker_url; /* "unix:///path" or "tcp://host:port", with no slash at the end */
    char *docker_ca, *docker_cert, *docker_key;
    unsigned docker_resync_s, docker_grace_s;
    bool docker_environment; /* SERVICE_* of the environment count, at an inspect per container */
    char **etcd_endpoints; /* "http://host:port" or https, 1 to 16; NULL-terminated */
    EtcdApis etcd_api;
    bool etcd_nudge; /* v2: wake confd once more after changes */
    char *etcd_ca, *etcd_cert, *etcd_key;
    char *etcd_user, *etcd_password_file;
    char *etcd_password; /* the file's first line; NULL: none, or a subcommand's settings */
    Template *key, *value, *service; /* compiled */
    char *advertise; /* an address or an interface; NULL: found out */
    char *node;
    unsigned ttl_s;
    unsigned heartbeat_s; /* 0 was replaced by a third of the TTL */
    PortsMode ports;
    bool explicit_only;
    OnConflict on_conflict;
    char *control; /* path of the control socket */
    char *listen; /* ADDR:PORT or NULL */
    int log_level; /* LOG_… */
    LogFormat log_format;
} Settings;

/* What stands on the command line besides settings. */
typedef enum SettingsAction {
    SETTINGS_RUN,
    SETTINGS_HELP,
    SETTINGS_VERSION,
    SETTINGS_CHECK,
    SETTINGS_DRY_RUN,
} SettingsAction;

/* Reads argv, environment and file. 0; -EINVAL: *ret_error (malloc'd, one line) says what is
 * wrong with which option, variable, or file and line; -ENOMEM: *ret_error is NULL.
 * SETTINGS_HELP, SETTINGS_VERSION: nothing else was looked at, *ret is NULL. *ret_first_operand:
 * index in argv of the first operand, argc if there is none. With an operand, a subcommand, the
 * files that the settings name are not tried, for its user need not be able to read them. The
 * same argv may be read again later (SIGHUP). */
int settings_load(Settings **ret, int argc, char **argv, SettingsAction *ret_action, int *ret_first_operand,
                  char **ret_error);
/* Frees; NULL is fine. Returns NULL. */
Settings *settings_free(Settings *settings);
DEFINE_CLEANUP(Settings, settings_free)

/* Is what the connection to Docker, or what the store is made of the same? Certificate files never are: they may
 * have been renewed under the same names. */
bool settings_same_docker(const Settings *a, const Settings *b);
bool settings_same_store(const Settings *a, const Settings *b);
/* Are the same of a container's metadata needed? */
bool settings_same_metadata(const Settings *a, const Settings *b);

/* The options' part of --help, from the table, within 80 columns. */
void settings_print_options(FILE *out);
/* The table as lines "option<TAB>file key<TAB>variable<TAB>default<TAB>meaning" for tests that
 * hold the documents against it. What can stand on the command line alone has no file key and no
 * variable. */
void settings_print_table(FILE *out);
