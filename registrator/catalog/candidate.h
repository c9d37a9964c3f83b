/* The ports of a container as other hosts reach them, and the reasons why a port or the whole container is not
 * registered. Pure. */
#pragma once

#include "catalog/record.h"

/* A container port as other hosts reach it: a binding, or the container's own port. */
typedef struct Candidate {
    const Port *port;
    uint16_t host_port;
    Reason reason;
    const char *address; /* NULL: other hosts cannot reach the port */
    bool first; /* the first candidate that is registered of this container port and protocol */
} Candidate;

/* Writes the candidates to ret, sorted by container port, protocol and the quality of the binding. ret has room for
 * all ports of the container. Returns the number of candidates. */
size_t candidates_find(Candidate *ret, const Container *container, const Rules *rules);

/* Returns the reason why the whole container is not registered; REASON_NONE if the reasons of the candidates decide. */
Reason candidates_judge(const Container *container, const Candidate *candidates, size_t n, const Rules *rules);

/* Returns the value of SERVICE_<port>_<key>, else of SERVICE_<key>. key is the name without SERVICE_. NULL: neither
 * has a value. */
const char *port_metadata(const Container *container, uint16_t port, const char *key);

/* Returns the container's address in the network that the container was started in, else the first address that any
 * network gives. "": the container has no address. */
const char *container_own_address(const Container *container);
bool container_is_host_network(const Container *container);

unsigned protocol_bit(Protocol protocol);
