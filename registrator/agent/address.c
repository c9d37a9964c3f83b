#include "agent/address.h"

#include "base/ip.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

typedef struct SourceAddress {
    char text[INET6_ADDRSTRLEN];
    char interface[IF_NAMESIZE];
} SourceAddress;

static bool address_to_text(const struct sockaddr *address, char ret[INET6_ADDRSTRLEN])
{
    const void *bytes = address_bytes(address);

    return bytes && inet_ntop(address->sa_family, bytes, ret, INET6_ADDRSTRLEN);
}

static int find_on_interface(HostAddress *ret, const Interfaces *interfaces, const char *name)
{
    HostAddress found = { 0 };
    int best4 = 0, best6 = 0;

    for (size_t i = 0; i < interfaces->n_addresses; i++) {
        const LocalAddress *address = &interfaces->addresses[i];

        if (strcmp(address->interface, name) != 0)
            continue;
        if (address->family == AF_INET && address->rank > best4) {
            best4 = address->rank;
            snprintf(found.address4, sizeof(found.address4), "%.*s", INET_ADDRSTRLEN - 1, address->text);
        } else if (address->family == AF_INET6 && address->rank > best6) {
            best6 = address->rank;
            snprintf(found.address6, sizeof(found.address6), "%s", address->text);
        }
    }
    if (best4 == 0 && best6 == 0)
        return -ENODEV;

    snprintf(found.origin, sizeof(found.origin), "interface %s", name);
    *ret = found;
    return 0;
}

static int find_source(SourceAddress *ret, const Interfaces *interfaces, int family, const struct sockaddr *remote)
{
    SourceAddress found;
    int r = route_source(found.text, family, remote);

    if (r < 0)
        return r;
    const LocalAddress *own = ip_kind(found.text) == IP_UNICAST ? interfaces_find(interfaces, found.text) : NULL;
    if (!own || own->internal)
        return -EADDRNOTAVAIL;
    memcpy(found.interface, own->interface, sizeof(found.interface));
    *ret = found;
    return 0;
}

/* Is memory or a descriptor missing? Then the result is unknown: it must not lead to another address, or to none. */
static bool is_shortage(int r)
{
    return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS;
}

/* If etcd runs on this host, the route to etcd does not show the address that other hosts reach. Then the default
 * route decides. */
static int find_family(SourceAddress *ret, const Interfaces *interfaces, int family, const struct sockaddr *remote,
                       bool *ret_by_remote)
{
    bool by_remote = remote && remote->sa_family == family;

    int r = by_remote ? find_source(ret, interfaces, family, remote) : -EADDRNOTAVAIL;

    *ret_by_remote = r >= 0;
    return r >= 0 || is_shortage(r) ? r : find_source(ret, interfaces, family, NULL);
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

static int find_by_route(HostAddress *ret, const Interfaces *interfaces, const struct sockaddr *remote)
{
    SourceAddress source4, source6;
    bool by_remote4, by_remote6;
    int r4 = find_family(&source4, interfaces, AF_INET, remote, &by_remote4);
    int r6 = find_family(&source6, interfaces, AF_INET6, remote, &by_remote6);
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

/* Returns false if the text is not an address, but the name of an interface. */
static bool find_literal(HostAddress *ret, const char *advertise)
{
    HostAddress found = { .origin = "as set" };
    char text[INET6_ADDRSTRLEN];

    if (!ip_canonical(text, advertise))
        return false;
    if (strchr(text, ':'))
        snprintf(found.address6, sizeof(found.address6), "%s", text);
    else
        snprintf(found.address4, sizeof(found.address4), "%.*s", INET_ADDRSTRLEN - 1, text);
    *ret = found;
    return true;
}

int host_address_find(HostAddress *ret, const Interfaces *interfaces, const char *advertise,
                      const struct sockaddr *remote)
{
    if (!advertise)
        return find_by_route(ret, interfaces, remote);
    if (find_literal(ret, advertise))
        return 0;
    return find_on_interface(ret, interfaces, advertise);
}

/* Would this character beside an address make it another address, or no address? */
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

bool local_address_in_text(const Interfaces *interfaces, const char *text)
{
    for (size_t i = 0; i < interfaces->n_addresses; i++) {
        const char *address = interfaces->addresses[i].text;

        if (ip_kind(address) != IP_LOOPBACK && address_in_text(text, address))
            return true;
    }
    return false;
}
