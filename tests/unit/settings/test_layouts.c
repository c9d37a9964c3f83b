/* [layout NAME] sections, and what the rules make of them. */
#include "settings/rules.h"

#include "../scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define REGISTRY "[registry]\nkey = /app/{service}/{name}\n"
#define DNS "[layout dns]\nkey = /skydns/{service}/{name}\nvalue = {\"host\":{address|json}}\n"

static char path[SCRATCH_MAX];

static int write_file(void **state)
{
    (void)state;
    scratch_template(path);
    int fd = mkstemp(path);

    return fd >= 0 ? close(fd) : -1;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static int load_text(const char *text, const char *api, Settings **ret, char **ret_error)
{
    char *argv[] = { (char *)"registrator", (char *)"--config", path, (char *)"--etcd-api", (char *)api, NULL };
    FILE *file = fopen(path, "we");
    SettingsAction action = SETTINGS_RUN;
    int operand = 0;

    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return settings_load(ret, 5, argv, &action, &operand, ret_error);
}

static Settings *load(const char *text)
{
    CLEANUP_FREE char *error = NULL;
    Settings *settings = NULL;

    if (load_text(text, "auto", &settings, &error) < 0)
        fail_msg("%s", error);
    return settings;
}

/* expected: what comes behind the file's name. */
static void assert_refused(const char *text, const char *api, const char *expected)
{
    CLEANUP(settings_free_p) Settings *settings = NULL;
    CLEANUP_FREE char *error = NULL;

    assert_int_equal(load_text(text, api, &settings, &error), -EINVAL);
    assert_int_equal(strncmp(error, path, strlen(path)), 0);
    if (!strstr(error + strlen(path), expected))
        fail_msg("'%s' is not in '%s'", expected, error);
}

static void a_layout_has_a_key_and_inherits_the_rest(void **state)
{
    (void)state;
    CLEANUP(settings_free_p)
    Settings *settings =
        load(DNS "[registry]\nvalue = x{port}\nservice = web\n[layout  t_2]\nservice = {image}\nkey = t/{name}\n");

    assert_int_equal(settings->n_layouts, 3);
    assert_string_equal(settings->layouts[0].name, LAYOUT_DEFAULT);
    assert_string_equal(settings->layouts[1].name, "dns");
    assert_string_equal(template_text(settings->layouts[1].key), "/skydns/{service}/{name}");
    assert_string_equal(template_text(settings->layouts[1].value), "{\"host\":{address|json}}");
    assert_string_equal(template_text(settings->layouts[1].service), "web");
    assert_string_equal(settings->layouts[2].name, "t_2");
    assert_string_equal(template_text(settings->layouts[2].value), "x{port}");
    assert_string_equal(template_text(settings->layouts[2].service), "{image}");
}

static void errors_have_their_line(void **state)
{
    static const char name[] = "a layout's name must be 1 to 32 letters, digits, - or _";
    static const char longest[] = "[layout aaaaaaaaaabbbbbbbbbbccccccccccdd]\nkey = /x/{name}\n";
    static const char longer[] = "[layout aaaaaaaaaabbbbbbbbbbccccccccccddd]\nkey = /x/{name}\n";

    (void)state;
    assert_refused("[layout]\nkey = /x/{name}\n", "auto", name);
    assert_refused("[layout a b]\nkey = /x/{name}\n", "auto", name);
    assert_refused("[layout ä]\nkey = /x/{name}\n", "auto", name);
    assert_refused(longer, "auto", name);
    settings_free(load(longest));
    assert_refused("[layout default]\nkey = /x/{name}\n", "auto",
                   ":1: [layout default]: there is such a layout already: the settings in [registry]");
    assert_refused(DNS "[docker]\n[layout dns]\nkey = /x/{name}\n", "auto",
                   ":5: [layout dns]: there is such a layout already: ");
    assert_refused("\n[layout dns]\nvalue = x\n[docker]\n", "auto", ":2: [layout dns]: needs a key");
    assert_refused(DNS "[layout dns2]\n", "auto", ":4: [layout dns2]: needs a key");
    assert_refused(DNS "key = /y/{name}\n", "auto", ":4: [layout dns] key: set already in line 2");
    assert_refused("[layout dns]\nkey = {name}\n", "auto", ":2: [layout dns] key: '{name}': must begin with text");
    assert_refused("[layout dns]\nttl = 5\n", "auto", ":2: [layout dns] ttl: there is no such setting");
    assert_refused("[layouts dns]\nkey = /y/{name}\n", "auto", ":2: [layouts dns] key: there is no such setting");
}

static void keys_must_differ(void **state)
{
    (void)state;
    assert_refused(REGISTRY "[layout dns]\nkey = /app/{service}/{name}\n", "auto",
                   ":4: [layout dns] key: '/app/{service}/{name}': another layout has the same key template: ");
    assert_refused("[layout dns]\nkey = /app/{service}/{name}\n", "auto", "same key template: key, by default");
    assert_refused(DNS "[layout x]\nkey = /skydns/{service}/{name}\n", "auto", ":5: [layout x] key: ");
}

static void v2_has_only_keys_with_a_slash(void **state)
{
    static const char text[] = "[layout t]\nkey = traefik/{name}\n";

    (void)state;
    assert_refused(text, "v2", ":2: [layout t] key: 'traefik/{name}': must begin with a slash");
    settings_free(load(text));
}

static void there_are_sixteen_at_most(void **state)
{
    CLEANUP_FREE char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    (void)state;
    for (int i = 1; i < LAYOUTS_MAX; i++)
        fprintf(out, "[layout l%d]\nkey = /l%d/{name}\n", i, i);
    fflush(out);
    settings_free(load(text));
    fputs("[layout more]\nkey = /more/{name}\n", out);
    fclose(out);
    assert_refused(text, "auto", ":31: [layout more]: there must be 15 layouts at most");
}

static void a_reload_reports_the_changes(void **state)
{
    (void)state;
    CLEANUP(settings_free_p)
    Settings *one = load(DNS), *same = load(DNS), *none = load(""),
             *named = load("[layout d]\nkey = /skydns/{service}/{name}\n"),
             *other = load("[layout dns]\nkey = /skydns/{service}/{name}\n");

    assert_true(settings_same_store(one, same) && settings_same_metadata(one, same));
    assert_false(settings_same_store(one, none) || settings_same_metadata(one, none));
    assert_false(settings_same_store(named, other));
    assert_false(settings_same_store(one, other));
}

static void each_layout_has_its_directory(void **state)
{
    (void)state;
    CLEANUP(settings_free_p)
    Settings *settings =
        load(DNS "[layout t]\nkey = t/{node}/{name}\n[layout n]\nkey = /n/{name}/x\n[registry]\nnode = h1\n");
    static const char *const expected[] = { "/app/servers", "/skydns/servers", "t/h1", NULL };

    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        CLEANUP_FREE char *directory = rules_directory(&settings->layouts[i], settings->node);

        assert_int_equal(directory == NULL, expected[i] == NULL);
        if (directory)
            assert_string_equal(directory, expected[i]);
    }
}

