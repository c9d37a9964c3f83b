#include "catalog/candidate.h"

#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

enum {
    ID_SHORT = 12, /* digits, as Docker shows IDs */
    IMAGE_MAX = 256,
};

/* The values of a template's fields for one candidate. */
typedef struct Lookup {
    const Container *container;
    const Rules *rules;
    const Layout *layout;
    const Candidate *candidate;
    const char *service; /* NULL while the service template is rendered */
    char *name;
    char id[ID_SHORT + 1];
    char image[IMAGE_MAX];
    char port[sizeof("65535")];
    char container_port[sizeof("65535")];
} Lookup;

/* ---- names ---- */

/* The protocols, as bits, of the registered candidates that have the container port of the candidate at `from`. */
static unsigned registered_protocols(const Candidate *candidates, size_t n, size_t from)
{
    unsigned bits = 0;

    for (size_t i = from; i < n && candidates[i].port->container_port == candidates[from].port->container_port; i++)
        if (candidates[i].first)
            bits |= protocol_bit(candidates[i].port->protocol);
    return bits;
}

static const char *protocol_suffix(unsigned registered, Protocol protocol)
{
    if (protocol == PROTOCOL_UDP && registered & protocol_bit(PROTOCOL_TCP))
        return "-udp";
    if (protocol == PROTOCOL_SCTP && registered & (protocol_bit(PROTOCOL_TCP) | protocol_bit(PROTOCOL_UDP)))
        return "-sctp";
    return "";
}

/* registered: the protocols of this container port, as bits. */
static char *record_name(const Container *container, const Port *port, bool several, unsigned registered)
{
    if (!several)
        return strdup(container->name);
    return text_format("%s-%u%s", container->name, (unsigned)port->container_port,
                       protocol_suffix(registered, port->protocol));
}

/* "registry:5000/team/app:3@sha256:…" → "app". For an image known only by its ID, 12 digits of the ID. */
static void image_base_name(char *ret, size_t size, const char *image)
{
    static const char digest[] = "sha256:";
    if (strncmp(image, digest, strlen(digest)) == 0) {
        snprintf(ret, size, "%.*s", ID_SHORT, image + strlen(digest));
        return;
    }
    size_t end = strcspn(image, "@"), begin = end;
    while (begin > 0 && image[begin - 1] != '/')
        begin--;
    size_t length = strcspn(image + begin, ":@");
    snprintf(ret, size, "%.*s", (int)(length < size ? length : size - 1), image + begin);
}

/* ---- rendering ---- */

static const char *lookup_label(const Lookup *lookup, const char *label)
{
    static const char prefix[] = "SERVICE_";
    const char *value = NULL;
    if (strncmp(label, prefix, strlen(prefix)) == 0)
        value = port_metadata(lookup->container, lookup->candidate->port->container_port, label + strlen(prefix));
    return value ? value : container_metadata(lookup->container, label);
}

static const char *lookup_field(void *userdata, Field field, const char *label)
{
    const Lookup *lookup = userdata;
    switch (field) {
    case FIELD_SERVICE:
        return lookup->service;
    case FIELD_NAME:
        return lookup->service ? lookup->name : lookup->container->name;
    case FIELD_NODE:
        return lookup->rules->node;
    case FIELD_ADDRESS:
        return lookup->service ? lookup->candidate->address : NULL;
    case FIELD_PORT:
        return lookup->service ? lookup->port : NULL;
    case FIELD_CONTAINER_PORT:
        return lookup->container_port;
    case FIELD_PROTOCOL:
        return protocol_to_string(lookup->candidate->port->protocol);
    case FIELD_ID:
        return lookup->id;
    case FIELD_IMAGE:
        return lookup->image;
    case FIELD_LABEL:
        return lookup_label(lookup, label);
    case FIELD_MAX_:
        break;
    }
    return NULL;
}

/* Returns 0, REASON_… or -ENOMEM. */
static int render(char **ret, const Template *template, TemplateEscape escape, Lookup *lookup)
{
    int r = template_render(template, escape, lookup_field, lookup, ret);
    return r == -ENAMETOOLONG ? (int)REASON_TOO_LONG : r;
}

static int render_service(char **ret, Lookup *lookup)
{
    const char *named = port_metadata(lookup->container, lookup->candidate->port->container_port, "NAME");
    CLEANUP_FREE char *service = NULL;
    if (named) {
        service = strdup(named);
        if (!service)
            return -ENOMEM;
    } else {
        int r = render(&service, lookup->layout->service, ESCAPE_NONE, lookup);
        if (r != 0)
            return r;
    }
    if (service[0] == '\0')
        return REASON_NOT_NAMED;
    *ret = TAKE_PTR(service);
    return 0;
}

static int render_record(Record *record, Lookup *lookup)
{
    CLEANUP_FREE char *service = NULL, *key = NULL, *value = NULL;
    int r = render_service(&service, lookup);
    if (r != 0)
        return r;
    lookup->service = service;
    r = render(&key, lookup->layout->key, ESCAPE_KEY, lookup);
    if (r == 0)
        r = render(&value, lookup->layout->value, ESCAPE_VALUE, lookup);
    lookup->service = NULL;
    if (r != 0)
        return r;
    record->key = TAKE_PTR(key);
    record->value = TAKE_PTR(value);
    return 0;
}

static void record_clear(Record *record)
{
    free(record->key);
    free(record->value);
    record->key = record->value = NULL;
}

