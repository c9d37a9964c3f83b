#include "docker_event.h"

#include "cleanup.h"
#include "numbers.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum { DEPTH_TOP = 1 };

DEFINE_CLEANUP(cJSON, cJSON_Delete)

/* Docker's names, which the filter and the parser share. The two health ones are one name in the
 * filter. */
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

/* What Podman calls them. Which health it means its event tells as it was before the check, so that is asked for. */
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

static bool id_is_valid(const char *id)
{
    return id && strlen(id) == 64 && strspn(id, "0123456789abcdef") == 64;
}

/* Past the string that begins at p, or NULL. */
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end; p++) {
        if (*p == '\\')
            p++;
        else if (*p == '"')
            return p + 1;
    }
    return NULL;
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++;
    return p;
}

/* 0 for what is no plain number, or does not fit. */
static uint64_t exact_number(const char *p, const char *end)
{
    uint64_t value = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return 0;
    return p < end && strchr(",} \t\r\n", *p) ? value : 0;
}

/* cJSON holds numbers as double, which rounds 1587233840345201553 by a hundred nanoseconds. So the
 * member's own digits are looked up in the text, which cJSON has found to be well-formed. */
static uint64_t time_from_text(const char *line, size_t size)
{
    static const char name[] = "\"timeNano\"";
    const char *p = line, *end = line + size;
    int depth = 0;
    while (p && p < end) {
        if (*p != '"') {
            depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
            p++;
            continue;
        }
        const char *begin = p;
        p = skip_string(p, end);
        if (!p || depth != DEPTH_TOP || (size_t)(p - begin) != strlen(name) || memcmp(begin, name, strlen(name)) != 0)
            continue;
        p = skip_space(p, end);
        if (p < end && *p == ':')
            return exact_number(skip_space(p + 1, end), end);
    }
    return 0;
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

/* Whose event it is. Podman has the container where Docker has the network, whose ID is no container's. */
static const char *id_from_event(const cJSON *actor, const cJSON *attributes, bool network)
{
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(attributes, "container"));

    return network && id ? id : cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(actor, "ID"));
}

/* The number's text, as Docker sends it; some engines send a number. 0: neither. */
static int signal_from_json(const cJSON *signal)
{
    const char *text = cJSON_GetStringValue(signal);
    if (!text)
        return cJSON_IsNumber(signal) && signal->valuedouble >= 1 && signal->valuedouble <= 64 ? signal->valueint : 0;
    unsigned number;
    return number_parse(text, 64, &number) ? (int)number : 0;
}

static bool only_space(const char *p, const char *end)
{
    p = skip_space(p, end);
    return p == end || *p == '\0';
}

int docker_event_parse(DockerEvent *ret, const char *line, size_t size)
{
    const char *rest = line;
    CLEANUP(cJSON_Delete_p) cJSON *root = cJSON_ParseWithLengthOpts(line, size, &rest, false);
    if (!cJSON_IsObject(root) || !only_space(rest, line + size))
        return -EBADMSG;
    const cJSON *actor = cJSON_GetObjectItemCaseSensitive(root, "Actor");
    const cJSON *attributes = cJSON_GetObjectItemCaseSensitive(actor, "Attributes");
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "Type"));
    const char *action = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "Action"));
    if (!type || !action)
        return -EBADMSG;

    DockerEvent event = { .action = action_from_string(type, action) };
    event.time_ns = time_from_text(line, (size_t)(rest - line));
    if (event.action == ACTION_OTHER) {
        *ret = event;
        return 0;
    }
    bool network = event.action == ACTION_CONNECT || event.action == ACTION_DISCONNECT;
    const char *id = id_from_event(actor, attributes, network);
    if (!id_is_valid(id)) {
        /* A network's other endpoints (swarm's load balancer) are no containers. */
        if (!network)
            return -EBADMSG;
        event.action = ACTION_OTHER;
        *ret = event;
        return 0;
    }
    memcpy(event.id, id, sizeof(event.id));
    if (event.action == ACTION_KILL)
        event.signal = signal_from_json(cJSON_GetObjectItemCaseSensitive(attributes, "signal"));
    *ret = event;
    return 0;
}

const char *docker_action_to_string(DockerAction action)
{
    return (size_t)action < ARRAY_SIZE(action_names) ? action_names[action] : "other";
}
