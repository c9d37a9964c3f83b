/* How a port of a container is probed, by its labels and the settings, and at which addresses. Pure. */
#pragma once

#include "catalog/record.h"
#include "probe/question.h"

typedef enum ReadyRule {
    READY_RULE_NONE, /* registered without a probe */
    READY_RULE_TCP, /* ready when it accepts a connection */
    READY_RULE_HTTP, /* ready when a GET is answered with 2xx or 3xx */
} ReadyRule;

/* SERVICE_<port>_READY, SERVICE_READY or the setting decides. *ret_path: for READY_RULE_HTTP; the container owns it.
 * *ret_bad: a label's value that has no meaning; the setting then decides. */
ReadyRule ready_rule(const Container *container, const Rules *rules, uint16_t port, const char **ret_path,
                     const char **ret_bad);

/* Sets target, other, other_if_refused and path of the question. target is the container's own address, other is the
 * published address. If Docker runs on another host, only the published address is set. */
void ready_targets(ProbeQuestion *question, const Container *container, const Rules *rules, uint16_t port);
