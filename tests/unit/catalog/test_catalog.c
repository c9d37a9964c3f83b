/* What should be published, whatever the order in which events, answers and lists come. The catalog is pure, so
 * Docker is played by the test: containers with their true state, of which the tests tell as dockerd would. */
#include "unit/catalog/rules.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000)

enum { CONTAINERS_MAX = 8, KEYS_MAX = 64, QUESTIONS_MAX = 64 };

/* What a container truly is. */
typedef struct Truth {
    bool exists;
    ContainerState state;
    ContainerHealth health;
    char name[32];
    uint16_t port, second_port; /* host ports of 80 and 443; 0: not published */
    int stop_signal;
    int64_t stop_timeout_s;
    bool ports_pending; /* of a port that is to be bound */
    int64_t created_ns, started_ns;
    const char *service; /* of SERVICE_NAME in the environment, or NULL */
} Truth;

typedef struct Question {
    char id[65];
    uint64_t ticket;
} Question;

typedef struct Wanted {
    char key[64], value[64], id[65];
    int64_t created_ns; /* of the container */
} Wanted;

typedef struct Rig {
    Layout layout;
    Rules rules;
    Catalog *catalog;
    Truth truth[CONTAINERS_MAX];
    Question questions[QUESTIONS_MAX]; /* not answered yet, the oldest first */
    size_t n_questions;
    Wanted wanted[KEYS_MAX];
    size_t n_wanted;
    bool deaf; /* questions are not taken */
    uint64_t now_us;
    uint64_t event_ns; /* of the events that are told */
    uint64_t wish_ns; /* that the last wish came with */
    char log[4096]; /* of wishes, since rig_forget_log() */
    size_t n_asked; /* likewise */
} Rig;

/* Sink */

__attribute__((format(printf, 2, 3))) static void rig_log(Rig *rig, const char *format, ...)
{
    size_t used = strlen(rig->log);
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(rig->log + used, sizeof(rig->log) - used, format, arguments);
    va_end(arguments);
}

/* "0003…": the number in the first four digits. */
static void make_id(char ret[65], int number)
{
    (void)snprintf(ret, 65, "%04x%060x", (unsigned)number, (unsigned)number);
}

static int number_of(const char *id)
{
    return (int)strtol(id + 4, NULL, 16);
}

static Wanted *rig_find(Rig *rig, const char *key)
{
    for (size_t i = 0; i < rig->n_wanted; i++)
        if (strcmp(rig->wanted[i].key, key) == 0)
            return &rig->wanted[i];
    return NULL;
}

static void on_want(void *userdata, const CatalogEntry *entry, const char *key, const char *value)
{
    Rig *rig = userdata;
    Wanted *wanted = rig_find(rig, key);

    if (wanted) {
        /* Only an older container takes a key over, and no call changes nothing. */
        if (strcmp(wanted->id, entry->id) != 0)
            assert_true(wanted->created_ns > entry->container->created_ns);
        assert_string_not_equal(wanted->value, value);
    } else {
        assert_true(rig->n_wanted < KEYS_MAX);
        wanted = &rig->wanted[rig->n_wanted++];
    }
    (void)snprintf(wanted->key, sizeof(wanted->key), "%s", key);
    (void)snprintf(wanted->value, sizeof(wanted->value), "%s", value);
    (void)snprintf(wanted->id, sizeof(wanted->id), "%s", entry->id);
    wanted->created_ns = entry->container->created_ns;
    rig->wish_ns = entry->event_ns;
    rig_log(rig, "+%s=%s ", key, value);
}

static void on_unwant(void *userdata, const CatalogEntry *entry, const char *key, const char *after)
{
    Rig *rig = userdata;
    Wanted *wanted = rig_find(rig, key);

    assert_non_null(wanted);
    assert_string_equal(wanted->id, entry->id);
    if (after) {
        assert_non_null(rig_find(rig, after));
        assert_string_equal(rig_find(rig, after)->id, entry->id);
    }
    *wanted = rig->wanted[--rig->n_wanted];
    rig->wish_ns = entry->event_ns;
    rig_log(rig, "-%s%s%s ", key, after ? ">" : "", after ? after : "");
}

static void on_outlived(void *userdata, const CatalogEntry *entry)
{
    Rig *rig = userdata;

    rig_log(rig, "outlived:%s ", entry->container->name);
}

static void on_duplicate(void *userdata, const CatalogEntry *entry, const char *key)
{
    Rig *rig = userdata;

    /* Nobody has a key that is kept for a container which restarts. */
    if (rig_find(rig, key))
        assert_string_not_equal(rig_find(rig, key)->id, entry->id);
    rig_log(rig, "=%s ", key);
}

/* Free slots take all questions that there are. */
static void pull(Rig *rig)
{
    CatalogQuestion next;

    while (!rig->deaf &&
           (catalog_next_question(rig->catalog, false, &next) || catalog_next_question(rig->catalog, true, &next))) {
        Question *question = &rig->questions[rig->n_questions];

        assert_true(rig->n_questions < QUESTIONS_MAX);
        memcpy(question->id, next.id, sizeof(question->id));
        question->ticket = next.ticket;
        rig->n_questions++;
        rig->n_asked++;
    }
}

static void retry(Rig *rig)
{
    catalog_retry(rig->catalog);
    pull(rig);
}

static void end_list(Rig *rig, bool complete)
{
    catalog_list_end(rig->catalog, complete);
    pull(rig);
}

static uint64_t expire(Rig *rig, uint64_t now_us)
{
    uint64_t next = catalog_expire(rig->catalog, now_us);

    pull(rig);
    return next;
}

/* The delay of a container that has crashed, or whose health flips, has passed. */
static void pass_delay(Rig *rig, unsigned seconds)
{
    rig->now_us += seconds * SECOND - 1;
    (void)expire(rig, rig->now_us);
    rig->now_us++;
    (void)expire(rig, rig->now_us);
}

static void set_rules(Rig *rig, bool inspect)
{
    catalog_set_rules(rig->catalog, &rig->rules, inspect);
    pull(rig);
}

/* Rig */

static void rig_open(Rig *rig)
{
    CatalogSink sink = sink_build(rig);

    sink.want = on_want;
    sink.unwant = on_unwant;
    sink.duplicate = on_duplicate;
    sink.outlived = on_outlived;
    *rig = (Rig){ .now_us = 1000 * SECOND };
    rig->rules = rules_build(&rig->layout);
    rig->rules.stop_limit_s = 5;
    assert_int_equal(catalog_new(&rig->catalog, &rig->rules, &sink), 0);
    for (int i = 0; i < CONTAINERS_MAX; i++)
        rig->truth[i] = (Truth){ .stop_signal = SIGTERM, .stop_timeout_s = 10, .created_ns = i + 1 };
}

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig_open(rig);
    *state = rig;
    return 0;
}

static void rig_close(Rig *rig)
{
    rig->catalog = catalog_free(rig->catalog);
    layout_clear(&rig->layout);
}

static int teardown(void **state)
{
    Rig *rig = *state;

    rig_close(rig);
    free(rig);
    return 0;
}

static char *copy(const char *text)
{
    char *copied = strdup(text);

    assert_non_null(copied);
    return copied;
}

static Container *make_container(const Truth *truth, const char *id, bool complete)
{
    Container *container = calloc(1, sizeof(*container));
    uint16_t ports[] = { truth->port, truth->second_port }, inside[] = { 80, 443 };

    assert_non_null(container);
    container->id = copy(id);
    container->name = copy(truth->name);
    container->image = copy("app:1");
    container->network_mode = copy("default");
    container->state = truth->state;
    container->complete = complete;
    container->health = complete || truth->state == CONTAINER_RUNNING ? truth->health : HEALTH_NONE;
    container->ports_pending = complete && truth->ports_pending;
    container->created_ns = complete ? truth->created_ns : 0;
    container->started_ns = complete ? truth->started_ns : 0;
    container->stop_signal = complete ? truth->stop_signal : SIGTERM;
    container->stop_timeout_s = complete ? truth->stop_timeout_s : 10;
    container->ports = calloc(2, sizeof(*container->ports));
    assert_non_null(container->ports);
    /* What has stopped has no bindings. */
    for (size_t i = 0; i < 2 && truth->state != CONTAINER_STOPPED; i++)
        if (ports[i] > 0)
            container->ports[container->n_ports++] =
                (Port){ .container_port = inside[i], .host_port = ports[i], .any4 = true, .any6 = true };
    if (complete && truth->service) {
        container->metadata = calloc(1, sizeof(*container->metadata));
        assert_non_null(container->metadata);
        container->metadata[container->n_metadata++] =
            (Label){ .key = copy("SERVICE_NAME"), .value = copy(truth->service) };
    }
    return container;
}

static void tell(Rig *rig, int number, DockerAction action)
{
    DockerEvent event = { .action = action, .time_ns = rig->event_ns };

    make_id(event.id, number);
    catalog_event(rig->catalog, &event, rig->now_us);
    pull(rig);
}

static void tell_kill(Rig *rig, int number, int signal_number)
{
    DockerEvent event = { .action = ACTION_KILL, .signal = signal_number, .time_ns = rig->event_ns };

    make_id(event.id, number);
    catalog_event(rig->catalog, &event, rig->now_us);
    pull(rig);
}

static Question rig_take_question(Rig *rig, size_t i)
{
    Question question = rig->questions[i];

    memmove(&rig->questions[i], &rig->questions[i + 1], (--rig->n_questions - i) * sizeof(*rig->questions));
    return question;
}

static CatalogInspected answer_with(Rig *rig, Question question, const Truth *truth)
{
    Container *container = truth->exists ? make_container(truth, question.id, true) : NULL;

    CatalogInspected inspected = catalog_inspected(rig->catalog, question.id, question.ticket, container, rig->now_us);

    pull(rig);
    return inspected;
}

/* The oldest question, with the truth. */
static CatalogInspected answer(Rig *rig)
{
    assert_true(rig->n_questions > 0);
    Question question = rig_take_question(rig, 0);
    return answer_with(rig, question, &rig->truth[number_of(question.id)]);
}

static void answer_all(Rig *rig)
{
    for (int i = 0; rig->n_questions > 0; i++) {
        assert_true(i < 1000);
        (void)answer(rig);
    }
}

static void list_as(Rig *rig, int number, const Truth *truth)
{
    char id[65];

    make_id(id, number);
    if (truth->exists && truth->state != CONTAINER_STOPPED)
        catalog_listed(rig->catalog, make_container(truth, id, false));
}

