/* The options of a subcommand. */
#pragma once

#include "settings/settings.h"

/* What a subcommand prints. */
typedef enum CtlOutput {
    CTL_TABLE,
    CTL_JSON,
    CTL_WATCH, /* the table, redrawn until a signal */
    CTL_ETCD, /* the differences between Docker, the agent and etcd */
} CtlOutput;

typedef struct CtlOptions {
    const char *control;
    CtlOutput output;
    bool until_restart, help;
    unsigned drain_s;
    char *const *names;
    int n_names;
} CtlOptions;
