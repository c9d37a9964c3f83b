/* Shared by the public verbs and the two backends. */
#pragma once

#include "base/timer.h"
#include "etcd/store.h"

#include <sys/queue.h>

typedef struct StoreJob StoreJob;
typedef struct Etcd3 Etcd3;
typedef struct Etcd2 Etcd2;

/* One API. Each verb starts one job, which ends in store_job_finish(). After -ENOMEM there is no job. */
typedef struct StoreBackend {
    const char *name; /* "v3" */
    unsigned batch_max, concurrency;
    /* Makes the backend's own part of the store. The store's configuration is complete. */
    int (*attach)(Store *store);
    void (*detach)(Store *store);
    int (*open)(Store *store, StoreKeysFn done, void *userdata);
    int (*apply)(Store *store, StoreOp *ops, size_t n, StoreDoneFn done, void *userdata);
    int (*heartbeat)(Store *store, StoreDoneFn done, void *userdata);
    int (*resync)(Store *store, StoreKnownFn known, StoreKeysFn done, void *userdata);
    bool (*has_lease)(const Store *store);
    int64_t (*lease)(const Store *store); /* NULL: the API has no leases */
    Refresher *(*refresher)(const Store *store); /* NULL: no key is refreshed */
    bool (*lease_changed)(const Store *store);
    /* Writes the end of store_describe(). NULL: the API has nothing to add. */
    void (*describe)(const Store *store, FILE *out);
} StoreBackend;

extern const StoreBackend etcd3_backend, etcd2_backend;

typedef struct EtcdVersion {
    unsigned major, minor;
} EtcdVersion;

struct Store {
    sd_event *event;
    Timer defer;
    TAILQ_HEAD(, StoreJob) running;
    TAILQ_HEAD(, StoreJob) finished;
    StoreConfig config; /* the store owns its strings; .etcd is not kept */
    char *user, *password; /* v3 gets a token for them */
    Etcd *etcd;
    const StoreBackend *backend; /* from the setting, or from the last open */
    EtcdVersion version; /* of the cluster: all its members know this version */
    char server_version[32]; /* of the member that answered, for texts */
    Etcd3 *etcd3; /* v3's lease and token */
    Etcd2 *etcd2;
    char *description;
};

typedef void (*StoreAnswerFn)(StoreJob *job, const HttpResult *result);

/* One call of a verb under way. Backends embed it as their own job's first member. */
struct StoreJob {
    Store *store;
    StoreOperation operation;
    bool asked; /* a request was sent, and the counters do not have its end yet */
    TAILQ_ENTRY(StoreJob) jobs;
    bool is_finished; /* which of the store's two job lists has the job */
    StoreDoneFn done; /* either this */
    StoreKeysFn keys_done; /* or this */
    void *userdata;
    StoreStatus status;
    char *message;
    StoreKey *keys; /* for keys_done; the job owns them */
    size_t n_keys;
    EtcdRequest *request;
    StoreAnswerFn on_answer;
    void (*clear)(StoreJob *job); /* frees the members of a backend's job, or NULL */
};

/* Makes a job. size is the size of the whole embedding struct, which is zeroed. Returns NULL without memory. */
void *store_job_new(Store *store, StoreOperation operation, size_t size, StoreDoneFn done, StoreKeysFn keys_done,
                    void *userdata);
/* Frees the job without calling done. Returns NULL. */
StoreJob *store_job_free(StoreJob *job);
/* The loop's next turn calls done, then frees the job. */
__attribute__((format(printf, 3, 4))) void store_job_finish(StoreJob *job, StoreStatus status, const char *format, ...);
void store_job_finish_ok(StoreJob *job);
/* Finishes the job because the agent could not send, mostly for lack of memory. */
void store_job_finish_errno(StoreJob *job, int error);
void store_job_finish_memory(StoreJob *job);
/* Sends one request. fn gets the answer, unless the job is freed before. If the request cannot be sent, the job ends. */
void store_job_request(StoreJob *job, const EtcdSpec *spec, StoreAnswerFn fn);
/* If no endpoint gave a whole answer, finishes the job and returns true. */
bool store_job_check_transport(StoreJob *job, const HttpResult *result);

/* Counts the end of one request to etcd. */
void store_count(Store *store, StoreOperation operation, StoreStatus status);

/* The handler of Store.defer: calls done of finished jobs. */
void store_job_on_defer(void *userdata);

/* Returns the timeout in ms of a request that renews keys. It is at most max, and short enough to ask another member
 * before the TTL ends. */
uint64_t store_timeout_ms(const Store *store, uint64_t max);

void store_keys_free(StoreKey *keys, size_t n_keys);
/* Writes the start of an answer's body as one line, for a message. Returns buffer. */
const char *store_excerpt(const char *body, char *buffer, size_t size);
