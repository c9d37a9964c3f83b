#include "ctl/ctl_etcd.h"

#include "ctl/ctl_call.h"
#include "ctl/ctl_compare.h"
#include "ctl/ctl_fleet.h"
#include "base/exit_status.h"
#include "base/json.h"
#include "base/text.h"
#include "settings/rules.h"
#include "settings/setting_value.h"

#include <errno.h>
#include <string.h>

enum {
    DOCKER_TIMEOUT_S = 30,
    TRIES = 3,
    TRY_AGAIN_MS = 700, /* the agent writes a change to etcd within this time, as a rule */
};

/* The agent's rules, from the agent's answer, because the caller may have other settings. */
typedef struct Expectations {
    const Settings *caller; /* names the Docker to ask */
    Settings settings; /* the agent's settings, as far as rules need them */
    Rules rules;
    const char **labels;
} Expectations;

static void clear_expectations(Expectations *expectations)
{
    for (size_t i = 0; i < expectations->settings.n_layouts; i++)
        layout_clear(&expectations->settings.layouts[i]);
    label_matches_free(expectations->settings.only);
    free(expectations->labels);
}

static int read_template(const cJSON *object, const char *name, Template **ret)
{
    CLEANUP_FREE char *error = NULL;
    const char *text = json_string(object, name);

    return text ? template_compile(ret, text, &error) : -EBADMSG;
}

static int read_layout(const cJSON *object, const char *name, Settings *settings)
{
    Layout *layout = &settings->layouts[settings->n_layouts];
    int r;

    if (!name || settings->n_layouts == LAYOUTS_MAX)
        return -EBADMSG;
    settings->n_layouts++;
    (void)snprintf(layout->name, sizeof(layout->name), "%s", name);
    r = read_template(object, "key", &layout->key);
    if (r >= 0)
        r = read_template(object, "value", &layout->value);
    return r < 0 ? r : read_template(object, "service", &layout->service);
}

static int read_layouts(const cJSON *rules, Settings *settings)
{
    const cJSON *layout;
    int r = read_layout(rules, LAYOUT_DEFAULT, settings);

    cJSON_ArrayForEach (layout, json_get(rules, "layouts"))
        if (r >= 0)
            r = read_layout(layout, json_string(layout, "name"), settings);
    return r;
}

static int read_expectations(Expectations *expectations, const cJSON *status)
{
    const cJSON *rules = json_get(status, "rules");
    const char *only = json_string(rules, "only");
    Settings *settings = &expectations->settings;
    CLEANUP_FREE char *error = NULL;
    int r;

    settings->node = cJSON_GetStringValue(json_get(status, "node"));
    settings->ports = cJSON_IsTrue(json_get(rules, "internal")) ? PORTS_INTERNAL : PORTS_PUBLISHED;
    settings->explicit_only = cJSON_IsTrue(json_get(rules, "explicit"));
    if (!settings->node)
        return -EBADMSG;
    r = read_layouts(rules, settings);
    if (r >= 0 && only)
        r = setting_parse_only(NULL, only, &settings->only, &error);
    if (r >= 0)
        r = rules_from_settings(&expectations->rules, settings, &expectations->labels);
    if (r < 0)
        return r;
    expectations->rules.address4 = json_string(status, "address4");
    expectations->rules.address6 = json_string(status, "address6");
    return 0;
}

/* Returns a negative errno after printing the error. For a 404, prints nothing. */
static int ask_docker(const Expectations *expectations, const char *path, CtlReply *ret)
{
    CtlReply reply;

    if (ctl_call_docker(expectations->caller, path, NULL, DOCKER_TIMEOUT_S, &reply) != 0)
        return -EIO;
    if (reply.status != 200 && reply.status != 404) {
        ctl_print_error(&reply, "message");
        ctl_reply_clear(&reply);
        return -EIO;
    }
    *ret = reply;
    return 0;
}

static cJSON *container_json(const Container *container, const Records *records)
{
    cJSON *object = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(object, "records");

    json_set_text(object, "id", container->id);
    json_set_text(object, "name", container->name);
    if (records->reason != REASON_NONE)
        json_set_text(object, "text", reason_to_string(records->reason));
    for (size_t i = 0; i < records->n_items; i++) {
        cJSON *record;

        if (records->items[i].reason != REASON_NONE)
            continue;
        record = cJSON_CreateObject();
        json_set_text(record, "key", records->items[i].key);
        json_set_text(record, "value", records->items[i].value);
        json_set_text(record, "layout", records->items[i].layout);
        json_append(array, record);
    }
    return object;
}

