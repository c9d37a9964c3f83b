#include "catalog/template_private.h"

#include <string.h>

/* Cuts a rendered text by the parts of its template. reached[i * width + p]: parts 0 to i - 1 can make the first p
 * bytes of the text. Filling this table forwards and following it backwards takes parts × bytes steps for every
 * text. The bound matters because anybody can write keys and values. */
typedef struct Matcher {
    const Template *template;
    const char *text;
    size_t width; /* of a row: the text's length + 1 */
    bool *reached;
} Matcher;

static bool is_hexadecimal(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Can a field's value contain this byte? */
static bool part_takes(const Part *part, char c)
{
    if (part->fallback && strchr(part->fallback, c))
        return true;
    if (part->json)
        return true;
    switch (part->field) {
    case FIELD_PORT:
    case FIELD_CONTAINER_PORT:
        return c >= '0' && c <= '9';
    case FIELD_ADDRESS:
        return is_hexadecimal(c) || strchr(":.[]", c);
    case FIELD_PROTOCOL:
        return template_is_letter(c);
    default:
        return template_is_alphanumeric(c) || strchr("._:-", c);
    }
}

/* Each of these functions fills a row. Returns false if the row has no reached place. */
static bool match_literal(const Matcher *matcher, const char *literal, const bool *from, bool *to)
{
    size_t length = strlen(literal);
    bool any = false;

    for (size_t p = 0; p + length < matcher->width; p++) {
        to[p + length] = from[p] && memcmp(matcher->text + p, literal, length) == 0;
        any = any || to[p + length];
    }
    return any;
}

static bool match_field(const Matcher *matcher, const Part *part, const bool *from, bool *to)
{
    to[0] = from[0];
    for (size_t p = 1; p < matcher->width; p++)
        to[p] = from[p] || (to[p - 1] && part_takes(part, matcher->text[p - 1]));
    return true; /* the field may be empty */
}

/* Sets a quoted text without its quotes, an IPv6 address without its brackets. */
static void set_field(TemplateMatch *match, const Part *part, const char *begin, size_t length)
{
    char open = part->json ? '"' : '[', close = part->json ? '"' : ']';

    if ((part->json || part->field == FIELD_ADDRESS) && length >= 2 && begin[0] == open && begin[length - 1] == close) {
        begin++;
        length -= 2;
    }
    match->fields[part->field].begin = begin;
    match->fields[part->field].length = length;
}

/* Goes from the text's end to its beginning. Each part takes as much as possible while the parts before it can still
 * match. */
static void read_fields(const Matcher *matcher, TemplateMatch *match)
{
    size_t end = matcher->width - 1;

    for (size_t i = matcher->template->n_parts; i > 0; i--) {
        const Part *part = &matcher->template->parts[i - 1];
        const bool *from = matcher->reached + (i - 1) * matcher->width;
        size_t begin = end;

        if (part_is_literal(part)) {
            end -= strlen(part->text);
            continue;
        }
        for (size_t p = end; p > 0 && part_takes(part, matcher->text[p - 1]); p--)
            if (from[p - 1])
                begin = p - 1;
        set_field(match, part, matcher->text + begin, end - begin);
        end = begin;
    }
}

bool template_match(const Template *template, const char *text, TemplateMatch *ret)
{
    size_t length = strnlen(text, TEMPLATE_TEXT_MAX + 1);
    Matcher matcher = { .template = template, .text = text, .width = length + 1 };
    CLEANUP_FREE bool *reached = NULL;

    *ret = (TemplateMatch){ 0 };
    if (length > TEMPLATE_TEXT_MAX)
        return false;
    matcher.reached = reached = calloc(template->n_parts + 1, matcher.width);
    if (!reached)
        return false;
    reached[0] = true;
    for (size_t i = 0; i < template->n_parts; i++) {
        const bool *from = reached + i * matcher.width;
        bool *to = reached + (i + 1) * matcher.width;
        bool any = part_is_literal(&template->parts[i]) ? match_literal(&matcher, template->parts[i].text, from, to)
                                                        : match_field(&matcher, &template->parts[i], from, to);

        if (!any)
            return false;
    }
    if (!reached[template->n_parts * matcher.width + length])
        return false;
    read_fields(&matcher, ret);
    return true;
}
