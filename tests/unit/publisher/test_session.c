/* Opening, heartbeats, outages and lost leases. */
#include "unit/publisher/rig.h"

static Failure no_opening(Rig *rig, const Job *job)
{
    return job->kind == JOB_OPEN && rig->count++ < 5 ? LOSE_BEFORE : ANSWER;
}

static void etcd_may_start_after_the_agent(void **state)
{
    Rig *rig = *state;

    rig->choose = no_opening;
    rig_open(rig);
    want(rig, "/a", "1");
    settle(rig);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_CLOSED);
    assert_string_equal(publisher_why(rig->publisher), "no answer");
    assert_true(publisher_heartbeat_age_us(rig->publisher) == UINT64_MAX);
    pass(rig, 10 * SECOND);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    assert_string_equal(publisher_why(rig->publisher), "");
    assert_int_equal(rig->store->n_opens, 6);
    assert_value(rig, "/a", "1");
}

static Failure refuse_everything(Rig *rig, const Job *job)
{
    (void)rig;
    (void)job;
    return REFUSE;
}

static Failure refuse_all_but_opening(Rig *rig, const Job *job)
{
    (void)rig;
    return job->kind == JOB_OPEN ? ANSWER : REFUSE;
}

static void refusal_for_a_while_is_survived(void **state)
{
    Rig *rig = *state;
    Failure (*const ways[])(Rig *, const Job *) = { refuse_everything, refuse_all_but_opening };

    start_with(rig, "/a", NULL, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        rig->choose = ways[i];
        pass(rig, 12 * SECOND);
        rig->choose = NULL;
        forget_writes(rig);
        pass(rig, 60 * SECOND);
        assert_value(rig, "/a", "1");
        assert_int_equal(rig->etcd.n_writes, 0);
        assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
        want(rig, "/b", i == 0 ? "1" : "2");
        settle(rig);
        assert_value(rig, "/b", i == 0 ? "1" : "2");
    }
}

/* Shorter than the TTL: what is there stays there. */
static void short_outage_costs_no_key(void **state)
{
    Rig *rig = *state;

    start(rig);
    want_many(rig, 20);
    pass(rig, 25 * SECOND);
    forget_writes(rig);
    rig->choose = lose_everything;
    pass(rig, 18 * SECOND);
    rig->choose = NULL;
    pass(rig, 60 * SECOND);
    assert_int_equal(rig->etcd.n_keys, 20);
    assert_int_equal(rig->etcd.n_writes, 0);
    assert_int_equal(rig->n_lost, 0);
}

static void all_keys_are_written_at_once_after_a_long_outage(void **state)
{
    Rig *rig = *state;

    start(rig);
    want_many(rig, 20);
    settle(rig);
    rig->choose = lose_everything;
    pass(rig, 60 * SECOND);
    assert_int_equal(rig->etcd.n_keys, 0);
    want(rig, "/new", "1");
    rig->choose = NULL;
    pass(rig, 2 * SECOND);
    assert_int_equal(rig->etcd.n_keys, 21);
    assert_int_equal(rig->n_lost, 1);
    assert_int_equal(publisher_counters(rig->publisher)->lease_losses, 1);
}

static void another_store_gets_every_key(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", "/b", NULL);
    want(rig, "/c", "1"); /* under way */
    turn(rig);
    rig->config.heartbeat_s = 5;
    Store *store = fake_store_new(rig->event, &rig->other_etcd, 30);
    publisher_reconfigure(rig->publisher, store, &rig->config);
    rig->store = store;
    unwant(rig, "/b");
    settle(rig);
    assert_int_equal(rig->other_etcd.n_keys, 2);
    assert_non_null(etcd_find(&rig->other_etcd, "/a"));
    assert_non_null(etcd_find(&rig->other_etcd, "/c"));
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    assert_int_equal(publisher_registered(rig->publisher), 2);
    assert_true(publisher_is_idle(rig->publisher));
}

