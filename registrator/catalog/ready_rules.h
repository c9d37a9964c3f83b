/* How a port of a container is probed: what its labels and the settings say, and where to. Pure. */
#pragma once

#include "catalog/record.h"
#include "probe/question.h"

typedef enum ReadyRule {
    READY_RULE_NONE, /* registered without a probe */
    READY_RULE_TCP, /* ready when it accepts a connection */
    READY_RULE_HTTP, /* ready when a GET is answered with 2xx or 3xx */
} ReadyRule;

/* By SERVICE_<port>_READY, SERVICE_READY or the setting. *ret_path: of READY_RULE_HTTP, owned by the container. *ret_bad:
 * set to the label's value if it means nothing; the setting counts then. */
ReadyRule ready_rule(const Container *container, const Rules *rules, uint16_t port, const char **ret_path,
                     const char **ret_bad);

/* Where to: the container's own address and the address that it publishes the port at; with a Docker of another host, the
 * latter alone. Fills target, other,
 * other_if_refused and path of the question. */
void ready_targets(ProbeQuestion *question, const Container *container, const Rules *rules, uint16_t port);
