#include "agent/interfaces.h"

#include "base/grow.h"
#include "base/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/in6.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
    LINKS_MAX = 65536, /* links of one host; a container has one or two */
    NETLINK_BUFFER = 32 * 1024, /* bytes; the kernel writes at most this much at once in a dump */
    DISCARD_PORT = 9,
};

typedef enum LinkKind { LINK_OTHER, LINK_BRIDGE, LINK_VETH } LinkKind;

typedef struct Link {
    int index, master; /* master: the bridge that the link is a port of; 0: no bridge */
    LinkKind kind;
    char name[IF_NAMESIZE];
    bool has_uplink; /* of a bridge: one of its ports is not a veth */
    bool has_default_route;
} Link;

typedef struct Links {
    Link *items;
    size_t n;
} Links;

static void links_clear(Links *links)
{
    free(links->items);
}

static int compare_links(const void *a, const void *b)
{
    int left = ((const Link *)a)->index, right = ((const Link *)b)->index;

    return (left > right) - (left < right);
}

static Link *links_find_name(const Links *links, const char *name)
{
    for (size_t i = 0; i < links->n; i++)
        if (strcmp(links->items[i].name, name) == 0)
            return &links->items[i];
    return NULL;
}

static Link *links_add(Links *links)
{
    if (links->n == LINKS_MAX || array_grow(&links->items, links->n, sizeof(Link)) < 0)
        return NULL;
    links->items[links->n] = (Link){ 0 };
    return &links->items[links->n++];
}

/* Returns the next attribute of the remaining ones; NULL: no further attribute. (RTA_NEXT() compiles only without
 * our sign warnings.) */
static struct rtattr *attribute_next(char **at, size_t *left)
{
    struct rtattr *attribute = (struct rtattr *)(void *)*at;

    if (*left < sizeof(*attribute) || attribute->rta_len < sizeof(*attribute) || attribute->rta_len > *left)
        return NULL;
    size_t length = RTA_ALIGN(attribute->rta_len);
    *left = length < *left ? *left - length : 0;
    *at += length;
    return attribute;
}

static LinkKind kind_from_info(struct rtattr *info)
{
    char *at = RTA_DATA(info);
    size_t left = RTA_PAYLOAD(info);
    struct rtattr *a;

    while ((a = attribute_next(&at, &left)))
        if (a->rta_type == IFLA_INFO_KIND)
            return strncmp(RTA_DATA(a), "bridge", RTA_PAYLOAD(a)) == 0 ? LINK_BRIDGE
                   : strncmp(RTA_DATA(a), "veth", RTA_PAYLOAD(a)) == 0 ? LINK_VETH
                                                                       : LINK_OTHER;
    return LINK_OTHER;
}

static int links_take(Links *links, struct nlmsghdr *message)
{
    struct ifinfomsg *info = NLMSG_DATA(message);
    char *at = (char *)info + NLMSG_ALIGN(sizeof(*info));
    size_t left = message->nlmsg_len > NLMSG_SPACE(sizeof(*info)) ? message->nlmsg_len - NLMSG_SPACE(sizeof(*info)) : 0;
    Link *link = links_add(links);
    struct rtattr *a;

    if (!link)
        return -ENOMEM;
    link->index = info->ifi_index;
    while ((a = attribute_next(&at, &left))) {
        if (a->rta_type == IFLA_IFNAME)
            snprintf(link->name, sizeof(link->name), "%.*s", (int)RTA_PAYLOAD(a), (const char *)RTA_DATA(a));
        else if (a->rta_type == IFLA_MASTER && RTA_PAYLOAD(a) >= sizeof(int))
            memcpy(&link->master, RTA_DATA(a), sizeof(int));
        else if (a->rta_type == IFLA_LINKINFO)
            link->kind = kind_from_info(a);
    }
    return 0;
}

/* Returns 1 after the last message. */
static int links_take_all(Links *links, struct nlmsghdr *message, unsigned size)
{
    for (; NLMSG_OK(message, size); message = NLMSG_NEXT(message, size)) {
        int r = message->nlmsg_type == RTM_NEWLINK ? links_take(links, message) : 0;

        if (r < 0)
            return r;
        if (message->nlmsg_type == NLMSG_DONE)
            return 1;
        if (message->nlmsg_type == NLMSG_ERROR)
            return -EIO;
    }
    return 0;
}

