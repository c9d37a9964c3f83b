//go:build tools

// Package tools pins what tests/setup builds; nothing here is compiled.
package tools

import _ "github.com/abtreece/confd/cmd/confd"
