/* The v2 keys API, as etcd 0.4, 2.3 and 3.4 answered when tests/data/etcd was recorded; and how the store
 * chooses an API and words its failures, with a scripted server in etcd's place. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "etcd/etcd2_call.h"
#include "etcd/etcd2_message.h"
#include "base/numbers.h"
#include "etcd/store_private.h"

#include "unit/failing.h"
#include "unit/fake_http.h"

static const char *const versions[] = { "0.4", "2.3", "3.4" };

static char *read_file(const char *name)
{
    const char *srcdir = getenv("srcdir");
    char path[512];
    char *text = calloc(1, 65536);

    snprintf(path, sizeof(path), "%s/tests/data/etcd/%s", srcdir ? srcdir : ".", name);
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
    char file[128];
    cJSON *json = NULL;

    snprintf(file, sizeof(file), "v2-%s-%s.json", version, name);
    CLEANUP_FREE char *text = read_file(file);
    assert_int_equal(json_parse(&json, text, strlen(text)), 0);
    return json;
}

/* Messages */

static void builds_forms(void **state)
{
    Etcd2Put create = { .value = "1.2.3.4:80", .ttl_s = 30, .prev_absent = true };
    Etcd2Put refresh = { .ttl_s = 30, .prev_value = "{\"a\": 1}&b" };
    Etcd2Put replace = { .value = "", .ttl_s = 30, .prev_index = UINT64_MAX };

    (void)state;
    CLEANUP_FREE char *a = etcd2_build_form(&create);
    CLEANUP_FREE char *b = etcd2_build_form(&refresh);
    CLEANUP_FREE char *c = etcd2_build_form(&replace);
    assert_string_equal(a, "ttl=30&value=1.2.3.4%3A80&prevExist=false");
    assert_string_equal(b, "ttl=30&refresh=true&prevValue=%7B%22a%22%3A%201%7D%26b");
    assert_string_equal(c, "ttl=30&value=&prevIndex=18446744073709551615");
}

/* One without its condition would overwrite whatever is there. */
static void a_form_is_whole_or_none(void **state)
{
    char value[4097];
    Etcd2Put put = { .value = value, .ttl_s = 30, .prev_value = value };
    unsigned failures = 0;

    (void)state;
    memset(value, '%', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    CLEANUP_FREE char *whole = etcd2_build_form(&put);
    assert_non_null(whole);
    assert_true(strlen(whole) > 6 * strlen(value));
    for (unsigned n = 1; fails_in == 0; n++) {
        fails_in = n;
        CLEANUP_FREE char *form = etcd2_build_form(&put);
        if (fails_in > 0)
            assert_string_equal(form, whole);
        else
            assert_null(form);
        failures += fails_in == 0;
    }
    fails_in = 0;
    assert_true(failures >= 3); /* two values escaped, and the form itself */
}

static void builds_paths(void **state)
{
    (void)state;
    CLEANUP_FREE char *a = etcd2_build_path("/app/a b?c#d%", NULL);
    CLEANUP_FREE char *b = etcd2_build_path("app", "quorum=true");
    CLEANUP_FREE char *c = etcd2_build_delete_path("/app/web", "a=b&c", 0);
    CLEANUP_FREE char *d = etcd2_build_delete_path("/app/web", "a", UINT64_MAX);
    assert_string_equal(a, "/v2/keys/app/a%20b%3Fc%23d%25");
    assert_string_equal(b, "/v2/keys/app?quorum=true");
    assert_string_equal(c, "/v2/keys/app/web?prevValue=a%3Db%26c");
    assert_string_equal(d, "/v2/keys/app/web?prevValue=a&prevIndex=18446744073709551615");
}

static void reads_errors(void **state)
{
    static const struct {
        const char *name;
        long status;
        Etcd2Error error;
    } cases[] = {
        { "dir", 201, ETCD2_OK },
        { "create", 201, ETCD2_OK },
        { "get", 200, ETCD2_OK },
        { "dir-exists", 412, ETCD2_NODE_EXIST },
        { "exists", 412, ETCD2_NODE_EXIST },
        { "changed", 412, ETCD2_TEST_FAILED },
        { "gone", 404, ETCD2_KEY_NOT_FOUND },
        { "not-file", 403, ETCD2_NOT_FILE },
        { "not-dir", 400, ETCD2_NOT_DIR },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(cases); j++) {
            CLEANUP_JSON cJSON *json = read_json(cases[j].name, versions[i]);
            const char *message;
            assert_int_equal(etcd2_parse_error(json, cases[j].status, &message), cases[j].error);
            assert_int_equal(*message != '\0', cases[j].error != ETCD2_OK);
        }
    }
}

static void an_answer_without_code_is_not_the_apis(void **state)
{
    const char *message;

    (void)state;
    assert_int_equal(etcd2_parse_error(NULL, 404, &message), ETCD2_OTHER);
    assert_string_equal(message, "");
}

