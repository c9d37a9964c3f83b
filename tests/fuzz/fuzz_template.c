/* Templates: the first line is one, the next ones are what its fields stand for. */
#include "catalog/template.h"

#include "fuzz.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

typedef struct Fields {
    char *text; /* owns what the others point into */
    const char *template;
    const char *values[FIELD_MAX_]; /* as they are given */
    const char *plain[FIELD_MAX_]; /* the same, with a harmless text for each that is there */
} Fields;

static const char *lookup(void *userdata, Field field, const char *label)
{
    const char *const *values = userdata;

    ENSURE((unsigned)field < FIELD_MAX_);
    ENSURE((field == FIELD_LABEL) == (label != NULL));
    return values[field];
}

static char *next_line(char **rest)
{
    char *line = strsep(rest, "\n");

    return line ? line : (char *)"";
}

static void fields_read(Fields *ret, const uint8_t *data, size_t size)
{
    char *rest = malloc(size + 1);

    ENSURE(rest);
    memcpy(rest, data, size);
    rest[size] = '\0';
    ret->text = rest;
    ret->template = next_line(&rest);
    for (Field field = 0; field < FIELD_MAX_; field++) {
        ret->values[field] = next_line(&rest);
        ret->plain[field] = *ret->values[field] == '\0' ? NULL : "x";
    }
}

static size_t count(const char *text, char c)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += *text == c;
    return n;
}

static void ensure_one_line(const char *text)
{
    for (const char *p = text; *p != '\0'; p++)
        ENSURE((unsigned char)*p >= 0x20 && *p != 0x7f);
}

/* No field brings in one of these characters: there are as many as with harmless fields. */
static void ensure_none_added(const Template *template, TemplateEscape escape, const Fields *fields, const char *text,
                              const char *characters)
{
    char *plain;
    int r = template_render(template, escape, lookup, (void *)fields->plain, &plain);

    if (r == -ENAMETOOLONG) /* '.' and '..' are longer by a '_'; a plain text is not shorter than "" */
        return;
    ENSURE(r == 0);
    for (; *characters != '\0'; characters++)
        ENSURE(count(text, *characters) == count(plain, *characters));
    free(plain);
}

/* Whatever the text is, the way back stays within it. */
static void ensure_match(const Template *template, const char *text)
{
    TemplateMatch match;

    if (!template_match(template, text, &match))
        return;
    for (Field field = 0; field < FIELD_MAX_; field++) {
        const char *begin = match.fields[field].begin;

        ENSURE((begin != NULL) == template_uses(template, field));
        ENSURE(!begin || (begin >= text && begin + match.fields[field].length <= text + strlen(text)));
    }
}

static void ensure_key(const Template *template, const Fields *fields)
{
    char *text;
    int r = template_render(template, ESCAPE_KEY, lookup, (void *)fields->values, &text);

    ENSURE(r == 0 || r == -ENAMETOOLONG);
    if (r < 0)
        return;
    ensure_one_line(text);
    ensure_match(template, text);
    ENSURE(strncmp(text, template_prefix(template), strlen(template_prefix(template))) == 0);
    if (!strstr(fields->template, "|number"))
        ensure_none_added(template, ESCAPE_KEY, fields, text, "/ \"'`\\#$%?&={}");
    free(text);
}

static void ensure_value(const Template *template, const Fields *fields)
{
    char *text;
    int r = template_render(template, ESCAPE_VALUE, lookup, (void *)fields->values, &text);

    ENSURE(r == 0 || r == -ENAMETOOLONG);
    if (r < 0)
        return;
    ensure_one_line(text);
    if (!strstr(fields->template, "|json") && !strstr(fields->template, "|number"))
        ensure_none_added(template, ESCAPE_VALUE, fields, text, " \"'`\\#$;{}=,%&|<>");
    free(text);
}

static void ensure_none(const Template *template, const Fields *fields)
{
    char *text;

    if (template_render(template, ESCAPE_NONE, lookup, (void *)fields->values, &text) < 0)
        return;
    ensure_one_line(text);
    free(text);
}

/* A template's own text compiles to the same. */
static void ensure_text_stays(const Template *template, const Fields *fields)
{
    Template *again;
    char *error = NULL, *a = NULL, *b = NULL;

    ENSURE(strcmp(template_text(template), fields->template) == 0);
    ENSURE(template_compile(&again, template_text(template), &error) == 0);
    ENSURE(strcmp(template_prefix(again), template_prefix(template)) == 0);
    int r = template_render(template, ESCAPE_VALUE, lookup, (void *)fields->values, &a);
    ENSURE(template_render(again, ESCAPE_VALUE, lookup, (void *)fields->values, &b) == r);
    ENSURE(r < 0 || strcmp(a, b) == 0);
    free(a);
    free(b);
    template_free(again);
}

/* What the filter json makes of a text is JSON, and means the text. */
static void ensure_json(const Fields *fields)
{
    const char *given = fields->values[FIELD_NAME];
    Template *template;
    char *error = NULL, *text;

    ENSURE(template_compile(&template, "{name|json}", &error) == 0);
    int r = template_render(template, ESCAPE_VALUE, lookup, (void *)fields->values, &text);
    template_free(template);
    if (r < 0)
        return;
    cJSON *json = cJSON_ParseWithOpts(text, NULL, true);
    ENSURE(cJSON_IsString(json));
    /* Where the text is not UTF-8, there is U+FFFD. */
    ENSURE(strcmp(json->valuestring, given) == 0 || strstr(json->valuestring, "\xef\xbf\xbd"));
    cJSON_Delete(json);
    ensure_one_line(text);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Fields fields;
    Template *template = NULL;
    char *error = NULL;

    fields_read(&fields, data, size);
    int r = template_compile(&template, fields.template, &error);
    ENSURE(r == 0 || r == -EINVAL);
    ENSURE((r == 0) == (template != NULL));
    ENSURE((r == -EINVAL) == (error != NULL));
    if (template) {
        const char *const *labels;
        size_t n = template_labels(template, &labels);

        ENSURE((n > 0) == template_uses(template, FIELD_LABEL));
        ensure_key(template, &fields);
        ensure_value(template, &fields);
        ensure_match(template, fields.values[FIELD_NAME]);
        ensure_none(template, &fields);
        ensure_text_stays(template, &fields);
    }
    ensure_json(&fields);
    free(error);
    template_free(template);
    free(fields.text);
    return 0;
}
