/* Writes, deletions and v2's refreshes. A free place takes the oldest keys, up to the number that etcd accepts in
 * one call. */
#include "publisher/publisher_private.h"

#include "base/text.h"

#include <errno.h>
#include <string.h>

enum {
    /* v2: the store has room for twice as many calls, so a write always finds a free place */
    REFRESHES_AT_ONCE = 4,
};

/* One store_apply() call under way. */
struct Batch {
    Publisher *publisher;
    uint64_t generation; /* the session's generation when the call was made */
    size_t n;
    PublisherEntry *entries[STORE_BATCH_MAX];
    char *attempted[STORE_BATCH_MAX]; /* values of unknown outcome from earlier batches */
    StoreOp ops[STORE_BATCH_MAX];
    LIST_ENTRY(Batch) link;
};

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

static bool batch_is_refresh(const Batch *batch)
{
    return batch->ops[0].verb == STORE_REFRESH;
}

static unsigned *batch_counter(Batch *batch)
{
    return batch_is_refresh(batch) ? &batch->publisher->n_refreshes : &batch->publisher->n_writes;
}

/* Uses the entry's own strings: key, published and attempted do not change while the entry is busy. */
static int batch_add(Batch *batch, PublisherEntry *entry, StoreVerb verb)
{
    StoreOp *op = &batch->ops[batch->n];

    *op = (StoreOp){ .verb = verb, .key = entry->key, .previous = entry->published, .known = entry->known };
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

/* The results of a batch. */

/* Returns false if etcd has rejected the same keys before for the same reason. */
static bool batch_is_newly_rejected(const Batch *batch)
{
    bool is_new = false;

    for (size_t i = 0; i < batch->n; i++) {
        if (batch->ops[i].outcome != STORE_OP_REJECTED)
            return false;
        is_new |= !batch->entries[i]->reason || !text_same(batch->entries[i]->reason, batch->ops[i].holder);
    }
    return is_new && batch->n > 1;
}

static bool batch_is_unclear(const Batch *batch)
{
    for (size_t i = 0; i < batch->n; i++)
        if (batch->ops[i].outcome == STORE_OP_FAILED)
            return true;
    return false;
}

/* Without a lease, silence for longer than the TTL means that every key has expired, unless a refresh has found its
 * key. Without a refreshed key, silence means nothing. */
static bool batch_shows_expiry(const Batch *batch, StoreStatus status)
{
    const Publisher *publisher = batch->publisher;

    if (status != STORE_OK || !session_outlived_keys(publisher))
        return false;
    return batch_is_refresh(batch) ? batch->ops[0].outcome == STORE_OP_LOST : publisher->n_registered > 0;
}

static void batch_tell_entries(Batch *batch)
{
    Publisher *publisher = batch->publisher;
    bool rejects_all = batch_is_newly_rejected(batch);
    bool of_older_lease = batch->generation != publisher->session.generation;

    if (rejects_all)
        entries_log_rejected(batch->ops, batch->n);
    for (size_t i = 0; i < batch->n; i++) {
        if (of_older_lease)
            batch->ops[i].outcome = STORE_OP_FAILED; /* the written keys have expired with that lease */
        entry_answered(publisher, batch->entries[i], &batch->ops[i], &batch->attempted[i], rejects_all);
    }
}

static void on_applied(void *userdata, StoreStatus status, const char *message)
{
    CLEANUP(batch_free_p) Batch *batch = userdata;
    Publisher *publisher = batch->publisher;
    Session *session = &publisher->session;
    bool expired = batch_shows_expiry(batch, status), refresh = batch_is_refresh(batch);
    char text[128];

    LIST_REMOVE(batch, link);
    (*batch_counter(batch))--;
    if (status == STORE_OK && batch_is_unclear(batch)) {
        /* The agent tries again after a while, as after every failure. */
        status = STORE_UNREACHABLE;
        message = "etcd's answer does not say what became of a key, asking again";
    }
    batch_tell_entries(batch);
    *(refresh ? &session->refreshes_failing : &session->writes_failing) =
        status == STORE_UNREACHABLE || status == STORE_REFUSED;
    (void)snprintf(text, sizeof(text), "The keys' TTL of %u s ended in etcd (was etcd away for longer?)",
                   publisher->config.ttl_s);
    if (expired)
        session_lose_keys(publisher, text);
    else
        session_answered(publisher, batch->generation, status, message);
    if (refresh)
        refresher_send(store_refresher(publisher->store));
    else
        publisher_check_idle(publisher);
}

/* Takes ownership of the batch. */
static void batch_send(Publisher *publisher, Batch *batch)
{
    batch->publisher = publisher;
    batch->generation = publisher->session.generation;
    for (size_t i = 0; i < batch->n; i++)
        entry_move(publisher, batch->entries[i], KEY_TAKEN);
    LIST_INSERT_HEAD(&publisher->batches, batch, link);
    (*batch_counter(batch))++;
    if (store_apply(publisher->store, batch->ops, batch->n, on_applied, batch) < 0)
        on_applied(batch, STORE_UNREACHABLE, publisher_no_memory);
}

/* Building the next batch. */

/* Is the key that replaces this key still pending? */
static bool waits_for_successor(const Publisher *publisher, const PublisherEntry *entry)
{
    const PublisherEntry *after = !entry->wanted && entry->after ? entry_find(publisher, entry->after) : NULL;

    return after && after->wanted && entry_awaits_write(after);
}

/* *ret: NULL if no key waits to be written. 0 or -ENOMEM. */
static int batch_new(Publisher *publisher, Batch **ret)
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
        StoreVerb verb = publisher->config.dry_run ? STORE_PEEK : entry_verb(entry);
        /* A full etcd deletes keys, but not in a transaction that also puts a key. */
        if (publisher->session.writes_failing && batch->n > 0 &&
            (verb == STORE_REMOVE) != (batch->ops[0].verb == STORE_REMOVE))
            continue;
        if (batch_add(batch, entry, verb) < 0 && batch->n == 0)
            return -ENOMEM;
    }
    *ret = batch->n > 0 ? TAKE_PTR(batch) : NULL;
    return 0;
}

