/* Linked into a unit test before the library, whose code stands in a section of its own (see tests/alloc/run): makes
 * one allocation fail that the library asks for, itself or through another library (open_memstream, cJSON, libcurl).
 * The test's own never fail.
 *
 * Allocations are told apart by the way from the test's code down to them. REG_FAIL_ALLOC=N: the first one of the
 * N-th way fails, counted from 1. 0: none; how many ways there are is said at the end.
 *
 * A test that fails jumps out of what it was at, and leaks. So the blocks are named that were asked for in the very
 * call of the library in which the allocation failed: nobody but the library could have freed those. */
#include <execinfo.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FRAMES_MAX = 64,
    WAYS_MAX = 1 << 16, /* a power of two */
    BLOCKS_MAX = 1 << 14, /* remembered, the last ones */
    BLOCKS_LATER_MAX = 1000, /* of the library, after the failure: the call in which it was is over then */
};

/* AddressSanitizer's own, so that what is allocated is watched. */
void *__interceptor_malloc(size_t size);
void *__interceptor_calloc(size_t n, size_t size);
void *__interceptor_realloc(void *old, size_t size);
char *__interceptor_strdup(const char *text);
char *__interceptor_strndup(const char *text, size_t size);
void __sanitizer_print_stack_trace(void);

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);

/* The linker's: of the library, and of the program. */
extern const char __start_library_text[], __stop_library_text[], __executable_start[], etext[];

/* Hashes of return addresses. */
typedef struct Way {
    uintptr_t library; /* of the library's frames up to the test's; 0: there are none */
    uintptr_t test; /* of the test's */
} Way;

static const uintptr_t hash_begin = 0xcbf29ce484222325;

static uintptr_t ways[WAYS_MAX];
static struct {
    uintptr_t block; /* its complement: as a pointer it would count as held */
    uintptr_t test;
} blocks[BLOCKS_MAX];
static unsigned n_ways, wanted, n_blocks, blocks_later;
static uintptr_t failed_test;
static bool counting, failed, busy;

static bool is_of_library(const char *address)
{
    return address >= __start_library_text && address < __stop_library_text;
}

static bool is_of_program(const char *address)
{
    return address >= __executable_start && address < etext;
}

static uintptr_t hash_add(uintptr_t hash, const void *address)
{
    return (hash ^ (uintptr_t)address) * 0x100000001b3;
}

/* Frames of other libraries do not count: cJSON alone would have as many ways as there are shapes of JSON. */
static Way find_way(const void *caller)
{
    void *frames[FRAMES_MAX];
    int n = backtrace(frames, FRAMES_MAX), i = 0;
    Way way = { 0, hash_begin };

    while (i < n && frames[i] != caller)
        i++;
    for (; i < n; i++) {
        if (is_of_library(frames[i]) && way.test == hash_begin)
            way.library = hash_add(way.library ? way.library : hash_begin, frames[i]) | 1;
        else if (is_of_program(frames[i]))
            way.test = hash_add(way.test, frames[i]);
    }
    return way;
}

static bool is_new(uintptr_t way)
{
    uintptr_t i = way >> 20;

    for (; ways[i % WAYS_MAX] != 0; i++)
        if (ways[i % WAYS_MAX] == way)
            return false;
    ways[i % WAYS_MAX] = way;
    return true;
}

/* Way: of the block that is about to be allocated, {0} if it does not matter. True: it is not to be. */
static bool begin_allocation(Way *ret, const void *caller)
{
    *ret = (Way){ 0, 0 };
    if (!counting || busy || blocks_later == BLOCKS_LATER_MAX)
        return false;
    busy = true;
    *ret = find_way(caller);
    busy = false;
    if (ret->library == 0)
        return false;
    blocks_later += failed;
    if (failed || !is_new(ret->library) || ++n_ways != wanted)
        return false;
    failed = true;
    failed_test = ret->test;
    busy = true;
    fprintf(stderr, "fail_alloc: this one fails:\n");
    __sanitizer_print_stack_trace();
    busy = false;
    return true;
}

static void *end_allocation(void *block, Way way)
{
    if (block && way.library != 0) {
        blocks[n_blocks % BLOCKS_MAX].block = ~(uintptr_t)block;
        blocks[n_blocks++ % BLOCKS_MAX].test = way.test;
    }
    return block;
}

#define ALLOCATE(allocation)                                                                            \
    ({                                                                                                  \
        Way way_;                                                                                       \
        begin_allocation(&way_, __builtin_return_address(0)) ? NULL : end_allocation(allocation, way_); \
    })

void *malloc(size_t size)
{
    return ALLOCATE(__interceptor_malloc(size));
}

void *calloc(size_t n, size_t size)
{
    return ALLOCATE(__interceptor_calloc(n, size));
}

void *realloc(void *old, size_t size)
{
    return ALLOCATE(__interceptor_realloc(old, size));
}

void *reallocarray(void *old, size_t n, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes))
        return NULL;
    return ALLOCATE(__interceptor_realloc(old, bytes));
}

/* AddressSanitizer's do not call malloc(). */
char *strdup(const char *text)
{
    return ALLOCATE(__interceptor_strdup(text));
}

char *strndup(const char *text, size_t size)
{
    return ALLOCATE(__interceptor_strndup(text, size));
}

/* For the tests that have the linker lead allocations to failures of their own (tests/unit/failing.h): not here. */
void *__real_malloc(size_t size)
{
    return malloc(size);
}

void *__real_calloc(size_t n, size_t size)
{
    return calloc(n, size);
}

void *__real_realloc(void *old, size_t size)
{
    return realloc(old, size);
}

char *__real_strdup(const char *text)
{
    return strdup(text);
}

char *__real_strndup(const char *text, size_t size)
{
    return strndup(text, size);
}

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("REG_FAIL_ALLOC");
    void *frame;

    (void)backtrace(&frame, 1); /* loads what it needs, which allocates */
    wanted = text ? (unsigned)strtoul(text, NULL, 10) : 0;
    counting = text != NULL;
}

__attribute__((destructor)) static void end(void)
{
    counting = false;
    for (size_t i = 0; failed && i < BLOCKS_MAX; i++)
        if (blocks[i].block && blocks[i].test == failed_test)
            fprintf(stderr, "fail_alloc: of the same call: 0x%jx\n", (uintmax_t)~blocks[i].block);
    fprintf(stderr, "fail_alloc: %u ways, %s\n", n_ways, failed ? "one failed" : "none failed");
}