/* The cheap way to read the answer to a refresh. */
static void finds_the_index_of_the_node(void **state)
{
    static const struct {
        const char *body;
        uint64_t index;
    } cases[] = {
        { "{\"action\":\"update\",\"node\":{\"key\":\"/a\",\"value\":\"1\",\"ttl\":30,\"modifiedIndex\":12,"
          "\"createdIndex\":5},\"prevNode\":{\"key\":\"/a\",\"value\":\"1\",\"modifiedIndex\":11,\"createdIndex\":5}}",
          12 },
        { "{\"node\":{\"value\":\"a,\\\"modifiedIndex\\\":7\",\"modifiedIndex\":18446744073709551615}}", UINT64_MAX },
        { "{\"node\":{\"value\":\"a,\\\"modifiedIndex\\\":7\"}}", 0 },
        { "{\"node\":{\"value\":\"1\",\"modifiedIndex\":\"12\"}}", 0 },
        { "", 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_true(etcd2_find_index(cases[i].body) == cases[i].index);
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        char name[128];
        Etcd2Node node;

        snprintf(name, sizeof(name), "v2-%s-get.json", versions[i]);
        CLEANUP_FREE char *text = read_file(name);
        CLEANUP_JSON cJSON *json = read_json("get", versions[i]);
        assert_int_equal(etcd2_parse_node(json, &node), 0);
        assert_int_equal(etcd2_find_index(text), node.revision);
    }
}

static void reads_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        CLEANUP_JSON cJSON *key = read_json("get", versions[i]);
        CLEANUP_JSON cJSON *directory = read_json("get-dir", versions[i]);
        CLEANUP_JSON cJSON *by_hand = read_json("get-no-ttl", versions[i]);
        Etcd2Node node;

        assert_int_equal(etcd2_parse_node(key, &node), 0);
        assert_string_equal(node.value, "v1");
        assert_true(node.has_ttl && !node.is_directory && node.revision > 0);
        assert_int_equal(etcd2_parse_node(directory, &node), 0);
        assert_true(node.is_directory);
        assert_int_equal(etcd2_parse_node(by_hand, &node), 0);
        assert_string_equal(node.value, "by hand");
        assert_false(node.has_ttl || node.is_directory);
        assert_int_equal(etcd2_parse_node(NULL, &node), -EBADMSG);
    }
}

/* The store before a scripted server */

typedef struct Line {
    const char *expected; /* start of the request, or what its body ends in */
    const char *body; /* of the request: NULL: not looked at */
    const char *status, *answer;
} Line;

static sd_event *event;
static FakeServer *server;
static const Line *script;
static size_t n_script, at;

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), n = strlen(end);

    return n <= length && strcmp(text + length - n, end) == 0;
}

/* For when it is not known what will be asked. */
static bool any_order;

