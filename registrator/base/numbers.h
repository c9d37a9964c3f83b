/* Parsing of numbers in texts from outside, and comparison of times. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Reads the digits at the beginning of the text. Returns their end; NULL: no digit, or a number above max. */
const char *digits_parse(const char *text, unsigned max, unsigned *ret);
/* Parses a text that is a decimal number of at most max. False: any other text. */
bool number_parse(const char *text, unsigned max, unsigned *ret);

/* Parses "3.4" at the beginning of "3.4.23". False: no such beginning. */
bool version_parse(const char *text, unsigned *ret_major, unsigned *ret_minor);

/* Negative: a is smaller; 0: equal; positive: a is larger. */
int numbers_compare(unsigned a, unsigned b);

/* The earlier of two times; 0 means "no time". */
uint64_t earlier_us(uint64_t a_us, uint64_t b_us);
