/* The address that is advertised, and what the rest of the agent is told of it. */
#include "agent/advertise.h"

#include "base/ip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/network.h"

typedef struct World {
    sd_event *event;
    Advertise *advertise;
    unsigned changes;
    bool has_remote;
    Rules rules; /* as the last change has filled them */
} World;

static void on_changed(void *userdata)
{
    World *world = userdata;

    world->changes++;
    advertise_fill(world->advertise, &world->rules);
}

static bool get_remote(void *userdata, struct sockaddr_storage *ret)
{
    World *world = userdata;
    struct sockaddr_in *in4 = (struct sockaddr_in *)ret;

    *ret = (struct sockaddr_storage){ .ss_family = AF_INET };
    assert_int_equal(inet_pton(AF_INET, "192.0.2.9", &in4->sin_addr), 1);
    return world->has_remote;
}

static const AdvertiseHandlers handlers = { .changed = on_changed, .remote = get_remote };

static void world_begin(World *world, const char *setting)
{
    *world = (World){ 0 };
    assert_int_equal(sd_event_new(&world->event), 0);
    assert_int_equal(advertise_new(&world->advertise, world->event, &handlers, world), 0);
    assert_int_equal(advertise_set(world->advertise, setting), 0);
    advertise_fill(world->advertise, &world->rules);
}

static void world_end(World *world)
{
    advertise_free(world->advertise);
    sd_event_unref(world->event);
}

/* Lets the loop turn until nothing is left to do. */
static void turn(World *world)
{
    while (sd_event_run(world->event, 0) > 0)
        ;
}

static void assert_told(const World *world, unsigned changes, const char *address4, const char *address6)
{
    assert_int_equal(world->changes, changes);
    assert_string_equal(world->rules.address4 ? world->rules.address4 : "", address4);
    assert_string_equal(world->rules.address6 ? world->rules.address6 : "", address6);
}

static void a_found_address_is_announced_once(void **state)
{
    World world;

    (void)state;
    WITH_NETWORK(ETH0 DEFAULT_ROUTES);
    world_begin(&world, NULL);
    assert_false(advertise_is_known(world.advertise));
    advertise_refresh(world.advertise);
    assert_told(&world, 1, "192.0.2.2", "2001:db8::2");
    assert_true(advertise_is_known(world.advertise));
    advertise_refresh(world.advertise);
    turn(&world);
    assert_told(&world, 1, "192.0.2.2", "2001:db8::2");
    world_end(&world);
}

/* The store asks while the catalog may be in the middle of something. */
static void the_store_gets_the_address_before_the_change_is_announced(void **state)
{
    World world;

    (void)state;
    WITH_NETWORK(ETH0 DEFAULT_ROUTES);
    world_begin(&world, NULL);
    assert_string_equal(advertise_address(world.advertise), "192.0.2.2");
    assert_told(&world, 0, "", "");
    assert_false(advertise_is_known(world.advertise));
    turn(&world);
    assert_told(&world, 1, "192.0.2.2", "2001:db8::2");
    assert_true(advertise_is_known(world.advertise));
    world_end(&world);
}

static void a_refresh_announces_the_address_that_the_store_has_found(void **state)
{
    World world;

    (void)state;
    WITH_NETWORK(ETH0 DEFAULT_ROUTES);
    world_begin(&world, NULL);
    assert_true(advertise_is_own_value(world.advertise, "192.0.2.2:80"));
    assert_false(advertise_is_own_value(world.advertise, "192.0.2.22:80"));
    advertise_refresh(world.advertise);
    assert_told(&world, 1, "192.0.2.2", "2001:db8::2");
    turn(&world);
    assert_told(&world, 1, "192.0.2.2", "2001:db8::2");
    world_end(&world);
}

static void a_family_without_a_route_keeps_its_address(void **state)
{
    World world;

    (void)state;
    WITH_NETWORK(ETH0 DEFAULT_ROUTES);
    world_begin(&world, NULL);
    advertise_refresh(world.advertise);
    ip("route delete default");
    advertise_refresh(world.advertise);
    assert_told(&world, 1, "192.0.2.2", "2001:db8::2");
    ip("route delete default via 2001:db8::1\nroute add default via 192.0.2.1");
    advertise_refresh(world.advertise);
    assert_told(&world, 1, "192.0.2.2", "2001:db8::2");
    assert_false(advertise_has_failed(world.advertise));
    world_end(&world);
}

