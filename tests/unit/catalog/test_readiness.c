/* Which ports are probed when, and what the answers mean: the order of probes by itself, and in the catalog. */
#include "unit/catalog/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000)
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* The order of probes. */

typedef struct Order {
    Probes probes;
    Readiness readiness;
} Order;

static int setup_order(void **state)
{
    Order *order = calloc(1, sizeof(*order));

    assert_non_null(order);
    probes_init(&order->probes);
    *state = order;
    return 0;
}

static int teardown_order(void **state)
{
    Order *order = *state;

    readiness_clear(&order->probes, &order->readiness);
    assert_int_equal(order->probes.n_waiting + order->probes.n_asked + order->probes.n_unanswered, 0);
    free(order);
    return 0;
}

static ReadyPort *want(Order *order, uint16_t port, uint64_t now_us)
{
    ReadyPort *wanted = readiness_want(&order->probes, &order->readiness, ID, port, now_us);

    assert_non_null(wanted);
    return wanted;
}

static bool answer_of(Order *order, ReadyPort *port, ProbeOutcome outcome, uint64_t timeout_us, uint64_t now_us)
{
    readiness_end_probe(&order->probes, &order->readiness);
    return ready_answer(&order->probes, port, outcome, timeout_us, now_us);
}

static void delays_double_until_a_second(void **state)
{
    static const unsigned delays_ms[] = { 0, 1, 2, 4, 8, 16, 32, 64, 128, 250, 1000, 1000, 1000 };
    Order *order = *state;
    uint64_t now_us = 5 * SECOND;
    ReadyPort *port = want(order, 80, now_us);

    for (size_t i = 0; i < ARRAY_SIZE(delays_ms); i++) {
        if (delays_ms[i] > 0)
            assert_null(probes_take(&order->probes, now_us + delays_ms[i] * 1000 - 1));
        now_us += delays_ms[i] * 1000;
        assert_int_equal(probes_due_us(&order->probes), now_us);
        assert_ptr_equal(probes_take(&order->probes, now_us), port);
        assert_null(probes_take(&order->probes, now_us));
        assert_int_equal(probes_due_us(&order->probes), 0);
        assert_false(answer_of(order, port, PROBE_REFUSED, SECOND, now_us));
    }
}

static void the_oldest_comes_first(void **state)
{
    Order *order = *state;
    ReadyPort *a = want(order, 80, 1000), *b = want(order, 81, 2000), *c = want(order, 82, 1500);

    assert_ptr_equal(probes_take(&order->probes, 9000), a);
    (void)answer_of(order, a, PROBE_REFUSED, SECOND, 900); /* due at 1900, with another delay */
    assert_ptr_equal(probes_take(&order->probes, 9000), c);
    assert_ptr_equal(probes_take(&order->probes, 9000), a);
    assert_ptr_equal(probes_take(&order->probes, 9000), b);
    assert_null(probes_take(&order->probes, 9000));
}

static void a_ready_port_is_not_probed_again(void **state)
{
    Order *order = *state;
    ReadyPort *port = want(order, 80, 0);

    assert_int_equal(order->probes.n_unanswered, 1);
    (void)probes_take(&order->probes, 0);
    assert_true(answer_of(order, port, PROBE_OPEN, SECOND, 5));
    assert_int_equal(port->state, READY_READY);
    assert_null(probes_take(&order->probes, 100 * SECOND));
    assert_int_equal(order->probes.n_unanswered, 0);
    assert_ptr_equal(want(order, 80, 100 * SECOND), port);
}

static void silence_is_assumed_to_be_ready_only_after_the_time_limit(void **state)
{
    Order *order = *state;
    ReadyPort *port = want(order, 80, SECOND);

    (void)probes_take(&order->probes, SECOND);
    assert_false(answer_of(order, port, PROBE_SILENT, 10 * SECOND, 2 * SECOND));
    (void)probes_take(&order->probes, 9 * SECOND);
    assert_false(answer_of(order, port, PROBE_SILENT, 10 * SECOND, 9 * SECOND));
    (void)probes_take(&order->probes, 11 * SECOND);
    assert_true(answer_of(order, port, PROBE_SILENT, 10 * SECOND, 11 * SECOND));
    assert_int_equal(port->state, READY_ASSUMED);
}

