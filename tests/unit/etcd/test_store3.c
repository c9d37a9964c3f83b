/* Bodies of the v3 JSON gateway. tests/data/etcd holds the requests, and what etcd 3.3 to 3.6 answered to
 * them. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"
#include "etcd/etcd3_message.h"

#include <errno.h>
#include <string.h>

static const char *const versions[] = { "3.3", "3.4", "3.5", "3.6" };

static char *read_data(const char *name, const char *version)
{
    const char *srcdir = getenv("srcdir");
    char path[512];
    char *text = calloc(1, 65536);

    snprintf(path, sizeof(path), "%s/tests/data/etcd/v%s-%s.json", srcdir ? srcdir : ".", version, name);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s: %s", path, strerror(errno));
    assert_non_null(text);
    assert_true(fread(text, 1, 65535, file) > 0);
    fclose(file);
    return text;
}

static cJSON *read_json(const char *name, const char *version)
{
    CLEANUP_FREE char *text = read_data(name, version);
    cJSON *json = NULL;

    assert_int_equal(json_parse(&json, text, strlen(text)), 0);
    return json;
}

static StoreOp op_of(StoreVerb verb, const char *key, const char *value, uint64_t revision)
{
    return (StoreOp){ .verb = verb, .key = key, .value = value, .revision = revision };
}

enum { MIXED = 10 };

static void fill_mixed(StoreOp *ops)
{
    ops[0] = op_of(STORE_ENSURE, "/app/a", "v2", 0); /* ours, changed */
    ops[0].previous = "v1";
    ops[0].known = 2;
    ops[1] = op_of(STORE_ENSURE, "/app/b", "v1", 0); /* ours, as it should be */
    ops[1].known = 2;
    ops[2] = op_of(STORE_ENSURE, "/app/c", "v1", 0); /* by hand */
    ops[3] = op_of(STORE_ENSURE, "/app/d", "v1", 0); /* absent */
    ops[4] = op_of(STORE_REMOVE, "/app/e", NULL, 0); /* absent */
    ops[4].known = 9;
    ops[5] = op_of(STORE_REMOVE, "/app/f", NULL, 0); /* ours */
    ops[5].known = 2;
    ops[6] = op_of(STORE_PEEK, "/app/g", "v1", 0); /* absent */
    ops[7] = op_of(STORE_PEEK, "/app/h", "v1", 0); /* by hand */
    ops[8] = op_of(STORE_REPLACE, "/app/i", "v1", 5); /* by hand, as it was seen */
    ops[9] = op_of(STORE_REPLACE, "/app/j", "v1", 3); /* by hand, changed since */
}

static void builds_the_requests_that_were_recorded(void **state)
{
    StoreOp mixed[MIXED];
    StoreOp *all[MIXED], *rest[] = { &mixed[0], &mixed[3], &mixed[5], &mixed[8] };
    StoreOp created[] = { op_of(STORE_ENSURE, "/app/a", "v1", 0), op_of(STORE_ENSURE, "/app/b", "v1", 0),
                          op_of(STORE_ENSURE, "/app/f", "v1", 0) };
    Etcd3Key moved[] = { { (char *)"/app/a", (char *)"v2", 7, 777 },
                         { (char *)"/app/b", (char *)"v1", 2, 777 },
                         { (char *)"/app/c", (char *)"by hand", 3, 777 } };
    Etcd3Key ranges[] = { { .key = (char *)"/app/a" }, { .key = (char *)"/app/gone" }, { .key = (char *)"/app/c" } };

    (void)state;
    fill_mixed(mixed);
    for (size_t i = 0; i < MIXED; i++)
        all[i] = &mixed[i];
    StoreOp *const three[] = { &created[0], &created[1], &created[2] };
    struct {
        const char *name;
        char *body;
    } cases[] = {
        { "request-created", etcd3_build_apply(three, 3, 777) },
        { "request-mixed", etcd3_build_apply(all, MIXED, 777) },
        { "request-rest", etcd3_build_apply(rest, 4, 777) },
        { "request-move", etcd3_build_move(moved, 3, 778) },
        { "request-ranges", etcd3_build_ranges(ranges, 3) },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_FREE char *recorded = read_data(cases[i].name, "3");
        assert_string_equal(cases[i].body, recorded);
        free(cases[i].body);
    }
}

