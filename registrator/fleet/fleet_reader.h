/* Reads the keys of all hosts from etcd, over a separate connection that ends with the answer. */
#pragma once

#include "fleet/fleet.h"
#include "settings/settings.h"

#include <systemd/sd-event.h>

typedef struct FleetReader FleetReader;

/* fleet: the callee owns it; NULL: the read failed, and why is the error. Called once, never from within
 * fleet_read(). The callee may free the FleetReader. */
typedef void (*FleetDoneFn)(void *userdata, Fleet *fleet, const char *why);

/* Reads with these settings, which must live until the call of done. 0 or a negative errno. */
int fleet_read(FleetReader **ret, sd_event *event, const Settings *settings, ListingLimits limits, FleetDoneFn done,
               void *userdata);
FleetReader *fleet_reader_free(FleetReader *reader);
DEFINE_CLEANUP(FleetReader, fleet_reader_free)
