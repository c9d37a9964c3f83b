/* The publisher's interface: set-up, changed settings, and queries. */
#include "publisher/publisher_private.h"

#include <errno.h>
#include <string.h>

/* When to write. */

void publisher_wake(Publisher *publisher)
{
    defer_arm(&publisher->flush);
}

static void on_flush(void *userdata)
{
    Publisher *publisher = userdata;

    while (publisher->session.state == SESSION_ONLINE && batches_write_next(publisher))
        ;
}

void publisher_check_idle(const Publisher *publisher)
{
    if (publisher_is_idle(publisher))
        publisher->handlers.idle(publisher->userdata);
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

/* Creation and end. */

static int add_flush(Publisher *publisher)
{
    int r = defer_add(publisher->event, &publisher->flush, on_flush, publisher);

    /* Runs after all events that have arrived, so that a burst becomes one batch. */
    return r < 0 ? r : timer_set_priority(&publisher->flush, SD_EVENT_PRIORITY_NORMAL + 10);
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
    TAILQ_INIT(&publisher->pending);
    TAILQ_INIT(&publisher->registered);
    LIST_INIT(&publisher->batches);
    r = add_flush(publisher);
    if (r >= 0)
        r = session_begin(publisher);
    if (r < 0)
        return r;
    publisher->store = store;
    *ret = TAKE_PTR(publisher);
    return 0;
}

/* Freeing the store ends the calls under way. */
static void drop_store(Publisher *publisher)
{
    store_free(publisher->store);
    publisher->store = NULL;
    batches_drop(publisher);
}

Publisher *publisher_free(Publisher *publisher)
{
    PublisherEntry *entry, *next;

    if (!publisher)
        return NULL;
    drop_store(publisher);
    HASH_ITER (hh, publisher->entries, entry, next)
        entry_remove(publisher, entry);
    session_end(publisher);
    timer_clear(&publisher->flush);
    sd_event_unref(publisher->event);
    free(publisher);
    return NULL;
}

void publisher_reconfigure(Publisher *publisher, Store *store, const PublisherConfig *config)
{
    bool other_pace = store || config->heartbeat_s != publisher->config.heartbeat_s;
    PublisherEntry *entry, *next;

    publisher->config = *config;
    /* Otherwise each reload would delay the next heartbeat, and several reloads would delay the lease's renewal
     * beyond its TTL. */
    if (other_pace)
        session_set_heartbeat(publisher);
    if (!store)
        return;
    drop_store(publisher);
    publisher->store = store;
    HASH_ITER (hh, publisher->entries, entry, next) {
        entry->revision = entry->known = 0; /* these belong to the other cluster */
        entry_move(publisher, entry, KEY_MOVED);
    }
    session_restart(publisher);
}

/* Queries. */

bool publisher_is_idle(const Publisher *publisher)
{
    return TAILQ_EMPTY(&publisher->pending) && publisher->n_writes == 0;
}

const PublisherEntry *publisher_find(const Publisher *publisher, const char *key)
{
    return entry_find(publisher, key);
}

size_t publisher_registered(const Publisher *publisher)
{
    return publisher->n_registered;
}

const PublisherCounters *publisher_counters(const Publisher *publisher)
{
    return &publisher->counters;
}

bool publisher_has_heartbeat(const Publisher *publisher)
{
    return store_has_lease(publisher->store) || publisher->n_registered > 0;
}

bool publisher_has_lease(const Publisher *publisher)
{
    return store_has_lease(publisher->store);
}

Store *publisher_store(Publisher *publisher)
{
    return publisher->store;
}