static void builds_the_small_requests(void **state)
{
    (void)state;
    CLEANUP_FREE char *grant = etcd3_build_grant(INT64_MAX, 30);
    CLEANUP_FREE char *lease = etcd3_build_lease(777);
    CLEANUP_FREE char *time_to_live = etcd3_build_time_to_live(777);
    CLEANUP_FREE char *authenticate = etcd3_build_authenticate("me", "a\"b\\");
    assert_string_equal(grant, "{\"ID\":\"9223372036854775807\",\"TTL\":\"30\"}");
    assert_string_equal(lease, "{\"ID\":\"777\"}");
    assert_string_equal(time_to_live, "{\"ID\":\"777\",\"keys\":true}");
    assert_string_equal(authenticate, "{\"name\":\"me\",\"password\":\"a\\\"b\\\\\"}");
}

static void expect_op(const StoreOp *op, StoreOutcome outcome, bool wrote, const char *holder, uint64_t revision)
{
    if (op->outcome != outcome || op->wrote != wrote)
        fail_msg("%s: outcome %d, wrote %d", op->key, op->outcome, op->wrote);
    if (holder) {
        assert_string_equal(op->holder, holder);
        assert_int_equal(op->revision, revision);
    } else
        assert_null(op->holder);
}

static const Etcd3Ours ours777 = { .lease = 777 };

static int parse_one(const cJSON *json, StoreOp *op, const Etcd3Ours *ours)
{
    StoreOp *const ops[] = { op };
    bool clone = false;
    int r = etcd3_parse_apply(json, ops, 1, ours, &clone);

    return r < 0 ? r : clone;
}

/* Two transactions: the first one meets keys that are not as expected, and writes nothing. */
static void reads_the_outcomes_of_a_batch(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        CLEANUP_JSON cJSON *mixed = read_json("apply-mixed", versions[i]), *rest = read_json("apply-rest", versions[i]);
        StoreOp ops[MIXED], *all[MIXED], *const unresolved[] = { &ops[0], &ops[3], &ops[5], &ops[8] };
        bool clone = true;

        fill_mixed(ops);
        for (size_t j = 0; j < MIXED; j++)
            all[j] = &ops[j];
        assert_int_equal(etcd3_parse_apply(mixed, all, MIXED, &ours777, &clone), 0);
        assert_false(clone);
        for (size_t j = 0; j < ARRAY_SIZE(unresolved); j++)
            assert_int_equal(unresolved[j]->outcome, STORE_OP_FAILED);
        expect_op(&ops[1], STORE_OP_DONE, false, NULL, 0);
        expect_op(&ops[2], STORE_OP_CONFLICT, false, "by hand", 3);
        expect_op(&ops[4], STORE_OP_DONE, false, NULL, 0);
        assert_int_equal(ops[4].known, 0);
        expect_op(&ops[6], STORE_OP_LOST, false, NULL, 0);
        expect_op(&ops[7], STORE_OP_CONFLICT, false, "by hand", 4);
        expect_op(&ops[9], STORE_OP_CONFLICT, false, "by hand", 6);

        assert_int_equal(etcd3_parse_apply(rest, unresolved, ARRAY_SIZE(unresolved), &ours777, &clone), 0);
        for (size_t j = 0; j < ARRAY_SIZE(unresolved); j++) {
            expect_op(unresolved[j], STORE_OP_DONE, true, NULL, 0);
            assert_int_equal(unresolved[j]->known, unresolved[j]->verb == STORE_REMOVE ? 0 : 7);
        }
        for (size_t j = 0; j < MIXED; j++)
            free(ops[j].holder);
    }
}

