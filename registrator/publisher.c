#include "publisher_private.h"

#include "log.h"
#include "text.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
    /* A cluster that comes back is to have every key again within two seconds. */
    RETRY_CAP_MS = 1500,
    /* All agents come back within that time, and etcd has enough to do then. What can wait, the audit, goes with the
     * second heartbeat after it, which each agent has at another time. */
    RETURN_AUDIT_BEATS = 2,
    /* v2: refreshes in flight; the store can have twice as many, so that a change always finds room. */
    REFRESHES_AT_ONCE = 4,
};

/* One store_apply() under way. */
struct Batch {
    Publisher *publisher;
    size_t n;
    bool doubtful; /* what it has written went with a lease that ended meanwhile */
    PublisherEntry *entries[STORE_BATCH_MAX];
    char *attempted[STORE_BATCH_MAX]; /* of unknown outcome, from before this batch */
    StoreOp ops[STORE_BATCH_MAX];
    LIST_ENTRY(Batch) link;
};

static const char no_memory[] = "out of memory, trying again";

static void publisher_answered(Publisher *publisher, StoreStatus status, const char *message);
static void publisher_fail(Publisher *publisher, StoreStatus status, const char *message);
static void publisher_lost(Publisher *publisher);
static void refresh_some(Publisher *publisher);
static void refresh_overdue(Publisher *publisher);

/* Is the key that takes this one's place still on its way? */
static bool waits_for_successor(const Publisher *publisher, const PublisherEntry *entry)
{
    const PublisherEntry *after = !entry->wanted && entry->after ? entry_find(publisher, entry->after) : NULL;

    return after && after->wanted && (after->state == ENTRY_PENDING || after->state == ENTRY_BUSY);
}

/* Batches. */

static Batch *batch_free(Batch *batch)
{
    if (!batch)
        return NULL;
    for (size_t i = 0; i < batch->n; i++) {
        free(batch->attempted[i]);
        free(batch->ops[i].holder);
    }
    free(batch);
    return NULL;
}
DEFINE_CLEANUP(Batch, batch_free)

static StoreVerb verb_for(const Publisher *publisher, const PublisherEntry *entry)
{
    if (publisher->config.dry_run)
        return STORE_PEEK;
    if (!entry->wanted || entry->rejected)
        return STORE_REMOVE;
    return entry->replace ? STORE_REPLACE : STORE_ENSURE;
}

/* The operation's strings are the entry's own: a busy entry's key, published and attempted stay as they are. */
static int batch_add(Batch *batch, PublisherEntry *entry, StoreVerb verb)
{
    StoreOp *op = &batch->ops[batch->n];

    *op = (StoreOp){ .verb = verb, .key = entry->key, .previous = entry->published };
    if (verb == STORE_REFRESH) {
        op->value = entry->published;
    } else if (verb == STORE_REMOVE) {
        op->attempted = entry->attempted;
    } else if (entry->wanted) {
        char *value = strdup(entry->wanted);

        if (!value)
            return -ENOMEM;
        batch->attempted[batch->n] = entry->attempted;
        op->attempted = entry->attempted;
        op->revision = entry->revision;
        entry->attempted = value;
        op->value = value;
    }
    batch->entries[batch->n++] = entry;
    return 0;
}

static void publisher_check_idle(Publisher *publisher)
{
    if (publisher_is_idle(publisher))
        publisher->handlers.idle(publisher->userdata);
}

/* v2 has no lease that could say that everything is gone: an answer after a silence longer than the TTL says so,
 * but that of a refresh that finds its key. */
static bool means_all_lost(const Publisher *publisher, const Batch *batch)
{
    uint64_t silence_us = publisher_now_us() - publisher->last_ok_us;
    bool opened = publisher->state == PUBLISHER_ONLINE || publisher->state == PUBLISHER_DEGRADED;

    if (!opened || !publisher_uses_refresh(publisher) || silence_us <= (uint64_t)publisher->config.ttl_s * 1000000)
        return false;
    /* Without a key that is refreshed, silence is nothing special. */
    return batch->ops[0].verb == STORE_REFRESH ? batch->ops[0].outcome == STORE_OP_LOST : publisher->n_settled > 0;
}

