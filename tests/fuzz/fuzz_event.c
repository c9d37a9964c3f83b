/* Lines of Docker's /events. */
#include "docker/docker_event.h"

#include "fuzz.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

static bool is_of_network(const DockerEvent *event)
{
    return event->action == ACTION_CONNECT || event->action == ACTION_DISCONNECT;
}

static void ensure_sound(const DockerEvent *event)
{
    ENSURE((unsigned)event->action < ACTION_MAX_);
    ENSURE(event->signal >= 0 && event->signal <= 64);
    ENSURE(event->signal == 0 || event->action == ACTION_KILL);
    if (event->action == ACTION_OTHER)
        ENSURE(event->id[0] == '\0');
    else
        ENSURE(strlen(event->id) == 64 && strspn(event->id, "0123456789abcdef") == 64);
}

/* Written as Docker writes it, it is read as the same event. */
static void ensure_round_trip(const DockerEvent *event)
{
    char line[1024];
    DockerEvent again = { .action = ACTION_OTHER };
    int size = snprintf(line, sizeof(line),
                        "{\"Type\":\"%s\",\"Action\":\"%s\",\"Actor\":{\"ID\":\"%s\",\"Attributes\":"
                        "{\"signal\":\"%d\",\"container\":\"%s\"}},\"timeNano\":%" PRIu64 "}",
                        is_of_network(event) ? "network" : "container", docker_action_to_string(event->action),
                        event->id, event->signal, event->id, event->time_ns);

    ENSURE(size > 0 && (size_t)size < sizeof(line));
    ENSURE(docker_event_parse(&again, line, (size_t)size) == 0);
    ENSURE(again.action == event->action && again.signal == event->signal && again.time_ns == event->time_ns);
    ENSURE(strcmp(again.id, event->id) == 0);
}

static void take_line(const char *data, size_t size)
{
    /* Of its own, so that reading past its end is noticed. */
    char *line = malloc(size > 0 ? size : 1);
    DockerEvent event;

    ENSURE(line);
    memcpy(line, data, size);
    if (docker_event_parse(&event, line, size) == 0) {
        ensure_sound(&event);
        if (event.action != ACTION_OTHER)
            ensure_round_trip(&event);
    }
    free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;

    while (size > 0) {
        const char *newline = memchr(text, '\n', size);
        size_t length = newline ? (size_t)(newline - text) : size;

        take_line(text, length);
        text += newline ? length + 1 : length;
        size -= newline ? length + 1 : length;
    }
    return 0;
}
