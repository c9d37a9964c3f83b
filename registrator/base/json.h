/* What cJSON lacks for our purposes: 64-bit integers, and members that may be absent or of another type. */
#pragma once

#include "base/cleanup.h"

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

DEFINE_CLEANUP(cJSON, cJSON_Delete)
#define CLEANUP_JSON CLEANUP(cJSON_Delete_p)

/* The first JSON value of the text; what follows it is ignored. -EBADMSG if there is none. */
int json_parse(cJSON **ret, const char *text, size_t size);

/* An object with nothing but blanks behind it, up to size or a NUL. -EBADMSG: anything else. */
int json_parse_object(cJSON **ret, const char *text, size_t size);

/* Members of an object. All of them take NULL and anything that is not an object for an empty object. */
const cJSON *json_get(const cJSON *object, const char *name);
/* NULL unless it is a string. */
const char *json_string(const cJSON *object, const char *name);
/* A number, or a string that is one: in strings etcd writes 64-bit integers, which a double cannot hold. */
int64_t json_int64(const cJSON *object, const char *name, int64_t fallback);

/* Take the item, in any case: without memory, or without something to add it to, it is freed. */
void json_append(cJSON *array, cJSON *item);
void json_set(cJSON *object, const char *name, cJSON *item);
/* A text from anywhere, made printable: what is not UTF-8 would be no JSON, and terminals obey the control characters that
 * JSON lets through. NULL: the object gets no such member. */
void json_set_text(cJSON *object, const char *name, const char *text);
