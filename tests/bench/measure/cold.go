package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A program that is to publish n keys below a prefix, from its start to the last key.
type variant struct {
	name, prefix string
	command      []string
}

type variants []variant

func (v *variants) String() string { return "" }
func (v *variants) Set(text string) error {
	words := strings.Fields(text)
	if len(words) < 3 {
		return fmt.Errorf("wanted NAME PREFIX COMMAND..., got %q", text)
	}
	*v = append(*v, variant{words[0], words[1], words[2:]})
	return nil
}

func (v *variant) once(e etcd, changes <-chan change, n int, log *os.File) (float64, error) {
	if err := e.clear(); err != nil {
		return 0, err
	}
	if err := e.sync(changes); err != nil {
		return 0, err
	}
	seen := map[string]bool{}
	command := exec.Command(v.command[0], v.command[1:]...)
	command.Stdout, command.Stderr = log, log
	begin := time.Now()
	if err := command.Start(); err != nil {
		return 0, err
	}
	defer command.Wait()
	defer command.Process.Kill()
	end, err := await(changes, 60*time.Second, func(c change) bool {
		if !c.deleted && strings.HasPrefix(c.key, v.prefix) {
			seen[c.key] = true
		}
		return len(seen) == n
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %d of %d keys: %v", v.name, len(seen), n, err)
	}
	return float64(end.Sub(begin)) / 1e6, nil
}

func cold(arguments []string) error {
	var all variants
	flags := flag.NewFlagSet("cold", flag.ExitOnError)
	url := flags.String("etcd", "", "etcd's `URL`")
	n := flags.Int("n", 1000, "how many keys")
	rounds := flags.Int("rounds", 10, "how often each is run")
	logPath := flags.String("log", "/dev/null", "what they say goes there")
	flags.Var(&all, "variant", "`\"NAME PREFIX COMMAND...\"`; again for another one")
	flags.Parse(arguments)

	log, err := os.Create(*logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	e := etcd{*url}
	changes, err := e.watch()
	if err != nil {
		return err
	}
	samples := map[string][]float64{}
	// The first round warms up.
	for round := -1; round < *rounds; round++ {
		for i := range all {
			v := &all[(i+round+1)%len(all)]
			took, err := v.once(e, changes, *n, log)
			if err != nil {
				return err
			}
			if round >= 0 {
				samples[v.name] = append(samples[v.name], took)
			}
		}
	}
	for _, v := range all {
		printPercentiles("cold."+v.name, samples[v.name])
	}
	return e.clear()
}