static int add_record(Records *records, const Candidate *candidate, Lookup *lookup)
{
    Record *record = &records->items[records->n_items++];
    *record = (Record){
        .container_port = candidate->port->container_port,
        .protocol = candidate->port->protocol,
        .reason = candidate->reason,
        .names_container = template_uses(lookup->layout->key, FIELD_NAME),
    };
    memcpy(record->layout, lookup->layout->name, sizeof(record->layout));
    if (record->reason != REASON_NONE)
        return 0;
    lookup->candidate = candidate;
    snprintf(lookup->port, sizeof(lookup->port), "%u", (unsigned)candidate->host_port);
    snprintf(lookup->container_port, sizeof(lookup->container_port), "%u", (unsigned)candidate->port->container_port);
    int r = render_record(record, lookup);
    if (r == 0 && strlen(record->key) + strlen(record->value) > RECORDS_CONTAINER_MAX - records->bytes) {
        record_clear(record);
        r = REASON_CONTAINER_LIMIT;
    }
    if (r > 0)
        record->reason = (Reason)r;
    else if (r == 0)
        records->bytes += strlen(record->key) + strlen(record->value);
    return r < 0 ? r : 0;
}

static int by_key_compare(const void *left, const void *right)
{
    const Record *a = *(Record *const *)left, *b = *(Record *const *)right;
    int r = strcmp(a->key, b->key);

    return r != 0 ? r : (a > b) - (a < b);
}

static void sort_by_key(Records *records)
{
    records->n_by_key = 0;
    for (size_t i = 0; i < records->n_items; i++)
        if (records->items[i].key)
            records->by_key[records->n_by_key++] = &records->items[i];
    if (records->n_by_key > 0)
        qsort(records->by_key, records->n_by_key, sizeof(Record *), by_key_compare);
}

/* Without a field that tells two records apart, both get the same key. The first record keeps the key. */
static void find_duplicates(Records *records)
{
    const Record *holder = NULL;
    size_t kept = 0;

    sort_by_key(records);
    for (size_t i = 0; i < records->n_by_key; i++) {
        Record *record = records->by_key[i];

        if (!holder || strcmp(holder->key, record->key) != 0) {
            holder = record;
            continue;
        }
        records->bytes -= strlen(record->key) + strlen(record->value);
        record->reason = REASON_DUPLICATE;
        /* Another binding of the same port has the key, so no port is missing. */
        if (holder->container_port == record->container_port && holder->protocol == record->protocol &&
            strcmp(holder->layout, record->layout) == 0)
            record_clear(record);
    }
    for (size_t i = 0; i < records->n_items; i++)
        if (records->items[i].reason != REASON_DUPLICATE || records->items[i].key)
            records->items[kept++] = records->items[i];
    records->n_items = kept;
    sort_by_key(records);
}

const Record *records_find(const Records *records, Reason reason, const char *key)
{
    size_t low = 0, high = records->n_by_key;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(records->by_key[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < records->n_by_key && strcmp(records->by_key[low]->key, key) == 0; low++)
        if (records->by_key[low]->reason == reason)
            return records->by_key[low];
    return NULL;
}

/* Adds the candidate's key in each layout that has a key for the candidate. */
static int add_to_layouts(Records *records, const Candidate *candidate, Lookup *lookup)
{
    const Rules *rules = lookup->rules;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < rules->n_layouts; i++) {
        const Template *key = rules->layouts[i].key;
        bool each_binding = template_uses(key, FIELD_PORT) || template_uses(key, FIELD_ADDRESS);

        lookup->layout = &rules->layouts[i];
        if (candidate->reason != REASON_NONE)
            return add_record(records, candidate, lookup);
        if (candidate->first || each_binding)
            r = add_record(records, candidate, lookup);
    }
    return r;
}

static int add_records(Records *records, const Container *container, const Rules *rules, const Candidate *candidates,
                       size_t n)
{
    Lookup lookup = { .container = container, .rules = rules };
    size_t n_registered = 0;
    unsigned registered = 0;

    snprintf(lookup.id, sizeof(lookup.id), "%.*s", ID_SHORT, container->id);
    image_base_name(lookup.image, sizeof(lookup.image), container->image);
    for (size_t i = 0; i < n; i++)
        n_registered += candidates[i].first;
    for (size_t i = 0; i < n; i++) {
        const Port *port = candidates[i].port;

        if (i == 0 || port->container_port != candidates[i - 1].port->container_port)
            registered = registered_protocols(candidates, n, i);
        CLEANUP_FREE char *name = record_name(container, port, n_registered > 1, registered);
        if (!name)
            return -ENOMEM;
        lookup.name = name;
        int r = add_to_layouts(records, &candidates[i], &lookup);
        if (r < 0)
            return r;
    }
    find_duplicates(records);
    return 0;
}

/* ---- the whole ---- */

int records_from_container(Records *ret, const Container *container, const Rules *rules)
{
    Records records = { 0 };
    CLEANUP_FREE Candidate *candidates = calloc(container->n_ports + 1, sizeof(*candidates));
    if (!candidates)
        return -ENOMEM;
    size_t n = candidates_find(candidates, container, rules);
    records.reason = candidates_judge(container, candidates, n, rules);
    if (records.reason == REASON_NONE) {
        records.items = calloc(n * rules->n_layouts, sizeof(*records.items));
        records.by_key = calloc(n * rules->n_layouts, sizeof(Record *));
        int r = records.items && records.by_key ? add_records(&records, container, rules, candidates, n) : -ENOMEM;
        if (r < 0) {
            records_clear(&records);
            return r;
        }
    }
    *ret = records;
    return 0;
}

void records_clear(Records *records)
{
    for (size_t i = 0; i < records->n_items; i++)
        record_clear(&records->items[i]);
    free(records->by_key);
    free(records->items);
    *records = (Records){ 0 };
}
