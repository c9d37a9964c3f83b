// The chaos test's program: it plans, it acts and records, and it judges what was recorded. The last part
// knows nothing but the record. tests/chaos/run makes the lab around it; docs/chaos.md tells of the whole.
package main

import (
	"flag"
	"fmt"
	"os"
)

func usage() int {
	fmt.Fprintln(os.Stderr, "usage: chaos plan|run [OPTIONS], chaos check HISTORY")
	return 2
}

func main() {
	if len(os.Args) < 2 {
		os.Exit(usage())
	}
	os.Exit(command(os.Args[1], os.Args[2:]))
}

func command(name string, arguments []string) int {
	var options Options
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	flags.Int64Var(&options.Seed, "seed", 1, "all decisions are drawn from it")
	flags.IntVar(&options.Seconds, "seconds", 90, "how long, roughly")
	flags.StringVar(&options.Lab, "lab", "", "the lab's directory")
	flags.StringVar(&options.Helper, "helper", "", "the program that does to the lab what takes a shell")
	flags.StringVar(&options.History, "history", "history.jsonl", "file to record in")
	flags.IntVar(&options.Limits.TTLS, "ttl", 10, "the agents'")
	flags.IntVar(&options.Limits.ResyncS, "resync", 5, "the agents'; when longer than 5 s, no key of theirs is deleted by hand")
	flags.IntVar(&options.Limits.SettleMS, "settle-ms", 10000, "by when etcd equals Docker after the faults")
	flags.IntVar(&options.Limits.CalmMS, "calm-ms", 2000, "by when etcd equals Docker where there are none")
	flags.IntVar(&options.Limits.LateMS, "late-ms", 500, "what is granted on top for a busy machine's lateness")
	flags.BoolVar(&options.Limits.OldLeaderRevokes, "old-leader-revokes", false, "what etcd before 3.4.31 and 3.5.13 does is no violation")
	noFaults := flags.Bool("no-faults", false, "operations only")
	_ = flags.Parse(arguments)
	options.Kinds = Kinds{Tamper: options.Limits.ResyncS <= tamperResyncS, Faults: !*noFaults}

	switch {
	case name == "plan" && flags.NArg() == 0:
		for n := 0; n < roundsIn(options.Seconds); n++ {
			fmt.Print(plan(options.Seed, n, options.Kinds))
		}
		return 0
	case name == "run" && flags.NArg() == 0:
		if err := run(options); err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", err)
			return 2
		}
		return judge(options.History)
	case name == "check" && flags.NArg() == 1:
		return judge(flags.Arg(0))
	}
	return usage()
}

// judge prints each violation and a line of figures. 0: there is none; 1: there are; 2: not to be read.
func judge(file string) int {
	records, err := readHistory(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	}
	verdict := check(records)
	for _, violation := range verdict.Violations {
		fmt.Println(violation)
	}
	fmt.Println(verdict.Figures())
	if len(verdict.Violations) > 0 {
		return 1
	}
	return 0
}
