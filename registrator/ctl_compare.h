/* What Docker, the agent and etcd each say of this host's keys, side by side. */
#pragma once

#include <cjson/cJSON.h>
#include <stdio.h>

typedef struct CtlComparison {
    size_t n_equal, n_different; /* keys */
} CtlComparison;

/* Prints what each says of the keys that they do not agree upon. docker: an array of {"id", "name",
 * "text": why it has no key, "records": [{"key", "value"}]}; status, etcd: the agent's answers to /status and /etcd. What the agent holds out on purpose, as what is drained, is no difference. -ENOMEM. */
int ctl_compare(FILE *out, const cJSON *docker, const cJSON *status, const cJSON *etcd, CtlComparison *ret);
