/* Texts out of a byte stream, whatever the pieces that it comes in. */
#include "base/cleanup.h"
#include "base/framing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { TEXTS_MAX = 64, ROOMY = 1024 };

typedef struct Recorder {
    size_t n;
    char *texts[TEXTS_MAX];
    size_t sizes[TEXTS_MAX];
    int fail_at; /* the text, counted from 1, at which to return -ECANCELED; 0: never */
} Recorder;

static int record(void *userdata, const char *text, size_t size)
{
    Recorder *recorder = userdata;

    assert_true(recorder->n < TEXTS_MAX);
    assert_int_equal(text[size], '\0');
    recorder->texts[recorder->n] = malloc(size + 1);
    assert_non_null(recorder->texts[recorder->n]);
    memcpy(recorder->texts[recorder->n], text, size + 1);
    recorder->sizes[recorder->n] = size;
    recorder->n++;
    return recorder->fail_at > 0 && recorder->n == (size_t)recorder->fail_at ? -ECANCELED : 0;
}

static void recorder_clear(Recorder *recorder)
{
    for (size_t i = 0; i < recorder->n; i++)
        free(recorder->texts[i]);
    *recorder = (Recorder){ 0 };
}

/* A copy of just these bytes, so that a look beyond them is seen by the sanitizer. */
static int feed(Framing *framing, const char *data, size_t size, Recorder *recorder)
{
    CLEANUP_FREE char *copy = malloc(size > 0 ? size : 1);

    assert_non_null(copy);
    memcpy(copy, data, size);
    return framing_feed(framing, copy, size, record, recorder);
}

static void assert_texts(const Recorder *recorder, const char *const *expected, size_t n)
{
    assert_int_equal(recorder->n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(recorder->sizes[i], strlen(expected[i]));
        assert_string_equal(recorder->texts[i], expected[i]);
    }
}

/* Whole, byte by byte, and cut into three at every pair of places. */
static void assert_cut_anywhere(FramingKind kind, const char *stream, const char *const *expected, size_t n)
{
    size_t size = strlen(stream);
    Recorder recorder = { 0 };
    Framing framing;

    framing_init(&framing, kind, ROOMY);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(feed(&framing, stream + i, 1, &recorder), 0);
    assert_texts(&recorder, expected, n);
    assert_int_equal(framing_complete(&framing), kind == FRAMING_ARRAY);
    framing_clear(&framing);
    recorder_clear(&recorder);
    for (size_t a = 0; a <= size; a++)
        for (size_t b = a; b <= size; b++) {
            assert_int_equal(feed(&framing, stream, a, &recorder), 0);
            assert_int_equal(feed(&framing, stream + a, b - a, &recorder), 0);
            assert_int_equal(feed(&framing, stream + b, size - b, &recorder), 0);
            assert_texts(&recorder, expected, n);
            assert_int_equal(framing.dropped, 0);
            framing_clear(&framing);
            recorder_clear(&recorder);
        }
}

static void lines_are_cut_anywhere(void **state)
{
    static const char *const expected[] = { "{\"a\":1}", "not json", "{\"b\":\"\\\"}\"}\r", "x" };

    (void)state;
    assert_cut_anywhere(FRAMING_LINES, "{\"a\":1}\nnot json\n\n{\"b\":\"\\\"}\"}\r\nx\nunfinished", expected,
                        ARRAY_SIZE(expected));
}

static void array_is_cut_anywhere(void **state)
{
    static const char *const expected[] = {
        "{\"a\":{\"b\":[{},{}]}}",
        "{}",
        "{\"braces\":\"}{]},{\",\"quote\":\"\\\"}\",\"backslash\":\"\\\\\"}",
        "{\"\\\\\\\"}\":0}",
    };

    (void)state;
    assert_cut_anywhere(FRAMING_ARRAY,
                        " \r\n\t[ {\"a\":{\"b\":[{},{}]}},{},\n"
                        "{\"braces\":\"}{]},{\",\"quote\":\"\\\"}\",\"backslash\":\"\\\\\"} ,\t{\"\\\\\\\"}\":0}] \n",
                        expected, ARRAY_SIZE(expected));
}

