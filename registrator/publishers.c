#include "publishers.h"

#include "log.h"
#include "text.h"

#include <errno.h>
#include <string.h>

enum { TARGET_MAIN, TARGET_V2, TARGETS };

typedef struct Target {
    Publishers *publishers;
    Publisher *publisher; /* NULL: this API is not written */
    Look *look;
    bool lost; /* said so in the log */
} Target;

struct Publishers {
    sd_event *event;
    PublishersHandlers handlers;
    void *userdata;
    PublisherConfig config;
    Target targets[TARGETS]; /* v3, or what etcd has; v2 */
    bool both;
    PublisherCounters retired; /* of those that are no more */
    bool released, keep_orphans; /* as a new one is to be told */
    char *why, *description;
};

static const char *where(const Target *target)
{
    const Publishers *publishers = target->publishers;

    if (!publishers->both)
        return "";
    return target == &publishers->targets[TARGET_V2] ? " (v2)" : " (v3)";
}

/* What a publisher tells. */

static void on_state_changed(void *userdata, PublisherState state, const char *why)
{
    Target *target = userdata;
    Publishers *publishers = target->publishers;
    bool lost = *why != '\0' && (state == PUBLISHER_CLOSED || state == PUBLISHER_DEGRADED);

    if (lost && !target->lost)
        log_write(LOG_WARNING, 0, LOG_EVENT_ETCD_LOST, NULL, NULL, NULL, "%s%s", why, where(target));
    else if (lost)
        log_debug("%s%s", why, where(target));
    if (lost)
        target->lost = true;
    if (state == PUBLISHER_ONLINE) {
        log_info("Publishing to %s", store_describe(publisher_store(target->publisher)));
        target->lost = false;
    }
    publishers->handlers.changed(publishers->userdata, state == PUBLISHER_ONLINE, lost);
}

static void on_lease_lost(void *userdata)
{
    Target *target = userdata;

    if (target->publishers->handlers.lease_lost(target->publishers->userdata))
        publisher_hold(target->publisher);
}

static void on_heartbeat(void *userdata)
{
    Target *target = userdata;

    target->publishers->handlers.heartbeat(target->publishers->userdata);
}

static void on_planned(void *userdata, const char *what, const char *key, const char *value, const char *holder)
{
    Target *target = userdata;

    target->publishers->handlers.planned(target->publishers->userdata, what, key, value, holder, where(target));
}

static void on_idle(void *userdata)
{
    Target *target = userdata;

    target->publishers->handlers.idle(target->publishers->userdata);
}

static const PublisherHandlers publisher_handlers = {
    .state_changed = on_state_changed,
    .lease_lost = on_lease_lost,
    .heartbeat = on_heartbeat,
    .planned = on_planned,
    .idle = on_idle,
};

/* Which of them there are. */

static void histogram_add(Histogram *sum, const Histogram *histogram)
{
    for (size_t i = 0; i < ARRAY_SIZE(sum->buckets); i++)
        sum->buckets[i] += histogram->buckets[i];
    sum->sum_us += histogram->sum_us;
}

static void counters_add(PublisherCounters *sum, const PublisherCounters *counters)
{
    sum->puts += counters->puts;
    sum->deletes += counters->deletes;
    sum->conflicts += counters->conflicts;
    sum->lease_losses += counters->lease_losses;
    sum->drift += counters->drift;
    sum->failures += counters->failures;
    histogram_add(&sum->put_latency, &counters->put_latency);
    histogram_add(&sum->delete_latency, &counters->delete_latency);
}

static void target_close(Target *target)
{
    target->publisher = publisher_free(target->publisher);
    target->look = look_free(target->look);
    target->lost = false;
}

static int target_open(Target *target, StoreApi api, const Publisher *other, const PublisherConfig *config)
{
    Publishers *publishers = target->publishers;
    CLEANUP(store_free_p) Store *store = NULL;
    CLEANUP(publisher_free_p) Publisher *publisher = NULL;
    int r = publishers->handlers.make_store(publishers->userdata, api, 0, &store);

    if (r >= 0)
        r = publisher_new(&publisher, publishers->event, store, config, &publisher_handlers, target);
    if (r < 0)
        return r;
    store = NULL;
    r = other ? publisher_copy_wishes(publisher, other) : 0;
    if (r < 0)
        return r;
    target->publisher = TAKE_PTR(publisher);
    if (publishers->released)
        publisher_release(target->publisher);
    if (!publishers->keep_orphans)
        publisher_drop_orphans(target->publisher);
    return 0;
}

