/* Templates: what compiles, what it renders to, and what can never come out. */
#include "catalog/template.h"

#include "unit/catalog/rules.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

DEFINE_CLEANUP(cJSON, cJSON_Delete)

typedef struct Values {
    const char *fields[FIELD_MAX_]; /* FIELD_LABEL: what every label is */
    const char *asked; /* the label that was asked for last */
} Values;

static const char *lookup(void *userdata, Field field, const char *label)
{
    Values *values = userdata;
    assert_int_equal(label != NULL, field == FIELD_LABEL);
    if (label)
        values->asked = label;
    return values->fields[field];
}

static char *rendered(const char *text, TemplateEscape escape, Values *values)
{
    CLEANUP(template_free_p) Template *template = compiled(text);
    char *result = NULL;
    assert_int_equal(template_render(template, escape, lookup, values, &result), 0);
    return result;
}

static void assert_renders(const char *text, TemplateEscape escape, Values values, const char *expected)
{
    CLEANUP_FREE char *result = rendered(text, escape, &values);
    assert_string_equal(result, expected);
}

static void assert_label(const char *text, TemplateEscape escape, const char *label, const char *expected)
{
    assert_renders(text, escape, (Values){ .fields = { [FIELD_LABEL] = label } }, expected);
}

static void assert_error(const char *text, const char *expected)
{
    Template *untouched = (Template *)&untouched, *template = untouched;
    CLEANUP_FREE char *error = NULL;
    assert_int_equal(template_compile(&template, text, &error), -EINVAL);
    assert_ptr_equal(template, untouched);
    assert_non_null(error);
    if (!strstr(error, expected))
        fail_msg("'%s': '%s' does not tell '%s'", text, error, expected);
}

static const Values web = { .fields = {
                                [FIELD_SERVICE] = "servers",
                                [FIELD_NAME] = "web",
                                [FIELD_NODE] = "host1",
                                [FIELD_ADDRESS] = "192.0.2.5",
                                [FIELD_PORT] = "32768",
                                [FIELD_CONTAINER_PORT] = "80",
                                [FIELD_PROTOCOL] = "tcp",
                                [FIELD_ID] = "0123456789ab",
                                [FIELD_IMAGE] = "app",
                                [FIELD_LABEL] = "blue",
                            } };

static void the_default_layout(void **state)
{
    (void)state;
    assert_renders("/app/{service}/{name}", ESCAPE_KEY, web, "/app/servers/web");
    assert_renders("{address}:{port}", ESCAPE_VALUE, web, "192.0.2.5:32768");
    assert_renders("servers", ESCAPE_NONE, web, "servers");
}

static void every_field(void **state)
{
    (void)state;
    assert_renders("{service} {name} {node} {address} {port} {container_port} {protocol} {id} "
                   "{image} {label:x}",
                   ESCAPE_VALUE, web, "servers web host1 192.0.2.5 32768 80 tcp 0123456789ab app blue");
}

static void gliderlabs_layout(void **state)
{
    (void)state;
    assert_renders("/app/{service}/{node}:{name}:{container_port}", ESCAPE_KEY, web, "/app/servers/host1:web:80");
}

static void json_is_a_template(void **state)
{
    (void)state;
    assert_renders("{\"host\":\"{address}\",\"port\":{port}}", ESCAPE_VALUE, web,
                   "{\"host\":\"192.0.2.5\",\"port\":32768}");
    assert_renders("{\"a\":{\"b\":{port}},\"c\":[{}]}", ESCAPE_VALUE, web, "{\"a\":{\"b\":32768},\"c\":[{}]}");
}

static void loose_braces_are_literal(void **state)
{
    (void)state;
    assert_renders("}{ {1} {", ESCAPE_VALUE, web, "}{ {1} {");
    assert_renders("{{port}", ESCAPE_VALUE, web, "{port}");
    assert_renders("{{{port}}", ESCAPE_VALUE, web, "{{port}}");
    assert_renders("{{ {{1", ESCAPE_VALUE, web, "{{ {{1");
    assert_renders("", ESCAPE_VALUE, web, "");
}

