/* The bodies of etcd's v3 JSON gateway: built and read. Pure. Builders return malloc'd text, or NULL
 * without memory. */
#pragma once

#include "base/json.h"
#include "etcd/etcd3_lease.h"
#include "etcd/store.h"

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

enum {
    /* etcd counts a transaction's operations and those of the deepest one nested in it together. The moves of keys
     * nest one level, with two comparisons. */
    ETCD3_OPS_MAX = STORE_BATCH_MAX - 2,
    ETCD3_HOLDER_MAX = 4096, /* bytes kept of another owner's value */
};

/* By what a key is known as ours, beside its mod revision. */
typedef struct Etcd3Ours {
    int64_t lease;
    const int64_t *others; /* further leases that are ours (0: none), for STORE_PEEK */
    size_t n_others;
    StoreWriter (*writer)(void *userdata, const char *key, const char *value); /* as StoreConfig's */
    void *userdata;
} Etcd3Ours;

char *etcd3_build_authenticate(const char *user, const char *password);
char *etcd3_build_lease(int64_t id); /* keepalive, revoke */
char *etcd3_build_grant(int64_t id, unsigned ttl_s);
char *etcd3_build_time_to_live(int64_t id);
/* Reads up to ETCD3_OPS_MAX keys. */
char *etcd3_build_ranges(const Etcd3Key *keys, size_t n);
char *etcd3_build_ranges_without_values(const Etcd3Key *keys, size_t n);
/* Hangs keys on another lease, each if it still is as it was read. */
char *etcd3_build_move(const Etcd3Key *keys, size_t n, int64_t to);
/* One transaction: if each key still has the mod revision that is known of it (0: absent), all operations are done;
 * otherwise none is, and the answer shows what each key holds. */
char *etcd3_build_apply(StoreOp *const *ops, size_t n, int64_t lease);
/* Does the operation write? */
bool etcd3_op_writes(const StoreOp *op);
/* Comparisons that the operation adds: etcd bounds their number, too. */
size_t etcd3_op_compares(const StoreOp *op);
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
/* Sets lease and revision of each key that was moved. */
int etcd3_parse_move(const cJSON *json, Etcd3Key *keys, size_t n, int64_t to);
/* Sets outcome, wrote, known, revision, holder. STORE_OP_FAILED stays where another transaction is to be tried, with
 * what is known now. *ret_clone: a key under our lease holds a value that this host did not write. */
int etcd3_parse_apply(const cJSON *json, StoreOp *const *ops, size_t n, const Etcd3Ours *ours, bool *ret_clone);
