#include "record.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

enum {
    ID_SHORT = 12, /* digits, as Docker shows IDs */
    KEY_NAME_MAX = 64, /* bytes, of a SERVICE_<port>_<KEY> that is looked for under a port */
    IMAGE_MAX = 256,
};

/* A container port as it can be reached: a binding, or the container's own port. */
typedef struct Candidate {
    const Port *port;
    uint16_t host_port;
    Reason reason;
    const char *address; /* with REASON_NONE */
    bool first; /* of the candidates of its container port and protocol that are registered */
} Candidate;

/* What a template's fields stand for, for one candidate. */
typedef struct Lookup {
    const Container *container;
    const Rules *rules;
    const Candidate *candidate;
    const char *service; /* NULL: while the service itself is rendered */
    char *name;
    char id[ID_SHORT + 1];
    char image[IMAGE_MAX];
    char port[sizeof("65535")];
    char container_port[sizeof("65535")];
} Lookup;

static bool is_empty(const char *text)
{
    return !text || text[0] == '\0';
}

/* ---- metadata ---- */

/* SERVICE_<port>_<key>, else SERVICE_<key>, key without its SERVICE_. NULL: neither has a value. */
static const char *port_metadata(const Container *container, uint16_t port, const char *key)
{
    char name[sizeof("SERVICE_65535_") + KEY_NAME_MAX];
    const char *value = NULL;
    if (strlen(key) <= KEY_NAME_MAX) {
        snprintf(name, sizeof(name), "SERVICE_%u_%s", (unsigned)port, key);
        value = container_metadata(container, name);
        if (is_empty(value)) {
            snprintf(name, sizeof(name), "SERVICE_%s", key);
            value = container_metadata(container, name);
        }
    }
    return is_empty(value) ? NULL : value;
}

/* gliderlabs/registrator ignores with any value; false here means what it says. */
static bool means_ignore(const char *value)
{
    return !is_empty(value) && strcasecmp(value, "false") != 0 && strcasecmp(value, "no") != 0 &&
           strcmp(value, "0") != 0;
}

static bool port_is_ignored(const Container *container, uint16_t port)
{
    char name[sizeof("SERVICE_65535_IGNORE")];
    snprintf(name, sizeof(name), "SERVICE_%u_IGNORE", (unsigned)port);
    return means_ignore(container_metadata(container, name));
}

static unsigned protocol_bit(Protocol protocol)
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

static bool is_loopback(const char *address)
{
    struct in_addr in4;
    struct in6_addr in6;
    if (inet_pton(AF_INET, address, &in4) == 1)
        return ntohl(in4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, address, &in6) == 1 && IN6_IS_ADDR_LOOPBACK(&in6);
}

static const char *network_address(const Network *network)
{
    return network->address4[0] != '\0' ? network->address4 : network->address6;
}

/* The address of the network that the container was started in, else of the first that gives it
 * one. */
static const char *own_address(const Container *container)
{
    const char *home = strcmp(container->network_mode, "default") == 0 ? "bridge" : container->network_mode;
    const char *first = "";
    for (size_t i = 0; i < container->n_networks; i++) {
        const char *address = network_address(&container->networks[i]);
        if (strcmp(container->networks[i].name, home) == 0 && address[0] != '\0')
            return address;
        if (first[0] == '\0')
            first = address;
    }
    return first;
}

static bool is_host_network(const Container *container)
{
    return strcmp(container->network_mode, "host") == 0;
}

static bool has_no_network(const Container *container)
{
    return strcmp(container->network_mode, "none") == 0 ||
           strncmp(container->network_mode, "container:", strlen("container:")) == 0;
}

static const char *host_address(const Rules *rules, bool any4, bool any6)
{
    if (any4 && !is_empty(rules->address4))
        return rules->address4;
    return any6 && !is_empty(rules->address6) ? rules->address6 : "";
}

static Reason judge_metadata(const Container *container, const Port *port, bool explicit_only)
{
    if (port_is_ignored(container, port->container_port))
        return REASON_PORT_IGNORED;
    if (explicit_only && !port_metadata(container, port->container_port, "NAME"))
        return REASON_NOT_NAMED;
    if (protocols_wanted(container, port->container_port) & protocol_bit(port->protocol))
        return REASON_NONE;
    return port->protocol == PROTOCOL_TCP ? REASON_PORT_IGNORED : REASON_UDP;
}

static void judge(Candidate *candidate, const Container *container, const Rules *rules)
{
    const Port *port = candidate->port;
    candidate->reason = judge_metadata(container, port, rules->explicit_only);
    if (candidate->reason != REASON_NONE)
        return;
    if (is_host_network(container))
        candidate->address = host_address(rules, true, true);
    else if (rules->ports == PORTS_INTERNAL)
        candidate->address = own_address(container);
    else if (is_loopback(port->address))
        candidate->reason = REASON_LOOPBACK;
    else if (port->address[0] != '\0')
        candidate->address = port->address;
    else
        candidate->address = host_address(rules, port->any4, port->any6);
    if (candidate->reason == REASON_NONE && is_empty(candidate->address))
        candidate->reason = REASON_NO_ADDRESS;
}

