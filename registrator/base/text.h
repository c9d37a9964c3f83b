/* What C's strings lack. */
#pragma once

#include "base/grow.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

/* NULL copies as NULL. -ENOMEM: *ret is as it was. */
int text_copy(char **ret, const char *text);
/* Frees what *text holds, and stores a copy of the other text. -ENOMEM: *text is as it was. */
int text_replace(char **text, const char *other);
/* What printf() would print, malloc'd. NULL: no memory. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *text_vformat(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));
/* NULL is the same as NULL, and as nothing else. */
bool text_same(const char *a, const char *b);
bool text_ends_with(const char *text, const char *end);
/* 64 hexadecimal digits: the ID of a container. NULL is none. */
bool text_is_container_id(const char *text);
/* Overwrites the text before it is freed. NULL is fine. */
void text_free_secret(char *text);

/* A stream into a text that grows. If memory runs out, text_stream_close() returns NULL. open_memstream() would lose a
 * piece, and neither ferror() nor fclose() would tell (glibc 2.36). */
typedef struct TextStream {
    Buffer text;
    bool failed;
} TextStream;

/* stream: must live until it is closed. NULL: no memory. */
FILE *text_stream_open(TextStream *stream);
/* The whole text, malloc'd, or NULL. out is closed. */
char *text_stream_close(TextStream *stream, FILE *out);
