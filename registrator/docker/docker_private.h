/* What the files of the Docker session share. */
#pragma once

#include "docker/docker.h"

#include "base/backoff.h"
#include "base/framing.h"
#include "base/timer.h"

#include <sys/queue.h>

enum {
    EXAMPLE_MAX = 120, /* bytes of what the log quotes */
    INSPECTS_AT_ONCE = 4, /* on two cores, dockerd answers 600 inspects no faster with 8 or 16 at once */
    INSPECTS_MAX = 16, /* with those that hang */
    EARLY_MAX =
        8, /* inspects of containers that are about to start: they wait in dockerd, for minutes if the start hangs */
    EVENT_MAX = 256 * 1024, /* bytes of one event: its labels are the container's */
    LIST_ENTRY_MAX = 4 * 1024 * 1024, /* bytes of one list entry; a range of 10,000 ports takes 1.3 MB */
    PING_TIMEOUT_MS = 5000, /* also of the stream's headers */
};

typedef enum DockerState {
    DOCKER_WAITING, /* for the backoff */
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
    bool slow; /* it hangs */
    Container *container; /* its image is being asked; else NULL */
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
    char *why; /* reason of the lost connection, as the handler last got it */
    int last_error, logged_error; /* of the last failure; of the last one in the log */
    char version[16];
    char *engine_id;
    Backoff backoff;
    sd_event_source *retry;
    sd_event_source *resync; /* while subscribing: the time limit of that */
    HttpRequest *handshake; /* ping, then info */
    HttpRequest *stream;
    HttpRequest *list;
    Framing events, entries;
    uint64_t relist_us; /* an event was lost: the delay of the list that replaces it; 0: none was lost */
    uint64_t engine_ns, engine_us; /* the engine's clock, since 1970, and CLOCK_BOOTTIME then; 0: not known */
    uint64_t last_event_ns; /* the newest event's time; 0: none came */
    uint64_t replay_end_us; /* CLOCK_BOOTTIME: the replay has ended by then; 0: it has ended */
    uint64_t replay_until_ns; /* events up to this time were handled before the subscription */
    bool lines_bad; /* since the last resync: there were lines that are no events, or too long */
    bool lines_logged, entries_logged; /* logged, and the engine still sends such lines or entries */
    size_t n_bad_entries; /* of the list under way */
    char bad_entry[EXAMPLE_MAX + 1]; /* the first of them */
    TAILQ_HEAD(, Inspect) inspects; /* open, the oldest first */
    unsigned n_inspects, n_slow, n_early; /* the early ones count in n_early only */
    sd_event_source *slow; /* when the oldest inspect that is not slow will be */
};

/* docker.c */
int docker_get(Docker *docker, const char *path, const HttpSpec *spec, HttpDoneFn done, void *userdata,
               HttpRequest **ret);
/* Every failure ends here: ends the connection, tells the handler once, waits, and connects again. */
void docker_fail(Docker *docker, int error, const char *what, const char *detail);
void docker_fail_result(Docker *docker, const char *what, const HttpResult *result);

/* docker_stream.c */
void docker_subscribe(Docker *docker);

/* docker_list.c */
void docker_schedule_resync(Docker *docker);

/* docker_inspect.c */
void docker_drop_inspects(Docker *docker);
int docker_on_slow(sd_event_source *source, uint64_t usec, void *userdata);
