#include "operator/metrics.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void family(FILE *out, const char *name, const char *type, const char *help)
{
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void count(FILE *out, uint64_t value, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vfprintf(out, format, arguments);
    va_end(arguments);
    (void)fprintf(out, " %" PRIu64 "\n", value);
}

static void gauge(FILE *out, const char *name, double value, const char *help)
{
    family(out, name, "gauge", help);
    (void)fprintf(out, "%s %.15g\n", name, value);
}

static void counter(FILE *out, const char *name, uint64_t value, const char *help)
{
    family(out, name, "counter", help);
    count(out, value, "%s", name);
}

static void buckets(FILE *out, const char *name, const char *labels, const Histogram *histogram)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
        uint64_t bound_us = histogram_bounds_us[i];

        sum += histogram->buckets[i];
        /* "1.0", because for Prometheus "1" would be another series. */
        count(out, sum, "%s_bucket{%s,le=\"%g%s\"}", name, labels, (double)bound_us / 1e6,
              bound_us % 1000000 == 0 ? ".0" : "");
    }
    count(out, histogram_count(histogram), "%s_bucket{%s,le=\"+Inf\"}", name, labels);
    (void)fprintf(out, "%s_sum{%s} %.15g\n", name, labels, (double)histogram->sum_us / 1e6);
    count(out, histogram_count(histogram), "%s_count{%s}", name, labels);
}

static void render_docker(FILE *out, const MetricsSource *source)
{
    const AgentCounters *counters = &source->counters;

    gauge(out, "registrator_docker_up", source->docker_up, "Whether Docker's events arrive: 1 or 0.");
    family(out, "registrator_docker_events_total", "counter", "Docker's events about containers, by action.");
    for (DockerAction action = ACTION_OTHER + 1; action < ACTION_MAX_; action++)
        count(out, counters->docker_events[action], "registrator_docker_events_total{action=\"%s\"}",
              docker_action_to_string(action));
    counter(out, "registrator_docker_reconnects_total",
            counters->docker_connects > 0 ? counters->docker_connects - 1 : 0,
            "How often the agent subscribed to Docker's events again.");
}

static void render_etcd(FILE *out, const MetricsSource *source)
{
    gauge(out, "registrator_etcd_up", source->etcd_up,
          "Whether etcd answered the last request without an error: 1 or 0.");
    family(out, "registrator_etcd_requests_total", "counter", "Requests to etcd, by operation and outcome.");
    for (StoreOperation operation = 0; operation < STORE_OPERATION_MAX_; operation++)
        for (StoreStatus status = STORE_OK; status < STORE_STATUS_MAX_; status++)
            count(out, source->counters.store.requests[operation][status],
                  "registrator_etcd_requests_total{operation=\"%s\",outcome=\"%s\"}",
                  store_operation_to_string(operation), store_status_to_string(status));
    gauge(out, "registrator_ttl_seconds", source->ttl_s, "The TTL of the keys: --ttl.");
    if (source->heartbeat_age_s >= 0)
        gauge(out, "registrator_heartbeat_age_seconds", source->heartbeat_age_s,
              "Time since the last successful heartbeat.");
    if (source->lease_left_s >= 0)
        gauge(out, "registrator_lease_left_seconds", source->lease_left_s,
              "Time until the keys of this host expire, if no heartbeat arrives (v3).");
}

/* The default layout's series have no layout label, so that they keep the names that they had before layouts. */
static void render_records(FILE *out, const LayoutRecords *layout)
{
    bool is_default = strcmp(layout->layout, LAYOUT_DEFAULT) == 0;

    for (RecordState state = 0; state < RECORD_STATE_MAX_; state++)
        count(out, layout->records[state], "registrator_records{%s%s%sstate=\"%s\"}", is_default ? "" : "layout=\"",
              is_default ? "" : layout->layout, is_default ? "" : "\",", record_state_to_string(state));
}

static void render_keys(FILE *out, const MetricsSource *source)
{
    gauge(out, "registrator_containers", (double)source->containers, "Running containers.");
    family(out, "registrator_records", "gauge", "Ports of running containers, by the state of their keys.");
    for (size_t i = 0; i < source->n_layouts; i++)
        render_records(out, &source->layouts[i]);
    counter(out, "registrator_puts_total", source->publisher.puts, "Keys written.");
    counter(out, "registrator_deletes_total", source->publisher.deletes, "Keys deleted.");
    counter(out, "registrator_conflicts_total", source->publisher.conflicts, "Conflicts: keys that another owner had.");
    counter(out, "registrator_lease_losses_total", source->publisher.lease_losses,
            "How often the lease, or the TTL of all keys, had ended in etcd.");
    counter(out, "registrator_drift_total", source->publisher.drift, "Keys that a resync found missing in etcd.");
    counter(out, "registrator_failures_total", source->publisher.failures,
            "Failed requests to etcd that the agent tried again.");
    family(out, "registrator_change_latency_seconds", "histogram",
           "Time from Docker's time stamp of an event to etcd's answer.");
    buckets(out, "registrator_change_latency_seconds", "change=\"register\"", &source->publisher.put_latency);
    buckets(out, "registrator_change_latency_seconds", "change=\"deregister\"", &source->publisher.delete_latency);
}

static void render_process(FILE *out, const MetricsSource *source)
{
    family(out, "registrator_build_info", "gauge", "The version that runs.");
    (void)fprintf(out, "registrator_build_info{version=\"%s\"} 1\n", source->version);
    if (source->start_s > 0)
        gauge(out, "process_start_time_seconds", source->start_s, "When the agent started, since 1970.");
    if (source->resident_bytes > 0)
        gauge(out, "process_resident_memory_bytes", (double)source->resident_bytes, "Memory in use.");
}

char *metrics_render(const MetricsSource *source)
{
    TextStream stream;
    FILE *out = text_stream_open(&stream);

    if (!out)
        return NULL;
    render_keys(out, source);
    render_docker(out, source);
    render_etcd(out, source);
    render_process(out, source);
    return text_stream_close(&stream, out);
}