/* A value of a layout without addresses says nothing of whose key it is. */
static void the_layout_of_a_key_decides_which_text_has_the_address(void **state)
{
    (void)state;
    CLEANUP(settings_free_p)
    Settings *settings =
        load("[layout rule]\nkey = /app/rules/{name}\nvalue = {service}\n[layout at]\nkey = at/{address}/{name}\n"
             "value = x\n[layout twin]\nkey = /twin/{name}\n[layout twins]\nkey = /twin/{name}/rule\nvalue = x\n");
    CLEANUP_FREE const char **labels = NULL;
    Rules rules;

    assert_int_equal(rules_from_settings(&rules, settings, &labels), 0);
    assert_true(rules_show_address(&rules));
    assert_string_equal(rules_address_text(&rules, "/app/servers/web", "V"), "V");
    assert_null(rules_address_text(&rules, "/app/rules/web", "V"));
    assert_string_equal(rules_address_text(&rules, "at/192.0.2.1/web", "V"), "at/192.0.2.1/web");
    assert_null(rules_address_text(&rules, "/twin/web", "V"));
    assert_null(rules_address_text(&rules, "/twin/web/rule", "V"));
    assert_null(rules_address_text(&rules, "/elsewhere/web", "V"));
    rules.ports = PORTS_INTERNAL;
    assert_false(rules_show_address(&rules));
}

/* What the agent can say of a container's own address. */
static void a_docker_of_another_host_is_one_behind_its_network(void **state)
{
    static const struct {
        const char *url;
        bool is_remote;
    } cases[] = {
        { "unix:///var/run/docker.sock", false },
        { "tcp://127.0.0.1:2375", false },
        { "tcp://[::1]:2375", false },
        { "tcp://localhost:2375", false },
        { "tcp://192.0.2.7:2376", true },
        { "tcp://[2001:db8::7]:2376", true },
        { "tcp://docker.example.org:2376", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_FREE char *text = NULL;
        CLEANUP_FREE const char **labels = NULL;
        Rules rules;

        assert_true(asprintf(&text, "[docker]\nurl = %s\n", cases[i].url) > 0);
        CLEANUP(settings_free_p) Settings *settings = load(text);
        assert_int_equal(rules_from_settings(&rules, settings, &labels), 0);
        assert_int_equal(rules.docker_is_remote, cases[i].is_remote);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, write_file, remove_file)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_layout_has_a_key_and_inherits_the_rest),
        TEST(errors_have_their_line),
        TEST(keys_must_differ),
        TEST(v2_has_only_keys_with_a_slash),
        TEST(there_are_sixteen_at_most),
        TEST(a_reload_reports_the_changes),
        TEST(each_layout_has_its_directory),
        TEST(the_layout_of_a_key_decides_which_text_has_the_address),
        TEST(a_docker_of_another_host_is_one_behind_its_network),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
