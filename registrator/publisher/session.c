/* The session with etcd: opens the store, sends the heartbeats, tries again after failures, and starts the resyncs. */
#include "publisher/publisher_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    /* after an outage, every key is written again within two seconds */
    RETRY_CAP_MS = 1500,
    /* After an outage all agents return at once, and etcd is busy. The resync can wait for the second heartbeat,
     * because each agent sends it at another time. */
    RETURN_RESYNC_BEATS = 2,
};

const char publisher_no_memory[] = "out of memory, trying again";

static void session_beat(Publisher *publisher);

/* The state. */

static uint64_t heartbeat_us(const Publisher *publisher)
{
    return (uint64_t)publisher->config.heartbeat_s * 1000000;
}

bool session_is_open(const Publisher *publisher)
{
    SessionState state = publisher->session.state;

    return state == SESSION_ONLINE || state == SESSION_SILENT || state == SESSION_REFUSED;
}

PublisherState publisher_state(const Publisher *publisher)
{
    static const PublisherState states[SESSION_STATE_MAX_] = {
        [SESSION_CLOSED] = PUBLISHER_CLOSED,    [SESSION_OPENING] = PUBLISHER_OPENING,
        [SESSION_ONLINE] = PUBLISHER_ONLINE,    [SESSION_SILENT] = PUBLISHER_DEGRADED,
        [SESSION_REFUSED] = PUBLISHER_DEGRADED,
    };

    return states[publisher->session.state];
}

/* The one function that moves the state. */
static void session_move(Publisher *publisher, SessionState state, const char *why)
{
    /* Rows: the present state. Columns: the next state. Each state may stay, and each may close because the store is
     * replaced. */
    static const bool legal[SESSION_STATE_MAX_][SESSION_STATE_MAX_] = {
        /* CLOSED OPENING ONLINE SILENT REFUSED */
        [SESSION_CLOSED] = { true, true, false, false, false }, /* the backoff has ended */
        [SESSION_OPENING] = { true, true, true, true, false }, /* the answer has come */
        [SESSION_ONLINE] = { true, false, true, true, true }, /* a failure; CLOSED: the lease is lost */
        [SESSION_SILENT] = { true, true, true, true, true }, /* an answer; OPENING: no key and no lease to ask about */
        [SESSION_REFUSED] = { true, true, true, true, true }, /* the backoff has ended, or an answer */
    };
    Session *session = &publisher->session;
    PublisherState before = publisher_state(publisher);
    bool opens = state == SESSION_OPENING || session->state == SESSION_OPENING;

    assert(legal[session->state][state]);
    if (store_has_lease(publisher->store) && (opens || state == SESSION_CLOSED))
        session->generation++;
    session->state = state;
    if (state == SESSION_OPENING || (publisher_state(publisher) == before && text_same(why, session->why)))
        return;
    if (why != session->why)
        (void)text_replace(&session->why, why); /* without memory, the next answer notes the reason */
    publisher->handlers.state_changed(publisher->userdata, publisher_state(publisher), why);
}

/* Trying again. */

static void schedule_retry(Publisher *publisher)
{
    Session *session = &publisher->session;

    /* Calls that succeed in the meantime do not delay the timer. */
    if (timer_is_armed(&session->retry))
        return;
    timer_arm(&session->retry, backoff_next_us(&session->backoff));
}

void session_fail(Publisher *publisher, StoreStatus status, const char *message)
{
    SessionState failed = status == STORE_REFUSED ? SESSION_REFUSED : SESSION_SILENT;

    publisher->counters.failures++;
    session_move(publisher, session_is_open(publisher) ? failed : SESSION_CLOSED, message);
    schedule_retry(publisher);
}

void session_lose_keys(Publisher *publisher, const char *message)
{
    PublisherEntry *entry, *next;

    publisher->counters.lease_losses++;
    log_write(LOG_WARNING, 0, LOG_EVENT_LEASE_LOST, NULL, NULL, NULL, "%s, writing every key again", message);
    HASH_ITER (hh, publisher->entries, entry, next)
        entry_move(publisher, entry, KEY_EXPIRED);
    session_move(publisher, SESSION_CLOSED, "");
    timer_arm(&publisher->session.retry, 0);
    publisher->handlers.lease_lost(publisher->userdata);
}