static void answer_any(FakeConnection *connection, const char *request)
{
    static const Line lines[] = {
        { "GET /version ", NULL, "200 OK", "{\"etcdserver\":\"3.5.0\",\"etcdcluster\":\"3.5.0\"}" },
        { "POST /v3/lease/timetolive ", NULL, "200 OK", "{\"TTL\":\"-1\"}" },
        { "POST /v3/lease/grant ", NULL, "200 OK", "{\"TTL\":\"30\"}" },
        { "POST /v3/lease/keepalive ", NULL, "200 OK", "{\"result\":{\"TTL\":\"30\"}}" },
        { "POST /v3/kv/txn ", NULL, "200 OK",
          "{\"header\":{\"revision\":\"7\"},\"succeeded\":true,\"responses\":[{\"response_put\":{}}]}" },
        { "PUT /v2/keys/app/servers ", NULL, "201 Created", "{}" },
        { "PUT /v2/keys/a ", NULL, "412 No", "{\"errorCode\":105,\"message\":\"Key already exists\"}" },
        { "GET /v2/keys/a?", NULL, "200 OK", "{\"node\":{\"value\":\"theirs\",\"modifiedIndex\":5}}" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        if (strncmp(request, lines[i].expected, strlen(lines[i].expected)) == 0) {
            fake_answer(connection, lines[i].status, "", lines[i].answer);
            return;
        }
    }
    fail_msg("not expected: %s", request);
}

static void answer(FakeConnection *connection, const char *request)
{
    if (any_order) {
        answer_any(connection, request);
        return;
    }
    if (at >= n_script)
        fail_msg("one too many: %s", request);
    const Line *line = &script[at++];
    if (strncmp(request, line->expected, strlen(line->expected)) != 0)
        fail_msg("'%s' was expected, and came: %s", line->expected, request);
    if (line->body && !ends_with(request, line->body))
        fail_msg("a body '%s' was expected, and came: %s", line->body, request);
    fake_answer(connection, line->status, "", line->answer);
}

typedef struct Seen {
    bool done;
    StoreStatus status;
    char message[512];
} Seen;

static void on_done(void *userdata, StoreStatus status, const char *message)
{
    Seen *seen = userdata;

    assert_false(seen->done);
    seen->done = true;
    seen->status = status;
    snprintf(seen->message, sizeof(seen->message), "%s", message);
    assert_int_equal(status == STORE_OK, *message == '\0');
    assert_null(strchr(message, '\n'));
}

static void on_keys(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    (void)keys;
    assert_int_equal(n_keys, 0);
    on_done(userdata, status, message);
}

static int set_up(void **state)
{
    (void)state;
    any_order = false;
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

static void play(const Line *lines, size_t n)
{
    script = lines;
    n_script = n;
    at = 0;
}

static void wait_for(Seen *seen)
{
    assert_false(seen->done);
    while (!seen->done)
        assert_true(sd_event_run(event, 10 * 1000 * 1000) > 0);
    assert_int_equal(at, n_script);
}

static Store *make_store(StoreApi api)
{
    char *endpoints[] = { server->url }, *directories[] = { (char *)"/app/servers" };
    StoreConfig config = {
        .etcd = { .endpoints = endpoints, .n_endpoints = 1 },
        .api = api,
        .ttl_s = 30,
        .identity = "host",
        .layout = "/app/",
        .directories = directories,
        .n_directories = ARRAY_SIZE(directories),
    };
    Store *store;

    assert_int_equal(store_new(&store, event, &config), 0);
    return store;
}

static void open_with(Store *store, const Line *lines, size_t n, Seen *seen)
{
    play(lines, n);
    store_open(store, on_keys, seen);
    wait_for(seen);
}

static void expect_open_fails(StoreApi api, const Line *lines, size_t n, StoreStatus status, const char *words)
{
    CLEANUP(store_free_p) Store *store = make_store(api);
    Seen seen = { 0 };

    open_with(store, lines, n, &seen);
    assert_int_equal(seen.status, status);
    if (!strstr(seen.message, words))
        fail_msg("no word of '%s' in: %s", words, seen.message);
}

#define VERSION(text)                         \
    {                                         \
        "GET /version ", NULL, "200 OK", text \
    }

static void reports_a_version_that_is_unsuitable(void **state)
{
    const Line web[] = { { "GET /version ", NULL, "200 OK", "<html>\n <body>" } };
    const Line not_found[] = { { "GET /version ", NULL, "404 Not Found", "no" } };
    const Line overloaded[] = { { "GET /version ", NULL, "503 Sorry", "later" } };
    const Line old[] = { VERSION("etcd 0.4.6") };
    const Line three_two[] = { VERSION("{\"etcdserver\":\"3.2.32\",\"etcdcluster\":\"3.2.0\"}") };

    (void)state;
    expect_open_fails(STORE_AUTO, web, 1, STORE_REFUSED, "does not answer like etcd (HTTP status 200: <html> <body>)");
    expect_open_fails(STORE_AUTO, not_found, 1, STORE_REFUSED, "does not answer like etcd");
    expect_open_fails(STORE_AUTO, overloaded, 1, STORE_UNREACHABLE, "503: later");
    expect_open_fails(STORE_V3, old, 1, STORE_REFUSED, "0.4.6");
    expect_open_fails(STORE_V3, three_two, 1, STORE_REFUSED, "needs 3.3");
}

static void says_how_to_get_the_api(void **state)
{
    const Line no_v2[] = { VERSION("{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\"}"),
                           { "PUT /v2/keys/app/servers ", NULL, "404 Not Found", "404 page not found\n" } };
    const Line no_gateway[] = { VERSION("{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\"}"),
                                { "POST /v3/lease/timetolive ", NULL, "404 Not Found", "404 page not found\n" } };
    const Line no_gateway36[] = { VERSION("{\"etcdserver\":\"3.6.5\",\"etcdcluster\":\"3.6.0\"}"),
                                  { "POST /v3/lease/timetolive ", NULL, "404 Not Found",
                                    "{\"code\":5, \"message\":\"Not Found\"}" } };

    (void)state;
    expect_open_fails(STORE_V2, no_v2, 2, STORE_REFUSED, "--enable-v2");
    expect_open_fails(STORE_AUTO, no_gateway, 2, STORE_REFUSED, "--enable-grpc-gateway");
    expect_open_fails(STORE_AUTO, no_gateway36, 2, STORE_REFUSED, "--enable-grpc-gateway");
}

static void a_cluster_under_upgrade_counts_as_its_oldest_member(void **state)
{
    const Line lines[] = { VERSION("{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.3.0\"}"),
                           { "POST /v3beta/kv/lease/timetolive ", NULL, "503 No", "{\"code\":14,\"message\":\"x\"}" } };

    (void)state;
    expect_open_fails(STORE_AUTO, lines, 2, STORE_UNREACHABLE, "majority");
}

static void a_new_cluster_counts_as_the_member_that_answers(void **state)
{
    const Line lines[] = { VERSION("{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.0.0\"}"),
                           { "POST /v3/lease/timetolive ", NULL, "503 No", "{\"code\":14,\"message\":\"x\"}" } };

    (void)state;
    expect_open_fails(STORE_AUTO, lines, 2, STORE_UNREACHABLE, "majority");
    expect_open_fails(STORE_V3, lines, 2, STORE_UNREACHABLE, "majority");
}

static void reports_refusals_in_words(void **state)
{
    static const struct {
        const char *status, *body, *words;
        StoreStatus expected;
    } cases[] = {
        { "403 Forbidden", "{\"code\":7,\"message\":\"etcdserver: permission denied\"}", "readwrite", STORE_REFUSED },
        { "400 Bad", "{\"code\":3,\"message\":\"etcdserver: user name is empty\"}", "--etcd-user", STORE_REFUSED },
        { "401 No", "{\"code\":16,\"message\":\"etcdserver: invalid auth token\"}", "--etcd-password-file",
          STORE_REFUSED },
        { "429 No", "{\"code\":8,\"message\":\"etcdserver: mvcc: database space exceeded\"}", "defragment",
          STORE_REFUSED },
        { "429 No", "{\"code\":8,\"message\":\"etcdserver: too many requests\"}", "too many requests",
          STORE_UNREACHABLE },
        { "503 No", "{\"code\":14,\"message\":\"etcdserver: no leader\"}", "no leader", STORE_UNREACHABLE },
        { "200 OK", "{\"error\":{\"code\":14,\"message\":\"etcdserver: no leader\"}}", "no leader", STORE_UNREACHABLE },
        { "502 No", "<html>", "502: <html>", STORE_UNREACHABLE },
        { "200 OK", "<html>", "does not answer like etcd's v3 API", STORE_REFUSED },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const Line lines[] = { VERSION("{\"etcdserver\":\"3.5.0\",\"etcdcluster\":\"3.5.0\"}"),
                               { "POST /v3/lease/timetolive ", NULL, cases[i].status, cases[i].body } };
        expect_open_fails(STORE_AUTO, lines, 2, cases[i].expected, cases[i].words);
    }
}

static char *long_answer(size_t size)
{
    static const char start[] = "{\"TTL\":\"-1\",\"pad\":\"";
    char *text = malloc(size + 1);

    assert_non_null(text);
    memset(text, 'a', size);
    memcpy(text, start, sizeof(start) - 1);
    memcpy(text + size - 2, "\"}", 3);
    return text;
}

/* The list of a lease's keys has no pages. */
static void takes_the_longest_list_of_keys_and_says_when_it_is_longer(void **state)
{
    CLEANUP_FREE char *longest = long_answer(11 * 1024 * 1024);
    CLEANUP_FREE char *longer = long_answer(17 * 1024 * 1024);
    const Line lines[] = { VERSION("{\"etcdserver\":\"3.5.0\",\"etcdcluster\":\"3.5.0\"}"),
                           { "POST /v3/lease/timetolive ", NULL, "200 OK", longest },
                           { "POST /v3/lease/timetolive ", NULL, "200 OK", longer } };

    (void)state;
    expect_open_fails(STORE_AUTO, lines, 3, STORE_UNREACHABLE,
                      "the answer is too long): too many or too long keys are registered");
}

static Store *make_open_store3(void)
{
    const Line lines[] = {
        VERSION("{\"etcdserver\":\"3.5.0\",\"etcdcluster\":\"3.5.0\"}"),
        { "POST /v3/lease/timetolive ", NULL, "200 OK", "{\"TTL\":\"-1\"}" },
        { "POST /v3/lease/timetolive ", NULL, "200 OK", "{\"TTL\":\"-1\"}" },
        { "POST /v3/lease/timetolive ", NULL, "200 OK", "{\"TTL\":\"-1\"}" },
        { "POST /v3/lease/timetolive ", NULL, "200 OK", "{\"TTL\":\"-1\"}" },
        { "POST /v3/lease/grant ", NULL, "200 OK", "{\"TTL\":\"30\"}" },
    };
    Store *store = make_store(STORE_V3);
    Seen seen = { 0 };

    assert_false(store_has_lease(store));
    open_with(store, lines, ARRAY_SIZE(lines), &seen);
    assert_int_equal(seen.status, STORE_OK);
    assert_true(store_has_lease(store));
    return store;
}

static Store *make_open_store(const char *version)
{
    const Line lines[] = { VERSION(version),
                           { "PUT /v2/keys/app/servers ", "dir=true&prevExist=false", "201 OK", "{}" } };
    Store *store = make_store(STORE_AUTO);
    Seen seen = { 0 };

    open_with(store, lines, 2, &seen);
    assert_int_equal(seen.status, STORE_OK);
    assert_false(store_has_lease(store));
    assert_int_equal(store_batch_max(store), 1);
    return store;
}

static void run(Store *store, StoreOp *op, const Line *lines, size_t n, StoreStatus status, StoreOutcome outcome)
{
    Seen seen = { 0 };

    play(lines, n);
    store_apply(store, op, 1, on_done, &seen);
    wait_for(&seen);
    assert_int_equal(seen.status, status);
    assert_int_equal(op->outcome, outcome);
}

#define DENIED "403 Forbidden", "{\"code\":7,\"message\":\"etcdserver: permission denied\"}"

/* Whatever was written before, or was not: a permission concerns a key, and the store stays as it is. */
static void a_permission_concerns_a_key(void **state)
{
    CLEANUP(store_free_p) Store *store = make_open_store3();
    StoreOp op = { .verb = STORE_ENSURE, .key = "/other", .value = "1" };
    const Line denied[] = { { "POST /v3/kv/txn ", NULL, DENIED } };

    (void)state;
    run(store, &op, denied, 1, STORE_OK, STORE_OP_REJECTED);
    assert_string_equal(op.holder, "etcdserver: permission denied");
    free(op.holder);
}

static void names_the_files_when_tls_fails(void **state)
{
    char url[160];
    char *endpoints[] = { url };
    StoreConfig config = { .etcd = { .endpoints = endpoints, .n_endpoints = 1, .ca = "/nowhere/ca.pem" }, .ttl_s = 30 };
    CLEANUP(store_free_p) Store *store = NULL;
    Seen seen = { 0 };

    (void)state;
    snprintf(url, sizeof(url), "https%s", server->url + strlen("http"));
    assert_int_equal(store_new(&store, event, &config), 0);
    open_with(store, NULL, 0, &seen);
    assert_int_equal(seen.status, STORE_UNREACHABLE);
    assert_non_null(strstr(seen.message, "check --etcd-ca"));
}

static void asks_another_member_before_a_short_ttl_ends(void **state)
{
    Store store = { .config.ttl_s = 5 };

    (void)state;
    assert_int_equal(store_timeout_ms(&store, 3000), 1250);
    store.config.ttl_s = 30;
    assert_int_equal(store_timeout_ms(&store, 3000), 3000);
    store.config.ttl_s = UINT32_MAX;
    assert_int_equal(store_timeout_ms(&store, 3000), 3000);
}

static void numbers_have_a_limit(void **state)
{
    unsigned number;

    (void)state;
    assert_false(number_parse("9", 5, &number));
    assert_false(number_parse("6", 5, &number));
    assert_false(number_parse("10", 5, &number));
    assert_true(number_parse("5", 5, &number));
    assert_int_equal(number, 5);
    assert_true(number_parse("65535", 65535, &number));
    assert_false(number_parse("65536", 65535, &number));
    assert_false(number_parse("4294967296", UINT32_MAX, &number));
}

#define NODE(value) "{\"node\":{\"value\":\"" value "\",\"ttl\":9,\"modifiedIndex\":5}}"
#define GET_A "GET /v2/keys/a?quorum=true&consistent=true "
#define GONE "404 Not Found", "{\"errorCode\":100,\"message\":\"Key not found\"}"
#define CHANGED "412 No", "{\"errorCode\":101,\"message\":\"Compare failed\"}"
#define EXISTS "412 No", "{\"errorCode\":105,\"message\":\"Key already exists\"}"

static void adopts_a_key_of_its_own_by_a_refresh(void **state)
{
    CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
    StoreOp op = { .verb = STORE_ENSURE, .key = "/a", .value = "1" };
    const Line lines[] = {
        { "PUT /v2/keys/a ", "ttl=30&value=1&prevExist=false", EXISTS },
        { GET_A, NULL, "200 OK", NODE("1") },
        { "PUT /v2/keys/a ", "ttl=30&refresh=true&prevValue=1", "200 OK", "{}" },
    };

    (void)state;
    run(store, &op, lines, 3, STORE_OK, STORE_OP_DONE);
    assert_false(op.wrote);
}

static void a_key_without_ttl_belongs_to_another_owner(void **state)
{
    CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
    StoreOp op = { .verb = STORE_ENSURE, .key = "/a", .value = "1" };
    const Line lines[] = {
        { "PUT /v2/keys/a ", "ttl=30&value=1&prevExist=false", EXISTS },
        { GET_A, NULL, "200 OK", "{\"node\":{\"value\":\"1\",\"modifiedIndex\":5}}" },
    };

    (void)state;
    run(store, &op, lines, 2, STORE_OK, STORE_OP_CONFLICT);
    assert_int_equal(op.revision, 5);
    free(op.holder);
}

/* Which API it is shows when the settings are read already. */
static void v2_has_no_key_without_a_slash(void **state)
{
    static const StoreVerb verbs[] = { STORE_ENSURE, STORE_PEEK };
    CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        StoreOp op = { .verb = verbs[i], .key = "a/b", .value = "1" };

        run(store, &op, NULL, 0, STORE_OK, verbs[i] == STORE_PEEK ? STORE_OP_CONFLICT : STORE_OP_REJECTED);
        assert_non_null(strstr(op.holder, "begin with a slash"));
        free(op.holder);
    }
}

static void sends_no_refresh_to_an_older_server(void **state)
{
    static const char *const texts[] = { "etcd 0.4.6", "{\"releaseVersion\":\"2.0.13\",\"internalVersion\":\"2\"}",
                                         "{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.2.0\"}" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(store_free_p) Store *store = make_open_store(texts[i]);
        StoreOp op = { .verb = STORE_REFRESH, .key = "/a", .value = "1" };
        const Line lines[] = { { "PUT /v2/keys/a ", "ttl=30&value=1&prevValue=1", "200 OK", "{}" } };
        run(store, &op, lines, 1, STORE_OK, STORE_OP_DONE);
    }
}

/* Only an opening that may write makes directories. */
static void a_dry_run_makes_no_directory(void **state)
{
    static const struct {
        size_t n_directories;
        bool read_only;
        const char *request;
    } rows[] = {
        { 1, false, "PUT /v2/keys/app/servers " },
        { 1, true, "GET /v2/keys/registrator " },
        { 0, false, "GET /v2/keys/registrator " },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const Line lines[] = { VERSION("etcd 0.4.6"),
                               { rows[i].request, NULL, "404 Not Found", "{\"errorCode\":100}" } };
        char *endpoints[] = { server->url }, *directories[] = { (char *)"/app/servers" };
        StoreConfig config = { .etcd = { .endpoints = endpoints, .n_endpoints = 1 },
                               .ttl_s = 30,
                               .directories = directories,
                               .n_directories = rows[i].n_directories,
                               .read_only = rows[i].read_only };
        CLEANUP(store_free_p) Store *store = NULL;
        Seen seen = { 0 };

        assert_int_equal(store_new(&store, event, &config), 0);
        open_with(store, lines, 2, &seen);
        assert_int_equal(seen.status, STORE_OK);
    }
}

static void a_dry_run_wakes_no_confd(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        char *endpoints[] = { server->url };
        bool nudge = i & 1, read_only = i & 2;
        StoreConfig config = {
            .etcd = { .endpoints = endpoints, .n_endpoints = 1 }, .ttl_s = 30, .nudge = nudge, .read_only = read_only
        };
        CLEANUP(store_free_p) Store *store = NULL;

        assert_int_equal(store_new(&store, event, &config), 0);
        assert_int_equal(store->etcd2->nudge != NULL, nudge && !read_only);
    }
}

