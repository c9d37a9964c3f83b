//go:build tools

// Package tools pins what tests/setup builds; nothing here is compiled.
package tools

import _ "go.etcd.io/etcd/server/v3"
