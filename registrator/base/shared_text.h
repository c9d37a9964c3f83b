/* A text with several owners. The last owner frees it. */
#pragma once

#include "base/cleanup.h"

typedef struct SharedText {
    char *text;
    size_t size;
    unsigned n_owners;
} SharedText;

/* text: taken, malloc'd. NULL: text is NULL, or no memory. */
SharedText *shared_text_new(char *text);
/* Adds an owner. Returns shared. */
SharedText *shared_text_ref(SharedText *shared);
/* Removes an owner. shared may be NULL. Returns NULL. */
SharedText *shared_text_unref(SharedText *shared);
DEFINE_CLEANUP(SharedText, shared_text_unref)
