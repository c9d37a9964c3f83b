#include "publisher.h"

#include "backoff.h"
#include "log.h"

#include <assert.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <time.h>

TAILQ_HEAD(EntryQueue, PublisherEntry);

enum {
    /* A cluster that comes back is to have every key again within two seconds. */
    RETRY_CAP_MS = 1500,
    /* v2: refreshes go out in groups when there are more than one in 10 ms. */
    REFRESH_TICK_MIN_US = 10000,
    /* v2: however few the keys are; when many come, no more than a second's share of them are due at once. */
    REFRESH_TICK_MAX_US = 1000000,
    /* v2: refreshes in flight; the store can have twice as many, so that a change always finds room. */
    REFRESHES_AT_ONCE = 4,
};

/* One store_apply() under way. */
typedef struct Batch {
    Publisher *publisher;
    size_t n;
    bool doubtful; /* what it has written went with a lease that ended meanwhile */
    PublisherEntry *entries[STORE_BATCH_MAX];
    char *attempted[STORE_BATCH_MAX]; /* of unknown outcome, from before this batch */
    StoreOp ops[STORE_BATCH_MAX];
    LIST_ENTRY(Batch) link;
} Batch;

struct Publisher {
    sd_event *event;
    Store *store;
    PublisherConfig config;
    PublisherHandlers handlers;
    void *userdata;

    PublisherState state;
    char *why;
    PublisherEntry *entries;
    struct EntryQueue pending, refreshes;
    size_t n_settled;
    LIST_HEAD(, Batch) batches;
    unsigned n_batches, n_refreshes;
    uint64_t clock; /* counts changes and questions: which came first */
    uint64_t audit_begin; /* the clock when the audit under way was asked for; 0: none is */
    bool audit_doubtful; /* its lease ended meanwhile */
    bool held, keep_orphans, beating, audit_wanted;
    bool writes_failing; /* heartbeats may go well while writes do not: etcd full, or without permission */
    bool refreshes_failing; /* v2: since the last try */
    double refresh_due; /* v2: refreshes that are due and not under way */
    uint64_t refresh_counted_us; /* v2: CLOCK_BOOTTIME up to which they are counted */
    bool refused; /* the last failure was an answer: ask anew which API and lease there are before going on */
    uint64_t last_ok_us; /* CLOCK_BOOTTIME; 0: never */
    Backoff backoff;
    sd_event_source *retry, *heartbeat, *refresh, *flush;
    PublisherCounters counters;
};

static void publisher_answered(Publisher *publisher, StoreStatus status, const char *message);
static void publisher_lost(Publisher *publisher);
static void refresh_some(Publisher *publisher);
static void refresh_overdue(Publisher *publisher);

/* A TTL runs on while the machine is suspended, so its clock is the one that does too. */
static uint64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool uses_refresh(const Publisher *publisher)
{
    return !store_has_lease(publisher->store);
}

/* Entries. */

static void wake(Publisher *publisher)
{
    (void)sd_event_source_set_enabled(publisher->flush, SD_EVENT_ONESHOT);
}

/* The one place where an entry changes its state, and with it its queue. */
static void entry_set_state(Publisher *publisher, PublisherEntry *entry, EntryState state)
{
    if (entry->state == ENTRY_PENDING)
        TAILQ_REMOVE(&publisher->pending, entry, queue);
    if (entry->state == ENTRY_SETTLED) {
        TAILQ_REMOVE(&publisher->refreshes, entry, queue);
        publisher->n_settled--;
    }
    entry->state = state;
    if (state == ENTRY_PENDING) {
        TAILQ_INSERT_TAIL(&publisher->pending, entry, queue);
        wake(publisher);
    }
    if (state == ENTRY_SETTLED) {
        TAILQ_INSERT_TAIL(&publisher->refreshes, entry, queue);
        publisher->n_settled++;
    }
}

static PublisherEntry *entry_free(PublisherEntry *entry)
{
    if (!entry)
        return NULL;
    free(entry->key);
    free(entry->owner);
    free(entry->wanted);
    free(entry->published);
    free(entry->attempted);
    free(entry->holder);
    free(entry->after);
    free(entry);
    return NULL;
}
DEFINE_CLEANUP(PublisherEntry, entry_free)

