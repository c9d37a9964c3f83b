#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "etcd/etcd.h"
#include "etcd/redirect.h"
#include "unit/fake_http.h"

typedef struct Seen Seen;

struct Seen {
    unsigned done;
    int error;
    long status;
    char body[2048], error_text[1024];
    EtcdRequest *request;
    void (*act)(Seen *seen);
};

/* Two members, each with an answer of its own; NULL: closes the connection. */
typedef struct Member {
    FakeServer *server;
    const char *status, *body;
    const char *location; /* the header of a redirect, or NULL */
    const char *machines; /* what /v2/machines answers, or NULL: as all else */
    bool silent; /* does not answer */
    FakeConnection *asked[2]; /* while it was silent */
    size_t n_asked;
} Member;

static sd_event *event;
static Member members[2];
static Etcd *etcd;
static char request_text[4096];

static void answer(FakeConnection *connection, const char *request)
{
    Member *member = connection->server->userdata;

    snprintf(request_text, sizeof(request_text), "%s", request);
    if (member->silent)
        member->asked[member->n_asked++ % 2] = connection;
    else if (member->machines && strncmp(request, "GET /v2/machines ", 17) == 0)
        fake_answer(connection, "200 OK", "", member->machines);
    else if (member->status && member->location)
        fake_answer(connection, member->status, member->location, member->body);
    else if (member->status)
        fake_answer(connection, member->status, "", member->body);
    else
        fake_close(connection);
}

static void on_done(void *userdata, const HttpResult *result)
{
    Seen *seen = userdata;

    seen->done++;
    seen->error = result->error;
    seen->status = result->status;
    snprintf(seen->body, sizeof(seen->body), "%s", result->body);
    snprintf(seen->error_text, sizeof(seen->error_text), "%s", result->error_text);
    if (seen->act)
        seen->act(seen);
}

static int set_up(void **state)
{
    (void)state;
    assert_true(sd_event_new(&event) >= 0);
    for (size_t i = 0; i < 2; i++) {
        members[i] = (Member){ .status = "200 OK", .body = i == 0 ? "first" : "second" };
        members[i].server = fake_new(event, NULL, answer, &members[i]);
    }
    char *endpoints[] = { members[0].server->url, members[1].server->url };
    EtcdConfig config = { .endpoints = endpoints, .n_endpoints = 2, .user = "me", .password = "secret" };
    return etcd_new(&etcd, event, &config);
}

static int tear_down(void **state)
{
    (void)state;
    etcd = etcd_free(etcd);
    for (size_t i = 0; i < 2; i++)
        fake_free(members[i].server);
    event = sd_event_unref(event);
    return 0;
}

static void ask(Seen *seen, const EtcdSpec *more)
{
    EtcdSpec spec = more ? *more : (EtcdSpec){ .method = "POST", .body = "{}" };

    spec.path = "/x";
    assert_int_equal(etcd_request(etcd, &spec, on_done, seen, &seen->request), 0);
    assert_int_equal(seen->done, 0);
    while (seen->done == 0)
        assert_true(sd_event_run(event, 10 * 1000 * 1000) > 0);
    assert_int_equal(seen->done, 1);
}

/* One answer after each failure, then nothing more. */
static void expect_asked(unsigned first, unsigned second)
{
    assert_int_equal(members[0].server->requests, first);
    assert_int_equal(members[1].server->requests, second);
}

static void asks_the_first_one_as_long_as_it_answers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        Seen seen = { 0 };
        ask(&seen, NULL);
        assert_string_equal(seen.body, "first");
    }
    expect_asked(3, 0);
}

static void stays_with_the_one_that_works(void **state)
{
    Seen seen = { 0 }, next = { 0 };

    (void)state;
    members[0].status = NULL;
    ask(&seen, NULL);
    assert_int_equal(seen.error, 0);
    assert_string_equal(seen.body, "second");
    assert_string_equal(etcd_endpoint(etcd), members[1].server->url);
    members[0].status = "200 OK";
    unsigned before = members[0].server->requests;
    ask(&next, NULL);
    assert_string_equal(next.body, "second");
    assert_int_equal(members[0].server->requests, before);
}

