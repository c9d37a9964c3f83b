/* Reads the keys of all hosts from etcd, through a connection of its own that ends with the answer. */
#pragma once

#include "fleet/fleet.h"
#include "settings/settings.h"

#include <systemd/sd-event.h>

typedef struct FleetReader FleetReader;

/* Of fleet the callee becomes the owner; NULL: failed, because of why. Called once, not from within fleet_read(). The
 * reader is done, and may be freed. */
typedef void (*FleetDoneFn)(void *userdata, Fleet *fleet, const char *why);

/* Asks with these settings, which must live until then. 0, or a negative errno. */
int fleet_read(FleetReader **ret, sd_event *event, const Settings *settings, ListingLimits limits, FleetDoneFn done,
               void *userdata);
FleetReader *fleet_reader_free(FleetReader *reader);
DEFINE_CLEANUP(FleetReader, fleet_reader_free)
