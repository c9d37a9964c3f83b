/* etcd's v3 gateway in the test's own loop: leases, keys and transactions, as far as the agent uses them. Include
 * after cmocka.h. */
#pragma once

#include "base/base64.h"
#include "base/json.h"
#include "unit/fake_http.h"

#include <inttypes.h>

enum { FAKE_KEYS_MAX = 16, FAKE_LEASES_MAX = 16 };

typedef struct FakeKey {
    char key[128], value[128];
    int64_t lease, revision;
} FakeKey;

typedef struct FakeLease {
    int64_t id, ttl_s;
} FakeLease;

typedef struct FakeEtcd3 {
    FakeServer *server;
    FakeKey keys[FAKE_KEYS_MAX];
    size_t n_keys;
    FakeLease leases[FAKE_LEASES_MAX];
    size_t n_leases;
    int64_t revision;
    const char *held_call; /* the fake does not answer this call, but keeps its connection in held */
    FakeConnection *held;
    char held_request[8192];
    bool is_away; /* each answer is an error 503 */
    unsigned n_calls, n_puts, n_keepalives, n_v2;
    char v2[4096]; /* the methods, paths and bodies of the v2 API, a line each */
} FakeEtcd3;

static inline FakeKey *etcd3_key(FakeEtcd3 *etcd, const char *key)
{
    for (size_t i = 0; i < etcd->n_keys; i++)
        if (strcmp(etcd->keys[i].key, key) == 0)
            return &etcd->keys[i];
    return NULL;
}

static inline FakeLease *etcd3_lease(FakeEtcd3 *etcd, int64_t id)
{
    for (size_t i = 0; i < etcd->n_leases; i++)
        if (etcd->leases[i].id == id)
            return &etcd->leases[i];
    return NULL;
}

static inline void etcd3_put(FakeEtcd3 *etcd, const char *key, const char *value, int64_t lease)
{
    FakeKey *found = etcd3_key(etcd, key);

    assert_true(found || etcd->n_keys < FAKE_KEYS_MAX);
    if (!found)
        found = &etcd->keys[etcd->n_keys++];
    (void)snprintf(found->key, sizeof(found->key), "%s", key);
    (void)snprintf(found->value, sizeof(found->value), "%s", value);
    found->lease = lease;
    found->revision = ++etcd->revision;
}

static inline void etcd3_grant(FakeEtcd3 *etcd, int64_t id, int64_t ttl_s)
{
    assert_true(etcd->n_leases < FAKE_LEASES_MAX);
    etcd->leases[etcd->n_leases++] = (FakeLease){ id, ttl_s };
}

static inline void etcd3_end_lease(FakeEtcd3 *etcd, int64_t id)
{
    FakeLease *lease = etcd3_lease(etcd, id);

    if (lease)
        *lease = etcd->leases[--etcd->n_leases];
    for (size_t i = etcd->n_keys; i-- > 0;)
        if (etcd->keys[i].lease == id)
            etcd->keys[i] = etcd->keys[--etcd->n_keys];
}

static inline char *etcd3_text(const cJSON *json, const char *name)
{
    char *text = NULL;
    size_t size;

    assert_int_equal(base64_decode(&text, &size, json_string(json, name)), 0);
    return text;
}

static inline void etcd3_print_text(FILE *out, const char *text)
{
    fputc('"', out);
    base64_write(out, text, strlen(text));
    fputc('"', out);
}

static inline bool etcd3_holds(FakeEtcd3 *etcd, const cJSON *compare)
{
    CLEANUP_FREE char *key = etcd3_text(compare, "key");
    const FakeKey *found = etcd3_key(etcd, key);
    const char *target = json_string(compare, "target");

    if (strcmp(target, "LEASE") == 0)
        return json_int64(compare, "lease", 0) == (found ? found->lease : 0);
    if (strcmp(target, "MOD") == 0)
        return json_int64(compare, "mod_revision", 0) == (found ? found->revision : 0);
    CLEANUP_FREE char *value = etcd3_text(compare, "value");
    return found && strcmp(found->value, value) != 0;
}

static inline void etcd3_range(FakeEtcd3 *etcd, const cJSON *range, FILE *out)
{
    CLEANUP_FREE char *key = etcd3_text(range, "key");
    const FakeKey *found = etcd3_key(etcd, key);

    fputs("{\"response_range\":{", out);
    if (found) {
        fprintf(out, "\"kvs\":[{\"mod_revision\":\"%" PRId64 "\",\"lease\":\"%" PRId64 "\",\"value\":", found->revision,
                found->lease);
        etcd3_print_text(out, found->value);
        fputs("}]", out);
    }
    fputs("}}", out);
}

static inline void etcd3_txn(FakeEtcd3 *etcd, const cJSON *txn, FILE *out);

static inline void etcd3_operation(FakeEtcd3 *etcd, const cJSON *operation, FILE *out)
{
    const cJSON *put = json_get(operation, "request_put"), *range = json_get(operation, "request_delete_range");

    if (put) {
        CLEANUP_FREE char *key = etcd3_text(put, "key");
        CLEANUP_FREE char *value = etcd3_text(put, "value");

        assert_non_null(etcd3_lease(etcd, json_int64(put, "lease", 0)));
        etcd3_put(etcd, key, value, json_int64(put, "lease", 0));
        etcd->n_puts++;
        fputs("{\"response_put\":{}}", out);
    } else if (range) {
        CLEANUP_FREE char *key = etcd3_text(range, "key");
        FakeKey *found = etcd3_key(etcd, key);

        fprintf(out, "{\"response_delete_range\":{\"deleted\":\"%d\"}}", found ? 1 : 0);
        if (found)
            *found = etcd->keys[--etcd->n_keys];
    } else if (json_get(operation, "request_txn")) {
        fputs("{\"response_txn\":", out);
        etcd3_txn(etcd, json_get(operation, "request_txn"), out);
        fputc('}', out);
    } else {
        etcd3_range(etcd, json_get(operation, "request_range"), out);
    }
}

