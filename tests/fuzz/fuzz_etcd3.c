/* Answers of etcd's v3 gateway. Whatever they are, every write stands under a condition, and hangs on a lease. */
#include "base/base64.h"
#include "etcd/etcd3_message.h"

#include "fuzz.h"
#include "store_driver.h"

#include <string.h>

static void check_branch(const cJSON *operations, bool guarded);

static void check_txn(const cJSON *txn, bool guarded)
{
    const cJSON *compare = json_get(txn, "compare");
    bool has_condition = cJSON_GetArraySize(compare) > 0;

    ENSURE(cJSON_IsObject(txn));
    check_branch(json_get(txn, "success"), guarded || has_condition);
    /* Whatever is not as expected is only read. */
    check_branch(json_get(txn, "failure"), false);
}

static void check_branch(const cJSON *operations, bool guarded)
{
    const cJSON *operation;

    cJSON_ArrayForEach (operation, operations) {
        const cJSON *put = json_get(operation, "request_put"), *txn = json_get(operation, "request_txn");

        if (put) {
            ENSURE(guarded);
            ENSURE(json_int64(put, "lease", 0) > 0);
            ENSURE(json_string(put, "value"));
        } else if (json_get(operation, "request_delete_range"))
            ENSURE(guarded && !json_get(json_get(operation, "request_delete_range"), "range_end"));
        else if (txn)
            check_txn(txn, guarded);
        else
            ENSURE(json_get(operation, "request_range"));
    }
}

static void check(const EtcdSpec *spec)
{
    cJSON *body;

    if (strcmp(spec->method, "GET") == 0) {
        ENSURE(strcmp(spec->path, "/version") == 0);
        return;
    }
    ENSURE(strcmp(spec->method, "POST") == 0 && strncmp(spec->path, "/v3", 3) == 0 && spec->body);
    body = cJSON_ParseWithOpts(spec->body, NULL, true);
    ENSURE(cJSON_IsObject(body));
    if (strstr(spec->path, "kv/txn"))
        check_txn(body, false);
    else if (strstr(spec->path, "lease/"))
        ENSURE(json_int64(body, "ID", 0) > 0);
    else
        ENSURE(strstr(spec->path, "auth/authenticate"));
    cJSON_Delete(body);
}

static void check_read_only(const EtcdSpec *spec)
{
    ENSURE(!spec->body || (!strstr(spec->body, "request_put") && !strstr(spec->body, "request_delete_range")));
    ENSURE(!strstr(spec->path, "lease/grant") && !strstr(spec->path, "lease/revoke"));
    check(spec);
}

static void run_apply(const uint8_t *data, size_t size, StoreOp *ops, size_t n, bool with_user)
{
    Drive drive = drive_begin(STORE_V3, (EtcdVersion){ 3, with_user ? 3 : 5 }, with_user, false);

    fake_etcd_rewind(data, size, check);
    drive_apply(&drive, ops, n);
    drive_end(&drive);
}

static void run_applies(const uint8_t *data, size_t size)
{
    StoreOp plain[] = {
        { .verb = STORE_ENSURE, .key = "/app/a", .value = "192.0.2.1:80" },
        { .verb = STORE_REMOVE, .key = "/app/b" },
        { .verb = STORE_ENSURE, .key = "/app/c", .value = "192.0.2.1:81" },
    };
    StoreOp mixed[] = {
        { .verb = STORE_ENSURE, .key = "/app/a", .value = "v2", .previous = "v1" },
        { .verb = STORE_REPLACE, .key = "/app/b", .value = "v1", .revision = 5 },
        { .verb = STORE_REMOVE, .key = "/app/e" },
        { .verb = STORE_PEEK, .key = "/app/g", .value = "v1" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(mixed); i++)
        run_apply(data, size, &mixed[i], 1, false);
    run_apply(data, size, mixed, ARRAY_SIZE(mixed), true);
    run_apply(data, size, plain, ARRAY_SIZE(plain), false);
    run_apply(data, size, plain, 1, false);
}

static void run_verbs(const uint8_t *data, size_t size)
{
    void (*const verbs[])(Drive *) = { drive_heartbeat, drive_resync };

    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        Drive drive = drive_begin(STORE_V3, (EtcdVersion){ 3, 4 }, i == 0, false);

        fake_etcd_rewind(data, size, check);
        verbs[i](&drive);
        drive_end(&drive);
    }
}

/* The backend's own opening: without the question for the version, which would take every first answer. */
static void run_opens(const uint8_t *data, size_t size)
{
    for (int read_only = 0; read_only < 2; read_only++) {
        Drive drive = drive_begin(STORE_V3, (EtcdVersion){ 3, 4 }, false, read_only);

        fake_etcd_rewind(data, size, read_only ? check_read_only : check);
        drive_open_backend(&drive);
        drive_end(&drive);
    }
    Drive drive = drive_begin(STORE_V3, (EtcdVersion){ 0, 0 }, true, false);
    fake_etcd_rewind(data, size, check);
    drive_open(&drive);
    drive_end(&drive);
}

static void ensure_base64(const uint8_t *data, size_t size)
{
    CLEANUP_FREE char *text = NULL, *decoded = NULL;
    size_t text_size, decoded_size = 0;
    FILE *out = open_memstream(&text, &text_size);

    ENSURE(out);
    base64_write(out, (const char *)data, size);
    ENSURE(fclose(out) == 0);
    ENSURE(base64_decode(&decoded, &decoded_size, text) == 0);
    ENSURE(decoded_size == size && memcmp(decoded, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ensure_base64(data, size);
    run_applies(data, size);
    run_verbs(data, size);
    run_opens(data, size);
    return 0;
}
