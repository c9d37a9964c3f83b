/* The life of one key: each way from state to state, and the queues that a key waits in. */
#include "publisher/publisher_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

typedef struct Facts {
    const char *wanted, *published, *attempted;
} Facts;

static const Facts facts_fulfilled = { "1", "1", NULL };
static const Facts facts_to_write = { "1", NULL, NULL };
static const Facts facts_to_change = { "1", "0", NULL };
static const Facts facts_unknown = { "1", "1", "1" }; /* a write may be late */
static const Facts facts_to_delete = { NULL, "1", NULL };
static const Facts facts_to_delete_unknown = { NULL, NULL, "1" };
static const Facts facts_nothing = { NULL, NULL, NULL };

static void entry_put(Publisher *publisher, const Facts *facts, EntryState state)
{
    PublisherEntry *entry = entry_add(publisher, "/a");

    assert_non_null(entry);
    entry->wanted = facts->wanted ? strdup(facts->wanted) : NULL;
    entry->published = facts->published ? strdup(facts->published) : NULL;
    entry->attempted = facts->attempted ? strdup(facts->attempted) : NULL;
    entry->state = state;
    if (state == ENTRY_PENDING || state == ENTRY_TAKEOVER || state == ENTRY_UNDO)
        TAILQ_INSERT_TAIL(&publisher->pending, entry, queue);
    if (state == ENTRY_REGISTERED)
        TAILQ_INSERT_TAIL(&publisher->registered, entry, queue);
    publisher->n_registered += entry_is_registered(entry);
}

/* Is the entry in the queue of its state, and in no other? */
static void check_queues(const Publisher *publisher, const PublisherEntry *entry)
{
    bool waits =
        entry && (entry->state == ENTRY_PENDING || entry->state == ENTRY_TAKEOVER || entry->state == ENTRY_UNDO);

    assert_ptr_equal(TAILQ_FIRST(&publisher->pending), waits ? entry : NULL);
    assert_ptr_equal(TAILQ_FIRST(&publisher->registered), entry && entry->state == ENTRY_REGISTERED ? entry : NULL);
    assert_int_equal(publisher->n_registered, entry && entry_is_registered(entry));
}

static EntryState move(bool keep_orphans, EntryState from, const Facts *facts, KeyEvent event)
{
    Publisher publisher = { .keep_orphans = keep_orphans };
    PublisherEntry *entry;
    EntryState state;

    TAILQ_INIT(&publisher.pending);
    TAILQ_INIT(&publisher.registered);
    entry_put(&publisher, facts, from);
    entry_move(&publisher, publisher.entries, event);
    entry = publisher.entries;
    state = entry ? entry->state : ENTRY_GONE;
    check_queues(&publisher, entry);
    if (entry)
        entry_remove(&publisher, entry);
    return state;
}

