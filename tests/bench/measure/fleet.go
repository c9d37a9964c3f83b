package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A fleet is many agents on one machine, each with an engine of a fake Docker and a directory of its own,
// NNNN, with log and control socket.
type fleet struct {
	n          int
	containers int
	dir        string
	etcd       etcd
	endpoints  string
	beside     bool
}

var fleetCommands = map[string]func(f *fleet, flags *flag.FlagSet, arguments []string) error{
	"start":   (*fleet).start,
	"floor":   (*fleet).floor,
	"grow":    (*fleet).grow,
	"check":   (*fleet).check,
	"stop":    (*fleet).stop,
	"look":    (*fleet).look,
	"rest":    (*fleet).rest,
	"return":  (*fleet).comeBack,
	"death":   (*fleet).death,
	"changes": (*fleet).changes,
	"reader":  (*fleet).reader,
}

// fleetCommand: what can be done with a fleet, one verb a call, so that a script can do the rest in between.
func fleetCommand(arguments []string) error {
	if len(arguments) == 0 || fleetCommands[arguments[0]] == nil {
		return fmt.Errorf("no such verb: %v", arguments)
	}
	var f fleet
	flags := flag.NewFlagSet("fleet "+arguments[0], flag.ExitOnError)
	f.flags(flags)
	return fleetCommands[arguments[0]](&f, flags, arguments[1:])
}

func (f *fleet) flags(flags *flag.FlagSet) {
	flags.IntVar(&f.n, "n", 1000, "how many agents")
	flags.IntVar(&f.containers, "containers", 20, "how many containers each has")
	flags.StringVar(&f.dir, "dir", "", "their `directory`")
	flags.StringVar(&f.etcd.url, "etcd", "", "etcd's `URL`")
	flags.StringVar(&f.endpoints, "endpoints", "", "the `URLs` that the agents are given, if there are more members than one")
	flags.BoolVar(&f.beside, "beside", false, "there are keys of other hosts")
}

func (f *fleet) keys() int { return f.n * f.containers }

func host(i int) string { return fmt.Sprintf("host%04d", i) }

// Of the addresses for benchmarks, 198.18.0.0/15: an agent asks nobody whether an address that it was given is its
// host's.
func address(i int) string { return fmt.Sprintf("198.19.%d.%d", i/250, 1+i%250) }

func (f *fleet) home(i int) string { return filepath.Join(f.dir, fmt.Sprintf("%04d", i)) }

// key: of a container as the fake names it with --names 'host%e-web-%02d'.
func key(i, container int) string {
	return fmt.Sprintf("/app/servers/%s-web-%02d", host(i), container)
}

// hostOf returns -1 for a key that is none of a fleet's.
func hostOf(key string) int {
	rest := strings.TrimPrefix(key, "/app/servers/host")
	number, _, ok := strings.Cut(rest, "-")
	i, err := strconv.Atoi(number)
	if rest == key || !ok || err != nil {
		return -1
	}
	return i
}

func (f *fleet) spawn(i int, agent string, more []string) (int, error) {
	home := f.home(i)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return 0, err
	}
	log, err := os.OpenFile(filepath.Join(home, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	endpoints := f.endpoints
	if endpoints == "" {
		endpoints = f.etcd.url
	}
	arguments := append([]string{"--config", "/dev/null",
		"--docker", fmt.Sprintf("unix://%s/docker/%04d.sock", f.dir, i), "--etcd", endpoints, "--node", host(i),
		"--advertise", address(i), "--control", filepath.Join(home, "control.sock")}, more...)
	command := exec.Command(agent, arguments...)
	command.Env = []string{"PATH=" + os.Getenv("PATH")}
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return 0, err
	}
	pid := command.Process.Pid
	return pid, command.Process.Release()
}

func (f *fleet) pidFile() string { return filepath.Join(f.dir, "pids") }

func (f *fleet) pids() ([]int, error) {
	text, err := os.ReadFile(f.pidFile())
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

func seconds(from, to time.Time) float64 { return to.Sub(from).Seconds() }

// start starts the agents one after another without waiting for any, until all their keys are there; or, if
// they have no containers, all their leases.
func (f *fleet) start(flags *flag.FlagSet, arguments []string) error {
	name := flags.String("name", "cold", "the results' `name`")
	agent := flags.String("agent", "", "the agent's `program`; what follows the options is given to each")
	api := flags.String("api", "v3", "`v3` or v2")
	limit := flags.Duration("limit", 5*time.Minute, "how long it may take")
	flags.Parse(arguments)

	var changes <-chan change
	var err error
	if *api == "v3" {
		if changes, err = f.etcd.watch(); err != nil {
			return err
		}
	}
	pids, err := os.Create(f.pidFile())
	if err != nil {
		return err
	}
	defer pids.Close()
	out := bufio.NewWriter(pids)
	begin := time.Now()
	for i := 0; i < f.n; i++ {
		pid, err := f.spawn(i, *agent, flags.Args())
		if err != nil {
			return err
		}
		fmt.Fprintln(out, pid)
	}
	started := time.Now()
	if err := out.Flush(); err != nil {
		return err
	}
	fmt.Printf("%s.spawned_s %.2f\n", *name, seconds(begin, started))
	var half, end time.Time
	switch {
	case *api == "v2":
		end, err = f.awaitV2(f.keys(), *limit)
	case f.containers == 0:
		end, err = f.awaitLeases(f.n, *limit)
	default:
		half, end, err = awaitKeys(changes, f.keys(), *limit, nil)
		fmt.Printf("%s.half_s %.2f\n", *name, seconds(begin, half))
	}
	if err != nil {
		return err
	}
	fmt.Printf("%s.all_s %.2f\n", *name, seconds(begin, end))
	return nil
}

// awaitKeys returns when half of n different keys, and when all of them, were put. It calls step, if there is one, at each
// twentieth of them.
func awaitKeys(changes <-chan change, n int, limit time.Duration, step func(keys int, at time.Time)) (half, all time.Time,
	err error) {
	seen := map[string]bool{}
	all, err = await(changes, limit, func(c change) bool {
		before := len(seen)
		if !c.deleted && hostOf(c.key) >= 0 {
			seen[c.key] = true
		}
		if step != nil && len(seen)*20/n > before*20/n {
			step(len(seen), c.at)
		}
		if len(seen) == n/2 && half.IsZero() {
			half = c.at
		}
		return len(seen) == n
	})
	if err != nil {
		err = fmt.Errorf("%d of %d keys: %v", len(seen), n, err)
	}
	return half, all, err
}

func (f *fleet) poll(limit time.Duration, what string, done func() (bool, error)) (time.Time, error) {
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		ok, err := done()
		at := time.Now()
		if err != nil || ok {
			return at, err
		}
		if at.Sub(begin) > limit {
			return at, fmt.Errorf("waited %v for %s", limit, what)
		}
	}
}

