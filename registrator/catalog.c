/* uthash would end the process where memory is short; so it leaves the item out, which hh.tbl tells. */
#define HASH_NONFATAL_OOM 1

#include "catalog.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

/* Who has which key: two containers whose names come out alike must not write the same one in turn. */
typedef struct Claim {
    CatalogEntry *owner;
    UT_hash_handle hh;
    char key[];
} Claim;

enum {
    STOPPED_MAX = 256, /* stopped containers kept for status; the next list would forget them all anyway */
    /* After its stop timeout dockerd sends SIGKILL: that event must come before we take the container back. */
    STOP_MARGIN_US = 1000000,
    KILL_TIMEOUT_US = 10000000, /* SIGKILL to a process that cannot die (uninterruptible): look again */
};

struct Catalog {
    const Rules *rules;
    bool environment;
    CatalogSink sink;
    CatalogEntry *entries;
    Claim *claims;
    uint64_t clock; /* counts events and questions: which came first */
    uint64_t list_begin; /* the clock when the list under way was asked for; 0: none is */
    /* Of the entries, so that what comes with each event need not look at all of them. */
    size_t n_stopped, n_running, n_dirty, n_waiting, n_duplicates, n_deadlines;
    uint64_t next_deadline_us; /* none of them is before this */
    bool docker_away, host_drained;
    char **held; /* IDs of containers that the operator holds out */
    size_t n_held;
};

int catalog_new(Catalog **ret, const Rules *rules, bool environment, const CatalogSink *sink)
{
    Catalog *catalog = calloc(1, sizeof(*catalog));

    if (!catalog)
        return -ENOMEM;
    catalog->rules = rules;
    catalog->environment = environment;
    catalog->sink = *sink;
    catalog->next_deadline_us = UINT64_MAX;
    *ret = catalog;
    return 0;
}

/* later: dirty, but nothing is to wait for its answer: the question failed, or is not urgent. */
static void set_dirty(Catalog *catalog, CatalogEntry *entry, bool dirty, bool later)
{
    catalog->n_dirty -= entry->dirty;
    catalog->n_waiting -= entry->dirty && !entry->later;
    entry->dirty = dirty;
    entry->later = dirty && later;
    catalog->n_dirty += entry->dirty;
    catalog->n_waiting += entry->dirty && !entry->later;
}

static Claim *find_claim(Catalog *catalog, const char *key)
{
    Claim *claim;

    HASH_FIND_STR(catalog->claims, key, claim);
    return claim;
}

/* 1: it is this container's; 0: another's; -ENOMEM. */
static int claim_key(Catalog *catalog, CatalogEntry *entry, const char *key)
{
    Claim *claim = find_claim(catalog, key);
    size_t size = strlen(key) + 1;

    if (claim)
        return claim->owner == entry;
    claim = calloc(1, sizeof(*claim) + size);
    if (!claim)
        return -ENOMEM;
    claim->owner = entry;
    memcpy(claim->key, key, size);
    HASH_ADD_STR(catalog->claims, key, claim);
    if (claim->hh.tbl)
        return 1;
    free(claim);
    return -ENOMEM;
}

static void release_key(Catalog *catalog, CatalogEntry *entry, const char *key)
{
    Claim *claim = find_claim(catalog, key);

    if (!claim || claim->owner != entry)
        return;
    HASH_DEL(catalog->claims, claim);
    free(claim);
}

static const Record *find_record(const Records *records, Reason reason, const char *key)
{
    for (size_t i = 0; i < records->n_items; i++)
        if (records->items[i].reason == reason && strcmp(records->items[i].key, key) == 0)
            return &records->items[i];
    return NULL;
}

/* Reasons that are not the container's facts; they come before those that are. */
static Reason own_reason(const Catalog *catalog, const CatalogEntry *entry)
{
    if (entry->container && entry->container->state == CONTAINER_STOPPED)
        return REASON_NOT_RUNNING;
    if (entry->away)
        return REASON_DOCKER_AWAY;
    if (entry->stopping_until_us > 0)
        return REASON_STOPPING;
    if (entry->drain != DRAIN_NONE)
        return entry->drain == DRAIN_HELD ? REASON_DRAINED : REASON_DRAINING;
    if (catalog->host_drained)
        return REASON_HOST_DRAINED;
    return REASON_NONE;
}

Reason catalog_reason(const Catalog *catalog, const CatalogEntry *entry)
{
    Reason reason = own_reason(catalog, entry);

    return reason != REASON_NONE ? reason : entry->records.reason;
}

