#include "ctl_etcd.h"

#include "ctl_call.h"
#include "ctl_compare.h"
#include "exit_status.h"
#include "json.h"
#include "rules.h"
#include "utf8.h"

#include <errno.h>
#include <string.h>

enum {
    DOCKER_TIMEOUT_S = 30,
    LOOK_TIMEOUT_S = 30, /* a cluster whose members hang costs some seconds for each */
    TRIES = 3,
    TRY_AGAIN_MS = 700, /* what has just changed is in etcd within a second */
};

/* The agent's rules, as it tells them: its settings need not be the caller's. */
typedef struct Expectations {
    const Settings *caller; /* for TLS to Docker */
    const char *url;
    Settings settings; /* of the agent's, what rules are made of */
    Rules rules;
    const char **labels;
} Expectations;

static void clear_expectations(Expectations *expectations)
{
    template_free(expectations->settings.key);
    template_free(expectations->settings.value);
    template_free(expectations->settings.service);
    free(expectations->labels);
}

static int read_template(const cJSON *object, const char *name, Template **ret)
{
    CLEANUP_FREE char *error = NULL;
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

    return text ? template_compile(ret, text, &error) : -EBADMSG;
}

static bool is_true(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static int read_expectations(Expectations *expectations, const cJSON *status)
{
    const cJSON *rules = cJSON_GetObjectItemCaseSensitive(status, "rules");
    const cJSON *docker = cJSON_GetObjectItemCaseSensitive(status, "docker");
    Settings *settings = &expectations->settings;
    int r;

    expectations->url = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(docker, "url"));
    settings->node = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(status, "node"));
    settings->ports = is_true(rules, "internal") ? PORTS_INTERNAL : PORTS_PUBLISHED;
    settings->explicit_only = is_true(rules, "explicit");
    settings->docker_environment = is_true(rules, "environment");
    if (!expectations->url || !settings->node)
        return -EBADMSG;
    r = read_template(rules, "key", &settings->key);
    if (r >= 0)
        r = read_template(rules, "value", &settings->value);
    if (r >= 0)
        r = read_template(rules, "service", &settings->service);
    if (r >= 0)
        r = rules_from_settings(&expectations->rules, settings, &expectations->labels);
    if (r < 0)
        return r;
    expectations->rules.address4 = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(status, "address4"));
    expectations->rules.address6 = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(status, "address6"));
    return 0;
}

/* Negative: failed, and said so; but for a 404. */
static int ask_docker(const Expectations *expectations, const char *path, CtlReply *ret)
{
    CtlReply reply;

    if (ctl_call_docker(expectations->caller, expectations->url, path, NULL, DOCKER_TIMEOUT_S, &reply) != 0)
        return -EIO;
    if (reply.status != 200 && reply.status != 404) {
        ctl_print_error(&reply, "message");
        ctl_reply_clear(&reply);
        return -EIO;
    }
    *ret = reply;
    return 0;
}

/* As the agent tells its own. */
static void add_printable(cJSON *object, const char *name, const char *value)
{
    cJSON *string = cJSON_AddStringToObject(object, name, value);

    if (string)
        utf8_make_printable(string->valuestring);
}

static cJSON *container_json(const Container *container, const Records *records)
{
    cJSON *object = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(object, "records");

    (void)cJSON_AddStringToObject(object, "id", container->id);
    add_printable(object, "name", container->name);
    if (records->reason != REASON_NONE)
        (void)cJSON_AddStringToObject(object, "text", reason_to_string(records->reason));
    for (size_t i = 0; i < records->n_items; i++) {
        cJSON *record;

        if (records->items[i].reason != REASON_NONE)
            continue;
        record = cJSON_CreateObject();
        add_printable(record, "key", records->items[i].key);
        add_printable(record, "value", records->items[i].value);
        json_append(array, record);
    }
    return object;
}

static int add_container(const Expectations *expectations, const char *id, cJSON *array)
{
    CLEANUP(container_free_p) Container *container = NULL;
    CLEANUP_FREE char *path = NULL;
    Records records;
    CtlReply reply;
    int r;

    if (strlen(id) != 64 || strspn(id, "0123456789abcdef") != 64)
        return -EBADMSG;
    if (asprintf(&path, "/containers/%s/json", id) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    r = ask_docker(expectations, path, &reply);
    if (r < 0)
        return r;
    if (reply.status == 200)
        r = container_from_inspect(&container, reply.body ? reply.body : "", reply.size, &expectations->rules.labels);
    ctl_reply_clear(&reply);
    if (r < 0 || !container)
        return r; /* gone since it was listed */
    r = records_from_container(&records, container, &expectations->rules);
    if (r < 0)
        return r;
    json_append(array, container_json(container, &records));
    records_clear(&records);
    return 0;
}

static int add_containers(const Expectations *expectations, cJSON *array)
{
    CtlReply reply;
    const cJSON *item;
    cJSON *list;
    int r = ask_docker(expectations, "/containers/json", &reply);

    if (r < 0)
        return r;
    list = cJSON_ParseWithLength(reply.body ? reply.body : "", reply.size);
    ctl_reply_clear(&reply);
    r = cJSON_IsArray(list) ? 0 : -EBADMSG;
    cJSON_ArrayForEach (item, list) {
        const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "Id"));

        if (r >= 0)
            r = add_container(expectations, id ? id : "", array);
    }
    cJSON_Delete(list);
    return r;
}

