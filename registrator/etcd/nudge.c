#include "etcd/nudge.h"

#include "base/text.h"
#include "base/timer.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

enum {
    WAIT_US = 1000000, /* longer than a render and a reload of HAProxy */
    TTL_S = 5, /* of the nudge. Its expiry wakes confd again, if a longer reload made confd miss the nudge */
    PATHS_MAX = 64, /* nudges at once */
};

struct Nudge {
    Etcd *etcd;
    Timer timer;
    char *paths[PATHS_MAX]; /* paths of the nudges */
    size_t n;
};

static void forget(Nudge *nudge)
{
    while (nudge->n > 0)
        free(nudge->paths[--nudge->n]);
}

Nudge *nudge_free(Nudge *nudge)
{
    if (!nudge)
        return NULL;
    timer_clear(&nudge->timer);
    forget(nudge);
    free(nudge);
    return NULL;
}

static void remember(Nudge *nudge, const char *key)
{
    const char *slash = strrchr(key, '/');
    CLEANUP_FREE char *directory = slash ? strndup(key, (size_t)(slash - key)) : NULL;
    CLEANUP_FREE char *escaped = directory && *directory ? http_escape(directory, true) : NULL;
    char *path = escaped && nudge->n < PATHS_MAX ? text_format("/v2/keys%s.nudge", escaped) : NULL;

    if (!path)
        return;
    for (size_t i = 0; i < nudge->n; i++)
        if (strcmp(nudge->paths[i], path) == 0) {
            free(path);
            return;
        }
    nudge->paths[nudge->n++] = path;
}

/* Each write wakes confd unless confd is busy, so that one nudge after the last write is enough. */
void nudge_after(Nudge *nudge, const char *key)
{
    if (!nudge)
        return;
    remember(nudge, key);
    timer_arm(&nudge->timer, WAIT_US);
}

/* A nudge that fails is not sent again: the next change sends another one. */
static void on_sent(void *userdata, const HttpResult *result)
{
    (void)userdata;
    (void)result;
}

static void on_timer(void *userdata)
{
    Nudge *nudge = userdata;
    char body[64];

    /* Any write wakes confd. The value tells people the time. */
    (void)snprintf(body, sizeof(body), "value=%" PRIu64 "&ttl=%d", (uint64_t)time(NULL), TTL_S);
    for (size_t i = 0; i < nudge->n; i++) {
        EtcdSpec spec = { .method = "PUT", .path = nudge->paths[i], .body = body, .form = true };

        (void)etcd_request(nudge->etcd, &spec, on_sent, NULL, NULL);
    }
    forget(nudge);
}

int nudge_new(Nudge **ret, sd_event *event, Etcd *etcd)
{
    CLEANUP(nudge_free_p) Nudge *nudge = calloc(1, sizeof(*nudge));

    if (!nudge)
        return -ENOMEM;
    nudge->etcd = etcd;
    int r = timer_add(event, &nudge->timer, CLOCK_MONOTONIC, 1000, on_timer, nudge);
    if (r >= 0)
        *ret = TAKE_PTR(nudge);
    return r;
}
