#include "etcd/etcd3_message.h"

#include "base/base64.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>

GrpcCode etcd3_parse_error(const cJSON *json, const char **ret_message)
{
    /* Streaming calls wrap the error. In them, older versions call the code grpc_code. */
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

/* *ret is NULL if the text contains a NUL, which no key or value of this agent does. */
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

/* etcd's revision at the time of the answer. It is also the mod revision of the keys that the transaction has
 * written. */
static uint64_t parse_revision(const cJSON *json)
{
    return (uint64_t)json_int64(json_get(json, "header"), "revision", 0);
}

int etcd3_parse_time_to_live(const cJSON *json, Etcd3Lease *lease)
{
    const cJSON *keys = json_get(json, "keys"), *item;
    int n = cJSON_IsArray(keys) ? cJSON_GetArraySize(keys) : 0;

    lease->ttl_s = json_int64(json, "TTL", 0);
    lease->granted_ttl_s = json_int64(json, "grantedTTL", 0);
    lease->revision = parse_revision(json);
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

/* The array of a transaction's answers; NULL unless it has n of them. */
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
        text_take(&keys[i].value, NULL);
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
        if (!txn_succeeded(json_get(response, "response_txn")))
            continue;
        keys[i].lease = to;
        keys[i].revision = parse_revision(json);
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

static int op_set_conflict(StoreOp *op, const cJSON *kv, char *value)
{
    size_t size = value ? strlen(value) : 0;

    if (size > ETCD3_HOLDER_MAX)
        value[ETCD3_HOLDER_MAX] = '\0';
    op->holder = strdup(value ? value : "(binary)");
    if (!op->holder)
        return -ENOMEM;
    op->revision = (uint64_t)json_int64(kv, "mod_revision", 0);
    op->outcome = STORE_OP_CONFLICT;
    return 0;
}

static bool value_is_known(const StoreOp *op, const char *value)
{
    const char *const known[] = { op->value, op->previous, op->attempted };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (known[i] && strcmp(known[i], value) == 0)
            return true;
    return false;
}

static int op_peeked(StoreOp *op, const cJSON *kv, const Etcd3Ours *ours, char *value)
{
    int64_t lease = json_int64(kv, "lease", 0);
    bool same = value && op->value && strcmp(value, op->value) == 0;

    if (lease == ours->lease)
        op->outcome = same ? STORE_OP_DONE : STORE_OP_CHANGED;
    else if (lease != 0 && contains_lease(ours->others, ours->n_others, lease))
        op->outcome = STORE_OP_CHANGED;
    else
        return op_set_conflict(op, kv, value);
    return 0;
}

/* Stores the key's state, after a transaction that has written nothing. The outcome stays STORE_OP_FAILED if the
 * next transaction may write the key with this knowledge. */
static int op_found(StoreOp *op, const cJSON *kv, const Etcd3Ours *ours, bool *clone)
{
    CLEANUP_FREE char *value = NULL;
    uint64_t revision = (uint64_t)json_int64(kv, "mod_revision", 0);
    bool under_lease, is_ours;

    if (!kv) {
        op->known = 0;
        op->revision = 0;
        if (!etcd3_op_writes(op))
            op->outcome = STORE_OP_LOST;
        else if (op->verb == STORE_REMOVE)
            op->outcome = STORE_OP_DONE;
        return 0;
    }
    int r = parse_kv_value(kv, &value);
    if (r < 0)
        return r;
    if (!etcd3_op_writes(op))
        return op_peeked(op, kv, ours, value);
    under_lease = json_int64(kv, "lease", 0) == ours->lease;
    is_ours = (revision > 0 && revision == op->known) ||
              (under_lease && value &&
               (value_is_known(op, value) ||
                (ours->writer && ours->writer(ours->userdata, op->key, value) == STORE_WRITER_THIS)));
    if (is_ours) {
        op->known = revision;
        op->revision = 0;
        if (under_lease && value && op->value && strcmp(value, op->value) == 0) {
            op->outcome = STORE_OP_DONE;
        } else if (!under_lease && op->verb == STORE_ENSURE) {
            /* The key may have the wanted value, but belongs to another lease. Write it whatever its value is. */
            op->verb = STORE_REPLACE;
            op->revision = revision;
        }
        return 0;
    }
    *clone = *clone || under_lease;
    if (op->verb == STORE_REMOVE) {
        op->known = 0;
        op->outcome = STORE_OP_DONE;
        return 0;
    }
    if (op->verb == STORE_REPLACE && revision > 0 && revision == op->revision)
        return 0;
    op->known = 0;
    return op_set_conflict(op, kv, value);
}

static int op_succeeded(StoreOp *op, const cJSON *response, const Etcd3Ours *ours, uint64_t revision)
{
    const cJSON *deleted = json_get(response, "response_delete_range");
    bool clone = false;

    if (!etcd3_op_writes(op))
        return json_get(response, "response_range") ? op_found(op, range_kv(response), ours, &clone) : -EBADMSG;
    if (!(op->verb == STORE_REMOVE ? deleted : json_get(response, "response_put")))
        return -EBADMSG;
    op->wrote = op->verb != STORE_REMOVE || json_int64(deleted, "deleted", 0) > 0;
    op->known = op->verb == STORE_REMOVE ? 0 : revision;
    op->revision = 0;
    op->outcome = STORE_OP_DONE;
    return 0;
}

int etcd3_parse_apply(const cJSON *json, StoreOp *const *ops, size_t n, const Etcd3Ours *ours, bool *ret_clone)
{
    const cJSON *response = parse_responses(json, n);
    bool succeeded = txn_succeeded(json), clone = false;

    if (!response)
        return -EBADMSG;
    for (size_t i = 0; i < n; i++, response = response->next) {
        int r;

        if (succeeded)
            r = op_succeeded(ops[i], response, ours, parse_revision(json));
        else if (json_get(response, "response_range"))
            r = op_found(ops[i], range_kv(response), ours, &clone);
        else
            r = -EBADMSG;
        if (r < 0)
            return r;
    }
    *ret_clone = clone;
    return 0;
}
