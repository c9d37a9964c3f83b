/* The program's exit status other than EXIT_SUCCESS. */
#pragma once

#include <stdlib.h>

enum {
    EXIT_USAGE = 1, /* bad settings or usage */
    EXIT_NOT_POSSIBLE = 2, /* a peer is not reachable, or the operation is not possible */
    EXIT_DIFFERENT = 3, /* status --etcd: Docker, agent and etcd differ */
};
