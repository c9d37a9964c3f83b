#include "log.h"

#include "cleanup.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* The place of every line would be log_write() itself. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

enum { LINE_BYTES_MAX = 2048, FIELDS_MAX = 8 };

/* The one thing that is the process' own, like stderr itself. */
static struct {
    int level;
    bool journal;
} target = { .level = LOG_INFO };

static const struct {
    const char *name;
    int level;
} levels[] = {
    { "error", LOG_ERR }, { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
    { "info", LOG_INFO }, { "debug", LOG_DEBUG },
};

/* Made once with "systemd-id128 new"; they never change, for journalctl's users match on them. */
static const char *const message_ids[LOG_EVENT_MAX_] = {
    [LOG_EVENT_REGISTERED] = "1575a06dda424eff9307bad1e6fb6230",
    [LOG_EVENT_WITHDRAWN] = "93bab6bc259641f6a2876157b2d56c57",
    [LOG_EVENT_CONFLICT] = "b880ef1a9a23486897cbd5bab4b25582",
    [LOG_EVENT_LEASE_LOST] = "3a8a3456a612457d9d3861cf76a3bc07",
    [LOG_EVENT_DOCKER_LOST] = "5020f6af68d94fed8b6c5e5c0cac370b",
    [LOG_EVENT_ETCD_LOST] = "2e6bfffde27d4d31b48e880630a1c3db",
};

void log_open(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    char own[64];

    target.journal = false;
    if (!stream || fstat(STDERR_FILENO, &status) < 0)
        return;
    /* The variable is inherited, also by processes whose stderr was redirected since. */
    snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    target.journal = strcmp(own, stream) == 0;
}

void log_set_level(int level)
{
    target.level = level;
}

int log_level_from_string(const char *text)
{
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
        if (strcmp(levels[i].name, text) == 0)
            return levels[i].level;
    return -EINVAL;
}

/* Bytes of the printable UTF-8 character at text; 0: a control character, or not UTF-8. */
static size_t printable_length(const unsigned char *text)
{
    unsigned char first = text[0], second = first ? text[1] : 0;
    size_t length = 0;

    if (first < 0x80)
        return first >= 0x20 && first != 0x7f;
    if (first >= 0xc2 && first < 0xe0)
        length = 2;
    else if (first >= 0xe0 && first < 0xf0)
        length = 3;
    else if (first >= 0xf0 && first < 0xf5)
        length = 4;

    /* C1 controls, which terminals obey; overlong forms, surrogates, beyond U+10FFFF. */
    if ((first == 0xc2 && second < 0xa0) || (first == 0xe0 && second < 0xa0) ||
        (first == 0xed && second >= 0xa0) || (first == 0xf0 && second < 0x90) ||
        (first == 0xf4 && second >= 0x90))
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

/* Keeps one line one line, and the journal from hiding it as "blob data". */
static void make_printable(char *text)
{
    unsigned char *p = (unsigned char *)text;

    while (*p) {
        size_t length = printable_length(p);
        if (length == 0)
            *p = '?';
        p += length ? length : 1;
    }
}

/* Appends "NAME=value"; without memory the line goes out without the field. */
static void add_field(struct iovec *fields, size_t *n, const char *name, const char *value)
{
    char *text;

    if (!value || *n >= FIELDS_MAX)
        return;
    int length = asprintf(&text, "%s=%s", name, value);
    if (length < 0)
        return;
    make_printable(text);
    fields[(*n)++] = (struct iovec){ .iov_base = text, .iov_len = (size_t)length };
}

static void add_number(struct iovec *fields, size_t *n, const char *name, int number)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", number);
    add_field(fields, n, name, text);
}

static int write_journal(int level, int error, LogEvent event, const char *container,
                         const char *id, const char *key, const char *line)
{
    struct iovec fields[FIELDS_MAX];
    size_t n = 0;

    add_field(fields, &n, "MESSAGE", line);
    add_number(fields, &n, "PRIORITY", level);
    add_field(fields, &n, "MESSAGE_ID", message_ids[event]);
    add_field(fields, &n, "CONTAINER_NAME", container);
    add_field(fields, &n, "CONTAINER_ID", id);
    add_field(fields, &n, "REGISTRATOR_KEY", key);
    if (error)
        add_number(fields, &n, "ERRNO", error);

    int r = sd_journal_sendv(fields, (int)n);
    for (size_t i = 0; i < n; i++)
        free(fields[i].iov_base);
    return r;
}

static const char *level_prefix(int level)
{
    switch (level) {
    case LOG_WARNING:
        return "warning: ";
    case LOG_NOTICE:
    case LOG_INFO:
        return "";
    case LOG_DEBUG:
        return "debug: ";
    default:
        return "error: ";
    }
}

static void write_stderr(int level, const char *line)
{
    char text[LINE_BYTES_MAX + 16];
    int length = snprintf(text, sizeof(text), "%s%s\n", level_prefix(level), line);

    /* One write: the lines of processes that share a stderr do not mix. Nobody is left to hear of a
     * failure. */
    if (length > 0 && write(STDERR_FILENO, text, (size_t)length) < 0)
        return;
}

void log_write(int level, int error, LogEvent event, const char *container, const char *id,
               const char *key, const char *format, ...)
{
    char line[LINE_BYTES_MAX] = "";
    int saved_errno = errno;
    va_list arguments;

    if (level > target.level)
        return;

    error = error < 0 ? -error : error;
    errno = error;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);

    if (length >= (int)sizeof(line))
        memcpy(line + sizeof(line) - 4, "...", 4);
    make_printable(line);

    if (!target.journal || write_journal(level, error, event, container, id, key, line) < 0)
        write_stderr(level, line);
    errno = saved_errno;
}
