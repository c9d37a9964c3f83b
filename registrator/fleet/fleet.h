/* The keys of all hosts as a table: what a key says by the templates, and what is odd about the key. Pure. */
#pragma once

#include "catalog/record.h"
#include "etcd/listing.h"

#include <cjson/cJSON.h>

/* Bits of FleetRow.anomalies. */
typedef enum FleetAnomaly {
    FLEET_NO_TTL = 1 << 0, /* the key stays when its host dies */
    FLEET_SAME_ADDRESS = 1 << 1, /* another key has this address */
    FLEET_OTHER_KEY = 1 << 2, /* the key is none of a layout's */
    FLEET_OTHER_VALUE = 1 << 3, /* the value is none of the layout's */
    FLEET_CUT = 1 << 4, /* the key or the value is too long to be kept whole, so no template was tried */
} FleetAnomaly;

/* All texts are printable; "": not known. */
typedef struct FleetRow {
    char *key, *value;
    char *service, *container;
    char *address; /* with the port; the whole value if it is none of the template's */
    const char *layout; /* whose templates fit; the Settings' own */
    char *host; /* {node}, else the address that most keys of the lease have, else the key's address */
    bool has_node; /* the host's name is {node}'s */
    ListedKey listed; /* its key and value are NULL */
    int64_t age; /* writes to etcd since the key was created: etcd keeps no time; -1: not known */
    unsigned anomalies;
} FleetRow;

typedef struct Fleet {
    FleetRow *rows; /* sorted by key */
    size_t n_rows, n_rows_max;
    const Layout *layouts;
    size_t n_layouts;
    size_t n_anomalies; /* rows that have any */
    size_t left_out; /* keys that the listing left out; set by whoever has the listing */
    char *unreadable[LISTING_PREFIXES_MAX]; /* prefixes that etcd does not let the user read; printable */
    size_t n_unreadable;
    uint64_t revision;
} Fleet;

/* A row for each of up to n_keys keys. layouts: they must live as long as the fleet. -ENOMEM. */
int fleet_new(Fleet **ret, size_t n_keys, uint64_t revision, const Layout *layouts, size_t n_layouts);
/* The next keys of a listing, in its order. Costs some 10 us a key: not all in one turn of a loop. -ENOMEM. */
int fleet_add(Fleet *fleet, const ListedKey *keys, size_t n);
/* -ENOMEM. */
int fleet_add_unreadable(Fleet *fleet, const char *const *prefixes, size_t n);
/* All keys are added: compares the rows. -ENOMEM. */
int fleet_finish(Fleet *fleet);
Fleet *fleet_free(Fleet *fleet);
DEFINE_CLEANUP(Fleet, fleet_free)

/* "30 s", "none", "-". */
void fleet_ttl_text(const FleetRow *row, char *buffer, size_t size);
/* "41 writes", "-". */
void fleet_age_text(const FleetRow *row, char *buffer, size_t size);
/* "no TTL, same address as another key"; "": nothing is odd. */
void fleet_anomalies_text(const FleetRow *row, char *buffer, size_t size);
enum { FLEET_TEXT_MAX = 160 }; /* of each */
/* NULL: no memory. */
cJSON *fleet_json(const Fleet *fleet);
