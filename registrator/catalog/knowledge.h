/* Whether Docker must be asked about a container: which question is due, which one is open, and which one failed.
 * Pure.
 *
 * The questions of all containers form one order. A free inspect slot takes the oldest one. Early questions have an
 * order and slots of their own: dockerd answers an inspect of a starting container when the start is complete, so
 * the answer arrives together with the start event. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

typedef enum KnowledgeState {
    KNOWLEDGE_CURRENT, /* nothing to ask */
    KNOWLEDGE_DUE, /* the container must be inspected */
    KNOWLEDGE_DUE_AGAIN, /* the container must be inspected; the last inspect failed */
    KNOWLEDGE_ASKED, /* an inspect is open */
    KNOWLEDGE_OUTDATED, /* an inspect is open, but an event came after the question */
    KNOWLEDGE_ABANDONED, /* an inspect is open, but the container has ended since */
    KNOWLEDGE_FAILED, /* the inspect failed; the next try waits for its time */
    KNOWLEDGE_PARTIAL, /* the answer was incomplete; the next inspect waits for its time */
    KNOWLEDGE_EARLY_DUE, /* the container is about to start: it may be inspected already */
    KNOWLEDGE_EARLY_ASKED, /* an early inspect is open */
    /* an early inspect is open, and the start event has come: the answer should show that start */
    KNOWLEDGE_EARLY_STARTED,
    KNOWLEDGE_STATE_MAX_,
} KnowledgeState;

typedef enum KnowledgeInput {
    KNOWLEDGE_ASK, /* a list shows a difference, or an inspect is needed for another reason */
    KNOWLEDGE_NEWS, /* an event came that only an inspect can explain */
    KNOWLEDGE_TOUCH, /* an event came that needs no inspect */
    KNOWLEDGE_EXPECT, /* an event announces that a container which does not run will start */
    KNOWLEDGE_START, /* the start event */
    KNOWLEDGE_TAKE, /* a free slot takes the question */
    KNOWLEDGE_ANSWER,
    KNOWLEDGE_MISFIT, /* the answer to an early question does not show the start */
    KNOWLEDGE_FAILURE, /* no answer, a bad answer, or no memory */
    KNOWLEDGE_LOSE, /* the connection has ended: no answer will come */
    KNOWLEDGE_RETRY, /* the time of the next try has come */
    KNOWLEDGE_WAIT, /* the answer was incomplete */
    KNOWLEDGE_END, /* the container has died, or Docker has removed it */
    KNOWLEDGE_INPUT_MAX_,
} KnowledgeInput;

typedef struct Knowledge {
    const char *id; /* the container's ID; not owned */
    KnowledgeState state;
    uint64_t since; /* the clock when the question became due */
    /* the clock when the first question became due that still has no good answer; 0: no such question */
    uint64_t unknown_since;
    uint64_t ticket; /* the clock when a slot took the question; the answer must carry it */
    uint64_t changed; /* the clock at the last event about the container */
    uint64_t listed; /* the clock of the last list that showed the container */
    uint64_t again_us; /* KNOWLEDGE_PARTIAL: when to ask */
    unsigned incomplete; /* answers in a row that were incomplete */
    unsigned outdated; /* answers in a row that were older than an event */
    bool failed; /* the last inspect failed */
    bool by_list; /* only a list has shown the difference; no event has */
    bool away; /* not seen since Docker has been away for too long */
    TAILQ_ENTRY(Knowledge) link;
} Knowledge;

TAILQ_HEAD(KnowledgeList, Knowledge);

/* The questions about all containers. */
typedef struct Questions {
    uint64_t clock; /* counts events, lists and questions, and so gives their order */
    struct KnowledgeList lists[KNOWLEDGE_STATE_MAX_]; /* DUE and PARTIAL are sorted by time */
    size_t n[KNOWLEDGE_STATE_MAX_]; /* the lengths of the lists */
    size_t n_retried; /* open questions whose predecessor failed */
} Questions;

void questions_init(Questions *questions);
/* id must live as long as the knowledge. */
void knowledge_init(Questions *questions, Knowledge *knowledge, const char *id);
void knowledge_remove(Questions *questions, Knowledge *knowledge);

/* The one function that changes the state. */
void knowledge_move(Questions *questions, Knowledge *knowledge, KnowledgeInput input);
/* Moves by KNOWLEDGE_WAIT. again_us: CLOCK_BOOTTIME of the next question. */
void knowledge_wait(Questions *questions, Knowledge *knowledge, uint64_t again_us);
/* Notes an event: answers and lists that were requested before the event are older. */
void knowledge_touch(Questions *questions, Knowledge *knowledge);
/* Applies the input to all questions in the state. */
void questions_move(Questions *questions, KnowledgeState state, KnowledgeInput input);
/* Makes the partial answers whose time has come by now_us due. Returns when the next one becomes due; 0: none waits. */
uint64_t questions_run(Questions *questions, uint64_t now_us);

/* Opens the oldest due question and returns it; NULL: none is due. A question that failed before is opened only
 * while no other such question is open. So inspects that hang hold one slot, not all slots. */
Knowledge *questions_take(Questions *questions);
/* Opens the oldest early question and returns it; NULL: none is due. */
Knowledge *questions_take_early(Questions *questions);

/* Is a question due, open or failed? Then the known facts may be out of date. */
bool knowledge_is_open(const Knowledge *knowledge);
bool knowledge_is_asked(const Knowledge *knowledge); /* an inspect is open */
bool knowledge_is_early(const Knowledge *knowledge); /* an early inspect is open */
bool knowledge_is_expecting(const Knowledge *knowledge); /* the container is about to start */
size_t questions_open(const Questions *questions);
/* Has each question that was due at the clock `mark` got a good answer, or failed once? A container counts as
 * answered after three outdated answers in a row, because it keeps changing. */
bool questions_are_tried(const Questions *questions, uint64_t mark);
/* Has each question that was due at the clock `mark` got a good answer? An event or a failure in between changes
 * nothing. */
bool questions_are_answered(const Questions *questions, uint64_t mark);
