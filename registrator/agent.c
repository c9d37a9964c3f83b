#include "agent.h"

#include "address.h"
#include "backoff.h"
#include "catalog.h"
#include "control.h"
#include "docker.h"
#include "exit_status.h"
#include "log.h"
#include "metrics.h"
#include "publishers.h"
#include "rules.h"
#include "utf8.h"

#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-id128.h>
#include <time.h>

enum {
    INSPECT_DELAY_US = 1000000, /* of what a list has told well enough for now */
    /* After an inspect that got no good answer; the cap is for those that never get one. */
    INSPECT_RETRY_MS = 1000,
    INSPECT_RETRY_MAX_MS = 30000,
};

struct Agent {
    int argc;
    char **argv;
    bool dry_run;
    Settings *settings;
    Rules rules;
    const char **labels; /* behind rules.labels */
    HostAddress address;
    char *engine_id; /* NULL: as yet unknown */

    sd_event *event;
    Docker *docker;
    Catalog *catalog;
    Publishers *publishers; /* NULL: Docker has not been reached yet */
    Control *control; /* NULL in a dry run */
    sd_event_source *expiry, *grace, *inspect_retry;
    Backoff inspect_backoff;

    bool listing; /* a list is under way */
    bool listed; /* Docker's list has come at least once */
    bool first_list; /* of this connection: what it shows is no drift */
    bool trim; /* a list has come since memory was given back */
    bool heard; /* the first list's containers were inspected, as far as Docker answered */
    uint64_t heard_us; /* CLOCK_BOOTTIME, since when */
    bool settled; /* keys of an earlier run that nobody wants have been dropped */
    bool address_failed; /* said so in the log */
    bool ready;
    char *docker_why; /* why Docker is away, or NULL */
    bool docker_told; /* said in the log that Docker is there: its list has come */
    bool docker_lost; /* said so in the log */
    AgentCounters counters;
    uint64_t docker_away_us; /* since when there is no list to be had; 0: there is */
    char *status; /* last told to systemd */
};

static uint64_t boottime_us(Agent *agent)
{
    uint64_t usec = 0;

    (void)sd_event_now(agent->event, CLOCK_BOOTTIME, &usec);
    return usec;
}

