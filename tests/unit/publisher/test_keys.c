/* Wishes, conflicts, orphans and latencies of single keys. */
#include "unit/publisher/rig.h"

static void wanted_is_written_and_unwanted_deleted(void **state)
{
    Rig *rig = *state;

    rig_open(rig);
    want(rig, "/a", "1");
    want(rig, "/b", "2");
    assert_int_equal(rig->store->n_jobs, 0);
    settle(rig);
    assert_string_equal(rig->etcd.last_writes, "+/a +/b ");
    assert_int_equal(publisher_registered(rig->publisher), 2);
    assert_true(publisher_is_idle(rig->publisher));
    assert_true(rig->n_idle > 0);
    forget_writes(rig);
    want(rig, "/a", "9");
    unwant(rig, "/b");
    unwant(rig, "/never");
    settle(rig);
    assert_string_equal(rig->etcd.last_writes, "+/a -/b ");
    assert_value(rig, "/a", "9");
    assert_null(publisher_find(rig->publisher, "/b"));
    assert_int_equal(publisher_counters(rig->publisher)->puts, 3);
    assert_int_equal(publisher_counters(rig->publisher)->deletes, 1);
}

static void want_because(Rig *rig, const char *key, const char *value, uint64_t event_us)
{
    assert_int_equal(publisher_want(rig->publisher, key, value, "owner", "id", event_us * 1000), 0);
}

static uint64_t n_puts_seen(Rig *rig)
{
    return histogram_count(&publisher_counters(rig->publisher)->put_latency);
}

/* Only the last event that a write fulfils counts, once. */
static void latency_is_from_the_event_to_the_answer(void **state)
{
    Rig *rig = *state;
    const PublisherCounters *counters;

    start(rig);
    counters = publisher_counters(rig->publisher);
    want_because(rig, "/a", "1", fake_now_us - 7 * SECOND);
    want_because(rig, "/a", "2", fake_now_us - 3 * SECOND);
    want(rig, "/b", "1");
    settle(rig);
    assert_int_equal(n_puts_seen(rig), 1);
    assert_in_range(counters->put_latency.sum_us, 3 * SECOND, 4 * SECOND);
    assert_int_equal(histogram_count(&counters->delete_latency), 0);
    /* A second write of the same value does not fulfil the event. */
    etcd_delete(&rig->etcd, "/a");
    publisher_resync(rig->publisher);
    pass(rig, 60 * SECOND);
    assert_value(rig, "/a", "2");
    assert_int_equal(n_puts_seen(rig), 1);
    publisher_unwant(rig->publisher, "/a", NULL, (fake_now_us - 2 * SECOND) * 1000);
    settle(rig);
    assert_int_equal(n_puts_seen(rig), 1);
    assert_int_equal(histogram_count(&counters->delete_latency), 1);
    assert_in_range(counters->delete_latency.sum_us, 2 * SECOND, 3 * SECOND);
}

/* The first answer belongs to the older wish. */
static void latency_does_not_count_an_outdated_write(void **state)
{
    Rig *rig = *state;

    start(rig);
    want_because(rig, "/a", "1", fake_now_us - 7 * SECOND);
    turn(rig);
    assert_int_equal(rig->store->n_jobs, 1);
    want_because(rig, "/a", "2", fake_now_us - 3 * SECOND);
    answer_first(rig);
    assert_int_equal(n_puts_seen(rig), 0);
    settle(rig);
    assert_value(rig, "/a", "2");
    assert_int_equal(n_puts_seen(rig), 1);
    assert_in_range(publisher_counters(rig->publisher)->put_latency.sum_us, 3 * SECOND, 4 * SECOND);
}

static void latency_does_not_count_the_time_of_a_conflict(void **state)
{
    Rig *rig = *state;

    etcd_put(&rig->etcd, "/a", "theirs", false, 0);
    start(rig);
    want_because(rig, "/a", "1", fake_now_us);
    settle(rig);
    assert_state(rig, "/a", ENTRY_CONFLICT);
    etcd_delete(&rig->etcd, "/a");
    pass(rig, 20 * SECOND);
    assert_value(rig, "/a", "1");
    assert_int_equal(n_puts_seen(rig), 0);
}

