#include "docker/docker_private.h"

#include "base/json.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/text.h"
#include "base/timestamp.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>
#include <time.h>

enum {
    DETAIL_MAX = 200, /* bytes of a bad answer that a log line shows */
    INFO_TIMEOUT_MS = 10000,
};

/* The newest API version that the agent was tested with; a newer engine also gets requests of this version. The
 * oldest version is the first one with health checks. Before 1.22, events had no Action. */
static const unsigned api_newest_minor = 52, api_oldest_minor = 24;

static char *docker_format_url(const Docker *docker, const char *path)
{
    return text_format("%s%s%s%s", docker->base, *docker->version != '\0' ? "/v" : "", docker->version, path);
}

int docker_get(Docker *docker, const char *path, const HttpSpec *spec, HttpDoneFn done, void *userdata,
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

static void docker_disconnect(Docker *docker)
{
    docker->handshake = http_request_free(docker->handshake);
    docker->stream = http_request_free(docker->stream);
    docker->list = http_request_free(docker->list);
    docker_drop_inspects(docker);
    framing_clear(&docker->events);
    framing_clear(&docker->entries);
    timer_disarm(&docker->resync);
    docker->relist_us = 0;
    docker->state = DOCKER_WAITING;
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
        return "a proxy in front of it must allow GET of /_ping, /info, /events and /containers";
    case EPROTONOSUPPORT:
        return "upgrade Docker to 20.10 or newer";
    default:
        return "trying again";
    }
}

/* Is this an error that the operator must correct? The agent then logs the error, even if it has logged another
 * error since Docker is away. */
static bool needs_operator(int error)
{
    return error == -EACCES || error == -EPERM || error == -EPROTO || error == -EKEYREJECTED ||
           error == -EPROTONOSUPPORT;
}

void docker_fail(Docker *docker, int error, const char *what, const char *detail)
{
    CLEANUP_FREE char *why =
        text_format("%s from Docker at %s: %s; %s", what, docker->url, detail, remedy_for(docker, error));
    bool first = !docker->lost_reported, again = error == docker->last_error;

    docker_disconnect(docker);
    docker->version[0] = '\0'; /* the engine may be another version when it returns */
    timer_arm(&docker->retry, backoff_next_us(&docker->backoff));
    docker->lost_reported = true;
    docker->last_error = error;
    /* The first failure does not count: an engine that is about to end may break off a TLS handshake. */
    if (!first && again && error != docker->logged_error && needs_operator(error)) {
        docker->logged_error = error;
        log_write(LOG_WARNING, 0, LOG_EVENT_DOCKER_LOST, NULL, NULL, NULL, "%s", why ? why : what);
    }
    if (first)
        docker->logged_error = error;
    if (!first && why && text_same(why, docker->why))
        return;
    text_take(&docker->why, TAKE_PTR(why));
    docker->handlers.lost(docker->userdata, docker->why ? docker->why : what);
}

static int error_from_status(const HttpResult *result)
{
    switch (result->status) {
    case 400: /* Go answers this to a request without TLS at a port with TLS */
        return strstr(result->body, "HTTPS server") ? -EPROTO : 0;
    case 401:
    case 403:
        return -EKEYREJECTED;
    default:
        return 0;
    }
}

void docker_fail_result(Docker *docker, const char *what, const HttpResult *result)
{
    const int first_line = (int)strcspn(result->body, "\r\n");
    CLEANUP_FREE char *detail = NULL;

    if (result->error < 0) {
        docker_fail(docker, result->error, what, result->error_text);
        return;
    }
    detail = text_format("HTTP status %ld: %.*s", result->status, first_line < DETAIL_MAX ? first_line : DETAIL_MAX,
                         result->body);
    docker_fail(docker, error_from_status(result), what, detail ? detail : "HTTP error");
}

/* The handshake: the API's version and the engine's identity. */

static void docker_ask_info(Docker *docker);

/* A bad answer must not change the engine's identity, because another identity means another lease. */
static int docker_read_info(Docker *docker, const HttpResult *result)
{
    cJSON *info = cJSON_ParseWithLength(result->body, result->body_size);
    const char *id = json_string(info, "ID");
    const char *time = json_string(info, "SystemTime");
    /* Podman makes up a new ID for each answer, so the agent uses only the machine's and the node's identity. With
     * since=, Podman reads its whole journal. */
    bool is_podman = cJSON_HasObjectItem(info, "BuildahVersion");
    char *identity = id ? strdup(is_podman ? "" : id) : NULL;
    int r = identity ? 0 : id ? -ENOMEM : -EBADMSG;

    docker->engine_ns = is_podman ? 0 : (uint64_t)timestamp_to_ns(time);
    docker->engine_us = loop_now_us(docker->event, CLOCK_BOOTTIME);
    cJSON_Delete(info);
    if (r < 0)
        return r;
    if (docker->engine_id && strcmp(docker->engine_id, identity) != 0)
        docker->last_event_ns = 0;
    text_take(&docker->engine_id, identity);
    return 0;
}

