/* Bodies of GET /containers/ID/json and /containers/json, down to the keys and values that they come to. */
#include "docker/container.h"
#include "base/framing.h"
#include "catalog/record.h"

#include "fuzz.h"
#include "unit/catalog/rules.h"

#include <errno.h>
#include <string.h>

static const char *const label_names[] = { "com.docker.swarm.service.name", "color", "stage" };

static struct {
    const char *key, *value, *service;
    PortsMode ports;
    Template *templates[3];
} layouts[] = {
    { "/app/{service}/{name}", "{address}:{port}", "servers", PORTS_PUBLISHED, { NULL } },
    { "/{service}/{label:color?none}.{protocol}/{id}:{port}:{address}",
      "{\"image\":{image|json},\"address\":\"{address}\",\"port\":{port},\"stage\":{label:stage|json?null}}",
      "{image}-{container_port}",
      PORTS_INTERNAL,
      { NULL } },
};

static void layouts_compile(void)
{
    if (layouts[0].templates[0])
        return;
    for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
        layouts[i].templates[0] = compiled(layouts[i].key);
        layouts[i].templates[1] = compiled(layouts[i].value);
        layouts[i].templates[2] = compiled(layouts[i].service);
    }
}

static bool is_address(const char *text)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static void ensure_ports(const Container *container)
{
    ENSURE(container->n_ports <= CONTAINER_PORTS_MAX);
    for (size_t i = 0; i < container->n_ports; i++) {
        const Port *port = &container->ports[i], *last = i > 0 ? port - 1 : NULL;

        ENSURE(port->container_port > 0);
        ENSURE((unsigned)port->protocol <= PROTOCOL_SCTP);
        if (port->host_port > 0)
            ENSURE((port->any4 || port->any6) != (is_address(port->address)));
        else
            ENSURE(!port->any4 && !port->any6 && port->address[0] == '\0');
        if (last)
            ENSURE(last->container_port < port->container_port ||
                   (last->container_port == port->container_port && last->protocol <= port->protocol));
    }
}

static void ensure_sound(const Container *container)
{
    ENSURE(strlen(container->id) == 64 && strspn(container->id, "0123456789abcdef") == 64);
    ENSURE(container->name[0] != '\0' && strlen(container->name) <= 4096);
    ENSURE(strlen(container->image) <= 4096 && strlen(container->network_mode) <= 4096);
    ENSURE(container->stop_signal >= 1 && container->stop_signal <= 64);
    ENSURE(container->stop_timeout_s >= -1 && container->stop_timeout_s <= INT32_MAX);
    ENSURE(container->n_networks <= CONTAINER_NETWORKS_MAX);
    ENSURE(container->n_metadata * 2 <= CONTAINER_METADATA_MAX);
    ensure_ports(container);
    for (size_t i = 0; i < container->n_networks; i++) {
        const Network *network = &container->networks[i];

        ENSURE(network->address4[0] == '\0' || is_address(network->address4));
        ENSURE(network->address6[0] == '\0' || is_address(network->address6));
        ENSURE(i == 0 || strcmp(container->networks[i - 1].name, network->name) <= 0);
    }
    for (size_t i = 0; i < container->n_metadata; i++) {
        ENSURE(strlen(container->metadata[i].value) <= CONTAINER_METADATA_VALUE_MAX + 1);
        ENSURE(container_metadata(container, container->metadata[i].key));
        ENSURE(i == 0 || strcmp(container->metadata[i - 1].key, container->metadata[i].key) <= 0);
    }
    ENSURE(container_same_as_listed(container, container));
}

static void ensure_one_line(const char *text)
{
    for (; *text != '\0'; text++)
        ENSURE((unsigned char)*text >= 0x20 && *text != 0x7f);
}

/* A key stands below the template's literal text, has as many segments as the template, and none of them leads
 * elsewhere. */
static void ensure_key(const char *key, const Template *template)
{
    size_t slashes = 0, wanted = 0;

    ENSURE(strncmp(key, template_prefix(template), strlen(template_prefix(template))) == 0);
    for (const char *p = template_text(template); *p != '\0'; p++)
        wanted += *p == '/';
    for (const char *p = key; *p != '\0'; p++) {
        slashes += *p == '/';
        ENSURE((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || strchr("._:/-", *p));
    }
    ENSURE(slashes == wanted);
    ENSURE(!strstr(key, "//") && !strstr(key, "/./") && !strstr(key, "/../"));
    ENSURE(key[strlen(key) - 1] != '/');
}

static void ensure_records(const Container *container, size_t layout)
{
    const Template *key = layouts[layout].templates[0];
    Layout described = {
        .name = LAYOUT_DEFAULT,
        .key = layouts[layout].templates[0],
        .value = layouts[layout].templates[1],
        .service = layouts[layout].templates[2],
    };
    Rules rules = {
        .layouts = &described,
        .n_layouts = 1,
        .node = "node-1",
        .address4 = "192.0.2.1",
        .address6 = "2001:db8::1",
        .ports = layouts[layout].ports,
    };
    Records records;

    ENSURE(records_from_container(&records, container, &rules) == 0);
    ENSURE((unsigned)records.reason < REASON_MAX_);
    for (size_t i = 0; i < records.n_items; i++) {
        const Record *record = &records.items[i];

        ENSURE((unsigned)record->reason < REASON_MAX_);
        if (record->reason != REASON_NONE && record->reason != REASON_DUPLICATE)
            continue;
        ENSURE(records.reason == REASON_NONE);
        ensure_key(record->key, key);
        ENSURE(record->value[0] != '\0' && strlen(record->value) <= TEMPLATE_TEXT_MAX);
        ensure_one_line(record->value);
        for (size_t j = 0; record->reason == REASON_NONE && j < i; j++)
            ENSURE(records.items[j].reason != REASON_NONE || strcmp(records.items[j].key, record->key) != 0);
    }
    records_clear(&records);
}

static void take(Container *container, bool complete)
{
    ENSURE(container);
    ENSURE(container->complete == complete);
    ensure_sound(container);
    for (size_t i = 0; i < ARRAY_SIZE(layouts); i++)
        ensure_records(container, i);
    container_free(container);
}

static int take_listed(void *userdata, const char *text, size_t size)
{
    Container *container = NULL;
    int r = container_from_list(&container, text, size, userdata);

    ENSURE(r == 0 || r == -EBADMSG);
    if (r == 0)
        take(container, false);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LabelFilter filter = { .names = label_names, .n_names = ARRAY_SIZE(label_names) };
    char *text = malloc(size > 0 ? size : 1); /* of its own, so that reading past its end is noticed */
    Container *container = NULL;
    Framing framing;

    ENSURE(text);
    memcpy(text, data, size);
    layouts_compile();
    int r = container_from_inspect(&container, text, size, &filter);
    ENSURE(r == 0 || r == -EBADMSG);
    if (r == 0)
        take(container, true);
    take_listed(&filter, text, size);
    framing_init(&framing, FRAMING_ARRAY, 65536);
    (void)framing_feed(&framing, text, size, take_listed, &filter);
    framing_clear(&framing);
    free(text);
    return 0;
}
