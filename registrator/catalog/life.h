/* Whether a container lives, and the effect of Docker's signals, deaths and starts. Docker does not show the timeout
 * of a stop: docker stop -t, compose and swarm decide it. So a stopping container stays deregistered until one of
 * these: it dies, it starts again, the operator undrains it, or the stop limit passes. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef enum LifeState {
    LIFE_UNKNOWN, /* known from an event, not inspected yet */
    LIFE_STOPPED, /* created, exited, dead, restarting */
    LIFE_RUNNING,
    LIFE_STOPPING, /* has received its stop signal, still runs */
    LIFE_OVERDUE, /* the stop limit has passed; an inspect decides whether the container still runs */
    LIFE_OUTLIVED, /* still runs after the stop limit: registered again */
    LIFE_STATE_MAX_,
} LifeState;

typedef enum LifeInput {
    LIFE_STOP_SIGNAL,
    LIFE_DEATH, /* a die event, or an inspect that shows the container stopped */
    LIFE_START, /* a start event, or an inspect with another StartedAt */
    LIFE_LIMIT, /* the stop limit has passed */
    LIFE_SEEN, /* an inspect shows the container running since the known start */
    LIFE_RETURN, /* the operator undrains the container */
    LIFE_INPUT_MAX_,
} LifeInput;

/* How a container wants to be stopped. */
typedef struct StopRules {
    int signal; /* number */
    int64_t timeout_s; /* negative: Docker waits for ever */
    uint32_t limit_s; /* --stop-limit */
} StopRules;

typedef struct Life {
    LifeState state;
    int64_t started_ns; /* Docker's State.StartedAt, since 1970; 0: not known */
    uint64_t signalled_us; /* CLOCK_BOOTTIME of the last signal; 0: none since the start */
    int64_t signalled_ns; /* Docker's time of the last signal; 0: not known */
    int64_t returned_ns; /* the operator has undone the signals up to this one */
    int64_t resumed_ns; /* StartedAt of the container whose resumed stop goes on; 0: no such stop */
    uint64_t signals; /* received before the stop signal was known: bit n - 1 for signal n */
    uint64_t until_us; /* LIFE_STOPPING: when the stop limit passes; UINT64_MAX: never */
} Life;

/* The one function that changes the state. Returns true if it changed. */
bool life_move(Life *life, LifeInput input);

/* A kill event. time_ns: when Docker sent the signal, by Docker's clock; 0: not known. rules: NULL while the
 * container has not been inspected; the signal is then kept until the inspect. A signal before the present start has
 * no effect. */
void life_signal(Life *life, int number, int64_t time_ns, const StopRules *rules, uint64_t now_us);

/* An inspect's answer. running: also if paused. started_ns: State.StartedAt, 0: not known. Judges the signals that
 * came before. Returns true if the container has ended, or has restarted without a start event. */
bool life_inspected(Life *life, bool running, int64_t started_ns, const StopRules *rules, uint64_t now_us);

/* A stop was in progress when an earlier agent ended, and the container has not been inspected yet. The stop goes on
 * if the next inspect shows the container running since started_ns. signalled_us may lie in the past. */
void life_resume_stop(Life *life, int64_t started_ns, uint64_t signalled_us);

/* Returns true if the stop limit has passed. The state is then LIFE_OVERDUE, and the container must be inspected. */
bool life_expire(Life *life, uint64_t now_us);

/* Is the container deregistered because of a stop signal? */
bool life_is_stopping(const Life *life);
