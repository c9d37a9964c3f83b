/* The leases that may hold this host's keys: their IDs, and the choice of the lease that the agent uses. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A host has two pairs of IDs. The first pair's IDs come from the host's identity. The second pair's IDs come from
 * the identity and the advertised address, for a host whose clone uses the first pair. Each pair has two leases, so
 * that keys can move to a lease with another TTL and always have a lease. */
typedef enum LeaseSlot {
    LEASE_PLAIN_A,
    LEASE_PLAIN_B,
    LEASE_ADDRESS_A,
    LEASE_ADDRESS_B,
    LEASES_DERIVED,
    /* the lease of an earlier store of this agent; its keys move, and the agent never uses it again */
    LEASE_PREVIOUS = LEASES_DERIVED,
    LEASES,
} LeaseSlot;

/* A key under a lease. */
typedef struct Etcd3Key {
    char *key;
    char *value; /* NULL: not read, or the key is absent */
    uint64_t revision;
    int64_t lease;
} Etcd3Key;

typedef struct Etcd3Lease {
    int64_t id;
    int64_t ttl_s; /* the rest of the TTL in seconds; -1: etcd has no such lease */
    int64_t granted_ttl_s;
    Etcd3Key *keys;
    size_t n_keys;
    bool is_shared; /* another host has written a key under this lease */
    uint64_t revision; /* etcd's revision when it listed the keys; 0: not known */
} Etcd3Lease;

/* The kind of a lease for this host, the most useful kind first. */
typedef enum LeaseKind {
    LEASE_IN_USE, /* has the wanted TTL, and keys of this host */
    LEASE_UNUSED, /* has the wanted TTL, and no keys */
    LEASE_ABSENT,
    LEASE_UNUSED_OTHER_TTL,
    LEASE_IN_USE_OTHER_TTL,
    LEASE_SHARED, /* another host uses the lease */
} LeaseKind;

typedef enum LeaseAction {
    LEASE_KEEP, /* renew this lease, and move the keys of the other leases to it */
    LEASE_GRANT,
    LEASE_REPLACE, /* revoke this lease, then grant it with the wanted TTL */
    LEASE_KEEP_TO_FREE_OTHER, /* keep this lease until the pair's other lease has no keys, then choose again */
    LEASE_REFUSE, /* two hosts with one identity and one address */
} LeaseAction;

typedef struct LeaseChoice {
    LeaseSlot slot;
    LeaseAction action;
} LeaseChoice;

/* The lease's ID: positive, never 0. Every host and every version of this program derives the same ID from the same
 * texts. */
int64_t etcd3_lease_id(LeaseSlot slot, const char *identity, const char *layout, const char *address);

bool etcd3_lease_exists(const Etcd3Lease *lease);
LeaseKind etcd3_lease_kind(const Etcd3Lease *lease, int64_t wanted_ttl_s);
/* leases: LEASES of them, each with the keys under it. */
LeaseChoice etcd3_lease_choose(const Etcd3Lease *leases, int64_t wanted_ttl_s);
void etcd3_lease_clear_keys(Etcd3Lease *lease);
