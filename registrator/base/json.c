#include "base/json.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int json_parse(cJSON **ret, const char *text, size_t size)
{
    cJSON *json = cJSON_ParseWithLength(text, size);

    if (!json)
        return -EBADMSG;
    *ret = json;
    return 0;
}

int json_parse_object(cJSON **ret, const char *text, size_t size)
{
    const char *end = text;
    CLEANUP_JSON cJSON *root = cJSON_ParseWithLengthOpts(text, size, &end, false);

    if (!cJSON_IsObject(root))
        return -EBADMSG;
    for (; end < text + size && *end != '\0'; end++)
        if (!strchr(" \t\r\n", *end))
            return -EBADMSG;
    *ret = TAKE_PTR(root);
    return 0;
}

const cJSON *json_get(const cJSON *object, const char *name)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

const char *json_string(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(json_get(object, name));
}

int64_t json_int64(const cJSON *object, const char *name, int64_t fallback)
{
    const cJSON *item = json_get(object, name);

    if (!item)
        return fallback;
    if (cJSON_IsNumber(item)) {
        const double exact = 9007199254740992.0; /* 2^53 */
        if (item->valuedouble < -exact || item->valuedouble > exact)
            return fallback;
        return (int64_t)item->valuedouble;
    }
    if (cJSON_IsString(item)) {
        char *end;
        errno = 0;
        long long value = strtoll(item->valuestring, &end, 10);
        if (errno == 0 && end != item->valuestring && *end == '\0')
            return value;
    }
    return fallback;
}

void json_append(cJSON *array, cJSON *item)
{
    if (!cJSON_AddItemToArray(array, item))
        cJSON_Delete(item);
}

void json_set(cJSON *object, const char *name, cJSON *item)
{
    if (!cJSON_AddItemToObject(object, name, item))
        cJSON_Delete(item);
}

void json_set_text(cJSON *object, const char *name, const char *text)
{
    cJSON *string = text ? cJSON_CreateString(text) : NULL;

    if (!string)
        return;
    utf8_make_printable(string->valuestring);
    json_set(object, name, string);
}
