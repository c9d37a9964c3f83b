#include "docker.h"

#include "backoff.h"
#include "framing.h"
#include "log.h"
#include "numbers.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

enum {
    EVENT_MAX = 256 * 1024, /* bytes of one event: its labels are the container's */
    LIST_ENTRY_MAX = 4 * 1024 * 1024, /* bytes of one list entry; a range of 10,000 ports takes 1.3 MB */
    INSPECT_MAX = 4 * 1024 * 1024, /* bytes of one inspect */
    DETAIL_MAX = 200, /* bytes of a bad answer that the log shows */
    INSPECTS_AT_ONCE = 4, /* dockerd serves them under one container's lock each; more only queue there */
    PING_TIMEOUT_MS = 5000, /* also of the stream's headers */
    INSPECT_TIMEOUT_MS = 10000,
    LIST_TIMEOUT_MS = 60000, /* dockerd 20.10 lists 10,000 containers in a few seconds */
    MISSED_US = 200000, /* from an overlong event to the list that makes up for it, which lags behind a death */
    EXAMPLE_MAX = 120, /* bytes, for the log */
};

/* The newest API whose answers have been read; a newer engine is asked for this one. The oldest is the first with
 * health checks; before 1.22 events had no Action. */
static const unsigned api_newest_minor = 52, api_oldest_minor = 24;

typedef enum DockerState {
    DOCKER_WAITING, /* for the backoff */
    DOCKER_PING,
    DOCKER_INFO,
    DOCKER_SUBSCRIBING,
    DOCKER_LIVE,
} DockerState;

typedef struct Inspect {
    Docker *docker;
    char id[65];
    uint64_t ticket;
    HttpRequest *request; /* NULL: waits for its turn */
    STAILQ_ENTRY(Inspect) link;
} Inspect;

STAILQ_HEAD(InspectQueue, Inspect);

struct Docker {
    sd_event *event;
    Http *http;
    char *url;
    char *base; /* "http://localhost", "https://host:2376" */
    unsigned resync_s;
    const LabelFilter *labels;
    DockerHandlers handlers;
    void *userdata;

    DockerState state;
    bool lost_reported;
    char *why; /* it was lost, as last handed on */
    int last_error, told_error; /* of the last failure; of the one that the log has */
    char version[16];
    char *engine_id;
    Backoff backoff;
    sd_event_source *retry;
    sd_event_source *resync; /* while subscribing: until that has taken too long */
    HttpRequest *handshake; /* ping, then info */
    HttpRequest *stream;
    HttpRequest *list;
    Framing events, entries;
    bool missed; /* an event was too long: a list is to tell what it said */
    bool lines_bad; /* since the last resync: there were lines that are no events, or too long */
    bool lines_told, entries_told; /* said in the log, and it still goes on */
    size_t n_bad_entries; /* of the list under way */
    char bad_entry[EXAMPLE_MAX + 1]; /* the first of them */
    struct InspectQueue waiting, running;
    unsigned n_running;
};

static char *docker_format_url(const Docker *docker, const char *path)
{
    char *url = NULL;
    bool versioned = *docker->version != '\0';

    if (asprintf(&url, "%s%s%s%s", docker->base, versioned ? "/v" : "", docker->version, path) < 0)
        return NULL;
    return url;
}

static int docker_get(Docker *docker, const char *path, const HttpSpec *spec, HttpDoneFn done, void *userdata,
                      HttpRequest **ret)
{
    CLEANUP_FREE char *url = docker_format_url(docker, path);
    HttpSpec full = *spec;

    if (!url)
        return -ENOMEM;
    full.method = "GET";
    full.url = url;
    return http_request(docker->http, &full, done, userdata, ret);
}

static void inspect_free(Inspect *inspect)
{
    http_request_free(inspect->request);
    free(inspect);
}

static void docker_drop_inspects(Docker *docker)
{
    Inspect *inspect;

    while ((inspect = STAILQ_FIRST(&docker->waiting))) {
        STAILQ_REMOVE_HEAD(&docker->waiting, link);
        inspect_free(inspect);
    }
    while ((inspect = STAILQ_FIRST(&docker->running))) {
        STAILQ_REMOVE_HEAD(&docker->running, link);
        inspect_free(inspect);
    }
    docker->n_running = 0;
}