static void empty_array_is_complete(void **state)
{
    Recorder recorder = { 0 };
    Framing framing;

    (void)state;
    framing_init(&framing, FRAMING_ARRAY, ROOMY);
    assert_false(framing_complete(&framing));
    assert_int_equal(feed(&framing, "", 0, &recorder), 0);
    assert_false(framing_complete(&framing));
    assert_int_equal(feed(&framing, "[", 1, &recorder), 0);
    assert_false(framing_complete(&framing));
    assert_int_equal(feed(&framing, "]\n", 2, &recorder), 0);
    assert_true(framing_complete(&framing));
    assert_int_equal(recorder.n, 0);
    framing_clear(&framing);
}

static void array_cut_off_anywhere_is_incomplete(void **state)
{
    static const char stream[] = "[{\"a\":\"]\"},{\"b\":[1]}]";

    (void)state;
    for (size_t size = 0; size < strlen(stream); size++) {
        Recorder recorder = { 0 };
        Framing framing;

        framing_init(&framing, FRAMING_ARRAY, ROOMY);
        assert_int_equal(feed(&framing, stream, size, &recorder), 0);
        assert_false(framing_complete(&framing));
        assert_int_equal(recorder.n, (size_t)(size >= 10) + (size >= 20));
        framing_clear(&framing);
        recorder_clear(&recorder);
    }
}

