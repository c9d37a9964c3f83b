/* What the agent knows of Docker, without Docker and without etcd: the test tells what the session would report. */
#include "agent/tracker.h"

#include "base/log.h"
#include "unit/catalog/rules.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000)
#define GRACE (300 * SECOND)

typedef struct Rig {
    Layout layout;
    Rules rules;
    Catalog *catalog;
    Tracker *tracker;
    uint64_t now_us;
    char told[512]; /* the sink's calls, but for changed, and the catalog's wishes */
} Rig;

static void note(Rig *rig, const char *what)
{
    size_t used = strlen(rig->told);

    (void)snprintf(rig->told + used, sizeof(rig->told) - used, "%s ", what);
}

static void on_want(void *userdata, const CatalogEntry *entry, const char *key, const char *value)
{
    (void)entry;
    (void)value;
    note(userdata, "+");
    note(userdata, strrchr(key, '/') + 1);
}

static void on_unwant(void *userdata, const CatalogEntry *entry, const char *key, const char *after)
{
    (void)entry;
    (void)after;
    note(userdata, "-");
    note(userdata, strrchr(key, '/') + 1);
}

static void on_listed(void *userdata)
{
    note(userdata, "listed");
}

static void on_release(void *userdata)
{
    note(userdata, "release");
}

static void on_compare(void *userdata)
{
    note(userdata, "compare");
}

static void on_reconnect(void *userdata)
{
    note(userdata, "reconnect");
}

static void on_changed(void *userdata)
{
    (void)userdata;
}

static bool inherits(void *userdata, const char *key, const char *value)
{
    (void)userdata;
    (void)key;
    (void)value;
    return false;
}

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof(*rig));
    CatalogSink sink;

    assert_non_null(rig);
    log_set_level(-1);
    rig->rules = rules_build(&rig->layout);
    rig->now_us = 1000 * SECOND;
    sink = sink_build(rig);
    sink.want = on_want;
    sink.unwant = on_unwant;
    sink.inherits = inherits;
    sink.due = on_changed;
    assert_int_equal(catalog_new(&rig->catalog, &rig->rules, &sink), 0);
    assert_int_equal(tracker_new(&rig->tracker, rig->catalog, GRACE,
                                 &(TrackerSink){ .listed = on_listed,
                                                 .release = on_release,
                                                 .compare = on_compare,
                                                 .reconnect = on_reconnect,
                                                 .changed = on_changed,
                                                 .userdata = rig }),
                     0);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;

    tracker_free(rig->tracker);
    catalog_free(rig->catalog);
    layout_clear(&rig->layout);
    free(rig);
    return 0;
}

static const char *told(Rig *rig)
{
    static char copy[sizeof(rig->told)];

    memcpy(copy, rig->told, sizeof(copy));
    rig->told[0] = '\0';
    return copy;
}

static void make_id(char ret[65], int number)
{
    (void)snprintf(ret, 65, "%064x", (unsigned)number);
}

static Container *container(int number, bool running)
{
    CLEANUP_FREE char *text = NULL;
    Container *made = NULL;

    assert_true(asprintf(&text,
                         "{\"Id\":\"%064x\",\"Name\":\"/c%d\",\"State\":{\"Running\":%s},\"Config\":{\"Image\":\"i\"},"
                         "\"NetworkSettings\":{\"Ports\":{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"%d\"}]}}}",
                         (unsigned)number, number, running ? "true" : "false", 8000 + number) > 0);
    assert_int_equal(container_from_inspect(&made, text, strlen(text), NULL), 0);
    return made;
}

/* A list of the containers 1 to n. */
static void list(Rig *rig, int n)
{
    tracker_list_begin(rig->tracker);
    for (int i = 1; i <= n; i++) {
        CLEANUP_FREE char *text = NULL;
        Container *listed = NULL;

        assert_true(
            asprintf(&text,
                     "{\"Id\":\"%064x\",\"Names\":[\"/c%d\"],\"State\":\"running\",\"Status\":\"Up\",\"Ports\":[{"
                     "\"IP\":\"0.0.0.0\",\"PrivatePort\":80,\"PublicPort\":%d,\"Type\":\"tcp\"}]}",
                     (unsigned)i, i, 8000 + i) > 0);
        assert_int_equal(container_from_list(&listed, text, strlen(text), NULL), 0);
        tracker_listed(rig->tracker, listed);
    }
    tracker_list_end(rig->tracker, true, rig->now_us);
}

