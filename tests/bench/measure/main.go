// What tests/bench/run measures with: one subcommand a measurement, each printing "NAME VALUE" lines,
// and one that makes the document out of them.
package main

import (
	"fmt"
	"os"
	"sort"
)

var commands = map[string]func(arguments []string) error{
	"latency": latency,
	"parts":   parts,
	"cold":    cold,
	"rest":    rest,
	"fleet":   fleetCommand,
	"report":  report,

	"peer-turns":  peerTurns,
	"peer-rest":   peerRest,
	"percentiles": percentiles,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		var names []string
		for name := range commands {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintln(os.Stderr, "usage: bench COMMAND [OPTIONS], COMMAND being one of", names)
		os.Exit(1)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// percentile by the nearest rank; values are sorted.
func percentile(values []float64, p float64) float64 {
	i := int(p/100*float64(len(values))+0.9999999) - 1
	if i < 0 {
		i = 0
	}
	return values[i]
}

// printPercentiles prints NAME.n, .p50, .p90, .p99 and .max.
func printPercentiles(name string, values []float64) {
	sort.Float64s(values)
	fmt.Printf("%s.n %d\n", name, len(values))
	if len(values) == 0 {
		return
	}
	for _, p := range []float64{50, 90, 99} {
		fmt.Printf("%s.p%.0f %.3f\n", name, p, percentile(values, p))
	}
	fmt.Printf("%s.min %.3f\n", name, values[0])
	fmt.Printf("%s.max %.3f\n", name, values[len(values)-1])
}
