/* Additions to cJSON: 64-bit integers, and members that may be absent or of another type. */
#pragma once

#include "base/cleanup.h"

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

DEFINE_CLEANUP(cJSON, cJSON_Delete)
#define CLEANUP_JSON CLEANUP(cJSON_Delete_p)

/* Parses the first JSON value of the text, and ignores the rest. 0; -EBADMSG: no JSON value; -ENOMEM. */
int json_parse(cJSON **ret, const char *text, size_t size);

/* Parses an object that only blanks follow, up to size or a NUL. 0; -EBADMSG: any other text; -ENOMEM. */
int json_parse_object(cJSON **ret, const char *text, size_t size);

/* Members of an object. NULL, and any item that is not an object, counts as an empty object. */
const cJSON *json_get(const cJSON *object, const char *name);
/* NULL: not a string. */
const char *json_string(const cJSON *object, const char *name);
/* A number, or a string with a number: etcd writes 64-bit integers as strings, because a double cannot hold them. */
int64_t json_int64(const cJSON *object, const char *name, int64_t fallback);

/* Takes the item in all cases. Frees the item without memory, or without an array to add it to. */
void json_append(cJSON *array, cJSON *item);
void json_set(cJSON *object, const char *name, cJSON *item);
/* Adds any text, made printable. JSON allows only UTF-8, and terminals obey control characters, which JSON allows.
 * NULL: adds no member. */
void json_set_text(cJSON *object, const char *name, const char *text);
