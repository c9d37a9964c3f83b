#include "operator/page_private.h"

#include "catalog/record.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"

#include <stdbool.h>
#include <string.h>

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#59636e;--line:#d1d9e0;--ok:#116329;--idle:#7d4e00;"
    "--bad:#a40e26}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--dim:#9198a1;--line:#3d444d;--ok:#4ac26b;"
    "--idle:#d4a72c;--bad:#ff8182}}\n"
    "body{margin:1rem auto;max-width:72rem;padding:0 1rem;background:var(--bg);color:var(--fg);"
    "font:15px/1.45 system-ui,sans-serif}\n"
    "nav "
    "a{margin-right:1rem;color:var(--dim)}\nh1{font-size:1.3rem}\ndl{display:grid;grid-template-columns:max-content "
    "1fr;gap:.1rem 1rem}\n"
    "dt{color:var(--dim)}\ndd{margin:0;overflow-wrap:anywhere}\n"
    "input{font:inherit;width:100%;max-width:24rem;padding:.3rem .5rem;box-sizing:border-box}\n"
    "table{border-collapse:collapse;width:100%;margin-top:.8rem}\n"
    "th{text-align:left;color:var(--dim);font-weight:normal;white-space:nowrap}\n"
    "th,td{padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}\n"
    "td{overflow-wrap:anywhere}\n#containers td:nth-child(2){overflow-wrap:normal}\n"
    "#fleet td:nth-child(4){min-width:8rem}#fleet td:nth-child(5),#fleet td:nth-child(6){white-space:nowrap}\n"
    ".remedy{color:var(--dim)}\n.registered{color:var(--ok)}\n.unregistered{color:var(--idle)}\n"
    ".pending,.conflict,.rejected{color:var(--bad)}\n"
    "@media(max-width:40rem){thead{display:none}tr,td{display:block}tr{border-bottom:1px solid var(--line);"
    "padding:.4rem 0}td{border:0;padding:0}td:first-child{font-weight:bold}}\n";

/* Replaces the page's parts by the parts of a newer page, and keeps the filter. A link can set the filter:
 * /fleet#web. */
static const char script[] =
    "'use strict';\n"
    "const box = document.getElementById('filter');\n"
    "function filter() {\n"
    "  const text = box.value.toLowerCase();\n"
    "  for (const row of document.querySelectorAll('tbody tr'))\n"
    "    row.hidden = !row.textContent.toLowerCase().includes(text);\n"
    "}\n"
    "async function refresh() {\n"
    "  try {\n"
    "    const answer = await fetch(location.pathname, { cache: 'no-store' });\n"
    "    if (!answer.ok) throw new Error(answer.status);\n"
    "    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');\n"
    "    for (const part of ['dl', 'table'])\n"
    "      document.querySelector(part).replaceWith(document.adoptNode(page.querySelector(part)));\n"
    "    document.getElementById('age').textContent = '';\n"
    "    filter();\n"
    "  } catch (error) {\n"
    "    document.getElementById('age').textContent = 'The agent does not answer: this page is old.';\n"
    "  }\n"
    "}\n"
    "box.parentElement.hidden = false;\n"
    "box.addEventListener('input', filter);\n"
    "setInterval(refresh, 5000);\n"
    "box.value = decodeURIComponent(location.hash.slice(1));\n"
    "filter();\n";

const char *page_file(const char *path, const char **ret_type)
{
    static const struct {
        const char *path, *type, *text;
    } files[] = { { "/page.css", "text/css; charset=utf-8", style },
                  { "/page.js", "text/javascript; charset=utf-8", script } };

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        if (strcmp(path, files[i].path) != 0)
            continue;
        *ret_type = files[i].type;
        return files[i].text;
    }
    return NULL;
}

void page_text(FILE *out, const char *text)
{
    static const char special[] = "&<>\"'";
    static const char *const entities[] = { "&amp;", "&lt;", "&gt;", "&quot;", "&#39;" };

    for (const char *p = text ? text : ""; *p != '\0'; p++) {
        const char *found = strchr(special, *p);

        if (found)
            fputs(entities[found - special], out);
        else
            fputc(*p, out);
    }
}

void page_term(FILE *out, const char *term, const char *text, const char *more)
{
    if ((!text || *text == '\0') && (!more || *more == '\0'))
        return;
    fprintf(out, "<dt>%s</dt><dd>", term);
    page_text(out, text);
    if (text && *text != '\0' && more && *more != '\0')
        fputs(", ", out);
    page_text(out, more);
    fputs("</dd>\n", out);
}

static const char *why_or(const cJSON *object, const char *name)
{
    const char *why = json_string(object, "why");

    return why && *why != '\0' ? why : json_string(object, name);
}