/* As IPv6 addresses do while their interface is down. */
static void a_family_keeps_a_lost_address_for_a_moment(void **state)
{
    World world;

    (void)state;
    WITH_NETWORK(ETH0 DEFAULT_ROUTES);
    world_begin(&world, "eth0");
    advertise_refresh(world.advertise);
    ip("address delete 2001:db8::2/64 dev eth0");
    advertise_refresh(world.advertise);
    turn(&world);
    assert_told(&world, 1, "192.0.2.2", "2001:db8::2");
    ip("address add 2001:db8::2/64 dev eth0 nodad");
    advertise_refresh(world.advertise);
    assert_told(&world, 1, "192.0.2.2", "2001:db8::2");
    world_end(&world);
}

static void another_address_of_the_family_is_taken_at_once(void **state)
{
    World world;

    (void)state;
    WITH_NETWORK(ETH0 DEFAULT_ROUTES);
    world_begin(&world, "eth0");
    advertise_refresh(world.advertise);
    ip("address delete 192.0.2.2/24 dev eth0\naddress add 192.0.2.3/24 dev eth0");
    advertise_refresh(world.advertise);
    assert_told(&world, 2, "192.0.2.3", "2001:db8::2");
    world_end(&world);
}

static void addresses_stay_if_both_families_are_gone(void **state)
{
    World world;

    (void)state;
    WITH_NETWORK(ETH0 DEFAULT_ROUTES);
    world_begin(&world, "eth0");
    advertise_refresh(world.advertise);
    ip("address flush dev eth0");
    advertise_refresh(world.advertise);
    assert_told(&world, 1, "192.0.2.2", "2001:db8::2");
    assert_true(advertise_has_failed(world.advertise));
    assert_true(advertise_is_known(world.advertise));
    world_end(&world);
}

static void another_setting_keeps_no_family(void **state)
{
    World world;

    (void)state;
    WITH_NETWORK(ETH0 DEFAULT_ROUTES);
    world_begin(&world, "eth0");
    advertise_refresh(world.advertise);
    assert_int_equal(advertise_set(world.advertise, "198.51.100.7"), 0);
    advertise_refresh(world.advertise);
    assert_told(&world, 2, "198.51.100.7", "");
    world_end(&world);
}

static bool reaches(const World *world, const char *address)
{
    return ip_is_reachable(address, world->rules.unreachable, world->rules.n_unreachable);
}

static void the_rules_know_a_new_bridge_before_a_refresh(void **state)
{
    World world;

    (void)state;
    WITH_NETWORK(ETH0 DEFAULT_ROUTES "link add docker0 type bridge\naddress add 172.17.0.1/16 dev docker0");
    world_begin(&world, NULL);
    assert_false(reaches(&world, "172.17.0.1"));
    assert_true(reaches(&world, "192.0.2.2"));
    advertise_refresh(world.advertise);
    assert_int_equal(world.changes, 1);
    ip("link add shop type bridge\naddress add 172.30.0.1/16 dev shop\nlink set shop up");
    turn(&world);
    assert_told(&world, 2, "192.0.2.2", "2001:db8::2");
    assert_false(reaches(&world, "172.30.0.1"));
    assert_false(reaches(&world, "172.17.0.1"));
    ip("link delete shop");
    turn(&world);
    assert_int_equal(world.changes, 3);
    assert_true(reaches(&world, "172.30.0.1"));
    world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_found_address_is_announced_once),
        cmocka_unit_test(the_store_gets_the_address_before_the_change_is_announced),
        cmocka_unit_test(a_refresh_announces_the_address_that_the_store_has_found),
        cmocka_unit_test(a_family_without_a_route_keeps_its_address),
        cmocka_unit_test(a_family_keeps_a_lost_address_for_a_moment),
        cmocka_unit_test(another_address_of_the_family_is_taken_at_once),
        cmocka_unit_test(addresses_stay_if_both_families_are_gone),
        cmocka_unit_test(another_setting_keeps_no_family),
        cmocka_unit_test(the_rules_know_a_new_bridge_before_a_refresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
