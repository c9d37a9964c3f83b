/* Numbers in texts from outside, and moments. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The digits at the beginning of the text, at least one. Returns where they end; NULL: there are none, or they come to
 * more than max. */
const char *digits_parse(const char *text, unsigned max, unsigned *ret);
/* The whole text is a decimal number of at most max. False: it is not. */
bool number_parse(const char *text, unsigned max, unsigned *ret);

/* "3.4" at the beginning of "3.4.23". */
bool version_parse(const char *text, unsigned *ret_major, unsigned *ret_minor);

/* Negative: a is smaller; 0: they are equal. */
int numbers_compare(unsigned a, unsigned b);

/* The earlier of two moments, of which 0 is none. */
uint64_t earlier_us(uint64_t a_us, uint64_t b_us);