static void arm(sd_event_source *source, uint64_t wait_us)
{
    (void)sd_event_source_set_time_relative(source, wait_us);
    (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* What systemd is told. */

static bool has_address(const HostAddress *address)
{
    return *address->address4 != '\0' || *address->address6 != '\0';
}

static int make_status(Agent *agent, char **ret)
{
    const char *why = agent->publishers ? publishers_why(agent->publishers) : "";

    if (agent->docker_why)
        return asprintf(ret, "Docker is away: %s", agent->docker_why);
    if (!agent->publishers || !agent->listed)
        return asprintf(ret, "Connecting to Docker at %s", docker_url(agent->docker));
    if (*why != '\0')
        return asprintf(ret, "etcd is away: %s", why);
    if (agent->address_failed && !has_address(&agent->address))
        return asprintf(ret, "No address to advertise: set --advertise");
    return asprintf(ret, "%zu keys of %zu running containers in %s%s", publishers_settled(agent->publishers),
                    catalog_running(agent->catalog), publishers_describe(agent->publishers),
                    catalog_is_host_drained(agent->catalog) ? "; the host is drained" : "");
}

static void update_status(Agent *agent)
{
    CLEANUP_FREE char *status = NULL;

    if (make_status(agent, &status) < 0) {
        status = NULL;
        return;
    }
    utf8_make_printable(status); /* a line break in a peer's error would begin another assignment */
    if (agent->status && strcmp(status, agent->status) == 0)
        return;
    (void)sd_notifyf(0, "STATUS=%s", status);
    free(agent->status);
    agent->status = TAKE_PTR(status);
}

/* Ready: the first list is published; or what keeps us from it is not ours to mend. */
static void check_ready(Agent *agent)
{
    PublishersProgress progress =
        agent->publishers ? publishers_progress(agent->publishers, agent->heard) : PUBLISHERS_BUSY;
    bool published = progress == PUBLISHERS_DONE;
    bool hindered = agent->docker_why || progress == PUBLISHERS_HINDERED;

    update_status(agent);
    if (agent->dry_run && (published || hindered)) {
        if (hindered)
            log_error("%s", agent->docker_why ? agent->docker_why : publishers_why(agent->publishers));
        (void)sd_event_exit(agent->event, hindered ? EXIT_NOT_POSSIBLE : EXIT_SUCCESS);
        return;
    }
    if (agent->ready || (!published && !hindered))
        return;
    agent->ready = true;
    (void)sd_notify(0, "READY=1");
}

/* The advertised address. */

static bool same_address(const HostAddress *a, const HostAddress *b)
{
    return strcmp(a->address4, b->address4) == 0 && strcmp(a->address6, b->address6) == 0;
}

static void use_address(Agent *agent)
{
    agent->rules.address4 = *agent->address.address4 != '\0' ? agent->address.address4 : NULL;
    agent->rules.address6 = *agent->address.address6 != '\0' ? agent->address.address6 : NULL;
}

static void find_address(Agent *agent)
{
    struct sockaddr_storage remote;
    HostAddress found;
    bool known = publishers_remote(agent->publishers, &remote);
    int r = host_address_find(&found, agent->settings->advertise, known ? (struct sockaddr *)&remote : NULL);

    /* Where there is no default route, the one to etcd may still tell. */
    if (r < 0 && !known && !agent->settings->advertise)
        return;
    if (r < 0) {
        /* What was advertised stays: an interface that is down for a moment takes no container away. */
        if (!agent->address_failed)
            log_error_errno(r,
                            "Found no address to advertise (%s): %m; %s; set --advertise to this host's address "
                            "or interface",
                            agent->settings->advertise ? agent->settings->advertise : "no route says which",
                            has_address(&agent->address)
                                ? "the old one stays"
                                : "no key is written, and what an earlier run has left goes after --docker-grace");
        agent->address_failed = true;
        return;
    }
    agent->address_failed = false;
    if (same_address(&found, &agent->address))
        return;
    agent->address = found;
    log_info("Advertising %s%s%s (%s)", found.address4, *found.address4 && *found.address6 ? " and " : "",
             found.address6, found.origin);
    use_address(agent);
    catalog_set_rules(agent->catalog, &agent->rules, agent->settings->docker_environment, false);
}

static bool is_own_value(void *userdata, const char *value)
{
    Agent *agent = userdata;

    if (!has_address(&agent->address))
        find_address(agent);
    return address_in_text(value, agent->address.address4) || address_in_text(value, agent->address.address6) ||
           local_address_in_text(value);
}

static const char *advertised_address(void *userdata)
{
    Agent *agent = userdata;

    find_address(agent);
    return *agent->address.address4 != '\0' ? agent->address.address4 : agent->address.address6;
}

/* The publishers and their stores. */

/* Do records carry the advertised address? */
static bool shows_address(const Settings *settings)
{
    return settings->ports == PORTS_PUBLISHED &&
           (template_uses(settings->value, FIELD_ADDRESS) || template_uses(settings->key, FIELD_ADDRESS));
}

/* What an earlier run has left and nobody wants goes when it is known what is wanted: not while an inspect fails,
 * which may be of the container that a key belongs to, nor while there is no address to make values of; but not
 * later than what is kept while Docker is away. */
static void check_settled(Agent *agent)
{
    uint64_t grace_us = (uint64_t)agent->settings->docker_grace_s * 1000000;
    bool known =
        catalog_unanswered(agent->catalog) == 0 && (!shows_address(agent->settings) || has_address(&agent->address));

    if (agent->settled || !agent->heard || (!known && boottime_us(agent) - agent->heard_us < grace_us))
        return;
    agent->settled = true;
    publishers_drop_orphans(agent->publishers);
}

/* Has Docker been heard out: the list, and the inspects that it gave rise to? */
static void check_heard(Agent *agent)
{
    if (!agent->listed || agent->listing || catalog_waiting(agent->catalog) > 0)
        return;
    if (!agent->heard)
        agent->heard_us = boottime_us(agent);
    agent->heard = true;
    agent->first_list = false;
    publishers_release(agent->publishers);
    check_settled(agent);
    if (catalog_unanswered(agent->catalog) == 0) {
        backoff_reset(&agent->inspect_backoff);
        if (agent->trim)
            (void)malloc_trim(0); /* parsing so much leaves many small holes */
        agent->trim = false;
    }
    check_ready(agent);
}

static void on_publishers_changed(void *userdata, bool online, bool lost)
{
    Agent *agent = userdata;

    /* Lost: for status to name what is really missing, which is etcd. */
    if (online || (lost && !has_address(&agent->address)))
        find_address(agent);
    check_settled(agent);
    check_ready(agent);
}

static bool on_lease_lost(void *userdata)
{
    Agent *agent = userdata;

    /* Whoever was away for so long may have missed what Docker did meanwhile: hear it before writing. */
    if (!docker_connected(agent->docker))
        return false;
    docker_list(agent->docker);
    return true;
}

static void on_heartbeat(void *userdata)
{
    find_address(userdata);
    check_settled(userdata);
    update_status(userdata);
}

static void on_planned(void *userdata, const char *what, const char *key, const char *value, const char *holder,
                       const char *where)
{
    (void)userdata;
    CLEANUP_FREE char *line = NULL;

    if (asprintf(&line, "%s %s%s%s%s%s%s%s", what, key, value ? " " : "", value ? value : "",
                 holder ? " (there now: " : "", holder ? holder : "", holder ? ")" : "", where) < 0) {
        line = NULL;
        return;
    }
    utf8_make_printable(line); /* the holder's value is anybody's */
    printf("%s\n", line);
}

static void on_idle(void *userdata)
{
    Agent *agent = userdata;

    /* What was published as listed is looked at now that it is in etcd. */
    if (agent->listed && !agent->listing && !agent->settings->docker_environment)
        catalog_ask(agent->catalog);
    check_ready(agent);
}

static int make_identity(const Agent *agent, char **ret)
{
    char machine[SD_ID128_STRING_MAX] = "";
    sd_id128_t id;

    /* A container may have no machine ID: the engine's and the node's name must do there. */
    if (sd_id128_get_machine(&id) >= 0)
        (void)sd_id128_to_string(id, machine);
    return asprintf(ret, "%s|%s|%s", agent->engine_id, machine, agent->settings->node) < 0 ? -ENOMEM : 0;
}

static size_t strv_length(char *const *strings)
{
    size_t n = 0;

    while (strings[n])
        n++;
    return n;
}

static int make_store(void *userdata, StoreApi api, int64_t previous_lease, Store **ret)
{
    Agent *agent = userdata;
    const Settings *settings = agent->settings;
    CLEANUP_FREE char *identity = NULL;
    CLEANUP_FREE char *directory = rules_directory(settings);
    int r = make_identity(agent, &identity);

    if (r < 0)
        return r;
    return store_new(ret, agent->event,
                     &(StoreConfig){
                         .etcd = { .endpoints = settings->etcd_endpoints,
                                   .n_endpoints = strv_length(settings->etcd_endpoints),
                                   .ca = settings->etcd_ca,
                                   .cert = settings->etcd_cert,
                                   .key = settings->etcd_key,
                                   .user = settings->etcd_user,
                                   .password = settings->etcd_password },
                         .api = api,
                         .ttl_s = settings->ttl_s,
                         .identity = identity,
                         .layout = template_prefix(settings->key),
                         .directory = directory,
                         .nudge = settings->etcd_nudge,
                         .read_only = agent->dry_run,
                         .previous_lease = previous_lease,
                         .is_own_value = shows_address(settings) ? is_own_value : NULL,
                         .address = advertised_address,
                         .userdata = agent,
                         .counters = &agent->counters.store,
                     });
}

static PublisherConfig publisher_config(const Agent *agent)
{
    return (PublisherConfig){
        .heartbeat_s = agent->settings->heartbeat_s,
        .ttl_s = agent->settings->ttl_s,
        .replace = agent->settings->on_conflict == ON_CONFLICT_REPLACE,
        .dry_run = agent->dry_run,
    };
}

static const PublishersHandlers publishers_handlers = {
    .make_store = make_store,
    .changed = on_publishers_changed,
    .lease_lost = on_lease_lost,
    .heartbeat = on_heartbeat,
    .planned = on_planned,
    .idle = on_idle,
};

/* A store's lease carries the engine's identity: without having met Docker there is nothing to open. */
static int make_publishers(Agent *agent, bool new_stores)
{
    PublisherConfig config = publisher_config(agent);
    int r = 0;

    if (!agent->publishers)
        r = publishers_new(&agent->publishers, agent->event, &publishers_handlers, agent);
    return r < 0 ? r : publishers_configure(agent->publishers, agent->settings->etcd_api, &config, new_stores);
}

/* The catalog's wishes. */

static const char *owner_name(const CatalogEntry *entry)
{
    return entry->container ? entry->container->name : entry->id;
}

static void sink_want(void *userdata, const CatalogEntry *entry, const char *key, const char *value)
{
    Agent *agent = userdata;
    int r = publishers_want(agent->publishers, key, value, owner_name(entry), entry->id, entry->event_ns);

    if (r < 0)
        log_error_errno(r, "Failed to note key %s, container %s goes without it until it changes: %m", key,
                        owner_name(entry));
}

static void sink_unwant(void *userdata, const CatalogEntry *entry, const char *key, const char *after)
{
    Agent *agent = userdata;

    publishers_unwant(agent->publishers, key, after, entry->event_ns);
}

static void sink_duplicate(void *userdata, const CatalogEntry *entry, const char *key)
{
    (void)userdata;
    log_write(LOG_WARNING, 0, LOG_EVENT_CONFLICT, owner_name(entry), entry->id, key,
              "Key %s of container %s is another container's of this host already, waiting until it goes", key,
              owner_name(entry));
}

static bool sink_inspect(void *userdata, const char *id, uint64_t ticket)
{
    Agent *agent = userdata;

    return docker_inspect(agent->docker, id, ticket) >= 0;
}

/* What Docker says. */

static void arm_expiry(Agent *agent)
{
    uint64_t now = boottime_us(agent), next = catalog_expire(agent->catalog, now);

    if (next > 0)
        arm(agent->expiry, next - now);
    else
        (void)sd_event_source_set_enabled(agent->expiry, SD_EVENT_OFF);
}

static int on_expiry(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    arm_expiry(userdata);
    return 0;
}

static int on_inspect_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    Agent *agent = userdata;

    (void)source;
    (void)usec;
    catalog_ask(agent->catalog);
    /* What is known by now is enough to begin with: one answer that hangs keeps no other container out. */
    if (agent->listed && !agent->heard && agent->publishers)
        publishers_release(agent->publishers);
    return 0;
}

/* Counted from when Docker went away; over already, it ends with the loop's next turn. */
static void arm_grace(Agent *agent)
{
    uint64_t until = agent->docker_away_us + (uint64_t)agent->settings->docker_grace_s * 1000000;

    (void)sd_event_source_set_time(agent->grace, until);
    (void)sd_event_source_set_enabled(agent->grace, SD_EVENT_ONESHOT);
}

static int on_grace_over(sd_event_source *source, uint64_t usec, void *userdata)
{
    Agent *agent = userdata;

    (void)source;
    (void)usec;
    log_warning("Docker has been away for %u s (--docker-grace), withdrawing its containers' keys",
                agent->settings->docker_grace_s);
    catalog_set_docker_away(agent->catalog, true);
    return 0;
}

static void on_docker_connected(void *userdata, const char *engine_id)
{
    Agent *agent = userdata;
    bool other = !agent->engine_id || strcmp(agent->engine_id, engine_id) != 0;
    char *copy = other ? strdup(engine_id) : NULL;
    int r = 0;

    agent->counters.docker_connects++;
    free(agent->docker_why);
    agent->docker_why = NULL;
    agent->first_list = true;
    catalog_forget_questions(agent->catalog);
    if (copy) {
        free(agent->engine_id);
        agent->engine_id = copy;
        r = make_publishers(agent, true);
    } else if (other) {
        r = -ENOMEM;
    }
    if (r < 0) {
        log_error_errno(r, "Failed to set up the way to etcd: %m");
        (void)sd_event_exit(agent->event, r);
    }
}

static void on_docker_lost(void *userdata, const char *why)
{
    Agent *agent = userdata;

    /* An engine whose events come but whose list does not comes and goes with each try. */
    if (agent->docker_lost)
        log_debug("%s", why);
    else
        log_write(LOG_WARNING, 0, LOG_EVENT_DOCKER_LOST, NULL, NULL, NULL, "%s", why);
    agent->docker_lost = true;
    agent->docker_told = false;
    agent->listing = false;
    catalog_forget_questions(agent->catalog);
    free(agent->docker_why);
    agent->docker_why = strdup(why);
    /* An engine that takes a connection but gives no list is as good as away: the grace runs on. */
    if (agent->docker_away_us == 0) {
        agent->docker_away_us = boottime_us(agent);
        arm_grace(agent);
    }
    if (agent->publishers)
        publishers_release(agent->publishers);
    check_ready(agent);
}

static void on_list_begin(void *userdata)
{
    Agent *agent = userdata;

    agent->listing = true;
    catalog_list_begin(agent->catalog);
}

static void on_listed(void *userdata, Container *container)
{
    Agent *agent = userdata;

    catalog_listed(agent->catalog, container);
}

static void on_list_end(void *userdata, bool complete)
{
    Agent *agent = userdata;

    agent->listing = false;
    catalog_list_end(agent->catalog, complete);
    /* Without the environment the list is enough to publish by: its inspects can wait for that. */
    if (agent->settings->docker_environment)
        catalog_ask(agent->catalog);
    arm(agent->inspect_retry, INSPECT_DELAY_US);
    if (!complete)
        return;
    if (!agent->docker_told)
        log_info("Connected to Docker at %s (API %s)", docker_url(agent->docker), docker_api_version(agent->docker));
    agent->docker_told = true;
    agent->docker_lost = false;
    agent->listed = agent->trim = true;
    agent->docker_away_us = 0;
    (void)sd_event_source_set_enabled(agent->grace, SD_EVENT_OFF);
    catalog_set_docker_away(agent->catalog, false);
    if (!agent->first_list)
        publishers_audit(agent->publishers);
    check_heard(agent);
}

static void on_docker_event(void *userdata, const DockerEvent *event)
{
    Agent *agent = userdata;

    log_debug("Docker: %s %.12s", docker_action_to_string(event->action), event->id);
    agent->counters.docker_events[event->action]++;
    catalog_event(agent->catalog, event, boottime_us(agent));
    arm_expiry(agent);
}

static void on_inspected(void *userdata, const char *id, uint64_t ticket, Container *container, int error)
{
    Agent *agent = userdata;
    CatalogInspected found = CATALOG_SAME;

    if (error != 0 && error != -ENOENT) {
        if (catalog_inspect_failed(agent->catalog, id, ticket)) {
            log_warning_errno(error, "Failed to inspect container %.12s, trying again and again: %m", id);
            backoff_reset(&agent->inspect_backoff);
        }
        arm(agent->inspect_retry, backoff_next_us(&agent->inspect_backoff));
    } else {
        found = catalog_inspected(agent->catalog, id, ticket, container);
        /* It may have told what a signal meant that came before. */
        arm_expiry(agent);
    }
    if (found == CATALOG_DRIFTED && !agent->first_list) {
        log_notice("Docker's list showed a change of container %.12s that no event had told, connecting anew", id);
        agent->docker_told = false;
        docker_reconnect(agent->docker);
    }
    check_heard(agent);
}

static const DockerHandlers docker_handlers = {
    .connected = on_docker_connected,
    .list_begin = on_list_begin,
    .listed = on_listed,
    .list_end = on_list_end,
    .event = on_docker_event,
    .inspected = on_inspected,
    .lost = on_docker_lost,
};

static StatusSource status_source(void *userdata)
{
    Agent *agent = userdata;

    return (StatusSource){
        .node = agent->settings->node,
        .docker_url = docker_url(agent->docker),
        .docker_api = docker_api_version(agent->docker),
        .docker_why = agent->docker_why ? agent->docker_why
                      : agent->listed   ? NULL
                                        : "connecting",
        .rules = &agent->rules,
        .address4 = agent->rules.address4,
        .address6 = agent->rules.address6,
        .host_drained = catalog_is_host_drained(agent->catalog),
        .catalog = agent->catalog,
        .publishers = agent->publishers,
        .counters = &agent->counters,
        .ttl_s = agent->settings->ttl_s,
    };
}

static int make_control(Agent *agent)
{
    return control_new(&agent->control, agent->event, agent->settings->control, agent->settings->listen, agent->catalog,
                       status_source, agent);
}

static int make_docker(Agent *agent)
{
    const Settings *settings = agent->settings;

    return docker_new(&agent->docker, agent->event,
                      &(DockerConfig){ .url = settings->docker_url,
                                       .ca = settings->docker_ca,
                                       .cert = settings->docker_cert,
                                       .key = settings->docker_key,
                                       .resync_s = settings->docker_resync_s },
                      &agent->rules.labels, &docker_handlers, agent);
}

/* Signals. */

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    Agent *agent = userdata;

    (void)source;
    log_info("Got %s, ending; the keys stay in etcd for up to %u s", strsignal((int)info->ssi_signo),
             agent->settings->ttl_s);
    (void)sd_notify(0, "STOPPING=1");
    return sd_event_exit(agent->event, EXIT_SUCCESS);
}

