/* Where tests put their files and sockets. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

enum { SCRATCH_MAX = 64 }; /* bytes; a socket's path below it must fit into sun_path */

/* For mkstemp() and mkdtemp(): a path below TMPDIR, so that a test that is cut short leaves nothing elsewhere. */
static inline void scratch_template(char path[static SCRATCH_MAX])
{
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(path, SCRATCH_MAX, "%s/registrator.XXXXXX", tmp ? tmp : "/tmp");
}