static int target_renew(Target *target, StoreApi api, const PublisherConfig *config)
{
    Publishers *publishers = target->publishers;
    Store *store = NULL;
    int r = publishers->handlers.make_store(publishers->userdata, api, store_lease(publisher_store(target->publisher)),
                                            &store);

    if (r < 0)
        return r;
    publisher_reconfigure(target->publisher, store, config);
    target->look = look_free(target->look);
    return 0;
}

static int target_configure(Target *target, StoreApi api, const Publisher *other, bool new_stores)
{
    PublisherConfig config = target->publishers->config;

    config.where = where(target);
    if (!target->publisher)
        return target_open(target, api, other, &config);
    if (new_stores)
        return target_renew(target, api, &config);
    publisher_reconfigure(target->publisher, NULL, &config);
    return 0;
}

static void target_retire(Target *target)
{
    if (!target->publisher)
        return;
    log_info("No longer written: %s; the %zu keys there go when their time to live of %u s has passed",
             store_describe(publisher_store(target->publisher)), publisher_settled(target->publisher),
             target->publishers->config.ttl_s);
    counters_add(&target->publishers->retired, publisher_counters(target->publisher));
    target_close(target);
}

int publishers_configure(Publishers *publishers, EtcdApis apis, const PublisherConfig *config, bool new_stores)
{
    bool wanted[TARGETS] = { [TARGET_MAIN] = apis != ETCD_V2, [TARGET_V2] = apis == ETCD_V2 || apis == ETCD_V2_AND_V3 };
    StoreApi api[TARGETS] = { [TARGET_MAIN] = apis == ETCD_AUTO ? STORE_AUTO : STORE_V3, [TARGET_V2] = STORE_V2 };
    int r = 0;

    publishers->config = *config;
    publishers->both = wanted[TARGET_MAIN] && wanted[TARGET_V2];
    for (size_t i = 0; i < TARGETS && r >= 0; i++)
        if (wanted[i])
            r = target_configure(&publishers->targets[i], api[i], publishers->targets[!i].publisher, new_stores);
    for (size_t i = 0; i < TARGETS; i++)
        if (!wanted[i])
            target_retire(&publishers->targets[i]);
    return r;
}

Publisher *publishers_get(const Publishers *publishers, size_t i)
{
    for (size_t k = 0; k < TARGETS; k++)
        if (publishers->targets[k].publisher && i-- == 0)
            return publishers->targets[k].publisher;
    return NULL;
}

const char *publishers_api(const Publishers *publishers, const Publisher *publisher)
{
    return publisher == publishers->targets[TARGET_V2].publisher ? "v2" : "v3";
}

/* To all of them. */

int publishers_want(Publishers *publishers, const char *key, const char *value, const char *owner, const char *owner_id,
                    uint64_t event_ns)
{
    Publisher *publisher;
    int r = 0;

    PUBLISHERS_FOREACH (publisher, publishers) {
        int wanted = publisher_want(publisher, key, value, owner, owner_id, event_ns);

        r = r < 0 ? r : wanted;
    }
    return r;
}

void publishers_unwant(Publishers *publishers, const char *key, const char *after, uint64_t event_ns)
{
    Publisher *publisher;

    PUBLISHERS_FOREACH (publisher, publishers)
        publisher_unwant(publisher, key, after, event_ns);
}

void publishers_release(Publishers *publishers)
{
    Publisher *publisher;

    publishers->released = true;
    PUBLISHERS_FOREACH (publisher, publishers)
        publisher_release(publisher);
}

void publishers_drop_orphans(Publishers *publishers)
{
    Publisher *publisher;

    publishers->keep_orphans = false;
    PUBLISHERS_FOREACH (publisher, publishers)
        publisher_drop_orphans(publisher);
}

void publishers_audit(Publishers *publishers)
{
    Publisher *publisher;

    PUBLISHERS_FOREACH (publisher, publishers)
        publisher_audit(publisher);
}

/* Of all of them. */

PublishersProgress publishers_progress(const Publishers *publishers, bool heard)
{
    PublishersProgress progress = PUBLISHERS_DONE;
    Publisher *publisher;

    PUBLISHERS_FOREACH (publisher, publishers) {
        if (*publisher_why(publisher) != '\0')
            progress = PUBLISHERS_HINDERED;
        else if (!heard || publisher_state(publisher) != PUBLISHER_ONLINE || !publisher_is_idle(publisher))
            return PUBLISHERS_BUSY;
    }
    return progress;
}

