/* What the readers of Docker's JSON share. */
#pragma once

#include "base/json.h"
#include "docker/container.h"

/* By container port, protocol, host port and address. */
int port_compare(const void *left, const void *right);
/* By key. */
int label_compare(const void *left, const void *right);

/* Fills container->metadata. The container's ports are known by then. labels: an object; environment: an array of
 * "NAME=value"; either may be NULL. Takes O(n log n) time. 0 or -ENOMEM. */
int metadata_read(Container *container, const cJSON *labels, const cJSON *environment, const LabelFilter *filter);

/* The signal's number, as Docker reads the name: "SIGQUIT", "quit", "3", "SIGRTMIN+3". SIGTERM, Docker's default, for
 * NULL and for what Docker would refuse. */
int stop_signal_from_string(const char *text);
