#include "framing.h"

#include <errno.h>
#include <string.h>

void framing_init(Framing *framing, FramingKind kind, size_t max)
{
    *framing = (Framing){ .kind = kind, .max = max };
}

void framing_clear(Framing *framing)
{
    free(framing->text);
    framing_init(framing, framing->kind, framing->max);
}

bool framing_complete(const Framing *framing)
{
    return framing->ended;
}

static int append(Framing *framing, const char *data, size_t size)
{
    if (framing->overflow || size == 0)
        return 0;
    if (size > framing->max - framing->size) {
        framing->overflow = true;
        return 0;
    }
    if (framing->size + size + 1 > framing->allocated) {
        size_t wanted = (framing->size + size + 1) * 2;
        char *text = realloc(framing->text, wanted);

        if (!text)
            return -ENOMEM;
        framing->text = text;
        framing->allocated = wanted;
    }
    memcpy(framing->text + framing->size, data, size);
    framing->size += size;
    framing->text[framing->size] = '\0';
    return 0;
}

static int emit(Framing *framing, FramingFn fn, void *userdata)
{
    int r = 0;

    if (framing->overflow)
        framing->dropped++;
    else if (framing->size > 0)
        r = fn(userdata, framing->text, framing->size);
    framing->size = 0;
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

/* Between the objects of the array. 1: an object begins here. */
static int step_outside(Framing *framing, char c)
{
    if (strchr(" \t\r\n", c) && c != '\0')
        return 0;
    if (framing->ended)
        return -EBADMSG;
    if (!framing->began) {
        framing->began = true;
        return c == '[' ? 0 : -EBADMSG;
    }
    if (c == ',')
        return 0;
    if (c == ']') {
        framing->ended = true;
        return 0;
    }
    return c == '{' ? 1 : -EBADMSG;
}

static void step_inside(Framing *framing, char c)
{
    if (framing->in_string) {
        if (framing->escaped)
            framing->escaped = false;
        else if (c == '\\')
            framing->escaped = true;
        else if (c == '"')
            framing->in_string = false;
    } else if (c == '"')
        framing->in_string = true;
    else if (c == '{')
        framing->depth++;
    else if (c == '}')
        framing->depth--;
}

static int feed_array(Framing *framing, const char *data, size_t size, FramingFn fn, void *userdata)
{
    size_t start = 0; /* of the part of this piece that belongs to the current object */
    int r;

    for (size_t i = 0; i < size; i++) {
        if (framing->depth == 0) {
            r = step_outside(framing, data[i]);
            if (r < 0)
                return r;
            if (r == 0)
                continue;
            start = i;
        }
        step_inside(framing, data[i]);
        if (framing->depth > 0)
            continue;
        r = append(framing, data + start, i + 1 - start);
        if (r >= 0)
            r = emit(framing, fn, userdata);
        if (r < 0)
            return r;
        start = i + 1;
    }
    return framing->depth > 0 ? append(framing, data + start, size - start) : 0;
}

int framing_feed(Framing *framing, const char *data, size_t size, FramingFn fn, void *userdata)
{
    return framing->kind == FRAMING_LINES ? feed_lines(framing, data, size, fn, userdata)
                                          : feed_array(framing, data, size, fn, userdata);
}
