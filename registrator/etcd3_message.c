#include "etcd3_message.h"

#include "base64.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Lease ID */

/* FNV-1a, with the terminating NUL: "ab" + "c" is not "a" + "bc". */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    do {
        hash ^= (unsigned char)*text;
        hash *= 0x100000001b3;
    } while (*text++);
    return hash;
}

/* MurmurHash3's finaliser: FNV-1a alone leaves the high bits of similar texts similar. */
static uint64_t hash_finish(uint64_t hash)
{
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccd;
    hash ^= hash >> 33;
    hash *= 0xc4ceb9fe1a85ec53;
    hash ^= hash >> 33;
    return hash;
}

int64_t etcd3_lease_id(const char *identity, const char *layout, const char *address, LeaseVariant variant)
{
    uint64_t hash = 0xcbf29ce484222325;

    hash = hash_text(hash, identity);
    hash = hash_text(hash, layout);
    hash = hash_text(hash, address ? "with address" : "plain");
    hash = hash_text(hash, address ? address : "");
    hash = hash_text(hash, variant == LEASE_A ? "A" : "B");
    int64_t id = (int64_t)(hash_finish(hash) & INT64_MAX);
    return id != 0 ? id : 1;
}

/* Building. Every value is base64, a number or a name of ours, so that nothing needs escaping; a tree of
 * cJSON nodes would take twenty allocations an operation. */

/* Writes the operation for one of the items. */
typedef void (*PutOp)(FILE *out, const void *items, size_t i, int64_t lease);

static void put_branch(FILE *out, const char *name, PutOp put, const void *items, size_t n, int64_t lease)
{
    fprintf(out, "\"%s\":[", name);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            fputc(',', out);
        put(out, items, i, lease);
    }
    fputc(']', out);
}

/* A transaction of n operations, and, if other is not NULL, n of something else by the name of other_name:
 * "compare" or "failure". */
static char *build_txn(PutOp success, const char *other_name, PutOp other, const void *items, size_t n, int64_t lease)
{
    TextStream stream;
    FILE *out = text_stream_open(&stream);

    if (!out)
        return NULL;
    fputc('{', out);
    put_branch(out, "success", success, items, n, lease);
    if (other) {
        fputc(',', out);
        put_branch(out, other_name, other, items, n, lease);
    }
    fputc('}', out);
    return text_stream_close(&stream, out);
}

static void put_text(FILE *out, const char *name, const char *text)
{
    fprintf(out, "\"%s\":\"", name);
    base64_write(out, text, strlen(text));
    fputc('"', out);
}

static void put_number(FILE *out, const char *name, int64_t number)
{
    fprintf(out, "\"%s\":\"%" PRId64 "\"", name, number);
}

static void put_put(FILE *out, const char *key, const char *value, int64_t lease)
{
    fputs("{\"request_put\":{", out);
    put_text(out, "key", key);
    fputc(',', out);
    put_text(out, "value", value);
    fputc(',', out);
    put_number(out, "lease", lease);
    fputs("}}", out);
}

static void put_keyed(FILE *out, const char *request, const char *key)
{
    fprintf(out, "{\"%s\":{", request);
    put_text(out, "key", key);
    fputs("}}", out);
}

static void put_compare_number(FILE *out, const char *key, const char *target, const char *field, int64_t number)
{
    fputc('{', out);
    put_text(out, "key", key);
    fprintf(out, ",\"target\":\"%s\",\"result\":\"EQUAL\",", target);
    put_number(out, field, number);
    fputc('}', out);
}

static void put_compare_lease(FILE *out, const char *key, int64_t lease)
{
    put_compare_number(out, key, "LEASE", "lease", lease);
}

static void put_value_differs(FILE *out, const char *key, const char *value)
{
    fputc('{', out);
    put_text(out, "key", key);
    fputs(",\"target\":\"VALUE\",\"result\":\"NOT_EQUAL\",", out);
    put_text(out, "value", value);
    fputc('}', out);
}

/* Three transactions, each in the failure branch of the one before it. The answer's nesting tells which
 * of the branches was taken. */

static void put_change_own(FILE *out, const StoreOp *op, int64_t lease)
{
    fputs("{\"request_txn\":{\"compare\":[", out);
    put_compare_lease(out, op->key, lease);
    fputc(',', out);
    put_value_differs(out, op->key, op->value);
    fputs("],\"success\":[", out);
    put_put(out, op->key, op->value, lease);
    fputs("],\"failure\":[", out);
    put_keyed(out, "request_range", op->key);
    fputs("]}}", out);
}

