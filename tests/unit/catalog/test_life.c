/* What signals, deaths, starts and the stop limit mean for a container. */
#include "catalog/life.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000)

static const StopRules rules = { .signal = SIGTERM, .timeout_s = 10, .limit_s = 600 };

static Life running(void)
{
    Life life = { .state = LIFE_UNKNOWN };

    assert_false(life_inspected(&life, true, 1000, &rules, 9 * SECOND));
    assert_int_equal(life.state, LIFE_RUNNING);
    return life;
}

static Life stopping(void)
{
    Life life = running();

    life_signal(&life, SIGTERM, 0, &rules, 5 * SECOND);
    assert_int_equal(life.state, LIFE_STOPPING);
    return life;
}

static void test_stop_signals_only(void **state)
{
    static const StopRules quit = { .signal = SIGQUIT, .timeout_s = 10, .limit_s = 600 };
    Life life = running();

    (void)state;
    life_signal(&life, SIGHUP, 0, &rules, SECOND);
    assert_int_equal(life.state, LIFE_RUNNING);
    life_signal(&life, SIGTERM, 0, &quit, SECOND);
    assert_int_equal(life.state, LIFE_RUNNING);
    life_signal(&life, SIGQUIT, 0, &quit, SECOND);
    assert_int_equal(life.state, LIFE_STOPPING);
    life = running();
    life_signal(&life, SIGKILL, 0, &quit, SECOND);
    assert_int_equal(life.state, LIFE_STOPPING);
}

/* docker stop -t 40 of a container whose StopTimeout is 10 s: nothing tells the 40. */
static void test_stays_deregistered_until_the_limit(void **state)
{
    Life life = stopping();

    (void)state;
    assert_false(life_inspected(&life, true, 1000, &rules, 9 * SECOND));
    assert_true(life_is_stopping(&life));
    assert_false(life_expire(&life, 604 * SECOND));
    assert_true(life_expire(&life, 605 * SECOND));
    assert_true(life_is_stopping(&life));
    assert_false(life_inspected(&life, true, 1000, &rules, 9 * SECOND));
    assert_int_equal(life.state, LIFE_OUTLIVED);
    life_signal(&life, SIGTERM, 0, &rules, 700 * SECOND);
    assert_int_equal(life.state, LIFE_STOPPING);
    assert_false(life_expire(&life, 1299 * SECOND));
}

static void test_the_limit_is_at_least_the_stop_timeout(void **state)
{
    static const StopRules slow = { .signal = SIGTERM, .timeout_s = 900, .limit_s = 600 };
    static const StopRules patient = { .signal = SIGTERM, .timeout_s = -1, .limit_s = 600 };
    Life life = running();

    (void)state;
    life_signal(&life, SIGTERM, 0, &slow, 0);
    assert_false(life_expire(&life, 899 * SECOND));
    assert_true(life_expire(&life, 900 * SECOND));
    life = running();
    life_signal(&life, SIGTERM, 0, &patient, 0);
    assert_false(life_expire(&life, UINT64_MAX - 1));
}

static void test_death_and_start_end_a_stop(void **state)
{
    Life life = stopping();

    (void)state;
    assert_true(life_move(&life, LIFE_DEATH));
    assert_int_equal(life.state, LIFE_STOPPED);
    assert_true(life_move(&life, LIFE_START));
    assert_int_equal(life.state, LIFE_RUNNING);
    life = stopping();
    assert_true(life_move(&life, LIFE_RETURN));
    assert_int_equal(life.state, LIFE_RUNNING);
}

/* Neither die nor start was heard: only StartedAt tells. */
static void test_another_start_ends_a_stop(void **state)
{
    Life life = stopping();

    (void)state;
    assert_true(life_inspected(&life, true, 2000, &rules, 9 * SECOND));
    assert_int_equal(life.state, LIFE_RUNNING);
    life = stopping();
    assert_true(life_inspected(&life, false, 0, &rules, 9 * SECOND));
    assert_int_equal(life.state, LIFE_STOPPED);
}

/* The signal came between the start event and the inspect that tells the new StartedAt. */
static void test_a_signal_right_after_a_start(void **state)
{
    Life life = stopping();

    (void)state;
    (void)life_move(&life, LIFE_DEATH);
    (void)life_move(&life, LIFE_START);
    life_signal(&life, SIGTERM, 0, &rules, 8 * SECOND);
    assert_false(life_inspected(&life, true, 2000, &rules, 9 * SECOND));
    assert_int_equal(life.state, LIFE_STOPPING);
}

