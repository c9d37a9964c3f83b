#include "etcd/etcd2_message.h"

#include "http/http.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

char *etcd2_build_path(const char *key, const char *query)
{
    CLEANUP_FREE char *escaped = http_escape(key, true);

    return escaped
               ? text_format("/v2/keys%s%s%s%s", *key == '/' ? "" : "/", escaped, query ? "?" : "", query ? query : "")
               : NULL;
}

char *etcd2_build_delete_path(const char *key, const char *previous, uint64_t index)
{
    CLEANUP_FREE char *escaped = http_escape(previous, false);
    CLEANUP_FREE char *query = NULL;

    if (!escaped)
        return NULL;
    query = index > 0 ? text_format("prevValue=%s&prevIndex=%" PRIu64, escaped, index)
                      : text_format("prevValue=%s", escaped);
    return query ? etcd2_build_path(key, query) : NULL;
}

static int put_field(FILE *out, const char *name, const char *value)
{
    CLEANUP_FREE char *escaped = http_escape(value, false);

    if (!escaped)
        return -ENOMEM;
    fprintf(out, "&%s=%s", name, escaped);
    return 0;
}

char *etcd2_build_form(const Etcd2Put *put)
{
    TextStream stream;
    FILE *out = text_stream_open(&stream);
    CLEANUP_FREE char *text = NULL;
    int r = 0;

    if (!out)
        return NULL;
    fprintf(out, "ttl=%u", put->ttl_s);
    if (put->value)
        r = put_field(out, "value", put->value);
    else
        fputs("&refresh=true", out);
    if (r == 0 && put->prev_value)
        r = put_field(out, "prevValue", put->prev_value);
    if (put->prev_index > 0)
        fprintf(out, "&prevIndex=%" PRIu64, put->prev_index);
    if (put->prev_absent)
        fputs("&prevExist=false", out);
    text = text_stream_close(&stream, out);
    return r < 0 ? NULL : TAKE_PTR(text);
}

Etcd2Error etcd2_parse_error(const cJSON *json, long status, const char **ret_message)
{
    const char *message = json_string(json, "message");
    int64_t code = json_int64(json, "errorCode", 0);

    *ret_message = message ? message : "";
    if (code > 0 && code < ETCD2_OTHER)
        return (Etcd2Error)code;
    return status >= 200 && status < 300 ? ETCD2_OK : ETCD2_OTHER;
}

uint64_t etcd2_find_index(const char *body)
{
    static const char name[] = ",\"modifiedIndex\":";
    /* No string in JSON contains this text, because a backslash would precede the quotation mark. The node precedes
     * prevNode. */
    const char *found = strstr(body, name);

    return found ? strtoull(found + strlen(name), NULL, 10) : 0;
}

int etcd2_parse_node(const cJSON *json, Etcd2Node *ret)
{
    const cJSON *node = json_get(json, "node");
    const char *value = json_string(node, "value");

    if (!cJSON_IsObject(node))
        return -EBADMSG;
    *ret = (Etcd2Node){
        .is_directory = cJSON_IsTrue(json_get(node, "dir")),
        .has_ttl = json_get(node, "ttl"),
        .revision = (uint64_t)json_int64(node, "modifiedIndex", 0),
        .value = value ? value : "",
    };
    return 0;
}
