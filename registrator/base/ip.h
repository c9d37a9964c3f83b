/* IP addresses as texts: what kind of address a text is, by its value alone. Pure. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum IpKind {
    IP_NONE, /* no address */
    IP_UNSPECIFIED, /* 0.0.0.0/8, ::, in any spelling */
    IP_LOOPBACK, /* 127.0.0.0/8, ::1 */
    IP_LINK_LOCAL, /* 169.254.0.0/16, fe80::/10 */
    IP_MULTICAST, /* and the broadcast address */
    IP_MAPPED, /* an IPv4 address in the form of IPv6, ::ffff:192.0.2.1 */
    IP_UNICAST, /* one host's, and other hosts can have a route to it */
} IpKind;

IpKind ip_kind(const char *text);
/* Writes the one spelling that inet_ntop() gives, so that equal addresses are equal texts. False: no address. */
bool ip_canonical(char ret[INET6_ADDRSTRLEN], const char *text);

/* Does the text have an address in it, as "http://192.0.2.1:80" has? */
bool ip_is_in(const char *text);

/* The one rule for "an address that other hosts reach": IP_UNICAST, and not one of the n texts, which
 * ip_canonical() has spelled and strcmp() has sorted: this host's addresses on bridges of container engines. */
bool ip_is_reachable(const char *text, char *const *unreachable, size_t n);
