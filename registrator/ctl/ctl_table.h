/* Prints the agent's JSON as text for people. */
#pragma once

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>

/* Returns a text of the agent's JSON, or "". Makes the text printable in place: labels and other hosts' values may contain
 * control characters. */
const char *ctl_text(const cJSON *object, const char *name);

/* Prints at most width columns of the text. pad fills the rest with blanks. A text that is cut ends in "…". */
void ctl_print_cell(FILE *out, const char *text, size_t width, bool pad);

/* Prints a row per container and key. On a terminal, the table has the terminal's width and colours, otherwise 80
 * columns and no colour. */
void ctl_print_status(FILE *out, const cJSON *status);
/* Prints the same table, always with colour and for this width. */
void ctl_print_status_for(FILE *out, const cJSON *status, unsigned columns);
/* Prints the events of keys. with_names adds the containers' names. */
void ctl_print_history(FILE *out, const cJSON *events, bool with_names);
/* Prints one container: its keys, or the reason why it has none, with the remedy. */
void ctl_print_container(FILE *out, const cJSON *container);