/* What is wrong with one layout's directory leaves the other layouts' keys alone. */
static void a_directory_in_the_way_ends_no_opening(void **state)
{
    static const char *const answers[][2] = {
        { "400 Bad Request", "{\"errorCode\":104,\"message\":\"Not a directory\",\"cause\":\"/skydns\"}" },
        { "401 Unauthorized", "{\"errorCode\":110,\"message\":\"The request requires user authentication\"}" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        const Line lines[] = { VERSION("etcd 0.4.6"),
                               { "PUT /v2/keys/app/servers ", NULL, "201 Created", "{}" },
                               { "PUT /v2/keys/skydns/servers ", NULL, answers[i][0], answers[i][1] },
                               { "PUT /v2/keys/other ", NULL, "201 Created", "{}" } };
        char *endpoints[] = { server->url };
        char *directories[] = { (char *)"/app/servers", (char *)"/skydns/servers", (char *)"/other" };
        StoreConfig config = { .etcd = { .endpoints = endpoints, .n_endpoints = 1 },
                               .ttl_s = 30,
                               .directories = directories,
                               .n_directories = ARRAY_SIZE(directories) };
        CLEANUP(store_free_p) Store *store = NULL;
        Seen seen = { 0 };

        assert_int_equal(store_new(&store, event, &config), 0);
        open_with(store, lines, ARRAY_SIZE(lines), &seen);
        assert_int_equal(seen.status, STORE_OK);
    }
}

/* A dry run asks with one GET, and never writes. */
static void a_dry_run_only_reads_the_key(void **state)
{
    CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
    static const struct {
        const char *status, *answer;
        StoreOutcome outcome;
    } rows[] = {
        { "200 OK", NODE("3"), STORE_OP_DONE },
        { "200 OK", NODE("1"), STORE_OP_CHANGED },
        { "200 OK", NODE("2"), STORE_OP_CHANGED },
        { "200 OK", NODE("theirs"), STORE_OP_CONFLICT },
        { "200 OK", "{\"node\":{\"value\":\"3\",\"modifiedIndex\":5}}", STORE_OP_CONFLICT }, /* no TTL */
        { "200 OK", "{\"node\":{\"dir\":true,\"modifiedIndex\":5}}", STORE_OP_CONFLICT },
        { "400 Bad Request", "{\"errorCode\":104,\"message\":\"Not a directory\"}", STORE_OP_CONFLICT },
        { GONE, STORE_OP_LOST },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        StoreOp op = { .verb = STORE_PEEK, .key = "/a", .value = "3", .previous = "1", .attempted = "2" };
        const Line lines[] = { { GET_A, NULL, rows[i].status, rows[i].answer } };

        run(store, &op, lines, 1, STORE_OK, rows[i].outcome);
        assert_false(op.wrote);
        free(op.holder);
    }
}

/* A refresh never creates the key, because the agent must first know that the key was lost. */
static void a_refresh_creates_no_key(void **state)
{
    CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
    StoreOp op = { .verb = STORE_REFRESH, .key = "/a", .value = "1" };
    const Line lost[] = { { "PUT /v2/keys/a ", "ttl=30&refresh=true&prevValue=1", GONE } };
    const Line changed[] = { { "PUT /v2/keys/a ", NULL, CHANGED }, { GET_A, NULL, "200 OK", NODE("2") } };
    const Line lost_later[] = { { "PUT /v2/keys/a ", NULL, CHANGED }, { GET_A, NULL, GONE } };
    StoreOp ensure = { .verb = STORE_ENSURE, .key = "/a", .value = "1", .previous = "1" };
    const Line created[] = {
        { "PUT /v2/keys/a ", "ttl=30&refresh=true&prevValue=1", GONE },
        { "PUT /v2/keys/a ", "ttl=30&value=1&prevExist=false", "201 OK", NODE("1") },
    };

    (void)state;
    run(store, &op, lost, 1, STORE_OK, STORE_OP_LOST);
    run(store, &op, changed, 2, STORE_OK, STORE_OP_CONFLICT);
    assert_string_equal(op.holder, "2");
    free(op.holder);
    run(store, &op, lost_later, 2, STORE_OK, STORE_OP_LOST);
    run(store, &ensure, created, 2, STORE_OK, STORE_OP_DONE);
    assert_true(ensure.wrote);
}

/* Another owner has made the key a directory, or one of its directories a key. */
static void a_directory_at_the_key_is_a_conflict(void **state)
{
    CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
    static const char *const answers[] = { "{\"errorCode\":102,\"message\":\"Not a file\"}",
                                           "{\"errorCode\":104,\"message\":\"Not a directory\"}" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        StoreOp ensure = { .verb = STORE_ENSURE, .key = "/a", .value = "1" };
        StoreOp refresh = { .verb = STORE_REFRESH, .key = "/a", .value = "1" };
        StoreOp removal = { .verb = STORE_REMOVE, .key = "/a", .attempted = "1" };
        const Line put[] = { { "PUT /v2/keys/a ", NULL, "403 No", answers[i] } };
        const Line get[] = { { GET_A, NULL, "400 No", answers[i] } };

        run(store, &ensure, put, 1, STORE_OK, STORE_OP_CONFLICT);
        run(store, &refresh, put, 1, STORE_OK, STORE_OP_CONFLICT);
        run(store, &removal, get, 1, STORE_OK, STORE_OP_DONE);
        free(ensure.holder);
        free(refresh.holder);
    }
}

static void survives_every_race(void **state)
{
    CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
    StoreOp op = { .verb = STORE_ENSURE, .key = "/a", .value = "3", .previous = "1", .attempted = "2" };
    const Line lines[] = {
        { "PUT /v2/keys/a ", "ttl=30&value=3&prevValue=1", CHANGED },
        { GET_A, NULL, "200 OK", NODE("2") },
        { "PUT /v2/keys/a ", "ttl=30&value=3&prevValue=2", GONE },
        { "PUT /v2/keys/a ", "ttl=30&value=3&prevExist=false", EXISTS },
        { GET_A, NULL, GONE },
        { "PUT /v2/keys/a ", "ttl=30&value=3&prevExist=false", "201 OK", "{}" },
    };

    (void)state;
    run(store, &op, lines, 6, STORE_OK, STORE_OP_DONE);
    assert_true(op.wrote);
}

static void gives_up_a_race_that_does_not_end(void **state)
{
    CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
    StoreOp op = { .verb = STORE_ENSURE, .key = "/a", .value = "3" };
    Line lines[8];

    (void)state;
    for (size_t i = 0; i < 8; i += 2) {
        lines[i] = (Line){ "PUT /v2/keys/a ", "ttl=30&value=3&prevExist=false", EXISTS };
        lines[i + 1] = (Line){ GET_A, NULL, GONE };
    }
    run(store, &op, lines, 8, STORE_OK, STORE_OP_FAILED);
}

typedef struct Race {
    StoreOp op;
    Line lines[8];
} Race;

/* Whatever the operation, eight requests are enough. */
static void gives_up_each_kind_of_race(void **state)
{
    const Line put = { "PUT /v2/keys/a ", NULL, CHANGED }, get = { GET_A, NULL, "200 OK", NODE("1") };
    const Line gone = { "PUT /v2/keys/a ", NULL, GONE }, exists = { "PUT /v2/keys/a ", NULL, EXISTS };
    const Line del = { "DELETE /v2/keys/a?prevValue=1&prevIndex=5 ", NULL, CHANGED };
    const Race races[] = {
        { { .verb = STORE_ENSURE, .value = "3", .previous = "1" }, { put, get, put, get, put, get, put, get } },
        { { .verb = STORE_ENSURE, .value = "3", .previous = "1" }, { gone, exists, get, put, get, put, get, put } },
        { { .verb = STORE_ENSURE, .value = "1", .previous = "1" }, { put, get, put, get, put, get, put, get } },
        { { .verb = STORE_REMOVE, .previous = "1", .known = 5 }, { del, get, del, get, del, get, del, get } },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(races); i++) {
        CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
        StoreOp op = races[i].op;

        op.key = "/a";
        run(store, &op, races[i].lines, 8, STORE_OK, STORE_OP_FAILED);
    }
}

static void replaces_the_key_that_was_seen(void **state)
{
    CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
    StoreOp op = { .verb = STORE_REPLACE, .key = "/a", .value = "1", .revision = 4 };
    const Line lines[] = { { "PUT /v2/keys/a ", "ttl=30&value=1&prevIndex=4", "200 OK", NODE("1") } };
    const Line changed[] = { { "PUT /v2/keys/a ", "ttl=30&value=1&prevIndex=4", CHANGED },
                             { GET_A, NULL, "200 OK", NODE("theirs") } };
    const Line unseen[] = { { "PUT /v2/keys/a ", "ttl=30&value=1&prevExist=false", "201 OK", NODE("1") } };

    (void)state;
    run(store, &op, lines, 1, STORE_OK, STORE_OP_DONE);
    assert_true(op.wrote);
    assert_int_equal(op.known, 5);
    run(store, &op, changed, 2, STORE_OK, STORE_OP_CONFLICT);
    assert_string_equal(op.holder, "theirs");
    assert_int_equal(op.revision, 5);
    free(op.holder);
    op.revision = 0;
    run(store, &op, unseen, 1, STORE_OK, STORE_OP_DONE);
}

/* A delete that etcd carries out late must not meet the same value that was written anew. */
static void deletes_by_the_index_that_it_wrote(void **state)
{
    CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
    StoreOp created = { .verb = STORE_ENSURE, .key = "/a", .value = "1" };
    const Line create[] = { { "PUT /v2/keys/a ", "prevExist=false", "201 OK", NODE("1") } };
    StoreOp refreshed = { .verb = STORE_REFRESH, .key = "/a", .value = "1", .known = 3 };
    const Line refresh[] = { { "PUT /v2/keys/a ", NULL, "200 OK", NODE("1") } };
    StoreOp op = { .verb = STORE_REMOVE, .key = "/a", .previous = "1", .known = 5 };
    const Line lines[] = { { "DELETE /v2/keys/a?prevValue=1&prevIndex=5 ", NULL, "200 OK", "{}" } };
    /* A refresh whose answer never came. */
    const Line later[] = {
        { "DELETE /v2/keys/a?prevValue=1&prevIndex=4 ", NULL, CHANGED },
        { GET_A, NULL, "200 OK", NODE("1") },
        { "DELETE /v2/keys/a?prevValue=1&prevIndex=5 ", NULL, "200 OK", "{}" },
    };

    (void)state;
    run(store, &created, create, 1, STORE_OK, STORE_OP_DONE);
    assert_int_equal(created.known, 5);
    run(store, &refreshed, refresh, 1, STORE_OK, STORE_OP_DONE);
    assert_int_equal(refreshed.known, 5);
    run(store, &op, lines, 1, STORE_OK, STORE_OP_DONE);
    assert_true(op.wrote);
    assert_int_equal(op.known, 0);
    op.known = 4;
    run(store, &op, later, 3, STORE_OK, STORE_OP_DONE);
    assert_true(op.wrote);
}

static void reads_an_unknown_key_before_deleting_it(void **state)
{
    CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
    StoreOp op = { .verb = STORE_REMOVE, .key = "/a", .previous = "1", .attempted = "2 3" };
    const Line lines[] = {
        { GET_A, NULL, "200 OK", NODE("2 3") },
        { "DELETE /v2/keys/a?prevValue=2%203&prevIndex=5 ", NULL, "200 OK", "{}" },
    };
    const Line nonsense[] = { { GET_A, NULL, "200 OK", "{\"node\":5}" } };
    const Line others[][1] = {
        { { GET_A, NULL, "200 OK", NODE("theirs") } },
        { { GET_A, NULL, "200 OK", "{\"node\":{\"value\":\"1\",\"modifiedIndex\":5}}" } }, /* no TTL */
        { { GET_A, NULL, "200 OK", "{\"node\":{\"dir\":true,\"modifiedIndex\":5}}" } },
        { { GET_A, NULL, GONE } },
    };

    (void)state;
    run(store, &op, lines, 2, STORE_OK, STORE_OP_DONE);
    assert_true(op.wrote);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        run(store, &op, others[i], 1, STORE_OK, STORE_OP_DONE);
        assert_false(op.wrote);
    }
    /* Either value alone makes the agent look, and an answer without a value tells nothing. */
    op.attempted = NULL;
    run(store, &op, others[3], 1, STORE_OK, STORE_OP_DONE);
    op.attempted = TAKE_PTR(op.previous);
    run(store, &op, others[3], 1, STORE_OK, STORE_OP_DONE);
    run(store, &op, nonsense, 1, STORE_OK, STORE_OP_FAILED);
    op.previous = op.attempted = NULL;
    run(store, &op, NULL, 0, STORE_OK, STORE_OP_DONE);
    assert_false(op.wrote);
}

