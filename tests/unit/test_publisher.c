/* Whether etcd comes to hold what is wanted, whatever fails on the way. The store is a fake: an etcd in memory,
 * with leases for v3 and a TTL per key for v2, whose answers come when the test says so, and fail as it says. The
 * clock is a fake as well, which stands still but when the test moves it: the publisher's timers run on a real
 * sd-event loop, and no test waits for anything. */
#include "log.h"
#include "publisher.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <time.h>

#include <cmocka.h>

#include "failing.h"

#define MS UINT64_C(1000)
#define SECOND UINT64_C(1000000)

/* The clock, for the publisher and for libsystemd. */

static uint64_t fake_now_us = 1000000 * SECOND;

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    (void)clock;
    *ret =
        (struct timespec){ .tv_sec = (time_t)(fake_now_us / SECOND), .tv_nsec = (long)(fake_now_us % SECOND * 1000) };
    return 0;
}

/* etcd */

enum { KEYS_MAX = 4096, JOBS_MAX = 64 };

typedef struct FakeKey {
    char key[48], value[48];
    bool ours; /* v3: under our lease; v2: as the test made it or the store wrote it */
    uint64_t expires_us; /* 0: never, or with the lease */
    uint64_t revision;
} FakeKey;

typedef struct FakeEtcd {
    FakeKey keys[KEYS_MAX];
    size_t n_keys;
    uint64_t revision;
    bool has_lease; /* v3 */
    bool rejects; /* keys and values with that word in them */
    uint64_t lease_expires_us; /* 0: there is none */
    size_t n_writes; /* watch events */
    char last_writes[512]; /* "+key -key ", since the test cleared it */
} FakeEtcd;

typedef enum Failure {
    ANSWER, /* none */
    LOSE_BEFORE, /* nothing happened, and no answer */
    LOSE_AFTER, /* it happened, and no answer */
    REFUSE, /* nothing happened, and etcd says so */
    UNCLEAR, /* an answer that tells nothing of the operations */
} Failure;

typedef enum JobKind { JOB_OPEN, JOB_APPLY, JOB_HEARTBEAT, JOB_AUDIT } JobKind;

typedef struct Job {
    JobKind kind;
    StoreOp *ops;
    size_t n;
    StoreDoneFn done;
    StoreKeysFn keys_done;
    bool (*is_known)(void *userdata, const char *key);
    void *userdata;
    /* When etcd has done it and the answer is still on its way */
    bool is_done;
    Failure failure;
    StoreStatus status;
    StoreKey *keys;
    size_t n_keys;
} Job;

struct Store {
    FakeEtcd *etcd;
    bool has_lease, opened;
    unsigned ttl_s, batch_max, concurrency;
    bool no_memory; /* the next call fails */
    Job jobs[JOBS_MAX];
    size_t n_jobs;
    size_t n_opens, n_applies, n_heartbeats, n_audits, n_replaces, n_refreshes, most_at_once, most_refreshes;
};

static FakeKey *etcd_find(FakeEtcd *etcd, const char *key)
{
    for (size_t i = 0; i < etcd->n_keys; i++)
        if (strcmp(etcd->keys[i].key, key) == 0)
            return &etcd->keys[i];
    return NULL;
}

static void etcd_note(FakeEtcd *etcd, char sign, const char *key)
{
    size_t used = strlen(etcd->last_writes);

    (void)snprintf(etcd->last_writes + used, sizeof(etcd->last_writes) - used, "%c%s ", sign, key);
    etcd->n_writes++;
}

static void etcd_put(FakeEtcd *etcd, const char *key, const char *value, bool ours, uint64_t expires_us)
{
    FakeKey *found = etcd_find(etcd, key);

    if (!found) {
        assert_true(etcd->n_keys < KEYS_MAX);
        found = &etcd->keys[etcd->n_keys++];
        (void)snprintf(found->key, sizeof(found->key), "%s", key);
    }
    (void)snprintf(found->value, sizeof(found->value), "%s", value);
    found->ours = ours;
    found->expires_us = expires_us;
    found->revision = ++etcd->revision;
    etcd_note(etcd, '+', key);
}

static void etcd_delete(FakeEtcd *etcd, const char *key)
{
    FakeKey *found = etcd_find(etcd, key);

    assert_non_null(found);
    etcd_note(etcd, '-', key);
    *found = etcd->keys[--etcd->n_keys];
}

static void etcd_pass_time(FakeEtcd *etcd)
{
    bool lease_over = etcd->lease_expires_us > 0 && etcd->lease_expires_us <= fake_now_us;

    if (lease_over)
        etcd->lease_expires_us = 0;
    for (size_t i = etcd->n_keys; i-- > 0;) {
        FakeKey *key = &etcd->keys[i];
        char name[sizeof(key->key)];

        if ((key->expires_us == 0 || key->expires_us > fake_now_us) && !(lease_over && key->ours))
            continue;
        memcpy(name, key->key, sizeof(name));
        etcd_delete(etcd, name);
    }
}

/* The store */

bool store_has_lease(const Store *store)
{
    return store->opened && store->has_lease;
}

int64_t store_lease(const Store *store)
{
    return store_has_lease(store) ? 1 : 0;
}

unsigned store_batch_max(const Store *store)
{
    return store->batch_max;
}

unsigned store_concurrency(const Store *store)
{
    return store->concurrency;
}

static Job *store_add(Store *store, JobKind kind, void *userdata)
{
    size_t n = 0;

    assert_true(store->n_jobs < JOBS_MAX);
    store->jobs[store->n_jobs] = (Job){ .kind = kind, .userdata = userdata };
    for (size_t i = 0; i < store->n_jobs; i++)
        n += store->jobs[i].kind == JOB_APPLY;
    if (kind == JOB_APPLY && n + 1 > store->most_at_once)
        store->most_at_once = n + 1;
    return &store->jobs[store->n_jobs++];
}

static bool store_lacks_memory(Store *store)
{
    bool lacks = store->no_memory;

    store->no_memory = false;
    return lacks;
}

