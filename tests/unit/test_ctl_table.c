/* What the subcommands print, from what an agent might answer. */
#include "ctl_table.h"

#include "cleanup.h"
#include "utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define LONG_NAME "a_container_whose_name_goes_on_and_on_until_nobody_wants_to_read_it_any_more_and_then_some"
#define RECORD(key, value) \
    "{\"port\":80,\"protocol\":\"tcp\",\"key\":\"" key "\",\"value\":\"" value "\",\"state\":\"registered\"}"

static const char status_text[] =
    "{\"node\":\"n\",\"docker\":{\"url\":\"unix:///var/run/docker.sock\"},\"etcd\":{\"store\":\"etcd v3 (3.5) at "
    "http://a-long-name.of.some.host.example.org:2379, one of several members of a cluster\"},\"containers\":["
    "{\"name\":\"web\",\"state\":\"registered\",\"records\":[" RECORD(
        "/app/servers/web",
        "192.0.2.1:1") "]},"
                       "{\"name\":\"" LONG_NAME "\",\"state\":\"registered\",\"records\":[" RECORD(
                           "/app/servers/" LONG_NAME,
                           "192.0.2.1:2") "]},"
                                          "{\"name\":\"日本日本日本日本日本日本日本日本日本\",\"state\":\"registered\","
                                          "\"records\":[" RECORD(
                                              "/app/日本日本日本日本日本日本日本日本日本日本日本日本日本日本日本日本",
                                              "日本日本日本日本日本日本日本日本日本日本") "]},"
                                                                                          "{\"name\":\"größer\","
                                                                                          "\"state\":\"out\","
                                                                                          "\"reason\":\"no-port\","
                                                                                          "\"text\":\"no published "
                                                                                          "port\",\"records\":[]},"
                                                                                          "{\"name\":\"theirs\","
                                                                                          "\"state\":\"conflict\","
                                                                                          "\"records\":[{\"port\":80,"
                                                                                          "\"protocol\":\"tcp\","
                                                                                          "\"state\":\"conflict\","
                                                                                          "\"key\":\"/app/servers/"
                                                                                          "theirs\",\"value\":\"192.0."
                                                                                          "2.1:3\",\"holder\":"
                                                                                          "\"\\u001b]0;"
                                                                                          "owned\\u0007\\u009b31m\"}]}]"
                                                                                          "}";

static char *print(void (*function)(FILE *out, const cJSON *json), const cJSON *json)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    function(out, json);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void assert_harmless(const char *text)
{
    CLEANUP_FREE char *copy = strdup(text);

    for (char *p = copy; *p; p++)
        if (*p == '\n')
            *p = ' ';
    CLEANUP_FREE char *printable = strdup(copy);
    utf8_make_printable(printable);
    assert_string_equal(printable, copy);
}

static void status_fits_80_columns_and_harms_no_terminal(void **state)
{
    cJSON *json = cJSON_Parse(status_text);
    CLEANUP_FREE char *text = print(ctl_print_status, json);
    size_t lines = 0;

    (void)state;
    assert_non_null(json);
    assert_harmless(text);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++)
        if (utf8_columns(line) > 80)
            fail_msg("%zu columns: %s", utf8_columns(line), line);
    assert_int_equal(lines, 10);
    cJSON_Delete(json);
}

static void status_lines_its_columns_up(void **state)
{
    cJSON *json = cJSON_Parse(status_text);
    CLEANUP_FREE char *text = print(ctl_print_status, json);
    const char *table = strstr(text, "CONTAINER");
    const char *heading = strstr(table, "STATE");

    (void)state;
    assert_non_null(heading);
    /* The names are cut or padded to one width, whatever their bytes. */
    CLEANUP_FREE char *before = strndup(table, (size_t)(heading - table));
    for (const char *line = strchr(table, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
        size_t columns, size = utf8_fit(line, utf8_columns(before), &columns);

        assert_int_equal(columns, utf8_columns(before));
        assert_int_equal(line[size - 1], ' ');
        assert_true(line[size] >= 'a' && line[size] <= 'z');
    }
    assert_non_null(strstr(text, "/app/servers/web = 192.0.2.1:1\n"));
    assert_non_null(strstr(text, "and_then_some = 192.0.2.1:2\n")); /* the beginning of the key is what goes */
    cJSON_Delete(json);
}

static void explain_harms_no_terminal(void **state)
{
    cJSON *json = cJSON_Parse(status_text), *container;

    (void)state;
    cJSON_ArrayForEach (container, cJSON_GetObjectItem(json, "containers")) {
        CLEANUP_FREE char *text = print(ctl_print_container, container);

        assert_harmless(text);
        assert_non_null(strstr(text, cJSON_GetObjectItem(container, "name")->valuestring));
    }
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_fits_80_columns_and_harms_no_terminal),
        cmocka_unit_test(status_lines_its_columns_up),
        cmocka_unit_test(explain_harms_no_terminal),
    };

    return cmocka_run_group_tests_name("ctl_table", tests, NULL, NULL);
}
