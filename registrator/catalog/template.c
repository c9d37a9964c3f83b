#include "catalog/template_private.h"

#include "base/grow.h"
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static const char *const field_names[FIELD_MAX_] = {
    [FIELD_SERVICE] = "service",   [FIELD_NAME] = "name", [FIELD_NODE] = "node",
    [FIELD_ADDRESS] = "address",   [FIELD_PORT] = "port", [FIELD_CONTAINER_PORT] = "container_port",
    [FIELD_PROTOCOL] = "protocol", [FIELD_ID] = "id",     [FIELD_IMAGE] = "image",
    [FIELD_LABEL] = "label",
};

bool template_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool template_is_alphanumeric(char c)
{
    return template_is_letter(c) || (c >= '0' && c <= '9');
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

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
    compiler->error = text_format("%s at column %zu", what, (size_t)(at - compiler->text) + 1);
    return compiler->error ? -EINVAL : -ENOMEM;
}

static int add_part(Compiler *compiler, Field field, const char *text, size_t length, Part **ret)
{
    Template *template = compiler->template;
    if (array_grow(&template->parts, template->n_parts, sizeof(Part)) < 0)
        return -ENOMEM;
    Part *part = &template->parts[template->n_parts];
    *part = (Part){ .field = field, .text = strndup(text, length) };
    if (!part->text)
        return -ENOMEM;
    template->n_parts++;
    *ret = part;
    return 0;
}

static bool begins_field(const char *p)
{
    return p[0] == '{' && template_is_letter(p[1]);
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
    while (template_is_alphanumeric(*at) || (*at != '\0' && strchr("._/-", *at)))
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

/* Compiles ":LOW-HIGH" of |number:LOW-HIGH. */
static int compile_range(Compiler *compiler, const char *at, Part *part)
{
    const char *end = *at == ':' ? digits_parse(at + 1, TEMPLATE_NUMBER_MAX, &part->low) : NULL;

    if (end)
        end = *end == '-' ? digits_parse(end + 1, TEMPLATE_NUMBER_MAX, &part->high) : NULL;
    if (!end || part->low > part->high)
        return fail(compiler, at, "The filter number needs a range, as in number:1-256");
    part->number = true;
    compiler->p = end;
    return 0;
}

static int compile_filter(Compiler *compiler, Part *part)
{
    const char *begin = compiler->p + 1;
    size_t length = 0;

    while (template_is_alphanumeric(begin[length]))
        length++;
    if (length == 6 && memcmp(begin, "number", length) == 0)
        return compile_range(compiler, begin + length, part);
    if (length != 4 || memcmp(begin, "json", length) != 0)
        return fail(compiler, begin, "Unknown filter '%.*s' (known: json, number)", length < 40 ? (int)length : 40,
                    begin);
    part->json = true;
    compiler->p = begin + length;
    return 0;
}

static int compile_field(Compiler *compiler)
{
    const char *open = compiler->p, *name = open + 1, *label = "";
    size_t length = 0, label_length = 0;
    while (template_is_alphanumeric(name[length]) || name[length] == '_')
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
