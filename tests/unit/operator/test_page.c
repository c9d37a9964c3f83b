/* The web page of a host: strangers' texts in it, and what an answer lacks. */
#include "operator/page.h"

#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static char *render(const char *text)
{
    CLEANUP_JSON cJSON *json = cJSON_Parse(text);

    assert_non_null(json);
    return page_html(json);
}

static void assert_has(const char *html, const char *expected)
{
    assert_non_null(html);
    if (!strstr(html, expected))
        fail_msg("'%s' is not in %s", expected, html);
}

static void the_page_has_the_content_of_status(void **state)
{
    CLEANUP_FREE char *html =
        render("{\"node\":\"h1\",\"drained\":true,\"address4\":\"192.0.2.1\",\"docker\":{\"url\":\"unix:///d\"},"
               "\"etcd\":{\"why\":\"no answer\",\"store\":\"etcd v3\"},\"containers\":["
               "{\"name\":\"web\",\"state\":\"registered\",\"records\":["
               "{\"state\":\"registered\",\"key\":\"/app/web-80\",\"value\":\"192.0.2.1:1\"},"
               "{\"state\":\"unregistered\",\"port\":53,\"protocol\":\"udp\",\"text\":\"UDP\",\"remedy\":\"Ask.\"}]},"
               "{\"name\":\"closed\",\"state\":\"unregistered\",\"reason\":\"no-port\",\"text\":\"no published port\","
               "\"remedy\":\"Publish a port.\",\"records\":[]}]}");

    (void)state;
    assert_has(html, "<title>h1: registrator</title>");
    assert_has(html, "<dt>Host</dt><dd>h1, drained</dd>");
    assert_has(html, "<dt>Address</dt><dd>192.0.2.1</dd>");
    assert_has(html, "<dt>Docker</dt><dd>unix:///d</dd>");
    assert_has(html, "<dt>etcd</dt><dd>no answer</dd>");
    assert_has(html, "<tr><td>web</td><td class=\"registered\">registered</td><td>/app/web-80 = 192.0.2.1:1</td>"
                     "<td class=\"remedy\"></td></tr>");
    assert_has(html,
               "<td class=\"unregistered\">unregistered</td><td>53/udp: UDP</td><td class=\"remedy\">Ask.</td></tr>");
    assert_has(
        html,
        "<tr><td>closed</td><td class=\"unregistered\">unregistered</td><td>no published port</td><td class=\"remedy\">"
        "Publish a port.</td></tr>");
}

#define EVIL "</td><script>x</script>&\\\"'"

static void strangers_texts_stay_texts(void **state)
{
    CLEANUP_FREE char *html =
        render("{\"node\":\"" EVIL "\",\"address4\":\"" EVIL "\",\"docker\":{\"url\":\"" EVIL
               "\"},\"etcd\":{\"why\":\"" EVIL "\"},\"containers\":[{\"name\":\"" EVIL "\",\"state\":\"" EVIL
               "\",\"records\":[{\"state\":\"conflict\",\"key\":\"" EVIL "\",\"text\":\"" EVIL "\",\"holder\":\"" EVIL
               "\",\"remedy\":\"" EVIL "\"},{\"state\":\"unregistered\",\"protocol\":\"" EVIL
               "\"}]},{\"state\":\"unregistered\",\"text\":\"" EVIL "\"}]}");
    size_t n = 0;

    (void)state;
    for (const char *p = html; (p = strstr(p, "&lt;/td&gt;&lt;script&gt;x&lt;/script&gt;&amp;&quot;&#39;")); p++)
        n++;
    assert_int_equal(n, 13);
    assert_null(strstr(html, "<script>x"));
    assert_null(strstr(html, "</td><script"));
}

static void answer_without_members_gives_a_page(void **state)
{
    static const char *const answers[] = { "{}", "null",
                                           "{\"containers\":[null,{},{\"records\":[1,{}]}],\"docker\":1}" };

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        CLEANUP_FREE char *html = render(answers[i]);

        assert_has(html, "</html>\n");
    }
}

