/* The keys of all hosts as a table: the parts of each key by the templates, and its anomalies. Pure. */
#pragma once

#include "catalog/record.h"
#include "etcd/listing.h"

#include <cjson/cJSON.h>

/* Bits of FleetRow.anomalies. */
typedef enum FleetAnomaly {
    FLEET_NO_TTL = 1 << 0, /* the key outlives its host */
    FLEET_SAME_ADDRESS = 1 << 1, /* another key has this address */
    FLEET_OTHER_KEY = 1 << 2, /* the key fits no layout */
    FLEET_OTHER_VALUE = 1 << 3, /* the value does not fit the layout */
    FLEET_CUT = 1 << 4, /* the key or the value is too long and was cut, so no template was tried */
} FleetAnomaly;

/* All texts are printable; "": not known. */
typedef struct FleetRow {
    char *key, *value;
    char *service, *container;
    char *address; /* with the port; the whole value if it does not fit the template */
    const char *layout; /* the layout whose templates fit; owned by the Settings */
    char *host; /* {node}, else the address of most keys of the lease, else the key's address */
    bool has_node; /* host comes from {node} */
    ListedKey listed; /* its key and value are NULL */
    int64_t age; /* writes to etcd since the key was created, because etcd keeps no time; -1: not known */
    unsigned anomalies;
} FleetRow;

typedef struct Fleet {
    FleetRow *rows; /* sorted by key */
    size_t n_rows, n_rows_max;
    const Layout *layouts;
    size_t n_layouts;
    size_t n_anomalies; /* rows with an anomaly */
    size_t left_out; /* keys that the listing left out; the owner of the listing sets this */
    char *unreadable[LISTING_PREFIXES_MAX]; /* prefixes that the user may not read in etcd; printable */
    size_t n_unreadable;
    uint64_t revision;
} Fleet;

/* Makes a table with room for n_keys keys. layouts: must live as long as the fleet. 0 or -ENOMEM. */
int fleet_new(Fleet **ret, size_t n_keys, uint64_t revision, const Layout *layouts, size_t n_layouts);
/* Adds the next keys of a listing, in its order. Takes about 10 us a key, so a caller in a loop should not add all
 * keys in one turn. 0 or -ENOMEM. */
int fleet_add(Fleet *fleet, const ListedKey *keys, size_t n);
/* 0 or -ENOMEM. */
int fleet_add_unreadable(Fleet *fleet, const char *const *prefixes, size_t n);
/* Compares the rows, after all keys have been added. 0 or -ENOMEM. */
int fleet_finish(Fleet *fleet);
Fleet *fleet_free(Fleet *fleet);
DEFINE_CLEANUP(Fleet, fleet_free)

/* "30 s", "none", "-". */
void fleet_ttl_text(const FleetRow *row, char *buffer, size_t size);
/* "41 writes", "-". */
void fleet_age_text(const FleetRow *row, char *buffer, size_t size);
/* "no TTL, same address as another key"; "": no anomaly. */
void fleet_anomalies_text(const FleetRow *row, char *buffer, size_t size);
enum { FLEET_TEXT_MAX = 160 }; /* bytes of each text */
/* NULL: no memory. */
cJSON *fleet_json(const Fleet *fleet);
