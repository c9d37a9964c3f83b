/* Owns the address that this host advertises, and the list of this host's addresses that no other host reaches. Finds
 * both, and announces each change. */
#pragma once

#include "agent/address.h"
#include "catalog/record.h"

#include <systemd/sd-event.h>

typedef struct Advertise Advertise;

typedef struct AdvertiseHandlers {
    /* Something is new: see advertise_fill(). Called from the loop, or from within advertise_set() and
     * advertise_refresh(). */
    void (*changed)(void *userdata);
    /* Where etcd answered from. False: it has not answered yet. */
    bool (*remote)(void *userdata, struct sockaddr_storage *ret);
} AdvertiseHandlers;

/* handlers must outlive it. */
int advertise_new(Advertise **ret, sd_event *event, const AdvertiseHandlers *handlers, void *userdata);
/* Returns NULL. */
Advertise *advertise_free(Advertise *advertise);
DEFINE_CLEANUP(Advertise, advertise_free)

/* The setting, copied; NULL: the routes decide. Another setting than before forgets what was kept, once there is
 * something new. Finds nothing yet. 0 or -ENOMEM. */
int advertise_set(Advertise *advertise, const char *setting);
/* Finds the address. A family that has no address for the moment keeps its last one for as long as an interface has it,
 * and for ADVERTISE_GONE_S after that. If neither family has one, both keep theirs. */
void advertise_refresh(Advertise *advertise);

/* Writes the addresses into the rules, which then point into *advertise until changed() is called again. */
void advertise_fill(const Advertise *advertise, Rules *rules);
/* Is there an address, and has changed() announced it? */
bool advertise_is_known(const Advertise *advertise);
/* Has the last search found nothing? */
bool advertise_has_failed(const Advertise *advertise);

/* For the store while it opens, from within its calls: changed() comes with a later turn of the loop. */
const char *advertise_address(Advertise *advertise); /* IPv4 before IPv6; "" if there is none */
bool advertise_is_own_value(Advertise *advertise, const char *value); /* carries an address of this host */

enum { ADVERTISE_GONE_S = 60 };
