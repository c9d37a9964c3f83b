/* What status --etcd makes of three answers. */
#include "ctl/ctl_compare.h"

#include "base/cleanup.h"
#include "catalog/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define KEY(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\"}"
#define DOCKER(name, records) "{\"id\":\"" name "-id\",\"name\":\"" name "\",\"records\":[" records "]}"
#define NOT_READY(name, text) "{\"id\":\"" name "-id\",\"name\":\"" name "\",\"text\":\"" text "\",\"records\":[]}"
#define RECORD(key, value, state) "{\"key\":\"" key "\",\"value\":\"" value "\",\"state\":\"" state "\"}"
#define AGENT(name, records) \
    "{\"id\":\"" name "-id\",\"name\":\"" name "\",\"state\":\"registered\",\"records\":[" records "]}"
#define OUT(name, reason, records)                                                                  \
    "{\"id\":\"" name "-id\",\"name\":\"" name "\",\"state\":\"unregistered\",\"reason\":\"" reason \
    "\",\"text\":\"" reason ", it says\",\"records\":[" records "]}"
#define OURS(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\",\"lease\":\"1a\",\"ttl\":9}"
#define THEIRS(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\",\"lease\":\"2b\",\"ttl\":9}"
/* v2 */
#define OURS2(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\",\"ttl\":9}"
#define THEIRS2(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\"}"
#define V3(keys) "v3", "{\"keys\":[" keys "]}"
#define V2(keys) "v2", "{\"keys\":[" keys "]}"

static cJSON *parse(const char *before, const char *list, const char *after)
{
    CLEANUP_FREE char *text = NULL;
    cJSON *json;

    assert_true(asprintf(&text, "%s%s%s", before, list, after) > 0);
    json = cJSON_Parse(text);
    assert_non_null(json);
    return json;
}

static void expect(const char *docker, const char *agent, const char *api, const char *etcd, size_t n_equal,
                   size_t n_different, const char *expected)
{
    cJSON *docker_json = parse("[", docker, "]");
    cJSON *status = parse("{\"containers\":[", agent, "]}"), *state = cJSON_AddObjectToObject(status, "etcd");
    cJSON *etcd_json = parse("", etcd, "");
    CLEANUP_FREE char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    CtlComparison comparison = { SIZE_MAX, SIZE_MAX };

    assert_non_null(out);
    (void)cJSON_AddStringToObject(state, "api", api);
    if (strcmp(api, "v3") == 0)
        (void)cJSON_AddStringToObject(state, "lease", "1a");
    assert_int_equal(ctl_compare(out, docker_json, status, etcd_json, &comparison), 0);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, expected);
    assert_int_equal(comparison.n_equal, n_equal);
    assert_int_equal(comparison.n_different, n_different);
    cJSON_Delete(docker_json);
    cJSON_Delete(status);
    cJSON_Delete(etcd_json);
}

static void equal_keys_are_not_printed(void **state)
{
    (void)state;
    expect("", "", V3(""), 0, 0, "");
    expect(DOCKER("web", KEY("/a", "1")) "," NOT_READY("closed", "no published port"),
           OUT("closed", "no-port", "") "," AGENT("web", RECORD("/a", "1", "registered")), V3(OURS("/a", "1")), 1, 0,
           "");
    /* That it is there counts, not what the agent has heard of it yet. */
    expect(DOCKER("web", KEY("/a", "1") "," KEY("/b", "2")),
           AGENT("web", RECORD("/a", "1", "pending") "," RECORD("/b", "2", "registered")),
           V2(OURS2("/b", "2") "," OURS2("/a", "1")), 2, 0, "");
}

static void each_side_may_be_the_one_that_differs(void **state)
{
    (void)state;
    expect(DOCKER("web", KEY("/a", "2")), AGENT("web", RECORD("/a", "1", "registered")), V3(OURS("/a", "1")), 0, 1,
           "/a, container web\n  Docker:  2\n  agent:   1 (registered)\n  etcd v3: 1\n");
    expect(DOCKER("web", KEY("/a", "1")), AGENT("web", RECORD("/a", "2", "registered")), V3(OURS("/a", "1")), 0, 1,
           "/a, container web\n  Docker:  1\n  agent:   2 (registered)\n  etcd v3: 1\n");
    expect(DOCKER("web", KEY("/a", "1")), AGENT("web", RECORD("/a", "1", "registered")), V3(OURS("/a", "2")), 0, 1,
           "/a, container web\n  Docker:  1\n  agent:   1 (registered)\n  etcd v3: 2\n");
    /* The right value, but another's: it goes when they like. */
    expect(DOCKER("web", KEY("/a", "1")), AGENT("web", RECORD("/a", "1", "conflict")), V3(THEIRS("/a", "1")), 0, 1,
           "/a, container web\n  Docker:  1\n  agent:   1 (conflict)\n  etcd v3: 1 (of another owner)\n");
    expect(DOCKER("web", KEY("/a", "1")), AGENT("web", RECORD("/a", "1", "registered")), V3(""), 0, 1,
           "/a, container web\n  Docker:  1\n  agent:   1 (registered)\n  etcd v3: no key of this host\n");
}

static void the_api_has_its_name(void **state)
{
    (void)state;
    expect(DOCKER("web", KEY("/a", "1")), AGENT("web", RECORD("/a", "1", "pending")), V2(""), 0, 1,
           "/a, container web\n  Docker:  1\n  agent:   1 (pending)\n  etcd v2: no key of this host\n");
    expect(DOCKER("web", KEY("/a", "1")), AGENT("web", RECORD("/a", "1", "pending")), V3(""), 0, 1,
           "/a, container web\n  Docker:  1\n  agent:   1 (pending)\n  etcd v3: no key of this host\n");
}

