/* The web pages of this host and of all hosts, for --listen. They work without JavaScript and load nothing from
 * other servers. Pure. */
#pragma once

#include "fleet/fleet.h"

#include <cjson/cJSON.h>

/* status: from status_json(). The HTML, malloc'd; NULL: no memory. */
char *page_html(const cJSON *status);
/* fleet: NULL: the read failed, and why is the error; why NULL as well: a read is under way, and the page asks again
 * after a second. prefixes: of the keys. time: when etcd answered, or when the read failed. The HTML, malloc'd;
 * NULL: no memory. */
char *page_fleet_html(const Fleet *fleet, const char *why, const char *prefixes, const char *time);
/* Returns a file that the pages load: "/page.css" or "/page.js". *ret_type: its content type. NULL: no such file. */
const char *page_file(const char *path, const char **ret_type);