static void a_refusal_restarts_the_time_limit(void **state)
{
    Order *order = *state;
    ReadyPort *port = want(order, 80, 0);

    (void)probes_take(&order->probes, 0);
    assert_false(answer_of(order, port, PROBE_SILENT, 10 * SECOND, SECOND));
    for (uint64_t s = 2; s < 200; s++) {
        (void)probes_take(&order->probes, s * SECOND);
        assert_false(answer_of(order, port, PROBE_REFUSED, 10 * SECOND, s * SECOND));
    }
    (void)probes_take(&order->probes, 300 * SECOND);
    assert_false(answer_of(order, port, PROBE_SILENT, 10 * SECOND, 301 * SECOND));
}

/* Containers with many ports that do not answer leave slots to others. */
static void a_container_has_8_probes_at_once(void **state)
{
    Order *order = *state;
    Readiness other = { 0 };
    ReadyPort *taken[READY_OPEN_MAX], *port, *late;

    for (unsigned i = 0; i < 100; i++)
        (void)want(order, (uint16_t)(1000 + i), 10);
    late = readiness_want(&order->probes, &other, ID, 80, 20);
    for (unsigned i = 0; i < READY_OPEN_MAX; i++) {
        taken[i] = probes_take(&order->probes, 30);
        assert_int_equal(taken[i]->port, 1000 + i);
    }
    assert_ptr_equal(probes_take(&order->probes, 30), late);
    assert_null(probes_take(&order->probes, 30));
    assert_int_equal(probes_due_us(&order->probes), 0);
    assert_int_equal(order->probes.n_waiting, 100 - READY_OPEN_MAX);
    /* The other container's probe makes no room. */
    readiness_end_probe(&order->probes, &other);
    (void)ready_answer(&order->probes, late, PROBE_OPEN, SECOND, 40);
    assert_null(probes_take(&order->probes, 40));
    /* Each that ends lets the oldest in: the order stays. */
    for (unsigned i = 0; i < READY_OPEN_MAX; i++) {
        readiness_end_probe(&order->probes, &order->readiness);
        (void)ready_answer(&order->probes, taken[i], PROBE_REFUSED, SECOND, 40);
        port = probes_take(&order->probes, 40);
        assert_non_null(port);
        assert_int_equal(port->port, 1000 + READY_OPEN_MAX + i);
        assert_null(probes_take(&order->probes, 40));
    }
    readiness_clear(&order->probes, &other);
}

/* Whatever becomes of the ports that get the room. */
static void no_port_is_crowded_for_ever(void **state)
{
    Order *order = *state;

    for (unsigned i = 0; i < 100; i++)
        (void)want(order, (uint16_t)(1000 + i), 10);
    for (unsigned i = 0; i < READY_OPEN_MAX; i++)
        assert_non_null(probes_take(&order->probes, 30));
    assert_null(probes_take(&order->probes, 30));
    for (unsigned i = 0; i < READY_OPEN_MAX; i++)
        readiness_end_probe(&order->probes, &order->readiness);
    assert_int_equal(order->readiness.n_crowded, 0);
    /* Another start: its probes wait for those of the one before. */
    for (unsigned i = 0; i < READY_OPEN_MAX; i++)
        assert_non_null(probes_take(&order->probes, 30));
    readiness_start(&order->probes, &order->readiness, 1);
    (void)want(order, 80, 30);
    assert_null(probes_take(&order->probes, 30));
    readiness_end_probe(&order->probes, &order->readiness);
    assert_int_equal(probes_take(&order->probes, 30)->port, 80);
}

static void another_start_forgets_all(void **state)
{
    Order *order = *state;
    ReadyPort *port;

    readiness_start(&order->probes, &order->readiness, 1);
    port = want(order, 80, 0);
    ready_move(&order->probes, port, READY_ADOPT, 0);
    readiness_start(&order->probes, &order->readiness, 1);
    assert_true(ready_is_ready(readiness_find(&order->readiness, 80)));
    readiness_start(&order->probes, &order->readiness, 2);
    assert_null(readiness_find(&order->readiness, 80));
}

