/* What a row of the fleet says of a key, and which keys are odd. */
#include "fleet/fleet.h"

#include "base/json.h"
#include "unit/catalog/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static Layout layout_of(const char *name, const char *key, const char *value)
{
    Layout layout = { .key = compiled(key), .value = compiled(value) };

    (void)snprintf(layout.name, sizeof(layout.name), "%s", name);
    return layout;
}

/* The default layout, one with {node}, and a second one with the default's prefix. */
static Layout layouts[3];

static int compile_layouts(void **state)
{
    (void)state;
    layouts[0] = layout_of(LAYOUT_DEFAULT, "/app/{service}/{name}", "{address}:{port}");
    layouts[1] = layout_of("nodes", "/n/{node}/{name}", "{address}:{port}");
    layouts[2] = layout_of("json", "/app/json/{service}/{name}", "{\"host\":{address|json},\"port\":{port}}");
    return 0;
}

static int free_layouts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
        template_free(layouts[i].key);
        template_free(layouts[i].value);
    }
    return 0;
}

static Fleet *fleet_at(uint64_t revision, const ListedKey *keys, size_t n, size_t n_layouts)
{
    Fleet *fleet = NULL;

    assert_int_equal(fleet_new(&fleet, n, revision, layouts, n_layouts), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(fleet_add(fleet, &keys[i], 1), 0);
    assert_int_equal(fleet_finish(fleet), 0);
    return fleet;
}

static Fleet *fleet_of(const ListedKey *keys, size_t n)
{
    Fleet *fleet = fleet_at(50, keys, n, ARRAY_SIZE(layouts));

    assert_int_equal(fleet->n_rows, n);
    return fleet;
}

static ListedKey listed(const char *key, const char *value, int64_t lease)
{
    return (ListedKey){ .key = (char *)key,
                        .value = (char *)value,
                        .lease = lease,
                        .ttl_s = lease != 0 ? 20 : LISTING_NO_TTL,
                        .granted_ttl_s = lease != 0 ? 30 : 0,
                        .created = 9,
                        .modified = 10 };
}

/* "service|container|address|host|age|ttl|anomalies" */
static void assert_row(const Fleet *fleet, size_t i, const char *expected)
{
    const FleetRow *row = &fleet->rows[i];
    char age[FLEET_TEXT_MAX], ttl[FLEET_TEXT_MAX], anomalies[FLEET_TEXT_MAX];
    CLEANUP_FREE char *text = NULL;

    fleet_age_text(row, age, sizeof(age));
    fleet_ttl_text(row, ttl, sizeof(ttl));
    fleet_anomalies_text(row, anomalies, sizeof(anomalies));
    assert_true(asprintf(&text, "%s|%s|%s|%s|%s|%s|%s", row->service, row->container, row->address, row->host, age, ttl,
                         anomalies) > 0);
    assert_string_equal(text, expected);
}

static void a_row_has_the_facts_of_key_value_and_lease(void **state)
{
    ListedKey keys[] = { listed("/app/shop/web", "192.0.2.11:80", 7), listed("/app/shop/web6", "[2001:db8::1]:80", 8) };
    CLEANUP(fleet_free_p) Fleet *fleet = fleet_of(keys, ARRAY_SIZE(keys));

    (void)state;
    assert_row(fleet, 0, "shop|web|192.0.2.11:80|192.0.2.11|41 writes|20 s|");
    assert_row(fleet, 1, "shop|web6|[2001:db8::1]:80|2001:db8::1|41 writes|20 s|");
    assert_int_equal(fleet->n_anomalies, 0);
}

static void unknown_facts_are_left_out(void **state)
{
    ListedKey keys[] = { listed("/app/shop/web", "192.0.2.11:80", 7), listed("/app/shop/new", "192.0.2.11:81", 7) };
    CLEANUP(fleet_free_p) Fleet *fleet = NULL;

    (void)state;
    keys[0].ttl_s = LISTING_TTL_UNKNOWN;
    /* v2 has no revision of the moment. */
    fleet = fleet_at(0, keys, 1, 1);
    assert_row(fleet, 0, "shop|web|192.0.2.11:80|192.0.2.11|-|-|");
    fleet = fleet_free(fleet);
    keys[1].created = 50;
    fleet = fleet_at(50, keys, 2, 1);
    assert_row(fleet, 1, "shop|new|192.0.2.11:81|192.0.2.11|0 writes|20 s|");
}

static void the_host_is_the_address_that_most_keys_of_the_lease_have(void **state)
{
    ListedKey keys[] = {
        listed("/app/s/a", "192.0.2.99:80", 7), listed("/app/s/b", "192.0.2.11:80", 7),
        listed("/app/s/c", "192.0.2.11:81", 7), listed("/app/s/d", "no address", 7),
        listed("/app/s/e", "192.0.2.99:81", 0),
    };
    CLEANUP(fleet_free_p) Fleet *fleet = fleet_of(keys, ARRAY_SIZE(keys));

    (void)state;
    assert_row(fleet, 0, "s|a|192.0.2.99:80|192.0.2.11|41 writes|20 s|");
    assert_row(fleet, 1, "s|b|192.0.2.11:80|192.0.2.11|41 writes|20 s|");
    assert_row(fleet, 3, "s|d|no address|192.0.2.11|41 writes|20 s|not by the value template");
    assert_row(fleet, 4, "s|e|192.0.2.99:81|192.0.2.99|41 writes|none|no TTL");
}

static void the_node_of_the_template_names_the_host(void **state)
{
    ListedKey keys[] = { listed("/n/h1/web", "192.0.2.11:80", 7), listed("/n/h1/other/x", "192.0.2.11:81", 7) };
    CLEANUP(fleet_free_p) Fleet *fleet = fleet_of(keys, ARRAY_SIZE(keys));

    (void)state;
    assert_row(fleet, 0, "|web|192.0.2.11:80|h1|41 writes|20 s|");
    assert_row(fleet, 1, "||192.0.2.11:81|h1|41 writes|20 s|not by the key template");
}

static void each_layout_has_keys_of_its_own(void **state)
{
    ListedKey keys[] = {
        listed("/app/json/s/a", "{\"host\":\"192.0.2.11\",\"port\":80}", 7),
        listed("/app/s/a", "192.0.2.11:80", 7),
        listed("/n/h1/a", "192.0.2.11:80", 7),
        listed("/n/h1/b", "other", 7),
    };
    CLEANUP(fleet_free_p) Fleet *fleet = fleet_of(keys, ARRAY_SIZE(keys));

    (void)state;
    /* One port, one address, three layouts: nothing is odd. */
    assert_row(fleet, 0, "s|a|192.0.2.11:80|192.0.2.11|41 writes|20 s|");
    assert_row(fleet, 1, "s|a|192.0.2.11:80|192.0.2.11|41 writes|20 s|");
    assert_row(fleet, 2, "|a|192.0.2.11:80|h1|41 writes|20 s|");
    assert_row(fleet, 3, "|b|other|h1|41 writes|20 s|not by the value template");
    assert_string_equal(fleet->rows[0].layout, "json");
    assert_string_equal(fleet->rows[1].layout, LAYOUT_DEFAULT);
    assert_string_equal(fleet->rows[3].layout, "nodes");
}

static void anomalies_are_reported(void **state)
{
    ListedKey keys[] = {
        listed("/app/other", "192.0.2.11:80", 7),      listed("/app/s/a", "192.0.2.11:80", 7),
        listed("/app/s/b", "192.0.2.11:80", 8),        listed("/app/s/c-53", "192.0.2.11:53", 7),
        listed("/app/s/c-53-udp", "192.0.2.11:53", 7), listed("/app/s/d", "192.0.2.12:80", 0),
    };
    CLEANUP(fleet_free_p) Fleet *fleet = fleet_of(keys, ARRAY_SIZE(keys));

    (void)state;
    assert_row(fleet, 0, "||192.0.2.11:80|192.0.2.11|41 writes|20 s|not by the key template");
    assert_row(fleet, 1, "s|a|192.0.2.11:80|192.0.2.11|41 writes|20 s|same address as another key");
    assert_row(fleet, 2, "s|b|192.0.2.11:80|192.0.2.11|41 writes|20 s|same address as another key");
    /* TCP and UDP of one number are two addresses. */
    assert_row(fleet, 3, "s|c-53|192.0.2.11:53|192.0.2.11|41 writes|20 s|");
    assert_row(fleet, 4, "s|c-53-udp|192.0.2.11:53|192.0.2.11|41 writes|20 s|");
    assert_row(fleet, 5, "s|d|192.0.2.12:80|192.0.2.12|41 writes|none|no TTL");
    assert_int_equal(fleet->n_anomalies, 4);
}

/* The beginning of a text may fit a template that the whole does not. */
static void a_text_that_is_cut_fits_no_template(void **state)
{
    ListedKey keys[] = { listed("/app/json/s/aaaa", "192.0.2.11:80", 7), listed("/app/s/a", "192.0.2.11:80", 7),
                         listed("/app/s/b", "192.0.2.11:80", 7) };
    CLEANUP(fleet_free_p) Fleet *fleet = NULL;

    (void)state;
    keys[0].key_is_cut = keys[1].value_is_cut = true;
    fleet = fleet_of(keys, ARRAY_SIZE(keys));
    assert_row(fleet, 0, "||192.0.2.11:80|192.0.2.11|41 writes|20 s|too long, cut");
    assert_row(fleet, 1, "s|a|192.0.2.11:80|192.0.2.11|41 writes|20 s|too long, cut");
    assert_row(fleet, 2, "s|b|192.0.2.11:80|192.0.2.11|41 writes|20 s|");
    assert_int_equal(fleet->n_anomalies, 2);
}

static cJSON *told; /* an assertion that ends the test leaves it reachable: no leak */

static void json_has_all_and_nothing_invisible(void **state)
{
    ListedKey keys[] = { listed("/app/s/a", "192.0.2.11:80", 0x1a2b),
                         listed("/app/s/\033[2J", "\xff\n\xe2\x80\xae", 0) };
    CLEANUP(fleet_free_p) Fleet *fleet = fleet_of(keys, ARRAY_SIZE(keys));
    CLEANUP_FREE char *text = NULL;

    (void)state;
    assert_int_equal(fleet_add_unreadable(fleet, (const char *const[]){ "/b/", "/c/\033" }, 2), 0);
    told = fleet_json(fleet);
    text = cJSON_PrintUnformatted(told);
    assert_non_null(text);
    assert_string_equal(
        text,
        "{\"keys\":[{\"key\":\"/app/s/"
        "a\",\"value\":\"192.0.2.11:80\",\"layout\":\"default\",\"service\":\"s\",\"container\":\"a\","
        "\"address\":\"192.0.2.11:80\",\"host\":\"192.0.2.11\",\"age_writes\":41,\"ttl\":20,\"granted_ttl\":30,"
        "\"lease\":\"1a2b\",\"created\":9,\"modified\":10,\"anomalies\":[]},"
        "{\"key\":\"/app/s/"
        "?[2J\",\"value\":\"?????\",\"layout\":\"default\",\"service\":\"\",\"container\":\"\",\"address\":\"?????\","
        "\"host\":\"\",\"age_writes\":41,\"created\":9,\"modified\":10,"
        "\"anomalies\":[\"no-ttl\",\"other-key\",\"other-value\"]}],"
        "\"revision\":50,\"left_out\":0,\"unreadable\":[\"/b/\",\"/c/?\"],\"anomalies\":1}");
    cJSON_Delete(told);
    told = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_has_the_facts_of_key_value_and_lease),
        cmocka_unit_test(unknown_facts_are_left_out),
        cmocka_unit_test(the_host_is_the_address_that_most_keys_of_the_lease_have),
        cmocka_unit_test(the_node_of_the_template_names_the_host),
        cmocka_unit_test(each_layout_has_keys_of_its_own),
        cmocka_unit_test(anomalies_are_reported),
        cmocka_unit_test(a_text_that_is_cut_fits_no_template),
        cmocka_unit_test(json_has_all_and_nothing_invisible),
    };

    return cmocka_run_group_tests(tests, compile_layouts, free_layouts);
}
