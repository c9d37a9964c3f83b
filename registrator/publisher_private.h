/* What the publisher's two halves share: publisher_entry.c has the states of each key, publisher.c when what is
 * asked of etcd. */
#pragma once

#include "backoff.h"
#include "publisher.h"
#include "refresh_pace.h"

#include <systemd/sd-event.h>

typedef struct Batch Batch;

TAILQ_HEAD(EntryQueue, PublisherEntry);

struct Publisher {
    sd_event *event;
    Store *store;
    PublisherConfig config;
    PublisherHandlers handlers;
    void *userdata;

    PublisherState state;
    char *why;
    PublisherEntry *entries;
    struct EntryQueue pending, refreshes;
    size_t n_settled;
    LIST_HEAD(, Batch) batches;
    unsigned n_batches, n_refreshes;
    uint64_t clock; /* counts changes and questions: which came first */
    uint64_t audit_begin; /* the clock when the audit under way was asked for; 0: none is */
    bool audit_doubtful; /* its lease ended meanwhile */
    unsigned audit_beats; /* heartbeats to go until the audit after an outage; 0: none is due */
    bool held, keep_orphans, beating, audit_wanted;
    bool beat_doubtful; /* the heartbeat under way may have met the lease before it was opened anew */
    bool writes_failing; /* heartbeats may go well while writes do not: etcd full, or without permission */
    bool refreshes_failing; /* v2: since the last try */
    RefreshPace pace; /* v2: on CLOCK_BOOTTIME */
    bool refused; /* the last failure was an answer: ask anew which API and lease there are before going on */
    uint64_t last_ok_us; /* CLOCK_BOOTTIME; 0: never */
    uint64_t late_until_us; /* CLOCK_BOOTTIME up to which a write that was given up may still be carried out */
    uint64_t renewed_us; /* v3: the same clock, when the last request was sent that renewed the lease */
    uint64_t beat_us, open_us; /* v3: when what may renew it was sent */
    Backoff backoff;
    sd_event_source *retry, *heartbeat, *refresh, *flush;
    PublisherCounters counters;
};

/* A TTL runs on while the machine is suspended, so this clock, CLOCK_BOOTTIME, does too. */
uint64_t publisher_now_us(void);
/* For the log, "" if there is nothing to tell. */
const char *publisher_where(const Publisher *publisher);
/* Is each key renewed by itself? */
bool publisher_uses_refresh(const Publisher *publisher);
/* What is pending is written when the loop has nothing else to do. */
void publisher_wake(Publisher *publisher);

PublisherEntry *entry_find(const Publisher *publisher, const char *key);
void entry_remove(Publisher *publisher, PublisherEntry *entry);
/* Is an operation under way? */
bool entry_is_busy(const PublisherEntry *entry);
/* The one place where an entry changes its state, and with it its queue. */
void entry_set_state(Publisher *publisher, PublisherEntry *entry, EntryState state);
/* What is to become of an entry that no operation is under way for. It may be freed. */
void entry_decide(Publisher *publisher, PublisherEntry *entry);
/* What became of one operation of a batch. attempted: may have been in etcd before it; taken if it still may.
 * The entry may be freed. */
void entry_finish(Publisher *publisher, PublisherEntry *entry, StoreOp *op, char **attempted);
/* Etcd has this key under our lease, as it was at the publisher's clock `since`. now: the clock, for
 * PublisherEntry.seen. -ENOMEM. */
int entry_found(Publisher *publisher, const StoreKey *key, uint64_t since, uint64_t now);
/* It has not. The entry may be freed. */
void entry_missing(Publisher *publisher, PublisherEntry *entry);
