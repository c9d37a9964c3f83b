#include "base/utf8.h"

#include "base/cleanup.h"

#include <string.h>

size_t utf8_length(const char *text, uint32_t *ret_character)
{
    static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *p = (const unsigned char *)text;
    size_t length = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (length == 0)
        return 0;
    uint32_t character = length == 1 ? p[0] : p[0] & (0xffU >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) /* also ends at the text's final NUL */
            return 0;
        character = character << 6 | (p[i] & 0x3f);
    }
    if (character < smallest[length] || character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff))
        return 0;
    *ret_character = character;
    return length;
}

typedef struct Range {
    uint32_t first, last;
} Range;

static bool is_in(uint32_t character, const Range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (character >= ranges[i].first && character <= ranges[i].last)
            return true;
    return false;
}

bool utf8_is_invisible(uint32_t character)
{
    /* From DerivedCoreProperties.txt and PropList.txt. 2028 and 2029 end a line, FFF9 to FFFB hide an annotation. */
    static const Range ranges[] = { { 0, 0x1f },          { 0x7f, 0x9f },       { 0xad, 0xad },      { 0x34f, 0x34f },
                                    { 0x61c, 0x61c },     { 0x115f, 0x1160 },   { 0x17b4, 0x17b5 },  { 0x180b, 0x180f },
                                    { 0x200b, 0x200f },   { 0x2028, 0x202e },   { 0x2060, 0x206f },  { 0x3164, 0x3164 },
                                    { 0xfe00, 0xfe0f },   { 0xfeff, 0xfeff },   { 0xffa0, 0xffa0 },  { 0xfff0, 0xfffb },
                                    { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff } };

    return is_in(character, ranges, ARRAY_SIZE(ranges));
}

void utf8_make_printable(char *text)
{
    while (*text != '\0') {
        uint32_t character = 0;
        size_t length = utf8_length(text, &character);

        if (length == 0 || utf8_is_invisible(character)) {
            *text = '?';
            length = 1; /* one byte: the other bytes of a broken character are not characters either */
        }
        text += length;
    }
}

/* East Asian Wide and Fullwidth, by blocks (Unicode's EastAsianWidth.txt). */
static size_t columns_of(uint32_t character)
{
    static const Range wide[] = { { 0x1100, 0x115f }, { 0x2e80, 0x303e },   { 0x3041, 0xa4cf },  { 0xa960, 0xa97c },
                                  { 0xac00, 0xd7a3 }, { 0xf900, 0xfaff },   { 0xfe30, 0xfe6f },  { 0xff01, 0xff60 },
                                  { 0xffe0, 0xffe6 }, { 0x1f300, 0x1faff }, { 0x20000, 0x3fffd } };

    return is_in(character, wide, ARRAY_SIZE(wide)) ? 2 : 1;
}

size_t utf8_fit(const char *text, size_t columns, size_t *ret_columns)
{
    const char *p = text;
    size_t used = 0;

    while (*p != '\0') {
        uint32_t character = 0;
        size_t length = utf8_length(p, &character), width = columns_of(character);

        if (width > columns - used)
            break;
        used += width;
        p += length > 0 ? length : 1;
    }
    *ret_columns = used;
    return (size_t)(p - text);
}

size_t utf8_columns(const char *text)
{
    size_t columns;

    (void)utf8_fit(text, SIZE_MAX, &columns);
    return columns;
}
