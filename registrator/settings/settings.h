/* The settings. One table serves the command line, the environment, the file, the defaults, --help and the manual. The
 * command line overrides the environment, which overrides the file, which overrides the defaults. */
#pragma once

#include "base/cleanup.h"
#include "base/log.h"
#include "catalog/record.h"
#include "etcd/store.h"

#include <stdbool.h>
#include <stdio.h>

typedef enum OnConflict { ON_CONFLICT_WAIT, ON_CONFLICT_REPLACE } OnConflict;

/* What makes a port of a container without a health check ready. */
typedef enum ReadyBy { READY_BY_TCP, READY_BY_NOTHING } ReadyBy;

typedef struct Settings {
    char *docker_url; /* "unix:///path" or "tcp://host:port", without a slash at the end */
    char *docker_ca, *docker_cert, *docker_key;
    unsigned docker_resync_s, docker_grace_s;
    char **etcd_endpoints; /* 1 to 16 of "http://host:port" or https; NULL-terminated */
    StoreApi etcd_api;
    bool etcd_nudge; /* v2: wakes confd once more after changes */
    char *etcd_ca, *etcd_cert, *etcd_key;
    char *etcd_user, *etcd_password_file;
    char *etcd_password; /* first line of the file; NULL: none, or a subcommand reads the settings */
    Layout layouts[LAYOUTS_MAX]; /* first the default layout: key, value and service of [registry] */
    size_t n_layouts;
    char *advertise; /* an address or an interface; NULL: the agent finds the address */
    char *node;
    unsigned ttl_s;
    unsigned stop_limit_s;
    unsigned heartbeat_s; /* by default a third of the TTL */
    PortsMode ports;
    ReadyBy ready;
    unsigned ready_timeout_s;
    bool explicit_only;
    LabelMatch *only; /* the entry with the label NULL ends the list; NULL: all containers */
    OnConflict on_conflict;
    char *control; /* path of the control socket */
    char *listen; /* ADDR:PORT or NULL */
    int log_level; /* LOG_… */
    LogFormat log_format;
} Settings;

/* What the command line asks for besides settings. */
typedef enum SettingsAction {
    SETTINGS_RUN,
    SETTINGS_HELP,
    SETTINGS_VERSION,
    SETTINGS_CHECK,
    SETTINGS_DRY_RUN,
} SettingsAction;

/* Reads argv, the environment and the file. Returns 0, -EINVAL or -ENOMEM. After -EINVAL, *ret_error is one line,
 * malloc'd. The line names the error and the option, variable, or file and line. After -ENOMEM, *ret_error is NULL.
 * With SETTINGS_HELP and SETTINGS_VERSION, nothing else is read, and *ret is NULL. *ret_first_operand is the index
 * in argv of the first operand, or argc without operands. The first operand is a subcommand. For a subcommand, the
 * files that the settings name are not opened, because its user may have no right to read them. The caller may read
 * the same argv again (SIGHUP). */
int settings_load(Settings **ret, int argc, char **argv, SettingsAction *ret_action, int *ret_first_operand,
                  char **ret_error);
/* Reads the password for etcd, for a subcommand that asks etcd. *ret is malloc'd, or NULL if no password is set.
 * Returns the errors of settings_load(). */
int settings_read_password(const Settings *settings, char **ret, char **ret_error);
/* Frees; NULL is fine. Returns NULL. */
Settings *settings_free(Settings *settings);
DEFINE_CLEANUP(Settings, settings_free)

void layout_clear(Layout *layout); /* frees its templates */

/* Are the settings of the connection to Docker, or of the store, the same? Settings with certificate files never count
 * as the same, because the files may have been renewed under the same names. */
bool settings_same_docker(const Settings *a, const Settings *b);
bool settings_same_store(const Settings *a, const Settings *b);
/* Do both settings need the same labels and variables of a container? */
bool settings_same_metadata(const Settings *a, const Settings *b);

/* The part that says how to reach etcd. Its texts belong to the settings. */
EtcdConfig settings_etcd(const Settings *settings);

/* Prints the options for --help from the table, within 80 columns. */
void settings_print_options(FILE *out);
