#include "operator/control.h"

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "base/timer.h"
#include "http/server.h"
#include "operator/fleet_view.h"
#include "operator/history.h"
#include "operator/metrics_source.h"
#include "operator/page.h"
#include "operator/remembered.h"
#include "operator/sd.h"
#include "operator/state_file.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
    REMOTE_STATUS_AGE_US = 1000000,
    PAGES_MAX = 8,
};

typedef struct Cached {
    char *body; /* NULL: no answer is cached */
    const char *content_type;
    uint64_t time_us;
} Cached;

struct Control {
    sd_event *event;
    Server *local, *remote;
    History *history;
    FleetView *fleet;
    Cached cached[PAGES_MAX]; /* the last answers for --listen, in the order of pages */
    char *state_path; /* the state file; NULL: another agent has the socket, and so the file */
    char *link; /* a link to the socket, for the unit that drains the host at a shutdown; NULL: no link */
    bool host_passing; /* the host is drained until the agent ends: a restart ends the drain */
    Catalog *catalog;
    ControlSourceFn source;
    void *userdata;
};

int control_save(const Control *control, bool durable)
{
    bool host = catalog_is_host_drained(control->catalog) && !control->host_passing;

    return control->state_path ? remembered_save(control->state_path, control->catalog, host, durable) : 0;
}

/* Replies. */

static void reply_json(ServerReply *reply, unsigned status, cJSON *json)
{
    reply->status = json ? status : 503;
    reply->content_type = "application/json";
    reply->body = json ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    /* The status of a thousand containers is a megabyte in small pieces. malloc_trim() returns this memory to the
     * system. */
    (void)malloc_trim(0);
}

/* Takes the body. NULL: no memory. */
static void reply_body(ServerReply *reply, char *body, const char *content_type)
{
    reply->status = body ? 200 : 503;
    reply->content_type = content_type;
    reply->body = body;
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
    Published published;
    cJSON *json;

    if (!entry) {
        reply_error(reply, 404, "no container of this name runs here");
        return;
    }
    json = status_container_json(&source, entry);
    published = status_published(&source, entry);
    if (published != PUBLISHED_UNKNOWN)
        (void)cJSON_AddBoolToObject(json, "registered", published == PUBLISHED_YES);
    json_set(json, "history", history_json(control->history, entry->id));
    reply_json(reply, 200, json);
}

/* name: NULL: of all containers. */
static void get_history(const Control *control, const char *name, ServerReply *reply)
{
    cJSON *json = cJSON_CreateObject();

    json_set(json, "events", history_json(control->history, name));
    reply_json(reply, 200, json);
}

/* Finds the entries of all names. 0, or the HTTP status of the error. */
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

/* The drained containers by ID, because names may change before the caller asks again. */
static cJSON *drained_json(const Control *control, const cJSON *names)
{
    cJSON *json = cJSON_CreateObject(), *ids = cJSON_AddArrayToObject(json, "ids");
    const cJSON *name;

    cJSON_ArrayForEach (name, names)
        json_append(ids, cJSON_CreateString(catalog_find(control->catalog, name->valuestring)->id));
    return json;
}

/* {"host":true} or {"containers":["name"]}. A missing or empty list must not mean the whole host. */
static bool is_drain_request(const cJSON *body, const cJSON *names)
{
    bool host = cJSON_IsTrue(json_get(body, "host"));

    return cJSON_IsObject(body) && (names ? cJSON_IsArray(names) && cJSON_GetArraySize(names) > 0 && !host : host);
}

static void change_host_drain(Control *control, bool drain, bool passing)
{
    /* A host that the operator has drained stays drained when the host shuts down. */
    if (!drain || !catalog_is_host_drained(control->catalog) || !passing)
        control->host_passing = drain && passing;
    if (drain != catalog_is_host_drained(control->catalog))
        log_notice("%s", !drain    ? "This host is not drained any more"
                         : passing ? "This host is drained until the agent starts again"
                                   : "This host is drained; 'registrator undrain' registers its containers again");
    catalog_set_host_drained(control->catalog, drain);
}

