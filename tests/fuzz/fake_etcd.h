/* etcd as the fuzzer plays it: the answers stand in the input, one after the other, with a line "--" between them.
 * "404 BODY" has that status, "-111" is an error of the transport, and what begins with no number is a body with
 * status 200. When they are used up, the last one comes some more times, and then none any more. */
#pragma once

#include "etcd/etcd.h"

/* Looks at each request that is made. */
typedef void (*FakeEtcdCheckFn)(const EtcdSpec *spec);

/* The input that answers from now on, from its beginning. */
void fake_etcd_rewind(const uint8_t *data, size_t size, FakeEtcdCheckFn check);
/* Answers the oldest request. False: there is none. */
bool fake_etcd_answer(Etcd *etcd);
