/* What C's strings lack. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

/* NULL copies as NULL. -ENOMEM: *ret is as it was. */
int text_copy(char **ret, const char *text);
/* NULL is the same as NULL, and as nothing else. */
bool text_same(const char *a, const char *b);
/* Overwrites the text before it is freed. NULL is fine. */
void text_free_secret(char *text);

/* A stream into a text that grows. Unlike open_memstream()'s, it does not lose in silence what there is no memory for
 * (glibc 2.36: neither ferror() nor fclose() tells): what is made of pieces must not go out with one missing. */
typedef struct TextStream {
    char *text;
    size_t size, allocated;
    bool failed;
} TextStream;

/* stream: must live until it is closed. NULL: no memory. */
FILE *text_stream_open(TextStream *stream);
/* The whole text, malloc'd, or NULL. out is closed. */
char *text_stream_close(TextStream *stream, FILE *out);
