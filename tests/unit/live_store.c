/* live_store URL[,URL…] v3|v2|auto [USER PASSWORD]
 *
 * Takes the store through all its verbs against a real etcd, which it expects to be nobody else's. The user is
 * expected to have READWRITE below /app/ and nowhere else. From the environment: LIVE_CA, LIVE_CERT, LIVE_KEY:
 * files for TLS; LIVE_RESTART: a command that restarts etcd. Prints a line per step; exit status 1 with the
 * place of the first expectation that was not met. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "base/base64.h"
#include "base/json.h"
#include "base/log.h"
#include "etcd/etcd3_call.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(condition)                                                                                    \
    do {                                                                                                    \
        if (!(condition)) {                                                                                 \
            printf("%s:%d: not so: %s (last message: %s)\n", __FILE__, __LINE__, #condition, last_message); \
            exit(1);                                                                                        \
        }                                                                                                   \
    } while (0)

static char last_message[1024];
static sd_event *event;
static char *endpoints[8];
static size_t n_endpoints;
static StoreApi api;
static const char *user, *password;

/* Waiting for one answer */

typedef struct Answer {
    bool given;
    StoreStatus status;
    size_t n_keys, n_values;
    bool in_call;
} Answer;

static void note_status(Answer *answer, StoreStatus status, const char *message)
{
    CHECK(!answer->given);
    CHECK(!answer->in_call);
    answer->given = true;
    answer->status = status;
    snprintf(last_message, sizeof(last_message), "%s", message);
    CHECK((status == STORE_OK) == (*message == '\0'));
    CHECK(!strchr(message, '\n'));
}

static void on_done(void *userdata, StoreStatus status, const char *message)
{
    note_status(userdata, status, message);
}

static void on_keys(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    Answer *answer = userdata;

    note_status(answer, status, message);
    answer->n_keys = n_keys;
    for (size_t i = 0; i < n_keys; i++) {
        CHECK(keys[i].key);
        answer->n_values += keys[i].value != NULL;
    }
}

static void wait_for(Answer *answer)
{
    answer->in_call = false;
    while (!answer->given)
        CHECK(sd_event_run(event, 60 * 1000 * 1000) > 0);
}

static Answer open_store(Store *store)
{
    Answer answer = { .in_call = true };

    store_open(store, on_keys, &answer);
    wait_for(&answer);
    return answer;
}

static StoreStatus apply(Store *store, StoreOp *ops, size_t n)
{
    Answer answer = { .in_call = true };

    store_apply(store, ops, n, on_done, &answer);
    wait_for(&answer);
    return answer.status;
}

static StoreStatus heartbeat(Store *store)
{
    Answer answer = { .in_call = true };

    store_heartbeat(store, on_done, &answer);
    wait_for(&answer);
    return answer.status;
}

static uint64_t knows_none(void *userdata, const char *key)
{
    (void)userdata;
    (void)key;
    return 0;
}

/* What knows_all() says: keys of one batch have one revision. */
static uint64_t known_revision;

static uint64_t knows_all(void *userdata, const char *key)
{
    (void)userdata;
    (void)key;
    return known_revision;
}

static Answer resync(Store *store, StoreKnownFn known)
{
    Answer answer = { .in_call = true };

    store_resync(store, known, on_keys, &answer);
    wait_for(&answer);
    return answer;
}

/* etcd, behind the store's back */

typedef struct Raw {
    bool given;
    long status;
    char *body;
} Raw;

static void on_raw(void *userdata, const HttpResult *result)
{
    Raw *raw = userdata;

    raw->given = true;
    raw->status = result->error == 0 ? result->status : result->error;
    raw->body = strdup(result->body);
}

static Etcd *raw_etcd;
static char *raw_token;

static long raw_request(const char *method, const char *path, const char *body, bool form, char **ret_body)
{
    Raw raw = { 0 };
    EtcdSpec spec = {
        .method = method, .path = path, .body = body, .form = form, .authorization = raw_token, .body_max = 8 << 20
    };

    CHECK(etcd_request(raw_etcd, &spec, on_raw, &raw, NULL) == 0);
    while (!raw.given)
        CHECK(sd_event_run(event, 60 * 1000 * 1000) > 0);
    if (ret_body)
        *ret_body = raw.body;
    else
        free(raw.body);
    return raw.status;
}

static const char *v3_prefix = "/v3";

static char *to_base64(const char *text)
{
    char *base64;
    size_t size;
    FILE *out = open_memstream(&base64, &size);

    base64_write(out, text, strlen(text));
    fclose(out);
    return base64;
}

static void raw_put(const char *key, const char *value)
{
    CLEANUP_FREE char *body = NULL, *path = NULL;

    if (api == STORE_V2) {
        CLEANUP_FREE char *escaped = http_escape(value, false);
        CHECK(asprintf(&path, "/v2/keys%s", key) > 0);
        CHECK(asprintf(&body, "value=%s", escaped) > 0);
        CHECK(raw_request("PUT", path, body, true, NULL) / 100 == 2);
        return;
    }
    CLEANUP_FREE char *key64 = to_base64(key);
    CLEANUP_FREE char *value64 = to_base64(value);
    CHECK(asprintf(&path, "%s/kv/put", v3_prefix) > 0);
    CHECK(asprintf(&body, "{\"key\":\"%s\",\"value\":\"%s\"}", key64, value64) > 0);
    CHECK(raw_request("POST", path, body, false, NULL) == 200);
}

