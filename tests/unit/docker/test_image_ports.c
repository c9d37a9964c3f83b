/* What a Podman pod's container exposes. */
#include "docker/image_ports.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static Container *inspect(const char *mode, const char *image, const char *exposed, const char *networks)
{
    Container *container = NULL;
    LabelFilter filter = { 0 };
    char body[1024];

    (void)snprintf(body, sizeof(body),
                   "{\"Id\":\"" ID "\",\"Name\":\"/web\",\"Image\":%s,\"State\":{\"Running\":true},"
                   "\"HostConfig\":{\"NetworkMode\":\"%s\"},\"Config\":{\"Image\":\"app:1\",\"ExposedPorts\":%s},"
                   "\"NetworkSettings\":{\"Ports\":{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}],"
                   "\"9090/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"9090\"}]},\"Networks\":%s}}",
                   image, mode, exposed, networks);
    assert_int_equal(container_from_inspect(&container, body, strlen(body), &filter), 0);
    return container;
}

static void test_which_images_are_asked(void **state)
{
    static const char member[] = "container:" ID, podman[] = "{\"podman\":{\"IPAddress\":\"198.51.100.2\"}}";
    static const struct {
        const char *mode, *image, *exposed, *networks;
        const char *asked;
    } cases[] = {
        { member, "\"sha256:" ID "\"", "null", podman, ID },
        { member, "\"" ID "\"", "{}", podman, ID },
        { member, "\"" ID "\"", "{\"80/tcp\":{}}", podman, NULL }, /* the inspect tells */
        { "bridge", "\"" ID "\"", "null", podman, NULL }, /* no member of a pod */
        { member, "\"" ID "\"", "null", "{}", NULL }, /* Docker: it shows nothing of the other's network */
        { member, "\"../build?remote=x\"", "null", podman, NULL },
        { member, "\"sha256:0123\"", "null", podman, NULL },
        { member, "7", "null", podman, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Container *container = inspect(cases[i].mode, cases[i].image, cases[i].exposed, cases[i].networks);

        if (cases[i].asked)
            assert_string_equal(container->image_id, cases[i].asked);
        else
            assert_null(container->image_id);
        container_free(container);
    }
}

static void test_the_image_tells(void **state)
{
    static const char image[] = "{\"Config\":{\"ExposedPorts\":{\"80/tcp\":{},\"9090/udp\":{}}}}";
    Container *container = inspect("container:" ID, "\"" ID "\"", "null", "{\"podman\":{}}");

    (void)state;
    assert_int_equal(image_ports_read(container, "[]", 2), -EBADMSG);
    assert_int_equal(image_ports_read(container, "{\"Config\":7}", 12), 0);
    assert_int_equal(image_ports_read(container, image, strlen(image)), 0);
    assert_null(container->image_id);
    assert_int_equal(container->n_ports, 2);
    assert_true(container->ports[0].exposed);
    assert_false(container->ports[1].exposed);
    container_free(container);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_images_are_asked),
        cmocka_unit_test(test_the_image_tells),
    };

    return cmocka_run_group_tests_name("image_ports", tests, NULL, NULL);
}