/* All of them, or with -ENOMEM none that was not the container's before. */
static int claim_keys(Catalog *catalog, CatalogEntry *entry, Records *records)
{
    for (size_t i = 0; i < records->n_items; i++) {
        Record *record = &records->items[i];
        int r = record->reason == REASON_NONE ? claim_key(catalog, entry, record->key) : 1;

        if (r == 0)
            record->reason = REASON_DUPLICATE;
        if (r >= 0)
            continue;
        while (i-- > 0)
            if (records->items[i].reason == REASON_NONE &&
                !find_record(&entry->records, REASON_NONE, records->items[i].key))
                release_key(catalog, entry, records->items[i].key);
        return r;
    }
    return 0;
}

/* What the container's facts and the catalog's own reasons come to. 0 or -ENOMEM. */
static int make_records(Catalog *catalog, CatalogEntry *entry, Records *ret)
{
    Reason reason;
    int r;

    *ret = (Records){ .reason = REASON_NONE };
    if (!entry->container || (catalog->environment && !entry->container->complete))
        return 0;
    r = records_from_container(ret, entry->container, catalog->rules);
    if (r < 0)
        return r;
    reason = own_reason(catalog, entry);
    if (reason == REASON_NONE)
        reason = ret->reason;
    ret->reason = reason;
    for (size_t i = 0; i < ret->n_items; i++) {
        Record *record = &ret->items[i];

        if (record->reason == REASON_NONE)
            record->reason = reason;
    }
    r = claim_keys(catalog, entry, ret);
    if (r < 0)
        records_clear(ret);
    return r;
}

static bool has_duplicate(const CatalogEntry *entry)
{
    for (size_t i = 0; i < entry->records.n_items; i++)
        if (entry->records.items[i].reason == REASON_DUPLICATE)
            return true;
    return false;
}

static bool evaluate_one(Catalog *catalog, CatalogEntry *entry, bool *ret_released)
{
    Records old = entry->records, new;
    const char *successor = NULL;
    bool changed = false;

    if (make_records(catalog, entry, &new) < 0) {
        set_dirty(catalog, entry, true, false); /* no memory: what is published stays, and is looked at again */
        return false;
    }
    catalog->n_duplicates -= has_duplicate(entry);
    entry->records = new;
    catalog->n_duplicates += has_duplicate(entry);

    for (size_t i = 0; i < new.n_items; i++) {
        const Record *record = &new.items[i], *before;

        if (record->reason == REASON_DUPLICATE && !find_record(&old, REASON_DUPLICATE, record->key))
            catalog->sink.duplicate(catalog->sink.userdata, entry, record->key);
        if (record->reason != REASON_NONE)
            continue;
        before = find_record(&old, REASON_NONE, record->key);
        if (!before)
            successor = record->key;
        if (before && strcmp(before->value, record->value) == 0)
            continue;
        catalog->sink.want(catalog->sink.userdata, entry, record->key, record->value);
        changed = true;
    }
    for (size_t i = 0; i < old.n_items; i++) {
        const Record *record = &old.items[i];

        if (record->reason != REASON_NONE || find_record(&new, REASON_NONE, record->key))
            continue;
        catalog->sink.unwant(catalog->sink.userdata, entry, record->key, successor);
        release_key(catalog, entry, record->key);
        *ret_released = changed = true;
    }
    records_clear(&old);
    if (!entry->dirty)
        entry->event_ns = 0; /* what changes later has another cause */
    return changed;
}

/* Those that wait for a key that another container of this host has: it may be free now. */
static void evaluate_waiting(Catalog *catalog)
{
    bool released = true;

    while (released && catalog->n_duplicates > 0) {
        released = false;
        for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next)
            if (has_duplicate(entry))
                (void)evaluate_one(catalog, entry, &released);
    }
}

static bool evaluate(Catalog *catalog, CatalogEntry *entry)
{
    bool released = false;
    bool changed = evaluate_one(catalog, entry, &released);

    if (released)
        evaluate_waiting(catalog);
    return changed;
}

static void evaluate_all(Catalog *catalog)
{
    bool released = false;

    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next)
        (void)evaluate_one(catalog, entry, &released);
    if (released)
        evaluate_waiting(catalog);
}

static bool is_stopped(const CatalogEntry *entry)
{
    return entry->container && entry->container->state == CONTAINER_STOPPED;
}

