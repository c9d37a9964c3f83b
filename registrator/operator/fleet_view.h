/* The web page of all hosts: the agent reads etcd when somebody asks for the page, one read at a time, and keeps the
 * page for some seconds. */
#pragma once

#include "base/shared_text.h"
#include "settings/settings.h"

#include <systemd/sd-event.h>

typedef struct FleetView FleetView;

int fleet_view_new(FleetView **ret, sd_event *event);
FleetView *fleet_view_free(FleetView *view);
DEFINE_CLEANUP(FleetView, fleet_view_free)

/* The page as it is now, a reference for the caller: the last one, or one that says that etcd is being asked. Reads etcd if the page is
 * older than 10 s. NULL: no memory. */
SharedText *fleet_view_html(FleetView *view, const Settings *settings);
/* The settings are about to go. */
void fleet_view_forget(FleetView *view);
