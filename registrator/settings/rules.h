/* Converts settings to the rules by which containers become keys. */
#pragma once

#include "catalog/record.h"
#include "settings/settings.h"

/* Fills all rules except the addresses, which the agent finds at run time. The rules point into settings. *ret_labels
 * is the array behind rules->labels, malloc'd for the caller. Returns 0 or -ENOMEM. */
int rules_from_settings(Rules *ret, const Settings *settings, const char ***ret_labels);

/* Returns the directory of the layout's keys with the default service, malloc'd: "/app/servers" for
 * "/app/{service}/{name}". Returns NULL if the directory depends on the container, or without memory. */
char *rules_directory(const Layout *layout, const char *node);

/* Does any key or value contain the advertised address? */
bool rules_show_address(const Rules *rules);
/* Returns the text that contains the address of a key in etcd: value, or key. The literal beginning of the key
 * identifies its layout. Returns NULL if no layout has such keys, or if the key may belong to a layout without an
 * address. */
const char *rules_address_text(const Rules *rules, const char *key, const char *value);
