/* The facts of a key: its wanted value, and its state in etcd as known from answers and resyncs. Each change of
 * these facts ends in entry_move(). */
#include "publisher/publisher_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>

/* A longer latency more likely comes from a clock that was set. So does a negative one, because the unsigned
 * difference wraps. */
static const uint64_t latency_max_ns = UINT64_C(3600) * 1000000000;

static void forget_ours(PublisherEntry *entry)
{
    text_take(&entry->published, NULL);
    text_take(&entry->attempted, NULL);
}

static void forget_holder(PublisherEntry *entry)
{
    text_take(&entry->holder, NULL);
    entry->revision = 0;
}

/* Wishes. */

/* Without memory nothing changes: half a wish could delete a correct key. */
int publisher_want(Publisher *publisher, const char *key, const char *value, const char *owner, const char *owner_id,
                   uint64_t event_ns)
{
    CLEANUP_FREE char *wanted = strdup(value);
    CLEANUP_FREE char *name = strdup(owner);
    CLEANUP_FREE char *id = strdup(owner_id);
    bool copied = wanted && name && id;
    PublisherEntry *entry = copied ? entry_find(publisher, key) : NULL;
    bool changed;

    if (copied && !entry)
        entry = entry_add(publisher, key);
    if (!entry)
        return -ENOMEM;
    changed = !text_same(entry->wanted, value);
    if (changed)
        text_take(&entry->reason, NULL);
    text_take(&entry->wanted, TAKE_PTR(wanted));
    text_take(&entry->owner, TAKE_PTR(name));
    text_take(&entry->owner_id, TAKE_PTR(id));
    text_take(&entry->after, NULL);
    entry->event_ns = event_ns;
    entry->touched = ++publisher->clock;
    entry_move(publisher, entry, changed ? KEY_WISHED : KEY_REPEATED);
    return 0;
}

/* Has the agent never asked etcd about the key, so that the key of an earlier run may still exist? "registrator
 * stop" waits for the answer. */
static bool may_be_left(const Publisher *publisher, const PublisherEntry *entry)
{
    bool unknown = publisher->session.answered_us == 0 || !store_has_lease(publisher->store);

    return unknown && entry->state == ENTRY_PENDING && entry->wanted && !entry->published && !entry->attempted &&
           !entry->holder;
}

void publisher_unwant(Publisher *publisher, const char *key, const char *after, uint64_t event_ns)
{
    PublisherEntry *entry = entry_find(publisher, key);

    if (!entry)
        return;
    if (may_be_left(publisher, entry))
        entry->attempted = TAKE_PTR(entry->wanted);
    text_take(&entry->wanted, NULL);
    text_take(&entry->reason, NULL);
    /* without memory the deletion loses its order, but still happens */
    text_take(&entry->after, after ? strdup(after) : NULL);
    entry->event_ns = event_ns;
    entry->touched = ++publisher->clock;
    entry_move(publisher, entry, KEY_WISHED);
}

void publisher_drop_orphans(Publisher *publisher)
{
    publisher->keep_orphans = false;
    entries_due(publisher, ENTRY_ORPHAN, false);
}

void entries_due(Publisher *publisher, EntryState state, bool denied)
{
    PublisherEntry *entry, *next;

    HASH_ITER (hh, publisher->entries, entry, next)
        if (entry->state == state && (!denied || (entry->reason && strstr(entry->reason, "permission denied"))))
            entry_move(publisher, entry, KEY_DUE);
}

/* Log lines for answers. */

static void log_change(const PublisherEntry *entry, const StoreOp *op)
{
    const char *owner = entry->owner ? entry->owner : "";

    if (op->verb == STORE_REMOVE)
        log_write(LOG_INFO, 0, LOG_EVENT_DEREGISTERED, owner, entry->owner_id, entry->key, "Key %s deregistered%s%s",
                  entry->key, entry->owner ? "" : ", left under our lease by an earlier run",
                  op->wrote ? "" : " (was gone already)");
    else if (op->wrote)
        log_write(LOG_INFO, 0, LOG_EVENT_REGISTERED, owner, entry->owner_id, entry->key, "Key %s registered: %s",
                  entry->key, op->value);
    else
        log_write(LOG_DEBUG, 0, LOG_EVENT_NONE, owner, entry->owner_id, entry->key, "Key %s kept: %s", entry->key,
                  op->value);
}

static const char *remedy_for(const char *reason)
{
    return reason && strstr(reason, "permission denied") ? "grant the user's role readwrite on the key's prefix"
                                                         : "change --key or --value";
}

