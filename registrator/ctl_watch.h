/* registrator status --watch: the table on a terminal, drawn again and again. */
#pragma once

/* Until a signal. control: the agent's socket. Returns the program's exit status. */
int ctl_watch(const char *control);
