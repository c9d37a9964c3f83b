/* Containers from recorded bodies of a real engine, and from bodies that no engine should send. */
#include "docker/container.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

DEFINE_CLEANUP(cJSON, cJSON_Delete)

static char *read_data(const char *name)
{
    const char *srcdir = getenv("srcdir");
    CLEANUP_FREE char *path = NULL;
    assert_true(asprintf(&path, "%s/tests/data/docker/%s.json", srcdir ? srcdir : ".", name) > 0);
    CLEANUP(fclose_p) FILE *file = fopen(path, "re");
    if (!file)
        fail_msg("cannot open %s", path);
    char *text = NULL;
    size_t allocated = 0;
    assert_true(getdelim(&text, &allocated, '\0', file) > 0);
    return text;
}

static Container *inspect_text(const char *text, const LabelFilter *filter)
{
    Container *container = NULL;
    assert_int_equal(container_from_inspect(&container, text, strlen(text), filter), 0);
    return container;
}

static Container *inspected(const char *name)
{
    CLEANUP_FREE char *file = NULL;
    assert_true(asprintf(&file, "inspect-%s", name) > 0);
    CLEANUP_FREE char *text = read_data(file);
    return inspect_text(text, NULL);
}

static bool has_name(const cJSON *entry, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach (item, cJSON_GetObjectItem(entry, "Names"))
        if (strncmp(item->valuestring + 1, name, strlen(name)) == 0 &&
            (item->valuestring[1 + strlen(name)] == '\0' || item->valuestring[1 + strlen(name)] == '.'))
            return true;
    return false;
}

static Container *listed(const char *name)
{
    CLEANUP_FREE char *text = read_data("list");
    CLEANUP(cJSON_Delete_p) cJSON *list = cJSON_Parse(text);
    const cJSON *entry;
    cJSON_ArrayForEach (entry, list) {
        if (!has_name(entry, name))
            continue;
        CLEANUP_FREE char *object = cJSON_PrintUnformatted(entry);
        Container *container = NULL;
        assert_int_equal(container_from_list(&container, object, strlen(object), NULL), 0);
        return container;
    }
    fail_msg("%s is not in the list", name);
    return NULL;
}

static void assert_port(const Port *port, uint16_t container_port, Protocol protocol, uint16_t host_port, bool any4,
                        bool any6, const char *address)
{
    assert_int_equal(port->container_port, container_port);
    assert_int_equal(port->protocol, protocol);
    assert_int_equal(port->host_port, host_port);
    assert_int_equal(port->any4, any4);
    assert_int_equal(port->any6, any6);
    assert_string_equal(port->address, address);
}

/* An inspect body of a running container; members of config, state and network settings may be
 * given. */
static Container *made(const char *config, const char *state, const char *settings)
{
    CLEANUP_FREE char *text = NULL;
    assert_true(asprintf(&text,
                         "{\"Id\":\"" ID "\",\"Name\":\"/web\",\"State\":{\"Running\":true%s},"
                         "\"HostConfig\":{\"NetworkMode\":\"bridge\"},"
                         "\"Config\":{\"Image\":\"app:1\"%s},\"NetworkSettings\":{%s}}",
                         state, config, settings) > 0);
    return inspect_text(text, NULL);
}

static void inspect_tells_the_common_case(void **state)
{
    (void)state;
    CLEANUP(container_free_p) Container *c = inspected("single");
    assert_int_equal(strlen(c->id), 64);
    assert_string_equal(c->name, "single");
    assert_string_equal(c->image, "app:1");
    assert_string_equal(c->network_mode, "default");
    assert_int_equal(c->state, CONTAINER_RUNNING);
    assert_int_equal(c->health, HEALTH_NONE);
    assert_true(c->complete);
    assert_int_equal(c->stop_signal, SIGTERM);
    assert_int_equal(c->stop_timeout_s, 10);
    assert_int_equal(c->n_ports, 1);
    assert_port(&c->ports[0], 80, PROTOCOL_TCP, 32768, true, true, "");
    assert_int_equal(c->n_networks, 1);
    assert_string_equal(c->networks[0].name, "bridge");
    assert_string_equal(c->networks[0].address4, "198.51.100.2");
    assert_string_equal(c->networks[0].address6, "2001:db8:1::242:c633:6402");
    assert_int_equal(c->n_metadata, 0);
}

