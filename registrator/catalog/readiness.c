#include "catalog/readiness.h"

#include "base/grow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The time from an answer to the next probe. The first probe starts at once. */
static const uint64_t delays_us[READY_DELAYS] = { 0,     1000,  2000,   4000,   8000,   16000,
                                                  32000, 64000, 128000, 250000, 1000000 };

/* Short names for the table. X: cannot happen. */
#define WAITING READY_WAITING
#define CROWDED READY_CROWDED
#define ASKED READY_ASKED
#define READY READY_READY
#define ASSUMED READY_ASSUMED
#define X READY_STATE_MAX_

/* clang-format off */
static const ReadyState transitions[READY_INPUT_MAX_][READY_STATE_MAX_] = {
    /*                         WAITING  CROWDED  ASKED    READY  ASSUMED */
    [READY_TAKE]           = { ASKED,   X,       X,       X,     X },
    [READY_CROWD]          = { CROWDED, X,       X,       X,     X },
    [READY_ROOM]           = { X,       WAITING, X,       X,     X },
    [READY_ANSWER_OPEN]    = { X,       X,       READY,   READY, READY },
    [READY_ANSWER_REFUSED] = { X,       X,       WAITING, READY, ASSUMED },
    [READY_ANSWER_SILENT]  = { X,       X,       WAITING, READY, ASSUMED },
    [READY_ASSUME]         = { X,       X,       ASSUMED, READY, ASSUMED },
    [READY_ADOPT]          = { READY,   READY,   READY,   READY, ASSUMED },
};
/* clang-format on */

void probes_init(Probes *probes)
{
    *probes = (Probes){ .tickets = 0 };
    for (size_t i = 0; i < READY_DELAYS; i++)
        TAILQ_INIT(&probes->waiting[i]);
}

bool ready_is_ready(const ReadyPort *port)
{
    return port->state == READY_READY || port->state == READY_ASSUMED;
}

/* Keeps the list sorted by time. */
static void insert(struct ReadyList *list, ReadyPort *port)
{
    ReadyPort *first = TAILQ_FIRST(list), *before;

    /* A port that was crowded is older than most ports. */
    if (first && port->due_us < first->due_us) {
        TAILQ_INSERT_HEAD(list, port, link);
        return;
    }
    /* Otherwise the port goes to the end. But a repeated Docker event counts from its own time, so it may belong
     * before the end. */
    before = TAILQ_LAST(list, ReadyList);
    while (before && before->due_us > port->due_us)
        before = TAILQ_PREV(before, ReadyList, link);
    if (before)
        TAILQ_INSERT_AFTER(list, before, port, link);
    else
        TAILQ_INSERT_HEAD(list, port, link);
}

static bool is_waiting(const ReadyPort *port)
{
    return port->state == READY_WAITING || port->state == READY_CROWDED;
}

static void enter(Probes *probes, ReadyPort *port)
{
    probes->n_unanswered += !port->answered && !ready_is_ready(port);
    probes->n_asked += port->state == READY_ASKED;
    probes->n_waiting += is_waiting(port);
    port->of->n_crowded += port->state == READY_CROWDED;
    if (port->state == READY_WAITING)
        insert(&probes->waiting[port->delay], port);
}

static void leave(Probes *probes, ReadyPort *port)
{
    probes->n_unanswered -= !port->answered && !ready_is_ready(port);
    probes->n_asked -= port->state == READY_ASKED;
    probes->n_waiting -= is_waiting(port);
    port->of->n_crowded -= port->state == READY_CROWDED;
    if (port->state == READY_WAITING)
        TAILQ_REMOVE(&probes->waiting[port->delay], port, link);
}

static bool is_of_answer(ReadyInput input)
{
    return input != READY_TAKE && input != READY_CROWD && input != READY_ROOM;
}

void ready_move(Probes *probes, ReadyPort *port, ReadyInput input, uint64_t now_us)
{
    ReadyState next = transitions[input][port->state];

    assert(next < READY_STATE_MAX_);
    leave(probes, port);
    if (input == READY_TAKE) {
        port->ticket = ++probes->tickets;
        port->due_us = now_us;
        port->of->n_open++;
    } else if (is_of_answer(input) && next == READY_WAITING) {
        port->delay += port->delay + 1 < READY_DELAYS;
        port->due_us = now_us + delays_us[port->delay];
    }
    port->answered = port->answered || is_of_answer(input);
    port->state = next;
    enter(probes, port);
}

static ReadyPort *oldest_crowded(const Readiness *readiness)
{
    ReadyPort *oldest = NULL;

    for (size_t i = 0; i < readiness->n_ports && readiness->n_crowded > 0; i++) {
        ReadyPort *port = readiness->ports[i];

        if (port->state == READY_CROWDED && (!oldest || port->due_us < oldest->due_us))
            oldest = port;
    }
    return oldest;
}

