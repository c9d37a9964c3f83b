#include "address.h"
#include "agent.h"
#include "ctl.h"
#include "exit_status.h"
#include "log.h"
#include "settings.h"

#include <errno.h>
#include <string.h>

static void print_help(void)
{
    printf("Usage: registrator [OPTION…] [COMMAND …]\n"
           "\n"
           "Keeps the published ports of this host's running Docker containers in etcd,\n"
           "with a time to live, for confd to render into haproxy.cfg.\n"
           "\n"
           "Commands, to an agent that runs (without one, this is the agent):\n");
    ctl_print_help(stdout);
    printf("\n"
           "Settings come from the command line, then REGISTRATOR_<OPTION> in the\n"
           "environment, then the file, then the defaults:\n"
           "\n");
    settings_print_options(stdout);
    printf("\n"
           "Exit status: 0 done, 1 bad settings or usage, 2 not reachable or not possible,\n"
           "3 status --etcd found a difference.\n"
           "See registrator(8) and registrator.conf(5).\n");
}

/* What is wrong now may be right when the agent runs: said, and no error. */
static void check_advertised(const char *advertise)
{
    HostAddress found;

    if (advertise && host_address_find(&found, advertise, NULL) == -ENODEV)
        log_warning("--advertise: there is no interface %s here now, or it has no address", advertise);
}

static int run_agent(Settings *settings, int argc, char **argv, bool dry_run)
{
    CLEANUP(agent_free_p) Agent *agent = NULL;
    int r = agent_new(&agent, settings, argc, argv, dry_run);

    if (r >= 0)
        r = agent_run(agent);
    if (r >= 0)
        return r;
    log_error_errno(r, "The agent cannot go on: %m");
    return EXIT_NOT_POSSIBLE;
}

int main(int argc, char **argv)
{
    CLEANUP(settings_free_p) Settings *settings = NULL;
    CLEANUP_FREE char *error = NULL;
    SettingsAction action = SETTINGS_RUN;
    int operand = argc, r;

    log_open();
    r = settings_load(&settings, argc, argv, &action, &operand, &error);
    if (r < 0) {
        log_error("%s", error ? error : strerror(-r));
        return EXIT_USAGE;
    }
    switch (action) {
    case SETTINGS_HELP:
        print_help();
        return EXIT_SUCCESS;
    case SETTINGS_VERSION:
        printf("registrator %s\n", PACKAGE_VERSION);
        return EXIT_SUCCESS;
    case SETTINGS_CHECK:
        check_advertised(settings->advertise);
        printf("The settings are good.\n");
        return EXIT_SUCCESS;
    default:
        break;
    }
    if (operand < argc) {
        r = ctl_run(settings, argc - operand, argv + operand);
        if (r >= 0)
            return r;
        log_error("There is no command '%s'; see registrator --help", argv[operand]);
        return EXIT_USAGE;
    }
    log_set_level(settings->log_level);
    log_set_format(settings->log_format);
    return run_agent(TAKE_PTR(settings), argc, argv, action == SETTINGS_DRY_RUN);
}
