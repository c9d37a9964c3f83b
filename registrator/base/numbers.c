#include "base/numbers.h"

#include <stddef.h>

const char *digits_parse(const char *text, unsigned max, unsigned *ret)
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
    const char *end = digits_parse(text, max, &number);

    if (!end || *end != '\0')
        return false;
    *ret = number;
    return true;
}

bool version_parse(const char *text, unsigned *ret_major, unsigned *ret_minor)
{
    unsigned major = 0, minor = 0;
    const char *end = digits_parse(text, 999, &major);

    if (!end || *end != '.' || !digits_parse(end + 1, 999, &minor))
        return false;
    *ret_major = major;
    *ret_minor = minor;
    return true;
}

int numbers_compare(unsigned a, unsigned b)
{
    return (a > b) - (a < b);
}

uint64_t earlier_us(uint64_t a_us, uint64_t b_us)
{
    return a_us == 0 || (b_us > 0 && b_us < a_us) ? b_us : a_us;
}
