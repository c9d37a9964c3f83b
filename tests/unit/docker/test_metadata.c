/* Labels and variables: which of them count, and what any number of others costs. */
#include "base/cleanup.h"
#include "docker/container.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char *const names[] = { "SERVICE_NAME", "SERVICE_IGNORE", "SERVICE_A", "SERVICE_B", "x", "PATH" };
static const LabelFilter filter = { .names = names, .n_names = ARRAY_SIZE(names) };

static Container *inspected(const char *config, const LabelFilter *labels)
{
    CLEANUP_FREE char *text = NULL;
    Container *container = NULL;

    assert_true(asprintf(&text, "{\"Id\":\"" ID "\",\"Name\":\"/w\",\"State\":{\"Running\":true},\"Config\":{%s}}",
                         config) > 0);
    assert_int_equal(container_from_inspect(&container, text, strlen(text), labels), 0);
    return container;
}

static void labels_beat_the_environment(void **state)
{
    CLEANUP(container_free_p)
    Container *c = inspected("\"Labels\":{\"SERVICE_NAME\":\"shop\",\"SERVICE_A\":\"\",\"SERVICE_B\":7,\"x\":\"1\","
                             "\"y\":\"2\"},\"Env\":[\"SERVICE_NAME=no\",\"SERVICE_A=no\",\"SERVICE_B=no\"]",
                             &filter);

    (void)state;
    assert_int_equal(c->n_metadata, 3);
    assert_string_equal(container_metadata(c, "SERVICE_NAME"), "shop");
    assert_string_equal(container_metadata(c, "SERVICE_A"), "");
    assert_string_equal(container_metadata(c, "x"), "1");
    assert_null(container_metadata(c, "y"));
    assert_null(container_metadata(c, "SERVICE_NAM"));
    assert_null(container_metadata(c, "SERVICE_NAME_"));
    for (size_t i = 1; i < c->n_metadata; i++)
        assert_true(strcmp(c->metadata[i - 1].key, c->metadata[i].key) < 0);
}

static void only_labels_that_the_filter_names_are_kept(void **state)
{
    CLEANUP(container_free_p)
    Container *c = inspected("\"Labels\":{\"SERVICE_NAME\":\"shop\",\"x\":\"1\"},\"Env\":[\"SERVICE_A=1\"]", NULL);

    (void)state;
    assert_int_equal(c->n_metadata, 0);
}

static void of_the_environment_only_service_variables_count(void **state)
{
    static const char config[] = "\"Env\":[\"PATH=/bin\",\"x=1\",\"SERVICE_A=1\",\"SERVICE_NAME=n\",\"SERVICE_A=2\","
                                 "\"SERVICE_B\",7,\"SERVICE_A=3\"],\"Labels\":null";
    CLEANUP(container_free_p) Container *c = inspected(config, &filter);

    (void)state;
    assert_int_equal(c->n_metadata, 2);
    assert_string_equal(container_metadata(c, "SERVICE_A"), "1");
}

/* SERVICE_<port>_<KEY> counts for the ports that the container has, with the number as Docker spells it. */
static void a_name_stands_for_each_port(void **state)
{
    CLEANUP(container_free_p)
    Container *c = inspected("\"ExposedPorts\":{\"443/tcp\":{},\"80/udp\":{}},\"Labels\":{\"SERVICE_80_NAME\":\"a\","
                             "\"SERVICE_443_NAME\":\"b\",\"SERVICE_81_NAME\":\"\",\"SERVICE_080_NAME\":\"\","
                             "\"SERVICE_65616_NAME\":\"\",\"SERVICE_80_OTHER\":\"\",\"SERVICE_80\":\"\","
                             "\"SERVICE_80_\":\"\",\"SERVICE__NAME\":\"\",\"SERVICE_80_NAMES\":\"\","
                             "\"SERVICE_99999999999999999999_NAME\":\"\",\"SERVICE_80_x\":\"\"},"
                             "\"Env\":[\"SERVICE_443_NAME=no\",\"SERVICE_443_IGNORE=yes\"]",
                             &filter);

    (void)state;
    assert_int_equal(c->n_metadata, 3);
    assert_string_equal(container_metadata(c, "SERVICE_80_NAME"), "a");
    assert_string_equal(container_metadata(c, "SERVICE_443_NAME"), "b");
    assert_string_equal(container_metadata(c, "SERVICE_443_IGNORE"), "yes");
}

static void other_labels_push_nothing_out(void **state)
{
    CLEANUP_FREE char *config = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&config, &size);

    (void)state;
    fputs("\"Labels\":{\"SERVICE_AAA\":\"\"", out);
    for (unsigned i = 0; i < 5000; i++)
        fprintf(out, ",\"SERVICE_A%u\":\"x\",\"label%u\":\"x\"", i, i);
    fputs(",\"SERVICE_IGNORE\":\"1\"},\"Env\":[\"SERVICE_NAME=shop\"]", out);
    fclose(out);
    CLEANUP(container_free_p) Container *c = inspected(config, &filter);
    assert_int_equal(c->n_metadata, 2);
    assert_string_equal(container_metadata(c, "SERVICE_IGNORE"), "1");
    assert_string_equal(container_metadata(c, "SERVICE_NAME"), "shop");
}

