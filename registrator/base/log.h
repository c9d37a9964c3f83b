/* Log lines: journal fields when stderr is the journal, plain lines elsewhere. Each error is
 * logged once, where it is handled. */
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

/* Of lines that do not go to the journal. */
typedef enum LogFormat {
    LOG_FORMAT_PLAIN, /* "warning: what happened" */
    LOG_FORMAT_LOGFMT, /* level=warning msg="what happened" event=… container=… id=… key=… */
} LogFormat;

/* Finds out where the lines go. Call once at start. */
void log_open(void);
void log_set_level(int level); /* LOG_ERR … LOG_DEBUG */
void log_set_format(LogFormat format);
/* "error", "warning", "notice", "info", "debug"; -EINVAL for anything else. */
int log_level_from_string(const char *text);

/* error: 0 or an errno of either sign, for %m. container, id, key may be NULL: they become
 * journal fields and are not added to the text. Control characters, and what is not UTF-8, are
 * replaced; a line is at most 2 KiB. Leaves errno as it was. */
__attribute__((format(printf, 7, 8))) void log_write(int level, int error, LogEvent event, const char *container,
                                                     const char *id, const char *key, const char *format, ...);

/* Gets each line about a key of LOG_INFO or graver, also the lines that log_set_level() keeps out of the log. The
 * strings are valid during the call. */
typedef void (*LogKeyFn)(void *userdata, LogEvent event, const char *container, const char *id, const char *key,
                         const char *line);
/* Sets the one receiver of these lines. A second call replaces the first receiver. */
void log_set_key_watcher(LogKeyFn watcher, void *userdata);
/* Ends it, if it is the one with this userdata. */
void log_end_key_watcher(const void *userdata);
/* "registered", …; NULL: LOG_EVENT_NONE. */
const char *log_event_name(LogEvent event);

#define log_full(level, ...) log_write(level, 0, LOG_EVENT_NONE, NULL, NULL, NULL, __VA_ARGS__)
#define log_error(...) log_full(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_full(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_full(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_full(LOG_DEBUG, __VA_ARGS__)
#define log_error_errno(error, ...) log_write(LOG_ERR, error, LOG_EVENT_NONE, NULL, NULL, NULL, __VA_ARGS__)
#define log_warning_errno(error, ...) log_write(LOG_WARNING, error, LOG_EVENT_NONE, NULL, NULL, NULL, __VA_ARGS__)
