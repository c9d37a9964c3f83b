/* Container → records: which keys a container should have, or why it should have none. Pure. */
#pragma once

#include "container.h"
#include "template.h"

typedef enum PortsMode { PORTS_PUBLISHED, PORTS_INTERNAL } PortsMode;

/* Metadata that steer it, as label or SERVICE_* variable (labels win); an empty value is none:
 *   SERVICE_NAME, SERVICE_<port>_NAME
 *       the service, of all ports or of one container port
 *   SERVICE_IGNORE, SERVICE_<port>_IGNORE
 *       leaves it out, unless the value is false, no or 0 (upper or lower case)
 *   SERVICE_PROTOCOL, SERVICE_<port>_PROTOCOL
 *       which protocols are registered: tcp, udp, sctp, with commas between them, or any. Default,
 *       and with any other word in it: tcp
 * The one with the port beats the one without, but SERVICE_IGNORE, which is of the whole container.
 * The same holds for {label:SERVICE_<KEY>} in the templates: SERVICE_<port>_<KEY> beats it.
 *
 * Names: the container's; with several registered ports (number and protocol) "<name>-<container
 * port>". UDP beside registered TCP of the same number carries "-udp" too, SCTP beside either
 * "-sctp".
 *
 * Bindings: one container port may be bound several times. Where the key has {port} or {address},
 * each binding has its key; else the best one has: to any address before to one address, IPv4
 * before IPv6, the lowest host port.
 *
 * The service template has the fields {name} (without the suffix), {node}, {container_port},
 * {protocol}, {id} (12 digits), {image} and {label:…}; the others are empty in it. Where it renders
 * to nothing, the port is not named. */

/* How containers become keys: compiled from the settings. Pointers are not owned. */
typedef struct Rules {
    const Template *key;
    const Template *value;
    const Template *service; /* of a container that names none */
    const char *node;
    const char *address4; /* advertised; NULL while unknown or of the other family */
    const char *address6;
    PortsMode ports;
    bool explicit_only; /* only containers that name a service */
    LabelFilter labels; /* what the templates use */
} Rules;

typedef enum Reason {
    REASON_NONE, /* registered */
    /* of the container as a whole */
    REASON_NOT_RUNNING,
    REASON_PAUSED,
    REASON_HEALTH_STARTING,
    REASON_UNHEALTHY,
    REASON_STOPPING,
    REASON_DRAINING, /* registrator stop: until it dies */
    REASON_DRAINED, /* by the operator, this container */
    REASON_HOST_DRAINED, /* by the operator, all of them */
    REASON_NO_PORT, /* publishes (internal: exposes) nothing */
    REASON_IGNORED, /* SERVICE_IGNORE */
    /* --explicit and no SERVICE_NAME, or the service template gives none; also of one port */
    REASON_NOT_NAMED,
    /* of one port */
    REASON_NO_ADDRESS, /* the host's address is not known, or not of the binding's family */
    /* SERVICE_<port>_IGNORE, or TCP where SERVICE_PROTOCOL asks for others only */
    REASON_PORT_IGNORED,
    REASON_LOOPBACK,
    REASON_UDP, /* UDP or SCTP that nobody asked for */
    REASON_DUPLICATE, /* another container of this host, or another port of this one, has the key */
    REASON_TOO_LONG, /* the key or value is longer than TEMPLATE_TEXT_MAX */
    REASON_DOCKER_AWAY, /* Docker has been away for longer than the grace */
    REASON_MAX_,
} Reason;

typedef struct Record {
    uint16_t container_port;
    Protocol protocol;
    Reason reason; /* why this port has no key; REASON_NONE: it has */
    char *key; /* NULL unless REASON_NONE (or REASON_DUPLICATE: the key that is taken) */
    char *value;
} Record;

typedef struct Records {
    Reason reason; /* of the container as a whole; then no record has a key, items may be NULL */
    Record *items; /* sorted by container port, protocol, and how good the binding is */
    size_t n_items;
} Records;

/* What the container's own facts say: its metadata, ports and state (not running, paused,
 * unhealthy). Draining, stopping and duplicates are the catalog's to add. 0 or -ENOMEM. *ret is to
 * be freed with records_clear(). */
int records_from_container(Records *ret, const Container *container, const Rules *rules);
void records_clear(Records *records);

/* A short phrase for status ("bound to loopback only"), and one sentence that says what to do. */
const char *reason_to_string(Reason reason);
const char *reason_remedy(Reason reason);
/* A stable token for JSON and metrics: "loopback". */
const char *reason_token(Reason reason);
