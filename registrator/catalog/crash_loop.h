/* How long a container must run before it is registered, because it has ended, or has become unhealthy, again and again.
 * Each registration and each end is a reload of every load balancer. Pure. */
#pragma once

#include <stdint.h>

enum {
    CRASH_WITHIN_S = 60, /* an end so soon after the start is a crash */
    CRASH_DELAY_MAX_S = 60,
    CRASH_FORGET_S = 600, /* so long without an end, and the crashes are forgotten */
};

typedef enum CrashInput {
    CRASH_UP, /* the container has started, or is healthy again */
    CRASH_DOWN, /* the container ended by itself, or has become unhealthy */
    CRASH_STOPPED, /* somebody has stopped the container: the next start is a first one */
} CrashInput;

/* Zero: never started as far as the agent knows. */
typedef struct CrashLoop {
    unsigned crashes; /* in a row */
    uint64_t first_us; /* when the container came up before the first of them */
    uint64_t up_us; /* since when the container is up; 0: it is not, or not known */
} CrashLoop;

void crash_loop_move(CrashLoop *loop, CrashInput input, uint64_t now_us);
/* When the container may be registered; 0: there is no delay. */
uint64_t crash_loop_until_us(const CrashLoop *loop);
