/* Container → records: which keys a container should have, or the reason why it should have none. Pure. */
#pragma once

#include "catalog/reason.h"
#include "catalog/template.h"
#include "docker/container.h"

typedef enum PortsMode { PORTS_PUBLISHED, PORTS_INTERNAL } PortsMode;

/* Labels and SERVICE_* variables that decide how a container is registered. A label beats the variable of the same
 * name. An empty value counts as no value.
 *   SERVICE_NAME, SERVICE_<port>_NAME
 *       the service of all ports, or of one container port
 *   SERVICE_IGNORE, SERVICE_<port>_IGNORE
 *       the container or port is not registered, unless the value is false, no or 0 (upper or lower case)
 *   com.docker.compose.oneoff
 *       `docker compose run` sets it to True: a port is then registered only if the container names a service for it
 *   SERVICE_PROTOCOL, SERVICE_<port>_PROTOCOL
 *       which protocols are registered: any, or a list of tcp, udp, sctp with commas. Any other word, and the
 *       default, mean tcp
 *   SERVICE_READY, SERVICE_<port>_READY
 *       tcp, none or http:/path: when a port is ready, see ready_rules.h. The default is the setting
 *   SERVICE_METRICS_PORT, SERVICE_METRICS_PATH
 *       where Prometheus scrapes the container, see operator/sd.h
 * A name with the port beats the name without. SERVICE_IGNORE is the exception: it counts for the whole container.
 * In the templates, {label:SERVICE_<KEY>} also prefers the value of SERVICE_<port>_<KEY>.
 *
 * Names: the container's name. With several registered ports (number and protocol), "<name>-<container port>". If
 * TCP and UDP of one number are registered, the UDP port has the suffix "-udp". If SCTP and another protocol of one
 * number are registered, the SCTP port has the suffix "-sctp".
 *
 * Bindings: one container port may have several bindings. If the key has {port} or {address}, each binding has a
 * key. Otherwise only the best binding has a key. A binding to any address is better than a binding to one address,
 * IPv4 is better than IPv6, and a lower host port is better than a higher one.
 *
 * Podman pods: the infra container publishes the ports of the pod, and Podman shows them at each container of the
 * pod. A container of the pod has the ports that the container or its image exposes, and the ports that
 * SERVICE_<port>_NAME names.
 *
 * The service template has the fields {name} (without the suffix), {node}, {container_port}, {protocol}, {id} (12
 * digits), {image} and {label:…}. The other fields are empty. If the template renders to nothing, the port has no
 * service name. */

enum {
    LAYOUTS_MAX = 16,
    LAYOUT_NAME_MAX = 32, /* bytes */
};

/* One set of keys. Every registered port has a key in each layout. */
typedef struct Layout {
    char name[LAYOUT_NAME_MAX + 1]; /* LAYOUT_DEFAULT, or NAME of the section [layout NAME] */
    Template *key;
    Template *value;
    Template *service; /* the service name of a container without SERVICE_NAME */
} Layout;

#define LAYOUT_DEFAULT "default" /* the settings registry.key, value and service */

/* A label and its required value; NULL: any value. */
typedef struct LabelMatch {
    char *label;
    const char *value; /* follows the label in the same memory */
} LabelMatch;

/* How containers become keys, compiled from the settings. Pointers are not owned. */
typedef struct Rules {
    const Layout *layouts; /* the default layout first */
    size_t n_layouts;
    const char *node;
    const char *address4; /* the advertised addresses; NULL: not known, or this family has none */
    const char *address6;
    /* Addresses of this host that no other host reaches, for ip_is_reachable(). */
    char *const *unreachable;
    size_t n_unreachable;
    PortsMode ports;
    unsigned stop_limit_s; /* --stop-limit */
    unsigned ready_timeout_s; /* --ready-timeout */
    bool docker_is_remote; /* other machines cannot use the containers' own addresses */
    bool probes; /* --ready tcp: a port is registered when it accepts a connection */
    bool explicit_only; /* only containers with SERVICE_NAME */
    /* only containers that match one of these; NULL: all containers. A NULL label ends the array */
    const LabelMatch *only;
    LabelFilter labels; /* the labels that the agent obeys, and the labels that the templates and only name */
} Rules;

/* Bytes of all keys and values together. Beyond them, a record gets REASON_CONTAINER_LIMIT or, by the catalog,
 * REASON_HOST_LIMIT. */
enum { RECORDS_CONTAINER_MAX = 256 * 1024, RECORDS_HOST_MAX = 8 * 1024 * 1024 };

typedef struct Record {
    char layout[LAYOUT_NAME_MAX + 1]; /* of a port without a key in any layout: the default layout */
    bool names_container; /* the layout's keys contain the container's name */
    uint16_t container_port;
    Protocol protocol;
    Reason reason; /* why this port has no key; REASON_NONE: it has a key */
    /* NULL: the port would have no key. With a reason other than REASON_NONE: the key that the port does not get */
    char *key;
    char *value;
} Record;

typedef struct Records {
    Reason reason; /* the reason for the whole container; no record then has a key, and items may be NULL */
    Record *items; /* sorted by container port, protocol, quality of the binding, and layout */
    size_t n_items;
    Record **by_key; /* pointers into items: the records with a key, sorted by key */
    size_t n_by_key;
    size_t bytes; /* of the keys and values of records with REASON_NONE */
} Records;

/* Evaluates the container's own facts: metadata, ports and state (not running, paused, unhealthy). The catalog adds
 * draining, stopping and duplicates. 0 or -ENOMEM. The caller frees *ret with records_clear(). */
int records_from_container(Records *ret, const Container *container, const Rules *rules);
void records_clear(Records *records);
/* NULL: no record has this reason and this key. */
const Record *records_find(const Records *records, Reason reason, const char *key);
/* The labels and variables that the agent obeys, independent of the templates. */
size_t record_labels(const char *const **ret_names);
