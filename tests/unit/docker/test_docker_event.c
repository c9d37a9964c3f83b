/* Event lines as a real engine sent them, and lines that none should send. */
#include "docker/docker_event.h"

#include "base/cleanup.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER_ID "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

DEFINE_CLEANUP(cJSON, cJSON_Delete)

static DockerEvent parsed(const char *line)
{
    DockerEvent event;
    memset(&event, 0x55, sizeof(event));
    assert_int_equal(docker_event_parse(&event, line, strlen(line)), 0);
    return event;
}

static void assert_bad(const char *line)
{
    DockerEvent event;
    assert_int_equal(docker_event_parse(&event, line, strlen(line)), -EBADMSG);
}

static DockerEvent container_event(const char *action, const char *attributes)
{
    CLEANUP_FREE char *line = NULL;
    assert_true(asprintf(&line,
                         "{\"Type\":\"container\",\"Action\":\"%s\",\"Actor\":{\"ID\":\"" ID "\",\"Attributes\":{%s}}}",
                         action, attributes) > 0);
    return parsed(line);
}

typedef struct Recorded {
    size_t n, counts[ACTION_MAX_];
} Recorded;

static void read_recorded(Recorded *recorded)
{
    const char *srcdir = getenv("srcdir");
    CLEANUP_FREE char *path = NULL, *line = NULL;
    size_t allocated = 0;
    ssize_t size;
    assert_true(asprintf(&path, "%s/tests/data/docker/events.json", srcdir ? srcdir : ".") > 0);
    CLEANUP(fclose_p) FILE *file = fopen(path, "re");
    if (!file)
        fail_msg("cannot open %s", path);
    while ((size = getline(&line, &allocated, file)) > 0) {
        DockerEvent event;
        assert_int_equal(docker_event_parse(&event, line, (size_t)size), 0);
        assert_true(event.action < ACTION_MAX_);
        assert_true(event.time_ns > 1600000000ULL * 1000000000);
        assert_int_equal(strlen(event.id), event.action == ACTION_OTHER ? 0 : 64);
        assert_int_equal(event.signal != 0, event.action == ACTION_KILL);
        /* The number as it stands in the line, but for what a double leaves out. */
        const char *number = strstr(line, "\"timeNano\":");
        assert_non_null(number);
        uint64_t exact = strtoull(number + strlen("\"timeNano\":"), NULL, 10);
        assert_in_range(event.time_ns, exact - 256, exact + 256);
        recorded->counts[event.action]++;
        recorded->n++;
    }
}

static void recorded_lines_all_parse(void **state)
{
    (void)state;
    Recorded recorded = { 0 };
    read_recorded(&recorded);
    assert_true(recorded.n > 100);
    for (DockerAction action = 0; action < ACTION_MAX_; action++)
        if (recorded.counts[action] == 0)
            fail_msg("no line tells '%s'", docker_action_to_string(action));
    assert_int_equal(recorded.counts[ACTION_KILL], 6);
    assert_int_equal(recorded.counts[ACTION_RESTART], 1);
    assert_int_equal(recorded.counts[ACTION_HEALTHY], 1);
    assert_int_equal(recorded.counts[ACTION_UNHEALTHY], 1);
}

static void every_action_has_its_name(void **state)
{
    (void)state;
    for (DockerAction action = ACTION_START; action <= ACTION_DESTROY; action++) {
        DockerEvent event = container_event(docker_action_to_string(action), "");
        assert_int_equal(event.action, action);
        assert_string_equal(event.id, ID);
    }
    assert_string_equal(docker_action_to_string(ACTION_START), "start");
    assert_string_equal(docker_action_to_string(ACTION_MAX_), "other");
}

static void other_events_are_of_the_kind_other(void **state)
{
    (void)state;
    assert_int_equal(container_event("exec_start: /bin/sh -c true", "").action, ACTION_OTHER);
    assert_int_equal(container_event("exec_die", "").action, ACTION_OTHER);
    assert_int_equal(container_event("health_status: ", "").action, ACTION_OTHER);
    assert_int_equal(container_event("connect", "\"container\":\"" OTHER_ID "\"").action, ACTION_OTHER);
    assert_int_equal(container_event("other", "").action, ACTION_OTHER);
    assert_int_equal(parsed("{\"Type\":\"image\",\"Action\":\"start\",\"Actor\":{\"ID\":\"app:1\"}}").action,
                     ACTION_OTHER);
    assert_int_equal(parsed("{\"Type\":\"network\",\"Action\":\"destroy\",\"Actor\":{\"ID\":\"x\"}}").action,
                     ACTION_OTHER);
    assert_int_equal(parsed("{\"Type\":\"network\",\"Action\":\"create\"}").action, ACTION_OTHER);
}

