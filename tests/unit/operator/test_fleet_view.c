/* The page of all hosts, before an etcd full of long keys: what the page shows of them is bounded. */
#include "operator/fleet_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/json.h"

#include "unit/fake_http.h"

enum {
    PAGES = 10,
    KEYS = 1000, /* of a page */
    TEXT = 300, /* bytes of a key and of a value: more than the page shows */
};

static sd_event *event;
static FakeServer *etcd;
static char *endpoints[2];
static Settings settings;
static FleetView *view;
static SharedText *html;
static unsigned pages_asked;

/* What another program writes: the key begins as the agent's do, and no literal text of the templates cuts it short. */
static char *page_of_keys(unsigned page)
{
    char text[TEXT + 1];
    char *body = NULL;
    size_t size;
    FILE *out = open_memstream(&body, &size);

    assert_non_null(out);
    fputs("{\"header\":{\"revision\":\"9\"},\"kvs\":[", out);
    for (unsigned i = 0; i < KEYS; i++) {
        memset(text, 'a', TEXT);
        memcpy(text + snprintf(text, TEXT, "/app/%06u", page * KEYS + i), "a", 1);
        fputs(i > 0 ? ",{\"key\":\"" : "{\"key\":\"", out);
        base64_write(out, text, TEXT);
        memset(text, '"', TEXT);
        fputs("\",\"value\":\"", out);
        base64_write(out, text, TEXT);
        fputs("\",\"create_revision\":\"2\",\"mod_revision\":\"3\"}", out);
    }
    fprintf(out, "],\"count\":\"%u\"}", (PAGES + 1 - page) * KEYS);
    fclose(out);
    return body;
}

static void answer(FakeConnection *connection, const char *request)
{
    CLEANUP_FREE char *body = NULL;

    if (strstr(request, "/version "))
        body = strdup("{\"etcdserver\":\"3.5.0\",\"etcdcluster\":\"3.5.0\"}");
    else if (strstr(request, "/kv/range "))
        body = page_of_keys(pages_asked++);
    else
        body = strdup("{\"TTL\":\"-1\"}");
    fake_answer(connection, "200 OK", "", body);
}

static void the_page_is_bounded_and_shared(void **state)
{
    CLEANUP(shared_text_unref_p) SharedText *again = NULL;

    (void)state;
    html = fleet_view_html(view, &settings);
    while (html && strstr(html->text, "The agent is asking etcd.")) {
        assert_true(sd_event_run(event, UINT64_C(60000000)) > 0);
        shared_text_unref(html);
        html = fleet_view_html(view, &settings);
    }
    assert_non_null(html);
    assert_int_equal(pages_asked, PAGES);
    assert_non_null(strstr(html->text, "too long, cut"));
    assert_non_null(strstr(html->text, "<dt>Left out</dt>"));
    again = fleet_view_html(view, &settings);
    assert_ptr_equal(again, html); /* no copy for each client */
    assert_true(html->size < 4 * 1024 * 1024);
}

static int set_up(void **state)
{
    CLEANUP_FREE char *error = NULL;

    (void)state;
    assert_true(sd_event_new(&event) >= 0);
    etcd = fake_new(event, NULL, answer, NULL);
    endpoints[0] = etcd->url;
    settings = (Settings){ .etcd_endpoints = endpoints, .etcd_api = STORE_V3, .ttl_s = 30, .n_layouts = 1 };
    (void)snprintf(settings.layouts[0].name, sizeof(settings.layouts[0].name), "%s", LAYOUT_DEFAULT);
    assert_int_equal(template_compile(&settings.layouts[0].key, "/app/{service}/{name}", &error), 0);
    assert_int_equal(template_compile(&settings.layouts[0].value, "{address}:{port}", &error), 0);
    return fleet_view_new(&view, event);
}

static int tear_down(void **state)
{
    (void)state;
    html = shared_text_unref(html);
    view = fleet_view_free(view);
    fake_free(etcd);
    event = sd_event_unref(event);
    template_free(settings.layouts[0].key);
    template_free(settings.layouts[0].value);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_page_is_bounded_and_shared, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("fleet_view", tests, NULL, NULL);
}