static bool same_control(const Settings *a, const Settings *b)
{
    return strcmp(a->control, b->control) == 0 &&
           (a->listen && b->listen ? strcmp(a->listen, b->listen) == 0 : a->listen == b->listen);
}

/* settings: taken. What did not change goes on undisturbed. */
static int apply_settings(Agent *agent, Settings *settings)
{
    CLEANUP(settings_free_p) Settings *old = agent->settings;
    CLEANUP_FREE const char **old_labels = agent->labels;
    bool same_store = settings_same_store(old, settings);
    int r;

    agent->settings = settings;
    agent->labels = NULL;
    log_set_level(settings->log_level);
    log_set_format(settings->log_format);
    r = rules_from_settings(&agent->rules, settings, &agent->labels);
    if (r < 0)
        return r;
    use_address(agent);
    docker_set_labels(agent->docker, &agent->rules.labels);
    if (!settings_same_docker(old, settings)) {
        agent->docker = docker_free(agent->docker);
        agent->docker_told = false;
        r = make_docker(agent);
        if (r < 0)
            return r;
        catalog_forget_questions(agent->catalog);
    }
    if (agent->control && !same_control(old, settings)) {
        r = control_move(agent->control, settings->control, settings->listen);
        if (r < 0)
            return r;
    }
    if (sd_event_source_get_enabled(agent->grace, NULL) > 0)
        arm_grace(agent);
    agent->address_failed = false;
    if (agent->publishers) {
        r = make_publishers(agent, !same_store);
        if (r < 0)
            return r;
    }
    /* Without being told, the route to etcd says it, which a store that is yet to be opened does not know. */
    if (agent->publishers && (same_store || settings->advertise))
        find_address(agent);
    catalog_set_rules(agent->catalog, &agent->rules, settings->docker_environment,
                      !settings_same_metadata(old, settings));
    return 0;
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    Agent *agent = userdata;
    Settings *settings = NULL;
    SettingsAction action;
    CLEANUP_FREE char *error = NULL;
    uint64_t now = 0;
    int operand, r;

    (void)source;
    (void)info;
    (void)sd_event_now(agent->event, CLOCK_MONOTONIC, &now);
    /* Before the first READY there is nothing that could be said to be ready again. */
    if (agent->ready)
        (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now);
    r = settings_load(&settings, agent->argc, agent->argv, &action, &operand, &error);
    if (r < 0)
        log_error("Settings not read again, the old ones stay: %s", error ? error : strerror(-r));
    else if ((r = apply_settings(agent, settings)) < 0)
        return sd_event_exit(agent->event, r);
    else
        log_info("Settings read again");
    update_status(agent);
    if (agent->ready)
        (void)sd_notify(0, "READY=1");
    return 0;
}