static void raw_delete(const char *key)
{
    CLEANUP_FREE char *body = NULL, *path = NULL;

    if (api == STORE_V2) {
        CHECK(asprintf(&path, "/v2/keys%s?recursive=true", key) > 0);
        raw_request("DELETE", path, NULL, true, NULL);
        return;
    }
    CLEANUP_FREE char *key64 = to_base64(key);
    CHECK(asprintf(&path, "%s/kv/deleterange", v3_prefix) > 0);
    CHECK(asprintf(&body, "{\"key\":\"%s\"}", key64) > 0);
    CHECK(raw_request("POST", path, body, false, NULL) == 200);
}

/* As "etcdctl put --ignore-lease" does. */
static void raw_change(const char *key, const char *value)
{
    CLEANUP_FREE char *path = NULL, *body = NULL, *key64 = to_base64(key), *value64 = to_base64(value);

    CHECK(asprintf(&path, "%s/kv/put", v3_prefix) > 0);
    CHECK(asprintf(&body, "{\"key\":\"%s\",\"value\":\"%s\",\"ignore_lease\":true}", key64, value64) > 0);
    CHECK(raw_request("POST", path, body, false, NULL) == 200);
}

typedef struct RawKey {
    char *value; /* NULL: absent */
    int64_t revision, lease, ttl_s;
} RawKey;

static RawKey raw_get(const char *key)
{
    CLEANUP_FREE char *body = NULL, *path = NULL, *answer = NULL;
    CLEANUP_JSON cJSON *json = NULL;
    RawKey result = { 0 };

    if (api == STORE_V2) {
        /* A follower may be behind. */
        CHECK(asprintf(&path, "/v2/keys%s?quorum=true&consistent=true", key) > 0);
        raw_request("GET", path, NULL, true, &answer);
        CHECK(json_parse(&json, answer, strlen(answer)) == 0);
        const cJSON *node = json_get(json, "node");
        if (json_string(node, "value"))
            result.value = strdup(json_string(node, "value"));
        result.revision = json_int64(node, "modifiedIndex", 0);
        result.ttl_s = json_int64(node, "ttl", 0);
        return result;
    }
    CLEANUP_FREE char *key64 = to_base64(key);
    CHECK(asprintf(&path, "%s/kv/range", v3_prefix) > 0);
    CHECK(asprintf(&body, "{\"key\":\"%s\"}", key64) > 0);
    CHECK(raw_request("POST", path, body, false, &answer) == 200);
    CHECK(json_parse(&json, answer, strlen(answer)) == 0);
    const cJSON *kv = cJSON_GetArrayItem(json_get(json, "kvs"), 0);
    size_t size;
    if (!kv)
        return result;
    CHECK(base64_decode(&result.value, &size, json_string(kv, "value") ? json_string(kv, "value") : "") == 0);
    result.revision = json_int64(kv, "mod_revision", 0);
    result.lease = json_int64(kv, "lease", 0);
    return result;
}

static bool raw_is(const char *key, const char *value)
{
    RawKey found = raw_get(key);
    bool same = value ? found.value && strcmp(found.value, value) == 0 : !found.value;

    if (!same)
        printf("%s holds %s\n", key, found.value ? found.value : "nothing");
    free(found.value);
    return same;
}

static int64_t raw_revision(const char *key)
{
    RawKey found = raw_get(key);

    free(found.value);
    return found.revision;
}

static int64_t raw_lease(const char *key)
{
    RawKey found = raw_get(key);

    free(found.value);
    return found.lease;
}

/* Stores */

/* As an operator may, or another agent. Deletes all keys of the store. */
static void revoke_lease(const Store *store)
{
    CLEANUP_FREE char *path = NULL, *body = NULL;

    CHECK(asprintf(&path, "%s%s/lease/revoke", v3_prefix, strcmp(v3_prefix, "/v3") == 0 ? "" : "/kv") > 0);
    CHECK(asprintf(&body, "{\"ID\":\"%" PRId64 "\"}", store->etcd3->lease) > 0);
    CHECK(raw_request("POST", path, body, false, NULL) == 200);
}

static const char *address_of(void *userdata)
{
    return userdata;
}

static StoreConfig config_for(const char *identity, const char *address, unsigned ttl_s)
{
    static char *directories[] = { (char *)"/app/servers", (char *)"/skydns/local/servers" };

    return (StoreConfig){
        .etcd = { .endpoints = endpoints,
                  .n_endpoints = n_endpoints,
                  .user = user,
                  .password = password,
                  .ca = getenv("LIVE_CA"),
                  .cert = getenv("LIVE_CERT"),
                  .key = getenv("LIVE_KEY") },
        .api = api,
        .ttl_s = ttl_s,
        .identity = identity,
        .layout = "/app/",
        .address = address_of,
        .userdata = (void *)address,
        .directories = directories,
        .n_directories = ARRAY_SIZE(directories),
    };
}

static Store *make_store(const StoreConfig *config)
{
    Store *store;

    CHECK(store_new(&store, event, config) == 0);
    return store;
}

