/* IP addresses as text: the kind of an address, by its value alone. Pure. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum IpKind {
    IP_NONE, /* not an address */
    IP_UNSPECIFIED, /* 0.0.0.0/8, ::, in any spelling */
    IP_LOOPBACK, /* 127.0.0.0/8, ::1 */
    IP_LINK_LOCAL, /* 169.254.0.0/16, fe80::/10 */
    IP_MULTICAST, /* with the broadcast address */
    IP_MAPPED, /* an IPv4 address in IPv6 form, ::ffff:192.0.2.1 */
    IP_UNICAST, /* an address of one host, to which other hosts can have a route */
} IpKind;

IpKind ip_kind(const char *text);
/* Writes the address in inet_ntop()'s form, so that equal addresses are equal texts. False: not an address. */
bool ip_canonical(char ret[INET6_ADDRSTRLEN], const char *text);

/* Does the text contain an address, as "http://192.0.2.1:80" does? */
bool ip_is_in(const char *text);

/* The one rule for "other hosts reach this address": the address is IP_UNICAST, and is not among the n unreachable
 * texts, this host's addresses on the bridges of container engines. unreachable: in ip_canonical()'s form, sorted by
 * strcmp(). */
bool ip_is_reachable(const char *text, char *const *unreachable, size_t n);