func (f *fleet) awaitLeases(n int, limit time.Duration) (time.Time, error) {
	return f.poll(limit, "the leases", func() (bool, error) {
		m, err := f.etcd.scrape()
		return err == nil && m.sum("etcd_debugging_lease_granted_total") >= float64(n), err
	})
}

func (f *fleet) awaitV2(n int, limit time.Duration) (time.Time, error) {
	return f.poll(limit, "the keys", func() (bool, error) {
		found, err := f.etcd.count2("/app/servers")
		return found >= n, err
	})
}

// floor starts a program that ends at once, as often and in the same way as start does the agent.
func (f *fleet) floor(flags *flag.FlagSet, arguments []string) error {
	flags.Parse(arguments)
	if flags.NArg() == 0 {
		return fmt.Errorf("no program to start")
	}
	var running []*exec.Cmd
	begin := time.Now()
	for i := 0; i < f.n; i++ {
		command := exec.Command(flags.Arg(0), flags.Args()[1:]...)
		if err := command.Start(); err != nil {
			return err
		}
		running = append(running, command)
	}
	for _, command := range running {
		if err := command.Wait(); err != nil {
			return err
		}
	}
	fmt.Printf("floor.started_s %.2f\n", seconds(begin, time.Now()))
	return nil
}

// grow has each engine start its containers at the same moment, until all keys are there.
func (f *fleet) grow(flags *flag.FlagSet, arguments []string) error {
	flags.Parse(arguments)
	changes, err := f.etcd.watch()
	if err != nil {
		return err
	}
	begin := time.Now()
	if _, err := f.fake().call("GET", fmt.Sprintf("/count?n=%d", f.containers), ""); err != nil {
		return err
	}
	_, end, err := awaitKeys(changes, f.keys(), 5*time.Minute, nil)
	fmt.Printf("grow.all_s %.2f\n", seconds(begin, end))
	return err
}

func (f *fleet) fake() docker { return newDocker(filepath.Join(f.dir, "fake")) }

// check compares what stands in etcd with what the engines run, and counts the leases.
func (f *fleet) check(flags *flag.FlagSet, arguments []string) error {
	name := flags.String("name", "check", "the results' `name`")
	flags.Parse(arguments)

	expected := map[string]string{}
	fake := f.fake()
	for i := 0; i < f.n; i++ {
		text, err := fake.call("GET", fmt.Sprintf("/expected?engine=%d&address=%s", i, address(i)), "")
		if err != nil {
			return err
		}
		for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			key, value, _ := strings.Cut(line, " ")
			expected[key] = value
		}
	}
	found, err := f.etcd.all("/app/")
	if err != nil {
		return err
	}
	wrong, bytes := 0, 0
	leases, ofHost := map[string]int{}, map[int]string{}
	own := 0
	for _, kv := range found {
		i := hostOf(string(kv.Key))
		if i < 0 && f.beside {
			continue
		}
		own++
		if expected[string(kv.Key)] != string(kv.Value) || (ofHost[i] != "" && ofHost[i] != kv.Lease) {
			wrong++
		}
		leases[kv.Lease]++
		ofHost[i] = kv.Lease
		bytes += len(kv.Key) + len(kv.Value)
	}
	if own > 0 {
		fmt.Printf("%s.key_and_value_bytes %.1f\n", *name, float64(bytes)/float64(own))
	}
	fmt.Printf("%s.keys %d\n%s.leases %d\n", *name, own, *name, len(leases))
	if wrong > 0 || own != len(expected) || len(leases) != len(ofHost) {
		return fmt.Errorf("%d keys, %d expected, %d wrong; %d leases of %d hosts", own, len(expected), wrong,
			len(leases), len(ofHost))
	}
	return nil
}

// stop ends all agents of the fleet, and returns when they are gone.
func (f *fleet) stop(flags *flag.FlagSet, arguments []string) error {
	flags.Parse(arguments)
	pids, err := f.pids()
	if err != nil {
		return err
	}
	for i, pid := range pids {
		if f.runs(i, pid) {
			syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	_, err = f.poll(time.Minute, "the agents' end", func() (bool, error) {
		for i, pid := range pids {
			if f.runs(i, pid) {
				return false, nil
			}
		}
		return true, os.Remove(f.pidFile())
	})
	return err
}

// runs: agent i does, and its number was not given to something else.
func (f *fleet) runs(i, pid int) bool {
	// A zombie has no arguments any more.
	arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(arguments, []byte(f.home(i)+"/"))
}