/* until_death: the drain ends with the container, or with the agent, so the state file does not get it. */
static void change_drain(Control *control, const ServerRequest *request, bool drain, ServerReply *reply)
{
    cJSON *body = cJSON_Parse(request->body);
    const cJSON *names = json_get(body, "containers"), *name;
    bool until_death = cJSON_IsTrue(json_get(body, "until_death"));
    Drain state = !drain ? DRAIN_NONE : until_death ? DRAIN_UNTIL_DEATH : DRAIN_BY_OPERATOR;
    int r = 0;

    if (!is_drain_request(body, names)) {
        reply_error(reply, 400, "the body must be {\"containers\":[\"name\"]} or {\"host\":true}");
    } else if (find_all(control, names, reply) == 0) {
        if (!names)
            change_host_drain(control, drain, until_death);
        cJSON_ArrayForEach (name, names)
            if (r >= 0)
                r = catalog_drain(control->catalog, catalog_find(control->catalog, name->valuestring)->id, state);
        if (r < 0)
            reply_error(reply, 503, r == -ENOBUFS ? "too many containers are drained: drain the host" : "no memory");
        else if (control_save(control, true) < 0)
            reply_error(reply, 500, "done, but not saved: a restart of the agent will undo this");
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

/* The page, with a status that is at most one second old, and the page's files. */
static void get_page(const Control *control, ServerReply *reply)
{
    StatusSource source = control->source(control->userdata);
    CLEANUP_JSON cJSON *status = status_json(&source);

    reply_body(reply, status ? page_html(status) : NULL, "text/html; charset=utf-8");
}

static void get_fleet(const Control *control, ServerReply *reply)
{
    StatusSource source = control->source(control->userdata);

    reply->content_type = "text/html; charset=utf-8";
    reply->shared = source.settings ? fleet_view_html(control->fleet, source.settings) : NULL;
    reply->status = reply->shared ? 200 : 503;
}

static void get_targets(const Control *control, ServerReply *reply)
{
    StatusSource source = control->source(control->userdata);

    reply_json(reply, 200, sd_json(&source));
}

/* --listen: anybody may ask often, so the answer is rendered at most once a second. */
static void get_cached(Control *control, Cached *cached, void (*get)(const Control *control, ServerReply *reply),
                       ServerReply *reply)
{
    uint64_t now = loop_now_us(control->event, CLOCK_MONOTONIC);

    if (!cached->body || now - cached->time_us >= REMOTE_STATUS_AGE_US) {
        get(control, reply);
        text_take(&cached->body, reply->body);
        cached->content_type = reply->content_type;
        cached->time_us = now;
    }
    reply_body(reply, cached->body ? strdup(cached->body) : NULL, cached->content_type);
}

static void get_metrics(const Control *control, ServerReply *reply)
{
    StatusSource status = control->source(control->userdata);
    MetricsSource source = metrics_source(&status);

    reply_body(reply, metrics_render(&source), "text/plain; version=0.0.4; charset=utf-8");
}

static void get_readiness(const Control *control, ServerReply *reply)
{
    StatusSource status = control->source(control->userdata);
    CLEANUP_FREE char *why = NULL;
    bool ready = metrics_is_ready(&status, &why);

    reply_body(reply, text_format("%s\n", ready ? "ok" : why ? why : "not ready"), "text/plain; charset=utf-8");
    if (!ready)
        reply->status = 503;
}

static void get_health(const Control *control, ServerReply *reply)
{
    (void)control;
    reply_body(reply, strdup("ok\n"), "text/plain; charset=utf-8");
}

static const struct {
    const char *path;
    void (*get)(const Control *control, ServerReply *reply);
    bool is_cached; /* for --listen */
} pages[] = {
    { "/status", get_status, true },    { "/", get_page, true },           { "/sd", get_targets, true },
    { "/fleet", get_fleet, false },     { "/healthz", get_health, false }, { "/readyz", get_readiness, false },
    { "/metrics", get_metrics, false },
};
static_assert(ARRAY_SIZE(pages) <= PAGES_MAX, "each page has its place in Control.cached");

static void handle_get(Control *control, const ServerRequest *request, bool remote, ServerReply *reply)
{
    static const char containers[] = "/containers/";
    const char *type = NULL, *file = page_file(request->path, &type);

    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        if (strcmp(request->path, pages[i].path) != 0)
            continue;
        if (remote && pages[i].is_cached)
            get_cached(control, &control->cached[i], pages[i].get, reply);
        else
            pages[i].get(control, reply);
        return;
    }
    if (file)
        reply_body(reply, strdup(file), type);
    else if (strncmp(request->path, containers, strlen(containers)) == 0)
        get_container(control, request->path + strlen(containers), reply);
    else
        reply_error(reply, 404, "there is no such page");
}

/* --listen: anybody may connect, so this handler changes nothing. */
static void on_remote(void *userdata, const ServerRequest *request, ServerReply *reply)
{
    if (strcmp(request->method, "GET") != 0)
        reply_error(reply, 405, "only GET is allowed here");
    else
        handle_get(userdata, request, true, reply);
}

static void on_local(void *userdata, const ServerRequest *request, ServerReply *reply)
{
    static const char history[] = "/history/";

    if (strcmp(request->method, "GET") == 0 && strcmp(request->path, "/history") == 0)
        get_history(userdata, NULL, reply);
    else if (strcmp(request->method, "GET") == 0 && strncmp(request->path, history, strlen(history)) == 0)
        get_history(userdata, request->path + strlen(history), reply);
    else if (strcmp(request->method, "GET") == 0)
        handle_get(userdata, request, false, reply);
    else if (strcmp(request->method, "POST") != 0)
        reply_error(reply, 405, "only GET and POST are allowed here");
    else if (strcmp(request->path, "/drain") == 0)
        change_drain(userdata, request, true, reply);
    else if (strcmp(request->path, "/undrain") == 0)
        change_drain(userdata, request, false, reply);
    else
        reply_error(reply, 404, "there is no such command");
}

/* The socket and the servers. */

/* The shutdown unit does not see the settings of the agent's unit. Both units know only the agent's runtime
 * directory, which systemd creates. */
static int link_socket(Control *control, const char *path)
{
    const char *directory = getenv("RUNTIME_DIRECTORY"); /* if several are set, the first counts */
    CLEANUP_FREE char *target = NULL;
    CLEANUP_FREE char *name = NULL;
    struct stat status;

    if (!directory || *directory == '\0')
        return 0;
    target = realpath(path, NULL);
    name = target ? text_format("%.*s/agent.sock", (int)strcspn(directory, ":"), directory) : NULL;
    if (!name)
        return -errno;
    if (strcmp(target, name) == 0)
        return 0;
    if (lstat(name, &status) == 0 && S_ISLNK(status.st_mode))
        (void)unlink(name);
    if (symlink(target, name) < 0)
        return -errno;
    control->link = TAKE_PTR(name);
    return 0;
}

static void unlink_socket(Control *control)
{
    if (control->link)
        (void)unlink(control->link);
    text_take(&control->link, NULL);
}

static int open_local(Control *control, const char *path)
{
    int r = server_new_unix(&control->local, control->event, path, on_local, control);

    if (r == -EADDRINUSE) {
        log_warning("Another agent uses the control socket %s: 'registrator status' asks that agent; set --control "
                    "to another path for this agent",
                    path);
        return r;
    }
    if (r < 0) {
        log_warning_errno(r,
                          "Failed to make the control socket %s, going on without 'registrator status' and the other "
                          "commands: %m; set --control to a path that can be written",
                          path);
        return r;
    }
    r = link_socket(control, path);
    if (r < 0)
        log_warning_errno(r, "Failed to make the link to the control socket that the shutdown unit needs: %m");
    return 0;
}

/* *ret_foreign: another agent has the socket, and so the state file. */
static void open_servers(Control *control, const char *path, const char *listen, bool *ret_foreign)
{
    int r;

    unlink_socket(control);
    control->local = server_free(control->local);
    control->remote = server_free(control->remote);
    *ret_foreign = open_local(control, path) == -EADDRINUSE;
    r = listen ? server_new_tcp(&control->remote, control->event, listen, on_remote, control) : 0;
    if (r < 0)
        log_warning_errno(r, "Failed to listen at %s, going on without: %m; check --listen", listen);
}

int control_new(Control **ret, sd_event *event, const char *path, const char *listen, Catalog *catalog,
                ControlSourceFn source, void *userdata)
{
    CLEANUP(control_free_p) Control *control = calloc(1, sizeof(*control));
    CLEANUP_FREE char *state_path = state_file_path(path);
    bool foreign;

    if (!control || !state_path)
        return -ENOMEM;
    control->event = sd_event_ref(event);
    control->catalog = catalog;
    control->source = source;
    control->userdata = userdata;
    control->history = history_new(catalog);
    if (!control->history)
        return -ENOMEM;
    if (fleet_view_new(&control->fleet, event) < 0)
        return -ENOMEM;
    open_servers(control, path, listen, &foreign);
    if (!foreign) {
        remembered_load(state_path, catalog);
        control->state_path = TAKE_PTR(state_path);
    }
    *ret = TAKE_PTR(control);
    return 0;
}

/* The state file moves with the socket. A file at the old place would drain the containers of the next agent there. */
static void move_state(Control *control, char *state_path)
{
    CLEANUP_FREE char *old = control->state_path;
    int r;

    control->state_path = state_path;
    r = state_path ? control_save(control, true) : -EADDRINUSE;
    if (r < 0)
        log_warning_errno(r,
                          "Failed to move %s with the control socket: a restart of the agent forgets "
                          "the drains: %m",
                          old ? old : "the state file");
    if (old && !text_same(old, state_path))
        (void)unlink(old);
}

int control_move(Control *control, const char *path, const char *listen)
{
    CLEANUP_FREE char *state_path = state_file_path(path);
    bool foreign;

    if (!state_path)
        return -ENOMEM;
    open_servers(control, path, listen, &foreign);
    move_state(control, foreign ? NULL : TAKE_PTR(state_path));
    return 0;
}

void control_forget(Control *control)
{
    fleet_view_forget(control->fleet);
}

Control *control_free(Control *control)
{
    if (!control)
        return NULL;
    unlink_socket(control);
    server_free(control->local);
    server_free(control->remote);
    history_free(control->history);
    fleet_view_free(control->fleet);
    sd_event_unref(control->event);
    for (size_t i = 0; i < PAGES_MAX; i++)
        free(control->cached[i].body);
    free(control->state_path);
    free(control);
    return NULL;
}
