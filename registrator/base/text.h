/* Additions to C's strings. */
#pragma once

#include "base/grow.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

/* *ret: malloc'd; NULL if text is NULL. 0, or -ENOMEM: *ret is unchanged. */
int text_copy(char **ret, const char *text);
/* Frees *text and stores a copy of other. 0, or -ENOMEM: *text is unchanged. */
int text_replace(char **text, const char *other);
/* Frees *text and stores owned in its place, which may be NULL. */
void text_take(char **text, char *owned);
/* The text that printf() would print, malloc'd. NULL: no memory. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *text_vformat(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));
/* NULL equals only NULL. */
bool text_same(const char *a, const char *b);
bool text_ends_with(const char *text, const char *end);
/* Is the text the ID of a container, 64 hexadecimal digits? text may be NULL. */
bool text_is_container_id(const char *text);
/* Overwrites the text, then frees it. text may be NULL. */
void text_free_secret(char *text);

/* A stream into a growing text. If memory runs out, text_stream_close() returns NULL. open_memstream() would drop a
 * part of the text, and neither ferror() nor fclose() would report that (glibc 2.36). */
typedef struct TextStream {
    Buffer text;
    bool failed;
} TextStream;

/* stream: must live until text_stream_close(). NULL: no memory. */
FILE *text_stream_open(TextStream *stream);
/* Closes out, and returns the whole text, malloc'd. NULL: no memory. */
char *text_stream_close(TextStream *stream, FILE *out);