static StoreWriter find_writer(void *userdata, const char *key, const char *value)
{
    (void)key;
    if (strcmp(userdata, "") == 0)
        return STORE_WRITER_UNKNOWN;
    return strncmp(value, userdata, strlen(userdata)) == 0 ? STORE_WRITER_THIS : STORE_WRITER_OTHER;
}

/* A key under our lease is ours only by what this host wrote there. */
static void a_key_under_our_lease_may_be_a_clones(void **state)
{
    static const char answer[] = "{\"responses\":[{\"response_range\":{\"kvs\":[{\"mod_revision\":\"5\","
                                 "\"value\":\"djE=\",\"lease\":\"777\"}]}}]}";
    const struct {
        StoreOp op;
        const char *own; /* values that begin so are of this host; NULL, "": values do not say */
        int clone;
        StoreOutcome outcome;
        uint64_t known;
    } cases[] = {
        { { .verb = STORE_ENSURE, .value = "v2" }, NULL, 1, STORE_OP_CONFLICT, 0 },
        { { .verb = STORE_ENSURE, .value = "v2" }, "w", 1, STORE_OP_CONFLICT, 0 },
        { { .verb = STORE_ENSURE, .value = "v2" }, "", 1, STORE_OP_CONFLICT, 0 },
        { { .verb = STORE_ENSURE, .value = "v2", .known = 4 }, NULL, 1, STORE_OP_CONFLICT, 0 },
        { { .verb = STORE_ENSURE, .value = "v2", .known = 5 }, NULL, 0, STORE_OP_FAILED, 5 },
        { { .verb = STORE_ENSURE, .value = "v2" }, "v", 0, STORE_OP_FAILED, 5 },
        { { .verb = STORE_ENSURE, .value = "v2", .attempted = "v1" }, NULL, 0, STORE_OP_FAILED, 5 },
        { { .verb = STORE_ENSURE, .value = "v2", .previous = "v1", .known = 4 }, NULL, 0, STORE_OP_FAILED, 5 },
        { { .verb = STORE_ENSURE, .value = "v1" }, NULL, 0, STORE_OP_DONE, 5 },
        { { .verb = STORE_REMOVE }, NULL, 1, STORE_OP_DONE, 0 },
        { { .verb = STORE_REMOVE, .known = 4 }, NULL, 1, STORE_OP_DONE, 0 },
        { { .verb = STORE_REMOVE, .known = 5 }, NULL, 0, STORE_OP_FAILED, 5 },
        { { .verb = STORE_REMOVE, .attempted = "v1" }, NULL, 0, STORE_OP_FAILED, 5 },
        { { .verb = STORE_REPLACE, .value = "v2", .revision = 4 }, NULL, 1, STORE_OP_CONFLICT, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_JSON cJSON *json = NULL;
        Etcd3Ours ours = { .lease = 777,
                           .writer = cases[i].own ? find_writer : NULL,
                           .userdata = (void *)cases[i].own };
        StoreOp op = cases[i].op;

        op.key = "/app/a";
        assert_int_equal(json_parse(&json, answer, strlen(answer)), 0);
        assert_int_equal(parse_one(json, &op, &ours), cases[i].clone);
        assert_int_equal(op.outcome, cases[i].outcome);
        assert_int_equal(op.known, cases[i].known);
        assert_false(op.wrote);
        free(op.holder);
    }
}

static void a_look_tells_ours_from_others(void **state)
{
    static const char answer[] = "{\"responses\":[{\"response_range\":{\"kvs\":[{\"mod_revision\":\"5\","
                                 "\"value\":\"djE=\",\"lease\":\"9007199254740993\"}]}}]}";
    const int64_t others[] = { 0, 9007199254740993 };
    struct {
        const char *value;
        int64_t lease;
        size_t n_others;
        StoreOutcome outcome;
    } cases[] = {
        { "v1", 9007199254740993, 0, STORE_OP_DONE },
        { "v2", 9007199254740993, 0, STORE_OP_CHANGED },
        { "v1", 9007199254740992, 0, STORE_OP_CONFLICT }, /* the same, as doubles */
        { "v1", 777, 2, STORE_OP_CHANGED },
        { "v1", 777, 1, STORE_OP_CONFLICT },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_JSON cJSON *json = NULL;
        StoreOp op = op_of(STORE_PEEK, "/app/a", cases[i].value, 0);
        assert_int_equal(json_parse(&json, answer, strlen(answer)), 0);
        Etcd3Ours ours = { .lease = cases[i].lease, .others = others, .n_others = cases[i].n_others };
        assert_int_equal(parse_one(json, &op, &ours), 0);
        assert_int_equal(op.outcome, cases[i].outcome);
        assert_int_equal(op.holder != NULL, cases[i].outcome == STORE_OP_CONFLICT);
        free(op.holder);
    }
}

/* etcd bounds the comparisons of a transaction, too. */
static void only_a_value_that_may_be_there_is_compared(void **state)
{
    StoreOp op = op_of(STORE_ENSURE, "/app/a", "v1", 0);

    (void)state;
    assert_int_equal(etcd3_op_compares(&op), 1);
    op.known = 7;
    assert_int_equal(etcd3_op_compares(&op), 2);
    op.previous = "v0";
    assert_int_equal(etcd3_op_compares(&op), 1);
    op.previous = "v1";
    assert_int_equal(etcd3_op_compares(&op), 2);
    op.verb = STORE_REMOVE;
    assert_int_equal(etcd3_op_compares(&op), 1);
}

static void a_key_that_is_gone_is_created_by_the_next_transaction(void **state)
{
    static const char answer[] = "{\"responses\":[{\"response_range\":{}}]}";
    CLEANUP_JSON cJSON *json = NULL;
    StoreOp op = op_of(STORE_REPLACE, "/app/a", "v1", 5);

    (void)state;
    op.known = 4;
    assert_int_equal(json_parse(&json, answer, strlen(answer)), 0);
    assert_int_equal(parse_one(json, &op, &ours777), 0);
    assert_int_equal(op.outcome, STORE_OP_FAILED);
    assert_int_equal(op.known, 0);
    assert_int_equal(op.revision, 0);
}

/* Its value may be right, but the key would expire with the other lease. */
static void a_key_of_ours_on_another_lease_is_written(void **state)
{
    static const char answer[] = "{\"responses\":[{\"response_range\":{\"kvs\":[{\"mod_revision\":\"5\","
                                 "\"value\":\"djE=\",\"lease\":\"776\"}]}}]}";
    CLEANUP_JSON cJSON *json = NULL;
    StoreOp op = op_of(STORE_ENSURE, "/app/a", "v1", 0);

    (void)state;
    op.known = 5;
    assert_int_equal(json_parse(&json, answer, strlen(answer)), 0);
    assert_int_equal(parse_one(json, &op, &ours777), 0);
    assert_int_equal(op.outcome, STORE_OP_FAILED);
    assert_int_equal(op.verb, STORE_REPLACE);
    assert_int_equal(op.revision, 5);
    assert_int_equal(op.known, 5);
}

static void keys_without_lease_are_not_ours(void **state)
{
    static const char answer[] = "{\"responses\":[{\"response_range\":{\"kvs\":[{\"value\":\"djE=\"}]}}]}";
    const int64_t others[] = { 0 };
    CLEANUP_JSON cJSON *json = NULL;
    StoreOp op = op_of(STORE_PEEK, "/app/a", "v1", 0);

    (void)state;
    assert_int_equal(json_parse(&json, answer, strlen(answer)), 0);
    assert_int_equal(parse_one(json, &op, &(Etcd3Ours){ .lease = 777, .others = others, .n_others = 1 }), 0);
    assert_int_equal(op.outcome, STORE_OP_CONFLICT);
    free(op.holder);
}

static void refuses_an_answer_to_something_else(void **state)
{
    static const char *const answers[] = {
        "{}",
        "{\"responses\":{}}",
        "{\"responses\":[]}",
        "{\"responses\":[{}]}",
        "{\"responses\":[{},{}]}",
        "{\"responses\":[7]}",
        "{\"responses\":[{\"response_put\":{}}]}",
        "{\"succeeded\":true,\"responses\":[{\"response_range\":{}}]}",
        "{\"succeeded\":true,\"responses\":[{\"response_delete_range\":{}}]}",
        "{\"responses\":[{\"response_range\":{\"kvs\":[{\"value\":\"!\"}]}}]}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        CLEANUP_JSON cJSON *json = NULL;
        StoreOp op = op_of(STORE_ENSURE, "/app/a", "v1", 0);
        assert_int_equal(json_parse(&json, answers[i], strlen(answers[i])), 0);
        assert_int_equal(parse_one(json, &op, &ours777), -EBADMSG);
        assert_null(op.holder);
    }
    /* A question that is answered as if it were a write. */
    CLEANUP_JSON cJSON *json = NULL;
    static const char written[] = "{\"succeeded\":true,\"responses\":[{\"response_put\":{}}]}";
    StoreOp peek = op_of(STORE_PEEK, "/app/a", "v1", 0);
    assert_int_equal(json_parse(&json, written, strlen(written)), 0);
    assert_int_equal(parse_one(json, &peek, &ours777), -EBADMSG);
    assert_false(peek.wrote);
}

static void cuts_the_values_of_others(void **state)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;
    CLEANUP_JSON cJSON *json = NULL;
    StoreOp op = op_of(STORE_PEEK, "/app/a", "v1", 0);

    (void)state;
    FILE *out = open_memstream(&text, &size);
    fputs("{\"responses\":[{\"response_range\":{\"kvs\":[{\"value\":\"", out);
    for (unsigned i = 0; i < 10000; i++)
        fputs("eHh4", out);
    fputs("\"}]}}]}", out);
    fclose(out);
    assert_int_equal(json_parse(&json, text, size), 0);
    assert_int_equal(parse_one(json, &op, &ours777), 0);
    assert_int_equal(op.outcome, STORE_OP_CONFLICT);
    assert_int_equal(strlen(op.holder), ETCD3_HOLDER_MAX);
    free(op.holder);
}

