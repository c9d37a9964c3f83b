#include "catalog/knowledge.h"

#include "base/cleanup.h"

#include <assert.h>
#include <string.h>

enum {
    /* answers in a row. Docker repeats old events after a start; a container that has more changes keeps changing */
    OUTDATED_MAX = 3,
};

/* Short names for the table. X: cannot happen. */
#define CURRENT KNOWLEDGE_CURRENT
#define DUE KNOWLEDGE_DUE
#define AGAIN KNOWLEDGE_DUE_AGAIN
#define ASKED KNOWLEDGE_ASKED
#define OUTDATED KNOWLEDGE_OUTDATED
#define ABANDONED KNOWLEDGE_ABANDONED
#define FAILED KNOWLEDGE_FAILED
#define PARTIAL KNOWLEDGE_PARTIAL
#define E_DUE KNOWLEDGE_EARLY_DUE
#define E_ASKED KNOWLEDGE_EARLY_ASKED
#define STARTED KNOWLEDGE_EARLY_STARTED
#define X KNOWLEDGE_STATE_MAX_

/* clang-format off */
static const KnowledgeState transitions[KNOWLEDGE_INPUT_MAX_][KNOWLEDGE_STATE_MAX_] = {
    /*                      CURRENT  DUE      AGAIN    ASKED      OUTDATED   ABANDONED  FAILED   PARTIAL  E_DUE    E_ASKED    STARTED */
    [KNOWLEDGE_ASK]     = { DUE,     DUE,     AGAIN,   ASKED,     OUTDATED,  OUTDATED,  FAILED,  DUE,     DUE,     STARTED,   STARTED },
    [KNOWLEDGE_NEWS]    = { DUE,     DUE,     AGAIN,   OUTDATED,  OUTDATED,  OUTDATED,  AGAIN,   DUE,     DUE,     OUTDATED,  OUTDATED },
    [KNOWLEDGE_TOUCH]   = { CURRENT, DUE,     AGAIN,   OUTDATED,  OUTDATED,  ABANDONED, FAILED,  PARTIAL, E_DUE,   E_ASKED,   OUTDATED },
    [KNOWLEDGE_EXPECT]  = { E_DUE,   DUE,     AGAIN,   ASKED,     OUTDATED,  ABANDONED, FAILED,  PARTIAL, E_DUE,   E_ASKED,   STARTED },
    [KNOWLEDGE_START]   = { DUE,     DUE,     AGAIN,   OUTDATED,  OUTDATED,  OUTDATED,  AGAIN,   DUE,     DUE,     STARTED,   OUTDATED },
    [KNOWLEDGE_TAKE]    = { X,       ASKED,   ASKED,   X,         X,         X,         X,       X,       E_ASKED, X,         X },
    [KNOWLEDGE_ANSWER]  = { X,       X,       X,       CURRENT,   DUE,       CURRENT,   X,       X,       X,       CURRENT,   CURRENT },
    [KNOWLEDGE_MISFIT]  = { X,       X,       X,       X,         X,         X,         X,       X,       X,       CURRENT,   DUE },
    [KNOWLEDGE_FAILURE] = { FAILED,  DUE,     AGAIN,   FAILED,    FAILED,    CURRENT,   FAILED,  FAILED,  E_DUE,   CURRENT,   DUE },
    [KNOWLEDGE_LOSE]    = { CURRENT, DUE,     AGAIN,   DUE,       DUE,       CURRENT,   FAILED,  PARTIAL, CURRENT, CURRENT,   DUE },
    [KNOWLEDGE_RETRY]   = { CURRENT, DUE,     AGAIN,   ASKED,     OUTDATED,  ABANDONED, AGAIN,   DUE,     E_DUE,   E_ASKED,   STARTED },
    [KNOWLEDGE_WAIT]    = { PARTIAL, DUE,     AGAIN,   ASKED,     OUTDATED,  ABANDONED, FAILED,  PARTIAL, E_DUE,   E_ASKED,   STARTED },
    [KNOWLEDGE_END]     = { CURRENT, CURRENT, CURRENT, ABANDONED, ABANDONED, ABANDONED, CURRENT, CURRENT, CURRENT, ABANDONED, ABANDONED },
};
/* clang-format on */

