#include "ctl/ctl_call.h"

#include "docker/docker.h"
#include "base/exit_status.h"
#include "base/json.h"
#include "base/text.h"
#include "base/utf8.h"
#include "http/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <time.h>

enum {
    INSPECT_TIMEOUT_S = 30,
    STOP_TIMEOUT_S = 3600, /* a container may ask for a long stop timeout, and Docker answers after the stop */
    CALL_TIMEOUT_S = 10, /* an agent that does not answer at once hangs */
    REPLY_MAX = 64 * 1024 * 1024, /* bytes */
};

void ctl_print_json(const cJSON *json)
{
    CLEANUP_FREE char *text = cJSON_Print(json);

    printf("%s\n", text ? text : "");
}

void ctl_sleep_ms(uint64_t wait_ms)
{
    struct timespec wait = { .tv_sec = (time_t)(wait_ms / 1000), .tv_nsec = (long)(wait_ms % 1000) * 1000000 };

    while (nanosleep(&wait, &wait) < 0 && errno == EINTR)
        ;
}

const char *ctl_reply_text(const CtlReply *reply)
{
    return reply->body.data ? reply->body.data : "";
}

void ctl_reply_clear(CtlReply *reply)
{
    buffer_clear(&reply->body);
}

static size_t on_data(char *data, size_t one, size_t size, void *userdata)
{
    Buffer *body = userdata;

    (void)one;
    return size > REPLY_MAX - body->size || buffer_append(body, data, size) < 0 ? 0 : size;
}

typedef struct Peer {
    const char *what; /* for errors, like "the agent's control socket /run/…" */
    const char *unix_socket; /* NULL: TCP */
    const char *base; /* "http://localhost" */
    const char *ca, *cert, *key;
} Peer;

/* POST with a body, GET without. Returns 0, or EXIT_NOT_POSSIBLE after printing the error. */
static int call(const Peer *peer, const char *path, const char *body, long timeout_s, CtlReply *ret)
{
    CURL *curl = curl_easy_init();
    CLEANUP_FREE char *url = text_format("%s%s", peer->base, path);
    char error[CURL_ERROR_SIZE] = "";
    long os_error = 0;
    CURLcode r;

    *ret = (CtlReply){ 0 };
    if (!curl || !url) {
        fprintf(stderr, "registrator: out of memory\n");
        curl_easy_cleanup(curl);
        return EXIT_NOT_POSSIBLE;
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* otherwise a container named ".." would change the path */
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, timeout_s);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &ret->body);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    if (peer->unix_socket)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, peer->unix_socket);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (peer->ca) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, peer->ca);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* without this, libcurl would accept the system's CAs too */
    }
    if (peer->cert)
        curl_easy_setopt(curl, CURLOPT_SSLCERT, peer->cert);
    if (peer->key)
        curl_easy_setopt(curl, CURLOPT_SSLKEY, peer->key);
    if (body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    r = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret->status);
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_error);
    curl_easy_cleanup(curl);
    if (r == CURLE_OK)
        return 0;
    fprintf(stderr, "registrator: no answer from %s: %s%s\n", peer->what,
            os_error != 0 ? strerror((int)os_error) : error,
            os_error == EACCES                               ? "; be root or a member of the socket's group"
            : os_error == ENOENT || os_error == ECONNREFUSED ? "; is it running, with this path?"
                                                             : "");
    ctl_reply_clear(ret);
    return EXIT_NOT_POSSIBLE;
}

void ctl_print_error(const CtlReply *reply, const char *key)
{
    cJSON *json = cJSON_Parse(ctl_reply_text(reply));
    const char *text = json_string(json, key);
    CLEANUP_FREE char *printable = strdup(text                             ? text
                                          : *ctl_reply_text(reply) != '\0' ? ctl_reply_text(reply)
                                                                           : "no answer");

    if (printable)
        utf8_make_printable(printable);
    fprintf(stderr, "registrator: %s\n", printable ? printable : "out of memory");
    cJSON_Delete(json);
}

cJSON *ctl_call_agent(const char *control, const char *path, const char *body, bool *ret_missing)
{
    CLEANUP_FREE char *what = text_format("the agent's control socket %s", control);
    cJSON *json = NULL;
    CtlReply reply;

    if (call(&(Peer){ .what = what ? what : "the agent", .unix_socket = control, .base = "http://localhost" }, path,
             body, CALL_TIMEOUT_S, &reply) != 0)
        return NULL;
    if (reply.status == 200)
        json = cJSON_Parse(ctl_reply_text(&reply));
    if (ret_missing && reply.status == 404)
        *ret_missing = true;
    else if (!json)
        ctl_print_error(&reply, "error");
    ctl_reply_clear(&reply);
    return json;
}

cJSON *ctl_get_container(const char *control, const char *name, bool *ret_missing)
{
    CLEANUP_FREE char *escaped = http_escape(name, false);
    CLEANUP_FREE char *path = escaped ? text_format("/containers/%s", escaped) : NULL;

    return path ? ctl_call_agent(control, path, NULL, ret_missing) : NULL;
}

int ctl_call_docker(const Settings *settings, const char *path, const char *body, long timeout_s, CtlReply *ret)
{
    CLEANUP_FREE char *base = NULL;
    const char *url = settings->docker_url, *socket;

    if (docker_parse_url(url, settings->docker_ca || settings->docker_cert, &base, &socket) < 0) {
        fprintf(stderr, "registrator: cannot use Docker's URL %s\n", url);
        return EXIT_NOT_POSSIBLE;
    }
    return call(&(Peer){ .what = "Docker",
                         .unix_socket = socket,
                         .base = base,
                         .ca = settings->docker_ca,
                         .cert = settings->docker_cert,
                         .key = settings->docker_key },
                path, body, timeout_s, ret);
}

int ctl_call_container(const Settings *settings, const char *name, const char *action, bool post, cJSON **ret)
{
    CLEANUP_FREE char *escaped = http_escape(name, false);
    CLEANUP_FREE char *path = escaped ? text_format("/containers/%s/%s", escaped, action) : NULL;
    CtlReply reply;
    int r = EXIT_SUCCESS;

    if (!path ||
        ctl_call_docker(settings, path, post ? "" : NULL, post ? STOP_TIMEOUT_S : INSPECT_TIMEOUT_S, &reply) != 0)
        return EXIT_NOT_POSSIBLE;
    /* 304: the container has stopped already. */
    if (reply.status != 200 && reply.status != 204 && reply.status != 304) {
        ctl_print_error(&reply, "message");
        r = EXIT_NOT_POSSIBLE;
    } else if (ret) {
        *ret = cJSON_Parse(ctl_reply_text(&reply));
        if (!json_string(json_get(*ret, "State"), "Status")) {
            fprintf(stderr, "registrator: %s does not answer like Docker\n", settings->docker_url);
            cJSON_Delete(TAKE_PTR(*ret));
            r = EXIT_NOT_POSSIBLE;
        }
    }
    ctl_reply_clear(&reply);
    return r;
}
