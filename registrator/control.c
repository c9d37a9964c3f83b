#include "control.h"

#include "log.h"
#include "server.h"

#include <errno.h>
#include <libgen.h>
#include <malloc.h>
#include <string.h>

struct Control {
    Server *local, *remote;
    char *drained_path; /* which containers, and whether the host, are held out: kept over a restart */
    bool host_passing; /* the host is drained, but not after a restart */
    Catalog *catalog;
    ControlSourceFn source;
    void *userdata;
};

static const char host_line[] = "host";

/* The file: a line "host", and a line for each container's ID. */

static int save_drained(const Control *control)
{
    CLEANUP_FREE char *temporary = NULL;
    char *const *ids;
    size_t n = catalog_held(control->catalog, &ids);
    bool host = catalog_is_host_drained(control->catalog) && !control->host_passing, failed;
    FILE *file;

    if (n == 0 && !host)
        return unlink(control->drained_path) < 0 && errno != ENOENT ? -errno : 0;
    if (asprintf(&temporary, "%s.new", control->drained_path) < 0) {
        temporary = NULL;
        return -ENOMEM;
    }
    file = fopen(temporary, "we");
    if (!file)
        return -errno;
    if (host)
        (void)fprintf(file, "%s\n", host_line);
    for (size_t i = 0; i < n; i++)
        (void)fprintf(file, "%s\n", ids[i]);
    failed = ferror(file) != 0;
    failed = fclose(file) != 0 || failed;
    if (!failed && rename(temporary, control->drained_path) == 0)
        return 0;
    (void)unlink(temporary);
    return -EIO;
}

static void load_drained(const Control *control)
{
    FILE *file CLEANUP(fclose_p) = fopen(control->drained_path, "re");
    char line[80]; /* an ID has 64 digits */
    size_t n = 0;

    if (!file)
        return;
    while (n < CATALOG_HELD_MAX && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, host_line) == 0)
            catalog_set_host_drained(control->catalog, true);
        else if (strlen(line) == 64 && strspn(line, "0123456789abcdef") == 64)
            (void)catalog_drain(control->catalog, line, DRAIN_HELD);
        n++;
    }
    log_notice("%s says that %s drained; 'registrator undrain' lets it back in", control->drained_path,
               catalog_is_host_drained(control->catalog) ? "this host is" : "containers are");
}

/* Replies. */

static void reply_json(ServerReply *reply, unsigned status, cJSON *json)
{
    reply->status = json ? status : 503;
    reply->content_type = "application/json";
    reply->body = json ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    /* A thousand containers' status is a megabyte of small pieces: not to be kept. */
    (void)malloc_trim(0);
}

static void reply_text(ServerReply *reply, unsigned status, const char *text)
{
    reply->status = status;
    reply->content_type = "text/plain; charset=utf-8";
    reply->body = strdup(text);
}

static void reply_error(ServerReply *reply, unsigned status, const char *text)
{
    cJSON *json = cJSON_CreateObject();

    (void)cJSON_AddStringToObject(json, "error", text);
    reply_json(reply, status, json);
}

static void get_container(const Control *control, const char *name, ServerReply *reply)
{
    StatusSource source = control->source(control->userdata);
    CatalogEntry *entry = catalog_find(control->catalog, name);
    cJSON *json;

    if (!entry) {
        reply_error(reply, 404, "no container of this name runs here");
        return;
    }
    json = status_container_json(&source, entry);
    (void)cJSON_AddBoolToObject(json, "published", status_is_published(&source, entry));
    reply_json(reply, 200, json);
}

/* Names → entries, all or nothing. 0, or the HTTP status of the error. */
static unsigned find_all(const Control *control, const cJSON *names, ServerReply *reply)
{
    CLEANUP_FREE char *text = NULL;
    const cJSON *name;

    cJSON_ArrayForEach (name, names) {
        const char *string = cJSON_GetStringValue(name);

        if (string && catalog_find(control->catalog, string))
            continue;
        if (asprintf(&text, "no container '%s' runs here", string ? string : "") < 0)
            text = NULL;
        reply_error(reply, 404, text ? text : "no such container");
        return 404;
    }
    return 0;
}

/* What was asked for, by ID, and where: "registrator stop" is to stop these on this Docker, whatever its own
 * settings and the names at that time say. */
static cJSON *drained_json(const Control *control, const cJSON *names)
{
    cJSON *json = cJSON_CreateObject(), *ids = cJSON_AddArrayToObject(json, "ids");
    const cJSON *name;

    (void)cJSON_AddStringToObject(json, "docker", control->source(control->userdata).docker_url);
    cJSON_ArrayForEach (name, names)
        (void)cJSON_AddItemToArray(ids, cJSON_CreateString(catalog_find(control->catalog, name->valuestring)->id));
    return json;
}

