#include "agent/tracker.h"

#include "base/backoff.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/text.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>

enum {
    /* after an inspect without a good answer; the cap is for inspects that always fail */
    RETRY_MS = 1000,
    RETRY_MAX_MS = 30000,
    PROBES_US = 10000000, /* from the first list to the probes' first answers; after that, the keys count as known */
    RELEASE_US = 1000000, /* the longest wait for inspects that hang, before the publisher writes */
    ANSWERS_US = 200000, /* the wait for probes after the inspects, before the publisher writes */
};

struct Tracker {
    Catalog *catalog;
    TrackerSink sink;
    uint64_t grace_us;

    TrackerState state;
    char *why; /* why Docker is away, or NULL */
    bool gone; /* Docker has been away for longer than the grace */
    bool untidy; /* a list has come since the last malloc_trim() */
    uint64_t away_us; /* since when no complete list has come; 0: a complete list has come */
    uint64_t list_mark; /* the mark of the last list's questions, while some of them are open; 0: none is open */
    uint64_t first_mark; /* the mark of the first list; 0: no list yet */
    uint64_t inspected_us; /* when each container of the first list had been inspected; 0: not yet */
    uint64_t release_us; /* when the publisher's wait ends; 0: no wait */
    uint64_t retry_us; /* when failed inspects are tried again; 0: no inspect has failed */
    Backoff retry;
    size_t left_out; /* the containers beyond CATALOG_CONTAINERS_MAX, as last logged */
};

int tracker_new(Tracker **ret, Catalog *catalog, uint64_t grace_us, const TrackerSink *sink)
{
    Tracker *tracker = calloc(1, sizeof(*tracker));

    if (!tracker)
        return -ENOMEM;
    tracker->catalog = catalog;
    tracker->sink = *sink;
    tracker->grace_us = grace_us;
    tracker->retry = (Backoff){ .base_ms = RETRY_MS, .cap_ms = RETRY_MAX_MS };
    *ret = tracker;
    return 0;
}

Tracker *tracker_free(Tracker *tracker)
{
    if (!tracker)
        return NULL;
    free(tracker->why);
    free(tracker);
    return NULL;
}

void tracker_set_grace(Tracker *tracker, uint64_t grace_us)
{
    tracker->grace_us = grace_us;
}

static void set_why(Tracker *tracker, const char *why)
{
    text_take(&tracker->why, why ? strdup(why) : NULL);
}

/* The one function that moves the state. */
static void set_state(Tracker *tracker, TrackerState state)
{
    static const bool is_connected[] = {
        [TRACKER_CONNECTING] = false, [TRACKER_AWAY] = false,     [TRACKER_LISTING] = true,
        [TRACKER_INSPECTING] = true,  [TRACKER_FOLLOWING] = true,
    };

    /* No answer comes over an ended connection. */
    if (!is_connected[state] || state == TRACKER_LISTING) {
        catalog_lose_questions(tracker->catalog);
        tracker->list_mark = 0;
    }
    tracker->state = state;
}

static void release(Tracker *tracker)
{
    tracker->release_us = 0;
    tracker->sink.release(tracker->sink.userdata);
}

void tracker_probed(Tracker *tracker)
{
    if (tracker->state == TRACKER_FOLLOWING && tracker->list_mark == 0 && tracker->release_us > 0 &&
        !catalog_awaits_answers(tracker->catalog))
        release(tracker);
}

/* When the listed containers have been inspected, the publisher waits for the probes' first answers. So the keys of
 * a cold start are written together. */
static void check_inspected(Tracker *tracker, uint64_t now_us)
{
    if (tracker->list_mark > 0 && catalog_is_inspected(tracker->catalog, tracker->list_mark)) {
        tracker->list_mark = 0;
        if (tracker->inspected_us == 0)
            tracker->inspected_us = now_us;
        set_state(tracker, TRACKER_FOLLOWING);
        if (tracker->release_us > now_us + ANSWERS_US)
            tracker->release_us = now_us + ANSWERS_US;
        tracker_probed(tracker);
    }
    if (catalog_unanswered(tracker->catalog) == 0) {
        backoff_reset(&tracker->retry);
        if (tracker->untidy)
            (void)malloc_trim(0); /* parsing the list leaves many small free blocks */
        tracker->untidy = false;
    }
    tracker->sink.changed(tracker->sink.userdata);
}

void tracker_connected(Tracker *tracker)
{
    set_why(tracker, NULL);
    set_state(tracker, TRACKER_LISTING);
}

void tracker_disconnected(Tracker *tracker)
{
    set_state(tracker, tracker->state == TRACKER_AWAY ? TRACKER_AWAY : TRACKER_CONNECTING);
}

void tracker_lost(Tracker *tracker, const char *why, uint64_t now_us)
{
    /* An engine that accepts connections but sends no list counts as away: the grace continues, and further losses
     * are not logged. */
    if (tracker->away_us > 0) {
        log_debug("%s", why);
    } else {
        log_write(LOG_WARNING, 0, LOG_EVENT_DOCKER_LOST, NULL, NULL, NULL, "%s", why);
        tracker->away_us = now_us;
    }
    set_why(tracker, why);
    set_state(tracker, TRACKER_AWAY);
    release(tracker);
    tracker->sink.changed(tracker->sink.userdata);
}

