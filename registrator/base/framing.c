#include "base/framing.h"

#include <errno.h>
#include <string.h>

void framing_init(Framing *framing, FramingKind kind, size_t max)
{
    *framing = (Framing){ .kind = kind, .max = max };
}

void framing_clear(Framing *framing)
{
    buffer_clear(&framing->text);
    framing_init(framing, framing->kind, framing->max);
}

bool framing_complete(const Framing *framing)
{
    return framing->place == FRAMING_AFTER;
}

static int append(Framing *framing, const char *data, size_t size)
{
    if (framing->overflow || size == 0)
        return 0;
    if (size > framing->max - framing->text.size) {
        framing->overflow = true;
        return 0;
    }
    return buffer_append(&framing->text, data, size);
}

static int emit(Framing *framing, FramingFn fn, void *userdata)
{
    int r = 0;

    if (framing->overflow)
        framing->dropped++;
    else if (framing->text.size > 0)
        r = fn(userdata, framing->text.data, framing->text.size);
    framing->text.size = 0;
    framing->overflow = false;
    return r;
}

static int feed_lines(Framing *framing, const char *data, size_t size, FramingFn fn, void *userdata)
{
    while (size > 0) {
        const char *newline = memchr(data, '\n', size);
        size_t part = newline ? (size_t)(newline - data) : size;
        int r = append(framing, data, part);

        if (r >= 0 && newline)
            r = emit(framing, fn, userdata);
        if (r < 0)
            return r;
        if (!newline)
            return 0;
        data += part + 1;
        size -= part + 1;
    }
    return 0;
}

static bool is_inside(FramingPlace place)
{
    return place == FRAMING_OBJECT || place == FRAMING_STRING || place == FRAMING_ESCAPE;
}

/* The place after the byte. */
static FramingPlace next_place(Framing *framing, char c)
{
    switch (framing->place) {
    case FRAMING_ESCAPE:
        return FRAMING_STRING;
    case FRAMING_STRING:
        return c == '\\' ? FRAMING_ESCAPE : c == '"' ? FRAMING_OBJECT : FRAMING_STRING;
    case FRAMING_OBJECT:
        framing->depth += c == '{';
        framing->depth -= c == '}';
        return c == '"' ? FRAMING_STRING : framing->depth > 0 ? FRAMING_OBJECT : FRAMING_BETWEEN;
    default:
        break;
    }
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
        return framing->place;
    if (framing->place == FRAMING_BEFORE)
        return c == '[' ? FRAMING_BETWEEN : FRAMING_BAD;
    if (framing->place == FRAMING_AFTER || framing->place == FRAMING_BAD)
        return FRAMING_BAD;
    framing->depth = c == '{';
    return c == '{' ? FRAMING_OBJECT : c == ',' ? FRAMING_BETWEEN : c == ']' ? FRAMING_AFTER : FRAMING_BAD;
}

static int feed_array(Framing *framing, const char *data, size_t size, FramingFn fn, void *userdata)
{
    size_t start = 0; /* where the current object begins in this piece */

    for (size_t i = 0; i < size; i++) {
        bool was_inside = is_inside(framing->place);
        int r;

        framing->place = next_place(framing, data[i]);
        if (framing->place == FRAMING_BAD)
            return -EBADMSG;
        if (was_inside == is_inside(framing->place))
            continue;
        if (!was_inside) {
            start = i;
            continue;
        }
        r = append(framing, data + start, i + 1 - start);
        if (r >= 0)
            r = emit(framing, fn, userdata);
        if (r < 0)
            return r;
    }
    return is_inside(framing->place) ? append(framing, data + start, size - start) : 0;
}

int framing_feed(Framing *framing, const char *data, size_t size, FramingFn fn, void *userdata)
{
    return framing->kind == FRAMING_LINES ? feed_lines(framing, data, size, fn, userdata)
                                          : feed_array(framing, data, size, fn, userdata);
}
