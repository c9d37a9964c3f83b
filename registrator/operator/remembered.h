/* What the catalog knows and must not forget when the agent restarts: which containers, and whether the host, the
 * operator has drained. The lines of the state file:
 *   drained host
 *   drained ID          a container's, of 64 digits
 * and which containers are being stopped, as only Docker's events tell that:
 *   stopping ID STARTED SIGNALLED     the start that the stop ends (ns since 1970), the signal (us of CLOCK_BOOTTIME) */
#pragma once

#include "catalog/catalog.h"

/* Tells the catalog what the file says. Errors are logged. */
void remembered_load(const char *path, Catalog *catalog);

/* host: the host's drain is to be remembered. durable: as state_file_write()'s. 0, or the errno. */
int remembered_save(const char *path, Catalog *catalog, bool host, bool durable);
