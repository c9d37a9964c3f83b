/* Gathers what /metrics tells, and whether the agent is ready. */
#pragma once

#include "operator/metrics.h"

MetricsSource metrics_source(const StatusSource *status);

/* Docker's events arrive, and the last heartbeat is younger than the TTL. Else *ret_why (malloc'd; NULL: no memory)
 * says which is not so. */
bool metrics_is_ready(const StatusSource *status, char **ret_why);
