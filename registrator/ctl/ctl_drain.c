#include "ctl/ctl_drain.h"

#include "base/exit_status.h"
#include "base/json.h"
#include "base/text.h"
#include "ctl/ctl_call.h"

#include <errno.h>
#include <string.h>

enum {
    DEREGISTER_TIMEOUT_S = 15, /* time for several endpoints that hang, at 3 s each */
};

/* names is an array of strings, which the function frees; NULL means the host. Returns NULL after printing the
 * error. */
static cJSON *post(const char *control, const char *path, cJSON *names, bool until_death)
{
    cJSON *request = cJSON_CreateObject(), *reply;
    char *body;

    if (names)
        json_set(request, "containers", names);
    else
        (void)cJSON_AddTrueToObject(request, "host");
    if (until_death)
        (void)cJSON_AddTrueToObject(request, "until_death");
    body = cJSON_PrintUnformatted(request);
    cJSON_Delete(request);
    reply = body ? ctl_call_agent(control, path, body, NULL) : NULL;
    free(body);
    return reply;
}

static cJSON *post_names(const CtlOptions *options, const char *path)
{
    return post(options->control, path,
                options->n_names > 0 ? cJSON_CreateStringArray((const char *const *)options->names, options->n_names)
                                     : NULL,
                options->until_restart);
}

/* ---- waiting until etcd has deleted the keys ---- */

typedef enum Deregistered {
    DEREGISTERED_YES,
    DEREGISTERED_NO, /* etcd may still have keys */
    DEREGISTERED_UNKNOWN, /* the agent could not ask etcd */
    DEREGISTERED_FAILED, /* the agent does not answer, and the error is printed */
} Deregistered;

static Deregistered host_is_deregistered(const CtlOptions *options)
{
    CLEANUP_JSON cJSON *json = ctl_call_agent(options->control, "/status", NULL, NULL);
    const cJSON *etcd = json_get(json, "etcd");

    if (!json)
        return DEREGISTERED_FAILED;
    if (!cJSON_IsTrue(json_get(etcd, "known")))
        return DEREGISTERED_UNKNOWN;
    return cJSON_IsTrue(json_get(etcd, "idle")) && json_int64(etcd, "keys", -1) == 0 ? DEREGISTERED_YES
                                                                                     : DEREGISTERED_NO;
}

static Deregistered container_is_deregistered(const CtlOptions *options, const char *id)
{
    CLEANUP_JSON cJSON *json = ctl_get_container(options->control, id, NULL);
    const cJSON *published = json_get(json, "registered");

    if (!json)
        return DEREGISTERED_FAILED;
    if (!cJSON_IsBool(published))
        return DEREGISTERED_UNKNOWN;
    return cJSON_IsTrue(published) ? DEREGISTERED_NO : DEREGISTERED_YES;
}

/* Without id and name, waits for the host. */
static int wait_deregistered(const CtlOptions *options, const char *id, const char *name)
{
    const unsigned step_ms = 50;
    Deregistered deregistered = DEREGISTERED_UNKNOWN;

    for (unsigned waited_ms = 0; waited_ms < DEREGISTER_TIMEOUT_S * 1000; waited_ms += step_ms) {
        deregistered = id ? container_is_deregistered(options, id) : host_is_deregistered(options);
        if (deregistered == DEREGISTERED_YES)
            return EXIT_SUCCESS;
        if (deregistered == DEREGISTERED_FAILED)
            return EXIT_NOT_POSSIBLE;
        ctl_sleep_ms(step_ms);
    }
    if (deregistered == DEREGISTERED_UNKNOWN)
        fprintf(
            stderr,
            "registrator: drained, but after %d s the agent could not ask etcd for the keys of %s; see 'registrator "
            "status'. Remaining keys expire one TTL after the agent has ended\n",
            DEREGISTER_TIMEOUT_S, id ? name : "this host");
    else
        fprintf(stderr,
                "registrator: %s%s is still in etcd after %d s; see 'registrator status'. A key that the agent cannot "
                "delete expires one TTL after the agent has ended\n",
                id ? "the key of " : "a key of this host", id ? name : "", DEREGISTER_TIMEOUT_S);
    return EXIT_NOT_POSSIBLE;
}

