#include "base/timestamp.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

enum { YEAR_MAX = 2261 }; /* the last whole year that fits into 63 bits of nanoseconds */

/* Reads the digits after the point, and moves *text behind them. Digits beyond nanoseconds are dropped. */
static int64_t read_fraction(const char **text)
{
    int64_t ns = 0, unit = 100000000;

    if (**text != '.')
        return 0;
    for ((*text)++; isdigit((unsigned char)**text); (*text)++, unit /= 10)
        ns += (**text - '0') * unit;
    return ns;
}

/* The seconds east of UTC in *ret. Returns -1 if the text is not an offset. */
static int read_offset(const char *text, long *ret)
{
    struct tm tm = { 0 };
    const char *end;

    *ret = 0;
    if (text[0] == 'Z')
        return text[1] == '\0' ? 0 : -1;
    end = strlen(text) == strlen("+00:00") ? strptime(text, "%z", &tm) : NULL;
    *ret = tm.tm_gmtoff;
    return end && *end == '\0' ? 0 : -1;
}

int64_t timestamp_to_ns(const char *text)
{
    struct tm tm = { 0 };
    int64_t ns, seconds;
    long offset;

    text = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (!text || tm.tm_year + 1900 < 1970 || tm.tm_year + 1900 > YEAR_MAX)
        return 0;
    ns = read_fraction(&text);
    if (read_offset(text, &offset) < 0)
        return 0;
    seconds = timegm(&tm) - offset;
    return seconds < 0 ? 0 : seconds * 1000000000 + ns;
}
