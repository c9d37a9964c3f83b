/* Keys, values and deletions that etcd rejects. */
#include "unit/publisher/rig.h"

static void rejected_key_delays_no_other_key(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/reject", "/a", NULL);
    pass(rig, 30 * SECOND);
    assert_value(rig, "/a", "1");
    assert_state(rig, "/reject", ENTRY_REJECTED);
    assert_true(publisher_is_idle(rig->publisher));
    assert_string_equal(publisher_get(rig->publisher, "/reject")->reason, "too large");
    size_t before = rig->store->n_applies;
    pass(rig, 60 * SECOND);
    assert_true(rig->etcd.has_lease ? rig->store->n_applies == before : true);
    unwant(rig, "/reject");
    settle(rig);
    assert_null(publisher_find(rig->publisher, "/reject"));
}

/* The container has another port now: the old one must not stay because etcd will not take the new one. */
static void rejected_change_deletes_the_old_value(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    want(rig, "/a", "reject this");
    settle(rig);
    assert_value(rig, "/a", NULL);
    assert_state(rig, "/a", ENTRY_REJECTED);
    assert_true(publisher_is_idle(rig->publisher));
    want(rig, "/a", "2");
    settle(rig);
    assert_value(rig, "/a", "2");
    assert_state(rig, "/a", ENTRY_REGISTERED);
    assert_null(publisher_get(rig->publisher, "/a")->reason);
}

/* The write of "1" has no answer, and etcd rejects the next value: the old value must not stay. */
static void rejected_change_deletes_a_value_of_unknown_outcome(void **state)
{
    Rig *rig = *state;

    start(rig);
    rig->choose = lose_after_once;
    want(rig, "/a", "1");
    settle(rig);
    assert_value(rig, "/a", "1");
    want(rig, "/a", "reject this");
    pass(rig, 2 * SECOND);
    assert_value(rig, "/a", NULL);
    assert_state(rig, "/a", ENTRY_REJECTED);
}

static void wish_changes_while_a_write_is_being_rejected(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", "/b", NULL);
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

static void rejected_key_is_tried_again_at_the_resync(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/reject", NULL, NULL);
    publisher_resync(rig->publisher);
    settle(rig);
    assert_state(rig, "/reject", ENTRY_REJECTED);
    rig->etcd.rejects = false; /* a permission was granted */
    publisher_resync(rig->publisher);
    settle(rig);
    assert_value(rig, "/reject", "1");
    assert_state(rig, "/reject", ENTRY_REGISTERED);
}

static void denied_key_is_tried_again_at_the_heartbeat(void **state)
{
    Rig *rig = *state;

    rig->etcd.reject_reason = "etcdserver: permission denied";
    start_with(rig, "/reject", "/a", NULL);
    pass(rig, 30 * SECOND);
    assert_state(rig, "/reject", ENTRY_REJECTED);
    assert_int_equal(publisher_state(rig->publisher), PUBLISHER_ONLINE);
    assert_int_equal(rig->store->n_opens, 1);
    rig->etcd.rejects = false; /* a permission was granted */
    pass(rig, 11 * SECOND);
    assert_value(rig, "/reject", "1");
    assert_int_equal(rig->store->n_resyncs, 0);
}

/* A drain must not end well while the key is in etcd. */
static void key_that_may_not_be_deleted_is_not_forgotten(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    assert_true(publisher_knows(rig->publisher));
    rig->etcd.reject_reason = "etcdserver: permission denied";
    rig->etcd.rejects_deletions = true;
    unwant(rig, "/a");
    settle(rig);
    assert_value(rig, "/a", "1");
    assert_state(rig, "/a", ENTRY_REJECTED);
    assert_true(publisher_is_idle(rig->publisher));
    assert_false(publisher_knows(rig->publisher));
    pass(rig, 11 * SECOND);
    assert_false(publisher_knows(rig->publisher));
    rig->etcd.rejects_deletions = false; /* a permission was granted */
    pass(rig, 11 * SECOND);
    assert_value(rig, "/a", NULL);
    assert_true(publisher_knows(rig->publisher));
}

/* Asked for again with the same value, the key stays rejected: etcd would say the same. */
static void repeated_wish_is_not_written(void **state)
{
    Rig *rig = *state;

    start(rig);
    want(rig, "/reject", "1");
    settle(rig);
    size_t applies = rig->store->n_applies;
    want(rig, "/reject", "1");
    settle(rig);
    assert_state(rig, "/reject", ENTRY_REJECTED);
    assert_int_equal(rig->store->n_applies, applies);
}

/* etcd rejects the new value, and the deletion of the old one as well. */
static void old_value_that_may_not_be_deleted_is_not_tried_at_once(void **state)
{
    Rig *rig = *state;

    start_with(rig, "/a", NULL, NULL);
    rig->etcd.reject_reason = "too large";
    rig->etcd.rejects_deletions = true;
    want(rig, "/a", "reject this");
    settle(rig);
    assert_state(rig, "/a", ENTRY_REJECTED);
    assert_value(rig, "/a", "1");
    assert_true(publisher_is_idle(rig->publisher));
    assert_false(publisher_knows(rig->publisher));
    rig->etcd.rejects_deletions = false;
    publisher_resync(rig->publisher);
    settle(rig);
    assert_value(rig, "/a", NULL);
    assert_true(publisher_knows(rig->publisher));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(repeated_wish_is_not_written),
        BOTH(old_value_that_may_not_be_deleted_is_not_tried_at_once),
        BOTH(rejected_key_delays_no_other_key),
        BOTH(rejected_change_deletes_the_old_value),
        BOTH(rejected_change_deletes_a_value_of_unknown_outcome),
        BOTH(wish_changes_while_a_write_is_being_rejected),
        BOTH(rejected_key_is_tried_again_at_the_resync),
        V3(denied_key_is_tried_again_at_the_heartbeat),
        BOTH(key_that_may_not_be_deleted_is_not_forgotten),
    };

    return cmocka_run_group_tests_name("rejections", tests, NULL, NULL);
}
