/* One line of Docker's /events. Pure. */
#pragma once

#include <stdint.h>
#include <stddef.h>

typedef enum DockerAction {
    ACTION_OTHER, /* any other action */
    ACTION_START,
    ACTION_RESTART,
    ACTION_DIE,
    ACTION_STOP,
    ACTION_KILL, /* with a signal */
    ACTION_PAUSE,
    ACTION_UNPAUSE,
    ACTION_RENAME,
    ACTION_UPDATE,
    ACTION_HEALTHY,
    ACTION_UNHEALTHY,
    ACTION_DESTROY,
    ACTION_CONNECT, /* of a network; the container's ID is in Actor.Attributes.container */
    ACTION_DISCONNECT,
    ACTION_MAX_,
} DockerAction;

typedef struct DockerEvent {
    DockerAction action;
    char id[65]; /* the container's ID, 64 hex digits */
    int signal; /* ACTION_KILL only, else 0 */
    uint64_t time_ns; /* the engine's clock, since 1970; 0: absent. Rounded to 256 ns, as JSON numbers are doubles */
    uint64_t age_us; /* the age of a replayed event; 0: the event is new. docker_stream.c sets it */
} DockerEvent;

/* The value of the parameter `filters` of GET /events, as JSON without URL-encoding. It names the container and
 * network events of the actions above, by Docker's and by Podman's names. So the exec_* events of health checks stay
 * out. */
extern const char docker_event_filters[];

/* 0, or -EBADMSG if the line is not an event. An event of another kind is ACTION_OTHER. Uses only Type, Action,
 * Actor and timeNano, because API 1.52 has no status, id and from. */
int docker_event_parse(DockerEvent *ret, const char *line, size_t size);

const char *docker_action_to_string(DockerAction action); /* "start", … for logs and metrics */