static void list_tells_the_common_case(void **state)
{
    (void)state;
    CLEANUP(container_free_p) Container *c = listed("fixed");
    assert_string_equal(c->name, "fixed");
    assert_string_equal(c->image, "app:1");
    assert_int_equal(c->state, CONTAINER_RUNNING);
    assert_false(c->complete);
    assert_int_equal(c->stop_signal, SIGTERM);
    assert_int_equal(c->stop_timeout_s, 10);
    assert_int_equal(c->n_ports, 1);
    assert_port(&c->ports[0], 80, PROTOCOL_TCP, 8080, true, true, "");
    assert_string_equal(c->networks[0].address4, "198.51.100.3");
}

static void list_and_inspect_agree(void **state)
{
    (void)state;
    static const char *const names[] = {
        "single",       "fixed",   "loopback",  "specific", "specific6", "mixed",  "udp",    "several",
        "one-of-three", "range",   "ipv6only",  "ipv4only", "twice",     "host",   "none",   "joined",
        "usernet",      "healthy", "unhealthy", "starting", "nohealth",  "paused", "exited", "created",
        "restarting",   "meta",    "renamed",   "linked",   "systemd",   "swarm",
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP(container_free_p) Container *full = inspected(names[i]);
        CLEANUP(container_free_p) Container *brief = listed(names[i]);
        if (!container_same_as_listed(full, brief))
            fail_msg("list and inspect differ about '%s'", names[i]);
        assert_string_equal(full->id, brief->id);
        assert_string_equal(full->image, brief->image);
        assert_string_equal(full->network_mode, brief->network_mode);
    }
}

static void a_link_does_not_change_the_name(void **state)
{
    (void)state;
    CLEANUP(container_free_p) Container *c = listed("single"); /* Names: /linked/db, /single */
    assert_string_equal(c->name, "single");
}

static void a_rename_is_seen(void **state)
{
    (void)state;
    CLEANUP(container_free_p) Container *c = inspected("renamed");
    CLEANUP(container_free_p) Container *l = listed("renamed");
    assert_string_equal(c->name, "renamed");
    free(l->name);
    l->name = strdup("again");
    assert_false(container_same_as_listed(c, l));
}

static void states(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        ContainerState state;
    } expected[] = {
        { "single", CONTAINER_RUNNING },  { "paused", CONTAINER_PAUSED },      { "exited", CONTAINER_STOPPED },
        { "created", CONTAINER_STOPPED }, { "restarting", CONTAINER_STOPPED }, { "unhealthy", CONTAINER_RUNNING },
    };
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        CLEANUP(container_free_p) Container *full = inspected(expected[i].name);
        CLEANUP(container_free_p) Container *brief = listed(expected[i].name);
        assert_int_equal(full->state, expected[i].state);
        assert_int_equal(brief->state, expected[i].state);
    }
}

static void healths(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        ContainerHealth health;
    } expected[] = {
        { "healthy", HEALTH_HEALTHY }, { "unhealthy", HEALTH_UNHEALTHY }, { "starting", HEALTH_STARTING },
        { "nohealth", HEALTH_NONE },   { "single", HEALTH_NONE },
    };
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        CLEANUP(container_free_p) Container *full = inspected(expected[i].name);
        CLEANUP(container_free_p) Container *brief = listed(expected[i].name);
        assert_int_equal(full->health, expected[i].health);
        assert_int_equal(brief->health, expected[i].health);
    }
    CLEANUP(container_free_p) Container *none = made("", ",\"Health\":{\"Status\":\"none\"}", "");
    assert_int_equal(none->health, HEALTH_NONE);
}

static void bindings_to_addresses(void **state)
{
    (void)state;
    CLEANUP(container_free_p) Container *loopback = inspected("loopback");
    assert_port(&loopback->ports[0], 80, PROTOCOL_TCP, 8085, false, false, "127.0.0.1");
    CLEANUP(container_free_p) Container *specific = inspected("specific");
    assert_port(&specific->ports[0], 80, PROTOCOL_TCP, 8086, false, false, "192.0.2.5");
    CLEANUP(container_free_p) Container *specific6 = inspected("specific6");
    assert_port(&specific6->ports[0], 80, PROTOCOL_TCP, 8086, false, false, "2001:db8::5");
    CLEANUP(container_free_p) Container *ipv6only = inspected("ipv6only");
    assert_port(&ipv6only->ports[0], 80, PROTOCOL_TCP, 8081, false, true, "");
    CLEANUP(container_free_p) Container *ipv4only = inspected("ipv4only");
    assert_port(&ipv4only->ports[0], 80, PROTOCOL_TCP, 8082, true, false, "");
    CLEANUP(container_free_p) Container *mixed = inspected("mixed");
    assert_int_equal(mixed->n_ports, 3);
    assert_port(&mixed->ports[0], 80, PROTOCOL_TCP, 8087, false, false, "127.0.0.1");
    assert_port(&mixed->ports[1], 80, PROTOCOL_TCP, 8088, true, true, "");
    assert_port(&mixed->ports[2], 80, PROTOCOL_TCP, 8089, false, false, "192.0.2.6");
}

