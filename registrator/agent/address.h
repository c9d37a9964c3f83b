/* The address that this host advertises. */
#pragma once

#include "agent/interfaces.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <sys/socket.h>

typedef struct HostAddress {
    char address4[INET_ADDRSTRLEN]; /* "": no address of this family */
    char address6[INET6_ADDRSTRLEN];
    /* How the address was found, for the log: "source address of the route to 192.0.2.2", "interface eth0". */
    char origin[96];
} HostAddress;

/* Finds the addresses to advertise, at most one of each family. advertise: an address (used unchanged), the name of
 * an interface (its best addresses), or NULL: the source address of the route to `remote`, else of the default
 * route. remote: the address that etcd answered from, or NULL. Unless the setting names it, the result is never a
 * loopback address, a link-local address, or an address of a container engine's bridge. Sends no packet and does not
 * block. 0; -ENODEV: no such interface, or an interface without an address; -EADDRNOTAVAIL: no route has a source
 * address; another errno: no memory or no descriptors. */
int host_address_find(HostAddress *ret, const Interfaces *interfaces, const char *advertise,
                      const struct sockaddr *remote);

/* Does the text contain exactly this address? As part of a longer address it does not count: 10.0.0.12:80 does not
 * contain 10.0.0.1. An IPv6 address must have inet_ntop()'s form. Beside another colon it does not count, because
 * its end is unclear: an address with a port must be in brackets. */
bool address_in_text(const char *text, const char *address);

/* Does the text contain an address of this host's interfaces? Loopback addresses do not count. */
bool local_address_in_text(const Interfaces *interfaces, const char *text);
