/* libcurl on the loop, with a libcurl that the test speaks for: what it does when memory runs short, and which handles
 * it shows to its callbacks, is not for the real one to say when asked. */
#include "http/curl_loop.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#undef curl_multi_setopt

static sd_event *event;
static CurlLoop *loop;
static unsigned assign_fails; /* how many more times */
static int acted_fd; /* the socket that libcurl was last called about */
static unsigned finished;

static char multi; /* the one handle there is */
static curl_socket_callback socket_callback;
static void *socket_data;

CURLM *curl_multi_init(void)
{
    return (CURLM *)&multi;
}

CURLMcode curl_multi_setopt(CURLM *handle, CURLMoption option, ...)
{
    va_list arguments;

    (void)handle;
    va_start(arguments, option);
    if (option == CURLMOPT_SOCKETFUNCTION)
        socket_callback = va_arg(arguments, curl_socket_callback);
    else if (option == CURLMOPT_SOCKETDATA)
        socket_data = va_arg(arguments, void *);
    va_end(arguments);
    return CURLM_OK;
}

CURLMcode curl_multi_assign(CURLM *handle, curl_socket_t fd, void *socket)
{
    (void)handle;
    (void)fd;
    if (!socket || assign_fails == 0)
        return CURLM_OK;
    assign_fails--;
    return CURLM_OUT_OF_MEMORY;
}

CURLMcode curl_multi_socket_action(CURLM *handle, curl_socket_t fd, int mask, int *running)
{
    eventfd_t value;

    (void)handle;
    (void)mask;
    *running = 1;
    if (fd == CURL_SOCKET_TIMEOUT)
        return CURLM_OK;
    acted_fd = fd;
    assert_int_equal(eventfd_read(fd, &value), 0);
    return CURLM_OK;
}

CURLMsg *curl_multi_info_read(CURLM *handle, int *left)
{
    (void)handle;
    *left = 0;
    return NULL;
}

CURLMcode curl_multi_add_handle(CURLM *handle, CURL *easy)
{
    (void)handle;
    (void)easy;
    return CURLM_OK;
}

CURLMcode curl_multi_remove_handle(CURLM *handle, CURL *easy)
{
    (void)handle;
    (void)easy;
    return CURLM_OK;
}

CURLMcode curl_multi_cleanup(CURLM *handle)
{
    (void)handle;
    return CURLM_OK;
}

static void on_finished(void *userdata, CURL *easy, CURLcode code)
{
    (void)userdata;
    (void)easy;
    (void)code;
    finished++;
}

static int set_up(void **state)
{
    (void)state;
    assign_fails = finished = 0;
    acted_fd = -1;
    assert_int_equal(sd_event_new(&event), 0);
    assert_int_equal(curl_loop_new(&loop, event, 0, on_finished, NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop = curl_loop_free(loop);
    sd_event_unref(event);
    return 0;
}

/* An event has come on the socket: the loop turns until libcurl was called about it. */
static void assert_watched(int fd)
{
    acted_fd = -1;
    assert_int_equal(eventfd_write(fd, 1), 0);
    while (acted_fd != fd)
        assert_true(sd_event_run(event, 10 * 1000 * 1000) > 0);
}

/* A transfer's handle, or libcurl's own: of that nobody but libcurl knows, and it ends nothing. */
static void a_socket_that_could_not_be_watched_is_tried_again(void **state)
{
    CURL *easy = curl_easy_init();
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    (void)state;
    assert_non_null(easy);
    for (unsigned fails = 0; fails <= 3; fails++) {
        assign_fails = fails;
        assert_int_equal(socket_callback(easy, fd, CURL_POLL_IN, socket_data, NULL), 0);
        assert_watched(fd);
        assert_int_equal(finished, 0);
        tear_down(NULL);
        set_up(NULL);
    }
    close(fd);
    curl_easy_cleanup(easy);
}

static void a_socket_that_is_gone_is_not_tried_again(void **state)
{
    CURL *easy = curl_easy_init();
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    (void)state;
    assign_fails = 1;
    assert_int_equal(socket_callback(easy, fd, CURL_POLL_IN, socket_data, NULL), 0);
    assert_int_equal(socket_callback(easy, fd, CURL_POLL_REMOVE, socket_data, NULL), 0);
    /* The number may be another file's by now. */
    assert_int_equal(eventfd_write(fd, 1), 0);
    assign_fails = 1;
    assert_int_equal(socket_callback(easy, other, CURL_POLL_IN, socket_data, NULL), 0);
    assert_watched(other);
    while (sd_event_run(event, 0) > 0)
        ;
    assert_int_equal(acted_fd, other);
    close(fd);
    close(other);
    curl_easy_cleanup(easy);
}

static void a_handle_that_is_gone_is_not_tried_again(void **state)
{
    CURL *easy = curl_easy_init();
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    (void)state;
    assign_fails = 1;
    assert_int_equal(socket_callback(easy, fd, CURL_POLL_IN, socket_data, NULL), 0);
    curl_loop_remove(loop, easy);
    assert_int_equal(eventfd_write(fd, 1), 0);
    assign_fails = 1;
    assert_int_equal(socket_callback((CURL *)&multi, other, CURL_POLL_IN, socket_data, NULL), 0);
    assert_watched(other);
    while (sd_event_run(event, 0) > 0)
        ;
    assert_int_equal(acted_fd, other);
    close(fd);
    close(other);
    curl_easy_cleanup(easy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_socket_that_could_not_be_watched_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_socket_that_is_gone_is_not_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_handle_that_is_gone_is_not_tried_again, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
