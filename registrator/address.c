#include "address.h"

#include "cleanup.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <linux/in6.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

/* Addresses that are no host's, so that no interface carries them and the kernel answers with
 * what its default route would use: class E is reserved, and IANA has given away nothing below
 * 2001::. */
#define NOWHERE4 "240.0.0.1"
#define NOWHERE6 "2000::1"

/* Any port does: connecting a datagram socket only makes the kernel choose a route. */
enum { DISCARD_PORT = 9 };

typedef struct SourceAddress {
    char text[INET6_ADDRSTRLEN];
    char interface[IF_NAMESIZE];
} SourceAddress;

static void freeifaddrs_p(struct ifaddrs **interfaces)
{
    if (*interfaces)
        freeifaddrs(*interfaces);
}

/* NULL: not an Internet address, as when an interface has only a hardware address. */
static const void *address_bytes(const struct sockaddr *address)
{
    if (address && address->sa_family == AF_INET)
        return &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (address && address->sa_family == AF_INET6)
        return &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    return NULL;
}

static bool address_to_text(const struct sockaddr *address, char ret[INET6_ADDRSTRLEN])
{
    const void *bytes = address_bytes(address);

    return bytes && inet_ntop(address->sa_family, bytes, ret, INET6_ADDRSTRLEN);
}

static bool is_loopback(const struct sockaddr *address)
{
    const unsigned char *bytes = address_bytes(address);

    if (!bytes)
        return false;
    if (address->sa_family == AF_INET)
        return bytes[0] == 127;
    return IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)(const void *)bytes);
}

static bool is_global(const struct sockaddr *address)
{
    const unsigned char *bytes = address_bytes(address);

    if (!bytes || is_loopback(address))
        return false;
    if (address->sa_family == AF_INET)
        return !(bytes[0] == 169 && bytes[1] == 254) && bytes[0] != 0;

    const struct in6_addr *address6 = (const struct in6_addr *)(const void *)bytes;
    return !IN6_IS_ADDR_LINKLOCAL(address6) && !IN6_IS_ADDR_UNSPECIFIED(address6);
}

/* Docker's names: docker0, docker_gwbridge (swarm), "br-" and 12 hex digits of a network's ID. */
static bool is_docker_bridge(const char *interface)
{
    if (strcmp(interface, "docker0") == 0 || strcmp(interface, "docker_gwbridge") == 0)
        return true;
    return strncmp(interface, "br-", 3) == 0 && strlen(interface) == 15 &&
           strspn(interface + 3, "0123456789abcdef") == 12;
}

/* The IFA_F_… flags of an IPv6 address, of which getifaddrs() tells nothing; 0 if not to be
 * found. */
static unsigned long address6_flags(const struct in6_addr *address)
{
    char line[128], wanted[33], found[33], flags[9];
    CLEANUP(fclose_p) FILE *table = fopen("/proc/net/if_inet6", "re");

    for (size_t i = 0; i < sizeof(address->s6_addr); i++)
        snprintf(wanted + 2 * i, 3, "%02x", address->s6_addr[i]);
    /* Address, interface index, prefix length, scope, flags, name. */
    while (table && fgets(line, sizeof(line), table))
        if (sscanf(line, "%32s %*s %*s %*s %8s", found, flags) == 2 && strcmp(found, wanted) == 0)
            return strtoul(flags, NULL, 16);
    return 0;
}

/* Higher is better; 0: not to be advertised. An address that is about to go is better than none. */
static int address_rank(const struct ifaddrs *entry)
{
    if (!entry->ifa_addr || !address_bytes(entry->ifa_addr))
        return 0;
    /* Who names the loopback interface means its addresses. */
    if (!is_global(entry->ifa_addr) && !((entry->ifa_flags & IFF_LOOPBACK) && is_loopback(entry->ifa_addr)))
        return 0;
    if (entry->ifa_addr->sa_family == AF_INET)
        return 4;

    unsigned long flags = address6_flags(address_bytes(entry->ifa_addr));
    if (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED))
        return 0;
    if (flags & IFA_F_DEPRECATED)
        return 1;
    return flags & IFA_F_TEMPORARY ? 2 : 4;
}