static int add_signal(Agent *agent, int number, sd_event_signal_handler_t handler)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, number);
    if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
        return -errno;
    return sd_event_add_signal(agent->event, NULL, number, handler, agent);
}

static int add_timer(Agent *agent, sd_event_source **ret, sd_event_time_handler_t handler)
{
    int r = sd_event_add_time_relative(agent->event, ret, CLOCK_BOOTTIME, 0, 10000, handler, agent);

    return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

static int add_sources(Agent *agent)
{
    int r;

    r = add_signal(agent, SIGTERM, on_terminate);
    if (r >= 0)
        r = add_signal(agent, SIGINT, on_terminate);
    if (r >= 0)
        r = add_signal(agent, SIGHUP, on_reload);
    if (r >= 0)
        r = add_timer(agent, &agent->expiry, on_expiry);
    if (r >= 0)
        r = add_timer(agent, &agent->grace, on_grace_over);
    if (r >= 0)
        r = add_timer(agent, &agent->inspect_retry, on_inspect_retry);
    return r;
}

int agent_new(Agent **ret, Settings *settings, int argc, char **argv, bool dry_run)
{
    CLEANUP(agent_free_p) Agent *agent = calloc(1, sizeof(*agent));
    int r;

    if (!agent) {
        settings_free(settings);
        return -ENOMEM;
    }
    agent->settings = settings;
    agent->argc = argc;
    agent->argv = argv;
    agent->dry_run = dry_run;
    agent->inspect_backoff = (Backoff){ .base_ms = INSPECT_RETRY_MS, .cap_ms = INSPECT_RETRY_MAX_MS };
    r = rules_from_settings(&agent->rules, settings, &agent->labels);
    if (r < 0)
        return r;
    r = sd_event_new(&agent->event);
    if (r < 0)
        return r;
    /* Pinged as the loop turns: a loop that hangs is ended by systemd. */
    r = sd_event_set_watchdog(agent->event, true);
    if (r < 0)
        return r;
    r = add_sources(agent);
    if (r < 0)
        return r;
    r = catalog_new(&agent->catalog, &agent->rules, settings->docker_environment,
                    &(CatalogSink){ .want = sink_want,
                                    .unwant = sink_unwant,
                                    .duplicate = sink_duplicate,
                                    .inspect = sink_inspect,
                                    .userdata = agent });
    if (r < 0)
        return r;
    r = make_docker(agent);
    if (r >= 0 && !dry_run)
        r = make_control(agent);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(agent);
    return 0;
}

Agent *agent_free(Agent *agent)
{
    if (!agent)
        return NULL;
    control_free(agent->control);
    docker_free(agent->docker);
    catalog_free(agent->catalog);
    publishers_free(agent->publishers);
    sd_event_source_disable_unref(agent->expiry);
    sd_event_source_disable_unref(agent->grace);
    sd_event_source_disable_unref(agent->inspect_retry);
    sd_event_unref(agent->event);
    settings_free(agent->settings);
    free(agent->labels);
    free(agent->engine_id);
    free(agent->docker_why);
    free(agent->status);
    free(agent);
    return NULL;
}

int agent_run(Agent *agent)
{
    update_status(agent);
    return sd_event_loop(agent->event);
}