int ctl_drain(const Settings *settings, const CtlOptions *options)
{
    CLEANUP_JSON cJSON *drained = post_names(options, "/drain");
    const cJSON *ids = json_get(drained, "ids");
    int r = drained ? EXIT_SUCCESS : EXIT_NOT_POSSIBLE;

    (void)settings;
    if (drained && options->n_names == 0)
        return wait_deregistered(options, NULL, NULL);
    for (int i = 0; i < options->n_names && r == EXIT_SUCCESS; i++) {
        const char *id = cJSON_GetStringValue(cJSON_GetArrayItem(ids, i));

        r = text_is_container_id(id) ? wait_deregistered(options, id, options->names[i]) : EXIT_NOT_POSSIBLE;
        if (!text_is_container_id(id))
            fprintf(stderr,
                    "registrator: the agent's answer names no container: does the agent have another version?\n");
    }
    return r;
}

int ctl_undrain(const Settings *settings, const CtlOptions *options)
{
    CLEANUP_JSON cJSON *reply = post_names(options, "/undrain");

    (void)settings;
    return reply ? EXIT_SUCCESS : EXIT_NOT_POSSIBLE;
}

/* ---- stopping ---- */

typedef struct Target {
    const char *name;
    char id[65];
    bool running;
} Target;

static int inspect(const Settings *settings, Target *target)
{
    CLEANUP_JSON cJSON *json = NULL;
    const char *id;
    int r = ctl_call_container(settings, target->name, "json", false, &json);

    if (r != EXIT_SUCCESS)
        return r;
    id = json_string(json, "Id");
    if (!text_is_container_id(id)) {
        fprintf(stderr, "registrator: %s does not answer like Docker\n", settings->docker_url);
        return EXIT_NOT_POSSIBLE;
    }
    memcpy(target->id, id, sizeof(target->id));
    target->running = cJSON_IsTrue(json_get(json_get(json, "State"), "Running"));
    return EXIT_SUCCESS;
}

static bool is_known(const Settings *settings, const CtlOptions *options, const Target *target)
{
    bool missing = false;
    CLEANUP_JSON cJSON *known = ctl_get_container(options->control, target->id, &missing);

    if (missing)
        fprintf(stderr,
                "registrator: the agent does not know %s, which runs on the Docker at %s; if the agent uses another "
                "Docker, set --docker\n",
                target->name, settings->docker_url);
    return known;
}

/* The IDs ensure that the agent drains exactly these containers, or refuses. */
static int drain_targets(const CtlOptions *options, const Target *targets)
{
    CLEANUP_JSON cJSON *reply = NULL;
    cJSON *ids = cJSON_CreateArray();

    for (int i = 0; i < options->n_names; i++)
        if (targets[i].running)
            json_append(ids, cJSON_CreateString(targets[i].id));
    if (cJSON_GetArraySize(ids) == 0) {
        cJSON_Delete(ids);
        return EXIT_SUCCESS;
    }
    reply = post(options->control, "/drain", ids, true);
    return reply ? EXIT_SUCCESS : EXIT_NOT_POSSIBLE;
}

/* All names must be known before the agent drains the first container. */
static int prepare(const Settings *settings, const CtlOptions *options, Target *targets)
{
    int r = EXIT_SUCCESS;

    for (int i = 0; i < options->n_names && r == EXIT_SUCCESS; i++) {
        targets[i].name = options->names[i];
        r = inspect(settings, &targets[i]);
        if (r == EXIT_SUCCESS && targets[i].running && !is_known(settings, options, &targets[i]))
            r = EXIT_NOT_POSSIBLE;
    }
    if (r == EXIT_SUCCESS)
        r = drain_targets(options, targets);
    for (int i = 0; i < options->n_names && r == EXIT_SUCCESS; i++)
        if (targets[i].running)
            r = wait_deregistered(options, targets[i].id, targets[i].name);
    if (r != EXIT_SUCCESS)
        fprintf(stderr, "registrator: nothing was stopped\n");
    return r;
}

int ctl_stop(const Settings *settings, const CtlOptions *options)
{
    CLEANUP_FREE Target *targets = calloc((size_t)options->n_names, sizeof(*targets));
    int r = targets ? prepare(settings, options, targets) : EXIT_NOT_POSSIBLE;

    if (r != EXIT_SUCCESS)
        return r;
    ctl_sleep_ms((uint64_t)options->drain_s * 1000);
    for (int i = 0; i < options->n_names; i++) {
        if (ctl_call_container(settings, targets[i].id, "stop", true, NULL) == EXIT_SUCCESS)
            printf("%s\n", targets[i].name);
        else
            r = EXIT_NOT_POSSIBLE;
    }
    return r;
}