void questions_init(Questions *questions)
{
    *questions = (Questions){ .clock = 0 };
    for (size_t i = 0; i < KNOWLEDGE_STATE_MAX_; i++)
        TAILQ_INIT(&questions->lists[i]);
}

static bool is_asked(KnowledgeState state)
{
    switch (state) {
    case KNOWLEDGE_ASKED:
    case KNOWLEDGE_OUTDATED:
    case KNOWLEDGE_ABANDONED:
    case KNOWLEDGE_EARLY_ASKED:
    case KNOWLEDGE_EARLY_STARTED:
        return true;
    default:
        return false;
    }
}

/* The state is due, open or failed. Early questions do not count before the start event. */
static bool is_open(KnowledgeState state)
{
    switch (state) {
    case KNOWLEDGE_DUE:
    case KNOWLEDGE_DUE_AGAIN:
    case KNOWLEDGE_ASKED:
    case KNOWLEDGE_OUTDATED:
    case KNOWLEDGE_FAILED:
    case KNOWLEDGE_EARLY_STARTED:
        return true;
    default:
        return false;
    }
}

bool knowledge_is_asked(const Knowledge *knowledge)
{
    return is_asked(knowledge->state);
}

bool knowledge_is_early(const Knowledge *knowledge)
{
    return knowledge->state == KNOWLEDGE_EARLY_ASKED || knowledge->state == KNOWLEDGE_EARLY_STARTED;
}

bool knowledge_is_expecting(const Knowledge *knowledge)
{
    return knowledge->state == KNOWLEDGE_EARLY_DUE || knowledge->state == KNOWLEDGE_EARLY_ASKED;
}

/* The sort key of a list; 0: the list is sorted by arrival. */
static uint64_t rank(const Knowledge *knowledge)
{
    switch (knowledge->state) {
    case KNOWLEDGE_DUE:
        return knowledge->since;
    case KNOWLEDGE_PARTIAL:
        return knowledge->again_us;
    default:
        return 0;
    }
}

static void enter(Questions *questions, Knowledge *knowledge, KnowledgeState state)
{
    struct KnowledgeList *list = &questions->lists[state];
    Knowledge *before;

    knowledge->state = state;
    questions->n[state]++;
    /* Nearly always the last place. But a question whose connection was lost is older than the due questions. */
    before = TAILQ_LAST(list, KnowledgeList);
    while (before && rank(before) > rank(knowledge))
        before = TAILQ_PREV(before, KnowledgeList, link);
    if (before)
        TAILQ_INSERT_AFTER(list, before, knowledge, link);
    else
        TAILQ_INSERT_HEAD(list, knowledge, link);
}

static void leave(Questions *questions, Knowledge *knowledge)
{
    TAILQ_REMOVE(&questions->lists[knowledge->state], knowledge, link);
    questions->n[knowledge->state]--;
}

void knowledge_init(Questions *questions, Knowledge *knowledge, const char *id)
{
    *knowledge = (Knowledge){ .id = id };
    enter(questions, knowledge, KNOWLEDGE_CURRENT);
}

void knowledge_remove(Questions *questions, Knowledge *knowledge)
{
    questions->n_retried -= is_asked(knowledge->state) && knowledge->failed;
    leave(questions, knowledge);
}

void knowledge_move(Questions *questions, Knowledge *knowledge, KnowledgeInput input)
{
    KnowledgeState old = knowledge->state, next = transitions[input][old];
    bool was_retried = is_asked(old) && knowledge->failed;

    assert(next < KNOWLEDGE_STATE_MAX_);
    if (input == KNOWLEDGE_FAILURE && next == KNOWLEDGE_FAILED)
        knowledge->failed = true;
    else if (input == KNOWLEDGE_ANSWER || next == KNOWLEDGE_EARLY_DUE ||
             (input == KNOWLEDGE_END && next == KNOWLEDGE_CURRENT))
        knowledge->failed = false;
    if (next == KNOWLEDGE_DUE && knowledge->failed)
        next = KNOWLEDGE_DUE_AGAIN;
    if (input == KNOWLEDGE_END)
        knowledge->incomplete = 0;
    if (next == KNOWLEDGE_DUE && input != KNOWLEDGE_LOSE && old != KNOWLEDGE_DUE)
        knowledge->since = ++questions->clock;
    if (input == KNOWLEDGE_ANSWER)
        knowledge->outdated = old == KNOWLEDGE_OUTDATED ? knowledge->outdated + 1 : 0;
    if (input == KNOWLEDGE_ANSWER && (old == KNOWLEDGE_ASKED || old == KNOWLEDGE_EARLY_STARTED))
        knowledge->unknown_since = 0;
    else if (next == KNOWLEDGE_DUE && knowledge->unknown_since == 0)
        knowledge->unknown_since = knowledge->since;
    else if (old == KNOWLEDGE_EARLY_ASKED && is_open(next))
        knowledge->unknown_since = ++questions->clock;
    if (input == KNOWLEDGE_TAKE)
        knowledge->ticket = ++questions->clock;
    questions->n_retried -= was_retried;
    questions->n_retried += is_asked(next) && knowledge->failed;
    if (next == old)
        return;
    leave(questions, knowledge);
    enter(questions, knowledge, next);
}

