/* The session with the Docker engine: one event stream, a list at each connect and resync, and inspects. The session
 * turns HTTP into containers and events. It makes no decisions, and sends only GET requests. */
#pragma once

#include "base/cleanup.h"
#include "docker/container.h"
#include "docker/docker_event.h"
#include "http/http.h"

typedef struct Docker Docker;

typedef struct DockerConfig {
    const char *url; /* unix:///path or tcp://host:port */
    const char *ca, *cert, *key;
    unsigned resync_s; /* seconds from list to list, jittered by a tenth */
} DockerConfig;

typedef struct DockerQuestion {
    char id[65];
    uint64_t ticket; /* the answer has the same ticket */
} DockerQuestion;

/* From within calls to this module, only these handlers may be called: list_begin, next_inspect, list_end for a
 * failed list, and inspected for an inspect that could not be sent. The loop calls all other handlers. A handler may
 * call everything except docker_free(). */
typedef struct DockerHandlers {
    /* The event stream is open, and a list follows. engine_id: the engine's own identity, which does not change. */
    void (*connected)(void *userdata, const char *engine_id);
    /* The session is about to send a list request. Events from now on are newer than the list. */
    void (*list_begin)(void *userdata);
    void (*listed)(void *userdata, Container *container); /* takes the container */
    void (*list_end)(void *userdata,
                     bool complete); /* false: the list was cut off or failed, so a missing container may still run */
    void (*event)(void *userdata, const DockerEvent *event);
    /* A slot is free. Returns the container to inspect in *ret. early: the slot is for containers that are about to
     * start. False: no container to inspect. */
    bool (*next_inspect)(void *userdata, bool early, DockerQuestion *ret);
    /* container: taken. NULL with error -ENOENT: Docker has no such container; NULL with another error: not known. */
    void (*inspected)(void *userdata, const char *id, uint64_t ticket, Container *container, int error);
    /* The stream has ended, and open inspects get no answer. Called at the first failure, and when the reason
     * changes. The session connects again without a call. why: one line with the reason and the remedy. */
    void (*lost)(void *userdata, const char *why);
} DockerHandlers;

/* url: unix:///path or tcp://host:port. *ret_base: "http://localhost", "http://host:port" or, with tls,
 * "https://host:port"; malloc'd. *ret_socket: the socket's path, which points into url; NULL: TCP. 0, -EINVAL or
 * -ENOMEM. */
int docker_parse_url(const char *url, bool tls, char **ret_base, const char **ret_socket);

/* labels: not copied, see docker_set_labels(). Starts to connect with the loop's next turn. 0 or a negative errno. */
int docker_new(Docker **ret, sd_event *event, const DockerConfig *config, const LabelFilter *labels,
               const DockerHandlers *handlers, void *userdata);
Docker *docker_free(Docker *docker);
DEFINE_CLEANUP(Docker, docker_free)

/* From now on, containers keep these labels. Containers that were parsed before keep the old labels. */
void docker_set_labels(Docker *docker, const LabelFilter *labels);

/* A container may need an inspect. No handler must call this: the session calls next_inspect again after each
 * handler. */
void docker_pull(Docker *docker);

/* Lists now, if connected. The time to the next resync starts again. */
void docker_list(Docker *docker);
/* Ends the stream and connects again with the loop's next turn, because a list has shown a change without an event.
 * Open inspects get no answer. */
void docker_reconnect(Docker *docker);

bool docker_connected(const Docker *docker);
const char *docker_url(const Docker *docker);
/* "1.41"; "newest": the agent asks without a version; "": not known */
const char *docker_api_version(const Docker *docker);
