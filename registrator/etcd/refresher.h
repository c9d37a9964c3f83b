/* v2: the pace of the refreshes. Each key is refreshed once in an interval, spread evenly. The owner knows the keys. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

typedef struct Refresher Refresher;

typedef struct RefresherHandlers {
    size_t (*count)(void *userdata); /* returns the number of keys to refresh */
    /* Refreshes the key with the oldest refresh. Returns false if no key is refreshed, or if no slot is free. A
     * later tick or refresher_send() tries again. */
    bool (*send)(void *userdata);
} RefresherHandlers;

/* The new refresher is stopped. Returns 0 or a negative errno. */
int refresher_new(Refresher **ret, sd_event *event);
Refresher *refresher_free(Refresher *refresher);
DEFINE_CLEANUP(Refresher, refresher_free)

/* The following functions do nothing with NULL, which a store with a lease has. */

/* Starts the refreshes: each key once in interval_us. Copies the handlers. */
void refresher_start(Refresher *refresher, const RefresherHandlers *handlers, void *userdata, uint64_t interval_us);
/* Sends the refreshes that are due since the last call. The owner calls it after an outage, because some keys may
 * expire before the next tick. */
void refresher_run(Refresher *refresher);
/* Sends refreshes that had no slot before. The owner calls it when a refresh ends and frees a slot. */
void refresher_send(Refresher *refresher);
