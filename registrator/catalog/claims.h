/* Which container of this host owns a key, and which containers wait for the key. If two containers claim the same
 * key, the older one (Docker's Created) owns the key. If both are of the same age, the smaller ID decides. So the
 * owner does not depend on the order of Docker's list. A stopping owner keeps its claim for a while, because the
 * owner may be restarting. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For how long a claim lasts after its owner's stop. docker restart and restart policies take milliseconds to some
 * seconds from death to start. */
enum { CLAIM_RESERVED_US = 10000000 };

typedef struct Claims Claims;

typedef struct Claimant {
    char id[65];
    int64_t created_ns; /* Docker's Created, since the epoch */
} Claimant;

typedef enum ClaimResult {
    CLAIM_OWNED, /* the claimant owns the key */
    CLAIM_TAKEN_OVER, /* the claimant owns the key; evaluate the younger container that had the key before */
    CLAIM_WAITS, /* an older container has the key */
} ClaimResult;

int claims_new(Claims **ret);
Claims *claims_free(Claims *claims);

/* On -ENOMEM nothing has changed. previous: with CLAIM_TAKEN_OVER, the ID of the container that had the key. */
int claims_take(Claims *claims, const char *key, const Claimant *claimant, char previous[65]);
bool claims_owns(const Claims *claims, const char *key, const char *id);
/* Frees the key if the container owns it. */
void claims_release(Claims *claims, const char *key, const char *id);
/* Reserves the key if the container owns it: until until_us, only the container itself or an older one may take the
 * key. */
void claims_reserve(Claims *claims, const char *key, const char *id, uint64_t until_us);
/* Frees all reservations of a removed container. Returns true if there was a reservation. */
bool claims_forget(Claims *claims, const char *id);
/* Frees the reservations that have ended. *ret_next_us: when the next reservation ends; 0: never. Returns true if a
 * reservation ended. */
bool claims_expire(Claims *claims, uint64_t now_us, uint64_t *ret_next_us);