void readiness_end_probe(Probes *probes, Readiness *readiness)
{
    ReadyPort *port;

    readiness->n_open -= readiness->n_open > 0;
    /* When the last probe ends, all crowded ports must wait again: the port that got the room may be forgotten
     * before its probe. */
    while ((port = oldest_crowded(readiness))) {
        ready_move(probes, port, READY_ROOM, 0);
        if (readiness->n_open > 0)
            break;
    }
}

bool ready_answer(Probes *probes, ReadyPort *port, ProbeOutcome outcome, uint64_t timeout_us, uint64_t now_us)
{
    ReadyInput input = READY_ANSWER_OPEN;

    if (outcome == PROBE_REFUSED) {
        port->silent_us = 0;
        input = READY_ANSWER_REFUSED;
    } else if (outcome == PROBE_SILENT) {
        if (port->silent_us == 0)
            port->silent_us = port->due_us;
        input = now_us - port->silent_us >= timeout_us ? READY_ASSUME : READY_ANSWER_SILENT;
    }
    port->last = outcome;
    ready_move(probes, port, input, now_us);
    return ready_is_ready(port);
}

static ReadyPort *oldest(const Probes *probes)
{
    ReadyPort *oldest = NULL;

    for (size_t i = 0; i < READY_DELAYS; i++) {
        ReadyPort *first = TAILQ_FIRST(&probes->waiting[i]);

        if (first && (!oldest || first->due_us < oldest->due_us))
            oldest = first;
    }
    return oldest;
}

uint64_t probes_due_us(const Probes *probes)
{
    const ReadyPort *port = oldest(probes);

    return port ? port->due_us : 0;
}

ReadyPort *probes_take(Probes *probes, uint64_t now_us)
{
    ReadyPort *port;

    while ((port = oldest(probes)) && port->due_us <= now_us) {
        bool is_crowded = port->of->n_open >= READY_OPEN_MAX;

        ready_move(probes, port, is_crowded ? READY_CROWD : READY_TAKE, now_us);
        if (!is_crowded)
            return port;
    }
    return NULL;
}

/* The first place whose port number is not smaller. */
static size_t find_place(const Readiness *readiness, uint16_t port)
{
    size_t low = 0, high = readiness->n_ports;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (readiness->ports[middle]->port < port)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

ReadyPort *readiness_find(const Readiness *readiness, uint16_t port)
{
    size_t i = find_place(readiness, port);

    return i < readiness->n_ports && readiness->ports[i]->port == port ? readiness->ports[i] : NULL;
}

ReadyPort *readiness_want(Probes *probes, Readiness *readiness, const char *id, uint16_t port, uint64_t now_us)
{
    size_t i = find_place(readiness, port);
    ReadyPort *new;

    if (i < readiness->n_ports && readiness->ports[i]->port == port) {
        readiness->ports[i]->wanted = true;
        return readiness->ports[i];
    }
    if (array_grow(&readiness->ports, readiness->n_ports, sizeof(ReadyPort *)) < 0)
        return NULL;
    new = calloc(1, sizeof(*new));
    if (!new)
        return NULL;
    *new = (ReadyPort){ .id = id, .of = readiness, .port = port, .wanted = true, .since_us = now_us, .due_us = now_us };
    for (size_t after = readiness->n_ports; after > i; after--)
        readiness->ports[after] = readiness->ports[after - 1];
    readiness->ports[i] = new;
    readiness->n_ports++;
    enter(probes, new);
    return new;
}

static void forget(Probes *probes, ReadyPort *port)
{
    leave(probes, port);
    free(port);
}

void readiness_sweep(Probes *probes, Readiness *readiness)
{
    size_t kept = 0;

    for (size_t i = 0; i < readiness->n_ports; i++) {
        ReadyPort *port = readiness->ports[i];

        if (!port->wanted && !ready_is_ready(port)) {
            forget(probes, port);
            continue;
        }
        port->wanted = false;
        readiness->ports[kept++] = port;
    }
    readiness->n_ports = kept;
}

void readiness_clear(Probes *probes, Readiness *readiness)
{
    for (size_t i = 0; i < readiness->n_ports; i++)
        forget(probes, readiness->ports[i]);
    free(readiness->ports);
    readiness->ports = NULL;
    readiness->n_ports = 0;
}

void readiness_start(Probes *probes, Readiness *readiness, int64_t started_ns)
{
    if (readiness->started_ns != started_ns)
        readiness_clear(probes, readiness);
    readiness->started_ns = started_ns;
}