static PublisherEntry *entry_add(Publisher *publisher, const char *key)
{
    CLEANUP(entry_free_p) PublisherEntry *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return NULL;
    entry->key = strdup(key);
    if (!entry->key)
        return NULL;
    HASH_ADD_KEYPTR(hh, publisher->entries, entry->key, strlen(entry->key), entry);
    return TAKE_PTR(entry);
}

static void entry_remove(Publisher *publisher, PublisherEntry *entry)
{
    entry_set_state(publisher, entry, ENTRY_IDLE); /* off every queue */
    HASH_DEL(publisher->entries, entry);
    entry_free(entry);
}

static PublisherEntry *find(const Publisher *publisher, const char *key)
{
    PublisherEntry *entry;

    HASH_FIND_STR(publisher->entries, key, entry);
    return entry;
}

/* What is to become of an entry that no operation is under way for. */
static void entry_decide(Publisher *publisher, PublisherEntry *entry)
{
    bool maybe_there = entry->published || entry->attempted;

    if (!entry->wanted && !maybe_there)
        entry_remove(publisher, entry);
    else if (entry->wanted && !entry->attempted && same(entry->wanted, entry->published))
        entry_set_state(publisher, entry, ENTRY_SETTLED);
    else
        entry_set_state(publisher, entry, ENTRY_PENDING);
}

static int replace_string(char **string, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        return -ENOMEM;
    free(*string);
    *string = copy;
    return 0;
}

int publisher_want(Publisher *publisher, const char *key, const char *value, const char *owner)
{
    PublisherEntry *entry = find(publisher, key);
    int r;

    if (!entry)
        entry = entry_add(publisher, key);
    if (!entry)
        return -ENOMEM;
    r = replace_string(&entry->wanted, value);
    if (r >= 0)
        r = replace_string(&entry->owner, owner);
    if (r >= 0) {
        free(entry->after);
        entry->after = NULL;
        entry->orphan = false;
        entry->touched = ++publisher->clock;
    }
    if (entry->state != ENTRY_BUSY)
        entry_decide(publisher, entry);
    return r;
}

void publisher_unwant(Publisher *publisher, const char *key, const char *after)
{
    PublisherEntry *entry = find(publisher, key);

    if (!entry)
        return;
    free(entry->wanted);
    entry->wanted = NULL;
    free(entry->after);
    entry->after = after ? strdup(after) : NULL; /* without memory the order is lost, not the deletion */
    entry->touched = ++publisher->clock;
    if (entry->state != ENTRY_BUSY)
        entry_decide(publisher, entry);
}

void publisher_drop_orphans(Publisher *publisher)
{
    PublisherEntry *entry, *next;

    publisher->keep_orphans = false;
    HASH_ITER (hh, publisher->entries, entry, next) {
        if (!entry->orphan)
            continue;
        entry->orphan = false;
        entry_decide(publisher, entry);
    }
}