bool publishers_are_idle(const Publishers *publishers)
{
    Publisher *publisher;

    PUBLISHERS_FOREACH (publisher, publishers)
        if (!publisher_is_idle(publisher))
            return false;
    return true;
}

bool publishers_own(const Publishers *publishers, const char *owner_id)
{
    Publisher *publisher;

    PUBLISHERS_FOREACH (publisher, publishers)
        if (publisher_owns(publisher, owner_id))
            return true;
    return false;
}

size_t publishers_settled(const Publishers *publishers)
{
    Publisher *publisher;
    size_t most = 0;

    PUBLISHERS_FOREACH (publisher, publishers)
        most = publisher_settled(publisher) > most ? publisher_settled(publisher) : most;
    return most;
}

PublisherCounters publishers_counters(const Publishers *publishers)
{
    PublisherCounters sum = publishers->retired;
    Publisher *publisher;

    PUBLISHERS_FOREACH (publisher, publishers)
        counters_add(&sum, publisher_counters(publisher));
    return sum;
}

const char *publishers_why(Publishers *publishers)
{
    const Target *target;

    for (target = publishers->targets; target < publishers->targets + TARGETS; target++)
        if (target->publisher && *publisher_why(target->publisher) != '\0')
            break;
    if (target == publishers->targets + TARGETS)
        return "";
    free(publishers->why);
    if (asprintf(&publishers->why, "%s%s", publisher_why(target->publisher), where(target)) < 0)
        publishers->why = NULL;
    return publishers->why ? publishers->why : publisher_why(target->publisher);
}

const char *publishers_describe(Publishers *publishers)
{
    Publisher *first = publishers_get(publishers, 0), *second = publishers_get(publishers, 1);

    if (!second)
        return first ? store_describe(publisher_store(first)) : "";
    free(publishers->description);
    if (asprintf(&publishers->description, "%s; %s", store_describe(publisher_store(first)),
                 store_describe(publisher_store(second))) < 0)
        publishers->description = NULL;
    return publishers->description ? publishers->description : "";
}

bool publishers_remote(const Publishers *publishers, struct sockaddr_storage *ret)
{
    Publisher *publisher;

    PUBLISHERS_FOREACH (publisher, publishers)
        if (etcd_remote(store_etcd(publisher_store(publisher)), ret))
            return true;
    return false;
}

/* Looking. */

static int target_look(Target *target)
{
    CLEANUP(look_free_p) Look *look = NULL;
    int r;

    if (!target->publisher || (target->look && !look_is_done(target->look)))
        return 0;
    r = look_new(&look, publisher_store(target->publisher));
    if (r >= 0)
        r = publisher_add_to_look(target->publisher, look);
    if (r < 0)
        return r;
    look_free(target->look);
    target->look = TAKE_PTR(look);
    look_start(target->look);
    return 0;
}

int publishers_look(Publishers *publishers)
{
    int r = 0;

    for (size_t i = 0; i < TARGETS && r >= 0; i++)
        r = target_look(&publishers->targets[i]);
    return r;
}

const Look *publishers_looked(const Publishers *publishers, size_t i)
{
    for (size_t k = 0; k < TARGETS; k++)
        if (publishers->targets[k].publisher && i-- == 0)
            return publishers->targets[k].look;
    return NULL;
}

/* Life. */

int publishers_new(Publishers **ret, sd_event *event, const PublishersHandlers *handlers, void *userdata)
{
    CLEANUP(publishers_free_p) Publishers *publishers = calloc(1, sizeof(*publishers));

    if (!publishers)
        return -ENOMEM;
    publishers->event = sd_event_ref(event);
    publishers->handlers = *handlers;
    publishers->userdata = userdata;
    publishers->keep_orphans = true;
    for (size_t i = 0; i < TARGETS; i++)
        publishers->targets[i].publishers = publishers;
    *ret = TAKE_PTR(publishers);
    return 0;
}

Publishers *publishers_free(Publishers *publishers)
{
    if (!publishers)
        return NULL;
    for (size_t i = 0; i < TARGETS; i++)
        target_close(&publishers->targets[i]);
    sd_event_unref(publishers->event);
    free(publishers->why);
    free(publishers->description);
    free(publishers);
    return NULL;
}
