#include "ctl/ctl_table.h"

#include "base/json.h"
#include "base/text.h"
#include "catalog/record.h"
#include "base/utf8.h"
#include "catalog/reason.h"

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
    STATE_WIDTH = 12, /* "unregistered" */
};

typedef struct Table {
    FILE *out;
    size_t width;
    size_t name_width;
    bool colour;
} Table;

const char *ctl_text(const cJSON *object, const char *name)
{
    char *text = cJSON_GetStringValue(json_get(object, name));

    if (!text)
        return "";
    utf8_make_printable(text);
    return text;
}

void ctl_print_cell(FILE *out, const char *text, size_t width, bool pad)
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
    if (strcmp(state, "unregistered") == 0)
        return "\033[33m";
    return "\033[31m";
}

static size_t rest_width(const Table *table)
{
    return table->width - table->name_width - STATE_WIDTH - 4;
}

static void print_row(const Table *table, const char *name, const char *state, const char *rest)
{
    ctl_print_cell(table->out, name, table->name_width, true);
    fputs("  ", table->out);
    if (table->colour)
        fputs(colour_of(state), table->out);
    ctl_print_cell(table->out, state, STATE_WIDTH, true);
    if (table->colour)
        fputs("\033[0m", table->out);
    fputs("  ", table->out);
    ctl_print_cell(table->out, rest, rest_width(table), false);
    fputc('\n', table->out);
}

__attribute__((format(printf, 2, 3))) static void print_line(const Table *table, const char *format, ...)
{
    CLEANUP_FREE char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    ctl_print_cell(table->out, text ? text : "", table->width, false);
    fputc('\n', table->out);
}

/* Makes "key = value". If the text is too wide, its key loses its beginning, because the value and the key's end matter
 * most. */
static char *describe_registered(const char *key, const char *value, size_t width)
{
    enum { KEY_MIN = 8 };
    size_t rest = utf8_columns(value) + strlen(" = "), columns = utf8_columns(key), cut;

    if (columns + rest <= width || rest + KEY_MIN > width)
        return text_format("%s = %s", key, value);
    /* The cut makes room for the "…" too. A wide character is cut as a whole. */
    key += utf8_fit(key, columns + rest + 1 - width, &cut);
    if (columns - cut + rest + 1 > width)
        key += utf8_length(key, &(uint32_t){ 0 });
    return text_format("…%s = %s", key, value);
}

/* Does the reason concern the port, although the key is known? */
static bool is_about_port(const cJSON *record)
{
    return reason_from_token(ctl_text(record, "reason")) == REASON_NOT_LISTENING;
}

/* Describes a record: its key and value, or the reason why it has no key. */
static char *describe_in_layout(const cJSON *record, size_t width)
{
    const char *state = ctl_text(record, "state");

    if (strcmp(state, "registered") == 0)
        return describe_registered(ctl_text(record, "key"), ctl_text(record, "value"), width);
    if (strcmp(state, "conflict") == 0)
        return text_format("%s belongs to another owner, with value %s", ctl_text(record, "key"),
                           ctl_text(record, "holder"));
    if (strcmp(state, "unregistered") == 0 && (*ctl_text(record, "key") == '\0' || is_about_port(record)))
        return text_format("%d/%s: %s", (int)json_int64(record, "port", 0), ctl_text(record, "protocol"),
                           ctl_text(record, "text"));
    return text_format("%s: %s", ctl_text(record, "key"), ctl_text(record, "text"));
}

/* Adds "[NAME] ", the section of the record's layout. The default layout has no name. */
static char *describe_record(const cJSON *record, size_t width)
{
    const char *layout = ctl_text(record, "layout");
    bool is_named = *layout != '\0' && strcmp(layout, LAYOUT_DEFAULT) != 0;
    size_t taken = is_named ? strlen(layout) + strlen("[] ") : 0;
    char *text = describe_in_layout(record, taken < width ? width - taken : 0), *named;

    if (!text || !is_named)
        return text;
    named = text_format("[%s] %s", layout, text);
    free(text);
    return named;
}

