/* What kind of address a text is. */
#include "base/cleanup.h"
#include "base/ip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void every_spelling_has_its_kind(void **state)
{
    static const struct {
        const char *text;
        IpKind kind;
    } cases[] = {
        { "", IP_NONE },
        { "eth0", IP_NONE },
        { "10.0.0", IP_NONE },
        { "10.0.0.1/8", IP_NONE },
        { "[::1]", IP_NONE },
        { "0.0.0.0", IP_UNSPECIFIED },
        { "0.1.2.3", IP_UNSPECIFIED },
        { "::", IP_UNSPECIFIED },
        { "0::0", IP_UNSPECIFIED },
        { "0:0:0:0:0:0:0:0", IP_UNSPECIFIED },
        { "127.0.0.1", IP_LOOPBACK },
        { "127.255.255.254", IP_LOOPBACK },
        { "::1", IP_LOOPBACK },
        { "169.254.0.1", IP_LINK_LOCAL },
        { "169.253.255.255", IP_UNICAST },
        { "169.255.0.0", IP_UNICAST },
        { "fe80::1", IP_LINK_LOCAL },
        { "febf::1", IP_LINK_LOCAL },
        { "223.255.255.255", IP_UNICAST },
        { "224.0.0.1", IP_MULTICAST },
        { "239.255.255.255", IP_MULTICAST },
        { "255.255.255.255", IP_MULTICAST },
        { "ff02::1", IP_MULTICAST },
        { "::ffff:0.0.0.0", IP_MAPPED },
        { "::ffff:192.0.2.1", IP_MAPPED },
        { "::192.0.2.1", IP_MAPPED },
        { "1.0.0.0", IP_UNICAST },
        { "172.17.0.1", IP_UNICAST },
        { "192.0.2.11", IP_UNICAST },
        { "2001:db8::1", IP_UNICAST },
        { "fd00::1", IP_UNICAST },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (ip_kind(cases[i].text) != cases[i].kind)
            fail_msg("%s: %d", cases[i].text, (int)ip_kind(cases[i].text));
}

static void equal_addresses_become_equal_texts(void **state)
{
    char text[INET6_ADDRSTRLEN];

    (void)state;
    assert_true(ip_canonical(text, "2001:DB8:0:0::5"));
    assert_string_equal(text, "2001:db8::5");
    assert_true(ip_canonical(text, "192.0.2.1"));
    assert_string_equal(text, "192.0.2.1");
    assert_false(ip_canonical(text, "web"));
}

static void addresses_are_found_in_texts(void **state)
{
    static const char *const with[] = {
        "192.0.2.1",        "192.0.2.1:80",    "http://192.0.2.1:80/x", "{\"host\":\"2001:db8::5\"}",
        "[2001:db8::5]:80", "at/192.0.2.1/web"
    };
    static const char *const without[] = { "",
                                           "servers",
                                           "Host(`shop.example.com`)",
                                           "1.2.3",
                                           "1.2.3.4.5",
                                           "80",
                                           "a:b",
                                           "12345678901234567890.12345678901234567890.1234567890" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(with); i++)
        if (!ip_is_in(with[i]))
            fail_msg("%s", with[i]);
    for (size_t i = 0; i < ARRAY_SIZE(without); i++)
        if (ip_is_in(without[i]))
            fail_msg("%s", without[i]);
}

static void an_address_is_reachable_unless_it_is_listed(void **state)
{
    char *list[] = { "172.17.0.1", "172.30.0.1", "fd00:17::1" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        assert_false(ip_is_reachable(list[i], list, ARRAY_SIZE(list)));
        assert_true(ip_is_reachable(list[i], NULL, 0));
    }
    assert_false(ip_is_reachable("FD00:17:0::1", list, ARRAY_SIZE(list)));
    assert_true(ip_is_reachable("172.17.0.2", list, ARRAY_SIZE(list)));
    assert_true(ip_is_reachable("192.0.2.11", list, ARRAY_SIZE(list)));
    assert_false(ip_is_reachable("127.0.0.1", list, ARRAY_SIZE(list)));
    assert_false(ip_is_reachable("169.254.7.7", NULL, 0));
    assert_false(ip_is_reachable("0.0.0.0", NULL, 0));
    assert_false(ip_is_reachable("", NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_has_its_kind),
        cmocka_unit_test(equal_addresses_become_equal_texts),
        cmocka_unit_test(addresses_are_found_in_texts),
        cmocka_unit_test(an_address_is_reachable_unless_it_is_listed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