static int add_container(const Expectations *expectations, const char *id, cJSON *array)
{
    CLEANUP(container_free_p) Container *container = NULL;
    CLEANUP_FREE char *path = text_format("/containers/%s/json", id);
    Records records;
    CtlReply reply;
    int r;

    if (!text_is_container_id(id))
        return -EBADMSG;
    if (!path)
        return -ENOMEM;
    r = ask_docker(expectations, path, &reply);
    if (r < 0)
        return r;
    if (reply.status == 200)
        r = container_from_inspect(&container, ctl_reply_text(&reply), reply.body.size, &expectations->rules.labels);
    ctl_reply_clear(&reply);
    if (r < 0 || !container)
        return r; /* removed since the list */
    r = records_from_container(&records, container, &expectations->rules);
    if (r < 0)
        return r;
    json_append(array, container_json(container, &records));
    records_clear(&records);
    return 0;
}

static int add_containers(const Expectations *expectations, cJSON *array)
{
    CLEANUP_JSON cJSON *list = NULL;
    const cJSON *item;
    CtlReply reply;
    int r = ask_docker(expectations, "/containers/json", &reply);

    if (r < 0)
        return r;
    list = cJSON_Parse(ctl_reply_text(&reply));
    ctl_reply_clear(&reply);
    r = cJSON_IsArray(list) ? 0 : -EBADMSG;
    cJSON_ArrayForEach (item, list) {
        const char *id = json_string(item, "Id");

        if (r >= 0)
            r = add_container(expectations, id ? id : "", array);
    }
    return r;
}

/* Applies the agent's rules to the containers that Docker itself reports. Returns NULL after printing the error. */
static cJSON *expected_keys(const Expectations *expectations)
{
    CLEANUP_JSON cJSON *array = cJSON_CreateArray();
    int r = add_containers(expectations, array);

    if (r == -EBADMSG)
        fprintf(stderr, "registrator: %s does not answer like Docker\n", expectations->caller->docker_url);
    if (r == -ENOMEM)
        fprintf(stderr, "registrator: out of memory\n");
    return r < 0 ? NULL : TAKE_PTR(array);
}

/* Reads etcd with the caller's settings, but with the layouts and the API of the agent. Returns NULL after printing the
 * error. */
static cJSON *etcd_keys(const Expectations *expectations, const cJSON *status)
{
    CLEANUP(fleet_free_p) Fleet *fleet = NULL;
    Settings settings = *expectations->caller;
    const cJSON *etcd = json_get(status, "etcd");
    const char *api = json_string(etcd, "api"), *why = json_string(etcd, "why");

    if (!api) {
        fprintf(stderr, "registrator: the agent has not reached etcd yet: %s\n", why ? why : "no reason given");
        return NULL;
    }
    settings.etcd_api = store_api_from_name(api);
    memcpy(settings.layouts, expectations->settings.layouts, sizeof(settings.layouts));
    settings.n_layouts = expectations->settings.n_layouts;
    fleet = ctl_read_fleet(&settings);
    if (fleet && fleet->n_unreadable > 0) { /* a comparison would report its keys as missing */
        fprintf(stderr, "registrator: etcd does not let the user read the keys below %s\n", fleet->unreadable[0]);
        return NULL;
    }
    return fleet ? fleet_json(fleet) : NULL;
}

/* Returns 0, or the exit status after an error. */
static int compare_once(const Settings *settings, const char *control, FILE *out, CtlComparison *ret, int *ret_n)
{
    CLEANUP(clear_expectations) Expectations expectations = { .caller = settings };
    CLEANUP_JSON cJSON *status = ctl_call_agent(control, "/status", NULL, NULL);
    CLEANUP_JSON cJSON *docker = NULL;
    CLEANUP_JSON cJSON *etcd = NULL;

    if (!status)
        return EXIT_NOT_POSSIBLE;
    if (read_expectations(&expectations, status) < 0) {
        fprintf(stderr, "registrator: the agent's answer has no rules: does the agent have another version?\n");
        return EXIT_NOT_POSSIBLE;
    }
    docker = expected_keys(&expectations);
    etcd = docker ? etcd_keys(&expectations, status) : NULL;
    if (!etcd)
        return EXIT_NOT_POSSIBLE;
    *ret_n = cJSON_GetArraySize(docker);
    if (ctl_compare(out, docker, status, etcd, ret) >= 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "registrator: out of memory\n");
    return EXIT_NOT_POSSIBLE;
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
    printf("%sDocker, agent and etcd differ in %zu of %zu keys.\n", text, comparison.n_different,
           comparison.n_equal + comparison.n_different);
    return EXIT_DIFFERENT;
}
