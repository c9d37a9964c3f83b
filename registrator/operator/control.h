/* The interface for operators: the control socket of the subcommands, and --listen. Routes:
 *   GET /status                            JSON (also over --listen)
 *   GET /                                  a web page of the status (also over --listen)
 *   GET /fleet                             a web page of the keys of all hosts (also over --listen)
 *   GET /sd                                this host's targets, for Prometheus (also over --listen)
 *   GET /containers/NAME                   JSON, with the last events of the container's keys (also over --listen)
 *   GET /history, GET /history/NAME        the last events of all keys, or of one container, which may be removed.
 *                                          Control socket only.
 *   GET /healthz                           "ok" while the loop turns (also over --listen)
 *   GET /readyz                            200, or 503 with the reason (also over --listen)
 *   GET /metrics                           for Prometheus (also over --listen)
 *   POST /drain, POST /undrain             {"containers":[NAME,…],"until_death":true} or {"host":true}. Control
 *                                          socket only. */
#pragma once

#include "base/cleanup.h"
#include "operator/status.h"

#include <systemd/sd-event.h>

typedef struct Control Control;

typedef StatusSource (*ControlSourceFn)(void *userdata);

/* If a socket cannot be opened, the agent logs the error and continues. listen may be NULL. Passes the contents of
 * the socket's state file (state_file.h) to the catalog. 0 or -ENOMEM. */
int control_new(Control **ret, sd_event *event, const char *path, const char *listen, Catalog *catalog,
                ControlSourceFn source, void *userdata);
/* The settings have changed. Listens at the new addresses, and moves the state file. 0 or -ENOMEM. */
int control_move(Control *control, const char *path, const char *listen);
/* The settings are about to change. Ends the requests that use them. */
void control_forget(Control *control);
/* Writes the state file after a change in the catalog. durable: as for state_file_write(). 0, or the errno. */
int control_save(const Control *control, bool durable);
Control *control_free(Control *control);
DEFINE_CLEANUP(Control, control_free)
