/* SIGHUP: reads the settings again, and sets up the parts whose settings have changed. */
#include "agent/agent_private.h"

#include "base/log.h"
#include "base/text.h"
#include "base/timer.h"

#include <inttypes.h>
#include <string.h>
#include <systemd/sd-daemon.h>

/* settings: taken. Parts whose settings are unchanged continue undisturbed. */
static int apply_settings(Agent *agent, Settings *settings)
{
    CLEANUP(settings_free_p) Settings *old = agent->settings;
    CLEANUP_FREE const char **old_labels = agent->labels;
    bool same_store = settings_same_store(old, settings);
    bool same_control = text_same(old->control, settings->control) && text_same(old->listen, settings->listen);
    int r;

    agent->settings = settings;
    agent->labels = NULL;
    if (agent->control)
        control_forget(agent->control);
    log_set_level(settings->log_level);
    log_set_format(settings->log_format);
    r = rules_from_settings(&agent->rules, settings, &agent->labels);
    if (r < 0)
        return r;
    advertise_fill(agent->advertise, &agent->rules);
    docker_set_labels(agent->docker, &agent->rules.labels);
    if (!settings_same_docker(old, settings)) {
        agent->docker = docker_free(agent->docker);
        tracker_disconnected(agent->tracker);
        r = agent_make_docker(agent);
        if (r < 0)
            return r;
    }
    if (agent->control && !same_control) {
        r = control_move(agent->control, settings->control, settings->listen);
        if (r < 0)
            return r;
    }
    tracker_set_grace(agent->tracker, (uint64_t)settings->docker_grace_s * 1000000);
    r = advertise_set(agent->advertise, settings->advertise);
    if (r < 0)
        return r;
    if (agent->publisher) {
        if (old->etcd_api != settings->etcd_api)
            log_info("No longer written: %s; the keys there expire when their TTL of %u s ends",
                     store_describe(publisher_store(agent->publisher)), old->ttl_s);
        r = agent_make_publisher(agent, !same_store);
        if (r < 0)
            return r;
    }
    catalog_set_rules(agent->catalog, &agent->rules, !settings_same_metadata(old, settings));
    /* Without a setting, the route to etcd decides the address. A store that has not opened yet does not know this
     * route. */
    if (agent->publisher && (same_store || settings->advertise))
        advertise_refresh(agent->advertise);
    agent_run_tracker(agent);
    docker_pull(agent->docker);
    return 0;
}

int agent_on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    Agent *agent = userdata;
    Settings *settings = NULL;
    SettingsAction action;
    CLEANUP_FREE char *error = NULL;
    int operand, r;

    (void)source;
    (void)info;
    /* Before the first READY=1, systemd does not expect a second one. */
    if (agent->ready)
        (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, loop_now_us(agent->event, CLOCK_MONOTONIC));
    r = settings_load(&settings, agent->argc, agent->argv, &action, &operand, &error);
    if (r < 0)
        log_error("Settings not read again, the old ones stay: %s", error ? error : strerror(-r));
    else if ((r = apply_settings(agent, settings)) < 0)
        return sd_event_exit(agent->event, r);
    else
        log_info("Settings read again");
    agent_update_status(agent);
    if (agent->ready)
        (void)sd_notify(0, "READY=1");
    return 0;
}
