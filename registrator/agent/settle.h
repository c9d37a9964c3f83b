/* Gathers the probes' answers that arrive together, so that the keys of their ports are wanted together. Waits until
 * the loop has handled all answers that have arrived, but only for SETTLE_ANSWERS_MAX answers: with many waiting
 * ports, another answer always follows. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

enum { SETTLE_ANSWERS_MAX = 256 }; /* after this number of further answers, the wait ends */

typedef struct Settle Settle;
typedef void (*SettleFn)(void *userdata);

/* run: called by the loop, never from within a call to this module. 0 or a negative errno. */
int settle_new(Settle **ret, sd_event *event, SettleFn run, void *userdata);
Settle *settle_free(Settle *settle);
DEFINE_CLEANUP(Settle, settle_free)

/* A probe has been answered. changed: run() has a key to want. */
void settle_answer(Settle *settle, bool changed);
