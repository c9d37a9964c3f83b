/* Gathers the numbers for /metrics, and the answer to /readyz. */
#pragma once

#include "operator/metrics.h"

MetricsSource metrics_source(const StatusSource *status);

/* Ready means that Docker's events arrive, and that the last heartbeat is younger than the TTL. If not, *ret_why
 * names the failed condition (malloc'd; NULL: no memory). */
bool metrics_is_ready(const StatusSource *status, char **ret_why);
