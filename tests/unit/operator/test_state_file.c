/* The state file: whom it belongs to, and what others may put in its place. */
#include "operator/state_file.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

typedef struct Rig {
    char directory[SCRATCH_MAX], path[SCRATCH_MAX + 32], other[SCRATCH_MAX + 32];
    char read[4096]; /* "KIND|ID|FIELDS;" for each line */
} Rig;

static bool take_line(void *userdata, const char *kind, const char *id, const char *fields)
{
    Rig *rig = userdata;
    size_t size = strlen(rig->read);

    (void)snprintf(rig->read + size, sizeof(rig->read) - size, "%s|%s|%s;", kind, id, fields);
    return strcmp(kind, "bad") != 0;
}

static int read_file(Rig *rig)
{
    *rig->read = '\0';
    return state_file_read(rig->path, take_line, rig);
}

static void put(const char *path, const char *text, mode_t mode)
{
    CLEANUP_CLOSE int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
}

static int setup(void **state)
{
    Rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    log_set_level(-1);
    unsetenv("STATE_DIRECTORY");
    scratch_template(rig->directory);
    assert_non_null(mkdtemp(rig->directory));
    (void)snprintf(rig->path, sizeof(rig->path), "%s/socket.state", rig->directory);
    (void)snprintf(rig->other, sizeof(rig->other), "%s/other", rig->directory);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    Rig *rig = *state;

    unsetenv("STATE_DIRECTORY");
    (void)remove(rig->path);
    (void)remove(rig->other);
    assert_int_equal(rmdir(rig->directory), 0); /* no temporary file is left */
    free(rig);
    return 0;
}

static void assert_path(const char *socket, const char *expected)
{
    CLEANUP_FREE char *path = state_file_path(socket);

    assert_string_equal(path, expected);
}

static void each_socket_has_its_own_file(void **state)
{
    (void)state;
    assert_path("/run/registrator/control.sock", "/run/registrator/control.sock.state");
    assert_path("/run/registrator/second.sock", "/run/registrator/second.sock.state");
    assert_int_equal(setenv("STATE_DIRECTORY", "/var/lib/registrator", 1), 0);
    assert_path("/run/registrator/control.sock", "/var/lib/registrator/run-registrator-control.sock.state");
    assert_path("/run/a-b/c", "/var/lib/registrator/run-a\\x2db-c.state");
    assert_path("/run/a/b-c", "/var/lib/registrator/run-a-b\\x2dc.state");
    assert_path("/run/a\\x2db/c", "/var/lib/registrator/run-a\\x5cx2db-c.state");
    assert_int_equal(setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b", 1), 0);
    assert_path("/c", "/var/lib/a/c.state");
}

static void lines_are_read_as_written(void **state)
{
    Rig *rig = *state;
    mode_t mask = umask(0);
    struct stat status;

    assert_int_equal(read_file(rig), -ENOENT);
    for (int durable = 0; durable < 2; durable++) {
        assert_int_equal(state_file_write(rig->path, "a 1\nb 2 x y\n", durable), 0);
        assert_int_equal(read_file(rig), 0);
        assert_string_equal(rig->read, "a|1|;b|2|x y;");
        assert_int_equal(stat(rig->path, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0600);
    }
    umask(mask);
    assert_int_equal(state_file_write(rig->path, "c 3\n", true), 0);
    assert_int_equal(read_file(rig), 0);
    assert_string_equal(rig->read, "c|3|;");
    assert_int_equal(state_file_write(rig->path, "", true), 0);
    assert_int_equal(read_file(rig), -ENOENT);
    assert_int_equal(state_file_write(rig->path, "", true), 0);
}

static void bad_lines_harm_no_other(void **state)
{
    Rig *rig = *state;
    char text[STATE_LINE_MAX + 64], longest[STATE_LINE_MAX];

    memset(longest, 'x', sizeof(longest));
    (void)snprintf(text, sizeof(text), "alone\nbad 1\n\n%.*sx 2\na 1\nlast 3", STATE_LINE_MAX, longest);
    put(rig->path, text, 0600);
    assert_int_equal(read_file(rig), 0);
    assert_string_equal(rig->read, "alone||;bad|1|;a|1|;last|3|;");
}

static void file_that_others_can_write_is_not_believed(void **state)
{
    Rig *rig = *state;
    static const mode_t modes[] = { 0666, 0620, 0602 };

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        put(rig->path, "a 1\n", modes[i]);
        assert_int_equal(read_file(rig), -EPERM);
    }
    put(rig->path, "a 1\n", 0644);
    assert_int_equal(read_file(rig), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(rig->path, 4242, 0), 0);
        assert_int_equal(read_file(rig), -EPERM);
    }
    assert_string_equal(rig->read, geteuid() == 0 ? "" : "a|1|;");
}

