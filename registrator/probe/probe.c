#include "probe/probe.h"

#include "base/timer.h"
#include "http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECT_TIMEOUT_MS = 1000, /* the container runs on this host or nearby */
    HTTP_TIMEOUT_MS = 5000,
    BODY_MAX = 16 * 1024, /* bytes of an answer; only the status counts */
};

/* One slot: a connection or an HTTP request to the question's first or second address. */
typedef struct Probe {
    Prober *prober;
    ProbeQuestion question;
    const ProbeTarget *target; /* points into the question */
    bool refused; /* the first address has refused the connection */
    ProbeOutcome outcome; /* valid once `done` is armed */
    int fd; /* -1: no connection */
    sd_event_source *io, *timeout;
    Timer done; /* passes on the outcome with the loop's next turn */
    Http *http; /* of this probe only, so that no connection outlives the probe */
    LIST_ENTRY(Probe) link;
} Probe;

struct Prober {
    sd_event *event;
    ProberNextFn next;
    ProberAnsweredFn answered;
    void *userdata;
    Timer due;
    LIST_HEAD(, Probe) probes;
    unsigned n_probes;
};

static void probe_start(Probe *probe);

static void probe_close(Probe *probe)
{
    probe->io = sd_event_source_disable_unref(probe->io);
    probe->timeout = sd_event_source_disable_unref(probe->timeout);
    probe->http = http_free(probe->http);
    if (probe->fd >= 0)
        (void)close(probe->fd);
    probe->fd = -1;
}

static void probe_free(Probe *probe)
{
    probe_close(probe);
    timer_clear(&probe->done);
    LIST_REMOVE(probe, link);
    probe->prober->n_probes--;
    free(probe);
}

/* outcome: the result for the present address. */
static void probe_finish(Probe *probe, ProbeOutcome outcome)
{
    const ProbeQuestion *question = &probe->question;
    bool try_other = outcome == PROBE_SILENT || (outcome == PROBE_REFUSED && question->other_if_refused);

    probe_close(probe);
    if (try_other && probe->target == &question->target && question->other.address[0] != '\0') {
        probe->refused = outcome == PROBE_REFUSED;
        probe->target = &question->other;
        probe_start(probe);
        return;
    }
    probe->outcome = outcome == PROBE_SILENT && probe->refused ? PROBE_REFUSED : outcome;
    defer_arm(&probe->done);
}

static void on_done(void *userdata)
{
    Probe *probe = userdata;
    Prober *prober = probe->prober;
    ProbeQuestion question = probe->question;
    ProbeOutcome outcome = probe->outcome;

    probe_free(probe);
    prober->answered(prober->userdata, &question, outcome);
    prober_pull(prober);
}

/* Connections. */

static ProbeOutcome outcome_of(int error)
{
    switch (error) {
    case 0:
        return PROBE_OPEN;
    case ECONNREFUSED:
    case ECONNRESET:
        return PROBE_REFUSED;
    default:
        return PROBE_SILENT;
    }
}

/* A connection to a port of this host without a listener can connect to itself, if the kernel gives it this port as
 * its source. */
static bool is_self(int fd)
{
    struct sockaddr_storage own = { 0 }, peer = { 0 };
    socklen_t own_size = sizeof(own), peer_size = sizeof(peer);

    return getsockname(fd, (struct sockaddr *)&own, &own_size) == 0 &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0 && own_size == peer_size &&
           memcmp(&own, &peer, own_size) == 0;
}

static int on_connected(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    Probe *probe = userdata;
    int error = 0;
    socklen_t size = sizeof(error);

    (void)source;
    (void)events;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    probe_finish(probe, error == 0 && is_self(fd) ? PROBE_REFUSED : outcome_of(error));
    return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    probe_finish(userdata, PROBE_SILENT);
    return 0;
}

static socklen_t make_address(struct sockaddr_storage *ret, const ProbeTarget *target)
{
    struct sockaddr_in *in4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

    *ret = (struct sockaddr_storage){ .ss_family = AF_UNSPEC };
    if (inet_pton(AF_INET, target->address, &in4->sin_addr) == 1) {
        in4->sin_family = AF_INET;
        in4->sin_port = htons(target->port);
        return sizeof(*in4);
    }
    if (inet_pton(AF_INET6, target->address, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(target->port);
        return sizeof(*in6);
    }
    return 0;
}

/* 0: connected; -EINPROGRESS; or another negative errno. */
static int probe_connect(Probe *probe)
{
    struct sockaddr_storage address;
    socklen_t size = make_address(&address, probe->target);

    if (size == 0)
        return -EADDRNOTAVAIL;
    probe->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe->fd < 0 || connect(probe->fd, (struct sockaddr *)&address, size) < 0)
        return -errno;
    return 0;
}

static int add_timeout(Probe *probe)
{
    int r = sd_event_add_time_relative(probe->prober->event, &probe->timeout, CLOCK_MONOTONIC,
                                       (uint64_t)CONNECT_TIMEOUT_MS * 1000, 0, on_timeout, probe);

    return r < 0 ? r : sd_event_source_set_priority(probe->timeout, PROBE_PRIORITY);
}

