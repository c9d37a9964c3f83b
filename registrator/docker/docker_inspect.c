/* Inspects: some slots take the oldest questions, other slots take early questions. */
#include "docker/docker_private.h"
#include "docker/image_ports.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
    INSPECT_MAX = 4 * 1024 * 1024, /* bytes of one inspect's answer */
    INSPECT_TIMEOUT_MS = 10000,
    INSPECT_SLOW_US = 1000000, /* an inspect that takes longer hangs, and another inspect may take its slot */
};

static unsigned *count_of(Inspect *inspect)
{
    return inspect->early ? &inspect->docker->n_early : &inspect->docker->n_inspects;
}

static void inspect_free(Inspect *inspect)
{
    Docker *docker = inspect->docker;

    TAILQ_REMOVE(&docker->inspects, inspect, link);
    *count_of(inspect) -= 1;
    docker->n_slow -= inspect->slow;
    http_request_free(inspect->request);
    container_free(inspect->container);
    free(inspect);
}

void docker_drop_inspects(Docker *docker)
{
    while (!TAILQ_EMPTY(&docker->inspects))
        inspect_free(TAILQ_FIRST(&docker->inspects));
}

static void inspect_finish(Inspect *inspect, int error)
{
    Docker *docker = inspect->docker;
    DockerQuestion question = inspect->question;
    Container *container = error == 0 ? TAKE_PTR(inspect->container) : NULL;

    inspect->request = NULL; /* freed by http after this call */
    inspect_free(inspect);
    docker_pull(docker);
    docker->handlers.inspected(docker->userdata, question.id, question.ticket, container, error);
    docker_pull(docker);
}

static int answer_error(const HttpResult *result)
{
    if (result->error != 0)
        return result->error;
    return result->status == 404 ? -ENOENT : result->status != 200 ? -EREMOTEIO : 0;
}

static void on_image_done(void *userdata, const HttpResult *result)
{
    Inspect *inspect = userdata;
    int error = answer_error(result);

    if (error == 0)
        error = image_ports_read(inspect->container, result->body, result->body_size);
    /* The image of a running container may have been deleted. Then only labels name the container's ports. */
    inspect_finish(inspect, error == -ENOENT ? 0 : error);
}

static int ask_image(Inspect *inspect)
{
    char path[96];

    (void)snprintf(path, sizeof(path), "/images/%s/json", inspect->container->image_id);
    return docker_get(inspect->docker, path, &(HttpSpec){ .timeout_ms = INSPECT_TIMEOUT_MS, .body_max = INSPECT_MAX },
                      on_image_done, inspect, &inspect->request);
}

static void on_inspect_done(void *userdata, const HttpResult *result)
{
    Inspect *inspect = userdata;
    int error = answer_error(result);

    if (error == 0)
        error = container_from_inspect(&inspect->container, result->body, result->body_size, inspect->docker->labels);
    if (error == 0 && strcmp(inspect->container->id, inspect->question.id) != 0)
        error = -EBADMSG;
    if (error == 0 && inspect->container->image_id) {
        error = ask_image(inspect);
        if (error >= 0)
            return;
    }
    inspect_finish(inspect, error);
}

static int docker_inspect(Docker *docker, const DockerQuestion *question, bool early)
{
    Inspect *inspect = calloc(1, sizeof(*inspect));
    char path[96];
    int r;

    if (!inspect)
        return -ENOMEM;
    inspect->docker = docker;
    inspect->early = early;
    inspect->question = *question;
    (void)snprintf(path, sizeof(path), "/containers/%s/json", question->id);
    r = docker_get(docker, path, &(HttpSpec){ .timeout_ms = INSPECT_TIMEOUT_MS, .body_max = INSPECT_MAX },
                   on_inspect_done, inspect, &inspect->request);
    if (r < 0) {
        free(inspect);
        return r;
    }
    inspect->begin_us = loop_now_us(docker->event, CLOCK_MONOTONIC);
    TAILQ_INSERT_TAIL(&docker->inspects, inspect, link);
    *count_of(inspect) += 1;
    if (!early && docker->n_inspects == docker->n_slow + 1)
        timer_arm(&docker->slow, INSPECT_SLOW_US);
    return 0;
}

static bool has_slot(const Docker *docker, bool early)
{
    if (docker->state != DOCKER_LIVE)
        return false;
    if (early)
        return docker->n_early < EARLY_MAX;
    return docker->n_inspects - docker->n_slow < INSPECTS_AT_ONCE && docker->n_inspects < INSPECTS_MAX;
}

static void pull(Docker *docker, bool early)
{
    DockerQuestion question;

    while (has_slot(docker, early) && docker->handlers.next_inspect(docker->userdata, early, &question)) {
        int r = docker_inspect(docker, &question, early);

        if (r < 0) {
            docker->handlers.inspected(docker->userdata, question.id, question.ticket, NULL, r);
            return;
        }
    }
}

void docker_pull(Docker *docker)
{
    pull(docker, false);
    pull(docker, true);
}

/* An inspect that hangs must not delay the other inspects. */
void docker_on_slow(void *userdata)
{
    Docker *docker = userdata;
    uint64_t now = loop_now_us(docker->event, CLOCK_MONOTONIC);
    Inspect *inspect;

    TAILQ_FOREACH (inspect, &docker->inspects, link) {
        if (inspect->slow || inspect->early)
            continue;
        if (now - inspect->begin_us < INSPECT_SLOW_US) {
            timer_arm(&docker->slow, INSPECT_SLOW_US - (now - inspect->begin_us));
            break;
        }
        inspect->slow = true;
        docker->n_slow++;
    }
    docker_pull(docker);
}
