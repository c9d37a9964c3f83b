/* The list of all containers: at each connect, at each resync, and after an event that could not be parsed. */
#include "docker/docker_private.h"

#include "base/log.h"
#include "base/numbers.h"

#include <errno.h>

enum { LIST_TIMEOUT_MS = 60000 }; /* dockerd 20.10 lists 10,000 containers in a few seconds */

static int on_list_entry(void *userdata, const char *text, size_t size)
{
    Docker *docker = userdata;
    Container *container = NULL;
    int r = container_from_list(&container, text, size, docker->labels);

    if (r == -ENOMEM)
        return r;
    if (r == 0)
        docker->handlers.listed(docker->userdata, container);
    else if (docker->n_bad_entries++ == 0)
        (void)snprintf(docker->bad_entry, sizeof(docker->bad_entry), "%s", text);
    return 0;
}

/* The next list has the same bad entries, so the agent logs them once. */
static void docker_report_entries(Docker *docker, bool whole)
{
    bool bad = docker->entries.dropped > 0 || docker->n_bad_entries > 0;

    if (docker->entries.dropped > 0 && !docker->entries_logged)
        log_warning("Docker's list has %zu entries of more than %d bytes, ignoring them", docker->entries.dropped,
                    LIST_ENTRY_MAX);
    if (docker->n_bad_entries > 0 && !docker->entries_logged)
        log_warning("Docker's list has %zu entries that are no containers, ignoring them; the first: %s",
                    docker->n_bad_entries, docker->bad_entry);
    if (bad || whole)
        docker->entries_logged = bad;
}

static int on_list_data(void *userdata, const char *data, size_t size)
{
    Docker *docker = userdata;

    return framing_feed(&docker->entries, data, size, on_list_entry, docker);
}

void docker_schedule_resync(Docker *docker)
{
    timer_arm(&docker->resync,
              docker->relist_us > 0 ? docker->relist_us : jitter_us((uint64_t)docker->resync_s * 1000000, 0.1));
}

static void on_list_done(void *userdata, const HttpResult *result)
{
    Docker *docker = userdata;
    bool given = result->error == 0 && result->status == 200;
    bool whole = given && framing_complete(&docker->entries);

    docker->list = NULL;
    /* A bad entry does not make the list incomplete: the agent inspects each known container that the list does not
     * show. */
    docker_report_entries(docker, whole);
    framing_clear(&docker->entries);
    docker->handlers.list_end(docker->userdata, whole);
    if (docker->state != DOCKER_LIVE)
        return;
    /* A list that is cut off or refused shows that the engine or the connection fails. The agent connects again, because
     * the stream may hang without an error. */
    if (result->error == -EBADMSG || (given && !whole)) {
        docker_fail(docker, -EBADMSG, "No container list", "the answer is not a whole list");
    } else if (!given) {
        docker_fail_result(docker, "No container list", result);
    } else {
        backoff_reset(&docker->backoff);
        docker_schedule_resync(docker);
        docker_pull(docker);
    }
}

void docker_list(Docker *docker)
{
    int r;

    if (docker->state != DOCKER_LIVE || docker->list)
        return;
    timer_disarm(&docker->resync);
    framing_clear(&docker->entries);
    docker->n_bad_entries = 0;
    docker->relist_us = 0;
    docker->handlers.list_begin(docker->userdata);
    r = docker_get(docker, "/containers/json", &(HttpSpec){ .timeout_ms = LIST_TIMEOUT_MS, .on_data = on_list_data },
                   on_list_done, docker, &docker->list);
    if (r < 0) {
        log_warning_errno(r, "Failed to ask Docker for its containers, trying again: %m");
        docker->handlers.list_end(docker->userdata, false);
        timer_arm(&docker->resync, backoff_next_us(&docker->backoff));
    }
}
