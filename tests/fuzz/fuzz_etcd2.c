/* Answers of etcd's v2 API. Whatever they are, every write is one that etcd refuses where the key is somebody else's,
 * and nothing is written that would stay for ever. */
#include "etcd/etcd2_message.h"
#include "http/http.h"

#include "fuzz.h"
#include "store_driver.h"

#include <string.h>

static bool has_field(const char *form, const char *name)
{
    for (const char *p = form; p; p = strchr(p, '&')) {
        p += *p == '&';
        if (strncmp(p, name, strlen(name)) == 0)
            return true;
    }
    return false;
}

static void check(const EtcdSpec *spec)
{
    if (strcmp(spec->method, "PUT") == 0) {
        if (has_field(spec->body, "dir=true"))
            ENSURE(has_field(spec->body, "prevExist=false"));
        else
            ENSURE(has_field(spec->body, "ttl=30") &&
                   (has_field(spec->body, "prevValue=") || has_field(spec->body, "prevIndex=") ||
                    has_field(spec->body, "prevExist=false")));
    } else if (strcmp(spec->method, "DELETE") == 0)
        ENSURE(strstr(spec->path, "?prevValue="));
    else
        ENSURE(strcmp(spec->method, "GET") == 0 && !spec->body);
}

static void run_ops(const uint8_t *data, size_t size, EtcdVersion version)
{
    static const StoreOp cases[] = {
        { .verb = STORE_ENSURE, .key = "/app/servers/a", .value = "192.0.2.1:80" },
        { .verb = STORE_ENSURE, .key = "/app/servers/a", .value = "192.0.2.1:80", .previous = "192.0.2.1:79" },
        { .verb = STORE_ENSURE,
          .key = "/app/servers/a",
          .value = "192.0.2.1:80",
          .previous = "192.0.2.1:80",
          .attempted = "192.0.2.1:81" },
        { .verb = STORE_REPLACE, .key = "/app/servers/a", .value = "192.0.2.1:80", .revision = 7 },
        { .verb = STORE_REMOVE, .key = "/app/servers/a", .previous = "192.0.2.1:80", .attempted = "192.0.2.1:81" },
        { .verb = STORE_REFRESH, .key = "/app/servers/a", .value = "192.0.2.1:80", .previous = "192.0.2.1:80" },
        { .verb = STORE_PEEK, .key = "/app/servers/a", .value = "192.0.2.1:80" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Drive drive = drive_begin(STORE_V2, version, false, false);
        StoreOp op = cases[i];

        fake_etcd_rewind(data, size, check);
        drive_apply(&drive, &op, 1);
        drive_end(&drive);
    }
}

/* What a form holds is what went in. */
static void ensure_form(const char *value)
{
    CLEANUP_FREE char *form = etcd2_build_form(&(Etcd2Put){ .value = value, .ttl_s = 30, .prev_value = value });
    const char *p = strstr(form, "&value=");

    ENSURE(p);
    for (p += strlen("&value="); *value != '\0'; value++) {
        unsigned c = (unsigned char)*p++;

        ENSURE(c != '&' && c != '=' && c != '+');
        if (c == '%') {
            ENSURE(sscanf(p, "%2x", &c) == 1);
            p += 2;
        }
        ENSURE(c == (unsigned char)*value);
    }
    ENSURE(strncmp(p, "&prevValue=", strlen("&prevValue=")) == 0);
}

static void parse(const char *text, size_t size)
{
    CLEANUP_JSON cJSON *json = NULL;
    const char *message = NULL;
    Etcd2Node node;

    if (json_parse(&json, text, size) < 0)
        return;
    ENSURE((unsigned)etcd2_parse_error(json, 200, &message) <= ETCD2_OTHER && message);
    ENSURE(etcd2_parse_error(json, 412, &message) != ETCD2_OK && message);
    if (etcd2_parse_node(json, &node) == 0)
        ENSURE(node.value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP_FREE char *text = malloc(size + 1);
    Drive drive = drive_begin(STORE_V2, (EtcdVersion){ 0, 0 }, true, false);

    ENSURE(text);
    memcpy(text, data, size);
    text[size] = '\0';
    parse(text, size);
    ensure_form(text);
    /* The first answer is the version's. */
    fake_etcd_rewind(data, size, check);
    drive_open(&drive);
    drive_end(&drive);
    run_ops(data, size, (EtcdVersion){ 2, 3 });
    run_ops(data, size, (EtcdVersion){ 1, 0 });
    return 0;
}