bool batches_write_next(Publisher *publisher)
{
    Batch *batch;

    if (publisher->held || TAILQ_EMPTY(&publisher->pending) ||
        publisher->n_writes + publisher->n_refreshes >= store_concurrency(publisher->store))
        return false;
    if (batch_new(publisher, &batch) < 0) {
        session_fail(publisher, STORE_UNREACHABLE, publisher_no_memory);
        return false;
    }
    if (batch)
        batch_send(publisher, batch);
    return batch;
}

bool batches_refresh_next(Publisher *publisher)
{
    PublisherEntry *entry = publisher->config.dry_run ? NULL : TAILQ_FIRST(&publisher->registered);
    CLEANUP(batch_free_p) Batch *batch = entry ? calloc(1, sizeof(*batch)) : NULL;

    if (!batch || batch_add(batch, entry, STORE_REFRESH) < 0)
        return false;
    batch_send(publisher, TAKE_PTR(batch));
    return true;
}

static bool on_refresh_due(void *userdata)
{
    Publisher *publisher = userdata;
    const Session *session = &publisher->session;
    /* A write that keeps failing must not stop the refreshes of other keys. */
    bool refreshable = session->state == SESSION_ONLINE ||
                       (session_is_open(publisher) && session->writes_failing && !session->refreshes_failing);

    return refreshable && !store_has_lease(publisher->store) && publisher->n_refreshes < REFRESHES_AT_ONCE &&
           batches_refresh_next(publisher);
}

static size_t on_count(void *userdata)
{
    return ((const Publisher *)userdata)->n_registered;
}

void batches_start_refreshing(Publisher *publisher)
{
    static const RefresherHandlers handlers = { .count = on_count, .send = on_refresh_due };

    refresher_start(store_refresher(publisher->store), &handlers, publisher,
                    (uint64_t)publisher->config.heartbeat_s * 1000000);
}

void batches_drop(Publisher *publisher)
{
    Batch *batch;

    while ((batch = LIST_FIRST(&publisher->batches))) {
        LIST_REMOVE(batch, link);
        for (size_t i = 0; i < batch->n; i++)
            entry_answered(publisher, batch->entries[i], &(StoreOp){ .verb = batch->ops[i].verb }, NULL, false);
        batch_free(batch);
    }
    publisher->n_writes = publisher->n_refreshes = 0;
}
