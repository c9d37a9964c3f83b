#include "docker/container_private.h"

#include "base/numbers.h"

#include <signal.h>
#include <string.h>
#include <strings.h>

enum {
    /* Docker's own table (moby/sys/signal) counts from 34 on every platform but MIPS, as glibc's SIGRTMIN does. The
     * numbers in kill events come from that table. */
    DOCKER_SIGRTMIN = 34,
    DOCKER_SIGRTMAX = 64,
};

static int small_number(const char *text)
{
    unsigned number;

    return number_parse(text, 99, &number) ? (int)number : -1;
}

static int signal_from_name(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } aliases[] = {
        { "CLD", SIGCHLD },           { "IO", SIGIO }, { "IOT", SIGABRT }, { "RTMIN", DOCKER_SIGRTMIN },
        { "RTMAX", DOCKER_SIGRTMAX },
    };
    for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
        if (strcasecmp(name, aliases[i].name) == 0)
            return aliases[i].number;
    for (int number = 1; number < DOCKER_SIGRTMIN; number++) {
        const char *known = sigabbrev_np(number);
        if (known && strcasecmp(name, known) == 0)
            return number;
    }
    return 0;
}

int stop_signal_from_string(const char *text)
{
    if (!text)
        return SIGTERM;
    int number = small_number(text);
    if (number >= 1 && number <= DOCKER_SIGRTMAX)
        return number;
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    if (strncasecmp(text, "RTMIN+", 6) == 0) {
        int offset = small_number(text + 6);
        return offset >= 1 && offset <= DOCKER_SIGRTMAX - DOCKER_SIGRTMIN ? DOCKER_SIGRTMIN + offset : SIGTERM;
    }
    if (strncasecmp(text, "RTMAX-", 6) == 0) {
        int offset = small_number(text + 6);
        return offset >= 1 && offset <= DOCKER_SIGRTMAX - DOCKER_SIGRTMIN ? DOCKER_SIGRTMAX - offset : SIGTERM;
    }
    number = signal_from_name(text);
    return number > 0 ? number : SIGTERM;
}
