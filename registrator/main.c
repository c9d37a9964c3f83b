#include "agent/address.h"
#include "agent/agent.h"
#include "ctl/ctl.h"
#include "base/exit_status.h"
#include "base/log.h"
#include "settings/settings.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static void print_help(void)
{
    printf("Usage: registrator [OPTION…] [COMMAND …]\n"
           "\n"
           "Without a command, registrator is the agent: it registers the published ports\n"
           "of this host's running Docker containers in etcd, with a TTL.\n"
           "\n"
           "Commands for the running agent:\n");
    ctl_print_help(stdout);
    printf("\n"
           "The agent takes each setting from the command line, else from the variable\n"
           "REGISTRATOR_<OPTION>, else from the file, else the default:\n"
           "\n");
    settings_print_options(stdout);
    printf("\n"
           "Exit status: 0 no error; 1 error in the settings or the command line; 2 agent,\n"
           "Docker or etcd not reachable, or command failed; 3 status --etcd: difference.\n"
           "See registrator(8) and registrator.conf(5).\n");
}

/* Only warns: an address that is missing now may exist when the agent runs. */
static void check_advertised(const char *advertise)
{
    CLEANUP(interfaces_clear) Interfaces interfaces = { 0 };
    HostAddress found;

    if (advertise && interfaces_read(&interfaces) >= 0 &&
        host_address_find(&found, &interfaces, advertise, NULL) == -ENODEV)
        log_warning("--advertise: there is no interface %s here now, or it has no address", advertise);
}

static int run_agent(Settings *settings, int argc, char **argv, bool dry_run)
{
    CLEANUP(agent_free_p) Agent *agent = NULL;
    int r;

    /* A peer that hangs up, or a closed log, is then an error of write(), and does not end the process. */
    (void)signal(SIGPIPE, SIG_IGN);
    r = agent_new(&agent, settings, argc, argv, dry_run);

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
        printf("registrator %s\nHome page: %s\n", PACKAGE_VERSION, HOME_PAGE);
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