/* Logs each reason once. logged: one line for the whole batch is in the log. */
static void log_rejected(const PublisherEntry *entry, const StoreOp *op, bool logged)
{
    if (entry->reason && text_same(entry->reason, op->holder))
        return;
    log_write(logged ? LOG_DEBUG : LOG_ERR, 0, LOG_EVENT_NONE, entry->owner, entry->owner_id, entry->key,
              "etcd rejects %skey %s (%s): %s", op->verb == STORE_REMOVE ? "the deletion of " : "", entry->key,
              op->holder ? op->holder : "no reason given", remedy_for(op->holder));
}

void entries_log_rejected(const StoreOp *ops, size_t n)
{
    log_error("etcd rejects all of %zu keys, as %s (%s): %s", n, ops[0].key,
              ops[0].holder ? ops[0].holder : "no reason given", remedy_for(ops[0].holder));
}

/* Each of the following functions notes the answer to one operation, and returns the event for the key. */

static KeyEvent note_conflict(Publisher *publisher, PublisherEntry *entry, StoreOp *op)
{
    bool changed = !text_same(entry->holder, op->holder);
    bool may_replace = publisher->config.replace && op->verb == STORE_ENSURE;

    forget_ours(entry);
    entry->event_ns = 0; /* the time for which the holder stays is not our latency */
    text_take(&entry->holder, TAKE_PTR(op->holder));
    entry->revision = op->revision;
    if (changed) {
        publisher->counters.conflicts++;
        log_write(LOG_WARNING, 0, LOG_EVENT_CONFLICT, entry->owner, entry->owner_id, entry->key,
                  "Key %s belongs to another owner, with value '%s': %s", entry->key,
                  entry->holder ? entry->holder : "",
                  may_replace ? "replacing it (on_conflict is replace)" : "waiting until it is gone");
    }
    if (!entry->wanted)
        return KEY_ANSWERED;
    return may_replace ? KEY_CONTESTED : KEY_CONFLICTED;
}

/* attempted: a value that may have been in etcd before. etcd still has an older value, which nobody wants, so the
 * agent deletes it. */
static KeyEvent note_rejection(PublisherEntry *entry, StoreOp *op, char **attempted, bool logged)
{
    bool removal = op->verb == STORE_REMOVE;
    bool of_this_wish = text_same(entry->wanted, op->value);

    if (!removal)
        text_take(&entry->attempted, TAKE_PTR(*attempted));
    if (!removal && !of_this_wish)
        return KEY_ANSWERED;
    if (!removal)
        entry->event_ns = 0;
    log_rejected(entry, op, logged);
    text_take(&entry->reason, TAKE_PTR(op->holder));
    if (!removal)
        return KEY_REFUSED;
    /* etcd still has the key. The agent tries to delete it again, as with everything that etcd rejects. */
    return !entry->wanted || entry->state == ENTRY_UNDOING ? KEY_UNDELETABLE : KEY_ANSWERED;
}

static void note_plan(Publisher *publisher, PublisherEntry *entry, const StoreOp *op)
{
    const char *what = !entry->wanted                     ? "deregister"
                       : op->outcome == STORE_OP_DONE     ? "keep"
                       : op->outcome != STORE_OP_CONFLICT ? "register"
                       : publisher->config.replace        ? "replace"
                                                          : "conflict";

    publisher->handlers.planned(publisher->userdata, what, entry->key, entry->wanted, op->holder);
    text_take(&entry->attempted, NULL);
    if (!entry->wanted)
        forget_ours(entry);
    else
        (void)text_replace(&entry->published, entry->wanted);
}

/* Observes the latency if etcd now holds the wanted value. Otherwise a later operation does. */
static void observe_latency(Publisher *publisher, PublisherEntry *entry, const StoreOp *op)
{
    bool removed = op->verb == STORE_REMOVE;
    uint64_t now_ns = clock_us(CLOCK_REALTIME) * 1000;

    if (!text_same(entry->wanted, removed ? NULL : op->value))
        return;
    if (op->wrote && entry->event_ns > 0 && now_ns - entry->event_ns <= latency_max_ns)
        histogram_observe(removed ? &publisher->counters.delete_latency : &publisher->counters.put_latency,
                          (now_ns - entry->event_ns) / 1000);
    entry->event_ns = 0;
}

static void note_success(Publisher *publisher, PublisherEntry *entry, const StoreOp *op)
{
    if (op->verb == STORE_REFRESH)
        return;
    log_change(entry, op);
    observe_latency(publisher, entry, op);
    publisher->counters.puts += op->wrote && op->verb != STORE_REMOVE;
    publisher->counters.deletes += op->wrote && op->verb == STORE_REMOVE;
    if (op->verb == STORE_REMOVE) {
        forget_ours(entry);
        return;
    }
    text_take(&entry->published, TAKE_PTR(entry->attempted));
    forget_holder(entry);
    text_take(&entry->reason, NULL);
}

