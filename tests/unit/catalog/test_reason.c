/* The table of reasons: each row is complete and can be told from the others. */
#include "catalog/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void every_reason_has_its_words(void **state)
{
    (void)state;
    for (Reason a = REASON_NONE; a < REASON_MAX_; a++) {
        const char *phrase = reason_to_string(a), *token = reason_token(a), *remedy = reason_remedy(a);

        assert_true(strlen(phrase) > 0 && strlen(phrase) < 64);
        assert_int_equal(strspn(token, "abcdefghijklmnopqrstuvwxyz-"), strlen(token));
        assert_true(remedy[0] >= 'A' && remedy[0] <= 'Z');
        assert_int_equal(remedy[strlen(remedy) - 1], '.');
        assert_int_equal(reason_from_token(token), a);
        for (Reason b = REASON_NONE; b < a; b++) {
            assert_string_not_equal(token, reason_token(b));
            assert_string_not_equal(phrase, reason_to_string(b));
        }
    }
    assert_string_equal(reason_token(REASON_LOOPBACK), "loopback");
    assert_string_equal(reason_to_string(REASON_LOOPBACK), "bound to loopback only");
}

static void only_the_agent_knows_of_events_the_operator_and_other_containers(void **state)
{
    static const Reason of_agent[] = { REASON_STOPPING,     REASON_DRAINING,      REASON_DRAINED,
                                       REASON_HOST_DRAINED, REASON_DUPLICATE,     REASON_CRASH_LOOP,
                                       REASON_HOST_LIMIT,   REASON_NOT_LISTENING, REASON_DOCKER_AWAY };
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(of_agent) / sizeof(of_agent[0]); i++)
        assert_int_equal(reason_source(of_agent[i]), REASON_OF_AGENT);
    for (Reason reason = REASON_NONE; reason < REASON_MAX_; reason++)
        n += reason_source(reason) == REASON_OF_AGENT;
    assert_int_equal(n, sizeof(of_agent) / sizeof(of_agent[0]));
    assert_int_equal(reason_source(REASON_CONFLICT), REASON_OF_ETCD);
    assert_int_equal(reason_source(REASON_PAUSED), REASON_OF_DOCKER);
}

static void a_number_or_word_of_no_reason(void **state)
{
    (void)state;
    assert_string_equal(reason_token(REASON_MAX_), "registered");
    assert_int_equal(reason_from_token("no such reason"), REASON_MAX_);
    assert_int_equal(reason_from_token(NULL), REASON_MAX_);
    assert_int_equal(reason_source(REASON_MAX_), REASON_OF_DOCKER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reason_has_its_words),
        cmocka_unit_test(only_the_agent_knows_of_events_the_operator_and_other_containers),
        cmocka_unit_test(a_number_or_word_of_no_reason),
    };

    return cmocka_run_group_tests_name("reason", tests, NULL, NULL);
}
