/* Which lease v3's opening takes, and that every change in between ends in a whole opening: the store before a small
 * model of etcd's leases and keys. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"
#include "etcd/etcd3_call.h"

#include "unit/fake_http.h"

#include <inttypes.h>

/* The choice, a row for each pair of kinds */

enum { TTL = 30, OTHER_TTL = 60 };

static Etcd3Lease lease_of(LeaseKind kind)
{
    switch (kind) {
    case LEASE_IN_USE:
        return (Etcd3Lease){ .ttl_s = 9, .granted_ttl_s = TTL, .n_keys = 1 };
    case LEASE_UNUSED:
        return (Etcd3Lease){ .ttl_s = 9, .granted_ttl_s = TTL };
    case LEASE_ABSENT:
        return (Etcd3Lease){ .ttl_s = -1 };
    case LEASE_UNUSED_OTHER_TTL:
        return (Etcd3Lease){ .ttl_s = 9, .granted_ttl_s = OTHER_TTL };
    case LEASE_IN_USE_OTHER_TTL:
        return (Etcd3Lease){ .ttl_s = 9, .granted_ttl_s = OTHER_TTL, .n_keys = 1 };
    case LEASE_SHARED:
        break;
    }
    return (Etcd3Lease){ .ttl_s = 9, .granted_ttl_s = TTL, .n_keys = 1, .is_shared = true };
}

static void each_kind_has_its_action(void **state)
{
    static const struct {
        LeaseKind kind;
        LeaseAction action;
    } rows[] = {
        { LEASE_IN_USE, LEASE_KEEP },   { LEASE_UNUSED, LEASE_KEEP },
        { LEASE_ABSENT, LEASE_GRANT },  { LEASE_UNUSED_OTHER_TTL, LEASE_REPLACE },
        { LEASE_SHARED, LEASE_REFUSE }, { LEASE_IN_USE_OTHER_TTL, LEASE_KEEP_TO_FREE_OTHER },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Etcd3Lease leases[LEASES];

        for (size_t j = 0; j < LEASES; j++)
            leases[j] = lease_of(rows[i].kind);
        assert_int_equal(etcd3_lease_kind(&leases[0], TTL), rows[i].kind);
        LeaseChoice choice = etcd3_lease_choose(leases, TTL);
        assert_int_equal(choice.action, rows[i].action);
        assert_true(choice.slot == LEASE_PLAIN_A || choice.slot == LEASE_ADDRESS_A);
    }
}

/* Of a pair, A unless B is of a better kind. */
static void the_better_of_a_pair_is_taken(void **state)
{
    (void)state;
    for (LeaseKind a = LEASE_IN_USE; a < LEASE_SHARED; a++) {
        for (LeaseKind b = LEASE_IN_USE; b < LEASE_SHARED; b++) {
            Etcd3Lease leases[LEASES] = { lease_of(a), lease_of(b), lease_of(LEASE_ABSENT), lease_of(LEASE_ABSENT),
                                          lease_of(LEASE_ABSENT) };

            assert_int_equal(etcd3_lease_choose(leases, TTL).slot, b < a ? LEASE_PLAIN_B : LEASE_PLAIN_A);
        }
    }
}

static void the_pair_with_the_address_is_for_clones(void **state)
{
    static const struct {
        LeaseKind kinds[LEASES_DERIVED];
        LeaseSlot slot;
    } rows[] = {
        { { LEASE_SHARED, LEASE_ABSENT, LEASE_ABSENT, LEASE_ABSENT }, LEASE_ADDRESS_A },
        { { LEASE_ABSENT, LEASE_SHARED, LEASE_ABSENT, LEASE_UNUSED }, LEASE_ADDRESS_B },
        /* The clone has gone. */
        { { LEASE_ABSENT, LEASE_ABSENT, LEASE_IN_USE, LEASE_ABSENT }, LEASE_ADDRESS_A },
        { { LEASE_UNUSED, LEASE_ABSENT, LEASE_ABSENT, LEASE_IN_USE }, LEASE_ADDRESS_B },
        /* Nothing of ours is there. */
        { { LEASE_ABSENT, LEASE_ABSENT, LEASE_UNUSED, LEASE_ABSENT }, LEASE_PLAIN_A },
        { { LEASE_ABSENT, LEASE_ABSENT, LEASE_SHARED, LEASE_ABSENT }, LEASE_PLAIN_A },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Etcd3Lease leases[LEASES] = { 0 };

        for (size_t j = 0; j < LEASES_DERIVED; j++)
            leases[j] = lease_of(rows[i].kinds[j]);
        leases[LEASE_PREVIOUS] = lease_of(LEASE_IN_USE); /* never a target */
        assert_int_equal(etcd3_lease_choose(leases, TTL).slot, rows[i].slot);
    }
}

/* A model of etcd */

typedef struct ModelKey {
    char key[32], value[32];
    int64_t lease, revision;
} ModelKey;

