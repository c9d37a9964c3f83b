/* The settings file. */
#include "settings/rules.h"
#include "settings/settings.h"

#include "fuzz.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static int file_fd = -1;
static char file_path[64];

static void file_write(const uint8_t *data, size_t size)
{
    if (file_fd < 0) {
        clearenv();
        file_fd = memfd_create("settings", MFD_CLOEXEC);
        ENSURE(file_fd >= 0);
        snprintf(file_path, sizeof(file_path), "/proc/self/fd/%d", file_fd);
    }
    ENSURE(ftruncate(file_fd, 0) == 0);
    ENSURE(pwrite(file_fd, data, size, 0) == (ssize_t)size);
}

static void ensure_one_line(const char *text)
{
    ENSURE(*text != '\0');
    for (; *text != '\0'; text++)
        ENSURE((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void ensure_sound(const Settings *settings)
{
    size_t n = 0;

    ENSURE(strncmp(settings->docker_url, "unix://", 7) == 0 || strncmp(settings->docker_url, "tcp://", 6) == 0);
    while (settings->etcd_endpoints[n]) {
        const char *url = settings->etcd_endpoints[n++];

        ENSURE(strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0);
        ENSURE(url[strlen(url) - 1] != '/');
        ensure_one_line(url);
    }
    ENSURE(n >= 1 && n <= 16);
    ENSURE(settings->ttl_s >= 5 && settings->ttl_s <= 86400);
    ENSURE(settings->heartbeat_s >= 1 && settings->heartbeat_s <= settings->ttl_s / 2);
    ENSURE(settings->docker_resync_s >= 1);
    ENSURE(settings->n_layouts >= 1 && settings->n_layouts <= LAYOUTS_MAX);
    for (size_t i = 0; i < settings->n_layouts; i++) {
        const Layout *layout = &settings->layouts[i];

        ENSURE(layout->name[0] != '\0' && layout->key && layout->value && layout->service);
        ENSURE(template_uses(layout->key, FIELD_NAME) || template_uses(layout->key, FIELD_ID));
        for (size_t j = 0; j < i; j++)
            ENSURE(strcmp(settings->layouts[j].name, layout->name) != 0);
    }
    ENSURE(settings->node && settings->control);
    ensure_one_line(settings->node);
}

/* Keys must be such as confd takes, whatever the template and the container. */
static void ensure_key(const char *key, const Settings *settings, const char *layout)
{
    size_t i = 0;

    while (i < settings->n_layouts && strcmp(settings->layouts[i].name, layout) != 0)
        i++;
    ENSURE(i < settings->n_layouts);

    const char *prefix = template_prefix(settings->layouts[i].key);

    ENSURE(*prefix != '\0');
    ENSURE(strncmp(key, prefix, strlen(prefix)) == 0);
    ENSURE(!strstr(key, "//") && !strstr(key, "/./") && !strstr(key, "/../"));
    ENSURE(key[strlen(key) - 1] != '/');
    ensure_one_line(key);
}

static void ensure_records(const Settings *settings)
{
    static Label labels[] = { { (char *)"SERVICE_TAGS", (char *)"a \"b\"\n/../.." }, { (char *)"x", (char *)".." } };
    static Port port = { .container_port = 80, .host_port = 8080, .any4 = true };
    static Container container = {
        .id = (char *)"41a74456c5130895dc1a2147976073c3dc3d92492232525c82b7e9a6a869ab91",
        .name = (char *)"..",
        .image = (char *)"sha256:/../..",
        .network_mode = (char *)"default",
        .state = CONTAINER_RUNNING,
        .complete = true,
        .ports = &port,
        .n_ports = 1,
        .metadata = labels,
        .n_metadata = ARRAY_SIZE(labels),
    };
    CLEANUP_FREE const char **names = NULL;
    Records records;
    Rules rules;

    ENSURE(rules_from_settings(&rules, settings, &names) == 0);
    rules.address4 = "192.0.2.1";
    ENSURE(records_from_container(&records, &container, &rules) == 0);
    for (size_t i = 0; i < records.n_items; i++) {
        if (records.items[i].reason != REASON_NONE)
            continue;
        ensure_key(records.items[i].key, settings, records.items[i].layout);
        ensure_one_line(records.items[i].value);
    }
    records_clear(&records);
    for (size_t i = 0; i < settings->n_layouts; i++) {
        CLEANUP_FREE char *directory = rules_directory(&settings->layouts[i], settings->node);

        ENSURE(!directory || !strstr(directory, "/../"));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* With an operand, the files that the settings name are not tried: they could be any of this machine's. */
    char *argv[] = { (char *)"registrator", (char *)"--config", file_path, (char *)"status", NULL };
    Settings *settings = NULL;
    SettingsAction action = SETTINGS_CHECK;
    int first = 0;
    char *error = NULL;

    file_write(data, size);
    int r = settings_load(&settings, 4, argv, &action, &first, &error);
    ENSURE(r == 0 || r == -EINVAL);
    ENSURE((r == 0) == (settings != NULL));
    ENSURE((r == -EINVAL) == (error != NULL));
    if (settings) {
        ENSURE(action == SETTINGS_RUN && first == 3);
        ensure_sound(settings);
        ensure_records(settings);
    } else
        ensure_one_line(error);
    settings_free(settings);
    free(error);
    return 0;
}