static bool same_port(const Candidate *a, const Candidate *b)
{
    return a->port->container_port == b->port->container_port && a->port->protocol == b->port->protocol;
}

/* Does the mode register ports as they are in the container, and not as they are published? */
static bool takes_exposed(const Container *container, const Rules *rules)
{
    return rules->ports == PORTS_INTERNAL || is_host_network(container);
}

static int compare_numbers(unsigned a, unsigned b)
{
    return (a > b) - (a < b);
}

static unsigned binding_rank(const Candidate *candidate)
{
    return candidate->port->any4 ? 0 : candidate->port->any6 ? 1 : 2;
}

static int candidate_compare(const void *left, const void *right)
{
    const Candidate *a = left, *b = right;
    int r = compare_numbers(a->port->container_port, b->port->container_port);
    if (r == 0)
        r = compare_numbers(a->port->protocol, b->port->protocol);
    if (r == 0)
        r = compare_numbers(a->reason != REASON_NONE, b->reason != REASON_NONE);
    if (r == 0)
        r = compare_numbers(binding_rank(a), binding_rank(b));
    if (r == 0)
        r = compare_numbers(a->host_port, b->host_port);
    return r != 0 ? r : strcmp(a->port->address, b->port->address);
}

/* ret has room for all of the container's ports. */
static size_t find_candidates(Candidate *ret, const Container *container, const Rules *rules)
{
    bool exposed = takes_exposed(container, rules);
    size_t n = 0;
    if (has_no_network(container))
        return 0;
    for (size_t i = 0; i < container->n_ports; i++) {
        const Port *port = &container->ports[i];
        Candidate candidate = { .port = port, .host_port = exposed ? port->container_port : port->host_port };
        /* Inside, the bindings of one port are the same thing. */
        if (candidate.host_port == 0 || (exposed && n > 0 && same_port(&ret[n - 1], &candidate)))
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

/* ---- names ---- */

static bool is_registered(const Candidate *candidates, size_t n, uint16_t port, Protocol protocol)
{
    for (size_t i = 0; i < n; i++)
        if (candidates[i].first && candidates[i].port->container_port == port &&
            candidates[i].port->protocol == protocol)
            return true;
    return false;
}

static const char *protocol_suffix(const Candidate *candidates, size_t n, const Port *port)
{
    bool beside_tcp = is_registered(candidates, n, port->container_port, PROTOCOL_TCP);
    if (port->protocol == PROTOCOL_UDP && beside_tcp)
        return "-udp";
    if (port->protocol == PROTOCOL_SCTP &&
        (beside_tcp || is_registered(candidates, n, port->container_port, PROTOCOL_UDP)))
        return "-sctp";
    return "";
}

static char *record_name(const Container *container, const Candidate *candidates, size_t n, const Port *port)
{
    size_t registered = 0;
    char *name;
    for (size_t i = 0; i < n && registered < 2; i++)
        registered += candidates[i].first;
    if (registered < 2)
        return strdup(container->name);
    if (asprintf(&name, "%s-%u%s", container->name, (unsigned)port->container_port,
                 protocol_suffix(candidates, n, port)) < 0)
        return NULL;
    return name;
}

/* "registry:5000/team/app:3@sha256:…" → "app"; an image that is known by its ID only: 12 digits
 * of that. */
static void image_base_name(char *ret, size_t size, const char *image)
{
    static const char digest[] = "sha256:";
    if (strncmp(image, digest, strlen(digest)) == 0) {
        snprintf(ret, size, "%.*s", ID_SHORT, image + strlen(digest));
        return;
    }
    size_t end = strcspn(image, "@"), begin = end;
    while (begin > 0 && image[begin - 1] != '/')
        begin--;
    size_t length = strcspn(image + begin, ":@");
    snprintf(ret, size, "%.*s", (int)(length < size ? length : size - 1), image + begin);
}

/* ---- rendering ---- */

static const char *lookup_label(const Lookup *lookup, const char *label)
{
    static const char prefix[] = "SERVICE_";
    const char *value = NULL;
    if (strncmp(label, prefix, strlen(prefix)) == 0)
        value = port_metadata(lookup->container, lookup->candidate->port->container_port, label + strlen(prefix));
    return value ? value : container_metadata(lookup->container, label);
}

static const char *lookup_field(void *userdata, Field field, const char *label)
{
    const Lookup *lookup = userdata;
    switch (field) {
    case FIELD_SERVICE:
        return lookup->service;
    case FIELD_NAME:
        return lookup->service ? lookup->name : lookup->container->name;
    case FIELD_NODE:
        return lookup->rules->node;
    case FIELD_ADDRESS:
        return lookup->service ? lookup->candidate->address : NULL;
    case FIELD_PORT:
        return lookup->service ? lookup->port : NULL;
    case FIELD_CONTAINER_PORT:
        return lookup->container_port;
    case FIELD_PROTOCOL:
        return protocol_to_string(lookup->candidate->port->protocol);
    case FIELD_ID:
        return lookup->id;
    case FIELD_IMAGE:
        return lookup->image;
    case FIELD_LABEL:
        return lookup_label(lookup, label);
    case FIELD_MAX_:
        break;
    }
    return NULL;
}

/* 0, or REASON_…, or -ENOMEM. */
static int render(char **ret, const Template *template, TemplateEscape escape, Lookup *lookup)
{
    int r = template_render(template, escape, lookup_field, lookup, ret);
    return r == -ENAMETOOLONG ? (int)REASON_TOO_LONG : r;
}

static int render_service(char **ret, Lookup *lookup)
{
    const char *named = port_metadata(lookup->container, lookup->candidate->port->container_port, "NAME");
    CLEANUP_FREE char *service = NULL;
    if (named) {
        service = strdup(named);
        if (!service)
            return -ENOMEM;
    } else {
        int r = render(&service, lookup->rules->service, ESCAPE_NONE, lookup);
        if (r != 0)
            return r;
    }
    if (service[0] == '\0')
        return REASON_NOT_NAMED;
    *ret = TAKE_PTR(service);
    return 0;
}

static int render_record(Record *record, Lookup *lookup)
{
    CLEANUP_FREE char *service = NULL, *key = NULL, *value = NULL;
    int r = render_service(&service, lookup);
    if (r != 0)
        return r;
    lookup->service = service;
    r = render(&key, lookup->rules->key, ESCAPE_KEY, lookup);
    if (r == 0)
        r = render(&value, lookup->rules->value, ESCAPE_VALUE, lookup);
    lookup->service = NULL;
    if (r != 0)
        return r;
    record->key = TAKE_PTR(key);
    record->value = TAKE_PTR(value);
    return 0;
}

static int add_record(Records *records, const Candidate *candidate, Lookup *lookup)
{
    Record *record = &records->items[records->n_items++];
    *record = (Record){
        .container_port = candidate->port->container_port,
        .protocol = candidate->port->protocol,
        .reason = candidate->reason,
    };
    if (record->reason != REASON_NONE)
        return 0;
    lookup->candidate = candidate;
    snprintf(lookup->port, sizeof(lookup->port), "%u", (unsigned)candidate->host_port);
    snprintf(lookup->container_port, sizeof(lookup->container_port), "%u", (unsigned)candidate->port->container_port);
    int r = render_record(record, lookup);
    if (r > 0)
        record->reason = (Reason)r;
    return r < 0 ? r : 0;
}

/* The key template may leave out what tells two records apart. The first keeps the key. */
static void settle_duplicates(Records *records)
{
    size_t kept = 0;
    for (size_t i = 0; i < records->n_items; i++) {
        Record *record = &records->items[i];
        const Record *holder = NULL;
        for (size_t j = 0; record->key && j < kept && !holder; j++)
            if (records->items[j].reason == REASON_NONE && strcmp(records->items[j].key, record->key) == 0)
                holder = &records->items[j];
        if (holder && holder->container_port == record->container_port && holder->protocol == record->protocol) {
            /* Another binding of the same port: nothing is missing. */
            free(record->key);
            free(record->value);
            continue;
        }
        if (holder)
            record->reason = REASON_DUPLICATE;
        records->items[kept++] = *record;
    }
    records->n_items = kept;
}

static int add_records(Records *records, const Container *container, const Rules *rules, const Candidate *candidates,
                       size_t n)
{
    bool each_binding = template_uses(rules->key, FIELD_PORT) || template_uses(rules->key, FIELD_ADDRESS);
    Lookup lookup = { .container = container, .rules = rules };
    snprintf(lookup.id, sizeof(lookup.id), "%.*s", ID_SHORT, container->id);
    image_base_name(lookup.image, sizeof(lookup.image), container->image);
    for (size_t i = 0; i < n; i++) {
        if (candidates[i].reason == REASON_NONE && !candidates[i].first && !each_binding)
            continue;
        CLEANUP_FREE char *name = record_name(container, candidates, n, candidates[i].port);
        if (!name)
            return -ENOMEM;
        lookup.name = name;
        int r = add_record(records, &candidates[i], &lookup);
        if (r < 0)
            return r;
    }
    settle_duplicates(records);
    return 0;
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

static bool names_nothing(const Candidate *candidates, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (candidates[i].reason != REASON_NOT_NAMED)
            return false;
    return n > 0;
}

/* What lasts before what passes: an unhealthy container without ports has no port. */
static Reason judge_container(const Container *container, const Candidate *candidates, size_t n)
{
    if (means_ignore(container_metadata(container, "SERVICE_IGNORE")))
        return REASON_IGNORED;
    if (container->state == CONTAINER_STOPPED)
        return REASON_NOT_RUNNING;
    if (n == 0)
        return REASON_NO_PORT;
    return names_nothing(candidates, n) ? REASON_NOT_NAMED : judge_state(container);
}

int records_from_container(Records *ret, const Container *container, const Rules *rules)
{
    Records records = { 0 };
    CLEANUP_FREE Candidate *candidates = calloc(container->n_ports + 1, sizeof(*candidates));
    if (!candidates)
        return -ENOMEM;
    size_t n = find_candidates(candidates, container, rules);
    records.reason = judge_container(container, candidates, n);
    if (records.reason == REASON_NONE) {
        records.items = calloc(n, sizeof(*records.items));
        int r = records.items ? add_records(&records, container, rules, candidates, n) : -ENOMEM;
        if (r < 0) {
            records_clear(&records);
            return r;
        }
    }
    *ret = records;
    return 0;
}

void records_clear(Records *records)
{
    for (size_t i = 0; i < records->n_items; i++) {
        free(records->items[i].key);
        free(records->items[i].value);
    }
    free(records->items);
    *records = (Records){ 0 };
}

/* ---- reasons in words ---- */

static const struct {
    const char *token;
    const char *phrase;
    const char *remedy;
} reasons[REASON_MAX_] = {
    [REASON_NONE] = { "registered", "registered", "Nothing needs to be done." },
    [REASON_NOT_RUNNING] = { "not-running", "not running", "Start the container." },
    [REASON_PAUSED] = { "paused", "paused", "Unpause the container." },
    [REASON_HEALTH_STARTING] = { "health-starting", "waiting for its first health check",
                                 "Wait until the container's health check has passed." },
    [REASON_UNHEALTHY] = { "unhealthy", "unhealthy",
                           "See with docker inspect what the container's health check says." },
    [REASON_STOPPING] = { "stopping", "stopping", "Wait: should it run on, it comes back after its stop timeout." },
    [REASON_DRAINING] = { "draining", "draining, about to be stopped",
                          "Wait: it comes back when it is started again. If it is not stopped after all, take it in "
                          "with registrator undrain CONTAINER." },
    [REASON_DRAINED] = { "drained", "drained, held by the operator",
                         "Take it in again with registrator undrain CONTAINER." },
    [REASON_HOST_DRAINED] = { "host-drained", "this host is drained, held by the operator",
                              "Take the host in again with registrator undrain." },
    [REASON_NO_PORT] = { "no-port", "no published port",
                         "Publish a port with docker run -P or -p, or register exposed ports with "
                         "--ports internal." },
    [REASON_IGNORED] = { "ignored", "ignored by SERVICE_IGNORE", "Start it without SERVICE_IGNORE." },
    [REASON_NOT_NAMED] = { "not-named", "names no service", "Start it with a label SERVICE_NAME." },
    [REASON_NO_ADDRESS] = { "no-address", "no address to advertise",
                            "Set --advertise to an address of the family that the port is bound to, or to an "
                            "interface that has one." },
    [REASON_PORT_IGNORED] = { "port-ignored", "port left out by its labels",
                              "Start it without SERVICE_<port>_IGNORE, and with the port's "
                              "protocol in "
                              "SERVICE_PROTOCOL." },
    [REASON_LOOPBACK] = { "loopback", "bound to loopback only",
                          "Publish the port on an address that other hosts reach: docker run -p." },
    [REASON_UDP] = { "udp", "UDP or SCTP was not asked for",
                     "Start it with a label SERVICE_<port>_PROTOCOL that names the protocol." },
    [REASON_DUPLICATE] = { "duplicate", "key is taken by another container or port of this host",
                           "Rename the container, or tell the two apart in the key template." },
    [REASON_TOO_LONG] = { "too-long", "key or value is too long",
                          "Shorten the labels that the templates use to less than 4096 bytes in "
                          "all." },
    [REASON_DOCKER_AWAY] = { "docker-away", "Docker has been away for too long", "Start Docker." },
};

static Reason known_reason(Reason reason)
{
    return (unsigned)reason < REASON_MAX_ ? reason : REASON_NONE;
}

const char *reason_to_string(Reason reason)
{
    return reasons[known_reason(reason)].phrase;
}

const char *reason_remedy(Reason reason)
{
    return reasons[known_reason(reason)].remedy;
}

const char *reason_token(Reason reason)
{
    return reasons[known_reason(reason)].token;
}