static void on_applied(void *userdata, StoreStatus status, const char *message)
{
    CLEANUP(batch_free_p) Batch *batch = userdata;
    Publisher *publisher = batch->publisher;
    bool all_lost = status == STORE_OK && means_all_lost(publisher, batch);
    bool refresh = batch->ops[0].verb == STORE_REFRESH;
    bool unclear = false;

    LIST_REMOVE(batch, link);
    publisher->n_batches--;
    publisher->n_refreshes -= refresh;
    for (size_t i = 0; i < batch->n; i++) {
        unclear |= batch->ops[i].outcome == STORE_OP_FAILED;
        if (batch->doubtful)
            batch->ops[i].outcome = STORE_OP_FAILED;
        entry_finish(publisher, batch->entries[i], &batch->ops[i], &batch->attempted[i]);
    }
    if (status == STORE_OK && unclear) {
        /* Tried again like anything that failed: after a while. */
        status = STORE_UNREACHABLE;
        message = "etcd's answer does not say what became of a key, asking again";
    }
    *(refresh ? &publisher->refreshes_failing : &publisher->writes_failing) =
        status == STORE_UNREACHABLE || status == STORE_REFUSED;
    if (all_lost)
        publisher_lost(publisher);
    else
        publisher_answered(publisher, status, message);
    if (refresh)
        refresh_some(publisher);
    publisher_check_idle(publisher);
}

/* Takes the batch. */
static void publisher_apply(Publisher *publisher, Batch *batch)
{
    batch->publisher = publisher;
    LIST_INSERT_HEAD(&publisher->batches, batch, link);
    publisher->n_batches++;
    publisher->n_refreshes += batch->ops[0].verb == STORE_REFRESH;
    if (store_apply(publisher->store, batch->ops, batch->n, on_applied, batch) < 0)
        on_applied(batch, STORE_UNREACHABLE, no_memory);
}

/* *ret: NULL if there is nothing to write. -ENOMEM. */
static int batch_new_pending(Publisher *publisher, Batch **ret)
{
    CLEANUP(batch_free_p) Batch *batch = calloc(1, sizeof(*batch));
    size_t max = store_batch_max(publisher->store);
    PublisherEntry *entry;

    if (!batch)
        return -ENOMEM;
    TAILQ_FOREACH (entry, &publisher->pending, queue) {
        if (batch->n == max)
            break;
        if (waits_for_successor(publisher, entry))
            continue;
        StoreVerb verb = verb_for(publisher, entry);
        /* A full etcd lets go of keys, but not in a transaction that puts one, too. */
        if (publisher->writes_failing && batch->n > 0 && (verb == STORE_REMOVE) != (batch->ops[0].verb == STORE_REMOVE))
            continue;
        if (batch_add(batch, entry, verb) < 0 && batch->n == 0)
            return -ENOMEM;
    }
    for (size_t i = 0; i < batch->n; i++)
        entry_set_state(publisher, batch->entries[i], ENTRY_BUSY);
    *ret = batch->n > 0 ? TAKE_PTR(batch) : NULL;
    return 0;
}

/* False: nothing to write, or not now. */
static bool publisher_flush_one(Publisher *publisher)
{
    Batch *batch;

    if (publisher->held || TAILQ_EMPTY(&publisher->pending) ||
        publisher->n_batches >= store_concurrency(publisher->store))
        return false;
    if (batch_new_pending(publisher, &batch) < 0) {
        publisher_fail(publisher, STORE_UNREACHABLE, no_memory);
        return false;
    }
    if (batch)
        publisher_apply(publisher, batch);
    return batch;
}

static int on_flush(sd_event_source *source, void *userdata)
{
    Publisher *publisher = userdata;

    (void)source;
    while (publisher->state == PUBLISHER_ONLINE && publisher_flush_one(publisher))
        ;
    return 0;
}