int store_open(Store *store, StoreKeysFn done, void *userdata)
{
    if (store_lacks_memory(store))
        return -ENOMEM;
    store_add(store, JOB_OPEN, userdata)->keys_done = done;
    store->n_opens++;
    return 0;
}

int store_apply(Store *store, StoreOp *ops, size_t n, StoreDoneFn done, void *userdata)
{
    if (store_lacks_memory(store))
        return -ENOMEM;
    Job *job = store_add(store, JOB_APPLY, userdata);

    assert_true(store->opened);
    assert_in_range(n, 1, store->batch_max);
    job->ops = ops;
    job->n = n;
    job->done = done;
    store->n_applies++;
    for (size_t i = 0; i < n; i++) {
        ops[i].outcome = STORE_OP_FAILED;
        ops[i].wrote = false;
        ops[i].holder = NULL;
        store->n_replaces += ops[i].verb == STORE_REPLACE;
        store->n_refreshes += ops[i].verb == STORE_REFRESH;
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(ops[i].key, ops[k].key);
        for (size_t k = 0; k + 1 < store->n_jobs; k++)
            for (size_t l = 0; l < store->jobs[k].n; l++)
                assert_string_not_equal(ops[i].key, store->jobs[k].ops[l].key); /* one under way per key */
    }
    return 0;
}

int store_heartbeat(Store *store, StoreDoneFn done, void *userdata)
{
    if (store_lacks_memory(store))
        return -ENOMEM;
    assert_true(store_has_lease(store));
    store_add(store, JOB_HEARTBEAT, userdata)->done = done;
    store->n_heartbeats++;
    return 0;
}

int store_audit(Store *store, bool (*is_known)(void *userdata, const char *key), StoreKeysFn done, void *userdata)
{
    if (store_lacks_memory(store))
        return -ENOMEM;
    Job *job = store_add(store, JOB_AUDIT, userdata);

    assert_true(store_has_lease(store));
    job->is_known = is_known;
    job->keys_done = done;
    store->n_audits++;
    return 0;
}

static void job_clear(Job *job)
{
    for (size_t i = 0; i < job->n_keys; i++) {
        free(job->keys[i].key);
        free(job->keys[i].value);
    }
    free(job->keys);
}

Store *store_free(Store *store)
{
    if (!store)
        return NULL;
    for (size_t i = 0; i < store->n_jobs; i++) {
        for (size_t k = 0; k < store->jobs[i].n; k++)
            free(store->jobs[i].ops[k].holder);
        for (size_t k = 0; k < store->jobs[i].n; k++)
            store->jobs[i].ops[k].holder = NULL;
        job_clear(&store->jobs[i]);
    }
    free(store);
    return NULL;
}

static Store *fake_store_new(FakeEtcd *etcd, unsigned ttl_s)
{
    Store *store = calloc(1, sizeof(*store));

    assert_non_null(store);
    store->etcd = etcd;
    store->has_lease = etcd->has_lease;
    store->ttl_s = ttl_s;
    store->batch_max = etcd->has_lease ? STORE_BATCH_MAX : 1;
    store->concurrency = etcd->has_lease ? 4 : 8;
    return store;
}

/* What etcd does with the jobs. */

static bool is(const char *a, const char *b)
{
    return b && strcmp(a, b) == 0;
}

static bool op_is_ours(const Store *store, const StoreOp *op, const FakeKey *key)
{
    if (store->has_lease)
        return key->ours;
    return key->expires_us > 0 &&
           (is(key->value, op->value) || is(key->value, op->previous) || is(key->value, op->attempted));
}

static void op_write(Store *store, StoreOp *op)
{
    uint64_t expires_us = store->has_lease ? 0 : fake_now_us + store->ttl_s * SECOND;
    FakeKey *key = etcd_find(store->etcd, op->key);

    op->outcome = STORE_OP_DONE;
    if (key && key->ours && is(key->value, op->value)) {
        key->expires_us = expires_us;
        return;
    }
    op->wrote = true;
    etcd_put(store->etcd, op->key, op->value, true, expires_us);
}

static void op_hold(StoreOp *op, const FakeKey *key)
{
    op->outcome = STORE_OP_HELD;
    op->holder = strdup(key->value);
    assert_non_null(op->holder);
    op->revision = key->revision;
}

static void op_do(Store *store, StoreOp *op)
{
    FakeKey *key = etcd_find(store->etcd, op->key);

    op->outcome = STORE_OP_DONE;
    switch (op->verb) {
    case STORE_ENSURE:
    case STORE_REPLACE:
        if (store->etcd->rejects && (strstr(op->key, "reject") || strstr(op->value, "reject"))) {
            op->outcome = STORE_OP_REJECTED;
            op->holder = strdup("too large");
        } else if (!key || op_is_ours(store, op, key) || (op->verb == STORE_REPLACE && key->revision == op->revision))
            op_write(store, op);
        else
            op_hold(op, key);
        break;
    case STORE_REMOVE:
        if (!key || !op_is_ours(store, op, key))
            break;
        op->wrote = true;
        etcd_delete(store->etcd, op->key);
        break;
    case STORE_REFRESH:
        assert_false(store->has_lease);
        if (!key)
            op->outcome = STORE_OP_LOST;
        else if (!is(key->value, op->value))
            op_hold(op, key);
        else
            key->expires_us = fake_now_us + store->ttl_s * SECOND;
        break;
    case STORE_PEEK:
        if (!key)
            op->outcome = STORE_OP_LOST;
        else if (!op_is_ours(store, op, key))
            op_hold(op, key);
        else if (!is(key->value, op->value))
            op->outcome = STORE_OP_CHANGED;
        break;
    }
}

