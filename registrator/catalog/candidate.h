/* The ports of a container as they can be reached, and why some of them, or the whole container, are not registered.
 * Pure. */
#pragma once

#include "catalog/record.h"

/* A container port as it can be reached: a binding, or the container's own port. */
typedef struct Candidate {
    const Port *port;
    uint16_t host_port;
    Reason reason;
    const char *address; /* NULL: no other host reaches the port */
    bool first; /* of the candidates of its container port and protocol that are registered */
} Candidate;

/* Sorted by container port, protocol and how good the binding is. ret has room for all of the container's ports. Returns
 * how many there are. */
size_t candidates_find(Candidate *ret, const Container *container, const Rules *rules);

/* Why the container as a whole is not registered; REASON_NONE: its candidates decide. */
Reason candidates_judge(const Container *container, const Candidate *candidates, size_t n, const Rules *rules);

/* SERVICE_<port>_<key>, else SERVICE_<key>, key without its SERVICE_. NULL: neither has a value. */
const char *port_metadata(const Container *container, uint16_t port, const char *key);

/* The container's address in the network that it was started in, else in the first that gives it one; "": it has none. */
const char *container_own_address(const Container *container);
bool container_is_host_network(const Container *container);

unsigned protocol_bit(Protocol protocol);