static void docker_disconnect(Docker *docker)
{
    docker->handshake = http_request_free(docker->handshake);
    docker->stream = http_request_free(docker->stream);
    docker->list = http_request_free(docker->list);
    docker_drop_inspects(docker);
    framing_clear(&docker->events);
    framing_clear(&docker->entries);
    sd_event_source_set_enabled(docker->resync, SD_EVENT_OFF);
    docker->missed = false;
    docker->state = DOCKER_WAITING;
}

static void arm(sd_event_source *source, uint64_t wait_us)
{
    (void)sd_event_source_set_time_relative(source, wait_us);
    (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static const char *remedy_for(const Docker *docker, int error)
{
    bool is_unix = strncmp(docker->url, "unix://", strlen("unix://")) == 0;

    switch (-error) {
    case ENOENT:
        return "is the Docker engine running, and is --docker right?";
    case ECONNREFUSED:
        return is_unix ? "is the Docker engine running?"
                       : "is the Docker engine listening on TCP there, and is --docker right?";
    case EACCES:
    case EPERM:
        return "run the agent as root or in the group of the socket (usually docker)";
    case EPROTO:
        return "check --docker-ca, --docker-cert and --docker-key";
    case EKEYREJECTED:
        return "whatever guards it must allow GET of /_ping, /info, /events and /containers";
    case EPROTONOSUPPORT:
        return "upgrade Docker to 20.10 or newer";
    default:
        return "trying again";
    }
}

/* Waiting will not help: it is news even while Docker is known to be away for another reason. */
static bool needs_operator(int error)
{
    return error == -EACCES || error == -EPERM || error == -EPROTO || error == -EKEYREJECTED ||
           error == -EPROTONOSUPPORT;
}

/* The one way out of every failure: forget the connection, say it once, wait, begin anew. */
static void docker_fail(Docker *docker, int error, const char *what, const char *detail)
{
    CLEANUP_FREE char *why = NULL;
    bool first = !docker->lost_reported, again = error == docker->last_error;

    if (asprintf(&why, "%s from Docker at %s: %s; %s", what, docker->url, detail, remedy_for(docker, error)) < 0)
        why = NULL;
    docker_disconnect(docker);
    docker->version[0] = '\0'; /* the engine that comes back may be another version */
    arm(docker->retry, backoff_next_us(&docker->backoff));
    docker->lost_reported = true;
    docker->last_error = error;
    /* Not at once: an engine that is just ending may break off a TLS handshake. */
    if (!first && again && error != docker->told_error && needs_operator(error)) {
        docker->told_error = error;
        log_write(LOG_WARNING, 0, LOG_EVENT_DOCKER_LOST, NULL, NULL, NULL, "%s", why ? why : what);
    }
    if (first)
        docker->told_error = error;
    if (!first && why && docker->why && strcmp(why, docker->why) == 0)
        return;
    free(docker->why);
    docker->why = TAKE_PTR(why);
    docker->handlers.lost(docker->userdata, docker->why ? docker->why : what);
}

static int error_from_status(const HttpResult *result)
{
    switch (result->status) {
    case 400: /* Go's own answer to those who come without TLS where there is TLS */
        return strstr(result->body, "HTTPS server") ? -EPROTO : 0;
    case 401:
    case 403:
        return -EKEYREJECTED;
    default:
        return 0;
    }
}

static void docker_fail_result(Docker *docker, const char *what, const HttpResult *result)
{
    const int first_line = (int)strcspn(result->body, "\r\n");
    CLEANUP_FREE char *detail = NULL;

    if (result->error < 0) {
        docker_fail(docker, result->error, what, result->error_text);
        return;
    }
    if (asprintf(&detail, "HTTP status %ld: %.*s", result->status, first_line < DETAIL_MAX ? first_line : DETAIL_MAX,
                 result->body) < 0)
        detail = NULL;
    docker_fail(docker, error_from_status(result), what, detail ? detail : "HTTP error");
}

static void docker_start_inspects(Docker *docker);

/* Lists. */

static int on_list_entry(void *userdata, const char *text, size_t size)
{
    Docker *docker = userdata;
    Container *container = NULL;
    int r = container_from_list(&container, text, size, docker->labels);

    if (r == -ENOMEM)
        return r;
    if (r == 0)
        docker->handlers.listed(docker->userdata, container);
    else if (docker->n_bad_entries++ == 0)
        (void)snprintf(docker->bad_entry, sizeof(docker->bad_entry), "%s", text);
    return 0;
}

/* What is wrong with a list is so with the next one, too: said once. */
static void docker_report_entries(Docker *docker, bool whole)
{
    bool bad = docker->entries.dropped > 0 || docker->n_bad_entries > 0;

    if (docker->entries.dropped > 0 && !docker->entries_told)
        log_warning("Docker's list has %zu entries of more than %d bytes, passing over them", docker->entries.dropped,
                    LIST_ENTRY_MAX);
    if (docker->n_bad_entries > 0 && !docker->entries_told)
        log_warning("Docker's list has %zu entries that are no containers, passing over them; the first: %s",
                    docker->n_bad_entries, docker->bad_entry);
    if (bad || whole)
        docker->entries_told = bad;
}

static int on_list_data(void *userdata, const char *data, size_t size)
{
    Docker *docker = userdata;

    return framing_feed(&docker->entries, data, size, on_list_entry, docker);
}

static void docker_schedule_resync(Docker *docker)
{
    arm(docker->resync, docker->missed ? MISSED_US : jitter_us((uint64_t)docker->resync_s * 1000000, 0.1));
}

static void on_list_done(void *userdata, const HttpResult *result)
{
    Docker *docker = userdata;
    bool given = result->error == 0 && result->status == 200;
    bool whole = given && framing_complete(&docker->entries);

    docker->list = NULL;
    /* A bad entry must not keep all others out: of those that are known and seem to be missing, an inspect tells
     * more. */
    docker_report_entries(docker, whole);
    framing_clear(&docker->entries);
    docker->handlers.list_end(docker->userdata, whole);
    if (docker->state != DOCKER_LIVE)
        return;
    /* A cut-off or refused list says that the engine or the way to it is not well: begin anew, so that a
     * stream that hangs without an error does not stay unnoticed for ever. */
    if (result->error == -EBADMSG || (given && !whole)) {
        docker_fail(docker, -EBADMSG, "No container list", "the answer is not a whole list");
    } else if (!given) {
        docker_fail_result(docker, "No container list", result);
    } else {
        backoff_reset(&docker->backoff);
        docker_schedule_resync(docker);
        docker_start_inspects(docker);
    }
}

void docker_list(Docker *docker)
{
    int r;

    if (docker->state != DOCKER_LIVE || docker->list)
        return;
    (void)sd_event_source_set_enabled(docker->resync, SD_EVENT_OFF);
    framing_clear(&docker->entries);
    docker->n_bad_entries = 0;
    docker->missed = false;
    docker->handlers.list_begin(docker->userdata);
    r = docker_get(docker, "/containers/json", &(HttpSpec){ .timeout_ms = LIST_TIMEOUT_MS, .on_data = on_list_data },
                   on_list_done, docker, &docker->list);
    if (r < 0) {
        log_warning_errno(r, "Failed to ask Docker for its containers, trying again at resync: %m");
        docker->handlers.list_end(docker->userdata, false);
        docker_schedule_resync(docker);
    }
}

/* Inspects. */

static void on_inspect_done(void *userdata, const HttpResult *result)
{
    Inspect *inspect = userdata;
    Docker *docker = inspect->docker;
    Container *container = NULL;
    char id[sizeof(inspect->id)];
    uint64_t ticket = inspect->ticket;
    int error = result->error;

    if (error == 0 && result->status == 404)
        error = -ENOENT;
    else if (error == 0 && result->status != 200)
        error = -EREMOTEIO;
    else if (error == 0)
        error = container_from_inspect(&container, result->body, result->body_size, docker->labels);
    if (error == 0 && strcmp(container->id, inspect->id) != 0) {
        container = container_free(container);
        error = -EBADMSG;
    }
    memcpy(id, inspect->id, sizeof(id));
    STAILQ_REMOVE(&docker->running, inspect, Inspect, link);
    docker->n_running--;
    inspect->request = NULL; /* freed by http after this call */
    inspect_free(inspect);
    docker_start_inspects(docker);
    docker->handlers.inspected(docker->userdata, id, ticket, container, error);
}

static void docker_start_inspects(Docker *docker)
{
    while (docker->n_running < INSPECTS_AT_ONCE && !STAILQ_EMPTY(&docker->waiting)) {
        Inspect *inspect = STAILQ_FIRST(&docker->waiting);
        char path[96];
        int r;

        (void)snprintf(path, sizeof(path), "/containers/%s/json", inspect->id);
        r = docker_get(docker, path, &(HttpSpec){ .timeout_ms = INSPECT_TIMEOUT_MS, .body_max = INSPECT_MAX },
                       on_inspect_done, inspect, &inspect->request);
        if (r < 0) {
            /* It stays first in line until the next answer, question, or list. */
            log_warning_errno(r, "Failed to ask Docker for container %.12s, trying again later: %m", inspect->id);
            return;
        }
        STAILQ_REMOVE_HEAD(&docker->waiting, link);
        STAILQ_INSERT_TAIL(&docker->running, inspect, link);
        docker->n_running++;
    }
}

int docker_inspect(Docker *docker, const char *id, uint64_t ticket)
{
    Inspect *inspect;

    if (docker->state != DOCKER_LIVE)
        return -ENOTCONN;
    inspect = calloc(1, sizeof(*inspect));
    if (!inspect)
        return -ENOMEM;
    inspect->docker = docker;
    inspect->ticket = ticket;
    (void)snprintf(inspect->id, sizeof(inspect->id), "%s", id);
    STAILQ_INSERT_TAIL(&docker->waiting, inspect, link);
    docker_start_inspects(docker);
    return 0;
}

/* The event stream. */

static int on_event_line(void *userdata, const char *line, size_t size)
{
    Docker *docker = userdata;
    DockerEvent event;

    if (docker_event_parse(&event, line, size) == 0) {
        if (event.action != ACTION_OTHER)
            docker->handlers.event(docker->userdata, &event);
    } else {
        if (!docker->lines_told)
            log_warning("Docker sent a line that is no event, passing over it and its like: %.*s", EXAMPLE_MAX, line);
        docker->lines_told = docker->lines_bad = true;
    }
    return 0;
}

/* Whose it was and what it said is lost: its labels, which come before the name, are anybody's. */
static void docker_miss_event(Docker *docker)
{
    if (!docker->lines_told)
        log_warning("Docker sent an event of more than %d bytes (are a container's labels so long?), listing instead",
                    EVENT_MAX);
    docker->lines_told = docker->lines_bad = true;
    if (docker->missed)
        return;
    docker->missed = true;
    if (!docker->list)
        docker_schedule_resync(docker);
}

static int on_stream_data(void *userdata, const char *data, size_t size)
{
    Docker *docker = userdata;
    size_t dropped = docker->events.dropped;
    int r = framing_feed(&docker->events, data, size, on_event_line, docker);

    if (docker->events.dropped > dropped)
        docker_miss_event(docker);
    if (size > 0)
        return r;
    (void)sd_event_source_set_enabled(docker->resync, SD_EVENT_OFF);
    docker->state = DOCKER_LIVE;
    docker->lost_reported = false;
    docker->handlers.connected(docker->userdata, docker->engine_id);
    /* Subscribe before listing: a container started in between is then seen twice, never missed. */
    docker_list(docker);
    return 0;
}

static void on_stream_done(void *userdata, const HttpResult *result)
{
    Docker *docker = userdata;

    docker->stream = NULL;
    if (result->error == 0 && result->status == 200)
        docker_fail(docker, -ECONNRESET, "No more events", "the stream ended");
    else
        docker_fail_result(docker, "No events", result);
}

static void docker_subscribe(Docker *docker)
{
    CLEANUP_FREE char *filters = http_escape(docker_event_filters, false);
    CLEANUP_FREE char *path = NULL;
    int r;

    docker->state = DOCKER_SUBSCRIBING;
    if (!filters || asprintf(&path, "/events?filters=%s", filters) < 0) {
        docker_fail(docker, -ENOMEM, "No events", "out of memory");
        return;
    }
    r = docker_get(docker, path, &(HttpSpec){ .on_data = on_stream_data }, on_stream_done, docker, &docker->stream);
    if (r < 0)
        docker_fail(docker, r, "No events", strerror(-r));
    else
        arm(docker->resync, (uint64_t)PING_TIMEOUT_MS * 1000);
}

/* Handshake: which version, which engine. */

static void docker_ask_info(Docker *docker);

/* Of garbage must not come another identity: that would be another lease, and other keys' owner. */
static int read_identity(char **ret, const HttpResult *result)
{
    cJSON *info = cJSON_ParseWithLength(result->body, result->body_size);
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(info, "ID"));
    /* Podman makes up an ID for each answer: machine and node must do there. */
    bool is_podman = cJSON_HasObjectItem(info, "BuildahVersion");
    char *identity = id ? strdup(is_podman ? "" : id) : NULL;
    int r = identity ? 0 : id ? -ENOMEM : -EBADMSG;

    cJSON_Delete(info);
    if (r < 0)
        return r;
    free(*ret);
    *ret = identity;
    return 0;
}

static void on_info(void *userdata, const HttpResult *result)
{
    Docker *docker = userdata;
    int r;

    docker->handshake = NULL;
    if (result->error == 0 && result->status == 400 && *docker->version != '\0') {
        /* An engine of the future, whose minimum is above what we know: its newest must do. */
        docker->version[0] = '\0';
        docker_ask_info(docker);
        return;
    }
    if (result->error != 0 || result->status != 200) {
        docker_fail_result(docker, "No answer to /info", result);
        return;
    }
    r = read_identity(&docker->engine_id, result);
    if (r < 0)
        docker_fail(docker, r, "No answer to /info", r == -EBADMSG ? "what it says has no ID" : strerror(-r));
    else
        docker_subscribe(docker);
}

static void docker_ask_info(Docker *docker)
{
    int r;

    docker->state = DOCKER_INFO;
    r = docker_get(docker, "/info", &(HttpSpec){ .timeout_ms = INSPECT_TIMEOUT_MS }, on_info, docker,
                   &docker->handshake);
    if (r < 0)
        docker_fail(docker, r, "No answer to /info", strerror(-r));
}

/* False: it is too old. */
static bool docker_set_version(Docker *docker, const char *offered)
{
    unsigned major, minor;

    docker->version[0] = '\0';
    /* Without the header (a proxy took it away?) the path goes without a version: the engine's newest. */
    if (!offered || !version_parse(offered, &major, &minor))
        return true;
    if (major < 1 || (major == 1 && minor < api_oldest_minor))
        return false;
    if (major == 1 && minor > api_newest_minor)
        minor = api_newest_minor;
    (void)snprintf(docker->version, sizeof(docker->version), "%u.%u", major, minor);
    return true;
}

static void on_ping(void *userdata, const HttpResult *result)
{
    CLEANUP_FREE char *detail = NULL;
    Docker *docker = userdata;

    docker->handshake = NULL;
    if (result->error != 0 || result->status != 200) {
        docker_fail_result(docker, "No answer to /_ping", result);
        return;
    }
    if (docker_set_version(docker, result->header)) {
        docker_ask_info(docker);
        return;
    }
    if (asprintf(&detail, "its newest is %.20s, which is too old", result->header) < 0)
        detail = NULL;
    docker_fail(docker, -EPROTONOSUPPORT, "No API that is new enough", detail ? detail : "out of memory");
}

static void docker_ping(Docker *docker)
{
    int r;

    docker->version[0] = '\0';
    docker->state = DOCKER_PING;
    r = docker_get(docker, "/_ping", &(HttpSpec){ .timeout_ms = PING_TIMEOUT_MS, .want_header = "Api-Version" },
                   on_ping, docker, &docker->handshake);
    if (r < 0)
        docker_fail(docker, r, "No answer to /_ping", strerror(-r));
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    docker_disconnect(userdata); /* for docker_reconnect() */
    docker_ping(userdata);
    return 0;
}

static int on_resync(sd_event_source *source, uint64_t usec, void *userdata)
{
    Docker *docker = userdata;

    (void)source;
    (void)usec;
    /* The stream as such has no time limit, so nothing else would end this. */
    if (docker->state == DOCKER_SUBSCRIBING) {
        docker_fail(docker, -ETIMEDOUT, "No events", "it does not answer");
    } else {
        docker->lines_told = docker->lines_bad;
        docker->lines_bad = false;
        docker_list(docker);
    }
    return 0;
}

void docker_reconnect(Docker *docker)
{
    /* Not from here: a handler that calls this may be at work on what would be freed. */
    arm(docker->retry, 0);
}

int docker_parse_url(const char *url, bool tls, char **ret_base, const char **ret_socket)
{
    static const char unix_scheme[] = "unix://", tcp_scheme[] = "tcp://";
    bool is_unix = strncmp(url, unix_scheme, strlen(unix_scheme)) == 0;
    char *base = NULL;

    if (is_unix)
        base = strdup("http://localhost");
    else if (strncmp(url, tcp_scheme, strlen(tcp_scheme)) != 0)
        return -EINVAL;
    else if (asprintf(&base, "%s://%s", tls ? "https" : "http", url + strlen(tcp_scheme)) < 0)
        base = NULL;
    if (!base)
        return -ENOMEM;
    *ret_base = base;
    *ret_socket = is_unix ? url + strlen(unix_scheme) : NULL;
    return 0;
}

int docker_new(Docker **ret, sd_event *event, const DockerConfig *config, const LabelFilter *labels,
               const DockerHandlers *handlers, void *userdata)
{
    CLEANUP(docker_free_p) Docker *docker = calloc(1, sizeof(*docker));
    const char *socket = NULL;
    int r;

    if (!docker)
        return -ENOMEM;
    docker->event = sd_event_ref(event);
    docker->resync_s = config->resync_s;
    docker->labels = labels;
    docker->handlers = *handlers;
    docker->userdata = userdata;
    docker->backoff = (Backoff){ .base_ms = 100, .cap_ms = 2000 };
    STAILQ_INIT(&docker->waiting);
    STAILQ_INIT(&docker->running);
    framing_init(&docker->events, FRAMING_LINES, EVENT_MAX);
    framing_init(&docker->entries, FRAMING_ARRAY, LIST_ENTRY_MAX);
    docker->url = strdup(config->url);
    if (!docker->url)
        return -ENOMEM;
    r = docker_parse_url(docker->url, config->ca || config->cert, &docker->base, &socket);
    if (r < 0)
        return r;
    /* The stream, a list, the inspects, and one for a handshake that overlaps a dying stream. */
    r = http_new(&docker->http, event,
                 &(HttpConfig){ .unix_socket = socket,
                                .ca = config->ca,
                                .cert = config->cert,
                                .key = config->key,
                                .max_connections = 3 + INSPECTS_AT_ONCE });
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(event, &docker->retry, CLOCK_MONOTONIC, 0, 1, on_retry, docker);
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(event, &docker->resync, CLOCK_BOOTTIME, 0, 0, on_resync, docker);
    if (r < 0)
        return r;
    r = sd_event_source_set_enabled(docker->resync, SD_EVENT_OFF);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(docker);
    return 0;
}

Docker *docker_free(Docker *docker)
{
    if (!docker)
        return NULL;
    docker_disconnect(docker);
    sd_event_source_disable_unref(docker->retry);
    sd_event_source_disable_unref(docker->resync);
    http_free(docker->http);
    sd_event_unref(docker->event);
    free(docker->engine_id);
    free(docker->why);
    free(docker->base);
    free(docker->url);
    free(docker);
    return NULL;
}

void docker_set_labels(Docker *docker, const LabelFilter *labels)
{
    docker->labels = labels;
}

bool docker_connected(const Docker *docker)
{
    return docker->state == DOCKER_LIVE;
}

const char *docker_url(const Docker *docker)
{
    return docker->url;
}

const char *docker_api_version(const Docker *docker)
{
    return *docker->version == '\0' && docker->state == DOCKER_LIVE ? "newest" : docker->version;
}
