/* Connects Docker's session to the tracker, and the tracker to the other parts. */
#include "agent/agent_private.h"

#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum { SAVE_US = 100000 }; /* from a stop to the state file */

static void on_save(void *userdata)
{
    Agent *agent = userdata;

    agent->saved_stops = catalog_stops_version(agent->catalog);
    if (control_save(agent->control, false) < 0)
        log_warning(
            "Failed to save which containers are being stopped: a restart of the agent may register them again");
}

/* Saves soon, so that several stops lead to one write. If the agent ends before that, Docker still has the events. */
static void save_stops(Agent *agent)
{
    if (!agent->control || agent->saved_stops == catalog_stops_version(agent->catalog) || timer_is_armed(&agent->save))
        return;
    timer_arm(&agent->save, SAVE_US);
}

/* Runs the tracker's due work, and arms the timer for the next work. */
void agent_run_tracker(Agent *agent)
{
    uint64_t next_us = tracker_run(agent->tracker, agent_boottime_us(agent));

    if (next_us > 0)
        timer_arm_at(&agent->timer, next_us);
    else
        timer_disarm(&agent->timer);
    save_stops(agent);
    /* A death, or the time limit, may have ended the wait for the probes' first answers. */
    agent_check_orphans(agent);
    if (!agent->ready)
        agent_check_ready(agent);
}

static void on_timer(void *userdata)
{
    Agent *agent = userdata;

    agent_run_tracker(agent);
    docker_pull(agent->docker);
}

/* Calls from Docker's session. */

static void on_tracker_listed(void *userdata)
{
    Agent *agent = userdata;

    log_info("Connected to Docker at %s (API %s)", docker_url(agent->docker), docker_api_version(agent->docker));
}

static void on_tracker_release(void *userdata)
{
    Agent *agent = userdata;

    if (agent->publisher)
        publisher_release(agent->publisher);
}

static void on_tracker_compare(void *userdata)
{
    Agent *agent = userdata;

    publisher_resync(agent->publisher);
}

static void on_tracker_reconnect(void *userdata)
{
    Agent *agent = userdata;

    docker_reconnect(agent->docker);
}

static void on_tracker_changed(void *userdata)
{
    Agent *agent = userdata;

    agent_check_orphans(agent);
    agent_check_ready(agent);
}

static void on_docker_connected(void *userdata, const char *engine_id)
{
    Agent *agent = userdata;
    bool other = !agent->engine_id || strcmp(agent->engine_id, engine_id) != 0;
    char *copy = other ? strdup(engine_id) : NULL;
    int r = 0;

    agent->counters.docker_connects++;
    tracker_connected(agent->tracker);
    if (copy) {
        text_take(&agent->engine_id, copy);
        r = agent_make_publisher(agent, true);
    } else if (other) {
        r = -ENOMEM;
    }
    if (r < 0) {
        log_error_errno(r, "Failed to set up the endpoints of etcd: %m");
        (void)sd_event_exit(agent->event, r);
    }
}

static void on_docker_lost(void *userdata, const char *why)
{
    Agent *agent = userdata;

    tracker_lost(agent->tracker, why, agent_boottime_us(agent));
    agent_run_tracker(agent);
}

static void on_list_begin(void *userdata)
{
    Agent *agent = userdata;

    tracker_list_begin(agent->tracker);
}

static void on_listed(void *userdata, Container *container)
{
    Agent *agent = userdata;

    tracker_listed(agent->tracker, container);
}

static void on_list_end(void *userdata, bool complete)
{
    Agent *agent = userdata;

    tracker_list_end(agent->tracker, complete, agent_boottime_us(agent));
    agent_run_tracker(agent);
}

static void on_docker_event(void *userdata, const DockerEvent *event)
{
    Agent *agent = userdata;

    log_debug("Docker: %s %.12s", docker_action_to_string(event->action), event->id);
    if (event->age_us == 0) /* events from before the agent's start do not count */
        agent->counters.docker_events[event->action]++;
    tracker_event(agent->tracker, event, agent_boottime_us(agent));
    agent_run_tracker(agent);
}

static bool on_next_inspect(void *userdata, bool early, DockerQuestion *ret)
{
    Agent *agent = userdata;
    CatalogQuestion question;

    if (!catalog_next_question(agent->catalog, early, &question))
        return false;
    log_debug("Docker: inspect %.12s%s", question.id, early ? ", which is about to start" : "");
    ret->ticket = question.ticket;
    memcpy(ret->id, question.id, sizeof(ret->id));
    return true;
}

static void on_inspected(void *userdata, const char *id, uint64_t ticket, Container *container, int error)
{
    Agent *agent = userdata;

    tracker_inspected(agent->tracker, id, ticket, container, error, agent_boottime_us(agent));
    agent_run_tracker(agent);
}

static const DockerHandlers docker_handlers = {
    .connected = on_docker_connected,
    .list_begin = on_list_begin,
    .listed = on_listed,
    .list_end = on_list_end,
    .event = on_docker_event,
    .next_inspect = on_next_inspect,
    .inspected = on_inspected,
    .lost = on_docker_lost,
};

int agent_make_docker(Agent *agent)
{
    const Settings *settings = agent->settings;

    return docker_new(&agent->docker, agent->event,
                      &(DockerConfig){ .url = settings->docker_url,
                                       .ca = settings->docker_ca,
                                       .cert = settings->docker_cert,
                                       .key = settings->docker_key,
                                       .resync_s = settings->docker_resync_s },
                      &agent->rules.labels, &docker_handlers, agent);
}

int agent_add_timers(Agent *agent)
{
    int r = timer_add(agent->event, &agent->timer, CLOCK_BOOTTIME, 10000, on_timer, agent);

    return r < 0 ? r : timer_add(agent->event, &agent->save, CLOCK_BOOTTIME, 10000, on_save, agent);
}

int agent_make_tracker(Agent *agent)
{
    return tracker_new(&agent->tracker, agent->catalog, (uint64_t)agent->settings->docker_grace_s * 1000000,
                       &(TrackerSink){ .listed = on_tracker_listed,
                                       .release = on_tracker_release,
                                       .compare = on_tracker_compare,
                                       .reconnect = on_tracker_reconnect,
                                       .changed = on_tracker_changed,
                                       .userdata = agent });
}