static void latency_of_different_clocks_is_not_counted(void **state)
{
    Rig *rig = *state;

    start(rig);
    pass(rig, 7200 * SECOND);
    want_because(rig, "/future", "1", fake_now_us + 60 * SECOND);
    want_because(rig, "/past", "1", fake_now_us - 3660 * SECOND);
    settle(rig);
    assert_value(rig, "/future", "1");
    assert_value(rig, "/past", "1");
    assert_int_equal(n_puts_seen(rig), 0);
    want_because(rig, "/right", "1", fake_now_us);
    settle(rig);
    assert_int_equal(n_puts_seen(rig), 1);
}

/* etcd carries out the first write of "/a", but its answer is lost. */
static void start_with_unknown_write(Rig *rig)
{
    start(rig);
    rig->choose = lose_after_once;
    want(rig, "/a", "1");
    settle(rig);
    assert_value(rig, "/a", "1");
}

/* Another owner has "/a", which the agent wants. */
static void start_with_conflict(Rig *rig)
{
    etcd_put(&rig->etcd, "/a", "theirs", false, 0);
    start_with(rig, "/a", NULL, NULL);
    assert_state(rig, "/a", ENTRY_CONFLICT);
}

/* v3: an earlier run has left "/a" under the lease. */
static void open_with_orphan(Rig *rig)
{
    etcd_put(&rig->etcd, "/a", "1", true, 0);
    rig->etcd.lease_expires_us = fake_now_us + 30 * SECOND;
    rig_open(rig);
    settle(rig);
}

static void write_with_a_lost_answer_is_repeated(void **state)
{
    Rig *rig = *state;
    Failure (*const ways[])(Rig *, const Job *) = { lose_before_once, lose_after_once };

    start(rig);
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        rig->choose = ways[i];
        rig->count = 0;
        want(rig, "/a", "1");
        settle(rig);
        assert_int_equal(publisher_state(rig->publisher), PUBLISHER_DEGRADED);
        assert_string_equal(publisher_why(rig->publisher), "no answer");
        pass(rig, 2 * SECOND);
        assert_value(rig, "/a", "1");
        assert_state(rig, "/a", ENTRY_REGISTERED);
        assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
        rig->count = 0;
        want(rig, "/a", "2");
        settle(rig);
        pass(rig, 2 * SECOND);
        assert_value(rig, "/a", "2");
        rig->count = 0;
        unwant(rig, "/a");
        settle(rig);
        pass(rig, 2 * SECOND);
        assert_value(rig, "/a", NULL);
        assert_null(publisher_find(rig->publisher, "/a"));
    }
}

/* The container ends before the write is repeated. */
static void unknown_write_of_a_key_that_is_no_longer_wanted_is_deleted(void **state)
{
    Rig *rig = *state;

    start_with_unknown_write(rig);
    unwant(rig, "/a");
    pass(rig, 2 * SECOND);
    assert_value(rig, "/a", NULL);
}

static void unknown_change_is_changed_back(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    rig->choose = lose_after_once;
    want(rig, "/a", "2");
    settle(rig);
    want(rig, "/a", "1");
    publisher_resync(rig->publisher);
    assert_value(rig, "/a", "2");
    pass(rig, 2 * SECOND);
    assert_value(rig, "/a", "1");
    assert_state(rig, "/a", ENTRY_REGISTERED);
}

