/* Docker's answers: inspects, lists, and the questions that lead to them. */
#include "catalog/catalog_private.h"

#include "base/numbers.h"

bool catalog_next_question(Catalog *catalog, bool early, CatalogQuestion *ret)
{
    Knowledge *knowledge = early ? questions_take_early(&catalog->questions) : questions_take(&catalog->questions);

    if (!knowledge)
        return false;
    ret->ticket = knowledge->ticket;
    (void)snprintf(ret->id, sizeof(ret->id), "%s", knowledge->id);
    return true;
}

void catalog_retry(Catalog *catalog)
{
    questions_move(&catalog->questions, KNOWLEDGE_FAILED, KNOWLEDGE_RETRY);
}

void catalog_lose_questions(Catalog *catalog)
{
    static const KnowledgeState lost[] = {
        KNOWLEDGE_ASKED,     KNOWLEDGE_OUTDATED,    KNOWLEDGE_ABANDONED,
        KNOWLEDGE_EARLY_DUE, KNOWLEDGE_EARLY_ASKED, KNOWLEDGE_EARLY_STARTED,
    };

    for (size_t i = 0; i < ARRAY_SIZE(lost); i++)
        questions_move(&catalog->questions, lost[i], KNOWLEDGE_LOSE);
}

static CatalogEntry *find_asked(Catalog *catalog, const char *id, uint64_t ticket)
{
    CatalogEntry *entry = catalog_find_entry(catalog, id);

    return entry && knowledge_is_asked(&entry->knowledge) && entry->knowledge.ticket == ticket ? entry : NULL;
}

/* If ports were pending, inspects the container again after 0.2, 0.5, 1 and 2 s. */
static void look_again(Catalog *catalog, CatalogEntry *entry, uint64_t now_us)
{
    static const uint64_t delays_us[] = { 200000, 300000, 500000, 1000000 };
    Knowledge *knowledge = &entry->knowledge;

    if (!entry->container->ports_pending)
        knowledge->incomplete = 0;
    else if (knowledge->incomplete < ARRAY_SIZE(delays_us))
        knowledge_wait(&catalog->questions, knowledge, now_us + delays_us[knowledge->incomplete++]);
}

/* dockerd 25 and newer: after a restart with live-restore, the health is "starting" for one interval, although the
 * container never stopped. */
static void keep_health(const CatalogEntry *entry, Container *answer)
{
    const Container *known = entry->container;

    if (known && known->complete && known->health == HEALTH_HEALTHY && answer->health == HEALTH_STARTING &&
        answer->started_ns != 0 && answer->started_ns == entry->life.started_ns)
        answer->health = HEALTH_HEALTHY;
}

static void live_on(Catalog *catalog, CatalogEntry *entry)
{
    bool runs = entry->container->state != CONTAINER_STOPPED, outlived = entry->life.state == LIFE_OVERDUE;
    bool is_over;
    StopRules rules;

    catalog_life_begin(catalog, entry);
    is_over = life_inspected(&entry->life, runs, entry->container->started_ns,
                             catalog_stop_rules(catalog, entry, &rules), catalog->now_us);
    catalog_life_end(catalog, entry);
    entry->has_started = entry->has_started || is_over;
    if (is_over && runs)
        catalog_crash(catalog, entry, CRASH_UP);
    if (is_over && entry->drain == DRAIN_UNTIL_DEATH)
        entry->drain = DRAIN_NONE;
    if (outlived && entry->life.state == LIFE_OUTLIVED) {
        readiness_clear(&catalog->probes, &entry->readiness); /* a process may have stopped listening */
        catalog->sink.outlived(catalog->sink.userdata, entry);
    }
}

/* Does the answer show the expected start? An earlier StartedAt belongs to an earlier start. */
static bool shows_start(const CatalogEntry *entry, const Container *answer)
{
    return answer && answer->state != CONTAINER_STOPPED && !answer->ports_pending && entry->expected_ns > 0 &&
           answer->started_ns >= entry->expected_ns;
}

