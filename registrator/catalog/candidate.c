/* The ports of a container as other hosts reach them, and the reason why a port is not registered. record.c calls
 * this file. */
#include "catalog/candidate.h"

#include "base/ip.h"
#include "base/numbers.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_empty(const char *text)
{
    return !text || text[0] == '\0';
}

/* ---- metadata ---- */

static const char one_off[] = "com.docker.compose.oneoff";

size_t record_labels(const char *const **ret_names)
{
    static const char *const names[] = { "SERVICE_NAME", "SERVICE_IGNORE",       "SERVICE_PROTOCOL",    "SERVICE_READY",
                                         one_off,        "SERVICE_METRICS_PORT", "SERVICE_METRICS_PATH" };

    *ret_names = names;
    return ARRAY_SIZE(names);
}

/* Looks at SERVICE_<port>_<key> only, not at SERVICE_<key>. */
static const char *own_port_metadata(const Container *container, uint16_t port, const char *key)
{
    char name[sizeof("SERVICE_65535_") + TEMPLATE_TEXT_MAX];

    snprintf(name, sizeof(name), "SERVICE_%u_%s", (unsigned)port, key);
    return container_metadata(container, name);
}

const char *port_metadata(const Container *container, uint16_t port, const char *key)
{
    char name[sizeof("SERVICE_") + TEMPLATE_TEXT_MAX];
    const char *value = own_port_metadata(container, port, key);

    if (is_empty(value)) {
        snprintf(name, sizeof(name), "SERVICE_%s", key);
        value = container_metadata(container, name);
    }
    return is_empty(value) ? NULL : value;
}

/* gliderlabs/registrator ignores the container with any value. Here, the value "false" does not ignore the
 * container. */
static bool means_ignore(const char *value)
{
    return !is_empty(value) && strcasecmp(value, "false") != 0 && strcasecmp(value, "no") != 0 &&
           strcmp(value, "0") != 0;
}

static bool port_is_ignored(const Container *container, uint16_t port)
{
    return means_ignore(own_port_metadata(container, port, "IGNORE"));
}

unsigned protocol_bit(Protocol protocol)
{
    return 1U << protocol;
}

static unsigned protocols_from_word(const char *word, size_t length)
{
    if (length == 3 && strncasecmp(word, "any", length) == 0)
        return protocol_bit(PROTOCOL_TCP) | protocol_bit(PROTOCOL_UDP) | protocol_bit(PROTOCOL_SCTP);
    for (Protocol protocol = PROTOCOL_TCP; protocol <= PROTOCOL_SCTP; protocol++) {
        const char *name = protocol_to_string(protocol);
        if (strlen(name) == length && strncasecmp(word, name, length) == 0)
            return protocol_bit(protocol);
    }
    return 0;
}

static unsigned protocols_wanted(const Container *container, uint16_t port)
{
    const char *p = port_metadata(container, port, "PROTOCOL");
    unsigned wanted = 0;
    while (p && *p != '\0') {
        p += strspn(p, ", ");
        size_t length = strcspn(p, ", ");
        unsigned bits = protocols_from_word(p, length);
        if (length > 0 && bits == 0)
            return protocol_bit(PROTOCOL_TCP);
        wanted |= bits;
        p += length;
    }
    return wanted != 0 ? wanted : protocol_bit(PROTOCOL_TCP);
}

/* ---- candidates ---- */

/* Returns the reason why other hosts cannot reach the address of a binding; REASON_NONE if other hosts can reach the
 * address. */
static Reason judge_address(const Rules *rules, const char *address)
{
    if (ip_kind(address) == IP_LOOPBACK)
        return REASON_LOOPBACK;
    /* The address that the operator has set counts as reachable, whatever kind of address it is. */
    if ((rules->address4 && strcmp(rules->address4, address) == 0) ||
        (rules->address6 && strcmp(rules->address6, address) == 0))
        return REASON_NONE;
    return ip_is_reachable(address, rules->unreachable, rules->n_unreachable) ? REASON_NONE : REASON_UNREACHABLE;
}

/* Swarm's own network. Other hosts cannot reach a task through this network. */
static bool is_ingress(const Network *network)
{
    return strcmp(network->name, "ingress") == 0;
}

static bool is_in_ingress(const Container *container)
{
    for (size_t i = 0; i < container->n_networks; i++)
        if (is_ingress(&container->networks[i]))
            return true;
    return false;
}

