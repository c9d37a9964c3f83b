/* The server of the latency benchmark, process 1 of a container: it listens on port 80 as soon as it runs, closes each
 * connection, and ends at once on SIGTERM. */
#include <err.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static void end(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(80) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    signal(SIGTERM, end);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 64) < 0)
        err(1, "port 80");
    for (;;)
        close(accept(fd, NULL, NULL));
}
