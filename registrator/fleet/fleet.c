#define HASH_NONFATAL_OOM 1
#include "fleet/fleet.h"

#include "base/json.h"
#include "base/text.h"
#include "base/utf8.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <uthash.h>

static const struct {
    FleetAnomaly anomaly;
    const char *token, *text;
} anomalies[] = {
    { FLEET_NO_TTL, "no-ttl", "no TTL" },
    { FLEET_SAME_ADDRESS, "same-address", "same address as another key" },
    { FLEET_OTHER_KEY, "other-key", "not by the key template" },
    { FLEET_OTHER_VALUE, "other-value", "not by the value template" },
    { FLEET_CUT, "cut", "too long, cut" },
};

/* ---- a key's row ---- */

/* The values of a field from key and value; the key's value counts first. */
typedef struct Matches {
    TemplateMatch key, value;
} Matches;

static int copy_field(char **ret, const Matches *matches, Field field)
{
    const TemplateMatch *match = matches->key.fields[field].length > 0 ? &matches->key : &matches->value;
    const char *begin = match->fields[field].begin;

    *ret = strndup(begin ? begin : "", begin ? match->fields[field].length : 0);
    return *ret ? 0 : -ENOMEM;
}

/* "192.0.2.11:32768", or the value if neither key nor value has an address. */
static int make_address(FleetRow *row, const Matches *matches)
{
    CLEANUP_FREE char *address = NULL;
    CLEANUP_FREE char *port = NULL;
    int r = copy_field(&address, matches, FIELD_ADDRESS);

    if (r >= 0)
        r = copy_field(&port, matches, FIELD_PORT);
    if (r < 0)
        return r;
    if (*address == '\0') {
        row->address = strdup(row->value);
        return row->address ? 0 : -ENOMEM;
    }
    row->address = text_format(strchr(address, ':') ? "[%s]%s%s" : "%s%s%s", address, *port != '\0' ? ":" : "", port);
    if (!row->address)
        return -ENOMEM;
    row->host = TAKE_PTR(address);
    return 0;
}

static int take_node(FleetRow *row, const Matches *matches)
{
    CLEANUP_FREE char *node = NULL;
    int r = copy_field(&node, matches, FIELD_NODE);

    if (r < 0 || *node == '\0')
        return r;
    text_take(&row->host, TAKE_PTR(node));
    row->has_node = true;
    return 0;
}

/* The name, or the ID if the template has no name. */
static int take_names(FleetRow *row, const Matches *matches)
{
    bool named = matches->key.fields[FIELD_NAME].length > 0 || matches->value.fields[FIELD_NAME].length > 0;
    int r = copy_field(&row->service, matches, FIELD_SERVICE);

    return r < 0 ? r : copy_field(&row->container, matches, named ? FIELD_NAME : FIELD_ID);
}

static void make_printable(const FleetRow *row)
{
    char *texts[] = { row->key, row->value, row->service, row->container, row->address, row->host };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (texts[i])
            utf8_make_printable(texts[i]);
}

static void clear_row(FleetRow *row)
{
    free(row->key);
    free(row->value);
    free(row->service);
    free(row->container);
    free(row->address);
    free(row->host);
}

/* Returns the anomalies of the row by this layout. For a further layout, the value counts only if the key fits. A
 * cut text fits no template. */
static unsigned match_layout(Matches *ret, const FleetRow *row, const Layout *layout, bool further)
{
    unsigned misfits = 0;

    *ret = (Matches){ 0 };
    if (row->listed.key_is_cut || !template_match(layout->key, row->key, &ret->key))
        misfits |= FLEET_OTHER_KEY;
    if (misfits != 0 && further)
        return misfits;
    if (row->listed.value_is_cut || !template_match(layout->value, row->value, &ret->value))
        misfits |= FLEET_OTHER_VALUE;
    return misfits;
}

