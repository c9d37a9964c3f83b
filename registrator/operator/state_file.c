#include "operator/state_file.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

/* Escapes a path as systemd does for a unit's name: "/run/a-b/c" becomes "run-a\x2db-c". So two paths never have the
 * same name. */
static void print_escaped(FILE *out, const char *path)
{
    for (const char *p = path + strspn(path, "/"); *p != '\0'; p++) {
        if (*p == '/')
            fputc('-', out);
        else if (*p == '-' || *p == '\\')
            fprintf(out, "\\x%02x", (unsigned char)*p);
        else
            fputc(*p, out);
    }
}

char *state_file_path(const char *socket_path)
{
    const char *directory = getenv("STATE_DIRECTORY"); /* if several are set, the first counts */
    TextStream stream;
    FILE *out = text_stream_open(&stream);

    if (!out)
        return NULL;
    if (directory && *directory != '\0') {
        fprintf(out, "%.*s/", (int)strcspn(directory, ":"), directory);
        print_escaped(out, socket_path);
    } else {
        fputs(socket_path, out);
    }
    fputs(".state", out);
    return text_stream_close(&stream, out);
}

/* Reading. */

/* The agent believes only a file that nobody but its own user and root could write. A file with a second link is
 * refused: the link could be in another user's directory. */
static bool is_trusted(const struct stat *status)
{
    return S_ISREG(status->st_mode) && (status->st_uid == geteuid() || status->st_uid == 0) &&
           (status->st_mode & (S_IWGRP | S_IWOTH)) == 0 && status->st_nlink == 1;
}

static int read_whole(int fd, size_t size, char **ret)
{
    CLEANUP_FREE char *text = calloc(1, size + 1);
    size_t at = 0;

    if (!text)
        return -ENOMEM;
    while (at < size) {
        ssize_t n = read(fd, text + at, size - at);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    text[at] = '\0';
    *ret = TAKE_PTR(text);
    return 0;
}

/* Cuts up line. */
static bool take_line(char *line, StateLineFn take, void *userdata)
{
    char *rest = line, *kind, *id;

    if (strlen(line) >= STATE_LINE_MAX)
        return false;
    kind = strsep(&rest, " ");
    id = strsep(&rest, " ");
    return take(userdata, kind, id ? id : "", rest ? rest : "");
}

int state_file_read(const char *path, StateLineFn line, void *userdata)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    CLEANUP_FREE char *text = NULL;
    struct stat status;
    size_t n_bad = 0;
    char *rest, *next;
    int r;

    if (fd < 0 || fstat(fd, &status) < 0)
        return -errno;
    if (!is_trusted(&status))
        return -EPERM;
    if (status.st_size > STATE_FILE_MAX)
        return -EFBIG;
    r = read_whole(fd, (size_t)status.st_size, &text);
    if (r < 0)
        return r;
    rest = text;
    while ((next = strsep(&rest, "\n")))
        if (*next != '\0' && !take_line(next, line, userdata))
            n_bad++;
    if (n_bad > 0)
        log_warning("%s: left out %zu lines that make no sense or exceed a bound", path, n_bad);
    return 0;
}

/* Writing. */

static int sync_directory(const char *path)
{
    CLEANUP_FREE char *copy = strdup(path);
    CLEANUP_CLOSE int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (!copy)
        return -ENOMEM;
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int write_whole(int fd, const char *text, bool durable)
{
    size_t left = strlen(text);

    while (left > 0) {
        ssize_t n = write(fd, text, left);

        if (n < 0 && errno != EINTR)
            return -errno;
        text += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    return durable && fsync(fd) < 0 ? -errno : 0;
}

/* Creates a new file. An existing file at this place is neither followed nor written to. */
static int write_new(const char *path, const char *text, bool durable)
{
    CLEANUP_CLOSE int fd = -1;

    if (unlink(path) < 0 && errno != ENOENT)
        return -errno;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : write_whole(fd, text, durable);
}

static int replace(const char *path, const char *text, bool durable)
{
    CLEANUP_FREE char *temporary = text_format("%s.new", path);
    int r;

    if (!temporary)
        return -ENOMEM;
    r = write_new(temporary, text, durable);
    if (r >= 0 && rename(temporary, path) < 0)
        r = -errno;
    if (r < 0)
        (void)unlink(temporary);
    return r;
}

int state_file_write(const char *path, const char *text, bool durable)
{
    int r = 0;

    if (*text != '\0')
        r = replace(path, text, durable);
    else if (unlink(path) < 0)
        return errno == ENOENT ? 0 : -errno;
    return r >= 0 && durable ? sync_directory(path) : r;
}
