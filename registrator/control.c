#include "control.h"

#include "json.h"
#include "log.h"
#include "metrics_source.h"
#include "server.h"

#include <errno.h>
#include <libgen.h>
#include <malloc.h>
#include <string.h>
#include <time.h>

enum { REMOTE_STATUS_AGE_US = 1000000 };

struct Control {
    sd_event *event;
    Server *local, *remote;
    char *status; /* as --listen last told it, and when: strangers cannot make us render it in a row */
    uint64_t status_us;
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
    const cJSON *name;

    cJSON_ArrayForEach (name, names) {
        const char *string = cJSON_GetStringValue(name);
        char text[320]; /* container names are at most 255 bytes long */

        if (string && catalog_find(control->catalog, string))
            continue;
        (void)snprintf(text, sizeof(text), "no container '%.255s' runs here", string ? string : "");
        reply_error(reply, 404, text);
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
        json_append(ids, cJSON_CreateString(catalog_find(control->catalog, name->valuestring)->id));
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
    if (drain != catalog_is_host_drained(control->catalog))
        log_notice("%s", !drain    ? "This host is let back in"
                         : passing ? "This host is drained until the agent starts again"
                                   : "This host is drained; 'registrator undrain' lets it back in");
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

static void get_status(const Control *control, ServerReply *reply)
{
    StatusSource source = control->source(control->userdata);

    reply_json(reply, 200, status_json(&source));
}

static void get_remote_status(Control *control, ServerReply *reply)
{
    uint64_t now = 0;

    (void)sd_event_now(control->event, CLOCK_MONOTONIC, &now);
    if (!control->status || now - control->status_us >= REMOTE_STATUS_AGE_US) {
        get_status(control, reply);
        free(control->status);
        control->status = reply->body;
        control->status_us = now;
    }
    reply->status = control->status ? 200 : 503;
    reply->content_type = "application/json";
    reply->body = control->status ? strdup(control->status) : NULL;
}

static void get_metrics(const Control *control, const char *accept, ServerReply *reply)
{
    MetricsFormat format = metrics_format(accept);
    StatusSource status = control->source(control->userdata);
    MetricsSource source = metrics_source(&status);

    reply->body = metrics_render(&source, format);
    reply->status = reply->body ? 200 : 503;
    reply->content_type = metrics_content_type(format);
}

static void get_readiness(const Control *control, ServerReply *reply)
{
    StatusSource status = control->source(control->userdata);
    CLEANUP_FREE char *why = NULL;
    bool ready = metrics_is_ready(&status, &why);
    char *text = NULL;

    if (asprintf(&text, "%s\n", ready ? "ok" : why ? why : "not ready") < 0)
        text = NULL;
    reply->status = ready ? 200 : 503;
    reply->content_type = "text/plain; charset=utf-8";
    reply->body = text;
}

static void handle_get(const Control *control, const ServerRequest *request, ServerReply *reply)
{
    static const char containers[] = "/containers/";

    if (strcmp(request->path, "/status") == 0)
        get_status(control, reply);
    else if (strcmp(request->path, "/healthz") == 0)
        reply_text(reply, 200, "ok\n");
    else if (strcmp(request->path, "/readyz") == 0)
        get_readiness(control, reply);
    else if (strcmp(request->path, "/metrics") == 0)
        get_metrics(control, request->accept, reply);
    else if (strncmp(request->path, containers, strlen(containers)) == 0)
        get_container(control, request->path + strlen(containers), reply);
    else
        reply_error(reply, 404, "there is no such page");
}

/* --listen: anybody may be there, so nothing can be changed. */
static void on_remote(void *userdata, const ServerRequest *request, ServerReply *reply)
{
    if (strcmp(request->method, "GET") != 0)
        reply_error(reply, 405, "only GET is allowed here");
    else if (strcmp(request->path, "/status") == 0)
        get_remote_status(userdata, reply);
    else
        handle_get(userdata, request, reply);
}

/* etcd's answers come later: GET /etcd says when. */
static void start_look(const Control *control, ServerReply *reply)
{
    StatusSource source = control->source(control->userdata);

    if (!source.publishers)
        reply_error(reply, 503, "etcd has not been opened: Docker has not been reached yet");
    else if (publishers_look(source.publishers) < 0)
        reply_error(reply, 503, "no memory");
    else
        reply_json(reply, 200, cJSON_CreateObject());
}

static void get_look(const Control *control, ServerReply *reply)
{
    StatusSource source = control->source(control->userdata);

    reply_json(reply, 200, status_etcd_json(&source));
}

static void on_local(void *userdata, const ServerRequest *request, ServerReply *reply)
{
    if (strcmp(request->method, "GET") == 0 && strcmp(request->path, "/etcd") == 0)
        get_look(userdata, reply);
    else if (strcmp(request->method, "GET") == 0)
        handle_get(userdata, request, reply);
    else if (strcmp(request->method, "POST") != 0)
        reply_error(reply, 405, "only GET and POST are allowed here");
    else if (strcmp(request->path, "/etcd") == 0)
        start_look(userdata, reply);
    else if (strcmp(request->path, "/drain") == 0)
        change_drain(userdata, request, true, reply);
    else if (strcmp(request->path, "/undrain") == 0)
        change_drain(userdata, request, false, reply);
    else
        reply_error(reply, 404, "there is no such command");
}

/* Beside the socket, unless systemd has given a directory that outlives a reboot. */
static char *make_drained_path(const char *socket_path)
{
    const char *state = getenv("STATE_DIRECTORY");
    CLEANUP_FREE char *copy = strdup(socket_path);
    char *path = NULL;

    if (!copy || asprintf(&path, "%s/drained", state ? state : dirname(copy)) < 0)
        return NULL;
    return path;
}

/* *ret_foreign: the socket, and so what is beside it, is another agent's. */
static void open_servers(Control *control, const char *path, const char *listen, bool *ret_foreign)
{
    int r;

    control->local = server_free(control->local);
    control->remote = server_free(control->remote);
    r = server_new_unix(&control->local, control->event, path, on_local, control);
    *ret_foreign = r == -EADDRINUSE;
    if (*ret_foreign)
        log_warning("Another agent has the control socket %s: 'registrator status' speaks to that one; set --control "
                    "to give this one its own",
                    path);
    else if (r < 0)
        log_warning_errno(r,
                          "Failed to make the control socket %s, going on without 'registrator status' and its "
                          "kin: %m; set --control to a path that can be written",
                          path);
    r = listen ? server_new_tcp(&control->remote, control->event, listen, on_remote, control) : 0;
    if (r < 0)
        log_warning_errno(r, "Failed to listen at %s, going on without: %m; check --listen", listen);
}

int control_new(Control **ret, sd_event *event, const char *path, const char *listen, Catalog *catalog,
                ControlSourceFn source, void *userdata)
{
    CLEANUP(control_free_p) Control *control = calloc(1, sizeof(*control));
    bool foreign;

    if (!control)
        return -ENOMEM;
    control->event = sd_event_ref(event);
    control->catalog = catalog;
    control->source = source;
    control->userdata = userdata;
    control->drained_path = make_drained_path(path);
    if (!control->drained_path)
        return -ENOMEM;
    open_servers(control, path, listen, &foreign);
    if (!foreign)
        load_drained(control);
    *ret = TAKE_PTR(control);
    return 0;
}

int control_move(Control *control, const char *path, const char *listen)
{
    char *drained_path = make_drained_path(path);
    bool foreign;
    int r;

    if (!drained_path)
        return -ENOMEM;
    free(control->drained_path);
    control->drained_path = drained_path;
    open_servers(control, path, listen, &foreign);
    r = foreign ? 0 : save_drained(control);
    if (r < 0)
        log_warning_errno(r, "Failed to write %s, what is drained will not be so after a restart: %m", drained_path);
    return 0;
}

Control *control_free(Control *control)
{
    if (!control)
        return NULL;
    server_free(control->local);
    server_free(control->remote);
    sd_event_unref(control->event);
    free(control->status);
    free(control->drained_path);
    free(control);
    return NULL;
}