/* What Docker's containers come to by the agent's rules, asked of Docker itself. NULL: failed, and said so. */
static cJSON *expected_keys(const Settings *settings, const cJSON *status)
{
    Expectations expectations = { .caller = settings };
    cJSON *array = cJSON_CreateArray();
    int r = read_expectations(&expectations, status);

    if (r == -EBADMSG || r == -EINVAL) {
        fprintf(stderr, "registrator: the agent does not tell its rules: is it of another version?\n");
    } else if (r >= 0) {
        r = add_containers(&expectations, array);
        if (r == -EBADMSG)
            fprintf(stderr, "registrator: %s does not answer like Docker\n", expectations.url);
    }
    if (r == -ENOMEM)
        fprintf(stderr, "registrator: out of memory\n");
    clear_expectations(&expectations);
    if (r >= 0)
        return array;
    cJSON_Delete(array);
    return NULL;
}

/* The agent asks etcd, since it has the way there, and the password. NULL: failed, and said so. */
static cJSON *look_into_etcd(const char *control)
{
    const unsigned step_ms = 50;
    const cJSON *api;
    cJSON *etcd = ctl_call_agent(control, "/etcd", "", NULL);

    for (unsigned waited_ms = 0; etcd && !is_true(etcd, "done") && waited_ms < LOOK_TIMEOUT_S * 1000;
         waited_ms += step_ms) {
        cJSON_Delete(etcd);
        ctl_sleep_ms(step_ms);
        etcd = ctl_call_agent(control, "/etcd", NULL, NULL);
    }
    if (!etcd)
        return NULL;
    cJSON_ArrayForEach (api, cJSON_GetObjectItemCaseSensitive(etcd, "apis")) {
        const char *why = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(api, "why"));

        if (!is_true(etcd, "done") || (why && *why == '\0'))
            continue;
        fprintf(stderr, "registrator: %s\n", why ? why : "etcd is away");
        cJSON_Delete(etcd);
        return NULL;
    }
    if (is_true(etcd, "done"))
        return etcd;
    fprintf(stderr, "registrator: the agent got no answer from etcd within %d s\n", LOOK_TIMEOUT_S);
    cJSON_Delete(etcd);
    return NULL;
}

/* 0, or the exit status of what failed. */
static int compare_once(const Settings *settings, const char *control, FILE *out, CtlComparison *ret, int *ret_n)
{
    cJSON *status = ctl_call_agent(control, "/status", NULL, NULL);
    cJSON *docker = status ? expected_keys(settings, status) : NULL;
    cJSON *etcd = docker ? look_into_etcd(control) : NULL;
    int r = EXIT_NOT_POSSIBLE;

    if (etcd && ctl_compare(out, docker, status, etcd, ret) < 0)
        fprintf(stderr, "registrator: out of memory\n");
    else if (etcd)
        r = EXIT_SUCCESS;
    *ret_n = cJSON_GetArraySize(docker);
    cJSON_Delete(etcd);
    cJSON_Delete(docker);
    cJSON_Delete(status);
    return r;
}

int ctl_status_etcd(const Settings *settings, const char *control)
{
    CtlComparison comparison = { 0 };
    CLEANUP_FREE char *text = NULL;
    size_t size = 0;
    int r = EXIT_SUCCESS, n_containers = 0;

    for (int tries = 1; tries <= TRIES; tries++) {
        FILE *out;

        free(TAKE_PTR(text));
        out = open_memstream(&text, &size);
        if (!out)
            return EXIT_NOT_POSSIBLE;
        r = compare_once(settings, control, out, &comparison, &n_containers);
        (void)fclose(out);
        if (r != EXIT_SUCCESS || comparison.n_different == 0)
            break;
        if (tries < TRIES)
            ctl_sleep_ms(TRY_AGAIN_MS);
    }
    if (r != EXIT_SUCCESS)
        return r;
    if (comparison.n_different == 0) {
        printf("Docker, agent and etcd agree: %zu keys of %d containers.\n", comparison.n_equal, n_containers);
        return EXIT_SUCCESS;
    }
    printf("%sThey differ in %zu of %zu keys.\n", text, comparison.n_different,
           comparison.n_equal + comparison.n_different);
    return EXIT_DIFFERENT;
}
