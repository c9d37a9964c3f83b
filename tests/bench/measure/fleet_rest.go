package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// ticks returns the CPU time of all of a process's threads, in hundredths of a second.
func ticks(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	words := strings.Fields(rest)
	var user, system float64
	fmt.Sscan(words[11], &user)
	fmt.Sscan(words[12], &system)
	return user + system, nil
}

// scheduled returns the CPU time of processes with one thread, in milliseconds.
func scheduled(pids []int) (total float64, err error) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		if err != nil {
			return 0, err
		}
		var ns float64
		fmt.Sscan(string(text), &ns)
		total += ns / 1e6
	}
	return total, nil
}

func fleetMemory(pids []int) error {
	var anon, pss, rss, hwm []float64
	sum := 0.0
	for _, pid := range pids {
		status, err := numbers(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return err
		}
		rollup, err := numbers(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return err
		}
		anon = append(anon, status["RssAnon"])
		rss = append(rss, status["VmRSS"])
		hwm = append(hwm, status["VmHWM"])
		pss = append(pss, rollup["Pss"])
		sum += rollup["Pss"]
	}
	printPercentiles("agent.rss_anon_kib", anon)
	printPercentiles("agent.pss_kib", pss)
	printPercentiles("agent.rss_kib", rss)
	printPercentiles("agent.peak_kib", hwm)
	fmt.Printf("agents.pss_gib %.2f\n", sum/1048576)
	return nil
}

// look prints what etcd is made of at the moment.
func (f *fleet) look(flags *flag.FlagSet, arguments []string) error {
	name := flags.String("name", "etcd", "the results' `name`")
	pid := flags.Int("pid", 0, "etcd's `pid`")
	// It commits to its database every 100 ms.
	wait := flags.Float64("seconds", 1, "how long it is looked at")
	flags.Parse(arguments)

	before, err := ticks(*pid)
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(*wait * float64(time.Second)))
	after, err := ticks(*pid)
	if err != nil {
		return err
	}
	m, err := f.etcd.scrape()
	if err != nil {
		return err
	}
	status, err := numbers(fmt.Sprintf("/proc/%d/status", *pid))
	if err != nil {
		return err
	}
	fmt.Printf("%s.cpu_percent %.2f\n", *name, (after-before) / *wait)
	fmt.Printf("%s.cpu_s %.2f\n", *name, after/100)
	fmt.Printf("%s.rss_anon_kib %.0f\n", *name, status["RssAnon"])
	fmt.Printf("%s.rss_kib %.0f\n", *name, status["VmRSS"])
	fmt.Printf("%s.heap_bytes %.0f\n", *name, m.sum("go_memstats_heap_inuse_bytes"))
	fmt.Printf("%s.db_bytes %.0f\n", *name, m.sum("etcd_mvcc_db_total_size_in_bytes"))
	fmt.Printf("%s.db_used_bytes %.0f\n", *name, m.sum("etcd_mvcc_db_total_size_in_use_in_bytes"))
	fmt.Printf("%s.revision %.0f\n", *name, m.sum("etcd_debugging_mvcc_current_revision"))
	return nil
}

// What etcd counts that a request of an agent can add to.
var counted = []struct{ name, metric string }{
	{"proposals", "etcd_server_proposals_committed_total"},
	{"fsyncs", "etcd_disk_wal_fsync_duration_seconds_count"},
	{"wal_bytes", "etcd_disk_wal_write_bytes_total"},
	{"v2_writes", "etcd_debugging_store_writes_total"},
	{"v2_expired", "etcd_debugging_store_expires_total"},
	{"sent_bytes", "etcd_network_client_grpc_sent_bytes_total"},
	{"received_bytes", "etcd_network_client_grpc_received_bytes_total"},
}

// A reader that waits for any change below a v2 directory. The channel is closed when there was one.
func (e etcd) wait2(directory string) <-chan struct{} {
	changed := make(chan struct{})
	go func() {
		answer, err := http.Get(e.url + "/v2/keys" + directory + "?wait=true&recursive=true")
		if err == nil {
			// The headers come at once, the change after them.
			buffer := make([]byte, 1)
			answer.Body.Read(buffer)
		}
		close(changed)
	}()
	return changed
}

func (f *fleet) rest(flags *flag.FlagSet, arguments []string) error {
	name := flags.String("name", "rest", "the results' `name`")
	pid := flags.Int("pid", 0, "etcd's `pid`")
	wait := flags.Float64("seconds", 70, "how long it is looked at")
	flags.Parse(arguments)

	pids, err := f.pids()
	if err != nil {
		return err
	}
	changes, err := f.etcd.watch()
	if err != nil {
		return err
	}
	if err := f.etcd.sync(changes); err != nil {
		return err
	}
	changed2 := f.etcd.wait2("/app")
	before, err := f.etcd.scrape()
	if err != nil {
		return err
	}
	agentsBefore, err := scheduled(pids)
	if err != nil {
		return err
	}
	etcdBefore, err := ticks(*pid)
	if err != nil {
		return err
	}
	begin := time.Now()
	time.Sleep(time.Duration(*wait * float64(time.Second)))
	after, err := f.etcd.scrape()
	if err != nil {
		return err
	}
	etcdAfter, err := ticks(*pid)
	if err != nil {
		return err
	}
	took := time.Since(begin).Seconds()
	agentsAfter, err := scheduled(pids)
	if err != nil {
		return err
	}

	watched := len(changes)
	select {
	case <-changed2:
		watched++
	default:
	}
	fmt.Printf("%s.seconds %.1f\n", *name, took)
	fmt.Printf("%s.watch_events %d\n", *name, watched)
	fmt.Printf("%s.agents_cpu_percent %.2f\n", *name, (agentsAfter-agentsBefore)/took/10)
	fmt.Printf("%s.agent_cpu_ms_per_minute %.2f\n", *name, (agentsAfter-agentsBefore)/float64(len(pids))/took*60)
	fmt.Printf("%s.etcd_cpu_percent %.2f\n", *name, (etcdAfter-etcdBefore)/took)
	total := 0.0
	calls, callsBefore := after.calls(), before.calls()
	for _, method := range names(calls) {
		if calls[method] == 0 {
			continue
		}
		n := calls[method] - callsBefore[method]
		total += n
		fmt.Printf("%s.calls.%s %.2f\n", *name, method, n/took)
	}
	fmt.Printf("%s.calls_per_s %.2f\n", *name, total/took)
	for _, c := range counted {
		fmt.Printf("%s.%s_per_s %.2f\n", *name, c.name, (after.sum(c.metric)-before.sum(c.metric))/took)
	}
	return fleetMemory(pids)
}

