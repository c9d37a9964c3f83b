/* The web pages, for --listen, of this host and of all hosts: readable without JavaScript; nothing comes from elsewhere. Pure. */
#pragma once

#include "fleet/fleet.h"

#include <cjson/cJSON.h>

/* status: status_json()'s. malloc'd; NULL: no memory. */
char *page_html(const cJSON *status);
/* fleet: NULL: there is none, because of why; why NULL: the agent is asking etcd, and the page asks again in a second.
 * prefixes: of the keys. time: when etcd answered, or failed. malloc'd; NULL: no memory. */
char *page_fleet_html(const Fleet *fleet, const char *why, const char *prefixes, const char *time);
/* What the pages load: "/page.css", "/page.js". *ret_type: its content type. NULL: there is no such file. */
const char *page_file(const char *path, const char **ret_type);
