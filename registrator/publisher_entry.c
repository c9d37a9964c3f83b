/* A key that there is no memory for is an error, not the end. */
#define HASH_NONFATAL_OOM 1
#include "publisher_private.h"

#include "log.h"
#include "text.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
    /* Linux sends again what is not acknowledged for up to 924 s: a write that was given up, too, on its way between
     * etcd's members. */
    LATE_WRITE_S = 930,
};

/* What seems to take longer was more likely a clock; what seems to take less than nothing, too: the difference wraps. */
static const uint64_t latency_max_ns = UINT64_C(3600) * 1000000000;

uint64_t publisher_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

const char *publisher_where(const Publisher *publisher)
{
    return publisher->config.where ? publisher->config.where : "";
}

bool publisher_uses_refresh(const Publisher *publisher)
{
    return !store_has_lease(publisher->store);
}

void publisher_wake(Publisher *publisher)
{
    (void)sd_event_source_set_enabled(publisher->flush, SD_EVENT_ONESHOT);
}

bool entry_is_busy(const PublisherEntry *entry)
{
    return entry->state == ENTRY_BUSY || entry->refreshing;
}

void entry_set_state(Publisher *publisher, PublisherEntry *entry, EntryState state)
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
        publisher_wake(publisher);
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
    free(entry->owner_id);
    free(entry->wanted);
    free(entry->published);
    free(entry->attempted);
    free(entry->holder);
    free(entry->reason);
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
    return entry->hh.tbl ? TAKE_PTR(entry) : NULL;
}

void entry_remove(Publisher *publisher, PublisherEntry *entry)
{
    entry_set_state(publisher, entry, ENTRY_IDLE); /* off every queue */
    HASH_DEL(publisher->entries, entry);
    entry_free(entry);
}

PublisherEntry *entry_find(const Publisher *publisher, const char *key)
{
    PublisherEntry *entry;

    HASH_FIND_STR(publisher->entries, key, entry);
    return entry;
}

void entry_decide(Publisher *publisher, PublisherEntry *entry)
{
    bool maybe_there = entry->published || entry->attempted;
    bool writable = entry->wanted && !entry->rejected;

    if (!entry->wanted && !maybe_there)
        entry_remove(publisher, entry);
    else if (!writable && !maybe_there)
        entry_set_state(publisher, entry, ENTRY_REJECTED);
    else if (writable && !entry->attempted && text_same(entry->wanted, entry->published))
        entry_set_state(publisher, entry, ENTRY_SETTLED);
    else
        entry_set_state(publisher, entry, ENTRY_PENDING);
}

static void set_string(char **string, char *owned)
{
    free(*string);
    *string = owned;
}

static void entry_drop_reason(PublisherEntry *entry)
{
    set_string(&entry->reason, NULL);
    entry->rejected = false;
}

static int replace_string(char **string, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        return -ENOMEM;
    set_string(string, copy);
    return 0;
}

/* Without memory nothing has changed: half a wish could take away a key that is right. */
int publisher_want(Publisher *publisher, const char *key, const char *value, const char *owner, const char *owner_id,
                   uint64_t event_ns)
{
    CLEANUP_FREE char *wanted = strdup(value);
    CLEANUP_FREE char *name = strdup(owner);
    CLEANUP_FREE char *id = strdup(owner_id);
    bool copied = wanted && name && id;
    PublisherEntry *entry = copied ? entry_find(publisher, key) : NULL;

    if (copied && !entry)
        entry = entry_add(publisher, key);
    if (!entry)
        return -ENOMEM;
    if (!text_same(entry->wanted, value))
        entry_drop_reason(entry);
    set_string(&entry->wanted, TAKE_PTR(wanted));
    set_string(&entry->owner, TAKE_PTR(name));
    set_string(&entry->owner_id, TAKE_PTR(id));
    set_string(&entry->after, NULL);
    entry->orphan = false;
    entry->event_ns = event_ns;
    entry->touched = ++publisher->clock;
    if (!entry_is_busy(entry))
        entry_decide(publisher, entry);
    return 0;
}

/* Was it never asked for in etcd, so that an earlier run may have left it there? "registrator stop" waits for it. */
static bool may_be_left(const Publisher *publisher, const PublisherEntry *entry)
{
    bool unknown = publisher->last_ok_us == 0 || publisher_uses_refresh(publisher);

    return unknown && entry->state == ENTRY_PENDING && entry->wanted && !entry->published && !entry->attempted &&
           !entry->holder;
}

