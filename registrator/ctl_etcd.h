/* registrator status --etcd: what Docker, the agent and etcd each say of this host's keys. */
#pragma once

#include "settings.h"

/* control: the agent's socket. Prints the differences that last; returns the program's exit status. */
int ctl_status_etcd(const Settings *settings, const char *control);
