/* The agent's JSON as text for people. */
#pragma once

#include <cjson/cJSON.h>
#include <stdio.h>

/* A row per container and key; as wide as the terminal, 80 columns elsewhere; colour on a terminal only. */
void ctl_print_status(FILE *out, const cJSON *status);
/* One container: what is registered, or why not and what to do about it. */
void ctl_print_container(FILE *out, const cJSON *container);
