/* The whole publisher: any allocation may fail, and any order of wishes and failures ends in the truth. */
#include "publisher/publisher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <systemd/sd-event.h>

#include <cmocka.h>

#include "unit/failing.h"
/* After it, so that the fake's allocations never fail. */
#include "unit/publisher/rig.h"

static void a_call_without_memory_is_made_again(void **state)
{
    Rig *rig = *state;

    rig_open(rig);
    rig->store->no_memory = true;
    turn(rig);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_CLOSED);
    pass(rig, 2 * SECOND);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    for (int i = 0; i < 3; i++) {
        char value[16];

        (void)snprintf(value, sizeof(value), "%d", i);
        rig->store->no_memory = true;
        want(rig, "/a", value);
        turn(rig);
        assert_false(rig->store->no_memory);
        assert_int_equal(publisher_state(rig->publisher), PUBLISHER_DEGRADED);
        pass(rig, 2 * SECOND);
        assert_value(rig, "/a", value);
        assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    }
    rig->store->no_memory = true; /* a heartbeat, a refresh */
    pass(rig, 25 * SECOND);
    assert_false(rig->store->no_memory);
    rig->store->no_memory = rig->etcd.has_lease;
    publisher_resync(rig->publisher);
    assert_false(rig->store->no_memory);
    forget_writes(rig);
    pass(rig, 60 * SECOND);
    assert_int_equal(rig->etcd.n_writes, 0);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    assert_int_equal(rig->n_lost, 0);
}

/* With nothing else under way that would bring it back to mind. */
static void batch_without_memory_is_made_again(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    fails_in = 1;
    turn(rig);
    assert_int_equal(fails_in, 0);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_DEGRADED);
    pass(rig, 2 * SECOND);
    assert_value(rig, "/a", "1");
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
}

/* True: an allocation failed, the n-th one. */
static bool live_through_failure(bool has_lease, unsigned n)
{
    Rig *rig = rig_new(has_lease);
    int r;

    if (has_lease) {
        etcd_put(&rig->etcd, "/kept", "1", true, 0);
        etcd_put(&rig->etcd, "/orphan", "1", true, 0);
        rig->etcd.lease_expires_us = fake_now_us + 30 * SECOND;
    }
    forget_writes(rig);
    rig->store = fake_store_new(rig->event, &rig->etcd, rig->config.ttl_s);
    fails_in = n;
    r = publisher_new(&rig->publisher, rig->event, rig->store, &rig->config, &handlers, rig);
    if (r < 0) {
        assert_int_equal(r, -ENOMEM);
        assert_int_equal(publisher_new(&rig->publisher, rig->event, rig->store, &rig->config, &handlers, rig), 0);
    }
    settle(rig);
    const char *const wishes[] = { "/kept", "1", "/a", "1", "/b", "1", "/a", "2", "/new", "1", "/reject", "1" };
    for (size_t i = 0; i < ARRAY_SIZE(wishes); i += 2) {
        if (i == 6) {
            publisher_release(rig->publisher);
            publisher_drop_orphans(rig->publisher);
            settle(rig);
        }
        if (i == 8)
            publisher_unwant(rig->publisher, "/b", "/new", 0);
        r = publisher_want(rig->publisher, wishes[i], wishes[i + 1], "owner", "id", 0);
        if (r < 0)
            want(rig, wishes[i], wishes[i + 1]);
        settle(rig);
    }
    etcd_put(&rig->etcd, "/extra", "1", has_lease, fake_now_us + 20 * SECOND);
    publisher_resync(rig->publisher);
    pass(rig, 35 * SECOND);
    publisher_resync(rig->publisher);
    pass(rig, 5 * SECOND);
    bool failed = fails_in == 0;
    fails_in = 0;
    assert_value(rig, "/a", "2");
    assert_value(rig, "/b", NULL);
    assert_value(rig, "/new", "1");
    assert_value(rig, "/kept", "1");
    assert_value(rig, "/orphan", NULL);
    assert_value(rig, "/extra", NULL);
    assert_int_equal(publisher_registered(rig->publisher), 3);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    assert_int_equal(rig->last_state, PUBLISHER_ONLINE);
    assert_string_equal(publisher_why(rig->publisher), "");
    assert_true(publisher_is_idle(rig->publisher));
    assert_null(strstr(rig->etcd.last_writes, "-/kept"));
    assert_null(has_lease ? strstr(rig->etcd.last_writes, "+/kept") : NULL);
    assert_int_equal(rig->n_lost, 0);
    void *state = rig;
    (void)teardown(&state);
    return failed;
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    log_set_level(-1);
    for (int has_lease = 0; has_lease < 2; has_lease++) {
        unsigned n = 1;

        while (live_through_failure(has_lease, n))
            n++;
        assert_in_range(n, 30, 1000);
    }
}

static void check_truth(Rig *rig, FakeEtcd *etcd, const char wanted[][16], size_t n)
{
    size_t n_ours = 0, expected = 0;

    for (size_t i = 0; i < n; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "/p%zu", i);
        FakeKey *found = etcd_find(etcd, key);

        if (found && !found->ours)
            continue; /* somebody else's: ours to leave alone */
        expected += wanted[i][0] != '\0';
        if (wanted[i][0] == '\0') {
            if (found)
                fail_msg("%s is there", key);
        } else {
            if (!found)
                fail_msg("%s is not there", key);
            assert_string_equal(found->value, wanted[i]);
        }
    }
    for (size_t i = 0; i < etcd->n_keys; i++)
        n_ours += etcd->keys[i].ours;
    assert_int_equal(n_ours, expected);
    assert_int_equal(publisher_registered(rig->publisher), n_ours);
}

