/* Docker's events: an event changes a container's life at once, or leads to a question. */
#include "catalog/catalog_private.h"

enum {
    /* stopped containers that are kept for status; otherwise the next list would remove all of them */
    STOPPED_MAX = 256,
};

static void end_drain_until_death(CatalogEntry *entry)
{
    if (entry->drain == DRAIN_UNTIL_DEATH)
        entry->drain = DRAIN_NONE;
}

static void move_life(Catalog *catalog, CatalogEntry *entry, LifeInput input)
{
    catalog_life_begin(catalog, entry);
    (void)life_move(&entry->life, input);
    catalog_life_end(catalog, entry);
}

void catalog_begin_life(Catalog *catalog, CatalogEntry *entry)
{
    move_life(catalog, entry, LIFE_START);
    catalog_crash(catalog, entry, CRASH_UP);
    /* the container was dead when the operator drained it, or no event announced its death */
    end_drain_until_death(entry);
}

static void apply_kill(Catalog *catalog, CatalogEntry *entry, const DockerEvent *event)
{
    StopRules rules;

    catalog_life_begin(catalog, entry);
    life_signal(&entry->life, event->signal, (int64_t)event->time_ns, catalog_stop_rules(catalog, entry, &rules),
                catalog->now_us);
    catalog_life_end(catalog, entry);
    (void)catalog_evaluate(catalog, entry);
    if (!entry->container)
        catalog_ask(catalog, entry);
}

/* Docker has removed the container. */
void catalog_forget_entry(Catalog *catalog, CatalogEntry *entry)
{
    if (catalog->list_begin == 0) {
        catalog_remove_entry(catalog, entry);
        return;
    }
    /* The entry stays until the list ends, because the list may still show the container. */
    knowledge_touch(&catalog->questions, &entry->knowledge);
    catalog_set_container(catalog, entry, NULL);
    move_life(catalog, entry, LIFE_DEATH);
    knowledge_move(&catalog->questions, &entry->knowledge, KNOWLEDGE_END);
    (void)catalog_evaluate(catalog, entry);
    if (claims_forget(catalog->claims, entry->id))
        catalog_evaluate_waiting(catalog);
}

static void apply_death(Catalog *catalog, CatalogEntry *entry)
{
    bool is_stop = life_is_stopping(&entry->life) || entry->drain == DRAIN_UNTIL_DEATH;

    catalog_crash(catalog, entry, is_stop ? CRASH_STOPPED : CRASH_DOWN);
    catalog_set_state(catalog, entry, CONTAINER_STOPPED);
    entry->expected_ns = 0;
    move_life(catalog, entry, LIFE_DEATH);
    end_drain_until_death(entry);
    knowledge_move(&catalog->questions, &entry->knowledge, KNOWLEDGE_END);
    (void)catalog_evaluate(catalog, entry);
    if (catalog->list_begin == 0 && (!entry->container || catalog->n_stopped > STOPPED_MAX))
        catalog_remove_entry(catalog, entry);
}

/* Has the answer to an early question shown the start that this event announces? */
static bool is_known_start(const CatalogEntry *entry)
{
    return entry->expected_ns > 0 && entry->life.started_ns >= entry->expected_ns &&
           !knowledge_is_open(&entry->knowledge);
}

static void apply_start(Catalog *catalog, CatalogEntry *entry)
{
    if (is_known_start(entry)) {
        entry->event_ns = 0;
    } else {
        catalog_begin_life(catalog, entry);
        knowledge_move(&catalog->questions, &entry->knowledge, KNOWLEDGE_START);
    }
    /* If an early inspect is open, its answer is compared with this time. */
    if (!knowledge_is_early(&entry->knowledge))
        entry->expected_ns = 0;
}

/* Does the event add an unknown container? Events that only a running container has do. While a list is under way,
 * the end of a container does as well, because the list may still show the container. */
static bool is_news(const Catalog *catalog, DockerAction action)
{
    switch (action) {
    case ACTION_START:
    case ACTION_RESTART:
    case ACTION_KILL:
    case ACTION_PAUSE:
    case ACTION_UNPAUSE:
    case ACTION_HEALTHY:
    case ACTION_UNHEALTHY:
        return true;
    case ACTION_DIE:
    case ACTION_DESTROY:
        return catalog->list_begin > 0;
    default:
        return false;
    }
}

/* The change from healthy to unhealthy counts as a crash. Health states before the first healthy one belong to the
 * start. */
static void apply_health(Catalog *catalog, CatalogEntry *entry, ContainerHealth health)
{
    ContainerHealth before = entry->container->health;

    if (before == HEALTH_HEALTHY && health == HEALTH_UNHEALTHY)
        catalog_crash(catalog, entry, CRASH_DOWN);
    else if (before == HEALTH_UNHEALTHY && health == HEALTH_HEALTHY)
        catalog_crash(catalog, entry, CRASH_UP);
    entry->container->health = health;
}

