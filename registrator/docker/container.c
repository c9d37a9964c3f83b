#include "docker/container_private.h"

#include "base/numbers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int port_compare(const void *left, const void *right)
{
    const Port *a = left, *b = right;
    int r = numbers_compare(a->container_port, b->container_port);
    if (r == 0)
        r = numbers_compare(a->protocol, b->protocol);
    if (r == 0)
        r = numbers_compare(a->host_port, b->host_port);
    return r != 0 ? r : strcmp(a->address, b->address);
}

Container *container_free(Container *container)
{
    if (!container)
        return NULL;
    for (size_t i = 0; i < container->n_networks; i++)
        free(container->networks[i].name);
    for (size_t i = 0; i < container->n_metadata; i++) {
        free(container->metadata[i].key);
        free(container->metadata[i].value);
    }
    free(container->metadata);
    free(container->networks);
    free(container->ports);
    free(container->network_mode);
    free(container->image_id);
    free(container->image);
    free(container->name);
    free(container->id);
    free(container);
    return NULL;
}

/* The next published port from *i on. Exposed ports are skipped: for a container in the host's network, a list entry
 * does not show them. */
static const Port *next_published(const Container *container, size_t *i)
{
    while (*i < container->n_ports) {
        const Port *port = &container->ports[(*i)++];
        if (port->host_port > 0)
            return port;
    }
    return NULL;
}

static bool same_published_ports(const Container *a, const Container *b)
{
    size_t i = 0, j = 0;
    for (;;) {
        const Port *left = next_published(a, &i), *right = next_published(b, &j);
        if (!left || !right)
            return left == right;
        if (port_compare(left, right) != 0 || left->any4 != right->any4 || left->any6 != right->any6)
            return false;
    }
}

static bool same_networks(const Container *a, const Container *b)
{
    if (a->n_networks != b->n_networks)
        return false;
    for (size_t i = 0; i < a->n_networks; i++)
        if (strcmp(a->networks[i].name, b->networks[i].name) != 0 ||
            strcmp(a->networks[i].address4, b->networks[i].address4) != 0 ||
            strcmp(a->networks[i].address6, b->networks[i].address6) != 0)
            return false;
    return true;
}

bool container_same_as_listed(const Container *known, const Container *listed)
{
    if (known->state != listed->state || strcmp(known->name, listed->name) != 0)
        return false;
    /* An inspect shows the health of a stopped or paused container, a list entry does not. */
    if (known->state == CONTAINER_RUNNING && known->health != listed->health)
        return false;
    return same_published_ports(known, listed) && same_networks(known, listed);
}

int label_compare(const void *left, const void *right)
{
    return strcmp(((const Label *)left)->key, ((const Label *)right)->key);
}

const char *container_metadata(const Container *container, const char *key)
{
    const Label wanted = { .key = (char *)key };
    const Label *label = container->n_metadata > 0 ? bsearch(&wanted, container->metadata, container->n_metadata,
                                                             sizeof(wanted), label_compare)
                                                   : NULL;
    return label ? label->value : NULL;
}

bool container_left_out(const Container *container, char *ret, size_t size)
{
    if (container->n_ports_left_out > 0)
        snprintf(ret, size, "%zu ports are left out: a container may have %d", container->n_ports_left_out,
                 CONTAINER_PORTS_MAX);
    else if (container->n_networks_left_out > 0)
        snprintf(ret, size, "%zu networks are left out: a container may have %d", container->n_networks_left_out,
                 CONTAINER_NETWORKS_MAX);
    return container->n_ports_left_out > 0 || container->n_networks_left_out > 0;
}

const char *protocol_to_string(Protocol protocol)
{
    static const char *const names[] = { "tcp", "udp", "sctp" };
    return (size_t)protocol < ARRAY_SIZE(names) ? names[protocol] : "tcp";
}
