#include "catalog/crash_loop.h"

#define SECOND UINT64_C(1000000)

static void end(CrashLoop *loop, uint64_t now_us)
{
    uint64_t ran_us = now_us > loop->up_us ? now_us - loop->up_us : 0;

    if (loop->up_us == 0)
        return;
    if (ran_us >= CRASH_FORGET_S * SECOND)
        loop->crashes = 0;
    else if (ran_us < CRASH_WITHIN_S * SECOND && loop->crashes++ == 0)
        loop->first_us = loop->up_us;
    loop->up_us = 0;
}

void crash_loop_move(CrashLoop *loop, CrashInput input, uint64_t now_us)
{
    switch (input) {
    case CRASH_UP:
        loop->up_us = now_us;
        break;
    case CRASH_DOWN:
        end(loop, now_us);
        break;
    case CRASH_STOPPED:
        *loop = (CrashLoop){ 0 };
        break;
    }
}

uint64_t crash_loop_until_us(const CrashLoop *loop)
{
    uint64_t delay_s = 1;

    if (loop->crashes == 0 || loop->up_us == 0)
        return 0;
    for (unsigned i = 1; i < loop->crashes && delay_s < CRASH_DELAY_MAX_S; i++)
        delay_s *= 2;
    return loop->up_us + (delay_s < CRASH_DELAY_MAX_S ? delay_s : CRASH_DELAY_MAX_S) * SECOND;
}