static struct {
    int64_t ttl_s[LEASES]; /* by slot; 0: there is no such lease */
    const char *address; /* this host's; NULL: 192.0.2.1 */
    ModelKey keys[8];
    size_t n_keys;
    int64_t revision;
    int64_t raises_to; /* every shorter TTL; 0: none */
    char calls[512]; /* the last part of each path */
    unsigned n_calls, refused_call; /* refused_call: this call gets the refusal; 0: no call */
    const char *refusal;
    int ops_max; /* of one transaction; 0: no limit */
    const char *hook_at; /* calls hook() once, before this call */
    void (*hook)(void);
} model;

static sd_event *event;
static FakeServer *server;

static const char *address(void *userdata)
{
    (void)userdata;
    return model.address ? model.address : "192.0.2.1";
}

static int64_t id_of(LeaseSlot slot)
{
    if (slot == LEASE_PREVIOUS)
        return etcd3_lease_id(LEASE_PLAIN_A, "host", "/old/", "192.0.2.1");
    return etcd3_lease_id(slot, "host", "/app/", address(NULL));
}

static int slot_of(int64_t id)
{
    for (LeaseSlot slot = LEASE_PLAIN_A; slot < LEASES; slot++)
        if (id_of(slot) == id)
            return (int)slot;
    fail_msg("no lease of this host: %" PRId64, id);
    return -1;
}

static ModelKey *model_find(const char *key)
{
    for (size_t i = 0; i < model.n_keys; i++)
        if (strcmp(model.keys[i].key, key) == 0)
            return &model.keys[i];
    return NULL;
}

static ModelKey *model_get(const char *key)
{
    ModelKey *found = model_find(key);

    assert_non_null(found);
    return found;
}

static void model_put(const char *key, const char *value, int64_t lease)
{
    ModelKey *found = model_find(key);

    if (!found)
        found = &model.keys[model.n_keys++];
    snprintf(found->key, sizeof(found->key), "%s", key);
    snprintf(found->value, sizeof(found->value), "%s", value);
    found->lease = lease;
    found->revision = ++model.revision;
}

static void model_end_lease(LeaseSlot slot)
{
    model.ttl_s[slot] = 0;
    for (size_t i = model.n_keys; i-- > 0;)
        if (model.keys[i].lease == id_of(slot))
            model.keys[i] = model.keys[--model.n_keys];
}

static void answer_time_to_live(FILE *out, const cJSON *json)
{
    int64_t id = json_int64(json, "ID", 0), ttl_s = model.ttl_s[slot_of(id)];
    const char *comma = "";

    fprintf(out,
            "{\"header\":{\"revision\":\"%" PRId64 "\"},\"TTL\":\"%" PRId64 "\",\"grantedTTL\":\"%" PRId64
            "\",\"keys\":[",
            model.revision, ttl_s > 0 ? INT64_C(5) : INT64_C(-1), ttl_s);
    for (size_t i = 0; i < model.n_keys; i++) {
        if (model.keys[i].lease != id)
            continue;
        fprintf(out, "%s\"", comma);
        base64_write(out, model.keys[i].key, strlen(model.keys[i].key));
        fputc('"', out);
        comma = ",";
    }
    fputs("]}", out);
}

static char *text_of(const cJSON *json, const char *name)
{
    char *text;
    size_t size;

    assert_int_equal(base64_decode(&text, &size, json_string(json, name)), 0);
    return text;
}

static void answer_range(FILE *out, const cJSON *range)
{
    CLEANUP_FREE char *key = text_of(range, "key");
    const ModelKey *found = model_find(key);

    fputs("{\"response_range\":{", out);
    if (found) {
        fprintf(out, "\"kvs\":[{\"mod_revision\":\"%" PRId64 "\",\"lease\":\"%" PRId64 "\"", found->revision,
                found->lease);
        if (!json_get(range, "keys_only")) {
            fputs(",\"value\":\"", out);
            base64_write(out, found->value, strlen(found->value));
            fputc('"', out);
        }
        fputs("}]", out);
    }
    fputs("}}", out);
}

static bool holds(const cJSON *compare)
{
    CLEANUP_FREE char *key = text_of(compare, "key");
    const ModelKey *found = model_find(key);
    bool by_lease = strcmp(json_string(compare, "target"), "LEASE") == 0;

    return by_lease ? json_int64(compare, "lease", 0) == (found ? found->lease : 0)
                    : json_int64(compare, "mod_revision", 0) == (found ? found->revision : 0);
}

static void answer_move(FILE *out, const cJSON *txn)
{
    const cJSON *compare;
    bool all = true;

    cJSON_ArrayForEach (compare, json_get(txn, "compare"))
        all = all && holds(compare);
    if (all) {
        const cJSON *put = json_get(cJSON_GetArrayItem(json_get(txn, "success"), 0), "request_put");
        CLEANUP_FREE char *key = text_of(put, "key"), *value = text_of(put, "value");

        model_put(key, value, json_int64(put, "lease", 0));
    }
    fprintf(out, "{\"response_txn\":{\"succeeded\":%s}}", all ? "true" : "false");
}