/* The first one hangs; one request gives it up, and another gets its answer after all. */
static void a_late_answer_does_not_lead_back(void **state)
{
    Seen late = { 0 }, moved = { 0 };
    EtcdSpec spec = { .method = "GET", .path = "/" };

    (void)state;
    members[0].silent = true;
    assert_int_equal(etcd_request(etcd, &spec, on_done, &late, &late.request), 0);
    assert_int_equal(etcd_request(etcd, &spec, on_done, &moved, &moved.request), 0);
    while (members[0].n_asked < 2)
        assert_true(sd_event_run(event, 10 * 1000 * 1000) > 0);
    fake_close(members[0].asked[1]);
    while (late.done + moved.done == 0)
        assert_true(sd_event_run(event, 10 * 1000 * 1000) > 0);
    assert_string_equal(etcd_endpoint(etcd), members[1].server->url);
    fake_answer(members[0].asked[0], "200 OK", "", "late");
    while (late.done + moved.done < 2)
        assert_true(sd_event_run(event, 10 * 1000 * 1000) > 0);
    assert_string_equal(late.done > 0 && strcmp(late.body, "late") == 0 ? late.body : moved.body, "late");
    assert_string_equal(etcd_endpoint(etcd), members[1].server->url);
}

static void moves_on_from_a_refused_connection(void **state)
{
    Seen seen = { 0 };
    char *endpoints[] = { "http://127.0.0.1:1", members[1].server->url };
    EtcdConfig config = { .endpoints = endpoints, .n_endpoints = 2 };

    (void)state;
    etcd_free(etcd);
    assert_int_equal(etcd_new(&etcd, event, &config), 0);
    ask(&seen, NULL);
    assert_string_equal(seen.body, "second");
}

static void moves_on_from_a_server_error(void **state)
{
    Seen seen = { 0 };

    (void)state;
    members[0].status = "503 Service Unavailable";
    ask(&seen, NULL);
    assert_int_equal(seen.status, 200);
    expect_asked(1, 1);
}

static void moves_on_from_a_member_without_leader(void **state)
{
    static const char *const bodies[] = {
        "{\"error\":{\"code\":14,\"message\":\"etcdserver: no leader\"}}",
        "{\"error\":\"etcdserver: leader changed\",\"code\":14}",
        "{\"error\":\"etcdserver: request timed out\",\"code\":14}",
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        Seen seen = { 0 };
        members[0].status = i == 0 ? "200 OK" : "400 Bad Request";
        members[0].body = bodies[i];
        members[1].status = "200 OK";
        members[1].body = "second";
        ask(&seen, NULL);
        assert_string_equal(seen.body, "second");
        /* Back to the first one for the next round. */
        Seen back = { 0 };
        members[0].status = "200 OK";
        members[0].body = "first";
        members[1].status = NULL;
        ask(&back, NULL);
        assert_string_equal(back.body, "first");
    }
}

static void does_not_read_a_value_as_an_error(void **state)
{
    Seen seen = { 0 };

    (void)state;
    members[0].body = "{\"node\":{\"value\":\"etcdserver: no leader\"}}";
    ask(&seen, NULL);
    expect_asked(1, 0);
}

static void a_refusal_is_an_answer(void **state)
{
    Seen seen = { 0 };

    (void)state;
    members[0].status = "403 Forbidden";
    members[0].body = "{\"code\":7}";
    ask(&seen, NULL);
    assert_int_equal(seen.status, 403);
    assert_string_equal(seen.body, "{\"code\":7}");
    expect_asked(1, 0);
}

static void asks_each_once_and_names_all_that_failed(void **state)
{
    Seen seen = { 0 };

    (void)state;
    members[0].status = members[1].status = NULL;
    ask(&seen, NULL);
    assert_int_equal(seen.error, -ECONNRESET);
    assert_non_null(strstr(seen.error_text, members[0].server->url));
    assert_non_null(strstr(seen.error_text, members[1].server->url));
    expect_asked(1, 1);
}

