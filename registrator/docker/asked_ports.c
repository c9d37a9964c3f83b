#include "docker/asked_ports.h"

#include "base/json.h"

#include <string.h>

/* {"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"32768"}]}: returns the number of ports with a host port. */
static int count_bound(const cJSON *ports)
{
    const cJSON *port;
    int n = 0;

    cJSON_ArrayForEach (port, ports) {
        const char *number = json_string(port->child, "HostPort");

        n += number && *number != '\0' && strcmp(number, "0") != 0;
    }
    return n;
}

static bool shares_a_network(const char *mode)
{
    return mode && (strcmp(mode, "host") == 0 || strcmp(mode, "none") == 0 || strncmp(mode, "container:", 10) == 0);
}

bool asked_ports_are_pending(const cJSON *root)
{
    const cJSON *host = json_get(root, "HostConfig");
    int asked = cJSON_GetArraySize(json_get(host, "PortBindings"));
    int exposed = cJSON_IsTrue(json_get(host, "PublishAllPorts"))
                      ? cJSON_GetArraySize(json_get(json_get(root, "Config"), "ExposedPorts"))
                      : 0;

    if (shares_a_network(json_string(host, "NetworkMode")))
        return false;
    /* Comparing counts is sufficient, and takes one pass for any number of ports. */
    return count_bound(json_get(json_get(root, "NetworkSettings"), "Ports")) < (asked > exposed ? asked : exposed);
}