enum { PROPERTY_KEYS = 12 };

static void random_wish(Rig *rig, char wanted[][16])
{
    unsigned i = chance(rig, PROPERTY_KEYS), k = chance(rig, PROPERTY_KEYS);
    char key[16], other[16];

    (void)snprintf(key, sizeof(key), "/p%u", i);
    (void)snprintf(other, sizeof(other), "/p%u", k);
    if (chance(rig, 2) == 0) {
        char value[16];

        (void)snprintf(value, sizeof(value), "v%u", chance(rig, 3));
        if (strcmp(wanted[i], value) == 0)
            return;
        memcpy(wanted[i], value, sizeof(value));
        want(rig, key, value);
    } else if (wanted[i][0] != '\0') {
        wanted[i][0] = '\0';
        publisher_unwant(rig->publisher, key, i != k ? other : NULL, 0);
    }
}

/* Another host's, with its own values; the test looks that nobody touches them. */
static void random_stranger(Rig *rig, char theirs[][16])
{
    unsigned i = chance(rig, PROPERTY_KEYS);
    char key[16];

    (void)snprintf(key, sizeof(key), "/p%u", i);
    FakeKey *found = etcd_find(&rig->etcd, key);
    if (theirs[i][0] != '\0') {
        assert_non_null(found);
        assert_string_equal(found->value, theirs[i]);
        theirs[i][0] = '\0';
        etcd_delete(&rig->etcd, key);
    } else if (!found) {
        (void)snprintf(theirs[i], 16, "stranger%u", chance(rig, 3));
        etcd_put(&rig->etcd, key, theirs[i], false, 0);
    }
}

static void check_strangers(Rig *rig, char theirs[][16])
{
    for (unsigned i = 0; i < PROPERTY_KEYS; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "/p%u", i);
        if (theirs[i][0] != '\0')
            assert_value(rig, key, theirs[i]);
    }
}

static void random_answer(Rig *rig, unsigned failures)
{
    Store *store = rig->store;

    if (store->n_jobs == 0)
        return;
    size_t i = chance(rig, (unsigned)store->n_jobs);
    Failure failure = chance(rig, 100) < failures ? 1 + chance(rig, 4) : ANSWER;
    if (failure == UNCLEAR && store->jobs[i].kind != JOB_APPLY)
        failure = LOSE_BEFORE;
    if (!store->jobs[i].is_done)
        job_do(store, &store->jobs[i], failure);
    if (chance(rig, 2) == 0)
        job_answer(store, i);
}

static void live(bool has_lease, uint64_t seed)
{
    Rig *rig = rig_new(has_lease);
    char wanted[PROPERTY_KEYS][16] = { 0 }, theirs[PROPERTY_KEYS][16] = { 0 };

    rig->random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    rig->hold_when_lost = chance(rig, 2);
    for (unsigned i = chance(rig, 4); i > 0 && has_lease; i--) {
        char key[16];
        (void)snprintf(key, sizeof(key), "/p%u", chance(rig, PROPERTY_KEYS));
        etcd_put(&rig->etcd, key, "v0", true, 0);
        rig->etcd.lease_expires_us = fake_now_us + 30 * SECOND;
    }
    rig_open(rig);
    for (int round = 0; round < 3; round++) {
        unsigned failures = chance(rig, 60);

        for (int step = 0; step < 400; step++) {
            unsigned what = chance(rig, 20);

            if (what < 6)
                random_wish(rig, wanted);
            else if (what < 7)
                random_stranger(rig, theirs);
            else if (what < 8)
                publisher_resync(rig->publisher);
            else if (what < 9 && chance(rig, 4) == 0)
                publisher_hold(rig->publisher);
            else if (what < 10)
                publisher_release(rig->publisher);
            else if (what < 11)
                fake_now_us += chance(rig, chance(rig, 20) == 0 ? 40000 : 1000) * MS;
            else
                random_answer(rig, failures);
            turn(rig);
            check_strangers(rig, theirs);
        }
        publisher_release(rig->publisher);
        publisher_drop_orphans(rig->publisher);
        rig->hold_when_lost = false;
        pass(rig, 60 * SECOND);
        publisher_resync(rig->publisher);
        pass(rig, 60 * SECOND);
        check_truth(rig, &rig->etcd, wanted, PROPERTY_KEYS);
        check_strangers(rig, theirs);
        assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
        assert_true(publisher_is_idle(rig->publisher));
        forget_writes(rig);
        pass(rig, 100 * SECOND);
        assert_int_equal(rig->etcd.n_writes, 0);
    }
    void *state = rig;
    (void)teardown(&state);
}

static void keys_are_right_after_any_failure_v3(void **state)
{
    (void)state;
    log_set_level(-1);
    for (uint64_t seed = 1; seed <= 25; seed++)
        live(true, seed);
}

static void keys_are_right_after_any_failure_v2(void **state)
{
    (void)state;
    log_set_level(-1);
    for (uint64_t seed = 1001; seed <= 1025; seed++)
        live(false, seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(a_call_without_memory_is_made_again),
        BOTH(batch_without_memory_is_made_again),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(keys_are_right_after_any_failure_v3),
        cmocka_unit_test(keys_are_right_after_any_failure_v2),
    };

    return cmocka_run_group_tests_name("publisher", tests, NULL, NULL);
}
