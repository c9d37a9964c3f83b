/* Converts the text of one setting to a value. Pure. */
#pragma once

#include "settings/settings.h"

typedef struct Option Option;

/* Parses text into the field. Returns 0, -EINVAL or -ENOMEM. After -EINVAL, *ret_reason says what the text must be, and
 * is malloc'd. After an error, the field is unchanged. */
typedef int (*ParseFn)(const Option *option, const char *text, void *field, char **ret_reason);

struct Option {
    const char *name;
    const char *section, *key; /* in the file; NULL: only the command line has the option */
    const char *argument; /* NULL: the option takes none; "[=…]": the argument is optional */
    const char *fallback; /* the default; NULL: unset, and an empty text unsets the field */
    const char *shown; /* shown as the default instead of fallback, or NULL */
    const char *meaning;
    ParseFn parse;
    size_t offset; /* offset of the field in Settings */
    unsigned min, max; /* bounds of a number, inclusive */
    bool is_list; /* each further use in the same source adds to the list */
    SettingsAction action;
    char short_name;
};

enum {
    SETTING_TEXT_MAX = 4096, /* bytes of one setting's text */
    SETTING_VARIABLE_MAX = 64, /* bytes of a variable's name with its NUL */
};

int setting_refuse(char **ret_reason, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Removes the blanks at both ends. Returns a part of text, and changes text. */
char *setting_strip(char *text);

bool setting_has_scheme(const char *url, const char *scheme);
/* Counts the strings of a NULL-terminated array. NULL has none. */
size_t setting_strings_count(char *const *strings);
/* Frees a NULL-terminated array and its strings. NULL is fine. Returns NULL. */
char **setting_strings_free(char **strings);
DEFINE_CLEANUP(char *, setting_strings_free)

LabelMatch *label_matches_free(LabelMatch *matches);

/* The ParseFns of the table. Fields: char * for texts, unsigned for numbers, an enum for choices, bool, int for the log
 * level, char ** for endpoints, LabelMatch * for only, Template * for templates. */
int setting_parse_text(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_number(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_choice(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_etcd_api(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_bool(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_log_level(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_socket_path(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_docker_url(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_endpoints(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_only(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_listen(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_advertise(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_node(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_key(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_value(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_service(const Option *option, const char *text, void *field, char **ret_reason);
int setting_parse_file(const Option *option, const char *text, void *field, char **ret_reason);
