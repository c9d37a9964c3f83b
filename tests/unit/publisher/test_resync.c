/* What a resync makes of what etcd has, and when there is one. */
#include "unit/publisher/rig.h"

/* "etcdctl put --ignore-lease": the lease says nothing of it, the mod revision does. */
static void changed_value_is_found_by_the_resync(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    etcd_put(&rig->etcd, "/a", "2", true, 0);
    publisher_resync(rig->publisher);
    settle(rig);
    assert_value(rig, "/a", "1");
    assert_state(rig, "/a", ENTRY_REGISTERED);
    assert_int_equal(publisher_counters(rig->publisher)->drift, 1);
}

static void resync_finds_missing_keys_and_orphans(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/gone", "/taken", "/fine");
    etcd_delete(&rig->etcd, "/gone");
    etcd_put(&rig->etcd, "/taken", "theirs", false, 0);
    etcd_put(&rig->etcd, "/extra", "1", true, 0);
    forget_writes(rig);
    publisher_resync(rig->publisher);
    settle(rig);
    assert_value(rig, "/gone", "1");
    assert_value(rig, "/taken", "theirs");
    assert_state(rig, "/taken", ENTRY_CONFLICT);
    assert_value(rig, "/extra", NULL);
    assert_int_equal(rig->etcd.n_writes, 2);
    assert_int_equal(publisher_counters(rig->publisher)->drift, 2);
}

static void resync_older_than_a_change_is_ignored(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    publisher_resync(rig->publisher);
    turn(rig);
    assert_int_equal(rig->store->n_jobs, 1);
    job_do(rig->store, &rig->store->jobs[0], ANSWER);
    unwant(rig, "/a");
    want(rig, "/b", "1");
    turn(rig);
    assert_int_equal(rig->store->n_jobs, 2);
    job_do(rig->store, &rig->store->jobs[1], ANSWER);
    job_answer(rig->store, 1);
    forget_writes(rig);
    settle(rig);
    assert_int_equal(rig->etcd.n_writes, 0);
    assert_value(rig, "/a", NULL);
    assert_value(rig, "/b", "1");
    assert_int_equal(publisher_counters(rig->publisher)->drift, 0);
}

/* Two writes at once: the answer of the first is lost, that of the second brings the publisher back. */
static void start_resync_after_unknown_write(Rig *rig, const char *key, const char *value)
{
    want(rig, key, value);
    turn(rig);
    want(rig, "/other", "1");
    turn(rig);
    assert_int_equal(rig->store->n_jobs, 2);
    job_do(rig->store, &rig->store->jobs[0], LOSE_AFTER);
    job_answer(rig->store, 0);
    publisher_hold(rig->publisher);
    job_do(rig->store, &rig->store->jobs[0], ANSWER);
    job_answer(rig->store, 0);
    turn(rig);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    publisher_resync(rig->publisher);
    assert_int_equal(rig->store->n_jobs, 1);
    assert_int_equal(rig->store->jobs[0].kind, JOB_RESYNC);
}

/* The resync shows that the key is there, but not with which value. */
static void resync_between_an_unknown_write_and_its_repetition(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    start_resync_after_unknown_write(rig, "/a", "2");
    assert_value(rig, "/a", "2");
    want(rig, "/a", "1");
    job_answer(rig->store, 0);
    publisher_resync(rig->publisher);
    settle(rig);
    publisher_release(rig->publisher);
    pass(rig, 5 * SECOND);
    assert_value(rig, "/a", "1");
}

static void resync_while_a_write_is_under_way(void **state)
{
    Rig *rig = *state;

    start(rig);
    publisher_resync(rig->publisher);
    turn(rig);
    want(rig, "/a", "1");
    turn(rig);
    assert_int_equal(rig->store->n_jobs, 2);
    job_do(rig->store, &rig->store->jobs[1], LOSE_AFTER);
    job_do(rig->store, &rig->store->jobs[0], ANSWER);
    job_answer(rig->store, 1);
    unwant(rig, "/a");
    settle(rig);
    pass(rig, 5 * SECOND);
    assert_value(rig, "/a", NULL);
}

