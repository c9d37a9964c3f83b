/* Which container is inspected next. */
#include "catalog/knowledge.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { N = 8 };

typedef struct Rig {
    Questions questions;
    Knowledge of[N];
} Rig;

static int setup(void **state)
{
    static const char *const ids[N] = { "0", "1", "2", "3", "4", "5", "6", "7" };
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    questions_init(&rig->questions);
    for (size_t i = 0; i < N; i++)
        knowledge_init(&rig->questions, &rig->of[i], ids[i]);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;

    for (size_t i = 0; i < N; i++)
        knowledge_remove(&rig->questions, &rig->of[i]);
    for (size_t i = 0; i < KNOWLEDGE_STATE_MAX_; i++)
        assert_int_equal(rig->questions.n[i], 0);
    assert_int_equal(rig->questions.n_retried, 0);
    free(rig);
    return 0;
}

static void move(Rig *rig, int i, KnowledgeInput input)
{
    knowledge_move(&rig->questions, &rig->of[i], input);
}

/* Number of the next one; -1: none. */
static int take(Rig *rig)
{
    Knowledge *taken = questions_take(&rig->questions);

    return taken ? (int)(taken - rig->of) : -1;
}

static void fail_inspect(Rig *rig, int i)
{
    move(rig, i, KNOWLEDGE_ASK);
    assert_int_equal(take(rig), i);
    move(rig, i, KNOWLEDGE_FAILURE);
}

static void oldest_comes_first_and_once(void **state)
{
    Rig *rig = *state;

    assert_int_equal(take(rig), -1);
    move(rig, 3, KNOWLEDGE_NEWS);
    move(rig, 1, KNOWLEDGE_ASK);
    move(rig, 3, KNOWLEDGE_NEWS);
    move(rig, 2, KNOWLEDGE_ASK);
    assert_int_equal(questions_open(&rig->questions), 3);
    assert_int_equal(take(rig), 3);
    assert_int_equal(take(rig), 1);
    assert_int_equal(take(rig), 2);
    assert_int_equal(take(rig), -1);
    assert_true(rig->of[2].ticket > rig->of[1].ticket);
    move(rig, 1, KNOWLEDGE_ANSWER);
    assert_int_equal(rig->of[1].state, KNOWLEDGE_CURRENT);
    assert_int_equal(questions_open(&rig->questions), 2);
}

static void dead_containers_are_no_question(void **state)
{
    Rig *rig = *state;

    for (int i = 0; i < N; i++)
        move(rig, i, KNOWLEDGE_NEWS);
    assert_int_equal(take(rig), 0);
    for (int i = 0; i < N - 1; i++)
        move(rig, i, KNOWLEDGE_END);
    assert_int_equal(take(rig), N - 1);
    assert_int_equal(take(rig), -1);
    /* The first one's inspect is still open. If the container starts again, the answer may be older than that. */
    assert_int_equal(rig->of[0].state, KNOWLEDGE_ABANDONED);
    assert_false(knowledge_is_open(&rig->of[0]));
    move(rig, 0, KNOWLEDGE_NEWS);
    assert_int_equal(take(rig), -1);
    move(rig, 0, KNOWLEDGE_ANSWER);
    assert_int_equal(take(rig), 0);
}

static void event_after_the_question_makes_it_due_again(void **state)
{
    Rig *rig = *state;

    move(rig, 0, KNOWLEDGE_NEWS);
    assert_int_equal(take(rig), 0);
    move(rig, 0, KNOWLEDGE_ASK); /* a list says nothing that the inspect does not */
    assert_int_equal(rig->of[0].state, KNOWLEDGE_ASKED);
    knowledge_touch(&rig->questions, &rig->of[0]);
    move(rig, 1, KNOWLEDGE_NEWS);
    move(rig, 0, KNOWLEDGE_ANSWER);
    assert_int_equal(take(rig), 1); /* its turn comes after those that waited */
    assert_int_equal(take(rig), 0);
}

