/* The advertised address, in network namespaces that the tests furnish themselves. */
#include "agent/address.h"
#include "base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/network.h"

static struct sockaddr_storage remote_at(const char *address)
{
    struct sockaddr_storage storage = { 0 };
    struct sockaddr_in *in = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&storage;

    if (inet_pton(AF_INET, address, &in->sin_addr) == 1)
        in->sin_family = AF_INET;
    else if (inet_pton(AF_INET6, address, &in6->sin6_addr) == 1)
        in6->sin6_family = AF_INET6;
    else
        fail();
    return storage;
}

/* address4, address6: "" where none is expected. */
static void assert_found(const char *advertise, const char *remote, const char *address4, const char *address6,
                         const char *origin)
{
    struct sockaddr_storage storage = remote_at(remote ? remote : "::");
    CLEANUP(interfaces_clear) Interfaces interfaces = { 0 };
    HostAddress found;

    assert_int_equal(interfaces_read(&interfaces), 0);
    assert_int_equal(host_address_find(&found, &interfaces, advertise, remote ? (struct sockaddr *)&storage : NULL), 0);
    assert_string_equal(found.address4, address4);
    assert_string_equal(found.address6, address6);
    assert_string_equal(found.origin, origin);
}

static void assert_not_found(const char *advertise, const char *remote, int error)
{
    struct sockaddr_storage storage = remote_at(remote ? remote : "::");
    CLEANUP(interfaces_clear) Interfaces interfaces = { 0 };
    HostAddress found, before;

    assert_int_equal(interfaces_read(&interfaces), 0);
    memset(&found, 0x55, sizeof(found));
    before = found;
    assert_int_equal(host_address_find(&found, &interfaces, advertise, remote ? (struct sockaddr *)&storage : NULL),
                     error);
    assert_memory_equal(&found, &before, sizeof(found));
}

static void addresses_are_taken_as_they_are(void **state)
{
    (void)state;
    assert_found("198.51.100.7", NULL, "198.51.100.7", "", "as set");
    assert_found("127.0.0.1", NULL, "127.0.0.1", "", "as set");
    assert_found("2001:DB8:0:0::5", NULL, "", "2001:db8::5", "as set");
}

static void interface_gives_its_global_addresses(void **state)
{
    (void)state;
    WITH_NETWORK(LINK("eth1", "peer1") "address add 169.254.3.4/16 dev eth1\n"
                                       "address add 198.51.100.4/24 dev eth1\n"
                                       "address add 198.51.100.5/24 dev eth1\n"
                                       "address add 2001:db8:1::4/64 dev eth1 nodad\n" ETH0);
    assert_found("eth1", NULL, "198.51.100.4", "2001:db8:1::4", "interface eth1");
    assert_found("eth1", "192.0.2.9", "198.51.100.4", "2001:db8:1::4", "interface eth1");
}

static void a_named_interface_is_used_whatever_its_kind(void **state)
{
    (void)state;
    WITH_NETWORK(LINK("docker0", "peer0") "address add 172.17.0.1/16 dev docker0");
    assert_found("docker0", NULL, "172.17.0.1", "", "interface docker0");
    assert_found("lo", NULL, "127.0.0.1", "::1", "interface lo");
}

static void interface_without_a_usable_address(void **state)
{
    (void)state;
    WITH_NETWORK(LINK("eth0", "peer0") "address add 169.254.1.2/16 dev eth0");
    assert_not_found("eth0", NULL, -ENODEV);
    assert_not_found("eth7", NULL, -ENODEV);
}

static void deprecated_addresses_come_last(void **state)
{
    (void)state;
    /* The kernel lists the newest first. */
    WITH_NETWORK(
        LINK("eth0", "peer0") "address add 2001:db8::2/64 dev eth0 nodad\n"
                              "address add 2001:db8::3/64 dev eth0 nodad preferred_lft 0\n" LINK(
                                  "eth1", "peer1") "address add 2001:db8:1::3/64 dev eth1 nodad preferred_lft 0\n");
    assert_found("eth0", NULL, "", "2001:db8::2", "interface eth0");
    assert_found("eth1", NULL, "", "2001:db8:1::3", "interface eth1");
}

