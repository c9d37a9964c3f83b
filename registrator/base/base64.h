/* Base64 (RFC 4648, with padding), for keys and values in etcd's JSON gateway. */
#pragma once

#include <stddef.h>
#include <stdio.h>

/* Writes the Base64 text of size bytes. Errors stay in the stream. */
void base64_write(FILE *out, const void *data, size_t size);

/* *ret: malloc'd, with a NUL after its *ret_size bytes. 0; -EBADMSG: not Base64; -ENOMEM. */
int base64_decode(char **ret, size_t *ret_size, const char *text);
