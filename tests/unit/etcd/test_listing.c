/* Which keys are read from etcd and what is kept of them, before a scripted etcd v3. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "etcd/listing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/json.h"

#include "unit/fake_http.h"

#include "unit/failing.h"

static sd_event *event;
static FakeServer *server;
static Store *store;
static Listing *listing; /* an assertion that ends the test leaves it to tear_down() */
static char asked[256]; /* "/app/-/app0 ": each range */

static void append_text(const cJSON *json, const char *name, const char *end)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;

    assert_int_equal(base64_decode(&text, &size, json_string(json, name)), 0);
    strcat(strcat(asked, text), end);
}

static void print_kv(FILE *out, const char *comma, const char *key, const char *value)
{
    fprintf(out, "%s{\"key\":\"", comma);
    base64_write(out, key, strlen(key));
    fputs("\",\"value\":\"", out);
    base64_write(out, value, strlen(value));
    fputs("\",\"create_revision\":\"2\",\"mod_revision\":\"3\"}", out);
}

/* Keys under three leases, and one without a lease. */
static void print_leases(FILE *out)
{
    static const char *const keys[] = { "/lease/a", "/lease/b", "/lease/c", "/lease/d" };

    fputs("{\"header\":{\"revision\":\"9\"},\"kvs\":[", out);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        fprintf(out, "%s{\"key\":\"", i > 0 ? "," : "");
        base64_write(out, keys[i], strlen(keys[i]));
        fprintf(out, "\",\"create_revision\":\"2\",\"mod_revision\":\"3\",\"lease\":\"%zu\"}", i);
    }
    fputs("],\"count\":\"4\"}", out);
}

/* Lease 1 has a TTL, lease 2 has ended, and the user may not read lease 3. */
static const char *answer_lease(FILE *out, const char *body)
{
    CLEANUP_JSON cJSON *json = NULL;
    int64_t id;

    assert_int_equal(json_parse(&json, body, strlen(body)), 0);
    id = json_int64(json, "ID", 0);
    if (id == 3) {
        fputs("{\"code\":7,\"message\":\"etcdserver: permission denied\"}", out);
        return "403 Forbidden";
    }
    fputs(id == 1 ? "{\"TTL\":\"0\",\"grantedTTL\":\"30\"}" : "{\"TTL\":\"-1\"}", out);
    return "200 OK";
}

/* Two keys below /app/; the user may not read below /secret/ and /hidden/. */
static const char *answer_range(FILE *out, const char *body)
{
    CLEANUP_JSON cJSON *json = NULL;
    const char *begin = asked + strlen(asked);

    assert_int_equal(json_parse(&json, body, strlen(body)), 0);
    append_text(json, "key", "-");
    append_text(json, "range_end", " ");
    if (strncmp(begin, "/lease/", strlen("/lease/")) == 0) {
        print_leases(out);
        return "200 OK";
    }
    if (strncmp(begin, "/app/", strlen("/app/")) != 0) {
        fputs("{\"code\":7,\"message\":\"etcdserver: permission denied\"}", out);
        return "403 Forbidden";
    }
    fputs("{\"header\":{\"revision\":\"9\"},\"kvs\":[", out);
    print_kv(out, "", "/app/a", "short");
    print_kv(out, ",", "/app/long\xc3\xb6", "0123456789a");
    fputs("],\"count\":\"2\"}", out);
    return "200 OK";
}

static void answer(FakeConnection *connection, const char *request)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    const char *status = "200 OK";

    assert_non_null(out);
    if (strstr(request, "/version "))
        fputs("{\"etcdserver\":\"3.5.0\",\"etcdcluster\":\"3.5.0\"}", out);
    else if (strstr(request, "/kv/range "))
        status = answer_range(out, strstr(request, "\r\n\r\n") + 4);
    else
        status = answer_lease(out, strstr(request, "\r\n\r\n") + 4);
    fclose(out);
    fake_answer(connection, status, "", text);
}

typedef struct Seen {
    bool done;
    char why[128]; /* "": there is a list */
} Seen;

static void on_opened(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    Seen *seen = userdata;

    (void)keys;
    (void)n_keys;
    seen->done = true;
    (void)snprintf(seen->why, sizeof(seen->why), "%s", status == STORE_OK ? "" : message);
}

static void on_listed(void *userdata, const char *why)
{
    Seen *seen = userdata;

    seen->done = true;
    (void)snprintf(seen->why, sizeof(seen->why), "%s", why ? why : "");
}

static void wait_for(const Seen *seen)
{
    while (!seen->done)
        assert_true(sd_event_run(event, UINT64_C(10000000)) > 0);
}

static Seen list(const char *const *prefixes, size_t n)
{
    Seen seen = { 0 };

    *asked = '\0';
    assert_int_equal(listing_new(&listing, store, prefixes, n, (ListingLimits){ .keys = 100, .text = 10 }), 0);
    assert_int_equal(listing_start(listing, on_listed, &seen), 0);
    wait_for(&seen);
    return seen;
}