static void route_to_etcd_gives_the_source(void **state)
{
    (void)state;
    WITH_NETWORK(ETH0 LINK("eth1", "peer1") "address add 198.51.100.4/24 dev eth1\n" DEFAULT_ROUTES);
    assert_found(NULL, "198.51.100.9", "198.51.100.4", "2001:db8::2", "source address of the route to 198.51.100.9");
    assert_found(NULL, "2001:db8::9", "192.0.2.2", "2001:db8::2", "source address of the route to 2001:db8::9");
    /* etcd on this host, by the host's own address. */
    assert_found(NULL, "198.51.100.4", "198.51.100.4", "2001:db8::2", "source address of the route to 198.51.100.4");
}

static void default_route_serves_without_etcd(void **state)
{
    (void)state;
    WITH_NETWORK(ETH0 LINK("eth1", "peer1") "address add 198.51.100.4/24 dev eth1\n" DEFAULT_ROUTES);
    assert_found(NULL, NULL, "192.0.2.2", "2001:db8::2", "source address of the default route, eth0");
}

static void preferred_source_and_policy_of_routes_count(void **state)
{
    (void)state;
    WITH_NETWORK(ETH0 "address add 192.0.2.77/24 dev eth0\n"
                      "route add default via 192.0.2.1 src 192.0.2.77 table 100\n"
                      "rule add from all lookup 100");
    assert_found(NULL, NULL, "192.0.2.77", "", "source address of the default route, eth0");
}

static void temporary_addresses_are_not_advertised(void **state)
{
    (void)state;
    WITH_NETWORK(LINK("eth0", "peer0"));
    /* "mngtmpaddr" makes a temporary address beside the one that is added. */
    if (system("cd /proc/sys/net/ipv6/conf/eth0 && echo 2 >use_tempaddr && echo 0 >accept_dad") != 0) {
        print_message("# skipped: cannot have temporary addresses\n");
        return;
    }
    ip("address add 2001:db8::2/64 dev eth0 nodad mngtmpaddr\nroute add default via 2001:db8::1");
    assert_int_equal(system("ip -6 address show dev eth0 | grep -q temporary"), 0);
    assert_found("eth0", NULL, "", "2001:db8::2", "interface eth0");
    assert_found(NULL, NULL, "", "2001:db8::2", "source address of the default route, eth0");
    assert_found(NULL, "2001:db8:1::9", "", "2001:db8::2", "source address of the route to 2001:db8:1::9");
}

/* As in the unit's sandbox: ProcSubset=pid and ProtectProc=invisible. Changes the mounts of the whole program: last. */
static void flags_of_addresses_are_seen_in_the_sandbox(void **state)
{
    (void)state;
    WITH_NETWORK(LINK("eth0", "peer0") "address add 2001:db8::2/64 dev eth0 nodad\n"
                                       "address add 2001:db8::3/64 dev eth0 nodad preferred_lft 0\n");
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", "/proc", "proc", 0, "subset=pid,hidepid=invisible") < 0) {
        print_message("# skipped: no such mount: %s\n", strerror(errno));
        return;
    }
    assert_int_equal(access("/proc/net", F_OK), -1);
    assert_found("eth0", NULL, "", "2001:db8::2", "interface eth0");
}

static void loopback_route_falls_to_the_default_route(void **state)
{
    (void)state;
    WITH_NETWORK(ETH0 DEFAULT_ROUTES);
    assert_found(NULL, "127.0.0.1", "192.0.2.2", "2001:db8::2", "source address of the default route, eth0");
    assert_found(NULL, "::1", "192.0.2.2", "2001:db8::2", "source address of the default route, eth0");
}

static bool is_internal(const char *address)
{
    CLEANUP(interfaces_clear) Interfaces interfaces = { 0 };

    assert_int_equal(interfaces_read(&interfaces), 0);
    const LocalAddress *found = interfaces_find(&interfaces, address);
    assert_non_null(found);
    return found->internal;
}

