/* Which redirects of a server the agent follows. Pure. */
#pragma once

#include <stdbool.h>

/* Does the URL `from` have TLS, and the URL `to` none? */
bool redirect_is_weaker(const char *from, const char *to);

/* Does one URL of the list have this origin (see http_origin())? Commas and blanks separate the URLs, as in the answer of
 * /v2/machines. */
bool redirect_is_listed(const char *list, const char *origin);
