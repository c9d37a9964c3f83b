#include "etcd/listing_private.h"

#include "base/grow.h"
#include "etcd/etcd2_call.h"

#include <errno.h>
#include <string.h>

static void clear_key(ListedKey *key)
{
    free(key->key);
    free(key->value);
}

char *listing_copy_text(const Listing *listing, const char *text, bool *ret_is_cut)
{
    size_t length = strnlen(text, listing->limits.text + 1);
    bool is_cut = length > listing->limits.text;

    if (is_cut) {
        length = listing->limits.text;
        /* A cut must not split a UTF-8 character. */
        for (unsigned i = 0; i < 3 && length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80; i++)
            length--;
    }
    *ret_is_cut = is_cut;
    return strndup(text, length);
}

int listing_add(Listing *listing, const ListedKey *key)
{
    if (array_grow(&listing->keys, listing->n_keys, sizeof(*key)) < 0)
        return -ENOMEM;
    listing->keys[listing->n_keys++] = *key;
    return 0;
}

void listing_fail(Listing *listing, const char *why)
{
    if (!listing->failed)
        listing->why = strdup(why);
    listing->failed = true;
}

void listing_finish(Listing *listing)
{
    const char *why = listing->why ? listing->why : "out of memory";

    listing->done(listing->userdata, listing->failed ? why : NULL);
}

/* ---- v2: the whole directory in one answer ---- */

typedef struct TreeJob {
    Etcd2Job call;
    Listing *listing;
} TreeJob;

static int take_node(Listing *listing, const cJSON *node)
{
    const char *name = json_string(node, "key"), *value = json_string(node, "value");
    ListedKey key = {
        .ttl_s = json_int64(node, "ttl", LISTING_NO_TTL),
        .created = (uint64_t)json_int64(node, "createdIndex", 0),
        .modified = (uint64_t)json_int64(node, "modifiedIndex", 0),
    };
    const char *prefix = listing->prefixes[listing->at];
    int r;

    if (!name || strncmp(name, prefix, strlen(prefix)) != 0)
        return 0;
    if (listing->n_keys == listing->limits.keys || strlen(name) > LISTING_KEY_MAX) {
        listing->left_out++;
        return 0;
    }
    key.key = listing_copy_text(listing, name, &key.key_is_cut);
    key.value = listing_copy_text(listing, value ? value : "", &key.value_is_cut);
    r = key.key && key.value ? listing_add(listing, &key) : -ENOMEM;
    if (r < 0)
        clear_key(&key);
    return r;
}

/* Visits the directories without recursion, because other programs choose their depth. NULL is an empty tree. */
static int take_tree(Listing *listing, const cJSON *node)
{
    const cJSON *stack[256];
    size_t depth = 0;
    int r = 0;

    while (r >= 0 && (node || depth > 0)) {
        const cJSON *nodes = json_get(node, "nodes");

        if (!node) {
            node = stack[--depth]->next;
        } else if (cJSON_IsArray(nodes) && depth < ARRAY_SIZE(stack)) {
            stack[depth++] = node;
            node = nodes->child;
        } else {
            if (!cJSON_IsTrue(json_get(node, "dir")))
                r = take_node(listing, node);
            node = node->next;
        }
    }
    return r;
}

static void ask_tree(TreeJob *job);

static void on_tree(Etcd2Job *call, Etcd2Error error, const cJSON *json)
{
    TreeJob *job = (TreeJob *)call;
    Listing *listing = job->listing;
    const cJSON *nodes = json_get(json_get(json, "node"), "nodes");

    if (error == ETCD2_OK && take_tree(listing, nodes ? nodes->child : NULL) < 0)
        store_job_finish_memory(&call->job);
    else if (++listing->at < listing->n_prefixes) /* a missing directory has no keys */
        ask_tree(job);
    else
        store_job_finish_ok(&call->job);
}

static void ask_tree(TreeJob *job)
{
    const char *prefix = job->listing->prefixes[job->listing->at], *slash = strrchr(prefix, '/');
    CLEANUP_FREE char *directory = strndup(prefix, slash ? (size_t)(slash - prefix) : 0);
    const char *path = directory && *directory != '\0' ? directory : "/";

    etcd2_call(&job->call, "GET", directory ? etcd2_build_path(path, "recursive=true&quorum=true") : NULL, NULL,
               on_tree);
}

static void on_tree_done(void *userdata, StoreStatus status, const char *message)
{
    Listing *listing = userdata;

    if (status != STORE_OK)
        listing_fail(listing, message);
    listing_sort(listing);
    listing_finish(listing);
}

static int start_v2(Listing *listing)
{
    TreeJob *job = store_job_new(listing->store, STORE_OPERATION_RESYNC, sizeof(*job), on_tree_done, NULL, listing);

    if (!job)
        return -ENOMEM;
    job->listing = listing;
    ask_tree(job);
    return 0;
}

/* ---- the listing ---- */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const ListedKey *)a)->key, ((const ListedKey *)b)->key);
}

void listing_sort(Listing *listing)
{
    if (listing->n_keys > 0)
        qsort(listing->keys, listing->n_keys, sizeof(*listing->keys), compare_keys);
}

int listing_start(Listing *listing, ListingDoneFn done, void *userdata)
{
    listing->done = done;
    listing->userdata = userdata;
    return store_has_lease(listing->store) ? listing_start_v3(listing) : start_v2(listing);
}

/* Does another prefix cover this one? Of two equal prefixes, the first covers the second. */
static bool another_covers(const char *const *prefixes, size_t n, size_t i)
{
    for (size_t k = 0; k < n; k++) {
        size_t length = strlen(prefixes[k]);

        if (k != i && strncmp(prefixes[i], prefixes[k], length) == 0 && (k < i || length < strlen(prefixes[i])))
            return true;
    }
    return false;
}

int listing_new(Listing **ret, Store *store, const char *const *prefixes, size_t n, ListingLimits limits)
{
    CLEANUP(listing_free_p) Listing *listing = calloc(1, sizeof(*listing));

    if (!listing)
        return -ENOMEM;
    listing->store = store;
    listing->limits = limits;
    for (size_t i = 0; i < n; i++) {
        if (another_covers(prefixes, n, i))
            continue;
        listing->prefixes[listing->n_prefixes] = strdup(prefixes[i]);
        if (!listing->prefixes[listing->n_prefixes])
            return -ENOMEM;
        listing->n_prefixes++;
    }
    *ret = TAKE_PTR(listing);
    return 0;
}

Listing *listing_free(Listing *listing)
{
    ListedLease *lease, *next;

    if (!listing)
        return NULL;
    HASH_ITER (hh, listing->leases, lease, next) {
        HASH_DEL(listing->leases, lease);
        free(lease);
    }
    for (size_t i = 0; i < listing->n_keys; i++)
        clear_key(&listing->keys[i]);
    free(listing->keys);
    for (size_t i = 0; i < listing->n_prefixes; i++)
        free(listing->prefixes[i]);
    free(listing->why);
    free(listing);
    return NULL;
}

size_t listing_keys(const Listing *listing, const ListedKey **ret)
{
    *ret = listing->keys;
    return listing->n_keys;
}

uint64_t listing_revision(const Listing *listing)
{
    return listing->revision;
}

size_t listing_left_out(const Listing *listing)
{
    return listing->left_out;
}

size_t listing_unreadable(const Listing *listing, const char *const **ret)
{
    *ret = listing->unreadable;
    return listing->n_unreadable;
}