static Store *make_open_store(const StoreConfig *config, size_t expected_keys)
{
    Store *store = make_store(config);
    Answer answer = open_store(store);

    CHECK(answer.status == STORE_OK);
    CHECK(answer.n_keys == expected_keys);
    CHECK(answer.n_values == expected_keys);
    return store;
}

static StoreWriter find_writer(void *userdata, const char *key, const char *value)
{
    (void)key;
    return strncmp(value, userdata, strlen(userdata)) == 0 ? STORE_WRITER_THIS : STORE_WRITER_OTHER;
}

static StoreOp op_of(StoreVerb verb, const char *key, const char *value)
{
    return (StoreOp){ .verb = verb, .key = key, .value = value };
}

static void expect(Store *store, StoreOp *op, StoreOutcome outcome, bool wrote)
{
    free(op->holder);
    op->holder = NULL;
    CHECK(apply(store, op, 1) == STORE_OK);
    if (op->outcome != outcome || op->wrote != wrote)
        printf("outcome %d, wrote %d, holder %s\n", op->outcome, op->wrote, op->holder ? op->holder : "-");
    CHECK(op->outcome == outcome);
    CHECK(op->wrote == wrote);
    CHECK((op->holder != NULL) == (outcome == STORE_OP_CONFLICT || outcome == STORE_OP_REJECTED));
}

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void passed(const char *what)
{
    printf("ok: %s\n", what);
    fflush(stdout);
}

/* Both APIs */

static void test_own_keys(Store *store)
{
    StoreOp peek = op_of(STORE_PEEK, "/app/servers/web", "192.0.2.1:80");
    StoreOp ensure = op_of(STORE_ENSURE, "/app/servers/web", "192.0.2.1:80");
    StoreOp remove = op_of(STORE_REMOVE, "/app/servers/web", NULL);

    expect(store, &peek, STORE_OP_LOST, false);
    expect(store, &ensure, STORE_OP_DONE, true);
    CHECK(raw_is("/app/servers/web", "192.0.2.1:80"));
    int64_t revision = raw_revision("/app/servers/web");
    expect(store, &ensure, STORE_OP_DONE, false);
    ensure.previous = "192.0.2.1:80";
    expect(store, &ensure, STORE_OP_DONE, false);
    expect(store, &peek, STORE_OP_DONE, false);
    if (api != STORE_V2)
        CHECK(raw_revision("/app/servers/web") == revision);

    ensure.value = peek.value = "192.0.2.1:81";
    peek.previous = "192.0.2.1:80";
    expect(store, &peek, STORE_OP_CHANGED, false);
    expect(store, &ensure, STORE_OP_DONE, true);
    CHECK(raw_is("/app/servers/web", "192.0.2.1:81"));

    /* A write of unknown outcome: what was known before, and what may be there. */
    ensure.previous = "192.0.2.1:80";
    ensure.attempted = "192.0.2.1:81";
    ensure.value = "192.0.2.1:82";
    expect(store, &ensure, STORE_OP_DONE, true);
    CHECK(raw_is("/app/servers/web", "192.0.2.1:82"));

    remove.previous = "192.0.2.1:81";
    remove.attempted = "192.0.2.1:82";
    expect(store, &remove, STORE_OP_DONE, true);
    CHECK(raw_is("/app/servers/web", NULL));
    expect(store, &remove, STORE_OP_DONE, false);

    /* Known, but gone meanwhile. */
    ensure.previous = "192.0.2.1:82";
    ensure.attempted = NULL;
    ensure.value = "192.0.2.1:83";
    expect(store, &ensure, STORE_OP_DONE, true);
    remove.previous = "192.0.2.1:83";
    expect(store, &remove, STORE_OP_DONE, true);
    passed("own keys are created, kept, changed and removed");
}

static void test_odd_texts(Store *store)
{
    const char *value = "{\"a\": \"b c&d=e+f%20\\\"\", \"\xc3\xbc\": 1}";
    StoreOp ensure = op_of(STORE_ENSURE, "/app/servers/a b%+&=?#\xc3\xbc", value);
    StoreOp remove = op_of(STORE_REMOVE, "/app/servers/a b%+&=?#\xc3\xbc", NULL);

    expect(store, &ensure, STORE_OP_DONE, true);
    ensure.previous = value;
    expect(store, &ensure, STORE_OP_DONE, false);
    remove.previous = value;
    expect(store, &remove, STORE_OP_DONE, true);
    passed("odd characters in keys and values survive");
}