// comeBack waits until etcd answers again and then counts what it is asked, second by second.
func (f *fleet) comeBack(flags *flag.FlagSet, arguments []string) error {
	name := flags.String("name", "return", "the results' `name`")
	n := flags.Int("seconds", 30, "for how many seconds")
	steady := flags.Float64("steady", 100, "requests a second at rest")
	await := flags.Int("await", 0, "until how many `keys` are back, in an etcd that begins empty")
	pidFile := flags.String("pid-file", "", "`files` with the members' pids, once they run, with commas")
	flags.Parse(arguments)

	client := http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		// An answer that a majority of the members agrees with.
		answer, err := client.Post(f.etcd.url+"/v3/kv/range", "application/json", strings.NewReader(`{"key":"AA=="}`))
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(begin) > 5*time.Minute {
			return err
		}
	}
	zero := time.Now()
	var back chan error
	if *await > 0 {
		back = make(chan error)
		go func() { back <- f.awaitBack(*name, *await, zero, *pidFile) }()
	}
	samples := []map[string]float64{{}}
	at := []time.Time{zero}
	var last scraped
	for i := 1; i <= *n; i++ {
		time.Sleep(time.Until(zero.Add(time.Duration(i) * time.Second)))
		m, err := f.etcd.scrape()
		if err != nil {
			return err
		}
		samples = append(samples, m.calls())
		at = append(at, time.Now())
		last = m
	}
	var methods []string
	for _, method := range names(samples[*n]) {
		// Those that nobody has called are there, too.
		if samples[*n][method] > 0 {
			methods = append(methods, method)
		}
	}
	highest, sum, slowest := 0.0, 0.0, 0.0
	fmt.Printf("%s.row.head | second | %s | all |\n", *name, strings.Join(methods, " | "))
	for i := 1; i <= *n; i++ {
		// A scrape that was kept waiting makes one second longer and the next one shorter.
		took := seconds(at[i-1], at[i])
		if took > slowest {
			slowest = took
		}
		row, all := "", 0.0
		for _, method := range methods {
			rate := (samples[i][method] - samples[i-1][method]) / took
			all += rate
			row += fmt.Sprintf(" %.0f |", rate)
		}
		fmt.Printf("%s.row.%02d | %d |%s %.0f |\n", *name, i, i, row, all)
		if i == 1 {
			fmt.Printf("%s.first_per_s %.0f\n", *name, all)
		} else if all > highest {
			highest = all
		}
		sum += all * took
	}
	fmt.Printf("%s.later_max_per_s %.0f\n", *name, highest)
	fmt.Printf("%s.later_max_times %.2f\n", *name, highest / *steady)
	fmt.Printf("%s.longest_second_s %.2f\n", *name, slowest)
	fmt.Printf("%s.sum %.0f\n", *name, sum)
	failed := 0.0
	for line, value := range last {
		if strings.HasPrefix(line, "grpc_server_handled_total{") && !strings.Contains(line, `grpc_code="OK"`) &&
			!strings.Contains(line, `grpc_method="Watch"`) {
			failed += value
		}
	}
	fmt.Printf("%s.failed %.0f\n", *name, failed)
	if err := f.printReturns(*name, zero); err != nil {
		return err
	}
	if back != nil {
		return <-back
	}
	return nil
}

// printReturns: an agent that had lost etcd says one thing more, when it has it again.
func (f *fleet) printReturns(name string, since time.Time) error {
	var took []float64
	for i := 0; i < f.n; i++ {
		log, err := os.Stat(filepath.Join(f.home(i), "log"))
		if err != nil {
			return err
		}
		if log.ModTime().After(since) {
			took = append(took, seconds(since, log.ModTime()))
		}
	}
	printPercentiles(name+".agents_s", took)
	return nil
}

func (f *fleet) awaitBack(name string, n int, zero time.Time, pidFile string) error {
	changes, err := f.etcd.watchSince(1)
	if err != nil {
		return err
	}
	step := func(keys int, at time.Time) { fmt.Printf("%s.curve.%06d %.2f\n", name, keys, seconds(zero, at)) }
	half, all, err := awaitKeys(changes, n, 2*time.Minute, step)
	if err != nil {
		return err
	}
	fmt.Printf("%s.half_s %.2f\n%s.all_s %.2f\n", name, seconds(zero, half), name, seconds(zero, all))
	total := 0.0
	for _, file := range strings.Split(pidFile, ",") {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var pid int
		if _, err := fmt.Sscan(string(text), &pid); err != nil {
			return err
		}
		cpu, err := ticks(pid)
		if err != nil {
			return err
		}
		total += cpu / 100
	}
	fmt.Printf("%s.etcd_cpu_s %.2f\n", name, total)
	return nil
}

func names(counts map[string]float64) []string {
	var all []string
	for name := range counts {
		all = append(all, name)
	}
	sort.Strings(all)
	return all
}
