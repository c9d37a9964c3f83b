#include "settings/setting_value.h"

#include "base/ip.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

enum {
    ENDPOINTS_MAX = 16,
    ONLY_MAX = 64,
    ETCD_PORT = 2379,
};

int setting_refuse(char **ret_reason, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    *ret_reason = text_vformat(format, arguments);
    va_end(arguments);
    return *ret_reason ? -EINVAL : -ENOMEM;
}

size_t setting_strings_count(char *const *strings)
{
    size_t n = 0;

    while (strings && strings[n])
        n++;
    return n;
}

char **setting_strings_free(char **strings)
{
    for (size_t i = 0; strings && strings[i]; i++)
        free(strings[i]);
    free(strings);
    return NULL;
}

int setting_parse_text(const Option *option, const char *text, void *field, char **ret_reason)
{
    if (!*text)
        return setting_refuse(ret_reason, "must not be empty");
    (void)option;
    return text_replace(field, text);
}

int setting_parse_number(const Option *option, const char *text, void *field, char **ret_reason)
{
    unsigned number;

    if (!number_parse(text, option->max, &number) || number < option->min)
        return setting_refuse(ret_reason, "must be a whole number from %u to %u (seconds)", option->min, option->max);
    *(unsigned *)field = number;
    return 0;
}

/* The enum's values must have the order of the option's argument, "auto|v3|v2". */
int setting_parse_choice(const Option *option, const char *text, void *field, char **ret_reason)
{
    const char *choice = option->argument;

    for (int i = 0; *choice; i++) {
        size_t length = strcspn(choice, "|");
        if (strlen(text) == length && strncmp(text, choice, length) == 0) {
            memcpy(field, &i, sizeof(i));
            return 0;
        }
        choice += length + (choice[length] == '|');
    }
    return setting_refuse(ret_reason, "must be one of %s", option->argument);
}
static_assert(sizeof(StoreApi) == sizeof(int) && sizeof(PortsMode) == sizeof(int) && sizeof(ReadyBy) == sizeof(int) &&
                  sizeof(OnConflict) == sizeof(int) && sizeof(LogFormat) == sizeof(int),
              "setting_parse_choice() stores an int");

int setting_parse_etcd_api(const Option *option, const char *text, void *field, char **ret_reason)
{
    if (strcmp(text, "v2,v3") == 0 || strcmp(text, "v3,v2") == 0)
        return setting_refuse(ret_reason, "one agent writes one API: run two agents, each with its own --control");
    return setting_parse_choice(option, text, field, ret_reason);
}

int setting_parse_bool(const Option *option, const char *text, void *field, char **ret_reason)
{
    static const char *const words[][2] = { { "no", "yes" }, { "false", "true" }, { "off", "on" }, { "0", "1" } };

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        for (int value = 0; value < 2; value++)
            if (strcasecmp(text, words[i][value]) == 0) {
                *(bool *)field = value;
                return 0;
            }
    (void)option;
    return setting_refuse(ret_reason, "must be yes or no");
}

int setting_parse_log_level(const Option *option, const char *text, void *field, char **ret_reason)
{
    int level = log_level_from_string(text);

    if (level < 0)
        return setting_refuse(ret_reason, "must be one of %s", option->argument);
    *(int *)field = level;
    return 0;
}

static int check_socket_path(const char *path, char **ret_reason)
{
    const size_t max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

    if (*path != '/')
        return setting_refuse(ret_reason, "must be an absolute path");
    if (strlen(path) > max)
        return setting_refuse(ret_reason, "must not be longer than %zu bytes, a Unix socket's limit", max);
    return 0;
}

int setting_parse_socket_path(const Option *option, const char *text, void *field, char **ret_reason)
{
    int r = check_socket_path(text, ret_reason);

    (void)option;
    return r < 0 ? r : text_replace(field, text);
}

typedef struct HostPort {
    const char *host; /* a part of the text; an IPv6 address keeps its brackets */
    size_t host_length;
    unsigned port;
    bool is_address;
} HostPort;

static bool is_address(int family, const char *text, size_t length)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (length >= sizeof(copy))
        return false;
    snprintf(copy, sizeof(copy), "%.*s", (int)length, text);
    return inet_pton(family, copy, &address) == 1;
}

/* Accepts only "host:port" or "[IPv6]:port". If the port is missing, default_port applies. If default_port is 0, the
 * text needs a port. */
