#include "base/base64.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_write(FILE *out, const void *data, size_t size)
{
    const unsigned char *in = data;

    for (; size > 0; in += 3) {
        size_t n = size < 3 ? size : 3;
        uint32_t bits = (uint32_t)in[0] << 16;
        if (n > 1)
            bits |= (uint32_t)in[1] << 8;
        if (n > 2)
            bits |= in[2];
        char text[4] = { digits[bits >> 18], digits[bits >> 12 & 63], '=', '=' };
        if (n > 1)
            text[2] = digits[bits >> 6 & 63];
        if (n > 2)
            text[3] = digits[bits & 63];
        fwrite(text, 1, sizeof(text), out);
        size -= n;
    }
}

static int digit_value(char c)
{
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -EBADMSG;
}

int base64_decode(char **ret, size_t *ret_size, const char *text)
{
    size_t length = strlen(text), padding = 0;

    if (length % 4 != 0)
        return -EBADMSG;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
        padding++;

    CLEANUP_FREE char *data = malloc(length / 4 * 3 + 1);
    if (!data)
        return -ENOMEM;
    size_t size = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < length - padding; i++) {
        int value = digit_value(text[i]);
        if (value < 0)
            return value;
        bits = bits << 6 | (uint32_t)value;
        /* The second, third and fourth digit of each four complete a byte. */
        if (i % 4 > 0)
            data[size++] = (char)(bits >> (6 - i % 4 * 2));
    }
    data[size] = '\0';
    *ret = TAKE_PTR(data);
    *ret_size = size;
    return 0;
}