/* Is the key that takes this one's place still on its way? */
static bool waits_for_successor(const Publisher *publisher, const PublisherEntry *entry)
{
    const PublisherEntry *after = !entry->wanted && entry->after ? find(publisher, entry->after) : NULL;

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
    if (!entry->wanted)
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

static void log_change(const PublisherEntry *entry, const StoreOp *op)
{
    const char *owner = entry->owner ? entry->owner : "";

    if (op->verb == STORE_REMOVE)
        log_write(LOG_INFO, 0, LOG_EVENT_WITHDRAWN, owner, NULL, entry->key, "Withdrawn: %s%s%s", entry->key,
                  entry->owner ? "" : ", left under our lease by an earlier run",
                  op->wrote ? "" : " (was gone already)");
    else if (op->wrote)
        log_write(LOG_INFO, 0, LOG_EVENT_REGISTERED, owner, NULL, entry->key, "Registered: %s = %s", entry->key,
                  op->value);
    else
        log_write(LOG_DEBUG, 0, LOG_EVENT_NONE, owner, NULL, entry->key, "Kept: %s = %s", entry->key, op->value);
}

static void entry_forget_ours(PublisherEntry *entry)
{
    free(entry->published);
    free(entry->attempted);
    entry->published = entry->attempted = NULL;
}

static void entry_drop_holder(PublisherEntry *entry)
{
    free(entry->holder);
    entry->holder = NULL;
    entry->replace = false;
}

static void entry_held(Publisher *publisher, PublisherEntry *entry, StoreOp *op)
{
    bool news = !same(entry->holder, op->holder);
    bool may_replace = publisher->config.replace && op->verb == STORE_ENSURE;

    entry_forget_ours(entry);
    free(entry->holder);
    entry->holder = op->holder;
    entry->revision = op->revision;
    op->holder = NULL;
    if (news) {
        publisher->counters.conflicts++;
        log_write(LOG_WARNING, 0, LOG_EVENT_CONFLICT, entry->owner, NULL, entry->key,
                  "Key %s is somebody else's, with value '%s', %s", entry->key, entry->holder ? entry->holder : "",
                  may_replace ? "replacing it (on_conflict is replace)" : "waiting until it goes");
    }
    entry->replace = may_replace;
    if (!entry->wanted)
        entry_decide(publisher, entry);
    else
        entry_set_state(publisher, entry, may_replace ? ENTRY_PENDING : ENTRY_HELD);
}

static void entry_planned(Publisher *publisher, PublisherEntry *entry, const StoreOp *op)
{
    const char *what = !entry->wanted                        ? "delete"
                       : op->outcome == STORE_OP_DONE        ? "keep"
                       : op->outcome != STORE_OP_HELD        ? "put"
                       : publisher->config.replace           ? "replace"
                                                             : "held";

    publisher->handlers.planned(publisher->userdata, what, entry->key, entry->wanted, op->holder);
    free(entry->attempted);
    entry->attempted = NULL;
    if (!entry->wanted)
        entry_forget_ours(entry);
    else
        (void)replace_string(&entry->published, entry->wanted);
}

static void entry_done(Publisher *publisher, PublisherEntry *entry, const StoreOp *op)
{
    if (op->verb == STORE_REFRESH)
        return;
    log_change(entry, op);
    publisher->counters.puts += op->wrote && op->verb != STORE_REMOVE;
    publisher->counters.deletes += op->wrote && op->verb == STORE_REMOVE;
    free(entry->published);
    entry->published = NULL;
    if (op->verb == STORE_REMOVE) {
        free(entry->attempted);
    } else {
        entry->published = entry->attempted;
        entry_drop_holder(entry);
    }
    entry->attempted = NULL;
}

static void entry_finish(Publisher *publisher, PublisherEntry *entry, StoreOp *op)
{
    entry_set_state(publisher, entry, ENTRY_IDLE);
    entry->touched = ++publisher->clock; /* also if it failed: an audit may have looked before it or after */
    if (op->verb == STORE_PEEK && op->outcome != STORE_OP_FAILED) {
        entry_planned(publisher, entry, op);
    } else if (op->outcome == STORE_OP_HELD) {
        entry_held(publisher, entry, op);
        return;
    } else if (op->outcome == STORE_OP_DONE || op->outcome == STORE_OP_CHANGED) {
        entry_done(publisher, entry, op);
    } else if (op->outcome == STORE_OP_LOST) {
        if (op->verb == STORE_REFRESH)
            publisher->counters.drift++;
        entry_forget_ours(entry);
    } else if (op->outcome == STORE_OP_REJECTED) {
        log_write(LOG_ERR, 0, LOG_EVENT_NONE, entry->owner, NULL, entry->key,
                  "etcd does not take key %s, leaving it out; change --key or --value", entry->key);
        entry_forget_ours(entry);
        if (entry->wanted) {
            entry_set_state(publisher, entry, ENTRY_REJECTED);
            return;
        }
    }
    entry_decide(publisher, entry);
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
    uint64_t silence_us = now_us() - publisher->last_ok_us;
    bool opened = publisher->state == PUBLISHER_ONLINE || publisher->state == PUBLISHER_DEGRADED;

    if (!opened || !uses_refresh(publisher) || silence_us <= (uint64_t)publisher->config.ttl_s * 1000000)
        return false;
    /* Without a key that is refreshed, silence is nothing special. */
    return batch->ops[0].verb == STORE_REFRESH ? batch->ops[0].outcome == STORE_OP_LOST
                                               : publisher->n_settled + publisher->n_refreshes > 0;
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
        entry_finish(publisher, batch->entries[i], &batch->ops[i]);
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
    for (size_t i = 0; i < batch->n; i++)
        entry_set_state(publisher, batch->entries[i], ENTRY_BUSY);
    batch->publisher = publisher;
    LIST_INSERT_HEAD(&publisher->batches, batch, link);
    publisher->n_batches++;
    publisher->n_refreshes += batch->ops[0].verb == STORE_REFRESH;
    store_apply(publisher->store, batch->ops, batch->n, on_applied, batch);
}

static Batch *batch_new_pending(Publisher *publisher)
{
    CLEANUP(batch_free_p) Batch *batch = calloc(1, sizeof(*batch));
    size_t max = store_batch_max(publisher->store);
    PublisherEntry *entry;

    if (!batch)
        return NULL;
    TAILQ_FOREACH (entry, &publisher->pending, queue) {
        if (batch->n == max)
            break;
        if (waits_for_successor(publisher, entry))
            continue;
        if (batch_add(batch, entry, verb_for(publisher, entry)) < 0)
            break;
    }
    return batch->n > 0 ? TAKE_PTR(batch) : NULL;
}

/* False: nothing to write, or not now. */
static bool publisher_flush_one(Publisher *publisher)
{
    Batch *batch;

    if (publisher->held || publisher->n_batches >= store_concurrency(publisher->store))
        return false;
    batch = batch_new_pending(publisher);
    if (!batch)
        return false;
    publisher_apply(publisher, batch);
    return true;
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

static void entry_found(Publisher *publisher, const StoreKey *key)
{
    PublisherEntry *entry = find(publisher, key->key);

    if (!entry)
        entry = entry_add(publisher, key->key);
    if (!entry)
        return; /* no memory: the next audit finds it again */
    if (entry->state == ENTRY_BUSY)
        return;
    /* An audit brings only the values that we did not know: what we know to be there has kept its value, since
     * nobody else writes under our lease. */
    if (key->value) {
        if (replace_string(&entry->published, key->value) < 0)
            return;
        free(entry->attempted);
        entry->attempted = NULL;
    }
    entry_drop_holder(entry);
    if (!entry->wanted && publisher->keep_orphans) {
        entry->orphan = true;
        entry_set_state(publisher, entry, ENTRY_IDLE);
    } else {
        entry_decide(publisher, entry);
    }
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const StoreKey *)a)->key, ((const StoreKey *)b)->key);
}