static void list_all(Rig *rig)
{
    catalog_list_begin(rig->catalog);
    for (int i = 0; i < CONTAINERS_MAX; i++)
        list_as(rig, i, &rig->truth[i]);
    end_list(rig, true);
}

static void rig_forget_log(Rig *rig)
{
    rig->log[0] = '\0';
    rig->n_asked = 0;
}

/* Becomes true, without a word to the catalog. */
static void is_running(Rig *rig, int number, const char *name, uint16_t port)
{
    Truth *truth = &rig->truth[number];

    truth->exists = true;
    truth->state = CONTAINER_RUNNING;
    truth->port = port;
    (void)snprintf(truth->name, sizeof(truth->name), "%s", name);
}

/* docker run, heard and answered. */
static void run(Rig *rig, int number, const char *name, uint16_t port)
{
    is_running(rig, number, name, port);
    tell(rig, number, ACTION_CONNECT);
    tell(rig, number, ACTION_START);
    answer_all(rig);
    rig_forget_log(rig);
}

static void assert_wanted(Rig *rig, const char *key, const char *value)
{
    Wanted *wanted = rig_find(rig, key);

    if (!value) {
        assert_null(wanted);
        return;
    }
    assert_non_null(wanted);
    assert_string_equal(wanted->value, value);
}

static CatalogEntry *entry_of(Rig *rig, int number)
{
    char id[65];

    make_id(id, number);
    return catalog_find(rig->catalog, id);
}

#define WEB "/app/servers/web"

/* Orders of events as dockerd 20.10 sends them. */

static void start_is_asked_about_and_published(void **state)
{
    Rig *rig = *state;

    is_running(rig, 1, "web", 32768);
    tell(rig, 1, ACTION_CONNECT);
    assert_int_equal(rig->n_asked, 0);
    tell(rig, 1, ACTION_START);
    assert_int_equal(rig->n_asked, 1);
    assert_int_equal(catalog_unanswered(rig->catalog), 1);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:32768 ");
    assert_int_equal(catalog_unanswered(rig->catalog), 0);
    assert_int_equal(catalog_running(rig->catalog), 1);
    assert_int_equal(catalog_reason(rig->catalog, entry_of(rig, 1)), REASON_NONE);
}

static void tell_at(Rig *rig, int number, DockerAction action, uint64_t time_ns)
{
    rig->event_ns = time_ns;
    tell(rig, number, action);
}

/* A connect at 10 ns: the inspect is open before the container runs. */
static void announce(Rig *rig, int number, const char *name)
{
    is_running(rig, number, name, 1);
    rig->truth[number].state = CONTAINER_STOPPED;
    rig_forget_log(rig);
    tell_at(rig, number, ACTION_CONNECT, 10);
    assert_int_equal(rig->n_asked, 1);
    assert_int_equal(catalog_unanswered(rig->catalog), 0);
}

static void starts_at(Rig *rig, int number, int64_t time_ns)
{
    rig->truth[number].state = CONTAINER_RUNNING;
    rig->truth[number].started_ns = time_ns;
}

static void an_early_answer_registers_before_the_start_event(void **state)
{
    Rig *rig = *state;

    announce(rig, 1, "web");
    assert_int_equal(rig->n_wanted, 0);
    starts_at(rig, 1, 20);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:1 ");
    assert_int_equal(rig->wish_ns, 20);
    tell_at(rig, 1, ACTION_START, 30);
    assert_int_equal(rig->n_asked, 1);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:1 ");
    /* A second start, of which nothing announced the death, is another one. */
    tell_at(rig, 1, ACTION_START, 40);
    assert_int_equal(rig->n_asked, 2);
    (void)answer(rig);
    rig->event_ns = 50;
    tell_kill(rig, 1, SIGTERM);
    assert_int_equal(rig->n_wanted, 0);
}

static void an_early_answer_after_the_start_event_counts(void **state)
{
    Rig *rig = *state;

    announce(rig, 1, "web");
    starts_at(rig, 1, 20);
    tell_at(rig, 1, ACTION_START, 30);
    assert_int_equal(catalog_unanswered(rig->catalog), 1);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:1 ");
    assert_int_equal(rig->wish_ns, 30);
    assert_int_equal(rig->n_asked, 1);
    assert_int_equal(catalog_unanswered(rig->catalog), 0);
}

static void an_early_answer_that_shows_no_start_is_dropped(void **state)
{
    Rig *rig = *state;

    /* Podman: the container does not run yet. */
    announce(rig, 1, "web");
    assert_int_equal(answer(rig), CATALOG_STALE);
    assert_int_equal(catalog_size(rig->catalog), 0);
    starts_at(rig, 1, 20);
    tell_at(rig, 1, ACTION_START, 30);
    assert_int_equal(rig->n_asked, 2);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
    /* It runs since before the network was connected. */
    announce(rig, 2, "old");
    starts_at(rig, 2, 9);
    assert_int_equal(answer(rig), CATALOG_STALE);
    assert_int_equal(rig->n_wanted, 1);
    /* So old an answer, after the start event: Docker is asked again. */
    announce(rig, 3, "other");
    starts_at(rig, 3, 9);
    tell_at(rig, 3, ACTION_START, 30);
    assert_int_equal(answer(rig), CATALOG_STALE);
    starts_at(rig, 3, 20);
    assert_int_equal(rig->n_asked, 2);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
    assert_int_equal(rig->n_wanted, 2);
    /* The ports are not bound yet. */
    announce(rig, 4, "late");
    starts_at(rig, 4, 20);
    rig->truth[4].ports_pending = true;
    assert_int_equal(answer(rig), CATALOG_STALE);
    assert_int_equal(rig->n_wanted, 2);
}

static void a_start_that_hangs_or_fails_is_no_failure(void **state)
{
    Rig *rig = *state;

    announce(rig, 1, "web");
    assert_false(catalog_inspect_failed(rig->catalog, rig->questions[0].id, rig->questions[0].ticket));
    (void)rig_take_question(rig, 0);
    assert_int_equal(catalog_failed(rig->catalog), 0);
    assert_int_equal(catalog_size(rig->catalog), 0);
    starts_at(rig, 1, 20);
    tell_at(rig, 1, ACTION_START, 30);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
    assert_int_equal(rig->n_asked, 2);
}

static void a_restart_is_asked_about_early(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    rig->now_us += 60 * SECOND; /* so that its end is no crash */
    tell_at(rig, 1, ACTION_DIE, 5);
    announce(rig, 1, "web");
    rig->truth[1].port = 2;
    starts_at(rig, 1, 20);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:2 ");
    tell_at(rig, 1, ACTION_START, 30);
    tell_at(rig, 1, ACTION_RESTART, 40);
    assert_int_equal(rig->n_asked, 1);
    /* It dies before the answer comes. */
    tell_at(rig, 1, ACTION_DIE, 50);
    rig_forget_log(rig);
    tell_at(rig, 1, ACTION_CONNECT, 60);
    starts_at(rig, 1, 70);
    tell_at(rig, 1, ACTION_START, 80);
    tell_at(rig, 1, ACTION_DIE, 90);
    assert_int_equal(answer(rig), CATALOG_STALE);
    assert_string_equal(rig->log, "");
}

/* The operator drained the dead container. */
static void an_early_answer_ends_a_drain_until_death(void **state)
{
    Rig *rig = *state;
    char id[65];

    make_id(id, 1);
    run(rig, 1, "web", 1);
    rig->now_us += 60 * SECOND; /* so that its end is no crash */
    tell_at(rig, 1, ACTION_DIE, 5);
    assert_int_equal(catalog_drain(rig->catalog, id, DRAIN_UNTIL_DEATH), 0);
    announce(rig, 1, "web");
    starts_at(rig, 1, 20);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:1 ");
}

static void a_list_does_not_disturb_early_questions(void **state)
{
    Rig *rig = *state;

    announce(rig, 1, "web");
    list_all(rig);
    assert_int_equal(catalog_size(rig->catalog), 1);
    starts_at(rig, 1, 20);
    list_all(rig); /* shows what no event has told yet: one will */
    assert_int_equal(rig->n_asked, 1);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
    assert_int_equal(rig->n_wanted, 1);
    /* The connection ends: the list of the next one tells. */
    announce(rig, 2, "two");
    catalog_lose_questions(rig->catalog);
    list_all(rig);
    assert_int_equal(catalog_size(rig->catalog), 1);
}

static void wishes_tell_when_their_event_was(void **state)
{
    Rig *rig = *state;
    char id[65];

    make_id(id, 1);
    is_running(rig, 1, "web", 1);
    rig->event_ns = 5;
    tell(rig, 1, ACTION_START);
    (void)answer(rig);
    assert_int_equal(rig->wish_ns, 5);
    /* What the operator does is no answer to that event. */
    assert_int_equal(catalog_drain(rig->catalog, id, DRAIN_BY_OPERATOR), 0);
    assert_int_equal(rig->wish_ns, 0);
    assert_int_equal(catalog_drain(rig->catalog, id, DRAIN_NONE), 0);
    assert_int_equal(rig->wish_ns, 0);
    /* Two events, one answer: the newer one counts. */
    rig->truth[1].port = 2;
    rig->event_ns = 6;
    tell(rig, 1, ACTION_UPDATE);
    rig->event_ns = 7;
    tell(rig, 1, ACTION_UPDATE);
    answer_all(rig);
    assert_string_equal(rig_find(rig, WEB)->value, "192.0.2.1:2");
    assert_int_equal(rig->wish_ns, 7);
    rig->event_ns = 8;
    tell_kill(rig, 1, SIGTERM);
    assert_int_equal(rig->n_wanted, 0);
    assert_int_equal(rig->wish_ns, 8);
}

static void list_tells_no_time(void **state)
{
    Rig *rig = *state;

    is_running(rig, 1, "web", 1);
    rig->wish_ns = 9;
    list_all(rig);
    answer_all(rig);
    assert_int_equal(rig->n_wanted, 1);
    assert_int_equal(rig->wish_ns, 0);
}

static void stop_deregisters_at_the_signal(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell_kill(rig, 1, SIGTERM);
    assert_string_equal(rig->log, "-" WEB " ");
    assert_int_equal(catalog_reason(rig->catalog, entry_of(rig, 1)), REASON_STOPPING);
    rig->truth[1].state = CONTAINER_STOPPED;
    tell(rig, 1, ACTION_DIE);
    tell(rig, 1, ACTION_DISCONNECT);
    tell(rig, 1, ACTION_STOP);
    assert_string_equal(rig->log, "-" WEB " ");
    assert_int_equal(rig->n_asked, 0);
    assert_int_equal(catalog_reason(rig->catalog, entry_of(rig, 1)), REASON_NOT_RUNNING);
    assert_int_equal(expire(rig, UINT64_MAX), 0);
    assert_int_equal(rig->n_asked, 0);
}

