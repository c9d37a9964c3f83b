#include "store_driver.h"

#include "etcd/etcd3_call.h"

#include "fuzz.h"

#include <string.h>

static sd_event *event;

static const char *get_address(void *userdata)
{
    (void)userdata;
    return "192.0.2.1";
}

static StoreWriter find_writer(void *userdata, const char *key, const char *value)
{
    (void)key;
    (void)userdata;
    if (strncmp(value, "192.0.2.", strlen("192.0.2.")) != 0)
        return STORE_WRITER_UNKNOWN;
    return strncmp(value, "192.0.2.1", strlen("192.0.2.1")) == 0 ? STORE_WRITER_THIS : STORE_WRITER_OTHER;
}

Drive drive_begin(StoreApi api, EtcdVersion version, bool with_user, bool read_only)
{
    Drive drive = { .store = NULL };
    char *directories[] = { (char *)"/app/servers", (char *)"/skydns" };
    StoreConfig config = {
        .etcd = { .user = with_user ? "me" : NULL, .password = with_user ? "secret" : NULL },
        .api = api,
        .ttl_s = 30,
        .identity = "engine",
        .layout = "/app/",
        .address = get_address,
        .directories = directories,
        .n_directories = ARRAY_SIZE(directories),
        .read_only = read_only,
        .writer = find_writer,
    };

    if (!event)
        ENSURE(sd_event_new(&event) >= 0);
    ENSURE(store_new(&drive.store, event, &config) == 0);
    drive.store->etcd3->previous_lease = 776;
    if (version.major > 0) {
        drive.store->backend = api == STORE_V2 ? &etcd2_backend : &etcd3_backend;
        drive.store->version = version;
        drive.store->etcd3->lease = 777;
    }
    return drive;
}

static void note_end(Drive *drive, StoreStatus status, const char *message)
{
    drive->done++;
    drive->status = status;
    ENSURE((unsigned)status <= STORE_REFUSED);
    ENSURE((status == STORE_OK) == (*message == '\0'));
    for (const char *p = message; *p != '\0'; p++)
        ENSURE((unsigned char)*p >= 0x20);
}

static void on_done(void *userdata, StoreStatus status, const char *message)
{
    note_end(userdata, status, message);
}

static void on_keys(void *userdata, StoreStatus status, const char *message, const StoreKey *keys, size_t n_keys)
{
    Drive *drive = userdata;

    note_end(drive, status, message);
    drive->n_keys = n_keys;
    for (size_t i = 0; i < n_keys; i++)
        ENSURE(keys[i].key);
}

static void drive_to_end(Drive *drive)
{
    unsigned before = drive->done;

    do {
        while (fake_etcd_answer(drive->store->etcd))
            ENSURE(drive->done == before);
        ENSURE(sd_event_run(event, 0) >= 0);
    } while (drive->done == before);
    ENSURE(drive->done == before + 1);
    ENSURE(!fake_etcd_answer(drive->store->etcd));
    ENSURE(TAILQ_EMPTY(&drive->store->running) && TAILQ_EMPTY(&drive->store->finished));
}

static void drive_opening(Drive *drive)
{
    drive_to_end(drive);
    /* What is printed must be printable. */
    ENSURE(*store_describe(drive->store) != '\0');
    if (drive->status == STORE_OK)
        ENSURE(store_has_lease(drive->store) == (drive->store->backend == &etcd3_backend));
}

void drive_open(Drive *drive)
{
    store_open(drive->store, on_keys, drive);
    drive_opening(drive);
}

void drive_open_backend(Drive *drive)
{
    drive->store->backend->open(drive->store, on_keys, drive);
    drive_opening(drive);
}

void drive_apply(Drive *drive, StoreOp *ops, size_t n)
{
    store_apply(drive->store, ops, n, on_done, drive);
    drive_to_end(drive);
    for (size_t i = 0; i < n; i++) {
        ENSURE((unsigned)ops[i].outcome <= STORE_OP_REJECTED);
        if (ops[i].outcome == STORE_OP_CONFLICT)
            ENSURE(ops[i].holder);
        if (ops[i].verb == STORE_PEEK || ops[i].verb == STORE_REFRESH)
            ENSURE(!ops[i].wrote);
        free(ops[i].holder);
        ops[i].holder = NULL;
    }
}

void drive_heartbeat(Drive *drive)
{
    store_heartbeat(drive->store, on_done, drive);
    drive_to_end(drive);
}

static uint64_t known(void *userdata, const char *key)
{
    (void)userdata;
    return strlen(key) % 2 == 0;
}

void drive_resync(Drive *drive)
{
    store_resync(drive->store, known, on_keys, drive);
    drive_to_end(drive);
}

void drive_end(Drive *drive)
{
    drive->store = store_free(drive->store);
}
