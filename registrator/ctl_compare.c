#define HASH_NONFATAL_OOM 1
#include "ctl_compare.h"

#include "cleanup.h"
#include "utf8.h"

#include <errno.h>
#include <string.h>
#include <uthash.h>

enum { APIS_MAX = 2 };

/* What is said of one key. The strings are the answers' own. */
typedef struct Row {
    const char *key;
    const cJSON *expected, *wanted, *held[APIS_MAX]; /* with a "value" each; NULL: none */
    const cJSON *container; /* Docker's or the agent's */
    UT_hash_handle hh;
} Row;

typedef struct Rows {
    Row *first;
    const cJSON *docker, *status, *etcd;
} Rows;

static const char *text_of(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static bool is_text(const cJSON *object, const char *name, const char *text)
{
    const char *found = text_of(object, name);

    return found && strcmp(found, text) == 0;
}

static const cJSON *find_item(const cJSON *array, const char *name, const char *text)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, array)
        if (is_text(item, name, text))
            return item;
    return NULL;
}

static const cJSON *find_container(const cJSON *containers, const cJSON *same)
{
    const char *id = text_of(same, "id");

    return id ? find_item(containers, "id", id) : NULL;
}

static const cJSON *agents_containers(const Rows *rows)
{
    return cJSON_GetObjectItemCaseSensitive(rows->status, "containers");
}

static const cJSON *records_of(const cJSON *container)
{
    return cJSON_GetObjectItemCaseSensitive(container, "records");
}

/* NULL: no memory. */
static Row *get_row(Rows *rows, const char *key)
{
    Row *row;

    HASH_FIND_STR(rows->first, key, row);
    if (row)
        return row;
    row = calloc(1, sizeof(*row));
    if (!row)
        return NULL;
    row->key = key;
    HASH_ADD_KEYPTR(hh, rows->first, row->key, strlen(row->key), row);
    if (row->hh.tbl)
        return row;
    free(row);
    return NULL;
}

static void clear_rows(Rows *rows)
{
    Row *row, *next;

    HASH_ITER (hh, rows->first, row, next) {
        HASH_DEL(rows->first, row);
        free(row);
    }
}

/* Does the agent keep the key out of etcd for a reason that Docker knows nothing of? */
static bool is_held_out(const cJSON *container, const char *key)
{
    static const char *const reasons[] = { "stopping", "draining", "drained", "host-drained" };
    const cJSON *record = find_item(records_of(container), "key", key);

    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        if (is_text(container, "reason", reasons[i]))
            return true;
    return record && is_text(record, "reason", "duplicate");
}

static int add_expected(Rows *rows)
{
    const cJSON *container, *record;

    cJSON_ArrayForEach (container, rows->docker) {
        cJSON_ArrayForEach (record, records_of(container)) {
            const char *key = text_of(record, "key");
            Row *row;

            if (!key || is_held_out(find_container(agents_containers(rows), container), key))
                continue;
            row = get_row(rows, key);
            if (!row)
                return -ENOMEM;
            row->expected = record;
            row->container = container;
        }
    }
    return 0;
}

static int add_wanted(Rows *rows)
{
    const cJSON *container, *record;

    cJSON_ArrayForEach (container, agents_containers(rows)) {
        cJSON_ArrayForEach (record, records_of(container)) {
            const char *key = text_of(record, "key");
            Row *row;

            if (!key || is_text(record, "state", "out"))
                continue;
            row = get_row(rows, key);
            if (!row)
                return -ENOMEM;
            row->wanted = record;
            if (!row->container)
                row->container = container;
        }
    }
    return 0;
}

static int add_held(Rows *rows, const cJSON *api, size_t i)
{
    const cJSON *held;

    cJSON_ArrayForEach (held, cJSON_GetObjectItemCaseSensitive(api, "keys")) {
        const char *key = text_of(held, "key");
        Row *row;

        if (!key || !text_of(held, "value"))
            continue;
        /* Others' keys are no business of this host's, unless it wants them. */
        HASH_FIND_STR(rows->first, key, row);
        if (!row && cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(held, "ours"))) {
            row = get_row(rows, key);
            if (!row)
                return -ENOMEM;
        }
        if (row)
            row->held[i] = held;
    }
    return 0;
}

