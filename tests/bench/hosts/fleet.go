package main

import (
	"flag"
	"fmt"
	"math/rand"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A fleet is the simulated hosts, numbered from 0. One order at a time changes it.
type fleet struct {
	endpoints    []string
	ttl          int
	beat, resync time.Duration
	containers   int
	spread       bool // host i asks member i first, not the first member
	hosts        []*host
	complete     atomic.Int64 // hosts that are online, with each key as it must be
	stats        stats
}

func (f *fleet) flags(flags *flag.FlagSet) *string {
	flags.IntVar(&f.ttl, "ttl", 30, "the leases' TTL in `seconds`")
	flags.DurationVar(&f.beat, "heartbeat", 10*time.Second, "`time` between two heartbeats")
	flags.DurationVar(&f.resync, "resync", 60*time.Second, "`time` between two resyncs")
	flags.IntVar(&f.containers, "containers", 20, "how many containers each host has")
	flags.BoolVar(&f.spread, "spread", false, "the hosts ask different members first")
	return flags.String("etcd", "", "etcd's `URLs`, with commas")
}

func (f *fleet) setEndpoints(urls string) error {
	for _, text := range strings.Split(urls, ",") {
		endpoint, err := url.Parse(text)
		if err != nil || endpoint.Host == "" {
			return fmt.Errorf("'%s' is no URL", text)
		}
		f.endpoints = append(f.endpoints, endpoint.Host)
	}
	return nil
}

// Names and values are as long as those of a real host. The addresses are those for benchmarks.
func (f *fleet) newHost(i int) *host {
	name := fmt.Sprintf("sim%05d", i)
	h := f.bareHost(f.containers)
	h.leases = leaseIDs("simulated||"+name, "/app/", "")
	h.keys = func(container int) string { return fmt.Sprintf("/app/servers/%s-web-%02d", name, container) }
	h.values = func(container int) string {
		return fmt.Sprintf("198.18.%d.%d:%d", i/250, 1+i%250, 49153+container)
	}
	if f.spread {
		h.client.current = i % len(f.endpoints)
	}
	return h
}

func (f *fleet) bareHost(containers int) *host {
	return &host{fleet: f, client: client{endpoints: f.endpoints}, known: make([]int64, containers),
		stopped: make([]bool, containers), orders: make(chan int, containers)}
}

func (h *host) start() {
	h.stop, h.finished = make(chan struct{}), make(chan struct{})
	go h.run()
}

func (h *host) kill() {
	if h.stop != nil {
		close(h.stop)
		<-h.finished
		h.stop = nil
	}
}

// each calls fn for hosts first to first+count-1, so many a second; all at once if rate is 0.
func (f *fleet) each(first, count, rate int, fn func(i int)) {
	begin := time.Now()
	for n := 0; n < count; n++ {
		if rate > 0 {
			time.Sleep(time.Until(begin.Add(time.Duration(n) * time.Second / time.Duration(rate))))
		}
		fn(first + n)
	}
}

func (f *fleet) grow(count, rate int) {
	f.each(len(f.hosts), count, rate, func(i int) {
		h := f.newHost(i)
		f.hosts = append(f.hosts, h)
		h.start()
	})
}

func (f *fleet) lose(first, count int) {
	f.each(first, count, 0, func(i int) { close(f.hosts[i].stop) })
	f.each(first, count, 0, func(i int) {
		<-f.hosts[i].finished
		f.hosts[i].stop = nil
	})
}

// start starts hosts that do not run; restart stops those that do first. Either begins with nothing known, as a program does.
func (f *fleet) start(first, count, rate int) {
	f.each(first, count, rate, func(i int) {
		f.hosts[i].kill()
		f.hosts[i] = f.newHost(i)
		f.hosts[i].start()
	})
}

// change stops or starts a container on some host, so many times a second.
func (f *fleet) change(count, rate int) {
	f.each(0, count, rate, func(n int) {
		h := f.hosts[rand.Intn(len(f.hosts))]
		if h.stop != nil {
			h.orders <- rand.Intn(f.containers)
		}
	})
}

// await returns how long it took until so many hosts are complete.
func (f *fleet) await(count int, limit time.Duration) (time.Duration, error) {
	begin := time.Now()
	for f.complete.Load() < int64(count) {
		if time.Since(begin) > limit {
			return limit, fmt.Errorf("%d of %d hosts are complete after %v", f.complete.Load(), count, limit)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begin), nil
}

// one is a single host whose keys are given, for the comparison with a real agent. It ends on SIGTERM. With SIGUSR1, it stops
// or starts its first container.
func one(arguments []string) error {
	var f fleet
	flags := flag.NewFlagSet("one", flag.ExitOnError)
	urls := f.flags(flags)
	identity := flags.String("identity", "", "the `text` that the lease IDs are made of")
	layout := flags.String("layout", "/app/", "the keys' `prefix`")
	address := flags.String("address", "", "the advertised `address`")
	file := flags.String("keys", "", "`file` with a key and its value on each line")
	flags.Parse(arguments)
	if err := f.setEndpoints(*urls); err != nil {
		return err
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	field := func(i, n int) string { return strings.SplitN(lines[i], " ", 2)[n] }
	h := f.bareHost(len(lines))
	h.leases = leaseIDs(*identity, *layout, *address)
	h.keys = func(i int) string { return field(i, 0) }
	h.values = func(i int) string { return field(i, 1) }
	h.start()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	for of := range signals {
		if of == syscall.SIGTERM {
			break
		}
		h.orders <- 0
	}
	h.kill()
	return nil
}
