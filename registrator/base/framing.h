/* Cuts a byte stream into JSON texts, whatever the pieces. Pure. */
#pragma once

#include "base/grow.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum FramingKind {
    FRAMING_LINES, /* each line is a text, as Docker's /events: a bad line does not spoil others */
    FRAMING_ARRAY, /* each object of one array is a text, as the container list: only one object is in memory */
} FramingKind;

/* FRAMING_ARRAY: what the next byte belongs to. */
typedef enum FramingPlace {
    FRAMING_BEFORE, /* the opening bracket is to come */
    FRAMING_BETWEEN, /* between two objects */
    FRAMING_OBJECT, /* in an object, outside of its strings */
    FRAMING_STRING,
    FRAMING_ESCAPE, /* in a string, after a backslash */
    FRAMING_AFTER, /* the closing bracket has come */
    FRAMING_BAD, /* a byte has come that may not stand where it does */
} FramingPlace;

typedef struct Framing {
    FramingKind kind;
    FramingPlace place;
    unsigned depth; /* of braces, within an object */
    Buffer text; /* so far */
    size_t max; /* bytes of one text; a longer one is passed over */
    bool overflow; /* this text is longer */
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
