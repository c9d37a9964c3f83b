/* Which keys a call takes, and when: order, bounds, dry run, and v2's refreshes. */
#include "unit/publisher/rig.h"

static void successor_is_there_first(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/old", NULL, NULL);
    forget_writes(rig);
    rig->choose = lose_before_once;
    publisher_unwant(rig->publisher, "/old", "/new", 0);
    want(rig, "/new", "1");
    settle(rig);
    assert_value(rig, "/old", "1");
    pass(rig, 2 * SECOND);
    assert_string_equal(rig->etcd.last_writes, "+/new -/old ");
}

static void successor_that_cannot_come_is_not_waited_for(void **state)
{
    Rig *rig = *state;

    etcd_put(&rig->etcd, "/held", "theirs", false, 0);
    start_with(rig, "/old", "/older", "/oldest");
    want(rig, "/held", "1");
    publisher_unwant(rig->publisher, "/old", "/held", 0);
    want(rig, "/reject", "1");
    publisher_unwant(rig->publisher, "/older", "/reject", 0);
    publisher_unwant(rig->publisher, "/oldest", "/unknown", 0);
    settle(rig);
    assert_value(rig, "/old", NULL);
    assert_value(rig, "/older", NULL);
    assert_value(rig, "/oldest", NULL);
    assert_state(rig, "/reject", ENTRY_REJECTED);
}

/* etcd is full, or a role lacks a permission: what is there stays there, for as long as it takes. */
static void writes_that_fail_cost_no_other_key(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", "/b", NULL);
    forget_writes(rig);
    rig->choose = refuse_all_writes;
    want(rig, "/c", "1");
    pass(rig, 200 * SECOND);
    assert_value(rig, "/a", "1");
    assert_value(rig, "/b", "1");
    assert_int_equal(rig->etcd.n_writes, 0);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_DEGRADED);
    assert_string_equal(publisher_why(rig->publisher), "refused");
    assert_true(rig->store->n_applies < 1000); /* no busy loop */
    rig->choose = NULL;
    pass(rig, 2 * SECOND);
    assert_value(rig, "/c", "1");
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    assert_int_equal(rig->etcd.n_writes, 1);
    assert_int_equal(rig->n_lost, 0);
}

static Failure refuse_puts(Rig *rig, const Job *job)
{
    (void)rig;
    for (size_t i = 0; i < job->n; i++)
        if (job->ops[i].verb == STORE_ENSURE)
            return REFUSE;
    return ANSWER;
}

static void unwanted_keys_are_deleted_from_a_full_etcd(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", "/b", NULL);
    rig->choose = refuse_puts;
    want(rig, "/c", "1");
    unwant(rig, "/a");
    pass(rig, 5 * SECOND);
    assert_value(rig, "/a", NULL);
    unwant(rig, "/b");
    pass(rig, 5 * SECOND);
    assert_value(rig, "/b", NULL);
    assert_value(rig, "/c", NULL);
    rig->choose = NULL;
    pass(rig, 2 * SECOND);
    assert_value(rig, "/c", "1");
}

static void nothing_is_written_while_held(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", "/gone", NULL);
    rig->hold_when_lost = true;
    rig->choose = lose_everything;
    pass(rig, 60 * SECOND);
    rig->choose = NULL;
    pass(rig, 5 * SECOND);
    assert_int_equal(rig->n_lost, 1);
    assert_int_equal(rig->etcd.n_keys, 0);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    pass(rig, 30 * SECOND);
    assert_int_equal(rig->etcd.n_keys, 0);
    unwant(rig, "/gone");
    publisher_release(rig->publisher);
    settle(rig);
    assert_value(rig, "/a", "1");
    assert_int_equal(rig->etcd.n_keys, 1);
}

static void writes_resume_after_a_hold_during_failures(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    rig->choose = refuse_all_writes;
    want(rig, "/b", "1");
    settle(rig);
    publisher_hold(rig->publisher);
    pass(rig, 20 * SECOND);
    rig->choose = NULL;
    pass(rig, 20 * SECOND);
    publisher_release(rig->publisher);
    pass(rig, 5 * SECOND);
    assert_value(rig, "/a", "1");
    assert_value(rig, "/b", "1");
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
}

static Failure unclear_writes(Rig *rig, const Job *job)
{
    (void)rig;
    return job->kind == JOB_APPLY ? UNCLEAR : ANSWER;
}

