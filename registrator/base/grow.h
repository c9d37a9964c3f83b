/* Buffers and arrays that grow as something is appended. */
#pragma once

#include <stddef.h>

typedef struct Buffer {
    char *data; /* NUL-terminated; NULL: nothing was appended yet */
    size_t size, allocated; /* size does not count the NUL */
} Buffer;

/* 0 or -ENOMEM: the buffer is as it was. */
int buffer_append(Buffer *buffer, const void *data, size_t size);
void buffer_clear(Buffer *buffer); /* frees the data */

/* Makes room for one more item behind the n items of an array that only this function allocates. items: the address of
 * the pointer to the array. 0 or -ENOMEM: the array is as it was. */
int array_grow(void *items, size_t n, size_t item_size);