static void each_way(void **state)
{
    static const struct {
        EntryState from;
        KeyEvent event;
        const Facts *facts;
        EntryState to;
    } cases[] = {
        { ENTRY_NEW, KEY_WISHED, &facts_to_write, ENTRY_PENDING },
        { ENTRY_NEW, KEY_FOUND, &facts_to_delete, ENTRY_PENDING },
        { ENTRY_NEW, KEY_MISSING, &facts_nothing, ENTRY_GONE },
        { ENTRY_ORPHAN, KEY_WISHED, &facts_fulfilled, ENTRY_REGISTERED },
        { ENTRY_ORPHAN, KEY_WISHED, &facts_to_change, ENTRY_PENDING },
        { ENTRY_ORPHAN, KEY_MISSING, &facts_nothing, ENTRY_GONE },
        { ENTRY_ORPHAN, KEY_DUE, &facts_to_delete, ENTRY_PENDING },
        { ENTRY_ORPHAN, KEY_MOVED, &facts_to_delete, ENTRY_ORPHAN },
        { ENTRY_PENDING, KEY_WISHED, &facts_fulfilled, ENTRY_PENDING },
        { ENTRY_PENDING, KEY_WISHED, &facts_nothing, ENTRY_GONE },
        { ENTRY_PENDING, KEY_WISHED, &facts_to_delete_unknown, ENTRY_PENDING },
        { ENTRY_PENDING, KEY_REPEATED, &facts_fulfilled, ENTRY_PENDING },
        { ENTRY_PENDING, KEY_TAKEN, &facts_to_write, ENTRY_WRITING },
        { ENTRY_PENDING, KEY_FOUND, &facts_fulfilled, ENTRY_REGISTERED },
        { ENTRY_PENDING, KEY_FOUND, &facts_unknown, ENTRY_PENDING },
        { ENTRY_PENDING, KEY_MISSING, &facts_nothing, ENTRY_GONE },
        { ENTRY_WRITING, KEY_WISHED, &facts_nothing, ENTRY_WRITING },
        { ENTRY_WRITING, KEY_ANSWERED, &facts_fulfilled, ENTRY_REGISTERED },
        { ENTRY_WRITING, KEY_ANSWERED, &facts_unknown, ENTRY_PENDING },
        { ENTRY_WRITING, KEY_ANSWERED, &facts_nothing, ENTRY_GONE },
        { ENTRY_WRITING, KEY_CONFLICTED, &facts_to_write, ENTRY_CONFLICT },
        { ENTRY_WRITING, KEY_CONTESTED, &facts_to_write, ENTRY_TAKEOVER },
        { ENTRY_WRITING, KEY_REFUSED, &facts_to_write, ENTRY_REJECTED },
        { ENTRY_WRITING, KEY_REFUSED, &facts_to_change, ENTRY_UNDO },
        { ENTRY_WRITING, KEY_UNDELETABLE, &facts_to_delete, ENTRY_REJECTED },
        { ENTRY_REGISTERED, KEY_WISHED, &facts_to_delete, ENTRY_PENDING },
        { ENTRY_REGISTERED, KEY_TAKEN, &facts_fulfilled, ENTRY_REFRESHING },
        { ENTRY_REGISTERED, KEY_FOUND, &facts_to_change, ENTRY_PENDING },
        { ENTRY_REGISTERED, KEY_MISSING, &facts_to_write, ENTRY_PENDING },
        { ENTRY_REGISTERED, KEY_EXPIRED, &facts_fulfilled, ENTRY_PENDING },
        { ENTRY_REGISTERED, KEY_MOVED, &facts_fulfilled, ENTRY_PENDING },
        { ENTRY_REFRESHING, KEY_WISHED, &facts_to_delete, ENTRY_REFRESHING },
        { ENTRY_REFRESHING, KEY_EXPIRED, &facts_fulfilled, ENTRY_REFRESHING },
        { ENTRY_REFRESHING, KEY_ANSWERED, &facts_fulfilled, ENTRY_REGISTERED },
        { ENTRY_REFRESHING, KEY_ANSWERED, &facts_to_write, ENTRY_PENDING },
        { ENTRY_REFRESHING, KEY_CONFLICTED, &facts_to_write, ENTRY_CONFLICT },
        { ENTRY_REFRESHING, KEY_REFUSED, &facts_fulfilled, ENTRY_UNDO },
        { ENTRY_CONFLICT, KEY_WISHED, &facts_nothing, ENTRY_GONE },
        { ENTRY_CONFLICT, KEY_WISHED, &facts_to_write, ENTRY_PENDING },
        { ENTRY_CONFLICT, KEY_REPEATED, &facts_to_write, ENTRY_PENDING },
        { ENTRY_CONFLICT, KEY_FOUND, &facts_fulfilled, ENTRY_REGISTERED },
        { ENTRY_CONFLICT, KEY_MISSING, &facts_to_write, ENTRY_CONFLICT },
        { ENTRY_CONFLICT, KEY_DUE, &facts_to_write, ENTRY_PENDING },
        { ENTRY_CONFLICT, KEY_MOVED, &facts_to_write, ENTRY_PENDING },
        { ENTRY_TAKEOVER, KEY_WISHED, &facts_nothing, ENTRY_GONE },
        { ENTRY_TAKEOVER, KEY_TAKEN, &facts_to_write, ENTRY_WRITING },
        { ENTRY_TAKEOVER, KEY_FOUND, &facts_fulfilled, ENTRY_REGISTERED },
        { ENTRY_TAKEOVER, KEY_MISSING, &facts_to_write, ENTRY_TAKEOVER },
        { ENTRY_TAKEOVER, KEY_MOVED, &facts_to_write, ENTRY_PENDING },
        { ENTRY_REJECTED, KEY_WISHED, &facts_to_write, ENTRY_PENDING },
        { ENTRY_REJECTED, KEY_REPEATED, &facts_to_write, ENTRY_REJECTED },
        { ENTRY_REJECTED, KEY_FOUND, &facts_to_change, ENTRY_UNDO },
        { ENTRY_REJECTED, KEY_FOUND, &facts_to_delete, ENTRY_PENDING },
        { ENTRY_REJECTED, KEY_MISSING, &facts_to_write, ENTRY_REJECTED },
        { ENTRY_REJECTED, KEY_MISSING, &facts_nothing, ENTRY_GONE },
        { ENTRY_REJECTED, KEY_DUE, &facts_to_write, ENTRY_PENDING },
        { ENTRY_REJECTED, KEY_MOVED, &facts_to_write, ENTRY_PENDING },
        { ENTRY_UNDO, KEY_WISHED, &facts_to_change, ENTRY_PENDING },
        { ENTRY_UNDO, KEY_REPEATED, &facts_to_change, ENTRY_UNDO },
        { ENTRY_UNDO, KEY_TAKEN, &facts_to_change, ENTRY_UNDOING },
        { ENTRY_UNDO, KEY_MISSING, &facts_to_write, ENTRY_REJECTED },
        { ENTRY_UNDO, KEY_MOVED, &facts_to_change, ENTRY_PENDING },
        { ENTRY_UNDOING, KEY_WISHED, &facts_to_change, ENTRY_WRITING },
        { ENTRY_UNDOING, KEY_ANSWERED, &facts_to_write, ENTRY_REJECTED },
        { ENTRY_UNDOING, KEY_ANSWERED, &facts_to_change, ENTRY_UNDO },
        { ENTRY_UNDOING, KEY_UNDELETABLE, &facts_to_change, ENTRY_REJECTED },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        EntryState to = move(false, cases[i].from, cases[i].facts, cases[i].event);

        if (to != cases[i].to)
            fail_msg("case %zu: state %d, event %d leads to %d, not to %d", i, cases[i].from, cases[i].event, to,
                     cases[i].to);
    }
}

