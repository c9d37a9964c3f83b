/* Labels and SERVICE_* variables: reads those that the agent uses. */
#include "docker/container_private.h"

#include "base/grow.h"
#include "base/numbers.h"

#include <errno.h>
#include <string.h>

static const char prefix[] = "SERVICE_";

/* A label or variable from Docker's JSON. */
typedef struct Source {
    const char *key;
    size_t length; /* bytes of the key */
    const char *value; /* NULL: the value is not a string */
    size_t order; /* the position in the JSON, labels first */
} Source;

typedef struct Sources {
    Source *items;
    size_t n;
} Sources;

static bool is_named(const LabelFilter *filter, const char *key, size_t length)
{
    for (size_t i = 0; filter && i < filter->n_names; i++)
        if (strncmp(filter->names[i], key, length) == 0 && filter->names[i][length] == '\0')
            return true;
    return false;
}

static int compare_port(const void *key, const void *item)
{
    return numbers_compare(*(const unsigned *)key, ((const Port *)item)->container_port);
}

static bool has_port(const Container *container, unsigned number)
{
    return container->n_ports > 0 && bsearch(&number, container->ports, container->n_ports, sizeof(Port), compare_port);
}

/* Is the key SERVICE_<port>_<KEY> for a port of the container, and does the filter name SERVICE_<KEY>? */
static bool is_named_for_port(const Container *container, const LabelFilter *filter, const char *key, size_t length)
{
    const char *digits = key + strlen(prefix), *end, *name;
    unsigned number;

    /* A key of the environment ends in '=', which is not a digit. */
    end = digits_parse(digits, UINT16_MAX, &number);
    if (!end || *digits == '0' || end >= key + length || *end != '_' || !has_port(container, number))
        return false;
    name = end + 1;
    length -= (size_t)(name - key);
    for (size_t i = 0; filter && i < filter->n_names; i++) {
        const char *wanted = filter->names[i];

        if (strncmp(wanted, prefix, strlen(prefix)) == 0 && strncmp(wanted + strlen(prefix), name, length) == 0 &&
            wanted[strlen(prefix) + length] == '\0')
            return true;
    }
    return false;
}

static bool is_service_key(const char *key, size_t length)
{
    return length > strlen(prefix) && strncmp(key, prefix, strlen(prefix)) == 0;
}

static bool is_wanted(const Container *container, const LabelFilter *filter, const char *key, size_t length)
{
    return is_named(filter, key, length) ||
           (is_service_key(key, length) && is_named_for_port(container, filter, key, length));
}

static int sources_add(Sources *sources, const char *key, size_t length, const char *value)
{
    if (array_grow(&sources->items, sources->n, sizeof(Source)) < 0)
        return -ENOMEM;
    sources->items[sources->n] = (Source){ .key = key, .length = length, .value = value, .order = sources->n };
    sources->n++;
    return 0;
}

/* Labels first, because a label beats the variable of the same name. */
static int collect(Sources *ret, const Container *container, const cJSON *labels, const cJSON *environment,
                   const LabelFilter *filter)
{
    const cJSON *item;
    int r = 0;

    cJSON_ArrayForEach (item, labels) {
        if (r >= 0 && item->string && is_wanted(container, filter, item->string, strlen(item->string)))
            r = sources_add(ret, item->string, strlen(item->string), cJSON_GetStringValue(item));
    }
    cJSON_ArrayForEach (item, environment) {
        const char *key = cJSON_GetStringValue(item), *value = key ? strchr(key, '=') : NULL;

        if (r >= 0 && value && is_service_key(key, (size_t)(value - key)) &&
            is_wanted(container, filter, key, (size_t)(value - key)))
            r = sources_add(ret, key, (size_t)(value - key), value + 1);
    }
    return r;
}

static int compare_keys(const Source *a, const Source *b)
{
    int r = strncmp(a->key, b->key, a->length < b->length ? a->length : b->length);

    return r != 0 ? r : (a->length > b->length) - (a->length < b->length);
}

static int source_compare(const void *left, const void *right)
{
    const Source *a = left, *b = right;
    int r = compare_keys(a, b);

    return r != 0 ? r : (a->order > b->order) - (a->order < b->order);
}

/* Keeps the first of equal keys. Returns the bytes of all keys and values. */
static size_t drop_repeated(Sources *sources)
{
    size_t kept = 0, bytes = 0;

    if (sources->n > 0)
        qsort(sources->items, sources->n, sizeof(*sources->items), source_compare);
    for (size_t i = 0; i < sources->n; i++) {
        const Source *source = &sources->items[i];

        if (kept > 0 && compare_keys(&sources->items[kept - 1], source) == 0)
            continue;
        bytes += source->length + (source->value ? strnlen(source->value, CONTAINER_METADATA_VALUE_MAX + 1) : 0);
        sources->items[kept++] = *source;
    }
    sources->n = kept;
    return bytes;
}

static int copy_sources(Container *container, const Sources *sources)
{
    container->metadata = sources->n > 0 ? calloc(sources->n, sizeof(Label)) : NULL;
    if (sources->n > 0 && !container->metadata)
        return -ENOMEM;
    for (size_t i = 0; i < sources->n; i++) {
        const Source *source = &sources->items[i];
        Label *label = &container->metadata[container->n_metadata];

        if (!source->value)
            continue;
        container->n_metadata++;
        label->key = strndup(source->key, source->length);
        label->value = strndup(source->value, CONTAINER_METADATA_VALUE_MAX + 1);
        if (!label->key || !label->value)
            return -ENOMEM;
    }
    return 0;
}

int metadata_read(Container *container, const cJSON *labels, const cJSON *environment, const LabelFilter *filter)
{
    Sources sources = { 0 };
    int r = collect(&sources, container, labels, environment, filter);

    if (r >= 0 && drop_repeated(&sources) > CONTAINER_METADATA_MAX)
        container->metadata_too_large = true;
    else if (r >= 0)
        r = copy_sources(container, &sources);
    free(sources.items);
    return r;
}