static void resync_waits_for_better_times(void **state)
{
    Rig *rig = *state;

    start(rig);
    rig->choose = lose_everything;
    publisher_resync(rig->publisher);
    settle(rig);
    assert_int_equal(rig->store->n_resyncs, 1);
    publisher_resync(rig->publisher);
    assert_int_equal(rig->store->n_resyncs, 1);
    rig->choose = NULL;
    pass(rig, 3 * SECOND);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    pass(rig, 20 * SECOND);
    assert_int_equal(rig->store->n_resyncs, 2);
}

/* A thousand agents return at once: one request each has to do then. */
static void return_costs_one_request_and_the_resync_follows(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    rig->choose = lose_everything;
    pass(rig, 20 * SECOND);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_DEGRADED);
    etcd_delete(&rig->etcd, "/a");
    size_t resyncs = rig->store->n_resyncs, applies = rig->store->n_applies;
    rig->choose = NULL;
    while (publisher_state(rig->publisher) != PUBLISHER_ONLINE)
        pass(rig, 100 * MS);
    settle(rig);
    assert_int_equal(rig->store->n_resyncs, resyncs);
    assert_int_equal(rig->store->n_applies, applies);
    pass(rig, 20 * SECOND);
    assert_int_equal(rig->store->n_resyncs, resyncs + 1);
    assert_value(rig, "/a", "1");
    pass(rig, 60 * SECOND);
    assert_int_equal(rig->store->n_resyncs, resyncs + 1);
}

/* A resync while etcd was away has asked for it. */
static void return_without_the_lease_needs_no_resync(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    rig->choose = lose_everything;
    pass(rig, 20 * SECOND);
    publisher_resync(rig->publisher);
    pass(rig, 20 * SECOND);
    assert_value(rig, "/a", NULL);
    size_t resyncs = rig->store->n_resyncs;
    rig->choose = NULL;
    pass(rig, 30 * SECOND);
    assert_int_equal(rig->n_lost, 1);
    assert_value(rig, "/a", "1");
    assert_int_equal(rig->store->n_resyncs, resyncs);
}

static void late_resync_from_before_the_lease_was_lost(void **state)
{
    Rig *rig = *state;

    start(rig);
    start_resync_after_unknown_write(rig, "/a", "1");
    job_do(rig->store, &rig->store->jobs[0], ANSWER);
    lose_lease(rig);
    size_t i = find_job(rig, JOB_OPEN);
    job_do(rig->store, &rig->store->jobs[i], ANSWER);
    job_answer(rig->store, i);
    turn(rig);
    i = find_job(rig, JOB_RESYNC);
    job_answer(rig->store, i);
    publisher_release(rig->publisher);
    settle(rig);
    assert_value(rig, "/a", "1");
}

/* The resync has read a value that was changed by hand. Before its answer, the key is written with another value. */
static void resync_older_than_a_write_is_ignored(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    etcd_put(&rig->etcd, "/a", "9", true, 0);
    publisher_resync(rig->publisher);
    turn(rig);
    job_do(rig->store, &rig->store->jobs[0], ANSWER);
    want(rig, "/a", "2");
    turn(rig);
    assert_int_equal(rig->store->n_jobs, 2);
    job_do(rig->store, &rig->store->jobs[1], ANSWER);
    job_answer(rig->store, 1);
    assert_value(rig, "/a", "2");
    forget_writes(rig);
    size_t applies = rig->store->n_applies;
    settle(rig);
    assert_state(rig, "/a", ENTRY_REGISTERED);
    assert_string_equal(publisher_get(rig->publisher, "/a")->published, "2");
    assert_int_equal(publisher_counters(rig->publisher)->drift, 0);
    assert_int_equal(rig->store->n_applies, applies);
}