static void test_keys_of_others(Store *store)
{
    StoreOp ensure = op_of(STORE_ENSURE, "/app/servers/hand", "192.0.2.1:80");
    StoreOp remove = op_of(STORE_REMOVE, "/app/servers/hand", NULL);
    StoreOp replace = op_of(STORE_REPLACE, "/app/servers/hand", "192.0.2.1:80");
    StoreOp peek = op_of(STORE_PEEK, "/app/servers/hand", "192.0.2.1:80");

    raw_put("/app/servers/hand", "by hand");
    expect(store, &ensure, STORE_OP_CONFLICT, false);
    CHECK(strcmp(ensure.holder, "by hand") == 0);
    CHECK(ensure.revision == (uint64_t)raw_revision("/app/servers/hand"));
    expect(store, &peek, STORE_OP_CONFLICT, false);
    ensure.previous = "192.0.2.1:79";
    expect(store, &ensure, STORE_OP_CONFLICT, false);
    remove.previous = "192.0.2.1:80";
    remove.attempted = "192.0.2.1:79";
    expect(store, &remove, STORE_OP_DONE, false);
    CHECK(raw_is("/app/servers/hand", "by hand"));

    /* Of the wanted value, but without a TTL: not ours either. */
    raw_put("/app/servers/hand", "192.0.2.1:80");
    ensure.previous = NULL;
    expect(store, &ensure, STORE_OP_CONFLICT, false);

    raw_put("/app/servers/hand", "by hand, again");
    replace.revision = ensure.revision;
    expect(store, &replace, STORE_OP_CONFLICT, false);
    CHECK(raw_is("/app/servers/hand", "by hand, again"));
    expect(store, &replace, STORE_OP_DONE, true);
    CHECK(raw_is("/app/servers/hand", "192.0.2.1:80"));
    ensure.previous = "192.0.2.1:80";
    expect(store, &ensure, STORE_OP_DONE, false);

    raw_delete("/app/servers/hand");
    replace.value = "192.0.2.1:90";
    expect(store, &replace, STORE_OP_DONE, true);
    remove.previous = "192.0.2.1:90";
    expect(store, &remove, STORE_OP_DONE, true);
    free(ensure.holder);
    free(replace.holder);
    free(peek.holder);
    passed("keys of others are left alone, and replaced only as they were seen");
}

/* v3 */

static void test_v3_restart(const StoreConfig *config)
{
    Store *store = make_open_store(config, 0);
    StoreOp ops[2] = { op_of(STORE_ENSURE, "/app/servers/one", "192.0.2.1:1"),
                       op_of(STORE_ENSURE, "/app/servers/two", "192.0.2.1:2") };
    CLEANUP_FREE char *description = NULL;

    CHECK(apply(store, ops, 2) == STORE_OK);
    CHECK(ops[0].wrote && ops[1].wrote);
    CHECK(heartbeat(store) == STORE_OK);
    description = strdup(store_describe(store));
    printf("%s\n", description);
    int64_t revision = raw_revision("/app/servers/one");
    store_free(store);

    store = make_open_store(config, 2);
    CHECK(strcmp(store_describe(store), description) == 0);
    CHECK(raw_revision("/app/servers/one") == revision);
    store_free(store);
    passed("a restarted agent finds its lease and its keys, and touches none");

    StoreConfig longer = *config;
    longer.ttl_s = 90;
    int64_t lease = raw_lease("/app/servers/one");
    store = make_open_store(&longer, 2);
    CHECK(raw_lease("/app/servers/one") != lease);
    CHECK(raw_lease("/app/servers/one") == raw_lease("/app/servers/two"));
    CHECK(heartbeat(store) == STORE_OK);
    store_free(store);
    store = make_open_store(config, 2);
    CHECK(raw_lease("/app/servers/one") == lease);
    store_free(store);
    passed("a changed TTL moves the keys to the other lease of the pair, and back");

    StoreConfig only_look = longer;
    only_look.read_only = true;
    revision = raw_revision("/app/servers/one");
    store = make_open_store(&only_look, 2);
    StoreOp peeks[3] = { op_of(STORE_PEEK, "/app/servers/one", "192.0.2.1:1"),
                         op_of(STORE_PEEK, "/app/servers/none", "192.0.2.1:1"),
                         op_of(STORE_PEEK, "/app/servers/hand", "192.0.2.1:1") };
    raw_put("/app/servers/hand", "by hand");
    CHECK(apply(store, peeks, 3) == STORE_OK);
    CHECK(peeks[1].outcome == STORE_OP_LOST && peeks[2].outcome == STORE_OP_CONFLICT);
    CHECK(peeks[0].outcome == STORE_OP_DONE || peeks[0].outcome == STORE_OP_CHANGED);
    free(peeks[2].holder);
    raw_delete("/app/servers/hand");
    CHECK(raw_revision("/app/servers/one") == revision && raw_lease("/app/servers/one") == lease);
    store_free(store);
    passed("a dry run only looks");

    store = make_open_store(config, 2);
    known_revision = (uint64_t)raw_revision("/app/servers/one");
    Answer answer = resync(store, knows_all);
    CHECK(answer.status == STORE_OK && answer.n_keys == 2 && answer.n_values == 0);
    raw_change("/app/servers/two", "changed");
    answer = resync(store, knows_all);
    CHECK(answer.status == STORE_OK && answer.n_keys == 2 && answer.n_values == 1);
    raw_put("/app/servers/one", "overwritten");
    answer = resync(store, knows_none);
    CHECK(answer.status == STORE_OK && answer.n_keys == 1 && answer.n_values == 1);
    passed("a resync shows what is under the lease");

    revoke_lease(store);
    CHECK(raw_is("/app/servers/two", NULL));
    CHECK(raw_is("/app/servers/one", "overwritten"));
    CHECK(heartbeat(store) == STORE_LEASE_LOST);
    CHECK(resync(store, knows_none).status == STORE_LEASE_LOST);
    StoreOp mixed[2] = { op_of(STORE_ENSURE, "/app/servers/two", "192.0.2.1:2"),
                         op_of(STORE_REMOVE, "/app/servers/three", NULL) };
    CHECK(apply(store, mixed, 2) == STORE_LEASE_LOST);
    Answer again = open_store(store);
    CHECK(again.status == STORE_OK && again.n_keys == 0);
    CHECK(apply(store, mixed, 2) == STORE_OK && mixed[0].wrote);
    revoke_lease(store);
    raw_delete("/app/servers/one");
    store_free(store);
    passed("a lost lease is noticed by every verb, and granted anew");
}