/* If a text is cut, the whole text might fit the template. */
static unsigned tell_cut(unsigned misfits, const ListedKey *listed)
{
    if (listed->key_is_cut)
        misfits = (misfits & ~(unsigned)FLEET_OTHER_KEY) | FLEET_CUT;
    if (listed->value_is_cut)
        misfits = (misfits & ~(unsigned)FLEET_OTHER_VALUE) | FLEET_CUT;
    return misfits;
}

/* The first layout that fits key and value, else the first that fits the key, else the default layout. */
static unsigned match_layouts(Matches *ret, const Layout **ret_layout, const FleetRow *row, const Layout *layouts,
                              size_t n_layouts)
{
    unsigned best = FLEET_OTHER_KEY | FLEET_OTHER_VALUE;

    for (size_t i = 0; i < n_layouts && best != 0; i++) {
        Matches matches;
        unsigned misfits = match_layout(&matches, row, &layouts[i], i > 0);

        if (i > 0 && (misfits & FLEET_OTHER_KEY || misfits >= best))
            continue;
        best = misfits;
        *ret = matches;
        *ret_layout = &layouts[i];
    }
    return tell_cut(best, &row->listed);
}

static int fill_row(const Fleet *fleet, FleetRow *row, const ListedKey *listed)
{
    const Layout *layout = fleet->layouts;
    uint64_t revision = fleet->revision;
    Matches matches = { 0 };
    int r;

    row->listed = *listed;
    row->listed.key = row->listed.value = NULL;
    row->age = revision >= listed->created && revision > 0 ? (int64_t)(revision - listed->created) : -1;
    row->key = strdup(listed->key);
    row->value = strdup(listed->value);
    if (!row->key || !row->value)
        return -ENOMEM;
    row->anomalies = match_layouts(&matches, &layout, row, fleet->layouts, fleet->n_layouts);
    row->layout = layout->name;
    if (listed->ttl_s == LISTING_NO_TTL)
        row->anomalies |= FLEET_NO_TTL;
    r = take_names(row, &matches);
    if (r >= 0)
        r = make_address(row, &matches);
    if (r >= 0)
        r = take_node(row, &matches);
    make_printable(row);
    return r;
}

/* ---- comparison of rows ---- */

typedef struct Group {
    char *name; /* an address with its protocol, or a lease */
    FleetRow *row; /* the first row of the group; for a lease, a row with the address that leads the vote */
    size_t votes;
    UT_hash_handle hh;
} Group;

static void clear_groups(Group **groups)
{
    Group *group, *next;

    HASH_ITER (hh, *groups, group, next) {
        HASH_DEL(*groups, group);
        free(group->name);
        free(group);
    }
}

/* Takes the name. *ret: the group; a new group has no row. 0 or -ENOMEM. */
static int get_group(Group **groups, char *name, Group **ret)
{
    CLEANUP_FREE char *owned = name;
    Group *group;

    if (!owned)
        return -ENOMEM;
    HASH_FIND_STR(*groups, owned, group);
    if (!group) {
        group = calloc(1, sizeof(*group));
        if (!group)
            return -ENOMEM;
        group->name = TAKE_PTR(owned);
        HASH_ADD_KEYPTR(hh, *groups, group->name, strlen(group->name), group);
        if (!group->hh.tbl) {
            free(group->name);
            free(group);
            return -ENOMEM;
        }
    }
    *ret = group;
    return 0;
}

/* Each layout has a key for the port. TCP and UDP ports of one number are two addresses, which differ only in the
 * record's name. */
static const char *protocol_of(const FleetRow *row)
{
    return text_ends_with(row->container, "-udp") ? "udp" : text_ends_with(row->container, "-sctp") ? "sctp" : "tcp";
}