static void reconfigured_heartbeat_takes_effect(void **state)
{
    Rig *rig = *state;

    start(rig);
    rig->config.heartbeat_s = 2;
    publisher_reconfigure(rig->publisher, NULL, &rig->config);
    unsigned before = rig->n_heartbeats;
    pass(rig, 20 * SECOND);
    assert_in_range(rig->n_heartbeats - before, 9, 10);
}

/* Those that were started at once do not beat at once. */
static void first_heartbeat_is_at_any_time_of_the_interval(void **state)
{
    Rig *rig = *state;
    unsigned early = 0;

    for (int i = 0; i < 60; i++) {
        unsigned before = rig->n_heartbeats;

        if (i == 0)
            start(rig);
        else
            publisher_reconfigure(rig->publisher, NULL, &rig->config);
        rig->config.heartbeat_s = i % 2 == 0 ? 9 : 10; /* the next time, another interval */
        pass(rig, 5 * SECOND);
        early += rig->n_heartbeats > before;
        pass(rig, 5 * SECOND);
        assert_in_range(rig->n_heartbeats - before, 1, 2);
    }
    assert_in_range(early, 5, 55);
}

/* Reloads that change nothing do not put the renewal of the lease off. */
static void reloads_leave_the_heartbeats_alone(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    for (int i = 0; i < 20; i++) {
        publisher_reconfigure(rig->publisher, NULL, &rig->config);
        pass(rig, 4 * SECOND);
    }
    assert_in_range(rig->n_heartbeats, 7, 9);
    assert_value(rig, "/a", "1");
    assert_int_equal(rig->n_lost, 0);
}

/* The first question after an outage is a write if one is pending. Its answer renews no lease. */
static void a_write_after_an_outage_hides_no_failed_heartbeat(void **state)
{
    Rig *rig = *state;
    size_t n_heartbeats;

    start_with(rig, "/a", NULL, NULL);
    /* From one heartbeat on, so that none is due within the two seconds below. */
    for (n_heartbeats = rig->store->n_heartbeats; rig->store->n_heartbeats == n_heartbeats;)
        pass(rig, 5 * MS);
    rig->choose = lose_everything;
    pass(rig, 11 * SECOND);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_DEGRADED);
    want(rig, "/b", "1");
    n_heartbeats = rig->store->n_heartbeats;
    rig->choose = NULL;
    pass(rig, 2 * SECOND);
    assert_value(rig, "/b", "1");
    assert_int_equal(rig->store->n_heartbeats, n_heartbeats + 1);
    assert_true(publisher_heartbeat_age_us(rig->publisher) <= 2 * SECOND);
}

static void an_idle_publisher_sends_only_heartbeats(void **state)
{
    Rig *rig = *state;

    start(rig);
    want_many(rig, 50);
    settle(rig);
    forget_writes(rig);
    for (int i = 0; i < 30; i++) {
        pass(rig, 10 * SECOND);
        publisher_resync(rig->publisher);
    }
    assert_int_equal(rig->etcd.n_writes, 0);
    assert_int_equal(rig->etcd.n_keys, 50);
    assert_int_equal(publisher_registered(rig->publisher), 50);
    assert_int_equal(rig->n_lost, 0);
}

static void one_heartbeat_a_host(void **state)
{
    Rig *rig = *state;

    start(rig);
    want_many(rig, 300);
    settle(rig);
    size_t applies = rig->store->n_applies, beats = rig->store->n_heartbeats;
    pass(rig, 100 * SECOND);
    assert_in_range(rig->store->n_heartbeats - beats, 9, 11);
    assert_int_equal(rig->store->n_applies, applies);
}

static void silence_without_keys_is_no_loss(void **state)
{
    Rig *rig = *state;

    start(rig);
    pass(rig, 100 * SECOND);
    want(rig, "/a", "1");
    settle(rig);
    assert_int_equal(rig->n_lost, 0);
    assert_value(rig, "/a", "1");
}