static void put_ensure(FILE *out, const StoreOp *op, int64_t lease)
{
    fputs("{\"request_txn\":{\"compare\":[", out);
    put_compare_number(out, op->key, "CREATE", "create_revision", 0);
    fputs("],\"success\":[", out);
    put_put(out, op->key, op->value, lease);
    fputs("],\"failure\":[", out);
    put_change_own(out, op, lease);
    fputs("]}}", out);
}

static void put_replace(FILE *out, const StoreOp *op, int64_t lease)
{
    fputs("{\"request_txn\":{\"compare\":[", out);
    put_compare_number(out, op->key, "MOD", "mod_revision", (int64_t)op->revision);
    fputs("],\"success\":[", out);
    put_put(out, op->key, op->value, lease);
    fputs("],\"failure\":[", out);
    put_ensure(out, op, lease);
    fputs("]}}", out);
}

static void put_remove(FILE *out, const StoreOp *op, int64_t lease)
{
    fputs("{\"request_txn\":{\"compare\":[", out);
    put_compare_lease(out, op->key, lease);
    fputs("],\"success\":[", out);
    put_keyed(out, "request_delete_range", op->key);
    fputs("]}}", out);
}

static void put_op(FILE *out, const void *ops, size_t i, int64_t lease)
{
    const StoreOp *op = (const StoreOp *)ops + i;

    switch (op->verb) {
    case STORE_ENSURE:
        put_ensure(out, op, lease);
        break;
    case STORE_REPLACE:
        put_replace(out, op, lease);
        break;
    case STORE_REMOVE:
        put_remove(out, op, lease);
        break;
    case STORE_REFRESH: /* the lease's business */
    case STORE_PEEK:
        put_keyed(out, "request_range", op->key);
        break;
    }
}

static void put_intention(FILE *out, const void *ops, size_t i, int64_t lease)
{
    const StoreOp *op = (const StoreOp *)ops + i;

    (void)lease;
    switch (op->verb) {
    case STORE_ENSURE:
    case STORE_REPLACE:
        put_keyed(out, "request_put", op->key);
        break;
    case STORE_REMOVE:
        put_keyed(out, "request_delete_range", op->key);
        break;
    case STORE_REFRESH:
    case STORE_PEEK:
        put_keyed(out, "request_range", op->key);
        break;
    }
}

char *etcd3_build_apply(const StoreOp *ops, size_t n, int64_t lease, bool with_intentions)
{
    /* Without a condition of its own, since each operation brings its own, nested: the failure branch is never
     * taken. */
    return build_txn(put_op, "failure", with_intentions ? put_intention : NULL, ops, n, lease);
}

bool etcd3_is_plain(const StoreOp *ops, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool creates = ops[i].verb == STORE_ENSURE && !ops[i].previous && !ops[i].attempted && ops[i].revision == 0;

        if (!creates && ops[i].verb != STORE_REMOVE)
            return false;
    }
    return true;
}

static void put_plain_compare(FILE *out, const void *ops, size_t i, int64_t lease)
{
    const StoreOp *op = (const StoreOp *)ops + i;

    if (op->verb == STORE_REMOVE)
        put_compare_lease(out, op->key, lease);
    else
        put_compare_number(out, op->key, "CREATE", "create_revision", 0);
}

static void put_plain_op(FILE *out, const void *ops, size_t i, int64_t lease)
{
    const StoreOp *op = (const StoreOp *)ops + i;

    if (op->verb == STORE_REMOVE)
        put_keyed(out, "request_delete_range", op->key);
    else
        put_put(out, op->key, op->value, lease);
}

char *etcd3_build_plain(const StoreOp *ops, size_t n, int64_t lease)
{
    return build_txn(put_plain_op, "compare", put_plain_compare, ops, n, lease);
}

size_t etcd3_op_size(const StoreOp *op)
{
    size_t key = strlen(op->key), value = op->value ? strlen(op->value) : 0;

    /* REPLACE names its key nine times and its value four times. */
    return 256 + 9 * key + 4 * value;
}

static void put_range(FILE *out, const void *keys, size_t i, int64_t lease)
{
    (void)lease;
    put_keyed(out, "request_range", ((const Etcd3Key *)keys)[i].key);
}

char *etcd3_build_ranges(const Etcd3Key *keys, size_t n)
{
    return build_txn(put_range, NULL, NULL, keys, n, 0);
}