void publisher_unwant(Publisher *publisher, const char *key, const char *after, uint64_t event_ns)
{
    PublisherEntry *entry = entry_find(publisher, key);

    if (!entry)
        return;
    if (may_be_left(publisher, entry)) {
        entry->attempted = entry->wanted;
        entry->wanted = NULL;
    }
    set_string(&entry->wanted, NULL);
    entry_drop_reason(entry);
    set_string(&entry->after, after ? strdup(after) : NULL); /* without memory the order is lost, not the deletion */
    entry->orphan = false;
    entry->event_ns = event_ns;
    entry->touched = ++publisher->clock;
    if (!entry_is_busy(entry))
        entry_decide(publisher, entry);
}

int publisher_copy_wishes(Publisher *publisher, const Publisher *other)
{
    int r = 0;

    for (const PublisherEntry *entry = other->entries; entry && r >= 0; entry = entry->hh.next)
        if (entry->wanted)
            r = publisher_want(publisher, entry->key, entry->wanted, entry->owner, entry->owner_id, 0);
    return r;
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

/* What became of them in etcd. */

static void log_change(const Publisher *publisher, const PublisherEntry *entry, const StoreOp *op)
{
    const char *where = publisher_where(publisher);
    const char *owner = entry->owner ? entry->owner : "";

    if (op->verb == STORE_REMOVE)
        log_write(LOG_INFO, 0, LOG_EVENT_WITHDRAWN, owner, entry->owner_id, entry->key, "Withdrawn: %s%s%s%s",
                  entry->key, entry->owner ? "" : ", left under our lease by an earlier run",
                  op->wrote ? "" : " (was gone already)", where);
    else if (op->wrote)
        log_write(LOG_INFO, 0, LOG_EVENT_REGISTERED, owner, entry->owner_id, entry->key, "Registered: %s = %s%s",
                  entry->key, op->value, where);
    else
        log_write(LOG_DEBUG, 0, LOG_EVENT_NONE, owner, entry->owner_id, entry->key, "Kept: %s = %s%s", entry->key,
                  op->value, where);
}

static void entry_forget_ours(PublisherEntry *entry)
{
    free(entry->published);
    free(entry->attempted);
    entry->published = entry->attempted = NULL;
}

static void entry_drop_holder(PublisherEntry *entry)
{
    set_string(&entry->holder, NULL);
    entry->revision = 0;
    entry->replace = false;
}

static void entry_held(Publisher *publisher, PublisherEntry *entry, StoreOp *op)
{
    bool news = !text_same(entry->holder, op->holder);
    bool may_replace = publisher->config.replace && op->verb == STORE_ENSURE;

    entry_forget_ours(entry);
    entry->event_ns = 0; /* how long the holder stays is not our latency */
    set_string(&entry->holder, TAKE_PTR(op->holder));
    entry->revision = op->revision;
    if (news) {
        publisher->counters.conflicts++;
        log_write(LOG_WARNING, 0, LOG_EVENT_CONFLICT, entry->owner, entry->owner_id, entry->key,
                  "Key %s is somebody else's, with value '%s', %s%s", entry->key, entry->holder ? entry->holder : "",
                  may_replace ? "replacing it (on_conflict is replace)" : "waiting until it goes",
                  publisher_where(publisher));
    }
    entry->replace = may_replace;
    if (!entry->wanted)
        entry_decide(publisher, entry);
    else
        entry_set_state(publisher, entry, may_replace ? ENTRY_PENDING : ENTRY_HELD);
}

static void log_rejected(const Publisher *publisher, const PublisherEntry *entry, const StoreOp *op)
{
    log_write(LOG_ERR, 0, LOG_EVENT_NONE, entry->owner, entry->owner_id, entry->key,
              "etcd does not %s key %s (%s), leaving it %s; change --key or --value, or what the user may do%s",
              op->verb == STORE_REMOVE ? "let go of" : "take", entry->key, op->holder ? op->holder : "no reason given",
              op->verb == STORE_REMOVE ? "there" : "out", publisher_where(publisher));
}

/* attempted: what may have been there before. What is there instead, an older value, is not what is wanted either,
 * and is withdrawn. */
static void entry_rejected(const Publisher *publisher, PublisherEntry *entry, StoreOp *op, char **attempted)
{
    if (op->verb == STORE_REMOVE) {
        log_rejected(publisher, entry, op);
        entry_forget_ours(entry);
        return;
    }
    if (text_same(entry->wanted, op->value)) {
        entry->event_ns = 0;
        if (!entry->reason || !text_same(entry->reason, op->holder))
            log_rejected(publisher, entry, op);
        set_string(&entry->reason, TAKE_PTR(op->holder));
        entry->rejected = true;
    }
    set_string(&entry->attempted, TAKE_PTR(*attempted));
}

static void entry_planned(Publisher *publisher, PublisherEntry *entry, const StoreOp *op)
{
    const char *what = !entry->wanted                 ? "delete"
                       : op->outcome == STORE_OP_DONE ? "keep"
                       : op->outcome != STORE_OP_HELD ? "put"
                       : publisher->config.replace    ? "replace"
                                                      : "held";

    publisher->handlers.planned(publisher->userdata, what, entry->key, entry->wanted, op->holder);
    free(entry->attempted);
    entry->attempted = NULL;
    if (!entry->wanted)
        entry_forget_ours(entry);
    else
        (void)replace_string(&entry->published, entry->wanted);
}

/* Is what etcd holds now what is wanted? Otherwise the next operation is the one that was waited for. */
static void observe_latency(Publisher *publisher, PublisherEntry *entry, const StoreOp *op)
{
    bool removed = op->verb == STORE_REMOVE;
    struct timespec now;
    uint64_t now_ns;

    if (!text_same(entry->wanted, removed ? NULL : op->value))
        return;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    if (op->wrote && entry->event_ns > 0 && now_ns - entry->event_ns <= latency_max_ns)
        histogram_observe(removed ? &publisher->counters.delete_latency : &publisher->counters.put_latency,
                          (now_ns - entry->event_ns) / 1000);
    entry->event_ns = 0;
}

static void entry_done(Publisher *publisher, PublisherEntry *entry, const StoreOp *op)
{
    if (op->verb == STORE_REFRESH)
        return;
    log_change(publisher, entry, op);
    observe_latency(publisher, entry, op);
    publisher->counters.puts += op->wrote && op->verb != STORE_REMOVE;
    publisher->counters.deletes += op->wrote && op->verb == STORE_REMOVE;
    free(entry->published);
    entry->published = NULL;
    if (op->verb == STORE_REMOVE) {
        free(entry->attempted);
    } else {
        entry->published = entry->attempted;
        entry_drop_holder(entry);
        entry_drop_reason(entry);
    }
    entry->attempted = NULL;
}

void entry_finish(Publisher *publisher, PublisherEntry *entry, StoreOp *op, char **attempted)
{
    if (op->verb == STORE_REFRESH)
        entry->refreshing = false;
    else
        entry_set_state(publisher, entry, ENTRY_IDLE);
    entry->touched = ++publisher->clock; /* also if it failed: an audit may have looked before it or after */
    if (op->outcome == STORE_OP_FAILED) {
        if (op->verb == STORE_ENSURE || op->verb == STORE_REPLACE) {
            entry->doubted = true;
            publisher->late_until_us = publisher_now_us() + (uint64_t)LATE_WRITE_S * 1000000;
        }
    } else if (op->verb == STORE_PEEK) {
        entry_planned(publisher, entry, op);
    } else if (op->outcome == STORE_OP_HELD) {
        entry_held(publisher, entry, op);
        return;
    } else if (op->outcome == STORE_OP_LOST) {
        publisher->counters.drift += op->verb == STORE_REFRESH;
        entry_forget_ours(entry);
    } else if (op->outcome == STORE_OP_REJECTED) {
        entry_rejected(publisher, entry, op, attempted);
    } else {
        entry_done(publisher, entry, op);
    }
    entry_decide(publisher, entry);
}

/* What an audit says of them. */

int entry_found(Publisher *publisher, const StoreKey *key, uint64_t since, uint64_t now)
{
    PublisherEntry *entry = entry_find(publisher, key->key);

    if (!entry)
        entry = entry_add(publisher, key->key);
    if (!entry)
        return -ENOMEM;
    entry->seen = now;
    if (entry_is_busy(entry) || entry->touched > since)
        return 0;
    /* An audit brings only the values that we did not know: what we know to be there has kept its value, since
     * nobody else writes under our lease. */
    if (key->value) {
        if (replace_string(&entry->published, key->value) < 0)
            return -ENOMEM;
        set_string(&entry->attempted, NULL);
    }
    entry_drop_holder(entry);
    if (!entry->wanted && publisher->keep_orphans) {
        entry->orphan = true;
        entry_set_state(publisher, entry, ENTRY_IDLE);
    } else {
        entry_decide(publisher, entry);
    }
    return 0;
}

void entry_missing(Publisher *publisher, PublisherEntry *entry)
{
    if (entry->state == ENTRY_SETTLED) {
        publisher->counters.drift++;
        log_write(LOG_NOTICE, 0, LOG_EVENT_NONE, entry->owner, entry->owner_id, entry->key,
                  "Key %s is not ours in etcd any more, writing it again if nobody else has it%s", entry->key,
                  publisher_where(publisher));
    }
    entry_forget_ours(entry);
    if (entry->state != ENTRY_HELD)
        entry_decide(publisher, entry);
}
