#include "agent/advertise.h"

#include "base/ip.h"
#include "base/log.h"
#include "base/timer.h"
#include "base/text.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

typedef enum AdvertiseState {
    ADVERTISE_UNKNOWN, /* no address found yet */
    ADVERTISE_UNANNOUNCED, /* found for the store; the defer source calls changed() */
    ADVERTISE_ANNOUNCED, /* changed() has announced the present address */
} AdvertiseState;

/* Sorted texts in one block of memory. */
typedef struct AddressList {
    size_t n;
    char *texts[];
} AddressList;

struct Advertise {
    const AdvertiseHandlers *handlers;
    void *userdata;
    sd_event *event;
    Timer defer;
    sd_event_source *watch;
    char *setting; /* NULL: the routes decide */
    bool fresh_setting; /* the present address was found for another setting */
    bool failed; /* the last search found no address, and the log has the error */
    AdvertiseState state;
    HostAddress address, announced_address; /* the present address, and the address that the rules have */
    /* CLOCK_BOOTTIME since when no interface has the address; 0: an interface has it */
    uint64_t missing4_us, missing6_us;
    Interfaces interfaces; /* as last read from the kernel */
    AddressList *unreachable, *announced_unreachable; /* unreachable NULL: the rules have the list already */
};

/* This host's addresses that other hosts cannot reach. */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static AddressList *make_list(const Interfaces *interfaces)
{
    size_t n = 0;

    for (size_t i = 0; i < interfaces->n_addresses; i++)
        n += interfaces->addresses[i].internal;
    AddressList *list = malloc(sizeof(*list) + n * (sizeof(char *) + INET6_ADDRSTRLEN));
    if (!list)
        return NULL;
    char *text = (char *)&list->texts[n];
    list->n = 0;
    for (size_t i = 0; i < interfaces->n_addresses; i++)
        if (interfaces->addresses[i].internal) {
            memcpy(text, interfaces->addresses[i].text, INET6_ADDRSTRLEN);
            list->texts[list->n++] = text;
            text += INET6_ADDRSTRLEN;
        }
    qsort(list->texts, n, sizeof(char *), compare_texts);
    return list;
}

static bool same_list(const AddressList *a, const AddressList *b)
{
    if (!a || !b || a->n != b->n)
        return a == b;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->texts[i], b->texts[i]) != 0)
            return false;
    return true;
}

/* Returns 1 if the rules need another list of unreachable addresses, 0 if not, or a negative errno. */
static int read_interfaces(Advertise *advertise)
{
    CLEANUP(interfaces_clear) Interfaces found = { 0 };
    int r = interfaces_read(&found);

    if (r < 0)
        return r;
    CLEANUP_FREE AddressList *list = make_list(&found);
    if (!list)
        return -ENOMEM;
    interfaces_clear(&advertise->interfaces);
    advertise->interfaces = found;
    found = (Interfaces){ 0 };
    free(advertise->unreachable);
    advertise->unreachable = same_list(list, advertise->announced_unreachable) ? NULL : TAKE_PTR(list);
    return advertise->unreachable ? 1 : 0;
}

/* The advertised address. */

static bool has_address(const HostAddress *address)
{
    return *address->address4 != '\0' || *address->address6 != '\0';
}

static bool same_address(const HostAddress *a, const HostAddress *b)
{
    return strcmp(a->address4, b->address4) == 0 && strcmp(a->address6, b->address6) == 0;
}

static bool is_literal(const char *setting)
{
    return setting && ip_kind(setting) != IP_NONE;
}

static bool is_there(const Advertise *advertise, const char *address)
{
    const LocalAddress *found = interfaces_find(&advertise->interfaces, address);

    return found && (!advertise->setting || strcmp(found->interface, advertise->setting) == 0);
}

