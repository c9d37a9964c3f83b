#include "metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Negotiation. */

/* The parameter's value in ";name=value;…", of *ret_size bytes; NULL: it is not there. */
static const char *find_parameter(const char *parameters, const char *end, const char *name, size_t *ret_size)
{
    const char *p = parameters;

    while (p < end && *p == ';') {
        const char *begin = p + 1 + strspn(p + 1, " \t");
        const char *next = begin + strcspn(begin, ";,");
        size_t size = strcspn(begin, "=;,");

        if (size == strlen(name) && strncasecmp(begin, name, size) == 0 && begin[size] == '=') {
            const char *value = begin + size + 1;

            *ret_size = strcspn(value, "; \t,");
            return value;
        }
        p = next;
    }
    return NULL;
}

/* A weight in thousandths; 1 where there is none, 0 for nonsense. */
static unsigned read_weight(const char *parameters, const char *end)
{
    size_t size = 0;
    const char *q = find_parameter(parameters, end, "q", &size);
    unsigned weight, digit = 100;

    if (!q)
        return 1000;
    if (*q != '0' && *q != '1')
        return 0;
    weight = *q == '1' ? 1000 : 0;
    for (size_t i = 2; i < size && q[1] == '.' && q[i] >= '0' && q[i] <= '9' && weight < 1000; i++, digit /= 10)
        weight += digit * (unsigned)(q[i] - '0');
    return weight;
}

static bool is_type(const char *range, size_t size, const char *type)
{
    return size == strlen(type) && strncasecmp(range, type, size) == 0;
}

static bool version_is(const char *parameters, const char *end, const char *version)
{
    size_t size = 0;
    const char *value = find_parameter(parameters, end, "version", &size);

    return !value || (size == strlen(version) && strncmp(value, version, size) == 0);
}

MetricsFormat metrics_format(const char *accept)
{
    unsigned text = 0, open = 0;
    const char *p = accept, *end;

    for (; *p != '\0'; p = *end == ',' ? end + 1 : end) {
        const char *range = p + strspn(p, " \t");
        size_t size = strcspn(range, "; \t,");
        const char *parameters = range + size + strspn(range + size, " \t");
        unsigned weight;

        end = p + strcspn(p, ",");
        weight = read_weight(parameters, end);
        if (is_type(range, size, "application/openmetrics-text") && version_is(parameters, end, "1.0.0"))
            open = weight > open ? weight : open;
        else if (is_type(range, size, "text/plain") && version_is(parameters, end, "0.0.4"))
            text = weight > text ? weight : text;
    }
    /* Whoever names OpenMetrics can read it; whoever takes anything gets what everything can read. */
    return open > 0 && open >= text ? METRICS_OPENMETRICS : METRICS_TEXT;
}

const char *metrics_content_type(MetricsFormat format)
{
    return format == METRICS_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                         : "text/plain; version=0.0.4; charset=utf-8";
}

/* Rendering. */

typedef struct Output {
    FILE *file;
    bool open;
} Output;

/* name: of the family, without the suffix that its samples have. In the text format a counter's family has it too, and
 * an info is a gauge. */
static void family(const Output *out, const char *name, const char *type, const char *unit, const char *help)
{
    const char *suffix = "";

    if (!out->open && strcmp(type, "counter") == 0)
        suffix = "_total";
    if (!out->open && strcmp(type, "info") == 0) {
        suffix = "_info";
        type = "gauge";
    }
    (void)fprintf(out->file, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix, type);
    if (out->open && unit)
        (void)fprintf(out->file, "# UNIT %s %s\n", name, unit);
}

static void count(const Output *out, uint64_t value, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vfprintf(out->file, format, arguments);
    va_end(arguments);
    (void)fprintf(out->file, " %" PRIu64 "\n", value);
}

static void gauge(const Output *out, const char *name, const char *unit, double value, const char *help)
{
    family(out, name, "gauge", unit, help);
    (void)fprintf(out->file, "%s %.15g\n", name, value);
}

static void counter(const Output *out, const char *name, uint64_t value, const char *help)
{
    family(out, name, "counter", NULL, help);
    count(out, value, "%s_total", name);
}

static void buckets(const Output *out, const char *name, const char *labels, const Histogram *histogram)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
        uint64_t bound_us = histogram_bounds_us[i];

        sum += histogram->buckets[i];
        /* OpenMetrics wants "1.0", and Prometheus would take "1" for another series. */
        count(out, sum, "%s_bucket{%s,le=\"%g%s\"}", name, labels, (double)bound_us / 1e6,
              bound_us % 1000000 == 0 ? ".0" : "");
    }
    count(out, histogram_count(histogram), "%s_bucket{%s,le=\"+Inf\"}", name, labels);
    (void)fprintf(out->file, "%s_sum{%s} %.15g\n", name, labels, (double)histogram->sum_us / 1e6);
    count(out, histogram_count(histogram), "%s_count{%s}", name, labels);
}

