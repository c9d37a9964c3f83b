/* The registered containers of this host as targets of Prometheus' http_sd. Pure.
 *
 * A container with SERVICE_METRICS_PORT is one target: this container port at the address that other hosts reach,
 * registered or not. A container without it is one target for each registered TCP port. SERVICE_METRICS_PATH is the
 * path, with a leading slash. */
#pragma once

#include "operator/status.h"

/* The targets as an array. NULL: no memory. */
cJSON *sd_json(const StatusSource *source);
