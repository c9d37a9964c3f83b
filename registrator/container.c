#include "container.h"

#include "numbers.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

enum {
    ID_LENGTH = 64,
    TEXT_MAX = 4096, /* bytes, of a name, an image's or a network's name */
    STOP_TIMEOUT_DEFAULT_S = 10,
    /* Docker's own table (moby/sys/signal) counts from 34 on every platform but MIPS, where glibc's
     * SIGRTMIN would do as well; the numbers in kill events come from that table. */
    DOCKER_SIGRTMIN = 34,
    DOCKER_SIGRTMAX = 64,
};

DEFINE_CLEANUP(cJSON, cJSON_Delete)

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* NULL: not there, or not a string. */
static const char *member_string(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(member(object, name));
}

static bool member_true(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(member(object, name));
}

static int dup_bounded(char **ret, const char *text)
{
    if (!text || strnlen(text, TEXT_MAX + 1) > TEXT_MAX)
        text = "";
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    *ret = copy;
    return 0;
}

static bool id_is_valid(const char *id)
{
    return id && strlen(id) == ID_LENGTH && strspn(id, "0123456789abcdef") == ID_LENGTH;
}

/* 0: not a port. */
static uint16_t port_from_digits(const char *text, const char **ret_end)
{
    unsigned value = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (unsigned)(*p - '0');
        if (value > UINT16_MAX)
            return 0;
    }
    *ret_end = p;
    return (uint16_t)value;
}

static uint16_t port_from_json(const cJSON *number)
{
    double value = cJSON_IsNumber(number) ? number->valuedouble : 0;
    if (!(value >= 1 && value <= UINT16_MAX) || value != (double)(uint16_t)value)
        return 0;
    return (uint16_t)value;
}

static bool protocol_from_string(Protocol *ret, const char *text)
{
    for (Protocol protocol = PROTOCOL_TCP; protocol <= PROTOCOL_SCTP; protocol++)
        if (strcmp(text, protocol_to_string(protocol)) == 0) {
            *ret = protocol;
            return true;
        }
    return false;
}

/* "80/tcp", as the members of ExposedPorts and of NetworkSettings.Ports are called. */
static bool port_from_name(Port *ret, const char *name)
{
    const char *end = "";
    Port port = { .container_port = port_from_digits(name, &end) };
    if (port.container_port == 0)
        return false;
    if (*end != '\0' && (*end != '/' || !protocol_from_string(&port.protocol, end + 1)))
        return false;
    *ret = port;
    return true;
}

static bool port_set_address(Port *port, const char *address)
{
    struct in_addr in4;
    struct in6_addr in6;
    if (!address || address[0] == '\0') {
        port->any4 = port->any6 = true;
        return true;
    }
    if (inet_pton(AF_INET, address, &in4) == 1) {
        port->any4 = in4.s_addr == INADDR_ANY;
        return port->any4 || inet_ntop(AF_INET, &in4, port->address, sizeof(port->address));
    }
    if (inet_pton(AF_INET6, address, &in6) == 1) {
        port->any6 = IN6_IS_ADDR_UNSPECIFIED(&in6);
        return port->any6 || inet_ntop(AF_INET6, &in6, port->address, sizeof(port->address));
    }
    return false;
}

/* Grows by doubling: the number of ports is known only when all have been read. */
static int ports_add(Container *container, size_t *allocated, const Port *port)
{
    if (container->n_ports == *allocated) {
        size_t n = *allocated > 0 ? *allocated * 2 : 4;
        Port *ports = reallocarray(container->ports, n, sizeof(*ports));
        if (!ports)
            return -ENOMEM;
        container->ports = ports;
        *allocated = n;
    }
    container->ports[container->n_ports++] = *port;
    return 0;
}

static int compare_numbers(unsigned a, unsigned b)
{
    return (a > b) - (a < b);
}

static int port_compare(const void *left, const void *right)
{
    const Port *a = left, *b = right;
    int r = compare_numbers(a->container_port, b->container_port);
    if (r == 0)
        r = compare_numbers(a->protocol, b->protocol);
    if (r == 0)
        r = compare_numbers(a->host_port, b->host_port);
    return r != 0 ? r : strcmp(a->address, b->address);
}