static void event(Rig *rig, DockerAction action, int number)
{
    DockerEvent told_event = { .action = action };

    make_id(told_event.id, number);
    tracker_event(rig->tracker, &told_event, rig->now_us);
}

/* Number of the next container to inspect, 0: none. */
static int take(Rig *rig, CatalogQuestion *ret)
{
    return catalog_next_question(rig->catalog, false, ret) ? (int)strtol(ret->id + 48, NULL, 16) : 0;
}

static void answer(Rig *rig, const CatalogQuestion *question, int error)
{
    int number = (int)strtol(question->id + 48, NULL, 16);

    tracker_inspected(rig->tracker, question->id, question->ticket, error == 0 ? container(number, true) : NULL, error,
                      rig->now_us);
}

static void answer_next(Rig *rig, int number)
{
    CatalogQuestion question;

    assert_int_equal(take(rig, &question), number);
    answer(rig, &question, 0);
}

static void first_list_is_inspected_before_writing(void **state)
{
    Rig *rig = *state;

    assert_int_equal(tracker_state(rig->tracker), TRACKER_CONNECTING);
    assert_null(tracker_why(rig->tracker));
    tracker_connected(rig->tracker);
    assert_int_equal(tracker_state(rig->tracker), TRACKER_LISTING);
    assert_false(tracker_has_listed(rig->tracker));
    list(rig, 2);
    assert_int_equal(tracker_state(rig->tracker), TRACKER_INSPECTING);
    assert_string_equal(told(rig), "listed ");
    answer_next(rig, 1);
    assert_string_equal(told(rig), "+ c1 ");
    assert_false(tracker_knows_wishes(rig->tracker, 0));
    answer_next(rig, 2);
    assert_string_equal(told(rig), "+ c2 release ");
    assert_true(tracker_knows_wishes(rig->tracker, 0));
    assert_int_equal(tracker_state(rig->tracker), TRACKER_FOLLOWING);
    /* A resync. */
    list(rig, 2);
    assert_string_equal(told(rig), "compare release ");
}

/* Answers the next probe, which must be of the container's port. */
static void probe(Rig *rig, int number, ProbeOutcome outcome)
{
    ProbeQuestion question;
    uint64_t due_us;

    assert_true(catalog_next_probe(rig->catalog, rig->now_us, &question, &due_us));
    assert_int_equal(strtol(question.id + 48, NULL, 16), number);
    assert_true(catalog_probed(rig->catalog, &question, outcome, rig->now_us));
    assert_true(catalog_awaits_answers(rig->catalog));
    catalog_want_ready(rig->catalog);
    tracker_probed(rig->tracker);
}

/* A cold start takes one transaction. */
static void first_answers_of_probes_precede_writing(void **state)
{
    Rig *rig = *state;

    rig->rules.probes = true;
    tracker_connected(rig->tracker);
    list(rig, 3);
    answer_next(rig, 1);
    probe(rig, 1, PROBE_OPEN);
    answer_next(rig, 2);
    answer_next(rig, 3);
    assert_string_equal(told(rig), "listed + c1 ");
    assert_false(tracker_knows_wishes(rig->tracker, rig->now_us));
    probe(rig, 2, PROBE_OPEN);
    assert_string_equal(told(rig), "+ c2 ");
    probe(rig, 3, PROBE_OPEN);
    assert_string_equal(told(rig), "+ c3 release ");
    assert_true(tracker_knows_wishes(rig->tracker, rig->now_us));
}

static void probes_without_an_answer_delay_writing_for_200_ms(void **state)
{
    Rig *rig = *state;

    rig->rules.probes = true;
    tracker_connected(rig->tracker);
    list(rig, 1);
    answer_next(rig, 1);
    assert_string_equal(told(rig), "listed ");
    assert_int_equal(tracker_run(rig->tracker, rig->now_us), rig->now_us + SECOND / 5);
    rig->now_us += SECOND / 5;
    (void)tracker_run(rig->tracker, rig->now_us);
    assert_string_equal(told(rig), "release ");
    /* The only container that is waited for may end. */
    list(rig, 1);
    assert_string_equal(told(rig), "compare ");
    event(rig, ACTION_DIE, 1);
    tracker_probed(rig->tracker);
    assert_string_equal(told(rig), "release ");
}

