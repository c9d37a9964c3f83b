/* From containers, recorded and random ones, to keys and values. */
#include "catalog/record.h"

#include "unit/catalog/rules.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

DEFINE_CLEANUP(cJSON, cJSON_Delete)

typedef struct Setup {
    Rules rules;
    Layout *layouts; /* room for all that there may be */
} Setup;

static void add_layout(Setup *made, const char *name, const char *key, const char *value, const char *service)
{
    Layout *layout = &made->layouts[made->rules.n_layouts++];

    *layout = (Layout){ .key = compiled(key), .value = compiled(value), .service = compiled(service) };
    (void)snprintf(layout->name, sizeof(layout->name), "%s", name);
}

static Setup setup(const char *key, const char *value, const char *service)
{
    Setup made = { .layouts = calloc(LAYOUTS_MAX, sizeof(Layout)) };
    assert_non_null(made.layouts);
    made.rules = (Rules){
        .layouts = made.layouts,
        .node = "host1",
        .address4 = "192.0.2.1",
        .address6 = "2001:db8::1",
    };
    add_layout(&made, LAYOUT_DEFAULT, key, value, service);
    return made;
}

static Setup setup_default(void)
{
    return setup("/app/{service}/{name}", "{address}:{port}", "servers");
}

static void setup_clear(Setup *made)
{
    for (size_t i = 0; i < made->rules.n_layouts; i++) {
        template_free(made->layouts[i].key);
        template_free(made->layouts[i].value);
        template_free(made->layouts[i].service);
    }
    free(made->layouts);
}

static const char *const label_names[] = {
    "SERVICE_NAME",
    "SERVICE_IGNORE",
    "SERVICE_PROTOCOL",
    "SERVICE_80_TAGS",
    "SERVICE_TAGS",
    "x",
    "y",
    "com.docker.compose.oneoff",
};
static const LabelFilter all_labels = { .names = label_names, .n_names = ARRAY_SIZE(label_names) };

static char *read_data(const char *name)
{
    const char *srcdir = getenv("srcdir");
    CLEANUP_FREE char *path = NULL;
    assert_true(asprintf(&path, "%s/tests/data/docker/inspect-%s.json", srcdir ? srcdir : ".", name) > 0);
    CLEANUP(fclose_p) FILE *file = fopen(path, "re");
    if (!file)
        fail_msg("cannot open %s", path);
    char *text = NULL;
    size_t allocated = 0;
    assert_true(getdelim(&text, &allocated, '\0', file) > 0);
    return text;
}

static Container *recorded(const char *name)
{
    CLEANUP_FREE char *text = read_data(name);
    Container *container = NULL;
    assert_int_equal(container_from_inspect(&container, text, strlen(text), &all_labels), 0);
    return container;
}

/* labels and ports: members of Config.Labels and NetworkSettings.Ports. */
static Container *made(const char *labels, const char *ports)
{
    CLEANUP_FREE char *text = NULL;
    Container *container = NULL;
    assert_true(asprintf(&text,
                         "{\"Id\":\"" ID "\",\"Name\":\"/web\",\"State\":{\"Running\":true},"
                         "\"HostConfig\":{\"NetworkMode\":\"bridge\"},\"Config\":{\"Image\":"
                         "\"registry:5000/team/app:3\","
                         "\"Labels\":{%s}},\"NetworkSettings\":{\"Ports\":{%s},"
                         "\"Networks\":{\"bridge\":{\"IPAddress\":\"198.51.100.2\"}}}}",
                         labels, ports) > 0);
    assert_int_equal(container_from_inspect(&container, text, strlen(text), &all_labels), 0);
    return container;
}

#define ANY(port) "[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"" port "\"},{\"HostIp\":\"::\",\"HostPort\":\"" port "\"}]"

/* "key=value" of what is registered, "port/protocol:token" of what is not, with spaces between; or
 * the container's own reason in parentheses. */
static char *summary(const Container *container, const Rules *rules)
{
    Records records;
    char *text = NULL;
    size_t size = 0;
    assert_int_equal(records_from_container(&records, container, rules), 0);
    FILE *out = open_memstream(&text, &size);
    if (records.reason != REASON_NONE)
        fprintf(out, "(%s)", reason_token(records.reason));
    for (size_t i = 0; i < records.n_items; i++) {
        const Record *record = &records.items[i];
        assert_int_equal(record->key != NULL, record->reason == REASON_NONE || record->reason == REASON_DUPLICATE);
        assert_int_equal(record->value != NULL, record->key != NULL);
        assert_true(records.reason == REASON_NONE || record->key == NULL);
        if (i > 0)
            fputc(' ', out);
        if (record->reason == REASON_NONE)
            fprintf(out, "%s=%s", record->key, record->value);
        else
            fprintf(out, "%u/%s:%s", record->container_port, protocol_to_string(record->protocol),
                    reason_token(record->reason));
    }
    fclose(out);
    records_clear(&records);
    assert_null(records.items);
    return text;
}

static void assert_summary(const Container *container, const Rules *rules, const char *expected)
{
    CLEANUP_FREE char *text = summary(container, rules);
    assert_string_equal(text, expected);
}

static void assert_recorded(const char *name, const Rules *rules, const char *expected)
{
    CLEANUP(container_free_p) Container *container = recorded(name);
    assert_summary(container, rules, expected);
}

static void assert_made(const char *labels, const char *ports, const Rules *rules, const char *expected)
{
    CLEANUP(container_free_p) Container *container = made(labels, ports);
    assert_summary(container, rules, expected);
}

/* ---- bindings ---- */

static void published_ports(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    assert_recorded("single", &s.rules, "/app/servers/single=192.0.2.1:32768");
    assert_recorded("fixed", &s.rules, "/app/servers/fixed=192.0.2.1:8080");
    assert_recorded("ipv4only", &s.rules, "/app/servers/ipv4only=192.0.2.1:8082");
    CLEANUP(container_free_p) Container *task = recorded("swarm");
    CLEANUP_FREE char *expected = NULL;
    assert_int_equal(strncmp(task->name, "swarm.1.", 8), 0);
    assert_true(asprintf(&expected, "/app/servers/%s=192.0.2.1:8095", task->name) > 0);
    assert_summary(task, &s.rules, expected);
}

static void bindings_to_one_address(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    assert_recorded("specific", &s.rules, "/app/servers/specific=192.0.2.5:8086");
    assert_recorded("specific6", &s.rules, "/app/servers/specific6=[2001:db8::5]:8086");
    assert_recorded("loopback", &s.rules, "80/tcp:loopback");
    assert_made("", "\"80/tcp\":[{\"HostIp\":\"::1\",\"HostPort\":\"1\"}]", &s.rules, "80/tcp:loopback");
    assert_made("", "\"80/tcp\":[{\"HostIp\":\"127.99.0.1\",\"HostPort\":\"1\"}]", &s.rules, "80/tcp:loopback");
    assert_made("", "\"80/tcp\":[{\"HostIp\":\"128.0.0.1\",\"HostPort\":\"1\"}]", &s.rules,
                "/app/servers/web=128.0.0.1:1");
}

