/* What /metrics says. */
#include "base/cleanup.h"
#include "operator/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static MetricsSource example(void)
{
    MetricsSource source = {
        .version = "1.2.3",
        .containers = 3,
        .layouts = { { .layout = LAYOUT_DEFAULT, .records = { [RECORD_REGISTERED] = 2, [RECORD_UNREGISTERED] = 1 } },
                     { .layout = "dns", .records = { [RECORD_CONFLICT] = 1 } } },
        .n_layouts = 2,
        .docker_up = true,
        .counters = { .docker_events = { [ACTION_START] = 7, [ACTION_HEALTHY] = 1 }, .docker_connects = 3 },
        .publisher = { .puts = UINT64_C(18446744073709551615), .conflicts = 4, .drift = 5 },
        .ttl_s = 30,
        .heartbeat_age_s = 1.5,
        .lease_left_s = 28.5,
        .start_s = 1700000000.25,
        .resident_bytes = 4096,
    };

    source.counters.store.requests[STORE_OPERATION_HEARTBEAT][STORE_LEASE_LOST] = 6;
    return source;
}

static void expect_line(const char *text, const char *line)
{
    size_t size = strlen(line);

    for (const char *p = text; (p = strstr(p, line)); p++)
        if ((p == text || p[-1] == '\n') && p[size] == '\n')
            return;
    fail_msg("no line '%s' in:\n%s", line, text);
}

static void expect_none(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("'%s' in:\n%s", part, text);
}

static void test_text(void **state)
{
    MetricsSource source = example();
    CLEANUP_FREE char *text = metrics_render(&source);

    (void)state;
    assert_non_null(text);
    expect_line(text, "# TYPE registrator_containers gauge");
    expect_line(text, "registrator_containers 3");
    expect_line(text, "registrator_records{state=\"registered\"} 2");
    expect_line(text, "registrator_records{state=\"unregistered\"} 1");
    expect_line(text, "registrator_records{state=\"pending\"} 0");
    expect_line(text, "registrator_records{layout=\"dns\",state=\"conflict\"} 1");
    expect_line(text, "registrator_records{layout=\"dns\",state=\"registered\"} 0");
    expect_line(text, "# TYPE registrator_docker_events_total counter");
    expect_line(text, "registrator_docker_events_total{action=\"start\"} 7");
    expect_line(text, "registrator_docker_events_total{action=\"health_status: healthy\"} 1");
    expect_line(text, "registrator_docker_up 1");
    expect_line(text, "registrator_docker_reconnects_total 2");
    expect_line(text, "registrator_etcd_up 0");
    expect_line(text, "registrator_etcd_requests_total{operation=\"heartbeat\",outcome=\"lease_lost\"} 6");
    expect_line(text, "registrator_etcd_requests_total{operation=\"write\",outcome=\"ok\"} 0");
    expect_line(text, "registrator_puts_total 18446744073709551615");
    expect_line(text, "registrator_conflicts_total 4");
    expect_line(text, "registrator_drift_total 5");
    expect_line(text, "registrator_ttl_seconds 30");
    expect_line(text, "registrator_heartbeat_age_seconds 1.5");
    expect_line(text, "registrator_lease_left_seconds 28.5");
    expect_line(text, "# TYPE registrator_build_info gauge");
    expect_line(text, "registrator_build_info{version=\"1.2.3\"} 1");
    expect_line(text, "process_start_time_seconds 1700000000.25");
    expect_line(text, "process_resident_memory_bytes 4096");
}

static void test_unknown_is_absent(void **state)
{
    MetricsSource source = { .version = "1", .heartbeat_age_s = -1, .lease_left_s = -1 };
    CLEANUP_FREE char *text = metrics_render(&source);

    (void)state;
    expect_none(text, "registrator_heartbeat_age_seconds");
    expect_none(text, "registrator_lease_left_seconds");
    expect_none(text, "process_");
    expect_line(text, "registrator_docker_up 0");
    expect_line(text, "registrator_docker_reconnects_total 0");
}

static void test_histogram(void **state)
{
    MetricsSource source = example();
    CLEANUP_FREE char *text = NULL;

    (void)state;
    histogram_observe(&source.publisher.put_latency, 0);
    histogram_observe(&source.publisher.put_latency, 5000); /* a bound belongs to its bucket */
    histogram_observe(&source.publisher.put_latency, 5001);
    histogram_observe(&source.publisher.put_latency, 1500000);
    histogram_observe(&source.publisher.put_latency, 61000000);
    text = metrics_render(&source);
    expect_line(text, "registrator_change_latency_seconds_bucket{change=\"register\",le=\"0.005\"} 2");
    expect_line(text, "registrator_change_latency_seconds_bucket{change=\"register\",le=\"0.01\"} 3");
    expect_line(text, "registrator_change_latency_seconds_bucket{change=\"register\",le=\"1.0\"} 3");
    expect_line(text, "registrator_change_latency_seconds_bucket{change=\"register\",le=\"2.5\"} 4");
    expect_line(text, "registrator_change_latency_seconds_bucket{change=\"register\",le=\"60.0\"} 4");
    expect_line(text, "registrator_change_latency_seconds_bucket{change=\"register\",le=\"+Inf\"} 5");
    expect_line(text, "registrator_change_latency_seconds_count{change=\"register\"} 5");
    expect_line(text, "registrator_change_latency_seconds_sum{change=\"register\"} 62.510001");
    expect_line(text, "registrator_change_latency_seconds_count{change=\"deregister\"} 0");
}

static void test_bounds_ascend(void **state)
{
    (void)state;
    for (size_t i = 1; i < HISTOGRAM_BOUNDS; i++)
        assert_true(histogram_bounds_us[i] > histogram_bounds_us[i - 1]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_unknown_is_absent),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_bounds_ascend),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
