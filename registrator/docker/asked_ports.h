/* Does a container wait for ports that Docker has not bound yet? Pure. */
#pragma once

#include <cjson/cJSON.h>
#include <stdbool.h>

/* root: the object of GET /containers/ID/json for a running container. Docker Desktop sends "start" before it has
 * bound the ports, and sends no event after binding them. */
bool asked_ports_are_pending(const cJSON *root);