static void unclear_answers_make_no_busy_loop(void **state)
{
    Rig *rig = *state;

    start(rig);
    rig->choose = unclear_writes;
    want(rig, "/a", "1");
    settle(rig);
    pass(rig, 20 * SECOND);
    assert_true(rig->store->n_applies < 100);
    rig->choose = NULL;
    pass(rig, 2 * SECOND);
    assert_value(rig, "/a", "1");
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
}

static void batches_are_bounded(void **state)
{
    Rig *rig = *state;

    start(rig);
    want_many(rig, 1000);
    settle(rig);
    assert_int_equal(rig->etcd.n_keys, 1000);
    assert_int_equal(rig->store->most_at_once, rig->store->concurrency);
    assert_int_equal(rig->store->n_applies, (1000 + rig->store->batch_max - 1) / rig->store->batch_max);
}

/* What is wanted is known when the first list has been read, which takes many turns of the loop. */
static void first_list_is_written_in_full_batches(void **state)
{
    Rig *rig = *state;

    rig->store = fake_store_new(rig->event, &rig->etcd, rig->config.ttl_s);
    assert_int_equal(publisher_new(&rig->publisher, rig->event, rig->store, &rig->config, &handlers, rig), 0);
    settle(rig);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    for (unsigned i = 0; i < 2 * rig->store->batch_max; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "/k%u", i);
        want(rig, key, "v");
        settle(rig);
    }
    assert_int_equal(rig->store->n_applies, 0);
    publisher_release(rig->publisher);
    settle(rig);
    assert_int_equal(rig->store->n_applies, 2);
    assert_int_equal(rig->etcd.n_keys, 2 * rig->store->batch_max);
}

static void freed_with_writes_under_way(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    turn(rig);
    want(rig, "/b", "1");
    assert_true(rig->store->n_jobs > 0);
    rig->publisher = publisher_free(rig->publisher);
}

static void dry_run_only_looks(void **state)
{
    Rig *rig = *state;

    rig->config.dry_run = true;
    etcd_put(&rig->etcd, "/keep", "1", true, 0);
    etcd_put(&rig->etcd, "/change", "old", true, 0);
    etcd_put(&rig->etcd, "/held", "theirs", false, 0);
    etcd_put(&rig->etcd, "/orphan", "1", true, 0);
    rig->etcd.lease_expires_us = fake_now_us + 30 * SECOND;
    forget_writes(rig);
    rig_open(rig);
    want(rig, "/new", "1");
    want(rig, "/keep", "1");
    want(rig, "/change", "1");
    want(rig, "/held", "1");
    settle(rig);
    publisher_drop_orphans(rig->publisher);
    settle(rig);
    assert_int_equal(rig->etcd.n_writes, 0);
    assert_true(publisher_is_idle(rig->publisher));
    assert_non_null(strstr(rig->planned, "register /new 1 -;"));
    assert_non_null(strstr(rig->planned, "register /change 1 -;"));
    assert_non_null(strstr(rig->planned, "conflict /held 1 theirs;"));
    assert_non_null(strstr(rig->planned, "deregister /orphan - -;"));
    assert_null(strstr(rig->planned, "/keep"));
}

static void refreshes_are_spread(void **state)
{
    Rig *rig = *state;
    size_t most = 0;

    start(rig);
    want_many(rig, 100);
    pass(rig, 10 * SECOND);
    forget_writes(rig);
    size_t before = rig->store->n_refreshes;
    /* In groups, each of half a second's share. */
    for (int i = 0; i < 60; i++) {
        size_t so_far = rig->store->n_refreshes;

        pass(rig, 500 * MS);
        if (rig->store->n_refreshes - so_far > most)
            most = rig->store->n_refreshes - so_far;
    }
    assert_in_range(rig->store->n_refreshes - before, 290, 310);
    assert_in_range(most, 5, 6);
    assert_int_equal(rig->etcd.n_writes, 0);
}