static void bridges_of_engines_fall_to_the_default_route(void **state)
{
    static const char *const bridges[] = { "docker0",
                                           "docker_gwbridge",
                                           "br-0123456789ab",
                                           "podman0",
                                           "podman12",
                                           "cni-podman0",
                                           /* a network may have any name for its bridge */ "shop",
                                           "podman-shop",
                                           "virbr7" };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(bridges); i++) {
        CLEANUP_FREE char *bridge = NULL;
        assert_true(asprintf(&bridge,
                             "link add %1$s type bridge\n" LINK(
                                 "vetha", "vethb") "link set vetha master %1$s\n"
                                                   "link set %1$s up\naddress add 172.17.0.1/16 dev %1$s\n"
                                                   "address add fd00:17::1/64 dev %1$s nodad",
                             bridges[i]) > 0);
        WITH_NETWORK(ETH0 DEFAULT_ROUTES);
        ip(bridge);
        assert_found(NULL, "172.17.0.2", "192.0.2.2", "2001:db8::2", "source address of the default route, eth0");
        assert_true(is_internal("172.17.0.1"));
        assert_true(is_internal("fd00:17::1"));
        assert_false(is_internal("192.0.2.2"));
        assert_false(is_internal("2001:db8::2"));
    }
}

static void bridges_without_containers_are_of_engines_too(void **state)
{
    (void)state;
    WITH_NETWORK(ETH0 DEFAULT_ROUTES "link add shop type bridge\naddress add 172.30.0.1/16 dev shop\n");
    assert_true(is_internal("172.30.0.1"));
}

static void bridges_of_others_are_like_any_interface(void **state)
{
    (void)state;
    /* As long as Docker's "br-0123456789ab". With an uplink among the ports, and not a bridge at all. */
    WITH_NETWORK("link add br-storage00001 type bridge\nlink set br-storage00001 up\n"
                 "tuntap add dev uplink mode tap\nlink set uplink up\nlink set uplink master br-storage00001\n"
                 "address add 192.0.2.3/24 dev br-storage00001\n" LINK(
                     "br-lan", "peer1") "address add 198.51.100.3/24 dev br-lan");
    assert_found(NULL, "192.0.2.9", "192.0.2.3", "", "source address of the route to 192.0.2.9");
    assert_found(NULL, "198.51.100.9", "198.51.100.3", "", "source address of the route to 198.51.100.9");
    assert_false(is_internal("192.0.2.3"));
    assert_false(is_internal("198.51.100.3"));
}

/* A host that is a container of another engine has only veths, and may have a bridge over its uplink. */
static void a_bridge_with_the_default_route_is_the_hosts_own(void **state)
{
    (void)state;
    WITH_NETWORK(BRIDGE("br0", "v") "address add 192.0.2.3/24 dev br0\naddress add 2001:db8::3/64 dev br0 nodad\n"
                                    "route add default via 192.0.2.1\n" BRIDGE(
                                        "shop", "w") "address add 172.30.0.1/16 dev shop\n");
    assert_found(NULL, "192.0.2.9", "192.0.2.3", "", "source address of the route to 192.0.2.9");
    assert_false(is_internal("192.0.2.3"));
    assert_false(is_internal("2001:db8::3"));
    assert_true(is_internal("172.30.0.1"));
}

static void only_loopback_and_docker_is_not_enough(void **state)
{
    (void)state;
    WITH_NETWORK(LINK("docker0", "peer0") "address add 172.17.0.1/16 dev docker0\nroute add default via 172.17.0.2");
    assert_not_found(NULL, NULL, -EADDRNOTAVAIL);
    assert_not_found(NULL, "172.17.0.2", -EADDRNOTAVAIL);
    assert_not_found(NULL, "127.0.0.1", -EADDRNOTAVAIL);
    assert_not_found(NULL, "::1", -EADDRNOTAVAIL);
}

static void link_local_addresses_are_not_advertised(void **state)
{
    (void)state;
    WITH_NETWORK(LINK("eth0", "peer0") "address add 169.254.1.2/16 dev eth0\nroute add default via 169.254.1.1");
    assert_not_found(NULL, NULL, -EADDRNOTAVAIL);
}

static void one_family_is_enough(void **state)
{
    (void)state;
    WITH_NETWORK(LINK("eth0", "peer0") "address add 2001:db8::2/64 dev eth0 nodad\nroute add default via 2001:db8::1");
    assert_found(NULL, NULL, "", "2001:db8::2", "source address of the default route, eth0");
}