/* The error of a whole transaction; NULL: no error. */
static const char *find_txn_error(const cJSON *json)
{
    const cJSON *operations = json_get(json, "success"), *operation;

    if (model.ops_max > 0 && cJSON_GetArraySize(operations) > model.ops_max)
        return "{\"code\":3,\"message\":\"etcdserver: too many operations in txn request\"}";
    cJSON_ArrayForEach (operation, operations) {
        const cJSON *move = cJSON_GetArrayItem(json_get(json_get(operation, "request_txn"), "success"), 0);

        if (move && model.ttl_s[slot_of(json_int64(json_get(move, "request_put"), "lease", 0))] == 0)
            return "{\"code\":5,\"message\":\"etcdserver: requested lease not found\"}";
    }
    return NULL;
}

/* Reads and moves alone: nothing is registered here. */
static const char *answer_txn(FILE *out, const cJSON *json)
{
    const char *comma = "", *error = find_txn_error(json);
    const cJSON *operation;

    if (error) {
        fputs(error, out);
        return "400 Bad Request";
    }
    fprintf(out, "{\"responses\":[");
    cJSON_ArrayForEach (operation, json_get(json, "success")) {
        fputs(comma, out);
        comma = ",";
        if (json_get(operation, "request_range"))
            answer_range(out, json_get(operation, "request_range"));
        else
            answer_move(out, json_get(operation, "request_txn"));
    }
    fprintf(out, "],\"header\":{\"revision\":\"%" PRId64 "\"},\"succeeded\":true}", model.revision);
    return "200 OK";
}

static const char *answer_lease(FILE *out, const char *call, const cJSON *json)
{
    int slot = slot_of(json_int64(json, "ID", 0));
    int64_t *ttl_s = &model.ttl_s[slot];

    if (strcmp(call, "keepalive") == 0) {
        fprintf(out, *ttl_s > 0 ? "{\"result\":{\"TTL\":\"%" PRId64 "\"}}" : "{\"result\":{}}", *ttl_s);
    } else if (strcmp(call, "grant") == 0 && *ttl_s > 0) {
        fputs("{\"code\":9,\"message\":\"etcdserver: lease already exists\"}", out);
        return "400 Bad Request";
    } else if (strcmp(call, "grant") == 0) {
        *ttl_s = json_int64(json, "TTL", 0);
        if (*ttl_s < model.raises_to)
            *ttl_s = model.raises_to;
        fprintf(out, "{\"TTL\":\"%" PRId64 "\"}", *ttl_s);
    } else if (*ttl_s == 0) {
        fputs("{\"code\":5,\"message\":\"etcdserver: requested lease not found\"}", out);
        return "404 Not Found";
    } else {
        model_end_lease((LeaseSlot)slot);
        fputs("{}", out);
    }
    return "200 OK";
}

static void answer(FakeConnection *connection, const char *request)
{
    CLEANUP_JSON cJSON *json = NULL;
    CLEANUP_FREE char *text = NULL;
    const char *body = strstr(request, "\r\n\r\n") + 4, *status = "200 OK";
    char path[64] = "";
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_int_equal(sscanf(request, "%*s %63s", path), 1);
    const char *call = strrchr(path, '/') + 1;
    strcat(strcat(model.calls, *model.calls ? " " : ""), call);
    if (model.hook_at && strcmp(model.hook_at, call) == 0) {
        model.hook_at = NULL;
        model.hook();
    }
    (void)json_parse(&json, body, strlen(body));
    if (++model.n_calls == model.refused_call) {
        fputs(model.refusal, out);
        status = "400 Bad Request";
    } else if (strcmp(call, "version") == 0)
        fputs("{\"etcdserver\":\"3.5.0\",\"etcdcluster\":\"3.5.0\"}", out);
    else if (strcmp(call, "timetolive") == 0)
        answer_time_to_live(out, json);
    else if (strcmp(call, "txn") == 0)
        status = answer_txn(out, json);
    else
        status = answer_lease(out, call, json);
    fclose(out);
    fake_answer(connection, status, "", text);
}

/* The store */

typedef struct Seen {
    bool done;
    StoreStatus status;
    size_t n_keys;
} Seen;

static void on_keys(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    (void)message;
    (void)keys;
    *(Seen *)userdata = (Seen){ true, status, n_keys };
}

static void on_done(void *userdata, StoreStatus status, const char *message)
{
    on_keys(userdata, status, message, NULL, 0);
}

static StoreWriter find_writer(void *userdata, const char *key, const char *value)
{
    (void)userdata;
    (void)key;
    if (strncmp(value, "192.0.2.", strlen("192.0.2.")) != 0)
        return STORE_WRITER_UNKNOWN;
    return strncmp(value, "192.0.2.1:", strlen("192.0.2.1:")) == 0 ? STORE_WRITER_THIS : STORE_WRITER_OTHER;
}

