/* A byte stream cut into texts: however it arrives, the same texts come out of it. */
#include "base/cleanup.h"
#include "base/framing.h"

#include "fuzz.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

typedef struct Texts {
    char **items;
    size_t *sizes;
    size_t n;
} Texts;

typedef struct Outcome {
    Texts texts;
    int result;
    size_t dropped;
    bool complete;
} Outcome;

static int take_text(void *userdata, const char *text, size_t size)
{
    Texts *texts = userdata;

    ENSURE(size > 0);
    ENSURE(text[size] == '\0');
    texts->items = reallocarray(texts->items, texts->n + 1, sizeof(*texts->items));
    texts->sizes = reallocarray(texts->sizes, texts->n + 1, sizeof(*texts->sizes));
    ENSURE(texts->items && texts->sizes);
    texts->items[texts->n] = malloc(size + 1);
    ENSURE(texts->items[texts->n]);
    memcpy(texts->items[texts->n], text, size + 1);
    texts->sizes[texts->n++] = size;
    return 0;
}

static Outcome feed(FramingKind kind, size_t max, const char *data, size_t size, size_t piece)
{
    Outcome outcome = { .result = 0 };
    Framing framing;

    framing_init(&framing, kind, max);
    for (size_t at = 0; at < size && outcome.result == 0; at += piece)
        outcome.result =
            framing_feed(&framing, data + at, size - at < piece ? size - at : piece, take_text, &outcome.texts);
    outcome.dropped = framing.dropped;
    outcome.complete = framing_complete(&framing);
    framing_clear(&framing);
    return outcome;
}

static void outcome_clear(Outcome *outcome)
{
    for (size_t i = 0; i < outcome->texts.n; i++)
        free(outcome->texts.items[i]);
    free(outcome->texts.items);
    free(outcome->texts.sizes);
}

static void ensure_same(const Outcome *a, const Outcome *b)
{
    ENSURE(a->result == b->result);
    ENSURE(a->dropped == b->dropped);
    ENSURE(a->complete == b->complete);
    ENSURE(a->texts.n == b->texts.n);
    for (size_t i = 0; i < a->texts.n; i++) {
        ENSURE(a->texts.sizes[i] == b->texts.sizes[i]);
        ENSURE(memcmp(a->texts.items[i], b->texts.items[i], a->texts.sizes[i]) == 0);
    }
}

/* The lines are those of the data, without the empty and the long ones, and without an unfinished last one. */
static void ensure_lines(const Outcome *outcome, const char *data, size_t size, size_t max)
{
    size_t n = 0, dropped = 0;

    ENSURE(outcome->result == 0);
    for (const char *newline; (newline = size > 0 ? memchr(data, '\n', size) : NULL);) {
        size_t length = (size_t)(newline - data);

        if (length > max) {
            dropped++;
        } else if (length > 0) {
            ENSURE(n < outcome->texts.n);
            ENSURE(outcome->texts.sizes[n] == length);
            ENSURE(memcmp(outcome->texts.items[n++], data, length) == 0);
        }
        size -= length + 1;
        data = newline + 1;
    }
    ENSURE(n == outcome->texts.n);
    ENSURE(dropped == outcome->dropped);
}

/* What is a JSON array of objects comes out object by object. */
static void ensure_objects(const Outcome *outcome, const char *data, size_t size)
{
    cJSON *array = cJSON_ParseWithLength(data, size);
    const cJSON *object = cJSON_IsArray(array) ? array->child : NULL;

    for (size_t i = 0; i < outcome->texts.n; i++) {
        ENSURE(outcome->texts.items[i][0] == '{');
        ENSURE(outcome->texts.items[i][outcome->texts.sizes[i] - 1] == '}');
    }
    if (cJSON_IsArray(array) && outcome->result == 0 && outcome->dropped == 0) {
        ENSURE(outcome->complete);
        ENSURE((size_t)cJSON_GetArraySize(array) == outcome->texts.n);
        for (size_t i = 0; i < outcome->texts.n; i++, object = object->next) {
            cJSON *text = cJSON_ParseWithLength(outcome->texts.items[i], outcome->texts.sizes[i]);
            char *a = cJSON_PrintUnformatted(object), *b = cJSON_PrintUnformatted(text);

            ENSURE(a && b && strcmp(a, b) == 0);
            free(a);
            free(b);
            cJSON_Delete(text);
        }
    }
    cJSON_Delete(array);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t limits[] = { 16, 64 * 1024 };
    const char *text = (const char *)data;
    size_t piece = size > 0 ? data[size - 1] % 31 + 2U : 1;

    for (int kind = FRAMING_LINES; kind <= FRAMING_ARRAY; kind++) {
        for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
            Outcome whole = feed((FramingKind)kind, limits[i], text, size, size + 1);
            Outcome bytes = feed((FramingKind)kind, limits[i], text, size, 1);
            Outcome pieces = feed((FramingKind)kind, limits[i], text, size, piece);

            ensure_same(&whole, &bytes);
            ensure_same(&whole, &pieces);
            if (kind == FRAMING_LINES)
                ensure_lines(&whole, text, size, limits[i]);
            else
                ensure_objects(&whole, text, size);
            outcome_clear(&whole);
            outcome_clear(&bytes);
            outcome_clear(&pieces);
        }
    }
    return 0;
}
