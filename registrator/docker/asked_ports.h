/* Does a container ask for ports that Docker has not bound yet? Pure. */
#pragma once

#include <cjson/cJSON.h>
#include <stdbool.h>

/* root: the object of GET /containers/ID/json, of a running container. Docker Desktop answers "start" before it has bound
 * the ports, and announces no event when they are. */
bool asked_ports_are_pending(const cJSON *root);
