#include "base/timer.h"

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
    Timer *timer = userdata;

    (void)source;
    (void)usec;
    timer->fire(timer->userdata);
    return 0;
}

static int on_defer(sd_event_source *source, void *userdata)
{
    Timer *defer = userdata;

    (void)source;
    defer->fire(defer->userdata);
    return 0;
}

int timer_add(sd_event *event, Timer *timer, clockid_t clock, uint64_t accuracy_us, TimerFn fire, void *userdata)
{
    int r = sd_event_add_time(event, &timer->source, clock, UINT64_MAX, accuracy_us, on_time, timer);

    timer->fire = fire;
    timer->userdata = userdata;
    return r < 0 ? r : sd_event_source_set_enabled(timer->source, SD_EVENT_OFF);
}

void timer_arm(Timer *timer, uint64_t wait_us)
{
    (void)sd_event_source_set_time_relative(timer->source, wait_us);
    (void)sd_event_source_set_enabled(timer->source, SD_EVENT_ONESHOT);
}

void timer_arm_at(Timer *timer, uint64_t us)
{
    (void)sd_event_source_set_time(timer->source, us);
    (void)sd_event_source_set_enabled(timer->source, SD_EVENT_ONESHOT);
}

int defer_add(sd_event *event, Timer *defer, TimerFn fire, void *userdata)
{
    int r = sd_event_add_defer(event, &defer->source, on_defer, defer);

    defer->fire = fire;
    defer->userdata = userdata;
    return r < 0 ? r : sd_event_source_set_enabled(defer->source, SD_EVENT_OFF);
}

void defer_arm(Timer *defer)
{
    (void)sd_event_source_set_enabled(defer->source, SD_EVENT_ONESHOT);
}

void timer_disarm(Timer *timer)
{
    (void)sd_event_source_set_enabled(timer->source, SD_EVENT_OFF);
}

bool timer_is_armed(const Timer *timer)
{
    return sd_event_source_get_enabled(timer->source, NULL) > 0;
}

int timer_set_priority(Timer *timer, int64_t priority)
{
    return sd_event_source_set_priority(timer->source, priority);
}

void timer_clear(Timer *timer)
{
    timer->source = sd_event_source_disable_unref(timer->source);
}

uint64_t loop_now_us(sd_event *event, clockid_t clock)
{
    uint64_t now_us = 0;

    (void)sd_event_now(event, clock, &now_us);
    return now_us;
}
