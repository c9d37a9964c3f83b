/* Log lines: journal fields if stderr is the journal, otherwise plain lines. Each error is logged once, where it is
 * handled. */
#pragma once

#include <errno.h>
#include <syslog.h>

typedef enum LogEvent {
    LOG_EVENT_NONE,
    LOG_EVENT_REGISTERED,
    LOG_EVENT_DEREGISTERED,
    LOG_EVENT_CONFLICT,
    LOG_EVENT_LEASE_LOST,
    LOG_EVENT_DOCKER_LOST,
    LOG_EVENT_ETCD_LOST,
    LOG_EVENT_MAX_,
} LogEvent;

/* The format of lines on a stderr that is not the journal. */
typedef enum LogFormat {
    LOG_FORMAT_PLAIN, /* "warning: what happened" */
    LOG_FORMAT_LOGFMT, /* level=warning msg="what happened" event=… container=… id=… key=… */
} LogFormat;

/* Finds out whether stderr is the journal. Call it once at start. */
void log_open(void);
void log_set_level(int level); /* LOG_ERR … LOG_DEBUG */
void log_set_format(LogFormat format);
/* "error", "warning", "notice", "info" or "debug". -EINVAL for any other text. */
int log_level_from_string(const char *text);

/* error: 0, or an errno of either sign for %m. container, id and key may be NULL; they become journal fields, not
 * text. Replaces control characters and bytes that are not UTF-8. A line has at most 2 KiB. Does not change errno. */
__attribute__((format(printf, 7, 8))) void log_write(int level, int error, LogEvent event, const char *container,
                                                     const char *id, const char *key, const char *format, ...);

/* Receives each line about a key with level LOG_INFO or more severe, including lines that log_set_level()
 * suppresses. The strings are valid during the call. */
typedef void (*LogKeyFn)(void *userdata, LogEvent event, const char *container, const char *id, const char *key,
                         const char *line);
/* Sets the one watcher. A second call replaces the first watcher. */
void log_set_key_watcher(LogKeyFn watcher, void *userdata);
/* Removes the watcher if its userdata is this one. */
void log_end_key_watcher(const void *userdata);
/* "registered", …; NULL for LOG_EVENT_NONE. */
const char *log_event_name(LogEvent event);

#define log_full(level, ...) log_write(level, 0, LOG_EVENT_NONE, NULL, NULL, NULL, __VA_ARGS__)
#define log_error(...) log_full(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_full(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_full(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_full(LOG_DEBUG, __VA_ARGS__)
#define log_error_errno(error, ...) log_write(LOG_ERR, error, LOG_EVENT_NONE, NULL, NULL, NULL, __VA_ARGS__)
#define log_warning_errno(error, ...) log_write(LOG_WARNING, error, LOG_EVENT_NONE, NULL, NULL, NULL, __VA_ARGS__)