static void ignored_stop_ends_in_sigkill(void **state)
{
    Rig *rig = *state;

    rig->truth[1].stop_timeout_s = 3;
    run(rig, 1, "web", 1);
    tell_kill(rig, 1, SIGTERM);
    rig->now_us += 4 * SECOND;
    (void)expire(rig, rig->now_us);
    tell_kill(rig, 1, SIGKILL);
    tell(rig, 1, ACTION_DIE);
    tell(rig, 1, ACTION_DISCONNECT);
    tell(rig, 1, ACTION_STOP);
    assert_string_equal(rig->log, "-" WEB " ");
    assert_int_equal(rig->n_asked, 0);
}

static void hangup_changes_nothing(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell_kill(rig, 1, SIGHUP);
    tell_kill(rig, 1, 0);
    assert_string_equal(rig->log, "");
    assert_int_equal(rig->n_asked, 0);
    assert_int_equal(expire(rig, UINT64_MAX), 0);
}

static void the_containers_stop_signal_deregisters(void **state)
{
    Rig *rig = *state;

    rig->truth[1].stop_signal = SIGQUIT;
    run(rig, 1, "web", 1);
    tell_kill(rig, 1, SIGTERM);
    assert_string_equal(rig->log, "");
    tell_kill(rig, 1, SIGQUIT);
    assert_string_equal(rig->log, "-" WEB " ");
}

static void forced_removal(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell_kill(rig, 1, SIGKILL);
    assert_string_equal(rig->log, "-" WEB " ");
    tell(rig, 1, ACTION_DIE);
    tell(rig, 1, ACTION_DISCONNECT);
    tell(rig, 1, ACTION_DESTROY);
    assert_string_equal(rig->log, "-" WEB " ");
    assert_int_equal(rig->n_asked, 0);
    assert_int_equal(catalog_size(rig->catalog), 0);
}

static void own_exit(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell(rig, 1, ACTION_DIE);
    assert_string_equal(rig->log, "-" WEB " ");
    tell(rig, 1, ACTION_DISCONNECT);
    assert_int_equal(catalog_size(rig->catalog), 1);
    tell(rig, 1, ACTION_DESTROY);
    assert_int_equal(catalog_size(rig->catalog), 0);
    assert_int_equal(rig->n_asked, 0);
}

static void restart_takes_one_question(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell_kill(rig, 1, SIGTERM);
    tell(rig, 1, ACTION_DIE);
    tell(rig, 1, ACTION_DISCONNECT);
    tell(rig, 1, ACTION_STOP);
    rig->truth[1].port = 2;
    tell(rig, 1, ACTION_CONNECT);
    tell(rig, 1, ACTION_START);
    tell(rig, 1, ACTION_RESTART);
    assert_int_equal(rig->n_asked, 1);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
    assert_string_equal(rig->log, "-" WEB " +" WEB "=192.0.2.1:2 ");
    assert_int_equal(rig->n_questions, 0);
    tell(rig, 1, ACTION_RESTART);
    assert_int_equal(rig->n_questions, 0);
}

static void restart_policy(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell(rig, 1, ACTION_DIE);
    tell(rig, 1, ACTION_DISCONNECT);
    rig->truth[1].port = 2;
    tell(rig, 1, ACTION_CONNECT);
    tell(rig, 1, ACTION_START);
    answer_all(rig);
    assert_string_equal(rig->log, "-" WEB " ");
    assert_int_equal(catalog_reason(rig->catalog, entry_of(rig, 1)), REASON_CRASH_LOOP);
    pass_delay(rig, 1);
    assert_string_equal(rig->log, "-" WEB " +" WEB "=192.0.2.1:2 ");
    assert_int_equal(rig->n_asked, 1);
}

static void crash_loop_waits_longer_each_time(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    for (unsigned delay = 1; delay <= 64; delay *= 2) {
        uint64_t start_us = rig->now_us;

        tell(rig, 1, ACTION_DIE);
        tell(rig, 1, ACTION_START);
        answer_all(rig);
        rig_forget_log(rig);
        rig->now_us = start_us + (delay < 60 ? delay : 60) * SECOND - 1;
        (void)expire(rig, rig->now_us);
        assert_string_equal(rig->log, "");
        (void)expire(rig, ++rig->now_us);
        assert_string_equal(rig->log, "+" WEB "=192.0.2.1:1 ");
    }
    /* A stop and a start by the operator. */
    tell_kill(rig, 1, SIGTERM);
    tell(rig, 1, ACTION_DIE);
    rig_forget_log(rig);
    tell(rig, 1, ACTION_START);
    answer_all(rig);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:1 ");
}

static void a_crash_while_it_waits_ends_the_wait(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell(rig, 1, ACTION_DIE);
    tell(rig, 1, ACTION_START);
    answer_all(rig);
    tell(rig, 1, ACTION_DIE);
    rig_forget_log(rig);
    pass_delay(rig, 5);
    assert_string_equal(rig->log, "");
    tell(rig, 1, ACTION_DESTROY);
    pass_delay(rig, 60);
    assert_string_equal(rig->log, "");
}

static void pause_and_unpause(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell(rig, 1, ACTION_PAUSE);
    assert_string_equal(rig->log, "-" WEB " ");
    assert_int_equal(catalog_reason(rig->catalog, entry_of(rig, 1)), REASON_PAUSED);
    tell(rig, 1, ACTION_UNPAUSE);
    assert_string_equal(rig->log, "-" WEB " +" WEB "=192.0.2.1:1 ");
    assert_int_equal(rig->n_asked, 0);
}

static void unpause_of_a_stop_registers_nothing(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell(rig, 1, ACTION_PAUSE);
    rig_forget_log(rig);
    tell_kill(rig, 1, SIGTERM);
    tell(rig, 1, ACTION_UNPAUSE);
    tell_kill(rig, 1, SIGKILL);
    tell(rig, 1, ACTION_DIE);
    assert_string_equal(rig->log, "");
}

static void health_decides(void **state)
{
    Rig *rig = *state;

    rig->truth[1].health = HEALTH_STARTING;
    run(rig, 1, "web", 1);
    assert_wanted(rig, WEB, NULL);
    tell(rig, 1, ACTION_HEALTHY);
    assert_wanted(rig, WEB, "192.0.2.1:1");
    tell(rig, 1, ACTION_UNHEALTHY);
    assert_wanted(rig, WEB, NULL);
    assert_int_equal(catalog_reason(rig->catalog, entry_of(rig, 1)), REASON_UNHEALTHY);
    tell(rig, 1, ACTION_HEALTHY);
    /* A health that flips waits like a container that crashes. */
    assert_wanted(rig, WEB, NULL);
    assert_int_equal(catalog_reason(rig->catalog, entry_of(rig, 1)), REASON_CRASH_LOOP);
    pass_delay(rig, 1);
    assert_wanted(rig, WEB, "192.0.2.1:1");
    assert_int_equal(rig->n_asked, 0);
}

static void container_that_outlives_its_stop_is_registered_again(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell_kill(rig, 1, SIGTERM);
    uint64_t next = expire(rig, rig->now_us);
    rig->now_us = next - 1;
    (void)expire(rig, rig->now_us);
    assert_int_equal(rig->n_asked, 0);
    rig->now_us = next;
    assert_int_equal(expire(rig, rig->now_us), 0);
    assert_int_equal(rig->n_asked, 1);
    /* Not before Docker says that it runs, whatever else is looked at meanwhile. */
    set_rules(rig, false);
    tell_kill(rig, 1, SIGHUP);
    assert_wanted(rig, WEB, NULL);
    answer_all(rig);
    assert_wanted(rig, WEB, "192.0.2.1:1");
    assert_int_equal(expire(rig, rig->now_us), 0);
    tell_kill(rig, 1, SIGTERM);
    assert_wanted(rig, WEB, NULL);
}

static void container_that_died_without_an_event_is_not_registered_again(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell_kill(rig, 1, SIGKILL);
    rig->truth[1].state = CONTAINER_STOPPED;
    rig->now_us += 11 * SECOND;
    (void)expire(rig, rig->now_us);
    assert_int_equal(rig->n_asked, 1);
    answer_all(rig);
    assert_string_equal(rig->log, "-" WEB " ");
}

static void stop_without_a_timeout_lasts_until_death(void **state)
{
    Rig *rig = *state;

    rig->truth[1].stop_timeout_s = -1;
    run(rig, 1, "web", 1);
    tell_kill(rig, 1, SIGTERM);
    (void)expire(rig, rig->now_us + 1000000 * SECOND);
    assert_int_equal(rig->n_asked, 0);
    tell(rig, 1, ACTION_DIE);
    tell(rig, 1, ACTION_START);
    answer_all(rig);
    assert_wanted(rig, WEB, "192.0.2.1:1");
}

/* Signals that come before inspect has told what they mean. */

static void stop_signal_before_the_answer_counts(void **state)
{
    Rig *rig = *state;

    rig->truth[1].stop_signal = SIGQUIT;
    rig->truth[1].stop_timeout_s = 60;
    is_running(rig, 1, "web", 1);
    tell(rig, 1, ACTION_START);
    tell_kill(rig, 1, SIGQUIT);
    tell_kill(rig, 1, SIGHUP);
    answer_all(rig);
    assert_wanted(rig, WEB, NULL);
    assert_true(expire(rig, rig->now_us) >= rig->now_us + 60 * SECOND);
}

static void signal_before_the_answer_that_is_no_stop(void **state)
{
    Rig *rig = *state;

    rig->truth[1].stop_signal = SIGQUIT;
    is_running(rig, 1, "web", 1);
    list_all(rig);
    tell_kill(rig, 1, SIGTERM); /* as far as the list tells, it stops */
    answer_all(rig);
    assert_wanted(rig, WEB, "192.0.2.1:1");
    assert_int_equal(expire(rig, rig->now_us), 0);
}

static void hangup_of_an_unknown_one_during_the_list_asks(void **state)
{
    Rig *rig = *state;

    is_running(rig, 1, "web", 1);
    catalog_list_begin(rig->catalog);
    tell_kill(rig, 1, SIGHUP);
    list_as(rig, 1, &rig->truth[1]);
    end_list(rig, true);
    answer_all(rig);
    assert_wanted(rig, WEB, "192.0.2.1:1");
}

/* Answers */