static void the_outcome_is_unknown_when_etcd_fails(void **state)
{
    CLEANUP(store_free_p) Store *store = make_open_store("{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}");
    StoreOp op = { .verb = STORE_ENSURE, .key = "/a", .value = "3" };
    const Line lines[] = { { "PUT /v2/keys/a ", NULL, "500 No",
                             "{\"errorCode\":300,\"message\":\"Raft Internal Error\"}" } };
    const Line denied[] = { { "PUT /v2/keys/a ", NULL, "401 No",
                              "{\"errorCode\":110,\"message\":\"The request requires user authentication\"}" } };
    const Line root[] = { { "PUT /v2/keys/a ", NULL, "403 No",
                            "{\"errorCode\":107,\"message\":\"Root is read only\"}" } };

    (void)state;
    run(store, &op, lines, 1, STORE_UNREACHABLE, STORE_OP_FAILED);
    run(store, &op, denied, 1, STORE_OK, STORE_OP_REJECTED);
    assert_non_null(strstr(op.holder, "permission denied"));
    free(op.holder);
    op.verb = STORE_REFRESH; /* the key is there, and stays */
    run(store, &op, denied, 1, STORE_REFUSED, STORE_OP_FAILED);
    op.verb = STORE_ENSURE;
    run(store, &op, root, 1, STORE_OK, STORE_OP_REJECTED);
    assert_string_equal(op.holder, "Root is read only");
    free(op.holder);
}

