/* What strangers' texts may do to a terminal, and how wide they are. */
#include "utf8.h"

#include "cleanup.h"

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

static void what_terminals_obey_is_replaced(void **state)
{
    (void)state;
    assert_printable("a\033[31mb\r\n\t\x7f", "a?[31mb????");
    assert_printable("\xc2\x9b"
                     "31m",
                     "??31m"); /* C1's control sequence introducer */
    assert_printable("a\xe2\x80\xa8z", "a???z"); /* U+2028 */
}

static void what_is_not_utf8_is_replaced(void **state)
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
        cmocka_unit_test(what_terminals_obey_is_replaced),
        cmocka_unit_test(what_is_not_utf8_is_replaced),
        cmocka_unit_test(columns_are_counted),
    };

    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