static void put_move(FILE *out, const void *keys, size_t i, int64_t to)
{
    const Etcd3Key *key = (const Etcd3Key *)keys + i;

    fputs("{\"request_txn\":{\"compare\":[", out);
    put_compare_lease(out, key->key, key->lease);
    fputc(',', out);
    put_compare_number(out, key->key, "MOD", "mod_revision", (int64_t)key->revision);
    fputs("],\"success\":[", out);
    put_put(out, key->key, key->value, to);
    fputs("]}}", out);
}

char *etcd3_build_move(const Etcd3Key *keys, size_t n, int64_t to)
{
    return build_txn(put_move, NULL, NULL, keys, n, to);
}

/* User and password are anybody's text: this one is cJSON's. */
char *etcd3_build_authenticate(const char *user, const char *password)
{
    CLEANUP_JSON cJSON *json = cJSON_CreateObject();

    if (!cJSON_AddStringToObject(json, "name", user) || !cJSON_AddStringToObject(json, "password", password))
        return NULL;
    return cJSON_PrintUnformatted(json);
}

static char *build_lease(int64_t id, const char *more)
{
    char *text;

    return asprintf(&text, "{\"ID\":\"%" PRId64 "\"%s}", id, more) < 0 ? NULL : text;
}

char *etcd3_build_lease(int64_t id)
{
    return build_lease(id, "");
}

char *etcd3_build_time_to_live(int64_t id)
{
    return build_lease(id, ",\"keys\":true");
}

char *etcd3_build_grant(int64_t id, unsigned ttl_s)
{
    char more[32];

    snprintf(more, sizeof(more), ",\"TTL\":\"%u\"", ttl_s);
    return build_lease(id, more);
}

/* Reading */

GrpcCode etcd3_parse_error(const cJSON *json, const char **ret_message)
{
    /* Streaming calls wrap it; there, the code was called grpc_code once. */
    const cJSON *wrapped = json_get(json, "error");
    const cJSON *error = cJSON_IsObject(wrapped) ? wrapped : json;
    const char *message = json_string(error, "message");
    int64_t code = json_int64(error, "code", json_int64(error, "grpc_code", GRPC_OK));

    *ret_message = message ? message : "";
    return code > 0 && code < 64 ? (GrpcCode)code : GRPC_OK;
}

int64_t etcd3_parse_ttl(const cJSON *json)
{
    const cJSON *result = json_get(json, "result");

    return json_int64(result ? result : json, "TTL", 0);
}

/* *ret is NULL when the text holds a NUL: no key or value of ours does. */
static int decode_text(char **ret, const char *base64)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;

    int r = base64_decode(&text, &size, base64);
    if (r < 0)
        return r;
    *ret = strlen(text) == size ? TAKE_PTR(text) : NULL;
    return 0;
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

int etcd3_parse_time_to_live(const cJSON *json, Etcd3Lease *lease)
{
    const cJSON *keys = json_get(json, "keys"), *item;
    int n = cJSON_IsArray(keys) ? cJSON_GetArraySize(keys) : 0;

    lease->ttl_s = json_int64(json, "TTL", 0);
    lease->granted_ttl_s = json_int64(json, "grantedTTL", 0);
    if (n == 0)
        return 0;
    lease->keys = calloc((size_t)n, sizeof(*lease->keys));
    if (!lease->keys)
        return -ENOMEM;
    cJSON_ArrayForEach (item, keys) {
        Etcd3Key *key = &lease->keys[lease->n_keys];
        int r = cJSON_IsString(item) ? decode_text(&key->key, item->valuestring) : -EBADMSG;
        if (r < 0) {
            etcd3_lease_clear_keys(lease);
            return r;
        }
        if (!key->key)
            continue;
        key->lease = lease->id;
        lease->n_keys++;
    }
    return 0;
}

/* The array of a transaction's answers, NULL unless there are n of them. */
static const cJSON *parse_responses(const cJSON *json, size_t n)
{
    const cJSON *responses = json_get(json, "responses");

    if (!cJSON_IsArray(responses) || (size_t)cJSON_GetArraySize(responses) != n)
        return NULL;
    return responses->child;
}

static const cJSON *range_kv(const cJSON *response)
{
    const cJSON *kvs = json_get(json_get(response, "response_range"), "kvs");

    return cJSON_IsArray(kvs) ? cJSON_GetArrayItem(kvs, 0) : NULL;
}

static int parse_kv_value(const cJSON *kv, char **ret)
{
    const char *text = json_string(kv, "value");

    return decode_text(ret, text ? text : "");
}

