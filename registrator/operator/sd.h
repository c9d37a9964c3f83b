/* The registered containers of this host as targets of Prometheus' http_sd. Pure.
 *
 * A container with SERVICE_METRICS_PORT is one target: this container port, as other hosts reach it, whether or not it
 * is registered. Another container has a target for each registered TCP port. SERVICE_METRICS_PATH is the path, which
 * begins with a slash. */
#pragma once

#include "operator/status.h"

/* An array. NULL: no memory. */
cJSON *sd_json(const StatusSource *source);
