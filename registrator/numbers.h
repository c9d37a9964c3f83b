/* Numbers in texts from outside. Pure. */
#pragma once

#include <stdbool.h>

/* The whole text is a decimal number of at most max. False: it is not. */
bool number_parse(const char *text, unsigned max, unsigned *ret);

/* "3.4" at the beginning of "3.4.23". */
bool version_parse(const char *text, unsigned *ret_major, unsigned *ret_minor);