/* The start event leads to the next question, unless the event has come already. */
static void drop_early(Catalog *catalog, CatalogEntry *entry, KnowledgeInput input)
{
    entry->expected_ns = 0;
    knowledge_move(&catalog->questions, &entry->knowledge, input);
    if (!entry->container && !knowledge_is_open(&entry->knowledge) && entry->life.resumed_ns == 0 &&
        catalog->list_begin == 0)
        catalog_remove_entry(catalog, entry);
}

/* The answer came before the start event. */
static void start_early(Catalog *catalog, CatalogEntry *entry, const Container *answer)
{
    catalog_begin_life(catalog, entry);
    entry->has_started = true;
    knowledge_touch(&catalog->questions, &entry->knowledge);
    entry->event_ns = (uint64_t)answer->started_ns;
}

CatalogInspected catalog_inspected(Catalog *catalog, const char *id, uint64_t ticket, Container *container,
                                   uint64_t now_us)
{
    CLEANUP(container_free_p) Container *owned = container;
    CatalogEntry *entry = find_asked(catalog, id, ticket);
    CatalogInspected changed;
    Knowledge *knowledge;
    bool is_stale, unannounced;

    if (!entry)
        return CATALOG_SAME; /* the catalog has given up this question */
    knowledge = &entry->knowledge;
    if (knowledge_is_early(knowledge) && !shows_start(entry, owned)) {
        drop_early(catalog, entry, KNOWLEDGE_MISFIT);
        return CATALOG_STALE;
    }
    unannounced = knowledge->state == KNOWLEDGE_EARLY_ASKED;
    is_stale = knowledge->state != KNOWLEDGE_ASKED && !knowledge_is_early(knowledge);
    knowledge_move(&catalog->questions, knowledge, KNOWLEDGE_ANSWER);
    if (is_stale)
        return CATALOG_STALE;
    changed = knowledge->by_list ? CATALOG_DRIFTED : CATALOG_CHANGED;
    knowledge->away = knowledge->by_list = false;
    if (!owned) {
        bool published = entry->records.n_items > 0 && entry->records.reason == REASON_NONE;

        catalog_forget_entry(catalog, entry);
        return published ? changed : CATALOG_SAME;
    }
    catalog->now_us = now_us;
    if (unannounced)
        start_early(catalog, entry, owned);
    else
        entry->expected_ns = 0;
    keep_health(entry, owned);
    catalog_set_container(catalog, entry, TAKE_PTR(owned));
    entry->rules_version = catalog->rules_version;
    look_again(catalog, entry, now_us);
    live_on(catalog, entry);
    return catalog_evaluate(catalog, entry) ? changed : CATALOG_SAME;
}

bool catalog_inspect_failed(Catalog *catalog, const char *id, uint64_t ticket)
{
    CatalogEntry *entry = find_asked(catalog, id, ticket);
    bool early = entry && knowledge_is_early(&entry->knowledge);
    bool first = entry && !early && !entry->knowledge.failed && entry->knowledge.state != KNOWLEDGE_ABANDONED;

    if (early)
        drop_early(catalog, entry, KNOWLEDGE_FAILURE);
    else if (entry)
        knowledge_move(&catalog->questions, &entry->knowledge, KNOWLEDGE_FAILURE);
    return first;
}

void catalog_list_begin(Catalog *catalog)
{
    catalog->list_begin = ++catalog->questions.clock;
    catalog->n_left_out = 0;
}

/* A list lags behind events and inspects, so a difference only leads to an inspect. */
static void ask_by_list(Catalog *catalog, CatalogEntry *entry)
{
    bool by_event = knowledge_is_open(&entry->knowledge) || knowledge_is_expecting(&entry->knowledge);

    entry->knowledge.by_list = entry->knowledge.by_list || !by_event;
    knowledge_move(&catalog->questions, &entry->knowledge, KNOWLEDGE_ASK);
}