static void hands_over_the_whole_answer_when_the_others_gave_none(void **state)
{
    Seen seen = { 0 };

    (void)state;
    members[0].status = "503 Service Unavailable";
    members[0].body = "no leader";
    members[1].status = NULL;
    ask(&seen, NULL);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.status, 503);
    assert_string_equal(seen.body, "no leader");
}

static void asks_no_other_endpoint_after_an_answer_that_is_too_long(void **state)
{
    Seen seen = { 0 };
    EtcdSpec spec = { .method = "GET", .body_max = 3 };

    (void)state;
    ask(&seen, &spec);
    assert_int_equal(seen.error, -EMSGSIZE);
    expect_asked(1, 0);
}

static void sends_the_password_with_forms_only(void **state)
{
    Seen json = { 0 }, form = { 0 }, token = { 0 };
    EtcdSpec spec = { .method = "PUT", .body = "a=b", .form = true };

    (void)state;
    ask(&json, NULL);
    assert_null(strstr(request_text, "Authorization"));
    assert_non_null(strstr(request_text, "Content-Type: application/json\r\n"));
    ask(&form, &spec);
    assert_non_null(strstr(request_text, "Authorization: Basic bWU6c2VjcmV0\r\n"));
    assert_non_null(strstr(request_text, "Content-Type: application/x-www-form-urlencoded\r\n"));
    spec = (EtcdSpec){ .method = "POST", .body = "{}", .authorization = "token.1" };
    ask(&token, &spec);
    assert_non_null(strstr(request_text, "Authorization: token.1\r\n"));
}

static void redirect_to(Member *member, char location[256], const char *url)
{
    snprintf(location, 256, "Location: %s/x\r\n", url);
    member->status = "307 Temporary Redirect";
    member->location = location;
}

static const EtcdSpec form = { .method = "PUT", .body = "a=b", .form = true };

static void follows_a_redirect_to_another_endpoint(void **state)
{
    Seen seen = { 0 }, json = { 0 };
    char location[256];

    (void)state;
    redirect_to(&members[0], location, members[1].server->url);
    ask(&seen, &form);
    assert_int_equal(seen.status, 200);
    assert_string_equal(seen.body, "second");
    assert_memory_equal(request_text, "PUT /x ", 7);
    assert_non_null(strstr(request_text, "\r\n\r\na=b"));
    expect_asked(1, 1);
    ask(&json, NULL);
    assert_int_equal(json.status, 307); /* v3 knows no redirect */
}

/* The second member is not among the endpoints. */
static void with_one_endpoint(void)
{
    char *endpoints[] = { members[0].server->url };
    EtcdConfig config = { .endpoints = endpoints, .n_endpoints = 1, .user = "me", .password = "secret" };

    etcd = etcd_free(etcd);
    assert_int_equal(etcd_new(&etcd, event, &config), 0);
}

static void follows_a_redirect_to_a_member_that_the_cluster_lists(void **state)
{
    char location[256], machines[512];

    (void)state;
    with_one_endpoint();
    redirect_to(&members[0], location, members[1].server->url);
    snprintf(machines, sizeof(machines), "%s, %s", members[0].server->url, members[1].server->url);
    members[0].machines = machines;
    for (unsigned i = 0; i < 2; i++) {
        Seen seen = { 0 };
        ask(&seen, &form);
        assert_string_equal(seen.body, "second");
    }
    expect_asked(3, 2); /* the list is read once */
}

static void sends_nothing_to_a_host_that_the_cluster_does_not_list(void **state)
{
    Seen seen = { 0 };
    char location[256];

    (void)state;
    with_one_endpoint();
    redirect_to(&members[0], location, members[1].server->url);
    members[0].machines = members[0].server->url;
    ask(&seen, &form);
    assert_int_equal(seen.error, -EPERM);
    assert_non_null(strstr(seen.error_text, members[1].server->url));
    assert_non_null(strstr(seen.error_text, "neither in --etcd nor in the cluster's own list of members"));
    expect_asked(2, 0);
}

static void ends_a_circle_of_redirects(void **state)
{
    Seen seen = { 0 };
    char location[256];

    (void)state;
    with_one_endpoint();
    redirect_to(&members[0], location, members[0].server->url);
    ask(&seen, &form);
    assert_int_equal(seen.error, -EPERM);
    assert_non_null(strstr(seen.error_text, "one redirect too many"));
    expect_asked(4, 0);
}

