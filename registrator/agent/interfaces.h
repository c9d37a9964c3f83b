/* This host's network interfaces: the addresses of each interface, and which interfaces a container engine has
 * created. */
#pragma once

#include "base/cleanup.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>

typedef struct LocalAddress {
    char text[INET6_ADDRSTRLEN]; /* in inet_ntop()'s form */
    char interface[IF_NAMESIZE];
    sa_family_t family;
    unsigned char rank; /* how good the address is to advertise; higher is better, 0: never */
    bool internal; /* its interface is a bridge of Docker or Podman, so other hosts cannot reach the address */
} LocalAddress;

typedef struct Interfaces {
    LocalAddress *addresses; /* in the kernel's order */
    size_t n_addresses;
} Interfaces;

/* Reads the interfaces from the kernel. 0, or a negative errno: no memory or no descriptors. */
int interfaces_read(Interfaces *ret);
void interfaces_clear(Interfaces *interfaces);

/* NULL: not an IP address, as for an interface that only has a hardware address. */
const void *address_bytes(const struct sockaddr *address);

/* The address with this text, or NULL. */
const LocalAddress *interfaces_find(const Interfaces *interfaces, const char *text);

/* The source address that the kernel would use to reach `remote`, which has the given family; NULL: by the default
 * route. Sends no packet: connecting a datagram socket only looks up the route. 0 or a negative errno. */
int route_source(char ret[INET6_ADDRSTRLEN], int family, const struct sockaddr *remote);
