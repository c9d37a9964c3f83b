/* Sends requests to an etcd cluster, and tries the endpoints in turn. Does not know keys, leases or API versions. */
#pragma once

#include "base/cleanup.h"
#include "http/http.h"

typedef struct Etcd Etcd;
typedef struct EtcdRequest EtcdRequest;

typedef struct EtcdConfig {
    char *const *endpoints; /* 1 to 32 URLs without a slash at the end; copied */
    size_t n_endpoints;
    const char *ca, *cert, *key;
    const char *user, *password;
} EtcdConfig;

typedef struct EtcdSpec {
    const char *method;
    const char *path; /* begins with a slash */
    const char *body; /* NULL: no body */
    bool form; /* true: body is a form (v2); false: JSON (v3) */
    const char *authorization; /* v3's token, or NULL */
    uint64_t timeout_ms; /* for each endpoint; 0: 3 s */
    size_t body_max; /* bytes of an answer's body; 0: 4 MiB */
} EtcdSpec;

/* result->error is set only if no endpoint gave a whole answer. After a 5xx or "no leader" answer, the request tries
 * the next endpoint. The last such answer is the result if all endpoints fail. */
typedef void (*EtcdDoneFn)(void *userdata, const HttpResult *result);

int etcd_new(Etcd **ret, sd_event *event, const EtcdConfig *config);
/* Ends every request without calling done. NULL is fine. Returns NULL. */
Etcd *etcd_free(Etcd *etcd);
DEFINE_CLEANUP(Etcd, etcd_free)

int etcd_request(Etcd *etcd, const EtcdSpec *spec, EtcdDoneFn done, void *userdata, EtcdRequest **ret);
EtcdRequest *etcd_request_free(EtcdRequest *request);
DEFINE_CLEANUP(EtcdRequest, etcd_request_free)

const char *etcd_endpoint(const Etcd *etcd); /* the present endpoint */
/* Stores the address that sent the last answer. Returns false before the first answer. */
bool etcd_remote(const Etcd *etcd, struct sockaddr_storage *ret);
