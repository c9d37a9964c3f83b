/* How long a container in a crash loop must run before the agent registers it again. A crash loop means that the
 * container has ended or become unhealthy again and again. Without the delay, each registration and each end would
 * reload every load balancer. Pure. */
#pragma once

#include <stdint.h>

enum {
    CRASH_WITHIN_S = 60, /* an end within this time after the start is a crash */
    CRASH_DELAY_MAX_S = 60,
    CRASH_FORGET_S = 600, /* after this time without an end, the crashes no longer count */
};

typedef enum CrashInput {
    CRASH_UP, /* the container has started, or is healthy again */
    CRASH_DOWN, /* the container ended without a stop signal, or has become unhealthy */
    CRASH_STOPPED, /* somebody has stopped the container: the crashes no longer count */
} CrashInput;

/* All zero: the agent has not seen a start of the container. */
typedef struct CrashLoop {
    unsigned crashes; /* the number of crashes in a row */
    uint64_t first_us; /* when the container came up before the first crash */
    uint64_t up_us; /* since when the container is up; 0: down, or not known */
} CrashLoop;

void crash_loop_move(CrashLoop *loop, CrashInput input, uint64_t now_us);
/* When the container may be registered; 0: no delay. */
uint64_t crash_loop_until_us(const CrashLoop *loop);
