#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/fake_http.h"
#include "http/http.h"
#include "unit/scratch.h"

typedef struct Seen Seen;

struct Seen {
    unsigned done;
    int error;
    long status;
    char *body;
    char header[64], redirect[256], error_text[512];
    size_t body_size;
    in_port_t remote_port;
    sa_family_t family;
    unsigned headers; /* on_data with nothing */
    size_t data, largest; /* bytes */
    bool done_in_call;
    bool data_after_done;
    int data_error; /* what on_data returns */
    HttpRequest *request; /* cleared by done */
    void (*act)(Seen *seen); /* at the end of done, */
    void (*act_on_data)(Seen *seen); /* of on_data */
    Seen *other;
};

static sd_event *event;
static FakeServer *server;
static Http *http;
static bool in_call;

static void on_done(void *userdata, const HttpResult *result)
{
    Seen *seen = userdata;

    seen->done++;
    seen->done_in_call = in_call;
    seen->error = result->error;
    seen->status = result->status;
    free(seen->body);
    seen->body = strdup(result->body);
    seen->body_size = result->body_size;
    seen->remote_port = ((const struct sockaddr_in *)&result->remote)->sin_port;
    seen->family = result->remote.ss_family;
    snprintf(seen->header, sizeof(seen->header), "%s", result->header ? result->header : "");
    snprintf(seen->redirect, sizeof(seen->redirect), "%s", result->redirect ? result->redirect : "");
    snprintf(seen->error_text, sizeof(seen->error_text), "%s", result->error_text);
    assert_true((result->error == 0) == (*result->error_text == '\0'));
    if (seen->act)
        seen->act(seen);
    else
        seen->request = NULL;
}

static int on_data(void *userdata, const char *data, size_t size)
{
    Seen *seen = userdata;

    assert_non_null(data);
    seen->data_after_done = seen->done > 0;
    if (size == 0)
        seen->headers++;
    seen->data += size;
    if (size > seen->largest)
        seen->largest = size;
    if (seen->act_on_data)
        seen->act_on_data(seen);
    return size > 0 ? seen->data_error : 0;
}

static void turn(void)
{
    assert_true(sd_event_run(event, 10 * 1000 * 1000) > 0);
}

static void start(Seen *seen, const char *path, const HttpSpec *more)
{
    char url[256];
    HttpSpec spec = more ? *more : (HttpSpec){ 0 };

    snprintf(url, sizeof(url), "%s%s", server->url, path);
    spec.url = url;
    if (!spec.method)
        spec.method = "GET";
    in_call = true;
    assert_int_equal(http_request(http, &spec, on_done, seen, &seen->request), 0);
    in_call = false;
}

static void finish(Seen *seen)
{
    while (seen->done == 0)
        turn();
    assert_int_equal(seen->done, 1);
    assert_false(seen->done_in_call);
    assert_false(seen->data_after_done);
}

static void forget(Seen *seen)
{
    free(seen->body);
}

