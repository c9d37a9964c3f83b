/* Timestamps in Docker's API (RFC 3339). Pure. */
#pragma once

#include <stdint.h>

/* Parses "2026-11-27T17:12:42.123456789Z", or the same with an offset such as "+01:00" in place of the Z. Returns
 * nanoseconds since 1970. 0: another text, NULL, or a time before 1970, such as 0001-01-01T00:00:00Z for a container
 * that never started. */
int64_t timestamp_to_ns(const char *text);
