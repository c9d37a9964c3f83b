/* This host's network interfaces: which has which address, and which a container engine has made. */
#pragma once

#include "base/cleanup.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>

typedef struct LocalAddress {
    char text[INET6_ADDRSTRLEN]; /* as inet_ntop() spells it */
    char interface[IF_NAMESIZE];
    sa_family_t family;
    unsigned char rank; /* as an address to advertise, higher is better; 0: never */
    bool internal; /* its interface is a bridge that Docker or Podman has made: no other host reaches it */
} LocalAddress;

typedef struct Interfaces {
    LocalAddress *addresses; /* in the kernel's order */
    size_t n_addresses;
} Interfaces;

/* Reads them from the kernel. 0, or a negative errno: no memory or descriptors. */
int interfaces_read(Interfaces *ret);
void interfaces_clear(Interfaces *interfaces);

/* NULL: not an Internet address, as when an interface has only a hardware address. */
const void *address_bytes(const struct sockaddr *address);

/* The address with this text, or NULL. */
const LocalAddress *interfaces_find(const Interfaces *interfaces, const char *text);

/* The address that the kernel would send from to `remote` of that family; NULL: by the default route. Sends no packet:
 * connecting a datagram socket only looks up the route. 0 or a negative errno. */
int route_source(char ret[INET6_ADDRSTRLEN], int family, const struct sockaddr *remote);
