// What Traefik makes of the keys in etcd: its own etcd provider, and a line of JSON on stdout for each
// configuration that it would route by from then on. All of Traefik would take ten minutes to build.
//
// usage: traefik HOST:PORT…
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/provider/kv/etcd"
	"github.com/traefik/traefik/v3/pkg/safe"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	provider := &etcd.Provider{}
	provider.SetDefaults()
	provider.Endpoints = os.Args[1:]
	check(provider.Init())
	configurations := make(chan dynamic.Message)
	go func() {
		check(provider.Provide(configurations, safe.NewPool(context.Background())))
	}()
	for message := range configurations {
		text, err := json.Marshal(message.Configuration)
		check(err)
		fmt.Println(string(text))
	}
}