static int links_read(Links *links)
{
    struct {
        struct nlmsghdr header;
        struct rtgenmsg body;
    } request = { .header = { .nlmsg_len = sizeof(request),
                              .nlmsg_type = RTM_GETLINK,
                              .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
                  .body = { .rtgen_family = AF_UNSPEC } };
    CLEANUP_FREE char *buffer = malloc(NETLINK_BUFFER);
    CLEANUP_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    int r = 0;

    if (!buffer)
        return -ENOMEM;
    if (fd < 0 || send(fd, &request, sizeof(request), 0) < 0)
        return -errno;
    /* The kernel makes each part of its answer within recv(), so recv() never blocks for long. */
    while (r == 0) {
        ssize_t n = recv(fd, buffer, NETLINK_BUFFER, 0);
        r = n > 0 ? links_take_all(links, (struct nlmsghdr *)(void *)buffer, (unsigned)n) : n < 0 ? -errno : -EIO;
    }
    return r < 0 ? r : 0;
}

/* Routes. */

const void *address_bytes(const struct sockaddr *address)
{
    if (address && address->sa_family == AF_INET)
        return &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (address && address->sa_family == AF_INET6)
        return &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    return NULL;
}

/* Addresses that no host has, so that the kernel answers with its default route: class E is reserved, and IANA has
 * assigned no block below 2001::. */
static void set_nowhere(struct sockaddr_storage *ret, int family)
{
    struct sockaddr_in *in4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

    *ret = (struct sockaddr_storage){ .ss_family = (sa_family_t)family };
    if (family == AF_INET)
        (void)inet_pton(AF_INET, "240.0.0.1", &in4->sin_addr);
    else
        (void)inet_pton(AF_INET6, "2000::1", &in6->sin6_addr);
}

int route_source(char ret[INET6_ADDRSTRLEN], int family, const struct sockaddr *remote)
{
    struct sockaddr_storage peer, local = { 0 };
    struct sockaddr_in *in4 = (struct sockaddr_in *)&peer;
    socklen_t size = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    socklen_t local_size = sizeof(local);
    CLEANUP_CLOSE int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    set_nowhere(&peer, family);
    if (remote)
        memcpy(&peer, remote, size);
    /* Any port is suitable. The port is at the same place in both families. */
    if (in4->sin_port == 0)
        in4->sin_port = htons(DISCARD_PORT);
    /* A temporary address (RFC 8981) changes every day. */
    if (family == AF_INET6) {
        int preference = IPV6_PREFER_SRC_PUBLIC;
        if (setsockopt(fd, IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, &preference, sizeof(preference)) < 0)
            return -errno;
    }
    if (connect(fd, (struct sockaddr *)&peer, size) < 0 || getsockname(fd, (struct sockaddr *)&local, &local_size) < 0)
        return -errno;
    return inet_ntop(family, address_bytes((struct sockaddr *)&local), ret, INET6_ADDRSTRLEN) ? 0 : -errno;
}

/* The bridges of container engines. */

/* The names that Docker (bridge, swarm, "br-" and 12 digits of a network's ID) and Podman use. */
static bool has_engine_name(const char *name)
{
    static const char *const prefixes[] = { "podman", "cni-podman" };

    if (strcmp(name, "docker0") == 0 || strcmp(name, "docker_gwbridge") == 0)
        return true;
    if (strncmp(name, "br-", 3) == 0 && strlen(name) == 15 && strspn(name + 3, "0123456789abcdef") == 12)
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        size_t length = strlen(prefixes[i]);
        if (strncmp(name, prefixes[i], length) == 0 && name[length + strspn(name + length, "0123456789")] == '\0' &&
            name[length] != '\0')
            return true;
    }
    return false;
}

/* A network may give its bridge any name (com.docker.network.bridge.name, podman network create --interface-name),
 * so the shape counts as well. A bridge belongs to an engine if all its ports are containers' veths, and if no
 * default route uses it. A bridge of the host has an uplink among its ports. */
static bool is_of_engine(const Link *link)
{
    if (has_engine_name(link->name))
        return true;
    return link->kind == LINK_BRIDGE && !link->has_uplink && !link->has_default_route;
}

