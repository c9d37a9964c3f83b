/* Parses one line of Docker's events. docker_stream.c receives the lines. */
#include "docker/docker_event.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "base/numbers.h"
#include "base/text.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Docker's names. The filter has one name for both health events. */
static const char *const action_names[] = {
    [ACTION_OTHER] = "other",
    [ACTION_START] = "start",
    [ACTION_RESTART] = "restart",
    [ACTION_DIE] = "die",
    [ACTION_STOP] = "stop",
    [ACTION_KILL] = "kill",
    [ACTION_PAUSE] = "pause",
    [ACTION_UNPAUSE] = "unpause",
    [ACTION_RENAME] = "rename",
    [ACTION_UPDATE] = "update",
    [ACTION_HEALTHY] = "health_status: healthy",
    [ACTION_UNHEALTHY] = "health_status: unhealthy",
    [ACTION_DESTROY] = "destroy",
    [ACTION_CONNECT] = "connect",
    [ACTION_DISCONNECT] = "disconnect",
};

/* Podman's names. Podman's health event has the health before the check, so only an inspect shows the present
 * health. */
static const struct {
    const char *name;
    DockerAction action;
} podman_names[] = {
    { "died", ACTION_DIE },
    { "remove", ACTION_DESTROY },
    { "health_status", ACTION_UPDATE },
};

const char docker_event_filters[] = "{\"type\":[\"container\",\"network\"],\"event\":[\"start\","
                                    "\"restart\",\"die\",\"stop\",\"kill\","
                                    "\"pause\",\"unpause\",\"rename\",\"update\",\"health_status\","
                                    "\"destroy\",\"connect\",\"disconnect\",\"died\",\"remove\"]}";

static uint64_t time_from_json(const cJSON *number)
{
    /* A number beyond the year 2500 is not a time, and may not fit into 64 bits. */
    return cJSON_IsNumber(number) && number->valuedouble > 0 && number->valuedouble < 1.7e19
               ? (uint64_t)number->valuedouble
               : 0;
}

static DockerAction action_from_string(const char *type, const char *action)
{
    bool network = strcmp(type, "network") == 0;
    if (!network && strcmp(type, "container") != 0)
        return ACTION_OTHER;
    DockerAction first = network ? ACTION_CONNECT : ACTION_START;
    DockerAction last = network ? ACTION_DISCONNECT : ACTION_DESTROY;
    for (DockerAction a = first; a <= last; a++)
        if (strcmp(action, action_names[a]) == 0)
            return a;
    for (size_t i = 0; !network && i < ARRAY_SIZE(podman_names); i++)
        if (strcmp(action, podman_names[i].name) == 0)
            return podman_names[i].action;
    return ACTION_OTHER;
}

/* The container's ID. In network events, Docker's Actor is the network, and Podman's Actor is the container. */
static const char *id_from_event(const cJSON *actor, const cJSON *attributes, bool network)
{
    const char *id = json_string(attributes, "container");

    return network && id ? id : json_string(actor, "ID");
}

/* The signal's number: a text from Docker, a number from some engines. 0: neither. */
static int signal_from_json(const cJSON *signal)
{
    const char *text = cJSON_GetStringValue(signal);
    if (!text)
        return cJSON_IsNumber(signal) && signal->valuedouble >= 1 && signal->valuedouble <= 64 ? signal->valueint : 0;
    unsigned number;
    return number_parse(text, 64, &number) ? (int)number : 0;
}

int docker_event_parse(DockerEvent *ret, const char *line, size_t size)
{
    CLEANUP_JSON cJSON *root = NULL;
    int r = json_parse_object(&root, line, size);
    if (r < 0)
        return r;
    const cJSON *actor = json_get(root, "Actor");
    const cJSON *attributes = json_get(actor, "Attributes");
    const char *type = json_string(root, "Type");
    const char *action = json_string(root, "Action");
    if (!type || !action)
        return -EBADMSG;

    DockerEvent event = { .action = action_from_string(type, action) };
    event.time_ns = time_from_json(json_get(root, "timeNano"));
    if (event.action == ACTION_OTHER) {
        *ret = event;
        return 0;
    }
    bool network = event.action == ACTION_CONNECT || event.action == ACTION_DISCONNECT;
    const char *id = id_from_event(actor, attributes, network);
    if (!text_is_container_id(id)) {
        /* Some endpoints of a network are not containers, such as swarm's load balancer. */
        if (!network)
            return -EBADMSG;
        event.action = ACTION_OTHER;
        *ret = event;
        return 0;
    }
    memcpy(event.id, id, sizeof(event.id));
    if (event.action == ACTION_KILL)
        event.signal = signal_from_json(json_get(attributes, "signal"));
    *ret = event;
    return 0;
}

const char *docker_action_to_string(DockerAction action)
{
    return (size_t)action < ARRAY_SIZE(action_names) ? action_names[action] : "other";
}