static void labels_are_looked_up_by_name(void **state)
{
    (void)state;
    Values values = web;
    CLEANUP(template_free_p) Template *template = compiled("{label:com.docker.compose/a_b-C9}");
    CLEANUP_FREE char *result = NULL;
    assert_int_equal(template_render(template, ESCAPE_VALUE, lookup, &values, &result), 0);
    assert_string_equal(values.asked, "com.docker.compose/a_b-C9");
}

static void fallbacks(void **state)
{
    (void)state;
    assert_label("{label:x?none at all}", ESCAPE_VALUE, NULL, "none at all");
    assert_label("{label:x?none}", ESCAPE_VALUE, "", "none");
    assert_label("{label:x?none}", ESCAPE_VALUE, "some", "some");
    assert_label("{label:x}", ESCAPE_VALUE, NULL, "");
    assert_label("<{label:x?}>", ESCAPE_VALUE, NULL, "<>");
    assert_renders("{service?servers}", ESCAPE_NONE, (Values){ 0 }, "servers");
    assert_label("/app/{label:x?a/b}/c", ESCAPE_KEY, NULL, "/app/a/b/c");
    assert_label("{label:x??|json}", ESCAPE_VALUE, NULL, "?|json");
}

static void json_filter(void **state)
{
    (void)state;
    assert_label("{label:x|json}", ESCAPE_VALUE, "a \"b\" \\ #$", "\"a \\\"b\\\" \\\\ #$\"");
    assert_label("{label:x|json}", ESCAPE_VALUE, "a\nb\t\x01\x7f", "\"a\\u000ab\\u0009\\u0001\\u007f\"");
    assert_label("{label:x|json}", ESCAPE_VALUE, "\xc3\xa4\xff\xc3", "\"\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_label("{label:x|json}", ESCAPE_VALUE, "\xc2\x85\xe2\x80\xa8", "\"\\u0085\\u2028\"");
    assert_label("{label:x|json}", ESCAPE_VALUE, "\u200b\u202e\U000e0041", "\"\\u200b\\u202e\\udb40\\udc41\"");
    assert_label("{label:x|json}", ESCAPE_VALUE, NULL, "\"\"");
    assert_label("{label:x|json?null}", ESCAPE_VALUE, NULL, "null");
    assert_label("{label:x|json?\"none\"}", ESCAPE_VALUE, NULL, "\"none\"");
    assert_label("{label:x|json?null}", ESCAPE_VALUE, "v", "\"v\"");
    assert_renders("{port|json}", ESCAPE_VALUE, web, "\"32768\"");
    assert_label("/app/{label:x|json}", ESCAPE_KEY, "a\"b", "/app/a_b");
}

static void ipv6_addresses(void **state)
{
    (void)state;
    Values values = { .fields = { [FIELD_ADDRESS] = "2001:db8::5", [FIELD_PORT] = "80" } };
    assert_renders("{address}:{port}", ESCAPE_VALUE, values, "[2001:db8::5]:80");
    assert_renders("http://{address}/", ESCAPE_VALUE, values, "http://[2001:db8::5]/");
    assert_renders("{address}", ESCAPE_VALUE, values, "[2001:db8::5]");
    assert_renders("{\"host\":\"{address}\"}", ESCAPE_VALUE, values, "{\"host\":\"2001:db8::5\"}");
    assert_renders("\"{address}:{port}\"", ESCAPE_VALUE, values, "\"[2001:db8::5]:80\"");
    assert_renders("{address|json}", ESCAPE_VALUE, values, "\"2001:db8::5\"");
    assert_renders("/app/{address}-{port}", ESCAPE_KEY, values, "/app/2001:db8::5-80");
    values.fields[FIELD_LABEL] = "2001:db8::5";
    assert_renders("{label:x}", ESCAPE_VALUE, values, "2001:db8::5");
}

static void keys_are_escaped(void **state)
{
    (void)state;
    assert_label("/app/{label:x}", ESCAPE_KEY, "a/b c\nd\"e\\f{g}h", "/app/a_b_c_d_e_f_g_h");
    assert_label("/app/{label:x}", ESCAPE_KEY, "A.z_0:9-", "/app/A.z_0:9-");
    assert_label("/app/{label:x}", ESCAPE_KEY, "\xc3\xa4", "/app/__");
    assert_label("/app/{label:x}", ESCAPE_KEY, "../../etc", "/app/.._.._etc");
}

