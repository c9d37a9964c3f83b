#include "settings/settings_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PASSWORD_MAX = 1024, /* bytes of the password file, more than any password needs */
};

static const char *origin_of(const Loader *loader, const char *name)
{
    const char *origin = loader->origin[option_index(option_find(name))];

    return origin ? origin : name;
}

int settings_complete(Loader *loader, bool agent)
{
    Settings *settings = loader->settings;
    const Option *docker = option_find("docker");
    const char *docker_host = getenv("DOCKER_HOST");
    int r = 0;

    if (!loader->origin[option_index(docker)] && docker_host && *docker_host)
        r = loader_set(loader, docker, docker_host, "DOCKER_HOST");
    /* The docker command takes URLs that the agent does not, like ssh://. An operator with such a DOCKER_HOST can still
     * ask the agent. */
    if (r == -EINVAL && !agent)
        r = 0;
    if (r >= 0 && !settings->node) {
        char name[HOST_NAME_MAX + 1] = "";
        if (gethostname(name, sizeof(name)) < 0 || !*name)
            return loader_fail(loader, "cannot read the host's name: set it with --node");
        name[HOST_NAME_MAX] = '\0';
        r = loader_set(loader, option_find("node"), name, "host name (set another with --node)");
    }
    if (settings->heartbeat_s == 0)
        settings->heartbeat_s = settings->ttl_s / 3;
    return r < 0 ? r : layouts_complete(loader);
}

static int check_pair(Loader *loader, const char *name, const char *value, const char *other_name, const char *other)
{
    if (value && !other)
        return loader_fail(loader, "%s: needs --%s too", origin_of(loader, name), other_name);
    if (other && !value)
        return loader_fail(loader, "%s: needs --%s too", origin_of(loader, other_name), name);
    return 0;
}

/* A certificate without https:// is an error, because the operator would believe that the connection is encrypted. */
static int check_etcd_tls(Loader *loader)
{
    const Settings *settings = loader->settings;
    const char *name = settings->etcd_ca ? "etcd-ca" : "etcd-cert";

    if (!settings->etcd_ca && !settings->etcd_cert)
        return 0;
    for (char **p = settings->etcd_endpoints; *p; p++)
        if (!setting_has_scheme(*p, "https://"))
            return loader_fail(loader, "%s: needs endpoints with https://, not %s", origin_of(loader, name), *p);
    return 0;
}

int settings_check_together(Loader *loader)
{
    const Settings *s = loader->settings;
    int r = check_pair(loader, "docker-cert", s->docker_cert, "docker-key", s->docker_key);

    if (r >= 0)
        r = check_pair(loader, "etcd-cert", s->etcd_cert, "etcd-key", s->etcd_key);
    if (r >= 0)
        r = check_pair(loader, "etcd-user", s->etcd_user, "etcd-password-file", s->etcd_password_file);
    if (r >= 0)
        r = check_etcd_tls(loader);
    if (r >= 0)
        r = layouts_check(loader);
    if (r >= 0 && s->heartbeat_s > s->ttl_s / 2)
        r = loader_fail(loader,
                        "%s: %u s is more than half of the TTL (%u s): keys would expire after one lost heartbeat",
                        origin_of(loader, "heartbeat"), s->heartbeat_s, s->ttl_s);
    return r;
}

int settings_open_file(const char *path, const char **ret_why)
{
    struct stat status;
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int opened = fd;

    if (fd < 0 || fstat(fd, &status) < 0) {
        *ret_why = strerror(errno);
        return -1;
    }
    /* Character devices are allowed for /dev/null. */
    if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode)) {
        *ret_why = S_ISDIR(status.st_mode) ? strerror(EISDIR) : "it is not a regular file";
        return -1;
    }
    fd = -1;
    return opened;
}

static int check_readable(Loader *loader)
{
    for (size_t i = 0; i < n_options; i++) {
        const char *why, *path;

        if (options[i].parse != setting_parse_file || !(path = *(char **)loader_field(loader, &options[i])))
            continue;
        CLEANUP_CLOSE int fd = settings_open_file(path, &why);
        if (fd < 0)
            return loader_fail(loader, "%s: cannot read %s: %s", loader->origin[i], path, why);
    }
    return 0;
}

/* The password is the file's first line. A file that other users can read is refused, because its password is no
 * secret. */
static int read_password(Loader *loader, char **ret)
{
    const char *path = loader->settings->etcd_password_file;
    struct stat status;
    CLEANUP_FREE char *line = NULL;
    size_t allocated = 0;
    const char *why = NULL;

    if (!path)
        return 0;
    int fd = settings_open_file(path, &why);
    FILE *file CLEANUP(fclose_p) = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (!file)
        return loader_fail(loader, "etcd-password-file: cannot read %s: %s", path, fd < 0 ? why : strerror(errno));
    if (fstat(fd, &status) < 0)
        return loader_fail(loader, "etcd-password-file: cannot read %s: %s", path, strerror(errno));
    if ((status.st_mode & (S_IRWXG | S_IRWXO) & ~(mode_t)S_IRGRP) != 0)
        return loader_fail(loader, "etcd-password-file: only its owner and group may use %s: run chmod g-wx,o= on it",
                           path);
    if (status.st_size > PASSWORD_MAX)
        return loader_fail(loader, "etcd-password-file: %s is longer than %d bytes", path, PASSWORD_MAX);
    if (getline(&line, &allocated, file) > 0)
        line[strcspn(line, "\r\n")] = '\0';
    else if (line)
        *line = '\0'; /* getline() does not initialise an empty line */
    if (!line || *line == '\0')
        return loader_fail(loader, "etcd-password-file: %s is empty", path);
    *ret = TAKE_PTR(line);
    return 0;
}

int settings_check_files(Loader *loader)
{
    int r = check_readable(loader);

    return r < 0 ? r : read_password(loader, &loader->settings->etcd_password);
}

int settings_read_password(const Settings *settings, char **ret, char **ret_error)
{
    Loader loader = { .settings = (Settings *)settings };
    int r = read_password(&loader, ret);

    *ret_error = loader.error;
    return r;
}
