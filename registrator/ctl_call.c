#include "ctl_call.h"

#include "docker.h"
#include "exit_status.h"
#include "utf8.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <time.h>

enum {
    CALL_TIMEOUT_S = 10, /* the agent answers at once, or hangs */
    REPLY_MAX = 64 * 1024 * 1024, /* bytes */
};

void ctl_sleep_ms(uint64_t wait_ms)
{
    struct timespec wait = { .tv_sec = (time_t)(wait_ms / 1000), .tv_nsec = (long)(wait_ms % 1000) * 1000000 };

    while (nanosleep(&wait, &wait) < 0 && errno == EINTR)
        ;
}

void ctl_reply_clear(CtlReply *reply)
{
    free(reply->body);
    *reply = (CtlReply){ 0 };
}

static size_t on_data(char *data, size_t one, size_t size, void *userdata)
{
    CtlReply *reply = userdata;
    char *body;

    (void)one;
    if (size > REPLY_MAX - reply->size)
        return 0;
    body = realloc(reply->body, reply->size + size + 1);
    if (!body)
        return 0;
    memcpy(body + reply->size, data, size);
    reply->body = body;
    reply->size += size;
    body[reply->size] = '\0';
    return size;
}

typedef struct Peer {
    const char *what; /* "the agent's control socket /run/…", for errors */
    const char *unix_socket; /* NULL: TCP */
    const char *base; /* "http://localhost" */
    const char *ca, *cert, *key;
} Peer;

/* body NULL: GET. 0, or EXIT_NOT_POSSIBLE with the error printed. */
static int call(const Peer *peer, const char *path, const char *body, long timeout_s, CtlReply *ret)
{
    CURL *curl = curl_easy_init();
    CLEANUP_FREE char *url = NULL;
    char error[CURL_ERROR_SIZE] = "";
    long os_error = 0;
    CURLcode r;

    *ret = (CtlReply){ 0 };
    if (!curl || asprintf(&url, "%s%s", peer->base, path) < 0) {
        url = NULL;
        fprintf(stderr, "registrator: out of memory\n");
        curl_easy_cleanup(curl);
        return EXIT_NOT_POSSIBLE;
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, timeout_s);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, ret);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    if (peer->unix_socket)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, peer->unix_socket);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (peer->ca) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, peer->ca);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* else the system's CAs would count as well */
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
            os_error == EACCES                               ? "; be root or in its group"
            : os_error == ENOENT || os_error == ECONNREFUSED ? "; is it running, with this path?"
                                                             : "");
    ctl_reply_clear(ret);
    return EXIT_NOT_POSSIBLE;
}

void ctl_print_error(const CtlReply *reply, const char *key)
{
    cJSON *json = cJSON_Parse(reply->body ? reply->body : "");
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
    CLEANUP_FREE char *printable = strdup(text ? text : reply->body ? reply->body : "no answer");

    if (printable)
        utf8_make_printable(printable);
    fprintf(stderr, "registrator: %s\n", printable ? printable : "out of memory");
    cJSON_Delete(json);
}

cJSON *ctl_call_agent(const char *control, const char *path, const char *body, bool *ret_missing)
{
    CLEANUP_FREE char *what = NULL;
    cJSON *json = NULL;
    CtlReply reply;

    if (asprintf(&what, "the agent's control socket %s", control) < 0)
        what = NULL;
    if (call(&(Peer){ .what = what ? what : "the agent", .unix_socket = control, .base = "http://localhost" }, path,
             body, CALL_TIMEOUT_S, &reply) != 0)
        return NULL;
    if (reply.status == 200)
        json = cJSON_ParseWithLength(reply.body, reply.size);
    if (ret_missing && reply.status == 404)
        *ret_missing = true;
    else if (!json)
        ctl_print_error(&reply, "error");
    ctl_reply_clear(&reply);
    return json;
}

int ctl_call_docker(const Settings *settings, const char *url, const char *path, const char *body, long timeout_s,
                    CtlReply *ret)
{
    CLEANUP_FREE char *base = NULL;
    const char *socket;

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