static void waiting_ports_that_are_not_wanted_are_forgotten(void **state)
{
    Order *order = *state;

    (void)want(order, 443, 0);
    ready_move(&order->probes, want(order, 80, 0), READY_ADOPT, 0);
    readiness_sweep(&order->probes, &order->readiness);
    assert_int_equal(order->readiness.n_ports, 2);
    (void)want(order, 8080, 0);
    readiness_sweep(&order->probes, &order->readiness);
    assert_int_equal(order->readiness.n_ports, 2);
    assert_null(readiness_find(&order->readiness, 443));
    assert_true(ready_is_ready(readiness_find(&order->readiness, 80)));
}

/* In the catalog. */

typedef struct Rig {
    Layout layout;
    const char *const *labels;
    Rules rules;
    Catalog *catalog;
    uint64_t now_us;
    char log[1024]; /* of wishes */
    const char *inherited; /* a key that an earlier run has registered */
    bool due; /* a port has begun to wait since the last probe was taken */
    unsigned warned, assumed, bad_labels;
} Rig;

static void on_want(void *userdata, const CatalogEntry *entry, const char *key, const char *value)
{
    Rig *rig = userdata;
    size_t used = strlen(rig->log);

    (void)entry;
    (void)value;
    (void)snprintf(rig->log + used, sizeof(rig->log) - used, "+%s ", strrchr(key, '/') + 1);
}

static void on_unwant(void *userdata, const CatalogEntry *entry, const char *key, const char *after)
{
    Rig *rig = userdata;
    size_t used = strlen(rig->log);

    (void)entry;
    (void)after;
    (void)snprintf(rig->log + used, sizeof(rig->log) - used, "-%s ", strrchr(key, '/') + 1);
}

static void on_probe_due(void *userdata)
{
    Rig *rig = userdata;

    rig->due = true;
}

static bool inherits(void *userdata, const char *key, const char *value)
{
    const Rig *rig = userdata;

    (void)value;
    return rig->inherited && strcmp(rig->inherited, strrchr(key, '/') + 1) == 0;
}

static void on_probed(void *userdata, const CatalogEntry *entry, CatalogProbed what, uint16_t port, const char *value)
{
    Rig *rig = userdata;

    (void)entry;
    (void)port;
    rig->warned += what == CATALOG_NOT_LISTENING;
    rig->assumed += what == CATALOG_ASSUMED;
    rig->bad_labels += what == CATALOG_LABEL;
    assert_true((what == CATALOG_LABEL) == (value != NULL));
}

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof(*rig));
    CatalogSink sink = sink_build(rig);

    assert_non_null(rig);
    sink.want = on_want;
    sink.unwant = on_unwant;
    sink.inherits = inherits;
    sink.due = on_probe_due;
    sink.probed = on_probed;
    rig->rules = rules_build(&rig->layout);
    rig->rules.stop_limit_s = 5;
    rig->rules.ready_timeout_s = 10;
    rig->rules.probes = true;
    rig->rules.labels.n_names = record_labels(&rig->labels);
    rig->rules.labels.names = rig->labels;
    rig->now_us = 1000 * SECOND;
    assert_int_equal(catalog_new(&rig->catalog, &rig->rules, &sink), 0);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;

    catalog_free(rig->catalog);
    layout_clear(&rig->layout);
    free(rig);
    return 0;
}

/* An inspect of a container with 80/tcp, 443/tcp or 53/udp, as ports names them, or with --network host. */
static Container *inspected(const Rig *rig, const char *ports, const char *labels, const char *state, unsigned start)
{
    char text[2048], bindings[512] = "";
    bool host = strcmp(ports, "host") == 0;
    Container *container = NULL;

    for (const char *port = ports; !host && *port != '\0'; port += strcspn(port, " ") + (strchr(port, ' ') != NULL)) {
        size_t used = strlen(bindings), size = strcspn(port, " ");

        (void)snprintf(bindings + used, sizeof(bindings) - used,
                       "%s\"%.*s\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"%d\"}]", used > 0 ? "," : "", (int)size,
                       port, 32768 + atoi(port));
    }
    (void)snprintf(text, sizeof(text),
                   "{\"Id\":\"" ID "\",\"Name\":\"/web\",\"Created\":\"2026-01-01T00:00:00Z\","
                   "\"Config\":{\"Image\":\"app:1\",\"Labels\":{%s},\"ExposedPorts\":{%s}},"
                   "\"State\":{\"StartedAt\":\"2026-01-01T00:00:%02uZ\",\"Running\":true,%s},"
                   "\"HostConfig\":{\"NetworkMode\":\"%s\"},\"NetworkSettings\":{\"Ports\":{%s},"
                   "\"Networks\":{%s}}}",
                   labels, host ? "\"80/tcp\":{}" : "", start, state, host ? "host" : "default", bindings,
                   host ? "" : "\"bridge\":{\"IPAddress\":\"172.17.0.2\"}");
    assert_int_equal(container_from_inspect(&container, text, strlen(text), &rig->rules.labels), 0);
    return container;
}

