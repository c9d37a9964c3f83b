/* Settings from the command line, the environment, the file and the defaults. */
#include "settings/settings.h"

#include "base/log.h"
#include "unit/scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGUMENTS_MAX = 20 };

typedef struct Loaded {
    Settings *settings;
    SettingsAction action;
    int first_operand;
    char *error;
    int result;
} Loaded;

static void loaded_clear(Loaded *loaded)
{
    settings_free(loaded->settings);
    free(loaded->error);
}

/* The arguments end in NULL; the program's name is added. */
static Loaded load_arguments(const char *const *arguments)
{
    char *argv[ARGUMENTS_MAX + 2] = { (char *)"registrator" };
    int argc = 1;
    Loaded loaded = { .action = SETTINGS_RUN, .first_operand = -1 };

    for (; arguments[argc - 1]; argc++) {
        assert_true(argc <= ARGUMENTS_MAX);
        argv[argc] = (char *)arguments[argc - 1];
    }
    loaded.result = settings_load(&loaded.settings, argc, argv, &loaded.action, &loaded.first_operand, &loaded.error);
    return loaded;
}

#define LOAD(name, ...) CLEANUP(loaded_clear) Loaded name = load_arguments((const char *const[]){ __VA_ARGS__, NULL })
/* With an empty file, so that this host's own is not read. */
#define LOAD_PLAIN(name, ...) LOAD(name, "--config=/dev/null", ##__VA_ARGS__)

static const Settings *good(const Loaded *loaded)
{
    if (loaded->result != 0) {
        print_error("%s\n", loaded->error);
        free(loaded->error); /* what fails jumps over loaded_clear(), and tests/alloc looks for leaks */
        fail();
    }
    assert_null(loaded->error);
    assert_non_null(loaded->settings);
    return loaded->settings;
}

static void assert_error(const Loaded *loaded, const char *expected)
{
    if (loaded->result != -EINVAL)
        free(loaded->error);
    assert_int_equal(loaded->result, -EINVAL);
    assert_null(loaded->settings);
    assert_non_null(loaded->error);
    if (!strstr(loaded->error, expected))
        fail_msg("'%s' is not in '%s'", expected, loaded->error);
    assert_null(strpbrk(loaded->error, "\n\r\t"));
}