void tracker_list_begin(Tracker *tracker)
{
    /* From now on, the publisher waits for this list. */
    if (tracker->state == TRACKER_FOLLOWING)
        tracker->list_mark = tracker->release_us = 0;
    catalog_list_begin(tracker->catalog);
}

void tracker_listed(Tracker *tracker, Container *container)
{
    catalog_listed(tracker->catalog, container);
}

static void report_left_out(Tracker *tracker)
{
    size_t left_out = catalog_left_out(tracker->catalog);

    if (left_out > 0 && tracker->left_out == 0)
        log_error("%zu containers are not registered: the agent handles at most %d", left_out, CATALOG_CONTAINERS_MAX);
    tracker->left_out = left_out;
}

void tracker_list_end(Tracker *tracker, bool complete, uint64_t now_us)
{
    catalog_list_end(tracker->catalog, complete);
    report_left_out(tracker);
    if (!complete) {
        /* Another list follows. Until then, the earlier facts are sufficient to write. */
        if (tracker->first_mark > 0)
            release(tracker);
        return;
    }
    tracker->away_us = 0;
    tracker->gone = false;
    catalog_set_docker_away(tracker->catalog, false);
    tracker->untidy = true;
    if (tracker->list_mark == 0)
        tracker->list_mark = catalog_mark(tracker->catalog);
    if (tracker->first_mark == 0)
        tracker->first_mark = tracker->list_mark;
    tracker->release_us = now_us + RELEASE_US;
    if (tracker->state == TRACKER_LISTING) {
        set_state(tracker, TRACKER_INSPECTING);
        tracker->sink.listed(tracker->sink.userdata);
    } else {
        tracker->sink.compare(tracker->sink.userdata);
    }
    check_inspected(tracker, now_us);
}

void tracker_event(Tracker *tracker, const DockerEvent *event, uint64_t now_us)
{
    /* A replayed event counts from its own time. */
    catalog_event(tracker->catalog, event, event->age_us < now_us ? now_us - event->age_us : 1);
    /* The death of a container may end the wait for the listed containers. */
    if (tracker->list_mark > 0)
        check_inspected(tracker, now_us);
}

static void note_failure(Tracker *tracker, const char *id, uint64_t ticket, int error)
{
    if (catalog_inspect_failed(tracker->catalog, id, ticket)) {
        log_warning_errno(error, "Failed to inspect container %.12s, trying again until it succeeds: %m", id);
        backoff_reset(&tracker->retry);
    }
}

/* A question can also fail after an event or a drain, if memory runs out. */
static void plan_retry(Tracker *tracker, uint64_t now_us)
{
    if (catalog_failed(tracker->catalog) > 0 && tracker->retry_us == 0)
        tracker->retry_us = now_us + backoff_next_us(&tracker->retry);
}

void tracker_inspected(Tracker *tracker, const char *id, uint64_t ticket, Container *container, int error,
                       uint64_t now_us)
{
    CatalogInspected found = CATALOG_SAME;

    if (error != 0 && error != -ENOENT)
        note_failure(tracker, id, ticket, error);
    else
        found = catalog_inspected(tracker->catalog, id, ticket, container, now_us);
    plan_retry(tracker, now_us);
    if (found == CATALOG_DRIFTED && tracker->state == TRACKER_FOLLOWING) {
        log_notice("Container %.12s changed, and no event announced the change: connecting to Docker again", id);
        tracker->sink.reconnect(tracker->sink.userdata);
    }
    check_inspected(tracker, now_us);
}

uint64_t tracker_run(Tracker *tracker, uint64_t now_us)
{
    uint64_t grace_end = tracker->away_us > 0 && !tracker->gone ? tracker->away_us + tracker->grace_us : 0;

    if (grace_end > 0 && grace_end <= now_us) {
        log_warning("Docker has been away for %u s (--docker-grace): its containers are deregistered",
                    (unsigned)(tracker->grace_us / 1000000));
        tracker->gone = true;
        grace_end = 0;
        catalog_set_docker_away(tracker->catalog, true);
    }
    if (tracker->retry_us > 0 && tracker->retry_us <= now_us) {
        tracker->retry_us = 0;
        catalog_retry(tracker->catalog);
    }
    plan_retry(tracker, now_us);
    if (tracker->release_us > 0 && tracker->release_us <= now_us)
        release(tracker);
    return earlier_us(earlier_us(grace_end, tracker->retry_us),
                      earlier_us(tracker->release_us, catalog_expire(tracker->catalog, now_us)));
}

TrackerState tracker_state(const Tracker *tracker)
{
    return tracker->state;
}

const char *tracker_why(const Tracker *tracker)
{
    return tracker->state == TRACKER_AWAY ? tracker->why ? tracker->why : "out of memory" : NULL;
}

bool tracker_has_listed(const Tracker *tracker)
{
    return tracker->first_mark > 0;
}

bool tracker_knows_wishes(const Tracker *tracker, uint64_t now_us)
{
    return tracker->inspected_us > 0 &&
           (!catalog_awaits_answers(tracker->catalog) || now_us - tracker->inspected_us >= PROBES_US);
}

bool tracker_knows_orphans(const Tracker *tracker, bool has_address, uint64_t now_us)
{
    if (tracker->inspected_us == 0)
        return false;
    return (has_address && catalog_is_known(tracker->catalog, tracker->first_mark)) ||
           now_us - tracker->inspected_us >= tracker->grace_us;
}
