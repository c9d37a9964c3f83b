#include "numbers.h"

#include <stddef.h>

/* Reads digits, at least one; NULL: there are none, or they come to more than max. */
static const char *read_digits(const char *text, unsigned max, unsigned *ret)
{
    unsigned number = 0;
    const char *c;

    for (c = text; *c >= '0' && *c <= '9'; c++) {
        unsigned digit = (unsigned)(*c - '0');

        if (digit > max || number > (max - digit) / 10)
            return NULL;
        number = number * 10 + digit;
    }
    *ret = number;
    return c > text ? c : NULL;
}

bool number_parse(const char *text, unsigned max, unsigned *ret)
{
    unsigned number = 0;
    const char *end = read_digits(text, max, &number);

    if (!end || *end != '\0')
        return false;
    *ret = number;
    return true;
}

bool version_parse(const char *text, unsigned *ret_major, unsigned *ret_minor)
{
    unsigned major = 0, minor = 0;
    const char *end = read_digits(text, 999, &major);

    if (!end || *end != '.' || !read_digits(end + 1, 999, &minor))
        return false;
    *ret_major = major;
    *ret_minor = minor;
    return true;
}
