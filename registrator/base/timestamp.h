/* Timestamps as Docker's API writes them (RFC 3339). Pure. */
#pragma once

#include <stdint.h>

/* "2026-11-27T17:12:42.123456789Z", or with an offset as "+01:00" in place of the Z, in nanoseconds since the epoch. 0: not
 * such a text, NULL, or a time before the epoch, as the 0001-01-01T00:00:00Z of a container that never started. */
int64_t timestamp_to_ns(const char *text);