#define EXPECT_ERROR(expected, ...)          \
    do {                                     \
        LOAD_PLAIN(refused_, ##__VA_ARGS__); \
        assert_error(&refused_, expected);   \
    } while (0)

/* A file that is gone at the end of the scope. */
typedef struct TestFile {
    char path[SCRATCH_MAX];
} TestFile;

static void test_file_remove(TestFile *file)
{
    unlink(file->path);
}

static TestFile write_bytes(const char *bytes, size_t size)
{
    TestFile file;
    scratch_template(file.path);
    int fd = mkstemp(file.path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
    return file;
}

#define WITH_FILE(name, text) CLEANUP(test_file_remove) TestFile name = write_bytes(text, strlen(text))

/* The error of a file; "FILE" at the beginning of what is expected stands for its path. */
static void assert_file_error_n(const char *text, size_t size, const char *expected)
{
    CLEANUP(test_file_remove) TestFile file = write_bytes(text, size);
    CLEANUP_FREE char *whole = NULL;

    assert_true(asprintf(&whole, "%s%s", file.path, expected + strlen("FILE")) > 0);
    LOAD(loaded, "--config", file.path);
    assert_error(&loaded, whole);
    assert_ptr_equal(strstr(loaded.error, whole), loaded.error);
}

static void assert_file_error(const char *text, const char *expected)
{
    assert_file_error_n(text, strlen(text), expected);
}

/* What stands in the environment that the tests run in must not matter. */
static int clear_environment(void **state)
{
    (void)state;
    unsetenv("DOCKER_HOST");
    for (char **p = environ; *p;) {
        CLEANUP_FREE char *name = strndup(*p, strcspn(*p, "="));
        if (strncmp(name, "REGISTRATOR", strlen("REGISTRATOR")) != 0)
            p++;
        else if (unsetenv(name) == 0)
            p = environ;
    }
    return 0;
}

static void defaults_are_those_of_the_contract(void **state)
{
    char host[256] = "";
    (void)state;

    LOAD_PLAIN(loaded);
    const Settings *s = good(&loaded);
    assert_int_equal(loaded.action, SETTINGS_RUN);
    assert_int_equal(loaded.first_operand, 2);
    assert_string_equal(s->docker_url, "unix:///var/run/docker.sock");
    assert_null(s->docker_ca);
    assert_null(s->docker_cert);
    assert_null(s->docker_key);
    assert_int_equal(s->docker_resync_s, 60);
    assert_int_equal(s->docker_grace_s, 300);
    assert_string_equal(s->etcd_endpoints[0], "http://127.0.0.1:2379");
    assert_null(s->etcd_endpoints[1]);
    assert_int_equal(s->etcd_api, STORE_AUTO);
    assert_null(s->etcd_ca);
    assert_null(s->etcd_cert);
    assert_null(s->etcd_key);
    assert_null(s->etcd_user);
    assert_null(s->etcd_password_file);
    assert_string_equal(template_text(s->layouts[0].key), "/app/{service}/{name}");
    assert_string_equal(template_text(s->layouts[0].value), "{address}:{port}");
    assert_string_equal(template_text(s->layouts[0].service), "servers");
    assert_null(s->advertise);
    gethostname(host, sizeof(host) - 1);
    assert_string_equal(s->node, host);
    assert_int_equal(s->ttl_s, 30);
    assert_int_equal(s->heartbeat_s, 10);
    assert_int_equal(s->ports, PORTS_PUBLISHED);
    assert_false(s->explicit_only);
    assert_int_equal(s->on_conflict, ON_CONFLICT_WAIT);
    assert_string_equal(s->control, "/run/registrator/control.sock");
    assert_null(s->listen);
    assert_int_equal(s->log_level, LOG_INFO);
    assert_int_equal(s->log_format, LOG_FORMAT_PLAIN);
}

/* A password file with this text and mode. */
static void make_password(char path[static SCRATCH_MAX], const char *text, mode_t mode)
{
    scratch_template(path);
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void password_is_read_from_a_file_of_its_own(void **state)
{
    char path[SCRATCH_MAX], option[SCRATCH_MAX + 32];
    (void)state;

    make_password(path, "secret word\r\nsecond line\n", 0640);
    snprintf(option, sizeof(option), "--etcd-password-file=%s", path);
    LOAD(first, "--config=/dev/null", "--etcd-user=me", option);
    assert_string_equal(good(&first)->etcd_password, "secret word");
    unlink(path);
}

static void password_file_that_others_can_use_is_refused(void **state)
{
    const mode_t modes[] = { 0644, 0604, 0660, 0602, 0601 };
    char path[SCRATCH_MAX], option[SCRATCH_MAX + 32];
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        make_password(path, "secret\n", modes[i]);
        snprintf(option, sizeof(option), "--etcd-password-file=%s", path);
        EXPECT_ERROR("only its owner and group may use", "--etcd-user=me", option);
        unlink(path);
    }
    make_password(path, "", 0600);
    snprintf(option, sizeof(option), "--etcd-password-file=%s", path);
    EXPECT_ERROR("is empty", "--etcd-user=me", option);
    unlink(path);
}

static void command_line_sets_everything(void **state)
{
    char password[SCRATCH_MAX], password_option[SCRATCH_MAX + 32];
    (void)state;

    make_password(password, "p\n", 0600);
    snprintf(password_option, sizeof(password_option), "--etcd-password-file=%s", password);
    LOAD(first, "--config=/dev/null", "--docker", "tcp://192.0.2.1:2376/", "--docker-ca=/dev/null",
         "--docker-cert=/dev/null", "--docker-key=/dev/null", "--etcd=https://a.example:1,https://b.example",
         "--etcd-api=v2", "--etcd-ca=/dev/null", "--etcd-cert=/dev/null", "--etcd-key=/dev/null", "--etcd-user=me",
         password_option, "--etcd-nudge");
    const Settings *s = good(&first);

    unlink(password);
    assert_string_equal(s->docker_url, "tcp://192.0.2.1:2376");
    assert_string_equal(s->docker_ca, "/dev/null");
    assert_string_equal(s->docker_cert, "/dev/null");
    assert_string_equal(s->docker_key, "/dev/null");
    assert_string_equal(s->etcd_endpoints[0], "https://a.example:1");
    assert_string_equal(s->etcd_endpoints[1], "https://b.example:2379");
    assert_null(s->etcd_endpoints[2]);
    assert_int_equal(s->etcd_api, STORE_V2);
    assert_string_equal(s->etcd_ca, "/dev/null");
    assert_string_equal(s->etcd_cert, "/dev/null");
    assert_string_equal(s->etcd_key, "/dev/null");
    assert_string_equal(s->etcd_user, "me");
    assert_string_equal(s->etcd_password_file, password);
    assert_string_equal(s->etcd_password, "p");
    assert_true(s->etcd_nudge);

    LOAD(second, "--config=/dev/null", "--key=/k/{id}", "--value={\"port\":{port}}", "--service=web",
         "--advertise=eth0", "--node=n1", "--ttl=60", "--heartbeat=30", "--resync=5", "--docker-grace=0",
         "--ports=internal", "--explicit", "--on-conflict=replace", "--control=/c", "--listen=[::1]:9100",
         "--log-level=debug", "--log-format=logfmt");
    s = good(&second);
    assert_string_equal(template_text(s->layouts[0].key), "/k/{id}");
    assert_string_equal(template_text(s->layouts[0].value), "{\"port\":{port}}");
    assert_string_equal(template_text(s->layouts[0].service), "web");
    assert_string_equal(s->advertise, "eth0");
    assert_string_equal(s->node, "n1");
    assert_int_equal(s->ttl_s, 60);
    assert_int_equal(s->heartbeat_s, 30);
    assert_int_equal(s->docker_resync_s, 5);
    assert_int_equal(s->docker_grace_s, 0);
    assert_int_equal(s->ports, PORTS_INTERNAL);
    assert_true(s->explicit_only);
    assert_int_equal(s->on_conflict, ON_CONFLICT_REPLACE);
    assert_string_equal(s->control, "/c");
    assert_string_equal(s->listen, "[::1]:9100");
    assert_int_equal(s->log_level, LOG_DEBUG);
    assert_int_equal(s->log_format, LOG_FORMAT_LOGFMT);
}

static void command_line_beats_environment_beats_file_beats_default(void **state)
{
    (void)state;
    WITH_FILE(file, "[registry]\nttl = 40\nnode = from-file\nservice = from-file\n");
    setenv("REGISTRATOR_NODE", "from-environment", 1);
    setenv("REGISTRATOR_SERVICE", "from-environment", 1);

    LOAD(loaded, "--config", file.path, "--service", "from-command-line");
    const Settings *s = good(&loaded);
    assert_int_equal(s->docker_resync_s, 60);
    assert_int_equal(s->ttl_s, 40);
    assert_string_equal(s->node, "from-environment");
    assert_string_equal(template_text(s->layouts[0].service), "from-command-line");
}

static void last_of_a_repeated_option_wins(void **state)
{
    (void)state;
    LOAD_PLAIN(loaded, "--ttl=40", "--ttl=50");
    assert_int_equal(good(&loaded)->ttl_s, 50);
}

static void explicit_takes_an_optional_value(void **state)
{
    (void)state;
    WITH_FILE(file, "[registry]\nexplicit = true\n");
    LOAD(yes, "--config", file.path);
    assert_true(good(&yes)->explicit_only);
    LOAD(no, "--config", file.path, "--explicit=no");
    assert_false(good(&no)->explicit_only);
    EXPECT_ERROR("--explicit: 'maybe': must be yes or no", "--explicit=maybe");
}

static void assert_only(const Settings *settings, const char *expected)
{
    char text[256] = "";

    for (const LabelMatch *match = settings->only; match && match->label; match++) {
        size_t size = strlen(text);
        (void)snprintf(text + size, sizeof(text) - size, "%s%s%s;", match->label, match->value ? "=" : "",
                       match->value ? match->value : "");
    }
    assert_string_equal(text, expected);
}

static void only_is_a_list_of_labels(void **state)
{
    (void)state;
    LOAD_PLAIN(none);
    assert_null(good(&none)->only);
    WITH_FILE(file, "[registry]\nonly = a=b=c , d\nttl = 9\nonly = e=\n");
    LOAD(lines, "--config", file.path);
    assert_only(good(&lines), "a=b=c;d;e=;");
    LOAD(replaced, "--config", file.path, "--only=x", "--only", "y=1,z");
    assert_only(good(&replaced), "x;y=1;z;");
    LOAD(unset, "--config", file.path, "--only=");
    assert_null(good(&unset)->only);
    setenv("REGISTRATOR_ONLY", "f,g=h", 1);
    LOAD(variable, "--config", file.path);
    assert_only(good(&variable), "f;g=h;");
    unsetenv("REGISTRATOR_ONLY");
    EXPECT_ERROR("--only: 'a,,b': must be LABEL or LABEL=VALUE", "--only=a", "--only=,b");
    EXPECT_ERROR("--only: '=b': must be LABEL or LABEL=VALUE", "--only==b");
    CLEANUP_FREE char *many = calloc(1, 4 * 65 + 1);
    for (size_t i = 0; i < 65; i++)
        strcat(many, i == 0 ? "abc" : ",abc");
    CLEANUP_FREE char *argument = NULL;
    assert_true(asprintf(&argument, "--only=%s", many) > 0);
    EXPECT_ERROR("must be 64 labels at most", argument);
}

static void same_command_line_can_be_read_again(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        LOAD_PLAIN(loaded, "--ttl=40", "status", "--json");
        assert_int_equal(good(&loaded)->ttl_s, 40);
        assert_int_equal(loaded.first_operand, 3);
    }
}

static void nothing_is_left_over_from_an_earlier_command_line(void **state)
{
    (void)state;
    LOAD_PLAIN(help, "-hV");
    assert_int_equal(help.action, SETTINGS_HELP);
    LOAD_PLAIN(loaded, "--ttl=40");
    assert_int_equal(loaded.action, SETTINGS_RUN);
    assert_int_equal(good(&loaded)->ttl_s, 40);
}

static void operands_belong_to_the_subcommand(void **state)
{
    (void)state;
    LOAD_PLAIN(loaded, "--control=/c", "stop", "--drain", "5", "web");
    assert_string_equal(good(&loaded)->control, "/c");
    assert_int_equal(loaded.first_operand, 3);
    LOAD_PLAIN(dashes, "--", "--ttl=x");
    good(&dashes);
    assert_int_equal(dashes.first_operand, 3);
}

static void actions(void **state)
{
    (void)state;
    LOAD_PLAIN(check, "--check-config");
    good(&check);
    assert_int_equal(check.action, SETTINGS_CHECK);
    LOAD_PLAIN(dry_run, "--dry-run", "--ttl=40");
    assert_int_equal(good(&dry_run)->ttl_s, 40);
    assert_int_equal(dry_run.action, SETTINGS_DRY_RUN);
}

static void help_and_version_need_no_valid_settings(void **state)
{
    static const char *const options[] = { "--help", "-h", "--version", "-V" };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        LOAD(loaded, "--config=/nowhere", "--ttl=1", options[i], "--no-such-option");
        assert_int_equal(loaded.result, 0);
        assert_null(loaded.settings);
        assert_int_equal(loaded.action, i < 2 ? SETTINGS_HELP : SETTINGS_VERSION);
    }
}

