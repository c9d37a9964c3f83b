#include "agent/settle.h"

#include "base/timer.h"
#include "probe/probe.h"

#include <errno.h>
#include <stdlib.h>

typedef enum SettleState {
    SETTLE_IDLE, /* no answer has changed a port since the last run */
    SETTLE_GATHERING, /* an answer has changed a port: run() follows when the loop has no further answer */
    SETTLE_FULL, /* run() comes before the next answer */
} SettleState;

struct Settle {
    SettleState state;
    unsigned n_answers; /* answers since the state changed */
    Timer defer;
    SettleFn run;
    void *userdata;
};

/* The one function that changes the state. */
static void settle_move(Settle *settle, SettleState state)
{
    static const int64_t priorities[] = {
        [SETTLE_IDLE] = PROBE_PRIORITY + 1,
        [SETTLE_GATHERING] = PROBE_PRIORITY + 1,
        [SETTLE_FULL] = PROBE_PRIORITY - 1,
    };

    settle->state = state;
    settle->n_answers = 0;
    (void)timer_set_priority(&settle->defer, priorities[state]);
    if (state == SETTLE_IDLE)
        timer_disarm(&settle->defer);
    else
        defer_arm(&settle->defer);
}

static void on_settle(void *userdata)
{
    Settle *settle = userdata;

    settle_move(settle, SETTLE_IDLE);
    settle->run(settle->userdata);
}

void settle_answer(Settle *settle, bool changed)
{
    if (settle->state == SETTLE_IDLE && changed)
        settle_move(settle, SETTLE_GATHERING);
    else if (settle->state == SETTLE_GATHERING && ++settle->n_answers == SETTLE_ANSWERS_MAX)
        settle_move(settle, SETTLE_FULL);
}

int settle_new(Settle **ret, sd_event *event, SettleFn run, void *userdata)
{
    CLEANUP(settle_free_p) Settle *settle = calloc(1, sizeof(*settle));
    int r;

    if (!settle)
        return -ENOMEM;
    settle->run = run;
    settle->userdata = userdata;
    r = defer_add(event, &settle->defer, on_settle, settle);
    if (r < 0)
        return r;
    settle_move(settle, SETTLE_IDLE);
    *ret = TAKE_PTR(settle);
    return 0;
}

Settle *settle_free(Settle *settle)
{
    if (!settle)
        return NULL;
    timer_clear(&settle->defer);
    free(settle);
    return NULL;
}
