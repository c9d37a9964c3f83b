/* The life of one key: its states, and every transition between them. */
/* With HASH_NONFATAL_OOM, uthash skips the item when memory runs out. The default ends the process. */
#define HASH_NONFATAL_OOM 1
#include "publisher/publisher_private.h"

#include "base/text.h"

#include <string.h>

/* The target of a transition. */
typedef enum Move {
    STAY,
    BY_FACTS, /* the wanted value and the value in etcd decide: see state_by_facts() */
    BY_REFUSAL, /* as BY_FACTS, but etcd rejects the wanted value */
    BY_FINDING, /* as BY_FACTS, but an unwanted key may become an orphan */
    TO, /* TO + a state */
} Move;
#define TO(state) (TO + (int)(state))

static const int moves[ENTRY_STATE_MAX_][KEY_EVENT_MAX_] = {
    [ENTRY_NEW] = { [KEY_WISHED] = BY_FACTS, [KEY_FOUND] = BY_FINDING, [KEY_MISSING] = BY_FACTS },
    [ENTRY_ORPHAN] = { [KEY_WISHED] = BY_FACTS,
                       [KEY_FOUND] = BY_FINDING,
                       [KEY_MISSING] = BY_FACTS,
                       [KEY_DUE] = BY_FACTS },
    [ENTRY_PENDING] = { [KEY_WISHED] = BY_FACTS,
                        [KEY_TAKEN] = TO(ENTRY_WRITING),
                        [KEY_FOUND] = BY_FINDING,
                        [KEY_MISSING] = BY_FACTS },
    [ENTRY_WRITING] = { [KEY_ANSWERED] = BY_FACTS,
                        [KEY_CONFLICTED] = TO(ENTRY_CONFLICT),
                        [KEY_CONTESTED] = TO(ENTRY_TAKEOVER),
                        [KEY_REFUSED] = BY_REFUSAL,
                        [KEY_UNDELETABLE] = TO(ENTRY_REJECTED) },
    [ENTRY_REGISTERED] = { [KEY_WISHED] = BY_FACTS,
                           [KEY_TAKEN] = TO(ENTRY_REFRESHING),
                           [KEY_FOUND] = BY_FINDING,
                           [KEY_MISSING] = BY_FACTS,
                           [KEY_EXPIRED] = TO(ENTRY_PENDING),
                           [KEY_MOVED] = TO(ENTRY_PENDING) },
    [ENTRY_REFRESHING] = { [KEY_ANSWERED] = BY_FACTS,
                           [KEY_CONFLICTED] = TO(ENTRY_CONFLICT),
                           [KEY_CONTESTED] = TO(ENTRY_TAKEOVER),
                           [KEY_REFUSED] = BY_REFUSAL,
                           [KEY_UNDELETABLE] = BY_FACTS },
    [ENTRY_CONFLICT] = { [KEY_WISHED] = BY_FACTS,
                         [KEY_REPEATED] = TO(ENTRY_PENDING),
                         [KEY_FOUND] = BY_FINDING,
                         [KEY_DUE] = TO(ENTRY_PENDING),
                         [KEY_MOVED] = TO(ENTRY_PENDING) },
    [ENTRY_TAKEOVER] = { [KEY_WISHED] = BY_FACTS,
                         [KEY_TAKEN] = TO(ENTRY_WRITING),
                         [KEY_FOUND] = BY_FINDING,
                         [KEY_MOVED] = TO(ENTRY_PENDING) },
    [ENTRY_REJECTED] = { [KEY_WISHED] = BY_FACTS,
                         [KEY_FOUND] = BY_REFUSAL,
                         [KEY_MISSING] = BY_REFUSAL,
                         [KEY_DUE] = TO(ENTRY_PENDING),
                         [KEY_MOVED] = TO(ENTRY_PENDING) },
    [ENTRY_UNDO] = { [KEY_WISHED] = BY_FACTS,
                     [KEY_TAKEN] = TO(ENTRY_UNDOING),
                     [KEY_FOUND] = BY_REFUSAL,
                     [KEY_MISSING] = BY_REFUSAL,
                     [KEY_MOVED] = TO(ENTRY_PENDING) },
    [ENTRY_UNDOING] = { [KEY_WISHED] = TO(ENTRY_WRITING),
                        [KEY_ANSWERED] = BY_REFUSAL,
                        [KEY_CONFLICTED] = BY_REFUSAL,
                        [KEY_CONTESTED] = BY_REFUSAL,
                        [KEY_REFUSED] = BY_REFUSAL,
                        [KEY_UNDELETABLE] = TO(ENTRY_REJECTED) },
};

bool entry_is_busy(const PublisherEntry *entry)
{
    return entry->state == ENTRY_WRITING || entry->state == ENTRY_UNDOING || entry->state == ENTRY_REFRESHING;
}

