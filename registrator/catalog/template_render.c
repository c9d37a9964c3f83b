#include "catalog/template_private.h"

#include "base/utf8.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

typedef struct Output {
    char text[TEMPLATE_TEXT_MAX + 1];
    size_t size;
    size_t segment; /* where the current path segment begins */
    bool in_field; /* the current segment has a field */
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

/* Appends '_' instead of replacing the segment, so that the segment's literal text stays in the key. */
static void end_segment(Output *output)
{
    const char *segment = output->text + output->segment;
    size_t size = output->size - output->segment;
    if (output->in_field && size <= 2 && memcmp(segment, "..", size) == 0)
        put(output, '_');
}

/* in_field: text is a field's fallback, so all its segments count as segments with a field. */
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

/* Each byte that is neither a letter, nor a digit, nor in allowed becomes '_'. */
static void put_allowed(Output *output, const char *text, const char *allowed)
{
    for (; *text != '\0' && !output->overflow; text++)
        put(output, template_is_alphanumeric(*text) || strchr(allowed, *text) ? *text : '_');
}

/* Copies all characters except line breaks and invisible characters. */
static void put_line(Output *output, const char *text)
{
    while (*text != '\0' && !output->overflow) {
        uint32_t character = 0;
        size_t length = utf8_length(text, &character), size = length > 0 ? length : 1;
        bool good = length > 0 && !utf8_is_invisible(character);

        for (size_t i = 0; i < size; i++)
            put(output, good ? text[i] : '_');
        text += size;
    }
}

/* JSON escapes a character in UTF-16. */
static void put_escaped(Output *output, uint32_t character)
{
    char escape[32];

    if (character < 0x10000)
        snprintf(escape, sizeof(escape), "\\u%04x", character);
    else
        snprintf(escape, sizeof(escape), "\\u%04x\\u%04x", 0xd800 + ((character - 0x10000) >> 10),
                 0xdc00 + (character & 0x3ff));
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
        if (utf8_is_invisible(character)) {
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
    put_allowed(output, text, "._:-/");
    if (brackets)
        put(output, ']');
}

static bool is_number(const Part *part, const char *text)
{
    unsigned number = 0;

    return strlen(text) <= TEMPLATE_DIGITS_MAX && number_parse(text, TEMPLATE_NUMBER_MAX, &number) &&
           number >= part->low && number <= part->high;
}

static void put_field(Output *output, TemplateEscape escape, const Part *part, const char *text)
{
    output->in_field = true;
    if (!text || (part->number && !is_number(part, text)))
        text = "";
    if (*text == '\0' && part->fallback) {
        if (escape == ESCAPE_KEY)
            put_path(output, part->fallback, true);
        else
            put_text(output, part->fallback);
    } else if (escape == ESCAPE_KEY) {
        put_allowed(output, text, "._:-");
    } else if (part->json) {
        put_json(output, text);
    } else if (escape == ESCAPE_VALUE) {
        put_value(output, part, text);
    } else {
        put_line(output, text);
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