int etcd3_parse_ranges(const cJSON *json, Etcd3Key *keys, size_t n)
{
    const cJSON *response = parse_responses(json, n);

    if (!response)
        return -EBADMSG;
    for (size_t i = 0; i < n; i++, response = response->next) {
        const cJSON *kv = range_kv(response);
        if (!kv)
            continue;
        free(keys[i].value);
        keys[i].value = NULL;
        int r = parse_kv_value(kv, &keys[i].value);
        if (r < 0)
            return r;
        keys[i].revision = (uint64_t)json_int64(kv, "mod_revision", 0);
        keys[i].lease = json_int64(kv, "lease", 0);
    }
    return 0;
}

static bool txn_succeeded(const cJSON *txn)
{
    return cJSON_IsTrue(json_get(txn, "succeeded"));
}

int etcd3_parse_move(const cJSON *json, Etcd3Key *keys, size_t n, int64_t to)
{
    const cJSON *response = parse_responses(json, n);

    if (!response)
        return -EBADMSG;
    for (size_t i = 0; i < n; i++, response = response->next) {
        if (txn_succeeded(json_get(response, "response_txn")))
            keys[i].lease = to;
    }
    return 0;
}

static bool contains_lease(const int64_t *leases, size_t n, int64_t lease)
{
    for (size_t i = 0; i < n; i++) {
        if (leases[i] == lease)
            return true;
    }
    return false;
}

static int op_set_held(StoreOp *op, const cJSON *kv, char *value)
{
    size_t size = value ? strlen(value) : 0;

    if (size > ETCD3_HOLDER_MAX)
        value[ETCD3_HOLDER_MAX] = '\0';
    op->holder = strdup(value ? value : "(binary)");
    if (!op->holder)
        return -ENOMEM;
    op->revision = (uint64_t)json_int64(kv, "mod_revision", 0);
    op->outcome = STORE_OP_HELD;
    return 0;
}

/* What was found when nothing was written. */
static int op_set_found(StoreOp *op, const cJSON *kv, int64_t lease, const int64_t *others, size_t n_others)
{
    CLEANUP_FREE char *value = NULL;

    if (!kv) {
        /* A write of a key that is not there cannot fail: an answer that says so says nothing. */
        op->outcome = op->verb == STORE_PEEK ? STORE_OP_LOST : STORE_OP_FAILED;
        return 0;
    }
    int r = parse_kv_value(kv, &value);
    if (r < 0)
        return r;
    int64_t holder = json_int64(kv, "lease", 0);
    bool same = value && op->value && strcmp(value, op->value) == 0;
    if (holder == lease)
        op->outcome = same ? STORE_OP_DONE : STORE_OP_CHANGED;
    else if (holder != 0 && contains_lease(others, n_others, holder))
        op->outcome = STORE_OP_CHANGED;
    else
        return op_set_held(op, kv, value);
    return 0;
}

/* Down the failure branches to the one that was taken. */
static int parse_op(const cJSON *response, StoreOp *op, int64_t lease, const int64_t *others, size_t n_others)
{
    for (unsigned depth = 0; depth < 4; depth++) {
        const cJSON *txn = json_get(response, "response_txn");
        if (!txn || op->verb == STORE_PEEK || op->verb == STORE_REFRESH) /* those two ask for no transaction */
            return json_get(response, "response_range") ? op_set_found(op, range_kv(response), lease, others, n_others)
                                                        : -EBADMSG;
        op->wrote = txn_succeeded(txn);
        if (op->wrote || op->verb == STORE_REMOVE) {
            op->outcome = STORE_OP_DONE;
            return 0;
        }
        response = parse_responses(txn, 1);
        if (!response)
            return -EBADMSG;
    }
    return -EBADMSG;
}

int etcd3_parse_apply(const cJSON *json, StoreOp *ops, size_t n, int64_t lease, const int64_t *others, size_t n_others)
{
    const cJSON *response = parse_responses(json, n);

    if (!response)
        return -EBADMSG;
    for (size_t i = 0; i < n; i++, response = response->next) {
        int r = parse_op(response, &ops[i], lease, others, n_others);
        if (r < 0)
            return r;
    }
    return 0;
}

bool etcd3_parse_plain(const cJSON *json, StoreOp *ops, size_t n)
{
    if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "succeeded")))
        return false;
    for (size_t i = 0; i < n; i++) {
        ops[i].outcome = STORE_OP_DONE;
        ops[i].wrote = true;
    }
    return true;
}
