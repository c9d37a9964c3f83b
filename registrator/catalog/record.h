/* Container → records: which keys a container should have, or why it should have none. Pure. */
#pragma once

#include "catalog/reason.h"
#include "catalog/template.h"
#include "docker/container.h"

typedef enum PortsMode { PORTS_PUBLISHED, PORTS_INTERNAL } PortsMode;

/* Metadata that steer it, as label or SERVICE_* variable (labels win); an empty value is none:
 *   SERVICE_NAME, SERVICE_<port>_NAME
 *       the service, of all ports or of one container port
 *   SERVICE_IGNORE, SERVICE_<port>_IGNORE
 *       leaves it out, unless the value is false, no or 0 (upper or lower case)
 *   com.docker.compose.oneoff
 *       with the value True, of `docker compose run`: a port is registered only if it names a service
 *   SERVICE_PROTOCOL, SERVICE_<port>_PROTOCOL
 *       which protocols are registered: tcp, udp, sctp, with commas between them, or any. Default,
 *       and with any other word in it: tcp
 *   SERVICE_READY, SERVICE_<port>_READY
 *       tcp, none or http:/path: what makes a port ready, see ready_rules.h. Default: the setting
 *   SERVICE_METRICS_PORT, SERVICE_METRICS_PATH
 *       where Prometheus finds the container's numbers: see operator/sd.h
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
 * Podman pods: the infra container publishes the ports of the pod, and Podman shows them at each container of the pod. A
 * container of the pod has those that it or its image exposes, or that it names with SERVICE_<port>_NAME.
 *
 * The service template has the fields {name} (without the suffix), {node}, {container_port},
 * {protocol}, {id} (12 digits), {image} and {label:…}; the others are empty in it. Where it renders
 * to nothing, the port is not named. */

enum {
    LAYOUTS_MAX = 16,
    LAYOUT_NAME_MAX = 32, /* bytes */
};

/* One set of keys. Every registered port has a key in each layout. */
typedef struct Layout {
    char name[LAYOUT_NAME_MAX + 1]; /* LAYOUT_DEFAULT, or of its section [layout NAME] */
    Template *key;
    Template *value;
    Template *service; /* of a container that names none */
} Layout;

#define LAYOUT_DEFAULT "default" /* the settings registry.key, value and service */

/* A label, and the value that it must have; NULL: any. */
typedef struct LabelMatch {
    char *label;
    const char *value; /* behind the label, in the same memory */
} LabelMatch;

/* How containers become keys: compiled from the settings. Pointers are not owned. */
typedef struct Rules {
    const Layout *layouts; /* the default one first */
    size_t n_layouts;
    const char *node;
    const char *address4; /* advertised; NULL while unknown or of the other family */
    const char *address6;
    /* Addresses of this host that no other host reaches, for ip_is_reachable(). */
    char *const *unreachable;
    size_t n_unreachable;
    PortsMode ports;
    unsigned stop_limit_s; /* --stop-limit */
    unsigned ready_timeout_s; /* --ready-timeout */
    bool docker_is_remote; /* its containers' own addresses mean nothing here */
    bool probes; /* --ready tcp: a port is registered when it accepts a connection */
    bool explicit_only; /* only containers that name a service */
    const LabelMatch *only; /* containers that one of these matches; NULL: all. Ends with a label that is NULL */
    LabelFilter labels; /* what the agent obeys, and what the templates and only name */
} Rules;

/* Bytes of all keys and values together. What goes beyond is not registered: REASON_CONTAINER_LIMIT and, by the catalog,
 * REASON_HOST_LIMIT. */
enum { RECORDS_CONTAINER_MAX = 256 * 1024, RECORDS_HOST_MAX = 8 * 1024 * 1024 };

typedef struct Record {
    char layout[LAYOUT_NAME_MAX + 1]; /* of a port without a key in any layout: the default one's */
    bool names_container; /* the layout's keys have the container's name in them */
    uint16_t container_port;
    Protocol protocol;
    Reason reason; /* why this port has no key; REASON_NONE: it has */
    char *key; /* NULL: no key would be the port's. With another reason than REASON_NONE: the key that it has not */
    char *value;
} Record;

typedef struct Records {
    Reason reason; /* of the container as a whole; then no record has a key, items may be NULL */
    Record *items; /* sorted by container port, protocol, how good the binding is, and layout */
    size_t n_items;
    Record **by_key; /* into items: those that have a key, sorted by key */
    size_t n_by_key;
    size_t bytes; /* of the keys and values with REASON_NONE */
} Records;

/* What the container's own facts say: its metadata, ports and state (not running, paused,
 * unhealthy). Draining, stopping and duplicates are the catalog's to add. 0 or -ENOMEM. *ret is to
 * be freed with records_clear(). */
int records_from_container(Records *ret, const Container *container, const Rules *rules);
void records_clear(Records *records);
/* NULL: no record has this reason and this key. */
const Record *records_find(const Records *records, Reason reason, const char *key);
/* The labels and variables that the agent obeys, whatever the templates name. */
size_t record_labels(const char *const **ret_names);