static void apply_event(Catalog *catalog, CatalogEntry *entry, const DockerEvent *event)
{
    Container *container = entry->container;
    bool runs = container && container->state != CONTAINER_STOPPED;

    switch (event->action) {
    case ACTION_KILL:
        apply_kill(catalog, entry, event);
        return;
    case ACTION_DIE:
        apply_death(catalog, entry);
        return;
    case ACTION_PAUSE:
    case ACTION_UNPAUSE:
        /* While the container is stopping, unpause does not cancel the stop: dockerd unpauses a paused container in
         * order to stop it. */
        if (runs)
            catalog_set_state(catalog, entry, event->action == ACTION_PAUSE ? CONTAINER_PAUSED : CONTAINER_RUNNING);
        break;
    case ACTION_HEALTHY:
    case ACTION_UNHEALTHY:
        if (runs)
            apply_health(catalog, entry, event->action == ACTION_HEALTHY ? HEALTH_HEALTHY : HEALTH_UNHEALTHY);
        break;
    case ACTION_START:
        entry->has_started = entry->has_started || event->age_us == 0;
        apply_start(catalog, entry);
        return;
    case ACTION_RENAME:
        /* Also for a stopped container: another container may have its old name now. */
        if (claims_forget(catalog->claims, entry->id))
            catalog_evaluate_waiting(catalog);
        catalog_ask(catalog, entry);
        return;
    case ACTION_RESTART:
        /* The restart event follows the start event of the same restart, which has had all effects. */
        if (!runs)
            catalog_ask(catalog, entry);
        return;
    default:
        if (runs || !container)
            catalog_ask(catalog, entry);
        return;
    }
    if (runs)
        (void)catalog_evaluate(catalog, entry);
    /* only a running container pauses or has a health state, so the agent missed the start */
    else
        catalog_ask(catalog, entry);
}

/* Does the event mean nothing because the container does not run? dockerd connects the network before the start and
 * disconnects the network after the death. Between the start event and the inspect's answer, such an event counts:
 * the answer may be older. */
static bool is_noise(const CatalogEntry *entry, DockerAction action)
{
    switch (action) {
    case ACTION_CONNECT:
    case ACTION_DISCONNECT:
    case ACTION_STOP:
    case ACTION_UPDATE:
        return !knowledge_is_open(&entry->knowledge) && (!entry->container || catalog_is_stopped(entry));
    case ACTION_RESTART:
        return knowledge_is_open(&entry->knowledge) || (entry->container && !catalog_is_stopped(entry));
    default:
        return false;
    }
}

/* dockerd connects a network before it starts the container. An inspect that is sent now waits for the container's
 * lock, and dockerd answers the inspect when the start is complete. */
static bool announces_start(const CatalogEntry *entry, const DockerEvent *event)
{
    return event->action == ACTION_CONNECT && event->age_us == 0 && event->time_ns > 0 &&
           (!entry || is_noise(entry, event->action));
}

static void expect_start(Catalog *catalog, CatalogEntry *entry, int64_t time_ns)
{
    if (entry->expected_ns == 0)
        entry->expected_ns = time_ns; /* with several networks, the time of the first event */
    knowledge_move(&catalog->questions, &entry->knowledge, KNOWLEDGE_EXPECT);
}

/* Docker repeats events after a broken connection. Events before the present start no longer count. */
static bool is_over(const CatalogEntry *entry, const DockerEvent *event)
{
    return event->action != ACTION_DESTROY && event->time_ns > 0 && entry->life.started_ns > (int64_t)event->time_ns;
}

void catalog_event(Catalog *catalog, const DockerEvent *event, uint64_t now_us)
{
    CatalogEntry *entry = catalog_find_entry(catalog, event->id);

    catalog->now_us = now_us;
    if (event->action == ACTION_DESTROY)
        /* a stopped container may have no entry, and Docker never starts a removed container again */
        catalog_forget_drain(catalog, event->id);
    bool early = announces_start(entry, event);

    if (!entry && (early || is_news(catalog, event->action)))
        entry = catalog_add_entry(catalog, event->id);
    if (entry && early) {
        expect_start(catalog, entry, (int64_t)event->time_ns);
        return;
    }
    /* Between two restarts, Docker sends no signal to a container that it stops. */
    if (entry && event->action == ACTION_STOP)
        catalog_crash(catalog, entry, CRASH_STOPPED);
    if (!entry || is_noise(entry, event->action) || is_over(entry, event))
        return;
    knowledge_touch(&catalog->questions, &entry->knowledge);
    /* a replayed event tells nothing about the agent's latency */
    entry->event_ns = event->age_us == 0 ? event->time_ns : 0;
    if (event->action != ACTION_DESTROY) {
        apply_event(catalog, entry, event);
        return;
    }
    catalog_forget_entry(catalog, entry);
}
