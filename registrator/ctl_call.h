/* The subcommands' calls: to the agent's control socket, and to Docker. They block; what fails is told on stderr. */
#pragma once

#include "settings.h"

#include <cjson/cJSON.h>
#include <stdint.h>

typedef struct CtlReply {
    long status; /* HTTP's */
    char *body; /* NULL: empty */
    size_t size;
} CtlReply;

void ctl_sleep_ms(uint64_t wait_ms);

void ctl_reply_clear(CtlReply *reply);
/* Prints the error that the reply's JSON has under this key, or else the reply. */
void ctl_print_error(const CtlReply *reply, const char *key);

/* control: the socket's path. body: NULL: GET, else POST. NULL: failed, and said so; but for a 404 where ret_missing
 * is not NULL: that is told there alone. */
cJSON *ctl_call_agent(const char *control, const char *path, const char *body, bool *ret_missing);

/* url: the agent's Docker, which need not be that of the caller's environment. 0, or EXIT_NOT_POSSIBLE: no answer. */
int ctl_call_docker(const Settings *settings, const char *url, const char *path, const char *body, long timeout_s,
                    CtlReply *ret);
