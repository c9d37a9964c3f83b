#include "ctl/ctl_fleet.h"

#include "base/exit_status.h"
#include "base/json.h"
#include "base/text.h"
#include "base/utf8.h"
#include "ctl/ctl_call.h"
#include "ctl/ctl_table.h"
#include "ctl/ctl_watch.h"
#include "fleet/fleet_reader.h"

#include <string.h>
#include <sys/ioctl.h>

enum {
    KEYS_MAX = 100000,
    WATCH_S = 5, /* long enough, because each redraw reads all keys and leases */
};

/* ---- reading ---- */

typedef struct Answer {
    sd_event *event;
    Fleet *fleet;
} Answer;

static void on_read(void *userdata, Fleet *fleet, const char *why)
{
    Answer *answer = userdata;

    answer->fleet = fleet;
    if (!fleet)
        fprintf(stderr, "registrator: %s\n", why);
    (void)sd_event_exit(answer->event, 0);
}

static Fleet *read_fleet(const Settings *settings)
{
    CLEANUP(fleet_reader_free_p) FleetReader *reader = NULL;
    Answer answer = { 0 };
    int r = sd_event_new(&answer.event);

    if (r >= 0)
        r = fleet_read(&reader, answer.event, settings, (ListingLimits){ KEYS_MAX, LISTING_TEXT_MAX }, on_read,
                       &answer);
    if (r >= 0)
        r = sd_event_loop(answer.event);
    if (r < 0)
        fprintf(stderr, "registrator: cannot ask etcd: %s\n", strerror(-r));
    reader = fleet_reader_free(reader);
    sd_event_unref(answer.event);
    return answer.fleet;
}

Fleet *ctl_read_fleet(Settings *settings)
{
    CLEANUP_FREE char *error = NULL;
    Fleet *fleet;
    int r = settings_read_password(settings, &settings->etcd_password, &error);

    if (r < 0) {
        fprintf(stderr, "registrator: %s\n", error ? error : strerror(-r));
        return NULL;
    }
    fleet = read_fleet(settings);
    text_free_secret(settings->etcd_password);
    settings->etcd_password = NULL;
    return fleet;
}

/* ---- the table ---- */

enum { COLUMNS = 7, TEXT_WIDTH_MAX = 24 };

/* The cells of a row. The texts belong to the row, or are in the buffers. */
typedef struct Cells {
    const char *texts[COLUMNS];
    char age[FLEET_TEXT_MAX], ttl[FLEET_TEXT_MAX], anomalies[FLEET_TEXT_MAX];
} Cells;

static const Cells header = {
    .texts = { "SERVICE", "CONTAINER", "ADDRESS", "HOST", "AGE", "TTL", "ANOMALIES" },
};

static void fill_cells(Cells *cells, const FleetRow *row)
{
    const char *texts[COLUMNS] = { *row->service != '\0' ? row->service : "-",
                                   *row->container != '\0' ? row->container : row->key,
                                   row->address,
                                   *row->host != '\0' ? row->host : "-",
                                   cells->age,
                                   cells->ttl,
                                   cells->anomalies };

    fleet_age_text(row, cells->age, sizeof(cells->age));
    fleet_ttl_text(row, cells->ttl, sizeof(cells->ttl));
    fleet_anomalies_text(row, cells->anomalies, sizeof(cells->anomalies));
    memcpy(cells->texts, texts, sizeof(texts));
}

static void widen(size_t widths[static COLUMNS], const Cells *cells)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        size_t width = utf8_columns(cells->texts[i]);

        if (width > TEXT_WIDTH_MAX)
            width = TEXT_WIDTH_MAX;
        if (width > widths[i])
            widths[i] = width;
    }
}

/* The line has no blanks at its end, and is not wider than the terminal. */
static void print_cells(FILE *out, const size_t widths[static COLUMNS], size_t columns, const Cells *cells)
{
    TextStream stream;
    FILE *line = text_stream_open(&stream);
    CLEANUP_FREE char *text = NULL;
    size_t length;

    for (size_t i = 0; line && i < COLUMNS; i++) {
        ctl_print_cell(line, cells->texts[i], i + 1 < COLUMNS ? widths[i] : SIZE_MAX, i + 1 < COLUMNS);
        fputs("  ", line);
    }
    text = line ? text_stream_close(&stream, line) : NULL;
    if (!text)
        return;
    length = strlen(text);
    while (length > 0 && text[length - 1] == ' ')
        text[--length] = '\0';
    ctl_print_cell(out, text, columns, false);
    fputc('\n', out);
}

static void print_fleet(FILE *out, const Fleet *fleet, size_t columns)
{
    size_t widths[COLUMNS] = { 0 };
    Cells cells;

    widen(widths, &header);
    for (size_t i = 0; i < fleet->n_rows; i++) {
        fill_cells(&cells, &fleet->rows[i]);
        widen(widths, &cells);
    }
    print_cells(out, widths, columns, &header);
    for (size_t i = 0; i < fleet->n_rows; i++) {
        fill_cells(&cells, &fleet->rows[i]);
        print_cells(out, widths, columns, &cells);
    }
    fprintf(out, "%zu key%s, %zu with an anomaly", fleet->n_rows, fleet->n_rows == 1 ? "" : "s", fleet->n_anomalies);
    if (fleet->left_out > 0)
        fprintf(out, "; left out: %zu", fleet->left_out);
    for (size_t i = 0; i < fleet->n_unreadable; i++)
        fprintf(out, "%s%s", i == 0 ? "; not readable: " : ", ", fleet->unreadable[i]);
    fputc('\n', out);
}

static size_t terminal_columns(void)
{
    struct winsize size;

    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
                                                                                                    : SIZE_MAX;
}

static void draw_fleet(void *userdata, FILE *out, unsigned columns)
{
    Settings settings = *(const Settings *)userdata;
    CLEANUP(fleet_free_p) Fleet *fleet = ctl_read_fleet(&settings);

    if (fleet)
        print_fleet(out, fleet, columns);
}

static int print_once(const Settings *given, const CtlOptions *options)
{
    Settings settings = *given;
    CLEANUP(fleet_free_p) Fleet *fleet = ctl_read_fleet(&settings);
    CLEANUP_JSON cJSON *json = NULL;

    if (!fleet)
        return EXIT_NOT_POSSIBLE;
    if (options->output == CTL_JSON) {
        json = fleet_json(fleet);
        ctl_print_json(json);
    } else {
        print_fleet(stdout, fleet, terminal_columns());
    }
    return EXIT_SUCCESS;
}

int ctl_fleet(const Settings *settings, const CtlOptions *options)
{
    return options->output == CTL_WATCH ? ctl_watch(WATCH_S, draw_fleet, (void *)settings)
                                        : print_once(settings, options);
}