static Store *make_any_store(const Store *previous, bool read_only)
{
    char *endpoints[] = { server->url };
    Store *store;

    assert_int_equal(store_new(&store, event,
                               &(StoreConfig){ .etcd = { .endpoints = endpoints, .n_endpoints = 1 },
                                               .api = STORE_V3,
                                               .ttl_s = TTL,
                                               .identity = "host",
                                               .layout = "/app/",
                                               .previous = previous,
                                               .read_only = read_only,
                                               .address = address,
                                               .writer = find_writer }),
                     0);
    return store;
}

static Store *make_next_store(const Store *previous)
{
    return make_any_store(previous, false);
}

static Store *make_store(void)
{
    return make_next_store(NULL);
}

static Seen wait_for(Seen *seen)
{
    while (!seen->done)
        assert_true(sd_event_run(event, 10 * 1000 * 1000) > 0);
    return *seen;
}

static Seen open_store(Store *store)
{
    Seen seen = { 0 };

    *model.calls = '\0';
    model.n_calls = 0;
    assert_int_equal(store_open(store, on_keys, &seen), 0);
    return wait_for(&seen);
}

static uint64_t knows_none(void *userdata, const char *key)
{
    (void)userdata;
    (void)key;
    return 0;
}

static Seen resync(Store *store, StoreKnownFn known)
{
    Seen seen = { 0 };

    *model.calls = '\0';
    assert_int_equal(store_resync(store, known, on_keys, &seen), 0);
    return wait_for(&seen);
}