/* What etcd has under our lease: at the opening, and at each audit. */

/* Takes over what etcd has: keys is all that was ours there at the publisher's clock `since`. -ENOMEM: not all of it
 * was taken over. */
static int publisher_compare(Publisher *publisher, const StoreKey *keys, size_t n_keys, uint64_t since)
{
    uint64_t now = ++publisher->clock;
    PublisherEntry *entry, *next;
    int r = 0;

    for (size_t i = 0; i < n_keys; i++)
        if (entry_found(publisher, &keys[i], since, now) < 0)
            r = -ENOMEM;
    HASH_ITER (hh, publisher->entries, entry, next)
        if (entry->seen != now && entry->touched <= since && !entry_is_busy(entry))
            entry_missing(publisher, entry);
    return r;
}

static bool on_is_known(void *userdata, const char *key)
{
    const PublisherEntry *entry = entry_find(userdata, key);

    return entry && !entry->doubted && (entry->published || entry_is_busy(entry));
}

static void on_audited(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    Publisher *publisher = userdata;
    uint64_t since = publisher->audit_begin;
    bool use = status == STORE_OK && !publisher->audit_doubtful;

    publisher->audit_begin = 0;
    publisher->audit_doubtful = false;
    publisher->audit_wanted = !use;
    if (use && publisher_compare(publisher, keys, n_keys, since) < 0) {
        publisher->audit_wanted = true;
        status = STORE_UNREACHABLE;
        message = no_memory;
    }
    publisher_answered(publisher, status, message);
    publisher_check_idle(publisher);
}

static void retry_all(Publisher *publisher, EntryState state)
{
    PublisherEntry *entry, *next;

    HASH_ITER (hh, publisher->entries, entry, next) {
        if (entry->state != state)
            continue;
        entry->rejected = false;
        entry_set_state(publisher, entry, ENTRY_PENDING);
    }
}

void publisher_audit(Publisher *publisher)
{
    publisher->audit_wanted = true;
    if (publisher->state != PUBLISHER_ONLINE || publisher->audit_begin > 0)
        return;
    publisher->audit_wanted = false;
    publisher->audit_beats = 0;
    /* A permission may have been granted meanwhile. */
    retry_all(publisher, ENTRY_REJECTED);
    if (!store_has_lease(publisher->store))
        return; /* v2: every refresh is an audit of its key */
    publisher->audit_begin = ++publisher->clock;
    if (store_audit(publisher->store, on_is_known, on_audited, publisher) < 0)
        on_audited(publisher, STORE_UNREACHABLE, no_memory, NULL, 0);
}

/* Heartbeats. */

static void on_heartbeat_done(void *userdata, StoreStatus status, const char *message)
{
    Publisher *publisher = userdata;
    bool doubtful = publisher->beat_doubtful;

    publisher->beating = publisher->beat_doubtful = false;
    if (status == STORE_OK) {
        publisher->last_ok_us = publisher_now_us();
        publisher->renewed_us = publisher->beat_us;
    }
    if (!doubtful || status != STORE_LEASE_LOST)
        publisher_answered(publisher, status, message);
}

static void publisher_beat(Publisher *publisher)
{
    if (publisher->beating || store_lease(publisher->store) == 0 || publisher->config.dry_run)
        return;
    publisher->beating = true;
    publisher->beat_us = publisher_now_us();
    if (store_heartbeat(publisher->store, on_heartbeat_done, publisher) < 0)
        on_heartbeat_done(publisher, STORE_UNREACHABLE, no_memory);
}

