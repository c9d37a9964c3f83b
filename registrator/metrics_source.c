#include "metrics_source.h"

#include <time.h>
#include <unistd.h>

static void count_records(MetricsSource *source, const StatusSource *status)
{
    for (CatalogEntry *entry = catalog_first(status->catalog); entry; entry = entry->hh.next)
        for (size_t i = 0; i < entry->records.n_items; i++)
            source->records[status_record_state(status, &entry->records.items[i])]++;
}

/* Of a line in /proc the field behind n blanks, counted from the end of what stands in parentheses; 0: not known. */
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

/* Of the process, which is older than the agent by what the settings took; in ticks since the machine's start:
 * proc(5)'s field 22. */
static double start_s(void)
{
    unsigned long long ticks = proc_field("/proc/self/stat", 22 - 3);
    struct timespec real, boot;

    if (ticks == 0)
        return 0;
    (void)clock_gettime(CLOCK_REALTIME, &real);
    (void)clock_gettime(CLOCK_BOOTTIME, &boot);
    return (double)(real.tv_sec - boot.tv_sec) + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* Of two heartbeats the older counts. */
static void add_publisher(MetricsSource *source, const Publisher *publisher)
{
    uint64_t age_us = publisher_heartbeat_age_us(publisher);
    double age_s = (double)age_us / 1e6;

    source->etcd_up = source->etcd_up && publisher_state(publisher) == PUBLISHER_ONLINE;
    if (age_us == UINT64_MAX)
        return;
    if (publisher_has_heartbeat(publisher) && age_s > source->heartbeat_age_s)
        source->heartbeat_age_s = age_s;
    if (publisher_has_lease(publisher))
        source->lease_left_s = source->ttl_s > age_s ? source->ttl_s - age_s : 0;
}

MetricsSource metrics_source(const StatusSource *status)
{
    const Publisher *publisher;
    MetricsSource source = {
        .version = PACKAGE_VERSION,
        .containers = catalog_running(status->catalog),
        .docker_up = !status->docker_why,
        .etcd_up = status->publishers,
        .counters = *status->counters,
        .heartbeat_age_s = -1,
        .lease_left_s = -1,
        .ttl_s = status->ttl_s,
        .start_s = start_s(),
        .resident_bytes = resident_bytes(),
    };

    count_records(&source, status);
    if (!status->publishers)
        return source;
    source.publisher = publishers_counters(status->publishers);
    PUBLISHERS_FOREACH (publisher, status->publishers)
        add_publisher(&source, publisher);
    return source;
}

static bool is_fresh(const Publisher *publisher, unsigned ttl_s)
{
    if (!publisher_has_heartbeat(publisher))
        return publisher_state(publisher) == PUBLISHER_ONLINE;
    return publisher_heartbeat_age_us(publisher) < (uint64_t)ttl_s * 1000000;
}

static int explain_publisher(const Publisher *publisher, unsigned ttl_s, char **ret)
{
    uint64_t age_us = publisher_heartbeat_age_us(publisher);

    if (age_us == UINT64_MAX || !publisher_has_heartbeat(publisher))
        return asprintf(ret, "etcd has not been opened: %s", publisher_why(publisher));
    return asprintf(ret, "the last heartbeat is %u s old, the TTL is %u s: %s", (unsigned)(age_us / 1000000), ttl_s,
                    publisher_why(publisher));
}

bool metrics_is_ready(const StatusSource *status, char **ret_why)
{
    const Publisher *publisher = NULL;
    int r;

    *ret_why = NULL;
    for (size_t i = 0; status->publishers && (publisher = publishers_get(status->publishers, i)); i++)
        if (!is_fresh(publisher, status->ttl_s))
            break;
    if (!status->docker_why && status->publishers && !publisher)
        return true;
    if (status->docker_why)
        r = asprintf(ret_why, "Docker is away: %s", status->docker_why);
    else if (!publisher)
        r = asprintf(ret_why, "etcd has not been opened: connecting");
    else
        r = explain_publisher(publisher, status->ttl_s, ret_why);
    if (r < 0)
        *ret_why = NULL;
    return false;
}
