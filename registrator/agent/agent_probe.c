/* Connects the probes to the catalog: the catalog names the ports to probe, and receives the answers. */
#include "agent/agent_private.h"

#include "base/log.h"

static bool on_next_probe(void *userdata, uint64_t now_us, ProbeQuestion *ret, uint64_t *ret_due_us)
{
    Agent *agent = userdata;

    return catalog_next_probe(agent->catalog, now_us, ret, ret_due_us);
}

static void on_settle(void *userdata)
{
    Agent *agent = userdata;

    catalog_want_ready(agent->catalog);
    tracker_probed(agent->tracker);
    agent_check_orphans(agent);
    agent_check_ready(agent);
}

static void on_probed(void *userdata, const ProbeQuestion *question, ProbeOutcome outcome)
{
    static const char *const names[] = {
        [PROBE_OPEN] = "open", [PROBE_REFUSED] = "refused", [PROBE_SILENT] = "no answer"
    };
    Agent *agent = userdata;

    log_debug("Probe: %.12s %u: %s", question->id, (unsigned)question->container_port, names[outcome]);
    settle_answer(agent->settle, catalog_probed(agent->catalog, question, outcome, agent_boottime_us(agent)));
}

int agent_make_prober(Agent *agent)
{
    int r = settle_new(&agent->settle, agent->event, on_settle, agent);

    return r < 0 ? r : prober_new(&agent->prober, agent->event, on_next_probe, on_probed, agent);
}

bool agent_inherits(void *userdata, const char *key, const char *value)
{
    Agent *agent = userdata;

    return agent->publisher && publisher_inherits(agent->publisher, key, value);
}

void agent_look_again(void *userdata)
{
    Agent *agent = userdata;

    prober_pull(agent->prober);
    timer_arm(&agent->timer, 0);
}

void agent_log_probed(void *userdata, const CatalogEntry *entry, CatalogProbed what, uint16_t port, const char *value)
{
    Agent *agent = userdata;
    const char *name = entry->container->name;

    if (what == CATALOG_LABEL)
        log_warning("Container %s, port %u: a label SERVICE_READY may be tcp, none or http:/path, not '%.64s'", name,
                    (unsigned)port, value);
    else if (what == CATALOG_ASSUMED)
        log_write(LOG_NOTICE, 0, LOG_EVENT_NONE, name, entry->id, NULL,
                  "Container %s, port %u/tcp: no probe got an answer for %u s (--ready-timeout); the port is "
                  "registered without an answer",
                  name, (unsigned)port, agent->rules.ready_timeout_s);
    else
        log_write(LOG_WARNING, 0, LOG_EVENT_NONE, name, entry->id, NULL,
                  "Container %s, port %u/tcp: not ready for %d s, so it is not registered; 'registrator explain %s' "
                  "shows the reason",
                  name, (unsigned)port, READY_WARN_S, name);
}