static void stale_answer_is_dropped_and_asked_again(void **state)
{
    Rig *rig = *state;

    is_running(rig, 1, "web", 1);
    tell(rig, 1, ACTION_START);
    Question old = rig_take_question(rig, 0);
    Truth before = rig->truth[1];
    tell(rig, 1, ACTION_DIE);
    assert_int_equal(answer_with(rig, old, &before), CATALOG_SAME);
    assert_string_equal(rig->log, "");
    assert_int_equal(rig->n_questions, 0);

    tell(rig, 1, ACTION_START);
    old = rig_take_question(rig, 0);
    (void)snprintf(rig->truth[1].name, sizeof(rig->truth[1].name), "new");
    tell(rig, 1, ACTION_RENAME);
    assert_int_equal(answer_with(rig, old, &before), CATALOG_STALE);
    assert_string_equal(rig->log, "");
    assert_int_equal(rig->n_questions, 1);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
    assert_string_equal(rig->log, "+/app/servers/new=192.0.2.1:1 ");
}

/* A known one keeps its entry at death: the answer that was on its way finds it. */
static void answer_from_before_the_death_is_dropped(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell(rig, 1, ACTION_RENAME);
    Question old = rig_take_question(rig, 0);
    tell(rig, 1, ACTION_DIE);
    assert_int_equal(answer_with(rig, old, &rig->truth[1]), CATALOG_STALE);
    assert_string_equal(rig->log, "-" WEB " ");
    assert_int_equal(rig->n_questions, 0);
    assert_int_equal(catalog_unanswered(rig->catalog), 0);
}

static void network_change_before_the_answer_makes_it_stale(void **state)
{
    Rig *rig = *state;

    is_running(rig, 1, "web", 1);
    tell(rig, 1, ACTION_START);
    tell(rig, 1, ACTION_CONNECT);
    assert_int_equal(answer(rig), CATALOG_STALE);
    assert_int_equal(rig->n_questions, 1);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
}

static void failed_question_is_asked_again(void **state)
{
    Rig *rig = *state;

    is_running(rig, 1, "web", 1);
    tell(rig, 1, ACTION_START);
    uint64_t mark = catalog_mark(rig->catalog);
    Question old = rig_take_question(rig, 0);
    assert_false(catalog_is_inspected(rig->catalog, mark));
    assert_false(catalog_inspect_failed(rig->catalog, old.id, old.ticket + 1));
    retry(rig);
    assert_int_equal(rig->n_questions, 0);
    assert_true(catalog_inspect_failed(rig->catalog, old.id, old.ticket));
    assert_int_equal(catalog_unanswered(rig->catalog), 1);
    assert_int_equal(catalog_failed(rig->catalog), 1);
    assert_true(catalog_is_inspected(rig->catalog, mark));
    assert_false(catalog_is_known(rig->catalog, mark));
    retry(rig);
    old = rig_take_question(rig, 0);
    assert_false(catalog_inspect_failed(rig->catalog, old.id, old.ticket)); /* no news */
    retry(rig);
    assert_int_equal(rig->n_questions, 1);
    answer_all(rig);
    assert_wanted(rig, WEB, "192.0.2.1:1");
    assert_int_equal(catalog_unanswered(rig->catalog), 0);
    assert_true(catalog_is_known(rig->catalog, mark));
    /* The next question counts again. */
    tell(rig, 1, ACTION_RENAME);
    assert_false(catalog_is_inspected(rig->catalog, catalog_mark(rig->catalog)));
    old = rig_take_question(rig, 0);
    assert_true(catalog_inspect_failed(rig->catalog, old.id, old.ticket));
}

static void question_that_is_given_up_is_not_answered(void **state)
{
    Rig *rig = *state;

    is_running(rig, 1, "web", 1);
    tell(rig, 1, ACTION_START);
    Question old = rig_take_question(rig, 0);
    catalog_lose_questions(rig->catalog);
    assert_int_equal(answer_with(rig, old, &rig->truth[1]), CATALOG_SAME);
    assert_string_equal(rig->log, "");
    assert_int_equal(rig->n_questions, 1);
    retry(rig);
    assert_int_equal(rig->n_questions, 1);
    answer_all(rig);
    assert_wanted(rig, WEB, "192.0.2.1:1");
}

static void container_that_runs_for_20_ms_has_no_key(void **state)
{
    Rig *rig = *state;

    is_running(rig, 1, "web", 1);
    tell(rig, 1, ACTION_CONNECT);
    tell(rig, 1, ACTION_START);
    rig->truth[1].state = CONTAINER_STOPPED;
    tell(rig, 1, ACTION_DIE);
    tell(rig, 1, ACTION_DISCONNECT);
    rig->truth[1].exists = false;
    tell(rig, 1, ACTION_DESTROY);
    answer_all(rig);
    assert_string_equal(rig->log, "");
    assert_int_equal(catalog_size(rig->catalog), 0);
}

/* Lists */

static void listed_containers_are_inspected_first(void **state)
{
    Rig *rig = *state;

    is_running(rig, 1, "web", 1);
    is_running(rig, 2, "db", 2);
    list_all(rig);
    assert_string_equal(rig->log, "");
    assert_int_equal(rig->n_questions, 2);
    assert_int_equal(catalog_unanswered(rig->catalog), 2);
    answer_all(rig);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:1 +/app/servers/db=192.0.2.1:2 ");
    assert_int_equal(catalog_unanswered(rig->catalog), 0);
    rig_forget_log(rig);
    list_all(rig);
    assert_int_equal(rig->n_asked, 0);
    assert_string_equal(rig->log, "");
}

static void outdated_list_after_a_death_registers_nothing(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    Truth before = rig->truth[1];
    rig->truth[1].state = CONTAINER_STOPPED;
    tell(rig, 1, ACTION_DIE);
    catalog_list_begin(rig->catalog);
    list_as(rig, 1, &before);
    end_list(rig, true);
    assert_int_equal(rig->n_questions, 1);
    assert_int_equal(answer(rig), CATALOG_SAME);
    assert_string_equal(rig->log, "-" WEB " ");
}

static void outdated_list_shows_a_container_that_was_never_known(void **state)
{
    Rig *rig = *state;

    is_running(rig, 1, "web", 1);
    Truth before = rig->truth[1];
    rig->truth[1].state = CONTAINER_STOPPED;
    catalog_list_begin(rig->catalog);
    list_as(rig, 1, &before);
    end_list(rig, true);
    retry(rig);
    answer_all(rig);
    assert_wanted(rig, WEB, NULL);
}

static void events_during_the_list_are_newer(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    is_running(rig, 2, "db", 2);
    is_running(rig, 3, "queue", 3);
    Truth before[CONTAINERS_MAX];
    memcpy(before, rig->truth, sizeof(before));
    catalog_list_begin(rig->catalog);
    rig->truth[1].state = rig->truth[2].state = CONTAINER_STOPPED;
    tell(rig, 1, ACTION_DIE); /* known */
    tell(rig, 2, ACTION_DIE); /* not known */
    rig->truth[3].state = CONTAINER_PAUSED;
    tell(rig, 3, ACTION_PAUSE); /* not known */
    is_running(rig, 4, "late", 4);
    tell(rig, 4, ACTION_START);
    for (int i = 1; i <= 3; i++)
        list_as(rig, i, &before[i]);
    end_list(rig, true);
    assert_int_equal(rig->n_asked, 2); /* after the pause and the start, not for the list's sake */
    answer_all(rig);
    assert_string_equal(rig->log, "-" WEB " +/app/servers/late=192.0.2.1:4 ");
    assert_int_equal(catalog_reason(rig->catalog, entry_of(rig, 3)), REASON_PAUSED);
}

static void destroyed_during_the_list(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    is_running(rig, 2, "db", 2);
    Truth before[CONTAINERS_MAX];
    memcpy(before, rig->truth, sizeof(before));
    catalog_list_begin(rig->catalog);
    for (int i = 1; i <= 2; i++) {
        rig->truth[i].exists = false;
        tell_kill(rig, i, SIGKILL);
        tell(rig, i, ACTION_DIE);
        tell(rig, i, ACTION_DISCONNECT);
        tell(rig, i, ACTION_DESTROY);
        list_as(rig, i, &before[i]);
    }
    end_list(rig, true);
    answer_all(rig);
    assert_string_equal(rig->log, "-" WEB " ");
    assert_int_equal(catalog_size(rig->catalog), 0);
}

/* The answer was quicker than the event, and than the list. */
static void inspect_finds_a_removed_container_during_the_list(void **state)
{
    Rig *rig = *state;

    is_running(rig, 1, "web", 1);
    Truth before = rig->truth[1];
    catalog_list_begin(rig->catalog);
    tell(rig, 1, ACTION_START);
    rig->truth[1].exists = false;
    answer_all(rig);
    list_as(rig, 1, &before);
    assert_string_equal(rig->log, "");
    tell(rig, 1, ACTION_DIE);
    tell(rig, 1, ACTION_DESTROY);
    end_list(rig, true);
    answer_all(rig);
    assert_string_equal(rig->log, "");
    assert_int_equal(catalog_size(rig->catalog), 0);
}

static void death_without_an_event_is_found_by_the_list(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    run(rig, 2, "db", 2);
    rig->truth[1].state = CONTAINER_STOPPED;
    rig->truth[2].exists = false;
    list_all(rig);
    /* The list alone is no reason to withdraw. */
    assert_string_equal(rig->log, "");
    assert_int_equal(rig->n_questions, 2);
    assert_int_equal(answer(rig), CATALOG_DRIFTED);
    assert_int_equal(answer(rig), CATALOG_DRIFTED);
    assert_string_equal(rig->log, "-" WEB " -/app/servers/db ");
    list_all(rig);
    assert_int_equal(catalog_size(rig->catalog), 0);
}

static void start_without_an_event_is_drift(void **state)
{
    Rig *rig = *state;

    list_all(rig);
    is_running(rig, 1, "web", 1);
    list_all(rig);
    retry(rig);
    assert_int_equal(answer(rig), CATALOG_DRIFTED);
    /* Just listed before its event is no drift. */
    is_running(rig, 2, "db", 2);
    list_all(rig);
    retry(rig);
    tell(rig, 2, ACTION_START);
    assert_int_equal(answer(rig), CATALOG_STALE);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
}

static void restart_without_an_event_is_drift(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    rig->truth[1].port = 2;
    list_all(rig);
    assert_string_equal(rig->log, "");
    assert_int_equal(answer(rig), CATALOG_DRIFTED);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:2 ");
}

static void incomplete_list_removes_no_container(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    run(rig, 2, "db", 2);
    catalog_list_begin(rig->catalog);
    list_as(rig, 1, &rig->truth[1]);
    end_list(rig, false);
    assert_string_equal(rig->log, "");
    assert_int_equal(rig->n_asked, 0);
    assert_int_equal(catalog_size(rig->catalog), 2);
}