static void print_container_rows(const Table *table, const cJSON *container)
{
    const char *name = ctl_text(container, "name"), *state = ctl_text(container, "state");
    const cJSON *records = json_get(container, "records"), *record;
    bool whole = strcmp(state, "unregistered") == 0 && *ctl_text(container, "reason") != '\0';

    if (whole || cJSON_GetArraySize(records) == 0) {
        print_row(table, name, state, ctl_text(container, "text"));
        return;
    }
    cJSON_ArrayForEach (record, records) {
        CLEANUP_FREE char *text = describe_record(record, rest_width(table));

        print_row(table, name, ctl_text(record, "state"), text ? text : "");
        name = "";
    }
}

static size_t find_name_width(const cJSON *containers)
{
    size_t widest = strlen("CONTAINER");
    const cJSON *container;

    cJSON_ArrayForEach (container, containers) {
        size_t width = utf8_columns(ctl_text(container, "name"));

        if (width > widest)
            widest = width;
    }
    return widest < NAME_WIDTH_MAX ? widest : NAME_WIDTH_MAX;
}

static void print_status(Table *table, const cJSON *status)
{
    const cJSON *docker = json_get(status, "docker");
    const cJSON *etcd = json_get(status, "etcd");
    const cJSON *containers = json_get(status, "containers"), *container;
    const char *docker_why = ctl_text(docker, "why"), *etcd_why = ctl_text(etcd, "why");

    table->name_width = find_name_width(containers);
    print_line(table, "Node:    %s%s", ctl_text(status, "node"),
               cJSON_IsTrue(json_get(status, "drained")) ? ", drained ('registrator undrain' registers it again)" : "");
    print_line(table, "Address: %s%s%s", ctl_text(status, "address4"),
               *ctl_text(status, "address4") != '\0' && *ctl_text(status, "address6") != '\0' ? ", " : "",
               ctl_text(status, "address6"));
    print_line(table, "Docker:  %s", *docker_why != '\0' ? docker_why : ctl_text(docker, "url"));
    print_line(table, "etcd:    %s", *etcd_why != '\0' ? etcd_why : ctl_text(etcd, "store"));
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
    if (*ctl_text(object, "remedy") != '\0')
        fprintf(out, "%sTo do: %s\n", indent, ctl_text(object, "remedy"));
}

void ctl_print_history(FILE *out, const cJSON *events, bool with_names)
{
    const cJSON *event;

    cJSON_ArrayForEach (event, events) {
        const char *why = ctl_text(event, "why");

        fprintf(out, "%s  ", ctl_text(event, "time"));
        if (with_names)
            fprintf(out, "%s  ", *ctl_text(event, "container") != '\0' ? ctl_text(event, "container") : "-");
        fprintf(out, "%s%s%s%s\n", ctl_text(event, "text"), *why != '\0' ? " (" : "", why, *why != '\0' ? ")" : "");
    }
}

void ctl_print_container(FILE *out, const cJSON *container)
{
    const cJSON *records = json_get(container, "records"), *record;
    const char *state = ctl_text(container, "state");

    fprintf(out, "%s (%.12s): %s%s%s\n", ctl_text(container, "name"), ctl_text(container, "id"), state,
            *ctl_text(container, "text") != '\0' ? ", " : "", ctl_text(container, "text"));
    if (strcmp(state, "registered") != 0)
        print_remedy(out, container, "");
    if (*ctl_text(container, "left_out") != '\0')
        fprintf(out, "  %s\n", ctl_text(container, "left_out"));
    cJSON_ArrayForEach (record, records) {
        CLEANUP_FREE char *text = describe_record(record, SIZE_MAX);

        fprintf(out, "  %s: %s\n", ctl_text(record, "state"), text ? text : "");
        if (*ctl_text(record, "note") != '\0')
            fprintf(out, "    %s\n", ctl_text(record, "note"));
        if (strcmp(ctl_text(record, "state"), "registered") != 0 && strcmp(state, "unregistered") != 0)
            print_remedy(out, record, "    ");
    }
    if (cJSON_GetArraySize(json_get(container, "history")) > 0) {
        fputs("\n", out);
        ctl_print_history(out, json_get(container, "history"), false);
    }
}