/* New containers come faster than they can be inspected. */
static void steady_churn_does_not_keep_the_first_list_open(void **state)
{
    Rig *rig = *state;
    CatalogQuestion first, second, other;

    tracker_connected(rig->tracker);
    list(rig, 2);
    assert_int_equal(take(rig, &first), 1);
    for (int i = 10; i < 20; i++)
        event(rig, ACTION_START, i);
    assert_int_equal(take(rig, &second), 2);
    answer(rig, &first, 0);
    event(rig, ACTION_UPDATE, 2); /* it changes, too: its answer is old */
    answer(rig, &second, 0);
    for (int i = 10; i < 20; i++)
        assert_int_equal(take(rig, &other), i);
    assert_string_equal(told(rig), "listed + c1 ");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(take(rig, &second), 2);
        event(rig, ACTION_UPDATE, 2);
        answer(rig, &second, 0);
    }
    assert_string_equal(told(rig), "release ");
    assert_int_equal(tracker_state(rig->tracker), TRACKER_FOLLOWING);
    /* A key of the container that changed may be among the orphans. */
    assert_false(tracker_knows_orphans(rig->tracker, true, rig->now_us));
    assert_int_equal(take(rig, &second), 2);
    answer(rig, &second, 0);
    assert_true(tracker_knows_orphans(rig->tracker, true, rig->now_us));
}

static void deaths_end_the_first_list(void **state)
{
    Rig *rig = *state;
    CatalogQuestion question;

    tracker_connected(rig->tracker);
    list(rig, 2);
    answer_next(rig, 1);
    event(rig, ACTION_DIE, 2);
    assert_int_equal(tracker_state(rig->tracker), TRACKER_FOLLOWING);
    assert_int_equal(take(rig, &question), 0);
}

static void failed_inspects_are_tried_again_and_keep_orphans(void **state)
{
    Rig *rig = *state;
    CatalogQuestion question;

    tracker_connected(rig->tracker);
    list(rig, 2);
    answer_next(rig, 1);
    assert_int_equal(take(rig, &question), 2);
    answer(rig, &question, -ETIMEDOUT);
    assert_string_equal(told(rig), "listed + c1 release ");
    assert_true(tracker_knows_wishes(rig->tracker, 0));
    /* A key may belong to the container that cannot be inspected. */
    assert_false(tracker_knows_orphans(rig->tracker, true, rig->now_us));
    assert_true(tracker_knows_orphans(rig->tracker, true, rig->now_us + GRACE));
    assert_int_equal(take(rig, &question), 0);
    uint64_t next = tracker_run(rig->tracker, rig->now_us);
    assert_in_range(next, rig->now_us, rig->now_us + SECOND);
    rig->now_us = next;
    (void)tracker_run(rig->tracker, rig->now_us);
    answer_next(rig, 2);
    assert_true(tracker_knows_orphans(rig->tracker, true, rig->now_us));
    assert_false(tracker_knows_orphans(rig->tracker, false, rig->now_us));
}

static void inspects_that_hang_delay_writing_for_a_second(void **state)
{
    Rig *rig = *state;

    tracker_connected(rig->tracker);
    list(rig, 2);
    answer_next(rig, 1);
    (void)told(rig);
    assert_int_equal(tracker_run(rig->tracker, rig->now_us), rig->now_us + SECOND);
    rig->now_us += SECOND;
    assert_int_equal(tracker_run(rig->tracker, rig->now_us), 0);
    assert_string_equal(told(rig), "release ");
    assert_false(tracker_knows_wishes(rig->tracker, 0));
}

/* Whoever waits for a list must not wait for ever because there is none. */
static void list_that_fails_ends_the_waiting(void **state)
{
    Rig *rig = *state;

    tracker_connected(rig->tracker);
    tracker_list_begin(rig->tracker);
    tracker_list_end(rig->tracker, false, rig->now_us);
    assert_string_equal(told(rig), ""); /* nothing is known */
    assert_int_equal(tracker_state(rig->tracker), TRACKER_LISTING);
    list(rig, 0);
    assert_string_equal(told(rig), "listed release ");
    tracker_list_begin(rig->tracker);
    tracker_list_end(rig->tracker, false, rig->now_us);
    assert_string_equal(told(rig), "release ");
}

