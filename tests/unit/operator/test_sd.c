/* The targets of Prometheus: what a container without a key of its own adds, and what many ports cost. */
#include "operator/sd.h"

#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* In the place of catalog and publisher: one container; a record with a value is registered. */

static CatalogEntry entry;

CatalogEntry *catalog_first(Catalog *catalog)
{
    (void)catalog;
    return &entry;
}

RecordState status_record_state(const StatusSource *source, const Record *record)
{
    (void)source;
    return record->value ? RECORD_REGISTERED : RECORD_PENDING;
}

enum { PORTS = 1024, LAYOUTS = 16 };

static Port ports[PORTS];
static Record records[PORTS * LAYOUTS];
static Container container = { .name = (char *)"web", .network_mode = (char *)"bridge", .ports = ports };
static char key[] = "/app/servers/web", value[] = "192.0.2.11:1";

/* n ports, published as they are; each has a record in each layout. */
static void make_container(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ports[i] = (Port){ .container_port = (uint16_t)(i + 1), .host_port = (uint16_t)(i + 1), .any4 = true };
        for (size_t k = 0; k < LAYOUTS; k++)
            records[i * LAYOUTS + k] = (Record){ .container_port = (uint16_t)(i + 1), .key = key };
    }
    container.n_ports = n;
    entry = (CatalogEntry){ .container = &container, .records = { .items = records, .n_items = n * LAYOUTS } };
}

static char *targets(void)
{
    Rules rules = { .address4 = "192.0.2.11", .node = "h1" };
    CLEANUP_JSON cJSON *json = sd_json(&(StatusSource){ .node = "h1", .rules = &rules });
    FILE *out;
    char *text = NULL;
    const cJSON *object;
    size_t size;

    assert_non_null(json);
    out = open_memstream(&text, &size);
    assert_non_null(out);
    cJSON_ArrayForEach (object, json) {
        const cJSON *target = cJSON_GetArrayItem(json_get(object, "targets"), 0);

        fprintf(out, "%s ", target ? target->valuestring : "none");
    }
    fclose(out);
    return text;
}

static void each_registered_port_is_a_target(void **state)
{
    CLEANUP_FREE char *text = NULL;

    (void)state;
    make_container(4);
    ports[2].protocol = PROTOCOL_UDP; /* no target, and its records are passed over */
    ports[2].container_port = 2;
    for (size_t k = 0; k < LAYOUTS; k++) {
        records[2 * LAYOUTS + k].protocol = PROTOCOL_UDP;
        records[2 * LAYOUTS + k].container_port = 2;
    }
    records[LAYOUTS - 1].value = records[LAYOUTS].value = records[2 * LAYOUTS].value = value;
    records[4 * LAYOUTS - 1].value = value;
    text = targets();
    assert_string_equal(text, "192.0.2.11:1 192.0.2.11:2 192.0.2.11:4 ");
}

static uint64_t cost_ns(size_t n)
{
    uint64_t best = UINT64_MAX;

    make_container(n);
    records[n * LAYOUTS - 1].value = value;
    for (unsigned i = 0; i < 5; i++) {
        struct timespec begin, end;
        uint64_t ns;

        assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin), 0);
        CLEANUP_FREE char *text = targets();
        assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end), 0);
        assert_non_null(text);
        ns = (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + (uint64_t)end.tv_nsec - (uint64_t)begin.tv_nsec;
        if (ns < best)
            best = ns;
    }
    return best;
}

static void eight_times_the_ports_cost_no_sixty_four_times_as_much(void **state)
{
    uint64_t few = 0, many = UINT64_MAX;

    (void)state;
    /* A busy machine spoils a measurement now and then; a quadratic loop spoils each. */
    for (unsigned tries = 0; tries < 10 && many > few * 20; tries++) {
        few = cost_ns(PORTS / 8);
        many = cost_ns(PORTS);
    }
    if (many > few * 20)
        fail_msg("%d ports: %d us, %d ports: %d us", PORTS / 8, (int)(few / 1000), PORTS, (int)(many / 1000));
}

/* Of `docker compose run`, with one port that names a service, and another port for Prometheus. */
static void the_metrics_port_of_a_one_off_container_is_a_target(void **state)
{
    Label metadata[] = { { (char *)"SERVICE_1_NAME", (char *)"servers" },
                         { (char *)"SERVICE_METRICS_PORT", (char *)"2" },
                         { (char *)"com.docker.compose.oneoff", (char *)"True" } };
    CLEANUP_FREE char *text = NULL;

    (void)state;
    make_container(2);
    records[0].value = value;
    container.metadata = metadata;
    container.n_metadata = ARRAY_SIZE(metadata);
    text = targets();
    container.metadata = NULL;
    container.n_metadata = 0;
    assert_string_equal(text, "192.0.2.11:2 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_registered_port_is_a_target),
        cmocka_unit_test(eight_times_the_ports_cost_no_sixty_four_times_as_much),
        cmocka_unit_test(the_metrics_port_of_a_one_off_container_is_a_target),
    };

    return cmocka_run_group_tests_name("sd", tests, NULL, NULL);
}
