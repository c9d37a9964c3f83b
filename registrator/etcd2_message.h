/* Paths, forms and answers of etcd's v2 keys API. Pure. Builders return malloc'd text, or NULL without
 * memory. */
#pragma once

#include "json.h"

#include <stdbool.h>

/* errorCode of an answer. */
typedef enum Etcd2Error {
    ETCD2_OK = 0,
    ETCD2_KEY_NOT_FOUND = 100,
    ETCD2_TEST_FAILED = 101, /* prevValue or prevIndex: somebody else's now */
    ETCD2_NOT_FILE = 102, /* the key is a directory */
    ETCD2_NOT_DIR = 104, /* one of its parents is a key */
    ETCD2_NODE_EXIST = 105,
    ETCD2_ROOT_READ_ONLY = 107,
    ETCD2_UNAUTHORIZED = 110,
    ETCD2_INVALID_FIELD = 209,
    ETCD2_RAFT_INTERNAL = 300,
    ETCD2_LEADER_ELECT = 301,
    ETCD2_OTHER = 1000, /* none of the API's answers */
} Etcd2Error;

typedef struct Etcd2Node {
    bool is_directory;
    bool has_ttl;
    uint64_t revision;
    const char *value; /* the JSON's; "" if there is none */
} Etcd2Node;

char *etcd2_build_path(const char *key, const char *query);

/* ?prevValue=… */
char *etcd2_build_delete_path(const char *key, const char *previous);

typedef struct Etcd2Put {
    const char *value; /* NULL: only a refresh */
    unsigned ttl_s;
    const char *prev_value; /* or NULL */
    uint64_t prev_index; /* or 0 */
    bool prev_absent;
} Etcd2Put;

char *etcd2_build_form(const Etcd2Put *put);

/* ret_message is the JSON's own, or "". */
Etcd2Error etcd2_parse_error(const cJSON *json, long status, const char **ret_message);
/* -EBADMSG: no node in it. */
int etcd2_parse_node(const cJSON *json, Etcd2Node *ret);
