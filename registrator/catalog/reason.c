#include "catalog/reason.h"

#include "base/cleanup.h"

#include <string.h>

static const struct {
    const char *token;
    const char *phrase;
    const char *remedy;
    ReasonSource source;
} reasons[] = {
#define REASON_TEXTS(name, token_, source_, phrase_, remedy_) \
    { .token = (token_), .phrase = (phrase_), .remedy = (remedy_), .source = (source_) },
    REASON_TABLE(REASON_TEXTS)
#undef REASON_TEXTS
};

_Static_assert(ARRAY_SIZE(reasons) == REASON_MAX_, "every reason has a row");

static Reason known_reason(Reason reason)
{
    return (unsigned)reason < REASON_MAX_ ? reason : REASON_NONE;
}

const char *reason_to_string(Reason reason)
{
    return reasons[known_reason(reason)].phrase;
}

const char *reason_remedy(Reason reason)
{
    return reasons[known_reason(reason)].remedy;
}

const char *reason_token(Reason reason)
{
    return reasons[known_reason(reason)].token;
}

ReasonSource reason_source(Reason reason)
{
    return reasons[known_reason(reason)].source;
}

Reason reason_from_token(const char *token)
{
    Reason reason = REASON_NONE;

    while (reason < REASON_MAX_ && (!token || strcmp(reasons[reason].token, token) != 0))
        reason++;
    return reason;
}