static void families(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    assert_recorded("ipv6only", &s.rules, "/app/servers/ipv6only=[2001:db8::1]:8081");
    s.rules.address6 = NULL;
    assert_recorded("ipv6only", &s.rules, "80/tcp:no-address");
    s.rules.address6 = "2001:db8::1";
    s.rules.address4 = "";
    assert_recorded("single", &s.rules, "/app/servers/single=[2001:db8::1]:32768");
    assert_recorded("ipv4only", &s.rules, "80/tcp:no-address");
    assert_recorded("specific", &s.rules, "/app/servers/specific=192.0.2.5:8086");
    s.rules.address6 = NULL;
    assert_recorded("single", &s.rules, "80/tcp:no-address");
}

static void the_best_of_several_bindings(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    assert_recorded("twice", &s.rules, "/app/servers/twice=192.0.2.1:8090");
    assert_recorded("mixed", &s.rules, "/app/servers/mixed=192.0.2.1:8088 80/tcp:loopback");
    assert_made("",
                "\"80/"
                "tcp\":[{\"HostIp\":\"::\",\"HostPort\":\"32768\"},{\"HostIp\":\"0.0.0.0\","
                "\"HostPort\":\"32769\"}]",
                &s.rules, "/app/servers/web=192.0.2.1:32769");
    s.rules.address4 = NULL;
    assert_recorded("mixed", &s.rules, "/app/servers/mixed=[2001:db8::1]:8088 80/tcp:loopback");
    assert_made("",
                "\"80/"
                "tcp\":[{\"HostIp\":\"::\",\"HostPort\":\"32768\"},{\"HostIp\":\"0.0.0.0\","
                "\"HostPort\":\"32769\"}]",
                &s.rules, "/app/servers/web=[2001:db8::1]:32768 80/tcp:no-address");
}

static void each_binding_where_the_key_tells_them_apart(void **state)
{
    (void)state;
    CLEANUP(setup_clear)
    Setup s = setup("/app/{service}/{name}-{port}", "{address}:{port}", "servers");
    assert_recorded("twice", &s.rules, "/app/servers/twice-8090=192.0.2.1:8090 /app/servers/twice-8091=192.0.2.1:8091");
    CLEANUP(setup_clear) Setup a = setup("/app/{service}/{address}", "{address}:{port}", "servers");
    assert_recorded("mixed", &a.rules,
                    "/app/servers/192.0.2.1=192.0.2.1:8088 /app/servers/192.0.2.6=192.0.2.6:8089 "
                    "80/tcp:loopback");
    /* The address alone does not: the better binding has the key, and nothing is missing. */
    assert_recorded("twice", &a.rules, "/app/servers/192.0.2.1=192.0.2.1:8090");
}

static void host_network(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    assert_recorded("host", &s.rules, "/app/servers/host=192.0.2.1:80");
    s.rules.address4 = NULL;
    assert_recorded("host", &s.rules, "/app/servers/host=[2001:db8::1]:80");
    s.rules.ports = PORTS_INTERNAL;
    assert_recorded("host", &s.rules, "/app/servers/host=[2001:db8::1]:80");
    s.rules.address6 = NULL;
    assert_recorded("host", &s.rules, "80/tcp:no-address");
}

static void no_network(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    assert_recorded("none", &s.rules, "(no-network)");
    assert_recorded("joined", &s.rules, "(shared-network)");
    s.rules.ports = PORTS_INTERNAL;
    assert_recorded("none", &s.rules, "(no-network)");
    assert_recorded("joined", &s.rules, "(shared-network)");
}

/* Members of HostConfig, Config.ExposedPorts and NetworkSettings.Ports; what comes of them with published and with
 * internal ports. */
static void why_there_is_no_port(void **state)
{
    static const struct {
        const char *host, *exposed, *ports, *network, *published, *internal;
    } cases[] = {
        { "\"NetworkMode\":\"default\"", "", "", "bridge", "(no-port)", "(no-exposed-port)" },
        { "\"NetworkMode\":\"default\"", "\"80/tcp\":{}", "\"80/tcp\":null", "bridge", "(no-port)",
          "/app/servers/web=198.51.100.2:80" },
        { "\"NetworkMode\":\"host\"", "", "", "host", "(no-exposed-port)", "(no-exposed-port)" },
        /* A service of a swarm, published by the ingress network. */
        { "\"NetworkMode\":\"default\"", "\"80/tcp\":{}", "\"80/tcp\":null", "ingress", "(ingress-network)",
          "80/tcp:ingress-network" },
        /* -p and -P in a network that is --internal. */
        { "\"NetworkMode\":\"inner\",\"PortBindings\":{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}]}",
          "\"80/tcp\":{}", "", "inner", "(not-published)", "/app/servers/web=198.51.100.2:80" },
        { "\"NetworkMode\":\"inner\",\"PublishAllPorts\":true", "\"80/tcp\":{}", "", "inner", "(not-published)",
          "/app/servers/web=198.51.100.2:80" },
        { "\"NetworkMode\":\"inner\",\"PublishAllPorts\":true", "", "", "inner", "(no-port)", "(no-exposed-port)" },
    };
    CLEANUP(setup_clear) Setup s = setup_default();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_FREE char *text = NULL;
        CLEANUP(container_free_p) Container *container = NULL;

        assert_true(asprintf(&text,
                             "{\"Id\":\"" ID "\",\"Name\":\"/web\",\"State\":{\"Running\":true},\"HostConfig\":{%s},"
                             "\"Config\":{\"ExposedPorts\":{%s}},\"NetworkSettings\":{\"Ports\":{%s},"
                             "\"Networks\":{\"%s\":{\"IPAddress\":\"198.51.100.2\"}}}}",
                             cases[i].host, cases[i].exposed, cases[i].ports, cases[i].network) > 0);
        assert_int_equal(container_from_inspect(&container, text, strlen(text), &all_labels), 0);
        s.rules.ports = PORTS_PUBLISHED;
        assert_summary(container, &s.rules, cases[i].published);
        s.rules.ports = PORTS_INTERNAL;
        assert_summary(container, &s.rules, cases[i].internal);
    }
}

