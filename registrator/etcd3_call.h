/* One call of etcd's v3 JSON gateway: path, token, errors as sentences. What the verbs of etcd3.c and the
 * opening of etcd3_open.c are made of. */
#pragma once

#include "etcd3_message.h"
#include "store_private.h"

typedef struct Etcd3Job Etcd3Job;

enum {
    ETCD3_DERIVED = 4, /* leases that may be this host's, see etcd3_open.c */
    ETCD3_PREVIOUS = ETCD3_DERIVED, /* and that of an earlier store of this agent */
    ETCD3_CANDIDATES,
};

struct Etcd3 {
    int64_t lease;
    /* read_only: what stays where it was found, and counts as ours. */
    int64_t others[ETCD3_CANDIDATES];
    bool clone_told;
    bool has_written; /* a key, ever: the user has some permission */

    /* The token that stands for the user. */
    char *token; /* NULL: none, or none is wanted */
    bool token_known; /* whether there is need to ask */
    unsigned token_generation; /* of how many */
    EtcdRequest *token_request;
    TAILQ_HEAD(, Etcd3Job) waiting; /* for the token */
};

/* json: the whole answer, an object. */
typedef void (*Etcd3AnswerFn)(Etcd3Job *job, const cJSON *json);
/* An error that etcd answered with. False: not this one's, the job is to end with it. */
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
    bool token_renewed; /* once a call is enough */
    unsigned token_generation; /* that it was sent with */
};

/* body: taken; NULL: there was no memory for it. on_error: or NULL. */
void etcd3_call(Etcd3Job *job, const char *call, char *body, Etcd3AnswerFn on_answer, Etcd3ErrorFn on_error);
/* The job's clear function, or a part of it. */
void etcd3_call_clear(StoreJob *job);

/* Ends of a job. */
void etcd3_finish_code(StoreJob *job, GrpcCode code, const char *message);
void etcd3_finish_memory(Etcd3Job *job);
void etcd3_finish_nonsense(Etcd3Job *job);

StoreStatus etcd3_judge(GrpcCode code, const char *message);
bool etcd3_value_is_own(const Store *store, const char *value);
bool etcd3_lease_is_gone(GrpcCode code, const char *message);
bool etcd3_lease_exists(const Etcd3Lease *lease);
/* How many of the n keys from position on go into one request. */
size_t etcd3_slice(size_t position, size_t n);

/* etcd3_open.c: the backend's open. */
int etcd3_open(Store *store, StoreKeysFn done, void *userdata);