static void mistakes_on_the_command_line(void **state)
{
    (void)state;
    EXPECT_ERROR("--tll: there is no such option", "--tll=5");
    EXPECT_ERROR("-x: there is no such option", "-x");
    EXPECT_ERROR("--docker-c: is the beginning of several options", "--docker-c=/x");
    EXPECT_ERROR("--ttl: needs a value", "--ttl");
    EXPECT_ERROR("--dry-run: takes no value", "--dry-run=yes");
    EXPECT_ERROR("--ttl: '': must be", "--ttl=");
}

static void numbers_are_bounded(void **state)
{
    (void)state;
    EXPECT_ERROR("--ttl: '4': must be a whole number from 5 to 86400 (seconds)", "--ttl=4");
    EXPECT_ERROR("--ttl: '86401'", "--ttl=86401");
    EXPECT_ERROR("--ttl: '30s'", "--ttl=30s");
    EXPECT_ERROR("--ttl: ' 30'", "--ttl= 30");
    EXPECT_ERROR("--ttl: '+30'", "--ttl=+30");
    EXPECT_ERROR("--ttl: '-30'", "--ttl=-30");
    EXPECT_ERROR("--ttl: '99999999999999999999'", "--ttl=99999999999999999999");
    EXPECT_ERROR("--ttl: '4294967326'", "--ttl=4294967326");
    EXPECT_ERROR("--heartbeat: '0': must be", "--heartbeat=0");
    EXPECT_ERROR("--resync: '0': must be", "--resync=0");
    EXPECT_ERROR("--resync: '86401'", "--resync=86401");
    EXPECT_ERROR("--docker-grace: '604801'", "--docker-grace=604801");
    LOAD_PLAIN(loaded, "--ttl=86400", "--resync=1", "--docker-grace=604800");
    assert_int_equal(good(&loaded)->docker_grace_s, 604800);
}

static void heartbeat_follows_the_ttl(void **state)
{
    (void)state;
    LOAD_PLAIN(third, "--ttl=5");
    assert_int_equal(good(&third)->heartbeat_s, 1);
    LOAD_PLAIN(half, "--ttl=20", "--heartbeat=10");
    assert_int_equal(good(&half)->heartbeat_s, 10);
    EXPECT_ERROR("--heartbeat: 11 s is more than half of the TTL (20 s)", "--ttl=20", "--heartbeat=11");
    setenv("REGISTRATOR_HEARTBEAT", "20", 1);
    EXPECT_ERROR("REGISTRATOR_HEARTBEAT: 20 s is more than half of the TTL (30 s)");
}

