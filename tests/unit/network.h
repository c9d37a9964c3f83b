/* Network namespaces that a test furnishes itself. Include after cmocka.h. */
#pragma once

#include "base/cleanup.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>

/* A namespace of its own with nothing in it. False, with a note in the test's output: not possible
 * here. (cmocka's skip() is a failure in TAP.) */
static inline bool enter_namespace(void)
{
    if (geteuid() != 0 || system("command -v ip >/dev/null") != 0) {
        print_message("# skipped: needs root and ip(8)\n");
        return false;
    }
    if (unshare(CLONE_NEWNET) < 0) {
        print_message("# skipped: no network namespace: %s\n", strerror(errno));
        return false;
    }
    return true;
}

/* Lines of ip(8) without its name. */
static inline void ip(const char *commands)
{
    CLEANUP_FREE char *shell = NULL;

    assert_true(asprintf(&shell, "ip -batch - <<'END'\nlink set lo up\n%s\nEND", commands) > 0);
    assert_int_equal(system(shell), 0);
}

#define WITH_NETWORK(commands)  \
    do {                        \
        if (!enter_namespace()) \
            return;             \
        ip(commands);           \
    } while (0)

/* A link that is up and has a carrier. (Dummy devices are not in every kernel.) */
#define LINK(name, peer)                               \
    "link add " name " type veth peer name " peer "\n" \
    "link set " name " up\nlink set " peer " up\n"

/* A bridge with the ports of two containers: veths whose other ends are elsewhere. */
#define BRIDGE(name, peer)                                                           \
    "link add " name " type bridge\nlink set " name " up\n" LINK(peer "a", peer "b") \
        LINK(peer "c", peer "d") "link set " peer "a master " name "\nlink set " peer "c master " name "\n"

#define ETH0                              \
    LINK("eth0", "peer0")                 \
    "address add 192.0.2.2/24 dev eth0\n" \
    "address add 2001:db8::2/64 dev eth0 nodad\n"

#define DEFAULT_ROUTES                  \
    "route add default via 192.0.2.1\n" \
    "route add default via 2001:db8::1\n"
