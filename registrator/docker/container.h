/* What Docker says of one container, reduced to what registration needs. Pure: text in, struct out.
 * */
#pragma once

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum Protocol { PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP } Protocol;

typedef enum ContainerState {
    CONTAINER_STOPPED, /* created, exited, dead, restarting, removing */
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
    bool exposed; /* by this container's own configuration. From inspect */
    char address[INET6_ADDRSTRLEN]; /* bound to just this one; "" with any4, any6 or host_port 0 */
} Port;

typedef struct Network {
    char *name;
    char address4[INET_ADDRSTRLEN]; /* "": none */
    char address6[INET6_ADDRSTRLEN];
} Network;

typedef struct Label {
    char *key;
    char *value;
} Label;

typedef struct Container {
    char *id; /* 64 hex digits, checked */
    char *name; /* without Docker's leading slash */
    /* With registry and tag, as at the container's creation. A list entry has the image's ID instead if the tag has
     * moved to another image. */
    char *image;
    char *image_id; /* of a pod's container: only its image tells what it exposes, see image_ports.h; else NULL */
    char *network_mode; /* "default", "bridge", "host", "none", "container:ID", a network's name */
    ContainerState state;
    ContainerHealth health;
    /* From inspect. A list entry knows neither the environment, nor how the container wants to be
     * stopped, nor what is exposed under --network host: there stop_signal is SIGTERM,
     * stop_timeout_s 10, metadata are labels only, and such a container has no ports. */
    bool complete;
    bool ports_pending; /* it runs, and asks for ports that are not bound yet */
    int64_t created_ns; /* since the epoch; 0: Docker does not say */
    int64_t started_ns; /* State.StartedAt: the present start; 0: Docker does not say, or it does not run */
    int stop_signal; /* number */
    int64_t stop_timeout_s; /* negative: Docker waits for ever */
    Port *ports; /* sorted by container port, protocol, host port, address */
    size_t n_ports;
    Network *networks; /* sorted by name */
    size_t n_networks;
    /* What the filter names, labels first, then the variables of the environment; sorted by key. A value of more than
     * CONTAINER_METADATA_VALUE_MAX bytes is cut one byte behind that, so that no template takes it. */
    Label *metadata;
    size_t n_metadata;
    bool metadata_too_large; /* more than CONTAINER_METADATA_MAX: metadata is empty */
    bool pod_infra; /* Podman's infra container, which holds a pod's network and serves nothing. From inspect */
    size_t n_ports_left_out, n_networks_left_out; /* beyond the bounds below */
} Container;

/* Bounds on what one container may cost the agent. What goes beyond is left out and counted; of the ports, the
 * unpublished ones first. */
enum {
    CONTAINER_PORTS_MAX = 1024,
    CONTAINER_NETWORKS_MAX = 64,
    CONTAINER_METADATA_VALUE_MAX = 4096, /* bytes */
    CONTAINER_METADATA_MAX = 256 * 1024, /* bytes of all keys and values that the filter names */
};

/* Which labels and variables the agent uses. A name SERVICE_<KEY> stands for SERVICE_<port>_<KEY> too, of each port that
 * the container has. Of the environment, only SERVICE_* counts. */
typedef struct LabelFilter {
    const char *const *names; /* not owned */
    size_t n_names;
} LabelFilter;

/* Body of GET /containers/ID/json. -EBADMSG: not JSON, or not a container; -ENOMEM. */
int container_from_inspect(Container **ret, const char *body, size_t size, const LabelFilter *filter);

/* One object of the array of GET /containers/json. Errors as above. */
int container_from_list(Container **ret, const char *object, size_t size, const LabelFilter *filter);

/* Frees; NULL is fine. Returns NULL. */
Container *container_free(Container *container);
DEFINE_CLEANUP(Container, container_free)

/* True when a list entry says of the container nothing that an earlier answer did not: state,
 * health (of a running one: a list entry does not tell it of others), name, published ports,
 * networks. Labels, and what is exposed, never change while a container lives. */
bool container_same_as_listed(const Container *known, const Container *listed);

enum { CONTAINER_LEFT_OUT_SIZE = 128 };
/* Says what CONTAINER_PORTS_MAX and CONTAINER_NETWORKS_MAX leave out. False: nothing. */
bool container_left_out(const Container *container, char *ret, size_t size);

/* The value of a label or SERVICE_* variable, or NULL. */
const char *container_metadata(const Container *container, const char *key);

const char *protocol_to_string(Protocol protocol); /* "tcp", "udp", "sctp" */