/* What the server does is in the path. */
static void answer(FakeConnection *connection, const char *request)
{
    char path[64] = "";

    sscanf(request, "%*s %63s", path);
    if (strcmp(path, "/ok") == 0)
        fake_answer(connection, "200 OK", "api-version:  1.41 \r\nOther: x\r\n", "hello");
    else if (strcmp(path, "/early") == 0) {
        fake_print(connection, "HTTP/1.1 100 Continue\r\n\r\n");
        fake_answer(connection, "200 OK", "", "hello");
    } else if (strcmp(path, "/error") == 0)
        fake_answer(connection, "500 Oh", "", "broken");
    else if (strcmp(path, "/echo") == 0)
        fake_answer(connection, "200 OK", "", request);
    else if (strcmp(path, "/redirect") == 0)
        fake_answer(connection, "307 There", "Location: /echo\r\n", "elsewhere");
    else if (strcmp(path, "/away") == 0)
        fake_answer(connection, "302 There", "Location: ftp://127.0.0.1:1/\r\n", "");
    else if (strcmp(path, "/stream") == 0)
        fake_print(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    else if (strcmp(path, "/torn") == 0) {
        fake_print(connection, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        fake_close(connection);
    } else if (strcmp(path, "/close") == 0)
        fake_close(connection);
    else if (strcmp(path, "/garbage") == 0)
        fake_print(connection, "what?\r\n\r\n");
    else if (strcmp(path, "/large") == 0) {
        size_t size = 4 * 1024 * 1024;
        char *body = malloc(size + 1);
        memset(body, 'x', size);
        body[size] = '\0';
        fake_answer(connection, "200 OK", "", body);
        free(body);
    }
    /* /hang: nothing */
}

static int set_up(void **state)
{
    HttpConfig config = { .max_connections = 3 };

    (void)state;
    assert_true(sd_event_new(&event) >= 0);
    server = fake_new(event, NULL, answer, NULL);
    return http_new(&http, event, &config);
}

static int tear_down(void **state)
{
    (void)state;
    http = http_free(http);
    fake_free(server);
    event = sd_event_unref(event);
    return 0;
}

static void gets_status_body_header_and_peer(void **state)
{
    Seen seen = { 0 };
    HttpSpec spec = { .want_header = "API-Version" };

    (void)state;
    start(&seen, "/ok", &spec);
    finish(&seen);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.status, 200);
    assert_string_equal(seen.body, "hello");
    assert_int_equal(seen.body_size, 5);
    assert_string_equal(seen.header, "1.41");
    assert_int_equal(seen.family, AF_INET);
    assert_int_equal(ntohs(seen.remote_port), atoi(strrchr(server->url, ':') + 1));
    forget(&seen);
}

static void skips_an_interim_answer(void **state)
{
    Seen seen = { 0 };
    HttpSpec spec = { .on_data = on_data };

    (void)state;
    start(&seen, "/early", &spec);
    finish(&seen);
    assert_int_equal(seen.status, 200);
    assert_int_equal(seen.headers, 1);
    assert_int_equal(seen.data, 5);
    forget(&seen);
}

static void sends_method_body_and_headers(void **state)
{
    Seen seen = { 0 };
    HttpSpec spec = {
        .method = "PUT",
        .body = "a=b",
        .content_type = "text/x-form",
        .authorization = "secret",
    };

    (void)state;
    start(&seen, "/echo", &spec);
    finish(&seen);
    assert_non_null(strstr(seen.body, "PUT /echo HTTP/1.1\r\n"));
    assert_non_null(strstr(seen.body, "\r\nContent-Type: text/x-form\r\n"));
    assert_non_null(strstr(seen.body, "\r\nAuthorization: secret\r\n"));
    assert_non_null(strstr(seen.body, "\r\nUser-Agent: registrator/"));
    assert_null(strstr(seen.body, "Expect:"));
    assert_non_null(strstr(seen.body, "\r\n\r\na=b"));
    forget(&seen);
}

static void leaves_nothing_of_a_request_in_the_next(void **state)
{
    Seen first = { 0 }, second = { 0 };
    HttpSpec spec = { .method = "POST", .body = "a=b", .content_type = "text/x-form", .authorization = "secret" };

    (void)state;
    start(&first, "/echo", &spec);
    finish(&first);
    start(&second, "/echo", NULL);
    finish(&second);
    assert_memory_equal(second.body, "GET ", 4);
    assert_null(strstr(second.body, "secret"));
    assert_null(strstr(second.body, "Content-Type"));
    forget(&first);
    forget(&second);
}

static void posts_without_a_body(void **state)
{
    Seen seen = { 0 };
    HttpSpec spec = { .method = "POST" };

    (void)state;
    start(&seen, "/echo", &spec);
    finish(&seen);
    assert_memory_equal(seen.body, "POST ", 5);
    assert_non_null(strstr(seen.body, "Content-Length: 0\r\n"));
    forget(&seen);
}

static void refuses_a_line_break_in_a_header(void **state)
{
    HttpRequest *request = NULL;
    Seen seen = { 0 };
    HttpSpec spec = { .method = "GET", .url = server->url, .authorization = "a\r\nX-Evil: 1" };

    (void)state;
    assert_int_equal(http_request(http, &spec, on_done, &seen, &request), -EINVAL);
    assert_null(request);
}

static void follows_no_redirect_and_says_where_it_leads(void **state)
{
    Seen seen = { 0 }, away = { 0 }, plain = { 0 };
    HttpSpec spec = { .method = "PUT", .body = "a=b" };
    char there[256];

    (void)state;
    snprintf(there, sizeof(there), "%s/echo", server->url);
    start(&seen, "/redirect", &spec);
    finish(&seen);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.status, 307);
    assert_string_equal(seen.redirect, there);
    start(&away, "/away", &spec);
    finish(&away);
    assert_string_equal(away.redirect, "ftp://127.0.0.1:1/");
    start(&plain, "/ok", &spec);
    finish(&plain);
    assert_string_equal(plain.redirect, "");
    assert_int_equal(server->requests, 3);
    forget(&seen);
    forget(&away);
    forget(&plain);
}

