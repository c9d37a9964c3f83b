/* What the agent knows of Docker: is it there, which of its containers are known, and what must be asked again. Feeds
 * the catalog. Time comes as an argument (CLOCK_BOOTTIME), effects go out through the sink: needs neither Docker nor
 * etcd. */
#pragma once

#include "base/cleanup.h"
#include "catalog/catalog.h"

typedef struct Tracker Tracker;

typedef enum TrackerState {
    TRACKER_CONNECTING, /* not reached since the start, or since its settings changed */
    TRACKER_AWAY, /* lost */
    TRACKER_LISTING, /* connected, but no whole list has come since */
    TRACKER_INSPECTING, /* listed; the listed containers are being inspected */
    TRACKER_FOLLOWING, /* each listed container was inspected, or failed once: differences are drift from now on */
} TrackerState;

typedef struct TrackerSink {
    /* The first whole list of a connection has come. */
    void (*listed)(void *userdata);
    /* Enough is known to write: ends the publisher's waiting. */
    void (*release)(void *userdata);
    /* A resync: compare with etcd as well. */
    void (*compare)(void *userdata);
    /* A list showed a difference that no event announced: subscribe anew. */
    void (*reconnect)(void *userdata);
    /* The state or what is known has changed. */
    void (*changed)(void *userdata);
    void *userdata;
} TrackerSink;

/* catalog: not owned. */
int tracker_new(Tracker **ret, Catalog *catalog, uint64_t grace_us, const TrackerSink *sink);
Tracker *tracker_free(Tracker *tracker);
DEFINE_CLEANUP(Tracker, tracker_free)

/* For how long containers stay registered while Docker is away. */
void tracker_set_grace(Tracker *tracker, uint64_t grace_us);

/* What Docker's session reports. */
void tracker_connected(Tracker *tracker);
void tracker_lost(Tracker *tracker, const char *why, uint64_t now_us);
void tracker_disconnected(Tracker *tracker); /* on purpose: another session follows */
void tracker_list_begin(Tracker *tracker);
void tracker_listed(Tracker *tracker, Container *container); /* takes it */
void tracker_list_end(Tracker *tracker, bool complete, uint64_t now_us);
void tracker_event(Tracker *tracker, const DockerEvent *event, uint64_t now_us);
/* As DockerHandlers' inspected. */
void tracker_inspected(Tracker *tracker, const char *id, uint64_t ticket, Container *container, int error,
                       uint64_t now_us);

/* The answers of probes may be all that writing waits for. */
void tracker_probed(Tracker *tracker);

/* Does what is due. Returns when to call again at the latest, 0: never; every call above may change it. Afterwards the
 * catalog may have new questions. */
uint64_t tracker_run(Tracker *tracker, uint64_t now_us);

TrackerState tracker_state(const Tracker *tracker);
/* Why Docker is away, or NULL. Valid until the next call. */
const char *tracker_why(const Tracker *tracker);
bool tracker_has_listed(const Tracker *tracker); /* ever */
/* Has each container of the first list been inspected, or failed once, and has each port been probed once, or the time
 * for the probes ended? */
bool tracker_knows_wishes(const Tracker *tracker, uint64_t now_us);
/* Is a key that no container wants an orphan? True when each container of the first list has been inspected, or
 * --docker-grace has passed since all were tried. Without an address (has_address), no value is known, and no key is an
 * orphan. */
bool tracker_knows_orphans(const Tracker *tracker, bool has_address, uint64_t now_us);