static void answers_before_it_is_open(void **state)
{
    CLEANUP(store_free_p) Store *store = make_store(STORE_AUTO);
    StoreOp op = { .verb = STORE_PEEK, .key = "/a", .value = "3" };
    Seen heartbeat = { 0 }, resync = { 0 };

    (void)state;
    run(store, &op, NULL, 0, STORE_UNREACHABLE, STORE_OP_FAILED);
    store_heartbeat(store, on_done, &heartbeat);
    wait_for(&heartbeat);
    store_resync(store, NULL, on_keys, &resync);
    wait_for(&resync);
    assert_int_equal(resync.status, STORE_UNREACHABLE);
}

/* The verb was not called, or answered. */
static bool ended(Seen *seen, int r)
{
    if (r < 0) {
        assert_int_equal(r, -ENOMEM);
        assert_false(seen->done);
        return false;
    }
    while (!seen->done)
        assert_true(sd_event_run(event, 10 * 1000 * 1000) > 0);
    return seen->status == STORE_OK;
}

/* True: the n-th allocation was made, and failed. */
static bool work_with_failure(StoreApi api, unsigned n)
{
    CLEANUP(store_free_p) Store *store = make_store(api);
    StoreOp op = { .verb = STORE_ENSURE, .key = "/a", .value = "1" };
    Seen opened = { 0 }, applied = { 0 }, beaten = { 0 }, again = { 0 };
    bool unharmed;

    fails_in = n;
    unharmed = ended(&opened, store_open(store, on_keys, &opened));
    if (unharmed)
        unharmed = ended(&applied, store_apply(store, &op, 1, on_done, &applied));
    if (unharmed && store_has_lease(store))
        unharmed = ended(&beaten, store_heartbeat(store, on_done, &beaten));
    bool failed = fails_in == 0;
    fails_in = 0;
    assert_true(failed || unharmed);
    /* What failed can be tried again. */
    assert_true(ended(&again, store_open(store, on_keys, &again)));
    free(op.holder);
    again = (Seen){ 0 };
    assert_true(ended(&again, store_apply(store, &op, 1, on_done, &again)));
    assert_int_equal(op.outcome, api == STORE_V3 ? STORE_OP_DONE : STORE_OP_CONFLICT);
    free(op.holder);
    return failed;
}

