/* The operator's side: the control socket of the subcommands, and --listen. Routes:
 *   GET /status                            JSON (also over --listen)
 *   GET /                                  the same as a web page (also over --listen)
 *   GET /fleet                             a web page of the keys of all hosts (also over --listen)
 *   GET /sd                                this host's targets, for Prometheus (also over --listen)
 *   GET /containers/NAME                   JSON, with the last events of its keys (also over --listen)
 *   GET /history, GET /history/NAME        the last events of all keys, or those of a container, which may be gone.
 *                                          Control socket only.
 *   GET /healthz                           "ok" while the loop turns (also over --listen)
 *   GET /readyz                            200, or 503 and why (also over --listen)
 *   GET /metrics                           for Prometheus (also over --listen)
 *   POST /drain, POST /undrain             {"containers":[NAME,…],"until_death":true}; none: the host. Control
 *                                          socket only. */
#pragma once

#include "base/cleanup.h"
#include "operator/status.h"

#include <systemd/sd-event.h>

typedef struct Control Control;

typedef StatusSource (*ControlSourceFn)(void *userdata);

/* A socket that cannot be opened is no error: the log says so, and registering goes on. listen may be NULL. Tells the
 * catalog what the socket's state file (state_file.h) remembers. -ENOMEM. */
int control_new(Control **ret, sd_event *event, const char *path, const char *listen, Catalog *catalog,
                ControlSourceFn source, void *userdata);
/* The settings changed: listens there from now on, and takes the state file along. -ENOMEM. */
int control_move(Control *control, const char *path, const char *listen);
/* The settings are about to change: ends what depends on them. */
void control_forget(Control *control);
/* What the catalog should remember over a restart has changed. durable: as state_file_write()'s. 0, or the errno. */
int control_save(const Control *control, bool durable);
Control *control_free(Control *control);
DEFINE_CLEANUP(Control, control_free)