static int find_same_addresses(Fleet *fleet)
{
    CLEANUP(clear_groups) Group *groups = NULL;

    for (size_t i = 0; i < fleet->n_rows; i++) {
        FleetRow *row = &fleet->rows[i];
        Group *group;
        int r;

        if (row->anomalies & (FLEET_OTHER_KEY | FLEET_OTHER_VALUE | FLEET_CUT) || row->address[0] == '\0')
            continue;
        r = get_group(&groups, text_format("%s %s %s", row->layout, protocol_of(row), row->address), &group);
        if (r < 0)
            return r;
        if (!group->row) {
            group->row = row;
            continue;
        }
        group->row->anomalies |= FLEET_SAME_ADDRESS;
        row->anomalies |= FLEET_SAME_ADDRESS;
    }
    return 0;
}

static int get_lease_group(Group **groups, const FleetRow *row, Group **ret)
{
    return get_group(groups, text_format("%" PRId64, row->listed.lease), ret);
}

/* A lease belongs to one host. The keys of a lease elect the host's address by Boyer and Moore's majority vote. */
static int vote_for_hosts(Fleet *fleet, Group **groups)
{
    for (size_t i = 0; i < fleet->n_rows; i++) {
        FleetRow *row = &fleet->rows[i];
        Group *group;
        int r;

        if (row->listed.lease == 0 || !row->host)
            continue;
        r = get_lease_group(groups, row, &group);
        if (r < 0)
            return r;
        if (group->votes == 0) {
            group->row = row;
            group->votes = 1;
        } else if (strcmp(group->row->host, row->host) == 0) {
            group->votes++;
        } else {
            group->votes--;
        }
    }
    return 0;
}

static int find_hosts(Fleet *fleet)
{
    CLEANUP(clear_groups) Group *groups = NULL;
    int r = vote_for_hosts(fleet, &groups);

    for (size_t i = 0; i < fleet->n_rows && r >= 0; i++) {
        FleetRow *row = &fleet->rows[i];
        Group *group = NULL;

        if (row->listed.lease != 0 && !row->has_node)
            r = get_lease_group(&groups, row, &group);
        if (r >= 0 && group && group->row && group->row != row)
            r = text_replace(&row->host, group->row->host);
        else if (r >= 0 && !row->host)
            r = text_replace(&row->host, "");
    }
    return r;
}

/* ---- the whole ---- */

int fleet_new(Fleet **ret, size_t n_keys, uint64_t revision, const Layout *layouts, size_t n_layouts)
{
    CLEANUP(fleet_free_p) Fleet *fleet = calloc(1, sizeof(*fleet));

    if (!fleet)
        return -ENOMEM;
    fleet->rows = calloc(n_keys + 1, sizeof(*fleet->rows));
    if (!fleet->rows)
        return -ENOMEM;
    fleet->n_rows_max = n_keys;
    fleet->revision = revision;
    fleet->layouts = layouts;
    fleet->n_layouts = n_layouts;
    *ret = TAKE_PTR(fleet);
    return 0;
}

int fleet_add(Fleet *fleet, const ListedKey *keys, size_t n)
{
    int r = 0;

    assert(n <= fleet->n_rows_max - fleet->n_rows);
    for (size_t i = 0; i < n && r >= 0; i++)
        r = fill_row(fleet, &fleet->rows[fleet->n_rows++], &keys[i]);
    return r;
}

int fleet_add_unreadable(Fleet *fleet, const char *const *prefixes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *copy = strdup(prefixes[i]);

        if (!copy)
            return -ENOMEM;
        utf8_make_printable(copy);
        fleet->unreadable[fleet->n_unreadable++] = copy;
    }
    return 0;
}

int fleet_finish(Fleet *fleet)
{
    int r = find_same_addresses(fleet);

    if (r >= 0)
        r = find_hosts(fleet);
    if (r < 0)
        return r;
    for (size_t i = 0; i < fleet->n_rows; i++)
        fleet->n_anomalies += fleet->rows[i].anomalies != 0;
    return 0;
}

