/* What happened to keys: what is kept, and for how long. */
#include "operator/history.h"

#include "base/json.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ID(digit) digit digit digit digit digit digit digit digit digit digit digit digit digit digit digit digit
#define ID_1 ID("1111")
#define ID_2 ID("2222")

/* What the history has told. An assertion that ends the test leaves it reachable: no leak. */
static cJSON *answer;

static int setup(void **state)
{
    log_set_level(-1);
    *state = history_new(NULL);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    history_free(*state);
    cJSON_Delete(answer);
    answer = NULL;
    return 0;
}

static void add(History *history, uint64_t time_us, const char *container, const char *id, const char *text)
{
    history_add(history, &(HistoryEvent){ .time_us = time_us,
                                          .container = container,
                                          .id = id,
                                          .event = "registered",
                                          .key = "/app/k",
                                          .text = text });
}

static int count(const History *history, const char *container)
{
    CLEANUP_JSON cJSON *json = history_json(history, container);

    return cJSON_GetArraySize(json);
}

static const char *member(const cJSON *array, int i, const char *name)
{
    return json_string(cJSON_GetArrayItem(array, i), name);
}

static void events_are_listed_in_order_with_their_time(void **state)
{
    History *history = *state;
    assert_int_equal(count(history, NULL), 0);
    add(history, 1764267601123000, "web", ID_1, "first");
    history_add(history,
                &(HistoryEvent){ .time_us = 1764267602000999, .key = "/app/o", .text = "orphan", .why = "so" });
    add(history, 1764267603000000, "web", ID_1, "last");
    cJSON_Delete(answer);
    answer = history_json(history, NULL);
    assert_int_equal(cJSON_GetArraySize(answer), 3);
    assert_string_equal(member(answer, 0, "time"), "2025-11-27T18:20:01.123Z");
    assert_string_equal(member(answer, 0, "text"), "first");
    assert_string_equal(member(answer, 0, "container"), "web");
    assert_string_equal(member(answer, 0, "id"), ID_1);
    assert_string_equal(member(answer, 0, "event"), "registered");
    assert_string_equal(member(answer, 0, "key"), "/app/k");
    assert_null(member(answer, 0, "why"));
    assert_string_equal(member(answer, 1, "time"), "2025-11-27T18:20:02.000Z");
    assert_string_equal(member(answer, 1, "why"), "so");
    assert_null(member(answer, 1, "id"));
    assert_string_equal(member(answer, 2, "text"), "last");
}

static void container_is_found_by_name_and_id(void **state)
{
    History *history = *state;

    add(history, 1, "web", ID_1, "a");
    add(history, 2, "web", ID_2, "b"); /* the next one of this name */
    add(history, 3, "db", ID_2, "c"); /* renamed */
    assert_int_equal(count(history, "web"), 2);
    assert_int_equal(count(history, "db"), 1);
    assert_int_equal(count(history, ID_2), 2);
    assert_int_equal(count(history, "1111"), 1);
    assert_int_equal(count(history, "111"), 0);
    assert_int_equal(count(history, ""), 0);
}

static void one_container_leaves_the_others_their_events(void **state)
{
    History *history = *state;
    char text[32];

    add(history, 0, "quiet", ID_1, "once");
    for (unsigned i = 1; i <= HISTORY_MAX * 2; i++) {
        (void)snprintf(text, sizeof(text), "%u", i);
        add(history, i, "flaps", ID_2, text);
    }
    assert_int_equal(count(history, "quiet"), 1);
    assert_int_equal(count(history, "flaps"), HISTORY_CONTAINER_MAX);
    cJSON_Delete(answer);
    answer = history_json(history, "flaps");
    assert_string_equal(member(answer, HISTORY_CONTAINER_MAX - 1, "text"), text);
}

static void all_together_are_bounded(void **state)
{
    History *history = *state;
    char id[65];

    for (unsigned i = 0; i < HISTORY_MAX + 5; i++) {
        (void)snprintf(id, sizeof(id), "%064x", i);
        add(history, i, "c", id, id);
    }
    cJSON_Delete(answer);
    answer = history_json(history, NULL);
    assert_int_equal(cJSON_GetArraySize(answer), HISTORY_MAX);
    (void)snprintf(id, sizeof(id), "%064x", 5);
    assert_string_equal(member(answer, 0, "text"), id);
}

static void long_text_is_cut_between_characters(void **state)
{
    History *history = *state;
    char text[HISTORY_TEXT_MAX + 16];
    const char *told;

    memset(text, 'x', sizeof(text));
    memcpy(text + HISTORY_TEXT_MAX - 1, "\xc3\xa4", 3);
    add(history, 1, "web", ID_1, text);
    cJSON_Delete(answer);
    answer = history_json(history, NULL);
    told = member(answer, 0, "text");
    assert_string_equal(told + HISTORY_TEXT_MAX - 1, "?\xe2\x80\xa6");
}

/* Whatever the log's level; lines that are not about a key, and those of LOG_DEBUG, are no events. */
static void lines_about_keys_become_events(void **state)
{
    History *history = *state;
    log_write(LOG_INFO, 0, LOG_EVENT_REGISTERED, "web", ID_1, "/app/web", "Key %s registered", "/app/web");
    log_write(LOG_DEBUG, 0, LOG_EVENT_NONE, "web", ID_1, "/app/web", "Kept");
    log_write(LOG_WARNING, 0, LOG_EVENT_DOCKER_LOST, NULL, NULL, NULL, "Docker is away");
    log_write(LOG_ERR, 0, LOG_EVENT_NONE, "web", ID_1, "/app/web", "etcd rejects\033[31m");
    cJSON_Delete(answer);
    answer = history_json(history, "web");
    assert_int_equal(cJSON_GetArraySize(answer), 2);
    assert_string_equal(member(answer, 0, "event"), "registered");
    assert_string_equal(member(answer, 0, "text"), "Key /app/web registered");
    assert_null(member(answer, 1, "event"));
    assert_string_equal(member(answer, 1, "text"), "etcd rejects?[31m");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_are_listed_in_order_with_their_time),   TEST(container_is_found_by_name_and_id),
        TEST(one_container_leaves_the_others_their_events), TEST(all_together_are_bounded),
        TEST(long_text_is_cut_between_characters),          TEST(lines_about_keys_become_events),
    };

    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
