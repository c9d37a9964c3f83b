package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A server holds the hosts and the watchers. tests/bench/capacity gives it orders through a unix socket, and etcd's deeds
// (a member that is killed, a compaction) in between.
type server struct {
	fleet    fleet
	sampler  sampler
	lock     sync.Mutex
	watchers []*watcher
	number   int
	probing  atomic.Bool
}

func serve(arguments []string) error {
	var s server
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	urls := s.fleet.flags(flags)
	control := flags.String("control", "", "`path` of the control socket")
	timeline := flags.String("timeline", "", "`file` for a row each second")
	pids := flags.String("pids", "", "the members' pid `files`, with commas")
	flags.Parse(arguments)

	if err := s.fleet.setEndpoints(*urls); err != nil {
		return err
	}
	out, err := os.Create(*timeline)
	if err != nil {
		return err
	}
	for i, file := range strings.Split(*pids, ",") {
		s.sampler.members = append(s.sampler.members, &member{url: "http://" + s.fleet.endpoints[i], pidFile: file,
			client: http.Client{Timeout: 900 * time.Millisecond}})
	}
	s.sampler.fleet, s.sampler.out, s.sampler.watchers = &s.fleet, out, s.allWatchers
	s.sampler.phase("start", out)
	go s.sampler.run()
	listener, err := net.Listen("unix", *control)
	if err != nil {
		return err
	}
	go http.Serve(listener, http.HandlerFunc(s.order))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
	return nil
}

func (s *server) allWatchers() []*watcher {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.watchers
}

// order: the path is the verb. Numbers are arguments of the query.
func (s *server) order(w http.ResponseWriter, r *http.Request) {
	number := func(name string) int {
		n, _ := strconv.Atoi(r.URL.Query().Get(name))
		return n
	}
	first, count, rate := number("first"), number("count"), number("rate")
	limit := time.Duration(number("limit")) * time.Second
	name := r.URL.Query().Get("name")
	f := &s.fleet
	var err error
	var took time.Duration
	switch r.URL.Path {
	case "/phase":
		s.sampler.phase(name, w)
	case "/grow":
		f.grow(count, rate)
	case "/lose":
		for _, one := range s.allWatchers() {
			one.before = one.deletes.Load()
		}
		f.lose(first, count)
	case "/start":
		f.start(first, count, rate)
	case "/change":
		f.change(count, rate)
	case "/watch":
		err = s.watch(count, first)
	case "/unwatch":
		s.unwatch()
	case "/probe":
		go s.probe(count)
	case "/await":
		if took, err = f.await(count, limit); err == nil {
			fmt.Fprintf(w, "%s_s %.2f\n", name, took.Seconds())
		}
	case "/deletes":
		if took, err = s.awaitDeletes(count, limit); err == nil {
			fmt.Fprintf(w, "%s_s %.2f\n", name, took.Seconds())
		}
	case "/watched":
		s.watched(name, w)
	default:
		err = fmt.Errorf("no such order")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
	}
}

// watch adds watchers, of the given member.
func (s *server) watch(count, member int) error {
	for i := 0; i < count; i++ {
		w, err := watch(s.fleet.endpoints[member], "/app/", s.fleet.stats.probeSeen)
		if err != nil {
			return err
		}
		s.lock.Lock()
		s.watchers = append(s.watchers, w)
		s.lock.Unlock()
	}
	return nil
}

func (s *server) unwatch() {
	for _, w := range s.allWatchers() {
		w.conn.Close()
	}
}

// probe writes a key each 200 ms, which all watchers should see at once.
func (s *server) probe(count int) {
	c := client{endpoints: s.fleet.endpoints}
	defer c.close()
	for i := 0; i < count; i++ {
		s.number++
		key := fmt.Sprintf("%s%08d", probePrefix, s.number)
		s.fleet.stats.probeBegins(s.number, len(s.allWatchers()))
		c.call("POST", "/v3/kv/put", fmt.Sprintf(`{"key":"%s","value":"%s"}`, encode(key), encode("probe")), requestTimeout)
		time.Sleep(200 * time.Millisecond)
	}
}

// awaitDeletes waits until each watcher has seen so many deletes since hosts were lost.
func (s *server) awaitDeletes(count int, limit time.Duration) (time.Duration, error) {
	begin := time.Now()
	for {
		least := int64(1) << 62
		for _, w := range s.allWatchers() {
			if n := w.deletes.Load() - w.before; n < least {
				least = n
			}
		}
		if least >= int64(count) {
			return time.Since(begin), nil
		}
		if time.Since(begin) > limit {
			return limit, fmt.Errorf("a watcher has seen %d of %d deletes after %v", least, count, limit)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *server) watched(name string, w http.ResponseWriter) {
	var events, deletes, bytes int64
	ended := 0
	for _, one := range s.allWatchers() {
		events += one.events.Load()
		deletes += one.deletes.Load()
		bytes += one.bytes.Load()
		if one.ended.Load() {
			ended++
		}
	}
	fmt.Fprintf(w, "%s.watchers %d\n%s.ended %d\n%s.events %d\n%s.deletes %d\n%s.bytes %d\n", name, len(s.allWatchers()), name,
		ended, name, events, name, deletes, name, bytes)
}
