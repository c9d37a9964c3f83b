/* One call of etcd's v3 JSON gateway, with its path, its token, and its errors as sentences. The verbs in etcd3.c
 * and the opening in etcd3_open.c consist of such calls. */
#pragma once

#include "etcd/etcd3_message.h"
#include "etcd/store_private.h"

typedef struct Etcd3Job Etcd3Job;

struct Etcd3 {
    int64_t lease; /* 0: not opened yet */
    int64_t previous_lease; /* the lease of StoreConfig.previous; 0: none */
    int64_t lease_before; /* the lease of the last opening; 0: no opening before */
    uint64_t resynced; /* etcd's revision of the last resync that found each key as known; 0: no such resync */
    bool lease_ended; /* since the last opening, etcd has answered that the lease has ended */
    int64_t others[LEASES]; /* in a dry run, other leases whose keys count as ours; 0: none */
    bool clone_logged;
    bool is_shared; /* a cloned host writes under the leases of the first pair */
    /* the operations of one transaction, learnt since the opening began, because etcd's --max-txn-ops may be lower
     * than the default; 0: etcd has refused no transaction */
    size_t ops_max;

    char *token; /* the user's; NULL: no token yet, or etcd needs none */
    bool token_known; /* true as well if etcd needs no token */
    unsigned token_generation; /* counts the tokens */
    EtcdRequest *token_request;
    TAILQ_HEAD(, Etcd3Job) waiting; /* calls that wait for the token */
};

/* json: the whole answer, an object. */
typedef void (*Etcd3AnswerFn)(Etcd3Job *job, const cJSON *json);
/* Handles an error from etcd. Returns false if the job should end with the error. */
typedef bool (*Etcd3ErrorFn)(Etcd3Job *job, GrpcCode code, const char *message);

struct Etcd3Job {
    StoreJob job;
    const char *call; /* "lease/grant" */
    char *body;
    uint64_t timeout_ms;
    Etcd3AnswerFn on_answer;
    Etcd3ErrorFn on_error; /* or NULL */
    bool waits_for_token; /* the list `waiting` has the job */
    TAILQ_ENTRY(Etcd3Job) waiting;
    bool token_renewed; /* the call has renewed the token, which it does once */
    unsigned token_generation; /* the generation of the token that the call was sent with */
};

/* Sends a call. Takes body, which may be NULL without memory. on_error may be NULL. */
void etcd3_call(Etcd3Job *job, const char *call, char *body, Etcd3AnswerFn on_answer, Etcd3ErrorFn on_error);
/* The clear function of a job, or a part of that function. */
void etcd3_call_clear(StoreJob *job);

/* The ends of a job. */
void etcd3_finish_code(StoreJob *job, GrpcCode code, const char *message);
void etcd3_finish_nonsense(Etcd3Job *job);
/* Another host writes under our lease, so the next opening takes another lease. */
void etcd3_finish_clone(Etcd3Job *job);

StoreStatus etcd3_judge(GrpcCode code, const char *message);
StoreWriter etcd3_writer(const Store *store, const char *key, const char *value);
bool etcd3_lease_is_gone(GrpcCode code, const char *message);
/* The number of operations in one transaction that etcd accepts, as far as the agent has learnt. */
size_t etcd3_ops_max(const Store *store);
/* Does the error mean that `count` operations, or their answer, were too many? Then the next transaction has fewer
 * operations. */
bool etcd3_learn_ops_max(Store *store, const char *message, size_t count);
/* The number of keys, from position on, that go into one request. */
size_t etcd3_slice(const Store *store, size_t position, size_t n);

/* The backend's functions that other files have. */
int etcd3_attach(Store *store);
void etcd3_detach(Store *store);
int etcd3_open(Store *store, StoreKeysFn done, void *userdata);
