/* One verb of a store, driven with the fuzzer's answers to its end. */
#pragma once

#include "fake_etcd.h"
#include "etcd/store_private.h"

typedef struct Drive {
    Store *store;
    unsigned done; /* calls of it */
    StoreStatus status;
    size_t n_keys;
} Drive;

/* api: what is asked for; version: what an earlier opening has found, major 0: it was never opened. */
Drive drive_begin(StoreApi api, EtcdVersion version, bool with_user, bool read_only);
void drive_open(Drive *drive);
/* Without the question for the version. */
void drive_open_backend(Drive *drive);
void drive_apply(Drive *drive, StoreOp *ops, size_t n); /* frees their holders */
void drive_heartbeat(Drive *drive);
void drive_resync(Drive *drive);
void drive_end(Drive *drive);