static void drift_causes_a_reconnect(void **state)
{
    Rig *rig = *state;

    tracker_connected(rig->tracker);
    list(rig, 1);
    answer_next(rig, 1);
    (void)told(rig);
    list(rig, 2);
    answer_next(rig, 2);
    assert_string_equal(told(rig), "compare + c2 reconnect release ");
    /* What the first list of a connection shows is no drift. */
    tracker_connected(rig->tracker);
    list(rig, 3);
    answer_next(rig, 3);
    assert_string_equal(told(rig), "listed + c3 release ");
}

static void docker_away_keeps_the_keys_for_the_grace(void **state)
{
    Rig *rig = *state;
    uint64_t away_us;

    tracker_connected(rig->tracker);
    list(rig, 1);
    answer_next(rig, 1);
    (void)tracker_run(rig->tracker, rig->now_us + SECOND);
    (void)told(rig);
    rig->now_us = away_us = 2000 * SECOND;
    tracker_lost(rig->tracker, "gone", rig->now_us);
    assert_string_equal(told(rig), "release ");
    assert_string_equal(tracker_why(rig->tracker), "gone");
    assert_int_equal(tracker_run(rig->tracker, rig->now_us), away_us + GRACE);
    /* An engine that takes connections but gives no list is as good as away. */
    rig->now_us += 100 * SECOND;
    tracker_connected(rig->tracker);
    assert_null(tracker_why(rig->tracker));
    tracker_lost(rig->tracker, "no list", rig->now_us);
    assert_int_equal(tracker_run(rig->tracker, rig->now_us), away_us + GRACE);
    tracker_set_grace(rig->tracker, GRACE + SECOND);
    assert_int_equal(tracker_run(rig->tracker, away_us + GRACE), away_us + GRACE + SECOND);
    (void)told(rig);
    rig->now_us = away_us + GRACE + SECOND;
    assert_int_equal(tracker_run(rig->tracker, rig->now_us), 0);
    assert_string_equal(told(rig), "- c1 ");
    tracker_connected(rig->tracker);
    assert_string_equal(told(rig), "");
    list(rig, 1);
    assert_string_equal(told(rig), "+ c1 listed release ");
}

static void questions_of_a_lost_connection_are_asked_again(void **state)
{
    Rig *rig = *state;
    CatalogQuestion question;

    tracker_connected(rig->tracker);
    list(rig, 1);
    assert_int_equal(take(rig, &question), 1);
    assert_int_equal(take(rig, &question), 0);
    tracker_disconnected(rig->tracker);
    assert_int_equal(tracker_state(rig->tracker), TRACKER_CONNECTING);
    tracker_connected(rig->tracker);
    answer_next(rig, 1);
    /* The list has yet to come. */
    assert_int_equal(tracker_state(rig->tracker), TRACKER_LISTING);
}

static void replayed_events_count_from_when_they_happened(void **state)
{
    Rig *rig = *state;
    DockerEvent kill = { .action = ACTION_KILL, .signal = 15, .age_us = 4 * SECOND };

    make_id(kill.id, 1);
    tracker_connected(rig->tracker);
    tracker_event(rig->tracker, &kill, rig->now_us);
    list(rig, 1);
    answer_next(rig, 1);
    /* It is being stopped, since before the agent started. */
    assert_string_equal(told(rig), "listed release ");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(first_list_is_inspected_before_writing),
        TEST(first_answers_of_probes_precede_writing),
        TEST(probes_without_an_answer_delay_writing_for_200_ms),
        TEST(steady_churn_does_not_keep_the_first_list_open),
        TEST(deaths_end_the_first_list),
        TEST(failed_inspects_are_tried_again_and_keep_orphans),
        TEST(inspects_that_hang_delay_writing_for_a_second),
        TEST(list_that_fails_ends_the_waiting),
        TEST(drift_causes_a_reconnect),
        TEST(docker_away_keeps_the_keys_for_the_grace),
        TEST(questions_of_a_lost_connection_are_asked_again),
        TEST(replayed_events_count_from_when_they_happened),
    };

    return cmocka_run_group_tests_name("tracker", tests, NULL, NULL);
}
