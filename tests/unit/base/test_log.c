/* Lines on stderr, and fields in a journal that is played by the test. */
#include "base/cleanup.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <cmocka.h>

/* What sd_journal_sendv() was given last; this definition takes the library's place. */
static char *journal;
static int journal_result;

int sd_journal_sendv(const struct iovec *iov, int n);

int sd_journal_sendv(const struct iovec *iov, int n)
{
    size_t size;

    free(journal);
    CLEANUP(fclose_p) FILE *out = open_memstream(&journal, &size);
    for (int i = 0; i < n; i++) {
        fwrite(iov[i].iov_base, iov[i].iov_len, 1, out);
        fputc('\n', out);
    }
    return journal_result;
}

/* stderr goes to a file while a test runs. */
static int saved_stderr;
static FILE *captured;

static void point_at_journal(bool yes)
{
    struct stat status;
    char text[64];

    assert_int_equal(fstat(STDERR_FILENO, &status), 0);
    snprintf(text, sizeof(text), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino + !yes);
    setenv("JOURNAL_STREAM", text, 1);
    log_open();
}

static int begin(void **state)
{
    (void)state;
    captured = tmpfile();
    saved_stderr = dup(STDERR_FILENO);
    dup2(fileno(captured), STDERR_FILENO);
    unsetenv("JOURNAL_STREAM");
    log_open();
    log_set_level(LOG_INFO);
    log_set_format(LOG_FORMAT_PLAIN);
    journal_result = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    fclose(captured);
    free(journal);
    journal = NULL;
    return 0;
}

/* Everything written to stderr since the test began. */
static const char *output(void)
{
    static char text[16384];
    ssize_t size = pread(fileno(captured), text, sizeof(text) - 1, 0);

    assert_true(size >= 0);
    text[size] = '\0';
    return text;
}

static void lines_carry_their_level(void **state)
{
    (void)state;
    log_set_level(LOG_DEBUG);
    log_error("a %d", 1);
    log_warning("b");
    log_notice("c");
    log_info("d");
    log_debug("e");
    assert_string_equal(output(), "error: a 1\nwarning: b\nc\nd\ndebug: e\n");
}

static void lines_below_the_level_are_dropped(void **state)
{
    (void)state;
    log_debug("a");
    log_info("b");
    log_set_level(LOG_ERR);
    log_warning("c");
    log_error("d");
    assert_string_equal(output(), "b\nerror: d\n");
}

static void levels_by_name(void **state)
{
    (void)state;
    assert_int_equal(log_level_from_string("error"), LOG_ERR);
    assert_int_equal(log_level_from_string("warning"), LOG_WARNING);
    assert_int_equal(log_level_from_string("notice"), LOG_NOTICE);
    assert_int_equal(log_level_from_string("info"), LOG_INFO);
    assert_int_equal(log_level_from_string("debug"), LOG_DEBUG);
    assert_int_equal(log_level_from_string("Info"), -EINVAL);
    assert_int_equal(log_level_from_string(""), -EINVAL);
}

static void errors_of_either_sign_become_text(void **state)
{
    (void)state;
    errno = EPERM;
    log_error_errno(ENOENT, "a: %m");
    log_warning_errno(-EEXIST, "b: %m");
    assert_string_equal(output(), "error: a: No such file or directory\nwarning: b: File exists\n");
    assert_int_equal(errno, EPERM);
}

static void one_call_is_one_line(void **state)
{
    (void)state;
    log_info("a\nerror: b\r\x1b[2J\x7f\tc");
    assert_string_equal(output(), "a?error: b??[2J??c\n");
}

static void utf8_is_kept_and_other_bytes_are_replaced(void **state)
{
    (void)state;
    log_info("é € 😀 \xf4\x8f\xbf\xbf");
    log_info("%s", "\xff \xc3 \xe2\x82 \xc0\xaf \xe0\x80\xaf \xed\xa0\x80 \xf0\x80\x80\xaf "
                   "\xf4\x90\x80\x80 \xf5\x80\x80\x80 \xc2\x9b \x80 \xc3");
    assert_string_equal(output(), "é € 😀 \xf4\x8f\xbf\xbf\n? ? ?? ?? ??? ??? ???? ???? ???? ?? ? ?\n");
}

static void long_lines_are_cut(void **state)
{
    char text[5000];
    (void)state;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_warning("%s", text);
    assert_int_equal(strlen(output()), 9 + 2047 + 1);
    assert_non_null(strstr(output(), "xxx...\n"));
}

