/* Probes: some slots take the oldest questions. A probe connects to the question's addresses, or sends a GET to a
 * server there. It contacts no other address. No call blocks. */
#pragma once

#include "base/cleanup.h"
#include "probe/question.h"

#include <systemd/sd-event.h>

enum {
    PROBES_AT_ONCE = 64,
    PROBE_PRIORITY = 20, /* of all sources of the prober: Docker's events and etcd's answers come first */
};

typedef struct Prober Prober;

/* Returns the due probe in *ret. now_us: CLOCK_BOOTTIME. False: no probe is due; *ret_due_us is the time of the next
 * one, 0: not known. */
typedef bool (*ProberNextFn)(void *userdata, uint64_t now_us, ProbeQuestion *ret, uint64_t *ret_due_us);
/* The loop calls this, never a function of this module. */
typedef void (*ProberAnsweredFn)(void *userdata, const ProbeQuestion *question, ProbeOutcome outcome);

int prober_new(Prober **ret, sd_event *event, ProberNextFn next, ProberAnsweredFn answered, void *userdata);
/* Ends the open probes without an answer. Returns NULL. */
Prober *prober_free(Prober *prober);
DEFINE_CLEANUP(Prober, prober_free)

/* A probe may be due, or due earlier than before. Not needed after an answer. */
void prober_pull(Prober *prober);