/* As Podman 4.3 shows the containers of a pod: each has all ports of the pod, and exposes none. */
static void pods(void **state)
{
    static const char format[] =
        "{\"Id\":\"" ID "\",\"Name\":\"/%s\",\"State\":{\"Running\":true},\"HostConfig\":{\"NetworkMode\":\"%s\","
        "\"CgroupParent\":\"/libpod_parent/%s\"},\"Config\":{\"Image\":\"%s\",\"Labels\":{%s},\"ExposedPorts\":%s},"
        "\"NetworkSettings\":{\"Ports\":{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}],"
        "\"9090/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"9090\"},{\"HostIp\":\"192.0.2.7\",\"HostPort\":\"9091\"}]},"
        "\"Networks\":{\"podman\":{\"IPAddress\":\"198.51.100.2\"}}}}";
    static const char pause[] = "localhost/podman-pause:4.3.1-0", member[] = "container:" ID,
                      pod[] = "99bea14f95441725";
    static const char not_9090[] = "\"SERVICE_9090_IGNORE\":\"1\"";
    static const struct {
        const char *name, *mode, *cgroup, *image, *labels, *exposed, *published, *internal;
    } cases[] = {
        { "99bea14f9544-infra", "bridge", pod, "app:1", "", "{\"80/tcp\":{}}", "(pod-infra)", "(pod-infra)" },
        { "mine", "bridge", "x", pause, "", "{\"80/tcp\":{}}", "(pod-infra)", "(pod-infra)" },
        /* Not Podman's own: there is no such pod, or the name is only similar. */
        { "99bea14f9544-infra", "bridge", "0", "app:1", not_9090, "{}",
          "/app/servers/99bea14f9544-infra=192.0.2.1:8080 9090/tcp:port-ignored 9090/tcp:port-ignored",
          "/app/servers/99bea14f9544-infra=198.51.100.2:80 9090/tcp:port-ignored" },
        { "99bea14f954-infra", "bridge", pod, "app:1", not_9090, "{}",
          "/app/servers/99bea14f954-infra=192.0.2.1:8080 9090/tcp:port-ignored 9090/tcp:port-ignored",
          "/app/servers/99bea14f954-infra=198.51.100.2:80 9090/tcp:port-ignored" },
        { "web", member, pod, "app:1", "", "null", "(pod-port)", "(pod-port)" },
        { "web", member, pod, "app:1", "\"SERVICE_80_NAME\":\"front\"", "null", "/app/front/web=192.0.2.1:8080",
          "/app/front/web=198.51.100.2:80" },
        { "web", member, pod, "app:1", "", "{\"9090/tcp\":{}}", "/app/servers/web=192.0.2.1:9090",
          "/app/servers/web=198.51.100.2:9090" },
    };
    CLEANUP(setup_clear) Setup s = setup_default();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_FREE char *text = NULL;
        CLEANUP(container_free_p) Container *container = NULL;

        assert_true(asprintf(&text, format, cases[i].name, cases[i].mode, cases[i].cgroup, cases[i].image,
                             cases[i].labels, cases[i].exposed) > 0);
        assert_int_equal(container_from_inspect(&container, text, strlen(text), &all_labels), 0);
        s.rules.ports = PORTS_PUBLISHED;
        assert_summary(container, &s.rules, cases[i].published);
        s.rules.ports = PORTS_INTERNAL;
        assert_summary(container, &s.rules, cases[i].internal);
    }
    /* Each binding of a port that a container of the pod exposes is its own. */
    CLEANUP(setup_clear) Setup each = setup("/app/{name}-{port}", "{address}", "servers");
    CLEANUP_FREE char *text = NULL;
    CLEANUP(container_free_p) Container *container = NULL;
    assert_true(asprintf(&text, format, "web", member, pod, "app:1", "", "{\"9090/tcp\":{}}") > 0);
    assert_int_equal(container_from_inspect(&container, text, strlen(text), &all_labels), 0);
    assert_summary(container, &each.rules, "/app/web-9090=192.0.2.1 /app/web-9091=192.0.2.7");
}

static void addresses_that_no_other_host_reaches(void **state)
{
    static char *const bridges[] = { "10.88.0.1", "172.17.0.1", "2001:db8:1::1" };
    static const struct {
        const char *address, *expected;
    } cases[] = {
        { "172.17.0.1", "80/tcp:unreachable" },
        { "10.88.0.1", "80/tcp:unreachable" },
        { "2001:db8:1::1", "80/tcp:unreachable" },
        { "169.254.3.4", "80/tcp:unreachable" },
        { "fe80::1", "80/tcp:unreachable" },
        { "172.17.0.2", "/app/servers/web=172.17.0.2:1" },
        { "169.253.3.4", "/app/servers/web=169.253.3.4:1" },
        { "2001:db8:1::2", "/app/servers/web=[2001:db8:1::2]:1" },
    };
    CLEANUP(setup_clear) Setup s = setup_default();

    (void)state;
    s.rules.unreachable = bridges;
    s.rules.n_unreachable = ARRAY_SIZE(bridges);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_FREE char *ports = NULL;

        assert_true(asprintf(&ports, "\"80/tcp\":[{\"HostIp\":\"%s\",\"HostPort\":\"1\"}]", cases[i].address) > 0);
        assert_made("", ports, &s.rules, cases[i].expected);
    }
    /* What the operator advertises is reachable. */
    s.rules.address4 = "172.17.0.1";
    assert_made("", "\"80/tcp\":[{\"HostIp\":\"172.17.0.1\",\"HostPort\":\"1\"}]", &s.rules,
                "/app/servers/web=172.17.0.1:1");
}

static void exposed_is_not_published(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    assert_made("", "\"80/tcp\":null", &s.rules, "(no-port)");
    assert_made("", "", &s.rules, "(no-port)");
}

static void internal_ports(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    s.rules.ports = PORTS_INTERNAL;
    assert_recorded("single", &s.rules, "/app/servers/single=198.51.100.2:80");
    assert_recorded("twice", &s.rules, "/app/servers/twice=198.51.100.14:80");
    assert_recorded("loopback", &s.rules, "/app/servers/loopback=198.51.100.4:80");
    assert_made("", "\"80/tcp\":null", &s.rules, "/app/servers/web=198.51.100.2:80");
    assert_made("",
                "\"53/udp\":" ANY("1") ",\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"2\"},"
                                       "{\"HostIp\":\"\",\"HostPort\":\"3\"}]",
                &s.rules, "53/udp:udp /app/servers/web=198.51.100.2:80");
    assert_made("", "\"53/udp\":[{\"HostIp\":\"\",\"HostPort\":\"2\"},{\"HostIp\":\"\",\"HostPort\":\"3\"}]", &s.rules,
                "53/udp:udp");
    assert_recorded("one-of-three", &s.rules,
                    "53/udp:udp /app/servers/one-of-three-80=198.51.100.10:80 "
                    "/app/servers/one-of-three-443=198.51.100.10:443 "
                    "/app/servers/one-of-three-8443=198.51.100.10:8443");
}