static void failed_questions_hold_one_slot(void **state)
{
    Rig *rig = *state;

    for (int i = 0; i < 4; i++)
        fail_inspect(rig, i);
    assert_int_equal(take(rig), -1); /* not before their time */
    move(rig, 5, KNOWLEDGE_NEWS);
    questions_move(&rig->questions, KNOWLEDGE_FAILED, KNOWLEDGE_RETRY);
    assert_int_equal(take(rig), 0); /* the oldest */
    assert_int_equal(take(rig), 5);
    assert_int_equal(take(rig), -1);
    move(rig, 6, KNOWLEDGE_NEWS);
    assert_int_equal(take(rig), 6);
    move(rig, 0, KNOWLEDGE_FAILURE);
    assert_int_equal(take(rig), 1);
    move(rig, 1, KNOWLEDGE_ANSWER);
    assert_int_equal(take(rig), 2);
    /* An event is no reason for a second slot. */
    move(rig, 0, KNOWLEDGE_NEWS);
    assert_int_equal(rig->of[0].state, KNOWLEDGE_DUE_AGAIN);
    assert_int_equal(take(rig), -1);
    /* An answer makes it one like the others. */
    move(rig, 2, KNOWLEDGE_END);
    move(rig, 2, KNOWLEDGE_ANSWER);
    move(rig, 1, KNOWLEDGE_NEWS);
    move(rig, 2, KNOWLEDGE_NEWS);
    assert_int_equal(take(rig), 3);
    assert_int_equal(take(rig), 1);
    assert_int_equal(take(rig), 2);
}

static void lost_questions_are_asked_again_in_their_order(void **state)
{
    Rig *rig = *state;

    for (int i = 0; i < 6; i++)
        move(rig, i, KNOWLEDGE_NEWS);
    for (int i = 0; i < 4; i++)
        assert_int_equal(take(rig), i);
    move(rig, 2, KNOWLEDGE_NEWS);
    questions_move(&rig->questions, KNOWLEDGE_ASKED, KNOWLEDGE_LOSE);
    questions_move(&rig->questions, KNOWLEDGE_OUTDATED, KNOWLEDGE_LOSE);
    for (int i = 0; i < 6; i++)
        assert_int_equal(take(rig), i);
}

/* After a start Docker repeats old events: a container of the first list is not known before an answer counts. */
static void an_event_after_the_mark_answers_nothing(void **state)
{
    Rig *rig = *state;
    uint64_t mark;

    move(rig, 0, KNOWLEDGE_ASK);
    assert_int_equal(take(rig), 0);
    mark = rig->questions.clock;
    move(rig, 0, KNOWLEDGE_NEWS);
    move(rig, 0, KNOWLEDGE_ANSWER); /* older than the event */
    assert_false(questions_are_answered(&rig->questions, mark));
    move(rig, 0, KNOWLEDGE_END);
    move(rig, 0, KNOWLEDGE_NEWS);
    assert_false(questions_are_answered(&rig->questions, mark));
    assert_int_equal(take(rig), 0);
    move(rig, 0, KNOWLEDGE_ANSWER);
    assert_true(questions_are_answered(&rig->questions, mark));
    move(rig, 0, KNOWLEDGE_NEWS);
    assert_true(questions_are_answered(&rig->questions, mark));
}

static void questions_are_done_up_to_a_mark(void **state)
{
    Rig *rig = *state;

    move(rig, 0, KNOWLEDGE_NEWS);
    move(rig, 1, KNOWLEDGE_NEWS);
    uint64_t mark = rig->questions.clock;
    assert_false(questions_are_tried(&rig->questions, mark));
    assert_int_equal(take(rig), 0);
    assert_int_equal(take(rig), 1);
    move(rig, 2, KNOWLEDGE_NEWS); /* later ones do not count, whatever their number */
    assert_false(questions_are_tried(&rig->questions, mark));
    move(rig, 0, KNOWLEDGE_FAILURE);
    assert_false(questions_are_tried(&rig->questions, mark));
    /* A container that changes all the time is waited for three times. */
    move(rig, 1, KNOWLEDGE_NEWS);
    move(rig, 1, KNOWLEDGE_ANSWER);
    assert_int_equal(take(rig), 2);
    for (int i = 0; i < 2; i++) {
        assert_false(questions_are_tried(&rig->questions, mark));
        assert_int_equal(take(rig), 1);
        move(rig, 1, KNOWLEDGE_NEWS);
        move(rig, 1, KNOWLEDGE_ANSWER);
    }
    assert_true(questions_are_tried(&rig->questions, mark));
    assert_false(questions_are_answered(&rig->questions, mark));
    questions_move(&rig->questions, KNOWLEDGE_FAILED, KNOWLEDGE_RETRY);
    assert_true(questions_are_tried(&rig->questions, mark));
    assert_false(questions_are_answered(&rig->questions, mark));
    assert_int_equal(take(rig), 0);
    assert_true(questions_are_tried(&rig->questions, mark));
    assert_false(questions_are_answered(&rig->questions, mark));
    move(rig, 0, KNOWLEDGE_ANSWER);
    assert_false(questions_are_answered(&rig->questions, mark));
    assert_int_equal(take(rig), 1);
    move(rig, 1, KNOWLEDGE_ANSWER);
    assert_true(questions_are_answered(&rig->questions, mark));
}

