/* The file that the agent's memory survives in: what neither Docker nor etcd can tell after a restart. One line for
 * each fact: "KIND ID" or "KIND ID FIELDS". The file belongs to one control socket: two agents never share one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
    STATE_FILE_MAX = 1024 * 1024, /* bytes; a longer file is not read */
    STATE_LINE_MAX = 256, /* bytes; a longer line is left out */
};

/* Beside the socket; below $STATE_DIRECTORY, which outlives a reboot, if systemd has given one. malloc'd; NULL: no
 * memory. */
char *state_file_path(const char *socket_path);

/* id, fields: "" if there are none. False: the line makes no sense; the number of such lines is logged. */
typedef bool (*StateLineFn)(void *userdata, const char *kind, const char *id, const char *fields);

/* 0; -ENOENT: there is no file. -EPERM: others than the agent's user and root can write the file, which is then not
 * believed; -EFBIG; another errno of open() or read(). A link, a FIFO or a directory is no file to read (-EPERM or
 * -ELOOP). Never blocks. */
int state_file_read(const char *path, StateLineFn line, void *userdata);

/* Replaces the file as a whole, with mode 0600; without text, removes the file. durable: waits until the disk has the
 * change, so that a power failure cannot undo it. 0, or the errno. */
int state_file_write(const char *path, const char *text, bool durable);