static void internal_address_is_of_the_home_network(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    s.rules.ports = PORTS_INTERNAL;
    CLEANUP(container_free_p) Container *c = recorded("usernet");
    CLEANUP_FREE char *expected = NULL;
    assert_string_equal(c->networks[1].name, "front");
    assert_true(asprintf(&expected, "/app/servers/usernet=%s:80", c->networks[1].address4) > 0);
    assert_summary(c, &s.rules, expected);
    /* Disconnected from it, the first that has an address. */
    c->networks[1].address4[0] = '\0';
    free(expected);
    assert_true(asprintf(&expected, "/app/servers/usernet=%s:80", c->networks[0].address4) > 0);
    assert_summary(c, &s.rules, expected);
    c->networks[0].address4[0] = '\0';
    assert_summary(c, &s.rules, "/app/servers/usernet=[2001:db8:2::2]:80");
    c->networks[0].address6[0] = '\0';
    assert_summary(c, &s.rules, "80/tcp:no-address");
}

/* ---- names ---- */

static void several_ports_carry_their_number(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    assert_recorded("several", &s.rules,
                    "53/udp:udp /app/servers/several-80=192.0.2.1:32771 "
                    "/app/servers/several-443=192.0.2.1:32770 "
                    "/app/servers/several-8443=192.0.2.1:32769");
    assert_recorded("range", &s.rules,
                    "/app/servers/range-8100=192.0.2.1:8100 /app/servers/range-8101=192.0.2.1:8101 "
                    "/app/servers/range-8102=192.0.2.1:8102 /app/servers/range-8103=192.0.2.1:8103");
}

static void only_registered_ports_count(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    assert_recorded("one-of-three", &s.rules, "/app/servers/one-of-three=192.0.2.1:8443");
    assert_recorded("udp", &s.rules, "/app/servers/udp=192.0.2.1:53 53/udp:udp");
    assert_made(
        "\"SERVICE_81_IGNORE\":\"1\"",
        "\"80/tcp\":" ANY("8080") ",\"81/tcp\":" ANY("8081") ",\"82/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":"
                                                             "\"8082\"}]",
        &s.rules, "/app/servers/web=192.0.2.1:8080 81/tcp:port-ignored 82/tcp:loopback");
}

static void protocols_that_were_asked_for(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    static const char ports[] = "\"53/udp\":" ANY("53") ",\"53/tcp\":" ANY("54") ",\"53/sctp\":" ANY("55");
    assert_made("", ports, &s.rules, "/app/servers/web=192.0.2.1:54 53/udp:udp 53/sctp:udp");
    assert_made("\"SERVICE_PROTOCOL\":\"any\"", ports, &s.rules,
                "/app/servers/web-53=192.0.2.1:54 /app/servers/web-53-udp=192.0.2.1:53 "
                "/app/servers/web-53-sctp=192.0.2.1:55");
    assert_made("\"SERVICE_53_PROTOCOL\":\"UDP\"", ports, &s.rules,
                "53/tcp:port-ignored /app/servers/web=192.0.2.1:53 53/sctp:udp");
    assert_made("\"SERVICE_PROTOCOL\":\"any\",\"SERVICE_53_PROTOCOL\":\"tcp, udp\"", ports, &s.rules,
                "/app/servers/web-53=192.0.2.1:54 /app/servers/web-53-udp=192.0.2.1:53 53/sctp:udp");
    assert_made("\"SERVICE_PROTOCOL\":\"udp,sctp\"", ports, &s.rules,
                "53/tcp:port-ignored /app/servers/web-53=192.0.2.1:53 "
                "/app/servers/web-53-sctp=192.0.2.1:55");
    assert_made("\"SERVICE_PROTOCOL\":\"udp,nonsense\"", ports, &s.rules,
                "/app/servers/web=192.0.2.1:54 53/udp:udp 53/sctp:udp");
    assert_made("\"SERVICE_PROTOCOL\":\" , \"", ports, &s.rules,
                "/app/servers/web=192.0.2.1:54 53/udp:udp 53/sctp:udp");
    assert_made("\"SERVICE_PROTOCOL\":\"any\"", "\"53/udp\":" ANY("53") ",\"80/tcp\":" ANY("80"), &s.rules,
                "/app/servers/web-53=192.0.2.1:53 /app/servers/web-80=192.0.2.1:80");
}

static void fields(void **state)
{
    (void)state;
    CLEANUP(setup_clear)
    Setup s = setup("/app/{service}/{node}:{name}:{container_port}", "{id} {image} {protocol} {label:x} {address|json}",
                    "servers");
    assert_made("\"x\":\"blue\"", "\"80/tcp\":" ANY("8080"), &s.rules,
                "/app/servers/host1:web:80=0123456789ab app tcp blue \"192.0.2.1\"");
}

static void image_names(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup("/app/{name}", "{image}", "servers");
    static const char *const images[][2] = {
        { "app", "app" },
        { "app:1", "app" },
        { "team/app:1", "app" },
        { "registry:5000/app", "app" },
        { "registry:5000/team/app:1@sha256:00ff", "app" },
        { "app@sha256:00ff", "app" },
        { "sha256:00112233445566778899", "001122334455" },
        { "00112233aabb", "00112233aabb" },
        { "", "" },
    };
    CLEANUP(container_free_p) Container *c = made("", "\"80/tcp\":" ANY("8080"));
    for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
        CLEANUP_FREE char *expected = NULL;
        free(c->image);
        c->image = strdup(images[i][0]);
        assert_true(asprintf(&expected, "/app/web=%s", images[i][1]) > 0);
        assert_summary(c, &s.rules, expected);
    }
}

/* ---- metadata ---- */

static void service_names(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    static const char ports[] = "\"80/tcp\":" ANY("8080") ",\"81/tcp\":" ANY("8081");
    assert_made("\"SERVICE_NAME\":\"shop\"", ports, &s.rules,
                "/app/shop/web-80=192.0.2.1:8080 /app/shop/web-81=192.0.2.1:8081");
    assert_made("\"SERVICE_81_NAME\":\"admin\"", ports, &s.rules,
                "/app/servers/web-80=192.0.2.1:8080 /app/admin/web-81=192.0.2.1:8081");
    assert_made("\"SERVICE_NAME\":\"shop\",\"SERVICE_81_NAME\":\"\"", ports, &s.rules,
                "/app/shop/web-80=192.0.2.1:8080 /app/shop/web-81=192.0.2.1:8081");
    assert_recorded("meta", &s.rules, "/app/front/meta=192.0.2.1:32779");
}

static void the_service_template_has_a_fallback(void **state)
{
    (void)state;
    CLEANUP(setup_clear)
    Setup s = setup("/app/{service}/{name}", "{address}:{port}", "{label:x?other}");
    assert_made("\"x\":\"blue\"", "\"80/tcp\":" ANY("8080"), &s.rules, "/app/blue/web=192.0.2.1:8080");
    assert_made("", "\"80/tcp\":" ANY("8080"), &s.rules, "/app/other/web=192.0.2.1:8080");
    assert_made("\"x\":\"blue\",\"SERVICE_NAME\":\"shop\"", "\"80/tcp\":" ANY("8080"), &s.rules,
                "/app/shop/web=192.0.2.1:8080");
    CLEANUP(setup_clear)
    Setup none = setup("/app/{service}/{name}", "{address}:{port}", "{label:x}");
    assert_made("", "\"80/tcp\":" ANY("8080"), &none.rules, "80/tcp:not-named");
    CLEANUP(setup_clear)
    Setup many = setup("/app/{service}/{name}", "{address}:{port}",
                       "{image}.{container_port}.{protocol}.{name}{port}{address}{service}");
    assert_made("", "\"80/tcp\":" ANY("8080") ",\"81/tcp\":" ANY("8081"), &many.rules,
                "/app/app.80.tcp.web/web-80=192.0.2.1:8080 /app/app.81.tcp.web/web-81=192.0.2.1:8081");
}

