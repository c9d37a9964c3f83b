#include "fleet/fleet_reader.h"

#include "base/timer.h"

#include <assert.h>
#include <errno.h>

static_assert((int)LAYOUTS_MAX <= (int)LISTING_PREFIXES_MAX, "a listing has room for the prefixes of all layouts");

enum {
    ROWS_AT_ONCE = 500, /* takes a few ms, then the loop handles other events */
    PRIORITY = SD_EVENT_PRIORITY_NORMAL + 10, /* Docker and etcd come first */
};

struct FleetReader {
    sd_event *event; /* owned by the caller */
    const Settings *settings;
    ListingLimits limits;
    Timer filling; /* turns the keys into rows */
    Fleet *fleet;
    Store *store;
    Listing *listing;
    FleetDoneFn done;
    void *userdata;
};

/* r < 0: no memory. The callback may free the FleetReader. */
static void finish(FleetReader *reader, int r)
{
    const char *const *unreadable;
    size_t n_unreadable = listing_unreadable(reader->listing, &unreadable);

    if (r >= 0)
        r = fleet_add_unreadable(reader->fleet, unreadable, n_unreadable);
    if (r >= 0)
        r = fleet_finish(reader->fleet);
    if (r < 0)
        reader->fleet = fleet_free(reader->fleet);
    else
        reader->fleet->left_out = listing_left_out(reader->listing);
    reader->done(reader->userdata, TAKE_PTR(reader->fleet), r < 0 ? "out of memory" : NULL);
}

static void on_filling(void *userdata)
{
    FleetReader *reader = userdata;
    const ListedKey *keys;
    size_t n_keys = listing_keys(reader->listing, &keys), at = reader->fleet->n_rows;
    size_t n = n_keys - at < ROWS_AT_ONCE ? n_keys - at : ROWS_AT_ONCE;
    int r = n > 0 ? fleet_add(reader->fleet, keys + at, n) : 0;

    if (r >= 0 && at + n < n_keys)
        defer_arm(&reader->filling);
    else
        finish(reader, r);
}

static int start_filling(FleetReader *reader)
{
    const Settings *settings = reader->settings;
    const ListedKey *keys;
    int r = fleet_new(&reader->fleet, listing_keys(reader->listing, &keys), listing_revision(reader->listing),
                      settings->layouts, settings->n_layouts);

    if (r >= 0)
        r = defer_add(reader->event, &reader->filling, on_filling, reader);
    if (r >= 0)
        r = timer_set_priority(&reader->filling, PRIORITY);
    if (r >= 0)
        defer_arm(&reader->filling);
    return r;
}

/* The callback may free the FleetReader. */
static void on_listed(void *userdata, const char *why)
{
    FleetReader *reader = userdata;

    if (!why && start_filling(reader) < 0)
        why = "out of memory";
    if (why)
        reader->done(reader->userdata, NULL, why);
}

static void on_opened(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    FleetReader *reader = userdata;
    const char *prefixes[LAYOUTS_MAX];
    size_t n_layouts = reader->settings->n_layouts;
    int r;

    (void)keys;
    (void)n_keys;
    if (status != STORE_OK) {
        reader->done(reader->userdata, NULL, message);
        return;
    }
    for (size_t i = 0; i < n_layouts; i++)
        prefixes[i] = template_prefix(reader->settings->layouts[i].key);
    r = listing_new(&reader->listing, reader->store, prefixes, n_layouts, reader->limits);
    if (r >= 0)
        r = listing_start(reader->listing, on_listed, reader);
    if (r < 0)
        reader->done(reader->userdata, NULL, "out of memory");
}

int fleet_read(FleetReader **ret, sd_event *event, const Settings *settings, ListingLimits limits, FleetDoneFn done,
               void *userdata)
{
    CLEANUP(fleet_reader_free_p) FleetReader *reader = calloc(1, sizeof(*reader));
    StoreConfig config = {
        .etcd = settings_etcd(settings),
        .api = settings->etcd_api,
        .ttl_s = settings->ttl_s,
        .read_only = true,
    };
    int r;

    if (!reader)
        return -ENOMEM;
    reader->settings = settings;
    reader->event = event;
    reader->limits = limits;
    reader->done = done;
    reader->userdata = userdata;
    r = store_new(&reader->store, event, &config);
    if (r >= 0)
        r = store_open(reader->store, on_opened, reader);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(reader);
    return 0;
}

/* Frees the store first, because the store ends the requests of the listing. */
FleetReader *fleet_reader_free(FleetReader *reader)
{
    if (!reader)
        return NULL;
    store_free(reader->store);
    timer_clear(&reader->filling);
    listing_free(reader->listing);
    fleet_free(reader->fleet);
    free(reader);
    return NULL;
}
