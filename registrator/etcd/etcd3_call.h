/* One call of etcd's v3 JSON gateway, with its path, its token, and its errors as sentences. The verbs of etcd3.c and the
 * opening in etcd3_open.c consist of such calls. */
#pragma once

#include "etcd/etcd3_message.h"
#include "etcd/store_private.h"

typedef struct Etcd3Job Etcd3Job;

struct Etcd3 {
    int64_t lease; /* 0: not opened yet */
    int64_t previous_lease; /* of StoreConfig.previous; 0: none */
    int64_t lease_before; /* the last opening; 0: there was none */
    uint64_t audited; /* etcd's revision at which a resync found each key as known; 0: none did */
    bool lease_ended; /* etcd has said so since the last opening */
    int64_t others[LEASES]; /* a dry run: further leases whose keys count as ours; 0: none */
    bool clone_logged;
    bool is_shared; /* a clone writes under the leases of the first pair */
    size_t ops_max; /* learnt since the opening began: etcd's --max-txn-ops may be lower; 0: etcd has refused none */

    /* The token that stands for the user. */
    char *token; /* NULL: none, or none is wanted */
    bool token_known; /* also that etcd wants none */
    unsigned token_generation; /* counts the tokens */
    EtcdRequest *token_request;
    TAILQ_HEAD(, Etcd3Job) waiting; /* for the token */
};

/* json: the whole answer, an object. */
typedef void (*Etcd3AnswerFn)(Etcd3Job *job, const cJSON *json);
/* An error that etcd answered with. False: the job ends with the error. */
typedef bool (*Etcd3ErrorFn)(Etcd3Job *job, GrpcCode code, const char *message);

struct Etcd3Job {
    StoreJob job;
    const char *call; /* "lease/grant" */
    char *body;
    uint64_t timeout_ms;
    Etcd3AnswerFn on_answer;
    Etcd3ErrorFn on_error; /* or NULL */
    bool waits_for_token; /* linked in the list of those */
    TAILQ_ENTRY(Etcd3Job) waiting;
    bool token_renewed; /* a call renews the token once */
    unsigned token_generation; /* of the token that the call was sent with */
};

/* Takes body. NULL: there was no memory for the body. on_error may be NULL. */
void etcd3_call(Etcd3Job *job, const char *call, char *body, Etcd3AnswerFn on_answer, Etcd3ErrorFn on_error);
/* The clear function of a job, or a part of such a function. */
void etcd3_call_clear(StoreJob *job);

/* Ends of a job. */
void etcd3_finish_code(StoreJob *job, GrpcCode code, const char *message);
void etcd3_finish_memory(Etcd3Job *job);
void etcd3_finish_nonsense(Etcd3Job *job);
/* Another host writes under our lease. The next opening takes another lease. */
void etcd3_finish_clone(Etcd3Job *job);

StoreStatus etcd3_judge(GrpcCode code, const char *message);
StoreWriter etcd3_writer(const Store *store, const char *key, const char *value);
bool etcd3_lease_is_gone(GrpcCode code, const char *message);
/* How many operations etcd takes in one transaction, as far as the agent has learnt. */
size_t etcd3_ops_max(const Store *store);
/* Does the error say that `count` operations, or their answer, were too many? Then the next transaction has fewer. */
bool etcd3_learn_ops_max(Store *store, const char *message, size_t count);
/* How many of the n keys from position on go into one request. */
size_t etcd3_slice(const Store *store, size_t position, size_t n);

/* The backend's functions that etcd3.c does not have. */
int etcd3_attach(Store *store);
void etcd3_detach(Store *store);
int etcd3_open(Store *store, StoreKeysFn done, void *userdata);