static void ignoring(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    static const char *const yes[] = { "true", "1", "yes", "on", "anything", "00" };
    static const char *const no[] = { "", "false", "False", "no", "NO", "0" };
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        CLEANUP_FREE char *all = NULL, *one = NULL;
        assert_true(asprintf(&all, "\"SERVICE_IGNORE\":\"%s\",\"SERVICE_80_IGNORE\":\"no\"", yes[i]) > 0);
        assert_true(asprintf(&one, "\"SERVICE_80_IGNORE\":\"%s\"", yes[i]) > 0);
        assert_made(all, "\"80/tcp\":" ANY("8080"), &s.rules, "(ignored)");
        assert_made(one, "\"80/tcp\":" ANY("8080"), &s.rules, "80/tcp:port-ignored");
        assert_made(one, "\"81/tcp\":" ANY("8080"), &s.rules, "/app/servers/web=192.0.2.1:8080");
    }
    for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
        CLEANUP_FREE char *labels = NULL;
        assert_true(asprintf(&labels, "\"SERVICE_IGNORE\":\"%s\",\"SERVICE_80_IGNORE\":\"%s\"", no[i], no[i]) > 0);
        assert_made(labels, "\"80/tcp\":" ANY("8080"), &s.rules, "/app/servers/web=192.0.2.1:8080");
    }
}

static void explicit_only(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    s.rules.explicit_only = true;
    static const char ports[] = "\"80/tcp\":" ANY("8080") ",\"81/tcp\":" ANY("8081");
    assert_made("", ports, &s.rules, "(not-named)");
    assert_made("\"SERVICE_NAME\":\"\"", ports, &s.rules, "(not-named)");
    assert_made("\"SERVICE_81_NAME\":\"admin\"", ports, &s.rules, "80/tcp:not-named /app/admin/web=192.0.2.1:8081");
    assert_made("\"SERVICE_NAME\":\"shop\"", ports, &s.rules,
                "/app/shop/web-80=192.0.2.1:8080 /app/shop/web-81=192.0.2.1:8081");
    assert_recorded("loopback", &s.rules, "(not-named)");
}

static void each_layout_has_its_keys(void **state)
{
    static const char ports[] = "\"80/tcp\":" ANY("8080") ",\"81/udp\":" ANY("8081");

    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    add_layout(&s, "dns", "/dns/{service}/{name}", "{\"port\":{port}}", "{label:x}");
    add_layout(&s, "all", "t/{name}/{port}", "{label:y?none}", "{image}");
    assert_made("\"x\":\"shop\",\"y\":\"1\"", ports, &s.rules,
                "/app/servers/web=192.0.2.1:8080 /dns/shop/web={\"port\":8080} t/web/8080=1 81/udp:udp");
    /* A service that is empty is one layout's matter; SERVICE_NAME counts in all of them. */
    assert_made("", "\"80/tcp\":" ANY("8080"), &s.rules,
                "/app/servers/web=192.0.2.1:8080 80/tcp:not-named t/web/8080=none");
    assert_made("\"SERVICE_NAME\":\"a\"", "\"80/tcp\":" ANY("8080"), &s.rules,
                "/app/a/web=192.0.2.1:8080 /dns/a/web={\"port\":8080} t/web/8080=none");
    /* Each binding, where the key tells them apart. */
    assert_made("\"x\":\"s\"",
                "\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"1\"},{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"2\"}]",
                &s.rules, "/app/servers/web=192.0.2.1:1 /dns/s/web={\"port\":1} t/web/1=none t/web/2=none");
}

static void records_name_their_layout(void **state)
{
    CLEANUP(container_free_p) Container *container = made("", "\"80/tcp\":" ANY("8080") ",\"81/udp\":" ANY("8081"));
    Records records;

    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    add_layout(&s, "ids", "/ids/{id}", "{port}", "x");
    assert_int_equal(records_from_container(&records, container, &s.rules), 0);
    assert_int_equal(records.n_items, 3);
    assert_string_equal(records.items[0].layout, LAYOUT_DEFAULT);
    assert_true(records.items[0].names_container);
    assert_string_equal(records.items[1].layout, "ids");
    assert_false(records.items[1].names_container);
    assert_string_equal(records.items[2].layout, LAYOUT_DEFAULT);
    records_clear(&records);
    /* Two layouts that come to one key: the first keeps it, and the other says so. */
    add_layout(&s, "twin", "/app/servers/{name}", "x", "x");
    assert_summary(container, &s.rules,
                   "/app/servers/web=192.0.2.1:8080 /ids/0123456789ab=8080 80/tcp:duplicate 81/udp:udp");
}

static void only_containers_with_a_label(void **state)
{
    static char x[] = "x", y[] = "y";
    static const LabelMatch only[] = { { .label = x }, { .label = y, .value = "2" }, { .label = NULL } };
    static const char *const selected[] = { "\"x\":\"\"", "\"x\":\"1\"", "\"y\":\"2\"", "\"x\":\"1\",\"y\":\"3\"" };
    static const char *const others[] = { "", "\"y\":\"\"", "\"y\":\"22\"", "\"SERVICE_NAME\":\"x\"" };

    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    s.rules.only = only;
    for (size_t i = 0; i < ARRAY_SIZE(selected); i++)
        assert_made(selected[i], "\"80/tcp\":" ANY("8080"), &s.rules, "/app/servers/web=192.0.2.1:8080");
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_made(others[i], "\"80/tcp\":" ANY("8080"), &s.rules, "(not-selected)");
    assert_made("\"SERVICE_IGNORE\":\"1\"", "", &s.rules, "(ignored)");
}

static void one_off_containers_only_with_a_service(void **state)
{
    static const char ports[] = "\"80/tcp\":" ANY("8080") ",\"81/tcp\":" ANY("8081");

    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    assert_made("\"com.docker.compose.oneoff\":\"True\"", ports, &s.rules, "(one-off)");
    assert_made("\"com.docker.compose.oneoff\":\"False\"", "\"80/tcp\":" ANY("8080"), &s.rules,
                "/app/servers/web=192.0.2.1:8080");
    assert_made("\"com.docker.compose.oneoff\":\"True\",\"SERVICE_NAME\":\"shop\"", "\"80/tcp\":" ANY("8080"), &s.rules,
                "/app/shop/web=192.0.2.1:8080");
    assert_made("\"com.docker.compose.oneoff\":\"True\",\"SERVICE_81_NAME\":\"admin\"", ports, &s.rules,
                "80/tcp:one-off /app/admin/web=192.0.2.1:8081");
    s.rules.explicit_only = true;
    assert_made("\"com.docker.compose.oneoff\":\"True\"", ports, &s.rules, "(not-named)");
}