static void links_judge(Links *links, const Interfaces *interfaces)
{
    const sa_family_t families[] = { AF_INET, AF_INET6 };

    if (links->n > 0)
        qsort(links->items, links->n, sizeof(Link), compare_links);
    for (size_t i = 0; i < links->n; i++) {
        Link wanted = { .index = links->items[i].master };
        Link *bridge = wanted.index != 0 && links->items[i].kind != LINK_VETH
                           ? bsearch(&wanted, links->items, links->n, sizeof(Link), compare_links)
                           : NULL;

        if (bridge)
            bridge->has_uplink = true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        char text[INET6_ADDRSTRLEN];
        const LocalAddress *source =
            route_source(text, families[i], NULL) >= 0 ? interfaces_find(interfaces, text) : NULL;
        Link *link = source ? links_find_name(links, source->interface) : NULL;

        if (link)
            link->has_default_route = true;
    }
}

/* Addresses. */

static void freeifaddrs_p(struct ifaddrs **list)
{
    if (*list)
        freeifaddrs(*list);
}

/* The IFA_F_… flags of an IPv6 address, which getifaddrs() does not give; 0: not found. /proc/self, because
 * ProcSubset=pid of the agent's unit hides /proc/net. */
static unsigned long address6_flags(const struct in6_addr *address)
{
    char line[128], wanted[33], found[33], flags[9];
    CLEANUP(fclose_p) FILE *table = fopen("/proc/self/net/if_inet6", "re");

    for (size_t i = 0; i < sizeof(address->s6_addr); i++)
        snprintf(wanted + 2 * i, 3, "%02x", address->s6_addr[i]);
    /* Address, interface index, prefix length, scope, flags, name. */
    while (table && fgets(line, sizeof(line), table))
        if (sscanf(line, "%32s %*s %*s %*s %8s", found, flags) == 2 && strcmp(found, wanted) == 0)
            return strtoul(flags, NULL, 16);
    return 0;
}

/* A deprecated address is better than no address. */
static unsigned char rank_of(const struct ifaddrs *entry, const char *text)
{
    IpKind kind = ip_kind(text);

    /* A setting that names the loopback interface means its addresses. */
    if (kind != IP_UNICAST && !(kind == IP_LOOPBACK && (entry->ifa_flags & IFF_LOOPBACK)))
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

static int read_addresses(Interfaces *interfaces)
{
    CLEANUP(freeifaddrs_p) struct ifaddrs *list = NULL;
    size_t n = 0;

    if (getifaddrs(&list) < 0)
        return -errno;
    for (struct ifaddrs *i = list; i; i = i->ifa_next)
        n++;
    interfaces->addresses = calloc(n > 0 ? n : 1, sizeof(LocalAddress));
    if (!interfaces->addresses)
        return -ENOMEM;
    for (struct ifaddrs *i = list; i; i = i->ifa_next) {
        LocalAddress *address = &interfaces->addresses[interfaces->n_addresses];
        const void *bytes = address_bytes(i->ifa_addr);

        if (!bytes || !inet_ntop(i->ifa_addr->sa_family, bytes, address->text, sizeof(address->text)))
            continue;
        address->family = i->ifa_addr->sa_family;
        snprintf(address->interface, sizeof(address->interface), "%s", i->ifa_name);
        address->rank = rank_of(i, address->text);
        interfaces->n_addresses++;
    }
    return 0;
}

int interfaces_read(Interfaces *ret)
{
    CLEANUP(interfaces_clear) Interfaces found = { 0 };
    CLEANUP(links_clear) Links links = { 0 };
    int r = read_addresses(&found);

    if (r >= 0)
        r = links_read(&links);
    if (r < 0)
        return r;
    links_judge(&links, &found);
    for (size_t i = 0; i < found.n_addresses; i++) {
        LocalAddress *address = &found.addresses[i];
        /* A host with thousands of containers has a link-local address for each one. Their links are not needed. */
        const Link *link = ip_kind(address->text) == IP_UNICAST ? links_find_name(&links, address->interface) : NULL;

        address->internal = link && is_of_engine(link);
    }
    *ret = found;
    found = (Interfaces){ 0 };
    return 0;
}

void interfaces_clear(Interfaces *interfaces)
{
    free(interfaces->addresses);
    *interfaces = (Interfaces){ 0 };
}

const LocalAddress *interfaces_find(const Interfaces *interfaces, const char *text)
{
    for (size_t i = 0; i < interfaces->n_addresses; i++)
        if (strcmp(interfaces->addresses[i].text, text) == 0)
            return &interfaces->addresses[i];
    return NULL;
}
