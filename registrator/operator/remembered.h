/* The facts of the catalog that must survive a restart of the agent: the containers that the operator has drained,
 * and whether the host is drained. The lines of the state file:
 *   drained host
 *   drained ID          ID: a container's, 64 digits
 * The containers that are being stopped are in the file as well, because only Docker's events show a stop:
 *   stopping ID STARTED SIGNALLED     STARTED: the start that the stop ends (ns since 1970); SIGNALLED: the signal
 *                                     (us of CLOCK_BOOTTIME) */
#pragma once

#include "catalog/catalog.h"

/* Passes the file's facts to the catalog. Logs errors. */
void remembered_load(const char *path, Catalog *catalog);

/* host: the state file should have the host's drain. durable: as for state_file_write(). 0, or the errno. */
int remembered_save(const char *path, Catalog *catalog, bool host, bool durable);