static void job_take_keys(Store *store, Job *job)
{
    FakeEtcd *etcd = store->etcd;

    job->keys = calloc(etcd->n_keys + 1, sizeof(*job->keys));
    assert_non_null(job->keys);
    for (size_t i = 0; i < etcd->n_keys && store->has_lease; i++) {
        FakeKey *key = &etcd->keys[i];
        bool known = job->is_known && job->is_known(job->userdata, key->key);

        if (!key->ours)
            continue;
        job->keys[job->n_keys].key = strdup(key->key);
        job->keys[job->n_keys++].value = known ? NULL : strdup(key->value);
    }
}

/* Happens in etcd; the answer is then on its way. */
static void job_do(Store *store, Job *job, Failure failure)
{
    FakeEtcd *etcd = store->etcd;

    etcd_pass_time(etcd);
    job->is_done = true;
    job->failure = failure;
    job->status = failure == REFUSE                                 ? STORE_REFUSED
                  : failure == LOSE_BEFORE || failure == LOSE_AFTER ? STORE_UNREACHABLE
                                                                    : STORE_OK;
    if (failure == LOSE_BEFORE || failure == REFUSE || failure == UNCLEAR)
        return;
    if (job->kind == JOB_OPEN && store->has_lease)
        etcd->lease_expires_us = fake_now_us + store->ttl_s * SECOND;
    else if (store->has_lease && etcd->lease_expires_us == 0) {
        job->status = failure == ANSWER ? STORE_LEASE_LOST : job->status;
        return;
    }
    if (job->kind == JOB_OPEN || job->kind == JOB_AUDIT)
        job_take_keys(store, job);
    if (job->kind == JOB_HEARTBEAT)
        etcd->lease_expires_us = fake_now_us + store->ttl_s * SECOND;
    for (size_t i = 0; i < job->n; i++)
        op_do(store, &job->ops[i]);
    for (size_t i = 0; i < job->n && failure == LOSE_AFTER; i++) {
        free(job->ops[i].holder);
        job->ops[i].holder = NULL;
        job->ops[i].outcome = STORE_OP_FAILED;
    }
}

static void job_answer(Store *store, size_t position)
{
    Job job = store->jobs[position];
    const char *message = job.status == STORE_OK ? "" : job.status == STORE_REFUSED ? "refused" : "no answer";

    memmove(&store->jobs[position], &store->jobs[position + 1], (--store->n_jobs - position) * sizeof(*store->jobs));
    if (job.kind == JOB_OPEN)
        store->opened = job.status == STORE_OK || store->opened;
    if (job.keys_done)
        job.keys_done(job.userdata, job.status, message, job.status == STORE_OK ? job.keys : NULL,
                      job.status == STORE_OK ? job.n_keys : 0);
    else
        job.done(job.userdata, job.status, message);
    job_clear(&job);
}

/* Rig */

typedef struct Rig {
    sd_event *event;
    FakeEtcd etcd, other_etcd;
    Store *store; /* the publisher's; the rig looks at it */
    Publisher *publisher;
    PublisherConfig config;
    unsigned n_lost, n_heartbeats, n_idle, n_states;
    PublisherState told_state;
    char planned[512];
    bool hold_when_lost;
    Failure (*choose)(struct Rig *rig, const Job *job); /* NULL: everything goes well */
    uint64_t random;
    unsigned count;
} Rig;

static void on_state(void *userdata, PublisherState state, const char *why)
{
    Rig *rig = userdata;

    assert_non_null(why);
    rig->told_state = state;
    rig->n_states++;
}

static void on_lost(void *userdata)
{
    Rig *rig = userdata;

    rig->n_lost++;
    if (rig->hold_when_lost)
        publisher_hold(rig->publisher);
}

static void on_beat(void *userdata)
{
    ((Rig *)userdata)->n_heartbeats++;
}

static void on_planned(void *userdata, const char *what, const char *key, const char *value, const char *holder)
{
    Rig *rig = userdata;
    size_t used = strlen(rig->planned);

    (void)snprintf(rig->planned + used, sizeof(rig->planned) - used, "%s %s %s %s;", what, key, value ? value : "-",
                   holder ? holder : "-");
}

static void on_idle(void *userdata)
{
    ((Rig *)userdata)->n_idle++;
}

static const PublisherHandlers handlers = {
    .state_changed = on_state, .lease_lost = on_lost, .heartbeat = on_beat, .planned = on_planned, .idle = on_idle
};

static Rig *rig_new(bool has_lease)
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

static void rig_open(Rig *rig)
{
    rig->store = fake_store_new(&rig->etcd, rig->config.ttl_s);
    assert_int_equal(publisher_new(&rig->publisher, rig->event, rig->store, &rig->config, &handlers, rig), 0);
    publisher_release(rig->publisher);
}

static int setup_v3(void **state)
{
    log_set_level(-1);
    *state = rig_new(true);
    return 0;
}

static int setup_v2(void **state)
{
    log_set_level(-1);
    *state = rig_new(false);
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;

    publisher_free(rig->publisher);
    sd_event_unref(rig->event);
    free(rig);
    return 0;
}

/* Everything that is due now, but no answer of etcd's. */
static void turn(Rig *rig)
{
    for (int i = 0; i < 100000; i++)
        if (sd_event_run(rig->event, 0) <= 0)
            return;
    fail_msg("the loop does not come to rest");
}

static void answer_first(Rig *rig)
{
    Failure failure = rig->choose ? rig->choose(rig, &rig->store->jobs[0]) : ANSWER;

    if (!rig->store->jobs[0].is_done)
        job_do(rig->store, &rig->store->jobs[0], failure);
    job_answer(rig->store, 0);
    turn(rig);
}

/* Until nothing is under way, without the clock. */
static void settle(Rig *rig)
{
    turn(rig);
    for (int i = 0; i < 10000 && rig->store->n_jobs > 0; i++)
        answer_first(rig);
    assert_int_equal(rig->store->n_jobs, 0);
}

static void pass(Rig *rig, uint64_t us)
{
    for (uint64_t end = fake_now_us + us; fake_now_us < end;) {
        fake_now_us += end - fake_now_us < 5 * MS ? end - fake_now_us : 5 * MS;
        etcd_pass_time(&rig->etcd);
        settle(rig);
    }
}

