#include "http/curl_loop.h"

#include "base/clock.h"
#include "base/timer.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/queue.h>

typedef struct LoopSocket {
    CurlLoop *loop;
    sd_event_source *source;
    LIST_ENTRY(LoopSocket) sockets;
} LoopSocket;

/* A socket that is not watched because memory ran out. */
typedef struct Unwatched {
    CURL *easy;
    curl_socket_t fd;
    int what; /* CURL_POLL_… */
} Unwatched;

enum {
    UNWATCHED_MAX = 8,
    RETRY_US = 100 * 1000,
};

struct CurlLoop {
    sd_event *event;
    CURLM *multi;
    Timer timer;
    Timer kick; /* runs at once if libcurl wants a call without a delay */
    uint64_t deadline_us; /* when libcurl wants a call; 0: never */
    uint64_t armed_us; /* when the timer fires; 0: the timer is off */
    LIST_HEAD(, LoopSocket) sockets;
    Unwatched unwatched[UNWATCHED_MAX]; /* easy NULL: the place is free */
    Timer retry; /* watches the unwatched sockets */
    CurlLoopFn finished;
    void *userdata;
};

static void loop_collect_finished(CurlLoop *loop)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(loop->multi, &left))) {
        CURLcode code = message->data.result; /* removing the handle frees the message */

        if (message->msg == CURLMSG_DONE)
            loop->finished(loop->userdata, message->easy_handle, code);
    }
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    LoopSocket *socket = userdata;
    CurlLoop *loop = socket->loop; /* the call may free the socket */
    int mask = 0, running;

    (void)source;
    if (events & (EPOLLIN | EPOLLHUP))
        mask |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        mask |= CURL_CSELECT_ERR;
    curl_multi_socket_action(loop->multi, fd, mask, &running);
    loop_collect_finished(loop);
    return 0;
}

static void loop_time_out(CurlLoop *loop)
{
    int running;

    curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    loop_collect_finished(loop);
}

static void on_kick(void *userdata)
{
    CurlLoop *loop = userdata;

    loop_time_out(loop);
}

static void loop_call_at(CurlLoop *loop, uint64_t usec)
{
    timer_arm_at(&loop->timer, usec);
    loop->armed_us = usec;
}

static void on_timer(void *userdata)
{
    CurlLoop *loop = userdata;

    loop->armed_us = 0;
    if (loop->deadline_us == 0)
        return;
    if (clock_us(CLOCK_MONOTONIC) < loop->deadline_us) {
        loop_call_at(loop, loop->deadline_us);
        return;
    }
    loop->deadline_us = 0;
    loop_time_out(loop);
}

static LoopSocket *socket_free(LoopSocket *socket)
{
    if (!socket)
        return NULL;
    LIST_REMOVE(socket, sockets);
    sd_event_source_disable_unref(socket->source);
    free(socket);
    return NULL;
}

static uint32_t events_from_curl(int what)
{
    uint32_t events = 0;

    if (what & CURL_POLL_IN)
        events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        events |= EPOLLOUT;
    return events;
}

static int loop_watch_socket(CurlLoop *loop, curl_socket_t fd, uint32_t events)
{
    LoopSocket *socket = calloc(1, sizeof(*socket));
    int r;

    if (!socket)
        return -ENOMEM;
    socket->loop = loop;
    LIST_INSERT_HEAD(&loop->sockets, socket, sockets);
    r = sd_event_add_io(loop->event, &socket->source, fd, events, on_io, socket);
    if (r < 0 || curl_multi_assign(loop->multi, fd, socket) != CURLM_OK) {
        socket_free(socket);
        return r < 0 ? r : -EIO;
    }
    return 0;
}

static LoopSocket *loop_find_socket(CurlLoop *loop, curl_socket_t fd)
{
    LoopSocket *socket;

    LIST_FOREACH (socket, &loop->sockets, sockets)
        if (sd_event_source_get_io_fd(socket->source) == fd)
            return socket;
    return NULL;
}

static int loop_watch(CurlLoop *loop, LoopSocket *socket, curl_socket_t fd, int what)
{
    return socket ? sd_event_source_set_io_events(socket->source, events_from_curl(what))
                  : loop_watch_socket(loop, fd, events_from_curl(what));
}

static void loop_forget_unwatched(CurlLoop *loop, curl_socket_t fd)
{
    for (size_t i = 0; i < UNWATCHED_MAX; i++)
        if (loop->unwatched[i].easy && loop->unwatched[i].fd == fd)
            loop->unwatched[i].easy = NULL;
}

/* Without a watch on its socket, a transfer continues only when its time limit ends it, and a stream has no time
 * limit. The handle may be libcurl's own (8.23), whose socket reports the end of a name lookup. Without a free place
 * here, the transfer waits for its time limit. */
static void loop_note_unwatched(CurlLoop *loop, CURL *easy, curl_socket_t fd, int what)
{
    for (size_t i = 0; i < UNWATCHED_MAX; i++)
        if (!loop->unwatched[i].easy) {
            loop->unwatched[i] = (Unwatched){ .easy = easy, .fd = fd, .what = what };
            timer_arm(&loop->retry, RETRY_US);
            return;
        }
}

