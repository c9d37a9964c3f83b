/* Builds requests to etcd's v2 keys API, and parses its answers. Pure. Builders return malloc'd text, or NULL without
 * memory. */
#pragma once

#include "base/json.h"

#include <stdbool.h>

/* errorCode of an answer, from etcd's error/error.go. */
typedef enum Etcd2Error {
    ETCD2_OK = 0,
    ETCD2_KEY_NOT_FOUND = 100,
    ETCD2_TEST_FAILED = 101, /* the key does not have this prevValue or prevIndex */
    ETCD2_NOT_FILE = 102, /* the key is a directory */
    ETCD2_NOT_DIR = 104, /* a parent of the key is a key */
    ETCD2_NODE_EXIST = 105,
    ETCD2_ROOT_READ_ONLY = 107,
    ETCD2_UNAUTHORIZED = 110, /* no permission for the key, or a wrong password */
    ETCD2_INVALID_FIELD = 209,
    ETCD2_RAFT_INTERNAL = 300,
    ETCD2_LEADER_ELECT = 301,
    ETCD2_OTHER = 1000, /* not an answer of the API */
} Etcd2Error;

typedef struct Etcd2Node {
    bool is_directory;
    bool has_ttl;
    uint64_t revision;
    const char *value; /* belongs to the JSON; "": no value */
} Etcd2Node;

char *etcd2_build_path(const char *key, const char *query);

/* The query has prevValue, and prevIndex unless index is 0. */
char *etcd2_build_delete_path(const char *key, const char *previous, uint64_t index);

typedef struct Etcd2Put {
    const char *value; /* NULL: a refresh */
    unsigned ttl_s;
    const char *prev_value; /* NULL: no condition */
    uint64_t prev_index; /* 0: no condition */
    bool prev_absent;
} Etcd2Put;

char *etcd2_build_form(const Etcd2Put *put);

/* *ret_message belongs to the JSON, or is "". */
Etcd2Error etcd2_parse_error(const cJSON *json, long status, const char **ret_message);
/* Finds the node's modifiedIndex in the body of a good answer, without parsing the JSON: a parse would cost a tenth
 * of a refresh. Returns 0 if the body has no index. */
uint64_t etcd2_find_index(const char *body);
/* Returns 0, or -EBADMSG if the answer has no node. The node's value belongs to the JSON. */
int etcd2_parse_node(const cJSON *json, Etcd2Node *ret);
