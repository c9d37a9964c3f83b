/* The subcommand fleet: the keys of all hosts, which it reads from etcd. It needs no agent. */
#pragma once

#include "ctl/ctl_options.h"
#include "fleet/fleet.h"

/* Reads the fleet from etcd. settings: must live as long as the fleet, which has the names of its layouts. Returns NULL after
 * printing the error. */
Fleet *ctl_read_fleet(Settings *settings);

/* Returns the program's exit status. */
int ctl_fleet(const Settings *settings, const CtlOptions *options);
