#include "ctl_table.h"

#include "cleanup.h"
#include "utf8.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
    WIDTH_DEFAULT = 80,
    WIDTH_MIN = 60,
    NAME_WIDTH_MAX = 24,
    STATE_WIDTH = 10, /* "registered" */
};

typedef struct Table {
    FILE *out;
    size_t width;
    size_t name_width;
    bool colour;
} Table;

static const char *text_of(const cJSON *object, const char *name)
{
    char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

    if (!text)
        return "";
    utf8_make_printable(text); /* some of it comes from strangers: labels, other hosts' values */
    return text;
}

/* Prints at most width columns, padded to them if pad. What was cut ends in "…". */
static void print_cell(FILE *out, const char *text, size_t width, bool pad)
{
    size_t printed, size = utf8_fit(text, width, &printed);
    bool cut = text[size] != '\0';

    if (cut)
        size = utf8_fit(text, width - 1, &printed);
    (void)fwrite(text, 1, size, out);
    if (cut) {
        fputs("…", out);
        printed++;
    }
    for (; pad && printed < width; printed++)
        fputc(' ', out);
}

static const char *colour_of(const char *state)
{
    if (strcmp(state, "registered") == 0)
        return "\033[32m";
    if (strcmp(state, "out") == 0)
        return "\033[33m";
    return "\033[31m";
}

static size_t rest_width(const Table *table)
{
    return table->width - table->name_width - STATE_WIDTH - 4;
}

static void print_row(const Table *table, const char *name, const char *state, const char *rest)
{
    print_cell(table->out, name, table->name_width, true);
    fputs("  ", table->out);
    if (table->colour)
        fputs(colour_of(state), table->out);
    print_cell(table->out, state, STATE_WIDTH, true);
    if (table->colour)
        fputs("\033[0m", table->out);
    fputs("  ", table->out);
    print_cell(table->out, rest, rest_width(table), false);
    fputc('\n', table->out);
}

__attribute__((format(printf, 2, 3))) static void print_line(const Table *table, const char *format, ...)
{
    CLEANUP_FREE char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    print_cell(table->out, text ? text : "", table->width, false);
    fputc('\n', table->out);
}

/* "key = value" in at most width columns if that is possible without the key's beginning: the value is what is
 * looked for, and a key's end is what tells it from others. */
static int describe_registered(const char *key, const char *value, size_t width, char **ret)
{
    enum { KEY_MIN = 8 };
    size_t rest = utf8_columns(value) + strlen(" = ");

    if (utf8_columns(key) + rest <= width || rest + KEY_MIN > width)
        return asprintf(ret, "%s = %s", key, value);
    while (utf8_columns(key) + rest + 1 > width) {
        uint32_t character;

        key += utf8_length(key, &character);
    }
    return asprintf(ret, "…%s = %s", key, value);
}

/* What a record comes to: its key and value, or why it has none. */
static char *describe_record(const cJSON *record, size_t width)
{
    const char *state = text_of(record, "state"), *api = text_of(record, "api"); /* of two, which has it not */
    char *text = NULL;
    int r;

    if (strcmp(state, "registered") == 0)
        r = describe_registered(text_of(record, "key"), text_of(record, "value"), width, &text);
    else if (strcmp(state, "conflict") == 0)
        r = asprintf(&text, "%s is held with value %s%s%s", text_of(record, "key"), text_of(record, "holder"),
                     *api != '\0' ? " in etcd " : "", api);
    else if (strcmp(state, "out") == 0 && *text_of(record, "key") == '\0')
        r = asprintf(&text, "%d/%s: %s", cJSON_GetObjectItem(record, "port")->valueint, text_of(record, "protocol"),
                     text_of(record, "text"));
    else
        r = asprintf(&text, "%s: %s%s%s", text_of(record, "key"), text_of(record, "text"),
                     *api != '\0' ? ", in etcd " : "", api);
    return r < 0 ? NULL : text;
}