static void reads_the_keys_of_a_lease(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        CLEANUP_JSON cJSON *found = read_json("timetolive", versions[i]);
        CLEANUP_JSON cJSON *none = read_json("timetolive-none", versions[i]);
        Etcd3Lease lease = { .id = 777 };
        unsigned seen = 0;

        assert_int_equal(etcd3_parse_time_to_live(found, &lease), 0);
        assert_in_range(lease.ttl_s, 20, 30);
        assert_int_equal(lease.granted_ttl_s, 30);
        assert_int_equal(lease.n_keys, 4); /* a, b, d, i, and not f, which was removed */
        for (size_t j = 0; j < lease.n_keys; j++) {
            assert_int_equal(lease.keys[j].lease, 777);
            assert_memory_equal(lease.keys[j].key, "/app/", 5);
            seen |= 1u << (lease.keys[j].key[5] - 'a');
        }
        assert_int_equal(seen, 1u << 0 | 1u << 1 | 1u << 3 | 1u << 8);
        etcd3_lease_clear_keys(&lease);
        assert_int_equal(etcd3_parse_time_to_live(none, &lease), 0);
        assert_int_equal(lease.ttl_s, -1);
        assert_int_equal(lease.n_keys, 0);
    }
}

static void reads_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        CLEANUP_JSON cJSON *json = read_json("ranges", versions[i]);
        Etcd3Key keys[3] = { 0 };

        assert_int_equal(etcd3_parse_ranges(json, keys, 3), 0);
        assert_string_equal(keys[0].value, "v2");
        assert_int_equal(keys[0].lease, 777);
        assert_int_equal(keys[0].revision, 7);
        assert_null(keys[1].value);
        assert_string_equal(keys[2].value, "by hand");
        assert_int_equal(keys[2].lease, 0);
        assert_int_equal(etcd3_parse_ranges(json, keys, 2), -EBADMSG);
        free(keys[0].value);
        free(keys[2].value);
    }
}