void session_answered(Publisher *publisher, uint64_t generation, StoreStatus status, const char *message)
{
    Session *session = &publisher->session;
    bool returned = session->state != SESSION_ONLINE;
    bool of_older_lease = generation != session->generation;

    if (!session_is_open(publisher))
        return; /* the answer of the opening decides */
    if (status == STORE_LEASE_LOST && !of_older_lease) {
        session_lose_keys(publisher, message);
        return;
    }
    if (status != STORE_OK && status != STORE_LEASE_LOST) {
        session_fail(publisher, status, message);
        return;
    }
    session->answered_us = clock_us(CLOCK_BOOTTIME);
    /* After an outage, the answered question may have been a write, which renews no lease. */
    if (returned && session->answered_us - session->renewed_us >= heartbeat_us(publisher))
        session_beat(publisher);
    if (session->writes_failing && !TAILQ_EMPTY(&publisher->pending)) {
        schedule_retry(publisher);
        return;
    }
    session->writes_failing = false;
    backoff_reset(&session->backoff);
    session_move(publisher, SESSION_ONLINE, "");
    if (returned && session->beats_to_resync == 0)
        session->beats_to_resync = RETURN_RESYNC_BEATS;
    if (session->resync_wanted && session->beats_to_resync == 0)
        publisher_resync(publisher);
    if (returned)
        refresher_run(store_refresher(publisher->store));
    if (!TAILQ_EMPTY(&publisher->pending))
        publisher_wake(publisher);
}

bool session_outlived_keys(const Publisher *publisher)
{
    uint64_t silence_us = clock_us(CLOCK_BOOTTIME) - publisher->session.answered_us;

    return session_is_open(publisher) && !store_has_lease(publisher->store) &&
           silence_us > (uint64_t)publisher->config.ttl_s * 1000000;
}

/* Opening. */

static int compare_opened(Publisher *publisher, const StoreKey *keys, size_t n_keys)
{
    if (!store_has_lease(publisher->store))
        return 0;
    return entries_compare(publisher, keys, n_keys, ++publisher->clock, store_lease_changed(publisher->store));
}

static void on_opened(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    Publisher *publisher = userdata;
    Session *session = &publisher->session;

    if (status != STORE_OK) {
        session_fail(publisher, status, message);
        return;
    }
    session->answered_us = clock_us(CLOCK_BOOTTIME);
    session->renewed_us = session->open_us;
    session->refreshes_failing = false;
    if (compare_opened(publisher, keys, n_keys) < 0) {
        session_fail(publisher, STORE_UNREACHABLE, publisher_no_memory);
        return;
    }
    /* the opening was a resync as well */
    session->resync_wanted = session->resync_wanted && !store_has_lease(publisher->store);
    session->writes_failing = session->writes_failing && !TAILQ_EMPTY(&publisher->pending);
    if (session->writes_failing)
        session_move(publisher, SESSION_SILENT, session->why);
    else
        session_move(publisher, SESSION_ONLINE, "");
    batches_start_refreshing(publisher);
    if (!batches_write_next(publisher) && session->writes_failing)
        schedule_retry(publisher);
    publisher_wake(publisher);
    publisher_check_idle(publisher);
}

static void session_open(Publisher *publisher)
{
    session_move(publisher, SESSION_OPENING, "");
    publisher->session.open_us = clock_us(CLOCK_BOOTTIME);
    if (store_open(publisher->store, on_opened, publisher) < 0)
        on_opened(publisher, STORE_UNREACHABLE, publisher_no_memory, NULL, 0);
}

/* Sends one question, not all waiting calls. Its answer decides how to continue. */
static void on_retry(void *userdata)
{
    Publisher *publisher = userdata;
    Session *session = &publisher->session;

    if (session->state == SESSION_CLOSED) {
        session_open(publisher);
        return;
    }
    if (session->state != SESSION_SILENT && session->state != SESSION_REFUSED)
        return;
    session->refreshes_failing = false;
    if (publisher->n_writes > 0 || session->beat_us > 0)
        return; /* the answer to the call under way decides */
    if (session->state == SESSION_REFUSED) {
        session_open(publisher);
        return;
    }
    if (!batches_write_next(publisher)) {
        if (store_has_lease(publisher->store))
            session_beat(publisher);
        else if (!batches_refresh_next(publisher))
            session_open(publisher);
    }
    refresher_run(store_refresher(publisher->store));
}

/* Heartbeats. */

/* Agents that start or reload at the same moment send their heartbeats at different times. */
static uint64_t first_heartbeat_us(const Publisher *publisher)
{
    return jitter_us(heartbeat_us(publisher) / 2, 1);
}

static void on_heartbeat_done(void *userdata, StoreStatus status, const char *message)
{
    Publisher *publisher = userdata;
    Session *session = &publisher->session;

    if (status == STORE_OK) {
        session->answered_us = clock_us(CLOCK_BOOTTIME);
        if (session->renewed_us < session->beat_us)
            session->renewed_us = session->beat_us;
    }
    session->beat_us = 0;
    session_answered(publisher, session->beat_generation, status, message);
}

