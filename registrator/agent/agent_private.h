/* The agent's parts, for the files that wire the parts together. */
#pragma once

#include "agent/advertise.h"
#include "agent/agent.h"
#include "agent/settle.h"
#include "agent/tracker.h"
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
    const char **labels; /* behind rules.labels */
    Advertise *advertise;
    char *engine_id; /* NULL: as yet unknown */

    sd_event *event;
    Docker *docker;
    Catalog *catalog;
    Tracker *tracker; /* what is known of Docker */
    Prober *prober;
    Settle *settle; /* when the probes' answers lead to keys */
    Publisher *publisher; /* NULL: Docker has not been reached yet */
    Control *control; /* NULL in a dry run */
    sd_event_source *timer; /* of the tracker */
    sd_event_source *save; /* when the stops in progress are saved */
    uint64_t saved_stops; /* the version of those that were */

    bool orphans_dropped; /* the keys of an earlier run that nobody wants */
    bool ready;
    bool etcd_lost; /* the log says that etcd is away */
    AgentCounters counters;
    char *status; /* last told to systemd */
};

uint64_t agent_boottime_us(Agent *agent);
/* A part set up from agent->settings. 0 or a negative errno. */
int agent_make_docker(Agent *agent);
int agent_make_tracker(Agent *agent);
int agent_make_prober(Agent *agent);
/* The catalog's sink, as far as probes go. */
bool agent_inherits(void *userdata, const char *key, const char *value);
void agent_look_again(void *userdata);
void agent_log_probed(void *userdata, const CatalogEntry *entry, CatalogProbed what, uint16_t port, const char *value);
int agent_add_timers(Agent *agent); /* the tracker's, and the state file's */
int agent_make_publisher(Agent *agent, bool new_store);
/* Does what the tracker has to do, and comes back when it has more. */
void agent_run_tracker(Agent *agent);
/* Deletes keys of an earlier run that nobody wants, once it is known which those are. */
void agent_check_orphans(Agent *agent);
/* Tells systemd when the first list is registered, or cannot be. */
void agent_check_ready(Agent *agent);
/* What systemd is told. */
void agent_update_status(Agent *agent);

/* SIGHUP. userdata: the Agent. */
int agent_on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata);