static void logfmt_has_the_fields(void **state)
{
    (void)state;
    log_set_format(LOG_FORMAT_LOGFMT);
    log_info("plain");
    log_write(LOG_WARNING, 0, LOG_EVENT_CONFLICT, "web", "0123", "/app/a\"b", "'%s' C:\\ \n", "x y");
    log_write(LOG_INFO, 0, LOG_EVENT_DEREGISTERED, "", NULL, "/k", "gone");
    assert_string_equal(output(),
                        "level=info msg=\"plain\"\n"
                        "level=warning msg=\"'x y' C:\\\\ ?\" event=\"conflict\" container=\"web\" id=\"0123\" "
                        "key=\"/app/a\\\"b\"\n"
                        "level=info msg=\"gone\" event=\"deregistered\" key=\"/k\"\n");
}

static void logfmt_fields_cannot_make_other_lines(void **state)
{
    (void)state;
    log_set_format(LOG_FORMAT_LOGFMT);
    log_write(LOG_INFO, 0, LOG_EVENT_NONE, "a\nlevel=error msg=\"", NULL, NULL, "b");
    assert_string_equal(output(), "level=info msg=\"b\" container=\"a?level=error msg=\\\"\"\n");
}

static void journal_gets_fields_whatever_the_format_of_lines(void **state)
{
    (void)state;
    log_set_format(LOG_FORMAT_LOGFMT);
    point_at_journal(true);
    log_info("text");
    assert_string_equal(journal, "MESSAGE=text\nPRIORITY=6\n");
    assert_string_equal(output(), "");
}

static void journal_gets_fields(void **state)
{
    (void)state;
    point_at_journal(true);
    log_write(LOG_WARNING, -ENOENT, LOG_EVENT_CONFLICT, "web", "0123", "/app/servers/web", "text: %m");
    assert_string_equal(output(), "");
    assert_string_equal(journal, "MESSAGE=text: No such file or directory\n"
                                 "PRIORITY=4\n"
                                 "MESSAGE_ID=b880ef1a9a23486897cbd5bab4b25582\n"
                                 "CONTAINER_NAME=web\n"
                                 "CONTAINER_ID=0123\n"
                                 "REGISTRATOR_KEY=/app/servers/web\n"
                                 "ERRNO=2\n");
}

static void fields_that_are_not_there_are_left_out(void **state)
{
    (void)state;
    point_at_journal(true);
    log_info("text");
    assert_string_equal(journal, "MESSAGE=text\nPRIORITY=6\n");
}

static void fields_cannot_make_other_fields(void **state)
{
    (void)state;
    point_at_journal(true);
    log_write(LOG_INFO, 0, LOG_EVENT_NONE, "a\nPRIORITY=0", NULL, NULL, "b\nPRIORITY=0");
    assert_string_equal(journal, "MESSAGE=b?PRIORITY=0\nPRIORITY=6\nCONTAINER_NAME=a?PRIORITY=0\n");
}

static void message_ids_are_all_there_and_distinct(void **state)
{
    char seen[LOG_EVENT_MAX_][33];
    (void)state;

    point_at_journal(true);
    for (int event = LOG_EVENT_NONE + 1; event < LOG_EVENT_MAX_; event++) {
        log_write(LOG_INFO, 0, (LogEvent)event, NULL, NULL, NULL, "x");
        const char *id = strstr(journal, "MESSAGE_ID=");
        assert_non_null(id);
        assert_int_equal(strspn(id + strlen("MESSAGE_ID="), "0123456789abcdef"), 32);
        snprintf(seen[event], sizeof(seen[event]), "%.32s", id + strlen("MESSAGE_ID="));
        for (int other = LOG_EVENT_NONE + 1; other < event; other++)
            assert_string_not_equal(seen[event], seen[other]);
    }
}

static void stderr_that_is_not_the_journal_gets_lines(void **state)
{
    (void)state;
    point_at_journal(false);
    log_info("text");
    assert_string_equal(output(), "text\n");
    assert_null(journal);
}

static void journal_that_refuses_is_replaced_by_lines(void **state)
{
    (void)state;
    point_at_journal(true);
    journal_result = -ECONNREFUSED;
    log_info("text");
    assert_string_equal(output(), "text\n");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_carry_their_level),
        TEST(lines_below_the_level_are_dropped),
        TEST(levels_by_name),
        TEST(errors_of_either_sign_become_text),
        TEST(one_call_is_one_line),
        TEST(utf8_is_kept_and_other_bytes_are_replaced),
        TEST(long_lines_are_cut),
        TEST(logfmt_has_the_fields),
        TEST(logfmt_fields_cannot_make_other_lines),
        TEST(journal_gets_fields_whatever_the_format_of_lines),
        TEST(journal_gets_fields),
        TEST(fields_that_are_not_there_are_left_out),
        TEST(fields_cannot_make_other_fields),
        TEST(message_ids_are_all_there_and_distinct),
        TEST(stderr_that_is_not_the_journal_gets_lines),
        TEST(journal_that_refuses_is_replaced_by_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
