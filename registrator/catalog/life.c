#include "catalog/life.h"

#include <signal.h>

#define STAY LIFE_STATE_MAX_

/* Rows: the state before. Columns: stop signal, death, start, limit, seen, return. */
static const LifeState next_state[LIFE_STATE_MAX_][LIFE_INPUT_MAX_] = {
    [LIFE_UNKNOWN] = { LIFE_STOPPING, LIFE_STOPPED, LIFE_RUNNING, STAY, LIFE_RUNNING, STAY },
    [LIFE_STOPPED] = { STAY, STAY, LIFE_RUNNING, STAY, LIFE_RUNNING, STAY },
    [LIFE_RUNNING] = { LIFE_STOPPING, LIFE_STOPPED, STAY, STAY, STAY, STAY },
    [LIFE_STOPPING] = { STAY, LIFE_STOPPED, LIFE_RUNNING, LIFE_OVERDUE, STAY, LIFE_RUNNING },
    [LIFE_OVERDUE] = { LIFE_STOPPING, LIFE_STOPPED, LIFE_RUNNING, STAY, LIFE_OUTLIVED, LIFE_RUNNING },
    [LIFE_OUTLIVED] = { LIFE_STOPPING, LIFE_STOPPED, LIFE_RUNNING, STAY, STAY, STAY },
};

bool life_move(Life *life, LifeInput input)
{
    LifeState next = next_state[life->state][input];

    if (input == LIFE_RETURN)
        life->returned_ns = life->signalled_ns; /* a repeated event must not undo the operator's decision */
    if (input == LIFE_DEATH || input == LIFE_START || input == LIFE_RETURN) {
        life->signals = life->signalled_us = life->until_us = 0;
        life->signalled_ns = life->resumed_ns = 0;
    }
    if (input == LIFE_DEATH || input == LIFE_START)
        life->started_ns = 0; /* the next inspect shows the new StartedAt */
    if (next == STAY || next == life->state)
        return false;
    life->state = next;
    return true;
}

static uint64_t signal_bit(int number)
{
    return number >= 1 && number <= 64 ? UINT64_C(1) << (number - 1) : 0;
}

static void stop(Life *life, const StopRules *rules)
{
    uint64_t limit_s = rules->timeout_s > (int64_t)rules->limit_s ? (uint64_t)rules->timeout_s : rules->limit_s;

    (void)life_move(life, LIFE_STOP_SIGNAL);
    life->until_us = rules->timeout_s < 0 ? UINT64_MAX : life->signalled_us + limit_s * 1000000;
}

void life_signal(Life *life, int number, int64_t time_ns, const StopRules *rules, uint64_t now_us)
{
    if (life->state == LIFE_STOPPED || (time_ns > 0 && (time_ns < life->started_ns || time_ns <= life->returned_ns)))
        return;
    if (rules && number != SIGKILL && number != rules->signal)
        return;
    life->signalled_us = now_us;
    life->signalled_ns = time_ns;
    if (rules) {
        stop(life, rules);
        return;
    }
    life->signals |= signal_bit(number);
    /* Most stop signals are SIGTERM. If the inspect shows another stop signal, the container is registered again. */
    if (number == SIGTERM || number == SIGKILL) {
        (void)life_move(life, LIFE_STOP_SIGNAL);
        life->until_us = UINT64_MAX;
    }
}

/* Judges the signals that came before the stop signal was known. */
static void judge_signals(Life *life, const StopRules *rules)
{
    uint64_t stops = life->signals & (signal_bit(rules->signal) | signal_bit(SIGKILL));
    bool before_the_start = life->signalled_ns > 0 && life->signalled_ns < life->started_ns;

    if (life->signals == 0)
        return;
    life->signals = 0;
    if (stops != 0 && !before_the_start)
        stop(life, rules);
    else
        (void)life_move(life, LIFE_RETURN);
}

static void judge_resumed_stop(Life *life, const StopRules *rules)
{
    if (life->resumed_ns != 0 && life->resumed_ns == life->started_ns)
        stop(life, rules);
    life->resumed_ns = 0;
}

bool life_inspected(Life *life, bool running, int64_t started_ns, const StopRules *rules, uint64_t now_us)
{
    bool other_start = started_ns != 0 && life->started_ns != 0 && started_ns != life->started_ns;

    if (!running) {
        (void)life_move(life, LIFE_DEATH);
        return true;
    }
    (void)life_move(life, other_start ? LIFE_START : LIFE_SEEN);
    life->started_ns = started_ns;
    judge_resumed_stop(life, rules);
    judge_signals(life, rules);
    (void)life_expire(life, now_us); /* a resumed stop may have passed its limit already */
    return other_start;
}

void life_resume_stop(Life *life, int64_t started_ns, uint64_t signalled_us)
{
    life->resumed_ns = started_ns;
    life->signalled_us = signalled_us;
}

bool life_expire(Life *life, uint64_t now_us)
{
    return life->state == LIFE_STOPPING && life->until_us <= now_us && life_move(life, LIFE_LIMIT);
}

bool life_is_stopping(const Life *life)
{
    return life->state == LIFE_STOPPING || life->state == LIFE_OVERDUE;
}
