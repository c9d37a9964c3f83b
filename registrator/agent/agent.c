#include "agent/agent_private.h"

#include "base/exit_status.h"
#include "base/ip.h"
#include "base/log.h"
#include "base/text.h"
#include "base/utf8.h"
#include "settings/setting_value.h"

#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-id128.h>
#include <time.h>

uint64_t agent_boottime_us(Agent *agent)
{
    return loop_now_us(agent->event, CLOCK_BOOTTIME);
}

/* Messages to systemd. */

static char *make_status(Agent *agent)
{
    const char *why = agent->publisher ? publisher_why(agent->publisher) : "";
    const char *docker_why = tracker_why(agent->tracker);

    if (docker_why)
        return text_format("Docker is away: %s", docker_why);
    if (!agent->publisher || !tracker_has_listed(agent->tracker))
        return text_format("Connecting to Docker at %s", docker_url(agent->docker));
    if (*why != '\0')
        return text_format("etcd is away: %s", why);
    if (advertise_has_failed(agent->advertise) && !advertise_is_known(agent->advertise))
        return text_format("No address to advertise: set --advertise");
    return text_format("%zu keys of %zu running containers in %s%s", publisher_registered(agent->publisher),
                       catalog_running(agent->catalog), store_describe(publisher_store(agent->publisher)),
                       catalog_is_host_drained(agent->catalog) ? "; the host is drained" : "");
}

void agent_update_status(Agent *agent)
{
    CLEANUP_FREE char *status = make_status(agent);

    if (!status)
        return;
    utf8_make_printable(status); /* a line break in a peer's error would begin another assignment */
    if (agent->status && strcmp(status, agent->status) == 0)
        return;
    (void)sd_notifyf(0, "STATUS=%s", status);
    text_take(&agent->status, TAKE_PTR(status));
}

/* Ready means that the first list is registered, or that only a peer or the operator can remove the obstacle. */
void agent_check_ready(Agent *agent)
{
    const char *docker_why = tracker_why(agent->tracker);
    bool hindered = docker_why || (agent->publisher && *publisher_why(agent->publisher) != '\0');
    bool published = !hindered && agent->publisher && tracker_knows_wishes(agent->tracker, agent_boottime_us(agent)) &&
                     publisher_state(agent->publisher) == PUBLISHER_ONLINE && publisher_is_idle(agent->publisher);

    agent_update_status(agent);
    if (agent->dry_run && (published || hindered)) {
        if (hindered)
            log_error("%s", docker_why ? docker_why : publisher_why(agent->publisher));
        (void)sd_event_exit(agent->event, hindered ? EXIT_NOT_POSSIBLE : EXIT_SUCCESS);
        return;
    }
    if (agent->ready || (!published && !hindered))
        return;
    agent->ready = true;
    (void)sd_notify(0, "READY=1");
}

/* The advertised address. */

static bool remote_address(void *userdata, struct sockaddr_storage *ret)
{
    Agent *agent = userdata;

    return agent->publisher && etcd_remote(store_etcd(publisher_store(agent->publisher)), ret);
}

static void on_address_changed(void *userdata)
{
    Agent *agent = userdata;

    advertise_fill(agent->advertise, &agent->rules);
    catalog_set_rules(agent->catalog, &agent->rules, false);
    agent_check_orphans(agent);
}

static const AdvertiseHandlers advertise_handlers = { .changed = on_address_changed, .remote = remote_address };

static StoreWriter find_writer(void *userdata, const char *key, const char *value)
{
    Agent *agent = userdata;
    const char *text = rules_address_text(&agent->rules, key, value);

    if (!text || !ip_is_in(text))
        return STORE_WRITER_UNKNOWN; /* unknown as well: a layout that only earlier settings had */
    return advertise_is_own_value(agent->advertise, text) ? STORE_WRITER_THIS : STORE_WRITER_OTHER;
}

static const char *advertised_address(void *userdata)
{
    return advertise_address(((Agent *)userdata)->advertise);
}

/* The publisher and its store. */

/* Deletes keys of an earlier run that no container wants. */
void agent_check_orphans(Agent *agent)
{
    bool has_values = !rules_show_address(&agent->rules) || advertise_is_known(agent->advertise);

    /* Ports that are about to become ready have keys, so these keys are not orphans. */
    has_values = has_values && !catalog_awaits_answers(agent->catalog);
    if (agent->orphans_dropped || !tracker_knows_orphans(agent->tracker, has_values, agent_boottime_us(agent)))
        return;
    /* Before the store is open, no orphan is known, and no port has kept its key. */
    if (publisher_state(agent->publisher) != PUBLISHER_ONLINE)
        return;
    agent->orphans_dropped = true;
    publisher_drop_orphans(agent->publisher);
}

