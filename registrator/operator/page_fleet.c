#include "operator/page_private.h"

#include "base/text.h"

#include <string.h>

enum { ROWS_MAX = 4000000 }; /* bytes of HTML; the last row may end some KB later */

/* shown: the number of rows on the page. */
static void print_facts(FILE *out, const Fleet *fleet, size_t shown, const char *why, const char *prefixes,
                        const char *time)
{
    size_t n_left_out = fleet ? fleet->left_out + fleet->n_rows - shown : 0;
    char keys[96] = "", left_out[64] = "";

    if (fleet)
        (void)snprintf(keys, sizeof(keys), "%zu, %zu with an anomaly", fleet->n_rows, fleet->n_anomalies);
    if (n_left_out > 0)
        (void)snprintf(left_out, sizeof(left_out), "%zu key%s", n_left_out, n_left_out == 1 ? "" : "s");
    fputs("<dl>\n", out);
    page_term(out, "Keys below", prefixes, NULL);
    page_term(out, "Keys", keys, NULL);
    page_term(out, "Left out", left_out, NULL);
    for (size_t i = 0; fleet && i < fleet->n_unreadable; i++)
        page_term(out, "Not readable", fleet->unreadable[i], NULL);
    page_term(out, "etcd", fleet ? "" : why ? why : "The agent is asking etcd.", NULL);
    page_term(out, "Read", time, NULL);
    fputs("</dl>\n", out);
}

static void print_cell(FILE *out, const char *text)
{
    fputs("<td>", out);
    page_text(out, text);
    fputs("</td>", out);
}

static void print_row(FILE *out, const FleetRow *row)
{
    char age[FLEET_TEXT_MAX], ttl[FLEET_TEXT_MAX], anomalies[FLEET_TEXT_MAX];

    fleet_age_text(row, age, sizeof(age));
    fleet_ttl_text(row, ttl, sizeof(ttl));
    fleet_anomalies_text(row, anomalies, sizeof(anomalies));
    fputs("<tr>", out);
    print_cell(out, row->service);
    print_cell(out, *row->container != '\0' ? row->container : row->key);
    print_cell(out, row->address);
    print_cell(out, row->host);
    print_cell(out, age);
    print_cell(out, ttl);
    fprintf(out, "<td class=\"rejected\">%s</td></tr>\n", anomalies);
}

static char *rows_html(const Fleet *fleet, size_t *ret_shown)
{
    TextStream stream;
    FILE *out = text_stream_open(&stream);
    size_t shown = 0;

    if (!out)
        return NULL;
    fputc('\n', out); /* an empty stream has no text */
    while (shown < fleet->n_rows && stream.text.size < ROWS_MAX)
        print_row(out, &fleet->rows[shown++]);
    *ret_shown = shown;
    return text_stream_close(&stream, out);
}

char *page_fleet_html(const Fleet *fleet, const char *why, const char *prefixes, const char *time)
{
    static const char *const columns[] = { "Service", "Container", "Address", "Host", "Age", "TTL", "Anomalies", NULL };
    bool waiting = !fleet && !why;
    size_t shown = 0;
    CLEANUP_FREE char *rows = fleet ? rows_html(fleet, &shown) : NULL;
    TextStream stream;
    FILE *out = fleet && !rows ? NULL : text_stream_open(&stream);

    if (!out)
        return NULL;
    page_begin(out, "All hosts", "Keys of all hosts", waiting ? "<meta http-equiv=\"refresh\" content=\"1\">\n" : "");
    print_facts(out, fleet, shown, why, prefixes, time);
    page_begin_table(out, "fleet", columns);
    if (rows)
        fputs(rows, out);
    page_end(out);
    return text_stream_close(&stream, out);
}