static int find_on_interface(HostAddress *ret, const char *name)
{
    CLEANUP(freeifaddrs_p) struct ifaddrs *interfaces = NULL;
    HostAddress found = { 0 };
    int best4 = 0, best6 = 0;

    if (getifaddrs(&interfaces) < 0)
        return -errno;
    for (struct ifaddrs *i = interfaces; i; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        int rank = strcmp(i->ifa_name, name) == 0 ? address_rank(i) : 0;

        if (rank == 0 || !address_to_text(i->ifa_addr, text))
            continue;
        if (i->ifa_addr->sa_family == AF_INET && rank > best4) {
            best4 = rank;
            snprintf(found.address4, sizeof(found.address4), "%.*s", INET_ADDRSTRLEN - 1, text);
        } else if (i->ifa_addr->sa_family == AF_INET6 && rank > best6) {
            best6 = rank;
            snprintf(found.address6, sizeof(found.address6), "%s", text);
        }
    }
    if (best4 == 0 && best6 == 0)
        return -ENODEV;

    snprintf(found.origin, sizeof(found.origin), "interface %s", name);
    *ret = found;
    return 0;
}

/* The name of the interface that has the address; -EADDRNOTAVAIL: none has, or it is a bridge of
 * Docker's. */
static int interface_of_address(const char *text, char ret[IF_NAMESIZE])
{
    CLEANUP(freeifaddrs_p) struct ifaddrs *interfaces = NULL;

    if (getifaddrs(&interfaces) < 0)
        return -errno;
    for (struct ifaddrs *i = interfaces; i; i = i->ifa_next) {
        char other[INET6_ADDRSTRLEN];

        if (!address_to_text(i->ifa_addr, other) || strcmp(text, other) != 0)
            continue;
        if (is_docker_bridge(i->ifa_name))
            break;
        snprintf(ret, IF_NAMESIZE, "%s", i->ifa_name);
        return 0;
    }
    return -EADDRNOTAVAIL;
}

/* The address that the kernel would send from. No packet leaves: connecting a datagram socket only
 * looks up the route. */