static bool is_among(const StoreKey *sorted, size_t n, const char *key)
{
    return n > 0 && bsearch(&(StoreKey){ .key = (char *)key }, sorted, n, sizeof(*sorted), compare_keys);
}

/* Takes over what etcd has: keys is all that was ours there at the publisher's clock `since`. */
static void publisher_compare(Publisher *publisher, const StoreKey *keys, size_t n_keys, uint64_t since)
{
    CLEANUP_FREE StoreKey *sorted = n_keys > 0 ? malloc(n_keys * sizeof(*sorted)) : NULL;
    PublisherEntry *entry, *next;

    if (n_keys > 0 && !sorted)
        return;
    if (n_keys > 0) {
        memcpy(sorted, keys, n_keys * sizeof(*sorted));
        qsort(sorted, n_keys, sizeof(*sorted), compare_keys);
    }
    HASH_ITER (hh, publisher->entries, entry, next) {
        if (entry->state == ENTRY_BUSY || entry->touched > since || is_among(sorted, n_keys, entry->key))
            continue;
        publisher->counters.drift += entry->state == ENTRY_SETTLED;
        if (entry->state == ENTRY_SETTLED)
            log_write(LOG_NOTICE, 0, LOG_EVENT_NONE, entry->owner, NULL, entry->key,
                      "Key %s is not ours in etcd any more, writing it again if nobody else has it", entry->key);
        entry_forget_ours(entry);
        if (entry->state != ENTRY_HELD && entry->state != ENTRY_REJECTED)
            entry_decide(publisher, entry);
    }
    for (size_t i = 0; i < n_keys; i++) {
        entry = find(publisher, keys[i].key);
        if (!entry || entry->touched <= since)
            entry_found(publisher, &keys[i]);
    }
}

static bool on_is_known(void *userdata, const char *key)
{
    const PublisherEntry *entry = find(userdata, key);

    return entry && (entry->published || entry->state == ENTRY_BUSY);
}

static void on_audited(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    Publisher *publisher = userdata;
    uint64_t since = publisher->audit_begin;
    bool use = status == STORE_OK && !publisher->audit_doubtful;

    publisher->audit_begin = 0;
    publisher->audit_doubtful = false;
    publisher->audit_wanted = !use;
    if (use)
        publisher_compare(publisher, keys, n_keys, since);
    publisher_answered(publisher, status, message);
    publisher_check_idle(publisher);
}