static void podman_s_names_are_understood(void **state)
{
    (void)state;
    assert_int_equal(container_event("died", "").action, ACTION_DIE);
    assert_int_equal(container_event("remove", "").action, ACTION_DESTROY);
    assert_int_equal(container_event("health_status", "").action, ACTION_UPDATE);
    assert_int_equal(parsed("{\"Type\":\"network\",\"Action\":\"remove\",\"Actor\":{\"ID\":\"" ID "\"}}").action,
                     ACTION_OTHER);
    DockerEvent event = parsed("{\"Type\":\"network\",\"Action\":\"connect\",\"Actor\":{\"ID\":\"" ID
                               "\",\"Attributes\":{\"network\":\"front\"}}}");
    assert_int_equal(event.action, ACTION_CONNECT);
    assert_string_equal(event.id, ID);
}

static void kill_tells_the_signal(void **state)
{
    (void)state;
    assert_int_equal(container_event("kill", "\"signal\":\"15\"").signal, 15);
    assert_int_equal(container_event("kill", "\"signal\":\"9\"").signal, 9);
    assert_int_equal(container_event("kill", "\"signal\":37").signal, 37);
    assert_int_equal(container_event("kill", "\"signal\":\"\"").signal, 0);
    assert_int_equal(container_event("kill", "\"signal\":\"TERM\"").signal, 0);
    assert_int_equal(container_event("kill", "\"signal\":\"99\"").signal, 0);
    assert_int_equal(container_event("kill", "\"signal\":\"4294967311\"").signal, 0);
    assert_int_equal(container_event("kill", "\"signal\":1e300").signal, 0);
    assert_int_equal(container_event("kill", "").signal, 0);
    assert_int_equal(container_event("die", "\"signal\":\"9\"").signal, 0);
}

static void network_events_name_the_container(void **state)
{
    (void)state;
    DockerEvent event = parsed("{\"Type\":\"network\",\"Action\":\"connect\",\"Actor\":{\"ID\":\"" OTHER_ID
                               "\",\"Attributes\":{\"container\":\"" ID "\",\"name\":\"front\"}}}");
    assert_int_equal(event.action, ACTION_CONNECT);
    assert_string_equal(event.id, ID);
    event = parsed("{\"Type\":\"network\",\"Action\":\"disconnect\",\"Actor\":{\"ID\":\"" OTHER_ID
                   "\",\"Attributes\":{\"container\":\"ingress-endpoint\"}}}");
    assert_int_equal(event.action, ACTION_OTHER);
}

static void the_time_is_read_to_a_fraction_of_a_microsecond(void **state)
{
    (void)state;
    DockerEvent event = parsed("{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"" ID
                               "\"},\"time\":1587233840,\"timeNano\":1587233840345201553}");
    assert_in_range(event.time_ns, 1587233840345201553ULL - 256, 1587233840345201553ULL + 256);
}

static void the_time_is_the_event_s_own(void **state)
{
    (void)state;
    /* Names, labels and commands come from strangers. */
    DockerEvent event =
        parsed("{\"from\":\"timeNano\",\"b\":\"\\\"\",\"a\":\"\\\"timeNano\\\":1,\",\"Type\":"
               "\"container\",\"Action\":"
               "\"start\",\"Actor\":{\"ID\":\"" ID "\",\"Attributes\":{\"timeNano\":7,\"x\":[{\"timeNano\":8}],"
               "\"y\":\"}}\\\\\",\"z\":\"{\\\"timeNano\\\":9\"}} , \"timeNano\" :\t42 }");
    assert_true(event.time_ns == 42);
}

static uint64_t time_of(const char *number)
{
    CLEANUP_FREE char *line = NULL;
    assert_true(asprintf(&line, "{\"Type\":\"container\",\"Action\":\"x\"%s}", number) > 0);
    return parsed(line).time_ns;
}

static void odd_times_are_none(void **state)
{
    (void)state;
    assert_true(time_of("") == 0);
    assert_true(time_of(",\"timeNano\":\"5\"") == 0);
    assert_true(time_of(",\"timeNano\":-5") == 0);
    assert_true(time_of(",\"timeNano\":null") == 0);
    assert_true(time_of(",\"timeNano\":18446744073709551615") == 0);
    assert_true(time_of(",\"timeNano\":18446744073709551616") == 0);
    assert_true(time_of(",\"timeNano\":99999999999999999999999999999") == 0);
    assert_true(time_of(",\"timeNano\":5") == 5);
}