static const char *network_address(const Network *network)
{
    return network->address4[0] != '\0' ? network->address4 : network->address6;
}

/* Returns the address of the network that the container was started in. If that network gives no address, returns
 * the first address that any network gives. */
const char *container_own_address(const Container *container)
{
    const char *home = strcmp(container->network_mode, "default") == 0 ? "bridge" : container->network_mode;
    const char *first = "";
    for (size_t i = 0; i < container->n_networks; i++) {
        const char *address = is_ingress(&container->networks[i]) ? "" : network_address(&container->networks[i]);
        if (strcmp(container->networks[i].name, home) == 0 && address[0] != '\0')
            return address;
        if (first[0] == '\0')
            first = address;
    }
    return first;
}

bool container_is_host_network(const Container *container)
{
    return strcmp(container->network_mode, "host") == 0;
}

static bool shares_network(const Container *container)
{
    return strncmp(container->network_mode, "container:", strlen("container:")) == 0;
}

static bool has_no_network(const Container *container)
{
    return strcmp(container->network_mode, "none") == 0;
}

/* For a container that shares a network, Docker shows nothing of that network. Podman shows all of the network. */
static bool shows_no_network(const Container *container)
{
    return has_no_network(container) || (shares_network(container) && container->n_networks == 0);
}

/* Does the port belong to the container? Podman shows all ports of a pod at each of the pod's containers. */
static bool owns_port(const Container *container, const Port *port)
{
    return !shares_network(container) || port->exposed ||
           !is_empty(own_port_metadata(container, port->container_port, "NAME"));
}

static const char *host_address(const Rules *rules, bool any4, bool any6)
{
    if (any4 && !is_empty(rules->address4))
        return rules->address4;
    return any6 && !is_empty(rules->address6) ? rules->address6 : "";
}

static bool is_one_off(const Container *container)
{
    const char *value = container_metadata(container, one_off);

    return value && strcasecmp(value, "true") == 0;
}

/* Returns the reason why a port without a service name is not registered. */
static Reason judge_unnamed(const Container *container, bool explicit_only)
{
    if (explicit_only)
        return REASON_NOT_NAMED;
    return is_one_off(container) ? REASON_ONE_OFF : REASON_NONE;
}

static Reason judge_metadata(const Container *container, const Port *port, bool explicit_only)
{
    Reason unnamed = judge_unnamed(container, explicit_only);

    if (port_is_ignored(container, port->container_port))
        return REASON_PORT_IGNORED;
    if (unnamed != REASON_NONE && !port_metadata(container, port->container_port, "NAME"))
        return unnamed;
    if (protocols_wanted(container, port->container_port) & protocol_bit(port->protocol))
        return REASON_NONE;
    return port->protocol == PROTOCOL_TCP ? REASON_PORT_IGNORED : REASON_UDP;
}

static Reason find_address(Candidate *candidate, const Container *container, const Rules *rules)
{
    const Port *port = candidate->port;
    Reason reason = REASON_NONE;

    if (container_is_host_network(container)) {
        candidate->address = host_address(rules, true, true);
    } else if (rules->ports == PORTS_INTERNAL) {
        candidate->address = container_own_address(container);
    } else if (port->address[0] != '\0') {
        candidate->address = port->address;
        reason = judge_address(rules, port->address);
    } else {
        candidate->address = host_address(rules, port->any4, port->any6);
    }
    if (is_empty(candidate->address))
        reason =
            rules->ports == PORTS_INTERNAL && is_in_ingress(container) ? REASON_INGRESS_NETWORK : REASON_NO_ADDRESS;
    if (reason != REASON_NONE)
        candidate->address = NULL;
    return reason;
}

static void judge(Candidate *candidate, const Container *container, const Rules *rules)
{
    Reason unreachable = find_address(candidate, container, rules);

    candidate->reason = judge_metadata(container, candidate->port, rules->explicit_only);
    if (candidate->reason == REASON_NONE)
        candidate->reason = unreachable;
}

static bool same_port(const Candidate *a, const Candidate *b)
{
    return a->port->container_port == b->port->container_port && a->port->protocol == b->port->protocol;
}

/* Does the mode register the exposed ports, not the published ports? */
static bool takes_exposed(const Container *container, const Rules *rules)
{
    return rules->ports == PORTS_INTERNAL || container_is_host_network(container);
}

static unsigned binding_rank(const Candidate *candidate)
{
    return candidate->port->any4 ? 0 : candidate->port->any6 ? 1 : 2;
}

