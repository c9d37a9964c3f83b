/* Buffers and arrays that grow with each appended item. */
#pragma once

#include <stddef.h>

typedef struct Buffer {
    char *data; /* NUL-terminated; NULL: empty */
    size_t size, allocated; /* size does not count the NUL */
} Buffer;

/* 0, or -ENOMEM: the buffer is unchanged. */
int buffer_append(Buffer *buffer, const void *data, size_t size);
void buffer_clear(Buffer *buffer); /* frees the data */

/* Makes room for one more item after the n items of the array. Only this function may allocate the array. items: the
 * address of the pointer to the array. 0, or -ENOMEM: the array is unchanged. */
int array_grow(void *items, size_t n, size_t item_size);