/* etcd is slow, and was asked anew for its leases because it refused something. */
static void heartbeats_continue_during_another_opening(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    rig->choose = refuse_all_writes;
    want(rig, "/b", "1");
    settle(rig);
    /* The delay of the next try has jitter: a heartbeat may come before it. */
    while (rig->store->n_jobs == 0 || rig->store->jobs[0].kind != JOB_OPEN) {
        while (rig->store->n_jobs > 0 && rig->store->jobs[0].kind != JOB_OPEN)
            answer_first(rig);
        if (rig->store->n_jobs > 0)
            continue;
        fake_now_us += 100 * MS;
        etcd_pass_time(&rig->etcd);
        turn(rig);
    }
    for (int i = 0; i < 6; i++) {
        fake_now_us += 8 * SECOND;
        etcd_pass_time(&rig->etcd);
        turn(rig);
        for (size_t k = 1; k < rig->store->n_jobs;) {
            assert_int_equal(rig->store->jobs[k].kind, JOB_HEARTBEAT);
            job_do(rig->store, &rig->store->jobs[k], ANSWER);
            job_answer(rig->store, k);
        }
    }
    assert_value(rig, "/a", "1");
    rig->choose = NULL;
    settle(rig);
    pass(rig, 2 * SECOND);
    assert_value(rig, "/b", "1");
    assert_int_equal(rig->n_lost, 0);
}

/* The write went under a lease that then ended; its answer comes under the next one. */
static void late_answer_from_before_the_lease_was_lost(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    turn(rig);
    job_do(rig->store, &rig->store->jobs[0], ANSWER);
    assert_value(rig, "/a", "1");
    lose_lease(rig);
    assert_value(rig, "/a", NULL);
    size_t i = find_job(rig, JOB_OPEN);
    job_do(rig->store, &rig->store->jobs[i], ANSWER);
    job_answer(rig->store, i);
    turn(rig);
    settle(rig);
    pass(rig, 3 * SECOND);
    assert_value(rig, "/a", "1");
}

/* The heartbeat met the lease that was lost; its answer comes under the next one. */
static void late_heartbeat_from_before_the_lease_was_lost(void **state)
{
    Rig *rig = *state;

    start(rig);
    fake_now_us += 31 * SECOND;
    etcd_pass_time(&rig->etcd);
    want(rig, "/a", "1");
    turn(rig);
    size_t beat = find_job(rig, JOB_HEARTBEAT), write = find_job(rig, JOB_APPLY);
    job_do(rig->store, &rig->store->jobs[beat], ANSWER);
    job_do(rig->store, &rig->store->jobs[write], ANSWER);
    job_answer(rig->store, write);
    assert_int_equal(rig->n_lost, 1);
    turn(rig);
    size_t i = find_job(rig, JOB_OPEN);
    job_do(rig->store, &rig->store->jobs[i], ANSWER);
    job_answer(rig->store, i);
    settle(rig);
    assert_int_equal(rig->n_lost, 1);
    assert_value(rig, "/a", "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(an_idle_publisher_sends_only_heartbeats),
        BOTH(etcd_may_start_after_the_agent),
        BOTH(refusal_for_a_while_is_survived),
        BOTH(short_outage_costs_no_key),
        BOTH(all_keys_are_written_at_once_after_a_long_outage),
        BOTH(another_store_gets_every_key),
        BOTH(reconfigured_heartbeat_takes_effect),
        BOTH(first_heartbeat_is_at_any_time_of_the_interval),
        V3(reloads_leave_the_heartbeats_alone),
        V3(a_write_after_an_outage_hides_no_failed_heartbeat),
        V3(late_answer_from_before_the_lease_was_lost),
        V3(heartbeats_continue_during_another_opening),
        V3(late_heartbeat_from_before_the_lease_was_lost),
        V3(one_heartbeat_a_host),
        V2(silence_without_keys_is_no_loss),
    };

    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