static void several_ports_are_sorted(void **state)
{
    (void)state;
    CLEANUP(container_free_p) Container *several = inspected("several");
    assert_int_equal(several->n_ports, 4);
    assert_port(&several->ports[0], 53, PROTOCOL_UDP, 32768, true, true, "");
    assert_port(&several->ports[1], 80, PROTOCOL_TCP, 32771, true, true, "");
    assert_port(&several->ports[2], 443, PROTOCOL_TCP, 32770, true, true, "");
    assert_port(&several->ports[3], 8443, PROTOCOL_TCP, 32769, true, true, "");
    CLEANUP(container_free_p) Container *udp = inspected("udp");
    assert_int_equal(udp->n_ports, 3);
    assert_port(&udp->ports[0], 53, PROTOCOL_TCP, 53, true, true, "");
    assert_port(&udp->ports[1], 53, PROTOCOL_UDP, 53, true, true, "");
    assert_port(&udp->ports[2], 80, PROTOCOL_TCP, 0, false, false, "");
    CLEANUP(container_free_p) Container *twice = inspected("twice");
    assert_int_equal(twice->n_ports, 2);
    assert_port(&twice->ports[0], 80, PROTOCOL_TCP, 8090, true, true, "");
    assert_port(&twice->ports[1], 80, PROTOCOL_TCP, 8091, true, true, "");
}

static void exposed_ports_are_kept_unpublished(void **state)
{
    (void)state;
    CLEANUP(container_free_p) Container *one = inspected("one-of-three");
    assert_int_equal(one->n_ports, 4);
    assert_port(&one->ports[0], 53, PROTOCOL_UDP, 0, false, false, "");
    assert_port(&one->ports[3], 8443, PROTOCOL_TCP, 8443, true, true, "");
    CLEANUP(container_free_p) Container *host = inspected("host");
    assert_string_equal(host->network_mode, "host");
    assert_int_equal(host->n_ports, 1);
    assert_port(&host->ports[0], 80, PROTOCOL_TCP, 0, false, false, "");
}

static void odd_ports_are_passed_over(void **state)
{
    (void)state;
    CLEANUP(container_free_p)
    Container *c = made(",\"ExposedPorts\":{\"0/tcp\":{},\"65536/tcp\":{},\"-1/tcp\":{},\"x/tcp\":{},\"80/"
                        "icmp\":{},"
                        "\"8000-8010/tcp\":{},\"4294967376/tcp\":{},\"9000/sctp\":{},\"81\":{}}",
                        "",
                        "\"Ports\":{\"80/"
                        "tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"},{\"HostIp\":\"\",\"HostPort\":\"0\"},"
                        "{\"HostIp\":\"nowhere\",\"HostPort\":\"81\"},{\"HostIp\":\"\",\"HostPort\":\"70000\"},"
                        "{\"HostIp\":\"\",\"HostPort\":\"82x\"},{\"HostIp\":\"\",\"HostPort\":83},7,null]}");
    assert_int_equal(c->n_ports, 3);
    assert_port(&c->ports[0], 80, PROTOCOL_TCP, 8080, true, true, "");
    assert_port(&c->ports[1], 81, PROTOCOL_TCP, 0, false, false, "");
    assert_port(&c->ports[2], 9000, PROTOCOL_SCTP, 0, false, false, "");
}

static void families_with_other_numbers_stay_two(void **state)
{
    (void)state;
    CLEANUP(container_free_p)
    Container *c = made("", "",
                        "\"Ports\":{\"80/tcp\":[{\"HostIp\":\"::\",\"HostPort\":\"32769\"},"
                        "{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"32768\"}]}");
    assert_int_equal(c->n_ports, 2);
    assert_port(&c->ports[0], 80, PROTOCOL_TCP, 32768, true, false, "");
    assert_port(&c->ports[1], 80, PROTOCOL_TCP, 32769, false, true, "");
}