static int set_up(void **state)
{
    (void)state;
    memset(&model, 0, sizeof(model));
    assert_true(sd_event_new(&event) >= 0);
    server = fake_new(event, NULL, answer, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_free(server);
    event = sd_event_unref(event);
    return 0;
}

#define LOOKS_AGAIN " timetolive timetolive timetolive timetolive"
#define LOOKS "version" LOOKS_AGAIN

/* Opens, and expects these calls, and the key /app/a of this host under the lease. */
static void expect_open(Store *store, const char *calls, LeaseSlot slot, int64_t ttl_s)
{
    Seen seen = open_store(store);
    const ModelKey *a = model_find("/app/a");

    assert_string_equal(model.calls, calls);
    assert_int_equal(seen.status, STORE_OK);
    assert_int_equal(seen.n_keys, 1);
    assert_true(store->etcd3->lease == id_of(slot));
    assert_int_equal(model.ttl_s[slot], ttl_s);
    assert_true(a && a->lease == id_of(slot));
}

static void takes_over_moves_and_joins(void **state)
{
    static const struct {
        int64_t ttl_s[LEASES_DERIVED];
        LeaseSlot key, target; /* where the key is, and where it comes to */
        const char *calls;
    } rows[] = {
        { { TTL }, 0, 0, LOOKS " txn keepalive" },
        { { OTHER_TTL }, 0, 1, LOOKS " txn grant txn revoke" },
        { { OTHER_TTL, OTHER_TTL }, 0, 1, LOOKS " txn revoke grant txn revoke" },
        { { 0, TTL }, 1, 1, LOOKS " txn keepalive" },
        { { TTL, OTHER_TTL }, 1, 0, LOOKS " txn keepalive txn revoke" },
        { { TTL, 0, TTL }, 2, 2, LOOKS " txn keepalive" },
        { { 0, 0, OTHER_TTL }, 2, 3, LOOKS " txn grant txn revoke" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(store_free_p) Store *store = make_store();

        memset(&model, 0, sizeof(model));
        memcpy(model.ttl_s, rows[i].ttl_s, sizeof(rows[i].ttl_s));
        model_put("/app/a", "192.0.2.1:1", id_of(rows[i].key));
        expect_open(store, rows[i].calls, rows[i].target, TTL);
    }
}

/* Both leases of the pair have keys, and another TTL: the first takes all keys, then the second is free. */
static void frees_a_lease_of_the_pair(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store();

    (void)state;
    model.ttl_s[LEASE_PLAIN_A] = model.ttl_s[LEASE_PLAIN_B] = OTHER_TTL;
    model_put("/app/a", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
    model_put("/app/b", "192.0.2.1:2", id_of(LEASE_PLAIN_B));
    assert_int_equal(open_store(store).n_keys, 2);
    assert_true(store->etcd3->lease == id_of(LEASE_PLAIN_B));
    assert_int_equal(model.ttl_s[LEASE_PLAIN_B], TTL);
    assert_int_equal(model.ttl_s[LEASE_PLAIN_A], 0);
    assert_int_equal(model.n_keys, 2);
}

/* Two changes of the settings may follow each other faster than etcd answers. */
static void a_store_that_was_never_opened_passes_on_its_lease(void **state)
{
    CLEANUP(store_free_p) Store *first = make_store();
    CLEANUP(store_free_p) Store *second = NULL;
    CLEANUP(store_free_p) Store *third = NULL;

    (void)state;
    assert_int_equal(open_store(first).status, STORE_OK);
    second = make_next_store(first);
    third = make_next_store(second);
    assert_true(first->etcd3->lease != 0);
    assert_true(third->etcd3->previous_lease == first->etcd3->lease);
}

static void keeps_a_lease_whose_ttl_etcd_has_raised(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store();

    (void)state;
    model.raises_to = OTHER_TTL;
    model.ttl_s[LEASE_PLAIN_A] = OTHER_TTL;
    model_put("/app/a", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
    int64_t revision = model.revision;
    expect_open(store, LOOKS " txn grant revoke keepalive", LEASE_PLAIN_A, OTHER_TTL);
    assert_true(model.revision == revision);
}

static void two_hosts_of_one_address_are_refused(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store();

    (void)state;
    for (LeaseSlot slot = LEASE_PLAIN_A; slot < LEASES_DERIVED; slot++)
        model.ttl_s[slot] = TTL;
    model_put("/app/a", "192.0.2.9:1", id_of(LEASE_PLAIN_A));
    model_put("/app/b", "192.0.2.9:1", id_of(LEASE_ADDRESS_A));
    model_put("/app/c", "192.0.2.9:1", id_of(LEASE_ADDRESS_B));
    assert_int_equal(open_store(store).status, STORE_REFUSED);
}

/* A key without an address on a shared lease may be the other host's: it is neither moved nor deleted. */
static void a_key_without_an_address_stays_on_a_shared_lease(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store();

    (void)state;
    model.ttl_s[LEASE_PLAIN_A] = TTL;
    model_put("/app/a", "192.0.2.9:1", id_of(LEASE_PLAIN_A));
    model_put("/app/mine", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
    model_put("/rule/a", "Host(`a`)", id_of(LEASE_PLAIN_A));
    Seen seen = open_store(store);
    assert_int_equal(seen.status, STORE_OK);
    assert_int_equal(seen.n_keys, 1);
    assert_true(model_get("/app/mine")->lease == id_of(LEASE_ADDRESS_A));
    assert_true(model_get("/rule/a")->lease == id_of(LEASE_PLAIN_A));
}

/* What changes in between */

static void end_a(void)
{
    model_end_lease(LEASE_PLAIN_A);
}

static void end_b(void)
{
    model_end_lease(LEASE_PLAIN_B);
}

static void the_old_lease_may_end_before_it_is_revoked(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store(), *empty = make_store();

    (void)state;
    model.ttl_s[LEASE_PLAIN_A] = OTHER_TTL;
    model_put("/app/a", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
    model.hook_at = "revoke"; /* after the move */
    model.hook = end_a;
    expect_open(store, LOOKS " txn grant txn revoke", LEASE_PLAIN_B, TTL);

    memset(&model, 0, sizeof(model));
    model.ttl_s[LEASE_PLAIN_A] = model.ttl_s[LEASE_PLAIN_B] = OTHER_TTL;
    model_put("/app/a", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
    model.hook_at = "revoke"; /* of the empty one that is to be granted anew */
    model.hook = end_b;
    expect_open(empty, LOOKS " txn revoke grant txn revoke", LEASE_PLAIN_B, TTL);
}

static void the_lease_may_end_before_it_is_renewed(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store();

    (void)state;
    model.ttl_s[LEASE_PLAIN_A] = TTL;
    model.hook_at = "keepalive";
    model.hook = end_a;
    Seen seen = open_store(store);
    assert_int_equal(seen.status, STORE_OK);
    assert_string_equal(model.calls, LOOKS " keepalive timetolive timetolive timetolive timetolive grant");
    assert_int_equal(model.ttl_s[LEASE_PLAIN_A], TTL);
}

static void change_a(void)
{
    model_put("/app/a", "192.0.2.1:2", id_of(LEASE_PLAIN_A));
}

static void take_a(void)
{
    model_put("/app/a", "by hand", 0);
}

static void delete_a(void)
{
    model.n_keys = 0;
}

static void end_b_before_the_move(void)
{
    model.hook_at = "txn";
    model.hook = end_b;
}

static void change_before_the_move(void)
{
    model.hook_at = "txn"; /* the next one, after the grant */
    model.hook = change_a;
}

static void take_before_the_move(void)
{
    model.hook_at = "txn";
    model.hook = take_a;
}

/* A move names the revision that was read. */
static void a_key_may_change_before_it_moves(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store(), *other = make_store();

    (void)state;
    model.ttl_s[LEASE_PLAIN_A] = OTHER_TTL;
    model_put("/app/a", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
    model.hook_at = "grant";
    model.hook = change_before_the_move;
    expect_open(store, LOOKS " txn grant txn timetolive timetolive timetolive timetolive txn keepalive txn revoke",
                LEASE_PLAIN_B, TTL);
    assert_string_equal(model_get("/app/a")->value, "192.0.2.1:2");

    memset(&model, 0, sizeof(model));
    model.ttl_s[LEASE_PLAIN_A] = OTHER_TTL;
    model_put("/app/a", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
    model.hook_at = "grant";
    model.hook = take_before_the_move;
    Seen seen = open_store(other);
    assert_int_equal(seen.status, STORE_OK);
    assert_int_equal(seen.n_keys, 0);
    assert_string_equal(model_get("/app/a")->value, "by hand");
    assert_int_equal(model_get("/app/a")->lease, 0);
}

/* The old lease may end as well, or another owner may take the key, after etcd has listed the lease's keys. */
static void a_key_may_go_before_it_is_read(void **state)
{
    static void (*const hooks[])(void) = { take_a, delete_a };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
        CLEANUP(store_free_p) Store *store = make_store();

        memset(&model, 0, sizeof(model));
        model.ttl_s[LEASE_PLAIN_A] = TTL;
        model_put("/app/a", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
        model.hook_at = "txn";
        model.hook = hooks[i];
        Seen seen = open_store(store);
        assert_int_equal(seen.status, STORE_OK);
        assert_int_equal(seen.n_keys, 0);
        assert_string_equal(model.calls, LOOKS " txn keepalive");
        assert_int_equal(model.n_keys, hooks[i] == take_a);
    }
}

static void the_target_may_end_before_the_move(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store();

    (void)state;
    model.ttl_s[LEASE_PLAIN_A] = OTHER_TTL;
    model_put("/app/a", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
    model.hook_at = "grant";
    model.hook = end_b_before_the_move;
    expect_open(store, LOOKS " txn grant txn" LOOKS_AGAIN " txn grant txn revoke", LEASE_PLAIN_B, TTL);
}

/* The lease exists before each grant, and has ended before each renewal. */
static void spoil_a(void)
{
    bool exists = model.ttl_s[LEASE_PLAIN_A] > 0;

    model.ttl_s[LEASE_PLAIN_A] = exists ? 0 : TTL;
    model.hook_at = exists ? "grant" : "keepalive";
}

static void an_opening_ends_even_if_the_leases_keep_changing(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store();

    (void)state;
    model.hook_at = "grant";
    model.hook = spoil_a;
    assert_int_equal(open_store(store).status, STORE_UNREACHABLE);
    assert_string_equal(model.calls, LOOKS " grant" LOOKS_AGAIN " keepalive" LOOKS_AGAIN " grant" LOOKS_AGAIN
                                           " keepalive" LOOKS_AGAIN " grant");
}

/* Each call may be refused for a reason that no other lease helps against. */
static void a_refused_call_ends_the_opening(void **state)
{
    static const char *const refusals[] = {
        "{\"code\":7,\"message\":\"etcdserver: permission denied\"}",
        "{\"code\":9,\"message\":\"etcdserver: not capable\"}",
        "{\"code\":5,\"message\":\"etcdserver: member not found\"}",
    };
    static const char calls[] = LOOKS " txn revoke grant txn revoke";
    const unsigned n_calls = 10;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        for (unsigned call = 2; call <= n_calls; call++) {
            CLEANUP(store_free_p) Store *store = make_store();

            memset(&model, 0, sizeof(model));
            model.ttl_s[LEASE_PLAIN_A] = model.ttl_s[LEASE_PLAIN_B] = OTHER_TTL;
            model_put("/app/a", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
            model.refused_call = call;
            model.refusal = refusals[i];
            assert_int_equal(open_store(store).status, STORE_REFUSED);
            assert_int_equal(model.n_calls, call);
            assert_memory_equal(model.calls, calls, strlen(model.calls));
            model.refused_call = 0;
            assert_int_equal(open_store(store).status, STORE_OK);
            assert_string_equal(model_get("/app/a")->value, "192.0.2.1:1");
        }
    }
}

static void limit_the_operations(void)
{
    model.ops_max = 2;
}

/* etcd's --max-txn-ops may be lower than the default. */
static void learns_the_size_of_a_transaction(void **state)
{
    static const struct {
        const char *limit_at; /* from this call on */
        const char *calls;
    } rows[] = {
        { "version", LOOKS " txn txn txn txn grant txn txn txn revoke" },
        { "grant", LOOKS " txn grant txn txn txn txn revoke" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(store_free_p) Store *store = make_store();

        memset(&model, 0, sizeof(model));
        model.ttl_s[LEASE_PLAIN_A] = OTHER_TTL;
        for (unsigned j = 0; j < 5; j++) {
            char key[] = "/app/a";

            key[5] = (char)('a' + j);
            model_put(key, "192.0.2.1:1", id_of(LEASE_PLAIN_A));
        }
        model.hook_at = rows[i].limit_at;
        model.hook = limit_the_operations;
        Seen seen = open_store(store);
        assert_int_equal(seen.status, STORE_OK);
        assert_int_equal(seen.n_keys, 5);
        assert_string_equal(model.calls, rows[i].calls);
        assert_int_equal(model.n_keys, 5);
        for (size_t j = 0; j < 5; j++)
            assert_true(model.keys[j].lease == id_of(LEASE_PLAIN_B));
    }
}

/* The lease of the store before */

/* The keys of other settings move, even if their values have the address that this host had before. */
static void the_keys_of_the_previous_store_move(void **state)
{
    CLEANUP(store_free_p) Store *first = make_store();
    CLEANUP(store_free_p) Store *second = NULL;

    (void)state;
    first->etcd3->lease = id_of(LEASE_PREVIOUS);
    second = make_next_store(first);
    model.ttl_s[LEASE_PREVIOUS] = TTL;
    model_put("/app/a", "192.0.2.7:1", id_of(LEASE_PREVIOUS));
    expect_open(second, LOOKS " timetolive txn grant txn revoke", LEASE_PLAIN_A, TTL);
    assert_int_equal(model.ttl_s[LEASE_PREVIOUS], 0);
}

static void the_same_lease_is_no_previous_lease(void **state)
{
    CLEANUP(store_free_p) Store *first = make_store();
    CLEANUP(store_free_p) Store *second = NULL;

    (void)state;
    assert_int_equal(open_store(first).status, STORE_OK);
    model_put("/app/a", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
    second = make_next_store(first);
    expect_open(second, LOOKS " txn keepalive", LEASE_PLAIN_A, TTL);
}

/* A resync */

static uint64_t knows_what_it_wrote(void *userdata, const char *key)
{
    (void)userdata;
    return strcmp(key, "/app/ours") == 0 ? (uint64_t)model_get(key)->revision : 0;
}

static void a_resync_finds_a_clone_by_any_key(void **state)
{
    static const char *const clones[] = { "/app/a", "/app/z" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(clones); i++) {
        CLEANUP(store_free_p) Store *store = make_store();

        memset(&model, 0, sizeof(model));
        assert_int_equal(open_store(store).status, STORE_OK);
        /* The first of the unknown keys, and the last. */
        model_put(i == 0 ? clones[0] : "/app/ours", i == 0 ? "192.0.2.9:1" : "192.0.2.1:1", id_of(LEASE_PLAIN_A));
        model_put(i == 0 ? "/app/ours" : "/app/x", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
        model_put(i == 0 ? "/app/x" : clones[1], i == 0 ? "192.0.2.1:2" : "192.0.2.9:1", id_of(LEASE_PLAIN_A));
        assert_int_equal(resync(store, knows_what_it_wrote).status, STORE_LEASE_LOST);
        /* The next opening leaves the shared lease. */
        assert_int_equal(open_store(store).status, STORE_OK);
        assert_true(store->etcd3->lease == id_of(LEASE_ADDRESS_A));
        assert_true(store_lease_changed(store));
        assert_true(model_get(clones[i])->lease == id_of(LEASE_PLAIN_A));
        assert_true(model_get("/app/x")->lease == id_of(LEASE_ADDRESS_A));
    }
}

static uint64_t knows_all(void *userdata, const char *key)
{
    (void)userdata;
    return (uint64_t)model_get(key)->revision;
}

/* While nobody writes to etcd, a resync is one request. */
static void a_resync_reads_no_key_if_nothing_was_written(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store();

    (void)state;
    assert_int_equal(open_store(store).status, STORE_OK);
    model_put("/app/a", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
    for (unsigned i = 0; i < 3; i++) {
        Seen seen = resync(store, knows_all);

        assert_int_equal(seen.n_keys, 1);
        assert_string_equal(model.calls, i == 0 ? "timetolive txn" : "timetolive");
    }
    model_put("/other", "x", 0);
    resync(store, knows_all);
    assert_string_equal(model.calls, "timetolive txn");
    /* Of one that is not known, the value is read; and again, as long as that is so. */
    for (unsigned i = 0; i < 2; i++) {
        resync(store, knows_none);
        assert_string_equal(model.calls, "timetolive txn txn");
    }
    resync(store, knows_all);
    assert_string_equal(model.calls, "timetolive txn");
    /* Not after an opening either, which may have met another etcd. */
    assert_int_equal(open_store(store).status, STORE_OK);
    resync(store, knows_all);
    assert_string_equal(model.calls, "timetolive txn");
}

/* An etcd that comes back without its data */

static void a_lease_that_has_ended_takes_one_request(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store();
    Seen beaten = { 0 };

    (void)state;
    assert_int_equal(open_store(store).status, STORE_OK);
    assert_string_equal(model.calls, LOOKS " grant");
    model_end_lease(LEASE_PLAIN_A);
    store_heartbeat(store, on_done, &beaten);
    assert_int_equal(wait_for(&beaten).status, STORE_LEASE_LOST);
    assert_int_equal(open_store(store).status, STORE_OK);
    assert_string_equal(model.calls, "version grant");
    assert_int_equal(model.ttl_s[LEASE_PLAIN_A], TTL);
    assert_false(store_lease_changed(store));

    /* Another one has granted it meanwhile: a clone? */
    model_end_lease(LEASE_PLAIN_A);
    assert_int_equal(resync(store, knows_none).status, STORE_LEASE_LOST);
    model.ttl_s[LEASE_PLAIN_A] = TTL;
    model_put("/app/x", "192.0.2.9:1", id_of(LEASE_PLAIN_A));
    assert_int_equal(open_store(store).status, STORE_OK);
    assert_string_equal(model.calls, "version grant timetolive timetolive timetolive timetolive txn grant");
    assert_true(store->etcd3->lease == id_of(LEASE_ADDRESS_A));
}

/* Only a lease that has ended is granted without a look at the others. */
static void an_opening_looks_at_the_leases_that_may_exist(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store();
    Seen beaten = { 0 };

    (void)state;
    assert_int_equal(open_store(store).status, STORE_OK);
    assert_int_equal(open_store(store).status, STORE_OK);
    assert_string_equal(model.calls, LOOKS " keepalive");
    model_end_lease(LEASE_PLAIN_A);
    store_heartbeat(store, on_done, &beaten);
    assert_int_equal(wait_for(&beaten).status, STORE_LEASE_LOST);
    assert_int_equal(open_store(store).status, STORE_OK);
    assert_string_equal(model.calls, "version grant");
    assert_int_equal(open_store(store).status, STORE_OK);
    assert_string_equal(model.calls, LOOKS " keepalive");
}

static void a_lease_of_another_address_is_not_granted_again(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store();
    Seen beaten = { 0 };

    (void)state;
    model.ttl_s[LEASE_PLAIN_A] = TTL;
    model_put("/app/x", "192.0.2.9:1", id_of(LEASE_PLAIN_A));
    assert_int_equal(open_store(store).status, STORE_OK);
    assert_true(store->etcd3->lease == id_of(LEASE_ADDRESS_A));
    model_end_lease(LEASE_ADDRESS_A);
    store_heartbeat(store, on_done, &beaten);
    assert_int_equal(wait_for(&beaten).status, STORE_LEASE_LOST);
    model.address = "192.0.2.2";
    assert_int_equal(open_store(store).status, STORE_OK);
    assert_string_equal(model.calls, LOOKS " txn grant");
    assert_true(store->etcd3->lease == id_of(LEASE_ADDRESS_A));
}

static void a_dry_run_only_reads(void **state)
{
    CLEANUP(store_free_p) Store *store = make_any_store(NULL, true);

    (void)state;
    model.ttl_s[LEASE_PLAIN_A] = OTHER_TTL;
    model_put("/app/a", "192.0.2.1:1", id_of(LEASE_PLAIN_A));
    Seen seen = open_store(store);
    assert_int_equal(seen.status, STORE_OK);
    assert_int_equal(seen.n_keys, 1);
    assert_string_equal(model.calls, LOOKS " txn");
    store->etcd3->lease_ended = true;
    assert_int_equal(open_store(store).status, STORE_OK);
    assert_string_equal(model.calls, LOOKS " txn");
    assert_int_equal(model.ttl_s[LEASE_PLAIN_A], OTHER_TTL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_has_its_action),
        cmocka_unit_test(the_better_of_a_pair_is_taken),
        cmocka_unit_test(the_pair_with_the_address_is_for_clones),
        TEST(takes_over_moves_and_joins),
        TEST(frees_a_lease_of_the_pair),
        TEST(a_store_that_was_never_opened_passes_on_its_lease),
        TEST(keeps_a_lease_whose_ttl_etcd_has_raised),
        TEST(two_hosts_of_one_address_are_refused),
        TEST(a_key_without_an_address_stays_on_a_shared_lease),
        TEST(the_old_lease_may_end_before_it_is_revoked),
        TEST(the_lease_may_end_before_it_is_renewed),
        TEST(a_key_may_change_before_it_moves),
        TEST(a_key_may_go_before_it_is_read),
        TEST(the_target_may_end_before_the_move),
        TEST(an_opening_ends_even_if_the_leases_keep_changing),
        TEST(a_refused_call_ends_the_opening),
        TEST(learns_the_size_of_a_transaction),
        TEST(the_keys_of_the_previous_store_move),
        TEST(the_same_lease_is_no_previous_lease),
        TEST(a_resync_finds_a_clone_by_any_key),
        TEST(a_resync_reads_no_key_if_nothing_was_written),
        TEST(a_lease_that_has_ended_takes_one_request),
        TEST(an_opening_looks_at_the_leases_that_may_exist),
        TEST(a_lease_of_another_address_is_not_granted_again),
        TEST(a_dry_run_only_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
