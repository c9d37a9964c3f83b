#include "ctl_watch.h"

#include "cleanup.h"
#include "ctl_call.h"
#include "ctl_table.h"
#include "exit_status.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

enum { INTERVAL_S = 2 };

/* Another screen, whose lines are cut instead of wrapped, without a cursor; and back. */
static const char enter[] = "\033[?1049h\033[?7l\033[?25l";
static const char leave[] = "\033[?25h\033[?7h\033[?1049l";

/* At any moment, in the midst of a call too: only what is safe in a signal's handler. */
static void on_end(int number)
{
    ssize_t written = write(STDOUT_FILENO, leave, sizeof(leave) - 1);

    (void)number;
    _exit(written < 0 ? EXIT_NOT_POSSIBLE : EXIT_SUCCESS);
}

static void catch_signals(sigset_t *ret_resized)
{
    static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
    struct sigaction action = { .sa_handler = on_end };

    for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
        (void)sigaction(ends[i], &action, NULL);
    (void)sigemptyset(ret_resized);
    (void)sigaddset(ret_resized, SIGWINCH);
    (void)sigprocmask(SIG_BLOCK, ret_resized, NULL);
}

/* What is said on stderr meanwhile is part of the picture. */
static cJSON *ask(const char *control, FILE *errors)
{
    FILE *saved = stderr;
    cJSON *status;

    stderr = errors; /* glibc's streams are variables */
    status = ctl_call_agent(control, "/status", NULL, NULL);
    stderr = saved;
    return status;
}

static void draw(const char *text, unsigned rows)
{
    size_t n_lines = 0, shown = 0;

    for (const char *p = strchr(text, '\n'); p; p = strchr(p + 1, '\n'))
        n_lines++;
    fputs("\033[H", stdout);
    while (shown < n_lines && (n_lines <= rows || shown + 1 < rows)) {
        size_t length = strcspn(text, "\n");

        /* No line break behind the last one: it would scroll. */
        printf("%s%.*s\033[K", shown > 0 ? "\r\n" : "", (int)length, text);
        text += length + 1;
        shown++;
    }
    if (shown < n_lines)
        printf("%s… and %zu more\033[K", shown > 0 ? "\r\n" : "", n_lines - shown);
    fputs("\033[J", stdout);
    (void)fflush(stdout);
}

static int draw_status(const char *control)
{
    CLEANUP_FREE char *text = NULL;
    struct winsize window = { .ws_row = 24, .ws_col = 80 };
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    cJSON *status;

    if (!out)
        return -ENOMEM;
    status = ask(control, out);
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) < 0 || window.ws_row == 0)
        window = (struct winsize){ .ws_row = 24, .ws_col = 80 };
    if (status)
        ctl_print_status_for(out, status, window.ws_col);
    cJSON_Delete(status);
    if (fclose(out) != 0)
        return -ENOMEM;
    draw(text, window.ws_row);
    return 0;
}

int ctl_watch(const char *control)
{
    const struct timespec interval = { .tv_sec = INTERVAL_S };
    sigset_t resized;

    if (!isatty(STDOUT_FILENO)) {
        fprintf(stderr, "registrator: --watch draws on a terminal, and standard output is none; without it, status "
                        "prints the table once\n");
        return EXIT_USAGE;
    }
    catch_signals(&resized);
    fputs(enter, stdout);
    while (draw_status(control) >= 0)
        (void)sigtimedwait(&resized, NULL, &interval);
    fputs(leave, stdout);
    fprintf(stderr, "registrator: out of memory\n");
    return EXIT_NOT_POSSIBLE;
}
