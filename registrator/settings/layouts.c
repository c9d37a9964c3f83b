/* Reads and checks the sections [layout NAME]: each makes further keys of the same containers. */
#include "settings/settings_private.h"

#include "base/text.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static const char prefix[] = "layout";
static const char name_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

void layout_clear(Layout *layout)
{
    template_free(layout->key);
    template_free(layout->value);
    template_free(layout->service);
}

static bool same_template(const Template *a, const Template *b)
{
    return strcmp(template_text(a), template_text(b)) == 0;
}

bool layouts_are_same(const Settings *a, const Settings *b)
{
    bool same = a->n_layouts == b->n_layouts;

    for (size_t i = 0; same && i < a->n_layouts; i++) {
        const Layout *x = &a->layouts[i], *y = &b->layouts[i];

        same = strcmp(x->name, y->name) == 0 && same_template(x->key, y->key) && same_template(x->value, y->value) &&
               same_template(x->service, y->service);
    }
    return same;
}

const char *layout_section_name(const char *section)
{
    size_t length = strlen(prefix);

    if (strncmp(section, prefix, length) != 0 || (section[length] != '\0' && !strchr(" \t", section[length])))
        return NULL;
    return section + length + strspn(section + length, " \t");
}

int loader_add_layout(Loader *loader, const char *name, const char *origin)
{
    Settings *settings = loader->settings;
    size_t n = settings->n_layouts, length = strlen(name);

    if (length == 0 || length > LAYOUT_NAME_MAX || strspn(name, name_bytes) < length)
        return loader_fail(loader, "%s: a layout's name must be 1 to %d letters, digits, - or _", origin,
                           LAYOUT_NAME_MAX);
    for (size_t i = 0; i < n; i++)
        if (strcmp(settings->layouts[i].name, name) == 0)
            return loader_fail(loader, "%s: there is such a layout already: %s", origin,
                               i == 0 ? "the settings in [registry] are the default layout" : loader->layout_origin[i]);
    if (n == LAYOUTS_MAX)
        return loader_fail(loader, "%s: there must be %d layouts at most", origin, LAYOUTS_MAX - 1);
    memcpy(settings->layouts[n].name, name, length + 1);
    settings->n_layouts++;
    return text_replace(&loader->layout_origin[n], origin);
}

static void *field_of(Layout *layout, const Option *option)
{
    return (char *)layout + (option->offset - offsetof(Settings, layouts[0]));
}

int loader_set_layout(Loader *loader, const Option *option, const char *text, const char *origin)
{
    Settings *settings = loader->settings;
    size_t last = settings->n_layouts - 1;
    int r = loader_parse(loader, option, text, field_of(&settings->layouts[last], option), origin);

    if (r < 0 || strcmp(option->name, "key") != 0)
        return r;
    return text_replace(&loader->layout_origin[last], origin);
}

static int inherit(Template **field, const Template *from)
{
    CLEANUP_FREE char *error = NULL;

    return *field ? 0 : template_compile(field, template_text(from), &error);
}

int layouts_complete(Loader *loader)
{
    Settings *settings = loader->settings;
    int r = 0;

    for (size_t i = 1; r >= 0 && i < settings->n_layouts; i++) {
        Layout *layout = &settings->layouts[i];

        if (!layout->key)
            return loader_fail(loader, "%s: needs a key", loader->layout_origin[i]);
        r = inherit(&layout->value, settings->layouts[0].value);
        if (r >= 0)
            r = inherit(&layout->service, settings->layouts[0].service);
    }
    return r;
}

static const char *origin_of_key(const Loader *loader, size_t i)
{
    const char *origin = i == 0 ? loader->origin[option_index(option_find("key"))] : loader->layout_origin[i];

    return origin ? origin : "key, by default";
}

int layouts_check(Loader *loader)
{
    const Settings *settings = loader->settings;
    for (size_t i = 0; i < settings->n_layouts; i++) {
        const char *key = template_text(settings->layouts[i].key);

        if (settings->etcd_api == STORE_V2 && *key != '/')
            return loader_fail(loader, "%s: '%s': must begin with a slash: etcd's v2 API has no other keys",
                               origin_of_key(loader, i), key);
        for (size_t other = 0; other < i; other++)
            if (same_template(settings->layouts[i].key, settings->layouts[other].key))
                return loader_fail(loader, "%s: '%s': another layout has the same key template: %s",
                                   origin_of_key(loader, i), key, origin_of_key(loader, other));
    }
    return 0;
}
