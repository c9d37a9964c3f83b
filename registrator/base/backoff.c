#include "base/backoff.h"

#include <sys/random.h>

static uint64_t random_u64(void)
{
    uint64_t value = 0;

    /* getrandom() cannot fail for so few bytes once the kernel's pool is ready, and the pool is ready before any
     * service starts. Without random bytes only the jitter is missing. */
    if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != (ssize_t)sizeof(value))
        return 0;
    return value;
}

static uint64_t random_between(uint64_t low, uint64_t high)
{
    return high <= low ? low : low + random_u64() % (high - low + 1);
}

uint64_t backoff_next_us(Backoff *backoff)
{
    uint64_t high = backoff->base_ms;

    for (unsigned i = 0; i < backoff->attempts && high < backoff->cap_ms; i++)
        high *= 2;
    if (high > backoff->cap_ms)
        high = backoff->cap_ms;
    if (backoff->attempts < UINT32_MAX)
        backoff->attempts++;
    return random_between(backoff->base_ms * 1000 / 4, high * 1000);
}

void backoff_reset(Backoff *backoff)
{
    backoff->attempts = 0;
}

uint64_t jitter_us(uint64_t around_us, double part)
{
    uint64_t spread = (uint64_t)((double)around_us * part);

    return random_between(around_us - spread, around_us + spread);
}