static int set_up(void **state)
{
    char *endpoints[1];

    (void)state;
    assert_true(sd_event_new(&event) >= 0);
    server = fake_new(event, NULL, answer, NULL);
    endpoints[0] = server->url;
    assert_int_equal(store_new(&store, event,
                               &(StoreConfig){ .etcd = { .endpoints = endpoints, .n_endpoints = 1 },
                                               .api = STORE_V3,
                                               .ttl_s = 30,
                                               .read_only = true }),
                     0);
    return 0;
}

static void open_store(void)
{
    Seen seen = { 0 };

    assert_int_equal(store_open(store, on_opened, &seen), 0);
    wait_for(&seen);
    assert_string_equal(seen.why, "");
}

static int tear_down(void **state)
{
    (void)state;
    store = store_free(store);
    listing = listing_free(listing);
    fake_free(server);
    event = sd_event_unref(event);
    return 0;
}

static void long_texts_are_cut_between_characters(void **state)
{
    static const char *const prefixes[] = { "/app/" };
    const ListedKey *keys;

    (void)state;
    open_store();
    assert_string_equal(list(prefixes, 1).why, "");
    assert_string_equal(asked, "/app/-/app0 ");
    assert_int_equal(listing_keys(listing, &keys), 2);
    assert_string_equal(keys[0].key, "/app/a");
    assert_string_equal(keys[0].value, "short");
    assert_false(keys[0].key_is_cut || keys[0].value_is_cut);
    assert_string_equal(keys[1].key, "/app/long"); /* the next character ends after 11 bytes */
    assert_string_equal(keys[1].value, "0123456789");
    assert_true(keys[1].key_is_cut && keys[1].value_is_cut);
    assert_int_equal(listing_left_out(listing), 0);
}

static void a_prefix_that_is_not_readable_hides_no_other(void **state)
{
    static const char *const prefixes[] = { "/secret/", "/app/", "/hidden/" };
    const char *const *unreadable;
    const ListedKey *keys;

    (void)state;
    open_store();
    assert_string_equal(list(prefixes, 3).why, "");
    assert_string_equal(asked, "/secret/-/secret0 /app/-/app0 /hidden/-/hidden0 ");
    assert_int_equal(listing_keys(listing, &keys), 2);
    assert_int_equal(listing_revision(listing), 9);
    assert_int_equal(listing_unreadable(listing, &unreadable), 2);
    assert_string_equal(unreadable[0], "/secret/");
    assert_string_equal(unreadable[1], "/hidden/");
}

static void a_key_has_the_ttl_of_its_lease(void **state)
{
    static const char *const prefixes[] = { "/lease/" };
    static const int64_t ttls_s[] = { LISTING_NO_TTL, 0, LISTING_TTL_UNKNOWN, LISTING_TTL_UNKNOWN };
    const ListedKey *keys;

    (void)state;
    open_store();
    assert_string_equal(list(prefixes, 1).why, "");
    assert_int_equal(listing_keys(listing, &keys), ARRAY_SIZE(ttls_s));
    for (size_t i = 0; i < ARRAY_SIZE(ttls_s); i++) {
        assert_int_equal(keys[i].ttl_s, ttls_s[i]);
        assert_int_equal(keys[i].granted_ttl_s, i == 1 ? 30 : 0);
    }
}

static void without_a_readable_prefix_there_is_no_list(void **state)
{
    static const char *const prefixes[] = { "/secret/", "/hidden/" };
    Seen seen;

    (void)state;
    open_store();
    seen = list(prefixes, 2);
    assert_non_null(strstr(seen.why, "permission denied"));
    assert_string_equal(asked, "/secret/-/secret0 /hidden/-/hidden0 ");
}

/* Each allocation of the first request fails once: the range is the right one, or nothing is asked. */
static void without_memory_no_other_range_is_asked(void **state)
{
    static const char *const prefixes[] = { "/app/" };
    unsigned n_failed = 0;
    bool failed = true;

    (void)state;
    open_store();
    for (unsigned i = 1; failed; i++) {
        Seen seen = { 0 };
        int r;

        *asked = '\0';
        assert_int_equal(listing_new(&listing, store, prefixes, 1, (ListingLimits){ .keys = 100, .text = 10 }), 0);
        fails_in = i;
        r = listing_start(listing, on_listed, &seen);
        failed = fails_in == 0;
        fails_in = 0;
        if (r >= 0)
            wait_for(&seen);
        if (r < 0 || *seen.why != '\0')
            n_failed++;
        if (*asked != '\0')
            assert_string_equal(asked, "/app/-/app0 ");
        listing = listing_free(listing);
    }
    assert_true(n_failed >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(long_texts_are_cut_between_characters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_prefix_that_is_not_readable_hides_no_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_has_the_ttl_of_its_lease, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_readable_prefix_there_is_no_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_no_other_range_is_asked, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("listing", tests, NULL, NULL);
}
