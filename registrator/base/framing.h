/* Cuts a byte stream into JSON texts. The pieces of the stream may end anywhere. Pure. */
#pragma once

#include "base/grow.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum FramingKind {
    FRAMING_LINES, /* each line is a text, as in Docker's /events; a bad line does not affect other lines */
    FRAMING_ARRAY, /* each object of an array is a text, as in the container list; only one object is in memory */
} FramingKind;

/* FRAMING_ARRAY: the place of the next byte. */
typedef enum FramingPlace {
    FRAMING_BEFORE, /* before the opening bracket */
    FRAMING_BETWEEN, /* between two objects */
    FRAMING_OBJECT, /* in an object, outside its strings */
    FRAMING_STRING,
    FRAMING_ESCAPE, /* in a string, after a backslash */
    FRAMING_AFTER, /* after the closing bracket */
    FRAMING_BAD, /* a byte was not valid at its place */
} FramingPlace;

typedef struct Framing {
    FramingKind kind;
    FramingPlace place;
    unsigned depth; /* open braces within an object */
    Buffer text; /* the present text so far */
    size_t max; /* bytes of one text; a longer text is skipped */
    bool overflow; /* the present text is longer than max */
    size_t dropped; /* the number of texts longer than max */
} Framing;

/* text: NUL-terminated; size does not count the NUL. A negative return value ends framing_feed() with this error. */
typedef int (*FramingFn)(void *userdata, const char *text, size_t size);

void framing_init(Framing *framing, FramingKind kind, size_t max);
void framing_clear(Framing *framing);

/* Calls fn for each text that has become complete. 0, fn's error, -ENOMEM, or -EBADMSG (FRAMING_ARRAY: not an array
 * of objects). */
int framing_feed(Framing *framing, const char *data, size_t size, FramingFn fn, void *userdata);

/* FRAMING_ARRAY: has the array ended? If not, the answer was cut off. */
bool framing_complete(const Framing *framing);