static void with_v2_a_ttl_and_the_wanted_value_are_ours(void **state)
{
    (void)state;
    expect(DOCKER("web", KEY("/a", "1")), AGENT("web", RECORD("/a", "1", "conflict")), V2(THEIRS2("/a", "1")), 0, 1,
           "/a, container web\n  Docker:  1\n  agent:   1 (conflict)\n  etcd v2: 1 (of another owner)\n");
    expect(DOCKER("web", KEY("/a", "1")), AGENT("web", RECORD("/a", "1", "conflict")), V2(OURS2("/a", "2")), 0, 1,
           "/a, container web\n  Docker:  1\n  agent:   1 (conflict)\n  etcd v2: 2 (of another owner)\n");
    expect("", "", V2(OURS2("/a", "1")), 0, 0, "");
}

static void a_key_that_one_side_does_not_know_is_printed(void **state)
{
    (void)state;
    expect(DOCKER("web", KEY("/a", "1")), "", V3(""), 0, 1,
           "/a, container web\n  Docker:  1\n  agent:   does not know the container\n  etcd v3: no key of this host\n");
    expect(DOCKER("web", KEY("/a", "1")), OUT("web", "paused", ""), V3(""), 0, 1,
           "/a, container web\n  Docker:  1\n  agent:   paused, it says\n  etcd v3: no key of this host\n");
    expect("", AGENT("web", RECORD("/a", "1", "registered")), V3(OURS("/a", "1")), 0, 1,
           "/a, container web\n  Docker:  does not run\n  agent:   1 (registered)\n  etcd v3: 1\n");
    expect(NOT_READY("web", "unhealthy"), AGENT("web", RECORD("/a", "1", "registered")), V3(OURS("/a", "1")), 0, 1,
           "/a, container web\n  Docker:  unhealthy\n  agent:   1 (registered)\n  etcd v3: 1\n");
    expect("", "", V3(OURS("/a", "1")), 0, 1, "/a\n  Docker:  no such key\n  agent:   no such key\n  etcd v3: 1\n");
    /* Nobody here wants it, and it is nobody's here. */
    expect("", "", V3(THEIRS("/a", "1")), 0, 0, "");
    /* A rename that the agent has not heard of: in the order of the keys. */
    expect(DOCKER("web", KEY("/b", "1")), AGENT("web", RECORD("/a", "1", "registered")), V3(OURS("/a", "1")), 0, 2,
           "/a, container web\n  Docker:  no such key\n  agent:   1 (registered)\n  etcd v3: 1\n"
           "/b, container web\n  Docker:  1\n  agent:   no such key\n  etcd v3: no key of this host\n");
}

static void a_key_that_the_agent_leaves_out_is_no_difference(void **state)
{
    (void)state;
    for (Reason reason = REASON_NONE; reason < REASON_MAX_; reason++) {
        CLEANUP_FREE char *agent = NULL;

        if (reason_source(reason) != REASON_OF_AGENT)
            continue;
        assert_true(asprintf(&agent, OUT("web", "%s", ""), reason_token(reason), reason_token(reason)) > 0);
        expect(DOCKER("web", KEY("/a", "1")), agent, V3(""), 0, 0, "");
        /* But for what is still in etcd. */
        expect(DOCKER("web", KEY("/a", "1")), agent, V3(OURS("/a", "1")), 0, 1,
               "/a\n  Docker:  no such key\n  agent:   no such key\n  etcd v3: 1\n");
    }
    /* Two containers come to one key: the agent knows which came first. */
    expect(DOCKER("new", KEY("/a", "2")) "," DOCKER("old", KEY("/a", "1")),
           AGENT("new", "{\"key\":\"/a\",\"state\":\"unregistered\",\"reason\":\"duplicate\"}") "," AGENT(
               "old", RECORD("/a", "1", "registered")),
           V3(OURS("/a", "1")), 1, 0, "");
}

static void strangers_texts_harm_no_terminal(void **state)
{
    (void)state;
    expect(DOCKER("web", KEY("/a", "1")), AGENT("web", RECORD("/a", "1", "conflict")),
           V3(THEIRS("/a", "\\u001b]0;x\\u0007")), 0, 1,
           "/a, container web\n  Docker:  1\n  agent:   1 (conflict)\n  etcd v3: ?]0;x? (of another owner)\n");
}

static void nonsense_is_no_answer(void **state)
{
    (void)state;
    expect("1,{},{\"id\":1,\"records\":7},{\"id\":\"x\",\"records\":[1,{\"key\":2}]}",
           "null,{\"records\":[{\"key\":\"/a\",\"state\":\"unregistered\"}]},[]", "v3",
           "{\"api\":9,\"keys\":[1,{\"key\":\"/b\",\"value\":3,\"lease\":\"1a\"},{\"key\":\"/z\"}]}", 0, 0, "");
    expect("", "", "v3", "1", 0, 0, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_keys_are_not_printed),
        cmocka_unit_test(each_side_may_be_the_one_that_differs),
        cmocka_unit_test(the_api_has_its_name),
        cmocka_unit_test(with_v2_a_ttl_and_the_wanted_value_are_ours),
        cmocka_unit_test(a_key_that_one_side_does_not_know_is_printed),
        cmocka_unit_test(a_key_that_the_agent_leaves_out_is_no_difference),
        cmocka_unit_test(strangers_texts_harm_no_terminal),
        cmocka_unit_test(nonsense_is_no_answer),
    };

    return cmocka_run_group_tests_name("ctl_compare", tests, NULL, NULL);
}