static void labels_of_a_port_in_templates(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup("/app/{name}", "{label:SERVICE_TAGS?none}", "servers");
    assert_made("\"SERVICE_TAGS\":\"all\",\"SERVICE_81_TAGS\":\"one\"",
                "\"80/tcp\":" ANY("8080") ",\"81/tcp\":" ANY("8081"), &s.rules, "/app/web-80=all /app/web-81=one");
    assert_made("", "\"80/tcp\":" ANY("8080"), &s.rules, "/app/web=none");
    CLEANUP(setup_clear) Setup one = setup("/app/{name}", "{label:SERVICE_80_TAGS}", "servers");
    assert_made("\"SERVICE_80_TAGS\":\"a\"", "\"80/tcp\":" ANY("8080"), &one.rules, "/app/web=a");
}

/* ---- state ---- */

static void only_running_healthy_containers_have_keys(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    assert_recorded("healthy", &s.rules, "/app/servers/healthy=192.0.2.1:32772");
    assert_recorded("unhealthy", &s.rules, "(unhealthy)");
    assert_recorded("starting", &s.rules, "(health-starting)");
    assert_recorded("nohealth", &s.rules, "/app/servers/nohealth=192.0.2.1:32775");
    assert_recorded("paused", &s.rules, "(paused)");
    assert_recorded("exited", &s.rules, "(not-running)");
    assert_recorded("created", &s.rules, "(not-running)");
    assert_recorded("restarting", &s.rules, "(not-running)");
}

static void lasting_reasons_precede_passing_ones(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup_default();
    CLEANUP(container_free_p) Container *ignored = made("\"SERVICE_IGNORE\":\"1\"", "");
    ignored->state = CONTAINER_STOPPED;
    assert_summary(ignored, &s.rules, "(ignored)");
    CLEANUP(container_free_p) Container *sick = made("", "");
    sick->health = HEALTH_UNHEALTHY;
    assert_summary(sick, &s.rules, "(no-port)");
}

/* ---- safety ---- */

static void too_long(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup("/app/{service}/{name}", "{label:x}", "servers");
    CLEANUP_FREE char *labels = NULL;
    assert_true(asprintf(&labels, "\"SERVICE_NAME\":\"%04096d\"", 7) > 0);
    assert_made(labels, "\"80/tcp\":" ANY("8080"), &s.rules, "80/tcp:too-long");
    free(labels);
    assert_true(asprintf(&labels, "\"x\":\"%04090d\"", 7) > 0);
    CLEANUP(setup_clear) Setup v = setup("/app/{name}", "{label:x}{label:x}", "servers");
    assert_made(labels, "\"80/tcp\":" ANY("8080"), &v.rules, "80/tcp:too-long");
    CLEANUP(setup_clear) Setup t = setup("/app/{service}/{name}", "v", "{label:x}{label:x}");
    assert_made(labels, "\"80/tcp\":" ANY("8080"), &t.rules, "80/tcp:too-long");
}

/* The first ports keep their keys; each port beyond the bound has a reason. */
static void keys_and_values_are_bounded(void **state)
{
    CLEANUP(setup_clear) Setup s = setup("/app/{service}/{name}", "{label:SERVICE_TAGS}", "servers");
    CLEANUP_FREE char *labels = NULL, *ports = NULL;
    size_t size, bytes = 0, registered = 0, limited = 0;
    FILE *out = open_memstream(&ports, &size);
    Records records;

    (void)state;
    for (unsigned port = 1; port <= 100; port++)
        fprintf(out, "%s\"%u/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"%u\"}]", port > 1 ? "," : "", port, port);
    fclose(out);
    assert_true(asprintf(&labels, "\"SERVICE_TAGS\":\"%04000d\"", 7) > 0);
    CLEANUP(container_free_p) Container *container = made(labels, ports);
    assert_int_equal(records_from_container(&records, container, &s.rules), 0);
    for (size_t i = 0; i < records.n_items; i++) {
        const Record *record = &records.items[i];

        registered += record->reason == REASON_NONE;
        limited += record->reason == REASON_CONTAINER_LIMIT;
        bytes += record->key ? strlen(record->key) + strlen(record->value) : 0;
    }
    assert_int_equal(bytes, records.bytes);
    assert_true(bytes <= RECORDS_CONTAINER_MAX && bytes > RECORDS_CONTAINER_MAX - 4100);
    assert_int_equal(registered + limited, 100);
    assert_int_equal(records.items[0].reason, REASON_NONE);
    assert_int_equal(records.items[99].reason, REASON_CONTAINER_LIMIT);
    records_clear(&records);
}

/* CPU time of making the records of a container with n ports; the least of several. */
static uint64_t records_cost_us(unsigned n, const Rules *rules)
{
    CLEANUP_FREE char *ports = NULL;
    uint64_t least = UINT64_MAX;
    size_t size;
    FILE *out = open_memstream(&ports, &size);

    for (unsigned port = 1; port <= n; port++)
        fprintf(out, "%s\"%u/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"%u\"}]", port > 1 ? "," : "", port, port);
    fclose(out);
    CLEANUP(container_free_p) Container *container = made("", ports);
    for (unsigned round = 0; round < 7; round++) {
        struct timespec begin, end;
        Records records;

        assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin), 0);
        assert_int_equal(records_from_container(&records, container, rules), 0);
        assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end), 0);
        assert_int_equal(records.n_items, n);
        records_clear(&records);
        uint64_t cost = (uint64_t)((end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000);
        least = cost < least ? cost : least;
    }
    return least;
}

/* 16 times the ports take some 16 times the time; 256 times if each port were compared with each other. */
static void records_take_linear_time(void **state)
{
    CLEANUP(setup_clear) Setup s = setup_default();
    uint64_t small = 0, large = UINT64_MAX;

    (void)state;
    /* A busy machine spoils a measurement now and then; a quadratic loop spoils each. */
    for (unsigned tries = 0; tries < 10 && large > 60 * (small + 1); tries++) {
        small = records_cost_us(64, &s.rules);
        large = records_cost_us(1024, &s.rules);
    }
    if (large > 60 * (small + 1))
        fail_msg("%lu us, and with 16 times as much %lu us", (unsigned long)small, (unsigned long)large);
}