static void a_key_that_nobody_wants_is_kept_until_docker_is_known(void **state)
{
    static const EntryState states[] = { ENTRY_NEW, ENTRY_ORPHAN, ENTRY_PENDING };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        assert_int_equal(move(true, states[i], &facts_to_delete, KEY_FOUND), ENTRY_ORPHAN);
        assert_int_equal(move(false, states[i], &facts_to_delete, KEY_FOUND), ENTRY_PENDING);
        assert_int_equal(move(true, states[i], &facts_fulfilled, KEY_FOUND), ENTRY_REGISTERED);
    }
}

/* A key that a call has taken stays with it, whatever is wanted meanwhile, and no answer leaves it there. */
static void a_busy_key_waits_for_its_answer_alone(void **state)
{
    const Facts *const facts[] = { &facts_fulfilled, &facts_to_write,  &facts_to_change,
                                   &facts_unknown,   &facts_to_delete, &facts_nothing };
    const EntryState busy[] = { ENTRY_WRITING, ENTRY_UNDOING, ENTRY_REFRESHING };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(busy); i++)
        for (size_t k = 0; k < ARRAY_SIZE(facts); k++)
            for (KeyEvent event = 0; event < KEY_EVENT_MAX_; event++) {
                bool is_answer = event >= KEY_ANSWERED && event <= KEY_UNDELETABLE;
                EntryState to = move(false, busy[i], facts[k], event);
                PublisherEntry entry = { .state = to };

                assert_int_equal(entry_is_busy(&entry), !is_answer);
            }
}

/* In each state, at each event, with each facts: move() checks the queues. */
static void a_key_is_in_the_queue_of_its_state(void **state)
{
    const Facts *const facts[] = { &facts_fulfilled, &facts_to_write,          &facts_to_change, &facts_unknown,
                                   &facts_to_delete, &facts_to_delete_unknown, &facts_nothing };

    (void)state;
    for (EntryState from = ENTRY_NEW; from < ENTRY_STATE_MAX_; from++)
        for (KeyEvent event = 0; event < KEY_EVENT_MAX_; event++)
            for (size_t k = 0; k < 2 * ARRAY_SIZE(facts); k++)
                (void)move(k % 2, from, facts[k / 2], event);
}

static void the_state_says_what_is_written(void **state)
{
    char text[] = "1";

    (void)state;
    assert_int_equal(entry_verb(&(PublisherEntry){ .state = ENTRY_PENDING, .wanted = text }), STORE_ENSURE);
    assert_int_equal(entry_verb(&(PublisherEntry){ .state = ENTRY_TAKEOVER, .wanted = text }), STORE_REPLACE);
    assert_int_equal(entry_verb(&(PublisherEntry){ .state = ENTRY_UNDO, .wanted = text }), STORE_REMOVE);
    assert_int_equal(entry_verb(&(PublisherEntry){ .state = ENTRY_PENDING }), STORE_REMOVE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way),
        cmocka_unit_test(a_key_that_nobody_wants_is_kept_until_docker_is_known),
        cmocka_unit_test(a_busy_key_waits_for_its_answer_alone),
        cmocka_unit_test(a_key_is_in_the_queue_of_its_state),
        cmocka_unit_test(the_state_says_what_is_written),
    };

    return cmocka_run_group_tests_name("key_life", tests, NULL, NULL);
}
