/* The subcommands' calls to the agent's control socket and to Docker. The calls block, and print errors on stderr. */
#pragma once

#include "base/grow.h"
#include "settings/settings.h"

#include <cjson/cJSON.h>
#include <stdint.h>

typedef struct CtlReply {
    long status; /* HTTP status */
    Buffer body;
} CtlReply;

void ctl_print_json(const cJSON *json);
void ctl_sleep_ms(uint64_t wait_ms);

const char *ctl_reply_text(const CtlReply *reply); /* "": none */
void ctl_reply_clear(CtlReply *reply);
/* Prints the error that the reply's JSON has under this key. Without such an error, prints the whole reply. */
void ctl_print_error(const CtlReply *reply, const char *key);

/* Calls the agent at the socket's path: POST with a body, GET without. Returns the answer, which the caller owns, or
 * NULL after printing the error. For a 404, if ret_missing is not NULL, sets *ret_missing and prints nothing. */
cJSON *ctl_call_agent(const char *control, const char *path, const char *body, bool *ret_missing);

/* Asks the agent for one container by name or ID. Returns the same as ctl_call_agent(). */
cJSON *ctl_get_container(const char *control, const char *name, bool *ret_missing);

/* Calls the Docker of the caller's own settings: the agent, which has fewer rights, must not choose the caller's
 * Docker. timeout_s is in seconds. Returns 0, or EXIT_NOT_POSSIBLE without an answer, after printing the error. */
int ctl_call_docker(const Settings *settings, const char *path, const char *body, long timeout_s, CtlReply *ret);

/* Calls the same Docker for one container. action is "json" (an inspect, whose answer *ret the caller owns) or, with
 * post, "stop" (ret is NULL). Returns EXIT_SUCCESS, or EXIT_NOT_POSSIBLE after printing the error. */
int ctl_call_container(const Settings *settings, const char *name, const char *action, bool post, cJSON **ret);