static void too_much_metadata_gives_no_key(void **state)
{
    CLEANUP(setup_clear) Setup s = setup_default();
    CLEANUP(container_free_p) Container *container = made("", "\"80/tcp\":" ANY("8080"));

    (void)state;
    container->metadata_too_large = true;
    assert_summary(container, &s.rules, "(metadata-size)");
}

static void records_are_found_by_key(void **state)
{
    CLEANUP(setup_clear) Setup s = setup("/app/{service}", "{port}", "{container_port}");
    CLEANUP(container_free_p)
    Container *container = made("\"SERVICE_80_NAME\":\"b\",\"SERVICE_81_NAME\":\"a\",\"SERVICE_82_NAME\":\"b\"",
                                "\"80/tcp\":" ANY("1") ",\"81/tcp\":" ANY("2") ",\"82/tcp\":" ANY("3"));
    Records records;

    (void)state;
    assert_int_equal(records_from_container(&records, container, &s.rules), 0);
    assert_ptr_equal(records_find(&records, REASON_NONE, "/app/a"), &records.items[1]);
    assert_ptr_equal(records_find(&records, REASON_NONE, "/app/b"), &records.items[0]);
    assert_ptr_equal(records_find(&records, REASON_DUPLICATE, "/app/b"), &records.items[2]);
    assert_null(records_find(&records, REASON_DUPLICATE, "/app/a"));
    assert_null(records_find(&records, REASON_NONE, "/app/"));
    assert_null(records_find(&records, REASON_NONE, "/app/c"));
    records_clear(&records);
    assert_null(records_find(&records, REASON_NONE, "/app/a"));
}

static void ports_that_share_a_key(void **state)
{
    (void)state;
    CLEANUP(setup_clear) Setup s = setup("/app/{service}", "{address}:{port}", "{container_port}");
    assert_made("\"SERVICE_NAME\":\"shop\"", "\"80/tcp\":" ANY("8080") ",\"81/tcp\":" ANY("8081"), &s.rules,
                "/app/shop=192.0.2.1:8080 81/tcp:duplicate");
    assert_made("", "\"80/tcp\":" ANY("8080") ",\"81/tcp\":" ANY("8081"), &s.rules,
                "/app/80=192.0.2.1:8080 /app/81=192.0.2.1:8081");
}

static void strangers_stay_in_their_segment(void **state)
{
    (void)state;
    CLEANUP(setup_clear)
    Setup s = setup("/app/{service}/{name}", "{address}:{port} {label:x}", "servers");
    assert_made("\"SERVICE_NAME\":\"../../etc\",\"x\":\"a\\nserver evil 1.2.3.4:80 # \\\"\"", "\"80/tcp\":" ANY("8080"),
                &s.rules, "/app/.._.._etc/web=192.0.2.1:8080 a_server_evil_1.2.3.4:80____");
    assert_made("\"SERVICE_NAME\":\"..\"", "\"80/tcp\":" ANY("8080"), &s.rules, "/app/.._/web=192.0.2.1:8080 ");
}

static uint32_t seed = 2463534242;

static uint32_t below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % n;
}

static void random_text(char *ret, size_t size)
{
    static const char *const pieces[] = { "/",      "..",  ".",     "\n",   "\r\n",     " ",        "\"",
                                          "'",      "\\",  "#",     "\xff", "\xc3\xa4", "\xc2\x85", "\xe2\x80\xa8",
                                          "{name}", "web", "a-b_c", "::1",  ":80",      "$HOME",    "\x7f",
                                          "\x1b[2J" };
    size_t n = below(40) == 0 ? 2000 : below(6), used = 0;
    for (size_t i = 0; i < n; i++) {
        const char *piece = pieces[below(ARRAY_SIZE(pieces))];
        size_t length = strlen(piece);
        if (used + length >= size)
            break;
        memcpy(ret + used, piece, length);
        used += length;
    }
    ret[used] = '\0';
}

static void add_random_string(cJSON *object, const char *key)
{
    char text[4096];
    random_text(text, sizeof(text));
    cJSON_AddStringToObject(object, key, text);
}

static void add_random_metadata(cJSON *config, const char *where)
{
    static const char *const keys[] = {
        "SERVICE_NAME", "SERVICE_80_NAME", "SERVICE_81_NAME", "SERVICE_TAGS", "x", "y"
    };
    static const char *const protocols[] = { "tcp", "udp", "any", "tcp,udp", "sctp", "" };
    bool labels = strcmp(where, "Labels") == 0;
    cJSON *to = labels ? cJSON_AddObjectToObject(config, where) : cJSON_AddArrayToObject(config, where);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        char text[4096], entry[4200];
        if (below(2) == 0)
            continue;
        random_text(text, sizeof(text));
        snprintf(entry, sizeof(entry), "%s=%s", keys[i], text);
        if (labels)
            cJSON_AddStringToObject(to, keys[i], text);
        else
            cJSON_AddItemToArray(to, cJSON_CreateString(entry));
    }
    if (labels && below(2))
        cJSON_AddStringToObject(to, "SERVICE_PROTOCOL", protocols[below(ARRAY_SIZE(protocols))]);
}

static void add_random_ports(cJSON *ports)
{
    static const char *const addresses[] = { "0.0.0.0", "::", "", "127.0.0.1", "192.0.2.5", "2001:db8::5", "::1", "x" };
    static const char *const protocols[] = { "tcp", "udp", "sctp" };
    for (uint32_t i = below(6); i > 0; i--) {
        char name[32];
        snprintf(name, sizeof(name), "%u/%s", 78 + below(4), protocols[below(3)]);
        cJSON *bindings = cJSON_AddArrayToObject(ports, name);
        for (uint32_t j = below(4); j > 0; j--) {
            cJSON *binding = cJSON_CreateObject();
            snprintf(name, sizeof(name), "%u", below(8) == 0 ? 0 : 32768 + below(4));
            cJSON_AddStringToObject(binding, "HostIp", addresses[below(ARRAY_SIZE(addresses))]);
            cJSON_AddStringToObject(binding, "HostPort", name);
            cJSON_AddItemToArray(bindings, binding);
        }
    }
}