static void reads_which_keys_moved(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        CLEANUP_JSON cJSON *json = read_json("move", versions[i]);
        Etcd3Key keys[3] = { { .lease = 777 }, { .lease = 777 }, { .lease = 777 } };

        assert_int_equal(etcd3_parse_move(json, keys, 3, 778), 0);
        assert_int_equal(keys[0].lease, 778);
        assert_int_equal(keys[1].lease, 778);
        assert_int_equal(keys[0].revision, 8);
        assert_int_equal(keys[2].lease, 777); /* no lease held it */
    }
}

static void reads_ttls(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        CLEANUP_JSON cJSON *granted = read_json("grant", versions[i]);
        CLEANUP_JSON cJSON *kept = read_json("keepalive", versions[i]);
        CLEANUP_JSON cJSON *gone = read_json("keepalive-none", versions[i]);

        assert_int_equal(etcd3_parse_ttl(granted), 30);
        assert_int_equal(etcd3_parse_ttl(kept), 30);
        assert_int_equal(etcd3_parse_ttl(gone), 0);
    }
}

static void reads_errors(void **state)
{
    static const struct {
        const char *name;
        GrpcCode code;
        const char *message;
    } cases[] = {
        { "grant-exists", GRPC_FAILED_PRECONDITION, "etcdserver: lease already exists" },
        { "lease-not-found", GRPC_NOT_FOUND, "etcdserver: requested lease not found" },
        { "revoke-none", GRPC_NOT_FOUND, "etcdserver: requested lease not found" },
        { "no-user", GRPC_INVALID_ARGUMENT, "etcdserver: user name is empty" },
        { "bad-token", GRPC_UNAUTHENTICATED, "etcdserver: invalid auth token" },
        { "bad-password", GRPC_INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password" },
        { "no-permission", GRPC_PERMISSION_DENIED, "etcdserver: permission denied" },
        { "apply-mixed", GRPC_OK, "" },
        { "keepalive", GRPC_OK, "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(cases); j++) {
            CLEANUP_JSON cJSON *json = read_json(cases[j].name, versions[i]);
            const char *message;

            assert_int_equal(etcd3_parse_error(json, &message), cases[j].code);
            assert_string_equal(message, cases[j].message);
        }
    }
}

static void reads_a_streams_error(void **state)
{
    static const char *const texts[] = {
        "{\"error\":{\"code\":14,\"message\":\"etcdserver: no leader\"}}",
        "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP_JSON cJSON *json = NULL;
        const char *message;

        assert_int_equal(json_parse(&json, texts[i], strlen(texts[i])), 0);
        assert_int_equal(etcd3_parse_error(json, &message), GRPC_UNAVAILABLE);
        assert_string_equal(message, "etcdserver: no leader");
    }
}

static void lease_ids_never_change(void **state)
{
    (void)state;
    /* A host that is upgraded must find the lease that the program of the day before made. */
    assert_int_equal(etcd3_lease_id(LEASE_PLAIN_A, "host", "/app/", ""), 0x7af483600e05e87f);
    assert_int_equal(etcd3_lease_id(LEASE_ADDRESS_B, "host", "/app/", "192.0.2.1"), 0x1232e3b1ac27d1);
}

static void lease_ids_differ_in_each_part(void **state)
{
    const int64_t ids[] = {
        etcd3_lease_id(LEASE_PLAIN_A, "host", "/app/", ""),
        etcd3_lease_id(LEASE_PLAIN_B, "host", "/app/", ""),
        etcd3_lease_id(LEASE_ADDRESS_A, "host", "/app/", ""),
        etcd3_lease_id(LEASE_ADDRESS_A, "host", "/app/", "1"),
        etcd3_lease_id(LEASE_ADDRESS_A, "host", "/app/", "2"),
        etcd3_lease_id(LEASE_ADDRESS_A, "host", "/app/1", ""),
        etcd3_lease_id(LEASE_PLAIN_A, "host2", "/app/", ""),
        etcd3_lease_id(LEASE_PLAIN_A, "host/", "app/", ""),
        etcd3_lease_id(LEASE_PLAIN_A, "", "", ""),
        etcd3_lease_id(LEASE_PLAIN_A, "host", "/app2/", ""),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        assert_true(ids[i] > 0);
        for (size_t j = 0; j < i; j++)
            assert_true(ids[i] != ids[j]);
    }
}

static void base64_is_encoded_and_decoded(void **state)
{
    static const struct {
        const char *plain, *base64;
    } cases[] = { { "", "" },        { "f", "Zg==" },        { "fo", "Zm8=" },
                  { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xff\xfe?>", "//4/Pg==" } };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *text, *decoded;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        base64_write(out, cases[i].plain, strlen(cases[i].plain));
        fclose(out);
        assert_string_equal(text, cases[i].base64);
        assert_int_equal(base64_decode(&decoded, &size, text), 0);
        assert_int_equal(size, strlen(cases[i].plain));
        assert_string_equal(decoded, cases[i].plain);
        free(text);
        free(decoded);
    }
}

static void base64_refuses_other_text(void **state)
{
    static const char *const texts[] = { "Zg", "Zg=", "Z===", "====", "Zm9v\n", "Zm 9", "Zm9-", "Zg==Zg==" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        char *decoded = NULL;
        size_t size;
        assert_int_equal(base64_decode(&decoded, &size, texts[i]), -EBADMSG);
        assert_null(decoded);
    }
}

static void json_keeps_64_bits(void **state)
{
    static const char text[] = "{\"a\":\"9223372036854775807\",\"b\":12,\"c\":\"x\",\"d\":1e300,\"e\":\"1x\",\"f\":{}}";
    CLEANUP_JSON cJSON *json = NULL;

    (void)state;
    assert_int_equal(json_parse(&json, text, strlen(text)), 0);
    assert_true(json_int64(json, "a", 0) == INT64_MAX);
    assert_int_equal(json_int64(json, "b", 0), 12);
    assert_int_equal(json_int64(json, "c", -5), -5);
    assert_int_equal(json_int64(json, "d", -5), -5);
    assert_int_equal(json_int64(json, "e", -5), -5);
    assert_int_equal(json_int64(json, "f", -5), -5);
    assert_int_equal(json_int64(json, "none", -5), -5);
    assert_int_equal(json_int64(NULL, "a", -5), -5);
    assert_null(json_string(json, "b"));
    assert_null(json_get(NULL, "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_the_requests_that_were_recorded),
        cmocka_unit_test(builds_the_small_requests),
        cmocka_unit_test(reads_the_outcomes_of_a_batch),
        cmocka_unit_test(a_look_tells_ours_from_others),
        cmocka_unit_test(a_key_under_our_lease_may_be_a_clones),
        cmocka_unit_test(only_a_value_that_may_be_there_is_compared),
        cmocka_unit_test(a_key_that_is_gone_is_created_by_the_next_transaction),
        cmocka_unit_test(a_key_of_ours_on_another_lease_is_written),
        cmocka_unit_test(keys_without_lease_are_not_ours),
        cmocka_unit_test(refuses_an_answer_to_something_else),
        cmocka_unit_test(cuts_the_values_of_others),
        cmocka_unit_test(reads_the_keys_of_a_lease),
        cmocka_unit_test(reads_values),
        cmocka_unit_test(reads_which_keys_moved),
        cmocka_unit_test(reads_ttls),
        cmocka_unit_test(reads_errors),
        cmocka_unit_test(reads_a_streams_error),
        cmocka_unit_test(lease_ids_never_change),
        cmocka_unit_test(lease_ids_differ_in_each_part),
        cmocka_unit_test(base64_is_encoded_and_decoded),
        cmocka_unit_test(base64_refuses_other_text),
        cmocka_unit_test(json_keeps_64_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
