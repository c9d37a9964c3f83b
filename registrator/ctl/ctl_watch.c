#include "ctl/ctl_watch.h"

#include "base/cleanup.h"
#include "base/exit_status.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

/* Terminal codes: the alternate screen, no line wrap, no cursor; and back. */
static const char enter[] = "\033[?1049h\033[?7l\033[?25l";
static const char leave[] = "\033[?25h\033[?7h\033[?1049l";

/* A signal handler may call only functions that are safe in a signal handler. */
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

static void show(const char *text, unsigned rows)
{
    size_t n_lines = 0, shown = 0;

    for (const char *p = strchr(text, '\n'); p; p = strchr(p + 1, '\n'))
        n_lines++;
    fputs("\033[H", stdout);
    while (shown < n_lines && (n_lines <= rows || shown + 1 < rows)) {
        size_t length = strcspn(text, "\n");

        /* The last line has no line break, which would scroll the screen. */
        printf("%s%.*s\033[K", shown > 0 ? "\r\n" : "", (int)length, text);
        text += length + 1;
        shown++;
    }
    if (shown < n_lines)
        printf("%s… and %zu more\033[K", shown > 0 ? "\r\n" : "", n_lines - shown);
    fputs("\033[J", stdout);
    (void)fflush(stdout);
}

static int draw_once(CtlDrawFn draw, void *userdata)
{
    CLEANUP_FREE char *text = NULL;
    struct winsize window = { .ws_row = 24, .ws_col = 80 };
    size_t size = 0;
    FILE *out = open_memstream(&text, &size), *saved = stderr;

    if (!out)
        return -ENOMEM;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) < 0 || window.ws_row == 0)
        window = (struct winsize){ .ws_row = 24, .ws_col = 80 };
    stderr = out; /* glibc allows this, because its streams are variables */
    draw(userdata, out, window.ws_col);
    stderr = saved;
    if (fclose(out) != 0)
        return -ENOMEM;
    show(text, window.ws_row);
    return 0;
}

int ctl_watch(int interval_s, CtlDrawFn draw, void *userdata)
{
    const struct timespec interval = { .tv_sec = interval_s };
    sigset_t resized;

    if (!isatty(STDOUT_FILENO)) {
        fprintf(stderr, "registrator: --watch needs a terminal as standard output; without --watch, the "
                        "command prints the table once\n");
        return EXIT_USAGE;
    }
    catch_signals(&resized);
    fputs(enter, stdout);
    while (draw_once(draw, userdata) >= 0)
        (void)sigtimedwait(&resized, NULL, &interval);
    fputs(leave, stdout);
    fprintf(stderr, "registrator: out of memory\n");
    return EXIT_NOT_POSSIBLE;
}
