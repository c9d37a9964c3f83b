#include "base/log.h"

#include "base/cleanup.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Otherwise the journal would show log_write() as the place of each line. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

enum { LINE_BYTES_MAX = 2048, FIELDS_MAX = 8 };

/* The only global state, because the log belongs to the process, like stderr. */
static struct {
    int level;
    bool journal;
    LogFormat format;
    LogKeyFn key_watcher;
    void *userdata; /* for the watcher */
} target = { .level = LOG_INFO };

static const struct {
    const char *name, *prefix;
    int level;
} levels[] = {
    { "error", "error: ", LOG_ERR }, { "warning", "warning: ", LOG_WARNING }, { "notice", "", LOG_NOTICE },
    { "info", "", LOG_INFO },        { "debug", "debug: ", LOG_DEBUG },
};

/* Made with "systemd-id128 new". They must never change, because users match on them in journalctl. */
static const struct {
    const char *name, *id;
} events[LOG_EVENT_MAX_] = {
    [LOG_EVENT_REGISTERED] = { "registered", "1575a06dda424eff9307bad1e6fb6230" },
    [LOG_EVENT_DEREGISTERED] = { "deregistered", "93bab6bc259641f6a2876157b2d56c57" },
    [LOG_EVENT_CONFLICT] = { "conflict", "b880ef1a9a23486897cbd5bab4b25582" },
    [LOG_EVENT_LEASE_LOST] = { "lease_lost", "3a8a3456a612457d9d3861cf76a3bc07" },
    [LOG_EVENT_DOCKER_LOST] = { "docker_lost", "5020f6af68d94fed8b6c5e5c0cac370b" },
    [LOG_EVENT_ETCD_LOST] = { "etcd_lost", "2e6bfffde27d4d31b48e880630a1c3db" },
};

void log_open(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    char own[64];

    target.journal = false;
    if (!stream || fstat(STDERR_FILENO, &status) < 0)
        return;
    /* Child processes inherit the variable even if their stderr is redirected, so the agent compares it with its own
     * stderr. */
    snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    target.journal = strcmp(own, stream) == 0;
}

void log_set_level(int level)
{
    target.level = level;
}

void log_set_key_watcher(LogKeyFn watcher, void *userdata)
{
    target.key_watcher = watcher;
    target.userdata = userdata;
}

void log_end_key_watcher(const void *userdata)
{
    if (target.userdata == userdata)
        log_set_key_watcher(NULL, NULL);
}

const char *log_event_name(LogEvent event)
{
    return events[event].name;
}

void log_set_format(LogFormat format)
{
    target.format = format;
}

int log_level_from_string(const char *text)
{
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
        if (strcmp(levels[i].name, text) == 0)
            return levels[i].level;
    return -EINVAL;
}

/* Appends "NAME=value". If memory is short, the line lacks the field. */
static void add_field(struct iovec *fields, size_t *n, const char *name, const char *value)
{
    char *text;

    if (!value || *n >= FIELDS_MAX)
        return;
    int length = asprintf(&text, "%s=%s", name, value);
    if (length < 0)
        return;
    utf8_make_printable(text);
    fields[(*n)++] = (struct iovec){ .iov_base = text, .iov_len = (size_t)length };
}

static void add_number(struct iovec *fields, size_t *n, const char *name, int number)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", number);
    add_field(fields, n, name, text);
}

static int write_journal(int level, int error, LogEvent event, const char *container, const char *id, const char *key,
                         const char *line)
{
    struct iovec fields[FIELDS_MAX];
    size_t n = 0;

    add_field(fields, &n, "MESSAGE", line);
    add_number(fields, &n, "PRIORITY", level);
    add_field(fields, &n, "MESSAGE_ID", events[event].id);
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

/* The index in levels; for an unknown level, the index of an error. */
static size_t level_index(int level)
{
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
        if (levels[i].level == level)
            return i;
    return 0;
}

static void write_pair(FILE *out, const char *name, const char *value)
{
    if (!value || *value == '\0')
        return;
    (void)fprintf(out, " %s=\"", name);
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            (void)fputc('\\', out);
        (void)fputc(*c, out);
    }
    (void)fputc('"', out);
}

/* The logfmt line, malloc'd. NULL: no memory. */
static char *make_logfmt(int level, LogEvent event, const char *container, const char *id, const char *key,
                         const char *line)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    (void)fprintf(out, "level=%s", levels[level_index(level)].name);
    write_pair(out, "msg", line);
    write_pair(out, "event", events[event].name);
    write_pair(out, "container", container);
    write_pair(out, "id", id);
    write_pair(out, "key", key);
    (void)fputc('\n', out);
    if (fclose(out) == 0 && text) {
        text[size - 1] = '\0';
        utf8_make_printable(text);
        text[size - 1] = '\n';
        return text;
    }
    free(text);
    return NULL;
}

static void write_stderr(int level, LogEvent event, const char *container, const char *id, const char *key,
                         const char *line)
{
    CLEANUP_FREE char *logfmt =
        target.format == LOG_FORMAT_LOGFMT ? make_logfmt(level, event, container, id, key, line) : NULL;
    char plain[LINE_BYTES_MAX + 16];
    int length = snprintf(plain, sizeof(plain), "%s%s\n", levels[level_index(level)].prefix, line);

    /* One write() per line, so that the lines of several processes on one stderr do not mix. A failure cannot be
     * reported. */
    if (logfmt && write(STDERR_FILENO, logfmt, strlen(logfmt)) >= 0)
        return;
    if (length > 0 && write(STDERR_FILENO, plain, (size_t)length) < 0)
        return;
}

void log_write(int level, int error, LogEvent event, const char *container, const char *id, const char *key,
               const char *format, ...)
{
    char line[LINE_BYTES_MAX] = "";
    int saved_errno = errno;
    va_list arguments;

    bool watched = target.key_watcher && key && level <= LOG_INFO;

    if (level > target.level && !watched)
        return;

    error = error < 0 ? -error : error;
    errno = error;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);

    if (length >= (int)sizeof(line))
        memcpy(line + sizeof(line) - 4, "...", 4);
    utf8_make_printable(line); /* otherwise the journal hides the line as "blob data" */

    if (watched)
        target.key_watcher(target.userdata, event, container, id, key, line);
    if (level <= target.level && (!target.journal || write_journal(level, error, event, container, id, key, line) < 0))
        write_stderr(level, event, container, id, key, line);
    errno = saved_errno;
}
