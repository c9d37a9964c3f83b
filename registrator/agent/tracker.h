/* The agent's state towards Docker: whether Docker is connected, which containers are known, and which questions
 * must be asked again. Passes Docker's reports to the catalog. The caller passes the time as an argument
 * (CLOCK_BOOTTIME), and the tracker calls the sink for each effect. Needs neither Docker nor etcd. */
#pragma once

#include "base/cleanup.h"
#include "catalog/catalog.h"

typedef struct Tracker Tracker;

typedef enum TrackerState {
    TRACKER_CONNECTING, /* not connected since the start, or since Docker's settings changed */
    TRACKER_AWAY, /* the connection is lost */
    TRACKER_LISTING, /* connected, but no complete list has come since */
    TRACKER_INSPECTING, /* listed; the inspects of the listed containers are open */
    /* each listed container was inspected, or its inspect failed once; from now on, a difference is drift */
    TRACKER_FOLLOWING,
} TrackerState;

typedef struct TrackerSink {
    /* The first complete list of a connection has come. */
    void (*listed)(void *userdata);
    /* Enough is known to write: ends the publisher's wait. */
    void (*release)(void *userdata);
    /* A resync: compare with etcd as well. */
    void (*compare)(void *userdata);
    /* A list showed a difference that no event announced: subscribe again. */
    void (*reconnect)(void *userdata);
    /* The state, or a fact about Docker, has changed. */
    void (*changed)(void *userdata);
    void *userdata;
} TrackerSink;

/* catalog: not owned. 0 or -ENOMEM. */
int tracker_new(Tracker **ret, Catalog *catalog, uint64_t grace_us, const TrackerSink *sink);
Tracker *tracker_free(Tracker *tracker);
DEFINE_CLEANUP(Tracker, tracker_free)

/* grace_us: how long containers stay registered while Docker is away. */
void tracker_set_grace(Tracker *tracker, uint64_t grace_us);

/* The following functions pass on the reports of Docker's session. */
void tracker_connected(Tracker *tracker);
void tracker_lost(Tracker *tracker, const char *why, uint64_t now_us);
void tracker_disconnected(Tracker *tracker); /* the agent has ended the session, and another one follows */
void tracker_list_begin(Tracker *tracker);
void tracker_listed(Tracker *tracker, Container *container); /* takes the container */
void tracker_list_end(Tracker *tracker, bool complete, uint64_t now_us);
void tracker_event(Tracker *tracker, const DockerEvent *event, uint64_t now_us);
/* Arguments as for DockerHandlers' inspected. */
void tracker_inspected(Tracker *tracker, const char *id, uint64_t ticket, Container *container, int error,
                       uint64_t now_us);

/* A probe has been answered, which may end the publisher's wait. */
void tracker_probed(Tracker *tracker);

/* Does the due work. Returns the time of the next call at the latest; 0: never. Every call above may change this
 * time. Afterwards the catalog may have new questions. */
uint64_t tracker_run(Tracker *tracker, uint64_t now_us);

TrackerState tracker_state(const Tracker *tracker);
/* Why Docker is away, or NULL. Valid until the next call. */
const char *tracker_why(const Tracker *tracker);
bool tracker_has_listed(const Tracker *tracker); /* has a complete list come since the start? */
/* Has each container of the first list been inspected, or has its inspect failed once? And has each port been probed
 * once, or has the time for the probes ended? */
bool tracker_knows_wishes(const Tracker *tracker, uint64_t now_us);
/* Is an unwanted key an orphan? True if each container of the first list has been inspected, or if --docker-grace
 * has passed since each inspect was tried. has_address: without an address no value is known, so no key is an
 * orphan. */
bool tracker_knows_orphans(const Tracker *tracker, bool has_address, uint64_t now_us);
