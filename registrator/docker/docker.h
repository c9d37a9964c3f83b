/* The session with the Docker engine: one event stream, a list at each connect and resync, inspects. The session turns
 * HTTP into containers and events, and decides nothing. It sends GET requests only. */
#pragma once

#include "base/cleanup.h"
#include "docker/container.h"
#include "docker/docker_event.h"
#include "http/http.h"

typedef struct Docker Docker;

typedef struct DockerConfig {
    const char *url; /* unix:///path, tcp://host:port */
    const char *ca, *cert, *key;
    unsigned resync_s; /* list again about this often; jittered by a tenth */
} DockerConfig;

typedef struct DockerQuestion {
    char id[65];
    uint64_t ticket; /* comes back with the answer */
} DockerQuestion;

/* A call to this module may call list_begin, next_inspect, list_end of a failed list, and inspected of an inspect that could
 * not be sent. All other handlers are called by the loop. A handler may call everything but docker_free(). */
typedef struct DockerHandlers {
    /* The event stream is open, and a list follows. engine_id: the engine's own, stable identity. */
    void (*connected)(void *userdata, const char *engine_id);
    /* A list is about to be asked for: an event from now on is newer than the list. */
    void (*list_begin)(void *userdata);
    void (*listed)(void *userdata, Container *container); /* takes the container */
    void (*list_end)(void *userdata,
                     bool complete); /* false: cut off or failed, so a container that is missing may still run */
    void (*event)(void *userdata, const DockerEvent *event);
    /* A slot is free: which container should be inspected? early: one of the slots for containers that are about to start.
     * False: none. */
    bool (*next_inspect)(void *userdata, bool early, DockerQuestion *ret);
    /* container: taken; NULL with error -ENOENT (no such container) or another error (not known). */
    void (*inspected)(void *userdata, const char *id, uint64_t ticket, Container *container, int error);
    /* The stream has ended, and open inspects get no answer. Called at the first failure, and when the reason changes.
     * The session connects again by itself. why: one line with the reason and the remedy. */
    void (*lost)(void *userdata, const char *why);
} DockerHandlers;

/* url: unix:///path or tcp://host:port. *ret_base: "http://localhost", "http://host:port", with tls "https://host:port".
 * *ret_socket: the socket's path, a part of url; NULL: TCP. -EINVAL, -ENOMEM. */
int docker_parse_url(const char *url, bool tls, char **ret_base, const char **ret_socket);

/* labels: kept by reference, see docker_set_labels(). Starts connecting with the loop's next turn. */
int docker_new(Docker **ret, sd_event *event, const DockerConfig *config, const LabelFilter *labels,
               const DockerHandlers *handlers, void *userdata);
Docker *docker_free(Docker *docker);
DEFINE_CLEANUP(Docker, docker_free)

/* The labels that containers keep from now on. A container that was read before keeps the old ones. */
void docker_set_labels(Docker *docker, const LabelFilter *labels);

/* There may be a container to inspect. Not needed after a handler: the session asks again by itself. */
void docker_pull(Docker *docker);

/* Lists now, if connected; the next resync starts from here. */
void docker_list(Docker *docker);
/* Ends the stream and connects again with the loop's next turn: a list has shown a change that no event announced. Open
 * inspects get no answer. */
void docker_reconnect(Docker *docker);

bool docker_connected(const Docker *docker);
const char *docker_url(const Docker *docker);
const char *docker_api_version(const Docker *docker); /* "1.41"; "newest" if none is asked for; "" while unknown */