static void test_v3_both_leases(const StoreConfig *config)
{
    StoreConfig other = *config, third = *config;
    other.ttl_s = 100;
    third.ttl_s = 110;
    /* Two agents of one identity with two TTLs, which must not be: A and B both come to hold keys. */
    Store *store = make_open_store(config, 0);
    StoreOp op = op_of(STORE_ENSURE, "/app/servers/one", "192.0.2.1:1");
    expect(store, &op, STORE_OP_DONE, true);
    int64_t lease = raw_lease("/app/servers/one");
    Store *rival = make_open_store(&other, 1);
    CHECK(raw_lease("/app/servers/one") != lease);
    /* The first one knows nothing of it, makes A anew behind the rival's back, and adds a key. */
    CLEANUP_FREE char *body = NULL, *path = NULL;
    CHECK(asprintf(&path, "%s/lease/grant", v3_prefix) > 0);
    CHECK(asprintf(&body, "{\"ID\":\"%" PRId64 "\",\"TTL\":\"%u\"}", lease, config->ttl_s) > 0);
    CHECK(raw_request("POST", path, body, false, NULL) == 200);
    StoreOp two = op_of(STORE_ENSURE, "/app/servers/two", "192.0.2.1:2");
    expect(store, &two, STORE_OP_DONE, true);
    CHECK(raw_lease("/app/servers/two") == lease);
    store_free(rival);
    store_free(store);

    store = make_open_store(&third, 2);
    CHECK(raw_lease("/app/servers/one") == raw_lease("/app/servers/two"));
    CHECK(heartbeat(store) == STORE_OK);
    Answer answer = resync(store, knows_all);
    CHECK(answer.status == STORE_OK && answer.n_keys == 2);
    revoke_lease(store);
    store_free(store);
    passed("keys on both leases of the pair, neither of the right TTL, are joined on one");
}

static void test_v3_short_ttl(const StoreConfig *config)
{
    StoreConfig brief = *config;
    brief.ttl_s = 1; /* etcd makes it 2, as it would make 5 of a 2 with slower elections */
    brief.identity = "short";
    Store *store = make_open_store(&brief, 0);
    StoreOp op = op_of(STORE_ENSURE, "/app/servers/short", "192.0.2.1:1");
    expect(store, &op, STORE_OP_DONE, true);
    int64_t revision = raw_revision("/app/servers/short");
    store_free(store);
    store = make_open_store(&brief, 1);
    CHECK(raw_revision("/app/servers/short") == revision);
    revoke_lease(store);
    store_free(store);
    passed("a TTL that etcd has raised is no reason to move keys");
}

static void test_v3_clones(const StoreConfig *config)
{
    StoreConfig a = *config, b = *config;
    a.identity = b.identity = "clone";
    a.userdata = "192.0.2.1";
    b.userdata = "192.0.2.2";
    a.writer = b.writer = find_writer;

    Store *first = make_open_store(&a, 0);
    StoreOp one = op_of(STORE_ENSURE, "/app/servers/one", "192.0.2.1:1");
    expect(first, &one, STORE_OP_DONE, true);
    int64_t plain = raw_lease("/app/servers/one");
    Store *second = make_open_store(&b, 0);
    StoreOp two = op_of(STORE_ENSURE, "/app/servers/two", "192.0.2.2:2");
    expect(second, &two, STORE_OP_DONE, true);
    CHECK(raw_lease("/app/servers/two") != plain);
    CHECK(raw_lease("/app/servers/one") == plain);
    StoreOp theirs = op_of(STORE_REMOVE, "/app/servers/one", NULL);
    expect(second, &theirs, STORE_OP_DONE, false);
    revoke_lease(first);
    /* The clone is gone: keys stay where they are. */
    int64_t revision = raw_revision("/app/servers/two");
    store_free(second);
    second = make_open_store(&b, 1);
    CHECK(raw_revision("/app/servers/two") == revision);
    revoke_lease(second);
    store_free(first);
    store_free(second);
    passed("a clone's lease is left alone, and another one taken");

    first = make_open_store(&a, 0);
    second = make_open_store(&b, 0); /* finds the lease empty, and takes it for its own */
    expect(first, &one, STORE_OP_DONE, true);
    expect(second, &two, STORE_OP_DONE, true);
    CHECK(raw_lease("/app/servers/one") == raw_lease("/app/servers/two"));
    CHECK(resync(first, knows_none).status == STORE_LEASE_LOST);
    Answer answer = open_store(first);
    CHECK(answer.status == STORE_OK && answer.n_keys == 1);
    CHECK(raw_lease("/app/servers/one") != raw_lease("/app/servers/two"));
    CHECK(raw_is("/app/servers/two", "192.0.2.2:2"));
    CHECK(resync(second, knows_none).status == STORE_OK);
    revoke_lease(first);
    CHECK(raw_is("/app/servers/two", "192.0.2.2:2"));
    revoke_lease(second);
    store_free(first);
    store_free(second);
    passed("two clones that share a lease part, each with its keys");

    first = make_open_store(&a, 0);
    second = make_open_store(&b, 0);
    StoreOp web = op_of(STORE_ENSURE, "/app/servers/web", "192.0.2.1:1"), clone = web;
    expect(first, &web, STORE_OP_DONE, true);
    clone.value = "192.0.2.2:1";
    CHECK(apply(second, &clone, 1) == STORE_LEASE_LOST);
    CHECK(clone.outcome == STORE_OP_CONFLICT);
    free(clone.holder);
    clone.holder = NULL;
    StoreOp blind = op_of(STORE_REMOVE, "/app/servers/web", NULL);
    CHECK(apply(second, &blind, 1) == STORE_LEASE_LOST);
    CHECK(blind.outcome == STORE_OP_DONE && !blind.wrote);
    CHECK(raw_is("/app/servers/web", "192.0.2.1:1"));
    CHECK(open_store(second).status == STORE_OK);
    expect(second, &clone, STORE_OP_CONFLICT, false);
    CHECK(raw_is("/app/servers/web", "192.0.2.1:1"));
    expect(first, &web, STORE_OP_DONE, false);
    free(clone.holder);
    passed("two clones that share a lease do not share a key");

    revoke_lease(first);
    revoke_lease(second);
    store_free(first);
    store_free(second);
}

