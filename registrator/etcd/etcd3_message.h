/* Builds requests to etcd's v3 JSON gateway, and parses its answers. Pure. Builders return malloc'd text, or NULL
 * without memory. */
#pragma once

#include "base/json.h"
#include "etcd/etcd3_lease.h"
#include "etcd/store.h"

/* The gRPC codes that etcd uses. */
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
    /* etcd limits the sum of a transaction's operations and the operations of the deepest nested transaction. The
     * moves of keys nest one level, with two comparisons. */
    ETCD3_OPS_MAX = STORE_BATCH_MAX - 2,
    ETCD3_HOLDER_MAX = 4096, /* bytes kept of another owner's value */
};

/* How the agent recognises its own key, in addition to the mod revision. */
typedef struct Etcd3Ours {
    int64_t lease;
    const int64_t *others; /* other leases that count as ours (0: none), for STORE_PEEK */
    size_t n_others;
    StoreWriter (*writer)(void *userdata, const char *key, const char *value); /* as StoreConfig's writer */
    void *userdata;
} Etcd3Ours;

char *etcd3_build_authenticate(const char *user, const char *password);
char *etcd3_build_lease(int64_t id); /* for keepalive and revoke */
char *etcd3_build_grant(int64_t id, unsigned ttl_s);
char *etcd3_build_time_to_live(int64_t id);
/* Reads at most ETCD3_OPS_MAX keys. */
char *etcd3_build_ranges(const Etcd3Key *keys, size_t n);
char *etcd3_build_ranges_without_values(const Etcd3Key *keys, size_t n);
/* Moves each key to the lease `to` if the key has not changed since it was read. */
char *etcd3_build_move(const Etcd3Key *keys, size_t n, int64_t to);
/* One transaction. If each key still has its known mod revision (0: absent), etcd carries out all operations.
 * Otherwise it carries out none, and the answer shows the state of each key. */
char *etcd3_build_apply(StoreOp *const *ops, size_t n, int64_t lease);
/* Does the operation write? */
bool etcd3_op_writes(const StoreOp *op);
/* The number of comparisons of the operation, which etcd also limits. */
size_t etcd3_op_compares(const StoreOp *op);
/* An upper bound of the operation's bytes in a request, of which etcd accepts 1.5 MiB. */
size_t etcd3_op_size(const StoreOp *op);

/* The error's code and message. *ret_message belongs to json. GRPC_OK and "": not an error. */
GrpcCode etcd3_parse_error(const cJSON *json, const char **ret_message);
/* The TTL in seconds from the answer of a grant or keepalive; 0: the lease has ended. */
int64_t etcd3_parse_ttl(const cJSON *json);
/* Sets all members of *lease except its ID. The caller must have cleared its keys. 0, -ENOMEM or -EBADMSG. */
int etcd3_parse_time_to_live(const cJSON *json, Etcd3Lease *lease);
/* Sets the values, revisions and leases of the keys. 0, -ENOMEM or -EBADMSG. */
int etcd3_parse_ranges(const cJSON *json, Etcd3Key *keys, size_t n);
/* Sets the lease and the revision of each moved key. 0 or -EBADMSG. */
int etcd3_parse_move(const cJSON *json, Etcd3Key *keys, size_t n, int64_t to);
/* Sets outcome, wrote, known, revision and holder of each operation. The outcome stays STORE_OP_FAILED if another
 * transaction should try the operation with the new facts. *ret_clone: a key under our lease has a value that this
 * host did not write. */
int etcd3_parse_apply(const cJSON *json, StoreOp *const *ops, size_t n, const Etcd3Ours *ours, bool *ret_clone);