static Container *random_container(void)
{
    static const char *const modes[] = { "default", "bridge", "front", "host", "none", "container:x" };
    CLEANUP(cJSON_Delete_p) cJSON *root = cJSON_CreateObject();
    char name[4096] = "/", text[4000];
    random_text(text, sizeof(text));
    strcat(strcat(name, text), text[0] == '\0' ? "web" : "");
    cJSON_AddStringToObject(root, "Id", ID);
    cJSON_AddStringToObject(root, "Name", name);
    cJSON_AddBoolToObject(cJSON_AddObjectToObject(root, "State"), "Running", true);
    cJSON_AddStringToObject(cJSON_AddObjectToObject(root, "HostConfig"), "NetworkMode",
                            below(4) == 0 ? modes[below(ARRAY_SIZE(modes))] : "default");
    cJSON *config = cJSON_AddObjectToObject(root, "Config");
    add_random_string(config, "Image");
    add_random_metadata(config, "Labels");
    add_random_metadata(config, "Env");
    add_random_ports(cJSON_AddObjectToObject(config, "ExposedPorts"));
    cJSON *settings = cJSON_AddObjectToObject(root, "NetworkSettings");
    add_random_ports(cJSON_AddObjectToObject(settings, "Ports"));
    cJSON *networks = cJSON_AddObjectToObject(settings, "Networks");
    cJSON_AddStringToObject(cJSON_AddObjectToObject(networks, "front"), "IPAddress", below(2) ? "198.51.100.9" : "");
    cJSON_AddStringToObject(cJSON_AddObjectToObject(networks, "bridge"), "GlobalIPv6Address",
                            below(2) ? "2001:db8:1::9" : "");

    CLEANUP_FREE char *body = cJSON_PrintUnformatted(root);
    Container *container = NULL;
    assert_int_equal(container_from_inspect(&container, body, strlen(body), &all_labels), 0);
    return container;
}

static void check_key(const char *key, const char *prefix)
{
    assert_int_equal(strncmp(key, prefix, strlen(prefix)), 0);
    assert_null(strstr(key, "//"));
    assert_null(strstr(key, "/./"));
    assert_null(strstr(key, "/../"));
    const char *last = strrchr(key, '/');
    assert_true(strcmp(last, "/") != 0 && strcmp(last, "/.") != 0 && strcmp(last, "/..") != 0);
    assert_int_equal(strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-/"), strlen(key));
}

static bool is_address_of(const char *address, const Port *port, const Container *c, const Rules *rules)
{
    if (strcmp(c->network_mode, "host") == 0)
        return strcmp(address, rules->address4) == 0;
    if (rules->ports == PORTS_INTERNAL)
        return strcmp(address, "198.51.100.9") == 0 || strcmp(address, "2001:db8:1::9") == 0;
    return strcmp(address, port->address) == 0 || (port->any4 && strcmp(address, rules->address4) == 0) ||
           (port->any6 && strcmp(address, rules->address6) == 0);
}

/* "ADDRESS:PORT", the address in brackets if it is of IPv6, of a port that the container has. */
static void check_value(const char *value, const Record *record, const Container *c, const Rules *rules)
{
    char address[INET6_ADDRSTRLEN];
    unsigned number;
    int used = 0;
    bool inside = rules->ports == PORTS_INTERNAL || strcmp(c->network_mode, "host") == 0;
    if (sscanf(value, "[%45[0-9a-f:]]:%u%n", address, &number, &used) != 2)
        assert_int_equal(sscanf(value, "%45[0-9.]:%u%n", address, &number, &used), 2);
    assert_true(value[used] == '\0' || value[used] == ' ');
    for (const char *p = value; *p != '\0'; p++)
        assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
    assert_null(strpbrk(value + used + (value[used] == ' '), " \"'#\\$`"));
    for (size_t i = 0; i < c->n_ports; i++) {
        const Port *port = &c->ports[i];
        if (port->container_port == record->container_port && port->protocol == record->protocol &&
            (inside ? port->container_port : port->host_port) == number && is_address_of(address, port, c, rules))
            return;
    }
    fail_msg("%s is none of the container's", value);
}

static size_t check_container(const Container *c, const Rules *rules)
{
    Records records;
    size_t registered = 0;
    assert_int_equal(records_from_container(&records, c, rules), 0);
    for (size_t i = 0; i < records.n_items; i++) {
        const Record *record = &records.items[i];
        if (record->reason != REASON_NONE)
            continue;
        registered++;
        check_key(record->key, template_prefix(rules->layouts[0].key));
        check_value(record->value, record, c, rules);
        for (size_t j = 0; j < i; j++)
            if (records.items[j].reason == REASON_NONE)
                assert_string_not_equal(records.items[j].key, record->key);
    }
    records_clear(&records);
    return registered;
}

static void any_container_is_safe(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "/app/{service}/{name}",
        "/app/{service}/{node}:{name}:{container_port}",
        "/app/{label:x}/{label:y}/{name}",
        "/a.b/{service}/{address}-{port}",
        "/{image}/{service}",
        "/app/.{label:x}/{name?x}{protocol|json}",
    };
    static const char *const values[] = { "{address}:{port}", "{address}:{port} {label:SERVICE_TAGS}{label:y}{image}" };
    size_t registered = 0;
    for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
        CLEANUP(setup_clear)
        Setup s = setup(keys[k], values[k % 2], k % 2 ? "servers" : "{label:x?other}");
        for (unsigned round = 0; round < 2000; round++) {
            CLEANUP(container_free_p) Container *c = random_container();
            s.rules.ports = round % 3 == 0 ? PORTS_INTERNAL : PORTS_PUBLISHED;
            s.rules.explicit_only = round % 5 == 0;
            registered += check_container(c, &s.rules);
        }
    }
    assert_true(registered > 3000); /* else the test would say nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_ports),
        cmocka_unit_test(bindings_to_one_address),
        cmocka_unit_test(families),
        cmocka_unit_test(the_best_of_several_bindings),
        cmocka_unit_test(each_binding_where_the_key_tells_them_apart),
        cmocka_unit_test(host_network),
        cmocka_unit_test(no_network),
        cmocka_unit_test(why_there_is_no_port),
        cmocka_unit_test(pods),
        cmocka_unit_test(addresses_that_no_other_host_reaches),
        cmocka_unit_test(exposed_is_not_published),
        cmocka_unit_test(internal_ports),
        cmocka_unit_test(internal_address_is_of_the_home_network),
        cmocka_unit_test(several_ports_carry_their_number),
        cmocka_unit_test(only_registered_ports_count),
        cmocka_unit_test(protocols_that_were_asked_for),
        cmocka_unit_test(fields),
        cmocka_unit_test(image_names),
        cmocka_unit_test(service_names),
        cmocka_unit_test(the_service_template_has_a_fallback),
        cmocka_unit_test(ignoring),
        cmocka_unit_test(explicit_only),
        cmocka_unit_test(each_layout_has_its_keys),
        cmocka_unit_test(records_name_their_layout),
        cmocka_unit_test(only_containers_with_a_label),
        cmocka_unit_test(one_off_containers_only_with_a_service),
        cmocka_unit_test(labels_of_a_port_in_templates),
        cmocka_unit_test(only_running_healthy_containers_have_keys),
        cmocka_unit_test(lasting_reasons_precede_passing_ones),
        cmocka_unit_test(too_long),
        cmocka_unit_test(keys_and_values_are_bounded),
        cmocka_unit_test(too_much_metadata_gives_no_key),
        cmocka_unit_test(records_take_linear_time),
        cmocka_unit_test(records_are_found_by_key),
        cmocka_unit_test(ports_that_share_a_key),
        cmocka_unit_test(strangers_stay_in_their_segment),
        cmocka_unit_test(any_container_is_safe),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