static void addresses_in_texts(void **state)
{
    (void)state;
    assert_true(address_in_text("10.0.0.1:80", "10.0.0.1"));
    assert_true(address_in_text("10.0.0.1", "10.0.0.1"));
    assert_true(address_in_text("http://10.0.0.1:80/", "10.0.0.1"));
    assert_true(address_in_text("{\"host\":\"10.0.0.1\",\"port\":80}", "10.0.0.1"));
    assert_true(address_in_text("10.0.0.12:80 10.0.0.1:80", "10.0.0.1"));
    assert_true(address_in_text("10.0.0.1-80", "10.0.0.1"));
    assert_true(address_in_text("[2001:db8::5]:80", "2001:db8::5"));
    assert_true(address_in_text("[2001:DB8::5]:80", "2001:db8::5"));
    assert_true(address_in_text("\"2001:db8::5\"", "2001:db8::5"));
    assert_true(address_in_text("2001:db8::5", "2001:db8::5"));
}

static void addresses_that_are_a_part_of_others(void **state)
{
    (void)state;
    assert_false(address_in_text("10.0.0.12:80", "10.0.0.1"));
    assert_false(address_in_text("110.0.0.1:80", "10.0.0.1"));
    assert_false(address_in_text("1.10.0.0.1", "10.0.0.1"));
    assert_false(address_in_text("10.0.0.1.5", "10.0.0.1"));
    assert_false(address_in_text("10.0.0.1x", "10.0.0.1"));
    assert_false(address_in_text("10x0y0z1", "10.0.0.1"));
    assert_false(address_in_text("[2001:db8::55]:80", "2001:db8::5"));
    assert_false(address_in_text("[12001:db8::5]:80", "2001:db8::5"));
    assert_false(address_in_text("[fd00:2001:db8::5]:80", "2001:db8::5"));
    assert_false(address_in_text("[2001:db8::5:1]:80", "2001:db8::5"));
    assert_false(address_in_text("", "10.0.0.1"));
    assert_false(address_in_text("10.0.0.1", ""));
    assert_false(address_in_text("", ""));
}

static void local_addresses_in_texts(void **state)
{
    CLEANUP(interfaces_clear) Interfaces interfaces = { 0 };

    (void)state;
    WITH_NETWORK(ETH0);
    assert_int_equal(interfaces_read(&interfaces), 0);
    assert_true(local_address_in_text(&interfaces, "192.0.2.2:80"));
    assert_true(local_address_in_text(&interfaces, "[2001:db8::2]:80"));
    assert_false(local_address_in_text(&interfaces, "192.0.2.22:80"));
    assert_false(local_address_in_text(&interfaces, "127.0.0.1:80"));
    assert_false(local_address_in_text(&interfaces, "[::1]:80"));
    assert_false(local_address_in_text(&interfaces, "web:80"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_taken_as_they_are),
        cmocka_unit_test(interface_gives_its_global_addresses),
        cmocka_unit_test(a_named_interface_is_used_whatever_its_kind),
        cmocka_unit_test(interface_without_a_usable_address),
        cmocka_unit_test(deprecated_addresses_come_last),
        cmocka_unit_test(route_to_etcd_gives_the_source),
        cmocka_unit_test(default_route_serves_without_etcd),
        cmocka_unit_test(preferred_source_and_policy_of_routes_count),
        cmocka_unit_test(temporary_addresses_are_not_advertised),
        cmocka_unit_test(loopback_route_falls_to_the_default_route),
        cmocka_unit_test(bridges_of_engines_fall_to_the_default_route),
        cmocka_unit_test(bridges_without_containers_are_of_engines_too),
        cmocka_unit_test(a_bridge_with_the_default_route_is_the_hosts_own),
        cmocka_unit_test(bridges_of_others_are_like_any_interface),
        cmocka_unit_test(only_loopback_and_docker_is_not_enough),
        cmocka_unit_test(link_local_addresses_are_not_advertised),
        cmocka_unit_test(one_family_is_enough),
        cmocka_unit_test(addresses_in_texts),
        cmocka_unit_test(addresses_that_are_a_part_of_others),
        cmocka_unit_test(local_addresses_in_texts),
        cmocka_unit_test(flags_of_addresses_are_seen_in_the_sandbox),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