static void conflict_is_left_alone_until_the_other_key_is_gone(void **state)
{
    Rig *rig = *state;

    start_with_conflict(rig);
    assert_string_equal(publisher_get(rig->publisher, "/a")->holder, "theirs");
    pass(rig, 60 * SECOND);
    assert_value(rig, "/a", "theirs");
    assert_int_equal(publisher_counters(rig->publisher)->conflicts, 1);
    assert_int_equal(rig->store->n_replaces, 0);
    assert_true(publisher_is_idle(rig->publisher));
    /* The wish for a second key ends before the key is written. */
    want(rig, "/b", "1");
    etcd_put(&rig->etcd, "/b", "theirs", false, 0);
    settle(rig);
    unwant(rig, "/b");
    settle(rig);
    assert_null(publisher_find(rig->publisher, "/b"));
    assert_value(rig, "/b", "theirs");
    etcd_delete(&rig->etcd, "/a");
    pass(rig, 11 * SECOND);
    assert_value(rig, "/a", "1");
    assert_state(rig, "/a", ENTRY_REGISTERED);
    assert_null(publisher_get(rig->publisher, "/a")->holder);
}

static void replace_takes_the_key_over(void **state)
{
    Rig *rig = *state;

    etcd_put(&rig->etcd, "/a", "theirs", false, 0);
    rig->config.replace = true;
    start_with(rig, "/a", NULL, NULL);
    assert_value(rig, "/a", "1");
    assert_true(etcd_get(&rig->etcd, "/a")->ours);
    assert_int_equal(rig->store->n_replaces, 1);
    assert_int_equal(publisher_counters(rig->publisher)->conflicts, 1);
}

/* The other owner writes the key again before each read of the agent. */
static Failure their_key_changes(Rig *rig, const Job *job)
{
    if (job->kind == JOB_APPLY)
        etcd_put(&rig->etcd, "/a", "theirs", false, 0);
    return ANSWER;
}

static void replace_is_tried_once_a_heartbeat(void **state)
{
    Rig *rig = *state;

    rig->config.replace = true;
    start(rig);
    rig->choose = their_key_changes;
    want(rig, "/a", "1");
    settle(rig);
    assert_int_equal(rig->store->n_replaces, 1);
    unsigned heartbeats = rig->n_heartbeats;
    pass(rig, 100 * SECOND);
    assert_in_range(rig->n_heartbeats - heartbeats, 9, 11);
    assert_int_equal(rig->store->n_replaces, 1 + rig->n_heartbeats - heartbeats);
    assert_int_equal(publisher_counters(rig->publisher)->conflicts, 1);
}

static void wishes_change_while_a_write_is_under_way(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    want(rig, "/b", "1");
    want(rig, "/c", "1");
    turn(rig);
    assert_state(rig, "/a", ENTRY_WRITING);
    want(rig, "/a", "2");
    unwant(rig, "/b");
    unwant(rig, "/c");
    want(rig, "/c", "1");
    settle(rig);
    assert_value(rig, "/a", "2");
    assert_value(rig, "/b", NULL);
    assert_value(rig, "/c", "1");
    unwant(rig, "/a");
    turn(rig);
    want(rig, "/a", "3");
    settle(rig);
    assert_value(rig, "/a", "3");
    assert_null(publisher_find(rig->publisher, "/b"));
}

static void wish_restored_before_the_delete_writes_nothing(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    forget_writes(rig);
    unwant(rig, "/a");
    want(rig, "/a", "1");
    settle(rig);
    assert_int_equal(rig->etcd.n_writes, 0);
    assert_state(rig, "/a", ENTRY_REGISTERED);
}

/* An earlier run has left the key. "registrator stop" must wait for it before etcd was asked. */
static void deregistered_before_etcd_was_asked(void **state)
{
    Rig *rig = *state;

    etcd_put(&rig->etcd, "/a", "1", true, fake_now_us + 30 * SECOND);
    rig_open(rig);
    want(rig, "/a", "1");
    unwant(rig, "/a");
    assert_true(publisher_owns(rig->publisher, "id"));
    settle(rig);
    publisher_drop_orphans(rig->publisher);
    settle(rig);
    assert_value(rig, "/a", NULL);
    assert_false(publisher_owns(rig->publisher, "id"));
}