/* Unpublished ports last, else as above. */
static int port_compare_published_first(const void *left, const void *right)
{
    const Port *a = left, *b = right;
    int r = compare_numbers(a->host_port == 0, b->host_port == 0);
    return r != 0 ? r : port_compare(a, b);
}

static bool port_same_number(const Port *a, const Port *b)
{
    return a->container_port == b->container_port && a->protocol == b->protocol;
}

/* Folds what is sorted: one entry for both families, none for a port that is exposed and published.
 * */
static size_t ports_fold(Port *ports, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        Port *last = kept > 0 ? &ports[kept - 1] : NULL;
        if (last && port_same_number(last, &ports[i]) && last->host_port == 0) {
            *last = ports[i];
        } else if (last && port_compare(last, &ports[i]) == 0) {
            last->any4 |= ports[i].any4;
            last->any6 |= ports[i].any6;
        } else {
            ports[kept++] = ports[i];
        }
    }
    return kept;
}

static void *shrink(void *array, size_t n, size_t size)
{
    if (n == 0) {
        free(array);
        return NULL;
    }
    void *smaller = reallocarray(array, n, size);
    return smaller ? smaller : array;
}

static void ports_finish(Container *container)
{
    if (container->n_ports > CONTAINER_PORTS_MAX) {
        /* What a list entry shows must be what an inspect keeps: the published ones, in one order.
         * */
        qsort(container->ports, container->n_ports, sizeof(Port), port_compare_published_first);
        container->n_ports = ports_fold(container->ports, container->n_ports);
        if (container->n_ports > CONTAINER_PORTS_MAX)
            container->n_ports = CONTAINER_PORTS_MAX;
    }
    if (container->n_ports > 0)
        qsort(container->ports, container->n_ports, sizeof(Port), port_compare);
    container->n_ports = ports_fold(container->ports, container->n_ports);
    container->ports = shrink(container->ports, container->n_ports, sizeof(Port));
}

