/* Settings → the rules by which containers become keys. */
#pragma once

#include "record.h"
#include "settings.h"

/* Everything but the addresses, which are found out at run time. The rules point into settings; *ret_labels is
 * the array behind rules->labels, malloc'd for the caller. 0 or -ENOMEM. */
int rules_from_settings(Rules *ret, const Settings *settings, const char ***ret_labels);

/* The directory that the default service's keys stand in ("/app/servers" of "/app/{service}/{name}"), malloc'd;
 * NULL if it depends on the container, or without memory. */
char *rules_directory(const Settings *settings);
