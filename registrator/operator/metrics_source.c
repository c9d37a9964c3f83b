#include "operator/metrics_source.h"

#include "base/clock.h"
#include "base/text.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static void count_record(MetricsSource *source, const StatusSource *status, const Record *record)
{
    for (size_t i = 0; i < source->n_layouts; i++)
        if (strcmp(source->layouts[i].layout, record->layout) == 0)
            source->layouts[i].records[status_record_state(status, record)]++;
}

static void count_records(MetricsSource *source, const StatusSource *status)
{
    for (; source->n_layouts < status->rules->n_layouts; source->n_layouts++)
        memcpy(source->layouts[source->n_layouts].layout, status->rules->layouts[source->n_layouts].name,
               LAYOUT_NAME_MAX + 1);
    for (CatalogEntry *entry = catalog_first(status->catalog); entry; entry = entry->hh.next)
        for (size_t i = 0; i < entry->records.n_items; i++)
            count_record(source, status, &entry->records.items[i]);
}

/* Returns the field after n blanks of a line in /proc, counted from the closing parenthesis; 0: not known. */
static unsigned long long proc_field(const char *path, unsigned n)
{
    FILE *file CLEANUP(fclose_p) = fopen(path, "re");
    char line[1024];

    if (!file || !fgets(line, sizeof(line), file))
        return 0;
    const char *field = strrchr(line, ')');
    for (field = field ? field + 2 : line; field && n > 0; n--) {
        field = strchr(field, ' ');
        field = field ? field + 1 : NULL;
    }
    return field ? strtoull(field, NULL, 10) : 0;
}

static uint64_t resident_bytes(void)
{
    return proc_field("/proc/self/statm", 1) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The start time of the process, from field 22 of proc(5): clock ticks since the machine's start. The agent started
 * later, after reading the settings. The first result is kept: two clocks are never read at the same moment, so a
 * second result would differ, and Prometheus would take the difference for a restart. */
static double start_s(void)
{
    static double known;
    unsigned long long ticks = known > 0 ? 0 : proc_field("/proc/self/stat", 22 - 3);

    if (ticks == 0)
        return known;
    known = (double)(clock_us(CLOCK_REALTIME) - clock_us(CLOCK_BOOTTIME)) / 1e6 +
            (double)ticks / (double)sysconf(_SC_CLK_TCK);
    return known;
}

static void add_publisher(MetricsSource *source, const Publisher *publisher)
{
    uint64_t age_us = publisher_heartbeat_age_us(publisher);
    double age_s = (double)age_us / 1e6;

    source->publisher = *publisher_counters(publisher);
    if (age_us == UINT64_MAX)
        return;
    if (publisher_has_heartbeat(publisher))
        source->heartbeat_age_s = age_s;
    if (publisher_has_lease(publisher))
        source->lease_left_s = source->ttl_s > age_s ? source->ttl_s - age_s : 0;
}

MetricsSource metrics_source(const StatusSource *status)
{
    MetricsSource source = {
        .version = PACKAGE_VERSION,
        .containers = catalog_running(status->catalog),
        .docker_up = !status->docker_why,
        .etcd_up = status->publisher && publisher_state(status->publisher) == PUBLISHER_ONLINE,
        .counters = *status->counters,
        .heartbeat_age_s = -1,
        .lease_left_s = -1,
        .ttl_s = status->ttl_s,
        .start_s = start_s(),
        .resident_bytes = resident_bytes(),
    };

    count_records(&source, status);
    if (status->publisher)
        add_publisher(&source, status->publisher);
    return source;
}

static bool is_fresh(const Publisher *publisher, unsigned ttl_s)
{
    if (!publisher_has_heartbeat(publisher))
        return publisher_state(publisher) == PUBLISHER_ONLINE;
    return publisher_heartbeat_age_us(publisher) < (uint64_t)ttl_s * 1000000;
}

static char *explain_publisher(const Publisher *publisher, unsigned ttl_s)
{
    uint64_t age_us = publisher_heartbeat_age_us(publisher);

    if (age_us == UINT64_MAX || !publisher_has_heartbeat(publisher))
        return text_format("the agent has not reached etcd yet: %s", publisher_why(publisher));
    return text_format("the last heartbeat is %u s old, the TTL is %u s: %s", (unsigned)(age_us / 1000000), ttl_s,
                       publisher_why(publisher));
}

bool metrics_is_ready(const StatusSource *status, char **ret_why)
{
    const Publisher *publisher = status->publisher;

    *ret_why = NULL;
    if (!status->docker_why && publisher && is_fresh(publisher, status->ttl_s))
        return true;
    if (status->docker_why)
        *ret_why = text_format("Docker is away: %s", status->docker_why);
    else if (!publisher)
        *ret_why = strdup("the agent has not reached etcd yet: connecting");
    else
        *ret_why = explain_publisher(publisher, status->ttl_s);
    return false;
}
