/* How long a container that ends again and again must run before it is registered. */
#include "catalog/crash_loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000)

/* Up for so many seconds, and down. Returns for how many seconds the next start is delayed. */
static uint64_t crash(CrashLoop *loop, uint64_t *now_us, uint64_t seconds)
{
    uint64_t until_us;

    crash_loop_move(loop, CRASH_UP, *now_us);
    *now_us += seconds * SECOND;
    crash_loop_move(loop, CRASH_DOWN, *now_us);
    assert_int_equal(crash_loop_until_us(loop), 0); /* it does not run */
    *now_us += SECOND / 10;
    crash_loop_move(loop, CRASH_UP, *now_us);
    until_us = crash_loop_until_us(loop);
    return until_us == 0 ? 0 : (until_us - *now_us) / SECOND;
}

static void a_first_start_is_not_delayed(void **state)
{
    CrashLoop loop = { 0 };

    (void)state;
    crash_loop_move(&loop, CRASH_UP, 5 * SECOND);
    assert_int_equal(crash_loop_until_us(&loop), 0);
}

static void the_delay_doubles_up_to_a_minute(void **state)
{
    static const uint64_t delays_s[] = { 1, 2, 4, 8, 16, 32, 60, 60 };
    CrashLoop loop = { 0 };
    uint64_t now_us = 5 * SECOND;

    (void)state;
    for (size_t i = 0; i < sizeof(delays_s) / sizeof(delays_s[0]); i++) {
        assert_int_equal(crash(&loop, &now_us, 2), delays_s[i]);
        assert_int_equal(loop.crashes, i + 1);
        assert_int_equal(loop.first_us, 5 * SECOND);
    }
}

static void an_end_after_a_minute_is_no_crash_but_forgets_none(void **state)
{
    CrashLoop loop = { 0 };
    uint64_t now_us = 5 * SECOND;

    (void)state;
    assert_int_equal(crash(&loop, &now_us, 60), 0);
    assert_int_equal(crash(&loop, &now_us, 59), 1);
    assert_int_equal(crash(&loop, &now_us, 300), 1);
    assert_int_equal(crash(&loop, &now_us, 59), 2);
}

static void ten_minutes_forget_all(void **state)
{
    CrashLoop loop = { 0 };
    uint64_t now_us = 5 * SECOND;

    (void)state;
    (void)crash(&loop, &now_us, 1);
    assert_int_equal(crash(&loop, &now_us, 1), 2);
    assert_int_equal(crash(&loop, &now_us, 600), 0);
    assert_int_equal(crash(&loop, &now_us, 1), 1);
}

static void a_stop_forgets_all(void **state)
{
    CrashLoop loop = { 0 };
    uint64_t now_us = 5 * SECOND;

    (void)state;
    (void)crash(&loop, &now_us, 1);
    crash_loop_move(&loop, CRASH_STOPPED, now_us);
    crash_loop_move(&loop, CRASH_UP, now_us);
    assert_int_equal(crash_loop_until_us(&loop), 0);
}

/* Docker repeats events, and an agent does not know when a container that ran before it has started. */
static void only_the_first_end_of_a_known_start_counts(void **state)
{
    CrashLoop loop = { 0 };
    uint64_t now_us = 5 * SECOND;

    (void)state;
    crash_loop_move(&loop, CRASH_DOWN, now_us);
    assert_int_equal(loop.crashes, 0);
    crash_loop_move(&loop, CRASH_UP, now_us);
    crash_loop_move(&loop, CRASH_DOWN, now_us);
    crash_loop_move(&loop, CRASH_DOWN, now_us);
    assert_int_equal(loop.crashes, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_start_is_not_delayed),
        cmocka_unit_test(the_delay_doubles_up_to_a_minute),
        cmocka_unit_test(an_end_after_a_minute_is_no_crash_but_forgets_none),
        cmocka_unit_test(ten_minutes_forget_all),
        cmocka_unit_test(a_stop_forgets_all),
        cmocka_unit_test(only_the_first_end_of_a_known_start_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
