/* Which container of this host owns a key, and which ones wait for it. Two containers may come to the same key: the older
 * one (by Docker's Created) owns it, ties go by ID, and so the owner does not depend on the order of Docker's list. An
 * owner that stops keeps its claim for a while: it may be restarting. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* After an owner's stop, its claim is kept for so long: docker restart and restart policies take milliseconds to some
 * seconds between death and start. */
enum { CLAIM_RESERVED_US = 10000000 };

typedef struct Claims Claims;

typedef struct Claimant {
    char id[65];
    int64_t created_ns; /* Docker's Created, since the epoch */
} Claimant;

typedef enum ClaimResult {
    CLAIM_OWNED, /* the key is the claimant's, as before or from now on */
    CLAIM_TAKEN_OVER, /* the same; a younger container had the key and must be evaluated again */
    CLAIM_WAITS, /* an older container has the key */
} ClaimResult;

int claims_new(Claims **ret);
Claims *claims_free(Claims *claims);

/* -ENOMEM: nothing changed. previous: CLAIM_TAKEN_OVER: the ID of the container that had the key. */
int claims_take(Claims *claims, const char *key, const Claimant *claimant, char previous[65]);
bool claims_owns(const Claims *claims, const char *key, const char *id);
/* The key is free, if the container owns it. */
void claims_release(Claims *claims, const char *key, const char *id);
/* The same, but until then only the container itself or an older one may take the key. */
void claims_reserve(Claims *claims, const char *key, const char *id, uint64_t until_us);
/* Frees all reservations of a container that is gone. Returns true if there was one. */
bool claims_forget(Claims *claims, const char *id);
/* Frees the reservations that have ended. *ret_next_us: when the next one ends; 0: none. Returns true if one ended. */
bool claims_expire(Claims *claims, uint64_t now_us, uint64_t *ret_next_us);
size_t claims_reserved(const Claims *claims);
