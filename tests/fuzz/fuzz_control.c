/* Requests on the control socket and over --listen, from the moment that libmicrohttpd has taken HTTP off them. The
 * input is a row of them, with a line "--" between: "METHOD PATH", and the body from the next line on. "FILE" is what
 * the state file holds when the agent starts anew. */
#include "operator/control.h"
#include "operator/metrics.h"

/* The real one, but for its sockets: the handlers are called here. */
#define server_new_unix real_server_new_unix
#define server_new_tcp real_server_new_tcp
#define server_free real_server_free
#define server_free_p real_server_free_p
#include "http/server.c"
#undef server_new_unix
#undef server_new_tcp
#undef server_free

#include "fuzz.h"
#include "unit/catalog/rules.h"

static Server local, remote; /* none: handler is NULL */
static unsigned replies;
static char directory[256], socket_path[300], state_path[300];
static Layout layout;
static Rules rules;
static sd_event *event;

static const char *const containers[] = {
    "{\"Id\":\"41a74456c5130895dc1a2147976073c3dc3d92492232525c82b7e9a6a869ab91\",\"Names\":[\"/web\"],\"State\":"
    "\"running\",\"Status\":\"Up\",\"Ports\":[{\"IP\":\"0.0.0.0\",\"PrivatePort\":80,\"PublicPort\":8095,"
    "\"Type\":\"tcp\"}]}",
    "{\"Id\":\"41a7d62464c973dddbcf8ae1edfc7cf3ca73806e86c7762ddeb19a318467127b\",\"Names\":[\"/db\"],\"State\":"
    "\"paused\",\"Status\":\"Up\"}",
    "{\"Id\":\"fa664d6381b0648d68781d0cf39cb73f56da8461734047026a5a9ca47be6a046\",\"Names\":[\"/a\\\"b\"],\"State\":"
    "\"running\",\"Status\":\"Up (unhealthy)\"}",
};

/* In place of the sockets. */

static int server_fake(Server *server, Server **ret, ServerHandler handler, void *userdata)
{
    server->handler = handler;
    server->userdata = userdata;
    *ret = server;
    return 0;
}

int server_new_unix(Server **ret, sd_event *loop, const char *path, ServerHandler handler, void *userdata)
{
    (void)loop;
    ENSURE(strcmp(path, socket_path) == 0);
    return server_fake(&local, ret, handler, userdata);
}

int server_new_tcp(Server **ret, sd_event *loop, const char *address, ServerHandler handler, void *userdata)
{
    (void)loop;
    (void)address;
    return server_fake(&remote, ret, handler, userdata);
}

Server *server_free(Server *server)
{
    if (server)
        server->handler = NULL;
    return NULL;
}

/* The agent's side. */

static void sink_want(void *userdata, const CatalogEntry *entry, const char *key, const char *value)
{
    (void)userdata;
    ENSURE(entry && key && value);
}

static void sink_unwant(void *userdata, const CatalogEntry *entry, const char *key, const char *after)
{
    (void)userdata;
    (void)after;
    ENSURE(entry && key);
}

static void sink_duplicate(void *userdata, const CatalogEntry *entry, const char *key)
{
    (void)userdata;
    ENSURE(entry && key);
}

static void remove_directory(void)
{
    (void)unlink(state_path);
    (void)rmdir(directory);
}

static void set_up(void)
{
    const char *parent = getenv("TMPDIR");

    if (event)
        return;
    ENSURE(sd_event_new(&event) >= 0);
    ENSURE(unsetenv("STATE_DIRECTORY") == 0 && unsetenv("RUNTIME_DIRECTORY") == 0);
    snprintf(directory, sizeof(directory), "%s/fuzz-control-XXXXXX", parent ? parent : "/tmp");
    ENSURE(mkdtemp(directory));
    snprintf(socket_path, sizeof(socket_path), "%s/control.sock", directory);
    snprintf(state_path, sizeof(state_path), "%s/control.sock.state", directory);
    ENSURE(atexit(remove_directory) == 0);
    rules = rules_build(&layout);
}

static Catalog *catalog_make(void)
{
    CatalogSink sink = sink_build(NULL);
    Catalog *catalog;

    sink.want = sink_want;
    sink.unwant = sink_unwant;
    sink.duplicate = sink_duplicate;
    ENSURE(catalog_new(&catalog, &rules, &sink) == 0);
    catalog_list_begin(catalog);
    for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
        Container *container = NULL;

        ENSURE(container_from_list(&container, containers[i], strlen(containers[i]), NULL) == 0);
        catalog_listed(catalog, container);
    }
    catalog_list_end(catalog, true);
    return catalog;
}

static StatusSource source(void *userdata)
{
    static const AgentCounters counters;
    Catalog *catalog = userdata;

    return (StatusSource){
        .rules = &rules,
        .node = "host-1",
        .docker_url = "unix:///var/run/docker.sock",
        .docker_api = "1.41",
        .address4 = "192.0.2.1",
        .host_drained = catalog_is_host_drained(catalog),
        .catalog = catalog,
        .counters = &counters,
        .ttl_s = 30,
    };
}

static Control *control_make(Catalog *catalog)
{
    Control *control;

    ENSURE(control_new(&control, event, socket_path, "127.0.0.1:9100", catalog, source, catalog) == 0);
    ENSURE(local.handler && remote.handler);
    return control;
}

