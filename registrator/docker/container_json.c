/* Containers from Docker's JSON: the answer to an inspect, or an entry of the list. */
#include "docker/asked_ports.h"
#include "docker/container_private.h"
#include "docker/image_ports.h"

#include "base/grow.h"
#include "base/numbers.h"
#include "base/text.h"
#include "base/timestamp.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

enum {
    TEXT_MAX = 4096, /* bytes of the container's, the image's or a network's name */
    STOP_TIMEOUT_DEFAULT_S = 10,
};

static bool member_true(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(json_get(object, name));
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

/* Parses "80/tcp", a member's name in ExposedPorts and NetworkSettings.Ports. */
static bool port_from_name(Port *ret, const char *name)
{
    unsigned number = 0;
    const char *end = digits_parse(name, UINT16_MAX, &number);
    Port port = { .container_port = (uint16_t)number };
    if (number == 0)
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

static int ports_add(Container *container, const Port *port)
{
    if (array_grow(&container->ports, container->n_ports, sizeof(Port)) < 0)
        return -ENOMEM;
    container->ports[container->n_ports++] = *port;
    return 0;
}

/* Sorts unpublished ports to the end; else like port_compare(). */
static int port_compare_published_first(const void *left, const void *right)
{
    const Port *a = left, *b = right;
    int r = (a->host_port == 0) - (b->host_port == 0);
    return r != 0 ? r : port_compare(a, b);
}

static bool port_same_number(const Port *a, const Port *b)
{
    return a->container_port == b->container_port && a->protocol == b->protocol;
}

/* Folds the sorted ports: one entry for both families, and one entry for a port that is both exposed and published. */
static size_t ports_fold(Port *ports, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        Port *last = kept > 0 ? &ports[kept - 1] : NULL;
        if (last && port_same_number(last, &ports[i]))
            last->exposed = ports[i].exposed = last->exposed || ports[i].exposed;
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

static void ports_sort(Container *container, int (*compare)(const void *, const void *))
{
    if (container->ports)
        qsort(container->ports, container->n_ports, sizeof(Port), compare);
}

static void ports_finish(Container *container)
{
    ports_sort(container, port_compare);
    container->n_ports = ports_fold(container->ports, container->n_ports);
    if (container->n_ports > CONTAINER_PORTS_MAX) {
        ports_sort(container, port_compare_published_first);
        container->n_ports_left_out = container->n_ports - CONTAINER_PORTS_MAX;
        container->n_ports = CONTAINER_PORTS_MAX;
        ports_sort(container, port_compare);
    }
    container->ports = shrink(container->ports, container->n_ports, sizeof(Port));
}

static int read_inspected_bindings(Container *container, const Port *port, const cJSON *bindings)
{
    const cJSON *binding;
    cJSON_ArrayForEach (binding, bindings) {
        const char *digits = json_string(binding, "HostPort");
        unsigned number = 0;
        Port bound = *port;
        if (digits && number_parse(digits, UINT16_MAX, &number))
            bound.host_port = (uint16_t)number;
        if (number == 0 || !port_set_address(&bound, json_string(binding, "HostIp")))
            continue;
        int r = ports_add(container, &bound);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_named_ports(Container *container, const cJSON *ports, bool exposed)
{
    const cJSON *entry;
    cJSON_ArrayForEach (entry, ports) {
        Port port;
        if (!entry->string || !port_from_name(&port, entry->string))
            continue;
        port.exposed = exposed;
        /* The exposed port. ports_fold() drops it if the port has a binding. */
        int r = ports_add(container, &port);
        if (r >= 0 && cJSON_IsArray(entry))
            r = read_inspected_bindings(container, &port, entry);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_inspected_ports(Container *container, const cJSON *root)
{
    int r = read_named_ports(container, json_get(json_get(root, "NetworkSettings"), "Ports"), false);
    if (r < 0)
        return r;
    r = read_named_ports(container, json_get(json_get(root, "Config"), "ExposedPorts"), true);
    if (r < 0)
        return r;
    ports_finish(container);
    return 0;
}

static int read_listed_ports(Container *container, const cJSON *root)
{
    const cJSON *entry;
    cJSON_ArrayForEach (entry, json_get(root, "Ports")) {
        const char *type = json_string(entry, "Type");
        const cJSON *published = json_get(entry, "PublicPort");
        Port port = { .container_port = port_from_json(json_get(entry, "PrivatePort")) };
        if (port.container_port == 0 || !type || !protocol_from_string(&port.protocol, type))
            continue;
        port.host_port = port_from_json(published);
        if (port.host_port > 0 && !port_set_address(&port, json_string(entry, "IP")))
            continue;
        int r = ports_add(container, &port);
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

/* Writes the address in inet_ntop()'s form, or "" for any other text. */
static void read_address(char *ret, int family, socklen_t size, const char *text)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (text && inet_pton(family, text, address) == 1)
        inet_ntop(family, address, ret, size);
}

static int read_networks(Container *container, const cJSON *root)
{
    const cJSON *networks = json_get(json_get(root, "NetworkSettings"), "Networks"), *entry;
    int n = cJSON_GetArraySize(networks);
    if (n <= 0)
        return 0;
    container->networks = calloc(n < CONTAINER_NETWORKS_MAX ? (size_t)n : CONTAINER_NETWORKS_MAX, sizeof(Network));
    if (!container->networks)
        return -ENOMEM;
    cJSON_ArrayForEach (entry, networks) {
        if (container->n_networks == CONTAINER_NETWORKS_MAX) {
            container->n_networks_left_out++;
            continue;
        }
        if (!entry->string || strlen(entry->string) > TEXT_MAX)
            continue;
        Network *network = &container->networks[container->n_networks];
        network->name = strdup(entry->string);
        if (!network->name)
            return -ENOMEM;
        container->n_networks++;
        read_address(network->address4, AF_INET, sizeof(network->address4), json_string(entry, "IPAddress"));
        read_address(network->address6, AF_INET6, sizeof(network->address6), json_string(entry, "GlobalIPv6Address"));
    }
    if (container->n_networks > 0)
        qsort(container->networks, container->n_networks, sizeof(Network), network_compare);
    return 0;
}

/* Podman's infra container holds the network of a pod. Podman's Docker API does not mark it. Either its name is
 * "<first 12 digits of the pod's ID>-infra" and its cgroup is below the pod's, or it runs Podman's own image. */
static bool is_pod_infra(const Container *container, const cJSON *root)
{
    enum { POD_DIGITS = 12 };
    static const char image[] = "localhost/podman-pause:";
    const char *cgroup = json_string(json_get(root, "HostConfig"), "CgroupParent");
    char pod[POD_DIGITS + 1];

    if (strncmp(container->image, image, strlen(image)) == 0)
        return true;
    if (strspn(container->name, "0123456789abcdef") != POD_DIGITS ||
        strcmp(container->name + POD_DIGITS, "-infra") != 0)
        return false;
    memcpy(pod, container->name, POD_DIGITS);
    pod[POD_DIGITS] = '\0';
    return cgroup && strstr(cgroup, pod);
}

static int64_t stop_timeout_from_json(const cJSON *number)
{
    if (!cJSON_IsNumber(number))
        return STOP_TIMEOUT_DEFAULT_S;
    if (number->valuedouble < 0)
        return -1;
    return number->valuedouble < INT32_MAX ? (int64_t)number->valuedouble : INT32_MAX;
}

/* text: an inspect's health, or the end of a list entry's status, as in "Up 2 seconds (healthy)". NULL: HEALTH_NONE. */
static ContainerHealth health_from_string(const char *text)
{
    static const struct {
        const char *inspected, *listed;
        ContainerHealth health;
    } words[] = {
        { "healthy", "(healthy)", HEALTH_HEALTHY },
        { "unhealthy", "(unhealthy)", HEALTH_UNHEALTHY },
        { "starting", "(health: starting)", HEALTH_STARTING },
    };

    for (size_t i = 0; text && i < ARRAY_SIZE(words); i++)
        if (strcmp(text, words[i].inspected) == 0 || strcmp(text, words[i].listed) == 0)
            return words[i].health;
    return HEALTH_NONE;
}

static ContainerState state_from_inspect(const cJSON *state)
{
    /* A restarting container also has Running, while it waits for its next start. */
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

/* The container's own name. A link adds names such as "/other/alias". */
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
    const char *id = json_string(root, "Id");
    const char *network_mode = json_string(json_get(root, "HostConfig"), "NetworkMode");
    if (name && name[0] == '/')
        name++;
    if (!text_is_container_id(id) || !name || name[0] == '\0' || strlen(name) > TEXT_MAX)
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

/* Returns true if the item is absent, or if is_type accepts it. Docker never sends another type. Treating such an
 * item as absent could deregister a key, or register a container that must not be registered. */
static bool may_be(const cJSON *item, cJSON_bool (*is_type)(const cJSON *))
{
    return !item || cJSON_IsNull(item) || is_type(item);
}

static bool inspect_is_sound(const cJSON *root, const cJSON *config, const cJSON *state)
{
    const cJSON *health = json_get(state, "Health"), *network = json_get(root, "NetworkSettings");

    return cJSON_IsObject(config) && cJSON_IsObject(state) && may_be(json_get(state, "Running"), cJSON_IsBool) &&
           may_be(json_get(state, "Paused"), cJSON_IsBool) && may_be(health, cJSON_IsObject) &&
           may_be(json_get(health, "Status"), cJSON_IsString) && may_be(network, cJSON_IsObject) &&
           may_be(json_get(network, "Ports"), cJSON_IsObject) && may_be(json_get(config, "Labels"), cJSON_IsObject) &&
           may_be(json_get(config, "Env"), cJSON_IsArray);
}

static bool entry_is_sound(const cJSON *root)
{
    return cJSON_IsString(json_get(root, "State")) && may_be(json_get(root, "Status"), cJSON_IsString) &&
           may_be(json_get(root, "Ports"), cJSON_IsArray) && may_be(json_get(root, "Labels"), cJSON_IsObject);
}

int container_from_inspect(Container **ret, const char *body, size_t size, const LabelFilter *filter)
{
    CLEANUP_JSON cJSON *root = NULL;
    CLEANUP(container_free_p) Container *container = NULL;
    int r = json_parse_object(&root, body, size);
    if (r < 0)
        return r;
    const cJSON *config = json_get(root, "Config"), *state = json_get(root, "State");
    if (!inspect_is_sound(root, config, state))
        return -EBADMSG;
    r = container_new(&container, root, json_string(root, "Name"), json_string(config, "Image"));
    if (r < 0)
        return r;
    container->complete = true;
    container->state = state_from_inspect(state);
    container->health = health_from_string(json_string(json_get(state, "Health"), "Status"));
    container->created_ns = timestamp_to_ns(json_string(root, "Created"));
    if (container->state != CONTAINER_STOPPED)
        container->started_ns = timestamp_to_ns(json_string(state, "StartedAt"));
    container->stop_signal = stop_signal_from_string(json_string(config, "StopSignal"));
    container->stop_timeout_s = stop_timeout_from_json(json_get(config, "StopTimeout"));
    container->pod_infra = is_pod_infra(container, root);
    container->ports_pending = container->state != CONTAINER_STOPPED && asked_ports_are_pending(root);
    r = read_inspected_ports(container, root);
    if (r >= 0)
        r = read_networks(container, root);
    if (r >= 0)
        r = metadata_read(container, json_get(config, "Labels"), json_get(config, "Env"), filter);
    if (r >= 0)
        r = image_ports_need(container, root);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(container);
    return 0;
}

int container_from_list(Container **ret, const char *object, size_t size, const LabelFilter *filter)
{
    CLEANUP_JSON cJSON *root = NULL;
    CLEANUP(container_free_p) Container *container = NULL;
    int r = json_parse_object(&root, object, size);
    if (r < 0)
        return r;
    if (!entry_is_sound(root))
        return -EBADMSG;
    const char *status = json_string(root, "Status");
    r = container_new(&container, root, listed_name(json_get(root, "Names")), json_string(root, "Image"));
    if (r < 0)
        return r;
    container->state = state_from_list(json_string(root, "State"));
    container->health = health_from_string(status ? strrchr(status, '(') : NULL);
    r = read_listed_ports(container, root);
    if (r >= 0)
        r = read_networks(container, root);
    if (r >= 0)
        r = metadata_read(container, json_get(root, "Labels"), NULL, filter);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(container);
    return 0;
}
