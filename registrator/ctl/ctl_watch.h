/* The option --watch: redraws a table on a terminal. */
#pragma once

#include <stdio.h>

/* Prints the table for a terminal of this width. During the call, stderr is part of the picture. */
typedef void (*CtlDrawFn)(void *userdata, FILE *out, unsigned columns);

/* Draws every interval_s seconds, until a signal. Returns the program's exit status. */
int ctl_watch(int interval_s, CtlDrawFn draw, void *userdata);