static bool split_host_port(HostPort *ret, const char *text, unsigned default_port)
{
    static const char name_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    HostPort found = { .host = text };

    if (*text == '[') {
        found.host_length = strcspn(text, "]") + 1;
        if (found.host_length > strlen(text) || !is_address(AF_INET6, text + 1, found.host_length - 2))
            return false;
        found.is_address = true;
    } else {
        found.host_length = strspn(text, name_bytes);
        if (found.host_length == 0 || found.host_length > 253) /* the limit of a DNS name, RFC 1035 */
            return false;
        found.is_address = is_address(AF_INET, text, found.host_length);
    }

    const char *port = text + found.host_length;
    if (!*port && default_port)
        found.port = default_port;
    else if (*port != ':' || !number_parse(port + 1, UINT16_MAX, &found.port) || found.port == 0)
        return false;
    *ret = found;
    return true;
}

/* Returns the text after the scheme without the slashes at its end, malloc'd. */
static char *url_rest(const char *text, const char *scheme)
{
    char *rest = strdup(text + strlen(scheme));

    for (size_t n = rest ? strlen(rest) : 0; n > 0 && rest[n - 1] == '/'; n--)
        rest[n - 1] = '\0';
    return rest;
}

bool setting_has_scheme(const char *text, const char *scheme)
{
    return strncasecmp(text, scheme, strlen(scheme)) == 0;
}

int setting_parse_docker_url(const Option *option, const char *text, void *field, char **ret_reason)
{
    CLEANUP_FREE char *rest = NULL;
    CLEANUP_FREE char *url = NULL;
    HostPort server;

    (void)option;
    if (setting_has_scheme(text, "unix://")) {
        const char *path = text + strlen("unix://");
        int r = check_socket_path(path, ret_reason);
        if (r < 0)
            return r;
        url = text_format("unix://%s", path);
    } else {
        const char *scheme = "tcp://";
        if (setting_has_scheme(text, scheme) && !(rest = url_rest(text, scheme)))
            return -ENOMEM;
        if (!rest || !split_host_port(&server, rest, 0))
            return setting_refuse(ret_reason, "must be unix:///PATH or tcp://HOST:PORT");
        url = text_format("tcp://%.*s:%u", (int)server.host_length, server.host, server.port);
    }
    return url ? text_replace(field, url) : -ENOMEM;
}

static int normalize_endpoint(char **ret, const char *text, char **ret_reason)
{
    const char *scheme = setting_has_scheme(text, "http://") ? "http://" : "https://";
    CLEANUP_FREE char *rest = NULL;
    HostPort server;

    if (setting_has_scheme(text, scheme) && !(rest = url_rest(text, scheme)))
        return -ENOMEM;
    if (!rest || !split_host_port(&server, rest, ETCD_PORT))
        return setting_refuse(ret_reason, "must be http://HOST:PORT or https://HOST:PORT, or several of "
                                          "these with commas between");
    *ret = text_format("%s%.*s:%u", scheme, (int)server.host_length, server.host, server.port);
    return *ret ? 0 : -ENOMEM;
}

char *setting_strip(char *text)
{
    text += strspn(text, " \t");
    for (size_t n = strlen(text); n > 0 && strchr(" \t\r\n", text[n - 1]); n--)
        text[n - 1] = '\0';
    return text;
}

int setting_parse_endpoints(const Option *option, const char *text, void *field, char **ret_reason)
{
    char ***strings = field;
    CLEANUP_FREE char *copy = strdup(text);
    CLEANUP(setting_strings_free_p) char **endpoints = calloc(ENDPOINTS_MAX + 1, sizeof(char *));
    char *item, *rest = copy;

    (void)option;
    if (!copy || !endpoints)
        return -ENOMEM;
    for (size_t n = 0; (item = strsep(&rest, ",")); n++) {
        if (n == ENDPOINTS_MAX)
            return setting_refuse(ret_reason, "must be %d endpoints at most", ENDPOINTS_MAX);
        int r = normalize_endpoint(&endpoints[n], setting_strip(item), ret_reason);
        if (r < 0)
            return r;
    }
    setting_strings_free(*strings);
    *strings = TAKE_PTR(endpoints);
    return 0;
}

LabelMatch *label_matches_free(LabelMatch *matches)
{
    for (size_t i = 0; matches && matches[i].label; i++)
        free(matches[i].label);
    free(matches);
    return NULL;
}
DEFINE_CLEANUP(LabelMatch, label_matches_free)

int setting_parse_only(const Option *option, const char *text, void *field, char **ret_reason)
{
    LabelMatch **matches = field;
    CLEANUP_FREE char *copy = strdup(text);
    CLEANUP(label_matches_free_p) LabelMatch *parsed = calloc(ONLY_MAX + 1, sizeof(*parsed));
    char *item, *rest = copy;

    (void)option;
    if (!copy || !parsed)
        return -ENOMEM;
    for (size_t n = 0; (item = strsep(&rest, ",")); n++) {
        if (n == ONLY_MAX)
            return setting_refuse(ret_reason, "must be %d labels at most", ONLY_MAX);
        parsed[n].label = strdup(setting_strip(item));
        if (!parsed[n].label)
            return -ENOMEM;
        char *equals = strchr(parsed[n].label, '=');
        if (equals)
            *equals = '\0';
        if (*parsed[n].label == '\0')
            return setting_refuse(ret_reason, "must be LABEL or LABEL=VALUE, or several of these with commas between");
        parsed[n].value = equals ? equals + 1 : NULL;
    }
    label_matches_free(*matches);
    *matches = TAKE_PTR(parsed);
    return 0;
}