/* v2 has no list of the agent's keys, so a key that waits may exist already. v3 has one. */
static void deregistered_before_its_first_write(void **state)
{
    Rig *rig = *state;
    bool has_lease = rig->etcd.has_lease;

    start(rig);
    if (!has_lease)
        etcd_put(&rig->etcd, "/a", "1", true, fake_now_us + 30 * SECOND);
    publisher_hold(rig->publisher);
    want(rig, "/a", "1");
    unwant(rig, "/a");
    assert_int_equal(publisher_owns(rig->publisher, "id"), !has_lease);
    publisher_release(rig->publisher);
    settle(rig);
    assert_value(rig, "/a", NULL);
    assert_int_equal(rig->store->n_applies, !has_lease);
    assert_false(publisher_owns(rig->publisher, "id"));
}

static void key_belongs_to_its_owner_while_etcd_may_have_it(void **state)
{
    Rig *rig = *state;

    etcd_put(&rig->etcd, "/b", "theirs", false, 0);
    start_with(rig, "/a", NULL, NULL);
    assert_true(publisher_owns(rig->publisher, "id"));
    assert_false(publisher_owns(rig->publisher, "another id"));
    assert_int_equal(publisher_get(rig->publisher, "/a")->known, etcd_get(&rig->etcd, "/a")->revision);
    unwant(rig, "/a");
    settle(rig);
    want(rig, "/b", "1");
    settle(rig);
    assert_state(rig, "/b", ENTRY_CONFLICT);
    assert_false(publisher_owns(rig->publisher, "id"));
    unwant(rig, "/b");
    assert_null(publisher_find(rig->publisher, "/b"));
}

/* Without Docker, v3 knows the keys of an earlier run by the lease, and v2 does not. */
static void keys_of_an_earlier_run_are_unknown_until_docker_is_known(void **state)
{
    Rig *rig = *state;

    rig_open(rig);
    assert_false(publisher_knows(rig->publisher));
    settle(rig);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    assert_int_equal(publisher_knows(rig->publisher), rig->etcd.has_lease);
    publisher_drop_orphans(rig->publisher);
    assert_true(publisher_knows(rig->publisher));
}

static void keys_of_an_earlier_run_are_adopted(void **state)
{
    Rig *rig = *state;

    etcd_put(&rig->etcd, "/a", "1", true, 0);
    etcd_put(&rig->etcd, "/moved", "old", true, 0);
    etcd_put(&rig->etcd, "/orphan", "1", true, 0);
    rig->etcd.lease_expires_us = fake_now_us + 30 * SECOND;
    forget_writes(rig);
    rig_open(rig);
    settle(rig);
    pass(rig, 25 * SECOND); /* Docker does not answer yet */
    want(rig, "/a", "1");
    settle(rig);
    assert_int_equal(rig->etcd.n_writes, 0);
    assert_state(rig, "/a", ENTRY_REGISTERED);
    want(rig, "/moved", "new");
    settle(rig);
    assert_string_equal(rig->etcd.last_writes, "+/moved ");
    publisher_drop_orphans(rig->publisher);
    settle(rig);
    assert_string_equal(rig->etcd.last_writes, "+/moved -/orphan ");
    assert_null(publisher_find(rig->publisher, "/orphan"));
    publisher_drop_orphans(rig->publisher);
    settle(rig);
    assert_int_equal(rig->etcd.n_writes, 2);
}

/* A key of an earlier run is inherited until the agent wants it, or deletes it. */
static void an_orphan_is_inherited_until_it_is_dropped(void **state)
{
    Rig *rig = *state;

    open_with_orphan(rig);
    assert_true(publisher_inherits(rig->publisher, "/a", "1"));
    assert_false(publisher_inherits(rig->publisher, "/a", "2"));
    assert_false(publisher_inherits(rig->publisher, "/b", "1"));
    publisher_drop_orphans(rig->publisher);
    assert_false(publisher_inherits(rig->publisher, "/a", "1"));
}

/* The key's container ends before the first list is complete. */
static void key_that_is_being_deleted_is_no_orphan(void **state)
{
    Rig *rig = *state;

    open_with_orphan(rig);
    unwant(rig, "/a");
    turn(rig);
    assert_state(rig, "/a", ENTRY_WRITING);
    publisher_drop_orphans(rig->publisher);
    turn(rig);
    assert_state(rig, "/a", ENTRY_WRITING);
    settle(rig);
    assert_value(rig, "/a", NULL);
    assert_null(publisher_find(rig->publisher, "/a"));
}

