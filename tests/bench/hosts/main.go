// Simulated hosts: the agents of thousands of hosts as coroutines of one process, which ask etcd as the real agent does.
// tests/bench/capacity measures with them.
package main

import (
	"fmt"
	"os"
	"sort"
)

var commands = map[string]func(arguments []string) error{
	"serve":  serve,
	"one":    one,
	"record": record,
	"shapes": shapes,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		var names []string
		for name := range commands {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintln(os.Stderr, "usage: hosts COMMAND [OPTIONS], COMMAND being one of", names)
		os.Exit(1)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "hosts %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