static void start_connection(Probe *probe)
{
    int r = probe_connect(probe);

    if (r != -EINPROGRESS) {
        probe_finish(probe, r == 0 && is_self(probe->fd) ? PROBE_REFUSED : outcome_of(-r));
        return;
    }
    r = sd_event_add_io(probe->prober->event, &probe->io, probe->fd, EPOLLOUT, on_connected, probe);
    if (r >= 0)
        r = sd_event_source_set_priority(probe->io, PROBE_PRIORITY);
    if (r >= 0)
        r = add_timeout(probe);
    if (r < 0)
        probe_finish(probe, PROBE_SILENT);
}

/* HTTP requests. */

static ProbeOutcome outcome_of_answer(const HttpResult *result)
{
    bool connected = result->remote.ss_family != AF_UNSPEC;

    if (result->status > 0)
        return result->status >= 200 && result->status < 400 ? PROBE_OPEN : PROBE_REFUSED;
    return connected ? PROBE_REFUSED : outcome_of(-result->error);
}

static void on_answer(void *userdata, const HttpResult *result)
{
    probe_finish(userdata, outcome_of_answer(result));
}

/* The headers are sufficient: drops the body. */
static int on_body(void *userdata, const char *data, size_t size)
{
    (void)userdata;
    (void)data;
    (void)size;
    return -ECANCELED;
}

static int start_request(Probe *probe)
{
    const ProbeTarget *target = probe->target;
    bool is6 = strchr(target->address, ':');
    char url[sizeof("http://[]:65535") + INET6_ADDRSTRLEN + PROBE_PATH_MAX];
    int r = http_new(&probe->http, probe->prober->event, &(HttpConfig){ .max_connections = 1 });

    if (r < 0)
        return r;
    (void)snprintf(url, sizeof(url), "http://%s%s%s:%u%s", is6 ? "[" : "", target->address, is6 ? "]" : "",
                   (unsigned)target->port, probe->question.path);
    return http_request(probe->http,
                        &(HttpSpec){ .method = "GET",
                                     .url = url,
                                     .timeout_ms = HTTP_TIMEOUT_MS,
                                     .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                     .body_max = BODY_MAX,
                                     .on_data = on_body },
                        on_answer, probe, NULL);
}

static void probe_start(Probe *probe)
{
    bool has_address = probe->target->address[0] != '\0';

    if (has_address && probe->question.path[0] == '\0')
        start_connection(probe);
    else if (!has_address || start_request(probe) < 0)
        probe_finish(probe, PROBE_SILENT);
}

/* The slots. */

/* 0 or a negative errno: there is no slot for the question. */
static int prober_start(Prober *prober, const ProbeQuestion *question)
{
    Probe *probe = calloc(1, sizeof(*probe));
    int r;

    if (!probe)
        return -ENOMEM;
    probe->prober = prober;
    probe->question = *question;
    probe->target = &probe->question.target;
    probe->fd = -1;
    r = defer_add(prober->event, &probe->done, on_done, probe);
    if (r >= 0)
        r = timer_set_priority(&probe->done, PROBE_PRIORITY);
    if (r < 0) {
        timer_clear(&probe->done);
        free(probe);
        return r;
    }
    LIST_INSERT_HEAD(&prober->probes, probe, link);
    prober->n_probes++;
    probe_start(probe);
    return 0;
}

static void on_due(void *userdata)
{
    Prober *prober = userdata;
    ProbeQuestion question;
    uint64_t due_us = 0, now_us = loop_now_us(prober->event, CLOCK_BOOTTIME);

    while (prober->n_probes < PROBES_AT_ONCE && prober->next(prober->userdata, now_us, &question, &due_us))
        if (prober_start(prober, &question) < 0)
            prober->answered(prober->userdata, &question, PROBE_SILENT);
    /* If all slots are in use, the next free slot looks again. */
    if (prober->n_probes < PROBES_AT_ONCE && due_us > 0)
        timer_arm_at(&prober->due, due_us);
}

void prober_pull(Prober *prober)
{
    timer_arm_at(&prober->due, 0);
}

int prober_new(Prober **ret, sd_event *event, ProberNextFn next, ProberAnsweredFn answered, void *userdata)
{
    CLEANUP(prober_free_p) Prober *prober = calloc(1, sizeof(*prober));
    int r;

    if (!prober)
        return -ENOMEM;
    prober->event = sd_event_ref(event);
    prober->next = next;
    prober->answered = answered;
    prober->userdata = userdata;
    LIST_INIT(&prober->probes);
    r = timer_add(event, &prober->due, CLOCK_BOOTTIME, 1, on_due, prober);
    if (r >= 0)
        r = timer_set_priority(&prober->due, PROBE_PRIORITY);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(prober);
    return 0;
}

Prober *prober_free(Prober *prober)
{
    if (!prober)
        return NULL;
    while (!LIST_EMPTY(&prober->probes))
        probe_free(LIST_FIRST(&prober->probes));
    timer_clear(&prober->due);
    sd_event_unref(prober->event);
    free(prober);
    return NULL;
}
