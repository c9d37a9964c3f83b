#include "etcd/etcd3_lease.h"

#include <stdlib.h>

/* IDs */

/* FNV-1a, with the terminating NUL, so that "ab" + "c" and "a" + "bc" differ. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    do {
        hash ^= (unsigned char)*text;
        hash *= 0x100000001b3;
    } while (*text++);
    return hash;
}

/* MurmurHash3's finaliser. FNV-1a leaves the high bits of similar texts similar. */
static uint64_t hash_finish(uint64_t hash)
{
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccd;
    hash ^= hash >> 33;
    hash *= 0xc4ceb9fe1a85ec53;
    hash ^= hash >> 33;
    return hash;
}

int64_t etcd3_lease_id(LeaseSlot slot, const char *identity, const char *layout, const char *address)
{
    bool with_address = slot == LEASE_ADDRESS_A || slot == LEASE_ADDRESS_B;
    bool is_a = slot == LEASE_PLAIN_A || slot == LEASE_ADDRESS_A;
    uint64_t hash = 0xcbf29ce484222325;

    hash = hash_text(hash, identity);
    hash = hash_text(hash, layout);
    hash = hash_text(hash, with_address ? "with address" : "plain");
    hash = hash_text(hash, with_address ? address : "");
    hash = hash_text(hash, is_a ? "A" : "B");
    int64_t id = (int64_t)(hash_finish(hash) & INT64_MAX);
    return id != 0 ? id : 1;
}

/* Choosing */

bool etcd3_lease_exists(const Etcd3Lease *lease)
{
    return lease->ttl_s >= 0;
}

LeaseKind etcd3_lease_kind(const Etcd3Lease *lease, int64_t wanted_ttl_s)
{
    bool in_use = lease->n_keys > 0;

    if (lease->is_shared)
        return LEASE_SHARED;
    if (!etcd3_lease_exists(lease))
        return LEASE_ABSENT;
    if (lease->granted_ttl_s == wanted_ttl_s)
        return in_use ? LEASE_IN_USE : LEASE_UNUSED;
    return in_use ? LEASE_IN_USE_OTHER_TTL : LEASE_UNUSED_OTHER_TTL;
}

/* The keys under a lease of the second pair stay there after the clone has gone. */
static bool prefers_address(const Etcd3Lease *leases)
{
    const Etcd3Lease *a = &leases[LEASE_ADDRESS_A], *b = &leases[LEASE_ADDRESS_B];

    return leases[LEASE_PLAIN_A].is_shared || leases[LEASE_PLAIN_B].is_shared || (!a->is_shared && a->n_keys > 0) ||
           (!b->is_shared && b->n_keys > 0);
}

LeaseChoice etcd3_lease_choose(const Etcd3Lease *leases, int64_t wanted_ttl_s)
{
    static const LeaseAction actions[] = {
        [LEASE_IN_USE] = LEASE_KEEP,
        [LEASE_UNUSED] = LEASE_KEEP,
        [LEASE_ABSENT] = LEASE_GRANT,
        [LEASE_UNUSED_OTHER_TTL] = LEASE_REPLACE,
        [LEASE_IN_USE_OTHER_TTL] = LEASE_KEEP_TO_FREE_OTHER,
        [LEASE_SHARED] = LEASE_REFUSE,
    };
    LeaseSlot a = prefers_address(leases) ? LEASE_ADDRESS_A : LEASE_PLAIN_A, b = a + 1;
    LeaseKind kind_a = etcd3_lease_kind(&leases[a], wanted_ttl_s), kind_b = etcd3_lease_kind(&leases[b], wanted_ttl_s);

    return kind_b < kind_a ? (LeaseChoice){ b, actions[kind_b] } : (LeaseChoice){ a, actions[kind_a] };
}

void etcd3_lease_clear_keys(Etcd3Lease *lease)
{
    for (size_t i = 0; i < lease->n_keys; i++) {
        free(lease->keys[i].key);
        free(lease->keys[i].value);
    }
    free(lease->keys);
    lease->keys = NULL;
    lease->n_keys = 0;
}
