/* The operator's side: the control socket of the subcommands, and --listen. Routes:
 *   GET /status, GET /containers/NAME      JSON (also over --listen)
 *   GET /healthz                           "ok" while the loop turns (also over --listen)
 *   GET /readyz                            200, or 503 and why (also over --listen)
 *   GET /metrics                           for Prometheus (also over --listen)
 *   POST /etcd                             asks etcd what it holds, for
 *   GET /etcd                              Control socket only, both.
 *   POST /drain, POST /undrain             {"containers":[NAME,…],"until_death":true}; none: the host. Control
 *                                          socket only. */
#pragma once

#include "cleanup.h"
#include "status.h"

#include <systemd/sd-event.h>

typedef struct Control Control;

typedef StatusSource (*ControlSourceFn)(void *userdata);

/* What cannot be listened at is said in the log, and is no error: registering goes on without it. listen may be
 * NULL. What was drained before a restart is read from the file "drained" beside the socket, and the catalog told.
 * -ENOMEM. */
int control_new(Control **ret, sd_event *event, const char *path, const char *listen, Catalog *catalog,
                ControlSourceFn source, void *userdata);
/* The settings changed: listens there from now on, and takes along what is drained. -ENOMEM. */
int control_move(Control *control, const char *path, const char *listen);
Control *control_free(Control *control);
DEFINE_CLEANUP(Control, control_free)