static void ports_are_bounded_published_ones_first(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    fputs("\"Ports\":{\"60000/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"60000\"}]", out);
    for (unsigned i = 1; i <= 3000; i++)
        fprintf(out, ",\"%u/tcp\":null", i);
    fputs("}", out);
    fclose(out);
    CLEANUP(container_free_p) Container *c = made("", "", text);
    free(text);
    assert_int_equal(c->n_ports, CONTAINER_PORTS_MAX);
    assert_int_equal(c->n_ports_left_out, 3001 - CONTAINER_PORTS_MAX);
    assert_port(&c->ports[CONTAINER_PORTS_MAX - 1], 60000, PROTOCOL_TCP, 60000, true, true, "");
    assert_int_equal(c->ports[0].container_port, 1);
}

static void networks_are_sorted(void **state)
{
    (void)state;
    CLEANUP(container_free_p) Container *c = inspected("usernet");
    assert_string_equal(c->network_mode, "front");
    assert_int_equal(c->n_networks, 2);
    assert_string_equal(c->networks[0].name, "back");
    assert_string_equal(c->networks[0].address6, "2001:db8:2::2");
    assert_string_equal(c->networks[1].name, "front");
    assert_string_equal(c->networks[1].address6, "");
    assert_true(c->networks[1].address4[0] != '\0');
}

#define ASKS(host, exposed, ports)                                                                          \
    "{\"Id\":\"" ID "\",\"Name\":\"/w\",\"State\":{\"Running\":true},\"Config\":{\"ExposedPorts\":" exposed \
    "},\"HostConfig\":{" host "},\"NetworkSettings\":{\"Ports\":" ports "}}"
#define PORT_80 "{\"80/tcp\":{}}"
#define BOUND "{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"32768\"}]}"

static void ports_that_are_asked_for_may_be_pending(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool pending;
    } cases[] = {
        { ASKS("\"PublishAllPorts\":true", PORT_80, BOUND), false },
        { ASKS("\"PublishAllPorts\":true", PORT_80, "{\"80/tcp\":null}"), true },
        { ASKS("\"PublishAllPorts\":true", PORT_80, "{\"80/tcp\":[]}"), true },
        { ASKS("\"PublishAllPorts\":true", PORT_80, "{}"), true },
        { ASKS("\"PublishAllPorts\":true", PORT_80, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}]}"), true },
        { ASKS("\"PublishAllPorts\":true", PORT_80, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"0\"}]}"), true },
        { ASKS("\"PublishAllPorts\":true", "null", "{}"), false },
        { ASKS("\"PublishAllPorts\":false", PORT_80, "{\"80/tcp\":null}"), false },
        { ASKS("\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"\"}]}", PORT_80, "{\"80/tcp\":null}"), true },
        { ASKS("\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"\"}]}", PORT_80, BOUND), false },
        { ASKS("\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"\"}]},\"NetworkMode\":\"host\"", PORT_80, "{}"), false },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(container_free_p) Container *c = inspect_text(cases[i].text, NULL);
        if (c->ports_pending != cases[i].pending)
            fail_msg("%s: pending is %d", cases[i].text, c->ports_pending);
    }
}

static void stop_signals(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int number;
    } expected[] = {
        { "null", SIGTERM },
        { "\"SIGQUIT\"", SIGQUIT },
        { "\"QUIT\"", SIGQUIT },
        { "\"quit\"", SIGQUIT },
        { "\"3\"", 3 },
        { "\"SIGRTMIN+3\"", 37 },
        { "\"RTMIN\"", 34 },
        { "\"SIGRTMAX-1\"", 63 },
        { "\"RTMAX\"", 64 },
        { "\"\"", SIGTERM },
        { "\"SIG\"", SIGTERM },
        { "\"0\"", SIGTERM },
        { "\"99\"", SIGTERM },
        { "\"SIGRTMIN+99\"", SIGTERM },
        { "\"NONSENSE\"", SIGTERM },
        { "17", SIGTERM },
        { "\"WINCH\"", SIGWINCH },
    };
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        CLEANUP_FREE char *config = NULL;
        assert_true(asprintf(&config, ",\"StopSignal\":%s", expected[i].json) > 0);
        CLEANUP(container_free_p) Container *c = made(config, "", "");
        assert_int_equal(c->stop_signal, expected[i].number);
    }
    CLEANUP(container_free_p) Container *systemd = inspected("systemd");
    assert_int_equal(systemd->stop_signal, 37);
    assert_int_equal(systemd->stop_timeout_s, 30);
}

