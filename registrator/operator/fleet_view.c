#include "operator/fleet_view.h"

#include "base/text.h"
#include "base/timer.h"
#include "base/utf8.h"
#include "fleet/fleet_reader.h"
#include "operator/page.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <time.h>

enum {
    KEYS_MAX = 10000, /* a page of about 2 MB */
    TEXT_MAX = 256, /* bytes of a key and of a value; anybody can write long ones to etcd */
    READ_AGAIN_US = 10000000,
    FORGET_US = 30000000, /* an older page would mislead, and takes memory */
};

struct FleetView {
    sd_event *event;
    Timer timer; /* drops the page */
    FleetReader *reader; /* NULL: no read of etcd is under way */
    const Settings *settings; /* the settings of the read */
    SharedText *html; /* the last page; NULL: no page */
    uint64_t time_us; /* when the last page was made */
};

static void on_timer(void *userdata)
{
    FleetView *view = userdata;

    view->html = shared_text_unref(view->html);
    (void)malloc_trim(0);
}

/* "/app/, /traefik/": the prefixes of all layouts. */
static char *prefixes_text(const Settings *settings)
{
    TextStream stream;
    FILE *out = text_stream_open(&stream);

    for (size_t i = 0; out && i < settings->n_layouts; i++)
        fprintf(out, "%s%s", i > 0 ? ", " : "", template_prefix(settings->layouts[i].key));
    return out ? text_stream_close(&stream, out) : NULL;
}

static void on_read(void *userdata, Fleet *fleet, const char *why)
{
    FleetView *view = userdata;
    time_t now = time(NULL);
    struct tm tm;
    char text[64] = "";
    CLEANUP_FREE char *prefixes = prefixes_text(view->settings);
    CLEANUP_FREE char *printable = strdup(why ? why : "");

    if (printable)
        utf8_make_printable(printable); /* the text may contain etcd's answer */
    if (gmtime_r(&now, &tm))
        (void)strftime(text, sizeof(text), "%F %T UTC", &tm);
    shared_text_unref(view->html);
    view->html = shared_text_new(page_fleet_html(fleet, printable ? printable : "out of memory", prefixes, text));
    view->time_us = loop_now_us(view->event, CLOCK_MONOTONIC);
    fleet_free(fleet);
    view->reader = fleet_reader_free(view->reader);
    timer_arm(&view->timer, FORGET_US);
    (void)malloc_trim(0);
}

SharedText *fleet_view_html(FleetView *view, const Settings *settings)
{
    bool old = !view->html || loop_now_us(view->event, CLOCK_MONOTONIC) - view->time_us >= READ_AGAIN_US;

    if (old && !view->reader) {
        view->settings = settings;
        if (fleet_read(&view->reader, view->event, settings, (ListingLimits){ KEYS_MAX, TEXT_MAX }, on_read, view) < 0)
            return NULL;
    }
    return view->html ? shared_text_ref(view->html) : shared_text_new(page_fleet_html(NULL, NULL, NULL, NULL));
}

void fleet_view_forget(FleetView *view)
{
    view->reader = fleet_reader_free(view->reader);
    view->settings = NULL;
    view->html = shared_text_unref(view->html);
}

int fleet_view_new(FleetView **ret, sd_event *event)
{
    CLEANUP(fleet_view_free_p) FleetView *view = calloc(1, sizeof(*view));
    int r;

    if (!view)
        return -ENOMEM;
    view->event = sd_event_ref(event);
    r = timer_add(event, &view->timer, CLOCK_MONOTONIC, 0, on_timer, view);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(view);
    return 0;
}

FleetView *fleet_view_free(FleetView *view)
{
    if (!view)
        return NULL;
    fleet_view_forget(view);
    timer_clear(&view->timer);
    sd_event_unref(view->event);
    free(view);
    return NULL;
}
