/* A text that several owners read: it is freed with the last one. */
#pragma once

#include "base/cleanup.h"

typedef struct SharedText {
    char *text;
    size_t size;
    unsigned n_owners;
} SharedText;

/* Takes text, malloc'd. NULL: text is NULL, or there was no memory. */
SharedText *shared_text_new(char *text);
/* One more owner. */
SharedText *shared_text_ref(SharedText *shared);
/* One owner less; NULL is fine. Returns NULL. */
SharedText *shared_text_unref(SharedText *shared);
DEFINE_CLEANUP(SharedText, shared_text_unref)