static void tell(Rig *rig, DockerAction action, int signal_number)
{
    DockerEvent event = { .action = action, .signal = signal_number, .id = ID };

    catalog_event(rig->catalog, &event, rig->now_us);
}

static void answer(Rig *rig, Container *container)
{
    CatalogQuestion question;

    assert_true(catalog_next_question(rig->catalog, false, &question));
    (void)catalog_inspected(rig->catalog, question.id, question.ticket, container, rig->now_us);
}

static void start_with(Rig *rig, const char *ports, const char *labels, const char *state, unsigned start)
{
    tell(rig, ACTION_START, 0);
    answer(rig, inspected(rig, ports, labels, state, start));
}

static void run(Rig *rig, const char *ports, const char *labels)
{
    start_with(rig, ports, labels, "\"Status\":\"running\"", 1);
}

static ProbeQuestion take(Rig *rig)
{
    ProbeQuestion question;
    uint64_t due_us;

    assert_true(catalog_next_probe(rig->catalog, rig->now_us, &question, &due_us));
    assert_true(rig->due || !catalog_awaits_answers(rig->catalog));
    return question;
}

static bool nothing_to_probe(Rig *rig)
{
    ProbeQuestion question;
    uint64_t due_us = 1;

    return !catalog_next_probe(rig->catalog, rig->now_us, &question, &due_us) && due_us == 0;
}

static void probe(Rig *rig, ProbeOutcome outcome)
{
    ProbeQuestion question = take(rig);

    if (catalog_probed(rig->catalog, &question, outcome, rig->now_us))
        catalog_want_ready(rig->catalog);
}

/* The wishes since the last call. */
static void assert_log(Rig *rig, const char *expected)
{
    assert_string_equal(rig->log, expected);
    rig->log[0] = '\0';
}

static const CatalogEntry *entry_of(Rig *rig)
{
    return catalog_find(rig->catalog, "web");
}

static Reason first_reason(Rig *rig)
{
    const CatalogEntry *entry = entry_of(rig);

    assert_non_null(entry);
    assert_true(entry->records.n_items > 0);
    return entry->records.items[0].reason;
}

static void a_port_is_registered_when_it_first_accepts(void **state)
{
    Rig *rig = *state;
    ProbeQuestion question;

    run(rig, "80/tcp", "");
    assert_log(rig, "");
    assert_int_equal(first_reason(rig), REASON_NOT_LISTENING);
    question = take(rig);
    assert_string_equal(question.target.address, "172.17.0.2");
    assert_int_equal(question.target.port, 80);
    assert_string_equal(question.other.address, "192.0.2.1");
    assert_int_equal(question.other.port, 32848);
    assert_false(question.other_if_refused);
    /* The first answer is worth a look, the next one only if it is another. */
    assert_true(catalog_probed(rig->catalog, &question, PROBE_REFUSED, rig->now_us));
    rig->now_us += 1000;
    question = take(rig);
    assert_false(catalog_probed(rig->catalog, &question, PROBE_REFUSED, rig->now_us));
    rig->now_us += 2000;
    probe(rig, PROBE_OPEN);
    assert_log(rig, "+web ");
    assert_true(nothing_to_probe(rig));
}

