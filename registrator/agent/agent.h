/* The agent: Docker's events into the catalog, the catalog's wishes to the publisher, and what systemd and the
 * operator want to know of it. */
#pragma once

#include "base/cleanup.h"
#include "settings/settings.h"

typedef struct Agent Agent;

/* argv is kept, to read the settings again at SIGHUP. settings: taken, also on error. dry_run: print what would
 * be done, once, then end. */
int agent_new(Agent **ret, Settings *settings, int argc, char **argv, bool dry_run);
Agent *agent_free(Agent *agent);
DEFINE_CLEANUP(Agent, agent_free)

/* Runs until SIGTERM or SIGINT, or the end of the dry run. Returns the program's exit status (0, or 2 when a
 * dry run could not reach Docker or etcd), or a negative errno. Keys stay in etcd until their TTL ends. */
int agent_run(Agent *agent);
