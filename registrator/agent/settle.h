/* When the keys of ports that have become ready are wanted: those of answers that arrive together, together. Waits until
 * the loop has taken in all answers that there are, but not for ever: with many waiting ports, there is always another. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

enum { SETTLE_ANSWERS_MAX = 256 }; /* after so many more answers it waits no longer */

typedef struct Settle Settle;
typedef void (*SettleFn)(void *userdata);

/* run: never called from within a call to this module. 0 or a negative errno. */
int settle_new(Settle **ret, sd_event *event, SettleFn run, void *userdata);
Settle *settle_free(Settle *settle);
DEFINE_CLEANUP(Settle, settle_free)

/* A probe was answered. changed: run has something to do. */
void settle_answer(Settle *settle, bool changed);
