/* The subcommands drain, undrain and stop. */
#pragma once

#include "ctl/ctl_options.h"

/* Each returns the program's exit status. ctl_drain() returns after etcd has confirmed that the keys are deleted. */
int ctl_drain(const Settings *settings, const CtlOptions *options);
int ctl_undrain(const Settings *settings, const CtlOptions *options);
/* The caller's own Docker resolves the names: the agent must not choose which containers are stopped, or where. */
int ctl_stop(const Settings *settings, const CtlOptions *options);
