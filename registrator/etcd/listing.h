/* Lists all keys below some prefixes, of all owners, with the TTL, the lease and the revisions of each key. Writes
 * nothing. */
#pragma once

#include "etcd/store.h"

typedef struct Listing Listing;

typedef struct ListedKey {
    char *key;
    char *value; /* "(binary)" if the value contains a NUL */
    bool key_is_cut, value_is_cut; /* cut after at most ListingLimits.text bytes, between two characters */
    int64_t lease; /* v3; 0: none */
    int64_t ttl_s; /* that is left */
    int64_t granted_ttl_s; /* v3: of the lease when it was granted or renewed; 0: not known */
    uint64_t created, modified; /* etcd's revision (v2: index) then */
} ListedKey;

enum {
    LISTING_NO_TTL = -1, /* the key has no TTL */
    LISTING_TTL_UNKNOWN = -2, /* the lease has just ended, or there were too many leases */
    LISTING_PREFIXES_MAX = 16,
    LISTING_LEASES_MAX = 4096, /* v3: leases whose TTL is read */
    LISTING_TEXT_MAX = 4096,
};

typedef struct ListingLimits {
    size_t keys; /* keys that the listing keeps */
    size_t text; /* bytes kept of a key and of a value, at most LISTING_TEXT_MAX */
} ListingLimits;

/* why is the error, or NULL for success. Called once, not from within listing_start(). */
typedef void (*ListingDoneFn)(void *userdata, const char *why);

/* The store must be open. n is 1 to LISTING_PREFIXES_MAX. A prefix may be the beginning of another. Returns 0, -EINVAL
 * or -ENOMEM. */
int listing_new(Listing **ret, Store *store, const char *const *prefixes, size_t n, ListingLimits limits);
/* Must not be called during a listing, unless the store was freed before. NULL is fine. Returns NULL. */
Listing *listing_free(Listing *listing);
DEFINE_CLEANUP(Listing, listing_free)
/* Reads the keys, up to 1,000 in a request, then the TTL of each lease. Returns 0, or -ENOMEM: then done is not
 * called. */
int listing_start(Listing *listing, ListingDoneFn done, void *userdata);

/* The following functions give the result after done. The listing owns the keys, which are sorted. */
size_t listing_keys(const Listing *listing, const ListedKey **ret);
uint64_t listing_revision(const Listing *listing); /* etcd's revision at the first read; 0: not known (v2) */
/* v3: the prefixes that the user has no right to read, if another prefix could be read. Returns their number. */
size_t listing_unreadable(const Listing *listing, const char *const **ret);
size_t listing_left_out(const Listing *listing); /* number of keys beyond the limit, longer than 4 KiB, or with a NUL */
