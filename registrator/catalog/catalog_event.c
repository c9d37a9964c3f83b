/* What Docker announces: events change a container's life at once, or make it a question. */
#include "catalog/catalog_private.h"

enum {
    STOPPED_MAX = 256, /* stopped containers kept for status; the next list would forget them all anyway */
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
    end_drain_until_death(entry); /* the container was dead when it was drained, or its death came without an event */
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

/* There is no such container any more. */
void catalog_forget_entry(Catalog *catalog, CatalogEntry *entry)
{
    if (catalog->list_begin == 0) {
        catalog_remove_entry(catalog, entry);
        return;
    }
    /* Kept until the end of the list, which may still show it. */
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
    /* If an early inspect is open, its answer is compared with the time. */
    if (!knowledge_is_early(&entry->knowledge))
        entry->expected_ns = 0;
}

/* Which events tell of a container that was not known? Those that only a running one has, and, while a list is
 * under way, its end: the list may still show it. */
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

/* From healthy to unhealthy and back is a flip. What comes before the first healthy belongs to the start. */
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
        /* An unpause while stopping is dockerd's way of stopping a paused container, not a return. */
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
        /* Also of a stopped one: its old name may be another's now. */
        if (claims_forget(catalog->claims, entry->id))
            catalog_evaluate_waiting(catalog);
        catalog_ask(catalog, entry);
        return;
    case ACTION_RESTART:
        /* Comes after the start of the same restart, which has said it all. */
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
    else
        catalog_ask(catalog, entry); /* only a running container pauses or has a health: its start was missed */
}

/* Does the event say nothing of a container that is not running? dockerd connects the network before the start
 * and disconnects it after the death. Between the start and its answer such an event is no noise: the answer may
 * be older. */
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

/* dockerd connects a network before it starts the container. An inspect that is sent now waits for the container's lock,
 * and dockerd answers it when the start is complete. */
static bool announces_start(const CatalogEntry *entry, const DockerEvent *event)
{
    return event->action == ACTION_CONNECT && event->age_us == 0 && event->time_ns > 0 &&
           (!entry || is_noise(entry, event->action));
}

static void expect_start(Catalog *catalog, CatalogEntry *entry, int64_t time_ns)
{
    if (entry->expected_ns == 0)
        entry->expected_ns = time_ns; /* of several networks, the first */
    knowledge_move(&catalog->questions, &entry->knowledge, KNOWLEDGE_EXPECT);
}

/* Docker repeats events after a broken connection. What happened before the present start is over. */
static bool is_over(const CatalogEntry *entry, const DockerEvent *event)
{
    return event->action != ACTION_DESTROY && event->time_ns > 0 && entry->life.started_ns > (int64_t)event->time_ns;
}

void catalog_event(Catalog *catalog, const DockerEvent *event, uint64_t now_us)
{
    CatalogEntry *entry = catalog_find_entry(catalog, event->id);

    catalog->now_us = now_us;
    if (event->action == ACTION_DESTROY)
        catalog_forget_drain(catalog, event->id); /* a stopped one has no entry any more, and never starts again */
    bool early = announces_start(entry, event);

    if (!entry && (early || is_news(catalog, event->action)))
        entry = catalog_add_entry(catalog, event->id);
    if (entry && early) {
        expect_start(catalog, entry, (int64_t)event->time_ns);
        return;
    }
    /* Between two restarts, a container that is stopped gets no signal. */
    if (entry && event->action == ACTION_STOP)
        catalog_crash(catalog, entry, CRASH_STOPPED);
    if (!entry || is_noise(entry, event->action) || is_over(entry, event))
        return;
    knowledge_touch(&catalog->questions, &entry->knowledge);
    entry->event_ns = event->age_us == 0 ? event->time_ns : 0; /* a replay says nothing about the agent's speed */
    if (event->action != ACTION_DESTROY) {
        apply_event(catalog, entry, event);
        return;
    }
    catalog_forget_entry(catalog, entry);
}
