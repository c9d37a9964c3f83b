/* Base64 (RFC 4648, with padding), as etcd's JSON gateway wants keys and values. */
#pragma once

#include <stddef.h>
#include <stdio.h>

/* Writes the text of size bytes; errors are the stream's. */
void base64_write(FILE *out, const void *data, size_t size);

/* *ret is malloc'd, NUL-terminated beyond its *ret_size bytes. -EBADMSG: not base64; -ENOMEM. */
int base64_decode(char **ret, size_t *ret_size, const char *text);
