/* Compares the keys of this host that Docker, the agent and etcd report. */
#pragma once

#include <cjson/cJSON.h>
#include <stdio.h>

typedef struct CtlComparison {
    size_t n_equal, n_different; /* numbers of keys */
} CtlComparison;

/* Prints the keys for which the three reports differ. docker is an array of {"id", "name", "text": why the container
 * has no key, "records": [{"key", "value"}]}. status is the agent's answer to /status, and etcd has the keys in etcd. A
 * key that the agent deregistered on purpose, like a drained container's, is no difference. Returns 0 or -ENOMEM. */
int ctl_compare(FILE *out, const cJSON *docker, const cJSON *status, const cJSON *etcd, CtlComparison *ret);