static void stop_timeouts(void **state)
{
    (void)state;
    CLEANUP(container_free_p) Container *none = made(",\"StopTimeout\":null", "", "");
    assert_int_equal(none->stop_timeout_s, 10);
    CLEANUP(container_free_p) Container *zero = made(",\"StopTimeout\":0", "", "");
    assert_int_equal(zero->stop_timeout_s, 0);
    CLEANUP(container_free_p) Container *forever = made(",\"StopTimeout\":-1", "", "");
    assert_true(forever->stop_timeout_s < 0);
    CLEANUP(container_free_p) Container *huge = made(",\"StopTimeout\":1e300", "", "");
    assert_true(huge->stop_timeout_s > 0);
}

static void changes_are_seen(void **state)
{
    (void)state;
    CLEANUP(container_free_p) Container *known = inspected("mixed");
    CLEANUP(container_free_p) Container *port = listed("mixed");
    port->ports[1].host_port++;
    assert_false(container_same_as_listed(known, port));
    CLEANUP(container_free_p) Container *family = listed("mixed");
    family->ports[1].any6 = false;
    assert_false(container_same_as_listed(known, family));
    CLEANUP(container_free_p) Container *fewer = listed("mixed");
    fewer->n_ports--;
    assert_false(container_same_as_listed(known, fewer));
    CLEANUP(container_free_p) Container *network = listed("mixed");
    strcpy(network->networks[0].address4, "198.51.100.99");
    assert_false(container_same_as_listed(known, network));
    CLEANUP(container_free_p) Container *stopped = listed("mixed");
    stopped->state = CONTAINER_STOPPED;
    assert_false(container_same_as_listed(known, stopped));
    CLEANUP(container_free_p) Container *sick = listed("mixed");
    sick->health = HEALTH_UNHEALTHY;
    assert_false(container_same_as_listed(known, sick));
}

static void remembered_health_is_no_change(void **state)
{
    (void)state;
    CLEANUP(container_free_p) Container *known = inspected("paused");
    CLEANUP(container_free_p) Container *brief = listed("paused");
    known->health = HEALTH_HEALTHY;
    assert_true(container_same_as_listed(known, brief));
}

static void assert_bad(const char *text)
{
    Container *untouched = (Container *)&untouched, *c = untouched;
    assert_int_equal(container_from_inspect(&c, text, strlen(text), NULL), -EBADMSG);
    assert_ptr_equal(c, untouched);
    assert_int_equal(container_from_list(&c, text, strlen(text), NULL), -EBADMSG);
    assert_ptr_equal(c, untouched);
}

static void json_that_is_no_container_is_refused(void **state)
{
    (void)state;
    assert_bad("");
    assert_bad("null");
    assert_bad("[]");
    assert_bad("{}");
    assert_bad("{\"Id\":\"" ID "\"");
    assert_bad("{\"message\":\"No such container\"}");
    static const char *const ids[] = {
        "\"0123\"", "\"" ID "0\"",          "7",
        "null",     "\"../../etc/passwd\"", "\"0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\""
    };
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        CLEANUP_FREE char *text = NULL;
        assert_true(
            asprintf(&text, "{\"Id\":%s,\"Name\":\"/a\",\"Names\":[\"/a\"],\"Config\":{},\"State\":{}}", ids[i]) > 0);
        assert_bad(text);
        free(text);
        assert_true(asprintf(&text, "{\"Id\":%s,\"Names\":[\"/a\"],\"State\":\"running\"}", ids[i]) > 0);
        assert_bad(text);
    }
    assert_bad("{\"Id\":\"" ID "\",\"Name\":\"/\",\"Names\":[],\"Config\":{},\"State\":{}}");
    assert_bad("{\"Id\":\"" ID "\",\"Names\":[\"/a/b\"],\"State\":\"running\"}");
    assert_bad("{\"Id\":\"" ID "\",\"Names\":null,\"State\":\"running\"}");
    assert_bad("{\"Id\":\"" ID "\",\"Name\":\"/a\",\"Names\":[\"/a\"],\"Config\":{}}");
    assert_bad("{\"Id\":\"" ID "\",\"Name\":\"/a\",\"Config\":{},\"State\":{}}garbage");
}