static int route_source(SourceAddress *ret, const struct sockaddr *remote, socklen_t size)
{
    struct sockaddr_storage local = { 0 };
    struct sockaddr *address = (struct sockaddr *)&local;
    socklen_t local_size = sizeof(local);
    SourceAddress found;
    CLEANUP_CLOSE int fd = socket(remote->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    /* A temporary address (RFC 8981) changes by the day. */
    if (remote->sa_family == AF_INET6) {
        int preference = IPV6_PREFER_SRC_PUBLIC;
        int r = setsockopt(fd, IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, &preference, sizeof(preference));
        if (r < 0)
            return -errno;
    }
    if (connect(fd, remote, size) < 0 || getsockname(fd, address, &local_size) < 0)
        return -errno;
    if (!is_global(address) || !address_to_text(address, found.text))
        return -EADDRNOTAVAIL;
    int r = interface_of_address(found.text, found.interface);
    if (r < 0)
        return r;
    *ret = found;
    return 0;
}

/* remote: NULL: the default route of the family. */
static int route_source_family(SourceAddress *ret, int family, const struct sockaddr *remote)
{
    struct sockaddr_in remote4 = { .sin_family = AF_INET };
    struct sockaddr_in6 remote6 = { .sin6_family = AF_INET6 };

    if (family == AF_INET) {
        if (remote)
            memcpy(&remote4, remote, sizeof(remote4));
        else if (inet_pton(AF_INET, NOWHERE4, &remote4.sin_addr) != 1)
            return -EADDRNOTAVAIL;
        if (remote4.sin_port == 0)
            remote4.sin_port = htons(DISCARD_PORT);
        return route_source(ret, (struct sockaddr *)&remote4, sizeof(remote4));
    }

    if (remote)
        memcpy(&remote6, remote, sizeof(remote6));
    else if (inet_pton(AF_INET6, NOWHERE6, &remote6.sin6_addr) != 1)
        return -EADDRNOTAVAIL;
    if (remote6.sin6_port == 0)
        remote6.sin6_port = htons(DISCARD_PORT);
    return route_source(ret, (struct sockaddr *)&remote6, sizeof(remote6));
}

/* Says nothing of addresses: whoever took it for an answer would advertise another one, or none. */
static bool is_shortage(int r)
{
    return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS;
}

/* etcd in a container on this host, or on this host itself, says nothing of the way out: then the
 * default route has to. */
static int find_family(SourceAddress *ret, int family, const struct sockaddr *remote, bool *ret_by_remote)
{
    bool by_remote = remote && remote->sa_family == family;

    int r = by_remote ? route_source_family(ret, family, remote) : -EADDRNOTAVAIL;

    *ret_by_remote = r >= 0;
    return r >= 0 || is_shortage(r) ? r : route_source_family(ret, family, NULL);
}

static void describe_route(char *ret, size_t size, const SourceAddress *source, bool by_remote,
                           const struct sockaddr *remote)
{
    char text[INET6_ADDRSTRLEN];

    if (by_remote && address_to_text(remote, text))
        snprintf(ret, size, "source address of the route to %s", text);
    else
        snprintf(ret, size, "source address of the default route, %s", source->interface);
}

static int find_by_route(HostAddress *ret, const struct sockaddr *remote)
{
    SourceAddress source4, source6;
    bool by_remote4, by_remote6;
    int r4 = find_family(&source4, AF_INET, remote, &by_remote4);
    int r6 = find_family(&source6, AF_INET6, remote, &by_remote6);
    bool found4 = r4 >= 0, found6 = r6 >= 0;
    HostAddress found = { 0 };

    if (is_shortage(r4) || is_shortage(r6))
        return is_shortage(r4) ? r4 : r6;
    if (!found4 && !found6)
        return -EADDRNOTAVAIL;
    if (found4)
        snprintf(found.address4, sizeof(found.address4), "%.*s", INET_ADDRSTRLEN - 1, source4.text);
    if (found6)
        snprintf(found.address6, sizeof(found.address6), "%s", source6.text);

    if (found4 && !(found6 && by_remote6))
        describe_route(found.origin, sizeof(found.origin), &source4, by_remote4, remote);
    else
        describe_route(found.origin, sizeof(found.origin), &source6, by_remote6, remote);
    *ret = found;
    return 0;
}

/* False: not an address, so an interface's name. */
static bool find_literal(HostAddress *ret, const char *advertise)
{
    HostAddress found = { .origin = "as set" };
    struct in_addr address4;
    struct in6_addr address6;

    /* Through the binary form and back: one spelling, so that equal addresses are equal texts. */
    if (inet_pton(AF_INET, advertise, &address4) == 1)
        inet_ntop(AF_INET, &address4, found.address4, sizeof(found.address4));
    else if (inet_pton(AF_INET6, advertise, &address6) == 1)
        inet_ntop(AF_INET6, &address6, found.address6, sizeof(found.address6));
    else
        return false;
    *ret = found;
    return true;
}

int host_address_find(HostAddress *ret, const char *advertise, const struct sockaddr *remote)
{
    if (!advertise)
        return find_by_route(ret, remote);
    if (find_literal(ret, advertise))
        return 0;
    return find_on_interface(ret, advertise);
}

/* Would this character, right beside an address, make it another one or no address? */
static bool joins(char c, bool v6)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || (v6 && c == ':');
}

bool address_in_text(const char *text, const char *address)
{
    size_t length = strlen(address);
    bool v6 = strchr(address, ':');

    if (length == 0)
        return false;
    for (const char *p = text; (p = strcasestr(p, address)); p++)
        if ((p == text || !joins(p[-1], v6)) && !joins(p[length], v6))
            return true;
    return false;
}

bool local_address_in_text(const char *text)
{
    CLEANUP(freeifaddrs_p) struct ifaddrs *interfaces = NULL;

    if (getifaddrs(&interfaces) < 0)
        return false;
    for (struct ifaddrs *i = interfaces; i; i = i->ifa_next) {
        char address[INET6_ADDRSTRLEN];

        if (address_to_text(i->ifa_addr, address) && !is_loopback(i->ifa_addr) && address_in_text(text, address))
            return true;
    }
    return false;
}