void entry_answered(Publisher *publisher, PublisherEntry *entry, StoreOp *op, char **attempted, bool logged)
{
    KeyEvent event = KEY_ANSWERED;

    /* also after a failure: a resync may have read the key before this operation or after it */
    entry->touched = ++publisher->clock;
    if (op->verb != STORE_PEEK)
        entry->known = op->known;
    if (op->outcome == STORE_OP_FAILED) {
        /* Unknown: the next operation compares with the value before and with the attempted value. */
    } else if (op->verb == STORE_PEEK) {
        note_plan(publisher, entry, op);
    } else if (op->outcome == STORE_OP_CONFLICT) {
        event = note_conflict(publisher, entry, op);
    } else if (op->outcome == STORE_OP_REJECTED) {
        event = note_rejection(entry, op, attempted, logged);
    } else if (op->outcome == STORE_OP_LOST) {
        publisher->counters.drift += op->verb == STORE_REFRESH;
        forget_ours(entry);
    } else {
        note_success(publisher, entry, op);
    }
    entry_move(publisher, entry, event);
}

/* Resyncs. */

/* A resync has found the key under our lease. 0 or -ENOMEM. */
static int note_found(Publisher *publisher, const StoreKey *key, uint64_t since, uint64_t now)
{
    PublisherEntry *entry = entry_find(publisher, key->key);

    if (!entry)
        entry = entry_add(publisher, key->key);
    if (!entry)
        return -ENOMEM;
    entry->seen = now;
    if (entry_is_busy(entry) || entry->touched > since)
        return 0;
    /* A resync reads only the values of keys with an unknown mod revision. The other values are as the agent wrote
     * them. */
    if (key->value) {
        if (entry->state == ENTRY_REGISTERED && !text_same(entry->published, key->value)) {
            publisher->counters.drift++;
            log_write(LOG_NOTICE, 0, LOG_EVENT_NONE, entry->owner, entry->owner_id, entry->key,
                      "Key %s was changed in etcd to '%s', writing it again", entry->key, key->value);
        }
        entry->known = key->revision;
        if (text_replace(&entry->published, key->value) < 0)
            return -ENOMEM;
        text_take(&entry->attempted, NULL);
    }
    forget_holder(entry);
    entry_move(publisher, entry, KEY_FOUND);
    return 0;
}

static void note_missing(Publisher *publisher, PublisherEntry *entry)
{
    if (entry->state == ENTRY_REGISTERED) {
        publisher->counters.drift++;
        log_write(LOG_NOTICE, 0, LOG_EVENT_NONE, entry->owner, entry->owner_id, entry->key,
                  "Key %s does not belong to this host in etcd any more: writing it again unless another owner has it",
                  entry->key);
    }
    forget_ours(entry);
    entry->known = 0;
    entry_move(publisher, entry, KEY_MISSING);
}

int entries_compare(Publisher *publisher, const StoreKey *keys, size_t n_keys, uint64_t since, bool other_lease)
{
    uint64_t now = ++publisher->clock;
    PublisherEntry *entry, *next;
    int r = 0;

    for (size_t i = 0; i < n_keys; i++)
        if (note_found(publisher, &keys[i], since, now) < 0)
            r = -ENOMEM;
    HASH_ITER (hh, publisher->entries, entry, next)
        if (entry->seen == now || entry->touched > since || entry_is_busy(entry))
            continue;
        /* A key under a lease that a cloned host also uses still belongs to this agent if the mod revision is the
         * known one. */
        else if (other_lease && entry->published && entry->known > 0)
            entry_move(publisher, entry, KEY_MOVED);
        else
            note_missing(publisher, entry);
    return r;
}

bool publisher_owns(const Publisher *publisher, const char *owner_id)
{
    for (const PublisherEntry *entry = publisher->entries; entry; entry = entry->hh.next) {
        bool maybe_there = entry->published || entry->attempted || entry->state == ENTRY_WRITING;

        if (maybe_there && text_same(entry->owner_id, owner_id))
            return true;
    }
    return false;
}

bool publisher_inherits(const Publisher *publisher, const char *key, const char *value)
{
    const PublisherEntry *entry = publisher_find(publisher, key);

    return entry && entry->state == ENTRY_ORPHAN && text_same(entry->published, value);
}

bool publisher_knows(const Publisher *publisher)
{
    if (!session_is_open(publisher))
        return false;
    /* v2 has no list of the agent's keys. Until Docker's containers are known, each key may come from an earlier
     * run. */
    if (publisher->keep_orphans && !store_has_lease(publisher->store))
        return false;
    for (const PublisherEntry *entry = publisher->entries; entry; entry = entry->hh.next)
        if (entry->state == ENTRY_ORPHAN || (entry->state == ENTRY_REJECTED && (entry->published || entry->attempted)))
            return false;
    return true;
}