static void an_origin_has_scheme_host_and_port_and_nothing_else(void **state)
{
    static const char *const cases[][2] = {
        { "http://a", "http://a:80" },
        { "https://me:secret@a/v2?x=1", "https://a:443" },
        { "http://[2001:db8::1]:2379/v2", "http://[2001:db8::1]:2379" },
        { "/v2/keys", NULL },
        { "ldap-o://a", NULL },
        { "", NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *origin = http_origin(cases[i][0]);

        if (cases[i][1])
            assert_string_equal(origin, cases[i][1]);
        else
            assert_null(origin);
        free(origin);
    }
}

static void an_error_status_is_an_answer(void **state)
{
    Seen seen = { 0 };

    (void)state;
    start(&seen, "/error", NULL);
    finish(&seen);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.status, 500);
    assert_string_equal(seen.body, "broken");
    forget(&seen);
}

static void names_the_peer_that_refuses(void **state)
{
    Seen seen = { 0 };
    HttpSpec spec = { .method = "GET", .url = "http://me:secret@127.0.0.1:1/x" };

    (void)state;
    assert_int_equal(http_request(http, &spec, on_done, &seen, &seen.request), 0);
    finish(&seen);
    assert_int_equal(seen.error, -ECONNREFUSED);
    assert_string_equal(seen.error_text, "http://127.0.0.1:1: Connection refused");
    forget(&seen);
}

static void tells_broken_answers_apart(void **state)
{
    Seen closed = { 0 }, torn = { 0 }, garbage = { 0 };

    (void)state;
    start(&closed, "/close", NULL);
    finish(&closed);
    assert_int_equal(closed.error, -ECONNRESET);
    start(&torn, "/torn", NULL);
    finish(&torn);
    assert_int_equal(torn.error, -ECONNRESET);
    start(&garbage, "/garbage", NULL);
    finish(&garbage);
    assert_true(garbage.error < 0);
    forget(&closed);
    forget(&torn);
    forget(&garbage);
}

static void gives_up_in_time(void **state)
{
    Seen seen = { 0 };
    HttpSpec spec = { .timeout_ms = 20 };

    (void)state;
    start(&seen, "/hang", &spec);
    finish(&seen);
    assert_int_equal(seen.error, -ETIMEDOUT);
    assert_memory_equal(seen.error_text, server->url, strlen(server->url));
    forget(&seen);
}

/* An end in order would let the kernel go on sending what was given up. */
static void resets_the_connection_of_an_abandoned_request(void **state)
{
    Seen seen = { 0 };
    HttpSpec spec = { .timeout_ms = 20 };

    (void)state;
    start(&seen, "/hang", &spec);
    finish(&seen);
    while (server->open > 0)
        turn();
    assert_int_equal(server->resets, 1);
    forget(&seen);
}

static void ends_an_answer_that_is_too_long(void **state)
{
    Seen plain = { 0 }, stream = { 0 };
    HttpSpec spec = { .body_max = 1000 };

    (void)state;
    start(&plain, "/large", NULL);
    finish(&plain);
    assert_int_equal(plain.error, -EMSGSIZE);
    spec.on_data = on_data;
    start(&stream, "/large", &spec);
    finish(&stream);
    assert_int_equal(stream.error, -EMSGSIZE);
    assert_true(stream.data <= 1000);
    forget(&plain);
    forget(&stream);
}

static void takes_as_much_as_was_allowed(void **state)
{
    Seen seen = { 0 };
    HttpSpec spec = { .body_max = 4 * 1024 * 1024 };

    (void)state;
    start(&seen, "/large", &spec);
    finish(&seen);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.body_size, 4 * 1024 * 1024);
    forget(&seen);
}

static void tells_a_streams_headers_before_it_has_a_body(void **state)
{
    Seen seen = { 0 };
    HttpSpec spec = { .on_data = on_data };

    (void)state;
    start(&seen, "/stream", &spec);
    while (seen.headers == 0)
        turn();
    assert_int_equal(seen.data, 0);
    fake_print(server->last, "3\r\nabc\r\n");
    while (seen.data < 3)
        turn();
    fake_print(server->last, "4\r\ndefg\r\n0\r\n\r\n");
    finish(&seen);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.data, 7);
    assert_int_equal(seen.headers, 1);
    assert_string_equal(seen.body, "");
    forget(&seen);
}