static void segments_are_never_dots_or_empty(void **state)
{
    (void)state;
    assert_label("/app/{label:x}", ESCAPE_KEY, "", "/app/_");
    assert_label("/app/{label:x}", ESCAPE_KEY, NULL, "/app/_");
    assert_label("/app/{label:x}", ESCAPE_KEY, ".", "/app/._");
    assert_label("/app/{label:x}", ESCAPE_KEY, "..", "/app/.._");
    assert_label("/app/{label:x}", ESCAPE_KEY, "...", "/app/...");
    assert_label("/app/{label:x}/b", ESCAPE_KEY, "..", "/app/.._/b");
    assert_label("/app/{label:x?}/b", ESCAPE_KEY, NULL, "/app/_/b");
    assert_label("/app/.{label:x}/b", ESCAPE_KEY, ".", "/app/.._/b");
    assert_label("/app/{label:x}{label:y}/b", ESCAPE_KEY, ".", "/app/.._/b");
    assert_label("/app/a{label:x}/b", ESCAPE_KEY, NULL, "/app/a/b");
    assert_label("/app/{label:x?..}", ESCAPE_KEY, NULL, "/app/.._");
    assert_label("/app/{label:x?a/../b}", ESCAPE_KEY, NULL, "/app/a/.._/b");
    assert_label("/app/{label:x?/a//}/b", ESCAPE_KEY, NULL, "/app/_/a/_/_/b");
}

/* Whatever stands unquoted in a consumer's configuration: an allowlist, and a byte each for the rest. */
static void values_hold_allowed_characters_only(void **state)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-/";

    (void)state;
    for (int c = 1; c < 256; c++) {
        char label[] = { 'a', (char)c, 'b', '\0' }, expected[] = { 'a', strchr(allowed, c) ? (char)c : '_', 'b', '\0' };

        assert_label("{label:x}", ESCAPE_VALUE, label, expected);
    }
    assert_label("{label:x}", ESCAPE_VALUE, "1;}server{stub_status;add_header", "1__server_stub_status_add_header");
    assert_label("{label:x}", ESCAPE_VALUE, "\xc3\xa4\xf0\x9f\x90\x8b", "______");
    assert_label("{label:x?a b;#}", ESCAPE_VALUE, NULL, "a b;#"); /* the operator's own */
}

static void a_service_is_one_line(void **state)
{
    (void)state;
    assert_label("{label:x}", ESCAPE_NONE, "a b\n/\"\xc3\xa4;", "a b_/\"\xc3\xa4;");
    assert_label("{label:x}", ESCAPE_NONE, "\xc3(\xff\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80\xe2\x82", "_(____________");
    assert_label("{label:x}", ESCAPE_NONE, "\xe0\x80\xaf\xf0\x80\x80\xaf", "_______"); /* overlong slashes */
    assert_label("{label:x}", ESCAPE_NONE, "\xc2\x85|\xe2\x80\xa8|\xe2\x80\xae", "__|___|___");
}

static void number_filter(void **state)
{
    static const char *const none[] = { "",   "0",   "257", "01x", "-1",         "+1",        " 1",
                                        "1 ", "1.5", "1;}", "x",   "0000000256", "4294967297" };

    (void)state;
    assert_label("weight={label:x|number:1-256?7}", ESCAPE_VALUE, "1", "weight=1");
    assert_label("weight={label:x|number:1-256?7}", ESCAPE_VALUE, "256", "weight=256");
    assert_label("weight={label:x|number:1-256?7}", ESCAPE_VALUE, NULL, "weight=7");
    for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
        assert_label("weight={label:x|number:1-256?7}", ESCAPE_VALUE, none[i], "weight=7");
        assert_label("<{label:x|number:1-256}>", ESCAPE_VALUE, none[i], "<>");
    }
    assert_label("/app/{label:x|number:0-9?none}", ESCAPE_KEY, "10", "/app/none");
    assert_label("/app/{label:x|number:0-9?none}", ESCAPE_KEY, "9", "/app/9");
    assert_error("{label:x|number}", "number:1-256 at column 16");
    assert_error("{label:x|number:}", "needs a range");
    assert_error("{label:x|number:5}", "needs a range");
    assert_error("{label:x|number:5-4}", "needs a range");
    assert_error("{label:x|number:1-9999999999}", "needs a range");
    assert_error("{label:x|number:1-2", "not closed at column 1");
}

