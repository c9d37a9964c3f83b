/* Templates for key, value and service: literal text and {fields}, compiled once. Pure. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum Field {
    FIELD_SERVICE,
    FIELD_NAME,
    FIELD_NODE,
    FIELD_ADDRESS,
    FIELD_PORT,
    FIELD_CONTAINER_PORT,
    FIELD_PROTOCOL,
    FIELD_ID,
    FIELD_IMAGE,
    FIELD_LABEL, /* {label:NAME} */
    FIELD_MAX_,
} Field;

typedef struct Template Template;

/* Returns the value of a field while rendering. NULL or "": no value; the field renders to nothing, or to the
 * template's fallback ({label:x?fallback}). label is set with FIELD_LABEL only. An address is passed without
 * brackets. */
typedef const char *(*TemplateLookup)(void *userdata, Field field, const char *label);

/* How a field's value is escaped. The template's own text, including fallbacks, is not escaped. In every mode, no
 * control character is rendered. */
typedef enum TemplateEscape {
    /* For a part of one path segment, and for a name that haproxy.cfg accepts. Each byte other than A-Z a-z 0-9 . _
     * : - becomes '_'. If a segment with a field would be "", "." or "..", '_' is appended. */
    ESCAPE_KEY,
    /* For a part of an unquoted line in the configuration of HAProxy, nginx or another consumer. Each byte other
     * than A-Z a-z 0-9 . _ : - / becomes '_'. An IPv6 {address} gets brackets, unless it is alone between double
     * quotes. */
    ESCAPE_VALUE,
    /* For a text that becomes a field of another template. Control and invisible characters become '_'. */
    ESCAPE_NONE,
} TemplateEscape;

enum { TEMPLATE_TEXT_MAX = 4096 }; /* bytes, of a template and of a rendered text */

/* Syntax: {field}, {label:NAME} with a NAME of A-Z a-z 0-9 . _ / -. Each field may have a filter, a fallback or
 * both:
 *   {field|json}
 *       a quoted and escaped JSON string ("" without a value). An address has no brackets. In a key, which has no
 *       quotes, the same as {field}
 *   {field|number:1-256}
 *       a decimal number in this range; any other text counts as no value
 *   {field?text}
 *       text if the field has no value; text has no brace and may be empty
 *   {field|json?null}
 *       the fallback is not quoted
 * A brace is literal if no letter follows it, or if it closes no field. So JSON is a template:
 * {"host":{address|json},"port":{port}}. Before a letter, a literal brace is doubled: {{a}. Control characters are
 * not allowed.
 * 0 or -ENOMEM. On -EINVAL, *ret_error names the error and its column, counted from 1. *ret_error is malloc'd. */
int template_compile(Template **ret, const char *text, char **ret_error);
/* Frees. template may be NULL. Returns NULL. */
Template *template_free(Template *template);
DEFINE_CLEANUP(Template, template_free)

/* 0; -ENAMETOOLONG beyond TEMPLATE_TEXT_MAX; -ENOMEM. */
int template_render(const Template *template, TemplateEscape escape, TemplateLookup lookup, void *userdata, char **ret);

/* The parts of a rendered text that come from fields; begin NULL: the template does not have the field. */
typedef struct TemplateMatch {
    struct {
        const char *begin; /* a pointer into the text */
        size_t length;
    } fields[FIELD_MAX_];
} TemplateMatch;

/* The inverse of rendering: could the template have rendered the text? Escaped characters stay escaped. The value of
 * {field|json} comes without its quotes, an address without its brackets. If the text can be cut in several ways
 * ({service}-{name}), the later fields get as much as possible. Takes linear time in the text. Returns false if the
 * template cannot have rendered the text, or if memory runs out. */
bool template_match(const Template *template, const char *text, TemplateMatch *ret);

const char *template_text(const Template *template);
bool template_uses(const Template *template, Field field);

/* The literal text before the first field: "/app/" of "/app/{service}/{name}". Owned by the
 * template. */
const char *template_prefix(const Template *template);

/* Names used as {label:NAME}, each once, owned by the template. */
size_t template_labels(const Template *template, const char *const **ret_names);