int setting_parse_listen(const Option *option, const char *text, void *field, char **ret_reason)
{
    HostPort server;

    (void)option;
    if (!split_host_port(&server, text, 0) || !server.is_address)
        return setting_refuse(ret_reason, "must be ADDRESS:PORT, like 127.0.0.1:9100 or [::]:9100");
    return text_replace(field, text);
}

int setting_parse_advertise(const Option *option, const char *text, void *field, char **ret_reason)
{
    IpKind kind = ip_kind(text);
    bool interface = kind == IP_NONE && strlen(text) < IF_NAMESIZE && !strpbrk(text, "/ \t:");

    (void)option;
    if (!interface && kind != IP_UNICAST && kind != IP_LOOPBACK && kind != IP_LINK_LOCAL)
        return setting_refuse(ret_reason, "must be an address that others can reach, or the name of a "
                                          "network interface");
    return text_replace(field, text);
}

int setting_parse_node(const Option *option, const char *text, void *field, char **ret_reason)
{
    (void)option;
    /* "(none)" is the kernel's name for a host without a name. */
    if (!*text || strcmp(text, "(none)") == 0 || strlen(text) > 253 || strpbrk(text, "/ \t") ||
        strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return setting_refuse(ret_reason, "must be a name of 1 to 253 bytes without slashes and blanks");
    return text_replace(field, text);
}

/* Does the literal text outside of the {fields} contain needle? Fields are skipped, because a label's name may contain
 * slashes. */
static bool literal_contains(const char *text, const char *needle)
{
    for (const char *p = text; *p; p++) {
        if (p[0] == '{' && p[1] == '{' && isalpha((unsigned char)p[2])) {
            p++; /* {{ is a literal brace */
        } else if (p[0] == '{' && isalpha((unsigned char)p[1])) {
            p = strchrnul(p, '}');
            if (!*p)
                break;
        } else if (strncmp(p, needle, strlen(needle)) == 0) {
            return true;
        }
    }
    return false;
}

static void replace_template(void *field, Template *template)
{
    Template **place = field;

    template_free(*place);
    *place = template;
}

int setting_parse_key(const Option *option, const char *text, void *field, char **ret_reason)
{
    CLEANUP(template_free_p) Template *key = NULL;

    (void)option;
    if (text_ends_with(text, "/") || literal_contains(text, "//"))
        return setting_refuse(ret_reason, "must not end with a slash, and must not contain //");
    if (literal_contains(text, "/./") || literal_contains(text, "/../") || text_ends_with(text, "/.") ||
        text_ends_with(text, "/.."))
        return setting_refuse(ret_reason, "must not have . or .. between slashes");
    int r = template_compile(&key, text, ret_reason);
    if (r < 0)
        return r;
    /* The owners of containers choose labels and names. These must not choose the key's directory. */
    if (*template_prefix(key) == '\0')
        return setting_refuse(ret_reason, "must begin with text, like /app/ or traefik/, not with a field");
    if (!template_uses(key, FIELD_NAME) && !template_uses(key, FIELD_ID))
        return setting_refuse(ret_reason, "must contain {name} or {id}, else all containers would have the same key");
    replace_template(field, TAKE_PTR(key));
    return 0;
}

int setting_parse_value(const Option *option, const char *text, void *field, char **ret_reason)
{
    Template *value;

    (void)option;
    if (!*text)
        return setting_refuse(ret_reason, "must not be empty");
    int r = template_compile(&value, text, ret_reason);
    if (r < 0)
        return r;
    replace_template(field, value);
    return 0;
}

int setting_parse_service(const Option *option, const char *text, void *field, char **ret_reason)
{
    CLEANUP(template_free_p) Template *service = NULL;

    (void)option;
    if (!*text || strcmp(text, ".") == 0 || strcmp(text, "..") == 0 || literal_contains(text, "/"))
        return setting_refuse(ret_reason, "must be a part of a key: not empty, not . or .., no slash");
    int r = template_compile(&service, text, ret_reason);
    if (r < 0)
        return r;
    if (template_uses(service, FIELD_SERVICE))
        return setting_refuse(ret_reason, "must not contain {service}, which it defines");
    replace_template(field, TAKE_PTR(service));
    return 0;
}

/* A parser of its own marks the options that name files, for settings_check_files(). */
int setting_parse_file(const Option *option, const char *text, void *field, char **ret_reason)
{
    return setting_parse_text(option, text, field, ret_reason);
}