static void errors_tell_the_column(void **state)
{
    (void)state;
    assert_error("/app/{nme}", "Unknown field 'nme'");
    assert_error("/app/{nme}", "column 7");
    assert_error("/app/{nme}", "container_port");
    assert_error("/app/{name", "not closed at column 6");
    assert_error("/app/{na", "not closed at column 6");
    assert_error("{label:x?a", "not closed at column 1");
    assert_error("{label:x", "not closed at column 1");
    assert_error("{label:x|json", "not closed at column 1");
    assert_error("{label}", "column 7");
    assert_error("{label:}", "column 8");
    assert_error("{label:a b}", "column 9");
    assert_error("{name:x}", "':' cannot stand here in {name} at column 6");
    assert_error("{name|yaml}", "Unknown filter 'yaml'");
    assert_error("{name|yaml}", "column 7");
    assert_error("{name|jsonx}", "Unknown filter 'jsonx'");
    assert_error("{name|}", "Unknown filter");
    assert_error("{name?a{b}", "brace at column 8");
    assert_error("{Name}", "Unknown field 'Name'");
    assert_error("a\nb", "Control character at column 2");
}

static void templates_are_bounded(void **state)
{
    (void)state;
    char text[TEMPLATE_TEXT_MAX + 2];
    memset(text, 'x', sizeof(text));
    text[TEMPLATE_TEXT_MAX + 1] = '\0';
    assert_error(text, "column 4097");
    text[TEMPLATE_TEXT_MAX] = '\0';
    assert_renders(text, ESCAPE_KEY, web, text);
}

static void results_are_bounded(void **state)
{
    (void)state;
    char text[TEMPLATE_TEXT_MAX + 2];
    Values values = { .fields = { [FIELD_LABEL] = text } };
    memset(text, 'x', sizeof(text));
    text[TEMPLATE_TEXT_MAX] = '\0';
    assert_renders("{label:x}", ESCAPE_VALUE, values, text);
    CLEANUP(template_free_p)
    Template *longer = compiled("{label:x}y"), *quoted = compiled("{label:x|json}");
    char *result = text;
    for (TemplateEscape escape = ESCAPE_KEY; escape <= ESCAPE_NONE; escape++)
        assert_int_equal(template_render(longer, escape, lookup, &values, &result), -ENAMETOOLONG);
    assert_int_equal(template_render(quoted, ESCAPE_VALUE, lookup, &values, &result), -ENAMETOOLONG);
    assert_ptr_equal(result, text);
}

static void a_template_reports_its_fields_and_prefix(void **state)
{
    (void)state;
    CLEANUP(template_free_p)
    Template *template = compiled("/{{a}/{service}/{label:b}{label:a}{label:b?x}");
    assert_string_equal(template_text(template), "/{{a}/{service}/{label:b}{label:a}{label:b?x}");
    assert_string_equal(template_prefix(template), "/{a}/");
    assert_true(template_uses(template, FIELD_SERVICE));
    assert_true(template_uses(template, FIELD_LABEL));
    assert_false(template_uses(template, FIELD_PORT));
    const char *const *names;
    assert_int_equal(template_labels(template, &names), 2);
    assert_string_equal(names[0], "b");
    assert_string_equal(names[1], "a");

    CLEANUP(template_free_p) Template *literal = compiled("/app/x");
    assert_string_equal(template_prefix(literal), "/app/x");
    assert_int_equal(template_labels(literal, &names), 0);
    CLEANUP(template_free_p) Template *bare = compiled("{name}");
    assert_string_equal(template_prefix(bare), "");
}

