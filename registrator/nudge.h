/* v2: wakes confd again after a change. Its watch misses a write that comes while it renders and reloads (12 of 12
 * missed at 50 to 400 ms after the first, seen with confd 0.16.0), and then waits for the next write, whenever that
 * is. A key beside the directory, "/app/servers.nudge" for "/app/servers/web", wakes it, since it compares prefixes
 * as text, and is rendered by no template, since it is not below the directory. */
#pragma once

#include "cleanup.h"
#include "etcd.h"

typedef struct Nudge Nudge;

int nudge_new(Nudge **ret, sd_event *event, Etcd *etcd);
/* To be freed before the Etcd. Returns NULL. */
Nudge *nudge_free(Nudge *nudge);
DEFINE_CLEANUP(Nudge, nudge_free)

/* The key was written or deleted: its directory's nudge follows, a second later. NULL: no nudging. */
void nudge_after(Nudge *nudge, const char *key);