static void old_fields_are_not_needed(void **state)
{
    (void)state;
    /* As from API 1.52 on. */
    DockerEvent event = parsed("{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"" ID
                               "\",\"Attributes\":{\"exitCode\":\"137\"}},\"scope\":\"local\",\"timeNano\":1}\n");
    assert_int_equal(event.action, ACTION_DIE);
    assert_bad("{\"status\":\"die\",\"id\":\"" ID "\",\"from\":\"app:1\"}");
}

static void json_that_is_no_event_is_refused(void **state)
{
    (void)state;
    assert_bad("");
    assert_bad("\n");
    assert_bad("[]");
    assert_bad("{}");
    assert_bad("{\"Type\":\"container\"}");
    assert_bad("{\"Type\":\"container\",\"Action\":7}");
    assert_bad("{\"Type\":\"container\",\"Action\":\"die\"");
    assert_bad("{\"Type\":\"container\",\"Action\":\"die\"}");
    assert_bad("{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"web\"}}");
    assert_bad("{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"" ID "0\"}}");
    assert_bad("{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"../" ID "\"}}");
    assert_bad("{\"Type\":\"image\",\"Action\":\"x\"}{\"Type\":\"image\",\"Action\":\"x\"}");
}

static bool filter_has(const cJSON *filters, const char *kind, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach (item, cJSON_GetObjectItem(filters, kind))
        if (strcmp(item->valuestring, name) == 0)
            return true;
    return false;
}

static void the_filters_let_every_action_through(void **state)
{
    (void)state;
    CLEANUP(cJSON_Delete_p) cJSON *filters = cJSON_Parse(docker_event_filters);
    assert_non_null(filters);
    for (DockerAction action = ACTION_START; action < ACTION_MAX_; action++) {
        CLEANUP_FREE char *name = strdup(docker_action_to_string(action));
        name[strcspn(name, ":")] = '\0';
        if (!filter_has(filters, "event", name))
            fail_msg("'%s' is not asked for", name);
    }
    /* And two of Podman's. */
    assert_true(filter_has(filters, "event", "died") && filter_has(filters, "event", "remove"));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(filters, "event")), ACTION_MAX_ - 2 + 2);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(filters, "type")), 2);
    assert_true(filter_has(filters, "type", "container") && filter_has(filters, "type", "network"));
    assert_null(strstr(docker_event_filters, "exec"));
}

static uint32_t random_next(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void broken_lines_do_no_harm(void **state)
{
    (void)state;
    static const char line[] = "{\"Type\":\"container\",\"Action\":\"kill\",\"Actor\":{\"ID\":\"" ID
                               "\",\"Attributes\":{\"name\":\"w\\\"eb\",\"signal\":\"15\"}},"
                               "\"timeNano\":1587233840345201553}";
    enum { SIZE = sizeof(line) - 1 };
    uint32_t seed = 88172645;
    for (unsigned round = 0; round < 20000; round++) {
        size_t cut = round % 3 == 0 ? random_next(&seed) % SIZE : SIZE;
        CLEANUP_FREE char *broken = malloc(cut + 1);
        memcpy(broken, line, cut);
        for (unsigned i = 0; i < round % 4 && cut > 0; i++)
            broken[random_next(&seed) % cut] = (char)random_next(&seed);
        DockerEvent event;
        int r = docker_event_parse(&event, broken, cut);
        assert_true(r == -EBADMSG || (r == 0 && event.action < ACTION_MAX_));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_lines_all_parse),
        cmocka_unit_test(every_action_has_its_name),
        cmocka_unit_test(other_events_are_of_the_kind_other),
        cmocka_unit_test(podman_s_names_are_understood),
        cmocka_unit_test(kill_tells_the_signal),
        cmocka_unit_test(network_events_name_the_container),
        cmocka_unit_test(the_time_is_read_to_a_fraction_of_a_microsecond),
        cmocka_unit_test(the_time_is_the_event_s_own),
        cmocka_unit_test(odd_times_are_none),
        cmocka_unit_test(old_fields_are_not_needed),
        cmocka_unit_test(json_that_is_no_event_is_refused),
        cmocka_unit_test(the_filters_let_every_action_through),
        cmocka_unit_test(broken_lines_do_no_harm),
    };
    return cmocka_run_group_tests_name("docker_event", tests, NULL, NULL);
}
