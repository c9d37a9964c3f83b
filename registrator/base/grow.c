#include "base/grow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_MIN = 512 };

int buffer_append(Buffer *buffer, const void *data, size_t size)
{
    if (buffer->allocated - buffer->size <= size) {
        size_t wanted = (buffer->size + size + 1) * 3 / 2;
        char *larger;

        if (wanted < BUFFER_MIN)
            wanted = BUFFER_MIN;
        larger = realloc(buffer->data, wanted);
        if (!larger)
            return -ENOMEM;
        buffer->data = larger;
        buffer->allocated = wanted;
    }
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
    return 0;
}

void buffer_clear(Buffer *buffer)
{
    free(buffer->data);
    *buffer = (Buffer){ .size = 0 };
}

int array_grow(void *items, size_t n, size_t item_size)
{
    void *array, *larger;

    /* The array has room for the next power of two. */
    if ((n & (n - 1)) != 0)
        return 0;
    memcpy(&array, items, sizeof(array));
    larger = reallocarray(array, n > 0 ? n * 2 : 1, item_size);
    if (!larger)
        return -ENOMEM;
    memcpy(items, &larger, sizeof(larger));
    return 0;
}
