/* UTF-8 from strangers. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character that text begins with; 0: none does. No overlong forms, no surrogates. */
size_t utf8_length(const char *text, uint32_t *ret_character);

/* Characters that must not reach a reader unseen: control characters of both sets, which terminals obey, what some
 * programs take for the end of a line, and what changes the direction of text or takes no space (Unicode's
 * Default_Ignorable_Code_Point and Bidi_Control): a name with such a character looks like another name. */
bool utf8_is_invisible(uint32_t character);

/* One line that harms no terminal and hides nothing: an invisible character, or what is not UTF-8, becomes "?", a byte each. */
void utf8_make_printable(char *text);

/* Columns of a terminal that the text takes, or more: combining characters count as one. */
size_t utf8_columns(const char *text);
/* Bytes of the longest beginning of the text that fits; *ret_columns: what it takes. */
size_t utf8_fit(const char *text, size_t columns, size_t *ret_columns);
