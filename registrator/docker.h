/* The Docker engine's side: one event stream, the list at each connect and resync, inspects. Turns HTTP into
 * containers and events, decides nothing. Only GETs leave it. */
#pragma once

#include "cleanup.h"
#include "container.h"
#include "docker_event.h"
#include "http.h"

typedef struct Docker Docker;

typedef struct DockerConfig {
    const char *url; /* unix:///path, tcp://host:port */
    const char *ca, *cert, *key;
    unsigned resync_s; /* list again about this often; jittered by a tenth */
} DockerConfig;

/* None but list_begin and a failed list_end is called from within a call to this module; from any of them
 * every call is allowed but docker_free(). */
typedef struct DockerHandlers {
    /* The event stream stands; a list follows. engine_id is the engine's own, stable identity. */
    void (*connected)(void *userdata, const char *engine_id);
    /* A list is about to be asked for: what an event says from now on is newer than what the list will say. */
    void (*list_begin)(void *userdata);
    void (*listed)(void *userdata, Container *container); /* takes the container */
    void (*list_end)(void *userdata, bool complete); /* false: cut off or failed, what is missing means nothing */
    void (*event)(void *userdata, const DockerEvent *event);
    /* container: taken; NULL with error -ENOENT (no such container) or another error (not known). ticket: what
     * docker_inspect() was given. */
    void (*inspected)(void *userdata, const char *id, uint64_t ticket, Container *container, int error);
    /* Stream and requests are gone; pending inspects will not be answered. Called at the first failure, and
     * again where the reason becomes another; from then on it is tried again and again. why: one line that says
     * what to do about it. */
    void (*lost)(void *userdata, const char *why);
} DockerHandlers;

/* unix:///path or tcp://host:port → what requests go to: "http://localhost", "https://host:port" (tls), and the
 * socket's path, which points into url; NULL: TCP. -EINVAL, -ENOMEM. */
int docker_parse_url(const char *url, bool tls, char **ret_base, const char **ret_socket);

/* labels: kept by reference, see docker_set_labels(). Starts connecting with the loop's next turn. */
int docker_new(Docker **ret, sd_event *event, const DockerConfig *config, const LabelFilter *labels,
               const DockerHandlers *handlers, void *userdata);
Docker *docker_free(Docker *docker);
DEFINE_CLEANUP(Docker, docker_free)

/* Labels worth keeping; what was parsed before keeps the old ones until it is asked for again. */
void docker_set_labels(Docker *docker, const LabelFilter *labels);

/* Asks for the container. A few go out at once, the rest waits in order. -ENOTCONN while disconnected: the
 * list at the reconnect will show what changed. */
int docker_inspect(Docker *docker, const char *id, uint64_t ticket);

/* Lists now, if connected; the next resync starts from here. */
void docker_list(Docker *docker);
/* Drops the stream and connects anew with the loop's next turn, for when a list has shown that the stream told
 * us nothing. Inspects that wait are not answered. */
void docker_reconnect(Docker *docker);

bool docker_connected(const Docker *docker);
const char *docker_url(const Docker *docker);
const char *docker_api_version(const Docker *docker); /* "1.41"; "newest" if none is asked for; "" while unknown */