static CatalogEntry *find_entry(Catalog *catalog, const char *id)
{
    CatalogEntry *entry;

    HASH_FIND_STR(catalog->entries, id, entry);
    return entry;
}

static size_t find_held(const Catalog *catalog, const char *id)
{
    for (size_t i = 0; i < catalog->n_held; i++)
        if (strcmp(catalog->held[i], id) == 0)
            return i;
    return SIZE_MAX;
}

static int hold(Catalog *catalog, const char *id)
{
    char **larger;

    if (find_held(catalog, id) != SIZE_MAX)
        return 0;
    if (catalog->n_held >= CATALOG_HELD_MAX)
        return -ENOBUFS;
    larger = reallocarray(catalog->held, catalog->n_held + 1, sizeof(*larger));
    if (!larger)
        return -ENOMEM;
    catalog->held = larger;
    larger[catalog->n_held] = strdup(id);
    if (!larger[catalog->n_held])
        return -ENOMEM;
    catalog->n_held++;
    return 0;
}

static void unhold(Catalog *catalog, const char *id)
{
    size_t i = find_held(catalog, id);

    if (i == SIZE_MAX)
        return;
    free(catalog->held[i]);
    catalog->held[i] = catalog->held[--catalog->n_held];
}

static CatalogEntry *add_entry(Catalog *catalog, const char *id)
{
    CatalogEntry *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return NULL; /* the next list brings it again */
    (void)snprintf(entry->id, sizeof(entry->id), "%s", id);
    if (find_held(catalog, id) != SIZE_MAX)
        entry->drain = DRAIN_HELD;
    HASH_ADD_STR(catalog->entries, id, entry);
    if (entry->hh.tbl)
        return entry;
    free(entry);
    return NULL;
}

static void count_container(Catalog *catalog, const CatalogEntry *entry, int change)
{
    if (is_stopped(entry))
        catalog->n_stopped += (size_t)change;
    else if (entry->container)
        catalog->n_running += (size_t)change;
}

static void set_container(Catalog *catalog, CatalogEntry *entry, Container *container)
{
    count_container(catalog, entry, -1);
    container_free(entry->container);
    entry->container = container;
    count_container(catalog, entry, 1);
}

static void set_state(Catalog *catalog, CatalogEntry *entry, ContainerState state)
{
    if (!entry->container)
        return;
    count_container(catalog, entry, -1);
    entry->container->state = state;
    count_container(catalog, entry, 1);
}

static bool has_deadline(const CatalogEntry *entry)
{
    return entry->stopping_until_us > 0 && entry->stopping_until_us < UINT64_MAX;
}

static void set_stopping(Catalog *catalog, CatalogEntry *entry, uint64_t until_us)
{
    catalog->n_deadlines -= has_deadline(entry);
    entry->stopping_until_us = until_us;
    catalog->n_deadlines += has_deadline(entry);
    if (has_deadline(entry) && until_us < catalog->next_deadline_us)
        catalog->next_deadline_us = until_us;
}

static void free_entry(Catalog *catalog, CatalogEntry *entry)
{
    HASH_DEL(catalog->entries, entry);
    set_dirty(catalog, entry, false, false);
    set_stopping(catalog, entry, 0);
    set_container(catalog, entry, NULL);
    catalog->n_duplicates -= has_duplicate(entry);
    records_clear(&entry->records);
    free(entry);
}

static void remove_entry(Catalog *catalog, CatalogEntry *entry)
{
    bool released = false;

    set_container(catalog, entry, NULL);
    (void)evaluate_one(catalog, entry, &released);
    free_entry(catalog, entry);
    if (released)
        evaluate_waiting(catalog);
}

Catalog *catalog_free(Catalog *catalog)
{
    if (!catalog)
        return NULL;
    while (catalog->entries) {
        for (size_t i = 0; i < catalog->entries->records.n_items; i++)
            if (catalog->entries->records.items[i].key)
                release_key(catalog, catalog->entries, catalog->entries->records.items[i].key);
        free_entry(catalog, catalog->entries);
    }
    for (size_t i = 0; i < catalog->n_held; i++)
        free(catalog->held[i]);
    free(catalog->held);
    free(catalog);
    return NULL;
}

static void ask(Catalog *catalog, CatalogEntry *entry)
{
    set_dirty(catalog, entry, true, entry->later);
    if (entry->asked > 0)
        return; /* the answer will be seen to be stale, and asked for again */
    if (catalog->sink.inspect(catalog->sink.userdata, entry->id, ++catalog->clock))
        entry->asked = catalog->clock;
}

