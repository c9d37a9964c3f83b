/* UTF-8 from strangers. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character that text begins with; 0: none does. No overlong forms, no surrogates. */
size_t utf8_length(const char *text, uint32_t *ret_character);

/* Control characters of both sets, which terminals obey, and what some readers take for the end of a line. */
bool utf8_is_control(uint32_t character);

/* One line that harms no terminal: what is a control character, or not UTF-8, becomes "?", a byte each. */
void utf8_make_printable(char *text);

/* Columns of a terminal that the text takes, or more: combining characters count as one. */
size_t utf8_columns(const char *text);
/* Bytes of the longest beginning of the text that fits; *ret_columns: what it takes. */
size_t utf8_fit(const char *text, size_t columns, size_t *ret_columns);
