#include "base/shared_text.h"

#include <string.h>

SharedText *shared_text_new(char *text)
{
    CLEANUP_FREE char *owned = text;
    SharedText *shared = owned ? calloc(1, sizeof(*shared)) : NULL;

    if (!shared)
        return NULL;
    shared->size = strlen(owned);
    shared->text = TAKE_PTR(owned);
    shared->n_owners = 1;
    return shared;
}

SharedText *shared_text_ref(SharedText *shared)
{
    shared->n_owners++;
    return shared;
}

SharedText *shared_text_unref(SharedText *shared)
{
    if (!shared || --shared->n_owners > 0)
        return NULL;
    free(shared->text);
    free(shared);
    return NULL;
}