static void a_stream_passes_in_bounded_pieces(void **state)
{
    Seen seen = { 0 };
    HttpSpec spec = { .on_data = on_data };

    (void)state;
    start(&seen, "/large", &spec);
    finish(&seen);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.data, 4 * 1024 * 1024);
    assert_true(seen.largest <= 256 * 1024);
    forget(&seen);
}

static void a_refused_stream_has_its_body_in_the_result(void **state)
{
    Seen seen = { 0 };
    HttpSpec spec = { .on_data = on_data };

    (void)state;
    start(&seen, "/error", &spec);
    finish(&seen);
    assert_int_equal(seen.status, 500);
    assert_int_equal(seen.headers, 0);
    assert_int_equal(seen.data, 0);
    assert_string_equal(seen.body, "broken");
    forget(&seen);
}

static void a_stream_ends_with_the_error_of_its_data_callback(void **state)
{
    Seen seen = { .data_error = -EBADMSG };
    HttpSpec spec = { .on_data = on_data };

    (void)state;
    start(&seen, "/large", &spec);
    finish(&seen);
    assert_int_equal(seen.error, -EBADMSG);
    assert_true(seen.data < 4 * 1024 * 1024);
    forget(&seen);
}

static void free_own(Seen *seen)
{
    seen->request = http_request_free(seen->request);
}

static void free_other(Seen *seen)
{
    seen->other->request = http_request_free(seen->other->request);
}

static void free_all(Seen *seen)
{
    (void)seen;
    http = http_free(http);
}

static void start_another(Seen *seen)
{
    start(seen->other, "/ok", NULL);
}

static void a_request_may_be_freed_from_its_own_done(void **state)
{
    Seen seen = { .act = free_own }, next = { 0 };

    (void)state;
    start(&seen, "/ok", NULL);
    finish(&seen);
    start(&next, "/ok", NULL);
    finish(&next);
    forget(&seen);
    forget(&next);
}

static void a_stream_may_be_freed_from_its_own_data(void **state)
{
    Seen seen = { .act_on_data = free_own }, next = { 0 };
    HttpSpec spec = { .on_data = on_data };

    (void)state;
    start(&seen, "/stream", &spec);
    while (seen.request)
        turn();
    start(&next, "/ok", NULL);
    finish(&next);
    assert_int_equal(seen.done, 0);
    forget(&next);
}

static void a_request_may_be_freed_from_anothers_done(void **state)
{
    Seen victim = { 0 }, seen = { .act = free_other, .other = &victim };

    (void)state;
    start(&victim, "/hang", NULL);
    start(&seen, "/ok", NULL);
    finish(&seen);
    assert_null(victim.request);
    assert_int_equal(victim.done, 0);
    forget(&seen);
}

/* Both answers are here before the first one's done runs. */
static void a_finished_request_that_is_freed_is_not_called(void **state)
{
    Seen a = { .act = free_other }, b = { .act = free_other };

    (void)state;
    a.other = &b;
    b.other = &a;
    start(&a, "/ok", NULL);
    start(&b, "/ok", NULL);
    while (a.done + b.done == 0)
        turn();
    while (sd_event_run(event, 0) > 0)
        ;
    assert_int_equal(a.done + b.done, 1);
    forget(&a);
    forget(&b);
}

static void everything_may_be_freed_from_done(void **state)
{
    Seen seen = { .act = free_all }, other = { 0 };

    (void)state;
    start(&other, "/hang", NULL);
    start(&seen, "/ok", NULL);
    finish(&seen);
    while (sd_event_run(event, 0) > 0)
        ;
    assert_int_equal(other.done, 0);
    forget(&seen);
}

static void everything_may_be_freed_from_data(void **state)
{
    Seen seen = { .act_on_data = free_all };
    HttpSpec spec = { .on_data = on_data };

    (void)state;
    start(&seen, "/stream", &spec);
    while (http)
        turn();
    while (sd_event_run(event, 0) > 0)
        ;
    assert_int_equal(seen.done, 0);
}

static void a_request_may_be_started_from_done(void **state)
{
    Seen second = { 0 }, seen = { .act = start_another, .other = &second };

    (void)state;
    start(&seen, "/ok", NULL);
    finish(&seen);
    finish(&second);
    assert_string_equal(second.body, "hello");
    forget(&seen);
    forget(&second);
}

static void a_request_that_is_freed_is_not_called(void **state)
{
    Seen seen = { 0 };

    (void)state;
    start(&seen, "/ok", NULL);
    seen.request = http_request_free(seen.request);
    while (sd_event_run(event, 0) > 0)
        ;
    assert_int_equal(seen.done, 0);
}