void catalog_ask(Catalog *catalog)
{
    if (catalog->n_dirty == 0)
        return;
    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next)
        if (entry->dirty)
            ask(catalog, entry);
}

void catalog_forget_questions(Catalog *catalog)
{
    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next)
        entry->asked = 0;
}

void catalog_set_rules(Catalog *catalog, const Rules *rules, bool environment, bool inspect)
{
    catalog->rules = rules;
    catalog->environment = environment;
    if (!inspect) {
        evaluate_all(catalog);
        return;
    }
    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next) {
        entry->changed = ++catalog->clock;
        entry->by_list = false;
        set_dirty(catalog, entry, true, false);
        ask(catalog, entry);
    }
}

/* Events. */

static uint64_t signal_bit(int number)
{
    return number >= 1 && number <= 64 ? UINT64_C(1) << (number - 1) : 0;
}

static void begin_stopping(Catalog *catalog, CatalogEntry *entry, int number, uint64_t now_us)
{
    int stop_signal = entry->container ? entry->container->stop_signal : SIGTERM;
    int64_t timeout_s = entry->container ? entry->container->stop_timeout_s : 10;

    if (number != SIGKILL && number != stop_signal)
        return;
    entry->survived = false;
    if (number == SIGKILL)
        set_stopping(catalog, entry, now_us + KILL_TIMEOUT_US);
    else if (timeout_s < 0)
        set_stopping(catalog, entry, UINT64_MAX);
    else
        set_stopping(catalog, entry, now_us + (uint64_t)timeout_s * 1000000 + STOP_MARGIN_US);
}

static void end_stopping(Catalog *catalog, CatalogEntry *entry)
{
    set_stopping(catalog, entry, 0);
    entry->survived = false;
    entry->signals = 0;
}

static void apply_kill(Catalog *catalog, CatalogEntry *entry, int number, uint64_t now_us)
{
    begin_stopping(catalog, entry, number, now_us);
    if (!entry->container || !entry->container->complete) {
        /* Which signal is its stop signal, and how long a stop may take, inspect is yet to tell. */
        entry->signals |= signal_bit(number);
        entry->signalled_us = now_us;
    }
    (void)evaluate(catalog, entry);
    if (!entry->container)
        ask(catalog, entry);
}

/* The signals that came before inspect told what they mean. */
static void judge_signals(Catalog *catalog, CatalogEntry *entry)
{
    uint64_t signals = entry->signals;

    if (signals == 0)
        return;
    end_stopping(catalog, entry);
    if (signals & signal_bit(entry->container->stop_signal))
        begin_stopping(catalog, entry, entry->container->stop_signal, entry->signalled_us);
    if (signals & signal_bit(SIGKILL))
        begin_stopping(catalog, entry, SIGKILL, entry->signalled_us);
}

/* There is no such container any more. */
static void forget_entry(Catalog *catalog, CatalogEntry *entry)
{
    if (catalog->list_begin == 0) {
        remove_entry(catalog, entry);
        return;
    }
    /* Kept until the end of the list, which may still show it. */
    entry->changed = ++catalog->clock;
    set_container(catalog, entry, NULL);
    end_stopping(catalog, entry);
    set_dirty(catalog, entry, false, false);
    (void)evaluate(catalog, entry);
}

