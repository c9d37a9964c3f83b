/* What etcd holds at this moment of the keys that an agent knows of, and of all that hang on its lease. Nothing is
 * written, and nothing of what the agent knows is used in place of an answer. */
#pragma once

#include "cleanup.h"
#include "store.h"

typedef struct Look Look;

typedef struct LookKey {
    char *key;
    char *wanted; /* NULL: found under our lease, not asked for */
    char *held; /* what etcd has there; NULL: nothing */
    bool ours; /* held is; with v2: it has a TTL and is what is wanted */
} LookKey;

int look_new(Look **ret, Store *store);
/* To be freed after its store, if it is under way. */
Look *look_free(Look *look);
DEFINE_CLEANUP(Look, look_free)

/* Before look_start(). Each key once. -ENOMEM. */
int look_add(Look *look, const char *key, const char *wanted);
void look_start(Look *look);

bool look_is_done(const Look *look);
const char *look_why(const Look *look); /* "", or why it failed */
size_t look_keys(const Look *look, const LookKey **ret); /* once done; owned by the look */