static void the_smallest_containers(void **state)
{
    (void)state;
    CLEANUP(container_free_p)
    Container *c = inspect_text("{\"Id\":\"" ID "\",\"Name\":\"/a\",\"Config\":{},\"State\":{}} \r\n", NULL);
    assert_int_equal(c->state, CONTAINER_STOPPED);
    assert_string_equal(c->image, "");
    assert_string_equal(c->network_mode, "default");
    static const char text[] = "{\"Id\":\"" ID "\",\"Names\":[\"/a\"],\"State\":\"running\"}";
    CLEANUP(container_free_p) Container *l = NULL;
    assert_int_equal(container_from_list(&l, text, strlen(text), NULL), 0);
    assert_int_equal(l->state, CONTAINER_RUNNING);
    assert_int_equal(l->n_ports + l->n_networks + l->n_metadata, 0);
}

static void the_size_is_respected(void **state)
{
    (void)state;
    CLEANUP_FREE char *text = read_data("inspect-single");
    size_t size = strlen(text);
    while (size > 0 && text[size - 1] != '}')
        size--;
    /* Behind its size the text goes on: that must not be read. */
    CLEANUP_FREE char *exact = malloc(size);
    memcpy(exact, text, size);
    CLEANUP(container_free_p) Container *c = NULL;
    assert_int_equal(container_from_inspect(&c, exact, size, NULL), 0);
    assert_string_equal(c->name, "single");
}

static uint32_t random_next(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void broken_bodies_do_no_harm(void **state)
{
    (void)state;
    CLEANUP_FREE char *text = read_data("inspect-meta");
    size_t size = strlen(text);
    CLEANUP_FREE char *broken = malloc(size);
    uint32_t seed = 2463534242;
    for (unsigned round = 0; round < 5000; round++) {
        memcpy(broken, text, size);
        for (unsigned i = 0; i < 1 + round % 4; i++)
            broken[random_next(&seed) % size] = (char)random_next(&seed);
        size_t cut = round % 3 == 0 ? random_next(&seed) % size : size;
        CLEANUP(container_free_p) Container *c = NULL;
        int r = container_from_inspect(&c, broken, cut, NULL);
        assert_true(r == 0 || r == -EBADMSG);
        assert_true((r == 0) == (c != NULL));
        CLEANUP(container_free_p) Container *l = NULL;
        r = container_from_list(&l, broken, cut, NULL);
        assert_true(r == 0 || r == -EBADMSG);
    }
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    enum { DEPTH = 200000 };
    CLEANUP_FREE char *text = malloc(DEPTH + 8);
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', DEPTH);
    text[5 + DEPTH] = '\0';
    assert_bad(text);
}

static void a_simple_container_is_small(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    static Container *many[MANY];
    CLEANUP_FREE char *text = read_data("inspect-single");
    size_t before = mallinfo2().uordblks;
    for (size_t i = 0; i < MANY; i++)
        many[i] = inspect_text(text, NULL);
    size_t used = mallinfo2().uordblks - before;
    for (size_t i = 0; i < MANY; i++)
        container_free(many[i]);
    if (used > MANY * 768)
        fail_msg("%zu bytes each", used / MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inspect_tells_the_common_case),
        cmocka_unit_test(list_tells_the_common_case),
        cmocka_unit_test(list_and_inspect_agree),
        cmocka_unit_test(a_link_does_not_change_the_name),
        cmocka_unit_test(a_rename_is_seen),
        cmocka_unit_test(states),
        cmocka_unit_test(healths),
        cmocka_unit_test(bindings_to_addresses),
        cmocka_unit_test(several_ports_are_sorted),
        cmocka_unit_test(exposed_ports_are_kept_unpublished),
        cmocka_unit_test(odd_ports_are_passed_over),
        cmocka_unit_test(families_with_other_numbers_stay_two),
        cmocka_unit_test(ports_are_bounded_published_ones_first),
        cmocka_unit_test(networks_are_sorted),
        cmocka_unit_test(ports_that_are_asked_for_may_be_pending),
        cmocka_unit_test(stop_signals),
        cmocka_unit_test(stop_timeouts),
        cmocka_unit_test(changes_are_seen),
        cmocka_unit_test(remembered_health_is_no_change),
        cmocka_unit_test(json_that_is_no_container_is_refused),
        cmocka_unit_test(the_smallest_containers),
        cmocka_unit_test(the_size_is_respected),
        cmocka_unit_test(broken_bodies_do_no_harm),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_simple_container_is_small),
    };
    return cmocka_run_group_tests_name("container", tests, NULL, NULL);
}
