/* Owns the address that this host advertises, and the list of this host's addresses that other hosts cannot reach.
 * Finds both, and announces each change. */
#pragma once

#include "agent/address.h"
#include "catalog/record.h"

#include <systemd/sd-event.h>

typedef struct Advertise Advertise;

typedef struct AdvertiseHandlers {
    /* The address or the list has changed: see advertise_fill(). Called from the loop, or from within
     * advertise_set() and advertise_refresh(). */
    void (*changed)(void *userdata);
    /* The address that etcd answered from. Returns false if etcd has not answered yet. */
    bool (*remote)(void *userdata, struct sockaddr_storage *ret);
} AdvertiseHandlers;

/* handlers must outlive *ret. 0 or a negative errno. */
int advertise_new(Advertise **ret, sd_event *event, const AdvertiseHandlers *handlers, void *userdata);
/* Returns NULL. */
Advertise *advertise_free(Advertise *advertise);
DEFINE_CLEANUP(Advertise, advertise_free)

/* setting: copied; NULL: the routes decide. A new setting forgets the kept address as soon as a search succeeds.
 * Does not search yet. 0 or -ENOMEM. */
int advertise_set(Advertise *advertise, const char *setting);
/* Searches for the address. A family without a result keeps its last address for as long as an interface has that
 * address, and for ADVERTISE_GONE_S after that. If the search finds no address of either family, both keep theirs. */
void advertise_refresh(Advertise *advertise);

/* Writes the addresses into the rules. The pointers are valid until the next call of changed(). */
void advertise_fill(const Advertise *advertise, Rules *rules);
/* Has changed() announced an address? */
bool advertise_is_known(const Advertise *advertise);
/* Has the last search found no address? */
bool advertise_has_failed(const Advertise *advertise);

/* The store calls the next two functions while it opens. changed() follows in a later turn of the loop. */
const char *advertise_address(Advertise *advertise); /* IPv4 before IPv6; "": no address */
bool advertise_is_own_value(Advertise *advertise, const char *value); /* does value contain an address of this host? */

enum { ADVERTISE_GONE_S = 60 };
