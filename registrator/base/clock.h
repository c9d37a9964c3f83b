#pragma once

#include <stdint.h>

/* CLOCK_BOOTTIME: as a TTL does, it runs on while the machine is suspended. */
uint64_t clock_boottime_us(void);
