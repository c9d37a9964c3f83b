/* What the subcommands print, from what an agent might answer. */
#include "ctl/ctl_table.h"

#include "base/cleanup.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

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
                                                                                          "\"state\":\"unregistered\","
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

/* CPU seconds for a table of so many keys of so many bytes. */
static double cost(size_t n_keys, size_t size)
{
    cJSON *json = cJSON_Parse("{\"containers\":[{\"name\":\"web\",\"state\":\"registered\",\"records\":[]}]}");
    cJSON *records = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(json, "containers"), 0), "records");
    CLEANUP_FREE char *key = calloc(1, size + 1);
    CLEANUP_FREE char *text = NULL;
    clock_t begin;

    memset(key, 'k', size);
    for (size_t i = 0; i < n_keys; i++) {
        cJSON *record = cJSON_CreateObject();

        (void)cJSON_AddStringToObject(record, "state", "registered");
        (void)cJSON_AddStringToObject(record, "key", key);
        (void)cJSON_AddStringToObject(record, "value", "192.0.2.1:1");
        (void)cJSON_AddItemToArray(records, record);
    }
    begin = clock();
    text = print(ctl_print_status, json);
    begin = clock() - begin;
    assert_non_null(strstr(text, "kkk = 192.0.2.1:1\n"));
    cJSON_Delete(json);
    return (double)begin;
}

/* The same number of bytes in longer keys costs the same. */
static void long_keys_cost_no_more_than_their_bytes(void **state)
{
    double many = cost(2048, 4096), long_ones = cost(128, 65536);

    (void)state;
    if (long_ones > 5 * many)
        fail_msg("%f and %f", many, long_ones);
}

static void answer_without_its_members_is_printed_without_a_crash(void **state)
{
    static const char *const answers[] = { "null", "[]", "{\"containers\":[1,null,{},{\"records\":[1,{}]}]}",
                                           "{\"containers\":{\"a\":{\"state\":\"unregistered\",\"records\":[{\"state\":"
                                           "\"unregistered\"}]}},\"docker\":1,\"etcd\":\"x\"}",
                                           "{\"containers\":[{\"state\":1,\"records\":[{\"state\":\"unregistered\","
                                           "\"port\":\"x\"},{\"state\":\"conflict\"}]}]}" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        cJSON *json = cJSON_Parse(answers[i]), *container;

        assert_non_null(json);
        CLEANUP_FREE char *text = print(ctl_print_status, json);
        assert_harmless(text);
        cJSON_ArrayForEach (container, cJSON_GetObjectItem(json, "containers")) {
            CLEANUP_FREE char *explained = print(ctl_print_container, container);
            assert_harmless(explained);
        }
        cJSON_Delete(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_fits_80_columns_and_harms_no_terminal),
        cmocka_unit_test(status_lines_its_columns_up),
        cmocka_unit_test(explain_harms_no_terminal),
        cmocka_unit_test(long_keys_cost_no_more_than_their_bytes),
        cmocka_unit_test(answer_without_its_members_is_printed_without_a_crash),
    };

    return cmocka_run_group_tests_name("ctl_table", tests, NULL, NULL);
}
