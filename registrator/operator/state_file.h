/* The state file: the facts that neither Docker nor etcd can give after a restart. One line for each fact: "KIND ID"
 * or "KIND ID FIELDS". The file belongs to one control socket, so two agents never share a file. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
    STATE_FILE_MAX = 1024 * 1024, /* bytes; a longer file is not read */
    STATE_LINE_MAX = 256, /* bytes; a longer line is dropped */
};

/* The path: below $STATE_DIRECTORY if systemd has set it, because this directory outlives a reboot; else beside the
 * socket. malloc'd; NULL: no memory. */
char *state_file_path(const char *socket_path);

/* id, fields: "" if the line lacks them. Returns false if the line is not valid; the number of such lines is logged. */
typedef bool (*StateLineFn)(void *userdata, const char *kind, const char *id, const char *fields);

/* 0; -ENOENT: no file. -EPERM: users other than the agent's user and root can write the file; -EFBIG; or another
 * errno of open() or read(). A link, a FIFO or a directory gives -EPERM or -ELOOP. Never blocks. */
int state_file_read(const char *path, StateLineFn line, void *userdata);

/* Replaces the whole file, with mode 0600. text NULL: removes the file. durable: waits until the disk has the
 * change, so that a power failure cannot undo it. 0, or the errno. */
int state_file_write(const char *path, const char *text, bool durable);