static void on_retry(void *userdata)
{
    CurlLoop *loop = userdata;

    for (size_t i = 0; i < UNWATCHED_MAX; i++) {
        Unwatched *unwatched = &loop->unwatched[i];

        if (!unwatched->easy)
            continue;
        if (loop_watch(loop, loop_find_socket(loop, unwatched->fd), unwatched->fd, unwatched->what) < 0)
            timer_arm(&loop->retry, RETRY_US);
        else
            unwatched->easy = NULL;
    }
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socketp)
{
    CurlLoop *loop = userdata;
    LoopSocket *socket = socketp;

    loop_forget_unwatched(loop, fd);
    if (what == CURL_POLL_REMOVE) {
        curl_multi_assign(loop->multi, fd, NULL);
        socket_free(socket);
        return 0;
    }
    /* Not -1: after an error, all transfers of the multi handle would hang without a time limit. */
    if (loop_watch(loop, socket, fd, what) < 0)
        loop_note_unwatched(loop, easy, fd, what);
    return 0;
}

/* Most of libcurl's timers mean "at once", or a time limit that is never reached. Setting the kernel's timer costs
 * 30 to 70 us on a virtual machine, and other calls take 3 to 5 us. So a timer that fires too early is not set
 * again. */
static int on_curl_timer(CURLM *multi, long timeout_ms, void *userdata)
{
    CurlLoop *loop = userdata;

    (void)multi;
    loop->deadline_us = 0;
    if (timeout_ms < 0)
        return 0;
    if (timeout_ms == 0) {
        defer_arm(&loop->kick);
        return 0;
    }
    loop->deadline_us = clock_us(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * 1000;
    if (loop->armed_us > 0 && loop->armed_us <= loop->deadline_us)
        return 0;
    loop_call_at(loop, loop->deadline_us);
    return 0;
}

static int loop_open_multi(CurlLoop *loop, unsigned max_connections)
{
    unsigned failed = 0;

    loop->multi = curl_multi_init();
    if (!loop->multi)
        return -ENOMEM;
    failed |= (unsigned)curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    failed |= (unsigned)curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
    failed |= (unsigned)curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    failed |= (unsigned)curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
#if LIBCURL_VERSION_NUM >= 0x081400
    /* As CURLOPT_QUICK_EXIT: from 8.20 on, the resolver's threads belong to the multi handle. */
    failed |= (unsigned)curl_multi_setopt(loop->multi, CURLMOPT_QUICK_EXIT, 1L);
#endif
    if (max_connections > 0) {
        long max = (long)max_connections;
        failed |= (unsigned)curl_multi_setopt(loop->multi, CURLMOPT_MAX_HOST_CONNECTIONS, max);
        failed |= (unsigned)curl_multi_setopt(loop->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, max);
        failed |= (unsigned)curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, max);
    }
    return failed ? -EIO : 0;
}

static int loop_open_sources(CurlLoop *loop)
{
    int r = defer_add(loop->event, &loop->kick, on_kick, loop);

    if (r >= 0)
        r = timer_add(loop->event, &loop->timer, CLOCK_MONOTONIC, 1, on_timer, loop);
    return r < 0 ? r : timer_add(loop->event, &loop->retry, CLOCK_MONOTONIC, 0, on_retry, loop);
}

int curl_loop_new(CurlLoop **ret, sd_event *event, unsigned max_connections, CurlLoopFn finished, void *userdata)
{
    CLEANUP(curl_loop_free_p) CurlLoop *loop = calloc(1, sizeof(*loop));
    int r;

    if (!loop)
        return -ENOMEM;
    LIST_INIT(&loop->sockets);
    loop->event = sd_event_ref(event);
    loop->finished = finished;
    loop->userdata = userdata;
    r = loop_open_sources(loop);
    if (r < 0)
        return r;
    r = loop_open_multi(loop, max_connections);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(loop);
    return 0;
}

CurlLoop *curl_loop_free(CurlLoop *loop)
{
    LoopSocket *socket;

    if (!loop)
        return NULL;
    if (loop->multi) {
        curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, NULL);
        curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, NULL);
        curl_multi_cleanup(loop->multi);
    }
    while ((socket = LIST_FIRST(&loop->sockets)))
        socket_free(socket);
    timer_clear(&loop->kick);
    timer_clear(&loop->timer);
    timer_clear(&loop->retry);
    sd_event_unref(loop->event);
    free(loop);
    return NULL;
}

int curl_loop_add(CurlLoop *loop, CURL *easy)
{
    return curl_multi_add_handle(loop->multi, easy) == CURLM_OK ? 0 : -ENOMEM;
}

void curl_loop_remove(CurlLoop *loop, CURL *easy)
{
    curl_multi_remove_handle(loop->multi, easy);
    for (size_t i = 0; i < UNWATCHED_MAX; i++)
        if (loop->unwatched[i].easy == easy)
            loop->unwatched[i].easy = NULL;
}