static void want(Rig *rig, const char *key, const char *value)
{
    assert_int_equal(publisher_want(rig->publisher, key, value, "owner", "id", 0), 0);
}

static void unwant(Rig *rig, const char *key)
{
    publisher_unwant(rig->publisher, key, NULL, 0);
}

static void assert_value(Rig *rig, const char *key, const char *value)
{
    FakeKey *found = etcd_find(&rig->etcd, key);

    if (!value) {
        assert_null(found);
        return;
    }
    assert_non_null(found);
    assert_string_equal(found->value, value);
}

static void assert_state(Rig *rig, const char *key, EntryState state)
{
    const PublisherEntry *entry = publisher_find(rig->publisher, key);

    assert_non_null(entry);
    assert_int_equal(entry->state, state);
}

static void forget_writes(Rig *rig)
{
    rig->etcd.last_writes[0] = '\0';
    rig->etcd.n_writes = 0;
}

/* Opened and adopted, with Docker heard. */
static void start(Rig *rig)
{
    rig_open(rig);
    settle(rig);
    publisher_drop_orphans(rig->publisher);
    settle(rig);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    forget_writes(rig);
}

static unsigned chance(Rig *rig, unsigned n)
{
    rig->random ^= rig->random << 13;
    rig->random ^= rig->random >> 7;
    rig->random ^= rig->random << 17;
    return (unsigned)(rig->random >> 33) % n;
}

/* Both APIs */

static void wanted_is_written_and_unwanted_deleted(void **state)
{
    Rig *rig = *state;

    rig_open(rig);
    want(rig, "/a", "1");
    want(rig, "/b", "2");
    assert_int_equal(rig->store->n_jobs, 0);
    settle(rig);
    assert_string_equal(rig->etcd.last_writes, "+/a +/b ");
    assert_int_equal(publisher_settled(rig->publisher), 2);
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

/* The last event that a write fulfils is what counts, once. */
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
    /* What is written again later is no answer to that event. */
    etcd_delete(&rig->etcd, "/a");
    publisher_audit(rig->publisher);
    pass(rig, 60 * SECOND);
    assert_value(rig, "/a", "2");
    assert_int_equal(n_puts_seen(rig), 1);
    publisher_unwant(rig->publisher, "/a", NULL, (fake_now_us - 2 * SECOND) * 1000);
    settle(rig);
    assert_int_equal(n_puts_seen(rig), 1);
    assert_int_equal(histogram_count(&counters->delete_latency), 1);
    assert_in_range(counters->delete_latency.sum_us, 2 * SECOND, 3 * SECOND);
}

/* The answer is that of the older wish. */
static void latency_is_not_that_of_a_write_which_is_out_of_date(void **state)
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

static void latency_is_not_the_time_that_a_holder_stays(void **state)
{
    Rig *rig = *state;

    etcd_put(&rig->etcd, "/a", "theirs", false, 0);
    start(rig);
    want_because(rig, "/a", "1", fake_now_us);
    settle(rig);
    assert_state(rig, "/a", ENTRY_HELD);
    etcd_delete(&rig->etcd, "/a");
    pass(rig, 20 * SECOND);
    assert_value(rig, "/a", "1");
    assert_int_equal(n_puts_seen(rig), 0);
}

static void latency_of_clocks_that_differ_is_left_out(void **state)
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

static void steady_state_is_silent(void **state)
{
    Rig *rig = *state;

    start(rig);
    for (int i = 0; i < 50; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "/k%d", i);
        want(rig, key, "v");
    }
    settle(rig);
    forget_writes(rig);
    for (int i = 0; i < 30; i++) {
        pass(rig, 10 * SECOND);
        publisher_audit(rig->publisher);
    }
    assert_int_equal(rig->etcd.n_writes, 0);
    assert_int_equal(rig->etcd.n_keys, 50);
    assert_int_equal(publisher_settled(rig->publisher), 50);
    assert_int_equal(rig->n_lost, 0);
}

static Failure lose_before_once(Rig *rig, const Job *job)
{
    return job->kind == JOB_APPLY && rig->count++ == 0 ? LOSE_BEFORE : ANSWER;
}

static Failure lose_after_once(Rig *rig, const Job *job)
{
    return job->kind == JOB_APPLY && rig->count++ == 0 ? LOSE_AFTER : ANSWER;
}

static void lost_answers_are_made_good(void **state)
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
        assert_state(rig, "/a", ENTRY_SETTLED);
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

/* The write went through unheard; before it is repeated the container is gone. */
static void unheard_write_of_what_is_not_wanted_any_more(void **state)
{
    Rig *rig = *state;

    start(rig);
    rig->choose = lose_after_once;
    want(rig, "/a", "1");
    settle(rig);
    assert_value(rig, "/a", "1");
    unwant(rig, "/a");
    pass(rig, 2 * SECOND);
    assert_value(rig, "/a", NULL);
}

static void unheard_change_is_changed_back(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    settle(rig);
    rig->choose = lose_after_once;
    want(rig, "/a", "2");
    settle(rig);
    want(rig, "/a", "1");
    publisher_audit(rig->publisher);
    assert_value(rig, "/a", "2");
    pass(rig, 2 * SECOND);
    assert_value(rig, "/a", "1");
    assert_state(rig, "/a", ENTRY_SETTLED);
}

static void conflict_is_left_alone_until_it_goes(void **state)
{
    Rig *rig = *state;

    etcd_put(&rig->etcd, "/a", "theirs", false, 0);
    start(rig);
    want(rig, "/a", "1");
    settle(rig);
    assert_state(rig, "/a", ENTRY_HELD);
    assert_string_equal(publisher_find(rig->publisher, "/a")->holder, "theirs");
    pass(rig, 60 * SECOND);
    assert_value(rig, "/a", "theirs");
    assert_int_equal(publisher_counters(rig->publisher)->conflicts, 1);
    assert_int_equal(rig->store->n_replaces, 0);
    assert_true(publisher_is_idle(rig->publisher));
    /* Gone again before it could ever be written. */
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
    assert_state(rig, "/a", ENTRY_SETTLED);
    assert_null(publisher_find(rig->publisher, "/a")->holder);
}