static void fleet_page_has_a_row_for_each_key(void **state)
{
    char evil[] = EVIL;
    FleetRow rows[] = {
        { .key = evil,
          .value = evil,
          .service = evil,
          .container = evil,
          .address = evil,
          .host = evil,
          .age = 1,
          .anomalies = FLEET_NO_TTL,
          .listed = { .ttl_s = LISTING_NO_TTL } },
        { .key = (char *)"/other/key",
          .value = (char *)"v",
          .service = (char *)"",
          .container = (char *)"",
          .address = (char *)"v",
          .host = (char *)"h1",
          .age = -1,
          .listed = { .ttl_s = 9 } },
    };
    Fleet fleet = {
        .rows = rows, .n_rows = 2, .n_anomalies = 1, .left_out = 7, .unreadable = { evil }, .n_unreadable = 1
    };
    CLEANUP_FREE char *html = page_fleet_html(&fleet, NULL, "/app/", "2026-11-27 10:00:00 UTC");

    (void)state;
    assert_has(html, "<dt>Keys below</dt><dd>/app/</dd>");
    assert_has(html, "<dt>Keys</dt><dd>2, 1 with an anomaly</dd>");
    assert_has(html, "<dt>Left out</dt><dd>7 keys</dd>");
    assert_has(html, "<dt>Not readable</dt><dd>&lt;/td&gt;");
    assert_has(html, "<dt>Read</dt><dd>2026-11-27 10:00:00 UTC</dd>");
    assert_has(html, "<td>1 write</td><td>none</td><td class=\"rejected\">no TTL</td></tr>");
    assert_has(html, "<tr><td></td><td>/other/key</td><td>v</td><td>h1</td><td>-</td><td>9 s</td>"
                     "<td class=\"rejected\"></td></tr>");
    assert_null(strstr(html, "<script>x"));
    assert_null(strstr(html, "http-equiv"));
}

/* Anybody may put long keys into etcd. */
static void fleet_page_is_bounded(void **state)
{
    enum { ROWS = 10000, TEXT = 256 };
    char text[TEXT + 1] = "";
    FleetRow row = { .key = text,
                     .value = text,
                     .service = text,
                     .container = text,
                     .address = text,
                     .host = text,
                     .listed = { .ttl_s = 9 } };
    CLEANUP_FREE FleetRow *rows = calloc(ROWS, sizeof(*rows));
    Fleet fleet = { .rows = rows, .n_rows = ROWS, .left_out = 7 };
    CLEANUP_FREE char *html = NULL;
    char expected[64];
    size_t n = 0;

    (void)state;
    assert_non_null(rows);
    memset(text, '"', TEXT);
    for (size_t i = 0; i < ROWS; i++)
        rows[i] = row;
    html = page_fleet_html(&fleet, NULL, "/app/", "now");
    assert_non_null(html);
    assert_in_range(strlen(html), 3000000, 4 * 1024 * 1024);
    for (const char *p = html; (p = strstr(p, "<tr><td>")); p++)
        n++;
    (void)snprintf(expected, sizeof(expected), "<dt>Left out</dt><dd>%zu keys</dd>", ROWS - n + 7);
    assert_has(html, expected);
    assert_has(html, "</html>\n");
}

static void fleet_page_says_why_it_has_no_keys(void **state)
{
    CLEANUP_FREE char *waiting = page_fleet_html(NULL, NULL, "/app/", NULL);
    CLEANUP_FREE char *failed = page_fleet_html(NULL, "etcd is away <b>", "/app/", "now");
    CLEANUP_FREE char *empty = page_fleet_html(&(Fleet){ .n_rows = 0 }, NULL, "/app/", "now");

    (void)state;
    assert_has(waiting, "<meta http-equiv=\"refresh\" content=\"1\">");
    assert_has(waiting, "<dt>etcd</dt><dd>The agent is asking etcd.</dd>");
    assert_has(failed, "<dt>etcd</dt><dd>etcd is away &lt;b&gt;</dd>");
    assert_null(strstr(failed, "http-equiv"));
    assert_has(empty, "<dt>Keys</dt><dd>0, 0 with an anomaly</dd>");
}

static void files_of_the_page_are_there(void **state)
{
    const char *type = NULL;

    (void)state;
    assert_non_null(page_file("/page.css", &type));
    assert_string_equal(type, "text/css; charset=utf-8");
    assert_non_null(page_file("/page.js", &type));
    assert_string_equal(type, "text/javascript; charset=utf-8");
    assert_null(page_file("/page", &type));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_has_the_content_of_status),
        cmocka_unit_test(strangers_texts_stay_texts),
        cmocka_unit_test(answer_without_members_gives_a_page),
        cmocka_unit_test(fleet_page_has_a_row_for_each_key),
        cmocka_unit_test(fleet_page_is_bounded),
        cmocka_unit_test(fleet_page_says_why_it_has_no_keys),
        cmocka_unit_test(files_of_the_page_are_there),
    };

    return cmocka_run_group_tests_name("page", tests, NULL, NULL);
}
