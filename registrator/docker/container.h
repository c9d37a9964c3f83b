/* Docker's facts about one container, reduced to those that registration needs. Pure: text in, struct out. */
#pragma once

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum Protocol { PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP } Protocol;

typedef enum ContainerState {
    CONTAINER_STOPPED, /* created, exited, dead, restarting or removing */
    CONTAINER_RUNNING,
    CONTAINER_PAUSED,
} ContainerState;

typedef enum ContainerHealth {
    HEALTH_NONE, /* no HEALTHCHECK */
    HEALTH_STARTING,
    HEALTH_HEALTHY,
    HEALTH_UNHEALTHY,
} ContainerHealth;

/* One exposed or published port. "0.0.0.0" and "::" are folded into one entry with both flags. */
typedef struct Port {
    uint16_t container_port;
    uint16_t host_port; /* 0: exposed, but not published */
    Protocol protocol;
    bool any4, any6; /* bound to every IPv4 / IPv6 address */
    bool exposed; /* the container's own configuration exposes the port. From inspect */
    char address[INET6_ADDRSTRLEN]; /* bound to this address only; "" with any4, any6 or host_port 0 */
} Port;

typedef struct Network {
    char *name;
    char address4[INET_ADDRSTRLEN]; /* "": no address */
    char address6[INET6_ADDRSTRLEN];
} Network;

typedef struct Label {
    char *key;
    char *value;
} Label;

typedef struct Container {
    char *id; /* 64 hex digits, checked */
    char *name; /* without Docker's leading slash */
    /* With registry and tag, as at the container's creation. If the tag has moved to another image since, a list
     * entry has the image's ID instead. */
    char *image;
    /* for a container of a pod, whose exposed ports only the image shows, see image_ports.h; else NULL */
    char *image_id;
    char *network_mode; /* "default", "bridge", "host", "none", "container:ID", a network's name */
    ContainerState state;
    ContainerHealth health;
    /* From inspect. A list entry lacks the environment, the stop rules, and the exposed ports of a container in the
     * host's network. Then stop_signal is SIGTERM, stop_timeout_s is 10, metadata has labels only, and a container
     * in the host's network has no ports. */
    bool complete;
    bool ports_pending; /* the container runs, and some of its published ports are not bound yet */
    int64_t created_ns; /* since 1970; 0: not known */
    int64_t started_ns; /* State.StartedAt of the present start; 0: not known, or not running */
    int stop_signal; /* number */
    int64_t stop_timeout_s; /* negative: Docker waits for ever */
    Port *ports; /* sorted by container port, protocol, host port, address */
    size_t n_ports;
    Network *networks; /* sorted by name */
    size_t n_networks;
    /* The labels and variables that the filter names, sorted by key; a label comes before the variable of the same
     * name. A value longer than CONTAINER_METADATA_VALUE_MAX is cut one byte after the limit, so that every template
     * refuses it. */
    Label *metadata;
    size_t n_metadata;
    bool metadata_too_large; /* more than CONTAINER_METADATA_MAX: metadata is empty */
    bool pod_infra; /* Podman's infra container, which only holds a pod's network. From inspect */
    size_t n_ports_left_out, n_networks_left_out; /* the numbers beyond the limits below */
} Container;

/* Limits for one container. Docker's facts beyond them are dropped and counted. Unpublished ports are dropped first. */
enum {
    CONTAINER_PORTS_MAX = 1024,
    CONTAINER_NETWORKS_MAX = 64,
    CONTAINER_METADATA_VALUE_MAX = 4096, /* bytes */
    CONTAINER_METADATA_MAX = 256 * 1024, /* bytes of all keys and values that the filter names */
};

/* Which labels and variables the agent uses. The name SERVICE_<KEY> also means SERVICE_<port>_<KEY> for each port of
 * the container. Of the environment, only SERVICE_* counts. */
typedef struct LabelFilter {
    const char *const *names; /* not owned */
    size_t n_names;
} LabelFilter;

/* body: of GET /containers/ID/json. -EBADMSG: not JSON, or not a container; -ENOMEM. */
int container_from_inspect(Container **ret, const char *body, size_t size, const LabelFilter *filter);

/* object: an object of the array of GET /containers/json. Errors as above. */
int container_from_list(Container **ret, const char *object, size_t size, const LabelFilter *filter);

/* Frees. container may be NULL. Returns NULL. */
Container *container_free(Container *container);
DEFINE_CLEANUP(Container, container_free)

/* Returns true if the list entry shows the same facts as the earlier answer: state, health (only while the container
 * runs, as otherwise a list entry lacks it), name, published ports and networks. Labels and exposed ports never
 * change while a container exists. */
bool container_same_as_listed(const Container *known, const Container *listed);

enum { CONTAINER_LEFT_OUT_SIZE = 128 };
/* Writes a text about the ports and networks that CONTAINER_PORTS_MAX and CONTAINER_NETWORKS_MAX drop. False: none
 * were dropped. */
bool container_left_out(const Container *container, char *ret, size_t size);

/* The value of a label or SERVICE_* variable, or NULL. */
const char *container_metadata(const Container *container, const char *key);

const char *protocol_to_string(Protocol protocol); /* "tcp", "udp", "sctp" */