static int candidate_compare(const void *left, const void *right)
{
    const Candidate *a = left, *b = right;
    int r = numbers_compare(a->port->container_port, b->port->container_port);
    if (r == 0)
        r = numbers_compare(a->port->protocol, b->port->protocol);
    if (r == 0)
        r = numbers_compare(a->reason != REASON_NONE, b->reason != REASON_NONE);
    if (r == 0)
        r = numbers_compare(binding_rank(a), binding_rank(b));
    if (r == 0)
        r = numbers_compare(a->host_port, b->host_port);
    return r != 0 ? r : strcmp(a->port->address, b->port->address);
}

/* ret has room for all ports of the container. */
size_t candidates_find(Candidate *ret, const Container *container, const Rules *rules)
{
    bool exposed = takes_exposed(container, rules);
    size_t n = 0;
    if (shows_no_network(container) || container->pod_infra || container->metadata_too_large)
        return 0;
    for (size_t i = 0; i < container->n_ports; i++) {
        const Port *port = &container->ports[i];
        Candidate candidate = { .port = port, .host_port = exposed ? port->container_port : port->host_port };
        /* An exposed port is one candidate, however many bindings the port has. */
        if (candidate.host_port == 0 || !owns_port(container, port) ||
            (exposed && n > 0 && same_port(&ret[n - 1], &candidate)))
            continue;
        judge(&candidate, container, rules);
        ret[n++] = candidate;
    }
    if (n > 0)
        qsort(ret, n, sizeof(*ret), candidate_compare);
    for (size_t i = 0; i < n; i++)
        ret[i].first = ret[i].reason == REASON_NONE && (i == 0 || !same_port(&ret[i - 1], &ret[i]));
    return n;
}

/* ---- the container as a whole ---- */

static Reason judge_state(const Container *container)
{
    if (container->state == CONTAINER_PAUSED)
        return REASON_PAUSED;
    if (container->health == HEALTH_STARTING)
        return REASON_HEALTH_STARTING;
    return container->health == HEALTH_UNHEALTHY ? REASON_UNHEALTHY : REASON_NONE;
}

/* Do all ports have this reason? */
static bool all_have(const Candidate *candidates, size_t n, Reason reason)
{
    for (size_t i = 0; i < n; i++)
        if (candidates[i].reason != reason)
            return false;
    return n > 0;
}

static bool is_selected(const Container *container, const LabelMatch *only)
{
    if (!only)
        return true;
    for (; only->label; only++) {
        const char *value = container_metadata(container, only->label);

        if (value && (!only->value || strcmp(value, only->value) == 0))
            return true;
    }
    return false;
}

static bool has_published_port(const Container *container)
{
    for (size_t i = 0; i < container->n_ports; i++)
        if (container->ports[i].host_port > 0)
            return true;
    return false;
}

/* Returns the reason why a running container has no port to register. */
static Reason judge_no_port(const Container *container, const Rules *rules)
{
    if (has_no_network(container))
        return REASON_NO_NETWORK;
    if (shares_network(container))
        return has_published_port(container) ? REASON_POD_PORT : REASON_SHARED_NETWORK;
    if (takes_exposed(container, rules))
        return REASON_NO_EXPOSED_PORT;
    if (is_in_ingress(container))
        return REASON_INGRESS_NETWORK;
    return container->ports_pending ? REASON_NOT_PUBLISHED : REASON_NO_PORT;
}

/* Lasting reasons come before passing ones: if an unhealthy container has no port, the reason is the missing port. */
Reason candidates_judge(const Container *container, const Candidate *candidates, size_t n, const Rules *rules)
{
    if (container->pod_infra)
        return REASON_POD_INFRA;
    if (container->metadata_too_large)
        return REASON_METADATA_SIZE;
    if (means_ignore(container_metadata(container, "SERVICE_IGNORE")))
        return REASON_IGNORED;
    if (!is_selected(container, rules->only))
        return REASON_NOT_SELECTED;
    if (container->state == CONTAINER_STOPPED)
        return REASON_NOT_RUNNING;
    if (n == 0)
        return judge_no_port(container, rules);
    if (all_have(candidates, n, REASON_NOT_NAMED))
        return REASON_NOT_NAMED;
    return all_have(candidates, n, REASON_ONE_OFF) ? REASON_ONE_OFF : judge_state(container);
}