static inline void etcd3_txn(FakeEtcd3 *etcd, const cJSON *txn, FILE *out)
{
    const cJSON *item;
    const char *comma = "";
    bool holds = true;

    cJSON_ArrayForEach (item, json_get(txn, "compare"))
        holds = holds && etcd3_holds(etcd, item);
    fprintf(out, "{\"succeeded\":%s,\"responses\":[", holds ? "true" : "false");
    cJSON_ArrayForEach (item, json_get(txn, holds ? "success" : "failure")) {
        fputs(comma, out);
        etcd3_operation(etcd, item, out);
        comma = ",";
    }
    fprintf(out, "],\"header\":{\"revision\":\"%" PRId64 "\"}}", etcd->revision);
}

static inline void etcd3_time_to_live(FakeEtcd3 *etcd, int64_t id, FILE *out)
{
    const FakeLease *lease = etcd3_lease(etcd, id);
    const char *comma = "";

    fprintf(out, "{\"header\":{\"revision\":\"%" PRId64 "\"},\"TTL\":\"%d\",\"grantedTTL\":\"%" PRId64 "\",\"keys\":[",
            etcd->revision, lease ? 5 : -1, lease ? lease->ttl_s : 0);
    for (size_t i = 0; i < etcd->n_keys; i++) {
        if (etcd->keys[i].lease != id)
            continue;
        fputs(comma, out);
        etcd3_print_text(out, etcd->keys[i].key);
        comma = ",";
    }
    fputs("]}", out);
}

static inline void etcd3_call_lease(FakeEtcd3 *etcd, const char *call, const cJSON *json, FILE *out)
{
    int64_t id = json_int64(json, "ID", 0);
    const FakeLease *lease = etcd3_lease(etcd, id);

    if (strcmp(call, "timetolive") == 0) {
        etcd3_time_to_live(etcd, id, out);
    } else if (strcmp(call, "keepalive") == 0) {
        etcd->n_keepalives++;
        fprintf(out, lease ? "{\"result\":{\"TTL\":\"%" PRId64 "\"}}" : "{\"result\":{}}", lease ? lease->ttl_s : 0);
    } else if (strcmp(call, "grant") == 0) {
        assert_null(lease);
        etcd3_grant(etcd, id, json_int64(json, "TTL", 0));
        fprintf(out, "{\"TTL\":\"%" PRId64 "\"}", json_int64(json, "TTL", 0));
    } else {
        assert_string_equal(call, "revoke");
        etcd3_end_lease(etcd, id);
        fputs("{}", out);
    }
}

static inline void etcd3_answer(FakeConnection *connection, const char *request)
{
    FakeEtcd3 *etcd = connection->server->userdata;
    CLEANUP_JSON cJSON *json = NULL;
    CLEANUP_FREE char *text = NULL;
    const char *body = strstr(request, "\r\n\r\n") + 4;
    char path[256] = "";
    size_t size;
    FILE *out;

    assert_int_equal(sscanf(request, "%*s %255s", path), 1);
    const char *call = strrchr(path, '/') + 1;
    etcd->n_calls++;
    if (etcd->held_call && strcmp(etcd->held_call, call) == 0) {
        etcd->held = connection;
        (void)snprintf(etcd->held_request, sizeof(etcd->held_request), "%s", request);
        return;
    }
    if (etcd->is_away) {
        fake_answer(connection, "503 Service Unavailable", "", "no leader");
        return;
    }
    if (strncmp(path, "/v2/", 4) == 0) {
        size_t used = strlen(etcd->v2);

        etcd->n_v2++;
        (void)snprintf(etcd->v2 + used, sizeof(etcd->v2) - used, "%.*s%s %s\n", (int)(strcspn(request, " ") + 1),
                       request, path, body);
        fake_answer(connection, "201 Created", "",
                    "{\"action\":\"create\",\"node\":{\"key\":\"/k\",\"value\":\"v\",\"ttl\":30,\"modifiedIndex\":7,"
                    "\"createdIndex\":7}}");
        return;
    }
    out = open_memstream(&text, &size);
    assert_non_null(out);
    (void)json_parse(&json, body, strlen(body));
    if (strcmp(call, "version") == 0)
        fputs("{\"etcdserver\":\"3.4.0\",\"etcdcluster\":\"3.4.0\"}", out);
    else if (strcmp(call, "txn") == 0)
        etcd3_txn(etcd, json, out);
    else
        etcd3_call_lease(etcd, call, json, out);
    (void)fclose(out);
    fake_answer(connection, "200 OK", "", text);
}

/* Answers the call that was held. */
static inline void etcd3_resume(FakeEtcd3 *etcd)
{
    FakeConnection *held = etcd->held;

    etcd->held_call = NULL;
    etcd->held = NULL;
    if (held)
        etcd3_answer(held, etcd->held_request);
}