static void each_allocation_may_fail(void **state)
{
    static const StoreApi apis[] = { STORE_V3, STORE_V2 };

    (void)state;
    any_order = true;
    for (size_t i = 0; i < ARRAY_SIZE(apis); i++) {
        unsigned n = 1;

        while (work_with_failure(apis[i], n))
            n++;
        assert_in_range(n, 20, 2000);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_forms),
        cmocka_unit_test(a_form_is_whole_or_none),
        cmocka_unit_test(builds_paths),
        cmocka_unit_test(reads_errors),
        cmocka_unit_test(an_answer_without_code_is_not_the_apis),
        cmocka_unit_test(finds_the_index_of_the_node),
        cmocka_unit_test(reads_nodes),
        TEST(reports_a_version_that_is_unsuitable),
        TEST(says_how_to_get_the_api),
        TEST(a_cluster_under_upgrade_counts_as_its_oldest_member),
        TEST(a_new_cluster_counts_as_the_member_that_answers),
        TEST(reports_refusals_in_words),
        TEST(takes_the_longest_list_of_keys_and_says_when_it_is_longer),
        TEST(a_permission_concerns_a_key),
        TEST(names_the_files_when_tls_fails),
        cmocka_unit_test(asks_another_member_before_a_short_ttl_ends),
        cmocka_unit_test(numbers_have_a_limit),
        TEST(each_allocation_may_fail),
        TEST(adopts_a_key_of_its_own_by_a_refresh),
        TEST(a_key_without_ttl_belongs_to_another_owner),
        TEST(v2_has_no_key_without_a_slash),
        TEST(sends_no_refresh_to_an_older_server),
        TEST(a_dry_run_makes_no_directory),
        TEST(a_dry_run_wakes_no_confd),
        TEST(a_directory_in_the_way_ends_no_opening),
        TEST(a_dry_run_only_reads_the_key),
        TEST(a_refresh_creates_no_key),
        TEST(a_directory_at_the_key_is_a_conflict),
        TEST(survives_every_race),
        TEST(gives_up_a_race_that_does_not_end),
        TEST(gives_up_each_kind_of_race),
        TEST(replaces_the_key_that_was_seen),
        TEST(deletes_by_the_index_that_it_wrote),
        TEST(reads_an_unknown_key_before_deleting_it),
        TEST(the_outcome_is_unknown_when_etcd_fails),
        TEST(answers_before_it_is_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
