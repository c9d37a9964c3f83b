/* Gives a target the files of its corpus, each as one case in TAP: what was found once must not come back, whatever
 * the compiler.
 *
 * usage: fuzz_NAME [FILE|DIRECTORY]…      (none: the target's corpus in the tree, and what was recorded for it) */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Of tests/data; tests/fuzz/run has the same. */
static const struct {
    const char *target, *directory;
} recorded[] = {
    { "container", "docker" },
    { "event", "docker" },
    { "etcd2", "etcd" },
    { "etcd3", "etcd" },
};

static unsigned cases;

/* What is broken aborts. */
static void replay_file(const char *path)
{
    char *data = NULL;
    size_t size = 0, got;
    char part[4096];
    FILE *file = fopen(path, "re"), *out = open_memstream(&data, &size);

    if (!file || !out) {
        printf("Bail out! %s: %s\n", path, strerror(errno));
        exit(1);
    }
    while ((got = fread(part, 1, sizeof(part), file)) > 0)
        ENSURE(fwrite(part, 1, got, out) == got);
    fclose(file);
    ENSURE(fclose(out) == 0);
    printf("# %s\n", path);
    fflush(stdout);
    (void)LLVMFuzzerTestOneInput((const uint8_t *)data, size);
    printf("ok %u - %s\n", ++cases, path);
    free(data);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void replay(const char *path)
{
    struct dirent **entries;
    struct stat status;
    int n;

    if (stat(path, &status) == 0 && !S_ISDIR(status.st_mode)) {
        replay_file(path);
        return;
    }
    n = scandir(path, &entries, is_visible, alphasort);
    if (n < 0) {
        printf("Bail out! %s: %s\n", path, strerror(errno));
        exit(1);
    }
    for (int i = 0; i < n; i++) {
        char *inner;

        ENSURE(asprintf(&inner, "%s/%s", path, entries[i]->d_name) > 0);
        replay(inner);
        free(inner);
        free(entries[i]);
    }
    free(entries);
}

static void replay_in_tree(const char *directory, const char *name)
{
    const char *top = getenv("srcdir");
    char *path;

    ENSURE(asprintf(&path, "%s/tests/%s/%s", top ? top : ".", directory, name) > 0);
    replay(path);
    free(path);
}

int main(int argc, char **argv)
{
    const char *target = strstr(program_invocation_short_name, "fuzz_");

    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    if (argc == 1 && target) {
        target += strlen("fuzz_");
        replay_in_tree("fuzz/corpus", target);
        for (size_t i = 0; i < sizeof(recorded) / sizeof(recorded[0]); i++)
            if (strcmp(recorded[i].target, target) == 0)
                replay_in_tree("data", recorded[i].directory);
    }
    printf("1..%u\n", cases);
    return cases > 0 ? 0 : 1;
}
