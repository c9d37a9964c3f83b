package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

// What tests/bench/peers measures with.

// watch2 is watch for the v2 store. etcd sends the header at once, when no change is missed any more.
func (e etcd) watch2() (<-chan change, error) {
	answer, err := http.Get(e.url + "/v2/keys/?wait=true&recursive=true&stream=true")
	if err != nil {
		return nil, err
	}
	changes := make(chan change, 100000)
	go func() {
		decoder := json.NewDecoder(bufio.NewReaderSize(answer.Body, 1<<20))
		for {
			var event struct {
				Action string
				Node   struct{ Key string }
			}
			if decoder.Decode(&event) != nil {
				close(changes)
				return
			}
			deleted := event.Action == "delete" || event.Action == "compareAndDelete" || event.Action == "expire"
			changes <- change{event.Node.Key, deleted, time.Now()}
		}
	}()
	return changes, nil
}

func (e etcd) put2(key, value string) error {
	request, err := http.NewRequest(http.MethodPut, e.url+"/v2/keys"+key,
		strings.NewReader(url.Values{"value": {value}}.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(request)
	if err == nil {
		answer.Body.Close()
	}
	return err
}

// watchAPI returns a watch of the store of that API, "v2" or "v3", that has begun.
func (e etcd) watchAPI(api string) (<-chan change, error) {
	if api == "v3" {
		return e.watch()
	}
	changes, err := e.watch2()
	if err == nil {
		err = e.put2(marker, time.Now().String())
	}
	if err == nil {
		_, err = await(changes, 10*time.Second, func(c change) bool { return c.key == marker })
	}
	return changes, err
}

// peerTurns starts and ends a container while one program runs, and prints each sample: "WHAT.NAME MILLISECONDS". A
// change that the program does not make is "lost.NAME", and not the end.
func peerTurns(arguments []string) error {
	flags := flag.NewFlagSet("peer-turns", flag.ExitOnError)
	name := flags.String("name", "", "the program's `name` in the results")
	socket := flags.String("docker", "", "Docker's `socket`")
	url := flags.String("etcd", "", "etcd's `URL`")
	api := flags.String("api", "v3", "`v2` or v3")
	container := flags.String("container", "", "the container's `name`")
	key := flags.String("key", "", "the `key` that it should get")
	turns := flags.Int("turns", 10, "how often it is started")
	warmUp := flags.Int("warm-up", 1, "how often before that, not counted")
	seed := flags.Int64("seed", 1, "the pauses follow from it")
	flags.Parse(arguments)

	b := &bench{docker: newDocker(*socket), etcd: etcd{*url}}
	var err error
	if b.events, err = b.docker.events(); err != nil {
		return err
	}
	if b.changes, err = b.etcd.watchAPI(*api); err != nil {
		return err
	}
	p := &party{name: *name, container: *container, key: *key, samples: map[string][]float64{}}
	random := rand.New(rand.NewSource(*seed))
	for i := -*warmUp; i < *turns; i++ {
		if i == 0 {
			p.samples = map[string][]float64{}
		}
		// Not in step with anything that is done at regular times.
		pause := time.Duration(random.Intn(50)) * time.Millisecond
		time.Sleep(100*time.Millisecond + pause)
		// After a turn that failed, its changes may still arrive. They belong to no event of this turn.
		for len(b.changes) > 0 {
			<-b.changes
		}
		byStop := (int(*seed)+i)%2 == 0
		err := b.cycle(p, byStop, pause)
		if err == nil && !byStop {
			// The agent registers a container later that came up after a crash. A stop ends this.
			err = b.cycle(&party{container: p.container, key: p.key, samples: map[string][]float64{}}, true, pause)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", *name, err)
			p.samples["lost"] = append(p.samples["lost"], 1)
			if _, err := b.docker.call("POST", "/containers/"+*container+"/stop", ""); err != nil {
				return err
			}
		}
	}
	for what, samples := range p.samples {
		for _, sample := range samples {
			fmt.Printf("%s.%s %.3f\n", what, *name, sample)
		}
	}
	return nil
}

// percentiles reads such samples and prints the percentiles of each name.
func percentiles(arguments []string) error {
	samples := map[string][]float64{}
	scanner := bufio.NewScanner(os.Stdin)
	for scanner.Scan() {
		name, text, _ := strings.Cut(scanner.Text(), " ")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return err
		}
		samples[name] = append(samples[name], value)
	}
	var names []string
	for name := range samples {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		printPercentiles(name, samples[name])
	}
	return scanner.Err()
}

// A program that is looked at while nothing changes.
type resting struct {
	name, api, prefix string
	pid               int
	cpuMS             float64
	events            int
}

// peerRest looks at several programs at once.
func peerRest(arguments []string) error {
	var all []*resting
	flags := flag.NewFlagSet("peer-rest", flag.ExitOnError)
	url := flags.String("etcd", "", "etcd's `URL`")
	seconds := flags.Float64("seconds", 60, "how long they are looked at")
	flags.Func("program", "`\"NAME v2|v3 PREFIX PID\"`; again for another one", func(text string) error {
		p := &resting{}
		all = append(all, p)
		_, err := fmt.Sscan(text, &p.name, &p.api, &p.prefix, &p.pid)
		return err
	})
	flags.Parse(arguments)

	stores := map[string]<-chan change{}
	for _, api := range []string{"v2", "v3"} {
		changes, err := etcd{*url}.watchAPI(api)
		if err != nil {
			return err
		}
		stores[api] = changes
	}
	begin := time.Now()
	for _, p := range all {
		var err error
		if p.cpuMS, err = cpuMS(p.pid); err != nil {
			return err
		}
	}
	time.Sleep(time.Duration(*seconds * float64(time.Second)))
	took := time.Since(begin).Seconds()
	for api, changes := range stores {
		for n := len(changes); n > 0; n-- {
			c := <-changes
			for _, p := range all {
				if p.api == api && strings.HasPrefix(c.key, p.prefix) {
					p.events++
				}
			}
		}
	}
	for _, p := range all {
		after, err := cpuMS(p.pid)
		if err != nil {
			return err
		}
		status, err := numbers(fmt.Sprintf("/proc/%d/status", p.pid))
		if err != nil {
			return err
		}
		fmt.Printf("rest.%s.rss_anon_kib %.0f\n", p.name, status["RssAnon"])
		fmt.Printf("rest.%s.cpu_ms_a_minute %.1f\n", p.name, (after-p.cpuMS)*60/took)
		fmt.Printf("rest.%s.watch_events_a_minute %.1f\n", p.name, float64(p.events)*60/took)
	}
	return nil
}