static void on_publisher_changed(void *userdata, PublisherState state, const char *why)
{
    Agent *agent = userdata;
    bool online = state == PUBLISHER_ONLINE;
    bool lost = *why != '\0' && (state == PUBLISHER_CLOSED || state == PUBLISHER_DEGRADED);

    if (lost && !agent->etcd_lost)
        log_write(LOG_WARNING, 0, LOG_EVENT_ETCD_LOST, NULL, NULL, NULL, "%s", why);
    else if (lost)
        log_debug("%s", why);
    if (online)
        log_info("Registering in %s", store_describe(publisher_store(agent->publisher)));
    agent->etcd_lost = lost || (agent->etcd_lost && !online);
    /* If etcd is lost, status must name etcd, not the missing address. */
    if (online || (lost && !advertise_is_known(agent->advertise)))
        advertise_refresh(agent->advertise);
    if (online)
        catalog_adopt(agent->catalog);
    tracker_probed(agent->tracker);
    agent_check_orphans(agent);
    agent_check_ready(agent);
}

static void on_lease_lost(void *userdata)
{
    Agent *agent = userdata;

    /* After such a long silence, the agent may have missed changes in Docker. So it lists before it writes. */
    if (!docker_connected(agent->docker))
        return;
    docker_list(agent->docker);
    publisher_hold(agent->publisher);
}

static void on_heartbeat(void *userdata)
{
    Agent *agent = userdata;

    advertise_refresh(agent->advertise);
    agent_check_orphans(agent);
    agent_check_ready(agent); /* some conditions change only with time */
}

static void on_planned(void *userdata, const char *what, const char *key, const char *value, const char *holder)
{
    (void)userdata;
    CLEANUP_FREE char *line = text_format("%s %s%s%s%s%s%s", what, key, value ? " " : "", value ? value : "",
                                          holder ? " (there now: " : "", holder ? holder : "", holder ? ")" : "");

    if (!line)
        return;
    utf8_make_printable(line); /* the holder's value may contain any byte */
    printf("%s\n", line);
}

static void on_idle(void *userdata)
{
    Agent *agent = userdata;

    agent_check_ready(agent);
}

static char *make_identity(const Agent *agent)
{
    char machine[SD_ID128_STRING_MAX] = "";
    sd_id128_t id;

    /* In a container, the machine ID may be missing. The engine's and the node's names then replace it. */
    if (sd_id128_get_machine(&id) >= 0)
        (void)sd_id128_to_string(id, machine);
    return text_format("%s|%s|%s", agent->engine_id, machine, agent->settings->node);
}

/* NULL-terminated. Without memory, some or all directories are missing: the list only helps confd. */
static char **find_directories(const Settings *settings)
{
    char **directories = calloc(settings->n_layouts + 1, sizeof(*directories));
    size_t n = 0;

    for (size_t i = 0; directories && i < settings->n_layouts; i++) {
        CLEANUP_FREE char *directory = rules_directory(&settings->layouts[i], settings->node);

        if (directory && *directory == '/')
            directories[n++] = TAKE_PTR(directory);
    }
    return directories;
}