void publisher_audit(Publisher *publisher)
{
    publisher->audit_wanted = true;
    if (publisher->state != PUBLISHER_ONLINE || publisher->audit_begin > 0)
        return;
    publisher->audit_wanted = false;
    if (!store_has_lease(publisher->store))
        return; /* v2: every refresh is an audit of its key */
    publisher->audit_begin = ++publisher->clock;
    store_audit(publisher->store, on_is_known, on_audited, publisher);
}

/* Heartbeats. */

static void on_heartbeat_done(void *userdata, StoreStatus status, const char *message)
{
    Publisher *publisher = userdata;

    publisher->beating = false;
    publisher_answered(publisher, status, message);
}

static void publisher_beat(Publisher *publisher)
{
    if (publisher->beating || !store_has_lease(publisher->store) || publisher->config.dry_run)
        return;
    publisher->beating = true;
    store_heartbeat(publisher->store, on_heartbeat_done, publisher);
}

static void retry_held(Publisher *publisher)
{
    PublisherEntry *entry, *next;

    HASH_ITER (hh, publisher->entries, entry, next)
        if (entry->state == ENTRY_HELD)
            entry_set_state(publisher, entry, ENTRY_PENDING);
}

static int on_heartbeat(sd_event_source *source, uint64_t usec, void *userdata)
{
    Publisher *publisher = userdata;

    (void)usec;
    (void)sd_event_source_set_time_relative(source, (uint64_t)publisher->config.heartbeat_s * 1000000);
    (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    if (publisher->state != PUBLISHER_ONLINE && publisher->state != PUBLISHER_DEGRADED)
        return 0;
    publisher->handlers.heartbeat(publisher->userdata);
    publisher_beat(publisher);
    retry_held(publisher);
    return 0;
}

/* v2: one refresh a key and interval, spread evenly over it. */

static void refresh_schedule(Publisher *publisher)
{
    uint64_t interval_us = (uint64_t)publisher->config.heartbeat_s * 1000000;
    uint64_t tick_us = publisher->n_settled > 0 ? interval_us / publisher->n_settled : interval_us;

    if (tick_us < REFRESH_TICK_MIN_US)
        tick_us = REFRESH_TICK_MIN_US;
    if (tick_us > REFRESH_TICK_MAX_US)
        tick_us = REFRESH_TICK_MAX_US;
    (void)sd_event_source_set_time_relative(publisher->refresh, tick_us);
    (void)sd_event_source_set_enabled(publisher->refresh,
                                      uses_refresh(publisher) ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* False: there is none. */
static bool refresh_one(Publisher *publisher)
{
    PublisherEntry *entry = TAILQ_FIRST(&publisher->refreshes);
    CLEANUP(batch_free_p) Batch *batch = calloc(1, sizeof(*batch));

    if (!entry || !batch || batch_add(batch, entry, STORE_REFRESH) < 0)
        return false;
    publisher_apply(publisher, TAKE_PTR(batch));
    return true;
}

/* What is due, a few at once: each answer sends the next. A write that fails for ever keeps no key from being
 * refreshed. */
static void refresh_some(Publisher *publisher)
{
    bool may = publisher->state == PUBLISHER_ONLINE ||
               (publisher->state == PUBLISHER_DEGRADED && publisher->writes_failing && !publisher->refreshes_failing);

    if (!may || publisher->config.dry_run || !uses_refresh(publisher))
        return;
    while (publisher->refresh_due >= 1 && publisher->n_refreshes < REFRESHES_AT_ONCE && refresh_one(publisher))
        publisher->refresh_due--;
}

/* By the time that has passed, not by the ticks: after a suspension or an outage more are due at once. */
static void refresh_count(Publisher *publisher)
{
    double interval_us = (double)publisher->config.heartbeat_s * 1000000;
    double n = (double)(publisher->n_settled + publisher->n_refreshes);
    uint64_t now = now_us();

    if (publisher->refresh_counted_us > 0)
        publisher->refresh_due += n * (double)(now - publisher->refresh_counted_us) / interval_us;
    if (publisher->refresh_due > n)
        publisher->refresh_due = n;
    publisher->refresh_counted_us = now;
}

/* After an outage the keys have less time left than to the next tick. */
static void refresh_overdue(Publisher *publisher)
{
    refresh_count(publisher);
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
    bool news = state != publisher->state || !same(why, publisher->why);

    publisher->state = state;
    if (!news)
        return;
    if (replace_string(&publisher->why, why) < 0)
        return;
    publisher->handlers.state_changed(publisher->userdata, state, publisher->why);
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
              "writing every key again",
              publisher->config.ttl_s);
    HASH_ITER (hh, publisher->entries, entry, next)
        if (entry->state == ENTRY_SETTLED)
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
    publisher->last_ok_us = now_us();
    if (publisher->writes_failing && !TAILQ_EMPTY(&publisher->pending)) {
        publisher_retry_later(publisher);
        return;
    }
    publisher->writes_failing = false;
    backoff_reset(&publisher->backoff);
    publisher_set_state(publisher, PUBLISHER_ONLINE, "");
    if (returned || publisher->audit_wanted)
        publisher_audit(publisher);
    if (returned)
        refresh_overdue(publisher);
    if (!TAILQ_EMPTY(&publisher->pending))
        wake(publisher);
}

static void on_opened(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    Publisher *publisher = userdata;

    if (status != STORE_OK) {
        publisher_fail(publisher, status == STORE_LEASE_LOST ? STORE_UNREACHABLE : status, message);
        return;
    }
    publisher->last_ok_us = now_us();
    publisher->refused = publisher->refreshes_failing = false;
    if (store_has_lease(publisher->store))
        publisher_compare(publisher, keys, n_keys, ++publisher->clock);
    publisher->writes_failing = publisher->writes_failing && !TAILQ_EMPTY(&publisher->pending);
    if (publisher->writes_failing)
        publisher->state = PUBLISHER_DEGRADED;
    else
        publisher_set_state(publisher, PUBLISHER_ONLINE, "");
    refresh_schedule(publisher);
    refresh_overdue(publisher);
    if (!publisher_flush_one(publisher) && publisher->writes_failing)
        publisher_retry_later(publisher);
    wake(publisher);
    publisher_check_idle(publisher);
}

static void publisher_open(Publisher *publisher)
{
    publisher->state = PUBLISHER_OPENING;
    store_open(publisher->store, on_opened, publisher);
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
    wake(publisher);
    publisher_check_idle(publisher);
}

/* Life. */

static int publisher_add_sources(Publisher *publisher)
{
    uint64_t heartbeat_us = (uint64_t)publisher->config.heartbeat_s * 1000000;
    int r;

    r = sd_event_add_time_relative(publisher->event, &publisher->retry, CLOCK_MONOTONIC, 0, 1, on_retry, publisher);
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(publisher->event, &publisher->heartbeat, CLOCK_BOOTTIME,
                                   jitter_us(heartbeat_us, 0.1), 0, on_heartbeat, publisher);
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(publisher->event, &publisher->refresh, CLOCK_BOOTTIME, 0, REFRESH_TICK_MIN_US,
                                   on_refresh, publisher);
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
    publisher->keep_orphans = true;
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
        for (size_t i = 0; i < batch->n; i++) {
            entry_set_state(publisher, batch->entries[i], ENTRY_IDLE);
            entry_decide(publisher, batch->entries[i]);
        }
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
    (void)sd_event_source_set_time_relative(publisher->heartbeat, (uint64_t)config->heartbeat_s * 1000000);
    if (!store)
        return;
    store_free(publisher->store);
    publisher->store = store;
    publisher_drop_batches(publisher);
    publisher->beating = publisher->writes_failing = publisher->refused = false;
    publisher->audit_begin = 0;
    publisher->audit_doubtful = false;
    HASH_ITER (hh, publisher->entries, entry, next)
        if (entry->state != ENTRY_IDLE)
            entry_set_state(publisher, entry, ENTRY_PENDING);
    publisher_set_state(publisher, PUBLISHER_CLOSED, "");
    (void)sd_event_source_set_time_relative(publisher->retry, 0);
    (void)sd_event_source_set_enabled(publisher->retry, SD_EVENT_ONESHOT);
}

/* Looking. */

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
    return find(publisher, key);
}

bool publisher_owns(const Publisher *publisher, const char *owner)
{
    for (const PublisherEntry *entry = publisher->entries; entry; entry = entry->hh.next) {
        bool maybe_there = entry->published || entry->attempted || entry->state == ENTRY_BUSY;

        if (maybe_there && same(entry->owner, owner))
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
    return publisher->last_ok_us > 0 ? now_us() - publisher->last_ok_us : UINT64_MAX;
}

const char *publisher_why(const Publisher *publisher)
{
    return publisher->why;
}

Store *publisher_store(Publisher *publisher)
{
    return publisher->store;
}