static void replace_takes_it_over(void **state)
{
    Rig *rig = *state;

    etcd_put(&rig->etcd, "/a", "theirs", false, 0);
    rig->config.replace = true;
    start(rig);
    want(rig, "/a", "1");
    settle(rig);
    assert_value(rig, "/a", "1");
    assert_true(etcd_find(&rig->etcd, "/a")->ours);
    assert_int_equal(rig->store->n_replaces, 1);
    assert_int_equal(publisher_counters(rig->publisher)->conflicts, 1);
}

/* Somebody writes it again whenever we look. */
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

static void successor_is_there_first(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/old", "1");
    settle(rig);
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
    start(rig);
    want(rig, "/old", "1");
    want(rig, "/older", "1");
    want(rig, "/oldest", "1");
    settle(rig);
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

static void wishes_change_while_a_write_is_under_way(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    want(rig, "/b", "1");
    want(rig, "/c", "1");
    turn(rig);
    assert_state(rig, "/a", ENTRY_BUSY);
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

static void wish_back_before_the_delete_costs_nothing(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    settle(rig);
    forget_writes(rig);
    unwant(rig, "/a");
    want(rig, "/a", "1");
    settle(rig);
    assert_int_equal(rig->etcd.n_writes, 0);
    assert_state(rig, "/a", ENTRY_SETTLED);
}

static Failure no_opening(Rig *rig, const Job *job)
{
    return job->kind == JOB_OPEN && rig->count++ < 5 ? LOSE_BEFORE : ANSWER;
}

static void etcd_may_come_later(void **state)
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

static Failure refuse_all_writes(Rig *rig, const Job *job)
{
    (void)rig;
    return job->kind == JOB_APPLY && job->ops[0].verb != STORE_REFRESH ? REFUSE : ANSWER;
}

/* etcd is full, or a role lacks a permission: what is there stays there, for as long as it takes. */
static void writes_that_fail_cost_no_other_key(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    want(rig, "/b", "1");
    settle(rig);
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

static void what_is_not_wanted_goes_from_a_full_etcd(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    want(rig, "/b", "1");
    settle(rig);
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

    start(rig);
    want(rig, "/a", "1");
    settle(rig);
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

static Failure lose_everything(Rig *rig, const Job *job)
{
    (void)rig;
    (void)job;
    return LOSE_BEFORE;
}

/* Shorter than the TTL: what is there stays there. */
static void short_outage_costs_no_key(void **state)
{
    Rig *rig = *state;

    start(rig);
    for (int i = 0; i < 20; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "/k%d", i);
        want(rig, key, "v");
    }
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

static void long_outage_is_made_good_at_once(void **state)
{
    Rig *rig = *state;

    start(rig);
    for (int i = 0; i < 20; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "/k%d", i);
        want(rig, key, "v");
    }
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

static void nothing_is_written_while_held(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    want(rig, "/gone", "1");
    settle(rig);
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

static void held_while_writes_fail_comes_back(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    settle(rig);
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

/* An earlier run has left the key: who wants to stop its container has to know before etcd was heard. */
static void withdrawn_before_etcd_was_asked(void **state)
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

static void another_store_gets_every_key(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    want(rig, "/b", "1");
    settle(rig);
    want(rig, "/c", "1"); /* under way */
    turn(rig);
    rig->config.heartbeat_s = 5;
    Store *store = fake_store_new(&rig->other_etcd, 30);
    publisher_reconfigure(rig->publisher, store, &rig->config);
    rig->store = store;
    unwant(rig, "/b");
    settle(rig);
    assert_int_equal(rig->other_etcd.n_keys, 2);
    assert_non_null(etcd_find(&rig->other_etcd, "/a"));
    assert_non_null(etcd_find(&rig->other_etcd, "/c"));
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    assert_int_equal(publisher_settled(rig->publisher), 2);
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

static void batches_are_bounded(void **state)
{
    Rig *rig = *state;

    start(rig);
    for (int i = 0; i < 1000; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "/k%d", i);
        want(rig, key, "v");
    }
    settle(rig);
    assert_int_equal(rig->etcd.n_keys, 1000);
    assert_int_equal(rig->store->most_at_once, rig->store->concurrency);
    assert_int_equal(rig->store->n_applies, (1000 + rig->store->batch_max - 1) / rig->store->batch_max);
}

static void rejected_key_stops_nothing(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/reject", "1");
    want(rig, "/a", "1");
    settle(rig);
    pass(rig, 30 * SECOND);
    assert_value(rig, "/a", "1");
    assert_state(rig, "/reject", ENTRY_REJECTED);
    assert_true(publisher_is_idle(rig->publisher));
    assert_string_equal(publisher_find(rig->publisher, "/reject")->reason, "too large");
    size_t before = rig->store->n_applies;
    pass(rig, 60 * SECOND);
    assert_true(rig->etcd.has_lease ? rig->store->n_applies == before : true);
    unwant(rig, "/reject");
    settle(rig);
    assert_null(publisher_find(rig->publisher, "/reject"));
}

/* The container has another port now: the old one must not stay because etcd will not take the new one. */
static void rejected_change_withdraws_the_old_value(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    settle(rig);
    want(rig, "/a", "reject this");
    settle(rig);
    assert_value(rig, "/a", NULL);
    assert_state(rig, "/a", ENTRY_REJECTED);
    assert_true(publisher_is_idle(rig->publisher));
    want(rig, "/a", "2");
    settle(rig);
    assert_value(rig, "/a", "2");
    assert_state(rig, "/a", ENTRY_SETTLED);
    assert_null(publisher_find(rig->publisher, "/a")->reason);
}

static void wish_changes_while_a_write_is_being_rejected(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    want(rig, "/b", "1");
    settle(rig);
    want(rig, "/a", "reject this");
    want(rig, "/b", "reject this");
    turn(rig);
    forget_writes(rig);
    want(rig, "/a", "2");
    unwant(rig, "/b");
    settle(rig);
    assert_value(rig, "/a", "2");
    assert_value(rig, "/b", NULL);
    assert_null(strstr(rig->etcd.last_writes, "-/a"));
    assert_null(publisher_find(rig->publisher, "/b"));
}

static void rejected_key_is_tried_again_at_the_audit(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/reject", "1");
    settle(rig);
    publisher_audit(rig->publisher);
    settle(rig);
    assert_state(rig, "/reject", ENTRY_REJECTED);
    rig->etcd.rejects = false; /* a permission was granted */
    publisher_audit(rig->publisher);
    settle(rig);
    assert_value(rig, "/reject", "1");
    assert_state(rig, "/reject", ENTRY_SETTLED);
}

/* What is wanted is known when the first list has been read, which takes many turns of the loop. */
static void first_list_goes_out_in_full_batches(void **state)
{
    Rig *rig = *state;

    rig->store = fake_store_new(&rig->etcd, rig->config.ttl_s);
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
    publisher_audit(rig->publisher);
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
    rig->store = fake_store_new(&rig->etcd, rig->config.ttl_s);
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
    publisher_audit(rig->publisher);
    pass(rig, 35 * SECOND);
    publisher_audit(rig->publisher);
    pass(rig, 5 * SECOND);
    bool failed = fails_in == 0;
    fails_in = 0;
    assert_value(rig, "/a", "2");
    assert_value(rig, "/b", NULL);
    assert_value(rig, "/new", "1");
    assert_value(rig, "/kept", "1");
    assert_value(rig, "/orphan", NULL);
    assert_value(rig, "/extra", NULL);
    assert_int_equal(publisher_settled(rig->publisher), 3);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    assert_int_equal(rig->told_state, PUBLISHER_ONLINE);
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

/* v3 */

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
    pass(rig, 25 * SECOND); /* Docker is not there yet */
    want(rig, "/a", "1");
    settle(rig);
    assert_int_equal(rig->etcd.n_writes, 0);
    assert_state(rig, "/a", ENTRY_SETTLED);
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

static void audit_finds_what_is_missing_and_what_is_too_much(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/gone", "1");
    want(rig, "/taken", "1");
    want(rig, "/fine", "1");
    settle(rig);
    etcd_delete(&rig->etcd, "/gone");
    etcd_put(&rig->etcd, "/taken", "theirs", false, 0);
    etcd_put(&rig->etcd, "/extra", "1", true, 0);
    forget_writes(rig);
    publisher_audit(rig->publisher);
    settle(rig);
    assert_value(rig, "/gone", "1");
    assert_value(rig, "/taken", "theirs");
    assert_state(rig, "/taken", ENTRY_HELD);
    assert_value(rig, "/extra", NULL);
    assert_int_equal(rig->etcd.n_writes, 2);
    assert_int_equal(publisher_counters(rig->publisher)->drift, 2);
}

static void audit_that_is_older_than_a_change_is_no_news(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    settle(rig);
    publisher_audit(rig->publisher);
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

/* Two writes at once: one goes unheard, the other one brings the publisher back. */
static void start_audit_after_unheard_write(Rig *rig, const char *key, const char *value)
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
    publisher_audit(rig->publisher);
    assert_int_equal(rig->store->n_jobs, 1);
    assert_int_equal(rig->store->jobs[0].kind, JOB_AUDIT);
}

/* The audit shows that the key is there, but not with which value. */
static void audit_between_an_unheard_write_and_its_repetition(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    settle(rig);
    start_audit_after_unheard_write(rig, "/a", "2");
    assert_value(rig, "/a", "2");
    want(rig, "/a", "1");
    job_answer(rig->store, 0);
    publisher_audit(rig->publisher);
    settle(rig);
    publisher_release(rig->publisher);
    pass(rig, 5 * SECOND);
    assert_value(rig, "/a", "1");
}

static void audit_while_a_write_is_under_way(void **state)
{
    Rig *rig = *state;

    start(rig);
    publisher_audit(rig->publisher);
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

static void audit_waits_for_better_times(void **state)
{
    Rig *rig = *state;

    start(rig);
    rig->choose = lose_everything;
    publisher_audit(rig->publisher);
    settle(rig);
    assert_int_equal(rig->store->n_audits, 1);
    publisher_audit(rig->publisher);
    assert_int_equal(rig->store->n_audits, 1);
    rig->choose = NULL;
    pass(rig, 3 * SECOND);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    pass(rig, 20 * SECOND);
    assert_int_equal(rig->store->n_audits, 2);
}

/* A thousand agents return at once: one request each has to do then. */
static void return_costs_one_request_and_the_audit_comes_later(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    settle(rig);
    rig->choose = lose_everything;
    pass(rig, 20 * SECOND);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_DEGRADED);
    etcd_delete(&rig->etcd, "/a");
    size_t audits = rig->store->n_audits, applies = rig->store->n_applies;
    rig->choose = NULL;
    while (publisher_state(rig->publisher) != PUBLISHER_ONLINE)
        pass(rig, 100 * MS);
    settle(rig);
    assert_int_equal(rig->store->n_audits, audits);
    assert_int_equal(rig->store->n_applies, applies);
    pass(rig, 20 * SECOND);
    assert_int_equal(rig->store->n_audits, audits + 1);
    assert_value(rig, "/a", "1");
    pass(rig, 60 * SECOND);
    assert_int_equal(rig->store->n_audits, audits + 1);
}

/* A resync while etcd was away has asked for it. */
static void return_without_the_lease_needs_no_audit(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    settle(rig);
    rig->choose = lose_everything;
    pass(rig, 20 * SECOND);
    publisher_audit(rig->publisher);
    pass(rig, 20 * SECOND);
    assert_value(rig, "/a", NULL);
    size_t audits = rig->store->n_audits;
    rig->choose = NULL;
    pass(rig, 30 * SECOND);
    assert_int_equal(rig->n_lost, 1);
    assert_value(rig, "/a", "1");
    assert_int_equal(rig->store->n_audits, audits);
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
        pass(rig, 5 * SECOND);
        early += rig->n_heartbeats > before;
        pass(rig, 5 * SECOND);
        assert_in_range(rig->n_heartbeats - before, 1, 2);
    }
    assert_in_range(early, 5, 55);
}

/* A container that died while etcd gave no answer: its key is not to come back for as long as a resync may take. */
static void write_that_is_carried_out_late_is_undone_at_a_heartbeat(void **state)
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
    pass(rig, 11 * SECOND);
    assert_value(rig, "/a", NULL);
    pass(rig, 930 * SECOND);
    size_t n_audits = rig->store->n_audits;
    pass(rig, 60 * SECOND);
    assert_int_equal(rig->store->n_audits, n_audits);
}

static size_t find_job(Rig *rig, JobKind kind)
{
    for (size_t i = 0; i < rig->store->n_jobs; i++)
        if (rig->store->jobs[i].kind == kind)
            return i;
    fail_msg("no such call is under way");
    return 0;
}

static void lose_lease(Rig *rig)
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

/* Written under the lease that then ended, heard of only under the next one. */
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

static void late_audit_from_before_the_lease_was_lost(void **state)
{
    Rig *rig = *state;

    start(rig);
    start_audit_after_unheard_write(rig, "/a", "1");
    job_do(rig->store, &rig->store->jobs[0], ANSWER);
    lose_lease(rig);
    size_t i = find_job(rig, JOB_OPEN);
    job_do(rig->store, &rig->store->jobs[i], ANSWER);
    job_answer(rig->store, i);
    turn(rig);
    i = find_job(rig, JOB_AUDIT);
    job_answer(rig->store, i);
    publisher_release(rig->publisher);
    settle(rig);
    assert_value(rig, "/a", "1");
}

/* etcd is slow, and was asked anew for its leases because it refused something. */
static void heartbeats_go_on_while_it_is_opened_anew(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    settle(rig);
    rig->choose = refuse_all_writes;
    want(rig, "/b", "1");
    settle(rig);
    while (rig->store->n_jobs == 0) {
        fake_now_us += 100 * MS;
        turn(rig);
    }
    assert_int_equal(rig->store->jobs[0].kind, JOB_OPEN);
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

/* It met the lease that was lost, and is heard of when there is another one. */
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

/* A member that was suspended with the request in its queue carries it out when it wakes. */
static void write_that_was_given_up_comes_late(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    settle(rig);
    rig->choose = lose_before_once;
    want(rig, "/a", "2");
    settle(rig);
    want(rig, "/a", "3");
    pass(rig, 2 * SECOND);
    assert_value(rig, "/a", "3");
    publisher_audit(rig->publisher);
    settle(rig);
    etcd_put(&rig->etcd, "/a", "2", true, 0);
    publisher_audit(rig->publisher);
    settle(rig);
    assert_value(rig, "/a", "3");
    assert_state(rig, "/a", ENTRY_SETTLED);
}

/* The orphan's container came and went before Docker was heard out. */
static void orphan_that_is_being_deleted_is_no_orphan(void **state)
{
    Rig *rig = *state;

    etcd_put(&rig->etcd, "/a", "1", true, 0);
    rig->etcd.lease_expires_us = fake_now_us + 30 * SECOND;
    rig_open(rig);
    settle(rig);
    unwant(rig, "/a");
    turn(rig);
    assert_state(rig, "/a", ENTRY_BUSY);
    publisher_drop_orphans(rig->publisher);
    turn(rig);
    assert_state(rig, "/a", ENTRY_BUSY);
    settle(rig);
    assert_value(rig, "/a", NULL);
    assert_null(publisher_find(rig->publisher, "/a"));
}

static void one_heartbeat_a_host(void **state)
{
    Rig *rig = *state;

    start(rig);
    for (int i = 0; i < 300; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "/k%d", i);
        want(rig, key, "v");
    }
    settle(rig);
    size_t applies = rig->store->n_applies, beats = rig->store->n_heartbeats;
    pass(rig, 100 * SECOND);
    assert_in_range(rig->store->n_heartbeats - beats, 9, 11);
    assert_int_equal(rig->store->n_applies, applies);
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
    assert_non_null(strstr(rig->planned, "put /new 1 -;"));
    assert_non_null(strstr(rig->planned, "put /change 1 -;"));
    assert_non_null(strstr(rig->planned, "held /held 1 theirs;"));
    assert_non_null(strstr(rig->planned, "delete /orphan - -;"));
    assert_null(strstr(rig->planned, "/keep"));
}

/* v2 */

static void refreshes_are_spread(void **state)
{
    Rig *rig = *state;
    size_t most = 0;

    start(rig);
    for (int i = 0; i < 100; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "/k%d", i);
        want(rig, key, "v");
    }
    pass(rig, 10 * SECOND);
    forget_writes(rig);
    size_t before = rig->store->n_refreshes;
    for (int i = 0; i < 300; i++) {
        size_t so_far = rig->store->n_refreshes;

        pass(rig, 100 * MS);
        if (rig->store->n_refreshes - so_far > most)
            most = rig->store->n_refreshes - so_far;
    }
    assert_in_range(rig->store->n_refreshes - before, 290, 310);
    assert_true(most <= 3);
    assert_int_equal(rig->etcd.n_writes, 0);
}

/* Many keys and a short TTL: an answer a millisecond must be enough. */
static void many_keys_are_refreshed_in_time(void **state)
{
    Rig *rig = *state;

    rig->config = (PublisherConfig){ .heartbeat_s = 2, .ttl_s = 6 };
    start(rig);
    for (int i = 0; i < 3000; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "/k%d", i);
        want(rig, key, "v");
    }
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

/* It is in etcd all the while: whoever looks meanwhile must not see a key less. */
static void refresh_changes_nothing_to_be_seen(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/a", "1");
    settle(rig);
    while (rig->store->n_jobs == 0) {
        fake_now_us += 100 * MS;
        turn(rig);
    }
    assert_int_equal(rig->store->n_refreshes, 1);
    assert_int_equal(publisher_settled(rig->publisher), 1);
    assert_state(rig, "/a", ENTRY_SETTLED);
    /* A wish that comes meanwhile waits for its end. */
    want(rig, "/a", "2");
    turn(rig);
    assert_int_equal(rig->store->n_jobs, 1);
    settle(rig);
    assert_value(rig, "/a", "2");
    assert_int_equal(publisher_settled(rig->publisher), 1);
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

static void write_does_not_wait_for_refreshes(void **state)
{
    Rig *rig = *state;

    start(rig);
    for (int i = 0; i < 1000; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "/k%d", i);
        want(rig, key, "v");
    }
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

    start(rig);
    want(rig, "/gone", "1");
    want(rig, "/taken", "1");
    settle(rig);
    etcd_delete(&rig->etcd, "/gone");
    etcd_put(&rig->etcd, "/taken", "theirs", false, 0);
    pass(rig, 12 * SECOND);
    assert_value(rig, "/gone", "1");
    assert_value(rig, "/taken", "theirs");
    assert_state(rig, "/taken", ENTRY_HELD);
    assert_int_equal(rig->n_lost, 0);
    assert_int_equal(publisher_counters(rig->publisher)->drift, 1);
}

/* Any order and any failure. */

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
    assert_int_equal(publisher_settled(rig->publisher), n_ours);
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
                publisher_audit(rig->publisher);
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
        publisher_audit(rig->publisher);
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

static void any_failure_ends_in_the_truth_v3(void **state)
{
    (void)state;
    log_set_level(-1);
    for (uint64_t seed = 1; seed <= 25; seed++)
        live(true, seed);
}

static void any_failure_ends_in_the_truth_v2(void **state)
{
    (void)state;
    log_set_level(-1);
    for (uint64_t seed = 1001; seed <= 1025; seed++)
        live(false, seed);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(wanted_is_written_and_unwanted_deleted),
        BOTH(latency_is_from_the_event_to_the_answer),
        BOTH(latency_is_not_that_of_a_write_which_is_out_of_date),
        BOTH(latency_is_not_the_time_that_a_holder_stays),
        BOTH(latency_of_clocks_that_differ_is_left_out),
        BOTH(steady_state_is_silent),
        BOTH(lost_answers_are_made_good),
        BOTH(unheard_write_of_what_is_not_wanted_any_more),
        BOTH(unheard_change_is_changed_back),
        BOTH(conflict_is_left_alone_until_it_goes),
        BOTH(replace_takes_it_over),
        BOTH(replace_is_tried_once_a_heartbeat),
        BOTH(successor_is_there_first),
        BOTH(successor_that_cannot_come_is_not_waited_for),
        BOTH(wishes_change_while_a_write_is_under_way),
        BOTH(wish_back_before_the_delete_costs_nothing),
        BOTH(etcd_may_come_later),
        BOTH(withdrawn_before_etcd_was_asked),
        BOTH(writes_that_fail_cost_no_other_key),
        BOTH(what_is_not_wanted_goes_from_a_full_etcd),
        BOTH(refusal_for_a_while_is_survived),
        BOTH(short_outage_costs_no_key),
        BOTH(long_outage_is_made_good_at_once),
        BOTH(nothing_is_written_while_held),
        BOTH(held_while_writes_fail_comes_back),
        BOTH(unclear_answers_make_no_busy_loop),
        BOTH(another_store_gets_every_key),
        BOTH(reconfigured_heartbeat_takes_effect),
        BOTH(batches_are_bounded),
        BOTH(rejected_key_stops_nothing),
        BOTH(rejected_change_withdraws_the_old_value),
        BOTH(wish_changes_while_a_write_is_being_rejected),
        BOTH(rejected_key_is_tried_again_at_the_audit),
        BOTH(first_list_goes_out_in_full_batches),
        BOTH(a_call_without_memory_is_made_again),
        BOTH(batch_without_memory_is_made_again),
        BOTH(freed_with_writes_under_way),
        V3(keys_of_an_earlier_run_are_adopted),
        V3(audit_finds_what_is_missing_and_what_is_too_much),
        V3(audit_that_is_older_than_a_change_is_no_news),
        V3(audit_between_an_unheard_write_and_its_repetition),
        V3(audit_while_a_write_is_under_way),
        V3(audit_waits_for_better_times),
        V3(return_costs_one_request_and_the_audit_comes_later),
        V3(return_without_the_lease_needs_no_audit),
        BOTH(first_heartbeat_is_at_any_time_of_the_interval),
        V3(write_that_is_carried_out_late_is_undone_at_a_heartbeat),
        V3(late_answer_from_before_the_lease_was_lost),
        V3(late_audit_from_before_the_lease_was_lost),
        V3(heartbeats_go_on_while_it_is_opened_anew),
        V3(late_heartbeat_from_before_the_lease_was_lost),
        V3(write_that_was_given_up_comes_late),
        V3(orphan_that_is_being_deleted_is_no_orphan),
        V3(one_heartbeat_a_host),
        V3(dry_run_only_looks),
        V2(refreshes_are_spread),
        V2(many_keys_are_refreshed_in_time),
        V2(refresh_changes_nothing_to_be_seen),
        V2(silence_without_keys_is_no_loss),
        V2(write_does_not_wait_for_refreshes),
        V2(lost_key_is_written_again_and_a_taken_one_left),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(any_failure_ends_in_the_truth_v3),
        cmocka_unit_test(any_failure_ends_in_the_truth_v2),
    };

    return cmocka_run_group_tests_name("publisher", tests, NULL, NULL);
}