static void keeps_its_connection(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        Seen seen = { 0 };
        start(&seen, "/ok", NULL);
        finish(&seen);
        forget(&seen);
    }
    assert_int_equal(server->accepted, 1);
    assert_int_equal(server->requests, 20);
}

static void opens_no_more_connections_than_allowed(void **state)
{
    Seen seen[20] = { 0 };

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        start(&seen[i], "/ok", NULL);
    for (unsigned i = 0; i < 20; i++) {
        finish(&seen[i]);
        assert_int_equal(seen[i].error, 0);
        forget(&seen[i]);
    }
    assert_in_range(server->open_max, 1, 3);
}

static void uses_no_proxy_from_the_environment(void **state)
{
    Seen seen = { 0 };

    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    start(&seen, "/ok", NULL);
    finish(&seen);
    unsetenv("http_proxy");
    assert_int_equal(seen.error, 0);
    forget(&seen);
}

static void talks_to_a_unix_socket(void **state)
{
    Seen seen = { 0 }, gone = { 0 };
    char directory[SCRATCH_MAX], path[SCRATCH_MAX + 8];
    HttpRequest *request;

    (void)state;
    scratch_template(directory);
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/docker", directory);
    HttpConfig config = { .unix_socket = path, .max_connections = 3 };
    FakeServer *local = fake_new(event, path, answer, NULL);
    Http *over_unix;
    assert_int_equal(http_new(&over_unix, event, &config), 0);
    HttpSpec spec = { .method = "GET", .url = "http://docker/ok" };
    assert_int_equal(http_request(over_unix, &spec, on_done, &seen, &request), 0);
    finish(&seen);
    assert_string_equal(seen.body, "hello");
    assert_int_equal(seen.family, AF_UNSPEC);

    fake_free(local);
    assert_int_equal(http_request(over_unix, &spec, on_done, &gone, &request), 0);
    finish(&gone);
    assert_int_equal(gone.error, -ENOENT);
    char expected[200];
    snprintf(expected, sizeof(expected), "unix socket %s: No such file or directory", path);
    assert_string_equal(gone.error_text, expected);
    http_free(over_unix);
    forget(&seen);
    forget(&gone);
    assert_int_equal(rmdir(directory), 0);
}

static void escapes_for_urls(void **state)
{
    char *text = http_escape("/a b/\xc3\xbc&=%+?~-._Z9", true);
    char *all = http_escape("/a", false);

    (void)state;
    assert_string_equal(text, "/a%20b/%C3%BC%26%3D%25%2B%3F~-._Z9");
    assert_string_equal(all, "%2Fa");
    free(text);
    free(all);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gets_status_body_header_and_peer),
        TEST(skips_an_interim_answer),
        TEST(sends_method_body_and_headers),
        TEST(leaves_nothing_of_a_request_in_the_next),
        TEST(posts_without_a_body),
        TEST(refuses_a_line_break_in_a_header),
        TEST(follows_no_redirect_and_says_where_it_leads),
        TEST(an_origin_has_scheme_host_and_port_and_nothing_else),
        TEST(an_error_status_is_an_answer),
        TEST(names_the_peer_that_refuses),
        TEST(tells_broken_answers_apart),
        TEST(gives_up_in_time),
        TEST(resets_the_connection_of_an_abandoned_request),
        TEST(ends_an_answer_that_is_too_long),
        TEST(takes_as_much_as_was_allowed),
        TEST(tells_a_streams_headers_before_it_has_a_body),
        TEST(a_stream_passes_in_bounded_pieces),
        TEST(a_refused_stream_has_its_body_in_the_result),
        TEST(a_stream_ends_with_the_error_of_its_data_callback),
        TEST(a_request_may_be_freed_from_its_own_done),
        TEST(a_stream_may_be_freed_from_its_own_data),
        TEST(a_request_may_be_freed_from_anothers_done),
        TEST(a_finished_request_that_is_freed_is_not_called),
        TEST(everything_may_be_freed_from_done),
        TEST(everything_may_be_freed_from_data),
        TEST(a_request_may_be_started_from_done),
        TEST(a_request_that_is_freed_is_not_called),
        TEST(keeps_its_connection),
        TEST(opens_no_more_connections_than_allowed),
        TEST(uses_no_proxy_from_the_environment),
        TEST(talks_to_a_unix_socket),
        TEST(escapes_for_urls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
