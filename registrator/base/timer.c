#include "base/timer.h"

int timer_add(sd_event *event, sd_event_source **ret, clockid_t clock, uint64_t accuracy_us,
              sd_event_time_handler_t handler, void *userdata)
{
    int r = sd_event_add_time(event, ret, clock, UINT64_MAX, accuracy_us, handler, userdata);

    return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

void timer_arm(sd_event_source *timer, uint64_t wait_us)
{
    (void)sd_event_source_set_time_relative(timer, wait_us);
    (void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

int defer_add(sd_event *event, sd_event_source **ret, sd_event_handler_t handler, void *userdata)
{
    int r = sd_event_add_defer(event, ret, handler, userdata);

    return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

void defer_arm(sd_event_source *defer)
{
    (void)sd_event_source_set_enabled(defer, SD_EVENT_ONESHOT);
}

void source_disarm(sd_event_source *source)
{
    (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

uint64_t loop_now_us(sd_event *event, clockid_t clock)
{
    uint64_t now_us = 0;

    (void)sd_event_now(event, clock, &now_us);
    return now_us;
}
