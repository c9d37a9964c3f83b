/* Which container owns a key. */
#include "catalog/claims.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define KEY "/app/servers/web-80"

static const Claimant old = { .id = "0b", .created_ns = 1 };
static const Claimant young = { .id = "0a", .created_ns = 2 };
static const Claimant twin = { .id = "0c", .created_ns = 1 }; /* as old as `old`, but with the higher ID */

static int setup(void **state)
{
    return claims_new((Claims **)state);
}

static int teardown(void **state)
{
    claims_free(*state);
    return 0;
}

/* When the next reservation ends; 0: there is no reservation. */
static uint64_t next_end(Claims *claims)
{
    uint64_t next = 0;

    (void)claims_expire(claims, 0, &next);
    return next;
}

static void test_the_older_owns(void **state)
{
    char previous[65] = "";

    assert_int_equal(claims_take(*state, KEY, &young, previous), CLAIM_OWNED);
    assert_int_equal(claims_take(*state, KEY, &young, previous), CLAIM_OWNED);
    assert_int_equal(claims_take(*state, KEY, &old, previous), CLAIM_TAKEN_OVER);
    assert_string_equal(previous, young.id);
    assert_int_equal(claims_take(*state, KEY, &young, previous), CLAIM_WAITS);
    assert_int_equal(claims_take(*state, KEY, &twin, previous), CLAIM_WAITS);
    assert_true(claims_owns(*state, KEY, old.id));
    claims_release(*state, KEY, young.id);
    assert_true(claims_owns(*state, KEY, old.id));
    claims_release(*state, KEY, old.id);
    assert_int_equal(claims_take(*state, KEY, &young, previous), CLAIM_OWNED);
}

static void test_a_claim_is_kept_over_a_restart(void **state)
{
    char previous[65] = "";
    uint64_t next = 0;

    assert_int_equal(claims_take(*state, KEY, &old, previous), CLAIM_OWNED);
    claims_reserve(*state, KEY, young.id, 50); /* not the owner */
    assert_int_equal(next_end(*state), 0);
    claims_reserve(*state, KEY, old.id, 100);
    assert_int_equal(claims_take(*state, KEY, &young, previous), CLAIM_WAITS);
    assert_false(claims_expire(*state, 99, &next));
    assert_int_equal(next, 100);
    assert_int_equal(claims_take(*state, KEY, &old, previous), CLAIM_OWNED);
    assert_false(claims_expire(*state, 200, &next));
    assert_int_equal(next, 0);
    claims_reserve(*state, KEY, old.id, 300);
    assert_true(claims_expire(*state, 300, &next));
    assert_int_equal(claims_take(*state, KEY, &young, previous), CLAIM_OWNED);
}

static void test_an_older_one_takes_a_reserved_claim(void **state)
{
    char previous[65] = "";

    assert_int_equal(claims_take(*state, KEY, &young, previous), CLAIM_OWNED);
    claims_reserve(*state, KEY, young.id, 100);
    assert_int_equal(claims_take(*state, KEY, &old, previous), CLAIM_OWNED);
    assert_int_equal(next_end(*state), 0);
}

static void test_a_removed_container_keeps_no_claim(void **state)
{
    char previous[65] = "";

    assert_int_equal(claims_take(*state, KEY, &old, previous), CLAIM_OWNED);
    assert_int_equal(claims_take(*state, "/app/servers/web-443", &old, previous), CLAIM_OWNED);
    assert_false(claims_forget(*state, old.id));
    claims_reserve(*state, KEY, old.id, 100);
    claims_reserve(*state, "/app/servers/web-443", old.id, 100);
    assert_false(claims_forget(*state, young.id));
    assert_true(claims_forget(*state, old.id));
    assert_int_equal(next_end(*state), 0);
    assert_int_equal(claims_take(*state, KEY, &young, previous), CLAIM_OWNED);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_older_owns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_claim_is_kept_over_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_older_one_takes_a_reserved_claim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_removed_container_keeps_no_claim, setup, teardown),
    };

    return cmocka_run_group_tests_name("claims", tests, NULL, NULL);
}
