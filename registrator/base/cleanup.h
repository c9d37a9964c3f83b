/* Ownership: a local owner has CLEANUP(…), and success hands the object over with TAKE_PTR. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* unused: clang warns about a variable that only its cleanup uses. */
#define CLEANUP(f) __attribute__((cleanup(f), unused))

/* Evaluates to the pointer, and sets the variable to NULL, so that the cleanup does nothing. */
#define TAKE_PTR(p)                          \
    ({                                       \
        __typeof__(p) *taken_from_ = &(p);   \
        __typeof__(p) taken_ = *taken_from_; \
        *taken_from_ = NULL;                 \
        taken_;                              \
    })

/* Defines func_p(), which CLEANUP needs, for a destructor that takes a pointer. */
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
