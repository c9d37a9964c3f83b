/* Timers and deferred calls of sd-event. They are off until they are armed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

typedef void (*TimerFn)(void *userdata);

/* A part of its owner, which must not move. All zero: not added. */
typedef struct Timer {
    sd_event_source *source;
    TimerFn fire;
    void *userdata;
} Timer;

/* accuracy_us: 1 if the delay matters; 0 would mean sd-event's 250 ms. 0 or a negative errno. */
int timer_add(sd_event *event, Timer *timer, clockid_t clock, uint64_t accuracy_us, TimerFn fire, void *userdata);
void timer_arm(Timer *timer, uint64_t wait_us); /* fires once, after wait_us */
void timer_arm_at(Timer *timer, uint64_t us); /* fires once, at this time of the timer's clock */

/* A deferred call: fire() runs once, in the loop's next turn after the call was armed. 0 or a negative errno. */
int defer_add(sd_event *event, Timer *defer, TimerFn fire, void *userdata);
void defer_arm(Timer *defer);

/* The following functions take a timer or a deferred call. */
void timer_disarm(Timer *timer);
bool timer_is_armed(const Timer *timer);
int timer_set_priority(Timer *timer, int64_t priority); /* 0 or a negative errno */
void timer_clear(Timer *timer); /* may be called from within fire(), and for a timer that was not added */

/* The time of the loop's turn: all events of one turn have the same time. */
uint64_t loop_now_us(sd_event *event, clockid_t clock);
