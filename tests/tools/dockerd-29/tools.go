//go:build tools

// Package tools pins what tests/setup builds; nothing here is compiled.
package tools

import (
	_ "github.com/moby/moby/v2/cmd/docker-proxy"
	_ "github.com/moby/moby/v2/cmd/dockerd"
)
