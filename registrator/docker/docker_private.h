/* What the files of the Docker session share. */
#pragma once

#include "docker/docker.h"

#include "base/backoff.h"
#include "base/framing.h"
#include "base/timer.h"

#include <sys/queue.h>

enum {
    EXAMPLE_MAX = 120, /* bytes that a log line quotes */
    INSPECTS_AT_ONCE = 4, /* with two cores, dockerd answers 600 inspects no faster with 8 or 16 slots */
    INSPECTS_MAX = 16, /* including the inspects that hang */
    /* inspects of containers that are about to start; dockerd delays the answers, for minutes if the start hangs */
    EARLY_MAX = 8,
    EVENT_MAX = 256 * 1024, /* bytes of one event, which has all labels of the container */
    LIST_ENTRY_MAX = 4 * 1024 * 1024, /* bytes of one list entry; a range of 10,000 ports takes 1.3 MB */
    PING_TIMEOUT_MS = 5000, /* also for the stream's headers */
};

typedef enum DockerState {
    DOCKER_WAITING, /* waits for the backoff */
    DOCKER_PING,
    DOCKER_INFO,
    DOCKER_SUBSCRIBING,
    DOCKER_LIVE,
} DockerState;

typedef struct Inspect {
    Docker *docker;
    DockerQuestion question;
    uint64_t begin_us; /* CLOCK_MONOTONIC */
    bool early; /* in one of the slots for containers that are about to start */
    bool slow; /* the inspect hangs */
    Container *container; /* the container whose image is being inspected; else NULL */
    HttpRequest *request;
    TAILQ_ENTRY(Inspect) link;
} Inspect;

struct Docker {
    sd_event *event;
    Http *http;
    char *url;
    char *base; /* "http://localhost", "https://host:2376" */
    unsigned resync_s;
    const LabelFilter *labels;
    DockerHandlers handlers;
    void *userdata;

    DockerState state;
    bool lost_reported;
    char *why; /* the reason of the lost connection, as the handler last received it */
    int last_error, logged_error; /* the errors of the last failure and of the last log line */
    char version[16];
    char *engine_id;
    Backoff backoff;
    Timer retry;
    Timer resync; /* while subscribing, the time limit of the subscription */
    HttpRequest *handshake; /* ping, then info */
    HttpRequest *stream;
    HttpRequest *list;
    Framing events, entries;
    uint64_t relist_us; /* the delay of the list that replaces a lost event; 0: no event was lost */
    uint64_t engine_ns, engine_us; /* the engine's clock, since 1970, and CLOCK_BOOTTIME at that moment; 0: not known */
    uint64_t last_event_ns; /* the time of the newest event; 0: no event yet */
    uint64_t replay_end_us; /* CLOCK_BOOTTIME of the replay's end; 0: the replay has ended */
    uint64_t replay_until_ns; /* the agent has handled the events up to this time before the subscription */
    bool lines_bad; /* since the last resync, some lines were too long or not events */
    bool lines_logged, entries_logged; /* already logged, and the engine still sends such lines or entries */
    size_t n_bad_entries; /* of the list under way */
    char bad_entry[EXAMPLE_MAX + 1]; /* the first bad entry */
    TAILQ_HEAD(, Inspect) inspects; /* open, the oldest first */
    unsigned n_inspects, n_slow, n_early; /* n_early counts the early inspects, n_inspects the others */
    Timer slow; /* fires when the oldest inspect that is not slow becomes slow */
};

/* docker.c */
int docker_get(Docker *docker, const char *path, const HttpSpec *spec, HttpDoneFn done, void *userdata,
               HttpRequest **ret);
/* Handles every failure: ends the connection, calls the handler once, waits, and connects again. */
void docker_fail(Docker *docker, int error, const char *what, const char *detail);
void docker_fail_result(Docker *docker, const char *what, const HttpResult *result);

/* docker_stream.c */
void docker_subscribe(Docker *docker);

/* docker_list.c */
void docker_schedule_resync(Docker *docker);

/* docker_inspect.c */
void docker_drop_inspects(Docker *docker);
void docker_on_slow(void *userdata);
