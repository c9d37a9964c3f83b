package main

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// The bodies of registrator/etcd/etcd3_request.c. tests/integration/simulated.bats compares them with the agent's.

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func leaseBody(id int64) string      { return fmt.Sprintf(`{"ID":"%d"}`, id) }
func timeToLiveBody(id int64) string { return fmt.Sprintf(`{"ID":"%d","keys":true}`, id) }
func grantBody(id int64, ttl int) string {
	return fmt.Sprintf(`{"ID":"%d","TTL":"%d"}`, id, ttl)
}

func rangesBody(keys []string, keysOnly bool) string {
	var body strings.Builder
	more := ""
	if keysOnly {
		more = `,"keys_only":true`
	}
	body.WriteString(`{"success":[`)
	for i, key := range keys {
		fmt.Fprintf(&body, `%s{"request_range":{"key":"%s"%s}}`, comma(i), encode(key), more)
	}
	body.WriteString("]}")
	return body.String()
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

// An operation puts a value, or deletes the key if there is none. known is the key's mod revision; 0: the key is absent.
type operation struct {
	key, value string
	known      int64
}

func applyBody(operations []operation, lease int64) string {
	var compare, success, failure strings.Builder
	for i, o := range operations {
		key := encode(o.key)
		fmt.Fprintf(&compare, `%s{"key":"%s","target":"MOD","result":"EQUAL","mod_revision":"%d"}`, comma(i), key, o.known)
		if o.value == "" {
			fmt.Fprintf(&success, `%s{"request_delete_range":{"key":"%s"}}`, comma(i), key)
		} else {
			fmt.Fprintf(&success, `%s{"request_put":{"key":"%s","value":"%s","lease":"%d"}}`, comma(i), key, encode(o.value), lease)
		}
		fmt.Fprintf(&failure, `%s{"request_range":{"key":"%s"}}`, comma(i), key)
	}
	return fmt.Sprintf(`{"compare":[%s],"success":[%s],"failure":[%s]}`, compare.String(), success.String(), failure.String())
}

// The lease IDs of registrator/etcd/etcd3_lease.c: plain A and B, and with the address A and B.
func leaseIDs(identity, layout, address string) [4]int64 {
	var ids [4]int64
	for slot := range ids {
		kind, of, letter := "plain", "", "A"
		if slot >= 2 {
			kind, of = "with address", address
		}
		if slot%2 == 1 {
			letter = "B"
		}
		hash := uint64(0xcbf29ce484222325)
		for _, text := range []string{identity, layout, kind, of, letter} {
			for _, b := range append([]byte(text), 0) {
				hash = (hash ^ uint64(b)) * 0x100000001b3
			}
		}
		hash = (hash ^ hash>>33) * 0xff51afd7ed558ccd
		hash = (hash ^ hash>>33) * 0xc4ceb9fe1a85ec53
		hash ^= hash >> 33
		if ids[slot] = int64(hash & (1<<63 - 1)); ids[slot] == 0 {
			ids[slot] = 1
		}
	}
	return ids
}
