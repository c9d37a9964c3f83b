#include "etcd/etcd3_message.h"

#include "base/base64.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Each value is base64, a number or a fixed name, so the JSON needs no escaping. A tree of cJSON nodes would take
 * twenty allocations for each operation. */

/* Writes the operation for item i. */
typedef void (*PutOp)(FILE *out, const void *items, size_t i, int64_t lease);

static char *build_txn(PutOp success, const void *items, size_t n, int64_t lease)
{
    TextStream stream;
    FILE *out = text_stream_open(&stream);

    if (!out)
        return NULL;
    fputs("{\"success\":[", out);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            fputc(',', out);
        success(out, items, i, lease);
    }
    fputs("]}", out);
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

static void put_compare_revision(FILE *out, const char *key, uint64_t revision)
{
    put_compare_number(out, key, "MOD", "mod_revision", (int64_t)revision);
}

static void put_value_differs(FILE *out, const char *key, const char *value)
{
    fputc('{', out);
    put_text(out, "key", key);
    fputs(",\"target\":\"VALUE\",\"result\":\"NOT_EQUAL\",", out);
    put_text(out, "value", value);
    fputc('}', out);
}

bool etcd3_op_writes(const StoreOp *op)
{
    return op->verb != STORE_PEEK && op->verb != STORE_REFRESH; /* with v3, only the lease is renewed */
}

/* Is the key possibly as wanted already? Then the transaction does not write it again, because a write wakes
 * watchers. */
static bool op_may_be_as_wanted(const StoreOp *op)
{
    return op->verb == STORE_ENSURE && op->known > 0 && (!op->previous || strcmp(op->previous, op->value) == 0);
}

static uint64_t op_expected(const StoreOp *op)
{
    return op->verb == STORE_REPLACE && op->revision > 0 ? op->revision : op->known;
}

size_t etcd3_op_compares(const StoreOp *op)
{
    return op_may_be_as_wanted(op) ? 2 : 1;
}

static void put_op(FILE *out, const StoreOp *op, int64_t lease)
{
    if (!etcd3_op_writes(op))
        put_keyed(out, "request_range", op->key);
    else if (op->verb == STORE_REMOVE)
        put_keyed(out, "request_delete_range", op->key);
    else
        put_put(out, op->key, op->value, lease);
}

char *etcd3_build_apply(StoreOp *const *ops, size_t n, int64_t lease)
{
    TextStream stream;
    FILE *out = text_stream_open(&stream);
    const char *comma = "";

    if (!out)
        return NULL;
    fputs("{\"compare\":[", out);
    for (size_t i = 0; i < n; i++) {
        if (!etcd3_op_writes(ops[i]))
            continue;
        fputs(comma, out);
        put_compare_revision(out, ops[i]->key, op_expected(ops[i]));
        if (op_may_be_as_wanted(ops[i])) {
            fputc(',', out);
            put_value_differs(out, ops[i]->key, ops[i]->value);
        }
        comma = ",";
    }
    fputs("],\"success\":[", out);
    for (size_t i = 0; i < n; i++) {
        fputs(i > 0 ? "," : "", out);
        put_op(out, ops[i], lease);
    }
    fputs("],\"failure\":[", out);
    for (size_t i = 0; i < n; i++) {
        fputs(i > 0 ? "," : "", out);
        put_keyed(out, "request_range", ops[i]->key);
    }
    fputs("]}", out);
    return text_stream_close(&stream, out);
}

size_t etcd3_op_size(const StoreOp *op)
{
    size_t key = strlen(op->key), value = op->value ? strlen(op->value) : 0;

    /* Two comparisons, the operation, and the read of the key if a comparison fails. */
    return 256 + 4 * key + 2 * value;
}

static void put_range(FILE *out, const void *keys, size_t i, int64_t lease)
{
    (void)lease;
    put_keyed(out, "request_range", ((const Etcd3Key *)keys)[i].key);
}

char *etcd3_build_ranges(const Etcd3Key *keys, size_t n)
{
    return build_txn(put_range, keys, n, 0);
}

static void put_range_without_value(FILE *out, const void *keys, size_t i, int64_t lease)
{
    (void)lease;
    fputs("{\"request_range\":{", out);
    put_text(out, "key", ((const Etcd3Key *)keys)[i].key);
    fputs(",\"keys_only\":true}}", out);
}

char *etcd3_build_ranges_without_values(const Etcd3Key *keys, size_t n)
{
    return build_txn(put_range_without_value, keys, n, 0);
}

static void put_move(FILE *out, const void *keys, size_t i, int64_t to)
{
    const Etcd3Key *key = (const Etcd3Key *)keys + i;

    fputs("{\"request_txn\":{\"compare\":[", out);
    put_compare_number(out, key->key, "LEASE", "lease", key->lease);
    fputc(',', out);
    put_compare_revision(out, key->key, key->revision);
    fputs("],\"success\":[", out);
    put_put(out, key->key, key->value, to);
    fputs("]}}", out);
}

char *etcd3_build_move(const Etcd3Key *keys, size_t n, int64_t to)
{
    return build_txn(put_move, keys, n, to);
}

/* User and password may contain any character, so cJSON writes this body. */
char *etcd3_build_authenticate(const char *user, const char *password)
{
    CLEANUP_JSON cJSON *json = cJSON_CreateObject();

    if (!cJSON_AddStringToObject(json, "name", user) || !cJSON_AddStringToObject(json, "password", password))
        return NULL;
    return cJSON_PrintUnformatted(json);
}

static char *build_lease(int64_t id, const char *more)
{
    return text_format("{\"ID\":\"%" PRId64 "\"%s}", id, more);
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
