/* The subcommand status --etcd: compares the keys of this host in Docker, the agent and etcd. */
#pragma once

#include "settings/settings.h"

/* Prints the differences that a second comparison confirms. control is the path of the agent's socket. Returns the
 * program's exit status. */
int ctl_status_etcd(const Settings *settings, const char *control);