static int on_heartbeat(sd_event_source *source, uint64_t usec, void *userdata)
{
    Publisher *publisher = userdata;

    (void)usec;
    (void)sd_event_source_set_time_relative(source, (uint64_t)publisher->config.heartbeat_s * 1000000);
    (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    if (publisher->state == PUBLISHER_ONLINE || publisher->state == PUBLISHER_DEGRADED) {
        publisher->handlers.heartbeat(publisher->userdata);
        retry_all(publisher, ENTRY_HELD);
        bool due = publisher->audit_beats > 0 && --publisher->audit_beats == 0;
        if (due || publisher_now_us() < publisher->late_until_us)
            publisher_audit(publisher);
    }
    /* Also while it is opened anew, which may take longer than the lease has left. */
    publisher_beat(publisher);
    return 0;
}

/* v2: each key is refreshed by itself. */

static uint64_t heartbeat_us(const Publisher *publisher)
{
    return (uint64_t)publisher->config.heartbeat_s * 1000000;
}

/* Of agents that were started, or told to read their settings, at the same moment, each is to beat at another one. */
static uint64_t first_heartbeat_us(const Publisher *publisher)
{
    return jitter_us(heartbeat_us(publisher) / 2, 1);
}

static void refresh_schedule(Publisher *publisher)
{
    (void)sd_event_source_set_time_relative(publisher->refresh,
                                            refresh_pace_wait_us(publisher->n_settled, heartbeat_us(publisher)));
    (void)sd_event_source_set_enabled(publisher->refresh,
                                      publisher_uses_refresh(publisher) ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* False: there is none. */
static bool refresh_one(Publisher *publisher)
{
    PublisherEntry *entry = TAILQ_FIRST(&publisher->refreshes);
    CLEANUP(batch_free_p) Batch *batch = calloc(1, sizeof(*batch));

    if (!entry || entry->refreshing || !batch || batch_add(batch, entry, STORE_REFRESH) < 0)
        return false;
    entry_set_state(publisher, entry, ENTRY_SETTLED); /* behind all others */
    entry->refreshing = true;
    publisher_apply(publisher, TAKE_PTR(batch));
    return true;
}

/* What is due, a few at once: each answer sends the next. A write that fails for ever keeps no key from being
 * refreshed. */
static void refresh_some(Publisher *publisher)
{
    bool may = publisher->state == PUBLISHER_ONLINE ||
               (publisher->state == PUBLISHER_DEGRADED && publisher->writes_failing && !publisher->refreshes_failing);

    if (!may || publisher->config.dry_run || !publisher_uses_refresh(publisher))
        return;
    while (publisher->pace.due >= 1 && publisher->n_refreshes < REFRESHES_AT_ONCE) {
        publisher->pace.due--;
        if (!refresh_one(publisher))
            break;
    }
}

/* After an outage the keys have less time left than to the next tick. */
static void refresh_overdue(Publisher *publisher)
{
    refresh_pace_count(&publisher->pace, publisher->n_settled, heartbeat_us(publisher), publisher_now_us());
    refresh_some(publisher);
}

static int on_refresh(sd_event_source *source, uint64_t usec, void *userdata)
{
    Publisher *publisher = userdata;

    (void)source;
    (void)usec;
    refresh_overdue(publisher);
    refresh_schedule(publisher);
    return 0;
}

/* States of the whole. */

static void publisher_set_state(Publisher *publisher, PublisherState state, const char *why)
{
    bool news = state != publisher->state || !text_same(why, publisher->why);
    char *copy;

    publisher->state = state;
    if (!news)
        return;
    if (text_copy(&copy, why) == 0) { /* without memory it is told now, and noted with the next answer */
        free(publisher->why);
        publisher->why = copy;
    }
    publisher->handlers.state_changed(publisher->userdata, state, why);
}

static void publisher_retry_later(Publisher *publisher)
{
    /* Not put off again and again by what goes well meanwhile. */
    if (sd_event_source_get_enabled(publisher->retry, NULL) > 0)
        return;
    (void)sd_event_source_set_time_relative(publisher->retry, backoff_next_us(&publisher->backoff));
    (void)sd_event_source_set_enabled(publisher->retry, SD_EVENT_ONESHOT);
}

/* The lease may well be alive, and with it the keys: what failed is tried again. */
static void publisher_fail(Publisher *publisher, StoreStatus status, const char *message)
{
    bool opened = publisher->state == PUBLISHER_ONLINE || publisher->state == PUBLISHER_DEGRADED;

    publisher->counters.failures++;
    publisher->refused = status == STORE_REFUSED;
    publisher_set_state(publisher, opened ? PUBLISHER_DEGRADED : PUBLISHER_CLOSED, message);
    publisher_retry_later(publisher);
}

static void publisher_lost(Publisher *publisher)
{
    PublisherEntry *entry, *next;
    Batch *batch;

    publisher->counters.lease_losses++;
    log_write(LOG_WARNING, 0, LOG_EVENT_LEASE_LOST, NULL, NULL, NULL,
              "The keys' time to live of %u s ended in etcd (was this agent, or etcd, away for longer?), "
              "writing every key again%s",
              publisher->config.ttl_s, publisher_where(publisher));
    HASH_ITER (hh, publisher->entries, entry, next)
        if (entry->state == ENTRY_SETTLED && !entry->refreshing)
            entry_set_state(publisher, entry, ENTRY_PENDING);
    LIST_FOREACH (batch, &publisher->batches, link)
        batch->doubtful = store_has_lease(publisher->store);
    publisher->audit_doubtful = publisher->audit_begin > 0;
    publisher_set_state(publisher, PUBLISHER_CLOSED, "");
    (void)sd_event_source_set_time_relative(publisher->retry, 0);
    (void)sd_event_source_set_enabled(publisher->retry, SD_EVENT_ONESHOT);
    publisher->handlers.lease_lost(publisher->userdata);
}

/* Every call's end comes through here, but the opening's. */
static void publisher_answered(Publisher *publisher, StoreStatus status, const char *message)
{
    bool returned = publisher->state == PUBLISHER_DEGRADED;

    if (publisher->state == PUBLISHER_CLOSED || publisher->state == PUBLISHER_OPENING)
        return; /* a late answer; the opening decides */
    if (status == STORE_LEASE_LOST) {
        publisher_lost(publisher);
        return;
    }
    if (status != STORE_OK) {
        publisher_fail(publisher, status, message);
        return;
    }
    publisher->last_ok_us = publisher_now_us();
    if (publisher->writes_failing && !TAILQ_EMPTY(&publisher->pending)) {
        publisher_retry_later(publisher);
        return;
    }
    publisher->writes_failing = false;
    backoff_reset(&publisher->backoff);
    publisher_set_state(publisher, PUBLISHER_ONLINE, "");
    if (returned && publisher->audit_beats == 0)
        publisher->audit_beats = RETURN_AUDIT_BEATS;
    if (publisher->audit_wanted && publisher->audit_beats == 0)
        publisher_audit(publisher);
    if (returned)
        refresh_overdue(publisher);
    if (!TAILQ_EMPTY(&publisher->pending))
        publisher_wake(publisher);
}

static void on_opened(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    Publisher *publisher = userdata;

    if (status != STORE_OK) {
        publisher_fail(publisher, status == STORE_LEASE_LOST ? STORE_UNREACHABLE : status, message);
        return;
    }
    publisher->last_ok_us = publisher_now_us();
    publisher->renewed_us = publisher->open_us;
    publisher->refused = publisher->refreshes_failing = false;
    if (store_has_lease(publisher->store) && publisher_compare(publisher, keys, n_keys, ++publisher->clock) < 0) {
        publisher_fail(publisher, STORE_UNREACHABLE, no_memory);
        return;
    }
    if (store_has_lease(publisher->store))
        publisher->audit_wanted = false; /* this was one */
    publisher->writes_failing = publisher->writes_failing && !TAILQ_EMPTY(&publisher->pending);
    if (publisher->writes_failing)
        publisher->state = PUBLISHER_DEGRADED;
    else
        publisher_set_state(publisher, PUBLISHER_ONLINE, "");
    refresh_schedule(publisher);
    refresh_overdue(publisher);
    if (!publisher_flush_one(publisher) && publisher->writes_failing)
        publisher_retry_later(publisher);
    publisher_wake(publisher);
    publisher_check_idle(publisher);
}

static void publisher_open(Publisher *publisher)
{
    publisher->state = PUBLISHER_OPENING;
    publisher->open_us = publisher_now_us();
    publisher->beat_doubtful = publisher->beating;
    if (store_open(publisher->store, on_opened, publisher) < 0)
        on_opened(publisher, STORE_UNREACHABLE, no_memory, NULL, 0);
}

/* One question, not all that waits at once: its answer says how to go on. */
static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    Publisher *publisher = userdata;

    (void)source;
    (void)usec;
    if (publisher->state == PUBLISHER_CLOSED) {
        publisher_open(publisher);
        return 0;
    }
    if (publisher->state != PUBLISHER_DEGRADED)
        return 0;
    publisher->refreshes_failing = false;
    if (publisher->n_batches > publisher->n_refreshes || publisher->beating)
        return 0; /* the answer to what is under way will do */
    if (publisher->refused) {
        publisher_open(publisher);
    } else if (!publisher_flush_one(publisher)) {
        if (store_has_lease(publisher->store))
            publisher_beat(publisher);
        else if (!refresh_one(publisher))
            publisher_open(publisher);
    }
    refresh_some(publisher);
    return 0;
}

void publisher_hold(Publisher *publisher)
{
    publisher->held = true;
}

void publisher_release(Publisher *publisher)
{
    publisher->held = false;
    publisher_wake(publisher);
    publisher_check_idle(publisher);
}

/* Life. */

static int publisher_add_sources(Publisher *publisher)
{
    int r;

    r = sd_event_add_time_relative(publisher->event, &publisher->retry, CLOCK_MONOTONIC, 0, 1, on_retry, publisher);
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(publisher->event, &publisher->heartbeat, CLOCK_BOOTTIME,
                                   first_heartbeat_us(publisher), 0, on_heartbeat, publisher);
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(publisher->event, &publisher->refresh, CLOCK_BOOTTIME, 0, 10000, on_refresh,
                                   publisher);
    if (r < 0)
        return r;
    r = sd_event_source_set_enabled(publisher->refresh, SD_EVENT_OFF);
    if (r < 0)
        return r;
    r = sd_event_add_defer(publisher->event, &publisher->flush, on_flush, publisher);
    if (r < 0)
        return r;
    /* After what has arrived meanwhile, so that a burst becomes one batch. */
    r = sd_event_source_set_priority(publisher->flush, SD_EVENT_PRIORITY_NORMAL + 10);
    if (r < 0)
        return r;
    return sd_event_source_set_enabled(publisher->flush, SD_EVENT_OFF);
}

int publisher_new(Publisher **ret, sd_event *event, Store *store, const PublisherConfig *config,
                  const PublisherHandlers *handlers, void *userdata)
{
    CLEANUP(publisher_free_p) Publisher *publisher = calloc(1, sizeof(*publisher));
    int r;

    if (!publisher)
        return -ENOMEM;
    publisher->event = sd_event_ref(event);
    publisher->config = *config;
    publisher->handlers = *handlers;
    publisher->userdata = userdata;
    publisher->held = publisher->keep_orphans = true;
    publisher->backoff = (Backoff){ .base_ms = 100, .cap_ms = RETRY_CAP_MS };
    TAILQ_INIT(&publisher->pending);
    TAILQ_INIT(&publisher->refreshes);
    LIST_INIT(&publisher->batches);
    publisher->why = strdup("");
    if (!publisher->why)
        return -ENOMEM;
    r = publisher_add_sources(publisher);
    if (r < 0)
        return r;
    publisher->store = store;
    *ret = TAKE_PTR(publisher);
    return 0;
}

/* Ends what is under way: whether it happened is unknown. */
static void publisher_drop_batches(Publisher *publisher)
{
    Batch *batch;

    while ((batch = LIST_FIRST(&publisher->batches))) {
        LIST_REMOVE(batch, link);
        for (size_t i = 0; i < batch->n; i++)
            entry_finish(publisher, batch->entries[i], &(StoreOp){ .verb = batch->ops[i].verb }, NULL);
        batch_free(batch);
    }
    publisher->n_batches = publisher->n_refreshes = 0;
}

Publisher *publisher_free(Publisher *publisher)
{
    PublisherEntry *entry, *next;

    if (!publisher)
        return NULL;
    store_free(publisher->store);
    publisher_drop_batches(publisher);
    HASH_ITER (hh, publisher->entries, entry, next)
        entry_remove(publisher, entry);
    sd_event_source_disable_unref(publisher->retry);
    sd_event_source_disable_unref(publisher->heartbeat);
    sd_event_source_disable_unref(publisher->refresh);
    sd_event_source_disable_unref(publisher->flush);
    sd_event_unref(publisher->event);
    free(publisher->why);
    free(publisher);
    return NULL;
}

void publisher_reconfigure(Publisher *publisher, Store *store, const PublisherConfig *config)
{
    PublisherEntry *entry, *next;

    publisher->config = *config;
    (void)sd_event_source_set_time_relative(publisher->heartbeat, first_heartbeat_us(publisher));
    if (!store)
        return;
    store_free(publisher->store);
    publisher->store = store;
    publisher_drop_batches(publisher);
    publisher->beating = publisher->beat_doubtful = false;
    publisher->writes_failing = publisher->refreshes_failing = publisher->refused = false;
    publisher->audit_begin = 0;
    publisher->audit_doubtful = false;
    HASH_ITER (hh, publisher->entries, entry, next) {
        entry->revision = 0; /* the other cluster's */
        entry->rejected = false;
        if (entry->state != ENTRY_IDLE)
            entry_set_state(publisher, entry, ENTRY_PENDING);
    }
    publisher_set_state(publisher, PUBLISHER_CLOSED, "");
    (void)sd_event_source_set_time_relative(publisher->retry, 0);
    (void)sd_event_source_set_enabled(publisher->retry, SD_EVENT_ONESHOT);
}

/* Looking. */

int publisher_add_to_look(const Publisher *publisher, Look *look)
{
    int r = 0;

    for (const PublisherEntry *entry = publisher->entries; entry && r >= 0; entry = entry->hh.next) {
        const char *value = entry->wanted ? entry->wanted : entry->published;

        r = value ? look_add(look, entry->key, value) : 0;
    }
    return r;
}

PublisherState publisher_state(const Publisher *publisher)
{
    return publisher->state;
}

bool publisher_is_idle(const Publisher *publisher)
{
    return TAILQ_EMPTY(&publisher->pending) && publisher->n_batches == publisher->n_refreshes;
}

const PublisherEntry *publisher_find(const Publisher *publisher, const char *key)
{
    return entry_find(publisher, key);
}

bool publisher_owns(const Publisher *publisher, const char *owner_id)
{
    for (const PublisherEntry *entry = publisher->entries; entry; entry = entry->hh.next) {
        bool maybe_there = entry->published || entry->attempted || entry->state == ENTRY_BUSY;

        if (maybe_there && text_same(entry->owner_id, owner_id))
            return true;
    }
    return false;
}

size_t publisher_settled(const Publisher *publisher)
{
    return publisher->n_settled;
}

const PublisherCounters *publisher_counters(const Publisher *publisher)
{
    return &publisher->counters;
}

uint64_t publisher_heartbeat_age_us(const Publisher *publisher)
{
    uint64_t since = store_has_lease(publisher->store) ? publisher->renewed_us : publisher->last_ok_us;

    return since > 0 ? publisher_now_us() - since : UINT64_MAX;
}

bool publisher_has_heartbeat(const Publisher *publisher)
{
    return store_has_lease(publisher->store) || publisher->n_settled > 0;
}

bool publisher_has_lease(const Publisher *publisher)
{
    return store_has_lease(publisher->store);
}

const char *publisher_why(const Publisher *publisher)
{
    return publisher->why;
}

Store *publisher_store(Publisher *publisher)
{
    return publisher->store;
}
