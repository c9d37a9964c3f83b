/* The subcommands: clients of a running agent's control socket. Their calls block. */
#pragma once

#include "settings/settings.h"

/* Runs the subcommand argv[0]. Returns the program's exit status, or -ENOENT if there is no such subcommand. */
int ctl_run(const Settings *settings, int argc, char **argv);

/* Prints the subcommands for --help. */
void ctl_print_help(FILE *out);