static void apply_death(Catalog *catalog, CatalogEntry *entry)
{
    set_state(catalog, entry, CONTAINER_STOPPED);
    end_stopping(catalog, entry);
    set_dirty(catalog, entry, false, false);
    if (entry->drain == DRAIN_UNTIL_DEATH)
        entry->drain = DRAIN_NONE;
    (void)evaluate(catalog, entry);
    if (catalog->list_begin == 0 && (!entry->container || catalog->n_stopped > STOPPED_MAX))
        remove_entry(catalog, entry);
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

static void apply_event(Catalog *catalog, CatalogEntry *entry, const DockerEvent *event, uint64_t now_us)
{
    Container *container = entry->container;
    bool runs = container && container->state != CONTAINER_STOPPED;

    switch (event->action) {
    case ACTION_KILL:
        apply_kill(catalog, entry, event->signal, now_us);
        return;
    case ACTION_DIE:
        apply_death(catalog, entry);
        return;
    case ACTION_PAUSE:
    case ACTION_UNPAUSE:
        /* An unpause while stopping is dockerd's way of stopping a paused container, not a return. */
        if (runs)
            set_state(catalog, entry, event->action == ACTION_PAUSE ? CONTAINER_PAUSED : CONTAINER_RUNNING);
        break;
    case ACTION_HEALTHY:
    case ACTION_UNHEALTHY:
        if (runs)
            container->health = event->action == ACTION_HEALTHY ? HEALTH_HEALTHY : HEALTH_UNHEALTHY;
        break;
    case ACTION_START:
        end_stopping(catalog, entry);
        /* It was dead when it was drained, or its death was not heard of. */
        if (entry->drain == DRAIN_UNTIL_DEATH)
            entry->drain = DRAIN_NONE;
        ask(catalog, entry);
        return;
    case ACTION_RENAME:
        /* Also of a stopped one: its old name may be another's now. */
        ask(catalog, entry);
        return;
    case ACTION_RESTART:
        /* Comes after the start of the same restart, which has said it all. */
        if (!runs)
            ask(catalog, entry);
        return;
    default:
        if (runs || !container)
            ask(catalog, entry);
        return;
    }
    if (runs)
        (void)evaluate(catalog, entry);
    else
        ask(catalog, entry); /* only a running container pauses or has a health: its start was missed */
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
        return !entry->dirty && (!entry->container || is_stopped(entry));
    case ACTION_RESTART:
        return entry->dirty || (entry->container && !is_stopped(entry));
    default:
        return false;
    }
}

void catalog_event(Catalog *catalog, const DockerEvent *event, uint64_t now_us)
{
    CatalogEntry *entry = find_entry(catalog, event->id);

    if (event->action == ACTION_DESTROY)
        unhold(catalog, event->id); /* a stopped one has no entry any more, and never starts again */
    if (!entry && is_news(catalog, event->action))
        entry = add_entry(catalog, event->id);
    if (!entry || is_noise(entry, event->action))
        return;
    entry->changed = ++catalog->clock;
    entry->event_ns = event->time_ns;
    entry->by_list = false;
    set_dirty(catalog, entry, entry->dirty, false);
    if (event->action != ACTION_DESTROY) {
        apply_event(catalog, entry, event, now_us);
        return;
    }
    forget_entry(catalog, entry);
}

/* Answers. */

CatalogInspected catalog_inspected(Catalog *catalog, const char *id, uint64_t ticket, Container *container)
{
    CLEANUP(container_free_p) Container *owned = container;
    CatalogEntry *entry = find_entry(catalog, id);
    CatalogInspected changed;
    bool unheard;

    if (!entry || entry->asked != ticket)
        return CATALOG_SAME; /* a question that was given up */
    entry->asked = 0;
    if (entry->changed > ticket) {
        if (entry->dirty)
            ask(catalog, entry);
        return CATALOG_STALE;
    }
    set_dirty(catalog, entry, false, false);
    entry->away = entry->failed = false;
    changed = entry->by_list ? CATALOG_DRIFTED : CATALOG_CHANGED;
    unheard = entry->by_list && entry->unheard;
    entry->by_list = entry->unheard = false;
    if (!owned) {
        bool published = entry->records.n_items > 0 && entry->records.reason == REASON_NONE;

        forget_entry(catalog, entry);
        return published ? changed : CATALOG_SAME;
    }
    if (owned->state == CONTAINER_STOPPED || entry->survived)
        end_stopping(catalog, entry);
    set_container(catalog, entry, TAKE_PTR(owned));
    judge_signals(catalog, entry);
    return evaluate(catalog, entry) || unheard ? changed : CATALOG_SAME;
}

bool catalog_inspect_failed(Catalog *catalog, const char *id, uint64_t ticket)
{
    CatalogEntry *entry = find_entry(catalog, id);
    bool first;

    if (!entry || entry->asked != ticket)
        return false;
    entry->asked = 0;
    first = !entry->failed;
    entry->failed = true;
    set_dirty(catalog, entry, entry->dirty, true);
    return first;
}

void catalog_list_begin(Catalog *catalog)
{
    catalog->list_begin = ++catalog->clock;
    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next)
        entry->listed = false;
}