static void an_answer_for_another_start_is_ignored(void **state)
{
    Rig *rig = *state;
    ProbeQuestion old;

    run(rig, "80/tcp", "");
    old = take(rig);
    tell(rig, ACTION_DIE, 0);
    start_with(rig, "80/tcp", "", "\"Status\":\"running\"", 2);
    assert_false(catalog_probed(rig->catalog, &old, PROBE_OPEN, rig->now_us));
    assert_log(rig, "");
    /* It has crashed, and is not even probed until it has run for a second. */
    assert_true(nothing_to_probe(rig));
    rig->now_us += SECOND;
    (void)catalog_expire(rig->catalog, rig->now_us);
    assert_log(rig, "");
    probe(rig, PROBE_OPEN);
    assert_log(rig, "+web ");
}

static void a_stopping_container_is_not_probed(void **state)
{
    Rig *rig = *state;

    run(rig, "80/tcp", "");
    tell(rig, ACTION_KILL, 15);
    assert_true(nothing_to_probe(rig));
    assert_false(catalog_awaits_answers(rig->catalog));
}

static void pause_and_drain_cause_no_new_probe(void **state)
{
    Rig *rig = *state;

    run(rig, "80/tcp", "");
    probe(rig, PROBE_OPEN);
    assert_log(rig, "+web ");
    tell(rig, ACTION_PAUSE, 0);
    tell(rig, ACTION_UNPAUSE, 0);
    assert_log(rig, "-web +web ");
    assert_int_equal(catalog_drain(rig->catalog, ID, DRAIN_BY_OPERATOR), 0);
    assert_int_equal(catalog_drain(rig->catalog, ID, DRAIN_NONE), 0);
    assert_log(rig, "-web +web ");
    rig->rules.address4 = "192.0.2.9";
    catalog_set_rules(rig->catalog, &rig->rules, false);
    assert_log(rig, "+web ");
    assert_true(nothing_to_probe(rig));
}

static void a_restart_without_an_event_is_probed(void **state)
{
    Rig *rig = *state;

    run(rig, "80/tcp", "");
    probe(rig, PROBE_OPEN);
    tell(rig, ACTION_UPDATE, 0);
    answer(rig, inspected(rig, "80/tcp", "", "\"Status\":\"running\"", 2));
    assert_log(rig, "+web -web ");
    probe(rig, PROBE_OPEN);
    assert_log(rig, "+web ");
}

static void a_container_that_outlives_its_stop_is_probed_first(void **state)
{
    Rig *rig = *state;

    run(rig, "80/tcp", "");
    probe(rig, PROBE_OPEN);
    tell(rig, ACTION_KILL, 15);
    assert_log(rig, "+web -web ");
    rig->now_us += 11 * SECOND;
    (void)catalog_expire(rig->catalog, rig->now_us);
    answer(rig, inspected(rig, "80/tcp", "", "\"Status\":\"running\"", 1));
    assert_log(rig, "");
    probe(rig, PROBE_REFUSED);
    rig->now_us += SECOND;
    probe(rig, PROBE_OPEN);
    assert_log(rig, "+web ");
}

static void a_health_check_decides_alone(void **state)
{
    Rig *rig = *state;

    start_with(rig, "80/tcp", "", "\"Status\":\"running\",\"Health\":{\"Status\":\"starting\"}", 1);
    assert_true(nothing_to_probe(rig));
    tell(rig, ACTION_HEALTHY, 0);
    assert_log(rig, "+web ");
    assert_true(nothing_to_probe(rig));
}

static void labels_choose_the_probe(void **state)
{
    Rig *rig = *state;
    ProbeQuestion question;

    run(rig, "443/tcp 80/tcp", "\"SERVICE_READY\":\"none\",\"SERVICE_443_READY\":\"http:/health?deep=1\"");
    assert_log(rig, "+web-80 ");
    question = take(rig);
    assert_int_equal(question.container_port, 443);
    assert_string_equal(question.path, "/health?deep=1");
    assert_int_equal(rig->bad_labels, 0);
}