static int read_inspected_bindings(Container *container, size_t *allocated, const Port *port, const cJSON *bindings)
{
    const cJSON *binding;
    cJSON_ArrayForEach (binding, bindings) {
        const char *digits = member_string(binding, "HostPort"), *end = "";
        Port bound = *port;
        if (digits)
            bound.host_port = port_from_digits(digits, &end);
        if (bound.host_port == 0 || *end != '\0' || !port_set_address(&bound, member_string(binding, "HostIp")))
            continue;
        int r = ports_add(container, allocated, &bound);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_named_ports(Container *container, size_t *allocated, const cJSON *ports)
{
    const cJSON *entry;
    cJSON_ArrayForEach (entry, ports) {
        Port port;
        if (!entry->string || !port_from_name(&port, entry->string))
            continue;
        /* The port itself: folded away if a binding follows. */
        int r = ports_add(container, allocated, &port);
        if (r >= 0 && cJSON_IsArray(entry))
            r = read_inspected_bindings(container, allocated, &port, entry);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_inspected_ports(Container *container, const cJSON *root)
{
    size_t allocated = 0;
    int r = read_named_ports(container, &allocated, member(member(root, "NetworkSettings"), "Ports"));
    if (r < 0)
        return r;
    r = read_named_ports(container, &allocated, member(member(root, "Config"), "ExposedPorts"));
    if (r < 0)
        return r;
    ports_finish(container);
    return 0;
}

static int read_listed_ports(Container *container, const cJSON *root)
{
    size_t allocated = 0;
    const cJSON *entry;
    cJSON_ArrayForEach (entry, member(root, "Ports")) {
        const char *type = member_string(entry, "Type");
        const cJSON *published = member(entry, "PublicPort");
        Port port = { .container_port = port_from_json(member(entry, "PrivatePort")) };
        if (port.container_port == 0 || !type || !protocol_from_string(&port.protocol, type))
            continue;
        port.host_port = port_from_json(published);
        if (port.host_port > 0 && !port_set_address(&port, member_string(entry, "IP")))
            continue;
        int r = ports_add(container, &allocated, &port);
        if (r < 0)
            return r;
    }
    ports_finish(container);
    return 0;
}

static int network_compare(const void *left, const void *right)
{
    return strcmp(((const Network *)left)->name, ((const Network *)right)->name);
}

/* Normalizes; what is no address leaves "". */
static void read_address(char *ret, int family, socklen_t size, const char *text)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (text && inet_pton(family, text, address) == 1)
        inet_ntop(family, address, ret, size);
}

static int read_networks(Container *container, const cJSON *root)
{
    const cJSON *networks = member(member(root, "NetworkSettings"), "Networks"), *entry;
    int n = cJSON_GetArraySize(networks);
    if (n <= 0)
        return 0;
    container->networks = calloc(n < CONTAINER_NETWORKS_MAX ? (size_t)n : CONTAINER_NETWORKS_MAX, sizeof(Network));
    if (!container->networks)
        return -ENOMEM;
    cJSON_ArrayForEach (entry, networks) {
        if (container->n_networks == CONTAINER_NETWORKS_MAX)
            break;
        if (!entry->string || strlen(entry->string) > TEXT_MAX)
            continue;
        Network *network = &container->networks[container->n_networks];
        network->name = strdup(entry->string);
        if (!network->name)
            return -ENOMEM;
        container->n_networks++;
        read_address(network->address4, AF_INET, sizeof(network->address4), member_string(entry, "IPAddress"));
        read_address(network->address6, AF_INET6, sizeof(network->address6), member_string(entry, "GlobalIPv6Address"));
    }
    if (container->n_networks > 0)
        qsort(container->networks, container->n_networks, sizeof(Network), network_compare);
    return 0;
}

static bool label_wanted(const LabelFilter *filter, const char *key)
{
    if (strncmp(key, "SERVICE_", strlen("SERVICE_")) == 0)
        return strlen(key) <= CONTAINER_METADATA_VALUE_MAX;
    for (size_t i = 0; filter && i < filter->n_names; i++)
        if (strcmp(key, filter->names[i]) == 0)
            return true;
    return false;
}

static const Label *metadata_find(const Container *container, size_t n, const char *key, size_t length)
{
    for (size_t i = 0; i < n; i++) {
        const char *known = container->metadata[i].key;
        if (strncmp(known, key, length) == 0 && known[length] == '\0')
            return &container->metadata[i];
    }
    return NULL;
}

static int metadata_add(Container *container, const char *key, size_t key_length, const char *value)
{
    if (container->n_metadata == CONTAINER_METADATA_MAX ||
        strnlen(value, CONTAINER_METADATA_VALUE_MAX + 1) > CONTAINER_METADATA_VALUE_MAX)
        return 0;
    if (!container->metadata) {
        container->metadata = calloc(CONTAINER_METADATA_MAX, sizeof(Label));
        if (!container->metadata)
            return -ENOMEM;
    }
    Label *label = &container->metadata[container->n_metadata];
    label->key = strndup(key, key_length);
    label->value = strdup(value);
    if (!label->key || !label->value) {
        free(label->key);
        free(label->value);
        return -ENOMEM;
    }
    container->n_metadata++;
    return 0;
}

static int read_labels(Container *container, const cJSON *labels, const LabelFilter *filter)
{
    const cJSON *label;
    cJSON_ArrayForEach (label, labels) {
        const char *value = cJSON_GetStringValue(label);
        if (!value || !label->string || !label_wanted(filter, label->string))
            continue;
        int r = metadata_add(container, label->string, strlen(label->string), value);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Is it a label, even one whose value was too long to be kept? Then the environment does not count.
 * */
static bool is_label(const cJSON *labels, const char *key, size_t length)
{
    const cJSON *label;
    cJSON_ArrayForEach (label, labels)
        if (label->string && strncmp(label->string, key, length) == 0 && label->string[length] == '\0')
            return true;
    return false;
}

static int read_environment(Container *container, const cJSON *environment, const cJSON *labels)
{
    const cJSON *entry;
    cJSON_ArrayForEach (entry, environment) {
        const char *key = cJSON_GetStringValue(entry);
        const char *value = key ? strchr(key, '=') : NULL;
        if (!value || strncmp(key, "SERVICE_", strlen("SERVICE_")) != 0)
            continue;
        size_t length = (size_t)(value - key);
        if (length > CONTAINER_METADATA_VALUE_MAX || is_label(labels, key, length) ||
            metadata_find(container, container->n_metadata, key, length))
            continue;
        int r = metadata_add(container, key, length, value + 1);
        if (r < 0)
            return r;
    }
    return 0;
}

static int label_compare(const void *left, const void *right)
{
    return strcmp(((const Label *)left)->key, ((const Label *)right)->key);
}

static int read_metadata(Container *container, const cJSON *labels, const cJSON *environment, const LabelFilter *filter)
{
    int r = read_labels(container, labels, filter);
    if (r >= 0)
        r = read_environment(container, environment, labels);
    if (r < 0)
        return r;
    if (container->n_metadata > 0)
        qsort(container->metadata, container->n_metadata, sizeof(Label), label_compare);
    container->metadata = shrink(container->metadata, container->n_metadata, sizeof(Label));
    return 0;
}

static int signal_from_name(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } signals[] = {
        { "ABRT", SIGABRT },
        { "ALRM", SIGALRM },
        { "BUS", SIGBUS },
        { "CHLD", SIGCHLD },
        { "CLD", SIGCHLD },
        { "CONT", SIGCONT },
        { "FPE", SIGFPE },
        { "HUP", SIGHUP },
        { "ILL", SIGILL },
        { "INT", SIGINT },
        { "IO", SIGIO },
        { "IOT", SIGABRT },
        { "KILL", SIGKILL },
        { "PIPE", SIGPIPE },
        { "POLL", SIGPOLL },
        { "PROF", SIGPROF },
        { "PWR", SIGPWR },
        { "QUIT", SIGQUIT },
        { "SEGV", SIGSEGV },
#ifdef SIGSTKFLT
        { "STKFLT", SIGSTKFLT },
#endif
        { "STOP", SIGSTOP },
        { "SYS", SIGSYS },
        { "TERM", SIGTERM },
        { "TRAP", SIGTRAP },
        { "TSTP", SIGTSTP },
        { "TTIN", SIGTTIN },
        { "TTOU", SIGTTOU },
        { "URG", SIGURG },
        { "USR1", SIGUSR1 },
        { "USR2", SIGUSR2 },
        { "VTALRM", SIGVTALRM },
        { "WINCH", SIGWINCH },
        { "XCPU", SIGXCPU },
        { "XFSZ", SIGXFSZ },
        { "RTMIN", DOCKER_SIGRTMIN },
        { "RTMAX", DOCKER_SIGRTMAX },
    };
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        if (strcasecmp(name, signals[i].name) == 0)
            return signals[i].number;
    return 0;
}

static int small_number(const char *text)
{
    unsigned number;

    return number_parse(text, 99, &number) ? (int)number : -1;
}

/* As Docker reads it: "SIGQUIT", "quit", "3", "SIGRTMIN+3". What it would not take is SIGTERM, its
 * default. */
static int signal_from_string(const char *text)
{
    if (!text)
        return SIGTERM;
    int number = small_number(text);
    if (number >= 1 && number <= DOCKER_SIGRTMAX)
        return number;
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    if (strncasecmp(text, "RTMIN+", 6) == 0) {
        int offset = small_number(text + 6);
        return offset >= 1 && offset <= DOCKER_SIGRTMAX - DOCKER_SIGRTMIN ? DOCKER_SIGRTMIN + offset : SIGTERM;
    }
    if (strncasecmp(text, "RTMAX-", 6) == 0) {
        int offset = small_number(text + 6);
        return offset >= 1 && offset <= DOCKER_SIGRTMAX - DOCKER_SIGRTMIN ? DOCKER_SIGRTMAX - offset : SIGTERM;
    }
    number = signal_from_name(text);
    return number > 0 ? number : SIGTERM;
}

static int64_t stop_timeout_from_json(const cJSON *number)
{
    if (!cJSON_IsNumber(number))
        return STOP_TIMEOUT_DEFAULT_S;
    if (number->valuedouble < 0)
        return -1;
    return number->valuedouble < INT32_MAX ? (int64_t)number->valuedouble : INT32_MAX;
}

static ContainerHealth health_from_string(const char *text)
{
    if (!text)
        return HEALTH_NONE;
    if (strcmp(text, "healthy") == 0)
        return HEALTH_HEALTHY;
    if (strcmp(text, "unhealthy") == 0)
        return HEALTH_UNHEALTHY;
    return strcmp(text, "starting") == 0 ? HEALTH_STARTING : HEALTH_NONE;
}

/* "Up 2 seconds (healthy)" */
static ContainerHealth health_from_status(const char *status)
{
    const char *note = status ? strrchr(status, '(') : NULL;
    if (!note)
        return HEALTH_NONE;
    if (strcmp(note, "(healthy)") == 0)
        return HEALTH_HEALTHY;
    if (strcmp(note, "(unhealthy)") == 0)
        return HEALTH_UNHEALTHY;
    return strcmp(note, "(health: starting)") == 0 ? HEALTH_STARTING : HEALTH_NONE;
}

static ContainerState state_from_inspect(const cJSON *state)
{
    /* A restarting container says Running as well, while it waits for its next try. */
    if (!member_true(state, "Running") || member_true(state, "Restarting") || member_true(state, "Dead"))
        return CONTAINER_STOPPED;
    return member_true(state, "Paused") ? CONTAINER_PAUSED : CONTAINER_RUNNING;
}

static ContainerState state_from_list(const char *state)
{
    if (strcmp(state, "running") == 0)
        return CONTAINER_RUNNING;
    return strcmp(state, "paused") == 0 ? CONTAINER_PAUSED : CONTAINER_STOPPED;
}

/* Of all names the container's own: a link adds "/other/alias". */
static const char *listed_name(const cJSON *names)
{
    const cJSON *entry;
    cJSON_ArrayForEach (entry, names) {
        const char *name = cJSON_GetStringValue(entry);
        if (name && !strchr(name[0] == '/' ? name + 1 : name, '/'))
            return name;
    }
    return NULL;
}

static int container_new(Container **ret, const cJSON *root, const char *name, const char *image)
{
    const char *id = member_string(root, "Id");
    const char *network_mode = member_string(member(root, "HostConfig"), "NetworkMode");
    if (name && name[0] == '/')
        name++;
    if (!id_is_valid(id) || !name || name[0] == '\0' || strlen(name) > TEXT_MAX)
        return -EBADMSG;

    CLEANUP(container_free_p) Container *container = calloc(1, sizeof(*container));
    if (!container)
        return -ENOMEM;
    container->stop_signal = SIGTERM;
    container->stop_timeout_s = STOP_TIMEOUT_DEFAULT_S;
    container->id = strdup(id);
    container->name = strdup(name);
    if (!container->id || !container->name)
        return -ENOMEM;
    int r = dup_bounded(&container->image, image);
    if (r < 0)
        return r;
    r = dup_bounded(&container->network_mode, network_mode && network_mode[0] != '\0' ? network_mode : "default");
    if (r < 0)
        return r;
    *ret = TAKE_PTR(container);
    return 0;
}

static int parse_object(cJSON **ret, const char *text, size_t size)
{
    const char *end = text;
    CLEANUP(cJSON_Delete_p) cJSON *root = cJSON_ParseWithLengthOpts(text, size, &end, false);
    if (!cJSON_IsObject(root))
        return -EBADMSG;
    for (; end < text + size && *end != '\0'; end++)
        if (!strchr(" \t\r\n", *end))
            return -EBADMSG;
    *ret = TAKE_PTR(root);
    return 0;
}

/* There is no such thing, or it is of the type that is checked for. Anything else is not Docker's, and to take it for
 * "none" would withdraw a key, or register what is not to be. */
static bool may_be(const cJSON *item, cJSON_bool (*is_type)(const cJSON *))
{
    return !item || cJSON_IsNull(item) || is_type(item);
}

static bool inspect_is_sound(const cJSON *root, const cJSON *config, const cJSON *state)
{
    const cJSON *health = member(state, "Health"), *network = member(root, "NetworkSettings");

    return cJSON_IsObject(config) && cJSON_IsObject(state) && may_be(member(state, "Running"), cJSON_IsBool) &&
           may_be(member(state, "Paused"), cJSON_IsBool) && may_be(health, cJSON_IsObject) &&
           may_be(member(health, "Status"), cJSON_IsString) && may_be(network, cJSON_IsObject) &&
           may_be(member(network, "Ports"), cJSON_IsObject) && may_be(member(config, "Labels"), cJSON_IsObject) &&
           may_be(member(config, "Env"), cJSON_IsArray);
}

static bool entry_is_sound(const cJSON *root)
{
    return cJSON_IsString(member(root, "State")) && may_be(member(root, "Status"), cJSON_IsString) &&
           may_be(member(root, "Ports"), cJSON_IsArray) && may_be(member(root, "Labels"), cJSON_IsObject);
}

int container_from_inspect(Container **ret, const char *body, size_t size, const LabelFilter *filter)
{
    CLEANUP(cJSON_Delete_p) cJSON *root = NULL;
    CLEANUP(container_free_p) Container *container = NULL;
    int r = parse_object(&root, body, size);
    if (r < 0)
        return r;
    const cJSON *config = member(root, "Config"), *state = member(root, "State");
    if (!inspect_is_sound(root, config, state))
        return -EBADMSG;
    r = container_new(&container, root, member_string(root, "Name"), member_string(config, "Image"));
    if (r < 0)
        return r;
    container->complete = true;
    container->state = state_from_inspect(state);
    container->health = health_from_string(member_string(member(state, "Health"), "Status"));
    container->stop_signal = signal_from_string(member_string(config, "StopSignal"));
    container->stop_timeout_s = stop_timeout_from_json(member(config, "StopTimeout"));
    r = read_inspected_ports(container, root);
    if (r >= 0)
        r = read_networks(container, root);
    if (r >= 0)
        r = read_metadata(container, member(config, "Labels"),
                          filter && filter->labels_only ? NULL : member(config, "Env"), filter);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(container);
    return 0;
}

int container_from_list(Container **ret, const char *object, size_t size, const LabelFilter *filter)
{
    CLEANUP(cJSON_Delete_p) cJSON *root = NULL;
    CLEANUP(container_free_p) Container *container = NULL;
    int r = parse_object(&root, object, size);
    if (r < 0)
        return r;
    if (!entry_is_sound(root))
        return -EBADMSG;
    r = container_new(&container, root, listed_name(member(root, "Names")), member_string(root, "Image"));
    if (r < 0)
        return r;
    container->state = state_from_list(member_string(root, "State"));
    container->health = health_from_status(member_string(root, "Status"));
    r = read_listed_ports(container, root);
    if (r >= 0)
        r = read_networks(container, root);
    if (r >= 0)
        r = read_metadata(container, member(root, "Labels"), NULL, filter);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(container);
    return 0;
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
    free(container->image);
    free(container->name);
    free(container->id);
    free(container);
    return NULL;
}

/* The next published port from *i on; a list entry does not show the exposed ones of a host's
 * network. */
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
    /* Inspect remembers the health of what has stopped or pauses, a list entry does not. */
    if (known->state == CONTAINER_RUNNING && known->health != listed->health)
        return false;
    return same_published_ports(known, listed) && same_networks(known, listed);
}

const char *container_metadata(const Container *container, const char *key)
{
    const Label *label = metadata_find(container, container->n_metadata, key, strlen(key));
    return label ? label->value : NULL;
}

const char *protocol_to_string(Protocol protocol)
{
    static const char *const names[] = { "tcp", "udp", "sctp" };
    return (size_t)protocol < ARRAY_SIZE(names) ? names[protocol] : "tcp";
}