/* If Docker sends no event for the death, only an inspect shows the death: a list does not show when a container
 * started. */
static bool waits_for_death(const CatalogEntry *entry)
{
    return life_is_stopping(&entry->life) || entry->drain == DRAIN_UNTIL_DEATH;
}

void catalog_listed(Catalog *catalog, Container *container)
{
    CLEANUP(container_free_p) Container *owned = container;
    CatalogEntry *entry = catalog_find_entry(catalog, owned->id);
    bool is_new = !entry;

    if (is_new)
        entry = catalog_add_entry(catalog, owned->id);
    if (!entry)
        return;
    entry->knowledge.listed = catalog->list_begin;
    if (entry->knowledge.changed > catalog->list_begin)
        return; /* an event is newer than the list */
    if (!is_new && entry->container && !knowledge_is_open(&entry->knowledge) && !waits_for_death(entry) &&
        container_same_as_listed(entry->container, owned))
        return;
    if (is_new)
        catalog_set_container(catalog, entry, TAKE_PTR(owned)); /* for the container's name */
    ask_by_list(catalog, entry);
}

void catalog_list_end(Catalog *catalog, bool complete)
{
    CatalogEntry *entry, *next;
    uint64_t begin = catalog->list_begin;

    catalog->list_begin = 0;
    HASH_ITER (hh, catalog->entries, entry, next) {
        const Knowledge *knowledge = &entry->knowledge;
        bool seen = knowledge->listed == begin || knowledge->changed > begin;
        /* The state file may name the stop of a container that only a complete list shows. */
        bool unknown = !entry->container && (complete || entry->life.resumed_ns == 0);
        bool ended = complete && !seen && catalog_is_stopped(entry);

        if (!knowledge_is_open(knowledge) && !knowledge_is_expecting(knowledge) && (unknown || ended))
            catalog_remove_entry(catalog, entry);
        else if (complete && !seen)
            ask_by_list(catalog, entry);
    }
}

size_t catalog_left_out(const Catalog *catalog)
{
    return catalog->n_left_out;
}

static uint64_t expire_stops(Catalog *catalog, uint64_t now_us)
{
    if (catalog->n_stopping == 0)
        return 0;
    if (catalog->next_limit_us > now_us)
        return catalog->next_limit_us;
    catalog->next_limit_us = UINT64_MAX;
    for (CatalogEntry *entry = catalog->entries; entry; entry = entry->hh.next) {
        bool overdue;

        catalog_life_begin(catalog, entry);
        overdue = life_expire(&entry->life, now_us);
        catalog_life_end(catalog, entry);
        if (!overdue)
            continue;
        knowledge_touch(&catalog->questions, &entry->knowledge);
        catalog_ask(catalog, entry);
    }
    return catalog->next_limit_us < UINT64_MAX ? catalog->next_limit_us : 0;
}

uint64_t catalog_expire(Catalog *catalog, uint64_t now_us)
{
    uint64_t claim_us, stop_us, delay_us;

    catalog->now_us = now_us;
    if (claims_expire(catalog->claims, now_us, &claim_us))
        catalog_evaluate_waiting(catalog);
    stop_us = expire_stops(catalog, now_us);
    delay_us = catalog_expire_delays(catalog, now_us);
    return earlier_us(earlier_us(earlier_us(stop_us, delay_us), claim_us), questions_run(&catalog->questions, now_us));
}

size_t catalog_unanswered(const Catalog *catalog)
{
    return questions_open(&catalog->questions);
}

size_t catalog_failed(const Catalog *catalog)
{
    return catalog->questions.n[KNOWLEDGE_FAILED];
}

uint64_t catalog_mark(const Catalog *catalog)
{
    return catalog->questions.clock;
}

bool catalog_is_inspected(const Catalog *catalog, uint64_t mark)
{
    return questions_are_tried(&catalog->questions, mark);
}

bool catalog_is_known(const Catalog *catalog, uint64_t mark)
{
    return questions_are_answered(&catalog->questions, mark);
}