static void one_agent_writes_one_api(void **state)
{
    static const struct {
        const char *option;
        StoreApi expected;
    } cases[] = { { "--etcd-api=auto", STORE_AUTO }, { "--etcd-api=v3", STORE_V3 }, { "--etcd-api=v2", STORE_V2 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        LOAD_PLAIN(loaded, cases[i].option);

        assert_int_equal(loaded.result, 0);
        assert_int_equal(loaded.settings->etcd_api, cases[i].expected);
    }
    EXPECT_ERROR("--etcd-api: 'v2,v3': one agent writes one API: run two agents, each with its own --control",
                 "--etcd-api=v2,v3");
    EXPECT_ERROR("--etcd-api: 'v3,v2': one agent writes one API", "--etcd-api=v3,v2");
    EXPECT_ERROR("--etcd-api: 'v2,v2': must be", "--etcd-api=v2,v2");
    EXPECT_ERROR("--etcd-api: 'auto,v2': must be", "--etcd-api=auto,v2");
}

static void choices_name_what_is_allowed(void **state)
{
    (void)state;
    EXPECT_ERROR("--etcd-api: 'v4': must be one of auto|v3|v2", "--etcd-api=v4");
    EXPECT_ERROR("--etcd-api: 'v': must be", "--etcd-api=v");
    EXPECT_ERROR("--etcd-api: 'v3|v2': must be", "--etcd-api=v3|v2");
    EXPECT_ERROR("--ports: 'all': must be one of published|internal", "--ports=all");
    EXPECT_ERROR("--on-conflict: 'fight': must be one of wait|replace", "--on-conflict=fight");
    EXPECT_ERROR("--log-level: 'loud': must be one of error|warning", "--log-level=loud");
    EXPECT_ERROR("--log-format: 'json': must be one of plain|logfmt", "--log-format=json");
}

static void docker_urls(void **state)
{
    static const char *const bad[] = {
        "",
        "/var/run/docker.sock",
        "unix://var/run/docker.sock",
        "http://192.0.2.1:2375",
        "ssh://host",
        "tcp://",
        "tcp://host",
        "tcp://host:0",
        "tcp://host:65536",
        "tcp://host:23750000000",
        "tcp://host:2375/path",
        "tcp://user@host:2375",
        "tcp://[::1",
        "tcp://[]:1",
        "tcp://[192.0.2.1]:1",
        "tcp://::1:2375",
        "tcp://ho st:1",
        "unix:///"
        "0123456789012345678901234567890123456789012345678901234567890123456789"
        "0123456789012345678901234567890123456789",
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        LOAD_PLAIN(refused, "--docker", bad[i]);
        assert_error(&refused, "--docker: '");
    }
    LOAD_PLAIN(ipv6, "--docker=tcp://[2001:db8::1]:2375//");
    assert_string_equal(good(&ipv6)->docker_url, "tcp://[2001:db8::1]:2375");
}

static void docker_host_is_the_default_of_the_docker_url(void **state)
{
    (void)state;
    setenv("DOCKER_HOST", "tcp://192.0.2.9:2375", 1);
    LOAD_PLAIN(loaded);
    assert_string_equal(good(&loaded)->docker_url, "tcp://192.0.2.9:2375");

    setenv("DOCKER_HOST", "ssh://somewhere", 1);
    EXPECT_ERROR("DOCKER_HOST: 'ssh://somewhere': must be unix:///PATH or tcp://HOST:PORT");
    LOAD_PLAIN(set, "--docker=unix:///d");
    assert_string_equal(good(&set)->docker_url, "unix:///d");
    /* Who asks a running agent may have set it for the docker command. */
    LOAD_PLAIN(subcommand, "status");
    assert_string_equal(good(&subcommand)->docker_url, "unix:///var/run/docker.sock");
}

static void changes_are_reported_by_part(void **state)
{
    static const struct {
        const char *argument;
        bool docker, store, metadata;
    } cases[] = {
        { "--log-level=debug", true, true, true },
        { "--heartbeat=2", true, true, true },
        { "--on-conflict=replace", true, true, true },
        { "--explicit", true, true, true },
        { "--only=x", true, true, false },
        { "--docker=tcp://192.0.2.1:2375", false, true, true },
        { "--docker-ca=/dev/null", false, true, true },
        { "--resync=7", false, true, true },
        { "--etcd=http://a,http://b", true, false, true },
        { "--etcd-api=v2", true, false, true },
        { "--etcd-nudge", true, false, true },
        { "--ttl=31", true, false, true },
        { "--node=other", true, false, true },
        { "--ports=internal", true, false, true },
        { "--key=/app/{service}/{name}/{label:x}", true, false, false },
        { "--value={address}:{port}:{label:x}", true, false, false },
        { "--service={label:x}", true, false, false },
    };

    (void)state;
    LOAD_PLAIN(plain, "--node=one");
    const Settings *a = good(&plain);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        LOAD_PLAIN(changed, "--node=one", cases[i].argument);
        const Settings *b = good(&changed);
        if (settings_same_docker(a, b) != cases[i].docker || settings_same_store(a, b) != cases[i].store ||
            settings_same_metadata(a, b) != cases[i].metadata)
            fail_msg("%s", cases[i].argument);
        assert_true(settings_same_store(b, b) && settings_same_metadata(b, b));
    }
    LOAD_PLAIN(two, "--node=one", "--etcd=http://a,http://b");
    LOAD_PLAIN(three, "--node=one", "--etcd=http://a,http://b,http://c");
    assert_false(settings_same_store(good(&two), good(&three)));
    assert_false(settings_same_store(good(&three), good(&two)));
    /* Renewed certificates have the names of the old ones. */
    LOAD_PLAIN(tls, "--etcd=https://a", "--etcd-ca=/dev/null", "--docker-ca=/dev/null");
    assert_false(settings_same_store(good(&tls), good(&tls)));
    assert_false(settings_same_docker(good(&tls), good(&tls)));
}

static void etcd_endpoints_are_normalized(void **state)
{
    (void)state;
    LOAD_PLAIN(loaded, "--etcd= http://a/ ,https://[2001:db8::1], HTTP://c:4001//");
    const Settings *s = good(&loaded);
    assert_string_equal(s->etcd_endpoints[0], "http://a:2379");
    assert_string_equal(s->etcd_endpoints[1], "https://[2001:db8::1]:2379");
    assert_string_equal(s->etcd_endpoints[2], "http://c:4001");
    assert_null(s->etcd_endpoints[3]);
}

