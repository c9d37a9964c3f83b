/* Whether the ports of containers accept connections: which probe is due, which probe is open, and the results of
 * the probes. The waiting ports of all containers form one order. A free probe slot takes the oldest due port. Pure. */
#pragma once

#include "probe/question.h"

#include <stddef.h>
#include <sys/queue.h>

typedef enum ReadyState {
    READY_WAITING, /* the next probe waits for its time */
    READY_CROWDED, /* the time of the probe has come, but its container has READY_OPEN_MAX probes open */
    READY_ASKED, /* a probe is open */
    READY_READY, /* the port has accepted a connection since the container's start; no further probe */
    READY_ASSUMED, /* no probe got a result within the time limit: the port counts as ready */
    READY_STATE_MAX_,
} ReadyState;

typedef enum ReadyInput {
    READY_TAKE, /* a free slot takes the probe */
    READY_CROWD, /* a slot is free, but the container has too many open probes */
    READY_ROOM, /* a probe of the container has ended */
    READY_ANSWER_OPEN,
    READY_ANSWER_REFUSED,
    READY_ANSWER_SILENT,
    READY_ASSUME, /* the probe has ended without a result, and the time limit has passed */
    READY_ADOPT, /* an earlier run of the agent has registered the port, so the port was ready */
    READY_INPUT_MAX_,
} ReadyInput;

enum {
    READY_DELAYS = 11, /* 0, 1, 2, 4, … 128, 250 ms, 1 s */
    READY_OPEN_MAX = 8, /* open probes of one container, so that a few silent containers leave slots for others */
    READY_WARN_S = 60, /* after this time, a port that is not ready leads to a warning */
};

/* One TCP port of a container. */
typedef struct ReadyPort {
    const char *id; /* the container's ID; not owned */
    struct Readiness *of;
    uint16_t port;
    ReadyState state;
    ProbeOutcome last; /* the result of the last probe */
    unsigned delay; /* the length of the present or next wait, as an index */
    bool answered; /* at least one probe has ended */
    bool wanted; /* wanted since the last readiness_sweep() */
    bool warned; /* the READY_WARN_S warning has been given */
    uint64_t ticket; /* of the open probe */
    uint64_t since_us; /* when the port began to wait */
    /* READY_WAITING and READY_CROWDED: the time of the next probe. READY_ASKED: the time of the open probe */
    uint64_t due_us;
    /* when the first of the last probes without a result was sent; 0: the last probe had a result */
    uint64_t silent_us;
    TAILQ_ENTRY(ReadyPort) link;
} ReadyPort;

TAILQ_HEAD(ReadyList, ReadyPort);

/* The probes of all containers. */
typedef struct Probes {
    struct ReadyList waiting[READY_DELAYS]; /* by the length of the wait, and so each list is sorted by time */
    uint64_t tickets;
    size_t n_waiting, n_asked; /* n_waiting includes the crowded ports */
    size_t n_unanswered; /* of both, the ports without a probe that has ended */
} Probes;

/* The ports of one container since its present start. All zero: no ports. */
typedef struct Readiness {
    ReadyPort **ports; /* sorted by number */
    size_t n_ports;
    int64_t started_ns; /* State.StartedAt of the start */
    unsigned n_open; /* probes in slots, including probes of an earlier start */
    unsigned n_crowded;
} Readiness;

void probes_init(Probes *probes);
/* Opens the oldest due probe and returns its port; NULL: none is due. The caller must call readiness_end_probe()
 * when the probe ends. */
ReadyPort *probes_take(Probes *probes, uint64_t now_us);
/* When the next probe is due; 0: none waits. */
uint64_t probes_due_us(const Probes *probes);

/* The one function that changes the state. */
void ready_move(Probes *probes, ReadyPort *port, ReadyInput input, uint64_t now_us);
/* A probe of the container has ended, so another port of the container may be probed. */
void readiness_end_probe(Probes *probes, Readiness *readiness);
/* The answer of a probe. timeout_us: after this time of probes without a result, the port counts as ready. Returns
 * true if the port has become ready. */
bool ready_answer(Probes *probes, ReadyPort *port, ProbeOutcome outcome, uint64_t timeout_us, uint64_t now_us);
bool ready_is_ready(const ReadyPort *port);

/* The container has started. Forgets the ports of an earlier start. */
void readiness_start(Probes *probes, Readiness *readiness, int64_t started_ns);
/* Forgets all ports. */
void readiness_clear(Probes *probes, Readiness *readiness);
/* NULL: the port is not known. */
ReadyPort *readiness_find(const Readiness *readiness, uint16_t port);
/* The port would be registered if it were ready. An unknown port begins to wait. id must live as long as the
 * readiness. NULL: no memory. */
ReadyPort *readiness_want(Probes *probes, Readiness *readiness, const char *id, uint16_t port, uint64_t now_us);
/* Forgets the waiting ports that were not wanted since the last call. */
void readiness_sweep(Probes *probes, Readiness *readiness);
