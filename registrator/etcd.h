/* Transport to an etcd cluster: endpoints tried in turn. Knows nothing of keys, leases or API versions. */
#pragma once

#include "cleanup.h"
#include "http.h"

typedef struct Etcd Etcd;
typedef struct EtcdRequest EtcdRequest;

typedef struct EtcdConfig {
    char *const *endpoints; /* URLs without a trailing slash, at least one; copied */
    size_t n_endpoints;
    const char *ca, *cert, *key;
    const char *user, *password;
} EtcdConfig;

typedef struct EtcdSpec {
    const char *method;
    const char *path; /* with the leading slash */
    const char *body; /* NULL: none */
    bool form; /* body is a form (v2), else JSON (v3) */
    const char *authorization; /* v3's token, or NULL */
    uint64_t timeout_ms; /* for each endpoint tried; 0: 3 s */
    size_t body_max; /* 0: 4 MiB */
} EtcdSpec;

/* result->error is set only when no endpoint gave a whole answer; a 5xx or "no leader" answer also moves on
 * to the next endpoint, and is handed over when all have been tried. */
typedef void (*EtcdDoneFn)(void *userdata, const HttpResult *result);

int etcd_new(Etcd **ret, sd_event *event, const EtcdConfig *config);
/* Ends every request: done is not called. Returns NULL. */
Etcd *etcd_free(Etcd *etcd);
DEFINE_CLEANUP(Etcd, etcd_free)

int etcd_request(Etcd *etcd, const EtcdSpec *spec, EtcdDoneFn done, void *userdata, EtcdRequest **ret);
EtcdRequest *etcd_request_free(EtcdRequest *request);
DEFINE_CLEANUP(EtcdRequest, etcd_request_free)

const char *etcd_endpoint(const Etcd *etcd); /* the one in use */
uint64_t etcd_requests_total(const Etcd *etcd);
/* Where the last answer came from; false while there was none. */
bool etcd_remote(const Etcd *etcd, struct sockaddr_storage *ret);