static void bad_etcd_endpoints(void **state)
{
    static const char *const bad[] = { "",           "a:2379",         "http://a,",  ",http://a",
                                       "http://",    "ftp://a",        "http://a:x", "http://a/v2",
                                       "http://a b", "http://u:p@a:1", "unix:///x",  "http://a,,http://b" };
    CLEANUP_FREE char *many = NULL;
    CLEANUP_FREE char *too_many = NULL;
    const char *four = "http://a,http://b,http://c,http://d";
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        LOAD_PLAIN(refused, "--etcd", bad[i]);
        assert_error(&refused, "must be http://HOST:PORT");
    }
    assert_true(asprintf(&many, "%s,%s,%s,%s", four, four, four, four) > 0);
    assert_true(asprintf(&too_many, "%s,http://e", many) > 0);
    LOAD_PLAIN(sixteen, "--etcd", many);
    assert_string_equal(good(&sixteen)->etcd_endpoints[15], "http://d:2379");
    EXPECT_ERROR("must be 16 endpoints at most", "--etcd", too_many);
}

static void keys_must_be_keys(void **state)
{
    (void)state;
    EXPECT_ERROR("must begin with text", "--key={service}/{name}");
    EXPECT_ERROR("must begin with text", "--key=");
    EXPECT_ERROR("--key: 'app/{name}': must begin with a slash: etcd's v2 API", "--key=app/{name}", "--etcd-api=v2");
    EXPECT_ERROR("must not end with a slash", "--key=/app/{name}/");
    EXPECT_ERROR("must not contain //", "--key=/app//{name}");
    EXPECT_ERROR("must not have . or ..", "--key=/app/../{name}");
    EXPECT_ERROR("must not have . or ..", "--key=/{name}/.");
    EXPECT_ERROR("must not have . or ..", "--key=/{{a/../{name}");
    EXPECT_ERROR("must not contain //", "--key=/{{a//{name}");
    EXPECT_ERROR("must contain {name} or {id}", "--key=/app/{service}/{port}");
    EXPECT_ERROR("--key: '/app/{nmae}'", "--key=/app/{nmae}");
    EXPECT_ERROR("control characters", "--key=/app/\n{name}");
    LOAD_PLAIN(plain, "--key=app/{name}");
    good(&plain);
    LOAD_PLAIN(loaded, "--key=/app/{label:example.com//role}/{id}");
    good(&loaded);
}

static void values_and_services(void **state)
{
    (void)state;
    EXPECT_ERROR("--value: '': must not be empty", "--value=");
    EXPECT_ERROR("--value: '{adress}'", "--value={adress}");
    EXPECT_ERROR("control characters", "--value={address}\n{port}");
    EXPECT_ERROR("--service: '': must be a part of a key", "--service=");
    EXPECT_ERROR("--service: 'a/b': must be a part of a key", "--service=a/b");
    EXPECT_ERROR("--service: '..'", "--service=..");
    EXPECT_ERROR("must not contain {service}", "--service=x{service}");
    LOAD_PLAIN(loaded, "--service={label:example.com/role}");
    assert_string_equal(template_text(good(&loaded)->layouts[0].service), "{label:example.com/role}");
}

