/* UTF-8 in texts from outside. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes of the text's first character; 0: the text does not begin with a character. Overlong forms and
 * surrogates are not characters. */
size_t utf8_length(const char *text, uint32_t *ret_character);

/* Is the character invisible? Such a character must not reach a terminal or a page: control characters of both sets,
 * line ends, and characters that take no space or change the direction of the text (Unicode's
 * Default_Ignorable_Code_Point and Bidi_Control). With such a character, two different names can look alike. */
bool utf8_is_invisible(uint32_t character);

/* Makes the text one line without invisible characters: each byte of an invisible character, or outside of UTF-8,
 * becomes "?". */
void utf8_make_printable(char *text);

/* The columns that the text takes on a terminal, or more: a combining character counts as one column. */
size_t utf8_columns(const char *text);
/* The bytes of the longest beginning of the text that fits into the columns. *ret_columns: the columns of this
 * beginning. */
size_t utf8_fit(const char *text, size_t columns, size_t *ret_columns);