/* Started, and the list does not show it yet, nor has the answer come. */
static void list_removes_no_container_whose_inspect_is_open(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    tell(rig, 1, ACTION_DIE);
    tell(rig, 1, ACTION_START);
    catalog_list_begin(rig->catalog);
    end_list(rig, true);
    answer_all(rig);
    pass_delay(rig, 1);
    assert_wanted(rig, WEB, "192.0.2.1:1");
}

/* Changes of name and port */

static void rename_wants_the_new_key_first(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    (void)snprintf(rig->truth[1].name, sizeof(rig->truth[1].name), "shop");
    tell(rig, 1, ACTION_RENAME);
    answer_all(rig);
    assert_string_equal(rig->log, "+/app/servers/shop=192.0.2.1:1 -" WEB ">/app/servers/shop ");
}

static void rename_of_a_stopped_one_is_known(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    rig->truth[1].state = CONTAINER_STOPPED;
    tell(rig, 1, ACTION_DIE);
    (void)snprintf(rig->truth[1].name, sizeof(rig->truth[1].name), "old");
    tell(rig, 1, ACTION_RENAME);
    answer_all(rig);
    run(rig, 2, "web", 2);
    assert_ptr_equal(catalog_find(rig->catalog, "web"), entry_of(rig, 2));
    assert_ptr_equal(catalog_find(rig->catalog, "old"), entry_of(rig, 1));
}

static void another_port_replaces_the_value(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    rig->truth[1].port = 2;
    tell(rig, 1, ACTION_START); /* the death was missed */
    answer_all(rig);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:2 ");
}

static void second_port_changes_the_names(void **state)
{
    Rig *rig = *state;

    rig->truth[1].second_port = 9;
    run(rig, 1, "web", 1);
    assert_wanted(rig, WEB "-80", "192.0.2.1:1");
    assert_wanted(rig, WEB "-443", "192.0.2.1:9");
    rig->truth[1].second_port = 0;
    tell(rig, 1, ACTION_START);
    answer_all(rig);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:1 -" WEB "-80>" WEB " -" WEB "-443>" WEB " ");
}

static void second_container_waits_for_the_key(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    run(rig, 2, "web", 2);
    assert_wanted(rig, WEB, "192.0.2.1:1");
    assert_int_equal(entry_of(rig, 2)->records.items[0].reason, REASON_DUPLICATE);
    tell(rig, 1, ACTION_PAUSE);
    assert_string_equal(rig->log, "-" WEB " +" WEB "=192.0.2.1:2 ");
    rig_forget_log(rig);
    /* The older one takes the key back, and the younger one waits again. */
    tell(rig, 1, ACTION_UNPAUSE);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:1 =" WEB " ");
    assert_int_equal(entry_of(rig, 2)->records.items[0].reason, REASON_DUPLICATE);
    rig_forget_log(rig);
    tell(rig, 2, ACTION_HEALTHY);
    assert_string_equal(rig->log, ""); /* told once */
    tell(rig, 1, ACTION_DESTROY);
    assert_string_equal(rig->log, "-" WEB " +" WEB "=192.0.2.1:2 ");
}

/* After a restart of the agent the list may show the younger one first. */
static void the_older_container_owns_the_key_in_any_order_of_inspects(void **state)
{
    Rig *rig = *state;

    run(rig, 2, "web", 2);
    assert_wanted(rig, WEB, "192.0.2.1:2");
    run(rig, 1, "web", 1);
    assert_wanted(rig, WEB, "192.0.2.1:1");
    assert_int_equal(entry_of(rig, 2)->records.items[0].reason, REASON_DUPLICATE);
}

/* A container named "web-80" must not get the key of port 80 of "web" while "web" restarts. */
static void a_restart_keeps_the_claim(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    run(rig, 2, "web", 2);
    rig_forget_log(rig);
    tell_kill(rig, 1, SIGTERM);
    rig->now_us += 9 * SECOND;
    tell(rig, 1, ACTION_DIE);
    rig->now_us += 9 * SECOND;
    (void)expire(rig, rig->now_us);
    assert_string_equal(rig->log, "-" WEB " ");
    tell(rig, 1, ACTION_START);
    answer_all(rig);
    assert_string_equal(rig->log, "-" WEB " +" WEB "=192.0.2.1:1 ");
    rig_forget_log(rig);
    tell(rig, 1, ACTION_DIE);
    rig->now_us += 10 * SECOND;
    (void)expire(rig, rig->now_us);
    assert_string_equal(rig->log, "-" WEB " +" WEB "=192.0.2.1:2 ");
}

/* docker rename web old; docker run --name web: the new one must not wait. */
static void a_renamed_stopped_container_claims_no_key(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    rig->truth[1].state = CONTAINER_STOPPED;
    tell(rig, 1, ACTION_DIE);
    (void)snprintf(rig->truth[1].name, sizeof(rig->truth[1].name), "old");
    tell(rig, 1, ACTION_RENAME);
    answer_all(rig);
    run(rig, 2, "web", 2);
    assert_wanted(rig, WEB, "192.0.2.1:2");
}

/* kill was heard; the stream broke, and neither die nor start was. */
static void a_stop_ends_with_a_restart_without_an_event(void **state)
{
    Rig *rig = *state;

    rig->truth[1].started_ns = 1000;
    rig->truth[1].stop_timeout_s = -1;
    run(rig, 1, "web", 1);
    tell_kill(rig, 1, SIGTERM);
    assert_wanted(rig, WEB, NULL);
    list_all(rig);
    answer_all(rig);
    assert_wanted(rig, WEB, NULL);
    rig->truth[1].started_ns = 2000;
    list_all(rig);
    answer_all(rig);
    assert_wanted(rig, WEB, "192.0.2.1:1");
}

static void a_drain_until_death_ends_with_a_restart_without_an_event(void **state)
{
    Rig *rig = *state;
    char id[65];

    make_id(id, 1);
    rig->truth[1].started_ns = 1000;
    run(rig, 1, "web", 1);
    assert_int_equal(catalog_drain(rig->catalog, id, DRAIN_UNTIL_DEATH), 0);
    list_all(rig);
    answer_all(rig);
    assert_wanted(rig, WEB, NULL);
    rig->truth[1].started_ns = 2000;
    list_all(rig);
    answer_all(rig);
    assert_wanted(rig, WEB, "192.0.2.1:1");
}

static void undrain_ends_a_stop(void **state)
{
    Rig *rig = *state;
    char id[65];

    make_id(id, 1);
    run(rig, 1, "web", 1);
    tell_kill(rig, 1, SIGTERM);
    assert_wanted(rig, WEB, NULL);
    assert_int_equal(catalog_drain(rig->catalog, id, DRAIN_NONE), 0);
    assert_wanted(rig, WEB, "192.0.2.1:1");
}

/* live-restore on dockerd 25 and newer. */
static void starting_after_healthy_changes_nothing(void **state)
{
    Rig *rig = *state;

    rig->truth[1].started_ns = 1000;
    rig->truth[1].health = HEALTH_HEALTHY;
    run(rig, 1, "web", 1);
    assert_wanted(rig, WEB, "192.0.2.1:1");
    rig->truth[1].health = HEALTH_STARTING;
    list_all(rig);
    answer_all(rig);
    assert_wanted(rig, WEB, "192.0.2.1:1");
    rig->truth[1].health = HEALTH_UNHEALTHY;
    tell(rig, 1, ACTION_UNHEALTHY);
    assert_wanted(rig, WEB, NULL);
    /* After a start, "starting" means what it says. */
    rig->truth[1].health = HEALTH_STARTING;
    rig->truth[1].started_ns = 2000;
    tell(rig, 1, ACTION_DIE);
    tell(rig, 1, ACTION_START);
    answer_all(rig);
    assert_wanted(rig, WEB, NULL);
}

/* New rules name a label that was not read: a heartbeat's new address, a drain or a pause must not use the old reading. */
static void keys_stay_until_read_under_the_new_rules(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    run(rig, 2, "api", 2);
    rig_forget_log(rig);
    rig->rules.address4 = "192.0.2.9";
    catalog_set_rules(rig->catalog, &rig->rules, true);
    catalog_set_rules(rig->catalog, &rig->rules, false);
    assert_string_equal(rig->log, "");
    tell(rig, 2, ACTION_PAUSE);
    tell(rig, 2, ACTION_UNPAUSE);
    assert_string_equal(rig->log, "-/app/servers/api ");
    answer_all(rig);
    assert_wanted(rig, WEB, "192.0.2.9:1");
    assert_wanted(rig, "/app/servers/api", "192.0.2.9:2");
}

/* A blue-green switch by two renames, the answers in the wrong order. */
static void names_are_swapped(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    run(rig, 2, "next", 2);
    (void)snprintf(rig->truth[1].name, sizeof(rig->truth[1].name), "last");
    (void)snprintf(rig->truth[2].name, sizeof(rig->truth[2].name), "web");
    tell(rig, 2, ACTION_RENAME);
    tell(rig, 1, ACTION_RENAME);
    answer_all(rig);
    assert_wanted(rig, WEB, "192.0.2.1:2");
    assert_wanted(rig, "/app/servers/last", "192.0.2.1:1");
    assert_wanted(rig, "/app/servers/next", NULL);
}

/* Operator, rules, Docker's absence */

static void drained_stays_deregistered_until_undrained(void **state)
{
    Rig *rig = *state;
    char id[65];

    run(rig, 1, "web", 1);
    make_id(id, 1);
    assert_int_equal(catalog_drain(rig->catalog, id, DRAIN_BY_OPERATOR), 0);
    assert_string_equal(rig->log, "-" WEB " ");
    assert_int_equal(catalog_reason(rig->catalog, entry_of(rig, 1)), REASON_DRAINED);
    /* It outlives the container's restart, and that the catalog forgets the stopped one. */
    rig->truth[1].state = CONTAINER_STOPPED;
    tell(rig, 1, ACTION_DIE);
    list_all(rig);
    assert_int_equal(catalog_size(rig->catalog), 0);
    is_running(rig, 1, "web", 2);
    tell(rig, 1, ACTION_START);
    answer_all(rig);
    assert_wanted(rig, WEB, NULL);
    assert_int_equal(catalog_drain(rig->catalog, id, DRAIN_NONE), 0);
    assert_wanted(rig, WEB, "192.0.2.1:2");
}