static void advertised_addresses(void **state)
{
    static const char *const fine[] = { "192.0.2.1", "2001:db8::1", "127.0.0.1", "eth0", "wlp3s0.12" };
    static const char *const bad[] = { "0.0.0.0",
                                       "::",
                                       "0::0",
                                       "0:0:0:0:0:0:0:0",
                                       "::ffff:0.0.0.0",
                                       "::ffff:192.0.2.1",
                                       "0.0.0.1",
                                       "224.0.0.1",
                                       "239.1.2.3",
                                       "255.255.255.255",
                                       "ff02::1",
                                       "2001:db8::g",
                                       "eth0:1",
                                       "a/b",
                                       "a-name-longer-than-interfaces-have" };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(fine); i++) {
        LOAD_PLAIN(loaded, "--advertise", fine[i]);
        assert_string_equal(good(&loaded)->advertise, fine[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        LOAD_PLAIN(refused, "--advertise", bad[i]);
        assert_error(&refused, "--advertise: '");
    }
}

static void node_listen_and_control(void **state)
{
    (void)state;
    EXPECT_ERROR("--node: 'a/b': must be a name", "--node=a/b");
    EXPECT_ERROR("--node: '(none)'", "--node=(none)");
    EXPECT_ERROR("--node: '..'", "--node=..");
    EXPECT_ERROR("--listen: '9100': must be ADDRESS:PORT", "--listen=9100");
    EXPECT_ERROR("--listen: 'localhost:9100'", "--listen=localhost:9100");
    EXPECT_ERROR("--listen: '::1:9100'", "--listen=::1:9100");
    EXPECT_ERROR("--listen: '127.0.0.1:'", "--listen=127.0.0.1:");
    EXPECT_ERROR("--listen: '127.0.0.1'", "--listen=127.0.0.1");
    EXPECT_ERROR("--control: 'run/c': must be an absolute path", "--control=run/c");
}

static void empty_text_unsets_settings_without_a_constant_default(void **state)
{
    (void)state;
    WITH_FILE(file, "[registry]\nadvertise = eth0\nheartbeat = 7\n[agent]\nlisten = 127.0.0.1:1\n");
    LOAD(loaded, "--config", file.path, "--advertise=", "--heartbeat=", "--listen=");
    const Settings *s = good(&loaded);
    assert_null(s->advertise);
    assert_int_equal(s->heartbeat_s, 10);
    assert_null(s->listen);
}

static void certificates_and_users_come_in_pairs(void **state)
{
    (void)state;
    EXPECT_ERROR("--docker-cert: needs --docker-key too", "--docker-cert=/dev/null");
    EXPECT_ERROR("--docker-key: needs --docker-cert too", "--docker-key=/dev/null");
    EXPECT_ERROR("--etcd-cert: needs --etcd-key too", "--etcd-cert=/dev/null");
    EXPECT_ERROR("--etcd-key: needs --etcd-cert too", "--etcd-key=/dev/null");
    EXPECT_ERROR("--etcd-user: needs --etcd-password-file too", "--etcd-user=me");
    EXPECT_ERROR("--etcd-password-file: needs --etcd-user too", "--etcd-password-file=/dev/null");
}

static void tls_files_need_tls(void **state)
{
    (void)state;
    EXPECT_ERROR("--etcd-ca: needs endpoints with https://, not http://b:2379", "--etcd=https://a,http://b",
                 "--etcd-ca=/dev/null");
    EXPECT_ERROR("--etcd-cert: needs endpoints with https://", "--etcd-cert=/dev/null", "--etcd-key=/dev/null");
}

static void named_files_must_be_readable(void **state)
{
    (void)state;
    EXPECT_ERROR("--docker-ca: cannot read /nowhere/ca.pem: No such file or directory", "--docker-ca=/nowhere/ca.pem");
    EXPECT_ERROR("--etcd-ca: cannot read /tmp: Is a directory", "--etcd=https://a", "--etcd-ca=/tmp");
    assert_file_error("[etcd]\nuser = me\npassword_file = /nowhere/password\n",
                      "FILE:3: [etcd] password_file: cannot read /nowhere/password: No such file");
}

static void pipes_do_not_block(void **state)
{
    CLEANUP(test_file_remove) TestFile pipe;
    scratch_template(pipe.path);
    int fd = mkstemp(pipe.path);
    (void)state;

    assert_true(fd >= 0);
    close(fd);
    unlink(pipe.path);
    assert_int_equal(mkfifo(pipe.path, 0600), 0);
    EXPECT_ERROR("it is not a regular file", "--docker-ca", pipe.path);
    EXPECT_ERROR("it is not a regular file", "--etcd-user=me", "--etcd-password-file", pipe.path);
    LOAD(loaded, "--config", pipe.path);
    assert_error(&loaded, "cannot read the settings: it is not a regular file");
}

static void passwords_of_refused_urls_are_not_repeated(void **state)
{
    static const char *const urls[] = {
        "http://me:secret@a:2379", "http://a,http://me:secret@b",
        "https://me:sec/ret@a",    "http://me:secret@a,http://x@b",
        "me:secret@a:2379",        "ftp://me:secret@a",
        "http://me:se,secret@a",   "http://me:se@secret@a",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        LOAD_PLAIN(etcd, "--etcd", urls[i]);
        assert_error(&etcd, "***@");
        assert_null(strstr(etcd.error, "sec"));
        LOAD_PLAIN(docker, "--docker", urls[i]);
        assert_error(&docker, "***@");
        assert_null(strstr(docker.error, "sec"));
    }
    EXPECT_ERROR("--etcd: 'http://***@a:2379': must be", "--etcd=http://me:secret@a:2379");
    setenv("DOCKER_HOST", "ssh://me:secret@a", 1);
    EXPECT_ERROR("DOCKER_HOST: 'ssh://***@a': must be");
}

static void subcommands_do_not_need_the_files(void **state)
{
    (void)state;
    LOAD_PLAIN(loaded, "--docker-ca=/nowhere", "status");
    assert_string_equal(good(&loaded)->docker_ca, "/nowhere");
}

static void variables_go_by_option_and_by_file_key(void **state)
{
    (void)state;
    setenv("REGISTRATOR_ETCD_API", "v2", 1);
    setenv("REGISTRATOR_ETCD_ENDPOINTS", "http://a", 1);
    setenv("REGISTRATOR_DOCKER", "unix:///d", 1);
    setenv("REGISTRATOR_REGISTRY_TTL", "40", 1);
    setenv("REGISTRATOR_ON_CONFLICT", "replace", 1);
    setenv("REGISTRATOR_EXPLICIT", "1", 1);
    setenv("REGISTRATOR_LOG_LEVEL", "", 1);

    LOAD_PLAIN(loaded);
    const Settings *s = good(&loaded);
    assert_int_equal(s->etcd_api, STORE_V2);
    assert_string_equal(s->etcd_endpoints[0], "http://a:2379");
    assert_string_equal(s->docker_url, "unix:///d");
    assert_int_equal(s->ttl_s, 40);
    assert_int_equal(s->on_conflict, ON_CONFLICT_REPLACE);
    assert_true(s->explicit_only);
    assert_int_equal(s->log_level, LOG_INFO);
}

static void bad_variables_are_named(void **state)
{
    (void)state;
    setenv("REGISTRATOR_TTL", "soon", 1);
    EXPECT_ERROR("REGISTRATOR_TTL: 'soon': must be");
    unsetenv("REGISTRATOR_TTL");

    setenv("REGISTRATOR_DRY_RUN", "1", 1);
    EXPECT_ERROR("REGISTRATOR_DRY_RUN: only the command line has this option, --dry-run");
    setenv("REGISTRATOR_DRY_RUN", "", 1);

    setenv("REGISTRATOR_ETCD", "http://a", 1);
    setenv("REGISTRATOR_ETCD_ENDPOINTS", "http://b", 1);
    EXPECT_ERROR("REGISTRATOR_ETCD and REGISTRATOR_ETCD_ENDPOINTS are one setting, but differ");
    setenv("REGISTRATOR_ETCD_ENDPOINTS", "http://a", 1);
    LOAD_PLAIN(loaded);
    good(&loaded);
}

static void misspelt_variables_are_errors_and_strange_ones_are_not(void **state)
{
    (void)state;
    setenv("REGISTRATOR", "x", 1);
    setenv("REGISTRATORS", "x", 1);
    setenv("REGISTRATOR_VERSION", "1", 1);
    setenv("REGISTRATOR_PORT", "tcp://192.0.2.1:80", 1);
    LOAD_PLAIN(loaded);
    good(&loaded);

    setenv("REGISTRATOR_ETCD_ENDPOINT", "http://a", 1);
    EXPECT_ERROR("REGISTRATOR_ETCD_ENDPOINT: there is no such setting");
}

/* Of a service in Kubernetes, or a container that is linked, with the name "registrator-etcd". */
static void variables_that_services_make_are_not_misspelt(void **state)
{
    static const char *const variables[][2] = {
        { "REGISTRATOR_ETCD_PORT", "tcp://192.0.2.1:2379" },
        { "REGISTRATOR_ETCD_PORT_2379_TCP", "tcp://192.0.2.1:2379" },
        { "REGISTRATOR_ETCD_PORT_2379_TCP_ADDR", "192.0.2.1" },
        { "REGISTRATOR_ETCD_PORT_2379_TCP_PORT", "2379" },
        { "REGISTRATOR_ETCD_PORT_2379_TCP_PROTO", "tcp" },
        { "REGISTRATOR_ETCD_SERVICE_HOST", "192.0.2.1" },
        { "REGISTRATOR_ETCD_SERVICE_PORT", "2379" },
        { "REGISTRATOR_ETCD_SERVICE_PORT_CLIENT", "2379" },
        { "REGISTRATOR_ETCD_NAME", "/agent/registrator-etcd" },
        { "REGISTRATOR_ETCD_ENV_ETCD_VERSION", "3.4" },
        { "REGISTRATOR_DOCKER_PORT", "tcp://192.0.2.1:2375" },
        { "REGISTRATOR_REGISTRY_SERVICE_HOST", "192.0.2.1" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
        setenv(variables[i][0], variables[i][1], 1);
    LOAD_PLAIN(loaded);
    assert_string_equal(good(&loaded)->etcd_endpoints[0], "http://127.0.0.1:2379");
    setenv("REGISTRATOR_ETCD_PORT", "2379", 1);
    EXPECT_ERROR("REGISTRATOR_ETCD_PORT: there is no such setting");
}

static void file_of_the_environment(void **state)
{
    (void)state;
    WITH_FILE(file, "[registry]\nttl = 41\n");
    setenv("REGISTRATOR_CONFIG", file.path, 1);
    CLEANUP(loaded_clear) Loaded loaded = load_arguments((const char *const[]){ NULL });
    assert_int_equal(good(&loaded)->ttl_s, 41);
    LOAD_PLAIN(other);
    assert_int_equal(good(&other)->ttl_s, 30);
}

static void file_that_cannot_be_read(void **state)
{
    (void)state;
    LOAD(missing, "--config=/nowhere/x.conf");
    assert_error(&missing, "/nowhere/x.conf: cannot read the settings: No such file or directory");
    LOAD(directory, "--config=/tmp");
    assert_error(&directory, "/tmp: cannot read the settings: Is a directory");
}

static void file_syntax(void **state)
{
    (void)state;
    WITH_FILE(file, "\xef\xbb\xbf# comment \\\n"
                    "; comment\n"
                    "\n"
                    "[etcd] ; comment\r\n"
                    "  endpoints = http://a, \\\n"
                    "      http://b\\\n"
                    "  ,http://c  \n"
                    "\tapi=v2 ; comment\r\n"
                    "[ registry ]\n"
                    "[registry]\n"
                    "  value = {\"a\":\"{address}\"}#;\n"
                    "# comment \\\n"
                    "  service = x=y\n"
                    "node : a\\\n"
                    "  b ; comment \\\n"
                    "  ; comment\n");
    LOAD(loaded, "--config", file.path);
    const Settings *s = good(&loaded);
    assert_string_equal(s->etcd_endpoints[0], "http://a:2379");
    assert_string_equal(s->etcd_endpoints[1], "http://b:2379");
    assert_string_equal(s->etcd_endpoints[2], "http://c:2379");
    assert_int_equal(s->etcd_api, STORE_V2);
    assert_string_equal(template_text(s->layouts[0].value), "{\"a\":\"{address}\"}#;");
    assert_string_equal(template_text(s->layouts[0].service), "x=y");
    assert_string_equal(s->node, "ab");
}

static void file_errors_name_the_line(void **state)
{
    (void)state;
    assert_file_error("[registry]\n\nttl = 3\n", "FILE:3: [registry] ttl: '3': must be a whole number");
    assert_file_error("[registry]\nttl = 3", "FILE:2: [registry] ttl: '3'");
    assert_file_error("[registry]\nttl = \\\n3\nnode = x\n", "FILE:2: [registry] ttl: '3'");
    assert_file_error("[registry]\nttl = 3\\", "FILE:2: [registry] ttl: '3'");
    assert_file_error("[registry]\ntll = 3\n", "FILE:2: [registry] tll: there is no such setting");
    assert_file_error("[registrar]\nttl = 30\n", "FILE:2: [registrar] ttl: there is no such setting");
    assert_file_error("ttl = 30\n", "FILE:1: [] ttl: there is no such setting");
    assert_file_error("[registry]\nttl = 30\n[etcd]\n[registry]\nttl = 31\n",
                      "FILE:5: [registry] ttl: set already in line 2");
    assert_file_error("# x\n[registry]\nttl 30\nttl = 3\n", "FILE:3: neither [section] nor key = value");
    assert_file_error("[registry\nttl = 30\n", "FILE:1: neither [section] nor key = value");
    assert_file_error("[registry] ttl = 30\n", "FILE:1: text after [section]");
    assert_file_error("[etcd]\ncert = /dev/null\n", "FILE:2: [etcd] cert: needs --etcd-key too");
    assert_file_error("[registry]\nheartbeat = 20\n", "FILE:2: [registry] heartbeat: 20 s is more");
}

static void long_lines_are_errors_and_never_cut(void **state)
{
    char text[8300];
    (void)state;

    for (int size = 8189; size <= 8192; size++) {
        (void)snprintf(text, sizeof(text), "[registry]\nvalue = {address} ;%*s\nnode = x\n",
                       size - (int)strlen("value = {address} ;"), "x");
        WITH_FILE(file, text);
        LOAD(loaded, "--config", file.path);
        if (size <= 8190)
            assert_string_equal(template_text(good(&loaded)->layouts[0].value), "{address}");
        else
            assert_error(&loaded, ":2: longer than 8190 bytes");
    }
}

static void continued_lines_make_long_values(void **state)
{
    CLEANUP_FREE char *text = NULL;
    const char *fifty = "01234567890123456789012345678901234567890123456789";
    (void)state;

    assert_true(asprintf(&text, "[registry]\nvalue = %s%s\\\n%s%s%s\\\n  %s%s\n", fifty, fifty, fifty, fifty, fifty,
                         fifty, fifty) > 0);
    WITH_FILE(file, text);
    LOAD(loaded, "--config", file.path);
    assert_int_equal(strlen(template_text(good(&loaded)->layouts[0].value)), 350);
}

static void binary_files_are_refused(void **state)
{
    (void)state;
    assert_file_error_n("[registry]\nttl = 30\0\nnode = x\n", 30, "FILE:2: longer than");
    assert_file_error_n("\0\0\0\0\n", 5, "FILE:1: longer than");
    assert_file_error("[registry]\nnode = a\x01z\n", "FILE:2: [registry] node: 'a?z': must not have control");
}

static void huge_texts_are_refused(void **state)
{
    char text[8192];
    (void)state;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    LOAD_PLAIN(loaded, "--value", text);
    assert_error(&loaded, "must not be longer than 4096 bytes");
    assert_true(strlen(loaded.error) < 512);
}

/* "#key = default" → "key = default", and back comes what an empty file gives. */
static void example_file_shows_the_defaults(void **state)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_FREE char *text = NULL;
    size_t size = 0, keys = 0;
    char line[512];
    const char *srcdir = getenv("srcdir");
    (void)state;

    assert_true(asprintf(&path, "%s/etc/registrator.conf", srcdir ? srcdir : ".") > 0);
    CLEANUP(fclose_p) FILE *example = fopen(path, "re");
    CLEANUP(fclose_p) FILE *uncommented = open_memstream(&text, &size);
    assert_non_null(example);
    assert_non_null(uncommented);
    while (fgets(line, sizeof(line), example)) {
        bool is_key = line[0] == '#' && line[1] >= 'a' && line[1] <= 'z' && strchr(line, '=');
        keys += is_key;
        fputs(is_key ? line + 1 : line, uncommented);
    }
    fflush(uncommented);
    assert_int_equal(keys, 32);

    WITH_FILE(file, text);
    LOAD(loaded, "--config", file.path);
    LOAD_PLAIN(plain);
    const Settings *a = good(&loaded), *b = good(&plain);
    assert_string_equal(a->docker_url, b->docker_url);
    assert_null(a->docker_ca);
    assert_int_equal(a->docker_resync_s, b->docker_resync_s);
    assert_int_equal(a->docker_grace_s, b->docker_grace_s);
    assert_string_equal(a->etcd_endpoints[0], b->etcd_endpoints[0]);
    assert_null(a->etcd_endpoints[1]);
    assert_int_equal(a->etcd_api, b->etcd_api);
    assert_null(a->etcd_user);
    assert_string_equal(template_text(a->layouts[0].key), template_text(b->layouts[0].key));
    assert_string_equal(template_text(a->layouts[0].value), template_text(b->layouts[0].value));
    assert_string_equal(template_text(a->layouts[0].service), template_text(b->layouts[0].service));
    assert_null(a->advertise);
    assert_string_equal(a->node, b->node);
    assert_int_equal(a->ttl_s, b->ttl_s);
    assert_int_equal(a->heartbeat_s, b->heartbeat_s);
    assert_int_equal(a->stop_limit_s, b->stop_limit_s);
    assert_int_equal(a->ports, b->ports);
    assert_int_equal(a->explicit_only, b->explicit_only);
    assert_null(a->only);
    assert_int_equal(a->on_conflict, b->on_conflict);
    assert_string_equal(a->control, b->control);
    assert_null(a->listen);
    assert_int_equal(a->log_level, b->log_level);
    assert_int_equal(a->log_format, b->log_format);
}

static void printed_options_fit_a_terminal(void **state)
{
    CLEANUP_FREE char *text = NULL;
    size_t size = 0;
    CLEANUP(fclose_p) FILE *out = open_memstream(&text, &size);
    (void)state;

    settings_print_options(out);
    fflush(out);
    assert_non_null(strstr(text, "  --etcd-api auto|v3|v2\n"));
    assert_non_null(strstr(text, "  --explicit[=yes|no]\n"));
    assert_non_null(strstr(text, "  -h, --help\n"));
    /* How long the path of the settings file is, is up to configure. */
    const char *configured = "      (default: " PKGSYSCONFDIR;
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        if (strcspn(line, "\n") > 80 && strncmp(line, configured, strlen(configured)) != 0)
            fail_msg("longer than 80 columns: %.*s", (int)strcspn(line, "\n"), line);
}

#define TEST(f) cmocka_unit_test_setup(f, clear_environment)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_are_those_of_the_contract),
        TEST(command_line_sets_everything),
        TEST(password_is_read_from_a_file_of_its_own),
        TEST(password_file_that_others_can_use_is_refused),
        TEST(command_line_beats_environment_beats_file_beats_default),
        TEST(last_of_a_repeated_option_wins),
        TEST(explicit_takes_an_optional_value),
        TEST(only_is_a_list_of_labels),
        TEST(same_command_line_can_be_read_again),
        TEST(nothing_is_left_over_from_an_earlier_command_line),
        TEST(operands_belong_to_the_subcommand),
        TEST(actions),
        TEST(help_and_version_need_no_valid_settings),
        TEST(mistakes_on_the_command_line),
        TEST(numbers_are_bounded),
        TEST(heartbeat_follows_the_ttl),
        TEST(one_agent_writes_one_api),
        TEST(choices_name_what_is_allowed),
        TEST(docker_urls),
        TEST(docker_host_is_the_default_of_the_docker_url),
        TEST(changes_are_reported_by_part),
        TEST(etcd_endpoints_are_normalized),
        TEST(bad_etcd_endpoints),
        TEST(keys_must_be_keys),
        TEST(values_and_services),
        TEST(advertised_addresses),
        TEST(node_listen_and_control),
        TEST(empty_text_unsets_settings_without_a_constant_default),
        TEST(certificates_and_users_come_in_pairs),
        TEST(tls_files_need_tls),
        TEST(named_files_must_be_readable),
        TEST(pipes_do_not_block),
        TEST(passwords_of_refused_urls_are_not_repeated),
        TEST(subcommands_do_not_need_the_files),
        TEST(variables_go_by_option_and_by_file_key),
        TEST(bad_variables_are_named),
        TEST(misspelt_variables_are_errors_and_strange_ones_are_not),
        TEST(variables_that_services_make_are_not_misspelt),
        TEST(file_of_the_environment),
        TEST(file_that_cannot_be_read),
        TEST(file_syntax),
        TEST(file_errors_name_the_line),
        TEST(long_lines_are_errors_and_never_cut),
        TEST(continued_lines_make_long_values),
        TEST(binary_files_are_refused),
        TEST(huge_texts_are_refused),
        TEST(example_file_shows_the_defaults),
        TEST(printed_options_fit_a_terminal),
    };

    log_set_level(LOG_ERR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
