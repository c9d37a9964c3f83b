/* The event stream: the subscription, the replay of earlier events, and lines that are not events. */
#include "docker/docker_private.h"

#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)

enum {
    /* from an overlong event to the list that replaces the event; Docker's list lags behind a death */
    RELIST_US = 200000,
    /* an event that comes later is not replayed, whatever its time: the clock may have been set */
    REPLAY_US = 10000000,
};

/* The age of the oldest event that a first subscription asks for, because a stop may have begun before the agent
 * started. dockerd keeps its last 256 events. */
static const uint64_t replay_ns = UINT64_C(600) * NS_PER_S;

/* With since=, the engine sends earlier events first. Returns false if the agent has handled this event already. */
static bool docker_date_event(Docker *docker, DockerEvent *event)
{
    uint64_t now_us = loop_now_us(docker->event, CLOCK_BOOTTIME);

    if (event->time_ns >= docker->engine_ns || now_us >= docker->replay_end_us)
        docker->replay_end_us = 0;
    if (docker->replay_end_us == 0 || event->time_ns == 0)
        return true;
    if (event->time_ns <= docker->replay_until_ns)
        return false;
    event->age_us = now_us - docker->engine_us + (docker->engine_ns - event->time_ns) / 1000;
    return true;
}

static void docker_take_event(Docker *docker, DockerEvent *event)
{
    uint64_t time_ns = event->time_ns;

    if (event->action == ACTION_OTHER || !docker_date_event(docker, event))
        return;
    if (time_ns > docker->last_event_ns)
        docker->last_event_ns = time_ns;
    docker->handlers.event(docker->userdata, event);
}

static int on_event_line(void *userdata, const char *line, size_t size)
{
    Docker *docker = userdata;
    DockerEvent event;

    if (docker_event_parse(&event, line, size) == 0) {
        docker_take_event(docker, &event);
    } else {
        if (!docker->lines_logged)
            log_warning("Docker sent a line that is no event, ignoring such lines: %.*s", EXAMPLE_MAX, line);
        docker->lines_logged = docker->lines_bad = true;
    }
    return 0;
}

/* The event is lost, and its container is unknown: in the line, the labels come before the name, and anybody can
 * write labels. */
static void docker_miss_event(Docker *docker)
{
    if (!docker->lines_logged)
        log_warning("Docker sent an event of more than %d bytes (are the labels of a container too long?): listing the "
                    "containers instead",
                    EVENT_MAX);
    docker->lines_logged = docker->lines_bad = true;
    if (docker->relist_us > 0)
        return;
    docker->relist_us = RELIST_US;
    if (!docker->list)
        docker_schedule_resync(docker);
}

static int on_stream_data(void *userdata, const char *data, size_t size)
{
    Docker *docker = userdata;
    size_t dropped = docker->events.dropped;
    int r = framing_feed(&docker->events, data, size, on_event_line, docker);

    if (docker->events.dropped > dropped)
        docker_miss_event(docker);
    if (size > 0) {
        docker_pull(docker);
        return r;
    }
    timer_disarm(&docker->resync);
    docker->state = DOCKER_LIVE;
    docker->replay_end_us = loop_now_us(docker->event, CLOCK_BOOTTIME) + REPLAY_US;
    docker->lost_reported = false;
    docker->handlers.connected(docker->userdata, docker->engine_id);
    /* Subscribe before listing: a container that starts in between is then seen twice, never missed. */
    docker_list(docker);
    return 0;
}

static void on_stream_done(void *userdata, const HttpResult *result)
{
    Docker *docker = userdata;

    docker->stream = NULL;
    if (result->error == 0 && result->status == 200)
        docker_fail(docker, -ECONNRESET, "No more events", "the stream ended");
    else
        docker_fail_result(docker, "No events", result);
}

/* The start of the replay that the agent asks for. The replay covers the gap between two subscriptions, and the gap
 * between the stream's headers and the subscription. 0: the engine's clock is not known. */
static uint64_t docker_replay_from(const Docker *docker)
{
    uint64_t oldest = docker->engine_ns > replay_ns ? docker->engine_ns - replay_ns : 0;

    /* The last event's time means nothing if the engine's clock was set back, or if this is another engine. */
    if (docker->last_event_ns > docker->engine_ns || docker->last_event_ns < oldest)
        return oldest;
    return docker->last_event_ns;
}

void docker_subscribe(Docker *docker)
{
    CLEANUP_FREE char *filters = http_escape(docker_event_filters, false);
    CLEANUP_FREE char *path = NULL;
    uint64_t since_ns = docker_replay_from(docker);
    char since[48] = "";
    int r;

    docker->state = DOCKER_SUBSCRIBING;
    docker->replay_until_ns = since_ns == docker->last_event_ns ? since_ns : 0;
    if (since_ns > 0)
        (void)snprintf(since, sizeof(since), "since=%" PRIu64 ".%09" PRIu64 "&", since_ns / NS_PER_S,
                       since_ns % NS_PER_S);
    path = filters ? text_format("/events?%sfilters=%s", since, filters) : NULL;
    if (!path) {
        docker_fail(docker, -ENOMEM, "No events", "out of memory");
        return;
    }
    r = docker_get(docker, path, &(HttpSpec){ .on_data = on_stream_data }, on_stream_done, docker, &docker->stream);
    if (r < 0)
        docker_fail(docker, r, "No events", strerror(-r));
    else
        timer_arm(&docker->resync, (uint64_t)PING_TIMEOUT_MS * 1000);
}