static void a_refused_redirect_leaves_the_other_endpoints(void **state)
{
    Seen seen = { 0 };
    char location[256];

    (void)state;
    redirect_to(&members[0], location, "http://127.0.0.1:1");
    members[0].machines = "";
    ask(&seen, &form);
    assert_string_equal(seen.body, "second");
}

static void judges_where_a_redirect_leads(void **state)
{
    (void)state;
    assert_true(redirect_is_weaker("https://a:1", "http://a:1"));
    assert_true(redirect_is_weaker("HTTPS://a:1", "http://a:1"));
    assert_false(redirect_is_weaker("https://a:1", "https://b:1"));
    assert_false(redirect_is_weaker("http://a:1", "https://b:1"));
    assert_true(redirect_is_listed("http://a:1, http://B:2/", "http://b:2"));
    assert_true(redirect_is_listed("http://a", "http://a:80"));
    assert_false(redirect_is_listed("https://a:1", "http://a:1"));
    assert_false(redirect_is_listed("http://a:11,http://a.b:1,nonsense,", "http://a:1"));
    assert_false(redirect_is_listed("", "http://a:1"));
}

static void knows_where_the_answer_came_from(void **state)
{
    Seen seen = { 0 };
    struct sockaddr_storage remote;

    (void)state;
    assert_false(etcd_remote(etcd, &remote));
    ask(&seen, NULL);
    assert_true(etcd_remote(etcd, &remote));
    assert_int_equal(remote.ss_family, AF_INET);
    assert_int_equal(((struct sockaddr_in *)&remote)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
}

static void free_request(Seen *seen)
{
    seen->request = etcd_request_free(seen->request);
}

static void free_all(Seen *seen)
{
    (void)seen;
    etcd = etcd_free(etcd);
}

static void may_be_freed_from_done(void **state)
{
    Seen seen = { .act = free_request }, all = { .act = free_all };

    (void)state;
    ask(&seen, NULL);
    ask(&all, NULL);
    while (sd_event_run(event, 0) > 0)
        ;
}

static void calls_no_freed_request(void **state)
{
    Seen seen = { 0 };
    EtcdSpec spec = { .method = "GET", .path = "/" };

    (void)state;
    assert_int_equal(etcd_request(etcd, &spec, on_done, &seen, &seen.request), 0);
    seen.request = etcd_request_free(seen.request);
    while (sd_event_run(event, 0) > 0)
        ;
    assert_int_equal(seen.done, 0);
}

static void refuses_to_be_without_endpoints(void **state)
{
    Etcd *none = NULL;
    EtcdConfig config = { 0 };

    (void)state;
    assert_int_equal(etcd_new(&none, event, &config), -EINVAL);
    assert_null(none);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(asks_the_first_one_as_long_as_it_answers),
        TEST(stays_with_the_one_that_works),
        TEST(a_late_answer_does_not_lead_back),
        TEST(moves_on_from_a_refused_connection),
        TEST(moves_on_from_a_server_error),
        TEST(moves_on_from_a_member_without_leader),
        TEST(does_not_read_a_value_as_an_error),
        TEST(a_refusal_is_an_answer),
        TEST(asks_each_once_and_names_all_that_failed),
        TEST(hands_over_the_whole_answer_when_the_others_gave_none),
        TEST(asks_no_other_endpoint_after_an_answer_that_is_too_long),
        TEST(sends_the_password_with_forms_only),
        TEST(follows_a_redirect_to_another_endpoint),
        TEST(follows_a_redirect_to_a_member_that_the_cluster_lists),
        TEST(sends_nothing_to_a_host_that_the_cluster_does_not_list),
        TEST(ends_a_circle_of_redirects),
        TEST(a_refused_redirect_leaves_the_other_endpoints),
        TEST(judges_where_a_redirect_leads),
        TEST(knows_where_the_answer_came_from),
        TEST(may_be_freed_from_done),
        TEST(calls_no_freed_request),
        TEST(refuses_to_be_without_endpoints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
