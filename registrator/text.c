#include "text.h"

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

bool text_same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
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

    if (stream->size + size + 1 > stream->allocated) {
        size_t wanted = (stream->size + size + 1) * 2;
        char *text = realloc(stream->text, wanted);

        if (!text) {
            stream->failed = true;
            return 0;
        }
        stream->text = text;
        stream->allocated = wanted;
    }
    memcpy(stream->text + stream->size, data, size);
    stream->size += size;
    stream->text[stream->size] = '\0';
    return (ssize_t)size;
}

FILE *text_stream_open(TextStream *stream)
{
    *stream = (TextStream){ .size = 0 };
    return fopencookie(stream, "w", (cookie_io_functions_t){ .write = on_write });
}

char *text_stream_close(TextStream *stream, FILE *out)
{
    if (fclose(out) == 0 && !stream->failed)
        return stream->text;
    free(stream->text);
    return NULL;
}
