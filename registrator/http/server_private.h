/* Between the server's own files. */
#pragma once

#include "http/server.h"

#include <stdbool.h>

/* fd: listens; taken. is_file: address is a path that server_free() removes. */
int server_new(Server **ret, sd_event *event, int fd, const char *address, bool is_file, ServerHandler handler,
               void *userdata);
