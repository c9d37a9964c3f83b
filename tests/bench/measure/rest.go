package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// numbers returns the "NAME: NUMBER kB" lines of a file in /proc.
func numbers(path string) (map[string]float64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := map[string]float64{}
	for _, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		if len(words) == 3 && words[2] == "kB" {
			found[strings.TrimSuffix(words[0], ":")], _ = strconv.ParseFloat(words[1], 64)
		}
	}
	return found, nil
}

type usage struct {
	cpuMS    float64 // by the scheduler's own account
	ticks    float64 // user and system
	switches float64 // how often it was woken up
	calls    map[string]float64
}

// cpuMS returns the CPU time of all threads of a process, by the scheduler's own account.
func cpuMS(pid int) (total float64, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no process has the number %d", pid)
	}
	for _, file := range files {
		var ns float64
		// A thread that ended in between has no file.
		if text, err := os.ReadFile(file); err == nil {
			fmt.Sscan(string(text), &ns)
		}
		total += ns / 1e6
	}
	return total, err
}

func readUsage(pid int, e etcd) (u usage, err error) {
	if u.cpuMS, err = cpuMS(pid); err != nil {
		return u, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	words := strings.Fields(rest)
	user, _ := strconv.ParseFloat(words[11], 64)
	system, _ := strconv.ParseFloat(words[12], 64)
	u.ticks = user + system
	text, err = os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	_, after, _ := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
	_, err = fmt.Sscan(after, &u.switches)
	if err != nil {
		return u, err
	}
	m, err := e.scrape()
	u.calls = m.calls()
	return u, err
}

func printMemory(name string, pid int) error {
	status, err := numbers(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	rollup, err := numbers(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return err
	}
	fmt.Printf("%s.rss_anon_kib %.0f\n", name, status["RssAnon"])
	fmt.Printf("%s.rss_kib %.0f\n", name, status["VmRSS"])
	fmt.Printf("%s.peak_kib %.0f\n", name, status["VmHWM"])
	// Clean private pages are those of libraries that nobody else happens to use at the moment.
	fmt.Printf("%s.dirty_kib %.0f\n", name, rollup["Private_Dirty"])
	fmt.Printf("%s.private_kib %.0f\n", name, rollup["Private_Clean"]+rollup["Private_Dirty"])
	return nil
}

func rest(arguments []string) error {
	flags := flag.NewFlagSet("rest", flag.ExitOnError)
	name := flags.String("name", "rest", "the results' `name`")
	url := flags.String("etcd", "", "etcd's `URL`")
	pid := flags.Int("pid", 0, "the agent's `pid`")
	seconds := flags.Float64("seconds", 60, "how long it is looked at")
	heartbeat := flags.Float64("heartbeat", 10, "its heartbeat, in seconds")
	flags.Parse(arguments)

	e := etcd{*url}
	changes, err := e.watch()
	if err != nil {
		return err
	}
	if err := e.sync(changes); err != nil {
		return err
	}
	before, err := readUsage(*pid, e)
	if err != nil {
		return err
	}
	begin := time.Now()
	time.Sleep(time.Duration(*seconds * float64(time.Second)))
	after, err := readUsage(*pid, e)
	if err != nil {
		return err
	}
	took := time.Since(begin).Seconds()

	if err := printMemory(*name, *pid); err != nil {
		return err
	}
	fmt.Printf("%s.seconds %.1f\n", *name, took)
	// As many heartbeats as there can be at most in that time.
	fmt.Printf("%s.beats %.0f\n", *name, math.Floor(took / *heartbeat)+1)
	fmt.Printf("%s.cpu_ms %.2f\n", *name, after.cpuMS-before.cpuMS)
	fmt.Printf("%s.ticks %.0f\n", *name, after.ticks-before.ticks)
	fmt.Printf("%s.wakeups %.0f\n", *name, after.switches-before.switches)
	fmt.Printf("%s.watch_events %d\n", *name, len(changes))
	var methods []string
	total := 0.0
	for method := range after.calls {
		if n := after.calls[method] - before.calls[method]; n > 0 {
			total += n
			methods = append(methods, fmt.Sprintf("%s:%.0f", method, n))
		}
	}
	sort.Strings(methods)
	fmt.Printf("%s.etcd_requests %.0f\n", *name, total)
	fmt.Printf("%s.etcd_methods %s\n", *name, strings.Join(methods, ","))
	return nil
}
