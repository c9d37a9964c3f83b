/* v2: wakes confd again after a change. confd's watch misses a write that comes while confd renders and reloads: it
 * missed 12 of 12 writes that came 50 to 400 ms after the first one (confd 0.16.0). It then waits for the next write. A
 * key beside the directory, "/app/servers.nudge" for "/app/servers/web", wakes confd, because confd compares prefixes as
 * text. No template renders the key, because it is not below the directory. */
#pragma once

#include "base/cleanup.h"
#include "etcd/etcd.h"

typedef struct Nudge Nudge;

int nudge_new(Nudge **ret, sd_event *event, Etcd *etcd);
/* Call this before etcd_free(). Returns NULL. */
Nudge *nudge_free(Nudge *nudge);
DEFINE_CLEANUP(Nudge, nudge_free)

/* Call this after writing or deleting the key. One second after the last call, the agent sends a nudge for each
 * directory of such keys. Does nothing with NULL. */
void nudge_after(Nudge *nudge, const char *key);
