/* Shared by the files of settings/: the table of options, and the Loader, which fills Settings from the sources. */
#pragma once

#include "settings/setting_value.h"
#include "settings/settings.h"

#ifndef PKGSYSCONFDIR /* the build defines the directory */
#define PKGSYSCONFDIR "/etc/registrator"
#endif
#define SETTINGS_FILE PKGSYSCONFDIR "/registrator.conf"
#define VARIABLE_PREFIX "REGISTRATOR_"

enum { OPTIONS_MAX = 64 };

extern const Option options[];
extern const size_t n_options;

/* Returns the option of the table. A name that the table does not have is a bug. */
const Option *option_find(const char *name);
size_t option_index(const Option *option);
/* Writes the variable's name, like "REGISTRATOR_ETCD_API": by_key makes the name of the file's section and key,
 * otherwise of the option's name. */
void option_variable(char ret[SETTING_VARIABLE_MAX], const Option *option, bool by_key);

typedef struct Loader {
    Settings *settings;
    SettingsAction action;
    int first_operand;
    char *given[OPTIONS_MAX]; /* values from the command line */
    char *origin[OPTIONS_MAX]; /* source of the present value; NULL: the default */
    char *layout_origin[LAYOUTS_MAX]; /* source of the layout's key, or of its section */
    char *error;
} Loader;

/* Stores the error in the Loader. Returns -EINVAL, or -ENOMEM. */
int loader_fail(Loader *loader, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds a text of one source to the source's earlier texts of this option. A list grows, with commas. Any other text
 * replaces the earlier one. Returns 0 or -ENOMEM. */
int loader_gather(char **gathered, const Option *option, const char *text);
void *loader_field(const Loader *loader, const Option *option);
/* Sets the option. Errors show origin, like "--etcd" or "FILE:LINE: [etcd] api". origin is copied. Returns 0, -EINVAL
 * or -ENOMEM. */
int loader_set(Loader *loader, const Option *option, const char *text, const char *origin);

/* Parses the text into the field. Returns 0, -EINVAL or -ENOMEM. */
int loader_parse(Loader *loader, const Option *option, const char *text, void *field, const char *origin);

/* Returns the NAME of a section "layout NAME", or NULL for another section. */
const char *layout_section_name(const char *section);
int loader_add_layout(Loader *loader, const char *name, const char *origin);
/* Sets key, value or service of the layout that was added last. */
int loader_set_layout(Loader *loader, const Option *option, const char *text, const char *origin);
/* Copies from [registry] each template that a layout does not set. */
int layouts_complete(Loader *loader);
int layouts_check(Loader *loader);
bool layouts_are_same(const Settings *a, const Settings *b);

/* Reads the settings file, if there is one. */
int settings_read_file(Loader *loader);
/* Sets the defaults that are no constants. agent: false for a subcommand. */
int settings_complete(Loader *loader, bool agent);
/* Checks each setting against the others. */
int settings_check_together(Loader *loader);
/* Checks that the files which the settings name can be read. Reads the password. */
int settings_check_files(Loader *loader);
/* Opens a file that a setting names. Refuses pipes, because opening a pipe would wait for its writer and block the
 * loop. Returns a descriptor, or -1 with the reason in *ret_why and errno. */
int settings_open_file(const char *path, const char **ret_why);
