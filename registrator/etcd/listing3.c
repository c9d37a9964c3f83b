#include "etcd/listing_private.h"

#include "base/base64.h"
#include "base/text.h"
#include "etcd/etcd3_call.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    PAGE_KEYS = 1000, /* keys of one request; fewer after an answer that was too long */
    LEASES_AT_ONCE = 8, /* requests at once */
};

/* ---- the TTL of each lease ---- */

typedef struct LeaseJob {
    Etcd3Job call;
    Listing *listing;
    ListedLease *lease;
} LeaseJob;

static int add_lease(Listing *listing, int64_t id)
{
    ListedLease *lease;

    HASH_FIND(hh, listing->leases, &id, sizeof(id), lease);
    if (lease)
        return 0;
    lease = calloc(1, sizeof(*lease));
    if (!lease)
        return -ENOMEM;
    lease->id = id;
    lease->ttl_s = LISTING_TTL_UNKNOWN;
    HASH_ADD(hh, listing->leases, id, sizeof(lease->id), lease);
    if (lease->hh.tbl)
        return 0;
    free(lease);
    return -ENOMEM;
}

static void set_ttls(Listing *listing)
{
    for (size_t i = 0; i < listing->n_keys; i++) {
        ListedKey *key = &listing->keys[i];
        const ListedLease *lease;

        if (key->lease == 0)
            continue;
        HASH_FIND(hh, listing->leases, &key->lease, sizeof(key->lease), lease);
        key->ttl_s = lease ? lease->ttl_s : LISTING_TTL_UNKNOWN;
        key->granted_ttl_s = lease ? lease->granted_ttl_s : 0;
    }
}

static void on_leases_done(void *userdata, StoreStatus status, const char *message)
{
    Listing *listing = userdata;

    if (status != STORE_OK)
        listing_fail(listing, message);
    if (--listing->n_asked > 0)
        return;
    set_ttls(listing);
    listing_sort(listing);
    listing_finish(listing);
}

static void ask_next_lease(LeaseJob *job);

static void on_lease(Etcd3Job *call, const cJSON *json)
{
    LeaseJob *job = (LeaseJob *)call;
    int64_t ttl_s = json_int64(json, "TTL", -1);

    if (ttl_s >= 0) {
        job->lease->ttl_s = ttl_s;
        job->lease->granted_ttl_s = json_int64(json, "grantedTTL", 0);
    }
    ask_next_lease(job);
}

/* etcd may hide a lease from a user who may read its keys. The listing still shows the keys. */
static bool on_lease_error(Etcd3Job *call, GrpcCode code, const char *message)
{
    if (code != GRPC_PERMISSION_DENIED && !etcd3_lease_is_gone(code, message))
        return false;
    ask_next_lease((LeaseJob *)call);
    return true;
}

static void ask_next_lease(LeaseJob *job)
{
    Listing *listing = job->listing;

    job->lease = listing->next;
    if (!job->lease) {
        store_job_finish_ok(&job->call.job);
        return;
    }
    listing->next = job->lease->hh.next;
    etcd3_call(&job->call, "lease/timetolive", etcd3_build_lease(job->lease->id), on_lease, on_lease_error);
}

static int ask_leases(Listing *listing)
{
    listing->next = listing->leases;
    while (listing->n_asked < LEASES_AT_ONCE && (listing->next || listing->n_asked == 0)) {
        LeaseJob *job =
            store_job_new(listing->store, STORE_OPERATION_RESYNC, sizeof(*job), on_leases_done, NULL, listing);

        if (!job)
            return listing->n_asked > 0 ? 0 : -ENOMEM;
        job->call.job.clear = etcd3_call_clear;
        job->listing = listing;
        listing->n_asked++;
        ask_next_lease(job);
    }
    return 0;
}

/* ---- the keys, page by page, all of one revision ---- */

typedef struct PageJob {
    Etcd3Job call;
    Listing *listing;
    char *last; /* last key of the previous pages; NULL: none */
    size_t last_size;
    size_t limit;
} PageJob;

static void clear_page(StoreJob *job)
{
    free(((PageJob *)job)->last);
    etcd3_call_clear(job);
}

/* Writes the end of the range of a prefix: the prefix with its last byte increased. Returns 0 or -ENOMEM. */
static int write_range_end(FILE *out, const char *prefix)
{
    size_t size = strlen(prefix);
    CLEANUP_FREE char *end = strdup(prefix);

    if (!end)
        return -ENOMEM;
    while (size > 0 && (unsigned char)end[size - 1] == 0xff)
        size--;
    if (size > 0)
        end[size - 1]++;
    base64_write(out, size > 0 ? end : "", size > 0 ? size : 1); /* "\0" means the end of all keys */
    return 0;
}

/* Returns NULL without memory. */
static char *build_page(const PageJob *job)
{
    const Listing *listing = job->listing;
    const char *prefix = listing->prefixes[listing->at];
    CLEANUP_FREE char *text = NULL;
    TextStream stream;
    FILE *out = text_stream_open(&stream);
    int r;

    if (!out)
        return NULL;
    fputs("{\"key\":\"", out);
    if (job->last)
        base64_write(out, job->last, job->last_size + 1); /* the key with a NUL is the next possible key */
    else
        base64_write(out, prefix, *prefix != '\0' ? strlen(prefix) : 1);
    fputs("\",\"range_end\":\"", out);
    r = write_range_end(out, prefix);
    fprintf(out, "\",\"limit\":\"%zu\",\"revision\":\"%" PRIu64 "\"}", job->limit, listing->revision);
    text = text_stream_close(&stream, out);
    return r < 0 ? NULL : TAKE_PTR(text);
}