static uint32_t random_next(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void any_text_compiles_or_has_an_error(void **state)
{
    (void)state;
    static const char *const pieces[] = { "{", "}",  "name", "label:", "x",    "|json", "?",
                                          "/", "..", "\"",   ":",      "port", "{{",    " " };
    uint32_t seed = 521288629;
    for (unsigned round = 0; round < 20000; round++) {
        char text[256] = "";
        for (unsigned i = random_next(&seed) % 12; i > 0; i--)
            strcat(text, pieces[random_next(&seed) % ARRAY_SIZE(pieces)]);
        CLEANUP(template_free_p) Template *template = NULL;
        CLEANUP_FREE char *error = NULL, *result = NULL;
        int r = template_compile(&template, text, &error);
        if (r < 0) {
            assert_int_equal(r, -EINVAL);
            assert_non_null(strstr(error, "at column "));
            continue;
        }
        Values values = web;
        assert_int_equal(template_render(template, (TemplateEscape)(round % 3), lookup, &values, &result), 0);
    }
}

static void any_label_is_valid_json(void **state)
{
    (void)state;
    uint32_t seed = 362436069;
    for (unsigned round = 0; round < 5000; round++) {
        char label[64];
        size_t size = random_next(&seed) % sizeof(label);
        for (size_t i = 0; i < size; i++)
            label[i] = (char)(1 + random_next(&seed) % 255);
        label[size < sizeof(label) ? size : sizeof(label) - 1] = '\0';
        Values values = { .fields = { [FIELD_LABEL] = label } };
        CLEANUP_FREE char *result = rendered("{\"x\":{label:x|json},\"y\":\"{label:y}\"}", ESCAPE_VALUE, &values);
        CLEANUP(cJSON_Delete_p) cJSON *json = cJSON_ParseWithOpts(result, NULL, true);
        if (!json)
            fail_msg("not JSON: %s", result);
        for (const char *p = result; *p != '\0'; p++)
            assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
    }
}

/* fields: "service=servers name=web", in the order of the enumeration. NULL: no match. */
static void assert_match(const char *template_text, const char *text, const char *expected)
{
    static const char *const names[FIELD_MAX_] = { "service",        "name",     "node", "address", "port",
                                                   "container_port", "protocol", "id",   "image",   "label" };
    CLEANUP(template_free_p) Template *template = compiled(template_text);
    char found[512] = "";
    TemplateMatch match;

    if (!template_match(template, text, &match)) {
        if (expected)
            fail_msg("'%s' does not match '%s'", text, template_text);
        return;
    }
    for (Field field = 0; field < FIELD_MAX_; field++)
        if (match.fields[field].begin)
            (void)snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s%s=%.*s", *found ? " " : "",
                           names[field], (int)match.fields[field].length, match.fields[field].begin);
    if (!expected)
        fail_msg("'%s' matches '%s': %s", text, template_text, found);
    assert_string_equal(found, expected);
}

static void matches_backwards(void **state)
{
    (void)state;
    assert_match("/app/{service}/{name}", "/app/servers/web", "service=servers name=web");
    assert_match("/app/{service}/{name}", "/app/servers/", "service=servers name=");
    assert_match("/app/{service}/{name}", "/app/servers", NULL);
    assert_match("/app/{service}/{name}", "/app/a/b/c", NULL);
    assert_match("/app/{service}/{name}", "/app/a b/c", NULL);
    assert_match("/app/{service}/{name}", "/ap", NULL);
    assert_match("/app/{service}/{name}", "", NULL);
    assert_match("/x/{name}/end", "/x/web/en", NULL);
    assert_match("/x/{name}/end", "/x/web/end", "name=web");
    /* Several ways: the later field gets more; the kind of a field leaves one way. */
    assert_match("/x/{service}-{name}", "/x/a-b-c", "service=a name=b-c");
    assert_match("/x/{name}-{container_port}", "/x/a-b-80", "name=a-b container_port=80");
    assert_match("/x/{name}-{container_port}", "/x/a-b-c", NULL);
    assert_match("/x/{node}/{name}:{container_port}/{protocol}", "/x/h1/web:80/tcp",
                 "name=web node=h1 container_port=80 protocol=tcp");
    /* A fallback may hold what a field may not. */
    assert_match("/x/{label:path?a/b}/{name}", "/x/a/b/web", "name=web label=a/b");
    assert_match("/x/{label:path?none}/{name}", "/x/none/web", "name=web label=none");
    assert_match("{address}:{port}", "192.0.2.11:32768", "address=192.0.2.11 port=32768");
    assert_match("{address}:{port}", "[2001:db8::1]:80", "address=2001:db8::1 port=80");
    assert_match("{address}:{port}", "web:80", NULL);
    assert_match("{address}:{port}", "192.0.2.11:80x", NULL);
    assert_match("{\"host\":{address|json},\"port\":{port}}", "{\"host\":\"2001:db8::1\",\"port\":80}",
                 "address=2001:db8::1 port=80");
    assert_match("{{a}{name}", "{a}web", "name=web");
}

