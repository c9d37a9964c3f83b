/* Shared by the listings of v2 and v3. */
#pragma once

#define HASH_NONFATAL_OOM 1

#include "etcd/listing.h"

#include <uthash.h>

enum { LISTING_KEY_MAX = 4096 }; /* bytes; the listing leaves out longer keys */

typedef struct ListedLease {
    int64_t id, ttl_s, granted_ttl_s;
    UT_hash_handle hh;
} ListedLease;

struct Listing {
    Store *store;
    char *prefixes[LISTING_PREFIXES_MAX];
    size_t n_prefixes;
    size_t at; /* index of the present prefix */
    const char *unreadable[LISTING_PREFIXES_MAX]; /* these belong to prefixes */
    size_t n_unreadable;
    ListedKey *keys;
    size_t n_keys, left_out;
    ListingLimits limits;
    uint64_t revision;
    ListedLease *leases;
    ListedLease *next; /* the next lease to read */
    size_t n_asked; /* jobs under way */
    ListingDoneFn done;
    void *userdata;
    char *why; /* the first error; NULL: no memory for its text */
    bool failed;
};

/* Copies the text up to the limit. Returns NULL without memory. */
char *listing_copy_text(const Listing *listing, const char *text, bool *ret_is_cut);
/* Adds the key, and owns its texts from then on. After -ENOMEM, the caller still owns them. */
int listing_add(Listing *listing, const ListedKey *key);
/* Stores the error, unless there is an earlier one. */
void listing_fail(Listing *listing, const char *why);
/* Calls done. */
void listing_finish(Listing *listing);

/* Sorts the keys after the last prefix. */
void listing_sort(Listing *listing);

int listing_start_v3(Listing *listing);
