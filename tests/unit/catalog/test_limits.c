/* The bounds of the catalog: what they leave out, that the sink is told of it once, and that it comes in later. */
#include "unit/catalog/rules.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PORTS = 60, VALUE = 4000 };

typedef struct Rig {
    Layout layout;
    Rules rules;
    Catalog *catalog;
    size_t n_wanted, bytes, n_told;
    char told[128];
} Rig;

static void on_want(void *userdata, const CatalogEntry *entry, const char *key, const char *value)
{
    Rig *rig = userdata;

    (void)entry;
    rig->n_wanted++;
    rig->bytes += strlen(key) + strlen(value);
}

static void on_unwant(void *userdata, const CatalogEntry *entry, const char *key, const char *after)
{
    Rig *rig = userdata;

    (void)after;
    (void)entry;
    rig->n_wanted--;
    rig->bytes -= strlen(key) + VALUE;
}

static void on_duplicate(void *userdata, const CatalogEntry *entry, const char *key)
{
    (void)userdata;
    (void)entry;
    fail_msg("%s is taken", key);
}

static void on_left_out(void *userdata, const CatalogEntry *entry, const char *what)
{
    Rig *rig = userdata;

    (void)entry;
    rig->n_told++;
    (void)snprintf(rig->told, sizeof(rig->told), "%s", what);
}

static int setup(void **state)
{
    static const char *const names[] = { "x" };
    Rig *rig = calloc(1, sizeof(*rig));
    CatalogSink sink = sink_build(rig);

    assert_non_null(rig);
    sink.want = on_want;
    sink.unwant = on_unwant;
    sink.duplicate = on_duplicate;
    sink.left_out = on_left_out;
    layout_build(&rig->layout, "/app/{name}", "{label:x}");
    rig->rules = (Rules){ .layouts = &rig->layout,
                          .n_layouts = 1,
                          .node = "n",
                          .address4 = "192.0.2.1",
                          .labels = { .names = names, .n_names = 1 } };
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

/* Starts container number i, with so many ports and a label x of `length` bytes. */
static void start(Rig *rig, unsigned i, unsigned ports, int length)
{
    CLEANUP_FREE char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    Container *container = NULL;
    CatalogQuestion question;
    DockerEvent event = { .action = ACTION_START };

    fprintf(
        out,
        "{\"Id\":\"%064x\",\"Name\":\"/c%04u\",\"State\":{\"Running\":true},\"Config\":{\"Labels\":{\"x\":\"%0*d\"}},"
        "\"NetworkSettings\":{\"Ports\":{\"1/udp\":null",
        i, i, length, 0);
    for (unsigned port = 1; port <= ports; port++)
        fprintf(out, ",\"%u/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"%u\"}]", port, port);
    fputs("}}}", out);
    fclose(out);
    (void)snprintf(event.id, sizeof(event.id), "%064x", i);
    catalog_event(rig->catalog, &event, 0);
    assert_true(catalog_next_question(rig->catalog, false, &question));
    assert_int_equal(container_from_inspect(&container, text, size, &rig->rules.labels), 0);
    (void)catalog_inspected(rig->catalog, question.id, question.ticket, container, 0);
}

static void die(Rig *rig, unsigned i)
{
    DockerEvent event = { .action = ACTION_DIE };

    (void)snprintf(event.id, sizeof(event.id), "%064x", i);
    catalog_event(rig->catalog, &event, 0);
}

static void a_hosts_keys_and_values_are_bounded(void **state)
{
    Rig *rig = *state;
    unsigned n = 0;

    while (rig->n_told == 0 && n < 100)
        start(rig, n++, PORTS, VALUE);
    assert_true(n > 30);
    assert_string_equal(rig->told, reason_to_string(REASON_HOST_LIMIT));
    assert_true(rig->bytes <= RECORDS_HOST_MAX && rig->bytes > RECORDS_HOST_MAX - 2 * VALUE);
    assert_int_equal(catalog_reason(rig->catalog, catalog_find(rig->catalog, "c0000")), REASON_NONE);
    /* Told once, whatever is looked at again. */
    catalog_set_rules(rig->catalog, &rig->rules, false);
    assert_int_equal(rig->n_told, 1);
    assert_true(rig->bytes <= RECORDS_HOST_MAX);
    /* When another container leaves, all of it comes in. */
    die(rig, 0);
    assert_int_equal(rig->n_wanted, (n - 1) * PORTS);
    /* When all have left, none is counted. */
    for (unsigned i = 1; i < n; i++)
        die(rig, i);
    assert_int_equal(rig->bytes, 0);
    for (unsigned i = 0; i < n - 1; i++)
        start(rig, 1000 + i, PORTS, VALUE);
    assert_int_equal(rig->n_wanted, (n - 1) * PORTS);
    assert_int_equal(rig->n_told, 1);
}

static void ports_beyond_the_bound_are_reported(void **state)
{
    Rig *rig = *state;

    start(rig, 1, CONTAINER_PORTS_MAX, 10);
    assert_int_equal(rig->n_told, 1); /* the exposed one, 1/udp */
    assert_int_equal(rig->n_wanted, CONTAINER_PORTS_MAX);
    start(rig, 2, CONTAINER_PORTS_MAX + 76, 10);
    assert_int_equal(rig->n_told, 2);
    assert_string_equal(rig->told, "77 ports are left out: a container may have 1024");
    assert_int_equal(rig->n_wanted, 2 * CONTAINER_PORTS_MAX);
}

static void a_value_that_is_too_long_is_reported(void **state)
{
    Rig *rig = *state;

    start(rig, 1, 1, 2 * CONTAINER_METADATA_VALUE_MAX);
    assert_int_equal(rig->n_wanted, 0);
    assert_int_equal(rig->n_told, 1);
    assert_string_equal(rig->told, reason_to_string(REASON_TOO_LONG));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_hosts_keys_and_values_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(ports_beyond_the_bound_are_reported, setup, teardown),
        cmocka_unit_test_setup_teardown(a_value_that_is_too_long_is_reported, setup, teardown),
    };

    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
