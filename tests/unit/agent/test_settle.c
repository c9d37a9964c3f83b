/* When the keys of ports that have become ready are wanted. A source with the probes' priority plays the answers. */
#include "agent/settle.h"
#include "probe/probe.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct Rig {
    sd_event *event;
    Settle *settle;
    sd_event_source *answers;
    unsigned n_answers, n_answers_max, n_runs;
    unsigned at_last_run; /* n_answers then */
    bool changes; /* each answer does */
} Rig;

static void on_run(void *userdata)
{
    Rig *rig = userdata;

    rig->n_runs++;
    rig->at_last_run = rig->n_answers;
}

/* Each turn of the loop brings one answer. */
static int on_answer(sd_event_source *source, void *userdata)
{
    Rig *rig = userdata;

    settle_answer(rig->settle, rig->changes || rig->n_answers == 0);
    rig->n_answers++;
    return rig->n_answers < rig->n_answers_max ? 0 : sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    assert_true(sd_event_new(&rig->event) >= 0);
    assert_int_equal(settle_new(&rig->settle, rig->event, on_run, rig), 0);
    assert_true(sd_event_add_defer(rig->event, &rig->answers, on_answer, rig) >= 0);
    assert_true(sd_event_source_set_priority(rig->answers, PROBE_PRIORITY) >= 0);
    assert_true(sd_event_source_set_enabled(rig->answers, SD_EVENT_OFF) >= 0);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;

    sd_event_source_disable_unref(rig->answers);
    settle_free(rig->settle);
    sd_event_unref(rig->event);
    free(rig);
    return 0;
}

/* Brings n answers, and turns the loop until it has nothing to do. */
static void bring(Rig *rig, unsigned n)
{
    rig->n_answers_max = rig->n_answers + n;
    assert_true(sd_event_source_set_enabled(rig->answers, SD_EVENT_ON) >= 0);
    while (sd_event_run(rig->event, 0) > 0)
        ;
}

static void answers_that_arrive_together_are_settled_together(void **state)
{
    Rig *rig = *state;

    rig->changes = true;
    bring(rig, 100);
    assert_int_equal(rig->n_runs, 1);
    assert_int_equal(rig->at_last_run, 100);
    bring(rig, 1);
    assert_int_equal(rig->n_runs, 2);
}

/* As with 13,000 ports that refuse each second. */
static void answers_that_never_end_delay_nothing_for_ever(void **state)
{
    Rig *rig = *state;

    rig->n_answers_max = UINT_MAX;
    assert_true(sd_event_source_set_enabled(rig->answers, SD_EVENT_ON) >= 0);
    while (rig->n_runs == 0 && rig->n_answers < 100 * SETTLE_ANSWERS_MAX)
        assert_true(sd_event_run(rig->event, 0) > 0);
    assert_int_equal(rig->n_runs, 1);
    assert_int_equal(rig->at_last_run, SETTLE_ANSWERS_MAX + 1);
    /* And again. */
    rig->changes = true;
    while (rig->n_runs < 5 && rig->n_answers < 100 * SETTLE_ANSWERS_MAX)
        assert_true(sd_event_run(rig->event, 0) > 0);
    assert_int_equal(rig->n_runs, 5);
    assert_int_equal(rig->at_last_run, 5 * (SETTLE_ANSWERS_MAX + 1));
}

static void answers_that_change_nothing_settle_nothing(void **state)
{
    Rig *rig = *state;

    bring(rig, 1);
    assert_int_equal(rig->n_runs, 1);
    bring(rig, 10 * SETTLE_ANSWERS_MAX);
    assert_int_equal(rig->n_runs, 1);
}

static void freed_before_it_runs(void **state)
{
    Rig *rig = *state;

    settle_answer(rig->settle, true);
    rig->settle = settle_free(rig->settle);
    assert_int_equal(sd_event_run(rig->event, 0), 0);
    assert_int_equal(rig->n_runs, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_that_arrive_together_are_settled_together),
        TEST(answers_that_never_end_delay_nothing_for_ever),
        TEST(answers_that_change_nothing_settle_nothing),
        TEST(freed_before_it_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
