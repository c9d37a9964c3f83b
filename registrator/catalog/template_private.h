/* What compiling, rendering and matching share. */
#pragma once

#include "base/numbers.h"
#include "catalog/template.h"

enum { TEMPLATE_NUMBER_MAX = 999999999, TEMPLATE_DIGITS_MAX = 9 }; /* of a number filter */

typedef struct Part {
    Field field; /* FIELD_MAX_: literal text */
    bool json;
    bool number; /* a number from low to high; anything else is no value */
    bool bare; /* {address} alone between double quotes: no brackets */
    unsigned low, high;
    char *text; /* literal, or the label's name */
    char *fallback; /* NULL: none */
} Part;

struct Template {
    char *text;
    char *prefix;
    Part *parts;
    size_t n_parts;
    const char **labels; /* pointers into parts */
    size_t n_labels;
};

static inline bool part_is_literal(const Part *part)
{
    return part->field == FIELD_MAX_;
}

/* Is it an ASCII letter? Independent of the locale. */
bool template_is_letter(char c);
bool template_is_alphanumeric(char c);
