/* Probes: a few slots, which are filled with the oldest questions. Each probe connects to the question's addresses, or
 * asks a server there for a path, and to nothing else. No call blocks. */
#pragma once

#include "base/cleanup.h"
#include "probe/question.h"

#include <systemd/sd-event.h>

enum {
    PROBES_AT_ONCE = 64,
    PROBE_PRIORITY = 20, /* of all its sources: Docker's events and etcd's answers go before them */
};

typedef struct Prober Prober;

/* Which probe is due, now_us: CLOCK_BOOTTIME. False: none; *ret_due_us: when one will be, 0: not known. */
typedef bool (*ProberNextFn)(void *userdata, uint64_t now_us, ProbeQuestion *ret, uint64_t *ret_due_us);
/* Never called from within a call to this module. */
typedef void (*ProberAnsweredFn)(void *userdata, const ProbeQuestion *question, ProbeOutcome outcome);

int prober_new(Prober **ret, sd_event *event, ProberNextFn next, ProberAnsweredFn answered, void *userdata);
/* Ends the open probes without an answer. */
Prober *prober_free(Prober *prober);
DEFINE_CLEANUP(Prober, prober_free)

/* There may be a probe that is due, or due earlier than any before. Not needed after an answer. */
void prober_pull(Prober *prober);
