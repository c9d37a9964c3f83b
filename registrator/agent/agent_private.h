/* The agent's parts, for the files that connect them. */
#pragma once

#include "agent/advertise.h"
#include "agent/agent.h"
#include "agent/settle.h"
#include "agent/tracker.h"
#include "base/timer.h"
#include "catalog/catalog.h"
#include "docker/docker.h"
#include "operator/control.h"
#include "operator/metrics.h"
#include "probe/probe.h"
#include "publisher/publisher.h"
#include "settings/rules.h"

struct Agent {
    int argc;
    char **argv;
    bool dry_run;
    Settings *settings;
    Rules rules;
    const char **labels; /* the memory of rules.labels */
    Advertise *advertise;
    char *engine_id; /* NULL: not known yet */

    sd_event *event;
    Docker *docker;
    Catalog *catalog;
    Tracker *tracker; /* the agent's state towards Docker */
    Prober *prober;
    Settle *settle; /* gathers the probes' answers before their keys are wanted */
    Publisher *publisher; /* NULL: the agent has not reached Docker yet */
    Control *control; /* NULL in a dry run */
    Timer timer; /* runs the tracker */
    Timer save; /* saves the stops in progress */
    uint64_t saved_stops; /* the version of the stops that the state file has */

    bool orphans_dropped; /* the publisher may delete orphans: the keys of an earlier run that no container wants */
    bool ready;
    bool etcd_lost; /* the log has the loss of etcd */
    AgentCounters counters;
    char *status; /* the last status text for systemd */
};

uint64_t agent_boottime_us(Agent *agent);
/* Set up a part from agent->settings. 0 or a negative errno. */
int agent_make_docker(Agent *agent);
int agent_make_tracker(Agent *agent);
int agent_make_prober(Agent *agent);
/* Callbacks of the catalog's sink for probes. */
bool agent_inherits(void *userdata, const char *key, const char *value);
void agent_look_again(void *userdata);
void agent_log_probed(void *userdata, const CatalogEntry *entry, CatalogProbed what, uint16_t port, const char *value);
int agent_add_timers(Agent *agent); /* the timers of the tracker and of the state file; 0 or a negative errno */
int agent_make_publisher(Agent *agent, bool new_store);
/* Runs the tracker's due work, and arms the timer for the next work. */
void agent_run_tracker(Agent *agent);
/* Deletes keys of an earlier run that no container wants, once these keys are known. */
void agent_check_orphans(Agent *agent);
/* Tells systemd when the first list is registered, or when an obstacle outside of the agent prevents that. */
void agent_check_ready(Agent *agent);
/* Sends the status text to systemd. */
void agent_update_status(Agent *agent);

/* SIGHUP. userdata: the Agent. */
int agent_on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata);