/* The search found no address of the family. Should the family keep its old address? */
static bool keeps(Advertise *advertise, const char *old, uint64_t *missing_us)
{
    uint64_t now = loop_now_us(advertise->event, CLOCK_BOOTTIME);

    if (*old == '\0' || advertise->fresh_setting || is_literal(advertise->setting))
        return false;
    if (is_there(advertise, old)) {
        *missing_us = 0;
        return true;
    }
    if (*missing_us == 0) {
        log_notice("No interface has %s any more; the address stays advertised for %d s", old, ADVERTISE_GONE_S);
        *missing_us = now;
    }
    return now - *missing_us < (uint64_t)ADVERTISE_GONE_S * 1000000;
}

static void keep_families(Advertise *advertise, HostAddress *found)
{
    const HostAddress *old = &advertise->address;

    if (*found->address4 == '\0' && keeps(advertise, old->address4, &advertise->missing4_us))
        memcpy(found->address4, old->address4, sizeof(found->address4));
    else
        advertise->missing4_us = 0;
    if (*found->address6 == '\0' && keeps(advertise, old->address6, &advertise->missing6_us))
        memcpy(found->address6, old->address6, sizeof(found->address6));
    else
        advertise->missing6_us = 0;
}

static void note_failure(Advertise *advertise, int error)
{
    if (!advertise->failed)
        log_error_errno(error,
                        "Found no address to advertise (%s): %m; %s; set --advertise to this host's address "
                        "or interface",
                        advertise->setting ? advertise->setting : "no route says which",
                        has_address(&advertise->address)
                            ? "the old one stays"
                            : "the agent writes no key, and deletes the keys of an earlier run after --docker-grace");
    advertise->failed = true;
}

/* Returns true if the address or its list has changed. */
static bool find(Advertise *advertise)
{
    struct sockaddr_storage remote;
    HostAddress found;
    bool known = advertise->handlers->remote(advertise->userdata, &remote);
    int r = read_interfaces(advertise);
    bool news = r > 0;

    if (r >= 0)
        r = host_address_find(&found, &advertise->interfaces, advertise->setting,
                              known ? (struct sockaddr *)&remote : NULL);
    if (r < 0) {
        /* Without a default route, the route to etcd may still show the address. */
        if (known || advertise->setting)
            note_failure(advertise, r);
        return news;
    }
    keep_families(advertise, &found);
    advertise->failed = advertise->fresh_setting = false;
    if (same_address(&found, &advertise->address))
        return news;
    advertise->address = found;
    log_info("Advertising %s%s%s (%s)", found.address4, *found.address4 && *found.address6 ? " and " : "",
             found.address6, found.origin);
    return true;
}

static void tell(Advertise *advertise)
{
    CLEANUP_FREE AddressList *old = NULL; /* the rules point to the old list until changed() has returned */

    timer_disarm(&advertise->defer);
    if (has_address(&advertise->address))
        advertise->state = ADVERTISE_ANNOUNCED;
    advertise->announced_address = advertise->address;
    if (advertise->unreachable) {
        old = advertise->announced_unreachable;
        advertise->announced_unreachable = TAKE_PTR(advertise->unreachable);
    }
    advertise->handlers->changed(advertise->userdata);
}

static void find_and_defer(Advertise *advertise)
{
    if (!find(advertise))
        return;
    advertise->state = ADVERTISE_UNANNOUNCED;
    defer_arm(&advertise->defer);
}

static void on_defer(void *userdata)
{
    tell(userdata);
}

/* Does a message name an address that is more than link-local? Each container's veth has a link-local one. */
static bool tells_of_address(const char *buffer, size_t size)
{
    const struct nlmsghdr *message = (const void *)buffer;
    unsigned left = (unsigned)size;

    for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
        const struct ifaddrmsg *address = NLMSG_DATA(message);
        if ((message->nlmsg_type == RTM_NEWADDR || message->nlmsg_type == RTM_DELADDR) &&
            address->ifa_scope < RT_SCOPE_LINK)
            return true;
    }
    return false;
}