/* Many keys and a short TTL: an answer a millisecond must be enough. */
static void many_keys_are_refreshed_in_time(void **state)
{
    Rig *rig = *state;

    rig->config = (PublisherConfig){ .heartbeat_s = 2, .ttl_s = 6 };
    start(rig);
    want_many(rig, 3000);
    settle(rig);
    forget_writes(rig);
    for (int i = 0; i < 12000; i++) {
        fake_now_us += MS;
        etcd_pass_time(&rig->etcd);
        turn(rig);
        for (size_t n = rig->store->n_jobs; n > 0; n--)
            answer_first(rig);
    }
    assert_int_equal(rig->etcd.n_writes, 0);
    assert_int_equal(rig->etcd.n_keys, 3000);
}

/* A dry run writes nothing, not even to find out whether etcd is back. */
static void dry_run_refreshes_nothing(void **state)
{
    Rig *rig = *state;

    rig->config.dry_run = true;
    etcd_put(&rig->etcd, "/keep", "1", true, fake_now_us + 30 * SECOND);
    rig_open(rig);
    want(rig, "/keep", "1");
    settle(rig);
    assert_state(rig, "/keep", ENTRY_REGISTERED);
    rig->choose = lose_everything;
    want(rig, "/new", "1");
    settle(rig);
    publisher_hold(rig->publisher);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_DEGRADED);
    rig->choose = NULL;
    pass(rig, 20 * SECOND);
    assert_int_equal(rig->store->n_refreshes, 0);
    assert_true(rig->store->n_opens > 1);
}

/* It is in etcd all the while: whoever looks meanwhile must not see a key less. */
static void a_refresh_changes_nothing_visible(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    while (rig->store->n_jobs == 0) {
        fake_now_us += 100 * MS;
        turn(rig);
    }
    assert_int_equal(rig->store->n_refreshes, 1);
    assert_int_equal(publisher_registered(rig->publisher), 1);
    assert_state(rig, "/a", ENTRY_REFRESHING);
    assert_true(entry_is_registered(publisher_find(rig->publisher, "/a")));
    /* A wish that comes meanwhile waits for its end. */
    want(rig, "/a", "2");
    turn(rig);
    assert_int_equal(rig->store->n_jobs, 1);
    settle(rig);
    assert_value(rig, "/a", "2");
    assert_int_equal(publisher_registered(rig->publisher), 1);
}

static void write_does_not_wait_for_refreshes(void **state)
{
    Rig *rig = *state;

    start(rig);
    want_many(rig, 1000);
    pass(rig, 11 * SECOND);
    /* etcd is slow: as many refreshes as there can be are under way. */
    for (int i = 0; i < 100; i++) {
        fake_now_us += 50 * MS;
        turn(rig);
    }
    size_t waiting = rig->store->n_jobs;
    assert_in_range(waiting, 1, rig->store->concurrency - 1);
    want(rig, "/new", "1");
    turn(rig);
    assert_int_equal(rig->store->n_jobs, waiting + 1);
    settle(rig);
    assert_value(rig, "/new", "1");
}

static void lost_key_is_written_again_and_a_taken_one_left(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/gone", "/taken", NULL);
    etcd_delete(&rig->etcd, "/gone");
    etcd_put(&rig->etcd, "/taken", "theirs", false, 0);
    pass(rig, 12 * SECOND);
    assert_value(rig, "/gone", "1");
    assert_value(rig, "/taken", "theirs");
    assert_state(rig, "/taken", ENTRY_CONFLICT);
    assert_int_equal(rig->n_lost, 0);
    assert_int_equal(publisher_counters(rig->publisher)->drift, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(successor_is_there_first),
        BOTH(successor_that_cannot_come_is_not_waited_for),
        BOTH(writes_that_fail_cost_no_other_key),
        BOTH(unwanted_keys_are_deleted_from_a_full_etcd),
        BOTH(nothing_is_written_while_held),
        BOTH(writes_resume_after_a_hold_during_failures),
        BOTH(unclear_answers_make_no_busy_loop),
        BOTH(batches_are_bounded),
        BOTH(first_list_is_written_in_full_batches),
        BOTH(freed_with_writes_under_way),
        V3(dry_run_only_looks),
        V2(dry_run_refreshes_nothing),
        V2(refreshes_are_spread),
        V2(many_keys_are_refreshed_in_time),
        V2(a_refresh_changes_nothing_visible),
        V2(write_does_not_wait_for_refreshes),
        V2(lost_key_is_written_again_and_a_taken_one_left),
    };

    return cmocka_run_group_tests_name("batches", tests, NULL, NULL);
}