/* Such a value is not as if it were absent: it is cut at a length that no template takes. */
static void long_values_are_cut_and_not_lost(void **state)
{
    CLEANUP_FREE char *config = NULL;

    (void)state;
    assert_true(
        asprintf(&config,
                 "\"Labels\":{\"SERVICE_A\":\"%0*d\",\"SERVICE_IGNORE\":\"%0*d\"},\"Env\":[\"SERVICE_IGNORE=\"]",
                 CONTAINER_METADATA_VALUE_MAX, 7, CONTAINER_METADATA_VALUE_MAX + 100, 7) > 0);
    CLEANUP(container_free_p) Container *c = inspected(config, &filter);
    assert_int_equal(strlen(container_metadata(c, "SERVICE_A")), CONTAINER_METADATA_VALUE_MAX);
    assert_int_equal(strlen(container_metadata(c, "SERVICE_IGNORE")), CONTAINER_METADATA_VALUE_MAX + 1);
    assert_false(c->metadata_too_large);
}

static char *config_of_ports(unsigned n)
{
    char *config = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&config, &size);

    fputs("\"Labels\":{\"SERVICE_IGNORE\":\"1\"", out);
    for (unsigned port = 1; port <= n; port++)
        fprintf(out, ",\"SERVICE_%u_NAME\":\"%0*d\"", port, CONTAINER_METADATA_VALUE_MAX, 7);
    fputs("},\"ExposedPorts\":{\"1/udp\":{}", out);
    for (unsigned port = 1; port <= n; port++)
        fprintf(out, ",\"%u/tcp\":{}", port);
    fputs("}", out);
    fclose(out);
    return config;
}

static void the_bytes_of_all_are_bounded(void **state)
{
    CLEANUP_FREE char *fits = config_of_ports(60), *too_large = config_of_ports(70);
    CLEANUP(container_free_p) Container *a = inspected(fits, &filter);
    CLEANUP(container_free_p) Container *b = inspected(too_large, &filter);

    (void)state;
    assert_false(a->metadata_too_large);
    assert_int_equal(a->n_metadata, 61);
    assert_true(b->metadata_too_large);
    assert_int_equal(b->n_metadata, 0);
}

static uint64_t cpu_us(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* CPU time of one inspect of n variables and 10 n labels; the least of several. */
static uint64_t inspect_cost_us(unsigned n)
{
    CLEANUP_FREE char *text = NULL;
    uint64_t least = UINT64_MAX;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    fputs("{\"Id\":\"" ID "\",\"Name\":\"/w\",\"State\":{},\"Config\":{\"Labels\":{\"x\":\"\"", out);
    for (unsigned i = 0; i < 10 * n; i++)
        fprintf(out, ",\"SERVICE_%u_NAME\":\"\"", 1 + i % 60000);
    fputs("},\"Env\":[\"x=\"", out);
    for (unsigned i = 0; i < n; i++)
        fprintf(out, ",\"SERVICE_%u_NAME=x\"", 1 + i % 60000);
    fputs("],\"ExposedPorts\":{\"1/udp\":{}", out);
    for (unsigned i = 0; i < n; i++)
        fprintf(out, ",\"%u/tcp\":{}", 1 + i % 60000);
    fputs("}}}", out);
    fclose(out);
    for (unsigned round = 0; round < 5; round++) {
        Container *c = NULL;
        uint64_t begin = cpu_us(), cost;

        assert_int_equal(container_from_inspect(&c, text, size, &filter), 0);
        cost = cpu_us() - begin;
        container_free(c);
        if (cost < least)
            least = cost;
    }
    return least;
}

/* 8 times the input takes some 8 times the time; it would take 64 times if each variable were sought in all labels. */
static void an_inspect_takes_linear_time(void **state)
{
    uint64_t small = 0, large = UINT64_MAX;

    (void)state;
    /* A busy machine spoils a measurement now and then; a quadratic loop spoils each. */
    for (unsigned tries = 0; tries < 10 && large > 25 * small; tries++) {
        small = inspect_cost_us(1000);
        large = inspect_cost_us(8000);
    }
    if (large > 25 * small)
        fail_msg("%lu us, and with 8 times as much %lu us", (unsigned long)small, (unsigned long)large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_beat_the_environment),
        cmocka_unit_test(only_labels_that_the_filter_names_are_kept),
        cmocka_unit_test(of_the_environment_only_service_variables_count),
        cmocka_unit_test(a_name_stands_for_each_port),
        cmocka_unit_test(other_labels_push_nothing_out),
        cmocka_unit_test(long_values_are_cut_and_not_lost),
        cmocka_unit_test(the_bytes_of_all_are_bounded),
        cmocka_unit_test(an_inspect_takes_linear_time),
    };

    return cmocka_run_group_tests_name("metadata", tests, NULL, NULL);
}