/* Requests. */

static void ensure_reply(const ServerReply *reply)
{
    replies++;
    ENSURE(reply->status == 200 || reply->status == 400 || reply->status == 404 || reply->status == 405 ||
           reply->status == 503);
    ENSURE(reply->content_type && reply->body);
    if (strcmp(reply->content_type, "application/json") == 0) {
        cJSON *json = cJSON_ParseWithOpts(reply->body, NULL, true);

        ENSURE(cJSON_IsObject(json));
        ENSURE((reply->status == 200) == !cJSON_HasObjectItem(json, "error"));
        cJSON_Delete(json);
    }
}

typedef struct Watched {
    ServerHandler handler;
    void *userdata;
} Watched;

static void watch(void *userdata, const ServerRequest *request, ServerReply *reply)
{
    const Watched *watched = userdata;

    watched->handler(watched->userdata, request, reply);
    ensure_reply(reply);
}

/* As libmicrohttpd calls it: first without a body, then with parts of it, and at last without any more. There is no
 * connection that the reply could go to, which is what its return says. */
static void send_request(const Server *to, const char *method, const char *path, const char *body, size_t size)
{
    Watched watched = { to->handler, to->userdata };
    Server server = { .handler = watch, .userdata = &watched };
    size_t part = size / 3 + 1, none = 0;
    void *context = NULL;
    unsigned before = replies;

    ENSURE(on_request(&server, NULL, path, method, "HTTP/1.1", NULL, &none, &context) == MHD_YES);
    for (size_t at = 0; at < size; at += part) {
        size_t n = size - at < part ? size - at : part;

        ENSURE(on_request(&server, NULL, path, method, "HTTP/1.1", body + at, &n, &context) == MHD_YES);
        ENSURE(n == 0);
    }
    (void)on_request(&server, NULL, path, method, "HTTP/1.1", NULL, &none, &context);
    ENSURE(replies == before + (size <= SERVER_BODY_MAX));
    on_completed(NULL, NULL, &context, MHD_REQUEST_TERMINATED_COMPLETED_OK);
    ENSURE(!context);
}

/* What a restart would find is what is held now. */
static void ensure_kept(const Catalog *catalog)
{
    Catalog *other = catalog_make();
    Server was_local = local, was_remote = remote;
    Control *control = control_make(other);
    char *const *a, *const *b;
    size_t n = catalog_drained(catalog, &a);

    ENSURE(n <= CATALOG_DRAINED_MAX);
    ENSURE(catalog_drained(other, &b) == n);
    for (size_t i = 0; i < n; i++)
        ENSURE(strcmp(a[i], b[i]) == 0);
    if (!catalog_is_host_drained(catalog))
        ENSURE(!catalog_is_host_drained(other));
    control_free(control);
    catalog_free(other);
    local = was_local;
    remote = was_remote;
}

/* text: cut up. */
static void take_request(Catalog *catalog, char *text, size_t size)
{
    char *line_end = memchr(text, '\n', size);
    char *body = line_end ? line_end + 1 : text + size;
    char *method = text, *path;
    char *const *ids;
    size_t held = catalog_drained(catalog, &ids);
    bool drained = catalog_is_host_drained(catalog);

    if (line_end)
        *line_end = '\0';
    path = strchr(method, ' ');
    if (path)
        *path++ = '\0';
    else
        path = text + strlen(text);
    size -= (size_t)(body - text);
    send_request(&remote, method, path, body, size);
    ENSURE(catalog_drained(catalog, &ids) == held && catalog_is_host_drained(catalog) == drained);
    send_request(&local, method, path, body, size);
    if (strcmp(method, "POST") == 0)
        ensure_kept(catalog);
    else
        ENSURE(catalog_drained(catalog, &ids) == held && catalog_is_host_drained(catalog) == drained);
}

static void write_state(const char *text, size_t size)
{
    FILE *file = fopen(state_path, "we");

    ENSURE(file);
    ENSURE(fwrite(text, 1, size, file) == size);
    ENSURE(fclose(file) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char separator[] = "\n--\n", file_word[] = "FILE\n";
    char *text = malloc(size + 1), *at = text, *end = text + size;

    ENSURE(text);
    if (size > 0)
        memcpy(text, data, size);
    *end = '\0';
    set_up();
    (void)unlink(state_path);
    Catalog *catalog = catalog_make();
    Control *control = control_make(catalog);
    while (at < end) {
        char *stop = memmem(at, (size_t)(end - at), separator, strlen(separator));
        size_t length = (size_t)((stop ? stop : end) - at);

        at[length] = '\0';
        if (strncmp(at, file_word, strlen(file_word)) == 0) {
            control_free(control);
            catalog_free(catalog);
            write_state(at + strlen(file_word), length - strlen(file_word));
            catalog = catalog_make();
            control = control_make(catalog);
            send_request(&local, "POST", "/drain", "{\"containers\":[\"web\"]}", 22);
            ensure_kept(catalog);
        } else
            take_request(catalog, at, length);
        at = stop ? stop + strlen(separator) : end;
    }
    control_free(control);
    catalog_free(catalog);
    free(text);
    return 0;
}