/* etcd answers the resync before the write, and the agent gets the write's answer first. */
static void resync_from_before_the_answer_of_a_write_is_ignored(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    turn(rig);
    publisher_resync(rig->publisher);
    assert_int_equal(rig->store->n_jobs, 2);
    job_do(rig->store, &rig->store->jobs[1], ANSWER);
    job_do(rig->store, &rig->store->jobs[0], ANSWER);
    job_answer(rig->store, 0);
    assert_state(rig, "/a", ENTRY_REGISTERED);
    size_t applies = rig->store->n_applies;
    settle(rig);
    assert_state(rig, "/a", ENTRY_REGISTERED);
    assert_int_equal(publisher_counters(rig->publisher)->drift, 0);
    assert_int_equal(rig->store->n_applies, applies);
}

/* A resync finds the lease lost, while the key stays under that lease. Then the next opening does not find the key, and
 * the agent writes the key again. */
static const StoreOp *write_after_opening(Rig *rig, bool lease_changed)
{
    start_with(rig, "/a", NULL, NULL);
    etcd_get(&rig->etcd, "/a")->ours = false;
    rig->etcd.lease_expires_us = 0;
    rig->store->lease_changed = lease_changed;
    publisher_resync(rig->publisher);
    for (unsigned i = 0; i < 2; i++) {
        turn(rig);
        assert_int_equal(rig->store->n_jobs, 1);
        assert_int_equal(rig->store->jobs[0].kind, i == 0 ? JOB_RESYNC : JOB_OPEN);
        job_do(rig->store, &rig->store->jobs[0], ANSWER);
        job_answer(rig->store, 0);
    }
    turn(rig);
    assert_int_equal(rig->store->n_jobs, 1);
    assert_int_equal(rig->store->jobs[0].kind, JOB_APPLY);
    return &rig->store->jobs[0].ops[0];
}

/* A cloned host uses the old lease too. The mod revision shows that the key is this host's. */
static void key_under_the_lease_of_a_clone_is_still_known(void **state)
{
    Rig *rig = *state;
    const StoreOp *op = write_after_opening(rig, true);

    assert_non_null(op->previous);
    assert_string_equal(op->previous, "1");
    assert_int_equal(op->known, etcd_get(&rig->etcd, "/a")->revision);
    settle(rig);
}

static Failure refuse_a_heartbeat_once(Rig *rig, const Job *job)
{
    return job->kind == JOB_HEARTBEAT && rig->count++ == 0 ? REFUSE : ANSWER;
}

/* No answer has told of an ended lease, but the opening after the refusal takes another lease. */
static void registered_key_moves_to_another_lease(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    etcd_get(&rig->etcd, "/a")->ours = false;
    rig->store->lease_changed = true;
    size_t applies = rig->store->n_applies;
    rig->choose = refuse_a_heartbeat_once;
    for (unsigned i = 0; i < 12 && rig->store->n_applies == applies; i++)
        pass(rig, SECOND);
    assert_int_equal(rig->store->n_opens, 2);
    assert_int_equal(rig->store->n_applies, applies + 1);
    assert_int_equal(publisher_counters(rig->publisher)->drift, 0);
}

static void key_that_the_opening_does_not_find_is_not_known(void **state)
{
    Rig *rig = *state;
    const StoreOp *op = write_after_opening(rig, false);

    assert_null(op->previous);
    assert_int_equal(op->known, 0);
    settle(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V3(key_under_the_lease_of_a_clone_is_still_known),
        V3(registered_key_moves_to_another_lease),
        V3(key_that_the_opening_does_not_find_is_not_known),
        V3(resync_older_than_a_write_is_ignored),
        V3(resync_from_before_the_answer_of_a_write_is_ignored),
        V3(changed_value_is_found_by_the_resync),
        V3(resync_finds_missing_keys_and_orphans),
        V3(resync_older_than_a_change_is_ignored),
        V3(resync_between_an_unknown_write_and_its_repetition),
        V3(resync_while_a_write_is_under_way),
        V3(resync_waits_for_better_times),
        V3(return_costs_one_request_and_the_resync_follows),
        V3(return_without_the_lease_needs_no_resync),
        V3(late_resync_from_before_the_lease_was_lost),
    };

    return cmocka_run_group_tests_name("resync", tests, NULL, NULL);
}
