#include "etcd/refresher.h"

#include "base/clock.h"
#include "base/timer.h"

#include <errno.h>

enum {
    /* Refreshes go out in groups: a refresh in a group costs 70 us of CPU, and a refresh that wakes the process 190 us
     * (measured with 1,000 keys). */
    WAIT_MIN_US = 500000,
    /* With few keys too, a tick comes each second: if many keys come, at most a second's share of them is due at
     * once. */
    WAIT_MAX_US = 1000000,
};

struct Refresher {
    Timer timer;
    RefresherHandlers handlers;
    void *userdata;
    uint64_t interval_us; /* 0: stopped */
    double due; /* number of refreshes that are due and not sent */
    uint64_t counted_us; /* CLOCK_BOOTTIME of the last count; 0: none */
};

/* Counts by the elapsed time, because a suspended host and an outage delay ticks. At most all keys are due. */
static void count_due(Refresher *refresher)
{
    double n = (double)refresher->handlers.count(refresher->userdata);
    uint64_t now_us = clock_us(CLOCK_BOOTTIME);

    if (refresher->counted_us > 0)
        refresher->due += n * (double)(now_us - refresher->counted_us) / (double)refresher->interval_us;
    if (refresher->due > n)
        refresher->due = n;
    refresher->counted_us = now_us;
}

void refresher_send(Refresher *refresher)
{
    if (!refresher || refresher->interval_us == 0)
        return;
    while (refresher->due >= 1 && refresher->handlers.send(refresher->userdata))
        refresher->due--;
}

void refresher_run(Refresher *refresher)
{
    if (!refresher || refresher->interval_us == 0)
        return;
    count_due(refresher);
    refresher_send(refresher);
}

static void schedule(Refresher *refresher)
{
    size_t n = refresher->handlers.count(refresher->userdata);
    uint64_t wait_us = n > 0 ? refresher->interval_us / n : refresher->interval_us;

    if (wait_us < WAIT_MIN_US)
        wait_us = WAIT_MIN_US;
    if (wait_us > WAIT_MAX_US)
        wait_us = WAIT_MAX_US;
    timer_arm(&refresher->timer, wait_us);
}

static void on_timer(void *userdata)
{
    Refresher *refresher = userdata;

    refresher_run(refresher);
    schedule(refresher);
}

void refresher_start(Refresher *refresher, const RefresherHandlers *handlers, void *userdata, uint64_t interval_us)
{
    if (!refresher)
        return;
    refresher->handlers = *handlers;
    refresher->userdata = userdata;
    refresher->interval_us = interval_us;
    schedule(refresher);
    refresher_run(refresher);
}

int refresher_new(Refresher **ret, sd_event *event)
{
    CLEANUP(refresher_free_p) Refresher *refresher = calloc(1, sizeof(*refresher));
    int r;

    if (!refresher)
        return -ENOMEM;
    r = timer_add(event, &refresher->timer, CLOCK_BOOTTIME, 10000, on_timer, refresher);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(refresher);
    return 0;
}

Refresher *refresher_free(Refresher *refresher)
{
    if (!refresher)
        return NULL;
    timer_clear(&refresher->timer);
    free(refresher);
    return NULL;
}