static void render_docker(const Output *out, const MetricsSource *source)
{
    const AgentCounters *counters = &source->counters;

    gauge(out, "registrator_docker_up", NULL, source->docker_up, "Whether Docker's events arrive: 1 or 0.");
    family(out, "registrator_docker_events", "counter", NULL, "Docker's events about containers, by action.");
    for (DockerAction action = ACTION_OTHER + 1; action < ACTION_MAX_; action++)
        count(out, counters->docker_events[action], "registrator_docker_events_total{action=\"%s\"}",
              docker_action_to_string(action));
    counter(out, "registrator_docker_reconnects", counters->docker_connects > 0 ? counters->docker_connects - 1 : 0,
            "How often Docker's events were subscribed to anew.");
}

static void render_etcd(const Output *out, const MetricsSource *source)
{
    gauge(out, "registrator_etcd_up", NULL, source->etcd_up, "Whether etcd answered the last call well: 1 or 0.");
    family(out, "registrator_etcd_requests", "counter", NULL, "Requests to etcd, by operation and outcome.");
    for (StoreOperation operation = 0; operation < STORE_OPERATION_MAX_; operation++)
        for (StoreStatus status = STORE_OK; status < STORE_STATUS_MAX_; status++)
            count(out, source->counters.store.requests[operation][status],
                  "registrator_etcd_requests_total{operation=\"%s\",outcome=\"%s\"}",
                  store_operation_to_string(operation), store_status_to_string(status));
    gauge(out, "registrator_ttl_seconds", "seconds", source->ttl_s, "How long keys outlive a dead agent: --ttl.");
    if (source->heartbeat_age_s >= 0)
        gauge(out, "registrator_heartbeat_age_seconds", "seconds", source->heartbeat_age_s,
              "Since etcd last took a heartbeat.");
    if (source->lease_left_s >= 0)
        gauge(out, "registrator_lease_left_seconds", "seconds", source->lease_left_s,
              "Until etcd deletes the keys of this host, if no heartbeat comes through (v3).");
}

static void render_keys(const Output *out, const MetricsSource *source)
{
    gauge(out, "registrator_containers", NULL, (double)source->containers, "Running containers.");
    family(out, "registrator_records", "gauge", NULL, "Ports of running containers, by what became of their keys.");
    for (RecordState state = 0; state < RECORD_STATE_MAX_; state++)
        count(out, source->records[state], "registrator_records{state=\"%s\"}", record_state_to_string(state));
    counter(out, "registrator_puts", source->publisher.puts, "Keys written.");
    counter(out, "registrator_deletes", source->publisher.deletes, "Keys deleted.");
    counter(out, "registrator_conflicts", source->publisher.conflicts, "Keys that were found to be somebody else's.");
    counter(out, "registrator_lease_losses", source->publisher.lease_losses,
            "How often all keys' time to live had ended in etcd.");
    counter(out, "registrator_drift", source->publisher.drift, "Keys that a comparison found gone from etcd.");
    counter(out, "registrator_failures", source->publisher.failures, "Calls of etcd that failed and were tried again.");
    family(out, "registrator_publish_latency_seconds", "histogram", "seconds",
           "From the time that Docker gave its event to etcd's answer.");
    buckets(out, "registrator_publish_latency_seconds", "change=\"put\"", &source->publisher.put_latency);
    buckets(out, "registrator_publish_latency_seconds", "change=\"delete\"", &source->publisher.delete_latency);
}

static void render_process(const Output *out, const MetricsSource *source)
{
    family(out, "registrator_build", "info", NULL, "The version that runs.");
    (void)fprintf(out->file, "registrator_build_info{version=\"%s\"} 1\n", source->version);
    if (source->start_s > 0)
        gauge(out, "process_start_time_seconds", "seconds", source->start_s, "When the agent started, since 1970.");
    if (source->resident_bytes > 0)
        gauge(out, "process_resident_memory_bytes", "bytes", (double)source->resident_bytes, "Memory in use.");
}

char *metrics_render(const MetricsSource *source, MetricsFormat format)
{
    char *text = NULL;
    size_t size;
    Output out = { .file = open_memstream(&text, &size), .open = format == METRICS_OPENMETRICS };
    bool failed;

    if (!out.file)
        return NULL;
    render_keys(&out, source);
    render_docker(&out, source);
    render_etcd(&out, source);
    render_process(&out, source);
    if (out.open)
        (void)fputs("# EOF\n", out.file);
    failed = ferror(out.file) != 0;
    failed = fclose(out.file) != 0 || failed;
    if (!failed)
        return text;
    free(text);
    return NULL;
}
