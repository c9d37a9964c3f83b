/* What a probe asks: whether a TCP port accepts connections, or whether a server there answers a GET well. Pure. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum { PROBE_PATH_MAX = 255 };

typedef struct ProbeTarget {
    char address[INET6_ADDRSTRLEN]; /* "": there is none */
    uint16_t port;
} ProbeTarget;

typedef struct ProbeQuestion {
    char id[65]; /* the container's */
    uint16_t container_port;
    uint64_t ticket; /* comes back with the answer */
    char path[PROBE_PATH_MAX + 1]; /* of an HTTP request; "": a connection is enough */
    ProbeTarget target; /* the container's own address and port */
    ProbeTarget other; /* tried if the first cannot tell */
    bool other_if_refused; /* or if the first refuses: both are the container's own */
} ProbeQuestion;

typedef enum ProbeOutcome {
    PROBE_OPEN, /* it accepts connections; with a path: it answered 2xx or 3xx */
    PROBE_REFUSED, /* it does not, yet */
    PROBE_SILENT, /* no answer, or unreachable from this host: the port may be ready */
} ProbeOutcome;