static bool says(const cJSON *object, const char *value)
{
    return object && is_text(object, "value", value);
}

static bool is_equal(const Row *row, size_t n_apis)
{
    const char *value = row->expected ? text_of(row->expected, "value") : NULL;
    bool equal = value && says(row->wanted, value);

    for (size_t i = 0; i < n_apis; i++)
        equal =
            equal && says(row->held[i], value) && cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(row->held[i], "ours"));
    return equal;
}

/* Strangers write labels and values. */
static void print_text(FILE *out, const char *text)
{
    CLEANUP_FREE char *printable = strdup(text ? text : "");

    if (printable)
        utf8_make_printable(printable);
    fputs(printable ? printable : "?", out);
}

/* Why one side, which has containers, has no such key. */
static void print_missing(FILE *out, const cJSON *containers, const cJSON *same, const char *unknown)
{
    const cJSON *container = same ? find_container(containers, same) : NULL;
    const char *text = text_of(container, "text");

    if (!same || (container && !text))
        fputs("no such key", out);
    else if (!container)
        fputs(unknown, out);
    else
        print_text(out, text);
}

static void print_side(FILE *out, const char *name, const cJSON *object, const char *note)
{
    fprintf(out, "  %-9s", name);
    if (object)
        print_text(out, text_of(object, "value"));
    if (note)
        fprintf(out, " (%s)", note);
}

static void print_row(FILE *out, const Rows *rows, const Row *row)
{
    const cJSON *api;
    size_t i = 0;

    print_text(out, row->key);
    if (row->container) {
        fputs(", container ", out);
        print_text(out, text_of(row->container, "name"));
    }
    fputs("\n", out);
    print_side(out, "Docker:", row->expected, NULL);
    if (!row->expected)
        print_missing(out, rows->docker, row->container, "does not run");
    fputs("\n", out);
    print_side(out, "agent:", row->wanted, row->wanted ? text_of(row->wanted, "state") : NULL);
    if (!row->wanted)
        print_missing(out, agents_containers(rows), row->container, "does not know the container");
    fputs("\n", out);
    cJSON_ArrayForEach (api, cJSON_GetObjectItemCaseSensitive(rows->etcd, "apis")) {
        const cJSON *held = i < APIS_MAX ? row->held[i++] : NULL;
        bool ours = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(held, "ours"));
        char name[16];

        (void)snprintf(name, sizeof(name), "etcd %.2s:", text_of(api, "api") ? text_of(api, "api") : "");
        print_side(out, name, held, held && !ours ? "somebody else's" : NULL);
        fputs(held ? "\n" : "nothing of ours\n", out);
    }
}

static int compare_rows(const Row *a, const Row *b)
{
    return strcmp(a->key, b->key);
}

int ctl_compare(FILE *out, const cJSON *docker, const cJSON *status, const cJSON *etcd, CtlComparison *ret)
{
    Rows rows = { .docker = docker, .status = status, .etcd = etcd };
    CtlComparison comparison = { 0 };
    const cJSON *api;
    size_t n_apis = 0;
    int r = add_expected(&rows);

    if (r >= 0)
        r = add_wanted(&rows);
    cJSON_ArrayForEach (api, cJSON_GetObjectItemCaseSensitive(etcd, "apis"))
        if (r >= 0 && n_apis < APIS_MAX)
            r = add_held(&rows, api, n_apis++);
    HASH_SORT(rows.first, compare_rows);
    for (const Row *row = rows.first; row && r >= 0; row = row->hh.next) {
        if (is_equal(row, n_apis)) {
            comparison.n_equal++;
            continue;
        }
        comparison.n_different++;
        print_row(out, &rows, row);
    }
    clear_rows(&rows);
    if (r >= 0)
        *ret = comparison;
    return r;
}
