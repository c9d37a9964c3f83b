/* Reads the settings file: "[section]", "key = value", comments. */
#include "settings/settings_private.h"

#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 8190 };

typedef struct File {
    Loader *loader;
    const char *path;
    FILE *stream;
    unsigned line; /* number of the present line */
    char *section;
    char *key, *value; /* set at the end of the value, which may continue on the next line */
    unsigned key_line;
    unsigned seen[OPTIONS_MAX]; /* line that set the option; 0: none */
    unsigned layout_seen[OPTIONS_MAX]; /* the same in the present [layout NAME] */
    char *gathered[OPTIONS_MAX];
} File;

static void file_forget_key(File *file)
{
    free(file->key);
    free(file->value);
    file->key = file->value = NULL;
}

static void file_clear(File *file)
{
    fclose_p(&file->stream);
    file_forget_key(file);
    free(file->section);
    for (size_t i = 0; i < n_options; i++)
        free(file->gathered[i]);
}

static const Option *find_key(const char *section, const char *key)
{
    for (size_t i = 0; i < n_options; i++)
        if (options[i].section && strcmp(options[i].section, section) == 0 && strcmp(options[i].key, key) == 0)
            return &options[i];
    return NULL;
}

/* A layout has three of the settings of [registry]. */
static const Option *find_layout_key(const char *key)
{
    static const char *const keys[] = { "key", "value", "service" };

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (strcmp(keys[i], key) == 0)
            return option_find(key);
    return NULL;
}

static int file_set_key(File *file)
{
    const char *section = file->section ? file->section : "";
    bool in_layout = layout_section_name(section);
    const Option *option = in_layout ? find_layout_key(file->key) : find_key(section, file->key);
    CLEANUP_FREE char *origin = text_format("%s:%u: [%s] %s", file->path, file->key_line, section, file->key);

    if (!origin)
        return -ENOMEM;
    if (!option)
        return loader_fail(file->loader, "%s: there is no such setting", origin);

    unsigned *seen = &(in_layout ? file->layout_seen : file->seen)[option_index(option)];
    if (*seen && !option->is_list)
        return loader_fail(file->loader, "%s: set already in line %u", origin, *seen);
    *seen = file->key_line;
    if (in_layout)
        return loader_set_layout(file->loader, option, file->value, origin);
    char **gathered = &file->gathered[option_index(option)];
    int r = loader_gather(gathered, option, file->value);
    return r < 0 ? r : loader_set(file->loader, option, *gathered, origin);
}

static int file_apply(File *file)
{
    if (!file->key)
        return 0;
    int r = file_set_key(file);
    file_forget_key(file);
    return r;
}

static int file_fail(File *file, const char *what)
{
    return loader_fail(file->loader, "%s:%u: %s", file->path, file->line, what);
}

/* text begins with the bracket. Each layout is added here, so that a layout without a key is an error. */
static int file_begin_section(File *file, char *text)
{
    CLEANUP_FREE char *origin = NULL;
    char *end = strchr(text, ']');
    const char *layout;
    int r;

    if (!end)
        return file_fail(file, "neither [section] nor key = value");
    if (!strchr(";#", end[1 + strspn(end + 1, " \t")]))
        return file_fail(file, "text after [section]");
    *end = '\0';
    r = text_replace(&file->section, text + 1);
    layout = r < 0 ? NULL : layout_section_name(file->section);
    if (!layout)
        return r;
    origin = text_format("%s:%u: [%s]", file->path, file->line, file->section);
    if (!origin)
        return -ENOMEM;
    memset(file->layout_seen, 0, sizeof(file->layout_seen));
    return loader_add_layout(file->loader, layout, origin);
}

static int file_begin_key(File *file, char *text)
{
    char *end = strpbrk(text, "=:");

    if (!end)
        return file_fail(file, "neither [section] nor key = value");
    *end = '\0';
    file->key_line = file->line;
    file->key = strdup(setting_strip(text));
    file->value = strdup(setting_strip(end + 1));
    return file->key && file->value ? 0 : -ENOMEM;
}

static int file_continue_value(File *file, const char *text)
{
    char *value = text_format("%s%s", file->value, text);

    if (!value)
        return -ENOMEM;
    text_take(&file->value, value);
    return 0;
}

/* A semicolon after a blank begins a comment. */
static char *cut_comment(char *text)
{
    char *semicolon = text;

    while ((semicolon = strchr(semicolon, ';')) && semicolon > text && !isblank((unsigned char)semicolon[-1]))
        semicolon++;
    if (semicolon)
        *semicolon = '\0';
    return setting_strip(text);
}

/* text has no blanks at its ends. */
static int file_take_line(File *file, char *text)
{
    size_t length = strlen(text);
    bool continues = length > 0 && text[length - 1] == '\\' && !strchr("#;", *text);
    int r = 0;

    if (continues)
        text[length - 1] = '\0';
    text = *text == '#' ? text + length : cut_comment(text);
    if (file->key)
        r = file_continue_value(file, text);
    else if (*text == '[')
        r = file_begin_section(file, text);
    else if (*text)
        r = file_begin_key(file, text);
    return r < 0 || continues ? r : file_apply(file);
}

static int file_parse(File *file)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    char buffer[LINE_BYTES_MAX + 2];

    while (fgets(buffer, sizeof(buffer), file->stream)) {
        size_t length = strlen(buffer);
        char *text = buffer;
        int r;

        file->line++;
        if ((length == 0 || buffer[length - 1] != '\n') && !feof(file->stream))
            return loader_fail(file->loader,
                               "%s:%u: longer than %d bytes (end it in a backslash and go on in the next line), or "
                               "not a text",
                               file->path, file->line, LINE_BYTES_MAX);
        if (file->line == 1 && strncmp(text, byte_order_mark, strlen(byte_order_mark)) == 0)
            text += strlen(byte_order_mark);
        r = file_take_line(file, setting_strip(text));
        if (r < 0)
            return r;
    }
    if (ferror(file->stream))
        return loader_fail(file->loader, "%s: %m", file->path);
    return file_apply(file);
}

int settings_read_file(Loader *loader)
{
    const char *given = loader->given[option_index(option_find("config"))];
    const char *variable = getenv(VARIABLE_PREFIX "CONFIG");

    if (!given && variable && *variable)
        given = variable;
    CLEANUP(file_clear) File file = { .loader = loader, .path = given ? given : SETTINGS_FILE };
    const char *why = NULL;
    int fd = settings_open_file(file.path, &why);
    if (fd < 0 && !given && errno == ENOENT)
        return 0;
    if (fd < 0)
        return loader_fail(loader, "%s: cannot read the settings: %s", file.path, why);
    file.stream = fdopen(fd, "r");
    if (!file.stream) {
        close(fd);
        return -ENOMEM;
    }
    return file_parse(&file);
}
