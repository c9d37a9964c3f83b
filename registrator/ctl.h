/* The subcommands: clients of a running agent's control socket. They may block. */
#pragma once

#include "settings.h"

/* argv[0] is the subcommand's name. Returns the program's exit status, or -ENOENT: there is no such subcommand. */
int ctl_run(const Settings *settings, int argc, char **argv);

/* The subcommands' part of --help. */
void ctl_print_help(FILE *out);
