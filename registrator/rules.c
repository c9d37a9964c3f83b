#include "rules.h"

#include <errno.h>
#include <string.h>

int rules_from_settings(Rules *ret, const Settings *settings, const char ***ret_labels)
{
    const Template *templates[] = { settings->key, settings->value, settings->service };
    CLEANUP_FREE const char **labels = NULL;
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(templates); i++) {
        const char *const *names;
        size_t n_names = template_labels(templates[i], &names);
        const char **larger = reallocarray(labels, n + n_names + 1, sizeof(*labels));

        if (!larger)
            return -ENOMEM;
        labels = larger;
        for (size_t k = 0; k < n_names; k++)
            labels[n++] = names[k];
    }
    *ret = (Rules){
        .key = settings->key,
        .value = settings->value,
        .service = settings->service,
        .node = settings->node,
        .ports = settings->ports,
        .explicit_only = settings->explicit_only,
        .labels = { .names = labels, .n_names = n, .labels_only = !settings->docker_environment },
    };
    *ret_labels = TAKE_PTR(labels);
    return 0;
}

static const char *lookup_directory(void *userdata, Field field, const char *label)
{
    const Settings *settings = userdata;

    (void)label;
    return field == FIELD_SERVICE ? template_text(settings->service) : settings->node;
}

char *rules_directory(const Settings *settings)
{
    const char *text = template_text(settings->key), *slash = strrchr(text, '/');
    CLEANUP_FREE char *head = NULL;
    CLEANUP_FREE char *error = NULL;
    CLEANUP(template_free_p) Template *template = NULL;
    char *directory = NULL;

    if (!slash || slash == text || *template_prefix(settings->service) == '\0' ||
        strcmp(template_prefix(settings->service), template_text(settings->service)) != 0)
        return NULL;
    head = strndup(text, (size_t)(slash - text));
    if (!head || template_compile(&template, head, &error) < 0)
        return NULL;
    for (Field field = 0; field < FIELD_MAX_; field++)
        if (field != FIELD_SERVICE && field != FIELD_NODE && template_uses(template, field))
            return NULL;
    if (template_render(template, ESCAPE_KEY, lookup_directory, (void *)settings, &directory) < 0)
        return NULL;
    return directory;
}
