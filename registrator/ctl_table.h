/* The agent's JSON as text for people. */
#pragma once

#include <cjson/cJSON.h>
#include <stdio.h>

/* A row per container and key; as wide as the terminal, 80 columns elsewhere; colour on a terminal only. */
void ctl_print_status(FILE *out, const cJSON *status);
/* The same for a terminal that is so wide, with colour, whatever out is. */
void ctl_print_status_for(FILE *out, const cJSON *status, unsigned columns);
/* One container: what is registered, or why not and what to do about it. */
void ctl_print_container(FILE *out, const cJSON *container);
