/* What the server's files share. */
#pragma once

#include "http/server.h"

#include <stdbool.h>

/* fd: a listening socket, taken. is_file: address is a path, which server_free() removes. 0 or a negative errno. */
int server_new(Server **ret, sd_event *event, int fd, const char *address, bool is_file, ServerHandler handler,
               void *userdata);