static void print_host(FILE *out, const cJSON *status)
{
    fputs("<dl id=\"host\">\n", out);
    page_term(out, "Host", json_string(status, "node"), cJSON_IsTrue(json_get(status, "drained")) ? "drained" : NULL);
    page_term(out, "Address", json_string(status, "address4"), json_string(status, "address6"));
    page_term(out, "Docker", why_or(json_get(status, "docker"), "url"), NULL);
    page_term(out, "etcd", why_or(json_get(status, "etcd"), "store"), NULL);
    fputs("</dl>\n", out);
}

/* The state names the style, so it must be one of the known states. */
static const char *state_of(const cJSON *object)
{
    static const char *const states[] = { "registered", "pending", "conflict", "rejected" };
    const char *state = json_string(object, "state");

    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        if (state && strcmp(state, states[i]) == 0)
            return states[i];
    return "unregistered";
}

static void begin_row(FILE *out, const cJSON *container, const char *state)
{
    fputs("<tr><td>", out);
    page_text(out, json_string(container, "name"));
    fprintf(out, "</td><td class=\"%s\">%s</td><td>", state, state);
}

static void end_row(FILE *out, const cJSON *object, const char *state)
{
    fputs("</td><td class=\"remedy\">", out);
    if (strcmp(state, "registered") != 0)
        page_text(out, json_string(object, "remedy"));
    fputs("</td></tr>\n", out);
}

static void print_record(FILE *out, const cJSON *container, const cJSON *record)
{
    const char *state = state_of(record), *key = json_string(record, "key"), *holder = json_string(record, "holder");
    const char *layout = json_string(record, "layout");

    begin_row(out, container, state);
    if (layout && strcmp(layout, LAYOUT_DEFAULT) != 0) {
        fputs("[", out);
        page_text(out, layout);
        fputs("] ", out);
    }
    if (!key)
        fprintf(out, "%d/", (int)json_int64(record, "port", 0));
    page_text(out, key ? key : json_string(record, "protocol"));
    fputs(strcmp(state, "registered") == 0 ? " = " : ": ", out);
    page_text(out, json_string(record, strcmp(state, "registered") == 0 ? "value" : "text"));
    if (holder) {
        fputs(": ", out);
        page_text(out, holder);
    }
    end_row(out, record, state);
}

static void print_container(FILE *out, const cJSON *container)
{
    const cJSON *records = json_get(container, "records"), *record;
    const char *state = state_of(container), *reason = json_string(container, "reason");

    if (cJSON_GetArraySize(records) > 0 && !(strcmp(state, "unregistered") == 0 && reason)) {
        cJSON_ArrayForEach (record, records)
            print_record(out, container, record);
        return;
    }
    begin_row(out, container, state);
    page_text(out, json_string(container, "text"));
    end_row(out, container, state);
}

void page_begin(FILE *out, const char *title, const char *heading, const char *more_head)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
          out);
    page_text(out, title);
    fprintf(out,
            ": registrator</title>\n%s<link rel=\"icon\" href=\"data:,\">\n"
            "<link rel=\"stylesheet\" href=\"/page.css\">\n<script src=\"/page.js\" defer></script>\n</head>\n<body>\n"
            "<nav><a href=\"/\">This host</a><a href=\"/fleet\">All hosts</a></nav>\n<h1>%s</h1>\n",
            more_head, heading);
}

void page_begin_table(FILE *out, const char *id, const char *const *columns)
{
    fputs("<p id=\"age\" class=\"rejected\"></p>\n"
          "<p hidden><input id=\"filter\" type=\"search\" placeholder=\"Filter\" aria-label=\"Filter\"></p>\n",
          out);
    fprintf(out, "<table id=\"%s\">\n<thead><tr>", id);
    for (; *columns; columns++)
        fprintf(out, "<th>%s</th>", *columns);
    fputs("</tr></thead>\n<tbody>\n", out);
}

void page_end(FILE *out)
{
    fputs("</tbody>\n</table>\n</body>\n</html>\n", out);
}

char *page_html(const cJSON *status)
{
    static const char *const columns[] = { "Container", "State", "Key and value, or the reason for none", "What to do",
                                           NULL };
    const cJSON *container;
    TextStream stream;
    FILE *out = text_stream_open(&stream);

    if (!out)
        return NULL;
    page_begin(out, json_string(status, "node"), "Containers of this host", "");
    print_host(out, status);
    page_begin_table(out, "containers", columns);
    cJSON_ArrayForEach (container, json_get(status, "containers"))
        print_container(out, container);
    page_end(out);
    return text_stream_close(&stream, out);
}
