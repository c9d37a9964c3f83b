#define HASH_NONFATAL_OOM 1
#include "look.h"

#include <errno.h>
#include <string.h>
#include <uthash.h>

typedef struct Entry {
    LookKey key;
    bool under_lease;
    UT_hash_handle hh;
} Entry;

struct Look {
    Store *store;
    Entry *entries;
    LookKey *keys; /* once done: the entries' own */
    size_t n_keys;
    Entry *next; /* to be asked for */
    StoreOp ops[STORE_BATCH_MAX];
    Entry *asked[STORE_BATCH_MAX];
    size_t n_asked;
    bool done, failed;
    char *why;
};

static const char no_memory[] = "out of memory";

static Entry *entry_free(Entry *entry)
{
    if (!entry)
        return NULL;
    free(entry->key.key);
    free(entry->key.wanted);
    free(entry->key.held);
    free(entry);
    return NULL;
}
DEFINE_CLEANUP(Entry, entry_free)

/* NULL: no memory. */
static Entry *entry_add(Look *look, const char *key)
{
    CLEANUP(entry_free_p) Entry *entry = calloc(1, sizeof(*entry));

    if (entry)
        entry->key.key = strdup(key);
    if (!entry || !entry->key.key)
        return NULL;
    HASH_ADD_KEYPTR(hh, look->entries, entry->key.key, strlen(entry->key.key), entry);
    return entry->hh.tbl ? TAKE_PTR(entry) : NULL;
}

int look_add(Look *look, const char *key, const char *wanted)
{
    Entry *entry = entry_add(look, key);

    if (!entry)
        return -ENOMEM;
    entry->key.wanted = strdup(wanted);
    return entry->key.wanted ? 0 : -ENOMEM;
}

static void look_fail(Look *look, const char *why)
{
    look->why = strdup(why);
    look->done = look->failed = true;
}

static void look_finish(Look *look)
{
    look->keys = calloc(HASH_COUNT(look->entries) + 1, sizeof(*look->keys));
    if (!look->keys) {
        look_fail(look, no_memory);
        return;
    }
    for (const Entry *entry = look->entries; entry; entry = entry->hh.next)
        look->keys[look->n_keys++] = entry->key;
    look->done = true;
}

static void look_ask(Look *look);

/* NULL, or why what was asked for is not known. */
static const char *take_answers(Look *look)
{
    for (size_t i = 0; i < look->n_asked; i++) {
        LookKey *key = &look->asked[i]->key;
        StoreOp *op = &look->ops[i];

        key->ours = op->outcome == STORE_OP_DONE;
        if (op->outcome == STORE_OP_DONE)
            key->held = strdup(key->wanted);
        else if (op->outcome == STORE_OP_HELD)
            key->held = TAKE_PTR(op->holder);
        else if (op->outcome != STORE_OP_LOST && op->outcome != STORE_OP_CHANGED)
            return "etcd's answer does not say what a key holds";
        if (key->ours && !key->held)
            return no_memory;
    }
    return NULL;
}

static void on_peeked(void *userdata, StoreStatus status, const char *message)
{
    Look *look = userdata;
    const char *error = status == STORE_OK ? take_answers(look) : message;

    for (size_t i = 0; i < look->n_asked; i++)
        free(look->ops[i].holder);
    look->n_asked = 0;
    if (error)
        look_fail(look, error);
    else
        look_ask(look);
}

/* The next few keys that were not found under our lease. */
static void look_ask(Look *look)
{
    for (; look->next && look->n_asked < store_batch_max(look->store); look->next = look->next->hh.next) {
        if (look->next->under_lease)
            continue;
        look->ops[look->n_asked] =
            (StoreOp){ .verb = STORE_PEEK, .key = look->next->key.key, .value = look->next->key.wanted };
        look->asked[look->n_asked++] = look->next;
    }
    if (look->n_asked == 0)
        look_finish(look);
    else if (store_apply(look->store, look->ops, look->n_asked, on_peeked, look) < 0)
        look_fail(look, no_memory);
}

static int take_key(Look *look, const StoreKey *key)
{
    Entry *entry;

    HASH_FIND_STR(look->entries, key->key, entry);
    if (!entry)
        entry = entry_add(look, key->key);
    if (!entry)
        return -ENOMEM;
    entry->key.held = strdup(key->value ? key->value : "");
    entry->key.ours = entry->under_lease = true;
    return entry->key.held ? 0 : -ENOMEM;
}

static void on_audited(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    Look *look = userdata;
    int r = 0;

    /* Without the lease there are no keys of ours, but maybe others' of the same names. */
    if (status != STORE_OK && status != STORE_LEASE_LOST) {
        look_fail(look, message);
        return;
    }
    for (size_t i = 0; i < n_keys && r >= 0; i++)
        r = take_key(look, &keys[i]);
    look->next = look->entries;
    if (r < 0)
        look_fail(look, no_memory);
    else
        look_ask(look);
}

static bool knows_none(void *userdata, const char *key)
{
    (void)userdata;
    (void)key;
    return false;
}

void look_start(Look *look)
{
    look->next = look->entries;
    if (!store_has_lease(look->store))
        look_ask(look);
    else if (store_lease(look->store) == 0)
        look_fail(look, "etcd has not been asked for the lease yet");
    else if (store_audit(look->store, knows_none, on_audited, look) < 0)
        look_fail(look, no_memory);
}

int look_new(Look **ret, Store *store)
{
    CLEANUP(look_free_p) Look *look = calloc(1, sizeof(*look));

    if (!look)
        return -ENOMEM;
    look->store = store;
    *ret = TAKE_PTR(look);
    return 0;
}

Look *look_free(Look *look)
{
    Entry *entry, *next;

    if (!look)
        return NULL;
    HASH_ITER (hh, look->entries, entry, next) {
        HASH_DEL(look->entries, entry);
        entry_free(entry);
    }
    for (size_t i = 0; i < look->n_asked; i++)
        free(look->ops[i].holder);
    free(look->keys);
    free(look->why);
    free(look);
    return NULL;
}

bool look_is_done(const Look *look)
{
    return look->done;
}

const char *look_why(const Look *look)
{
    if (!look->failed)
        return "";
    return look->why ? look->why : no_memory;
}

size_t look_keys(const Look *look, const LookKey **ret)
{
    *ret = look->keys;
    return look->n_keys;
}