static void test_v3_many(const StoreConfig *config)
{
    Store *store = make_open_store(config, 0);
    enum { MANY = 300 };
    StoreOp ops[STORE_BATCH_MAX] = { 0 };
    char keys[STORE_BATCH_MAX][32];
    char *large = malloc(4097);
    unsigned batch = store_batch_max(store);

    CHECK(batch > 100 && batch <= STORE_BATCH_MAX);
    for (size_t i = 0; i < STORE_BATCH_MAX; i++) {
        snprintf(keys[i], sizeof(keys[i]), "/app/servers/many-%zu", i);
        ops[i] = op_of(STORE_ENSURE, keys[i], "192.0.2.1:80");
    }
    uint64_t start = now_us();
    CHECK(apply(store, ops, batch) == STORE_OK);
    printf("%u creations: %.1f ms\n", batch, (double)(now_us() - start) / 1000);
    for (size_t i = 0; i < batch; i++)
        CHECK(ops[i].outcome == STORE_OP_DONE && ops[i].wrote);
    start = now_us();
    CHECK(apply(store, ops, batch) == STORE_OK);
    printf("%u found as they should be: %.1f ms\n", batch, (double)(now_us() - start) / 1000);
    for (size_t i = 0; i < batch; i++)
        CHECK(ops[i].outcome == STORE_OP_DONE && !ops[i].wrote);
    start = now_us();
    for (unsigned i = 0; i < 100; i++) {
        CHECK(apply(store, ops, 1) == STORE_OK);
    }
    printf("1 found as it should be: %.2f ms\n", (double)(now_us() - start) / 1000 / 100);
    ops[0].value = "192.0.2.1:81";
    start = now_us();
    for (unsigned i = 0; i < 100; i++) {
        ops[0].value = i % 2 ? "192.0.2.1:80" : "192.0.2.1:81";
        CHECK(apply(store, ops, 1) == STORE_OK);
        CHECK(ops[0].wrote);
    }
    printf("1 change: %.2f ms\n", (double)(now_us() - start) / 1000 / 100);
    start = now_us();
    for (unsigned i = 0; i < 100; i++)
        CHECK(heartbeat(store) == STORE_OK);
    printf("1 heartbeat: %.2f ms\n", (double)(now_us() - start) / 1000 / 100);
    CHECK(apply(store, ops, STORE_BATCH_MAX) == STORE_OK);
    passed("a full batch, and one that takes two requests");

    memset(large, 'x', 4096);
    large[4096] = '\0';
    for (size_t i = 0; i < STORE_BATCH_MAX; i++)
        ops[i].value = large;
    CHECK(apply(store, ops, STORE_BATCH_MAX) == STORE_OK);
    for (size_t i = 0; i < STORE_BATCH_MAX; i++)
        CHECK(ops[i].outcome == STORE_OP_DONE && ops[i].wrote);
    StoreConfig longer = *config;
    longer.ttl_s = 95;
    Store *next = make_open_store(&longer, STORE_BATCH_MAX);
    Answer answer = resync(next, knows_none);
    CHECK(answer.status == STORE_OK && answer.n_values == STORE_BATCH_MAX);
    revoke_lease(next);
    store_free(next);
    passed("values of the greatest length go in several requests");

    /* Somebody wrote huge values where ours are to be. */
    CHECK(open_store(store).status == STORE_OK);
    free(large);
    large = malloc(1400001);
    memset(large, 'y', 1400000);
    large[1400000] = '\0';
    for (size_t i = 0; i < 8; i++) {
        raw_put(keys[i], large);
        ops[i].value = "192.0.2.1:80";
    }
    for (size_t i = 8; i < 20; i++)
        ops[i].value = "192.0.2.1:80";
    CHECK(apply(store, ops, 20) == STORE_OK);
    for (size_t i = 0; i < 20; i++) {
        CHECK(ops[i].outcome == (i < 8 ? STORE_OP_CONFLICT : STORE_OP_DONE));
        if (i < 8)
            CHECK(strlen(ops[i].holder) == 4096);
        free(ops[i].holder);
        raw_delete(keys[i]);
    }
    revoke_lease(store);
    free(large);
    store_free(store);
    passed("huge values of others stop nobody");
}

