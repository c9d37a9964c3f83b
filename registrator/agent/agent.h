/* The agent. It passes Docker's events to the catalog and the catalog's wishes to the publisher, and informs systemd
 * and the operator. */
#pragma once

#include "base/cleanup.h"
#include "settings/settings.h"

typedef struct Agent Agent;

/* argv: kept, because SIGHUP reads the settings again. settings: taken, also on error. dry_run: print the planned
 * changes once, then end. 0 or a negative errno. */
int agent_new(Agent **ret, Settings *settings, int argc, char **argv, bool dry_run);
Agent *agent_free(Agent *agent);
DEFINE_CLEANUP(Agent, agent_free)

/* Runs until SIGTERM, SIGINT or the end of the dry run. Returns the program's exit status or a negative errno. The
 * exit status is 0, or 2 if a dry run could not reach Docker or etcd. Keys stay in etcd until their TTL ends. */
int agent_run(Agent *agent);
