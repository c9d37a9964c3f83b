#include "catalog/ready_rules.h"

#include "base/ip.h"
#include "catalog/candidate.h"

#include <stdio.h>
#include <string.h>

static const char http_prefix[] = "http:";

/* The path must not end the request's first line, and must be nothing but a path. */
static bool is_path(const char *text)
{
    size_t size = strlen(text);

    if (text[0] != '/' || size > PROBE_PATH_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '#')
            return false;
    return true;
}

ReadyRule ready_rule(const Container *container, const Rules *rules, uint16_t port, const char **ret_path,
                     const char **ret_bad)
{
    const char *value = port_metadata(container, port, "READY");

    *ret_path = "";
    if (value && strcmp(value, "none") == 0)
        return READY_RULE_NONE;
    if (value && strcmp(value, "tcp") == 0)
        return READY_RULE_TCP;
    if (value && strncmp(value, http_prefix, strlen(http_prefix)) == 0 && is_path(value + strlen(http_prefix))) {
        *ret_path = value + strlen(http_prefix);
        return READY_RULE_HTTP;
    }
    if (value)
        *ret_bad = value;
    return rules->probes ? READY_RULE_TCP : READY_RULE_NONE;
}

static void set_target(ProbeTarget *target, const char *address, uint16_t port)
{
    (void)snprintf(target->address, sizeof(target->address), "%s", address ? address : "");
    target->port = port;
}

/* A server may listen at loopback, at the advertised address, or at both. Both belong to the container. */
static void set_host_targets(ProbeQuestion *question, const Rules *rules, uint16_t port)
{
    bool is4 = rules->address4;

    if (rules->docker_is_remote) {
        set_target(&question->target, is4 ? rules->address4 : rules->address6, port);
        return;
    }
    set_target(&question->target, is4 ? "127.0.0.1" : "::1", port);
    set_target(&question->other, is4 ? rules->address4 : rules->address6, port);
    question->other_if_refused = true;
}

static const char *published_address(const Port *port, const Rules *rules)
{
    if (port->any4 && rules->address4)
        return rules->address4;
    if (port->any6 && rules->address6)
        return rules->address6;
    return port->address;
}

void ready_targets(ProbeQuestion *question, const Container *container, const Rules *rules, uint16_t port)
{
    ProbeTarget *published = rules->docker_is_remote ? &question->target : &question->other;
    const char *path, *bad;

    (void)ready_rule(container, rules, port, &path, &bad);
    (void)snprintf(question->path, sizeof(question->path), "%s", path);
    set_target(&question->target, "", 0);
    set_target(&question->other, "", 0);
    question->other_if_refused = false;
    if (container_is_host_network(container)) {
        set_host_targets(question, rules, port);
        return;
    }
    if (!rules->docker_is_remote)
        set_target(&question->target, container_own_address(container), port);
    for (size_t i = 0; i < container->n_ports; i++) {
        const Port *binding = &container->ports[i];

        if (binding->container_port != port || binding->protocol != PROTOCOL_TCP || binding->host_port == 0 ||
            ip_kind(binding->address) == IP_LOOPBACK)
            continue;
        set_target(published, published_address(binding, rules), binding->host_port);
        if (published->address[0] != '\0')
            break;
    }
}
