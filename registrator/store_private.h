/* What the public verbs and the two backends share. */
#pragma once

#include "nudge.h"
#include "store.h"

#include <sys/queue.h>

typedef struct StoreJob StoreJob;
typedef struct Etcd3 Etcd3;

/* Each function starts one job, which ends in store_job_finish(). -ENOMEM: it does not. */
typedef struct StoreBackend {
    const char *name; /* "v3" */
    bool has_lease;
    unsigned batch_max, concurrency;
    int (*open)(Store *store, StoreKeysFn done, void *userdata);
    int (*apply)(Store *store, StoreOp *ops, size_t n, StoreDoneFn done, void *userdata);
    int (*heartbeat)(Store *store, StoreDoneFn done, void *userdata);
    int (*audit)(Store *store, bool (*is_known)(void *userdata, const char *key), StoreKeysFn done, void *userdata);
    int (*revoke)(Store *store, StoreDoneFn done, void *userdata);
} StoreBackend;

extern const StoreBackend etcd3_backend, etcd2_backend;

typedef struct EtcdVersion {
    unsigned major, minor;
} EtcdVersion;

struct Store {
    sd_event *event;
    sd_event_source *defer;
    TAILQ_HEAD(, StoreJob) running;
    TAILQ_HEAD(, StoreJob) finished;
    StoreConfig config; /* its strings are owned, but for those of .etcd, which are not kept */
    char *user, *password; /* v3 trades them for a token */
    Etcd *etcd;
    const StoreBackend *backend; /* NULL until the first open */
    bool opened;
    EtcdVersion version; /* of the cluster: what all its members know */
    char server_version[32]; /* of the member that answered, for people */
    Nudge *nudge; /* v2's; NULL: not wanted */
    Etcd3 *etcd3; /* v3's lease and token */
    char *description;
};

typedef void (*StoreAnswerFn)(StoreJob *job, const HttpResult *result);

/* One call of a verb under way. Backends embed it as their own job's first member. */
struct StoreJob {
    Store *store;
    StoreOperation operation;
    bool asked; /* a request went out whose end is not counted yet */
    TAILQ_ENTRY(StoreJob) jobs;
    bool is_finished; /* in which of the two lists it is */
    StoreDoneFn done; /* either this */
    StoreKeysFn keys_done; /* or this */
    void *userdata;
    StoreStatus status;
    char *message;
    StoreKey *keys; /* for keys_done; owned */
    size_t n_keys;
    EtcdRequest *request;
    StoreAnswerFn on_answer;
    void (*clear)(StoreJob *job); /* releases what a backend's job owns, or NULL */
};

/* size: of the whole embedding struct, zeroed. NULL: no memory. */
void *store_job_new(Store *store, StoreOperation operation, size_t size, StoreDoneFn done, StoreKeysFn keys_done,
                    void *userdata);
/* Forgets the job: done is not called. Returns NULL. */
StoreJob *store_job_free(StoreJob *job);
/* done will be called from the loop's next turn, and the job freed after it. */
__attribute__((format(printf, 3, 4))) void store_job_finish(StoreJob *job, StoreStatus status, const char *format, ...);
void store_job_finish_ok(StoreJob *job);
/* Our own trouble: no memory, as a rule. */
void store_job_finish_errno(StoreJob *job, int error);
/* One request; fn is called unless the job is freed before. Trouble in sending finishes the job. */
void store_job_request(StoreJob *job, const EtcdSpec *spec, StoreAnswerFn fn);
/* When no endpoint gave a whole answer: finishes the job and returns true. */
bool store_job_check_transport(StoreJob *job, const HttpResult *result);

/* One request to etcd has ended. */
void store_count(Store *store, StoreOperation operation, StoreStatus status);

/* The handler of Store.defer: calls back for what is finished. */
int store_job_on_defer(sd_event_source *source, void *userdata);

/* For a request that keeps keys alive: at most max, and short enough for another member to be asked in time when
 * one says nothing. */
uint64_t store_timeout_ms(const Store *store, uint64_t max);

void store_keys_free(StoreKey *keys, size_t n_keys);
/* The start of an answer's body as one line, for a message. */
const char *store_excerpt(const char *body, char *buffer, size_t size);

/* Frees; NULL is fine. Returns NULL. */
Etcd3 *etcd3_free(Etcd3 *etcd3);
int etcd3_new(Etcd3 **ret);
/* 0: none yet. */
int64_t etcd3_lease(const Etcd3 *etcd3);