static void ask_page(PageJob *job);

/* Adds the key, and owns its texts from then on. After -ENOMEM, the caller still owns them. */
static int add_kv(Listing *listing, const cJSON *kv, const ListedKey *texts)
{
    ListedKey key = {
        .key = texts->key,
        .value = texts->value,
        .key_is_cut = texts->key_is_cut,
        .value_is_cut = texts->value_is_cut,
        .lease = json_int64(kv, "lease", 0),
        .ttl_s = LISTING_NO_TTL,
        .created = (uint64_t)json_int64(kv, "create_revision", 0),
        .modified = (uint64_t)json_int64(kv, "mod_revision", 0),
    };
    int r = 0;

    if (key.lease != 0 && HASH_COUNT(listing->leases) < LISTING_LEASES_MAX)
        r = add_lease(listing, key.lease);
    return r < 0 ? r : listing_add(listing, &key);
}

/* Only counts a key that is too long or contains a NUL: no agent writes such a key. */
static int take_kv(PageJob *job, const cJSON *kv)
{
    const char *name64 = json_string(kv, "key"), *value64 = json_string(kv, "value");
    CLEANUP_FREE char *value = NULL;
    ListedKey texts = { 0 };
    size_t value_size;
    int r;

    free(TAKE_PTR(job->last));
    r = base64_decode(&job->last, &job->last_size, name64 ? name64 : "");
    if (r >= 0)
        r = base64_decode(&value, &value_size, value64 ? value64 : "");
    if (r < 0)
        return r;
    if (job->last_size > LISTING_KEY_MAX || strlen(job->last) < job->last_size) {
        job->listing->left_out++;
        return 0;
    }
    texts.key = listing_copy_text(job->listing, job->last, &texts.key_is_cut);
    texts.value =
        listing_copy_text(job->listing, strlen(value) == value_size ? value : "(binary)", &texts.value_is_cut);
    r = texts.key && texts.value ? add_kv(job->listing, kv, &texts) : -ENOMEM;
    if (r < 0) {
        free(texts.key);
        free(texts.value);
    }
    return r;
}

static void next_prefix(PageJob *job)
{
    free(TAKE_PTR(job->last));
    if (++job->listing->at < job->listing->n_prefixes)
        ask_page(job);
    else
        store_job_finish_ok(&job->call.job);
}

static void on_page(Etcd3Job *call, const cJSON *json)
{
    PageJob *job = (PageJob *)call;
    Listing *listing = job->listing;
    const cJSON *kvs = json_get(json, "kvs"), *kv;
    int64_t left = json_int64(json, "count", 0);
    int r = 0;

    if (listing->revision == 0)
        listing->revision = (uint64_t)json_int64(json_get(json, "header"), "revision", 0);
    cJSON_ArrayForEach (kv, kvs) {
        if (r < 0 || listing->n_keys == listing->limits.keys)
            break;
        r = take_kv(job, kv);
        left--;
    }
    if (r < 0) {
        etcd3_finish_nonsense(call);
    } else if (left > 0 && listing->n_keys < listing->limits.keys && cJSON_GetArraySize(kvs) > 0) {
        ask_page(job);
    } else {
        listing->left_out += left > 0 ? (size_t)left : 0;
        next_prefix(job);
    }
}

/* Continues with the next prefix, because the user may have the right to read it. Returns false if the user can read no
 * prefix. */
static bool pass_over_prefix(PageJob *job)
{
    Listing *listing = job->listing;

    if (listing->n_unreadable + 1 == listing->n_prefixes)
        return false;
    listing->unreadable[listing->n_unreadable++] = listing->prefixes[listing->at];
    next_prefix(job);
    return true;
}

static bool on_page_error(Etcd3Job *call, GrpcCode code, const char *message)
{
    PageJob *job = (PageJob *)call;

    (void)message;
    if (code == GRPC_PERMISSION_DENIED)
        return pass_over_prefix(job);
    if (code != GRPC_RESOURCE_EXHAUSTED || job->limit == 1)
        return false;
    job->limit /= 2;
    ask_page(job);
    return true;
}

static void ask_page(PageJob *job)
{
    etcd3_call(&job->call, "kv/range", build_page(job), on_page, on_page_error);
}

static void on_pages_done(void *userdata, StoreStatus status, const char *message)
{
    Listing *listing = userdata;

    if (status != STORE_OK)
        listing_fail(listing, message);
    else if (ask_leases(listing) < 0)
        listing_fail(listing, "out of memory");
    if (listing->failed)
        listing_finish(listing);
}

int listing_start_v3(Listing *listing)
{
    PageJob *job = store_job_new(listing->store, STORE_OPERATION_RESYNC, sizeof(*job), on_pages_done, NULL, listing);

    if (!job)
        return -ENOMEM;
    job->call.job.clear = clear_page;
    job->listing = listing;
    job->limit = PAGE_KEYS;
    ask_page(job);
    return 0;
}
