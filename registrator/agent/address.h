/* The address that this host advertises. */
#pragma once

#include "agent/interfaces.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <sys/socket.h>

typedef struct HostAddress {
    char address4[INET_ADDRSTRLEN]; /* "": none */
    char address6[INET6_ADDRSTRLEN];
    /* For the log: "source address of the route to 192.0.2.2", "interface eth0". */
    char origin[96];
} HostAddress;

/* advertise: an address (taken as it is), an interface's name (its best addresses, one of each family), or NULL: for
 * each family the source address of the route to `remote` (where etcd answered from; may be NULL), else of the default
 * route. Unless the setting says so, never loopback, link-local, or an address of a container engine's bridge. Sends
 * no packet and does not block. 0; -ENODEV: the interface does not exist or has no address; -EADDRNOTAVAIL: no route
 * says which; another errno: no memory or descriptors. */
int host_address_find(HostAddress *ret, const Interfaces *interfaces, const char *advertise,
                      const struct sockaddr *remote);

/* Does the text carry this very address (not as a part of a longer one: 10.0.0.1 is not in
 * 10.0.0.12:80)? IPv6 is looked for as inet_ntop() spells it, and not found right beside another
 * colon, where nobody could tell where it ends: with a port it must be in brackets. */
bool address_in_text(const char *text, const char *address);

/* Does the text carry any address of this host's interfaces, loopback addresses excepted? */
bool local_address_in_text(const Interfaces *interfaces, const char *text);