Fleet *fleet_free(Fleet *fleet)
{
    if (!fleet)
        return NULL;
    for (size_t i = 0; i < fleet->n_rows; i++)
        clear_row(&fleet->rows[i]);
    free(fleet->rows);
    for (size_t i = 0; i < fleet->n_unreadable; i++)
        free(fleet->unreadable[i]);
    free(fleet);
    return NULL;
}

void fleet_ttl_text(const FleetRow *row, char *buffer, size_t size)
{
    if (row->listed.ttl_s == LISTING_NO_TTL)
        (void)snprintf(buffer, size, "none");
    else if (row->listed.ttl_s < 0)
        (void)snprintf(buffer, size, "-");
    else
        (void)snprintf(buffer, size, "%" PRId64 " s", row->listed.ttl_s);
}

void fleet_age_text(const FleetRow *row, char *buffer, size_t size)
{
    if (row->age < 0)
        (void)snprintf(buffer, size, "-");
    else
        (void)snprintf(buffer, size, "%" PRId64 " write%s", row->age, row->age == 1 ? "" : "s");
}

void fleet_anomalies_text(const FleetRow *row, char *buffer, size_t size)
{
    size_t used = 0;

    buffer[0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(anomalies); i++)
        if (row->anomalies & anomalies[i].anomaly && used < size)
            used += (size_t)snprintf(buffer + used, size - used, "%s%s", used > 0 ? ", " : "", anomalies[i].text);
}

static cJSON *row_json(const FleetRow *row)
{
    cJSON *object = cJSON_CreateObject(), *array;
    char lease[32];

    (void)cJSON_AddStringToObject(object, "key", row->key);
    (void)cJSON_AddStringToObject(object, "value", row->value);
    (void)cJSON_AddStringToObject(object, "layout", row->layout);
    (void)cJSON_AddStringToObject(object, "service", row->service);
    (void)cJSON_AddStringToObject(object, "container", row->container);
    (void)cJSON_AddStringToObject(object, "address", row->address);
    (void)cJSON_AddStringToObject(object, "host", row->host);
    if (row->age >= 0)
        (void)cJSON_AddNumberToObject(object, "age_writes", (double)row->age);
    if (row->listed.ttl_s >= 0)
        (void)cJSON_AddNumberToObject(object, "ttl", (double)row->listed.ttl_s);
    if (row->listed.granted_ttl_s > 0)
        (void)cJSON_AddNumberToObject(object, "granted_ttl", (double)row->listed.granted_ttl_s);
    (void)snprintf(lease, sizeof(lease), "%" PRIx64, (uint64_t)row->listed.lease);
    if (row->listed.lease != 0)
        (void)cJSON_AddStringToObject(object, "lease", lease);
    (void)cJSON_AddNumberToObject(object, "created", (double)row->listed.created);
    (void)cJSON_AddNumberToObject(object, "modified", (double)row->listed.modified);
    array = cJSON_AddArrayToObject(object, "anomalies");
    for (size_t i = 0; i < ARRAY_SIZE(anomalies); i++)
        if (row->anomalies & anomalies[i].anomaly)
            json_append(array, cJSON_CreateString(anomalies[i].token));
    return object;
}

cJSON *fleet_json(const Fleet *fleet)
{
    cJSON *object = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(object, "keys");

    for (size_t i = 0; array && i < fleet->n_rows; i++)
        json_append(array, row_json(&fleet->rows[i]));
    if (fleet->revision > 0)
        (void)cJSON_AddNumberToObject(object, "revision", (double)fleet->revision);
    (void)cJSON_AddNumberToObject(object, "left_out", (double)fleet->left_out);
    array = cJSON_AddArrayToObject(object, "unreadable");
    for (size_t i = 0; i < fleet->n_unreadable; i++)
        json_append(array, cJSON_CreateString(fleet->unreadable[i]));
    (void)cJSON_AddNumberToObject(object, "anomalies", (double)fleet->n_anomalies);
    return object;
}
