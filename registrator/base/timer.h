/* Timers and deferred calls of sd-event. They are off until they are armed. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>
#include <time.h>

/* accuracy_us: 1 if the delay matters; 0 would mean sd-event's 250 ms. 0 or a negative errno. */
int timer_add(sd_event *event, sd_event_source **ret, clockid_t clock, uint64_t accuracy_us,
              sd_event_time_handler_t handler, void *userdata);
void timer_arm(sd_event_source *timer, uint64_t wait_us); /* fires once, after wait_us */

/* The handler runs once, in the loop's next turn after the source was armed. 0 or a negative errno. */
int defer_add(sd_event *event, sd_event_source **ret, sd_event_handler_t handler, void *userdata);
void defer_arm(sd_event_source *defer);

/* The time of the loop's turn: all events of one turn have the same time. */
uint64_t loop_now_us(sd_event *event, clockid_t clock);

/* Switches off a timer or a deferred call. */
void source_disarm(sd_event_source *source);