/* The container ends while etcd gives no answer, and a late write then creates the key. */
static void late_write_of_an_unwanted_key_is_deleted_at_the_resync(void **state)
{
    Rig *rig = *state;

    start(rig);
    rig->choose = lose_everything;
    want(rig, "/a", "1");
    settle(rig);
    unwant(rig, "/a");
    rig->choose = NULL;
    pass(rig, 30 * SECOND);
    assert_value(rig, "/a", NULL);
    etcd_put(&rig->etcd, "/a", "1", true, 0);
    publisher_resync(rig->publisher);
    settle(rig);
    assert_value(rig, "/a", NULL);
}

/* A suspended member carries out the requests in its queue when it continues. */
static void abandoned_write_that_is_carried_out_late_is_corrected_at_the_resync(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    rig->choose = lose_before_once;
    want(rig, "/a", "2");
    settle(rig);
    want(rig, "/a", "3");
    pass(rig, 2 * SECOND);
    assert_value(rig, "/a", "3");
    publisher_resync(rig->publisher);
    settle(rig);
    etcd_put(&rig->etcd, "/a", "2", true, 0);
    publisher_resync(rig->publisher);
    settle(rig);
    assert_value(rig, "/a", "3");
    assert_state(rig, "/a", ENTRY_REGISTERED);
}

/* The first value may be in etcd, although neither value is wanted. */
static void unknown_write_of_an_older_value_is_deleted(void **state)
{
    Rig *rig = *state;

    start_with_unknown_write(rig);
    want(rig, "/a", "2");
    assert_state(rig, "/a", ENTRY_PENDING);
    unwant(rig, "/a");
    assert_true(publisher_owns(rig->publisher, "id"));
    pass(rig, 2 * SECOND);
    assert_value(rig, "/a", NULL);
    assert_false(publisher_owns(rig->publisher, "id"));
}

/* A repeated wish makes the publisher ask etcd at once, because the other key may be gone. */
static void repeated_wish_asks_at_once(void **state)
{
    Rig *rig = *state;

    start_with_conflict(rig);
    etcd_delete(&rig->etcd, "/a");
    want(rig, "/a", "1");
    settle(rig);
    assert_value(rig, "/a", "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(wanted_is_written_and_unwanted_deleted),
        BOTH(latency_is_from_the_event_to_the_answer),
        BOTH(latency_does_not_count_an_outdated_write),
        BOTH(latency_does_not_count_the_time_of_a_conflict),
        BOTH(latency_of_different_clocks_is_not_counted),
        BOTH(write_with_a_lost_answer_is_repeated),
        BOTH(unknown_write_of_a_key_that_is_no_longer_wanted_is_deleted),
        BOTH(unknown_change_is_changed_back),
        BOTH(unknown_write_of_an_older_value_is_deleted),
        BOTH(repeated_wish_asks_at_once),
        BOTH(conflict_is_left_alone_until_the_other_key_is_gone),
        BOTH(replace_takes_the_key_over),
        BOTH(replace_is_tried_once_a_heartbeat),
        BOTH(wishes_change_while_a_write_is_under_way),
        BOTH(wish_restored_before_the_delete_writes_nothing),
        BOTH(deregistered_before_etcd_was_asked),
        BOTH(deregistered_before_its_first_write),
        BOTH(key_belongs_to_its_owner_while_etcd_may_have_it),
        BOTH(keys_of_an_earlier_run_are_unknown_until_docker_is_known),
        V3(keys_of_an_earlier_run_are_adopted),
        V3(late_write_of_an_unwanted_key_is_deleted_at_the_resync),
        V3(abandoned_write_that_is_carried_out_late_is_corrected_at_the_resync),
        V3(an_orphan_is_inherited_until_it_is_dropped),
        V3(key_that_is_being_deleted_is_no_orphan),
    };

    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