static void test_signals_before_the_first_inspect(void **state)
{
    static const StopRules quit = { .signal = SIGQUIT, .timeout_s = 10, .limit_s = 600 };
    Life life = { .state = LIFE_UNKNOWN };

    (void)state;
    life_signal(&life, SIGTERM, 0, NULL, SECOND);
    assert_true(life_is_stopping(&life));
    (void)life_inspected(&life, true, 1000, &quit, 9 * SECOND);
    assert_int_equal(life.state, LIFE_RUNNING);
    life = (Life){ .state = LIFE_UNKNOWN };
    life_signal(&life, SIGQUIT, 0, NULL, SECOND);
    assert_false(life_is_stopping(&life));
    (void)life_inspected(&life, true, 1000, &quit, 9 * SECOND);
    assert_true(life_is_stopping(&life));
    assert_true(life.until_us == 601 * SECOND);
}

static void test_a_signal_from_before_the_start_is_ignored(void **state)
{
    Life life = running();

    (void)state;
    life_signal(&life, SIGTERM, 999, &rules, SECOND);
    assert_int_equal(life.state, LIFE_RUNNING);
    life = (Life){ .state = LIFE_UNKNOWN };
    life_signal(&life, SIGTERM, 999, NULL, SECOND);
    (void)life_inspected(&life, true, 1000, &rules, 9 * SECOND);
    assert_int_equal(life.state, LIFE_RUNNING);
    life = (Life){ .state = LIFE_UNKNOWN };
    life_signal(&life, SIGTERM, 1001, NULL, SECOND);
    (void)life_inspected(&life, true, 1000, &rules, 9 * SECOND);
    assert_int_equal(life.state, LIFE_STOPPING);
}

/* Docker repeats events after a broken connection. */
static void test_a_repeated_signal_undoes_no_undrain(void **state)
{
    Life life = running();

    (void)state;
    life_signal(&life, SIGTERM, 2000, &rules, SECOND);
    (void)life_move(&life, LIFE_RETURN);
    life_signal(&life, SIGTERM, 2000, &rules, 2 * SECOND);
    assert_int_equal(life.state, LIFE_RUNNING);
    life_signal(&life, SIGTERM, 3000, &rules, 3 * SECOND);
    assert_int_equal(life.state, LIFE_STOPPING);
}

/* The agent was restarted in the middle of a stop. */
static void test_a_stop_is_resumed(void **state)
{
    Life life = { .state = LIFE_UNKNOWN };

    (void)state;
    life_resume_stop(&life, 1000, SECOND);
    (void)life_inspected(&life, true, 1000, &rules, 9 * SECOND);
    assert_true(life_is_stopping(&life));
    assert_true(life_expire(&life, 601 * SECOND));
    /* Meanwhile the container was started again. */
    life = (Life){ .state = LIFE_UNKNOWN };
    life_resume_stop(&life, 1000, SECOND);
    (void)life_inspected(&life, true, 2000, &rules, 9 * SECOND);
    assert_int_equal(life.state, LIFE_RUNNING);
    /* The stop limit has passed while no agent ran. */
    life = (Life){ .state = LIFE_UNKNOWN };
    life_resume_stop(&life, 1000, SECOND);
    (void)life_inspected(&life, true, 1000, &rules, 700 * SECOND);
    assert_int_equal(life.state, LIFE_OVERDUE);
}

/* Every state and input once: no pair leads out of the enum, and a death always ends in LIFE_STOPPED. */
static void test_all_moves(void **state)
{
    (void)state;
    for (int from = 0; from < LIFE_STATE_MAX_; from++) {
        for (int input = 0; input < LIFE_INPUT_MAX_; input++) {
            Life life = { .state = (LifeState)from };
            bool moved = life_move(&life, (LifeInput)input);

            assert_true(life.state < LIFE_STATE_MAX_);
            assert_int_equal(moved, (int)life.state != from);
            if (input == LIFE_DEATH)
                assert_int_equal(life.state, LIFE_STOPPED);
            if (input == LIFE_START)
                assert_int_equal(life.state, LIFE_RUNNING);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_signals_only),
        cmocka_unit_test(test_stays_deregistered_until_the_limit),
        cmocka_unit_test(test_the_limit_is_at_least_the_stop_timeout),
        cmocka_unit_test(test_death_and_start_end_a_stop),
        cmocka_unit_test(test_another_start_ends_a_stop),
        cmocka_unit_test(test_a_signal_right_after_a_start),
        cmocka_unit_test(test_signals_before_the_first_inspect),
        cmocka_unit_test(test_a_signal_from_before_the_start_is_ignored),
        cmocka_unit_test(test_a_repeated_signal_undoes_no_undrain),
        cmocka_unit_test(test_a_stop_is_resumed),
        cmocka_unit_test(test_all_moves),
    };

    return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
