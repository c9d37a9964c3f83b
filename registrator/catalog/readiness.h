/* Whether the ports of containers accept connections yet: which probe is due, which one is open, and what the answers
 * said. The waiting ports of all containers form one order. A free probe slot takes the oldest that is due. Pure. */
#pragma once

#include "probe/question.h"

#include <stddef.h>
#include <sys/queue.h>

typedef enum ReadyState {
    READY_WAITING, /* the next probe waits for its time */
    READY_CROWDED, /* its time has come, but its container has READY_OPEN_MAX probes open */
    READY_ASKED, /* a probe is open */
    READY_READY, /* the port has accepted a connection since the container's start; not probed again */
    READY_ASSUMED, /* no probe could tell until the time limit: taken for ready */
    READY_STATE_MAX_,
} ReadyState;

typedef enum ReadyInput {
    READY_TAKE, /* a free slot takes the probe */
    READY_CROWD, /* the slot is free, but not for this container */
    READY_ROOM, /* a probe of the container has ended */
    READY_ANSWER_OPEN,
    READY_ANSWER_REFUSED,
    READY_ANSWER_SILENT,
    READY_ASSUME, /* the same, and the time limit has passed */
    READY_ADOPT, /* an earlier run of the agent has registered the port: it was ready then */
    READY_INPUT_MAX_,
} ReadyInput;

enum {
    READY_DELAYS = 11, /* 0, 1, 2, 4, … 128, 250 ms, 1 s */
    READY_OPEN_MAX = 8, /* probes of one container at once: so a few containers that do not answer leave slots free */
    READY_WARN_S = 60, /* a port that is not ready after so long is worth a warning */
};

/* One TCP port of a container. */
typedef struct ReadyPort {
    const char *id; /* the container's; not owned */
    struct Readiness *of;
    uint16_t port;
    ReadyState state;
    ProbeOutcome last; /* of the probes that have been answered */
    unsigned delay; /* how long the present or next wait is: an index */
    bool answered; /* by one probe at least */
    bool wanted; /* since readiness_sweep() */
    bool warned; /* of READY_WARN_S */
    uint64_t ticket; /* of the open probe */
    uint64_t since_us; /* when the port began to wait */
    uint64_t due_us; /* READY_WAITING and READY_CROWDED: when to probe. READY_ASKED: when it was probed */
    uint64_t silent_us; /* when the first of the probes in a row was sent that could not tell; 0: the last could */
    TAILQ_ENTRY(ReadyPort) link;
} ReadyPort;

TAILQ_HEAD(ReadyList, ReadyPort);

/* The probes of all containers. */
typedef struct Probes {
    struct ReadyList waiting[READY_DELAYS]; /* by the length of the wait, and so each in order of time */
    uint64_t tickets;
    size_t n_waiting, n_asked; /* the crowded ones wait, too */
    size_t n_unanswered; /* those of both that no probe has answered yet */
} Probes;

/* The ports of one container since its present start. Zero: none. */
typedef struct Readiness {
    ReadyPort **ports; /* sorted by number */
    size_t n_ports;
    int64_t started_ns; /* State.StartedAt of the start */
    unsigned n_open; /* probes in slots, also those of an earlier start */
    unsigned n_crowded;
} Readiness;

void probes_init(Probes *probes);
/* The oldest probe that is due, now open; NULL: there is none. readiness_end_probe() must be told of its end. */
ReadyPort *probes_take(Probes *probes, uint64_t now_us);
/* When the next one is due; 0: none waits. */
uint64_t probes_due_us(const Probes *probes);

/* The one function that changes the state. */
void ready_move(Probes *probes, ReadyPort *port, ReadyInput input, uint64_t now_us);
/* A probe of the container has ended: another of its ports may be probed. */
void readiness_end_probe(Probes *probes, Readiness *readiness);
/* The answer of a probe. timeout_us: for how long no probe can tell until the port is taken for ready. Returns true if
 * the port has become ready. */
bool ready_answer(Probes *probes, ReadyPort *port, ProbeOutcome outcome, uint64_t timeout_us, uint64_t now_us);
bool ready_is_ready(const ReadyPort *port);

/* A start of the container: what was known of another one is forgotten. */
void readiness_start(Probes *probes, Readiness *readiness, int64_t started_ns);
/* Forgets all. */
void readiness_clear(Probes *probes, Readiness *readiness);
/* NULL: not known. */
ReadyPort *readiness_find(const Readiness *readiness, uint16_t port);
/* A port that would be registered if it is ready: it begins to wait, unless it is known. id must live as long as the
 * readiness. NULL: no memory. */
ReadyPort *readiness_want(Probes *probes, Readiness *readiness, const char *id, uint16_t port, uint64_t now_us);
/* Forgets the ports that wait, but were not wanted since the last call. */
void readiness_sweep(Probes *probes, Readiness *readiness);