static void text_that_is_no_array_of_objects_is_refused(void **state)
{
    static const struct {
        const char *text;
        size_t size;
    } bad[] = {
        { "{\"message\":\"no\"}", 16 },
        { "null", 4 },
        { "[1]", 3 },
        { "[\"{}\"]", 6 },
        { "[[{}]]", 6 },
        { "[{}]{", 5 },
        { "[{}]]", 5 },
        { "[{}],", 5 },
        { "[{}}", 4 },
        { "\0[]", 3 },
        { "[\0]", 3 },
        { "\xef\xbb\xbf[]", 5 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        Recorder recorder = { 0 };
        Framing framing;
        int r = 0;

        framing_init(&framing, FRAMING_ARRAY, ROOMY);
        assert_int_equal(feed(&framing, bad[i].text, bad[i].size, &recorder), -EBADMSG);
        framing_clear(&framing);
        recorder_clear(&recorder);
        for (size_t k = 0; k < bad[i].size && r == 0; k++)
            r = feed(&framing, bad[i].text + k, 1, &recorder);
        assert_int_equal(r, -EBADMSG);
        framing_clear(&framing);
        recorder_clear(&recorder);
    }
}

static void text_may_be_as_long_as_the_bound_and_no_longer(void **state)
{
    static const char lines[] = "12345678\n123456789\n1234\n1234567890123456789\n87654321\n";
    static const char *const expected[] = { "12345678", "1234", "87654321" };
    Recorder recorder = { 0 };
    Framing framing;

    (void)state;
    framing_init(&framing, FRAMING_LINES, 8);
    assert_int_equal(feed(&framing, lines, strlen(lines), &recorder), 0);
    assert_texts(&recorder, expected, ARRAY_SIZE(expected));
    assert_int_equal(framing.dropped, 2);
    recorder_clear(&recorder);
    framing_clear(&framing);
    assert_int_equal(framing.dropped, 0);
    for (size_t i = 0; i < strlen(lines); i++)
        assert_int_equal(feed(&framing, lines + i, 1, &recorder), 0);
    assert_texts(&recorder, expected, ARRAY_SIZE(expected));
    assert_int_equal(framing.dropped, 2);
    recorder_clear(&recorder);
    framing_clear(&framing);
}

/* The strings and braces of an object that is passed over count as well: the next one begins where it does. */
static void overlong_object_costs_only_itself(void **state)
{
    static const char stream[] = "[{\"a\":1},{\"long\":{\"}\\\"}\":\"{{{{\"}},{\"b\":2}]";
    static const char *const expected[] = { "{\"a\":1}", "{\"b\":2}" };

    (void)state;
    for (size_t cut = 0; cut <= strlen(stream); cut++) {
        Recorder recorder = { 0 };
        Framing framing;

        framing_init(&framing, FRAMING_ARRAY, 7);
        assert_int_equal(feed(&framing, stream, cut, &recorder), 0);
        assert_int_equal(feed(&framing, stream + cut, strlen(stream) - cut, &recorder), 0);
        assert_texts(&recorder, expected, ARRAY_SIZE(expected));
        assert_int_equal(framing.dropped, 1);
        assert_true(framing_complete(&framing));
        framing_clear(&framing);
        recorder_clear(&recorder);
    }
}

static void memory_is_bounded_by_the_longest_text(void **state)
{
    Recorder recorder = { 0 };
    Framing framing;

    (void)state;
    framing_init(&framing, FRAMING_LINES, ROOMY);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(feed(&framing, "0123456789abcdef0123456789abcdef", 32, &recorder), 0);
    assert_true(framing.text.allocated <= 2 * (ROOMY + 1));
    assert_int_equal(recorder.n, 0);
    assert_int_equal(feed(&framing, "\nok\n", 4, &recorder), 0);
    assert_int_equal(recorder.n, 1);
    assert_string_equal(recorder.texts[0], "ok");
    framing_clear(&framing);
    recorder_clear(&recorder);
}

static void nul_bytes_are_handed_on(void **state)
{
    Recorder recorder = { 0 };
    Framing framing;

    (void)state;
    framing_init(&framing, FRAMING_LINES, ROOMY);
    assert_int_equal(feed(&framing, "a\0b\n\0\nc\n", 8, &recorder), 0);
    assert_int_equal(recorder.n, 3);
    assert_int_equal(recorder.sizes[0], 3);
    assert_memory_equal(recorder.texts[0], "a\0b", 4);
    assert_int_equal(recorder.sizes[1], 1);
    framing_clear(&framing);
    recorder_clear(&recorder);
    framing_init(&framing, FRAMING_ARRAY, ROOMY);
    assert_int_equal(feed(&framing, "[{\"\0}\":\0}]", 10, &recorder), 0);
    assert_int_equal(recorder.n, 1);
    assert_int_equal(recorder.sizes[0], 8);
    assert_true(framing_complete(&framing));
    framing_clear(&framing);
    recorder_clear(&recorder);
}

static void error_of_the_callback_ends_the_feeding(void **state)
{
    (void)state;
    for (FramingKind kind = FRAMING_LINES; kind <= FRAMING_ARRAY; kind++) {
        static const char *const streams[] = { "{}\n{}\n{}\n", "[{},{},{}]" };
        Recorder recorder = { .fail_at = 2 };
        Framing framing;

        framing_init(&framing, kind, ROOMY);
        assert_int_equal(feed(&framing, streams[kind], strlen(streams[kind]), &recorder), -ECANCELED);
        assert_int_equal(recorder.n, 2);
        framing_clear(&framing);
        recorder_clear(&recorder);
    }
}

/* After an answer that was cut off in the middle of a string, the next one starts from nothing. */
static void clear_forgets_a_half_text(void **state)
{
    Recorder recorder = { 0 };
    Framing framing;

    (void)state;
    framing_init(&framing, FRAMING_ARRAY, ROOMY);
    assert_int_equal(feed(&framing, "[{\"a\":\"\\", 8, &recorder), 0);
    framing_clear(&framing);
    assert_int_equal(feed(&framing, "[{\"b\":2}]", 9, &recorder), 0);
    assert_int_equal(recorder.n, 1);
    assert_string_equal(recorder.texts[0], "{\"b\":2}");
    framing_clear(&framing);
    framing_clear(&framing);
    recorder_clear(&recorder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_cut_anywhere),
        cmocka_unit_test(array_is_cut_anywhere),
        cmocka_unit_test(empty_array_is_complete),
        cmocka_unit_test(array_cut_off_anywhere_is_incomplete),
        cmocka_unit_test(text_that_is_no_array_of_objects_is_refused),
        cmocka_unit_test(text_may_be_as_long_as_the_bound_and_no_longer),
        cmocka_unit_test(overlong_object_costs_only_itself),
        cmocka_unit_test(memory_is_bounded_by_the_longest_text),
        cmocka_unit_test(nul_bytes_are_handed_on),
        cmocka_unit_test(error_of_the_callback_ends_the_feeding),
        cmocka_unit_test(clear_forgets_a_half_text),
    };

    return cmocka_run_group_tests_name("framing", tests, NULL, NULL);
}
