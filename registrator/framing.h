/* Cuts a byte stream into JSON texts, however the bytes come. Pure. */
#pragma once

#include "cleanup.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum FramingKind {
    FRAMING_LINES, /* one text a line, as Docker's /events: a broken line costs only itself */
    FRAMING_ARRAY, /* the objects of one array, as the container list: never the whole list in memory */
} FramingKind;

typedef struct Framing {
    FramingKind kind;
    size_t max; /* bytes of one text; a longer one is passed over */
    char *text;
    size_t size, allocated;
    unsigned depth; /* of braces, within an object */
    bool in_string, escaped, overflow;
    bool began, ended; /* the array's brackets were seen */
    size_t dropped; /* texts that were longer than max */
} Framing;

/* text is NUL-terminated; size does not count the NUL. A negative return ends the feeding with it. */
typedef int (*FramingFn)(void *userdata, const char *text, size_t size);

void framing_init(Framing *framing, FramingKind kind, size_t max);
void framing_clear(Framing *framing);

/* Calls fn for each text that is now whole. 0, fn's error, -ENOMEM, or -EBADMSG (FRAMING_ARRAY: not an array
 * of objects). */
int framing_feed(Framing *framing, const char *data, size_t size, FramingFn fn, void *userdata);

/* FRAMING_ARRAY: did the array end? An answer that was cut off did not. */
bool framing_complete(const Framing *framing);
