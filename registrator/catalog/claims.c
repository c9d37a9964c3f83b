/* With HASH_NONFATAL_OOM, uthash skips the item when memory runs out, and hh.tbl stays NULL. The default ends the
 * process. */
#define HASH_NONFATAL_OOM 1

#include "catalog/claims.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <uthash.h>

typedef struct Claim {
    Claimant owner;
    uint64_t reserved_until_us; /* 0: the owner is registered, or waits to be registered */
    UT_hash_handle hh;
    char key[];
} Claim;

struct Claims {
    Claim *by_key;
    size_t n_reserved;
};

int claims_new(Claims **ret)
{
    Claims *claims = calloc(1, sizeof(*claims));

    if (!claims)
        return -ENOMEM;
    *ret = claims;
    return 0;
}

static void remove_claim(Claims *claims, Claim *claim)
{
    claims->n_reserved -= claim->reserved_until_us > 0;
    HASH_DEL(claims->by_key, claim);
    free(claim);
}

Claims *claims_free(Claims *claims)
{
    Claim *claim, *next;

    if (!claims)
        return NULL;
    HASH_ITER (hh, claims->by_key, claim, next)
        remove_claim(claims, claim);
    free(claims);
    return NULL;
}

static Claim *find_claim(const Claims *claims, const char *key)
{
    Claim *claim;

    HASH_FIND_STR(claims->by_key, key, claim);
    return claim;
}

static Claim *find_own_claim(const Claims *claims, const char *key, const char *id)
{
    Claim *claim = find_claim(claims, key);

    return claim && strcmp(claim->owner.id, id) == 0 ? claim : NULL;
}

static void set_reserved(Claims *claims, Claim *claim, uint64_t until_us)
{
    claims->n_reserved -= claim->reserved_until_us > 0;
    claim->reserved_until_us = until_us;
    claims->n_reserved += claim->reserved_until_us > 0;
}

static bool is_older(const Claimant *a, const Claimant *b)
{
    return a->created_ns != b->created_ns ? a->created_ns < b->created_ns : strcmp(a->id, b->id) < 0;
}

static int add_claim(Claims *claims, const char *key, const Claimant *claimant)
{
    size_t size = strlen(key) + 1;
    Claim *claim = calloc(1, sizeof(*claim) + size);

    if (!claim)
        return -ENOMEM;
    claim->owner = *claimant;
    memcpy(claim->key, key, size);
    HASH_ADD_STR(claims->by_key, key, claim);
    if (claim->hh.tbl)
        return CLAIM_OWNED;
    free(claim);
    return -ENOMEM;
}

int claims_take(Claims *claims, const char *key, const Claimant *claimant, char previous[65])
{
    Claim *claim = find_claim(claims, key);
    bool registered;

    if (!claim)
        return add_claim(claims, key, claimant);
    if (strcmp(claim->owner.id, claimant->id) == 0) {
        set_reserved(claims, claim, 0);
        return CLAIM_OWNED;
    }
    if (!is_older(claimant, &claim->owner))
        return CLAIM_WAITS;
    registered = claim->reserved_until_us == 0;
    memcpy(previous, claim->owner.id, sizeof(claim->owner.id));
    claim->owner = *claimant;
    set_reserved(claims, claim, 0);
    return registered ? CLAIM_TAKEN_OVER : CLAIM_OWNED;
}

bool claims_owns(const Claims *claims, const char *key, const char *id)
{
    return find_own_claim(claims, key, id);
}

void claims_release(Claims *claims, const char *key, const char *id)
{
    Claim *claim = find_own_claim(claims, key, id);

    if (claim)
        remove_claim(claims, claim);
}

void claims_reserve(Claims *claims, const char *key, const char *id, uint64_t until_us)
{
    Claim *claim = find_own_claim(claims, key, id);

    if (claim)
        set_reserved(claims, claim, until_us);
}

bool claims_forget(Claims *claims, const char *id)
{
    Claim *claim, *next;
    bool freed = false;

    if (claims->n_reserved == 0)
        return false;
    HASH_ITER (hh, claims->by_key, claim, next) {
        if (claim->reserved_until_us == 0 || strcmp(claim->owner.id, id) != 0)
            continue;
        remove_claim(claims, claim);
        freed = true;
    }
    return freed;
}

bool claims_expire(Claims *claims, uint64_t now_us, uint64_t *ret_next_us)
{
    Claim *claim, *next;
    bool freed = false;

    *ret_next_us = 0;
    if (claims->n_reserved == 0)
        return false;
    HASH_ITER (hh, claims->by_key, claim, next) {
        if (claim->reserved_until_us == 0)
            continue;
        if (claim->reserved_until_us <= now_us) {
            remove_claim(claims, claim);
            freed = true;
        } else if (*ret_next_us == 0 || claim->reserved_until_us < *ret_next_us) {
            *ret_next_us = claim->reserved_until_us;
        }
    }
    return freed;
}
