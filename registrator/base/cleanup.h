/* Ownership helpers: a local owner carries CLEANUP(…), success hands it over with TAKE_PTR. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* unused: clang warns about a variable that only its cleanup reads. */
#define CLEANUP(f) __attribute__((cleanup(f), unused))

/* Evaluates to the pointer and leaves NULL behind, so that the cleanup has nothing to do. */
#define TAKE_PTR(p)                          \
    ({                                       \
        __typeof__(p) *taken_from_ = &(p);   \
        __typeof__(p) taken_ = *taken_from_; \
        *taken_from_ = NULL;                 \
        taken_;                              \
    })

/* Defines func_p(), the form that CLEANUP needs, for a destructor that takes a pointer. */
#define DEFINE_CLEANUP(type, func)                                \
    __attribute__((unused)) static inline void func##_p(type **p) \
    {                                                             \
        if (*p)                                                   \
            func(*p);                                             \
    }

static inline void free_p(void *p)
{
    free(*(void **)p);
}
#define CLEANUP_FREE CLEANUP(free_p)

static inline void fclose_p(FILE **f)
{
    if (*f)
        fclose(*f);
}

static inline void close_fd_p(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define CLEANUP_CLOSE CLEANUP(close_fd_p)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