void knowledge_wait(Questions *questions, Knowledge *knowledge, uint64_t again_us)
{
    knowledge->again_us = again_us;
    knowledge_move(questions, knowledge, KNOWLEDGE_WAIT);
}

void knowledge_touch(Questions *questions, Knowledge *knowledge)
{
    knowledge->changed = ++questions->clock;
    knowledge->by_list = false;
    knowledge_move(questions, knowledge, KNOWLEDGE_TOUCH);
}

void questions_move(Questions *questions, KnowledgeState state, KnowledgeInput input)
{
    for (size_t n = questions->n[state]; n > 0; n--)
        knowledge_move(questions, TAILQ_FIRST(&questions->lists[state]), input);
}

uint64_t questions_run(Questions *questions, uint64_t now_us)
{
    Knowledge *first;

    while ((first = TAILQ_FIRST(&questions->lists[KNOWLEDGE_PARTIAL])) && first->again_us <= now_us)
        knowledge_move(questions, first, KNOWLEDGE_RETRY);
    return first ? first->again_us : 0;
}

Knowledge *questions_take(Questions *questions)
{
    Knowledge *due = TAILQ_FIRST(&questions->lists[KNOWLEDGE_DUE]);
    Knowledge *again = questions->n_retried == 0 ? TAILQ_FIRST(&questions->lists[KNOWLEDGE_DUE_AGAIN]) : NULL;
    Knowledge *oldest = !due || (again && again->since < due->since) ? again : due;

    if (oldest)
        knowledge_move(questions, oldest, KNOWLEDGE_TAKE);
    return oldest;
}

Knowledge *questions_take_early(Questions *questions)
{
    Knowledge *oldest = TAILQ_FIRST(&questions->lists[KNOWLEDGE_EARLY_DUE]);

    if (oldest)
        knowledge_move(questions, oldest, KNOWLEDGE_TAKE);
    return oldest;
}

bool knowledge_is_open(const Knowledge *knowledge)
{
    return is_open(knowledge->state);
}

size_t questions_open(const Questions *questions)
{
    size_t n = 0;

    for (KnowledgeState state = 0; state < KNOWLEDGE_STATE_MAX_; state++)
        n += is_open(state) ? questions->n[state] : 0;
    return n;
}

/* Has no answer arrived for a question that was due at the mark? */
static bool is_unknown(const Knowledge *knowledge, uint64_t mark)
{
    return knowledge->unknown_since <= mark;
}

static bool is_untried(const Knowledge *knowledge, uint64_t mark)
{
    return is_unknown(knowledge, mark) && !knowledge->failed && knowledge->outdated < OUTDATED_MAX;
}

static bool has_open(const Questions *questions, uint64_t mark,
                     bool (*match)(const Knowledge *knowledge, uint64_t mark))
{
    const Knowledge *knowledge;

    for (KnowledgeState state = 0; state < KNOWLEDGE_STATE_MAX_; state++) {
        /* Each answer leads to this call, so a walk through all known containers would take quadratic time. */
        if (!is_open(state))
            continue;
        TAILQ_FOREACH (knowledge, &questions->lists[state], link)
            if (match(knowledge, mark))
                return true;
    }
    return false;
}

bool questions_are_tried(const Questions *questions, uint64_t mark)
{
    return !has_open(questions, mark, is_untried);
}

bool questions_are_answered(const Questions *questions, uint64_t mark)
{
    return !has_open(questions, mark, is_unknown);
}
