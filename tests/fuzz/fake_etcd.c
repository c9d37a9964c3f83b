#include "fake_etcd.h"

#include "fuzz.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

enum {
    REPEATS_MAX = 8, /* of the last answer */
    SILENCES_MAX = 64, /* requests that may still come when nothing is answered any more */
};

struct EtcdRequest {
    Etcd *etcd;
    TAILQ_ENTRY(EtcdRequest) link;
    EtcdDoneFn done;
    void *userdata;
};

TAILQ_HEAD(Requests, EtcdRequest);

struct Etcd {
    struct Requests requests;
};

static const char *input, *input_end, *last;
static unsigned repeats, silences;
static FakeEtcdCheckFn check_request;

void fake_etcd_rewind(const uint8_t *data, size_t size, FakeEtcdCheckFn check)
{
    input = last = (const char *)data;
    input_end = input + size;
    repeats = silences = 0;
    check_request = check;
}

/* malloc'd; NULL: no more. */
static char *next_answer(void)
{
    static const char separator[] = "\n--\n";
    const char *end, *begin = input;

    if (input == input_end) {
        if (repeats++ == REPEATS_MAX)
            return NULL;
        begin = last;
    }
    end = memmem(begin, (size_t)(input_end - begin), separator, strlen(separator));
    last = begin;
    input = end ? end + strlen(separator) : input_end;
    if (!end)
        end = input_end;
    char *answer = malloc((size_t)(end - begin) + 1);
    ENSURE(answer);
    memcpy(answer, begin, (size_t)(end - begin));
    answer[end - begin] = '\0';
    return answer;
}

static void result_from_answer(HttpResult *result, char *answer)
{
    char *end;
    long number = strtol(answer, &end, 10);

    *result = (HttpResult){ .error_text = "", .status = 200, .body = answer };
    if (end != answer) {
        result->status = number;
        result->body = end + (*end == ' ' || *end == '\n');
    }
    result->body_size = strlen(result->body);
    /* As etcd.c does: an error, or a whole answer with a status. */
    if (result->status < 100 || result->status > 599) {
        static char nothing[] = "";

        *result = (HttpResult){ .error = number == -EMSGSIZE ? -EMSGSIZE : -ECONNREFUSED,
                                .error_text = "refused",
                                .body = nothing };
    }
}

bool fake_etcd_answer(Etcd *etcd)
{
    EtcdRequest *request = TAILQ_FIRST(&etcd->requests);
    char *answer, silence[] = "-111";
    HttpResult result;

    if (!request)
        return false;
    EtcdDoneFn done = request->done;
    void *userdata = request->userdata;
    etcd_request_free(request);
    answer = next_answer();
    if (!answer)
        ENSURE(silences++ < SILENCES_MAX);
    result_from_answer(&result, answer ? answer : silence);
    done(userdata, &result);
    free(answer);
    return true;
}

/* In place of etcd.c. */

int etcd_new(Etcd **ret, sd_event *event, const EtcdConfig *config)
{
    (void)event;
    (void)config;
    *ret = calloc(1, sizeof(**ret));
    if (!*ret)
        return -ENOMEM;
    TAILQ_INIT(&(*ret)->requests);
    return 0;
}

Etcd *etcd_free(Etcd *etcd)
{
    if (!etcd)
        return NULL;
    while (TAILQ_FIRST(&etcd->requests))
        etcd_request_free(TAILQ_FIRST(&etcd->requests));
    free(etcd);
    return NULL;
}

int etcd_request(Etcd *etcd, const EtcdSpec *spec, EtcdDoneFn done, void *userdata, EtcdRequest **ret)
{
    EtcdRequest *request = calloc(1, sizeof(*request));

    if (!request)
        return -ENOMEM;
    check_request(spec);
    request->etcd = etcd;
    request->done = done;
    request->userdata = userdata;
    TAILQ_INSERT_TAIL(&etcd->requests, request, link);
    if (ret)
        *ret = request;
    return 0;
}

EtcdRequest *etcd_request_free(EtcdRequest *request)
{
    if (!request)
        return NULL;
    TAILQ_REMOVE(&request->etcd->requests, request, link);
    free(request);
    return NULL;
}

const char *etcd_endpoint(const Etcd *etcd)
{
    (void)etcd;
    return "http://192.0.2.2:2379";
}

bool etcd_remote(const Etcd *etcd, struct sockaddr_storage *ret)
{
    (void)etcd;
    (void)ret;
    return false;
}