static int make_store(Agent *agent, const Store *previous, Store **ret)
{
    const Settings *settings = agent->settings;
    CLEANUP_FREE char *identity = make_identity(agent);
    CLEANUP(setting_strings_free_p) char **directories = find_directories(settings);

    if (!identity)
        return -ENOMEM;
    return store_new(ret, agent->event,
                     &(StoreConfig){
                         .etcd = settings_etcd(settings),
                         .api = settings->etcd_api,
                         .ttl_s = settings->ttl_s,
                         .identity = identity,
                         .layout = template_prefix(settings->layouts[0].key),
                         .directories = directories,
                         .n_directories = setting_strings_count(directories),
                         .nudge = settings->etcd_nudge,
                         .read_only = agent->dry_run,
                         .previous = previous,
                         .writer = rules_show_address(&agent->rules) ? find_writer : NULL,
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

static const PublisherHandlers publisher_handlers = {
    .state_changed = on_publisher_changed,
    .lease_lost = on_lease_lost,
    .heartbeat = on_heartbeat,
    .planned = on_planned,
    .idle = on_idle,
};

/* A store's lease needs the engine's identity, so the store cannot open before the agent has reached Docker. */
int agent_make_publisher(Agent *agent, bool new_store)
{
    PublisherConfig config = publisher_config(agent);
    CLEANUP(store_free_p) Store *store = NULL;
    const Store *previous = agent->publisher ? publisher_store(agent->publisher) : NULL;
    int r = new_store ? make_store(agent, previous, &store) : 0;

    if (r < 0)
        return r;
    if (agent->publisher)
        publisher_reconfigure(agent->publisher, TAKE_PTR(store), &config);
    else
        r = publisher_new(&agent->publisher, agent->event, store, &config, &publisher_handlers, agent);
    if (r >= 0)
        store = NULL;
    return r;
}

/* The catalog's wishes. */

static const char *owner_name(const CatalogEntry *entry)
{
    return entry->container ? entry->container->name : entry->id;
}

static void sink_want(void *userdata, const CatalogEntry *entry, const char *key, const char *value)
{
    Agent *agent = userdata;
    int r = publisher_want(agent->publisher, key, value, owner_name(entry), entry->id, entry->event_ns);

    if (r < 0)
        log_error_errno(r, "Failed to store key %s: container %s has no key until it changes: %m", key,
                        owner_name(entry));
}

static void sink_unwant(void *userdata, const CatalogEntry *entry, const char *key, const char *after)
{
    Agent *agent = userdata;

    publisher_unwant(agent->publisher, key, after, entry->event_ns);
}

static void sink_duplicate(void *userdata, const CatalogEntry *entry, const char *key)
{
    (void)userdata;
    log_write(LOG_WARNING, 0, LOG_EVENT_CONFLICT, owner_name(entry), entry->id, key,
              "Key %s of container %s already belongs to another container of this host: waiting until it is gone", key,
              owner_name(entry));
}

static void sink_outlived(void *userdata, const CatalogEntry *entry)
{
    Agent *agent = userdata;

    log_write(LOG_NOTICE, 0, LOG_EVENT_NONE, owner_name(entry), entry->id, NULL,
              "Container %s still runs %u s after its stop signal (--stop-limit): the agent registers it again once it "
              "is ready",
              owner_name(entry), agent->settings->stop_limit_s);
}

static void sink_left_out(void *userdata, const CatalogEntry *entry, const char *what)
{
    (void)userdata;
    log_warning("Container %s is not registered completely: %s; 'registrator explain %s' says what to do",
                owner_name(entry), what, owner_name(entry));
}

static StatusSource status_source(void *userdata)
{
    Agent *agent = userdata;

    return (StatusSource){
        .node = agent->settings->node,
        .docker_url = docker_url(agent->docker),
        .docker_api = docker_api_version(agent->docker),
        .docker_why = tracker_why(agent->tracker)          ? tracker_why(agent->tracker)
                      : tracker_has_listed(agent->tracker) ? NULL
                                                           : "connecting",
        .settings = agent->settings,
        .rules = &agent->rules,
        .address4 = agent->rules.address4,
        .address6 = agent->rules.address6,
        .host_drained = catalog_is_host_drained(agent->catalog),
        .catalog = agent->catalog,
        .publisher = agent->publisher,
        .counters = &agent->counters,
        .ttl_s = agent->settings->ttl_s,
    };
}

static int make_control(Agent *agent)
{
    return control_new(&agent->control, agent->event, agent->settings->control, agent->settings->listen, agent->catalog,
                       status_source, agent);
}

/* Signals. */

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    Agent *agent = userdata;

    (void)source;
    log_info("Got %s, ending; the keys stay in etcd for up to %u s", strsignal((int)info->ssi_signo),
             agent->settings->ttl_s);
    (void)sd_notify(0, "STOPPING=1");
    if (agent->control && agent->saved_stops != catalog_stops_version(agent->catalog))
        (void)control_save(agent->control, false);
    return sd_event_exit(agent->event, EXIT_SUCCESS);
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

static int add_sources(Agent *agent)
{
    int r;

    r = add_signal(agent, SIGTERM, on_terminate);
    if (r >= 0)
        r = add_signal(agent, SIGINT, on_terminate);
    if (r >= 0)
        r = add_signal(agent, SIGHUP, agent_on_reload);
    if (r >= 0)
        r = agent_add_timers(agent);
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
    r = rules_from_settings(&agent->rules, settings, &agent->labels);
    if (r < 0)
        return r;
    r = sd_event_new(&agent->event);
    if (r < 0)
        return r;
    /* systemd kills the agent if the loop stops to send watchdog pings. */
    r = sd_event_set_watchdog(agent->event, true);
    if (r < 0)
        return r;
    r = add_sources(agent);
    if (r < 0)
        return r;
    r = advertise_new(&agent->advertise, agent->event, &advertise_handlers, agent);
    if (r >= 0)
        r = advertise_set(agent->advertise, settings->advertise);
    if (r < 0)
        return r;
    advertise_fill(agent->advertise, &agent->rules);
    r = catalog_new(&agent->catalog, &agent->rules,
                    &(CatalogSink){ .want = sink_want,
                                    .unwant = sink_unwant,
                                    .duplicate = sink_duplicate,
                                    .outlived = sink_outlived,
                                    .left_out = sink_left_out,
                                    .inherits = agent_inherits,
                                    .due = agent_look_again,
                                    .probed = agent_log_probed,
                                    .userdata = agent });
    if (r < 0)
        return r;
    r = agent_make_tracker(agent);
    if (r < 0)
        return r;
    r = agent_make_prober(agent);
    if (r >= 0)
        r = agent_make_docker(agent);
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
    prober_free(agent->prober);
    settle_free(agent->settle);
    tracker_free(agent->tracker);
    catalog_free(agent->catalog);
    publisher_free(agent->publisher);
    advertise_free(agent->advertise);
    timer_clear(&agent->timer);
    timer_clear(&agent->save);
    sd_event_unref(agent->event);
    settings_free(agent->settings);
    free(agent->labels);
    free(agent->engine_id);
    free(agent->status);
    free(agent);
    return NULL;
}

int agent_run(Agent *agent)
{
    agent_update_status(agent);
    return sd_event_loop(agent->event);
}
