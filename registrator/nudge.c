#include "nudge.h"

#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

enum {
    /* Longer than a render and a reload of HAProxy take, short enough for a server that was missed. */
    WAIT_US = 1000000,
    /* Of the nudge itself. Its end wakes confd once more, should a longer reload have made it miss the nudge. */
    TTL_S = 5,
    DIRECTORIES_MAX = 64, /* remembered until the next nudge */
};

struct Nudge {
    Etcd *etcd;
    sd_event_source *timer;
    EtcdRequest *request;
    char *directories[DIRECTORIES_MAX];
    size_t n, next; /* next: to be told */
    bool again; /* something was written while the timer ran: it may be missed like the first */
};

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);

int nudge_new(Nudge **ret, sd_event *event, Etcd *etcd)
{
    CLEANUP(nudge_free_p) Nudge *nudge = calloc(1, sizeof(*nudge));
    int r;

    if (!nudge)
        return -ENOMEM;
    nudge->etcd = etcd;
    r = sd_event_add_time_relative(event, &nudge->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, nudge);
    if (r >= 0)
        r = sd_event_source_set_enabled(nudge->timer, SD_EVENT_OFF);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(nudge);
    return 0;
}

static void forget_all(Nudge *nudge)
{
    for (size_t i = 0; i < nudge->n; i++)
        free(nudge->directories[i]);
    nudge->n = nudge->next = 0;
}

Nudge *nudge_free(Nudge *nudge)
{
    if (!nudge)
        return NULL;
    etcd_request_free(nudge->request);
    sd_event_source_disable_unref(nudge->timer);
    forget_all(nudge);
    free(nudge);
    return NULL;
}

static void remember(Nudge *nudge, const char *key)
{
    const char *slash = strrchr(key, '/');
    size_t size = slash ? (size_t)(slash - key) : 0;

    if (size == 0 || nudge->n == DIRECTORIES_MAX)
        return;
    for (size_t i = 0; i < nudge->n; i++)
        if (strlen(nudge->directories[i]) == size && strncmp(nudge->directories[i], key, size) == 0)
            return;
    nudge->directories[nudge->n] = strndup(key, size);
    if (nudge->directories[nudge->n])
        nudge->n++;
}

static void arm(Nudge *nudge)
{
    (void)sd_event_source_set_time_relative(nudge->timer, WAIT_US);
    (void)sd_event_source_set_enabled(nudge->timer, SD_EVENT_ONESHOT);
}

static bool is_armed(const Nudge *nudge)
{
    int enabled = SD_EVENT_OFF;

    (void)sd_event_source_get_enabled(nudge->timer, &enabled);
    return enabled != SD_EVENT_OFF;
}

void nudge_after(Nudge *nudge, const char *key)
{
    if (!nudge)
        return;
    remember(nudge, key);
    if (is_armed(nudge))
        nudge->again = true;
    else
        arm(nudge);
}

static void send_next(Nudge *nudge);

static void on_sent(void *userdata, const HttpResult *result)
{
    Nudge *nudge = userdata;

    nudge->request = NULL;
    if (result->error != 0 || result->status >= 300)
        log_debug("A nudge was not taken (HTTP status %ld %s)", result->status, result->error_text);
    send_next(nudge);
}

/* One after another. */
static void send_next(Nudge *nudge)
{
    CLEANUP_FREE char *escaped = NULL;
    CLEANUP_FREE char *path = NULL;
    CLEANUP_FREE char *body = NULL;

    if (nudge->next == nudge->n) {
        if (!is_armed(nudge))
            forget_all(nudge);
        return;
    }
    escaped = http_escape(nudge->directories[nudge->next++], true);
    if (!escaped || asprintf(&path, "/v2/keys%s.nudge", escaped) < 0) {
        path = NULL;
        return;
    }
    /* confd is woken by any write; the value only tells people when it was. */
    if (asprintf(&body, "value=%" PRIu64 "&ttl=%d", (uint64_t)time(NULL), TTL_S) < 0) {
        body = NULL;
        return;
    }
    (void)etcd_request(nudge->etcd, &(EtcdSpec){ .method = "PUT", .path = path, .body = body, .form = true }, on_sent,
                       nudge, &nudge->request);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    Nudge *nudge = userdata;

    (void)source;
    (void)usec;
    /* What was written last still waits for its own second: all is told now, and once more then. */
    if (nudge->again)
        arm(nudge);
    nudge->again = false;
    nudge->next = 0;
    if (!nudge->request)
        send_next(nudge);
    return 0;
}
