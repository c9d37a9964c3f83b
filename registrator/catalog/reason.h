/* Why a port or a container has no key: one table for status, explain, status --etcd and docs/troubleshooting.md.
 * Pure. */
#pragma once

#include <stdbool.h>

/* Who knows that a reason applies. */
typedef enum ReasonSource {
    REASON_OF_DOCKER, /* Docker's answer and the settings show this reason */
    REASON_OF_AGENT, /* only the agent knows: events, the operator, keys of other containers */
    REASON_OF_ETCD, /* the agent wants the key, but etcd does not hold the key as the agent's */
} ReasonSource;

/* ROW(name, token, source, phrase, remedy): REASON_name is the enum's value, token stands in JSON, phrase says in
 * status what is the matter, and remedy tells the operator what to do. A reason is one row: the enum and the texts
 * are made from these rows, so neither can be forgotten. */
#define REASON_TABLE(ROW)                                                                                             \
    ROW(NONE, "registered", REASON_OF_DOCKER, "registered", "Nothing needs to be done.")                              \
    /* Of the whole container. */                                                                                     \
    ROW(NOT_RUNNING, "not-running", REASON_OF_DOCKER, "not running", "Start the container.")                          \
    ROW(PAUSED, "paused", REASON_OF_DOCKER, "paused", "Unpause the container.")                                       \
    ROW(HEALTH_STARTING, "health-starting", REASON_OF_DOCKER, "waiting for its first health check",                   \
        "Wait until the container's health check has passed.")                                                        \
    ROW(UNHEALTHY, "unhealthy", REASON_OF_DOCKER, "unhealthy",                                                        \
        "Read the answers of the container's health check with docker inspect.")                                      \
    ROW(STOPPING, "stopping", REASON_OF_AGENT, "stopping",                                                            \
        "Wait until the container ends. To register the container anyway, run registrator undrain CONTAINER.")        \
    ROW(DRAINING, "draining", REASON_OF_AGENT, "draining, about to be stopped",                                       \
        "Wait until registrator stop has ended. To register the container again, run registrator undrain CONTAINER.") \
    ROW(DRAINED, "drained", REASON_OF_AGENT, "drained by the operator",                                               \
        "Register the container again with registrator undrain CONTAINER.")                                           \
    ROW(HOST_DRAINED, "host-drained", REASON_OF_AGENT, "this host is drained by the operator",                        \
        "Register the host's containers again with registrator undrain.")                                             \
    ROW(CRASH_LOOP, "crash-loop", REASON_OF_AGENT, "restarts again and again",                                        \
        "Read the container's log. To end the delay, stop the container and start it again.")                         \
    ROW(NO_PORT, "no-port", REASON_OF_DOCKER, "no published port",                                                    \
        "Publish a port with docker run -P or -p, or register exposed ports with --ports internal.")                  \
    ROW(NO_EXPOSED_PORT, "no-exposed-port", REASON_OF_DOCKER, "no exposed port",                                      \
        "Start the container with docker run --expose PORT.")                                                         \
    ROW(NO_NETWORK, "no-network", REASON_OF_DOCKER, "the container has no network",                                   \
        "Start the container without --network none.")                                                                \
    ROW(SHARED_NETWORK, "shared-network", REASON_OF_DOCKER, "shares the network of another container",                \
        "Publish the port on the container whose network this one shares.")                                           \
    ROW(POD_PORT, "pod-port", REASON_OF_DOCKER, "names no port of its Podman pod",                                    \
        "Start the container with a label SERVICE_<port>_NAME for each port that it serves.")                         \
    ROW(POD_INFRA, "pod-infra", REASON_OF_DOCKER, "holds the network of a Podman pod",                                \
        "Nothing needs to be done: the agent registers the pod's other containers.")                                  \
    ROW(INGRESS_NETWORK, "ingress-network", REASON_OF_DOCKER, "published by swarm's ingress network only",            \
        "Publish the service's port with mode=host: docker service create --publish mode=host,target=PORT.")          \
    ROW(NOT_PUBLISHED, "not-published", REASON_OF_DOCKER, "Docker publishes no port on the container's network",      \
        "Connect the container also to a bridge network without --internal.")                                         \
    ROW(IGNORED, "ignored", REASON_OF_DOCKER, "ignored by SERVICE_IGNORE",                                            \
        "Start the container without SERVICE_IGNORE.")                                                                \
    ROW(METADATA_SIZE, "metadata-size", REASON_OF_DOCKER, "labels or variables are too large",                        \
        "Shorten the container's SERVICE_ labels and variables.")                                                     \
    /* Also of one port: --explicit and no SERVICE_NAME, or the service template renders to nothing. */               \
    ROW(NOT_NAMED, "not-named", REASON_OF_DOCKER, "names no service",                                                 \
        "Start the container with a label SERVICE_NAME.")                                                             \
    ROW(NOT_SELECTED, "not-selected", REASON_OF_DOCKER, "has no label that --only names",                             \
        "Start the container with a label that --only names, or add one of its labels to --only.")                    \
    ROW(ONE_OFF, "one-off", REASON_OF_DOCKER, "one-off container of docker compose run",                              \
        "To register the container, start it with a label SERVICE_NAME.")                                             \
    /* Of one port. */                                                                                                \
    ROW(NO_ADDRESS, "no-address", REASON_OF_DOCKER, "no address to advertise",                                        \
        "Set --advertise to an address of the binding's family, or to an interface that has one.")                    \
    ROW(PORT_IGNORED, "port-ignored", REASON_OF_DOCKER, "port left out by its labels",                                \
        "Start the container without SERVICE_<port>_IGNORE, or with its protocol in SERVICE_PROTOCOL.")               \
    ROW(LOOPBACK, "loopback", REASON_OF_DOCKER, "bound to loopback only",                                             \
        "Publish the port on an address that other hosts reach: docker run -p.")                                      \
    ROW(UNREACHABLE, "unreachable", REASON_OF_DOCKER, "bound to an address that no other host reaches",               \
        "Publish the port without an address, or on an address that other hosts reach.")                              \
    ROW(UDP, "udp", REASON_OF_DOCKER, "no label asks for UDP or SCTP",                                                \
        "Start the container with a label SERVICE_<port>_PROTOCOL that names the protocol.")                          \
    ROW(DUPLICATE, "duplicate", REASON_OF_AGENT, "key is taken by another container or port of this host",            \
        "Rename the container, or add a field to the key template that differs.")                                     \
    ROW(TOO_LONG, "too-long", REASON_OF_DOCKER, "key or value is too long",                                           \
        "Shorten the labels that the templates use to less than 4096 bytes in all.")                                  \
    ROW(CONTAINER_LIMIT, "container-limit", REASON_OF_DOCKER, "the container's keys and values are too large",        \
        "Shorten the container's labels, or publish fewer ports.")                                                    \
    ROW(HOST_LIMIT, "host-limit", REASON_OF_AGENT, "the keys and values of this host are too large",                  \
        "Shorten the labels of this host's containers, or run fewer of them here.")                                   \
    ROW(NOT_LISTENING, "not-listening", REASON_OF_AGENT, "nothing listens yet",                                       \
        "Wait until the server listens. Without a probe: start the container with a label SERVICE_READY=none.")       \
    ROW(DOCKER_AWAY, "docker-away", REASON_OF_AGENT, "Docker has been away for too long", "Start Docker.")            \
    /* Of a key that the agent wants. */                                                                              \
    ROW(CONFLICT, "conflict", REASON_OF_ETCD, "the key belongs to another owner",                                     \
        "Stop or rename the container that has the key, or delete the key if it was written by hand.")                \
    ROW(REJECTED, "rejected", REASON_OF_ETCD, "etcd rejects the key or value",                                        \
        "Change --key or --value, or let etcd accept them.")                                                          \
    ROW(LISTING, "docker-list", REASON_OF_ETCD, "waiting for Docker's list of containers",                            \
        "Wait until the agent reaches Docker.")                                                                       \
    ROW(WRITING, "writing", REASON_OF_ETCD, "being written to etcd", "Nothing needs to be done.")                     \
    ROW(PENDING, "etcd-away", REASON_OF_ETCD, "not written to etcd yet", "Wait until the agent reaches etcd.")

typedef enum Reason {
#define REASON_ENUM(name, token, source, phrase, remedy) REASON_##name,
    REASON_TABLE(REASON_ENUM)
#undef REASON_ENUM
        REASON_MAX_,
} Reason;

/* A short phrase for status: "bound to loopback only". */
const char *reason_to_string(Reason reason);
/* What the operator can do, as a sentence. */
const char *reason_remedy(Reason reason);
/* The stable word in JSON: "loopback". */
const char *reason_token(Reason reason);
ReasonSource reason_source(Reason reason);
/* REASON_MAX_: no reason has this token, or it is NULL. */
Reason reason_from_token(const char *token);
