#include "base/ip.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static IpKind kind4(const struct in_addr *address)
{
    uint32_t bits = ntohl(address->s_addr);

    if (bits >> 24 == 0)
        return IP_UNSPECIFIED;
    if (bits >> 24 == IN_LOOPBACKNET)
        return IP_LOOPBACK;
    if (bits >> 16 == 0xa9fe)
        return IP_LINK_LOCAL;
    return IN_MULTICAST(bits) || bits == INADDR_BROADCAST ? IP_MULTICAST : IP_UNICAST;
}

static IpKind kind6(const struct in6_addr *address)
{
    if (IN6_IS_ADDR_UNSPECIFIED(address))
        return IP_UNSPECIFIED;
    if (IN6_IS_ADDR_LOOPBACK(address))
        return IP_LOOPBACK;
    if (IN6_IS_ADDR_LINKLOCAL(address))
        return IP_LINK_LOCAL;
    if (IN6_IS_ADDR_MULTICAST(address))
        return IP_MULTICAST;
    return IN6_IS_ADDR_V4MAPPED(address) || IN6_IS_ADDR_V4COMPAT(address) ? IP_MAPPED : IP_UNICAST;
}

IpKind ip_kind(const char *text)
{
    struct in_addr address4;
    struct in6_addr address6;

    if (inet_pton(AF_INET, text, &address4) == 1)
        return kind4(&address4);
    return inet_pton(AF_INET6, text, &address6) == 1 ? kind6(&address6) : IP_NONE;
}

bool ip_canonical(char ret[INET6_ADDRSTRLEN], const char *text)
{
    struct in_addr address4;
    struct in6_addr address6;

    if (inet_pton(AF_INET, text, &address4) == 1)
        return inet_ntop(AF_INET, &address4, ret, INET6_ADDRSTRLEN);
    return inet_pton(AF_INET6, text, &address6) == 1 && inet_ntop(AF_INET6, &address6, ret, INET6_ADDRSTRLEN);
}

static bool has_run(const char *text, const char *bytes, int family)
{
    for (size_t length; *text; text += length + (text[length] != '\0')) {
        char run[INET6_ADDRSTRLEN];
        unsigned char address[sizeof(struct in6_addr)];

        length = strspn(text, bytes);
        if (length == 0 || length >= sizeof(run))
            continue;
        memcpy(run, text, length);
        run[length] = '\0';
        if (inet_pton(family, run, address) == 1)
            return true;
    }
    return false;
}

bool ip_is_in(const char *text)
{
    return has_run(text, "0123456789.", AF_INET) || has_run(text, "0123456789abcdefABCDEF:.", AF_INET6);
}

static int compare_with_entry(const void *text, const void *entry)
{
    return strcmp(text, *(char *const *)entry);
}

bool ip_is_reachable(const char *text, char *const *unreachable, size_t n)
{
    char canonical[INET6_ADDRSTRLEN];

    if (ip_kind(text) != IP_UNICAST || !ip_canonical(canonical, text))
        return false;
    return n == 0 || !bsearch(canonical, unreachable, n, sizeof(*unreachable), compare_with_entry);
}
