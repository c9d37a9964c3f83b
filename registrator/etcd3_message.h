/* The bodies of etcd's v3 JSON gateway: built and read. Pure. Builders return malloc'd text, or NULL
 * without memory. */
#pragma once

#include "json.h"
#include "store.h"

/* gRPC's codes, as far as etcd uses them. */
typedef enum GrpcCode {
    GRPC_OK = 0,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16,
} GrpcCode;

typedef enum LeaseVariant { LEASE_A, LEASE_B } LeaseVariant;

/* A key that hangs on a lease. */
typedef struct Etcd3Key {
    char *key;
    char *value; /* NULL: not read, or gone meanwhile */
    uint64_t revision;
    int64_t lease;
} Etcd3Key;

typedef struct Etcd3Lease {
    int64_t id;
    int64_t ttl_s; /* that is left; -1: there is no such lease */
    int64_t granted_ttl_s;
    Etcd3Key *keys;
    size_t n_keys;
} Etcd3Lease;

enum {
    /* etcd counts a transaction's operations and those of the deepest one nested in it together, 128 at
     * most; below ours are up to four: REPLACE's comparison, ENSURE's, and its two inner ones. */
    ETCD3_OPS_MAX = STORE_BATCH_MAX - 4,
    ETCD3_HOLDER_MAX = 4096, /* bytes kept of somebody else's value */
};

/* Positive, never 0; the same on every host and in every version of this program. address: NULL: not part
 * of what the ID is derived from. */
int64_t etcd3_lease_id(const char *identity, const char *layout, const char *address, LeaseVariant variant);

char *etcd3_build_authenticate(const char *user, const char *password);
char *etcd3_build_lease(int64_t id); /* keepalive, revoke */
char *etcd3_build_grant(int64_t id, unsigned ttl_s);
char *etcd3_build_time_to_live(int64_t id);
/* Reads up to ETCD3_OPS_MAX keys. */
char *etcd3_build_ranges(const Etcd3Key *keys, size_t n);
/* Hangs keys on another lease, each if it still is as it was read. */
char *etcd3_build_move(const Etcd3Key *keys, size_t n, int64_t to);
/* with_intentions: says at the top level, in a branch that is never taken, what will be written. etcd 3.3 to
 * 3.6 hold only that against the user's permissions, and let pass whatever is nested (seen up to 3.6.5). */
char *etcd3_build_apply(const StoreOp *ops, size_t n, int64_t lease, bool with_intentions);
/* Are all of them such as are nearly always found as they should be: creations and removals? Then one plain
 * transaction does, under the condition that all are so; if they are not, etcd3_build_apply()'s finds out which.
 * etcd 3.4's gateway takes 19 ms for 124 nested creations, and 4 ms for plain ones (measured). */
bool etcd3_is_plain(const StoreOp *ops, size_t n);
char *etcd3_build_plain(const StoreOp *ops, size_t n, int64_t lease);
/* Upper bound of what an operation adds to a request, as etcd counts its 1.5 MiB. */
size_t etcd3_op_size(const StoreOp *op);

/* Code and message of an error, GRPC_OK if it is none. *ret_message belongs to json and is "" if there is none. */
GrpcCode etcd3_parse_error(const cJSON *json, const char **ret_message);
/* TTL of a grant's or keepalive's answer, 0 if there is none: the lease is gone. */
int64_t etcd3_parse_ttl(const cJSON *json);
/* Sets all of *lease but its ID; its keys must have been cleared. -ENOMEM, -EBADMSG. */
int etcd3_parse_time_to_live(const cJSON *json, Etcd3Lease *lease);
/* Fills in values, revisions and leases. */
int etcd3_parse_ranges(const cJSON *json, Etcd3Key *keys, size_t n);
/* Sets the lease of each key that was moved. */
int etcd3_parse_move(const cJSON *json, Etcd3Key *keys, size_t n, int64_t to);
/* Sets outcome, wrote, revision, holder. others: further leases that are ours (0: none), for STORE_PEEK. */
int etcd3_parse_apply(const cJSON *json, StoreOp *ops, size_t n, int64_t lease, const int64_t *others, size_t n_others);

/* Sets outcome and wrote if all was as it should be. False: nothing was done. */
bool etcd3_parse_plain(const cJSON *json, StoreOp *ops, size_t n);

void etcd3_lease_clear_keys(Etcd3Lease *lease);