static void print_container_rows(const Table *table, const cJSON *container)
{
    const char *name = text_of(container, "name"), *state = text_of(container, "state");
    const cJSON *records = cJSON_GetObjectItemCaseSensitive(container, "records"), *record;
    bool whole = strcmp(state, "out") == 0 && *text_of(container, "reason") != '\0';

    if (whole || cJSON_GetArraySize(records) == 0) {
        print_row(table, name, state, text_of(container, "text"));
        return;
    }
    cJSON_ArrayForEach (record, records) {
        CLEANUP_FREE char *text = describe_record(record, rest_width(table));

        print_row(table, name, text_of(record, "state"), text ? text : "");
        name = "";
    }
}

static size_t find_name_width(const cJSON *containers)
{
    size_t widest = strlen("CONTAINER");
    const cJSON *container;

    cJSON_ArrayForEach (container, containers) {
        size_t width = utf8_columns(text_of(container, "name"));

        if (width > widest)
            widest = width;
    }
    return widest < NAME_WIDTH_MAX ? widest : NAME_WIDTH_MAX;
}

static void print_status(Table *table, const cJSON *status)
{
    const cJSON *docker = cJSON_GetObjectItemCaseSensitive(status, "docker");
    const cJSON *etcd = cJSON_GetObjectItemCaseSensitive(status, "etcd");
    const cJSON *containers = cJSON_GetObjectItemCaseSensitive(status, "containers"), *container;
    const char *docker_why = text_of(docker, "why"), *etcd_why = text_of(etcd, "why");

    table->name_width = find_name_width(containers);
    print_line(table, "Node:    %s%s", text_of(status, "node"),
               cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(status, "drained"))
                   ? ", drained ('registrator undrain' lets it back in)"
                   : "");
    print_line(table, "Address: %s%s%s", text_of(status, "address4"),
               *text_of(status, "address4") != '\0' && *text_of(status, "address6") != '\0' ? ", " : "",
               text_of(status, "address6"));
    print_line(table, "Docker:  %s", *docker_why != '\0' ? docker_why : text_of(docker, "url"));
    print_line(table, "etcd:    %s", *etcd_why != '\0' ? etcd_why : text_of(etcd, "store"));
    fputc('\n', table->out);
    print_line(table, "%-*s  %-*s  %s", (int)table->name_width, "CONTAINER", STATE_WIDTH, "STATE",
               "KEY = VALUE, OR WHY NOT");
    cJSON_ArrayForEach (container, containers)
        print_container_rows(table, container);
}

void ctl_print_status(FILE *out, const cJSON *status)
{
    Table table = { .out = out, .width = WIDTH_DEFAULT };
    struct winsize size;

    if (isatty(fileno(out))) {
        table.colour = !getenv("NO_COLOR");
        if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col >= WIDTH_MIN)
            table.width = size.ws_col;
    }
    print_status(&table, status);
}

void ctl_print_status_for(FILE *out, const cJSON *status, unsigned columns)
{
    Table table = { .out = out, .width = columns > WIDTH_MIN ? columns : WIDTH_MIN, .colour = !getenv("NO_COLOR") };

    print_status(&table, status);
}

static void print_remedy(FILE *out, const cJSON *object, const char *indent)
{
    if (*text_of(object, "remedy") != '\0')
        fprintf(out, "%sTo do: %s\n", indent, text_of(object, "remedy"));
}

void ctl_print_container(FILE *out, const cJSON *container)
{
    const cJSON *records = cJSON_GetObjectItemCaseSensitive(container, "records"), *record;
    const char *state = text_of(container, "state");

    fprintf(out, "%s (%.12s): %s%s%s\n", text_of(container, "name"), text_of(container, "id"), state,
            *text_of(container, "text") != '\0' ? ", " : "", text_of(container, "text"));
    if (strcmp(state, "registered") != 0)
        print_remedy(out, container, "");
    cJSON_ArrayForEach (record, records) {
        CLEANUP_FREE char *text = describe_record(record, SIZE_MAX);

        fprintf(out, "  %s: %s\n", text_of(record, "state"), text ? text : "");
        if (strcmp(text_of(record, "state"), "registered") != 0 && strcmp(state, "out") != 0)
            print_remedy(out, record, "    ");
    }
}