static void a_label_without_a_meaning_is_reported_once(void **state)
{
    Rig *rig = *state;
    static const char *const bad[] = { "yes", "http:", "http://elsewhere/ x", "http:/a b", "http:/\\u007f", "http:x" };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char labels[64];

        rig->bad_labels = 0;
        (void)snprintf(labels, sizeof(labels), "\"SERVICE_READY\":\"%s\"", bad[i]);
        start_with(rig, "80/tcp", labels, "\"Status\":\"running\"", (unsigned)i + 1);
        assert_string_equal(take(rig).path, "");
        assert_int_equal(rig->bad_labels, 1);
        catalog_set_rules(rig->catalog, &rig->rules, false);
        assert_int_equal(rig->bad_labels, 1);
        tell(rig, ACTION_DIE, 0);
        tell(rig, ACTION_DESTROY, 0);
    }
}

static void udp_follows_the_first_tcp_port(void **state)
{
    Rig *rig = *state;

    run(rig, "443/tcp 53/udp 80/tcp", "\"SERVICE_PROTOCOL\":\"any\"");
    assert_log(rig, "");
    probe(rig, PROBE_REFUSED);
    probe(rig, PROBE_OPEN);
    assert_log(rig, "+web-53 +web-443 ");
}

static void udp_alone_is_registered_at_once(void **state)
{
    Rig *rig = *state;

    run(rig, "53/udp", "\"SERVICE_PROTOCOL\":\"udp\"");
    assert_log(rig, "+web ");
}

static void a_silent_port_is_registered_after_the_time_limit(void **state)
{
    Rig *rig = *state;

    run(rig, "80/tcp", "");
    for (int i = 0; i < 9; i++) {
        probe(rig, PROBE_SILENT);
        rig->now_us += SECOND;
    }
    assert_log(rig, "");
    rig->now_us += SECOND;
    probe(rig, PROBE_SILENT);
    assert_log(rig, "+web ");
    assert_int_equal(rig->assumed, 1);
    assert_true(nothing_to_probe(rig));
}

static void one_warning_after_a_minute(void **state)
{
    Rig *rig = *state;

    run(rig, "80/tcp", "");
    for (int i = 0; i < 60; i++) {
        probe(rig, PROBE_REFUSED);
        rig->now_us += SECOND;
    }
    assert_int_equal(rig->warned, 0);
    for (int i = 0; i < 100; i++) {
        probe(rig, PROBE_REFUSED);
        rig->now_us += SECOND;
    }
    assert_int_equal(rig->warned, 1);
    assert_log(rig, "");
}

static void host_network_is_probed_on_the_host(void **state)
{
    Rig *rig = *state;
    ProbeQuestion question;

    run(rig, "host", "");
    question = take(rig);
    assert_string_equal(question.target.address, "127.0.0.1");
    assert_int_equal(question.target.port, 80);
    assert_string_equal(question.other.address, "192.0.2.1");
    assert_int_equal(question.other.port, 80);
    assert_true(question.other_if_refused);
}

/* A server of this host may have the container's address, too. */
static void a_container_of_another_host_is_probed_at_its_published_address(void **state)
{
    Rig *rig = *state;
    ProbeQuestion question;

    rig->rules.docker_is_remote = true;
    run(rig, "80/tcp", "");
    question = take(rig);
    assert_string_equal(question.target.address, "192.0.2.1");
    assert_int_equal(question.target.port, 32848);
    assert_string_equal(question.other.address, "");
    (void)catalog_probed(rig->catalog, &question, PROBE_REFUSED, rig->now_us);
    tell(rig, ACTION_DIE, 0);
    tell(rig, ACTION_DESTROY, 0);
    run(rig, "host", "");
    question = take(rig);
    assert_string_equal(question.target.address, "192.0.2.1");
    assert_int_equal(question.target.port, 80);
    assert_string_equal(question.other.address, "");
}

static void without_probes_all_is_ready(void **state)
{
    Rig *rig = *state;

    rig->rules.probes = false;
    run(rig, "80/tcp", "");
    assert_log(rig, "+web ");
}

#define STARTING "\"Status\":\"running\",\"Health\":{\"Status\":\"starting\"}"

/* A list shows the container with this state, as after a start of the agent. */
static void list_with(Rig *rig, const char *state)
{
    catalog_list_begin(rig->catalog);
    catalog_listed(rig->catalog, inspected(rig, "80/tcp", "", state, 1));
    catalog_list_end(rig->catalog, true);
    answer(rig, inspected(rig, "80/tcp", "", state, 1));
}