bool entry_is_registered(const PublisherEntry *entry)
{
    return entry->state == ENTRY_REGISTERED || entry->state == ENTRY_REFRESHING;
}

static bool is_queued(const PublisherEntry *entry)
{
    return entry->state == ENTRY_PENDING || entry->state == ENTRY_TAKEOVER || entry->state == ENTRY_UNDO;
}

bool entry_awaits_write(const PublisherEntry *entry)
{
    return is_queued(entry) || entry->state == ENTRY_WRITING || entry->state == ENTRY_UNDOING;
}

StoreVerb entry_verb(const PublisherEntry *entry)
{
    if (!entry->wanted || entry->state == ENTRY_UNDO)
        return STORE_REMOVE;
    return entry->state == ENTRY_TAKEOVER ? STORE_REPLACE : STORE_ENSURE;
}

/* Moves. */

static EntryState state_by_facts(const PublisherEntry *entry)
{
    bool maybe_there = entry->published || entry->attempted;

    if (!entry->wanted)
        return maybe_there ? ENTRY_PENDING : ENTRY_GONE;
    return !entry->attempted && text_same(entry->wanted, entry->published) ? ENTRY_REGISTERED : ENTRY_PENDING;
}

static EntryState state_by_refusal(const PublisherEntry *entry)
{
    if (!entry->wanted)
        return state_by_facts(entry);
    return entry->published || entry->attempted ? ENTRY_UNDO : ENTRY_REJECTED;
}

static EntryState next_state(const Publisher *publisher, const PublisherEntry *entry, KeyEvent event)
{
    int move = moves[entry->state][event];

    switch (move) {
    case STAY:
        return entry->state;
    case BY_FACTS:
        /* The known facts of a waiting key may come from a lease that has ended. */
        if (event == KEY_WISHED && entry->state == ENTRY_PENDING && entry->wanted)
            return ENTRY_PENDING;
        return state_by_facts(entry);
    case BY_REFUSAL:
        return state_by_refusal(entry);
    case BY_FINDING:
        return !entry->wanted && publisher->keep_orphans ? ENTRY_ORPHAN : state_by_facts(entry);
    default:
        return (EntryState)(move - TO);
    }
}

static void leave_queue(Publisher *publisher, PublisherEntry *entry)
{
    if (is_queued(entry))
        TAILQ_REMOVE(&publisher->pending, entry, queue);
    if (entry->state == ENTRY_REGISTERED)
        TAILQ_REMOVE(&publisher->registered, entry, queue);
    publisher->n_registered -= entry_is_registered(entry);
}

static void join_queue(Publisher *publisher, PublisherEntry *entry)
{
    if (is_queued(entry))
        TAILQ_INSERT_TAIL(&publisher->pending, entry, queue);
    if (entry->state == ENTRY_REGISTERED)
        TAILQ_INSERT_TAIL(&publisher->registered, entry, queue);
    publisher->n_registered += entry_is_registered(entry);
}

void entry_move(Publisher *publisher, PublisherEntry *entry, KeyEvent event)
{
    EntryState state = next_state(publisher, entry, event);

    if (state == ENTRY_GONE) {
        entry_remove(publisher, entry);
        return;
    }
    if (state != entry->state) {
        leave_queue(publisher, entry);
        entry->state = state;
        join_queue(publisher, entry);
    }
    if (is_queued(entry))
        publisher_wake(publisher);
}

/* Entries. */

static PublisherEntry *entry_free(PublisherEntry *entry)
{
    if (!entry)
        return NULL;
    free(entry->key);
    free(entry->owner);
    free(entry->owner_id);
    free(entry->wanted);
    free(entry->published);
    free(entry->attempted);
    free(entry->holder);
    free(entry->reason);
    free(entry->after);
    free(entry);
    return NULL;
}
DEFINE_CLEANUP(PublisherEntry, entry_free)

PublisherEntry *entry_find(const Publisher *publisher, const char *key)
{
    PublisherEntry *entry;

    HASH_FIND_STR(publisher->entries, key, entry);
    return entry;
}

PublisherEntry *entry_add(Publisher *publisher, const char *key)
{
    CLEANUP(entry_free_p) PublisherEntry *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return NULL;
    entry->key = strdup(key);
    if (!entry->key)
        return NULL;
    HASH_ADD_KEYPTR(hh, publisher->entries, entry->key, strlen(entry->key), entry);
    return entry->hh.tbl ? TAKE_PTR(entry) : NULL; /* uthash skips the entry when memory runs out */
}

void entry_remove(Publisher *publisher, PublisherEntry *entry)
{
    leave_queue(publisher, entry);
    HASH_DEL(publisher->entries, entry);
    entry_free(entry);
}
