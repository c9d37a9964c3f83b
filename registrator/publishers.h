/* Where the keys go: one publisher, or two while both of etcd's APIs are written. Each has its own store, heartbeats
 * and troubles; what is wanted of them is the same. */
#pragma once

#include "look.h"
#include "publisher.h"
#include "settings.h"

typedef struct Publishers Publishers;

typedef struct PublishersHandlers {
    /* A store to be written through; called from publishers_configure() alone. previous_lease: of StoreConfig. */
    int (*make_store)(void *userdata, StoreApi api, int64_t previous_lease, Store **ret);
    /* A state or failure has changed, and was logged. */
    void (*changed)(void *userdata, bool online, bool lost);
    /* One of them lost its lease. True: it is to be held until publishers_release(). */
    bool (*lease_lost)(void *userdata);
    /* As PublisherHandlers' own. where: "", or of two " (v2)". */
    void (*heartbeat)(void *userdata);
    void (*planned)(void *userdata, const char *what, const char *key, const char *value, const char *holder,
                    const char *where);
    void (*idle)(void *userdata);
} PublishersHandlers;

typedef enum PublishersProgress {
    PUBLISHERS_BUSY,
    PUBLISHERS_DONE, /* each has written all */
    PUBLISHERS_HINDERED, /* what has not been written cannot be: publishers_why() */
} PublishersProgress;

/* None at first. */
int publishers_new(Publishers **ret, sd_event *event, const PublishersHandlers *handlers, void *userdata);
/* Keys stay in etcd until their TTL ends. */
Publishers *publishers_free(Publishers *publishers);
DEFINE_CLEANUP(Publishers, publishers_free)

/* Writes these APIs from now on. new_stores: what the stores are made of has changed, or APIs have. One that is new
 * wants what another does; the keys of one that goes live until their TTL has passed. config->where is ignored. */
int publishers_configure(Publishers *publishers, EtcdApis apis, const PublisherConfig *config, bool new_stores);

/* To all of them. */
int publishers_want(Publishers *publishers, const char *key, const char *value, const char *owner, const char *owner_id,
                    uint64_t event_ns);
void publishers_unwant(Publishers *publishers, const char *key, const char *after, uint64_t event_ns);
void publishers_release(Publishers *publishers);
void publishers_drop_orphans(Publishers *publishers);
void publishers_audit(Publishers *publishers);

/* The first, the second; NULL: there is none. */
Publisher *publishers_get(const Publishers *publishers, size_t i);
#define PUBLISHERS_FOREACH(publisher, publishers) \
    for (size_t i_ = 0; ((publisher) = publishers_get(publishers, i_)); i_++)
const char *publishers_api(const Publishers *publishers, const Publisher *publisher); /* "v3", "v2": of two */

/* heard: what is wanted is known. */
PublishersProgress publishers_progress(const Publishers *publishers, bool heard);
bool publishers_are_idle(const Publishers *publishers);
bool publishers_own(const Publishers *publishers, const char *owner_id); /* any of them */
size_t publishers_settled(const Publishers *publishers); /* keys in etcd, of the one that has more */
/* "" if all is well. Both valid until the next call. */
const char *publishers_why(Publishers *publishers);
const char *publishers_describe(Publishers *publishers);
/* Of all that there were. */
PublisherCounters publishers_counters(const Publishers *publishers);
/* Where etcd's last answer came from; false: there was none. */
bool publishers_remote(const Publishers *publishers, struct sockaddr_storage *ret);

/* Asks etcd what it holds, for publishers_looked(). One that is under way goes on. -ENOMEM. */
int publishers_look(Publishers *publishers);
/* What publisher i has found; NULL: it was not asked, or its store has been replaced since. */
const Look *publishers_looked(const Publishers *publishers, size_t i);
