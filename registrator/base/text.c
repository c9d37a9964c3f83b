#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int text_copy(char **ret, const char *text)
{
    char *copy = NULL;

    if (text) {
        copy = strdup(text);
        if (!copy)
            return -ENOMEM;
    }
    *ret = copy;
    return 0;
}

int text_replace(char **text, const char *other)
{
    char *copy = strdup(other);

    if (!copy)
        return -ENOMEM;
    text_take(text, copy);
    return 0;
}

void text_take(char **text, char *owned)
{
    free(*text);
    *text = owned;
}

char *text_vformat(const char *format, va_list arguments)
{
    char *text;

    return vasprintf(&text, format, arguments) < 0 ? NULL : text;
}

char *text_format(const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    return text;
}

bool text_same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool text_ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);

    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

bool text_is_container_id(const char *text)
{
    return text && strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

void text_free_secret(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static ssize_t on_write(void *userdata, const char *data, size_t size)
{
    TextStream *stream = userdata;

    if (buffer_append(&stream->text, data, size) == 0)
        return (ssize_t)size;
    stream->failed = true;
    return 0;
}

FILE *text_stream_open(TextStream *stream)
{
    *stream = (TextStream){ .failed = false };
    return fopencookie(stream, "w", (cookie_io_functions_t){ .write = on_write });
}

char *text_stream_close(TextStream *stream, FILE *out)
{
    if (fclose(out) == 0 && !stream->failed)
        return stream->text.data;
    buffer_clear(&stream->text);
    return NULL;
}