static void link_is_neither_read_nor_written_through(void **state)
{
    Rig *rig = *state;
    CLEANUP_FREE char *temporary = NULL;
    struct stat status;

    put(rig->other, "a 1\n", 0600);
    assert_int_equal(symlink(rig->other, rig->path), 0);
    assert_int_equal(read_file(rig), -ELOOP);
    assert_true(asprintf(&temporary, "%s.new", rig->path) > 0);
    assert_int_equal(symlink(rig->other, temporary), 0);
    assert_int_equal(state_file_write(rig->path, "b 2\n", true), 0);
    assert_int_equal(stat(rig->other, &status), 0);
    assert_int_equal(status.st_size, 4);
    assert_int_equal(read_file(rig), 0);
    assert_string_equal(rig->read, "b|2|;");
    /* A second name in a directory of others. */
    assert_int_equal(unlink(rig->other), 0);
    assert_int_equal(link(rig->path, rig->other), 0);
    assert_int_equal(read_file(rig), -EPERM);
}

/* Hangs without O_NONBLOCK. */
static void fifo_and_directory_are_no_files(void **state)
{
    Rig *rig = *state;

    assert_int_equal(mkfifo(rig->path, 0600), 0);
    assert_int_equal(read_file(rig), -EPERM);
    assert_int_equal(unlink(rig->path), 0);
    assert_int_equal(mkdir(rig->path, 0700), 0);
    assert_int_equal(read_file(rig), -EPERM);
    assert_int_equal(state_file_write(rig->path, "a 1\n", false), -EISDIR);
}

static void long_file_is_not_read(void **state)
{
    Rig *rig = *state;

    put(rig->path, "a 1\n", 0600);
    assert_int_equal(truncate(rig->path, STATE_FILE_MAX + 1), 0);
    assert_int_equal(read_file(rig), -EFBIG);
}

/* The temporary file cannot be made: a directory has its place. */
static void write_that_fails_leaves_the_old_file(void **state)
{
    Rig *rig = *state;
    CLEANUP_FREE char *temporary = NULL;

    put(rig->path, "a 1\n", 0600);
    assert_true(asprintf(&temporary, "%s.new", rig->path) > 0);
    assert_int_equal(mkdir(temporary, 0700), 0);
    assert_int_equal(state_file_write(rig->path, "b 2\n", true), -EISDIR);
    assert_int_equal(rmdir(temporary), 0);
    assert_int_equal(read_file(rig), 0);
    assert_string_equal(rig->read, "a|1|;");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_socket_has_its_own_file),
        TEST(lines_are_read_as_written),
        TEST(bad_lines_harm_no_other),
        TEST(file_that_others_can_write_is_not_believed),
        TEST(link_is_neither_read_nor_written_through),
        TEST(fifo_and_directory_are_no_files),
        TEST(long_file_is_not_read),
        TEST(write_that_fails_leaves_the_old_file),
    };

    return cmocka_run_group_tests_name("state file", tests, NULL, NULL);
}