static void drain_of_a_destroyed_one_is_forgotten(void **state)
{
    Rig *rig = *state;
    char *const *ids;
    char id[65];

    for (int i = 0; i < CATALOG_DRAINED_MAX; i++) {
        make_id(id, 100 + i);
        assert_int_equal(catalog_drain(rig->catalog, id, DRAIN_BY_OPERATOR), 0);
    }
    make_id(id, 1);
    assert_int_equal(catalog_drain(rig->catalog, id, DRAIN_BY_OPERATOR), -ENOBUFS);
    tell(rig, 100, ACTION_DESTROY);
    assert_int_equal(catalog_drained(rig->catalog, &ids), CATALOG_DRAINED_MAX - 1);
    assert_int_equal(catalog_drain(rig->catalog, id, DRAIN_BY_OPERATOR), 0);
}

static void drain_until_death_ends_with_it(void **state)
{
    Rig *rig = *state;
    char id[65];

    run(rig, 1, "web", 1);
    make_id(id, 1);
    assert_int_equal(catalog_drain(rig->catalog, id, DRAIN_UNTIL_DEATH), 0);
    assert_wanted(rig, WEB, NULL);
    tell(rig, 1, ACTION_DIE);
    tell(rig, 1, ACTION_START);
    answer_all(rig);
    assert_wanted(rig, WEB, "192.0.2.1:1");
}

static void drained_host_has_no_keys(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    catalog_set_host_drained(rig->catalog, true);
    assert_true(catalog_is_host_drained(rig->catalog));
    run(rig, 2, "db", 2);
    assert_int_equal(rig->n_wanted, 0);
    catalog_set_host_drained(rig->catalog, false);
    assert_int_equal(rig->n_wanted, 2);
}

static void docker_away_for_too_long(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    run(rig, 2, "db", 2);
    run(rig, 3, "moved", 3);
    catalog_lose_questions(rig->catalog);
    catalog_set_docker_away(rig->catalog, true);
    assert_int_equal(rig->n_wanted, 0);
    assert_int_equal(catalog_reason(rig->catalog, entry_of(rig, 1)), REASON_DOCKER_AWAY);
    rig_forget_log(rig);
    /* It is back: one runs on, one has died, one has another port. */
    rig->truth[2].state = CONTAINER_STOPPED;
    rig->truth[3].port = 33;
    list_all(rig);
    retry(rig);
    catalog_set_docker_away(rig->catalog, false);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:1 ");
    answer_all(rig);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.1:1 +/app/servers/moved=192.0.2.1:33 ");
}

static void found_address_publishes(void **state)
{
    Rig *rig = *state;

    rig->rules.address4 = NULL;
    run(rig, 1, "web", 1);
    assert_wanted(rig, WEB, NULL);
    rig->rules.address4 = "192.0.2.9";
    set_rules(rig, false);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.9:1 ");
    assert_int_equal(rig->n_asked, 0);
    rig_forget_log(rig);
    /* Nothing is written from metadata that were not kept. */
    rig->rules.address4 = "192.0.2.8";
    set_rules(rig, true);
    assert_int_equal(rig->n_asked, 1);
    assert_int_equal(catalog_unanswered(rig->catalog), 1);
    assert_string_equal(rig->log, "");
    answer_all(rig);
    assert_string_equal(rig->log, "+" WEB "=192.0.2.8:1 ");
}

static void running_ones_are_counted(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    run(rig, 2, "api", 2);
    assert_int_equal(catalog_running(rig->catalog), 2);
    tell(rig, 1, ACTION_PAUSE);
    assert_int_equal(catalog_running(rig->catalog), 2);
    tell(rig, 1, ACTION_DIE);
    assert_int_equal(catalog_running(rig->catalog), 1);
    tell(rig, 2, ACTION_DESTROY);
    assert_int_equal(catalog_running(rig->catalog), 0);
    tell(rig, 1, ACTION_START);
    answer_all(rig);
    assert_int_equal(catalog_running(rig->catalog), 1);
}

/* Of several that are being stopped, each in its turn; one that died in between does not count. */
static void earliest_of_several_deadlines_counts(void **state)
{
    Rig *rig = *state;
    uint64_t begin = rig->now_us;

    for (int i = 1; i <= 3; i++)
        run(rig, i, (const char *[]){ "web", "api", "db" }[i - 1], (uint16_t)i);
    assert_int_equal(expire(rig, rig->now_us), 0);
    for (int i = 3; i >= 1; i--) {
        rig->now_us = begin + (uint64_t)i * SECOND;
        tell_kill(rig, i, SIGTERM);
    }
    tell(rig, 1, ACTION_DIE);
    rig->truth[1].state = CONTAINER_STOPPED;
    rig->now_us = begin + 3 * SECOND;
    for (uint64_t next; (next = expire(rig, rig->now_us)) > 0; rig->now_us = next) {
        assert_true(next > rig->now_us && next <= begin + 13 * SECOND);
        if (rig->now_us < begin + 12 * SECOND)
            assert_null(rig_find(rig, "/app/servers/api"));
        answer_all(rig);
    }
    assert_int_equal(rig->now_us, begin + 13 * SECOND);
    answer_all(rig);
    assert_wanted(rig, WEB, NULL);
    assert_wanted(rig, "/app/servers/api", "192.0.2.1:2");
    assert_wanted(rig, "/app/servers/db", "192.0.2.1:3");
}

static void environment_is_waited_for(void **state)
{
    Rig *rig = *state;

    rig->truth[1].service = "shop";
    is_running(rig, 1, "web", 1);
    list_all(rig);
    assert_string_equal(rig->log, "");
    answer_all(rig);
    assert_string_equal(rig->log, "+/app/shop/web=192.0.2.1:1 ");
    rig_forget_log(rig);
    list_all(rig);
    assert_string_equal(rig->log, "");
    assert_int_equal(rig->n_asked, 0);
}

/* The engine says that it has started before it has bound the ports, and no event tells when they are. */
static void pending_ports_are_looked_at_again(void **state)
{
    Rig *rig = *state;
    uint64_t begin = rig->now_us;

    rig->truth[1].ports_pending = true;
    run(rig, 1, "web", 0);
    assert_int_equal(catalog_unanswered(rig->catalog), 0);
    assert_int_equal(expire(rig, rig->now_us), begin + SECOND / 5);
    rig->now_us = begin + SECOND / 5;
    assert_int_equal(expire(rig, rig->now_us), 0);
    assert_int_equal(rig->n_asked, 1);
    (void)answer(rig);
    assert_wanted(rig, WEB, NULL);
    rig->truth[1].port = 32768;
    rig->truth[1].ports_pending = false;
    rig->now_us = begin + SECOND / 2;
    (void)expire(rig, rig->now_us);
    assert_int_equal(answer(rig), CATALOG_CHANGED);
    assert_wanted(rig, WEB, "192.0.2.1:32768");
    assert_int_equal(expire(rig, rig->now_us), 0);
    /* Some are never bound: four times, after each start. */
    rig->truth[1].ports_pending = true;
    for (int life = 0; life < 2; life++) {
        rig_forget_log(rig);
        tell(rig, 1, ACTION_DIE);
        tell(rig, 1, ACTION_START);
        answer_all(rig);
        begin = rig->now_us;
        for (uint64_t next; (next = expire(rig, rig->now_us)) > 0;) {
            rig->now_us = next;
            (void)expire(rig, rig->now_us);
            answer_all(rig);
        }
        assert_int_equal(rig->n_asked, 1 + 4); /* with the one after the start */
        assert_int_equal(rig->now_us, begin + 2 * SECOND);
    }
}

static void no_more_containers_than_the_bound(void **state)
{
    Rig *rig = *state;
    Truth truth = { .exists = true, .state = CONTAINER_RUNNING, .name = "n", .stop_signal = SIGTERM };

    rig->deaf = true;
    catalog_list_begin(rig->catalog);
    for (int i = 0; i < CATALOG_CONTAINERS_MAX; i++)
        list_as(rig, i, &truth);
    assert_int_equal(catalog_left_out(rig->catalog), 0);
    list_as(rig, CATALOG_CONTAINERS_MAX, &truth);
    tell(rig, CATALOG_CONTAINERS_MAX + 1, ACTION_START);
    assert_int_equal(catalog_left_out(rig->catalog), 2);
    assert_int_equal(catalog_size(rig->catalog), CATALOG_CONTAINERS_MAX);
    end_list(rig, true);
    /* A place that is free is taken. */
    tell(rig, 5, ACTION_DESTROY);
    tell(rig, CATALOG_CONTAINERS_MAX, ACTION_START);
    assert_non_null(entry_of(rig, CATALOG_CONTAINERS_MAX));
    catalog_list_begin(rig->catalog);
    assert_int_equal(catalog_left_out(rig->catalog), 0);
    end_list(rig, true);
}

static void short_lived_containers_leave_no_keys(void **state)
{
    Rig *rig = *state;
    size_t most = 0;

    for (int i = 100; i < 5000; i++) {
        Truth truth = { .exists = true, .state = CONTAINER_RUNNING, .port = 1, .stop_signal = SIGTERM };

        (void)snprintf(truth.name, sizeof(truth.name), "job-%d", i);
        tell(rig, i, ACTION_START);
        Question question = rig_take_question(rig, 0);
        if (i % 2 == 0)
            (void)answer_with(rig, question, &truth);
        tell(rig, i, ACTION_DIE);
        tell(rig, i, ACTION_DISCONNECT);
        if (catalog_size(rig->catalog) > most)
            most = catalog_size(rig->catalog);
        rig_forget_log(rig);
    }
    assert_true(most <= 300);
    assert_int_equal(rig->n_wanted, 0);
    list_all(rig);
    assert_int_equal(catalog_size(rig->catalog), 0);
}

static void finds_by_name_and_by_id(void **state)
{
    Rig *rig = *state;

    run(rig, 1, "web", 1);
    run(rig, 2, "0001", 2);
    assert_ptr_equal(catalog_find(rig->catalog, "web"), entry_of(rig, 1));
    assert_null(catalog_find(rig->catalog, "000"));
    assert_ptr_equal(catalog_find(rig->catalog, "0002"), entry_of(rig, 2));
    assert_ptr_equal(catalog_find(rig->catalog, "0001"), entry_of(rig, 2)); /* a name beats a prefix */
    assert_null(catalog_find(rig->catalog, "nobody"));
    assert_null(catalog_find(rig->catalog, ""));
}

/* Any order that can really be. dockerd's side: a truth that changes, each change with its events; inspect tells
 * the truth of the moment at which dockerd looks; the list tells a copy of it that lags. The agent's side: events
 * in order but late, answers in any order, lists with all sorts of things in between. */

