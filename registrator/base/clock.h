#pragma once

#include <stdint.h>
#include <time.h>

/* The present time of the clock. For a TTL, use CLOCK_BOOTTIME: it runs on while the machine is suspended, as a TTL
 * does. */
uint64_t clock_us(clockid_t clock);
