/* Sends requests to the v2 keys API. Each step of an operation is one request, whose answer decides the next step. */
#pragma once

#include "etcd/etcd2_message.h"
#include "etcd/nudge.h"
#include "etcd/store_private.h"

struct Etcd2 {
    Nudge *nudge; /* NULL: the setting is off */
    Refresher *refresher;
};

typedef struct Etcd2Job Etcd2Job;
/* json is NULL if job->index has the good answer's index. */
typedef void (*Etcd2AnswerFn)(Etcd2Job *job, Etcd2Error error, const cJSON *json);

struct Etcd2Job {
    StoreJob job;
    Etcd2AnswerFn on_answer;
    /* Handles an error that no step expects. Returns true if the error concerns only one key and the job continues.
     * Otherwise the job ends with the error. NULL: each such error ends the job. */
    bool (*on_refusal)(Etcd2Job *job, Etcd2Error error, const char *message);
    StoreOp *op; /* the operation of an apply */
    unsigned steps; /* requests sent so far */
    bool wants_index; /* of the next answer, only the index counts */
    uint64_t index; /* modifiedIndex of that answer; 0: see json */
};

/* Sends a request. Frees path, which may be NULL without memory. body is the form of a PUT, or NULL. fn gets ETCD2_OK
 * and the errors that a step expects. */
void etcd2_call(Etcd2Job *job, const char *method, char *path, const char *body, Etcd2AnswerFn fn);
