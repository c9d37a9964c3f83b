/* A probe's question: does a TCP port accept connections, or does a server there answer a GET with 2xx or 3xx? Pure. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum { PROBE_PATH_MAX = 255 };

typedef struct ProbeTarget {
    char address[INET6_ADDRSTRLEN]; /* "": no such target */
    uint16_t port;
} ProbeTarget;

typedef struct ProbeQuestion {
    char id[65]; /* the container's ID */
    uint16_t container_port;
    uint64_t ticket; /* the answer has the same ticket */
    char path[PROBE_PATH_MAX + 1]; /* the path of an HTTP request; "": a connection is sufficient */
    ProbeTarget target; /* the container's own address and port */
    ProbeTarget other; /* tried if the first target gives no result */
    bool other_if_refused; /* also tried if the first target refuses: both belong to the container */
} ProbeQuestion;

typedef enum ProbeOutcome {
    PROBE_OPEN, /* the port accepts connections; with a path, the answer was 2xx or 3xx */
    PROBE_REFUSED, /* the port does not accept connections yet */
    PROBE_SILENT, /* no answer, or not reachable from this host: the port may be ready */
} ProbeOutcome;
