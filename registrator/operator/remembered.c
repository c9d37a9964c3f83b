#include "operator/remembered.h"

#include "base/log.h"
#include "base/text.h"
#include "operator/state_file.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <string.h>
#include <unistd.h>

static const char drained[] = "drained", stopping[] = "stopping", returned[] = "returned", host_id[] = "host";

enum { STOPS_MAX = 4096 }; /* of the remembered stops, and of those that the operator undid */

typedef struct Loading {
    Catalog *catalog;
    size_t n_drained;
} Loading;

/* Reads a positive number and the blank after it. */
static bool take_number(const char **fields, int64_t *ret)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(*fields, &end, 10);
    if (errno != 0 || **fields < '0' || **fields > '9' || value <= 0 || (*end != '\0' && *end != ' '))
        return false;
    *fields = *end == ' ' ? end + 1 : end;
    *ret = value;
    return true;
}

static bool take_stop(Catalog *catalog, const char *id, const char *fields)
{
    int64_t started_ns, signalled_us;

    return text_is_container_id(id) && take_number(&fields, &started_ns) && take_number(&fields, &signalled_us) &&
           *fields == '\0' && catalog_resume_stop(catalog, id, started_ns, (uint64_t)signalled_us) == 0;
}

static bool take_return(Catalog *catalog, const char *id, const char *fields)
{
    int64_t returned_ns;

    return text_is_container_id(id) && take_number(&fields, &returned_ns) && *fields == '\0' &&
           catalog_resume_return(catalog, id, returned_ns) == 0;
}

static bool take_line(void *userdata, const char *kind, const char *id, const char *fields)
{
    Loading *loading = userdata;

    if (strcmp(kind, stopping) == 0)
        return take_stop(loading->catalog, id, fields);
    if (strcmp(kind, returned) == 0)
        return take_return(loading->catalog, id, fields);
    if (*id == '\0') /* version 0.1.0 wrote only the ID */
        id = kind;
    else if (strcmp(kind, drained) != 0 || *fields != '\0')
        return false;
    if (strcmp(id, host_id) == 0)
        catalog_set_host_drained(loading->catalog, true);
    else if (!text_is_container_id(id) || catalog_drain(loading->catalog, id, DRAIN_BY_OPERATOR) < 0)
        return false;
    loading->n_drained++;
    return true;
}

static int load(const char *path, Loading *loading)
{
    int r = state_file_read(path, take_line, loading);

    if (r == -EPERM || r == -ELOOP)
        log_error("Ignoring %s, because other users can write to it or it is no plain file: no container in it is "
                  "drained; remove the file, and drain the containers again",
                  path);
    else if (r < 0 && r != -ENOENT)
        log_error_errno(r, "Failed to read %s, the containers in it are not drained: %m", path);
    if (loading->n_drained > 0)
        log_notice("%s says that %s drained; 'registrator undrain' registers the containers again", path,
                   catalog_is_host_drained(loading->catalog) ? "this host is" : "containers are");
    return r;
}

/* Version 0.1.0 had one file for all sockets of a directory. An upgrade must keep the containers that the operator
 * drained. */
static void load_old(const char *path, Loading *loading)
{
    CLEANUP_FREE char *copy = strdup(path);
    CLEANUP_FREE char *old = copy ? text_format("%s/drained", dirname(copy)) : NULL;

    if (old && load(old, loading) == 0 &&
        remembered_save(path, loading->catalog, catalog_is_host_drained(loading->catalog), true) == 0)
        (void)unlink(old);
}

void remembered_load(const char *path, Catalog *catalog)
{
    Loading loading = { .catalog = catalog };

    if (load(path, &loading) == -ENOENT)
        load_old(path, &loading);
}

/* Returns the start of a container that is stopping, or 0 for any other container. A stop from the state file counts
 * until an inspect has judged it. */
static int64_t stopped_start(const Life *life)
{
    if (life->resumed_ns != 0)
        return life->resumed_ns;
    return life->state == LIFE_STOPPING ? life->started_ns : 0;
}

/* When Docker sent the stop signal that the operator has undone, by Docker's clock; 0: no such signal. After a
 * restart, Docker's events repeat the signal. */
static int64_t returned_signal(const Life *life)
{
    return life->state == LIFE_STOPPED ? 0 : life->returned_ns;
}

/* Returns the number of lines. */
static size_t print_stops(FILE *out, Catalog *catalog)
{
    size_t n = 0;

    for (CatalogEntry *entry = catalog_first(catalog); entry; entry = entry->hh.next) {
        int64_t started_ns = stopped_start(&entry->life), returned_ns = returned_signal(&entry->life);

        if (started_ns <= 0 && returned_ns <= 0)
            continue;
        if (n++ == STOPS_MAX) {
            log_warning("More than %d containers are being stopped: a restart of the agent forgets the rest",
                        STOPS_MAX);
            break;
        }
        if (started_ns > 0)
            fprintf(out, "%s %s %" PRId64 " %" PRIu64 "\n", stopping, entry->id, started_ns, entry->life.signalled_us);
        else
            fprintf(out, "%s %s %" PRId64 "\n", returned, entry->id, returned_ns);
    }
    return n;
}

int remembered_save(const char *path, Catalog *catalog, bool host, bool durable)
{
    CLEANUP_FREE char *text = NULL;
    TextStream stream;
    FILE *out = text_stream_open(&stream);
    char *const *ids;
    size_t n = catalog_drained(catalog, &ids);

    if (!out)
        return -ENOMEM;
    if (host)
        fprintf(out, "%s %s\n", drained, host_id);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%s %s\n", drained, ids[i]);
    n += print_stops(out, catalog);
    text = text_stream_close(&stream, out);
    if (text || (n == 0 && !host))
        return state_file_write(path, text ? text : "", durable);
    return -ENOMEM;
}
