#include "setting_value.h"

#include "log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

enum {
    ENDPOINTS_MAX = 16,
    ETCD_PORT = 2379,
};

int setting_refuse(char **ret_reason, const char *format, ...)
{
    va_list arguments;
    char *reason;

    va_start(arguments, format);
    int length = vasprintf(&reason, format, arguments);
    va_end(arguments);
    if (length < 0)
        return -ENOMEM;
    *ret_reason = reason;
    return -EINVAL;
}

char **setting_strings_free(char **strings)
{
    for (size_t i = 0; strings && strings[i]; i++)
        free(strings[i]);
    free(strings);
    return NULL;
}
int setting_replace_string(void *field, const char *text)
{
    char **string = field;
    char *copy;

    if (asprintf(&copy, "%s", text) < 0)
        return -ENOMEM;
    free(*string);
    *string = copy;
    return 0;
}

int setting_parse_text(const Option *option, const char *text, void *field, char **ret_reason)
{
    if (!*text)
        return setting_refuse(ret_reason, "must not be empty");
    (void)option;
    return setting_replace_string(field, text);
}

int setting_parse_number(const Option *option, const char *text, void *field, char **ret_reason)
{
    char *end;

    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    /* strtoul() takes a sign and leading blanks. */
    if (!isdigit((unsigned char)*text) || *end || errno || number < option->min || number > option->max)
        return setting_refuse(ret_reason, "must be a whole number from %u to %u (seconds)", option->min, option->max);
    *(unsigned *)field = (unsigned)number;
    return 0;
}

/* The field is an enum whose values stand in the order of the option's argument, "auto|v3|v2". */
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
static_assert(sizeof(EtcdApis) == sizeof(int) && sizeof(PortsMode) == sizeof(int) &&
                  sizeof(OnConflict) == sizeof(int) && sizeof(LogFormat) == sizeof(int),
              "setting_parse_choice() stores an int");

int setting_parse_etcd_api(const Option *option, const char *text, void *field, char **ret_reason)
{
    return setting_parse_choice(option, strcmp(text, "v3,v2") == 0 ? "v2,v3" : text, field, ret_reason);
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

/* The path of a Unix socket. */
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
    return r < 0 ? r : setting_replace_string(field, text);
}

typedef struct HostPort {
    const char *host; /* in the text; an IPv6 address with its brackets */
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

/* "host:port" or "[IPv6]:port", nothing else; no port: default_port, unless that is 0. */
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
        if (found.host_length == 0 || found.host_length > 253) /* of a DNS name, RFC 1035 */
            return false;
        found.is_address = is_address(AF_INET, text, found.host_length);
    }

    const char *port = text + found.host_length;
    if (!*port && default_port) {
        found.port = default_port;
    } else {
        size_t digits = *port == ':' ? strspn(port + 1, "0123456789") : 0;
        if (digits == 0 || digits > 5 || port[1 + digits])
            return false;
        found.port = (unsigned)strtoul(port + 1, NULL, 10);
        if (found.port == 0 || found.port > 65535)
            return false;
    }
    *ret = found;
    return true;
}

/* What follows the scheme, without the slashes at its end. */
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
        if (asprintf(&url, "unix://%s", path) < 0)
            url = NULL;
    } else {
        const char *scheme = "tcp://";
        if (setting_has_scheme(text, scheme) && !(rest = url_rest(text, scheme)))
            return -ENOMEM;
        if (!rest || !split_host_port(&server, rest, 0))
            return setting_refuse(ret_reason, "must be unix:///PATH or tcp://HOST:PORT");
        if (asprintf(&url, "tcp://%.*s:%u", (int)server.host_length, server.host, server.port) < 0)
            url = NULL;
    }
    return url ? setting_replace_string(field, url) : -ENOMEM;
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
    if (asprintf(ret, "%s%.*s:%u", scheme, (int)server.host_length, server.host, server.port) < 0)
        return -ENOMEM;
    return 0;
}

char *setting_trim(char *text)
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
        int r = normalize_endpoint(&endpoints[n], setting_trim(item), ret_reason);
        if (r < 0)
            return r;
    }
    setting_strings_free(*strings);
    *strings = TAKE_PTR(endpoints);
    return 0;
}

int setting_parse_listen(const Option *option, const char *text, void *field, char **ret_reason)
{
    HostPort server;

    (void)option;
    if (!split_host_port(&server, text, 0) || !server.is_address)
        return setting_refuse(ret_reason, "must be ADDRESS:PORT, like 127.0.0.1:9100 or [::]:9100");
    return setting_replace_string(field, text);
}

int setting_parse_advertise(const Option *option, const char *text, void *field, char **ret_reason)
{
    bool unspecified = strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0;
    bool interface = strlen(text) < 16 && !strpbrk(text, "/ \t:"); /* IFNAMSIZ with its NUL */

    (void)option;
    if (unspecified ||
        !(is_address(AF_INET, text, strlen(text)) || is_address(AF_INET6, text, strlen(text)) || interface))
        return setting_refuse(ret_reason, "must be an address that others can reach, or the name of a "
                                          "network interface");
    return setting_replace_string(field, text);
}

int setting_parse_node(const Option *option, const char *text, void *field, char **ret_reason)
{
    (void)option;
    /* "(none)" is what the kernel calls a host that was given no name. */
    if (!*text || strcmp(text, "(none)") == 0 || strlen(text) > 253 || strpbrk(text, "/ \t") ||
        strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return setting_refuse(ret_reason, "must be a name of 1 to 253 bytes without slashes and blanks");
    return setting_replace_string(field, text);
}

/* Does needle stand in the literal text, outside of the {fields}? A label's name may hold
 * slashes. */
static bool literal_contains(const char *text, const char *needle)
{
    for (const char *p = text; *p; p++) {
        if (p[0] == '{' && p[1] == '{' && isalpha((unsigned char)p[2])) {
            p++; /* doubled: no field begins here */
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

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);

    return length >= end_length && strcmp(text + length - end_length, end) == 0;
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
    if (*text != '/')
        return setting_refuse(ret_reason, "must begin with a slash");
    if (ends_with(text, "/") || literal_contains(text, "//"))
        return setting_refuse(ret_reason, "must not end in a slash, nor have two in a row");
    if (literal_contains(text, "/./") || literal_contains(text, "/../") || ends_with(text, "/.") ||
        ends_with(text, "/.."))
        return setting_refuse(ret_reason, "must not have . or .. between slashes");
    int r = template_compile(&key, text, ret_reason);
    if (r < 0)
        return r;
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
        return setting_refuse(ret_reason, "must not contain {service}, which it is to define");
    replace_template(field, TAKE_PTR(service));
    return 0;
}

/* Files are told from other texts by this, for check_files(). */
int setting_parse_file(const Option *option, const char *text, void *field, char **ret_reason)
{
    return setting_parse_text(option, text, field, ret_reason);
}
