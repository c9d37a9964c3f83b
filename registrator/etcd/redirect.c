#include "etcd/redirect.h"

#include "base/cleanup.h"
#include "http/http.h"

#include <string.h>
#include <strings.h>

static bool has_tls(const char *url)
{
    return strncasecmp(url, "https://", strlen("https://")) == 0;
}

bool redirect_is_weaker(const char *from, const char *to)
{
    return has_tls(from) && !has_tls(to);
}

bool redirect_is_listed(const char *list, const char *origin)
{
    static const char separators[] = ", \t\r\n";

    while (*(list += strspn(list, separators)) != '\0') {
        size_t size = strcspn(list, separators);
        CLEANUP_FREE char *url = strndup(list, size);
        CLEANUP_FREE char *listed = url ? http_origin(url) : NULL;

        if (listed && strcasecmp(listed, origin) == 0)
            return true;
        list += size;
    }
    return false;
}
