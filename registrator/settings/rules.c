#include "settings/rules.h"

#include "base/grow.h"
#include "base/ip.h"

#include <errno.h>
#include <string.h>

static int add_labels(const char ***labels, size_t *n, const char *const *names, size_t n_names)
{
    for (size_t i = 0; i < n_names; i++) {
        if (array_grow(labels, *n, sizeof(**labels)) < 0)
            return -ENOMEM;
        (*labels)[(*n)++] = names[i];
    }
    return 0;
}

static int add_layout_labels(const char ***labels, size_t *n, const Layout *layout)
{
    const Template *templates[] = { layout->key, layout->value, layout->service };
    int r = 0;

    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(templates); i++) {
        const char *const *names;
        size_t n_names = template_labels(templates[i], &names);

        r = add_labels(labels, n, names, n_names);
    }
    return r;
}

/* A unix socket and a loopback address lead to this host. */
static bool is_remote(const char *docker_url)
{
    static const char scheme[] = "tcp://";
    char host[INET6_ADDRSTRLEN] = "";
    const char *text, *end;

    if (!docker_url || strncmp(docker_url, scheme, strlen(scheme)) != 0)
        return false;
    text = docker_url + strlen(scheme);
    text += *text == '[';
    end = strpbrk(text, *(text - 1) == '[' ? "]" : ":");
    if (!end || (size_t)(end - text) >= sizeof(host))
        return true;
    memcpy(host, text, (size_t)(end - text));
    return strcmp(host, "localhost") != 0 && ip_kind(host) != IP_LOOPBACK;
}

int rules_from_settings(Rules *ret, const Settings *settings, const char ***ret_labels)
{
    CLEANUP_FREE const char **labels = NULL;
    const char *const *obeyed;
    size_t n_obeyed = record_labels(&obeyed), n = 0;
    int r = add_labels(&labels, &n, obeyed, n_obeyed);

    for (const LabelMatch *match = settings->only; r >= 0 && match && match->label; match++)
        r = add_labels(&labels, &n, (const char *const *)&match->label, 1);
    for (size_t i = 0; r >= 0 && i < settings->n_layouts; i++)
        r = add_layout_labels(&labels, &n, &settings->layouts[i]);
    if (r < 0)
        return r;
    *ret = (Rules){
        .layouts = settings->layouts,
        .n_layouts = settings->n_layouts,
        .node = settings->node,
        .ports = settings->ports,
        .stop_limit_s = settings->stop_limit_s,
        .ready_timeout_s = settings->ready_timeout_s,
        .docker_is_remote = is_remote(settings->docker_url),
        .probes = settings->ready == READY_BY_TCP,
        .explicit_only = settings->explicit_only,
        .only = settings->only,
        .labels = { .names = labels, .n_names = n },
    };
    *ret_labels = TAKE_PTR(labels);
    return 0;
}

typedef struct Directory {
    const Layout *layout;
    const char *node;
} Directory;

static const char *lookup_directory(void *userdata, Field field, const char *label)
{
    const Directory *directory = userdata;

    (void)label;
    return field == FIELD_SERVICE ? template_text(directory->layout->service) : directory->node;
}

char *rules_directory(const Layout *layout, const char *node)
{
    const char *text = template_text(layout->key), *slash = strrchr(text, '/');
    CLEANUP_FREE char *head = NULL;
    CLEANUP_FREE char *error = NULL;
    CLEANUP(template_free_p) Template *template = NULL;
    Directory lookup = { .layout = layout, .node = node };
    char *directory = NULL;

    if (!slash || slash == text || *template_prefix(layout->service) == '\0' ||
        strcmp(template_prefix(layout->service), template_text(layout->service)) != 0)
        return NULL;
    head = strndup(text, (size_t)(slash - text));
    if (!head || template_compile(&template, head, &error) < 0)
        return NULL;
    for (Field field = 0; field < FIELD_MAX_; field++)
        if (field != FIELD_SERVICE && field != FIELD_NODE && template_uses(template, field))
            return NULL;
    if (template_render(template, ESCAPE_KEY, lookup_directory, &lookup, &directory) < 0)
        return NULL;
    return directory;
}

static bool begins_with(const char *text, const char *begin)
{
    return strncmp(text, begin, strlen(begin)) == 0;
}

bool rules_show_address(const Rules *rules)
{
    for (size_t i = 0; i < rules->n_layouts && rules->ports == PORTS_PUBLISHED; i++)
        if (template_uses(rules->layouts[i].value, FIELD_ADDRESS) ||
            template_uses(rules->layouts[i].key, FIELD_ADDRESS))
            return true;
    return false;
}

const char *rules_address_text(const Rules *rules, const char *key, const char *value)
{
    const char *text = NULL;
    size_t longest = 0;

    for (size_t i = 0; i < rules->n_layouts; i++) {
        const Layout *layout = &rules->layouts[i];
        size_t length = strlen(template_prefix(layout->key));
        bool in_value = template_uses(layout->value, FIELD_ADDRESS), in_key = template_uses(layout->key, FIELD_ADDRESS);

        if (!begins_with(key, template_prefix(layout->key)) || length < longest || (length == longest && !text))
            continue;
        if (!in_value && !in_key)
            text = NULL;
        else if (length > longest || in_value)
            text = in_value ? value : key;
        longest = length;
    }
    return text;
}