static void is_listed(Rig *rig)
{
    list_with(rig, "\"Status\":\"running\"");
}

static void a_port_that_an_earlier_run_registered_is_ready(void **state)
{
    Rig *rig = *state;

    rig->inherited = "web";
    is_listed(rig);
    assert_log(rig, "+web ");
    assert_true(nothing_to_probe(rig));
}

static void a_port_is_ready_when_the_store_finds_its_key(void **state)
{
    Rig *rig = *state;
    ProbeQuestion open;

    is_listed(rig);
    probe(rig, PROBE_REFUSED);
    rig->now_us += SECOND;
    open = take(rig);
    catalog_adopt(rig->catalog);
    assert_log(rig, "");
    rig->inherited = "web";
    catalog_adopt(rig->catalog);
    assert_log(rig, "+web ");
    assert_false(catalog_probed(rig->catalog, &open, PROBE_REFUSED, rig->now_us));
    assert_log(rig, "");
}

/* dockerd says so for a while after its own restart with live-restore. */
static void a_health_that_is_starting_is_healthy_if_an_earlier_run_registered_the_key(void **state)
{
    Rig *rig = *state;

    rig->inherited = "web";
    list_with(rig, STARTING);
    assert_log(rig, "+web ");
    assert_true(nothing_to_probe(rig));
    rig->inherited = NULL;
    list_with(rig, STARTING);
    assert_log(rig, "");
    tell(rig, ACTION_UNHEALTHY, 0);
    assert_log(rig, "-web ");
}

static void a_health_that_is_starting_is_healthy_when_the_store_finds_the_key(void **state)
{
    Rig *rig = *state;

    list_with(rig, STARTING);
    catalog_adopt(rig->catalog);
    assert_log(rig, "");
    rig->inherited = "web";
    catalog_adopt(rig->catalog);
    assert_log(rig, "+web ");
}

static void a_health_that_is_starting_after_a_start_inherits_nothing(void **state)
{
    Rig *rig = *state;

    rig->inherited = "web";
    start_with(rig, "80/tcp", "", STARTING, 2);
    catalog_adopt(rig->catalog);
    assert_log(rig, "");
    tell(rig, ACTION_HEALTHY, 0);
    assert_log(rig, "+web ");
}

/* The answer to an early question shows a start of now, too. */
static void an_answer_before_the_start_event_causes_a_probe(void **state)
{
    Rig *rig = *state;
    DockerEvent connect = { .action = ACTION_CONNECT, .id = ID, .time_ns = 1 };
    CatalogQuestion question;

    rig->inherited = "web";
    catalog_event(rig->catalog, &connect, rig->now_us);
    assert_true(catalog_next_question(rig->catalog, true, &question));
    (void)catalog_inspected(rig->catalog, question.id, question.ticket,
                            inspected(rig, "80/tcp", "", "\"Status\":\"running\"", 1), rig->now_us);
    assert_log(rig, "");
    probe(rig, PROBE_OPEN);
    assert_log(rig, "+web ");
}

static void a_container_that_has_started_since_is_probed(void **state)
{
    Rig *rig = *state;

    is_listed(rig);
    tell(rig, ACTION_DIE, 0);
    rig->inherited = "web";
    start_with(rig, "80/tcp", "", "\"Status\":\"running\"", 2);
    assert_log(rig, "");
    probe(rig, PROBE_OPEN);
    assert_log(rig, "+web ");
}

static void switching_probes_on_keeps_registered_keys(void **state)
{
    Rig *rig = *state;

    rig->rules.probes = false;
    run(rig, "80/tcp", "");
    assert_log(rig, "+web ");
    rig->rules.probes = true;
    catalog_set_rules(rig->catalog, &rig->rules, false);
    assert_log(rig, "");
    assert_true(nothing_to_probe(rig));
}