/* A network that Docker has just created has its addresses before its first container starts. This handler does not
 * search for the advertised address, because a DHCP client that renews its lease first removes the address. */
static int on_watch(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    Advertise *advertise = userdata;
    char buffer[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
    bool news = false;
    ssize_t n;

    (void)source;
    (void)events;
    while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0 || (n < 0 && errno == ENOBUFS))
        news = news || n < 0 || tells_of_address(buffer, (size_t)n);
    if (news && read_interfaces(advertise) > 0)
        tell(advertise);
    return 0;
}

static int watch_addresses(Advertise *advertise, sd_event *event)
{
    struct sockaddr_nl groups = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR };
    CLEANUP_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    int r;

    if (fd < 0 || bind(fd, (struct sockaddr *)&groups, sizeof(groups)) < 0)
        return -errno;
    r = sd_event_add_io(event, &advertise->watch, fd, EPOLLIN, on_watch, advertise);
    if (r < 0)
        return r;
    r = sd_event_source_set_io_fd_own(advertise->watch, true);
    if (r >= 0)
        fd = -1;
    return r;
}

int advertise_new(Advertise **ret, sd_event *event, const AdvertiseHandlers *handlers, void *userdata)
{
    CLEANUP(advertise_free_p) Advertise *advertise = calloc(1, sizeof(*advertise));
    int r;

    if (!advertise)
        return -ENOMEM;
    advertise->handlers = handlers;
    advertise->userdata = userdata;
    advertise->event = sd_event_ref(event);
    r = defer_add(event, &advertise->defer, on_defer, advertise);
    if (r >= 0)
        r = watch_addresses(advertise, event);
    if (r >= 0)
        r = read_interfaces(advertise);
    if (r < 0)
        return r;
    advertise->announced_unreachable = TAKE_PTR(advertise->unreachable);
    *ret = TAKE_PTR(advertise);
    return 0;
}

Advertise *advertise_free(Advertise *advertise)
{
    if (!advertise)
        return NULL;
    timer_clear(&advertise->defer);
    sd_event_source_disable_unref(advertise->watch);
    sd_event_unref(advertise->event);
    interfaces_clear(&advertise->interfaces);
    free(advertise->unreachable);
    free(advertise->announced_unreachable);
    free(advertise->setting);
    free(advertise);
    return NULL;
}

int advertise_set(Advertise *advertise, const char *setting)
{
    char *copy = NULL;
    int r = text_copy(&copy, setting);

    if (r < 0)
        return r;
    if (!text_same(advertise->setting, copy))
        advertise->fresh_setting = true;
    text_take(&advertise->setting, copy);
    advertise->failed = false;
    return 0;
}

void advertise_refresh(Advertise *advertise)
{
    if (find(advertise) || advertise->state == ADVERTISE_UNANNOUNCED)
        tell(advertise);
}

void advertise_fill(const Advertise *advertise, Rules *rules)
{
    const HostAddress *address = &advertise->announced_address;
    const AddressList *list = advertise->announced_unreachable;

    rules->address4 = *address->address4 != '\0' ? address->address4 : NULL;
    rules->address6 = *address->address6 != '\0' ? address->address6 : NULL;
    rules->unreachable = list ? list->texts : NULL;
    rules->n_unreachable = list ? list->n : 0;
}

bool advertise_is_known(const Advertise *advertise)
{
    return advertise->state == ADVERTISE_ANNOUNCED;
}

bool advertise_has_failed(const Advertise *advertise)
{
    return advertise->failed;
}

const char *advertise_address(Advertise *advertise)
{
    find_and_defer(advertise);
    return *advertise->address.address4 != '\0' ? advertise->address.address4 : advertise->address.address6;
}

bool advertise_is_own_value(Advertise *advertise, const char *value)
{
    if (!has_address(&advertise->address))
        find_and_defer(advertise);
    return address_in_text(value, advertise->address.address4) || address_in_text(value, advertise->address.address6) ||
           local_address_in_text(&advertise->interfaces, value);
}