static void incomplete_answers_cause_another_inspect(void **state)
{
    Rig *rig = *state;

    knowledge_wait(&rig->questions, &rig->of[1], 200);
    knowledge_wait(&rig->questions, &rig->of[0], 100);
    assert_false(knowledge_is_open(&rig->of[0]));
    assert_int_equal(questions_run(&rig->questions, 99), 100);
    assert_int_equal(take(rig), -1);
    assert_int_equal(questions_run(&rig->questions, 100), 200);
    assert_int_equal(take(rig), 0);
    move(rig, 1, KNOWLEDGE_END);
    assert_int_equal(questions_run(&rig->questions, 1000), 0);
    assert_int_equal(take(rig), -1);
}

static void early_questions_have_an_order_of_their_own(void **state)
{
    Rig *rig = *state;
    uint64_t mark;

    move(rig, 0, KNOWLEDGE_EXPECT);
    move(rig, 1, KNOWLEDGE_EXPECT);
    move(rig, 2, KNOWLEDGE_NEWS);
    move(rig, 2, KNOWLEDGE_EXPECT);
    assert_int_equal(take(rig), 2);
    assert_int_equal(take(rig), -1);
    assert_ptr_equal(questions_take_early(&rig->questions), &rig->of[0]);
    assert_ptr_equal(questions_take_early(&rig->questions), &rig->of[1]);
    assert_null(questions_take_early(&rig->questions));
    move(rig, 2, KNOWLEDGE_ANSWER);
    /* Nothing is unknown before the start event. */
    assert_int_equal(questions_open(&rig->questions), 0);
    assert_true(questions_are_tried(&rig->questions, rig->questions.clock));
    mark = rig->questions.clock;
    knowledge_touch(&rig->questions, &rig->of[0]);
    move(rig, 0, KNOWLEDGE_START);
    assert_int_equal(rig->of[0].state, KNOWLEDGE_EARLY_STARTED);
    assert_int_equal(questions_open(&rig->questions), 1);
    assert_true(questions_are_tried(&rig->questions, mark));
    assert_false(questions_are_tried(&rig->questions, rig->questions.clock));
    move(rig, 0, KNOWLEDGE_ANSWER);
    assert_int_equal(rig->of[0].state, KNOWLEDGE_CURRENT);
    assert_true(questions_are_answered(&rig->questions, rig->questions.clock));
    move(rig, 1, KNOWLEDGE_ANSWER);
    assert_int_equal(rig->of[1].state, KNOWLEDGE_CURRENT);
}

static void an_early_question_without_an_answer_is_asked_at_the_start(void **state)
{
    static const struct {
        KnowledgeInput input;
        KnowledgeState before, after; /* the start event */
    } cases[] = {
        { KNOWLEDGE_MISFIT, KNOWLEDGE_CURRENT, KNOWLEDGE_DUE },
        { KNOWLEDGE_FAILURE, KNOWLEDGE_CURRENT, KNOWLEDGE_DUE },
        { KNOWLEDGE_LOSE, KNOWLEDGE_CURRENT, KNOWLEDGE_DUE },
        { KNOWLEDGE_END, KNOWLEDGE_ABANDONED, KNOWLEDGE_ABANDONED },
        { KNOWLEDGE_NEWS, KNOWLEDGE_OUTDATED, KNOWLEDGE_OUTDATED },
        { KNOWLEDGE_EXPECT, KNOWLEDGE_EARLY_ASKED, KNOWLEDGE_EARLY_STARTED },
    };
    Rig *rig = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
        Knowledge *knowledge;

        knowledge_remove(&rig->questions, &rig->of[0]);
        knowledge_init(&rig->questions, &rig->of[0], "0");
        move(rig, 0, KNOWLEDGE_EXPECT);
        knowledge = questions_take_early(&rig->questions);
        assert_ptr_equal(knowledge, &rig->of[0]);
        if (i % 2 == 1)
            move(rig, 0, KNOWLEDGE_START);
        assert_true(knowledge_is_early(knowledge));
        move(rig, 0, cases[i / 2].input);
        assert_int_equal(knowledge->state, i % 2 == 0 ? cases[i / 2].before : cases[i / 2].after);
        assert_false(knowledge->failed);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(oldest_comes_first_and_once),
        TEST(dead_containers_are_no_question),
        TEST(event_after_the_question_makes_it_due_again),
        TEST(failed_questions_hold_one_slot),
        TEST(lost_questions_are_asked_again_in_their_order),
        TEST(an_event_after_the_mark_answers_nothing),
        TEST(questions_are_done_up_to_a_mark),
        TEST(incomplete_answers_cause_another_inspect),
        TEST(early_questions_have_an_order_of_their_own),
        TEST(an_early_question_without_an_answer_is_asked_at_the_start),
    };

    return cmocka_run_group_tests_name("knowledge", tests, NULL, NULL);
}