/* One port, two bindings: only the key of the second is known from an earlier run. */
static void a_port_that_inherits_one_key_is_ready_for_all(void **state)
{
    Rig *rig = *state;
    Layout layouts[2] = { rig->layout, rig->layout };

    (void)snprintf(layouts[1].name, sizeof(layouts[1].name), "two");
    layouts[1].key = compiled("/two/{name}-two");
    rig->rules.layouts = layouts;
    rig->rules.n_layouts = 2;
    rig->inherited = "web-two";
    is_listed(rig);
    assert_int_equal(entry_of(rig)->records.n_items, 2);
    assert_int_equal(entry_of(rig)->records.items[0].reason, REASON_NONE);
    assert_int_equal(entry_of(rig)->records.items[1].reason, REASON_NONE);
    catalog_drain(rig->catalog, ID, DRAIN_BY_OPERATOR);
    rig->rules.layouts = &rig->layout;
    rig->rules.n_layouts = 1;
    template_free(layouts[1].key);
}

/* On a quiet host nothing but the catalog itself can tell that a delay is over. */
static void the_end_of_a_delay_is_reported(void **state)
{
    Rig *rig = *state;

    run(rig, "80/tcp", "");
    probe(rig, PROBE_OPEN);
    (void)catalog_drain(rig->catalog, ID, DRAIN_BY_OPERATOR);
    rig->now_us += SECOND;
    tell(rig, ACTION_DIE, 0);
    start_with(rig, "80/tcp", "", "\"Status\":\"running\"", 2);
    rig->due = false;
    (void)catalog_drain(rig->catalog, ID, DRAIN_NONE);
    assert_true(rig->due);
}

static void a_removed_container_is_not_probed(void **state)
{
    Rig *rig = *state;
    ProbeQuestion open;

    run(rig, "80/tcp 443/tcp", "");
    open = take(rig);
    catalog_list_begin(rig->catalog);
    tell(rig, ACTION_DESTROY, 0);
    assert_true(nothing_to_probe(rig));
    assert_false(catalog_probed(rig->catalog, &open, PROBE_OPEN, rig->now_us));
    catalog_list_end(rig->catalog, true);
    assert_true(nothing_to_probe(rig));
    assert_log(rig, "");
}

#define ORDER(function) cmocka_unit_test_setup_teardown(function, setup_order, teardown_order)
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ORDER(delays_double_until_a_second),
        ORDER(the_oldest_comes_first),
        ORDER(a_ready_port_is_not_probed_again),
        ORDER(silence_is_assumed_to_be_ready_only_after_the_time_limit),
        ORDER(a_refusal_restarts_the_time_limit),
        ORDER(a_container_has_8_probes_at_once),
        ORDER(no_port_is_crowded_for_ever),
        ORDER(another_start_forgets_all),
        ORDER(waiting_ports_that_are_not_wanted_are_forgotten),
        TEST(a_port_is_registered_when_it_first_accepts),
        TEST(an_answer_for_another_start_is_ignored),
        TEST(a_stopping_container_is_not_probed),
        TEST(pause_and_drain_cause_no_new_probe),
        TEST(a_restart_without_an_event_is_probed),
        TEST(a_container_that_outlives_its_stop_is_probed_first),
        TEST(a_health_check_decides_alone),
        TEST(labels_choose_the_probe),
        TEST(a_label_without_a_meaning_is_reported_once),
        TEST(udp_follows_the_first_tcp_port),
        TEST(udp_alone_is_registered_at_once),
        TEST(a_silent_port_is_registered_after_the_time_limit),
        TEST(one_warning_after_a_minute),
        TEST(host_network_is_probed_on_the_host),
        TEST(a_container_of_another_host_is_probed_at_its_published_address),
        TEST(without_probes_all_is_ready),
        TEST(a_port_that_an_earlier_run_registered_is_ready),
        TEST(a_port_is_ready_when_the_store_finds_its_key),
        TEST(an_answer_before_the_start_event_causes_a_probe),
        TEST(a_container_that_has_started_since_is_probed),
        TEST(switching_probes_on_keeps_registered_keys),
        TEST(a_port_that_inherits_one_key_is_ready_for_all),
        TEST(a_health_that_is_starting_is_healthy_if_an_earlier_run_registered_the_key),
        TEST(a_health_that_is_starting_is_healthy_when_the_store_finds_the_key),
        TEST(a_health_that_is_starting_after_a_start_inherits_nothing),
        TEST(the_end_of_a_delay_is_reported),
        TEST(a_removed_container_is_not_probed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
