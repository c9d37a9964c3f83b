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

/* What a field stands for while rendering. NULL or "": no such value; renders as nothing, or as the
 * template's fallback ({label:x?fallback}). label is set with FIELD_LABEL only. An address is given
 * bare. */
typedef const char *(*TemplateLookup)(void *userdata, Field field, const char *label);

/* What becomes of the text that a field stands for. The template's own text, fallbacks included, is
 * taken as it is. Whatever the mode, nothing ever renders to a control character. */
typedef enum TemplateEscape {
    /* Part of one path segment, and a name that haproxy.cfg takes: all but A-Z a-z 0-9 . _ : -
     * becomes '_', each byte for itself; a segment with a field in it that comes out as "", "." or
     * ".." has '_' appended. */
    ESCAPE_KEY,
    /* Part of a line in the configuration of HAProxy, nginx or another consumer, without quotes around it: all but A-Z a-z
     * 0-9 . _ : - / becomes '_', each byte for itself. An IPv6 {address} is put in brackets, unless it stands alone
     * between double quotes. */
    ESCAPE_VALUE,
    /* For a text that is itself a field of another template: control and invisible characters become '_'. */
    ESCAPE_NONE,
} TemplateEscape;

enum { TEMPLATE_TEXT_MAX = 4096 }; /* bytes, of a template and of what it renders to */

/* Syntax: {field}, {label:NAME} with a NAME of A-Z a-z 0-9 . _ / -, each with a filter, a fallback
 * or both:
 *   {field|json}       a quoted and escaped JSON string ("" if there is no value), address bare,
 *                      and not escaped further; in a key, which knows no quotes, the same as {field}
 *   {field|number:1-256}  a decimal number in this range; anything else is no value
 *   {field?text}       text where there is no value; it holds no brace, and may be empty
 *   {field|json?null}  the fallback is taken as it is: not quoted
 * A brace that no letter follows, and one that closes no field, is literal, so that JSON is a
 * template: {"host":{address|json},"port":{port}}. Before a letter a literal brace is doubled:
 * {{a}. Control characters are not allowed.
 * On -EINVAL *ret_error says what is wrong and at which column, counted from 1 (malloc'd). */
int template_compile(Template **ret, const char *text, char **ret_error);
/* Frees; NULL is fine. Returns NULL. */
Template *template_free(Template *template);
DEFINE_CLEANUP(Template, template_free)

/* 0; -ENAMETOOLONG beyond TEMPLATE_TEXT_MAX; -ENOMEM. */
int template_render(const Template *template, TemplateEscape escape, TemplateLookup lookup, void *userdata, char **ret);

/* The texts that fields stand for in a rendered text; begin NULL: the template has no such field. */
typedef struct TemplateMatch {
    struct {
        const char *begin; /* into the text */
        size_t length;
    } fields[FIELD_MAX_];
} TemplateMatch;

/* The way back: is text what the template could render to? Escaped characters stay as they are, {field|json} is given
 * without its quotes, an address without its brackets. If the text can be cut in several ways ({service}-{name}), the
 * later fields get as much as possible. Linear in the text. False: text is none of the template's, or there was no
 * memory. */
bool template_match(const Template *template, const char *text, TemplateMatch *ret);

const char *template_text(const Template *template);
bool template_uses(const Template *template, Field field);

/* The literal text before the first field: "/app/" of "/app/{service}/{name}". Owned by the
 * template. */
const char *template_prefix(const Template *template);

/* Names used as {label:NAME}, each once, owned by the template. */
size_t template_labels(const Template *template, const char *const **ret_names);
