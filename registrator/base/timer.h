/* Timers and deferred calls of sd-event that wait, switched off, until they are armed. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>
#include <time.h>

/* accuracy_us: 1 where the delay matters; 0 means sd-event's 250 ms. 0 or a negative errno. */
int timer_add(sd_event *event, sd_event_source **ret, clockid_t clock, uint64_t accuracy_us,
              sd_event_time_handler_t handler, void *userdata);
void timer_arm(sd_event_source *timer, uint64_t wait_us); /* fires once */

/* Runs once with the loop's next turn after it was armed. */
int defer_add(sd_event *event, sd_event_source **ret, sd_event_handler_t handler, void *userdata);
void defer_arm(sd_event_source *defer);

/* Of the loop's turn: all that happens in one turn happens at one time. */
uint64_t loop_now_us(sd_event *event, clockid_t clock);

/* Of either kind: it is not armed any more. */
void source_disarm(sd_event_source *source);