static void test_free_while_running(const StoreConfig *config)
{
    Answer answer = { 0 };
    Store *store = make_open_store(config, 0);
    StoreOp op = op_of(STORE_PEEK, "/app/servers/x", "1");

    store_apply(store, &op, 1, on_done, &answer);
    store_free(store);
    store = make_open_store(config, 0);
    if (store_has_lease(store))
        store_heartbeat(store, on_done, &answer);
    for (unsigned i = 0; i < 3; i++)
        sd_event_run(event, 1000);
    store_free(store);
    store = make_store(config);
    store_open(store, on_keys, &answer);
    sd_event_run(event, 1000);
    store_free(store);
    for (unsigned i = 0; i < 3; i++)
        sd_event_run(event, 1000);
    passed("a store that is freed calls nobody");
}

/* Both: what cannot work */

static void test_unreachable(const StoreConfig *config)
{
    char *dead[] = { "http://127.0.0.1:1", endpoints[0] };
    StoreConfig broken = *config;

    broken.etcd.endpoints = dead;
    broken.etcd.n_endpoints = 1;
    Store *store = make_store(&broken);
    CHECK(open_store(store).status == STORE_UNREACHABLE);
    CHECK(strstr(last_message, "127.0.0.1:1") && strstr(last_message, "refused"));
    printf("%s\n", last_message);
    if (api != STORE_V2)
        CHECK(heartbeat(store) == STORE_UNREACHABLE);
    StoreOp op = op_of(STORE_PEEK, "/x", "y");
    CHECK(apply(store, &op, 1) == STORE_UNREACHABLE && op.outcome == STORE_OP_FAILED);
    store_free(store);

    broken.etcd.n_endpoints = 2;
    store = make_open_store(&broken, 0);
    CHECK(strcmp(etcd_endpoint(store_etcd(store)), endpoints[0]) == 0);
    StoreOp peek = op_of(STORE_PEEK, "/app/servers/none", "1");
    CHECK(apply(store, &peek, 1) == STORE_OK);
    CHECK(strcmp(etcd_endpoint(store_etcd(store)), endpoints[0]) == 0);
    struct sockaddr_storage remote;
    CHECK(etcd_remote(store_etcd(store), &remote));
    store_free(store);
    passed("an endpoint that is down costs one attempt, once");
}

/* v2 */

static void test_v2_refresh(Store *store)
{
    StoreOp refresh = op_of(STORE_REFRESH, "/app/servers/web", "192.0.2.1:80");
    StoreOp ensure = op_of(STORE_ENSURE, "/app/servers/web", "192.0.2.1:80");

    expect(store, &refresh, STORE_OP_LOST, false);
    expect(store, &ensure, STORE_OP_DONE, true);
    RawKey found = raw_get("/app/servers/web");
    CHECK(found.ttl_s > 0);
    free(found.value);
    uint64_t start = now_us();
    for (unsigned i = 0; i < 100; i++)
        expect(store, &refresh, STORE_OP_DONE, false);
    printf("1 refresh: %.2f ms\n", (double)(now_us() - start) / 1000 / 100);
    CHECK(raw_is("/app/servers/web", "192.0.2.1:80"));
    raw_put("/app/servers/web", "by hand");
    expect(store, &refresh, STORE_OP_CONFLICT, false);
    CHECK(strcmp(refresh.holder, "by hand") == 0);
    CHECK(raw_is("/app/servers/web", "by hand"));
    raw_delete("/app/servers/web");
    free(refresh.holder);
    passed("a refresh keeps a key, and takes none");
}

static void test_v2_directories(Store *store)
{
    StoreOp ensure = op_of(STORE_ENSURE, "/app/servers/dir", "192.0.2.1:80");
    StoreOp below = op_of(STORE_ENSURE, "/app/servers/file/below", "192.0.2.1:80");
    StoreOp remove = op_of(STORE_REMOVE, "/app/servers/dir", NULL);

    CHECK(raw_request("PUT", "/v2/keys/app/servers/dir", "dir=true", true, NULL) / 100 == 2);
    expect(store, &ensure, STORE_OP_CONFLICT, false);
    CHECK(strcmp(ensure.holder, "(directory)") == 0);
    ensure.previous = "192.0.2.1:79";
    expect(store, &ensure, STORE_OP_CONFLICT, false);
    ensure.verb = STORE_PEEK;
    expect(store, &ensure, STORE_OP_CONFLICT, false);
    ensure.verb = STORE_REPLACE;
    ensure.revision = (uint64_t)raw_revision("/app/servers/dir");
    expect(store, &ensure, STORE_OP_CONFLICT, false);
    remove.previous = "192.0.2.1:80";
    expect(store, &remove, STORE_OP_DONE, false);
    raw_put("/app/servers/file", "1");
    expect(store, &below, STORE_OP_CONFLICT, false);
    raw_delete("/app/servers/dir");
    raw_delete("/app/servers/file");
    free(ensure.holder);
    free(below.holder);
    passed("directories and keys in the way are conflicts");
}

