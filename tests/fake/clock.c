/* A fake, preloaded into a real program: clocks that the machine does not have. The file that FAKE_CLOCK names holds
 * two numbers of milliseconds, and is read again whenever the program looks at a clock:
 *
 *   STEP   what the clock of the day is ahead, as after somebody has set it
 *   SLEPT  what CLOCK_MONOTONIC is behind, as after so long a suspend
 *
 * A program that was stopped for as long with SIGSTOP then finds what it would after a suspend: CLOCK_BOOTTIME and its
 * timers, which are the kernel's own, went on; CLOCK_MONOTONIC and its timers did not.
 *
 * libfaketime will not do: it shifts what timerfd_settime() is given by the step, whatever the timer's clock is. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { FDS_MAX = 1024 };

static bool is_monotonic_timer[FDS_MAX];

typedef struct Shift {
    long step_ms, slept_ms;
} Shift;

static Shift read_shift(void)
{
    const char *path = getenv("FAKE_CLOCK");
    int saved_errno = errno, fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char text[64], *end = text;
    ssize_t size = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
    Shift shift;

    text[size > 0 ? size : 0] = '\0';
    shift.step_ms = strtol(text, &end, 10);
    shift.slept_ms = strtol(end, NULL, 10);
    if (fd >= 0)
        (void)close(fd);
    errno = saved_errno;
    return shift;
}

static void add_ms(struct timespec *time, long ms)
{
    long long ns = (long long)time->tv_sec * 1000000000 + time->tv_nsec + (long long)ms * 1000000;

    time->tv_sec = ns / 1000000000;
    time->tv_nsec = ns % 1000000000;
}

static bool is_monotonic(clockid_t clock)
{
    return clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_MONOTONIC_RAW;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int r = (int)syscall(SYS_clock_gettime, clock, now);

    if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        add_ms(now, read_shift().step_ms);
    if (r == 0 && is_monotonic(clock))
        add_ms(now, -read_shift().slept_ms);
    return r;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;

    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &precise);
    *now = (struct timeval){ .tv_sec = precise.tv_sec, .tv_usec = precise.tv_nsec / 1000 };
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec;
    return now.tv_sec;
}

int timerfd_create(clockid_t clock, int flags)
{
    int fd = (int)syscall(SYS_timerfd_create, clock, flags);

    if (fd >= 0 && fd < FDS_MAX)
        is_monotonic_timer[fd] = is_monotonic(clock);
    return fd;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *old)
{
    struct itimerspec shifted = *when;
    bool armed = when->it_value.tv_sec != 0 || when->it_value.tv_nsec != 0;

    if (armed && (flags & TFD_TIMER_ABSTIME) && fd >= 0 && fd < FDS_MAX && is_monotonic_timer[fd])
        add_ms(&shifted.it_value, read_shift().slept_ms);
    return (int)syscall(SYS_timerfd_settime, fd, flags, &shifted, old);
}
