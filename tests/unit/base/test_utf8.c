/* What strangers' texts may do to a terminal, and how wide they are. */
#include "base/utf8.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void assert_printable(const char *text, const char *expected)
{
    CLEANUP_FREE char *copy = strdup(text);

    assert_non_null(copy);
    utf8_make_printable(copy);
    assert_string_equal(copy, expected);
}

static void printable_text_stays(void **state)
{
    (void)state;
    assert_printable("", "");
    assert_printable("web = 192.0.2.1:80, größer, 日本, 🐳 \xc2\xa0", "web = 192.0.2.1:80, größer, 日本, 🐳 \xc2\xa0");
}

static void control_characters_are_replaced(void **state)
{
    (void)state;
    assert_printable("a\033[31mb\r\n\t\x7f", "a?[31mb????");
    assert_printable("\xc2\x9b"
                     "31m",
                     "??31m"); /* C1's control sequence introducer */
    assert_printable("a\xe2\x80\xa8z", "a???z"); /* U+2028 */
}

static void invisible_characters_are_replaced(void **state)
{
    /* First and last of each kind: zero-width, the direction of text, marks, fillers, tags. */
    static const char *const hidden[] = { "\u200b", "\u200d",     "\u200f",     "\u202a", "\u202e", "\u2060",
                                          "\u2066", "\u2069",     "\ufeff",     "\u061c", "\u00ad", "\u034f",
                                          "\u180e", "\u3164",     "\ufe0f",     "\uffa0", "\ufff9", "\u115f",
                                          "\u2029", "\U000e0001", "\U000e0041", "\u206f", "\u17b4", "\U0001d173" };
    static const char *const seen[] = { "a",      "\u00ac", "\u00ae", "\u200a", "\u2010", "\u2027",    "\u202f",
                                        "\u2070", "\ufe10", "\ufffd", "\u05d0", "\u0301", "\U0001f433" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hidden); i++) {
        char text[16], expected[16] = "a";

        snprintf(text, sizeof(text), "a%sb", hidden[i]);
        memset(expected + 1, '?', strlen(hidden[i]));
        strcat(expected, "b");
        assert_printable(text, expected);
    }
    for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
        assert_printable(seen[i], seen[i]);
}

static void bytes_that_are_not_utf8_are_replaced(void **state)
{
    (void)state;
    assert_printable("\x9b", "?");
    assert_printable("\xc3", "?"); /* cut off */
    assert_printable("\xe6\x97", "??");
    assert_printable("\xc0\x9b\xed\xa0\x80\xf4\x90\x80\x80", "?????????"); /* overlong, surrogate, beyond */
}

static void columns_are_counted(void **state)
{
    size_t columns;

    (void)state;
    assert_int_equal(utf8_columns("größer"), 6);
    assert_int_equal(utf8_columns("日本"), 4);
    assert_int_equal(utf8_columns("🐳"), 2);
    assert_int_equal(utf8_fit("größer", 4, &columns), strlen("größ"));
    assert_int_equal(columns, 4);
    assert_int_equal(utf8_fit("日本", 3, &columns), strlen("日"));
    assert_int_equal(columns, 2);
    assert_int_equal(utf8_fit("ab", 2, &columns), 2);
    assert_int_equal(utf8_fit("ab", 0, &columns), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printable_text_stays),
        cmocka_unit_test(control_characters_are_replaced),
        cmocka_unit_test(invisible_characters_are_replaced),
        cmocka_unit_test(bytes_that_are_not_utf8_are_replaced),
        cmocka_unit_test(columns_are_counted),
    };

    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
