/* The web page of all hosts. The agent reads etcd when somebody asks for the page, one read at a time, and keeps the
 * page for some seconds. */
#pragma once

#include "base/shared_text.h"
#include "settings/settings.h"

#include <systemd/sd-event.h>

typedef struct FleetView FleetView;

int fleet_view_new(FleetView **ret, sd_event *event);
FleetView *fleet_view_free(FleetView *view);
DEFINE_CLEANUP(FleetView, fleet_view_free)

/* The present page, as a reference that the caller owns: the last page, or a page with the note that a read of etcd
 * is under way. Starts a read if the page is older than 10 s. NULL: no memory. */
SharedText *fleet_view_html(FleetView *view, const Settings *settings);
/* The caller is about to free the settings. */
void fleet_view_forget(FleetView *view);