/* Each way back leads to the text, and costs little, whatever the text is. */
static void a_long_text_is_matched_in_linear_time(void **state)
{
    CLEANUP(template_free_p) Template *template = compiled("/{service}-{name}-{node}-{image}-{id}-{label:x}x");
    CLEANUP_FREE char *text = calloc(1, TEMPLATE_TEXT_MAX + 2);
    TemplateMatch match;

    (void)state;
    assert_non_null(text);
    memset(text, '-', TEMPLATE_TEXT_MAX);
    text[0] = '/';
    assert_false(template_match(template, text, &match));
    text[TEMPLATE_TEXT_MAX - 1] = 'x';
    assert_true(template_match(template, text, &match));
    text[TEMPLATE_TEXT_MAX] = 'x';
    assert_false(template_match(template, text, &match));
}

/* CPU time of a hundred matches, the best of some tries. */
static uint64_t match_cost_ns(const Template *template, const char *text, bool expected)
{
    uint64_t best = UINT64_MAX;

    for (unsigned i = 0; i < 5; i++) {
        struct timespec begin, end;
        TemplateMatch match;

        assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin), 0);
        for (unsigned k = 0; k < 100; k++)
            assert_int_equal(template_match(template, text, &match), expected);
        assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end), 0);
        uint64_t ns =
            (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + (uint64_t)end.tv_nsec - (uint64_t)begin.tv_nsec;
        if (ns < best)
            best = ns;
    }
    return best;
}

static void a_wrong_beginning_ends_the_match(void **state)
{
    CLEANUP(template_free_p) Template *template = compiled("/{service}-{name}-{node}-{image}-{id}-{label:x}x");
    CLEANUP_FREE char *text = calloc(1, TEMPLATE_TEXT_MAX + 1);
    uint64_t whole;
    bool is_cheap = false;

    (void)state;
    assert_non_null(text);
    memset(text, '-', TEMPLATE_TEXT_MAX);
    text[TEMPLATE_TEXT_MAX - 1] = 'x';
    /* On a busy machine, one measurement shows little. If the whole text were always read, none would be good. */
    for (unsigned tries = 0; tries < 20 && !is_cheap; tries++) {
        text[0] = '/';
        whole = match_cost_ns(template, text, true);
        text[0] = '-';
        is_cheap = match_cost_ns(template, text, false) < whole / 3;
    }
    assert_true(is_cheap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_beginning_ends_the_match),
        cmocka_unit_test(the_default_layout),
        cmocka_unit_test(matches_backwards),
        cmocka_unit_test(a_long_text_is_matched_in_linear_time),
        cmocka_unit_test(every_field),
        cmocka_unit_test(gliderlabs_layout),
        cmocka_unit_test(json_is_a_template),
        cmocka_unit_test(loose_braces_are_literal),
        cmocka_unit_test(labels_are_looked_up_by_name),
        cmocka_unit_test(fallbacks),
        cmocka_unit_test(json_filter),
        cmocka_unit_test(ipv6_addresses),
        cmocka_unit_test(keys_are_escaped),
        cmocka_unit_test(segments_are_never_dots_or_empty),
        cmocka_unit_test(values_hold_allowed_characters_only),
        cmocka_unit_test(a_service_is_one_line),
        cmocka_unit_test(number_filter),
        cmocka_unit_test(errors_tell_the_column),
        cmocka_unit_test(templates_are_bounded),
        cmocka_unit_test(results_are_bounded),
        cmocka_unit_test(a_template_reports_its_fields_and_prefix),
        cmocka_unit_test(any_text_compiles_or_has_an_error),
        cmocka_unit_test(any_label_is_valid_json),
    };
    return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