static void raw_authenticate(void)
{
    CLEANUP_FREE char *body = NULL, *answer = NULL, *path = NULL;
    CLEANUP_JSON cJSON *json = NULL;

    if (!user || api == STORE_V2)
        return;
    free(raw_token);
    raw_token = NULL;
    CHECK(asprintf(&body, "{\"name\":\"%s\",\"password\":\"%s\"}", user, password) > 0);
    CHECK(asprintf(&path, "%s/auth/authenticate", v3_prefix) > 0);
    raw_request("POST", path, body, false, &answer);
    CHECK(json_parse(&json, answer, strlen(answer)) == 0);
    /* None where etcd asks for no user. */
    if (json_string(json, "token"))
        raw_token = strdup(json_string(json, "token"));
}

/* The user may write below /app/ only. */
static void test_v3_permission(const StoreConfig *config)
{
    Store *store = make_open_store(config, 0);
    StoreOp ops[20];
    char keys[20][32];

    for (size_t i = 0; i < 20; i++) {
        snprintf(keys[i], sizeof(keys[i]), "%s/servers/%zu", i == 13 ? "/other" : "/app", i);
        ops[i] = op_of(STORE_ENSURE, keys[i], "192.0.2.1:80");
    }
    CHECK(apply(store, ops, 20) == STORE_OK);
    for (size_t i = 0; i < 20; i++)
        CHECK(ops[i].outcome == (i == 13 ? STORE_OP_REJECTED : STORE_OP_DONE));
    CHECK(strstr(ops[13].holder, "permission denied"));
    free(ops[13].holder);
    ops[13].holder = NULL;
    CHECK(apply(store, &ops[13], 1) == STORE_OK);
    CHECK(ops[13].outcome == STORE_OP_REJECTED);
    free(ops[13].holder);
    ops[13].holder = NULL;
    Store *fresh = make_open_store(config, 19);
    CHECK(apply(fresh, &ops[13], 1) == STORE_OK);
    CHECK(ops[13].outcome == STORE_OP_REJECTED);
    free(ops[13].holder);
    ops[13].holder = NULL;
    store_free(fresh);
    passed("a key that the user may not write stops no other");

    /* Tokens do not outlive a restart of etcd. */
    const char *restart = getenv("LIVE_RESTART");
    if (restart) {
        CHECK(system(restart) == 0);
        CHECK(apply(store, ops, 13) == STORE_OK);
        CHECK(heartbeat(store) == STORE_OK);
        passed("an invalid token is replaced");
        raw_authenticate();
    }
    revoke_lease(store);
    store_free(store);
}

static void test_v3(const StoreConfig *config)
{
    Store *store = make_open_store(config, 0);

    CHECK(store_has_lease(store));
    test_own_keys(store);
    test_odd_texts(store);
    test_keys_of_others(store);
    revoke_lease(store);
    store_free(store);
    test_v3_restart(config);
    test_v3_both_leases(config);
    test_v3_short_ttl(config);
    test_v3_clones(config);
    test_v3_many(config);
    if (raw_token)
        test_v3_permission(config);
}

static void test_v2(const StoreConfig *config)
{
    Store *store = make_open_store(config, 0);
    CLEANUP_FREE char *answer = NULL;

    CHECK(!store_has_lease(store));
    printf("%s\n", store_describe(store));
    CHECK(raw_request("GET", "/v2/keys/app/servers", NULL, true, &answer) == 200);
    CHECK(strstr(answer, "\"dir\":true") && !strstr(answer, "ttl"));
    CHECK(raw_request("GET", "/v2/keys/skydns/local/servers", NULL, true, NULL) == 200);
    CHECK(open_store(store).status == STORE_OK);
    passed("the directories are made, without a TTL");
    test_own_keys(store);
    test_odd_texts(store);
    test_keys_of_others(store);
    test_v2_refresh(store);
    test_v2_directories(store);
    store_free(store);
}

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 5) {
        fprintf(stderr, "usage: live_store URL[,URL…] v3|v2|auto [USER PASSWORD]\n");
        return 1;
    }
    for (char *url = strtok(argv[1], ","); url && n_endpoints < 8; url = strtok(NULL, ","))
        endpoints[n_endpoints++] = url;
    api = strcmp(argv[2], "v3") == 0 ? STORE_V3 : strcmp(argv[2], "v2") == 0 ? STORE_V2 : STORE_AUTO;
    if (argc == 5) {
        user = argv[3];
        password = argv[4];
    }
    CHECK(sd_event_new(&event) >= 0);
    StoreConfig config = config_for("live test", "192.0.2.1", 60);
    CHECK(etcd_new(&raw_etcd, event, &config.etcd) == 0);

    Store *store = make_store(&config);
    if (open_store(store).status != STORE_OK) {
        printf("%s\n", last_message);
        return 1;
    }
    bool v3 = store_has_lease(store);
    if (strstr(store_describe(store), "(3.3"))
        v3_prefix = "/v3beta";
    api = v3 ? STORE_V3 : STORE_V2;
    store_free(store);
    raw_authenticate();

    if (v3)
        test_v3(&config);
    else
        test_v2(&config);
    test_unreachable(&config);
    test_free_while_running(&config);

    etcd_free(raw_etcd);
    free(raw_token);
    sd_event_unref(event);
    printf("done\n");
    return 0;
}