static void session_beat(Publisher *publisher)
{
    Session *session = &publisher->session;

    if (session->beat_us > 0 || !store_has_lease(publisher->store) || publisher->config.dry_run)
        return;
    session->beat_us = clock_us(CLOCK_BOOTTIME);
    session->beat_generation = session->generation;
    if (store_heartbeat(publisher->store, on_heartbeat_done, publisher) < 0)
        on_heartbeat_done(publisher, STORE_UNREACHABLE, publisher_no_memory);
}

static void on_heartbeat(void *userdata)
{
    Publisher *publisher = userdata;
    Session *session = &publisher->session;

    timer_arm(&session->heartbeat, heartbeat_us(publisher));
    if (session_is_open(publisher)) {
        publisher->handlers.heartbeat(publisher->userdata);
        entries_due(publisher, ENTRY_CONFLICT, false);
        entries_due(publisher, ENTRY_REJECTED, true);
        if (session->beats_to_resync > 0 && --session->beats_to_resync == 0)
            publisher_resync(publisher);
    }
    /* Also sends the heartbeat while the store is opened again, which may take longer than the rest of the TTL. */
    session_beat(publisher);
}

/* Resync. */

static void on_resynced(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    Publisher *publisher = userdata;
    Session *session = &publisher->session;
    uint64_t since = session->resync_since;
    bool usable = status == STORE_OK && session->resync_generation == session->generation;

    session->resync_since = 0;
    session->resync_wanted = !usable;
    if (usable && entries_compare(publisher, keys, n_keys, since, false) < 0) {
        session->resync_wanted = true;
        status = STORE_UNREACHABLE;
        message = publisher_no_memory;
    }
    session_answered(publisher, session->resync_generation, status, message);
    publisher_check_idle(publisher);
}

/* Returns the known mod revision of our key, so that the resync reads only the values of other keys. */
static uint64_t on_known(void *userdata, const char *key)
{
    const PublisherEntry *entry = entry_find(userdata, key);

    return entry && entry->published ? entry->known : 0;
}

void publisher_resync(Publisher *publisher)
{
    Session *session = &publisher->session;

    session->resync_wanted = true;
    if (session->state != SESSION_ONLINE || session->resync_since > 0)
        return;
    session->resync_wanted = false;
    session->beats_to_resync = 0;
    entries_due(publisher, ENTRY_REJECTED, false);
    if (!store_has_lease(publisher->store))
        return; /* v2: each refresh is a resync of its key */
    session->resync_since = ++publisher->clock;
    session->resync_generation = session->generation;
    if (store_resync(publisher->store, on_known, on_resynced, publisher) < 0)
        on_resynced(publisher, STORE_UNREACHABLE, publisher_no_memory, NULL, 0);
}

/* Life. */

int session_begin(Publisher *publisher)
{
    Session *session = &publisher->session;
    int r;

    session->backoff = (Backoff){ .base_ms = 100, .cap_ms = RETRY_CAP_MS };
    session->why = strdup("");
    if (!session->why)
        return -ENOMEM;
    r = timer_add(publisher->event, &session->retry, CLOCK_MONOTONIC, 1, on_retry, publisher);
    if (r >= 0)
        r = timer_add(publisher->event, &session->heartbeat, CLOCK_BOOTTIME, 0, on_heartbeat, publisher);
    if (r < 0)
        return r;
    timer_arm(&session->retry, 0);
    timer_arm(&session->heartbeat, first_heartbeat_us(publisher));
    return 0;
}

void session_end(Publisher *publisher)
{
    timer_clear(&publisher->session.retry);
    timer_clear(&publisher->session.heartbeat);
    free(publisher->session.why);
}

void session_set_heartbeat(Publisher *publisher)
{
    timer_arm(&publisher->session.heartbeat, first_heartbeat_us(publisher));
    if (session_is_open(publisher))
        batches_start_refreshing(publisher);
}

void session_restart(Publisher *publisher)
{
    Session *session = &publisher->session;

    session->beat_us = session->resync_since = 0;
    session->writes_failing = session->refreshes_failing = false;
    session->generation++;
    session_move(publisher, SESSION_CLOSED, "");
    timer_arm(&publisher->session.retry, 0);
}

uint64_t publisher_heartbeat_age_us(const Publisher *publisher)
{
    const Session *session = &publisher->session;
    uint64_t since = store_has_lease(publisher->store) ? session->renewed_us : session->answered_us;

    return since > 0 ? clock_us(CLOCK_BOOTTIME) - since : UINT64_MAX;
}

const char *publisher_why(const Publisher *publisher)
{
    return publisher->session.why;
}
