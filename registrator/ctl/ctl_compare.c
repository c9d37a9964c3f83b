#define HASH_NONFATAL_OOM 1
#include "ctl/ctl_compare.h"

#include "base/json.h"
#include "catalog/record.h"
#include "ctl/ctl_table.h"

#include <errno.h>
#include <string.h>
#include <uthash.h>

/* One key in the three reports. The answers own the strings. */
typedef struct Row {
    const char *key;
    const cJSON *expected, *wanted, *present; /* in Docker, agent, etcd: objects with a "value", or NULL */
    const cJSON *container; /* from Docker's or the agent's report */
    UT_hash_handle hh;
} Row;

typedef struct Rows {
    Row *first;
    const cJSON *docker, *agent; /* containers */
    const char *api, *lease; /* the agent's; NULL: none */
} Rows;

static bool is_text(const cJSON *object, const char *name, const char *text)
{
    const char *found = json_string(object, name);

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
    const char *id = json_string(same, "id");

    return id ? find_item(containers, "id", id) : NULL;
}

/* Returns NULL without memory. */
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

/* Does the agent have a reason that Docker's answers do not show? */
static bool only_agent_knows(const cJSON *object)
{
    return reason_source(reason_from_token(json_string(object, "reason"))) == REASON_OF_AGENT;
}

static bool is_left_out(const cJSON *container, const char *key)
{
    return only_agent_knows(container) || only_agent_knows(find_item(json_get(container, "records"), "key", key));
}

/* What Docker's containers come to, or what the agent wants. */
static int add_records(Rows *rows, bool of_docker)
{
    const cJSON *containers = of_docker ? rows->docker : rows->agent, *container, *record;

    cJSON_ArrayForEach (container, containers) {
        cJSON_ArrayForEach (record, json_get(container, "records")) {
            const char *key = json_string(record, "key");
            Row *row;

            if (!key || (of_docker ? is_left_out(find_container(rows->agent, container), key)
                                   : is_text(record, "state", "unregistered")))
                continue;
            row = get_row(rows, key);
            if (!row)
                return -ENOMEM;
            *(of_docker ? &row->expected : &row->wanted) = record;
            if (of_docker || !row->container)
                row->container = container;
        }
    }
    return 0;
}

static bool says(const cJSON *object, const char *value)
{
    return object && is_text(object, "value", value);
}

/* v3: the key is under the agent's lease. v2: it has a TTL and the value that the agent wants. */
static bool is_ours(const Rows *rows, const Row *row, const cJSON *present)
{
    const char *value = json_string(present, "value");

    if (json_get(present, "lease"))
        return rows->lease && is_text(present, "lease", rows->lease);
    return row && value && json_get(present, "ttl") && says(row->wanted, value);
}

static int add_present(Rows *rows, const cJSON *etcd)
{
    const cJSON *present;

    cJSON_ArrayForEach (present, json_get(etcd, "keys")) {
        const char *key = json_string(present, "key");
        Row *row;

        if (!key || !json_string(present, "value"))
            continue;
        HASH_FIND_STR(rows->first, key, row);
        /* Other owners' keys count only if this host wants the same key. */
        if (!row && !is_ours(rows, NULL, present))
            continue;
        row = get_row(rows, key);
        if (!row)
            return -ENOMEM;
        row->present = present;
    }
    return 0;
}

static bool is_equal(const Rows *rows, const Row *row)
{
    const char *value = row->expected ? json_string(row->expected, "value") : NULL;

    return value && says(row->wanted, value) && says(row->present, value) && is_ours(rows, row, row->present);
}

/* Returns why a side with a list of containers has no such key. */
static const char *why_missing(const cJSON *containers, const cJSON *same, const char *unknown)
{
    const cJSON *container = same ? find_container(containers, same) : NULL;

    if (same && !container)
        return unknown;
    return json_string(container, "text") ? ctl_text(container, "text") : "no such key";
}

/* note: on the value; "": none. */
static void print_side(FILE *out, const char *name, const cJSON *object, const char *note, const char *missing)
{
    fprintf(out, "  %-9s%s", name, object ? ctl_text(object, "value") : missing);
    if (object && *note != '\0')
        fprintf(out, " (%s)", note);
    fputc('\n', out);
}

static void print_row(FILE *out, const Rows *rows, const Row *row)
{
    const cJSON *record = row->expected ? row->expected : row->wanted;
    const char *layout = ctl_text(record, "layout");
    char name[16];

    fputs(ctl_text(record ? record : row->present, "key"), out);
    if (row->container)
        fprintf(out, ", container %s", ctl_text(row->container, "name"));
    if (*layout != '\0' && strcmp(layout, LAYOUT_DEFAULT) != 0)
        fprintf(out, ", layout %s", layout);
    fputc('\n', out);
    print_side(out, "Docker:", row->expected, "", why_missing(rows->docker, row->container, "does not run"));
    print_side(out, "agent:", row->wanted, ctl_text(row->wanted, "state"),
               why_missing(rows->agent, row->container, "does not know the container"));
    (void)snprintf(name, sizeof(name), "etcd %s:", rows->api ? rows->api : "?");
    print_side(out, name, row->present, is_ours(rows, row, row->present) ? "" : "of another owner",
               "no key of this host");
}

static int compare_rows(const Row *a, const Row *b)
{
    return strcmp(a->key, b->key);
}

int ctl_compare(FILE *out, const cJSON *docker, const cJSON *status, const cJSON *etcd, CtlComparison *ret)
{
    Rows rows = { .docker = docker,
                  .agent = json_get(status, "containers"),
                  .api = json_string(json_get(status, "etcd"), "api"),
                  .lease = json_string(json_get(status, "etcd"), "lease") };
    CtlComparison comparison = { 0 };
    int r = add_records(&rows, true);

    if (r >= 0)
        r = add_records(&rows, false);
    if (r >= 0)
        r = add_present(&rows, etcd);
    HASH_SORT(rows.first, compare_rows);
    for (const Row *row = rows.first; row && r >= 0; row = row->hh.next) {
        if (is_equal(&rows, row)) {
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
