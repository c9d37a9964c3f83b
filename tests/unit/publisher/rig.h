/* A publisher on the fake store, which the test drives: what is due runs on a real sd-event loop, and no test waits for
 * anything. */
#pragma once

#include "base/log.h"
#include "publisher/publisher.h"
#include "unit/publisher/fake_store.h"

#include <systemd/sd-event.h>

typedef struct Rig {
    sd_event *event;
    FakeEtcd etcd, other_etcd;
    Store *store; /* the publisher's; the rig looks at it */
    Publisher *publisher;
    PublisherConfig config;
    unsigned n_lost, n_heartbeats, n_idle, n_states;
    PublisherState last_state;
    char planned[512];
    bool hold_when_lost;
    Failure (*choose)(struct Rig *rig, const Job *job); /* NULL: everything goes well */
    uint64_t random;
    unsigned count;
} Rig;

static inline void on_state(void *userdata, PublisherState state, const char *why)
{
    Rig *rig = userdata;

    assert_non_null(why);
    rig->last_state = state;
    rig->n_states++;
}

static inline void on_lost(void *userdata)
{
    Rig *rig = userdata;

    rig->n_lost++;
    if (rig->hold_when_lost)
        publisher_hold(rig->publisher);
}

static inline void on_beat(void *userdata)
{
    ((Rig *)userdata)->n_heartbeats++;
}

static inline void on_planned(void *userdata, const char *what, const char *key, const char *value, const char *holder)
{
    Rig *rig = userdata;
    size_t used = strlen(rig->planned);

    (void)snprintf(rig->planned + used, sizeof(rig->planned) - used, "%s %s %s %s;", what, key, value ? value : "-",
                   holder ? holder : "-");
}

static inline void on_idle(void *userdata)
{
    ((Rig *)userdata)->n_idle++;
}

static const PublisherHandlers handlers = {
    .state_changed = on_state, .lease_lost = on_lost, .heartbeat = on_beat, .planned = on_planned, .idle = on_idle
};

static inline Rig *rig_new(bool has_lease)
{
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig->etcd.has_lease = rig->other_etcd.has_lease = has_lease;
    rig->etcd.rejects = true;
    rig->config = (PublisherConfig){ .heartbeat_s = 10, .ttl_s = 30 };
    rig->random = 88172645463325252;
    assert_true(sd_event_new(&rig->event) >= 0);
    return rig;
}

static inline void rig_open(Rig *rig)
{
    rig->store = fake_store_new(rig->event, &rig->etcd, rig->config.ttl_s);
    assert_int_equal(publisher_new(&rig->publisher, rig->event, rig->store, &rig->config, &handlers, rig), 0);
    publisher_release(rig->publisher);
}

static inline int setup_v3(void **state)
{
    log_set_level(-1);
    *state = rig_new(true);
    return 0;
}

static inline int setup_v2(void **state)
{
    log_set_level(-1);
    *state = rig_new(false);
    return 0;
}

static inline int teardown(void **state)
{
    Rig *rig = *state;

    publisher_free(rig->publisher);
    sd_event_unref(rig->event);
    free(rig);
    return 0;
}

/* Everything that is due now, but no answer of etcd's. */
static inline void turn(Rig *rig)
{
    for (int i = 0; i < 100000; i++)
        if (sd_event_run(rig->event, 0) <= 0)
            return;
    fail_msg("the loop does not come to rest");
}

static inline void answer_first(Rig *rig)
{
    Failure failure = rig->choose ? rig->choose(rig, &rig->store->jobs[0]) : ANSWER;

    if (!rig->store->jobs[0].is_done)
        job_do(rig->store, &rig->store->jobs[0], failure);
    job_answer(rig->store, 0);
    turn(rig);
}

/* Until nothing is under way, without the clock. */
static inline void settle(Rig *rig)
{
    turn(rig);
    for (int i = 0; i < 10000 && rig->store->n_jobs > 0; i++)
        answer_first(rig);
    assert_int_equal(rig->store->n_jobs, 0);
}

