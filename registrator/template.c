#include "template.h"

#include "utf8.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

typedef struct Part {
    Field field; /* FIELD_MAX_: literal text */
    bool json;
    bool bare; /* {address} alone between double quotes: no brackets */
    char *text; /* literal, or the label's name */
    char *fallback; /* NULL: none */
} Part;

struct Template {
    char *text;
    char *prefix;
    Part *parts;
    size_t n_parts;
    const char **labels; /* into parts */
    size_t n_labels;
};

static const char *const field_names[FIELD_MAX_] = {
    [FIELD_SERVICE] = "service",   [FIELD_NAME] = "name", [FIELD_NODE] = "node",
    [FIELD_ADDRESS] = "address",   [FIELD_PORT] = "port", [FIELD_CONTAINER_PORT] = "container_port",
    [FIELD_PROTOCOL] = "protocol", [FIELD_ID] = "id",     [FIELD_IMAGE] = "image",
    [FIELD_LABEL] = "label",
};

/* What the locale says of characters does not count here. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alphanumeric(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9');
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* ---- compiling ---- */

typedef struct Compiler {
    Template *template;
    const char *text;
    const char *p;
    char *error;
} Compiler;

__attribute__((format(printf, 3, 4))) static int fail(Compiler *compiler, const char *at, const char *format, ...)
{
    char what[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    if (asprintf(&compiler->error, "%s at column %zu", what, (size_t)(at - compiler->text) + 1) < 0) {
        compiler->error = NULL;
        return -ENOMEM;
    }
    return -EINVAL;
}

static int add_part(Compiler *compiler, Field field, const char *text, size_t length, Part **ret)
{
    Template *template = compiler->template;
    Part *parts = reallocarray(template->parts, template->n_parts + 1, sizeof(*parts));
    if (!parts)
        return -ENOMEM;
    template->parts = parts;
    Part *part = &parts[template->n_parts];
    *part = (Part){ .field = field, .text = strndup(text, length) };
    if (!part->text)
        return -ENOMEM;
    template->n_parts++;
    *ret = part;
    return 0;
}

static bool begins_field(const char *p)
{
    return p[0] == '{' && is_letter(p[1]);
}

static int compile_literal(Compiler *compiler)
{
    const char *begin = compiler->p;
    Part *part;
    if (begin[0] == '{' && begins_field(begin + 1)) {
        compiler->p += 2; /* doubled: the second brace begins no field */
        return add_part(compiler, FIELD_MAX_, begin, 1, &part);
    }
    const char *p = begin;
    while (*p != '\0' && !begins_field(p) && !(p[0] == '{' && begins_field(p + 1)))
        p++;
    compiler->p = p;
    return add_part(compiler, FIELD_MAX_, begin, (size_t)(p - begin), &part);
}

static Field field_from_name(const char *name, size_t length)
{
    for (Field field = 0; field < FIELD_MAX_; field++)
        if (strlen(field_names[field]) == length && memcmp(field_names[field], name, length) == 0)
            return field;
    return FIELD_MAX_;
}

static int compile_label(Compiler *compiler, const char *at, const char **ret, size_t *ret_length)
{
    const char *begin = at;
    while (is_alphanumeric(*at) || (*at != '\0' && strchr("._/-", *at)))
        at++;
    if (at == begin)
        return fail(compiler, at, "{label: is not followed by a label's name");
    *ret = begin;
    *ret_length = (size_t)(at - begin);
    return 0;
}

static int compile_fallback(Compiler *compiler, const char *open, Part *part)
{
    const char *begin = compiler->p + 1;
    size_t length = strcspn(begin, "{}");
    if (begin[length] == '\0')
        return fail(compiler, open, "Brace is not closed");
    if (begin[length] == '{')
        return fail(compiler, begin + length, "A fallback cannot hold a brace");
    part->fallback = strndup(begin, length);
    if (!part->fallback)
        return -ENOMEM;
    compiler->p = begin + length;
    return 0;
}

static int compile_filter(Compiler *compiler, Part *part)
{
    const char *begin = compiler->p + 1;
    size_t length = 0;
    while (is_alphanumeric(begin[length]))
        length++;
    if (length != 4 || memcmp(begin, "json", 4) != 0)
        return fail(compiler, begin, "Unknown filter '%.*s' (known: json)", length < 40 ? (int)length : 40, begin);
    part->json = true;
    compiler->p = begin + length;
    return 0;
}

static int compile_field(Compiler *compiler)
{
    const char *open = compiler->p, *name = open + 1, *label = "";
    size_t length = 0, label_length = 0;
    while (is_alphanumeric(name[length]) || name[length] == '_')
        length++;
    if (name[length] == '\0')
        return fail(compiler, open, "Brace is not closed");
    Field field = field_from_name(name, length);
    if (field == FIELD_MAX_)
        return fail(compiler, name,
                    "Unknown field '%.*s' (known: service, name, node, address, port, "
                    "container_port, protocol, id, "
                    "image, label:NAME)",
                    length < 40 ? (int)length : 40, name);

    compiler->p = name + length;
    if (field == FIELD_LABEL) {
        if (*compiler->p != ':')
            return fail(compiler, compiler->p, "{label needs ':' and a label's name");
        int r = compile_label(compiler, compiler->p + 1, &label, &label_length);
        if (r < 0)
            return r;
        compiler->p = label + label_length;
    }

    Part *part;
    int r = add_part(compiler, field, label, label_length, &part);
    if (r >= 0 && *compiler->p == '|')
        r = compile_filter(compiler, part);
    if (r >= 0 && *compiler->p == '?')
        r = compile_fallback(compiler, open, part);
    if (r < 0)
        return r;
    if (*compiler->p == '\0')
        return fail(compiler, open, "Brace is not closed");
    if (*compiler->p != '}')
        return fail(compiler, compiler->p, "'%c' cannot stand here in {%s}", *compiler->p, field_names[field]);
    compiler->p++;
    return 0;
}

static int compile_parts(Compiler *compiler)
{
    for (const char *p = compiler->text; *p != '\0'; p++)
        if (is_control(*p))
            return fail(compiler, p, "Control character");
    if (strlen(compiler->text) > TEMPLATE_TEXT_MAX)
        return fail(compiler, compiler->text + TEMPLATE_TEXT_MAX, "Longer than %d bytes", TEMPLATE_TEXT_MAX);
    int r = 0;
    while (r >= 0 && *compiler->p != '\0')
        r = begins_field(compiler->p) ? compile_field(compiler) : compile_literal(compiler);
    return r;
}

static bool part_is_literal(const Part *part)
{
    return part->field == FIELD_MAX_;
}

static void find_quoted(Template *template)
{
    for (size_t i = 1; i + 1 < template->n_parts; i++) {
        const Part *before = &template->parts[i - 1], *after = &template->parts[i + 1];
        template->parts[i].bare = part_is_literal(before) && part_is_literal(after) &&
                                  before->text[strlen(before->text) - 1] == '"' && after->text[0] == '"';
    }
}

static int collect_prefix(Template *template)
{
    template->prefix = calloc(1, strlen(template->text) + 1);
    if (!template->prefix)
        return -ENOMEM;
    char *end = template->prefix;
    for (size_t i = 0; i < template->n_parts && part_is_literal(&template->parts[i]); i++)
        end = stpcpy(end, template->parts[i].text);
    return 0;
}

static int collect_labels(Template *template)
{
    template->labels = calloc(template->n_parts + 1, sizeof(*template->labels));
    if (!template->labels)
        return -ENOMEM;
    template->n_labels = 0;
    for (size_t i = 0; i < template->n_parts; i++) {
        size_t known = 0;
        if (template->parts[i].field != FIELD_LABEL || !template->parts[i].text)
            continue;
        while (known < template->n_labels && strcmp(template->labels[known], template->parts[i].text) != 0)
            known++;
        if (known == template->n_labels)
            template->labels[template->n_labels++] = template->parts[i].text;
    }
    return 0;
}

int template_compile(Template **ret, const char *text, char **ret_error)
{
    CLEANUP(template_free_p) Template *template = calloc(1, sizeof(*template));
    if (!template)
        return -ENOMEM;
    template->text = strdup(text);
    if (!template->text)
        return -ENOMEM;
    Compiler compiler = { .template = template, .text = template->text, .p = template->text };
    int r = compile_parts(&compiler);
    if (r == -EINVAL) {
        *ret_error = compiler.error;
        return r;
    }
    if (r >= 0)
        r = collect_prefix(template);
    if (r >= 0)
        r = collect_labels(template);
    if (r < 0)
        return r;
    find_quoted(template);
    *ret = TAKE_PTR(template);
    return 0;
}

Template *template_free(Template *template)
{
    if (!template)
        return NULL;
    for (size_t i = 0; i < template->n_parts; i++) {
        free(template->parts[i].text);
        free(template->parts[i].fallback);
    }
    free(template->parts);
    free(template->labels);
    free(template->prefix);
    free(template->text);
    free(template);
    return NULL;
}

/* ---- rendering ---- */

typedef struct Output {
    char text[TEMPLATE_TEXT_MAX + 1];
    size_t size;
    size_t segment; /* where the path segment that is being written begins */
    bool in_field; /* it has a field in it */
    bool overflow;
} Output;

static void put(Output *output, char c)
{
    if (output->size == TEMPLATE_TEXT_MAX)
        output->overflow = true;
    else
        output->text[output->size++] = c;
}

static void put_text(Output *output, const char *text)
{
    for (; *text != '\0' && !output->overflow; text++)
        put(output, *text);
}

/* Appending, not replacing: what the segment's literal text begins with stays in the key. */
static void end_segment(Output *output)
{
    const char *segment = output->text + output->segment;
    size_t size = output->size - output->segment;
    if (output->in_field && size <= 2 && memcmp(segment, "..", size) == 0)
        put(output, '_');
}

/* in_field: text is a field's fallback, so that all of its segments are. */
static void put_path(Output *output, const char *text, bool in_field)
{
    for (; *text != '\0' && !output->overflow; text++) {
        if (*text != '/') {
            put(output, *text);
            continue;
        }
        end_segment(output);
        put(output, '/');
        output->segment = output->size;
        output->in_field = in_field;
    }
}

static void put_key(Output *output, const char *text)
{
    for (; *text != '\0' && !output->overflow; text++)
        put(output, is_alphanumeric(*text) || strchr("._:-", *text) ? *text : '_');
}

/* Takes characters over as they are, but for those that break a line or are among the forbidden
 * ones. */
static void put_line(Output *output, const char *text, const char *forbidden)
{
    while (*text != '\0' && !output->overflow) {
        uint32_t character = 0;
        size_t length = utf8_length(text, &character);
        bool good = length > 1 ? !utf8_is_control(character)
                               : length == 1 && !utf8_is_control(character) && !strchr(forbidden, *text);
        for (size_t i = 0; i < (length > 0 ? length : 1); i++)
            put(output, good ? text[i] : '_');
        text += length > 0 ? length : 1;
    }
}

static void put_escaped(Output *output, uint32_t character)
{
    char escape[8];
    snprintf(escape, sizeof(escape), "\\u%04x", character);
    put_text(output, escape);
}

static void put_json(Output *output, const char *text)
{
    put(output, '"');
    while (*text != '\0' && !output->overflow) {
        uint32_t character = 0;
        size_t length = utf8_length(text, &character);
        if (length == 0) {
            put_text(output, "\xef\xbf\xbd"); /* U+FFFD */
            text++;
            continue;
        }
        if (utf8_is_control(character)) {
            put_escaped(output, character);
        } else {
            if (character == '"' || character == '\\')
                put(output, '\\');
            for (size_t i = 0; i < length; i++)
                put(output, text[i]);
        }
        text += length;
    }
    put(output, '"');
}

static bool is_ipv6(const char *text)
{
    struct in6_addr address;
    return inet_pton(AF_INET6, text, &address) == 1;
}

static void put_value(Output *output, const Part *part, const char *text)
{
    bool brackets = part->field == FIELD_ADDRESS && !part->bare && is_ipv6(text);
    if (brackets)
        put(output, '[');
    put_line(output, text, " \"'`\\#$");
    if (brackets)
        put(output, ']');
}

static void put_field(Output *output, TemplateEscape escape, const Part *part, const char *text)
{
    bool absent = !text || text[0] == '\0';
    output->in_field = true;
    if (absent && part->fallback) {
        if (escape == ESCAPE_KEY)
            put_path(output, part->fallback, true);
        else
            put_text(output, part->fallback);
    } else if (escape == ESCAPE_KEY) {
        put_key(output, absent ? "" : text);
    } else if (part->json) {
        put_json(output, absent ? "" : text);
    } else if (escape == ESCAPE_VALUE) {
        put_value(output, part, absent ? "" : text);
    } else {
        put_line(output, absent ? "" : text, "");
    }
}

int template_render(const Template *template, TemplateEscape escape, TemplateLookup lookup, void *userdata, char **ret)
{
    Output output;
    output.size = output.segment = 0;
    output.in_field = output.overflow = false;
    for (size_t i = 0; i < template->n_parts && !output.overflow; i++) {
        const Part *part = &template->parts[i];
        if (!part_is_literal(part))
            put_field(&output, escape, part,
                      lookup(userdata, part->field, part->field == FIELD_LABEL ? part->text : NULL));
        else if (escape == ESCAPE_KEY)
            put_path(&output, part->text, false);
        else
            put_text(&output, part->text);
    }
    if (escape == ESCAPE_KEY)
        end_segment(&output);
    if (output.overflow)
        return -ENAMETOOLONG;
    char *text = strndup(output.text, output.size);
    if (!text)
        return -ENOMEM;
    *ret = text;
    return 0;
}

const char *template_text(const Template *template)
{
    return template->text;
}

bool template_uses(const Template *template, Field field)
{
    for (size_t i = 0; i < template->n_parts; i++)
        if (template->parts[i].field == field)
            return true;
    return false;
}

const char *template_prefix(const Template *template)
{
    return template->prefix;
}

size_t template_labels(const Template *template, const char *const **ret_names)
{
    *ret_names = template->labels;
    return template->n_labels;
}
