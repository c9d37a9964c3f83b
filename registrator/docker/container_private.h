/* What the parsers of Docker's JSON share. */
#pragma once

#include "base/json.h"
#include "docker/container.h"

/* Compares by container port, protocol, host port and address. */
int port_compare(const void *left, const void *right);
/* Compares by key. */
int label_compare(const void *left, const void *right);

/* Fills container->metadata. container->ports must be filled already. labels: an object; environment: an array of
 * "NAME=value"; each may be NULL. Takes O(n log n) time. 0 or -ENOMEM. */
int metadata_read(Container *container, const cJSON *labels, const cJSON *environment, const LabelFilter *filter);

/* The signal's number. text: the name as Docker accepts it: "SIGQUIT", "quit", "3", "SIGRTMIN+3". Returns SIGTERM,
 * Docker's default, for NULL and for a text that Docker would refuse. */
int stop_signal_from_string(const char *text);
