/* How the text of one setting becomes a value. Pure, but for the host's name. */
#pragma once

#include "settings.h"

typedef struct Option Option;

/* Stores what text means in the field, or says in *ret_reason what it must be. Leaves the field
 * as it is unless it succeeds. */
typedef int (*ParseFn)(const Option *option, const char *text, void *field, char **ret_reason);

struct Option {
    const char *name;
    const char *section, *key; /* in the file; NULL: an option of the command line alone */
    const char *argument; /* NULL: takes none; "[=…]": may be left out */
    const char *fallback; /* NULL: unset, which an empty text stands for too */
    const char *shown; /* as the default, where that is not fallback */
    const char *meaning;
    ParseFn parse;
    size_t offset; /* of the field in Settings */
    unsigned min, max; /* of a number */
    SettingsAction action;
    char short_name;
};

enum {
    SETTING_TEXT_MAX = 4096, /* bytes of one setting */
    SETTING_VARIABLE_MAX = 64, /* of a variable's name */
};

int setting_refuse(char **ret_reason, const char *format, ...) __attribute__((format(printf, 2, 3)));
int setting_replace_string(void *field, const char *text);
/* Without blanks at both ends; cuts text. */
char *setting_trim(char *text);

bool setting_has_scheme(const char *url, const char *scheme);
/* NULL-terminated; NULL is fine. Returns NULL. */
char **setting_strings_free(char **strings);
DEFINE_CLEANUP(char *, setting_strings_free)

/* ParseFns. */
int setting_parse_text(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_number(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_choice(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_etcd_api(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_bool(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_log_level(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_socket_path(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_docker_url(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_endpoints(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_listen(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_advertise(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_node(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_key(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_value(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_service(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_file(const Option *option, const char *text, void *field, char **ret_reason);