static inline void pass(Rig *rig, uint64_t us)
{
    for (uint64_t end = fake_now_us + us; fake_now_us < end;) {
        fake_now_us += end - fake_now_us < 5 * MS ? end - fake_now_us : 5 * MS;
        etcd_pass_time(&rig->etcd);
        settle(rig);
    }
}

static inline void want(Rig *rig, const char *key, const char *value)
{
    assert_int_equal(publisher_want(rig->publisher, key, value, "owner", "id", 0), 0);
}

static inline void unwant(Rig *rig, const char *key)
{
    publisher_unwant(rig->publisher, key, NULL, 0);
}

static inline const PublisherEntry *publisher_get(const Publisher *publisher, const char *key)
{
    const PublisherEntry *found = publisher_find(publisher, key);

    assert_non_null(found);
    return found;
}

static inline void assert_value(Rig *rig, const char *key, const char *value)
{
    FakeKey *found = etcd_find(&rig->etcd, key);

    if (!value) {
        assert_null(found);
        return;
    }
    assert_non_null(found);
    assert_string_equal(found->value, value);
}

static inline void assert_state(Rig *rig, const char *key, EntryState state)
{
    const PublisherEntry *entry = publisher_find(rig->publisher, key);

    assert_non_null(entry);
    assert_int_equal(entry->state, state);
}

static inline void forget_writes(Rig *rig)
{
    rig->etcd.last_writes[0] = '\0';
    rig->etcd.n_writes = 0;
}

/* Opened and adopted, with Docker's containers known. */
static inline void start(Rig *rig)
{
    rig_open(rig);
    settle(rig);
    publisher_drop_orphans(rig->publisher);
    settle(rig);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    forget_writes(rig);
}

static inline unsigned chance(Rig *rig, unsigned n)
{
    rig->random ^= rig->random << 13;
    rig->random ^= rig->random >> 7;
    rig->random ^= rig->random << 17;
    return (unsigned)(rig->random >> 33) % n;
}

/* Keys /k0, /k1, … with value v. */
static inline void want_many(Rig *rig, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "/k%u", i);
        want(rig, key, "v");
    }
}

/* start(), and these keys registered, each with value 1; NULL: no more. */
static inline void start_with(Rig *rig, const char *a, const char *b, const char *c)
{
    start(rig);
    for (size_t i = 0; i < 3; i++) {
        const char *key = i == 0 ? a : i == 1 ? b : c;

        if (key)
            want(rig, key, "1");
    }
    settle(rig);
}

/* Ways in which calls end. */

static inline Failure lose_before_once(Rig *rig, const Job *job)
{
    return job->kind == JOB_APPLY && rig->count++ == 0 ? LOSE_BEFORE : ANSWER;
}

static inline Failure lose_after_once(Rig *rig, const Job *job)
{
    return job->kind == JOB_APPLY && rig->count++ == 0 ? LOSE_AFTER : ANSWER;
}

static inline Failure refuse_all_writes(Rig *rig, const Job *job)
{
    (void)rig;
    return job->kind == JOB_APPLY && job->ops[0].verb != STORE_REFRESH ? REFUSE : ANSWER;
}

static inline Failure lose_everything(Rig *rig, const Job *job)
{
    (void)rig;
    (void)job;
    return LOSE_BEFORE;
}

static inline size_t find_job(Rig *rig, JobKind kind)
{
    for (size_t i = 0; i < rig->store->n_jobs; i++)
        if (rig->store->jobs[i].kind == kind)
            return i;
    fail_msg("no such call is under way");
    return 0;
}

/* The lease ends, and a heartbeat finds out. */
static inline void lose_lease(Rig *rig)
{
    fake_now_us += 31 * SECOND;
    etcd_pass_time(&rig->etcd);
    turn(rig);
    size_t i = find_job(rig, JOB_HEARTBEAT);
    job_do(rig->store, &rig->store->jobs[i], ANSWER);
    job_answer(rig->store, i);
    turn(rig);
    assert_int_equal(rig->n_lost, 1);
}

#define V3(function)                                          \
    {                                                         \
#function " (v3)", function, setup_v3, teardown, NULL \
    }
#define V2(function)                                          \
    {                                                         \
#function " (v2)", function, setup_v2, teardown, NULL \
    }
#define BOTH(function) V3(function), V2(function)
