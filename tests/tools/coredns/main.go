// CoreDNS with just what the tests ask of it: its full set of plugins brings the clients of every
// cloud along, which take minutes to compile.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/etcd"
	_ "github.com/coredns/coredns/plugin/log"
)

func main() {
	// The order in which plugins see a query.
	dnsserver.Directives = []string{"log", "errors", "etcd"}
	coremain.Run()
}