enum { EVENTS_MAX = 512, VERSIONS_MAX = 2048, NAMES = 12 };

typedef struct Version {
    Truth truth;
    bool leaving; /* told to stop */
} Version;

typedef struct World {
    Rig *rig;
    uint64_t random;
    bool lossy; /* lossy: events may be dropped, connections end */
    Version versions[CONTAINERS_MAX][VERSIONS_MAX];
    int now[CONTAINERS_MAX], heard[CONTAINERS_MAX], listed[CONTAINERS_MAX]; /* versions; listed: the list's copy */
    uint64_t dies_at[CONTAINERS_MAX], survives_at[CONTAINERS_MAX];
    struct {
        DockerEvent event;
        int number, version;
    } events[EVENTS_MAX];
    size_t n_events;
    bool connected;
    int snapshot[QUESTIONS_MAX]; /* of the rig's questions: what dockerd answers, -1: it has not looked yet */
    int in_list[CONTAINERS_MAX]; /* the list under way: versions, -1: done */
    bool listing, list_taken;
    int64_t births; /* starts and creations so far */
} World;

static unsigned chance(World *world, unsigned n)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return (unsigned)(world->random >> 33) % n;
}

static Version *current(World *world, int i)
{
    return &world->versions[i][world->now[i]];
}

static Version *change(World *world, int i)
{
    assert_true(world->now[i] + 1 < VERSIONS_MAX);
    world->versions[i][world->now[i] + 1] = *current(world, i);
    world->now[i]++;
    return current(world, i);
}

static void emit_kill(World *world, int i, DockerAction action, int signal_number)
{
    if (!world->connected || (world->lossy && chance(world, 20) == 0))
        return;
    assert_true(world->n_events < EVENTS_MAX);
    world->events[world->n_events].event = (DockerEvent){ .action = action, .signal = signal_number };
    if (action == ACTION_CONNECT || action == ACTION_START)
        world->events[world->n_events].event.time_ns = (uint64_t)++world->births;
    make_id(world->events[world->n_events].event.id, i);
    world->events[world->n_events].number = i;
    world->events[world->n_events++].version = world->now[i];
}

static void emit(World *world, int i, DockerAction action)
{
    emit_kill(world, i, action, 0);
}

static bool is_running_now(World *world, int i)
{
    Version *version = current(world, i);

    return version->truth.exists && version->truth.state != CONTAINER_STOPPED;
}

static void choose_name(World *world, char ret[32])
{
    for (bool taken = true; taken;) {
        (void)snprintf(ret, 32, "name%u", chance(world, NAMES));
        taken = false;
        for (int i = 0; i < CONTAINERS_MAX; i++)
            taken |= current(world, i)->truth.exists && strcmp(current(world, i)->truth.name, ret) == 0;
    }
}

static void world_start(World *world, int i)
{
    Version *version;

    emit(world, i, ACTION_CONNECT);
    version = change(world, i);
    if (!version->truth.exists) {
        choose_name(world, version->truth.name);
        version->truth.exists = true;
        version->truth.created_ns = ++world->births;
        version->truth.health = chance(world, 3) == 0 ? HEALTH_STARTING : HEALTH_NONE;
        version->truth.stop_signal = chance(world, 3) == 0 ? SIGQUIT : SIGTERM;
        version->truth.stop_timeout_s = chance(world, 5);
        version->truth.second_port = chance(world, 3) == 0;
        version->truth.service = chance(world, 2) ? "shop" : NULL;
    }
    version->truth.state = CONTAINER_RUNNING;
    version->truth.started_ns = ++world->births;
    version->leaving = false;
    version->truth.port = (uint16_t)(1000 + chance(world, 5000));
    if (version->truth.second_port > 0)
        version->truth.second_port = (uint16_t)(10000 + chance(world, 5000));
    if (version->truth.health != HEALTH_NONE)
        version->truth.health = HEALTH_STARTING;
    emit(world, i, ACTION_START);
}

static void world_die(World *world, int i)
{
    Version *version = change(world, i);

    version->truth.state = CONTAINER_STOPPED;
    version->leaving = false;
    world->dies_at[i] = world->survives_at[i] = 0;
    emit(world, i, ACTION_DIE);
    emit(world, i, ACTION_DISCONNECT);
}

static void world_destroy(World *world, int i)
{
    change(world, i)->truth.exists = false;
    world->listed[i] = world->now[i]; /* dockerd deletes its list's copy before it tells */
    emit(world, i, ACTION_DESTROY);
}

static void world_signal(World *world, int i, int signal_number)
{
    change(world, i)->leaving = world->connected; /* else nobody can know */
    emit_kill(world, i, ACTION_KILL, signal_number);
}

static void world_unpause(World *world, int i)
{
    change(world, i)->truth.state = CONTAINER_RUNNING;
    emit(world, i, ACTION_UNPAUSE);
}

static void world_stop(World *world, int i)
{
    Truth *truth = &current(world, i)->truth;
    bool paused = truth->state == CONTAINER_PAUSED;

    world_signal(world, i, truth->stop_signal);
    if (paused)
        world_unpause(world, i);
    world->survives_at[i] = 0;
    world->dies_at[i] = world->rig->now_us + (uint64_t)truth->stop_timeout_s * SECOND;
}

static void world_restart(World *world, int i)
{
    world_stop(world, i);
    world_die(world, i);
    emit(world, i, ACTION_STOP);
    world_start(world, i);
    emit(world, i, ACTION_RESTART);
}

static void world_rename(World *world, int i)
{
    char name[32];

    choose_name(world, name);
    (void)snprintf(change(world, i)->truth.name, sizeof(name), "%s", name);
    emit(world, i, ACTION_RENAME);
}

static void world_touch_running(World *world, int i)
{
    Truth *truth = &current(world, i)->truth;
    bool leaving = current(world, i)->leaving;

    switch (chance(world, 9)) {
    case 0:
        world_die(world, i);
        if (chance(world, 3) == 0)
            world_destroy(world, i);
        break;
    case 1:
        world_stop(world, i);
        break;
    case 2:
        world_signal(world, i, SIGKILL);
        world_die(world, i);
        if (chance(world, 2) == 0)
            world_destroy(world, i);
        break;
    case 3:
        /* docker kill with the stop signal, which the container ignores */
        if (leaving || truth->state == CONTAINER_PAUSED)
            break;
        world_signal(world, i, truth->stop_signal);
        world->survives_at[i] = world->rig->now_us + 5 * SECOND; /* the stop limit; no timeout is longer */
        break;
    case 4:
        emit_kill(world, i, ACTION_KILL, SIGHUP);
        break;
    case 5:
        if (truth->state == CONTAINER_PAUSED) {
            world_unpause(world, i);
        } else {
            change(world, i)->truth.state = CONTAINER_PAUSED;
            emit(world, i, ACTION_PAUSE);
        }
        break;
    case 6:
        if (truth->health == HEALTH_NONE || truth->state == CONTAINER_PAUSED)
            break;
        if (truth->health == HEALTH_HEALTHY) {
            change(world, i)->truth.health = HEALTH_UNHEALTHY;
            emit(world, i, ACTION_UNHEALTHY);
        } else {
            change(world, i)->truth.health = HEALTH_HEALTHY;
            emit(world, i, ACTION_HEALTHY);
        }
        break;
    case 7:
        world_restart(world, i);
        break;
    default:
        emit(world, i, chance(world, 2) ? ACTION_CONNECT : ACTION_UPDATE);
        break;
    }
}

static void world_touch(World *world)
{
    int i = (int)chance(world, CONTAINERS_MAX);

    if (world->now[i] + 16 > VERSIONS_MAX || world->n_events + 16 > EVENTS_MAX)
        return;
    if (current(world, i)->truth.exists && chance(world, 8) == 0)
        world_rename(world, i);
    else if (is_running_now(world, i))
        world_touch_running(world, i);
    else if (current(world, i)->truth.exists && chance(world, 4) == 0)
        world_destroy(world, i);
    else
        world_start(world, i);
}

/* Nobody hears of an event after the end of the time that its consequences have: the clock stands still until
 * all are heard. */
static void world_pass_time(World *world, uint64_t us)
{
    if (world->n_events > 0)
        return;
    world->rig->now_us += us;
    for (int i = 0; i < CONTAINERS_MAX; i++) {
        if (world->survives_at[i] > 0 && world->survives_at[i] <= world->rig->now_us) {
            world->survives_at[i] = 0;
            change(world, i)->leaving = false;
        }
        if (world->dies_at[i] > 0 && world->dies_at[i] <= world->rig->now_us) {
            world_signal(world, i, SIGKILL);
            world_die(world, i);
            emit(world, i, ACTION_STOP);
        }
    }
    (void)expire(world->rig, world->rig->now_us);
}

/* The agent's side */

static void agent_hear(World *world)
{
    int i = world->events[0].number, version = world->events[0].version;

    if (world->n_events == 0)
        return;
    DockerEvent event = world->events[0].event;
    memmove(&world->events[0], &world->events[1], --world->n_events * sizeof(world->events[0]));
    if (version > world->heard[i])
        world->heard[i] = version;
    catalog_event(world->rig->catalog, &event, world->rig->now_us);
    pull(world->rig);
}

static int look(World *world, int i)
{
    return current(world, i)->truth.exists ? world->now[i] : -2;
}

static void agent_answer(World *world, bool fail)
{
    Rig *rig = world->rig;

    if (rig->n_questions == 0)
        return;
    size_t k = chance(world, (unsigned)rig->n_questions);
    int i = number_of(rig->questions[k].id), version = world->snapshot[k];
    if (version == -1) {
        world->snapshot[k] = look(world, i);
        if (chance(world, 2) == 0)
            return; /* the answer takes its time */
        version = world->snapshot[k];
    }
    Question question = rig_take_question(rig, k);
    memmove(&world->snapshot[k], &world->snapshot[k + 1], (QUESTIONS_MAX - 1 - k) * sizeof(world->snapshot[0]));
    world->snapshot[QUESTIONS_MAX - 1] = -1;
    if (fail)
        catalog_inspect_failed(rig->catalog, question.id, question.ticket);
    else
        (void)answer_with(rig, question, version == -2 ? &(Truth){ 0 } : &world->versions[i][version].truth);
    (void)expire(rig, rig->now_us);
}

static void agent_list(World *world, bool cut_off)
{
    Rig *rig = world->rig;

    if (!world->listing) {
        catalog_list_begin(rig->catalog);
        world->listing = true;
        world->list_taken = false;
        return;
    }
    if (!world->list_taken) {
        memcpy(world->in_list, world->listed, sizeof(world->in_list));
        world->list_taken = true;
        return;
    }
    for (int i = 0; i < CONTAINERS_MAX && !cut_off; i++)
        if (world->in_list[i] >= 0) {
            list_as(rig, i, &world->versions[i][world->in_list[i]].truth);
            world->in_list[i] = -1;
            return;
        }
    world->listing = false;
    end_list(rig, !cut_off);
    retry(rig);
}

