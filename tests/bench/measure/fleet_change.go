package main

import (
	"bytes"
	"flag"
	"fmt"
	"net/url"
	"os"
	"syscall"
	"time"
)

// death kills some agents at once, and waits until their keys are gone.
func (f *fleet) death(flags *flag.FlagSet, arguments []string) error {
	name := flags.String("name", "death", "the results' `name`")
	first := flags.Int("first", 0, "the number of the first that dies")
	count := flags.Int("count", 1, "how many")
	gap := flags.Duration("gap", 0, "from one death to the next")
	flags.Parse(arguments)

	pids, err := f.pids()
	if err != nil {
		return err
	}
	changes, err := f.etcd.watch()
	if err != nil {
		return err
	}
	killed := map[int]time.Time{}
	for i := *first; i < *first+*count; i++ {
		if !f.runs(i, pids[i]) {
			return fmt.Errorf("agent %d does not run", i)
		}
		killed[i] = time.Now()
		if err := syscall.Kill(pids[i], syscall.SIGKILL); err != nil {
			return err
		}
		time.Sleep(*gap)
	}
	left, last := map[int]int{}, map[int]time.Time{}
	gone := 0
	_, err = await(changes, 5*time.Minute, func(c change) bool {
		i := hostOf(c.key)
		if _, ok := killed[i]; !ok || !c.deleted {
			return false
		}
		left[i]++
		last[i] = c.at
		if left[i] == f.containers {
			gone++
		}
		return gone == len(killed)
	})
	var took []float64
	for i, at := range last {
		took = append(took, seconds(killed[i], at))
	}
	printPercentiles(*name+".gone_s", took)
	return err
}

func (f *fleet) act(engine int, verb, name string) error {
	_, err := f.fake().call("GET", fmt.Sprintf("/do?engine=%d&verb=%s&name=%s", engine, verb, url.QueryEscape(name)), "")
	return err
}

// changes stops and starts containers one after another, on one host after the other, and prints what that cost etcd.
func (f *fleet) changes(flags *flag.FlagSet, arguments []string) error {
	turns := flags.Int("turns", 1000, "how often a container is stopped and started")
	flags.Parse(arguments)

	changes, err := f.etcd.watch()
	if err != nil {
		return err
	}
	look := func() (scraped, error) {
		time.Sleep(time.Second)
		return f.etcd.scrape()
	}
	before, err := look()
	if err != nil {
		return err
	}
	begin := time.Now()
	for turn := 0; turn < *turns; turn++ {
		i, container := turn%f.n, turn/f.n%f.containers
		for _, verb := range []string{"stop", "start"} {
			if err := f.act(i, verb, fmt.Sprintf("%s-web-%02d", host(i), container)); err != nil {
				return err
			}
			_, err := await(changes, 10*time.Second, func(c change) bool {
				return c.key == key(i, container) && c.deleted == (verb == "stop")
			})
			if err != nil {
				return err
			}
		}
	}
	took := time.Since(begin).Seconds()
	after, err := look()
	if err != nil {
		return err
	}
	n := float64(2 * *turns)
	cost := func(metric string) float64 { return (after.sum(metric) - before.sum(metric)) / n }
	fmt.Printf("changes.n %.0f\n", n)
	fmt.Printf("changes.ms %.2f\n", took/n*1000)
	fmt.Printf("changes.revisions %.3f\n", cost("etcd_debugging_mvcc_current_revision"))
	fmt.Printf("changes.events %.3f\n", cost("etcd_debugging_mvcc_events_total"))
	fmt.Printf("changes.db_bytes %.0f\n", cost("etcd_mvcc_db_total_size_in_use_in_bytes"))
	fmt.Printf("changes.wal_bytes %.0f\n", cost("etcd_disk_wal_write_bytes_total"))
	fmt.Printf("changes.txns %.3f\n", (after.calls()["Txn"]-before.calls()["Txn"])/n)
	return nil
}

// reader stops and starts containers, each when a reader of the keys has seen the change before: FILE is what it
// makes of them. Prints what that reader's asking costs etcd.
func (f *fleet) reader(flags *flag.FlagSet, arguments []string) error {
	file := flags.String("file", "", "what the reader renders, with the containers' names")
	turns := flags.Int("turns", 10, "how often a container is stopped and started")
	flags.Parse(arguments)

	before, err := f.etcd.scrape()
	if err != nil {
		return err
	}
	var took []float64
	for turn := 0; turn < *turns; turn++ {
		i := turn % f.n
		name := fmt.Sprintf("%s-web-%02d", host(i), 0)
		for _, verb := range []string{"stop", "start"} {
			begin := time.Now()
			if err := f.act(i, verb, name); err != nil {
				return err
			}
			at, err := f.poll(time.Minute, "the reader", func() (bool, error) {
				text, err := os.ReadFile(*file)
				return bytes.Contains(text, []byte(name)) == (verb == "start"), err
			})
			if err != nil {
				return err
			}
			took = append(took, seconds(begin, at)*1000)
		}
	}
	after, err := f.etcd.scrape()
	if err != nil {
		return err
	}
	n := float64(len(took))
	fmt.Printf("reader.keys %d\n", f.keys())
	fmt.Printf("reader.sent_bytes %.0f\n", (after.sum("etcd_network_client_grpc_sent_bytes_total")-
		before.sum("etcd_network_client_grpc_sent_bytes_total"))/n)
	calls, callsBefore := after.calls(), before.calls()
	for _, method := range []string{"Range", "Txn"} {
		fmt.Printf("reader.calls.%s %.2f\n", method, (calls[method]-callsBefore[method])/n)
	}
	printPercentiles("reader.ms", took)
	return nil
}