void catalog_listed(Catalog *catalog, Container *container)
{
    CLEANUP(container_free_p) Container *owned = container;
    CatalogEntry *entry = find_entry(catalog, owned->id);
    bool is_new = !entry;

    if (is_new)
        entry = add_entry(catalog, owned->id);
    if (!entry)
        return;
    entry->listed = true;
    if (entry->changed > catalog->list_begin)
        return; /* an event is newer than the list */
    if (!is_new && entry->container && !entry->dirty && container_same_as_listed(entry->container, owned))
        return;
    /* The list lags behind events and inspects, so a difference is only a reason to ask. What was never heard of
     * is taken as listed meanwhile, unless its environment may say otherwise (see make_records()). */
    if (is_new) {
        set_container(catalog, entry, TAKE_PTR(owned));
        entry->unheard = evaluate(catalog, entry);
    }
    if (is_new && !catalog->environment) {
        /* Published as listed; what inspect has to add (how it wants to be stopped) can wait for that. */
        entry->by_list = true;
        set_dirty(catalog, entry, true, true);
        return;
    }
    entry->by_list = !entry->dirty;
    ask(catalog, entry);
}

void catalog_list_end(Catalog *catalog, bool complete)
{
    CatalogEntry *entry, *next;
    uint64_t begin = catalog->list_begin;

    catalog->list_begin = 0;
    HASH_ITER (hh, catalog->entries, entry, next) {
        bool seen = entry->listed || entry->changed > begin;
        bool unknown = !entry->container, ended = complete && !seen && is_stopped(entry);

        if (!entry->dirty && (unknown || ended)) {
            remove_entry(catalog, entry);
        } else if (complete && !seen) {
            entry->by_list = !entry->dirty;
            ask(catalog, entry);
        }
    }
}

uint64_t catalog_expire(Catalog *catalog, uint64_t now_us)
{
    if (catalog->n_deadlines == 0)
        return 0;
    if (catalog->next_deadline_us > now_us)
        return catalog->next_deadline_us;
    catalog->next_deadline_us = UINT64_MAX;
    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next) {
        uint64_t until = entry->stopping_until_us;

        if (!has_deadline(entry))
            continue;
        if (until > now_us) {
            if (until < catalog->next_deadline_us)
                catalog->next_deadline_us = until;
            continue;
        }
        /* It survived its stop: ask, and take it back when Docker says that it runs. */
        set_stopping(catalog, entry, UINT64_MAX);
        entry->survived = true;
        entry->changed = ++catalog->clock;
        ask(catalog, entry);
    }
    return catalog->n_deadlines > 0 ? catalog->next_deadline_us : 0;
}

/* The operator and Docker's absence. */

void catalog_set_docker_away(Catalog *catalog, bool away)
{
    if (catalog->docker_away == away)
        return;
    catalog->docker_away = away;
    /* Back, the list has shown which ones run on as they were. Of the others nobody knows until they are
     * inspected: they may have died meanwhile. */
    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next)
        entry->away = away || (entry->away && entry->dirty);
    evaluate_all(catalog);
}

int catalog_drain(Catalog *catalog, const char *id, Drain drain)
{
    CatalogEntry *entry = find_entry(catalog, id);

    if (drain == DRAIN_HELD) {
        int r = hold(catalog, id);

        if (r < 0)
            return r;
    } else {
        unhold(catalog, id);
    }
    if (entry) {
        entry->drain = drain;
        (void)evaluate(catalog, entry);
    }
    return 0;
}

size_t catalog_held(const Catalog *catalog, char *const **ret_ids)
{
    *ret_ids = catalog->held;
    return catalog->n_held;
}

bool catalog_is_host_drained(const Catalog *catalog)
{
    return catalog->host_drained;
}

void catalog_set_host_drained(Catalog *catalog, bool drained)
{
    catalog->host_drained = drained;
    evaluate_all(catalog);
}

/* Looking up. */

CatalogEntry *catalog_first(Catalog *catalog)
{
    return catalog->entries;
}

size_t catalog_size(const Catalog *catalog)
{
    return HASH_COUNT(catalog->entries);
}

size_t catalog_running(const Catalog *catalog)
{
    return catalog->n_running;
}

size_t catalog_unanswered(const Catalog *catalog)
{
    return catalog->n_dirty;
}

size_t catalog_waiting(const Catalog *catalog)
{
    return catalog->n_waiting;
}

CatalogEntry *catalog_find(Catalog *catalog, const char *name_or_id)
{
    CatalogEntry *by_id = find_entry(catalog, name_or_id), *by_prefix = NULL;
    size_t size = strlen(name_or_id);
    bool unique = true;

    if (by_id)
        return by_id;
    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next) {
        if (entry->container && strcmp(entry->container->name, name_or_id) == 0)
            return entry;
        if (size >= 4 && strncmp(entry->id, name_or_id, size) == 0) {
            unique = unique && !by_prefix;
            by_prefix = entry;
        }
    }
    return unique ? by_prefix : NULL;
}