static void agent_reconnect(World *world)
{
    world->n_events = 0;
    world->rig->n_questions = 0;
    memset(world->snapshot, 0xff, sizeof(world->snapshot));
    world->listing = false;
    world->rig->deaf = true;
    world->connected = false;
    for (unsigned n = chance(world, 20); n > 0; n--)
        world_touch(world);
    catalog_lose_questions(world->rig->catalog);
    world->rig->deaf = false;
    world->connected = true;
    agent_list(world, false);
}

static bool is_up(const Truth *truth)
{
    return truth->exists && truth->state == CONTAINER_RUNNING;
}

static bool is_well(const Truth *truth)
{
    return truth->health == HEALTH_NONE || truth->health == HEALTH_HEALTHY;
}

static bool is_publishable(const Version *version)
{
    return is_up(&version->truth) && is_well(&version->truth) && !version->leaving;
}

static void format_wanted(const Truth *truth, bool second, char key[64], char value[64])
{
    const char *suffix = truth->second_port == 0 ? "" : second ? "-443" : "-80";

    (void)snprintf(key, 64, "/app/%s/%s%s", truth->service ? truth->service : "servers", truth->name, suffix);
    (void)snprintf(value, 64, "192.0.2.1:%u", second ? truth->second_port : truth->port);
}

static bool shows(const Truth *truth, const Wanted *wanted)
{
    char key[64], value[64];

    for (int second = 0; second <= (truth->second_port > 0); second++) {
        format_wanted(truth, second, key, value);
        if (strcmp(key, wanted->key) == 0 && strcmp(value, wanted->value) == 0)
            return true;
    }
    return false;
}

/* Until the answer comes a renamed container has its old key: names count back to the start of this life. */
static int life_begin(World *world, int i)
{
    int version = world->heard[i];

    while (version > 0 && world->versions[i][version].truth.exists &&
           world->versions[i][version].truth.state != CONTAINER_STOPPED)
        version--;
    return version;
}

/* What is wanted was so at some time since the last event that was heard: nothing that an event has ended comes
 * back by an older answer or a lagging list. */
static void check_no_return(World *world)
{
    for (size_t k = 0; k < world->rig->n_wanted; k++) {
        const Wanted *wanted = &world->rig->wanted[k];
        int i = number_of(wanted->id);
        bool up = false, well = false, shown = false, told_to_leave = true;

        for (int version = world->heard[i]; version <= world->now[i]; version++) {
            told_to_leave &= world->versions[i][version].leaving; /* of a later stop nobody has heard yet */
            up |= is_up(&world->versions[i][version].truth) && !told_to_leave;
            well |= is_well(&world->versions[i][version].truth);
        }
        for (int version = life_begin(world, i); version <= world->now[i]; version++)
            shown |= shows(&world->versions[i][version].truth, wanted);
        if (!up || !well || !shown)
            fail_msg("%s = %s is wanted of container %d, which an event has ended", wanted->key, wanted->value, i);
    }
}

static void check_truth(World *world)
{
    size_t n = 0;
    char key[64], value[64];

    assert_int_equal(catalog_unanswered(world->rig->catalog), 0);
    for (int i = 0; i < CONTAINERS_MAX; i++)
        if (is_publishable(current(world, i)))
            for (int second = 0; second <= (current(world, i)->truth.second_port > 0); second++, n++) {
                format_wanted(&current(world, i)->truth, second, key, value);
                assert_wanted(world->rig, key, value);
            }
    assert_int_equal(world->rig->n_wanted, n);
}

static void settle(World *world)
{
    for (int step = 0; step < 10000 && (world->rig->n_questions > 0 || world->n_events > 0); step++) {
        agent_hear(world);
        agent_answer(world, false);
        if (!world->lossy)
            check_no_return(world);
    }
    assert_int_equal(world->rig->n_questions, 0);
    assert_int_equal(world->n_events, 0);
}

static void quiesce(World *world)
{
    while (world->listing)
        agent_list(world, false);
    settle(world);
    for (int i = 0; i < 200; i++) {
        world_pass_time(world, SECOND / 2);
        settle(world);
    }
    memcpy(world->listed, world->now, sizeof(world->listed));
    do
        agent_list(world, false);
    while (world->listing);
    settle(world);
    /* The list may have shown a restart of a container that has crashed before. */
    for (int i = 0; i < 130; i++) {
        world_pass_time(world, SECOND / 2);
        settle(world);
    }
    check_truth(world);
}

static void live(uint64_t seed, bool lossy)
{
    World *world = calloc(1, sizeof(*world));
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(world);
    assert_non_null(rig);
    rig_open(rig);
    world->rig = rig;
    world->random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    world->lossy = lossy;
    memset(world->snapshot, 0xff, sizeof(world->snapshot));
    for (unsigned n = chance(world, 20); n > 0; n--)
        world_touch(world);
    memcpy(world->listed, world->now, sizeof(world->listed));
    agent_reconnect(world);
    unsigned steps = 600, haste = 1 + chance(world, 8);
    for (unsigned step = 0; step < steps; step++) {
        rig_forget_log(rig);
        unsigned what = chance(world, 12 + haste);
        int i = (int)chance(world, CONTAINERS_MAX);

        if (what < haste)
            agent_hear(world);
        else if (what < haste + 3)
            agent_answer(world, lossy && chance(world, 20) == 0);
        else if (what < haste + 6)
            agent_list(world, lossy && chance(world, 40) == 0);
        else if (what < haste + 8)
            world->listed[i] = world->now[i];
        else if (what < haste + 9)
            world_pass_time(world, chance(world, 500) * 1000);
        else if (what < haste + 10 && lossy && chance(world, 10) == 0)
            agent_reconnect(world);
        else if (what < haste + 10)
            retry(rig);
        else
            world_touch(world);
        if (!world->lossy)
            check_no_return(world);
        if (step % 200 == 199)
            quiesce(world);
    }
    rig_close(rig);
    free(rig);
    free(world);
}

static void wishes_are_right_after_events_in_any_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++)
        live(seed, false);
}

static void wishes_are_right_after_any_order_and_lost_events(void **state)
{
    (void)state;
    for (uint64_t seed = 2001; seed <= 2150; seed++)
        live(seed, true);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(start_is_asked_about_and_published),
        TEST(an_early_answer_registers_before_the_start_event),
        TEST(an_early_answer_after_the_start_event_counts),
        TEST(an_early_answer_that_shows_no_start_is_dropped),
        TEST(a_start_that_hangs_or_fails_is_no_failure),
        TEST(a_restart_is_asked_about_early),
        TEST(an_early_answer_ends_a_drain_until_death),
        TEST(a_list_does_not_disturb_early_questions),
        TEST(wishes_tell_when_their_event_was),
        TEST(list_tells_no_time),
        TEST(stop_deregisters_at_the_signal),
        TEST(ignored_stop_ends_in_sigkill),
        TEST(hangup_changes_nothing),
        TEST(the_containers_stop_signal_deregisters),
        TEST(forced_removal),
        TEST(own_exit),
        TEST(restart_takes_one_question),
        TEST(restart_policy),
        TEST(crash_loop_waits_longer_each_time),
        TEST(a_crash_while_it_waits_ends_the_wait),
        TEST(pause_and_unpause),
        TEST(unpause_of_a_stop_registers_nothing),
        TEST(health_decides),
        TEST(container_that_outlives_its_stop_is_registered_again),
        TEST(container_that_died_without_an_event_is_not_registered_again),
        TEST(stop_without_a_timeout_lasts_until_death),
        TEST(stop_signal_before_the_answer_counts),
        TEST(signal_before_the_answer_that_is_no_stop),
        TEST(hangup_of_an_unknown_one_during_the_list_asks),
        TEST(stale_answer_is_dropped_and_asked_again),
        TEST(answer_from_before_the_death_is_dropped),
        TEST(network_change_before_the_answer_makes_it_stale),
        TEST(failed_question_is_asked_again),
        TEST(question_that_is_given_up_is_not_answered),
        TEST(container_that_runs_for_20_ms_has_no_key),
        TEST(listed_containers_are_inspected_first),
        TEST(outdated_list_after_a_death_registers_nothing),
        TEST(outdated_list_shows_a_container_that_was_never_known),
        TEST(events_during_the_list_are_newer),
        TEST(destroyed_during_the_list),
        TEST(inspect_finds_a_removed_container_during_the_list),
        TEST(death_without_an_event_is_found_by_the_list),
        TEST(start_without_an_event_is_drift),
        TEST(restart_without_an_event_is_drift),
        TEST(incomplete_list_removes_no_container),
        TEST(list_removes_no_container_whose_inspect_is_open),
        TEST(rename_wants_the_new_key_first),
        TEST(rename_of_a_stopped_one_is_known),
        TEST(another_port_replaces_the_value),
        TEST(second_port_changes_the_names),
        TEST(second_container_waits_for_the_key),
        TEST(the_older_container_owns_the_key_in_any_order_of_inspects),
        TEST(a_restart_keeps_the_claim),
        TEST(a_renamed_stopped_container_claims_no_key),
        TEST(a_stop_ends_with_a_restart_without_an_event),
        TEST(a_drain_until_death_ends_with_a_restart_without_an_event),
        TEST(undrain_ends_a_stop),
        TEST(starting_after_healthy_changes_nothing),
        TEST(keys_stay_until_read_under_the_new_rules),
        TEST(names_are_swapped),
        TEST(drained_stays_deregistered_until_undrained),
        TEST(drain_of_a_destroyed_one_is_forgotten),
        TEST(drain_until_death_ends_with_it),
        TEST(drained_host_has_no_keys),
        TEST(docker_away_for_too_long),
        TEST(found_address_publishes),
        TEST(running_ones_are_counted),
        TEST(earliest_of_several_deadlines_counts),
        TEST(pending_ports_are_looked_at_again),
        TEST(no_more_containers_than_the_bound),
        TEST(short_lived_containers_leave_no_keys),
        TEST(finds_by_name_and_by_id),
        TEST(environment_is_waited_for),
        cmocka_unit_test(wishes_are_right_after_events_in_any_order),
        cmocka_unit_test(wishes_are_right_after_any_order_and_lost_events),
    };

    return cmocka_run_group_tests_name("catalog", tests, NULL, NULL);
}