static void on_info(void *userdata, const HttpResult *result)
{
    Docker *docker = userdata;
    int r;

    docker->handshake = NULL;
    if (result->error == 0 && result->status == 400 && *docker->version != '\0') {
        /* The engine's oldest version is newer than the agent's. The agent then asks without a version, which means
         * the engine's newest. */
        docker->version[0] = '\0';
        docker_ask_info(docker);
        return;
    }
    if (result->error != 0 || result->status != 200) {
        docker_fail_result(docker, "No answer to /info", result);
        return;
    }
    r = docker_read_info(docker, result);
    if (r < 0)
        docker_fail(docker, r, "No answer to /info", r == -EBADMSG ? "its answer has no ID" : strerror(-r));
    else
        docker_subscribe(docker);
}

static void docker_ask_info(Docker *docker)
{
    int r;

    docker->state = DOCKER_INFO;
    r = docker_get(docker, "/info", &(HttpSpec){ .timeout_ms = INFO_TIMEOUT_MS }, on_info, docker, &docker->handshake);
    if (r < 0)
        docker_fail(docker, r, "No answer to /info", strerror(-r));
}

/* Returns false if the version is too old. */
static bool docker_set_version(Docker *docker, const char *offered)
{
    unsigned major, minor;

    docker->version[0] = '\0';
    /* A proxy may remove the header. The agent then asks without a version, which means the engine's newest. */
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
    detail = text_format("its newest is %.20s, which is too old", result->header);
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

static void on_retry(void *userdata)
{
    docker_disconnect(userdata); /* from docker_reconnect() */
    docker_ping(userdata);
}

static void on_resync(void *userdata)
{
    Docker *docker = userdata;

    /* The event stream has no time limit, so this timer limits the wait for its headers. */
    if (docker->state == DOCKER_SUBSCRIBING) {
        docker_fail(docker, -ETIMEDOUT, "No events", "it does not answer");
    } else {
        docker->lines_logged = docker->lines_bad;
        docker->lines_bad = false;
        docker_list(docker);
    }
}

void docker_reconnect(Docker *docker)
{
    /* In the loop's next turn, because the caller may be a handler that still uses the memory that
     * docker_disconnect() frees. */
    timer_arm(&docker->retry, 0);
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
    else
        base = text_format("%s://%s", tls ? "https" : "http", url + strlen(tcp_scheme));
    if (!base)
        return -ENOMEM;
    *ret_base = base;
    *ret_socket = is_unix ? url + strlen(unix_scheme) : NULL;
    return 0;
}

/* The first attempt comes with the loop's next turn. */
static int docker_add_timers(Docker *docker)
{
    int r = timer_add(docker->event, &docker->retry, CLOCK_MONOTONIC, 1, on_retry, docker);

    if (r >= 0)
        r = timer_add(docker->event, &docker->resync, CLOCK_BOOTTIME, 0, on_resync, docker);
    if (r >= 0)
        r = timer_add(docker->event, &docker->slow, CLOCK_MONOTONIC, 1, docker_on_slow, docker);
    if (r >= 0)
        timer_arm(&docker->retry, 0);
    return r;
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
    TAILQ_INIT(&docker->inspects);
    framing_init(&docker->events, FRAMING_LINES, EVENT_MAX);
    framing_init(&docker->entries, FRAMING_ARRAY, LIST_ENTRY_MAX);
    docker->url = strdup(config->url);
    if (!docker->url)
        return -ENOMEM;
    r = docker_parse_url(docker->url, config->ca || config->cert, &docker->base, &socket);
    if (r < 0)
        return r;
    /* For the stream, a list, the inspects, and a handshake while the old stream is ending. */
    r = http_new(&docker->http, event,
                 &(HttpConfig){ .unix_socket = socket,
                                .ca = config->ca,
                                .cert = config->cert,
                                .key = config->key,
                                .max_connections = 3 + INSPECTS_MAX + EARLY_MAX });
    if (r < 0)
        return r;
    r = docker_add_timers(docker);
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
    timer_clear(&docker->retry);
    timer_clear(&docker->resync);
    timer_clear(&docker->slow);
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
