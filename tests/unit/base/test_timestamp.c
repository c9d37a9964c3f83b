/* Docker's and Podman's timestamps. */
#include "base/timestamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_docker_and_podman(void **state)
{
    (void)state;
    assert_true(timestamp_to_ns("1970-01-01T00:00:01Z") == INT64_C(1000000000));
    assert_true(timestamp_to_ns("2020-04-18T18:37:20.345201553Z") == INT64_C(1587235040345201553));
    assert_true(timestamp_to_ns("2020-04-18T18:37:20.3Z") == INT64_C(1587235040300000000));
    assert_true(timestamp_to_ns("2020-04-18T20:37:20.345201553+02:00") == INT64_C(1587235040345201553));
    assert_true(timestamp_to_ns("2020-04-18T13:07:20.345201553-05:30") == INT64_C(1587235040345201553));
    assert_true(timestamp_to_ns("2020-04-18T18:37:20.3452015531111Z") == INT64_C(1587235040345201553));
}

static void test_no_time(void **state)
{
    static const char *const texts[] = {
        "",
        "now",
        "0001-01-01T00:00:00Z",
        "2020-04-18",
        "2020-04-18T18:37:20",
        "2020-04-18T18:37:20Zz",
        "2020-04-18T18:37:20+02",
        "2020-04-18T18:37:20.Q",
        "9999-01-01T00:00:00Z",
        "1970-01-01T00:00:00+01:00",
    };

    (void)state;
    assert_true(timestamp_to_ns(NULL) == 0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_true(timestamp_to_ns(texts[i]) == 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_docker_and_podman),
        cmocka_unit_test(test_no_time),
    };

    return cmocka_run_group_tests_name("timestamp", tests, NULL, NULL);
}