/* {"host":true} or {"containers":["name"]}: that a list is missing or empty must not mean the whole host. */
static bool is_drain_request(const cJSON *body, const cJSON *names)
{
    bool host = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(body, "host"));

    return cJSON_IsObject(body) && (names ? cJSON_IsArray(names) && cJSON_GetArraySize(names) > 0 && !host : host);
}

static void change_host_drain(Control *control, bool drain, bool passing)
{
    /* What the operator has drained for good stays so when the host shuts down. */
    if (!drain || !catalog_is_host_drained(control->catalog) || !passing)
        control->host_passing = drain && passing;
    catalog_set_host_drained(control->catalog, drain);
}

/* until_death: of the container, or of the agent: not remembered for longer. */
static void change_drain(Control *control, const ServerRequest *request, bool drain, ServerReply *reply)
{
    cJSON *body = cJSON_Parse(request->body);
    const cJSON *names = cJSON_GetObjectItemCaseSensitive(body, "containers"), *name;
    bool until_death = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(body, "until_death"));
    Drain state = !drain ? DRAIN_NONE : until_death ? DRAIN_UNTIL_DEATH : DRAIN_HELD;
    int r = 0;

    if (!is_drain_request(body, names)) {
        reply_error(reply, 400, "the body is to be {\"containers\":[\"name\"]} or {\"host\":true}");
    } else if (find_all(control, names, reply) == 0) {
        if (!names)
            change_host_drain(control, drain, until_death);
        cJSON_ArrayForEach (name, names)
            if (r >= 0)
                r = catalog_drain(control->catalog, catalog_find(control->catalog, name->valuestring)->id, state);
        if (r < 0)
            reply_error(reply, 503, r == -ENOBUFS ? "too many containers are drained: drain the host" : "no memory");
        else if (save_drained(control) < 0)
            reply_error(reply, 500, "done, but not saved: a restart of the agent will undo it");
        else
            reply_json(reply, 200, drained_json(control, names));
    }
    cJSON_Delete(body);
}

static void handle_get(const Control *control, const ServerRequest *request, ServerReply *reply)
{
    static const char containers[] = "/containers/";
    StatusSource source = control->source(control->userdata);

    if (strcmp(request->path, "/status") == 0)
        reply_json(reply, 200, status_json(&source));
    else if (strcmp(request->path, "/healthz") == 0)
        reply_text(reply, 200, "ok\n");
    else if (strncmp(request->path, containers, strlen(containers)) == 0)
        get_container(control, request->path + strlen(containers), reply);
    else
        reply_error(reply, 404, "there is no such page");
}

/* --listen: anybody may be there, so nothing can be changed. */
static void on_remote(void *userdata, const ServerRequest *request, ServerReply *reply)
{
    if (strcmp(request->method, "GET") == 0)
        handle_get(userdata, request, reply);
    else
        reply_error(reply, 405, "only GET is allowed here");
}

static void on_local(void *userdata, const ServerRequest *request, ServerReply *reply)
{
    if (strcmp(request->method, "POST") != 0)
        on_remote(userdata, request, reply);
    else if (strcmp(request->path, "/drain") == 0)
        change_drain(userdata, request, true, reply);
    else if (strcmp(request->path, "/undrain") == 0)
        change_drain(userdata, request, false, reply);
    else
        reply_error(reply, 404, "there is no such command");
}

int control_new(Control **ret, sd_event *event, const char *path, const char *listen, Catalog *catalog,
                ControlSourceFn source, void *userdata)
{
    CLEANUP(control_free_p) Control *control = calloc(1, sizeof(*control));
    CLEANUP_FREE char *copy = strdup(path);
    const char *state = getenv("STATE_DIRECTORY"); /* systemd's: outlives a reboot */
    int r;

    if (!control || !copy)
        return -ENOMEM;
    control->catalog = catalog;
    control->source = source;
    control->userdata = userdata;
    if (asprintf(&control->drained_path, "%s/drained", state ? state : dirname(copy)) < 0) {
        control->drained_path = NULL;
        return -ENOMEM;
    }
    r = server_new_unix(&control->local, event, path, on_local, control);
    if (r == -EADDRINUSE)
        log_warning("Another agent has the control socket %s: 'registrator status' speaks to that one; set --control "
                    "to give this one its own",
                    path);
    else if (r < 0)
        log_warning_errno(r, "Failed to make the control socket %s, going on without 'registrator status' and its "
                             "kin: %m; set --control to a path that can be written",
                          path);
    else
        load_drained(control);
    r = listen ? server_new_tcp(&control->remote, event, listen, on_remote, control) : 0;
    if (r < 0)
        log_warning_errno(r, "Failed to listen at %s, going on without: %m; check --listen", listen);
    *ret = TAKE_PTR(control);
    return 0;
}

Control *control_free(Control *control)
{
    if (!control)
        return NULL;
    server_free(control->local);
    server_free(control->remote);
    free(control->drained_path);
    free(control);
    return NULL;
}
